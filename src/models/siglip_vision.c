/* The vision towers of SigLIP (Zhai et al. 2023, arXiv:2303.15343) and SigLIP 2 (Tschannen et al. 2025, arXiv:2502.14786): a Vision
 * Transformer without a class token, pooled by a probe's attention. SigLIP 2 takes pictures of any shape as rows of patches, padded to one
 * length, and resizes the positions to each picture's grid. From a Hugging Face directory, or as part of a larger model.
 * SPDX-License-Identifier: MIT */
#include "siglip_vision.h"

#include "architecture_config.h"
#include "attention_op.h"
#include "attention_pool.h"
#include "encoder_stack.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "patch_embedder.h"
#include "row_ops.h"
#include "shape_ops.h"

typedef struct {
    mmi_stack_config stack;
    int64_t side; /* of the trained grid, in patches */
} siglip_vision_config;

enum { POOLED = 1 };

enum {
    POSITIONS, PATCHES, PATCHES_BIAS, NORM, NORM_BIAS, PROBE, POOL_IN, POOL_IN_BIAS, POOL_OUT, POOL_OUT_BIAS, POOL_NORM, POOL_NORM_BIAS,
    POOL_UP, POOL_UP_BIAS, POOL_DOWN, POOL_DOWN_BIAS, LAYER
};

/* C hidden, N positions, M channels, P patch side, X values of a patch, I intermediate */
#define SHARED_ROWS                                                                       \
    {POSITIONS, "embeddings.position_embedding.weight", NULL, "N,C>1,N,C", 0, MMI_ROW_TABLE}, \
    {PATCHES_BIAS, "embeddings.patch_embedding.bias", NULL, "C", 0, 0},                   \
    {NORM, "post_layernorm.weight", NULL, "C", 0, 0},                                     \
    {NORM_BIAS, "post_layernorm.bias", NULL, "C", 0, 0},                                  \
    {PROBE, "head.probe", NULL, "1,1,C", POOLED, MMI_ROW_TABLE},                          \
    {POOL_IN, "head.attention.in_proj_weight", NULL, "3C,C", POOLED, 0},                  \
    {POOL_IN_BIAS, "head.attention.in_proj_bias", NULL, "3C", POOLED, 0},                 \
    {POOL_OUT, "head.attention.out_proj.weight", NULL, "C,C", POOLED, 0},                 \
    {POOL_OUT_BIAS, "head.attention.out_proj.bias", NULL, "C", POOLED, 0},                \
    {POOL_NORM, "head.layernorm.weight", NULL, "C", POOLED, 0},                           \
    {POOL_NORM_BIAS, "head.layernorm.bias", NULL, "C", POOLED, 0},                        \
    {POOL_UP, "head.mlp.fc1.weight", NULL, "I,C", POOLED, 0},                             \
    {POOL_UP_BIAS, "head.mlp.fc1.bias", NULL, "I", POOLED, 0},                            \
    {POOL_DOWN, "head.mlp.fc2.weight", NULL, "C,I", POOLED, 0},                           \
    {POOL_DOWN_BIAS, "head.mlp.fc2.bias", NULL, "C", POOLED, 0},                          \
    MMI_STACK_ROWS_CLIP(LAYER)

static const mmi_weight_row rows[] = {{PATCHES, "embeddings.patch_embedding.weight", NULL, "C,M,P,P", 0, 0}, SHARED_ROWS};
static const mmi_weight_row rows2[] = {{PATCHES, "embeddings.patch_embedding.weight", NULL, "C,X", 0, 0}, SHARED_ROWS};

static int64_t dimension(const mm_model *m, char letter)
{
    const siglip_vision_config *c = m->config;
    const mmi_model_info *i = &m->info;
    switch (letter) {
    case 'C': return i->hidden;
    case 'N': return c->side * c->side;
    case 'M': return i->channels;
    case 'P': return i->patch;
    case 'X': return i->patch * i->patch * i->channels;
    case 'I': return c->stack.intermediate;
    default: return -1;
    }
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    siglip_vision_config *c = m->config;
    mmi_model_info *info = &m->info;
    int64_t patches = 256;
    int head = 1;
    mm_status st;

    c->stack = (mmi_stack_config){12, 768, 12, 3072, 1e-6f, MMI_ACT_GELU_TANH};
    if ((st = mmi_stack_config_read(ctx, doc, root, &mmi_stack_usual_keys, &c->stack))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "vision_use_head", 0, &head))) return st;
    if (m->arch == &mmi_siglip2_vision) {
        if ((st = mmi_json_i64(ctx, doc, root, "num_patches", 0, 1, 1 << 20, &patches))) return st;
        info->patch = 16;
        info->channels = 3;
        if ((st = mmi_json_i64(ctx, doc, root, "patch_size", 0, 1, 1 << 12, &info->patch))) return st;
        if ((st = mmi_json_i64(ctx, doc, root, "num_channels", 0, 1, 64, &info->channels))) return st;
        for (c->side = 1; (c->side + 1) * (c->side + 1) <= patches;) c->side++;
        if (c->side * c->side != patches)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: num_patches %lld is not a square", mmi_json_name(doc), (long long)patches);
        info->image_size[0] = info->image_size[1] = c->side * info->patch;
        info->sees = 1;
    } else {
        if ((st = mmi_config_image(ctx, m, doc, root, 224, 16))) return st;
        c->side = info->image_size[0] / info->patch;
        if (c->side != info->image_size[1] / info->patch)
            return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: image_size is not square", mmi_json_name(doc));
    }
    info->layers = c->stack.layers;
    info->embedding = info->hidden = c->stack.hidden;
    info->image_output = head ? "pooler_output" : NULL;
    info->features = head ? POOLED : 0;
    return MM_OK;
}

/* The patches of pictures in a row, [B, N, X], with each its own grid. */
static mmi_value embed_rows(mmi_io *io, mmi_value *bias)
{
    const siglip_vision_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_value pixels = mmi_io_require(io, "pixel_values", MM_DTYPE_F32, 3), sizes = mmi_io_require(io, "spatial_shapes", MM_DTYPE_I32, 2);
    mmi_value mask = mmi_io_optional(io, "pixel_attention_mask", MM_DTYPE_I32, 2), positions;
    int64_t N;

    if (g->status) return 0;
    N = mmi_graph_look(g, pixels)->shape[1];
    *bias = mask ? mmi_mask_bias(g, mask) : 0;
    positions = mmi_reshape(g, mmi_weight_value(g, mmi_io_weight(io, POSITIONS, -1)), 3, (int64_t[]){c->side, c->side, c->stack.hidden});
    positions = mmi_resize_grids(g, positions, sizes, N, MMI_RESIZE_BILINEAR_ANTIALIAS);
    return mmi_add(g, mmi_linear(g, pixels, mmi_io_weight(io, PATCHES, -1), mmi_io_weight(io, PATCHES_BIAS, -1), MMI_ACT_NONE), positions);
}

/* SigLIP: pixel_values [B, M, H, W]; SigLIP 2: pixel_values [B, N, X], spatial_shapes [B, 2], pixel_attention_mask [B, N]
 * -> last_hidden_state [B, N, C]; pooler_output [B, C] */
static void build(mmi_io *io)
{
    const mmi_model_info *info = &io->model->info;
    const siglip_vision_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_stack_spec stack = {.first = LAYER};
    mmi_norm_spec norm = mmi_layer_norm_spec(io, NORM, -1, c->stack.eps);
    mmi_attention_pool_spec pool = {.probe = mmi_io_weight(io, PROBE, -1),
                                    .w = mmi_io_weight(io, POOL_IN, -1),
                                    .b = mmi_io_weight(io, POOL_IN_BIAS, -1),
                                    .wo = mmi_io_weight(io, POOL_OUT, -1),
                                    .bo = mmi_io_weight(io, POOL_OUT_BIAS, -1),
                                    .heads = c->stack.heads,
                                    .norm = mmi_layer_norm_spec(io, POOL_NORM, -1, c->stack.eps),
                                    .feed_forward = mmi_layer_feed_forward(io, POOL_UP, -1, c->stack.act)};
    mmi_value x;

    if (io->model->arch == &mmi_siglip2_vision) {
        x = embed_rows(io, &stack.bias);
    } else {
        mmi_patch_embedder_spec p = {.patch = info->patch,
                                     .w = mmi_io_weight(io, PATCHES, -1),
                                     .b = mmi_io_weight(io, PATCHES_BIAS, -1),
                                     .positions = mmi_io_weight(io, POSITIONS, -1),
                                     .rows = c->side,
                                     .cols = c->side};
        x = mmi_patch_embedder(g, mmi_io_require(io, "pixel_values", MM_DTYPE_F32, 4), &p);
    }
    x = mmi_norm(g, mmi_encoder_stack(io, x, &c->stack, &stack), &norm);
    mmi_io_output(io, "last_hidden_state", x);
    pool.attention.bias = stack.bias;
    mmi_io_watch(io, "pooler_attentions", -1, &pool.attention);
    if (pool.probe && (mmi_io_wants(io, "pooler_output") || pool.attention.weights || pool.attention.mean_weights)) mmi_io_output(io, "pooler_output", mmi_attention_pool(g, x, &pool));
}

static const char *const classes[] = {"SiglipVisionModel", NULL}, *const classes2[] = {"Siglip2VisionModel", NULL};
static const char *const prefixes[] = {"vision_model.", "", NULL};

const mmi_architecture mmi_siglip_vision = {
    .name = "siglip_vision", .classes = classes, .prefixes = prefixes, .processor = "SiglipImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(siglip_vision_config), .read_hf = read_hf, .dimension = dimension,
    .build = build,
};
const mmi_architecture mmi_siglip2_vision = {
    .name = "siglip2_vision", .classes = classes2, .prefixes = prefixes, .processor = "Siglip2ImageProcessor", .rows = rows2,
    .n_rows = sizeof rows2 / sizeof *rows2, .config_bytes = sizeof(siglip_vision_config), .read_hf = read_hf, .dimension = dimension,
    .build = build,
};
