/* LLaVA: Liu et al. 2023 (arXiv:2304.08485, arXiv:2310.03744). Hidden states of a vision tower, through a projector of two layers, as tokens of
 * a language model; both of any architecture that their own configurations name. From a Hugging Face directory
 * (LlavaForConditionalGeneration).
 * SPDX-License-Identifier: MIT */
#include "llava.h"

#include <stdio.h>
#include <string.h>

#include "architecture_config.h"
#include "early_fusion.h"
#include "io.h"
#include "linear_op.h"
#include "shape_ops.h"

enum { VISION, TEXT };

enum { MAX_LAYERS = 16 };

typedef struct {
    int64_t layers[MAX_LAYERS]; /* whose hidden states are taken, side by side; 0: the embeddings */
    int64_t n_layers;
    int first;                  /* tokens left out in front: 1 for "default", the class token's */
    mmi_activation act;
} llava_config;

enum { BIAS = 1 };

enum { UP, UP_BIAS, DOWN, DOWN_BIAS };

/* C width of the text, S of the hidden states side by side */
static const mmi_weight_row rows[] = {
    {UP, "multi_modal_projector.linear_1.weight", NULL, "C,S", 0, 0},
    {UP_BIAS, "multi_modal_projector.linear_1.bias", NULL, "C", BIAS, 0},
    {DOWN, "multi_modal_projector.linear_2.weight", NULL, "C,C", 0, 0},
    {DOWN_BIAS, "multi_modal_projector.linear_2.bias", NULL, "C", BIAS, 0},
};

static int64_t dimension(const mm_model *m, char letter)
{
    const llava_config *c = m->config;
    switch (letter) {
    case 'C': return m->info.hidden;
    case 'S': return m->parts[VISION]->info.hidden * c->n_layers;
    default: return -1;
    }
}

/* vision_feature_layer: an index or a list of them into the tower's hidden states; negative ones count from the end. */
static mm_status read_layers(mm_context *ctx, mm_model *m, const mmi_json *doc, llava_config *c)
{
    const mmi_json_node *node = mmi_json_get(mmi_json_root(doc), "vision_feature_layer");
    int64_t states = m->parts[VISION]->info.layers + 1, k = -2;
    int list = mmi_json_kind_of(node) == MMI_JSON_ARRAY, absent = !node || mmi_json_kind_of(node) == MMI_JSON_NULL;

    for (const mmi_json_node *n = list ? mmi_json_first(node) : node; n || (absent && !c->n_layers); n = list ? mmi_json_next(n) : NULL) {
        if ((!absent && !mmi_json_integer(n, &k)) || k < -states || k >= states || c->n_layers == MAX_LAYERS)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: vision_feature_layer must be one index or at most %d of %lld to %lld, hidden states of the tower",
                            mmi_json_name(doc), MAX_LAYERS, (long long)-states, (long long)states - 1);
        c->layers[c->n_layers++] = k < 0 ? k + states : k;
        if (absent) break;
    }
    if (!c->n_layers) return mmi_fail(ctx, MM_E_FORMAT, "%s: vision_feature_layer is an empty list", mmi_json_name(doc));
    return MM_OK;
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    static const char *const token_keys[] = {"image_token_index", "image_token_id", NULL};
    const mmi_json_node *root = mmi_json_root(doc);
    const char *strategy = "default";
    llava_config *c = m->config;
    int bias = 1;
    mm_status st;

    if ((st = mmi_fusion_describe(ctx, m, doc, VISION, TEXT))) return st;
    if ((st = mmi_fusion_token(ctx, m, doc, token_keys, 32000, &m->info.image_token))) return st;
    if ((st = read_layers(ctx, m, doc, c))) return st;
    for (int64_t i = 0; i < c->n_layers; i++) m->info.vision_layers = c->layers[i] > m->info.vision_layers ? c->layers[i] : m->info.vision_layers;
    if ((st = mmi_json_text(ctx, doc, root, "vision_feature_select_strategy", 0, &strategy))) return st;
    if (strcmp(strategy, "default") && strcmp(strategy, "full"))
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: vision_feature_select_strategy \"%.40s\" is not supported", mmi_json_name(doc), strategy);
    c->first = strategy[0] == 'd';
    if ((st = mmi_json_bool(ctx, doc, root, "multimodal_projector_bias", 0, &bias))) return st;
    if (bias) m->info.features |= BIAS;
    c->act = MMI_ACT_GELU;
    return mmi_config_activation(ctx, doc, root, "projector_hidden_act", &c->act);
}

/* pixel_values [n, M, H, W] -> features [n, N, C] */
static mmi_value see(mmi_io *io)
{
    const llava_config *c = io->model->config;
    mmi_graph *g = io->g;
    char names[MAX_LAYERS][32];
    const char *wanted[MAX_LAYERS + 1] = {NULL};
    mmi_value states[MAX_LAYERS], x = mmi_io_input(io, "pixel_values");
    mmi_io tower;

    if (!x) return 0;
    for (int64_t i = 0; i < c->n_layers; i++) {
        (void)snprintf(names[i], sizeof names[i], "hidden_states.%lld", (long long)c->layers[i]);
        wanted[i] = names[i];
    }
    mmi_io_part(&tower, io, VISION, wanted);
    mmi_io_give(&tower, "pixel_values", x);
    mmi_io_build(&tower);
    for (int64_t i = 0; i < c->n_layers; i++) states[i] = mmi_io_find_output(&tower, names[i]);
    x = mmi_concat(g, 2, states, (size_t)c->n_layers);
    if (g->status) return 0;
    x = mmi_slice(g, x, 1, c->first, mmi_graph_look(g, x)->shape[1] - c->first);
    x = mmi_linear(g, x, mmi_io_weight(io, UP, -1), mmi_io_weight(io, UP_BIAS, -1), c->act);
    return mmi_linear(g, x, mmi_io_weight(io, DOWN, -1), mmi_io_weight(io, DOWN_BIAS, -1), MMI_ACT_NONE);
}

/* input_ids and what the text model takes beside them, pixel_values or image_features -> what it gives; image_features */
static void build(mmi_io *io) { mmi_fusion_decode_images(io, TEXT, see); }

static mm_status write_prompt(mm_context *ctx, const mm_model *m, const char *text, const mmi_medium *media, size_t count, mmi_text *out)
{
    static const mmi_fusion_mark mark = {"<image>", "", "\n", MMI_IMAGE, NULL};
    return mmi_fusion_write(ctx, m, text, media, count, &mark, 1, out);
}

static const char *const classes[] = {"LlavaForConditionalGeneration", NULL};
static const char *const prefixes[] = {"", "model.", NULL};
static const char *const vision_prefixes[] = {"vision_tower.", "model.vision_tower.", NULL};
static const char *const text_prefixes[] = {"language_model.", "model.language_model.", "", NULL};
static const mmi_part_row parts[] = {
    {"vision_config", "clip_vision_model", MMI_ROLE_ENCODER, vision_prefixes, 0, "model.vision_tower."},
    {"text_config", "llama", MMI_ROLE_DECODER, text_prefixes, 0, "model.language_model."},
};

const mmi_architecture mmi_llava = {
    .name = "llava", .classes = classes, .prefixes = prefixes, .modules = "model.", .processor = "CLIPImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(llava_config), .read_hf = read_hf, .dimension = dimension,
    .build = build, .write_prompt = write_prompt, .parts = parts, .n_parts = sizeof parts / sizeof *parts,
};
