/* Masked autoencoder: He et al. 2022 (arXiv:2111.06377). Most patches are hidden; an encoder sees the rest, a lighter decoder paints the
 * hidden ones. Which are hidden, the given noise says: those of the largest. From a Hugging Face directory (ViTMAEForPreTraining).
 * SPDX-License-Identifier: MIT */
#include "vit_mae.h"

#include <math.h>

#include "architecture_config.h"
#include "contrast_ops.h"
#include "encoder_stack.h"
#include "index_ops.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "row_ops.h"
#include "shape_ops.h"

typedef struct {
    mmi_stack_config stack, decoder;
    double mask_ratio;
    int norm_pixels;
} mae_config;

enum { QKV_BIAS = 1 };

enum {
    CLASS, POSITIONS, PATCHES, PATCHES_BIAS, NORM, NORM_BIAS, EMBED, EMBED_BIAS, MASK, DECODER_POSITIONS, DECODER_NORM, DECODER_NORM_BIAS,
    PREDICT, PREDICT_BIAS, LAYER, DECODER_LAYER = LAYER + MMI_STACK_SLOTS
};

#define DECODER_NAME(old, new, kind) \
    "/decoder.decoder_layers.%." old kind "|/decoder.decoder_encoder.layer.%." old kind "|/decoder.decoder_layers.%." new kind

/* C hidden, N positions with the class token's, M channels, P patch side, I intermediate; D and J: the decoder's C and I; X values of a patch */
static const mmi_weight_row rows[] = {
    {CLASS, "embeddings.cls_token", NULL, "1,1,C", 0, MMI_ROW_TABLE},
    {POSITIONS, "embeddings.position_embeddings", NULL, "1,N,C", 0, MMI_ROW_TABLE | MMI_ROW_SINES},
    {PATCHES, "embeddings.patch_embeddings.projection.weight", NULL, "C,M,P,P", 0, 0},
    {PATCHES_BIAS, "embeddings.patch_embeddings.projection.bias", NULL, "C", 0, 0},
    {NORM, "layernorm.weight", NULL, "C", 0, 0},
    {NORM_BIAS, "layernorm.bias", NULL, "C", 0, 0},
    {EMBED, "/decoder.decoder_embed.weight", NULL, "D,C", 0, 0},
    {EMBED_BIAS, "/decoder.decoder_embed.bias", NULL, "D", 0, 0},
    {MASK, "/decoder.mask_token", NULL, "1,1,D>D", 0, MMI_ROW_TABLE},
    {DECODER_POSITIONS, "/decoder.decoder_pos_embed", NULL, "1,N,D", 0, MMI_ROW_TABLE | MMI_ROW_SINES},
    {DECODER_NORM, "/decoder.decoder_norm.weight", NULL, "D", 0, 0},
    {DECODER_NORM_BIAS, "/decoder.decoder_norm.bias", NULL, "D", 0, 0},
    {PREDICT, "/decoder.decoder_pred.weight", NULL, "X,D", 0, 0},
    {PREDICT_BIAS, "/decoder.decoder_pred.bias", NULL, "X", 0, 0},
    MMI_STACK_ROWS_VIT(LAYER, MMI_VIT_LAYER, "C", "I", QKV_BIAS, 0),
    MMI_STACK_ROWS_VIT(DECODER_LAYER, DECODER_NAME, "D", "J", QKV_BIAS, MMI_ROW_DECODER),
};

static int64_t dimension(const mm_model *m, char letter)
{
    const mae_config *c = m->config;
    switch (letter) {
    case 'D': return c->decoder.hidden;
    case 'J': return c->decoder.intermediate;
    default: return mmi_stack_vision_dimension(m, &c->stack, letter);
    }
}

/* Pixels beside positions of size 1: patches begin with the deviation that Glorot and Bengio (2010) give, as the authors' code has it. */
static double beginning(const mm_model *m, int slot)
{
    return slot == PATCHES ? sqrt(2.0 / (double)(m->info.hidden + m->info.channels * m->info.patch * m->info.patch)) : -1;
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    static const mmi_stack_keys decoder_keys = {"decoder_num_hidden_layers", "decoder_hidden_size", "decoder_num_attention_heads",
                                                "decoder_intermediate_size", "layer_norm_eps", "hidden_act"};
    const mmi_json_node *root = mmi_json_root(doc);
    mae_config *c = m->config;
    int bias = 1;
    mm_status st;

    c->stack = (mmi_stack_config){12, 768, 12, 3072, 1e-12f, MMI_ACT_GELU};
    c->decoder = (mmi_stack_config){8, 512, 16, 2048, 1e-12f, MMI_ACT_GELU};
    c->mask_ratio = 0.75;
    if ((st = mmi_stack_config_read(ctx, doc, root, &mmi_stack_usual_keys, &c->stack))) return st;
    if ((st = mmi_stack_config_read(ctx, doc, root, &decoder_keys, &c->decoder))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "mask_ratio", 0, 0, 1, &c->mask_ratio))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "norm_pix_loss", 0, &c->norm_pixels))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "qkv_bias", 0, &bias))) return st;
    if ((st = mmi_config_image(ctx, m, doc, root, 224, 16))) return st;
    m->info.layers = c->stack.layers;
    m->info.decoder_layers = c->decoder.layers;
    m->info.hidden = c->stack.hidden;
    m->info.features = bias ? QKV_BIAS : 0;
    return MM_OK;
}

/* The encoder's tokens x [B, 1 + kept, C] back in their places, mask tokens in the others, decoded: [B, N, X]. */
static mmi_value decode(mmi_io *io, mmi_value x, mmi_value places, int64_t kept)
{
    const mae_config *c = io->model->config;
    const mmi_model_info *info = &io->model->info;
    mmi_graph *g = io->g;
    mmi_stack_spec stack = {.first = DECODER_LAYER, .silent = 1};
    mmi_norm_spec norm = mmi_layer_norm_spec(io, DECODER_NORM, -1, c->decoder.eps);
    mmi_value mask = mmi_weight_value(g, mmi_io_weight(io, MASK, -1)), positions = mmi_weight_value(g, mmi_io_weight(io, DECODER_POSITIONS, -1));
    int64_t N, trained = info->image_size[0] / info->patch * (info->image_size[1] / info->patch);
    mmi_value tokens[2];

    x = mmi_linear(g, x, mmi_io_weight(io, EMBED, -1), mmi_io_weight(io, EMBED_BIAS, -1), MMI_ACT_NONE);
    if (g->status) return 0;
    N = mmi_graph_look(g, places)->shape[1];
    tokens[0] = mmi_slice(g, x, 1, 1, kept);
    tokens[1] = mmi_graph_view(g, mask, 3, (int64_t[]){1, N - kept, c->decoder.hidden}, (int64_t[]){0, 0, 1}, 0); /* one, repeated */
    tokens[1] = mmi_gather(g, mmi_concat(g, 1, tokens, 2), places);
    tokens[0] = mmi_slice(g, x, 1, 0, 1);
    if (N != trained) { /* along the list of patches, as the reference has it */
        mmi_value list = mmi_resize_grid(g, mmi_slice(g, positions, 1, 1, trained), 1, N, MMI_RESIZE_BICUBIC);
        positions = mmi_concat(g, 1, (mmi_value[]){mmi_slice(g, positions, 1, 0, 1), list}, 2);
    }
    x = mmi_add(g, mmi_concat(g, 1, tokens, 2), positions);
    x = mmi_norm(g, mmi_encoder_stack(io, x, &c->decoder, &stack), &norm);
    x = mmi_linear(g, x, mmi_io_weight(io, PREDICT, -1), mmi_io_weight(io, PREDICT_BIAS, -1), MMI_ACT_NONE);
    return mmi_slice(g, x, 1, 1, N);
}

/* What the decoder should have painted: pixels of each patch as [y, x, channel], normalized or not, and the error on hidden patches. */
static mmi_value loss(mmi_io *io, mmi_value pixels, mmi_value painted, mmi_value mask)
{
    const mae_config *c = io->model->config;
    const mmi_model_info *info = &io->model->info;
    mmi_graph *g = io->g;
    int64_t side = info->patch * info->patch, n = side * info->channels;
    float unbiased = 1;
    mmi_value x = mmi_patches(g, pixels, info->patch);

    x = mmi_transpose(g, mmi_split_last(g, x, info->channels, side));
    if (g->status) return 0;
    x = mmi_reshape(g, x, 3, (int64_t[]){mmi_graph_look(g, x)->shape[0], mmi_graph_look(g, x)->shape[1], n});
    if (c->norm_pixels) { /* by n - 1 where a layer norm divides by n */
        double ratio = (double)(n - 1) / (double)n;
        x = mmi_layer_norm(g, x, 0, 0, (float)(1e-6 * ratio));
        unbiased = (float)sqrt(ratio);
    }
    return mmi_masked_error(g, painted, x, unbiased, mask);
}

/* pixel_values [B, M, H, W], noise [B, N] -> logits [B, N, X] (the painted patches), mask [B, N] (1: hidden), ids_restore i32 [B, N] (where in
 * the order of noise each patch stands), loss, a scalar; last_hidden_state [B, 1 + kept, C] of the encoder */
static void build(mmi_io *io)
{
    const mae_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_stack_spec stack = {.first = LAYER};
    mmi_norm_spec norm = mmi_layer_norm_spec(io, NORM, -1, c->stack.eps);
    mmi_patch_embedder_spec p = mmi_stack_patches(io, CLASS, POSITIONS);
    mmi_value pixels = mmi_io_require(io, "pixel_values", MM_DTYPE_F32, 4), noise = mmi_io_require(io, "noise", MM_DTYPE_F32, 2);
    mmi_value order, places, mask, painted, tokens[2], x = mmi_patch_embedder(g, pixels, &p); /* [B, 1 + N, C] */
    const mmi_value_info *v;
    int64_t N, kept;
    char a[128], b[128];

    if (g->status) return;
    v = mmi_graph_look(g, x);
    N = v->shape[1] - 1;
    if (mmi_graph_look(g, noise)->shape[0] != v->shape[0] || mmi_graph_look(g, noise)->shape[1] != N) {
        mmi_graph_fail(g, MM_E_SHAPE, "input noise %s does not fit %lld patches of pixel_values %s", mmi_graph_shape_text(g, noise, a), (long long)N,
                       mmi_graph_shape_text(g, pixels, b));
        return;
    }
    kept = (int64_t)((double)N * (1 - c->mask_ratio));
    order = mmi_argsort(g, noise);
    places = mmi_argsort(g, order);
    mask = mmi_at_least(g, places, kept);
    tokens[0] = mmi_slice(g, x, 1, 0, 1);
    tokens[1] = mmi_gather(g, mmi_slice(g, x, 1, 1, N), mmi_slice(g, order, 1, 0, kept));
    x = mmi_norm(g, mmi_encoder_stack(io, mmi_concat(g, 1, tokens, 2), &c->stack, &stack), &norm);
    mmi_io_output(io, "last_hidden_state", x);
    mmi_io_output(io, "mask", mask);
    mmi_io_output(io, "ids_restore", places);
    painted = decode(io, x, places, kept);
    mmi_io_output(io, "logits", painted);
    if (mmi_io_wants(io, "loss")) mmi_io_output(io, "loss", loss(io, pixels, painted, mask));
}

static const char *const classes[] = {"ViTMAEForPreTraining", NULL};
static const char *const prefixes[] = {"vit.", "", NULL};

const mmi_architecture mmi_vit_mae = {
    .name = "vit_mae", .classes = classes, .prefixes = prefixes, .processor = "ViTImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(mae_config), .read_hf = read_hf, .dimension = dimension,
    .beginning = beginning, .build = build,
};
