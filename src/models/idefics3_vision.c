/* The vision tower of Idefics3: Laurencon et al. 2024 (arXiv:2408.12637), and SmolVLM: Marafioti et al. 2025 (arXiv:2504.05299). SigLIP's, for
 * pictures smaller than the square they are padded to: their patches take the positions at the same fractions of the trained grid
 * (NaViT: arXiv:2307.06304, section 3.1), and the padding is hidden.
 * SPDX-License-Identifier: MIT */
#include "idefics3_vision.h"

#include <string.h>

#include "architecture_config.h"
#include "attention_op.h"
#include "encoder_stack.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "row_ops.h"
#include "shape_ops.h"

typedef struct {
    mmi_stack_config stack;
    int64_t side; /* of the trained grid, in patches */
} vision_config;

enum { POSITIONS, PATCHES, PATCHES_BIAS, NORM, NORM_BIAS, LAYER };

/* C hidden, N positions, M channels, P patch side, I intermediate */
static const mmi_weight_row rows[] = {
    {POSITIONS, "embeddings.position_embedding.weight", NULL, "N,C", 0, MMI_ROW_TABLE},
    {PATCHES, "embeddings.patch_embedding.weight", NULL, "C,M,P,P", 0, 0},
    {PATCHES_BIAS, "embeddings.patch_embedding.bias", NULL, "C", 0, 0},
    {NORM, "post_layernorm.weight", NULL, "C", 0, 0},
    {NORM_BIAS, "post_layernorm.bias", NULL, "C", 0, 0},
    MMI_STACK_ROWS_CLIP(LAYER),
};

static int64_t dimension(const mm_model *m, char letter)
{
    const vision_config *c = m->config;
    switch (letter) {
    case 'C': return c->stack.hidden;
    case 'N': return c->side * c->side;
    case 'M': return m->info.channels;
    case 'P': return m->info.patch;
    case 'I': return c->stack.intermediate;
    default: return -1;
    }
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    vision_config *c = m->config;
    mmi_model_info *info = &m->info;
    mm_status st;

    c->stack = (mmi_stack_config){12, 1152, 16, 3072, 1e-6f, MMI_ACT_GELU_TANH};
    if ((st = mmi_stack_config_read(ctx, doc, mmi_json_root(doc), &mmi_stack_usual_keys, &c->stack))) return st;
    if ((st = mmi_config_image(ctx, m, doc, mmi_json_root(doc), 224, 32))) return st;
    c->side = info->image_size[0] / info->patch;
    if (c->side != info->image_size[1] / info->patch) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: image_size is not square", mmi_json_name(doc));
    info->layers = c->stack.layers;
    info->hidden = c->stack.hidden;
    return MM_OK;
}

/* The trained row or column for each of `count` patches of a picture that has `real` of them: how many bounds 1/side, 2/side, ... its fraction
 * has reached, both as the reference rounds them. */
static void buckets(int64_t real, int64_t count, int64_t side, int32_t *out)
{
    const double step = 1.0 / (double)side;
    const float fraction = 1.0f / (float)real;
    int64_t b = 0;

    for (int64_t i = 0; i < count; i++) {
        float at = (float)i * fraction;
        if (at > 1 - 1e-6f) at = (float)(1 - 1e-6);
        while (b < side - 1 && (float)(step + (double)b * step) <= at) b++;
        out[i] = (int32_t)b;
    }
}

/* Positions i32 [n, h w] by a mask of patches i32 [n, h, w]; NULL: all are real. */
static mmi_value position_ids(mmi_io *io, const int32_t *mask, int64_t n, int64_t h, int64_t w)
{
    const vision_config *c = io->model->config;
    int32_t *rows_at = mmi_alloc_array(io->g->ctx, (size_t)h, sizeof *rows_at), *cols_at = mmi_alloc_array(io->g->ctx, (size_t)w, sizeof *cols_at), *p;
    void *data = NULL;
    mmi_value v = 0;

    if (!rows_at || !cols_at) {
        io->g->status = MM_E_NOMEM;
    } else {
        v = mmi_graph_constant(io->g, MM_DTYPE_I32, 2, (int64_t[]){n, h * w}, &data);
    }
    p = data;
    for (int64_t i = 0; i < n && p; i++, mask = mask ? mask + h * w : NULL) {
        int64_t real_h = mask ? 0 : h, real_w = mask ? 0 : w;
        for (int64_t y = 0; mask && y < h; y++) real_h += mask[y * w];
        for (int64_t x = 0; mask && x < w; x++) real_w += mask[x];
        buckets(real_h, h, c->side, rows_at);
        buckets(real_w, w, c->side, cols_at);
        for (int64_t k = 0; k < h * w; k++) *p++ = !mask || mask[k] ? rows_at[k / w] * (int32_t)c->side + cols_at[k % w] : 0;
    }
    mmi_free(rows_at);
    mmi_free(cols_at);
    return v;
}

/* pixel_values [n, M, H, W], patch_attention_mask [n, h, w] of zeros and ones -> last_hidden_state [n, h w, C] */
static void build(mmi_io *io)
{
    const vision_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_stack_spec stack = {.first = LAYER};
    mmi_norm_spec norm = mmi_layer_norm_spec(io, NORM, -1, c->stack.eps);
    mmi_value x = mmi_io_require(io, "pixel_values", MM_DTYPE_F32, 4), mask = mmi_io_optional(io, "patch_attention_mask", MM_DTYPE_I32, 3), positions;
    int64_t n, h, w;

    x = mmi_patches(g, x, io->model->info.patch);
    if (g->status) return;
    n = mmi_graph_look(g, x)->shape[0];
    h = mmi_graph_look(g, mmi_io_input(io, "pixel_values"))->shape[2] / io->model->info.patch;
    w = mmi_graph_look(g, x)->shape[1] / h;
    if (mask && memcmp(mmi_graph_look(g, mask)->shape, (int64_t[]){n, h, w}, 3 * sizeof(int64_t))) {
        char text[128];
        mmi_graph_fail(g, MM_E_SHAPE, "input patch_attention_mask is %s, expected [%lld, %lld, %lld]", mmi_graph_shape_text(g, mask, text), (long long)n,
                       (long long)h, (long long)w);
        return;
    }
    positions = position_ids(io, mask ? mmi_io_values(io, "patch_attention_mask") : NULL, n, h, w);
    if (mask) stack.bias = mmi_mask_bias(g, mmi_reshape(g, mask, 2, (int64_t[]){n, h * w}));
    x = mmi_linear(g, x, mmi_io_weight(io, PATCHES, -1), mmi_io_weight(io, PATCHES_BIAS, -1), MMI_ACT_NONE);
    x = mmi_add(g, x, mmi_lookup(g, positions, mmi_io_weight(io, POSITIONS, -1)));
    x = mmi_norm(g, mmi_encoder_stack(io, x, &c->stack, &stack), &norm);
    mmi_io_output(io, "last_hidden_state", x);
}

static const char *const classes[] = {"Idefics3VisionTransformer", "SmolVLMVisionTransformer", NULL};
static const char *const prefixes[] = {"", NULL};

const mmi_architecture mmi_idefics3_vision = {
    .name = "idefics3_vision", .classes = classes, .prefixes = prefixes, .processor = "Idefics3ImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(vision_config), .read_hf = read_hf, .dimension = dimension, .build = build,
};
