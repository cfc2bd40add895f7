/* Llama 3.2 Vision (The Llama 3 Herd of Models: arXiv:2407.21783, section 7): a vision model whose states, projected, the text model attends
 * across to in blocks among its layers. Each picture has one placeholder in the text; a token sees the picture before it, and those whose
 * placeholders stand together with that one's. From a Hugging Face directory (MllamaForConditionalGeneration).
 * SPDX-License-Identifier: MIT */
#include "mllama.h"

#include <string.h>

#include "early_fusion.h"
#include "io.h"
#include "linear_op.h"
#include "mllama_text.h"
#include "mllama_vision.h"
#include "picture_mask_op.h"
#include "shape_ops.h"

enum { VISION, TEXT };
enum { PROJECTION, PROJECTION_BIAS };

/* C hidden of the text, S of the vision model's states */
static const mmi_weight_row rows[] = {
    {PROJECTION, "multi_modal_projector.weight", NULL, "C,S", 0, 0},
    {PROJECTION_BIAS, "multi_modal_projector.bias", NULL, "C", 0, 0},
};

static int64_t dimension(const mm_model *m, char letter) { return letter == 'C' ? m->info.hidden : mmi_mllama_state_width(m->parts[VISION]); }

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    static const char *const keys[] = {"image_token_index", "image_token_id", NULL};

    if (m->parts[VISION]->arch != &mmi_mllama_vision || m->parts[TEXT]->arch != &mmi_mllama_text)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: %s and %s are not the parts of this model", mmi_json_name(doc), m->parts[VISION]->class_name,
                        m->parts[TEXT]->class_name);
    mmi_fusion_join(m, VISION, TEXT);
    m->info.fusion = MMI_FUSION_INTERLEAVED;
    return mmi_fusion_token(ctx, m, doc, keys, 128256, &m->info.image_token);
}

/* The states of each picture, projected: [B n, K N, C]. */
static mmi_value see(mmi_io *io)
{
    static const char *const wanted[] = {"last_hidden_state", NULL}, *const inputs[] = {"pixel_values", "aspect_ratio_ids", "aspect_ratio_mask"};
    mmi_graph *g = io->g;
    const int64_t *shape;
    mmi_value x;
    mmi_io part;

    mmi_io_part(&part, io, VISION, wanted);
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) mmi_io_give(&part, inputs[i], mmi_io_input(io, inputs[i]));
    mmi_io_build(&part);
    x = mmi_linear(g, mmi_io_find_output(&part, "last_hidden_state"), mmi_io_weight(io, PROJECTION, -1), mmi_io_weight(io, PROJECTION_BIAS, -1), MMI_ACT_NONE);
    if (g->status) return 0;
    shape = mmi_graph_look(g, x)->shape;
    return mmi_reshape(g, x, 3, (int64_t[]){shape[0] * shape[1], shape[2] * shape[3], shape[4]});
}

/* What tokens attend to of n pictures: as given, or as the processor has it. */
static mmi_value mask_of(mmi_io *io, mmi_value ids, int64_t n)
{
    mmi_graph *g = io->g;
    mmi_value mask = mmi_io_optional(io, "cross_attention_mask", MM_DTYPE_I32, 4);
    const mmi_value_info *m, *i;
    char s[128];

    if (g->status) return 0;
    if (!mask)
        return mmi_picture_mask(g, ids, io->model->info.image_token, mmi_io_require(io, "aspect_ratio_mask", MM_DTYPE_I32, 3),
                                mmi_io_require(io, "aspect_ratio_ids", MM_DTYPE_I32, 2));
    m = mmi_graph_look(g, mask);
    i = mmi_graph_look(g, ids);
    if (memcmp(m->shape, i->shape, 2 * sizeof *m->shape) || m->shape[2] != n || m->shape[3] != mmi_mllama_tiles(io->model->parts[VISION]))
        return mmi_graph_fail(g, MM_E_SHAPE, "input cross_attention_mask is %s, expected [%lld, %lld, %lld, %lld]", mmi_graph_shape_text(g, mask, s),
                              (long long)i->shape[0], (long long)i->shape[1], (long long)n, (long long)mmi_mllama_tiles(io->model->parts[VISION]));
    return mask;
}

/* input_ids, position_ids, attention_mask [B, T]; of pictures pixel_values [B, n, K, M, H, W], aspect_ratio_ids [B, n], aspect_ratio_mask [B, n, K] and,
 * where it is not the processor's, cross_attention_mask [B, T, n, K] -> last_hidden_state [B, T, C], logits [B, T, V]; or, asked for by name and
 * alone, image_features [B n, K N, C], which stand for pixel_values */
static void build(mmi_io *io)
{
    static const char *const results[] = {"last_hidden_state", "logits", NULL}, *const inputs[] = {"position_ids", "attention_mask"};
    const mm_model *vision = io->model->parts[VISION];
    mmi_graph *g = io->g;
    mmi_value states = io->encode ? mmi_io_require(io, "image_features", MM_DTYPE_F32, 3) : mmi_io_optional(io, "image_features", MM_DTYPE_F32, 3);
    mmi_value ids, mask = 0;
    int64_t C = io->model->info.hidden, B, n;
    mmi_io part;

    (void)mmi_io_input(io, "num_tiles"); /* of the processor; aspect_ratio_mask says it too */
    if (mmi_io_input(io, "pixel_values")) {
        states = see(io);
        if (io->wanted && mmi_io_wants(io, "image_features")) {
            mmi_io_output(io, "image_features", states);
            return;
        }
    }
    mmi_io_part(&part, io, TEXT, results);
    if (io->encode) {
        if (!g->status) mmi_io_give(&part, "cross_attention_states", mmi_reshape(g, states, 3, (int64_t[]){1, mmi_graph_elements(g, states) / C, C}));
        mmi_io_build(&part);
        return;
    }
    ids = mmi_io_require(io, "input_ids", MM_DTYPE_I32, 2);
    if (g->status) return;
    B = mmi_graph_look(g, ids)->shape[0];
    if (states) {
        n = mmi_graph_look(g, states)->shape[0] / B;
        mmi_io_give(&part, "cross_attention_states", mmi_reshape(g, states, 3, (int64_t[]){B, n * mmi_graph_look(g, states)->shape[1], C}));
        mask = mask_of(io, ids, n);
    } else if (io->cached) {
        mask = mmi_io_optional(io, "cross_attention_mask", MM_DTYPE_I32, 4);
    }
    if (mask && !g->status) {
        mmi_io_give(&part, "cross_attention_mask", mmi_picture_bias(g, mask, mmi_mllama_tile_states(vision)));
        mmi_io_give(&part, "full_text_row_masked_out_mask", mmi_picture_seen(g, mask));
    }
    mmi_io_give(&part, "input_ids", ids);
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) mmi_io_give(&part, inputs[i], mmi_io_input(io, inputs[i]));
    mmi_io_build(&part);
    for (const char *const *r = results; *r; r++) mmi_io_output(io, *r, mmi_io_find_output(&part, *r));
}

static mm_status write_prompt(mm_context *ctx, const mm_model *m, const char *text, const mmi_medium *media, size_t count, mmi_text *out)
{
    static const mmi_fusion_mark mark = {"<|image|>", "", "", MMI_IMAGE, NULL};
    return mmi_fusion_write(ctx, m, text, media, count, &mark, 1, out);
}

static const char *const classes[] = {"MllamaForConditionalGeneration", NULL};
static const char *const prefixes[] = {"", "model.", NULL}, *const vision_prefixes[] = {"vision_model.", "model.vision_model.", NULL};
static const char *const text_prefixes[] = {"language_model.", "model.language_model.", "", NULL};
static const mmi_part_row parts[] = {
    {"vision_config", "mllama_vision_model", MMI_ROLE_ENCODER, vision_prefixes, 0, "model.vision_model."},
    {"text_config", "mllama_text_model", MMI_ROLE_DECODER, text_prefixes, 0, "model.language_model."},
};

const mmi_architecture mmi_mllama = {
    .name = "mllama", .classes = classes, .prefixes = prefixes, .modules = "model.", .processor = "MllamaImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .read_hf = read_hf, .dimension = dimension, .build = build, .write_prompt = write_prompt, .parts = parts,
    .n_parts = sizeof parts / sizeof *parts,
};
