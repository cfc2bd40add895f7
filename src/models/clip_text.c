/* The text towers of CLIP (Radford et al. 2021, arXiv:2103.00020) and SigLIP (Zhai et al. 2023, arXiv:2303.15343). CLIP's is causal and its
 * end token stands for the text; SigLIP's sees both ways, padding too, and its last token stands for the text, through a head.
 * From a Hugging Face directory, or as part of a larger model. SPDX-License-Identifier: MIT */
#include "clip_text.h"

#include <string.h>

#include "attention_op.h"
#include "encoder_stack.h"
#include "index_ops.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "shape_ops.h"
#include "token_embedding.h"

typedef struct {
    mmi_stack_config stack;
    int64_t end_token;
} clip_text_config;

enum { PROJECTED = 1, HEADED = 2 };

enum { TOKENS, POSITIONS, NORM, NORM_BIAS, PROJECTION, HEAD, HEAD_BIAS, LAYER };

/* C hidden, V vocabulary, T positions, I intermediate, E width of the vector for a text */
static const mmi_weight_row rows[] = {
    {TOKENS, "embeddings.token_embedding.weight", NULL, "V,C", 0, MMI_ROW_TABLE},
    {POSITIONS, "embeddings.position_embedding.weight", NULL, "T,C", 0, MMI_ROW_TABLE},
    {NORM, "final_layer_norm.weight", NULL, "C", 0, 0},
    {NORM_BIAS, "final_layer_norm.bias", NULL, "C", 0, 0},
    {PROJECTION, "/text_projection.weight", NULL, "E,C", PROJECTED, 0},
    {HEAD, "head.weight", NULL, "E,C", HEADED, 0},
    {HEAD_BIAS, "head.bias", NULL, "E", HEADED, 0},
    MMI_STACK_ROWS_CLIP(LAYER),
};

static int64_t dimension(const mm_model *m, char letter)
{
    const clip_text_config *c = m->config;
    switch (letter) {
    case 'C': return m->info.hidden;
    case 'V': return m->info.vocabulary;
    case 'T': return m->info.context;
    case 'I': return c->stack.intermediate;
    case 'E': return m->info.embedding;
    default: return -1;
    }
}

static mm_status read_shared(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    clip_text_config *c = m->config;
    mmi_model_info *info = &m->info;
    mm_status st;

    if ((st = mmi_stack_config_read(ctx, doc, root, &mmi_stack_usual_keys, &c->stack))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "vocab_size", 0, 1, 1 << 22, &info->vocabulary))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "max_position_embeddings", 0, 1, 1 << 22, &info->context))) return st;
    info->layers = c->stack.layers;
    info->embedding = info->hidden = c->stack.hidden;
    info->text_output = "pooler_output";
    return MM_OK;
}

static mm_status read_clip(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    clip_text_config *c = m->config;
    mmi_model_info *info = &m->info;
    mm_status st;

    c->stack = (mmi_stack_config){12, 512, 8, 2048, 1e-5f, MMI_ACT_QUICK_GELU};
    c->end_token = 49407;
    info->vocabulary = 49408;
    info->context = 77;
    if ((st = read_shared(ctx, m, doc))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "eos_token_id", 0, 0, INT32_MAX, &c->end_token))) return st;
    if (strcmp(m->class_name, "CLIPTextModelWithProjection")) return MM_OK;
    info->features = PROJECTED;
    info->text_output = "text_embeds";
    info->embedding = 512;
    return mmi_json_i64(ctx, doc, root, "projection_dim", 0, 1, 1 << 17, &info->embedding);
}

static mm_status read_siglip(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    clip_text_config *c = m->config;
    mmi_model_info *info = &m->info;
    mm_status st;

    c->stack = (mmi_stack_config){12, 768, 12, 3072, 1e-6f, MMI_ACT_GELU_TANH};
    info->vocabulary = 32000;
    info->context = 64;
    if ((st = read_shared(ctx, m, doc))) return st;
    info->features = HEADED;
    info->pads_text = 1;
    info->pad_token = 1;
    if ((st = mmi_json_i64(ctx, doc, root, "pad_token_id", 0, 0, info->vocabulary - 1, &info->pad_token))) return st;
    return mmi_json_i64(ctx, doc, root, "projection_size", 0, 1, 1 << 17, &info->embedding);
}

/* input_ids, position_ids [B, T]; attention_mask [B, T] -> last_hidden_state [B, T, C]; pooler_output [B, C], of SigLIP [B, E];
 * text_embeds [B, E]. Within segments, B vectors stand for a vector of each segment. */
static void build(mmi_io *io)
{
    const clip_text_config *c = io->model->config;
    const mmi_model_info *info = &io->model->info;
    mmi_graph *g = io->g;
    int siglip = io->model->arch == &mmi_siglip_text;
    mmi_stack_spec stack = {.first = LAYER, .causal = !siglip};
    mmi_norm_spec norm = mmi_layer_norm_spec(io, NORM, -1, c->stack.eps);
    mmi_token_embedding_spec e = {.ids = mmi_io_require(io, "input_ids", MM_DTYPE_I32, 2),
                                  .table = mmi_io_weight(io, TOKENS, -1),
                                  .positions = mmi_io_require(io, "position_ids", MM_DTYPE_I32, 2),
                                  .position_table = mmi_io_weight(io, POSITIONS, -1)};
    mmi_value mask = mmi_io_optional(io, "attention_mask", MM_DTYPE_I32, 2), projection = mmi_io_weight(io, PROJECTION, -1), at, x;

    stack.bias = mask ? mmi_mask_bias(g, mask) : 0;
    x = mmi_norm(g, mmi_encoder_stack(io, mmi_token_embedding(g, &e), &c->stack, &stack), &norm);
    mmi_io_output(io, "last_hidden_state", x);
    if (!mmi_io_wants(io, "pooler_output") && !mmi_io_wants(io, "text_embeds")) return;
    /* An end_token of 2 is a mistake of the first published configurations, whose true one has the largest id. */
    at = mmi_find_token(g, e.ids, io->segments, siglip ? MMI_FIND_LAST : c->end_token == 2 ? MMI_FIND_LARGEST : MMI_FIND_FIRST, c->end_token);
    x = mmi_gather(g, x, at); /* [B, 1, C] or [1, n, C] */
    if (g->status) return;
    x = mmi_reshape(g, x, 2, (int64_t[]){mmi_graph_elements(g, at), info->hidden});
    if (siglip) x = mmi_linear(g, x, mmi_io_weight(io, HEAD, -1), mmi_io_weight(io, HEAD_BIAS, -1), MMI_ACT_NONE);
    mmi_io_output(io, "pooler_output", x);
    if (projection && mmi_io_wants(io, "text_embeds")) mmi_io_output(io, "text_embeds", mmi_linear(g, x, projection, 0, MMI_ACT_NONE));
}

static const char *const classes[] = {"CLIPTextModel", "CLIPTextModelWithProjection", NULL};
static const char *const siglip_classes[] = {"SiglipTextModel", "Siglip2TextModel", NULL};
static const char *const prefixes[] = {"text_model.", "", NULL};

const mmi_architecture mmi_clip_text = {
    .name = "clip_text", .classes = classes, .prefixes = prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(clip_text_config), .read_hf = read_clip, .dimension = dimension, .build = build,
};
const mmi_architecture mmi_siglip_text = {
    .name = "siglip_text", .classes = siglip_classes, .prefixes = prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(clip_text_config), .read_hf = read_siglip, .dimension = dimension, .build = build,
};
