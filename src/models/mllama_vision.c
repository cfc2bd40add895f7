/* The vision model of Llama 3.2 Vision (The Llama 3 Herd of Models: arXiv:2407.21783, section 7.1): pictures as up to K square tiles, a
 * transformer over the patches of all tiles of a picture, and a gated one behind it; what comes out of chosen layers of the first stands beside
 * the last states. From a Hugging Face directory (MllamaVisionModel).
 * SPDX-License-Identifier: MIT */
#include "mllama_vision.h"

#include "architecture_config.h"
#include "encoder_block.h"
#include "gated_cross_block.h"
#include "io.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "picture_mask_op.h"
#include "row_ops.h"
#include "shape_ops.h"

enum { MAX_TAPS = 64, MAX_TILES = 64, PAD_TO = 8 };
static const float END_EPS = 1e-5f; /* of the norms before and behind the first transformer */

typedef struct {
    int64_t heads, intermediate, tiles, kinds; /* kinds of canvas: arrangements of tiles */
    int64_t taps[MAX_TAPS], n_taps;            /* layers whose output is taken */
    float eps;
    mmi_activation act;
} vision_config;

enum {
    CLASS, PATCHES, POSITIONS, POSITIONS_GATE, TILE_POSITIONS, PRE_TILE, PRE_TILE_GATE, POST_TILE, POST_TILE_GATE, PRE_NORM, PRE_NORM_BIAS, POST_NORM,
    POST_NORM_BIAS,
    NORM1, NORM1_BIAS, Q, Q_BIAS, K, K_BIAS, V, V_BIAS, O, O_BIAS, NORM2, NORM2_BIAS, UP, UP_BIAS, DOWN, DOWN_BIAS, /* no biases of attention */
    LAYER_SLOTS = DOWN_BIAS - NORM1 + 1,
    GLOBAL = NORM1 + LAYER_SLOTS, /* the same of the second transformer, and its gates */
    GATE1 = GLOBAL + LAYER_SLOTS, GATE2
};

#define LAYER(base, name, flags)                                                                     \
    {base + NORM1 - NORM1, name ".layers.%.input_layernorm.weight", NULL, "C", 0, flags},            \
    {base + NORM1_BIAS - NORM1, name ".layers.%.input_layernorm.bias", NULL, "C", 0, flags},         \
    {base + Q - NORM1, name ".layers.%.self_attn.q_proj.weight", NULL, "C,C", 0, flags},             \
    {base + K - NORM1, name ".layers.%.self_attn.k_proj.weight", NULL, "C,C", 0, flags},             \
    {base + V - NORM1, name ".layers.%.self_attn.v_proj.weight", NULL, "C,C", 0, flags},             \
    {base + O - NORM1, name ".layers.%.self_attn.o_proj.weight", NULL, "C,C", 0, flags},             \
    {base + NORM2 - NORM1, name ".layers.%.post_attention_layernorm.weight", NULL, "C", 0, flags},   \
    {base + NORM2_BIAS - NORM1, name ".layers.%.post_attention_layernorm.bias", NULL, "C", 0, flags}, \
    {base + UP - NORM1, name ".layers.%.mlp.fc1.weight", NULL, "I,C", 0, flags},                     \
    {base + UP_BIAS - NORM1, name ".layers.%.mlp.fc1.bias", NULL, "I", 0, flags},                    \
    {base + DOWN - NORM1, name ".layers.%.mlp.fc2.weight", NULL, "C,I", 0, flags},                   \
    {base + DOWN_BIAS - NORM1, name ".layers.%.mlp.fc2.bias", NULL, "C", 0, flags}

/* C hidden, M channels, P patch side, I intermediate, N states of a tile, R kinds of canvas and none, T C and L N C of all tiles */
static const mmi_weight_row rows[] = {
    {CLASS, "class_embedding", NULL, "C>1,1,C", 0, MMI_ROW_TABLE},
    {PATCHES, "patch_embedding.weight", NULL, "C,M,P,P", 0, 0},
    {POSITIONS, "gated_positional_embedding.embedding", NULL, "N,C", 0, MMI_ROW_TABLE},
    {POSITIONS_GATE, "gated_positional_embedding.gate", NULL, "1", 0, 0},
    {TILE_POSITIONS, "gated_positional_embedding.tile_embedding.weight", NULL, "R,L", 0, MMI_ROW_TABLE},
    {PRE_TILE, "pre_tile_positional_embedding.embedding.weight", NULL, "R,T", 0, MMI_ROW_TABLE},
    {PRE_TILE_GATE, "pre_tile_positional_embedding.gate", NULL, "1", 0, 0},
    {POST_TILE, "post_tile_positional_embedding.embedding.weight", NULL, "R,T", 0, MMI_ROW_TABLE},
    {POST_TILE_GATE, "post_tile_positional_embedding.gate", NULL, "1", 0, 0},
    {PRE_NORM, "layernorm_pre.weight", NULL, "C", 0, 0},
    {PRE_NORM_BIAS, "layernorm_pre.bias", NULL, "C", 0, 0},
    {POST_NORM, "layernorm_post.weight", NULL, "C", 0, 0},
    {POST_NORM_BIAS, "layernorm_post.bias", NULL, "C", 0, 0},
    LAYER(NORM1, "transformer", 0),
    LAYER(GLOBAL, "global_transformer", MMI_ROW_DECODER),
    {GATE1, "global_transformer.layers.%.gate_attn", NULL, "1", 0, MMI_ROW_DECODER},
    {GATE2, "global_transformer.layers.%.gate_ffn", NULL, "1", 0, MMI_ROW_DECODER},
};

int64_t mmi_mllama_tiles(const mm_model *m) { return ((const vision_config *)m->config)->tiles; }
int64_t mmi_mllama_tile_states(const mm_model *m) { return 1 + m->info.image_size[0] / m->info.patch * (m->info.image_size[1] / m->info.patch); }
int64_t mmi_mllama_state_width(const mm_model *m) { return m->info.hidden * (1 + ((const vision_config *)m->config)->n_taps); }

static int64_t dimension(const mm_model *m, char letter)
{
    const vision_config *c = m->config;
    const mmi_model_info *i = &m->info;
    switch (letter) {
    case 'C': return i->hidden;
    case 'M': return i->channels;
    case 'P': return i->patch;
    case 'I': return c->intermediate;
    case 'N': return mmi_mllama_tile_states(m);
    case 'R': return c->kinds + 1;
    case 'T': return c->tiles * i->hidden;
    case 'L': return c->tiles * mmi_mllama_tile_states(m) * i->hidden;
    default: return -1;
    }
}

/* intermediate_layers_indices; negative ones count from the end. */
static mm_status read_taps(mm_context *ctx, const mm_model *m, const mmi_json *doc, vision_config *c)
{
    static const int64_t usual[] = {3, 7, 15, 23, 30};
    const mmi_json_node *list = mmi_json_get(mmi_json_root(doc), "intermediate_layers_indices"), *node;
    int64_t layers = m->info.layers, k = 0;

    if (!list || mmi_json_kind_of(list) == MMI_JSON_NULL) {
        for (; c->n_taps < 5; c->n_taps++) c->taps[c->n_taps] = usual[c->n_taps];
        if (layers > usual[4]) return MM_OK;
        return mmi_fail(ctx, MM_E_FORMAT, "%s: intermediate_layers_indices is missing, and num_hidden_layers %lld is less than its default needs",
                        mmi_json_name(doc), (long long)layers);
    }
    node = mmi_json_kind_of(list) == MMI_JSON_ARRAY ? mmi_json_first(list) : NULL;
    for (; node; node = mmi_json_next(node)) {
        if (!mmi_json_integer(node, &k) || k < -layers || k >= layers || c->n_taps == MAX_TAPS) break;
        c->taps[c->n_taps++] = k < 0 ? k + layers : k;
    }
    if (!node && c->n_taps) return MM_OK;
    return mmi_fail(ctx, MM_E_FORMAT, "%s: intermediate_layers_indices is no list of 1 to %d layers of %lld to %lld", mmi_json_name(doc), MAX_TAPS,
                    (long long)-layers, (long long)layers - 1);
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc), *canvases = mmi_json_get(root, "supported_aspect_ratios");
    vision_config *c = m->config;
    mmi_model_info *info = &m->info;
    int64_t width;
    double eps = 1e-5;
    mm_status st;

    info->hidden = 1280;
    info->layers = 32;
    info->decoder_layers = 8;
    c->heads = 16;
    c->intermediate = 5120;
    c->tiles = 4;
    c->kinds = 8;
    c->act = MMI_ACT_GELU;
    if ((st = mmi_json_i64(ctx, doc, root, "hidden_size", 0, 1, 1 << 17, &info->hidden))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_hidden_layers", 0, 1, 4096, &info->layers))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_global_layers", 0, 0, 4096, &info->decoder_layers))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, mmi_json_get(root, "attention_heads") ? "attention_heads" : "num_attention_heads", 0, 1, 4096, &c->heads))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "intermediate_size", 0, 1, 1 << 20, &c->intermediate))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "max_num_tiles", 0, 1, MAX_TILES, &c->tiles))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "norm_eps", 0, 0, 1, &eps))) return st;
    if ((st = mmi_config_activation(ctx, doc, root, "hidden_act", &c->act))) return st;
    if ((st = mmi_config_image(ctx, m, doc, root, 448, 14))) return st;
    if ((st = read_taps(ctx, m, doc, c))) return st;
    if (mmi_json_kind_of(canvases) == MMI_JSON_ARRAY) c->kinds = (int64_t)mmi_json_count(canvases);
    if (c->kinds < 1 || c->kinds > MAX_TILES * MAX_TILES)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: supported_aspect_ratios lists %lld, allowed are 1 to %d", mmi_json_name(doc), (long long)c->kinds,
                        MAX_TILES * MAX_TILES);
    if (info->hidden % c->heads || info->hidden / c->heads > 512)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: hidden_size %lld does not divide into %lld heads of at most 512", mmi_json_name(doc),
                        (long long)info->hidden, (long long)c->heads);
    width = mmi_mllama_state_width(m);
    if ((st = mmi_json_i64(ctx, doc, root, "vision_output_dim", 0, 1, 1 << 24, &width))) return st;
    if (width != mmi_mllama_state_width(m))
        return mmi_fail(ctx, MM_E_FORMAT, "%s: vision_output_dim is %lld, but %lld intermediate_layers_indices and the last states of hidden_size %lld are %lld",
                        mmi_json_name(doc), (long long)width, (long long)c->n_taps, (long long)info->hidden, (long long)mmi_mllama_state_width(m));
    c->eps = (float)eps;
    return MM_OK;
}

/* Through one layer; slots from `first` on, gates 0 for none. */
static mmi_value layer(mmi_io *io, mmi_value x, int first, int64_t l, mmi_value bias, mmi_value gate1, mmi_value gate2)
{
    const vision_config *c = io->model->config;
    int64_t C = io->model->info.hidden;
    mmi_encoder_block_spec b = {0};

    b.norm1 = mmi_layer_norm_spec(io, first, l, c->eps);
    b.norm2 = mmi_layer_norm_spec(io, first + NORM2 - NORM1, l, c->eps);
    b.attention = mmi_layer_attention(io, first + Q - NORM1, l, c->heads, c->heads, C / c->heads);
    b.attention.spec.bias = bias;
    if (first == GLOBAL) b.attention.spec.weights = b.attention.spec.mean_weights = NULL; /* the names are those of the first stack */
    b.feed_forward = mmi_layer_feed_forward(io, first + UP - NORM1, l, c->act);
    b.scale1 = gate1 ? mmi_tanh_gate(io->g, gate1, C) : 0;
    b.scale2 = gate2 ? mmi_tanh_gate(io->g, gate2, C) : 0;
    return mmi_encoder_block(io->g, x, &b);
}

/* x [n, K, N, C] and the gated embedding of each tile by the kind of its canvas, i32 [n]. */
static mmi_value add_tile_embedding(mmi_io *io, mmi_value x, mmi_value kinds, int table, int gate, int64_t rows_of_tile)
{
    mmi_graph *g = io->g;
    int64_t tiles = mmi_mllama_tiles(io->model), C = io->model->info.hidden, n = g->status ? 0 : mmi_graph_look(g, kinds)->shape[0];
    mmi_value e = mmi_reshape(g, mmi_lookup(g, kinds, mmi_io_weight(io, table, -1)), 4, (int64_t[]){n, tiles, 1, C});

    e = mmi_mul(g, e, mmi_tanh_gate(g, mmi_io_weight(io, gate, -1), C));
    return mmi_add(g, x, mmi_repeat(g, e, 2, rows_of_tile));
}

/* (1 - t) of the position's embedding and t of the tile's and position's, t the gate. */
static mmi_value add_positions(mmi_io *io, mmi_value x, mmi_value kinds, const int64_t shape[4])
{
    mmi_graph *g = io->g;
    mmi_value own = mmi_weight_value(g, mmi_io_weight(io, POSITIONS, -1)); /* [N, C] */
    mmi_value e = mmi_reshape(g, mmi_lookup(g, kinds, mmi_io_weight(io, TILE_POSITIONS, -1)), 4, shape);

    e = mmi_add(g, e, mmi_scale(g, own, -1));
    e = mmi_mul(g, e, mmi_tanh_gate(g, mmi_io_weight(io, POSITIONS_GATE, -1), shape[3]));
    return mmi_add(g, mmi_add(g, x, own), e);
}

/* pixel_values [B, n, K, M, H, W], aspect_ratio_ids [B, n], aspect_ratio_mask [B, n, K] -> last_hidden_state [B, n, K, N, S] */
static void build(mmi_io *io)
{
    const mmi_model_info *info = &io->model->info;
    const vision_config *c = io->model->config;
    const int64_t tiles = c->tiles, C = info->hidden, N = mmi_mllama_tile_states(io->model), padded = (N + PAD_TO - 1) / PAD_TO * PAD_TO;
    mmi_graph *g = io->g;
    mmi_norm_spec pre = mmi_layer_norm_spec(io, PRE_NORM, -1, END_EPS), post = mmi_layer_norm_spec(io, POST_NORM, -1, END_EPS);
    mmi_value pixels = mmi_io_require(io, "pixel_values", MM_DTYPE_F32, 6), kinds = mmi_io_require(io, "aspect_ratio_ids", MM_DTYPE_I32, 2);
    mmi_value mask = mmi_io_require(io, "aspect_ratio_mask", MM_DTYPE_I32, 3), own, bias, x, taps[MAX_TAPS] = {0};
    const int64_t *shape;
    int64_t B, n;
    char s[128], t[128], u[128];

    if (g->status) return;
    shape = mmi_graph_look(g, pixels)->shape;
    B = shape[0];
    n = shape[1];
    if (shape[2] != tiles || shape[3] != info->channels || shape[4] != info->image_size[0] || shape[5] != info->image_size[1] ||
        mmi_graph_look(g, kinds)->shape[0] != B || mmi_graph_look(g, kinds)->shape[1] != n || mmi_graph_look(g, mask)->shape[0] != B ||
        mmi_graph_look(g, mask)->shape[1] != n || mmi_graph_look(g, mask)->shape[2] != tiles) {
        mmi_graph_fail(g, MM_E_SHAPE,
                       "pixel_values are %s, aspect_ratio_ids %s and aspect_ratio_mask %s; expected [B, n, %lld, %lld, %lld, %lld], [B, n] and [B, n, %lld]",
                       mmi_graph_shape_text(g, pixels, s), mmi_graph_shape_text(g, kinds, t), mmi_graph_shape_text(g, mask, u), (long long)tiles,
                       (long long)info->channels, (long long)info->image_size[0], (long long)info->image_size[1], (long long)tiles);
        return;
    }
    kinds = mmi_reshape(g, kinds, 1, (int64_t[]){B * n});
    bias = mmi_tile_bias(g, mmi_reshape(g, mask, 2, (int64_t[]){B * n, tiles}), padded, N);
    x = mmi_reshape(g, pixels, 4, (int64_t[]){B * n * tiles, info->channels, info->image_size[0], info->image_size[1]});
    x = mmi_linear(g, mmi_patches(g, x, info->patch), mmi_io_weight(io, PATCHES, -1), 0, MMI_ACT_NONE);
    x = add_tile_embedding(io, mmi_reshape(g, x, 4, (int64_t[]){B * n, tiles, N - 1, C}), kinds, PRE_TILE, PRE_TILE_GATE, N - 1);
    own = mmi_weight_value(g, mmi_io_weight(io, CLASS, -1)); /* [1, 1, C] */
    x = mmi_concat(g, 1, (mmi_value[]){own, mmi_reshape(g, x, 3, (int64_t[]){B * n * tiles, N - 1, C})}, 2);
    x = add_positions(io, mmi_reshape(g, x, 4, (int64_t[]){B * n, tiles, N, C}), kinds, (int64_t[]){B * n, tiles, N, C});
    x = mmi_reshape(g, mmi_norm(g, x, &pre), 3, (int64_t[]){B * n * tiles, N, C});
    if (padded > N) x = mmi_concat(g, 1, (mmi_value[]){x, mmi_repeat(g, mmi_scale(g, own, 0), 1, padded - N)}, 2);
    x = mmi_reshape(g, x, 3, (int64_t[]){B * n, tiles * padded, C});
    for (int64_t l = 0; l < info->layers && !g->status; l++) {
        x = layer(io, x, NORM1, l, bias, 0, 0);
        for (int64_t k = 0; k < c->n_taps; k++)
            if (c->taps[k] == l) taps[k] = x;
    }
    x = mmi_reshape(g, mmi_norm(g, x, &post), 4, (int64_t[]){B * n, tiles, padded, C});
    x = mmi_reshape(g, add_tile_embedding(io, x, kinds, POST_TILE, POST_TILE_GATE, padded), 3, (int64_t[]){B * n, tiles * padded, C});
    for (int64_t l = 0; l < info->decoder_layers && !g->status; l++)
        x = layer(io, x, GLOBAL, l, bias, mmi_io_weight(io, GATE1, l), mmi_io_weight(io, GATE2, l));
    /* Beside the last states those of the taps, element by element: [C], then [C][taps]. */
    own = mmi_concat(g, 2, taps, (size_t)c->n_taps);
    own = mmi_reshape(g, mmi_transpose(g, mmi_split_last(g, own, c->n_taps, C)), 3, (int64_t[]){B * n, tiles * padded, C * c->n_taps});
    x = mmi_concat(g, 2, (mmi_value[]){x, own}, 2);
    x = mmi_slice(g, mmi_reshape(g, x, 4, (int64_t[]){B * n, tiles, padded, C * (1 + c->n_taps)}), 2, 0, N);
    mmi_io_output(io, "last_hidden_state", mmi_reshape(g, x, 5, (int64_t[]){B, n, tiles, N, C * (1 + c->n_taps)}));
}

static const char *const classes[] = {"MllamaVisionModel", NULL};
static const char *const prefixes[] = {"vision_model.", "", NULL};

const mmi_architecture mmi_mllama_vision = {
    .name = "mllama_vision", .classes = classes, .prefixes = prefixes, .processor = "MllamaImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(vision_config), .read_hf = read_hf, .dimension = dimension, .build = build,
};
