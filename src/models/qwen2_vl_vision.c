/* The vision transformer of Qwen2-VL: Wang et al. 2024 (arXiv:2409.12191, section 2.1), and of Qwen2.5-VL: Bai et al. 2025 (arXiv:2502.13923,
 * section 2.1.1). Pictures and videos of any size, one behind another, as patches of two frames each; rotary positions by row and column;
 * attention within a frame, in 2.5 for most blocks within a window; square groups of patches merged into one token.
 *
 * Patches come in groups, row by row of groups: the order in which the processor writes them.
 * SPDX-License-Identifier: MIT */
#include "qwen2_vl_vision.h"

#include <math.h>
#include <string.h>

#include "architecture_config.h"
#include "encoder_block.h"
#include "index_ops.h"
#include "io.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "row_ops.h"
#include "shape_ops.h"
#include "size.h"

enum { MAX_LAYERS = 1024 };

typedef struct {
    int64_t width, heads, intermediate, out, frames, merge, tokens_per_second;
    int64_t window;          /* side of a window in groups, 0: none */
    uint8_t full[MAX_LAYERS]; /* blocks without windows */
    mmi_activation act;
    double theta;
    float rope_scale[2];
} vision_config;

enum { PLAIN = 1, GATED = 2 }; /* Qwen2-VL, Qwen2.5-VL */

enum {
    PATCHES, MERGE_NORM, MERGE_NORM_BIAS, MERGE_UP, MERGE_UP_BIAS, MERGE_DOWN, MERGE_DOWN_BIAS,
    NORM1, NORM1_BIAS, QKV, QKV_BIAS, O, O_BIAS, NORM2, NORM2_BIAS, UP, UP_BIAS, DOWN, DOWN_BIAS, GATE, GATE_BIAS
};

/* W width, M channels, T frames of a patch, P its side, I intermediate, G width of a group, C of the text */
static const mmi_weight_row rows[] = {
    {PATCHES, "patch_embed.proj.weight", NULL, "W,M,T,P,P", 0, 0},
    {MERGE_NORM, "merger.ln_q.weight", NULL, "W", 0, 0},
    {MERGE_NORM_BIAS, "merger.ln_q.bias", NULL, "W", PLAIN, 0},
    {MERGE_UP, "merger.mlp.0.weight", NULL, "G,G", 0, 0},
    {MERGE_UP_BIAS, "merger.mlp.0.bias", NULL, "G", 0, 0},
    {MERGE_DOWN, "merger.mlp.2.weight", NULL, "C,G", 0, 0},
    {MERGE_DOWN_BIAS, "merger.mlp.2.bias", NULL, "C", 0, 0},
    {NORM1, "blocks.%.norm1.weight", NULL, "W", 0, 0},
    {NORM1_BIAS, "blocks.%.norm1.bias", NULL, "W", PLAIN, 0},
    {QKV, "blocks.%.attn.qkv.weight", NULL, "3W,W", 0, 0},
    {QKV_BIAS, "blocks.%.attn.qkv.bias", NULL, "3W", 0, 0},
    {O, "blocks.%.attn.proj.weight", NULL, "W,W", 0, 0},
    {O_BIAS, "blocks.%.attn.proj.bias", NULL, "W", 0, 0},
    {NORM2, "blocks.%.norm2.weight", NULL, "W", 0, 0},
    {NORM2_BIAS, "blocks.%.norm2.bias", NULL, "W", PLAIN, 0},
    {UP, "blocks.%.mlp.fc1.weight", NULL, "I,W", PLAIN, 0},
    {UP_BIAS, "blocks.%.mlp.fc1.bias", NULL, "I", PLAIN, 0},
    {DOWN, "blocks.%.mlp.fc2.weight", NULL, "W,I", PLAIN, 0},
    {DOWN_BIAS, "blocks.%.mlp.fc2.bias", NULL, "W", PLAIN, 0},
    {GATE, "blocks.%.mlp.gate_proj.weight", NULL, "I,W", GATED, 0},
    {GATE_BIAS, "blocks.%.mlp.gate_proj.bias", NULL, "I", GATED, 0},
    {UP, "blocks.%.mlp.up_proj.weight", NULL, "I,W", GATED, 0},
    {UP_BIAS, "blocks.%.mlp.up_proj.bias", NULL, "I", GATED, 0},
    {DOWN, "blocks.%.mlp.down_proj.weight", NULL, "W,I", GATED, 0},
    {DOWN_BIAS, "blocks.%.mlp.down_proj.bias", NULL, "W", GATED, 0},
};

static int64_t dimension(const mm_model *m, char letter)
{
    const vision_config *c = m->config;
    switch (letter) {
    case 'W': return c->width;
    case 'M': return m->info.channels;
    case 'T': return c->frames;
    case 'P': return m->info.patch;
    case 'I': return c->intermediate;
    case 'G': return c->width * c->merge * c->merge;
    case 'C': return c->out;
    default: return -1;
    }
}

int64_t mmi_qwen2_vl_merge(const mm_model *m) { return ((const vision_config *)m->config)->merge; }
int64_t mmi_qwen2_vl_tokens_per_second(const mm_model *m) { return ((const vision_config *)m->config)->tokens_per_second; }

/* window_size in pixels, and the blocks that have none. */
static mm_status read_windows(mm_context *ctx, const mmi_json *doc, mm_model *m)
{
    const mmi_json_node *root = mmi_json_root(doc), *list = mmi_json_get(root, "fullatt_block_indexes");
    vision_config *c = m->config;
    int64_t size = 112, l;
    mm_status st;

    if ((st = mmi_json_i64(ctx, doc, root, "window_size", 0, 1, 1 << 16, &size))) return st;
    c->window = size / c->merge / m->info.patch;
    if (c->window < 1)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: window_size %lld is less than a group of %lld x %lld patches", mmi_json_name(doc), (long long)size,
                        (long long)c->merge, (long long)c->merge);
    if (!list || mmi_json_kind_of(list) == MMI_JSON_NULL)
        for (l = 7; l < 32 && l < m->info.layers; l += 8) c->full[l] = 1;
    for (const mmi_json_node *n = mmi_json_kind_of(list) == MMI_JSON_ARRAY ? mmi_json_first(list) : NULL; n; n = mmi_json_next(n)) {
        if (!mmi_json_integer(n, &l) || l < 0 || l >= MAX_LAYERS)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: fullatt_block_indexes must list numbers of 0 to %d", mmi_json_name(doc), MAX_LAYERS - 1);
        c->full[l] = 1;
    }
    return MM_OK;
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc), *rope = mmi_json_get(root, "rope_parameters");
    int newer = !strncmp(m->class_name, "Qwen2_5", 7);
    vision_config *c = m->config;
    mmi_model_info *info = &m->info;
    double ratio = 4;
    mm_status st;

    *c = (vision_config){.width = newer ? 3584 : 1280, .heads = 16, .intermediate = 3420, .out = 3584, .frames = 2, .merge = 2, .theta = 10000,
                         .tokens_per_second = 4, .act = newer ? MMI_ACT_SILU : MMI_ACT_QUICK_GELU};
    info->layers = 32;
    info->channels = 3;
    info->patch = 14;
    info->features = newer ? GATED : PLAIN;
    if ((st = mmi_json_i64(ctx, doc, root, "depth", 0, 1, MAX_LAYERS, &info->layers))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, newer ? "hidden_size" : "embed_dim", 0, 1, 1 << 17, &c->width))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, newer ? "out_hidden_size" : "hidden_size", 0, 1, 1 << 17, &c->out))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_heads", 0, 1, 4096, &c->heads))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "in_channels", 0, 1, 64, &info->channels))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "patch_size", 0, 1, 1 << 10, &info->patch))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "temporal_patch_size", 0, 1, 64, &c->frames))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "spatial_merge_size", 0, 1, 64, &c->merge))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "tokens_per_second", 0, 1, 1 << 16, &c->tokens_per_second))) return st;
    if ((st = mmi_json_f64(ctx, doc, rope, "rope_theta", 0, 1e-3, 1e12, &c->theta))) return st;
    if ((st = mmi_config_activation(ctx, doc, root, "hidden_act", &c->act))) return st;
    if (c->width % c->heads || c->width / c->heads % 4 || c->width / c->heads > 512)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: a width of %lld does not divide into %lld heads of at most 512, a multiple of 4", mmi_json_name(doc),
                        (long long)c->width, (long long)c->heads);
    info->hidden = c->out;
    info->sees = 1;
    if (newer) {
        if ((st = mmi_json_i64(ctx, doc, root, "intermediate_size", 0, 1, 1 << 20, &c->intermediate))) return st;
        return read_windows(ctx, doc, m);
    }
    c->tokens_per_second = 0;
    if ((st = mmi_json_f64(ctx, doc, root, "mlp_ratio", 0, 0.01, 64, &ratio))) return st;
    c->intermediate = (int64_t)((double)c->width * ratio);
    return MM_OK;
}

/* The frequencies of a quarter of the head, for rows and once more for columns. */
static mm_status prepare(mm_context *ctx, mm_model *m)
{
    vision_config *c = m->config;
    mmi_rope_spec ropes[2] = {mmi_rope_plain(c->theta, 0), mmi_rope_plain(c->theta, 0)};
    return mmi_rope_prepare(ctx, m, ropes, 2, c->width / c->heads / 2, c->rope_scale);
}

/* What follows from the grids: places and segments of the patches, in windows where the model has them. */
typedef struct {
    mmi_value positions; /* [2, 1, N], rows and columns */
    mmi_value frames;    /* offsets of frames among the patches */
    mmi_value windows;   /* and of windows; 0: none */
    mmi_value order;     /* [1, groups], groups window by window */
    mmi_value back;      /* and their places there */
} layout;

/* Frames and windows of all grids, whose patches must be N. */
static int count_segments(mmi_io *io, const vision_config *c, const int32_t *grid, int64_t count, int64_t N, int64_t *frames, int64_t *windows)
{
    int64_t sum = 0, side = c->window ? c->window * c->merge : 1;

    *frames = *windows = 0;
    for (int64_t i = 0; i < count; i++, grid += 3) {
        size_t n;
        if (grid[0] < 1 || grid[1] < 1 || grid[2] < 1 || grid[1] % c->merge || grid[2] % c->merge) {
            mmi_graph_fail(io->g, MM_E_ARGUMENT, "a grid of %d x %d x %d patches is not made of groups of %lld x %lld", grid[0], grid[1], grid[2],
                           (long long)c->merge, (long long)c->merge);
            return 0;
        }
        if (mmi_size_mul3((size_t)grid[0], (size_t)grid[1], (size_t)grid[2], &n) || n > (size_t)(N - sum)) {
            sum = N + 1;
            break;
        }
        sum += (int64_t)n;
        *frames += grid[0];
        *windows += grid[0] * ((grid[1] + side - 1) / side) * ((grid[2] + side - 1) / side);
    }
    if (sum == N) return 1;
    mmi_graph_fail(io->g, MM_E_ARGUMENT, "the grids hold %s than the %lld patches of the pixels", sum > N ? "more patches" : "fewer patches", (long long)N);
    return 0;
}

/* The patches of a group, at row and column (y, x) of groups. */
static int32_t *write_group(const vision_config *c, int32_t y, int32_t x, int32_t *rows_at, int64_t N)
{
    for (int32_t dy = 0; dy < c->merge; dy++)
        for (int32_t dx = 0; dx < c->merge; dx++, rows_at++) {
            rows_at[0] = y * (int32_t)c->merge + dy;
            rows_at[N] = x * (int32_t)c->merge + dx;
        }
    return rows_at;
}

/* One frame of H x W groups, the first of which is `first`; w is the next window's beginning, to be written behind. */
static int32_t *write_frame(const vision_config *c, int32_t H, int32_t W, int32_t first, int32_t *at, int64_t N, int32_t **order, int32_t **window)
{
    int32_t side_y = c->window ? (int32_t)c->window : H, side_x = c->window ? (int32_t)c->window : W;

    for (int32_t y0 = 0; y0 < H; y0 += side_y)
        for (int32_t x0 = 0; x0 < W; x0 += side_x) {
            int32_t groups = 0;
            for (int32_t y = y0; y < y0 + side_y && y < H; y++)
                for (int32_t x = x0; x < x0 + side_x && x < W; x++, groups++) {
                    at = write_group(c, y, x, at, N);
                    if (*order) *(*order)++ = first + y * W + x;
                }
            if (!*window) continue;
            (*window)[1] = (*window)[0] + groups * (int32_t)(c->merge * c->merge);
            ++*window;
        }
    return at;
}

static int lay_out(mmi_io *io, const vision_config *c, const int32_t *grid, int64_t count, int64_t N, layout *l)
{
    mmi_graph *g = io->g;
    int64_t frames, windows, groups = N / (c->merge * c->merge);
    void *positions, *frame, *window = NULL, *order = NULL, *back = NULL;
    int32_t *at, *f, *w, *o, first = 0;

    memset(l, 0, sizeof *l);
    if (!count_segments(io, c, grid, count, N, &frames, &windows)) return 0;
    l->positions = mmi_graph_constant(g, MM_DTYPE_I32, 3, (int64_t[]){2, 1, N}, &positions);
    l->frames = mmi_graph_constant(g, MM_DTYPE_I32, 1, (int64_t[]){frames + 1}, &frame);
    if (c->window) {
        l->windows = mmi_graph_constant(g, MM_DTYPE_I32, 1, (int64_t[]){windows + 1}, &window);
        l->order = mmi_graph_constant(g, MM_DTYPE_I32, 2, (int64_t[]){1, groups}, &order);
        l->back = mmi_graph_constant(g, MM_DTYPE_I32, 2, (int64_t[]){1, groups}, &back);
    }
    if (g->status) return 0;
    at = positions;
    f = frame;
    w = window;
    o = order;
    *f = 0;
    if (w) *w = 0;
    for (int64_t i = 0; i < count; i++, grid += 3)
        for (int32_t t = 0; t < grid[0]; t++, f++) {
            int32_t H = grid[1] / (int32_t)c->merge, W = grid[2] / (int32_t)c->merge;
            at = write_frame(c, H, W, first, at, N, &o, &w);
            first += H * W;
            f[1] = f[0] + grid[1] * grid[2];
        }
    for (int32_t k = 0; back && k < groups; k++) ((int32_t *)back)[((int32_t *)order)[k]] = k;
    return 1;
}

static mmi_norm_spec norm_of(mmi_io *io, int slot, int64_t l)
{
    return (mmi_norm_spec){(io->model->info.features & GATED) != 0, mmi_io_weight(io, slot, l), mmi_io_weight(io, slot + 1, l), 1e-6f, 0};
}

static mmi_encoder_block_spec layer(mmi_io *io, int64_t l)
{
    const vision_config *c = io->model->config;
    mmi_encoder_block_spec b = {0};

    b.norm1 = norm_of(io, NORM1, l);
    b.norm2 = norm_of(io, NORM2, l);
    b.attention.wq = mmi_io_weight(io, QKV, l);
    b.attention.bq = mmi_io_weight(io, QKV_BIAS, l);
    b.attention.wo = mmi_io_weight(io, O, l);
    b.attention.bo = mmi_io_weight(io, O_BIAS, l);
    b.attention.heads = b.attention.key_heads = c->heads;
    b.attention.dim = c->width / c->heads;
    b.attention.spec.scale = 1.0f / sqrtf((float)b.attention.dim);
    b.attention.rope_neox = 1;
    b.feed_forward = mmi_layer_feed_forward(io, UP, l, c->act);
    b.feed_forward.gate = mmi_io_weight(io, GATE, l);
    b.feed_forward.gate_bias = mmi_io_weight(io, GATE_BIAS, l);
    b.feed_forward.gated = (io->model->info.features & GATED) != 0;
    return b;
}

/* Groups [1, groups, width of a group] in the order of ids, 0: as they are. */
static mmi_value reorder(mmi_graph *g, mmi_value x, mmi_value ids, int64_t groups, int64_t width, int64_t count)
{
    if (!ids) return x;
    x = mmi_gather(g, mmi_reshape(g, x, 3, (int64_t[]){1, groups, width}), ids);
    return mmi_reshape(g, x, 3, (int64_t[]){1, count, groups * width / count});
}

/* pixel_values [N, M T P P] of all patches, grid_thw [n, 3] -> pooler_output [groups, C] */
static void build(mmi_io *io)
{
    const vision_config *c = io->model->config;
    const int64_t sections[2] = {c->width / c->heads / 4, c->width / c->heads / 4}, group = c->width * c->merge * c->merge;
    const int32_t *values = mmi_io_values(io, "grid_thw");
    mmi_graph *g = io->g;
    mmi_value x = mmi_io_require(io, "pixel_values", MM_DTYPE_F32, 2), grid = mmi_io_require(io, "grid_thw", MM_DTYPE_I32, 2), rope;
    mmi_norm_spec norm = norm_of(io, MERGE_NORM, -1);
    int64_t N, groups;
    layout l;

    if (g->status) return;
    if (!values || mmi_graph_look(g, grid)->shape[1] != 3) {
        mmi_graph_fail(g, MM_E_SHAPE, "grids of patches must be known as rows of time, height and width");
        return;
    }
    N = mmi_graph_look(g, x)->shape[0];
    groups = N / (c->merge * c->merge);
    x = mmi_linear(g, x, mmi_io_weight(io, PATCHES, -1), 0, MMI_ACT_NONE);
    if (g->status || !lay_out(io, c, values, mmi_graph_look(g, grid)->shape[0], N, &l)) return;
    rope = mmi_reshape(g, mmi_graph_weight(g, &io->model->inverse_frequencies), 1, (int64_t[]){2 * sections[0]});
    rope = mmi_rope_table_streams(g, l.positions, rope, sections, 1);
    x = mmi_reshape(g, x, 3, (int64_t[]){1, N, c->width});
    x = reorder(g, x, l.order, groups, group, N);
    for (int64_t k = 0; k < io->model->info.layers && !g->status; k++) {
        mmi_encoder_block_spec b = layer(io, k);
        b.attention.rope = rope;
        b.attention.spec.segments = l.windows && !c->full[k] ? l.windows : l.frames;
        x = mmi_encoder_block(g, x, &b);
    }
    x = mmi_reshape(g, mmi_norm(g, x, &norm), 3, (int64_t[]){1, groups, group});
    x = mmi_linear(g, x, mmi_io_weight(io, MERGE_UP, -1), mmi_io_weight(io, MERGE_UP_BIAS, -1), MMI_ACT_GELU);
    x = mmi_linear(g, x, mmi_io_weight(io, MERGE_DOWN, -1), mmi_io_weight(io, MERGE_DOWN_BIAS, -1), MMI_ACT_NONE);
    x = reorder(g, x, l.back, groups, c->out, groups);
    mmi_io_output(io, "pooler_output", mmi_reshape(g, x, 2, (int64_t[]){groups, c->out}));
}

static const char *const classes[] = {"Qwen2VisionTransformerPretrainedModel", "Qwen2_5_VisionTransformerPretrainedModel", NULL};
static const char *const prefixes[] = {"", NULL};

const mmi_architecture mmi_qwen2_vl_vision = {
    .name = "qwen2_vl_vision", .classes = classes, .prefixes = prefixes, .processor = "Qwen2VLImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(vision_config), .read_hf = read_hf, .dimension = dimension,
    .prepare = prepare, .build = build,
};
