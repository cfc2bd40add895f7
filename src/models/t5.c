/* T5: Raffel et al. 2020 (arXiv:1910.10683), and its version 1.1. Encoder and decoder with RMS normalization before each part, no biases,
 * scores that are not scaled, and positions as a bias by distance that all layers of a side share. From a Hugging Face directory
 * (T5ForConditionalGeneration, T5EncoderModel).
 * SPDX-License-Identifier: MIT */
#include "t5.h"

#include <math.h>
#include <string.h>

#include "architecture_config.h"
#include "decoder_block.h"
#include "encoder_block.h"
#include "io.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "row_ops.h"
#include "shape_ops.h"
#include "token_embedding.h"

typedef struct {
    int64_t heads, dim, intermediate, buckets, distance;
    float eps;
    double factor; /* of all that new weights begin with */
    mmi_activation act;
    int scaled; /* the head reads states divided by the root of their width, as where it is the embedding */
} t5_config;

enum { DECODES = 1, PLAIN = 2, GATED = 4, TIED = 8, UNTIED = 16 };

/* A side's layer, counted from its first slot; the biases are absent. */
enum { NORM1, Q, K = Q + 2, V = K + 2, O = V + 2, NORM2 = O + 2, GATE, UP, DOWN = UP + 2, SIDE_SLOTS = DOWN + 2 };

enum {
    TOKENS, HEAD, SOURCE_DISTANCES, SOURCE_NORM, DISTANCES, NORM,
    SOURCE, TARGET = SOURCE + SIDE_SLOTS, CROSS_NORM = TARGET + SIDE_SLOTS, CROSS_Q, CROSS_K = CROSS_Q + 2, CROSS_V = CROSS_K + 2, CROSS_O = CROSS_V + 2
};

#define SIDE_ROWS(first, side, last, when, flags)                                                                \
    {(first) + NORM1, side ".block.%.layer.0.layer_norm.weight", NULL, "C", when, flags},                        \
    {(first) + Q, side ".block.%.layer.0.SelfAttention.q.weight", NULL, "H,C", when, flags},                     \
    {(first) + K, side ".block.%.layer.0.SelfAttention.k.weight", NULL, "H,C", when, flags},                     \
    {(first) + V, side ".block.%.layer.0.SelfAttention.v.weight", NULL, "H,C", when, flags},                     \
    {(first) + O, side ".block.%.layer.0.SelfAttention.o.weight", NULL, "C,H", when, flags},                     \
    {(first) + NORM2, side ".block.%.layer." last ".layer_norm.weight", NULL, "C", when, flags},                 \
    {(first) + GATE, side ".block.%.layer." last ".DenseReluDense.wi_0.weight", NULL, "I,C", (when) | GATED, flags}, \
    {(first) + UP, side ".block.%.layer." last ".DenseReluDense.wi_1.weight", NULL, "I,C", (when) | GATED, flags},   \
    {(first) + UP, side ".block.%.layer." last ".DenseReluDense.wi.weight", NULL, "I,C", (when) | PLAIN, flags},     \
    {(first) + DOWN, side ".block.%.layer." last ".DenseReluDense.wo.weight", NULL, "C,I", when, flags}

/* C hidden, V vocabulary, N heads, H their width, B buckets of distances, I intermediate */
static const mmi_weight_row rows[] = {
    {TOKENS, "shared.weight|encoder.embed_tokens.weight", NULL, "V,C", 0, 0},
    {HEAD, "lm_head.weight", NULL, "V,C", DECODES | TIED, MMI_ROW_TIED}, /* or TOKENS */
    {HEAD, "lm_head.weight", NULL, "V,C", DECODES | UNTIED, 0},
    {SOURCE_DISTANCES, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", NULL, "B,N", 0, MMI_ROW_TABLE},
    {SOURCE_NORM, "encoder.final_layer_norm.weight", NULL, "C", 0, 0},
    {DISTANCES, "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", NULL, "B,N", DECODES, MMI_ROW_TABLE},
    {NORM, "decoder.final_layer_norm.weight", NULL, "C", DECODES, 0},
    SIDE_ROWS(SOURCE, "encoder", "1", 0, 0),
    SIDE_ROWS(TARGET, "decoder", "2", DECODES, MMI_ROW_DECODER),
    {CROSS_NORM, "decoder.block.%.layer.1.layer_norm.weight", NULL, "C", DECODES, MMI_ROW_DECODER},
    {CROSS_Q, "decoder.block.%.layer.1.EncDecAttention.q.weight", NULL, "H,C", DECODES, MMI_ROW_DECODER},
    {CROSS_K, "decoder.block.%.layer.1.EncDecAttention.k.weight", NULL, "H,C", DECODES, MMI_ROW_DECODER},
    {CROSS_V, "decoder.block.%.layer.1.EncDecAttention.v.weight", NULL, "H,C", DECODES, MMI_ROW_DECODER},
    {CROSS_O, "decoder.block.%.layer.1.EncDecAttention.o.weight", NULL, "C,H", DECODES, MMI_ROW_DECODER},
};

static int64_t dimension(const mm_model *m, char letter)
{
    const t5_config *c = m->config;
    switch (letter) {
    case 'C': return m->info.hidden;
    case 'V': return m->info.vocabulary;
    case 'N': return c->heads;
    case 'H': return c->heads * c->dim;
    case 'B': return c->buckets;
    case 'I': return c->intermediate;
    default: return -1;
    }
}

/* As transformers draws them: queries so that scores, which are not scaled, begin near 1. */
static double beginning(const mm_model *m, int slot)
{
    const t5_config *c = m->config;
    const double C = (double)m->info.hidden, D = (double)c->dim;

    if (slot == TOKENS || slot == HEAD || slot == SOURCE_NORM || slot == NORM) return c->factor;
    if (slot == SOURCE_DISTANCES || slot == DISTANCES) return c->factor / sqrt(C);
    switch (slot < CROSS_NORM ? (slot - SOURCE) % SIDE_SLOTS : slot - CROSS_NORM) { /* attention across has the slots of attention in a side */
    case NORM1:
    case NORM2: return c->factor;
    case Q: return c->factor / sqrt(C * D);
    case O: return c->factor / sqrt((double)c->heads * D);
    case DOWN: return c->factor / sqrt((double)c->intermediate);
    default: return c->factor / sqrt(C); /* K, V, GATE, UP */
    }
}

/* "relu", "gated-gelu": the activation, and whether the layer is gated. */
static mm_status read_feed_forward(mm_context *ctx, mm_model *m, const mmi_json *doc, const mmi_json_node *root)
{
    t5_config *c = m->config;
    const char *name = "relu";
    mm_status st = mmi_json_text(ctx, doc, root, "feed_forward_proj", 0, &name);
    int gated = !st && !strncmp(name, "gated-", 6);

    if (st) return st;
    m->info.features |= gated ? GATED : PLAIN;
    if (!strcmp(name, "gated-gelu")) {
        c->act = MMI_ACT_GELU_TANH; /* not GELU itself: as the first checkpoints of version 1.1 were trained */
        return MM_OK;
    }
    return mmi_config_activation_named(ctx, doc, "feed_forward_proj", name + (gated ? 6 : 0), &c->act);
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    t5_config *c = m->config;
    mmi_model_info *info = &m->info;
    double eps = 1e-6;
    int tied = 1;
    mm_status st;

    c->buckets = 32;
    c->distance = 128;
    c->factor = 1;
    if ((st = mmi_json_i64(ctx, doc, root, "vocab_size", 1, 1, 1 << 22, &info->vocabulary))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "d_model", 1, 1, 1 << 17, &info->hidden))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "d_kv", 1, 1, 512, &c->dim))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "d_ff", 1, 1, 1 << 20, &c->intermediate))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_heads", 1, 1, 4096, &c->heads))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_layers", 1, 1, 4096, &info->layers))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "relative_attention_num_buckets", 0, 4, 1 << 16, &c->buckets))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "relative_attention_max_distance", 0, 1, 1 << 24, &c->distance))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "layer_norm_epsilon", 0, 0, 1, &eps))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "initializer_factor", 0, 0, 1e3, &c->factor))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "tie_word_embeddings", 0, &tied))) return st;
    c->scaled = tied;
    info->features |= tied ? TIED : UNTIED;
    if ((st = mmi_json_bool(ctx, doc, root, "scale_decoder_outputs", 0, &c->scaled))) return st; /* transformers 5 */
    if ((st = read_feed_forward(ctx, m, doc, root))) return st;
    if (c->distance <= c->buckets / 2)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: relative_attention_max_distance %lld is not above half of %lld buckets", mmi_json_name(doc),
                        (long long)c->distance, (long long)c->buckets);
    c->eps = (float)eps;
    info->context = 1 << 20; /* distances know no end */
    if (!strcmp(m->class_name, "T5EncoderModel")) return MM_OK;
    info->features |= DECODES;
    info->decoder_layers = info->layers;
    if ((st = mmi_json_i64(ctx, doc, root, "num_decoder_layers", 0, 1, 4096, &info->decoder_layers))) return st;
    info->generates = 1;
    info->fusion = MMI_FUSION_CROSS;
    info->text_is_source = 1;
    info->ids_input = "decoder_input_ids";
    info->kv = info->cross = (mmi_kv_shape){(size_t)info->decoder_layers, (size_t)c->heads, (size_t)c->dim, MM_DTYPE_F16};
    return MM_OK;
}

static mmi_norm_spec norm_of(mmi_io *io, int slot, int64_t l)
{
    const t5_config *c = io->model->config;
    return (mmi_norm_spec){1, mmi_io_weight(io, slot, l), 0, c->eps, 0};
}

static mmi_self_attention_spec attention_of(mmi_io *io, int first, int64_t l, mmi_value distances)
{
    const t5_config *c = io->model->config;
    mmi_self_attention_spec a = mmi_layer_attention(io, first + Q, l, c->heads, c->heads, c->dim);

    a.spec.scale = 1;
    a.spec.distance = distances;
    a.spec.distance_most = c->distance;
    return a;
}

static mmi_feed_forward_spec feed_forward_of(mmi_io *io, int first, int64_t l)
{
    const t5_config *c = io->model->config;
    mmi_feed_forward_spec f = mmi_layer_feed_forward(io, first + UP, l, c->act);

    f.gate = mmi_io_weight(io, first + GATE, l);
    f.gated = f.gate != 0;
    return f;
}

static mmi_value embed(mmi_io *io, const char *ids)
{
    return mmi_token_embedding(io->g, &(mmi_token_embedding_spec){.ids = mmi_io_require(io, ids, MM_DTYPE_I32, 2), .table = mmi_io_weight(io, TOKENS, -1)});
}

static mmi_value encode(mmi_io *io, mmi_value bias)
{
    mmi_graph *g = io->g;
    mmi_value x = embed(io, "input_ids"), distances = mmi_weight_value(g, mmi_io_weight(io, SOURCE_DISTANCES, -1)); /* [B, S, C] */
    mmi_norm_spec norm = norm_of(io, SOURCE_NORM, -1);

    for (int64_t l = 0; l < io->model->info.layers && !g->status; l++) {
        mmi_encoder_block_spec b = {0};
        b.norm1 = norm_of(io, SOURCE + NORM1, l);
        b.norm2 = norm_of(io, SOURCE + NORM2, l);
        b.attention = attention_of(io, SOURCE, l, distances);
        b.attention.spec.distance_both = 1;
        b.attention.spec.bias = bias;
        b.feed_forward = feed_forward_of(io, SOURCE, l);
        x = mmi_encoder_block(g, x, &b);
    }
    return mmi_norm(g, x, &norm);
}

static mmi_cross_attention_spec cross_of(mmi_io *io, int64_t l, mmi_value bias)
{
    const t5_config *c = io->model->config;
    mmi_cross_attention_spec a = mmi_layer_cross_attention(io, CROSS_Q, l, c->heads, c->dim);

    a.spec.scale = 1;
    a.spec.bias = bias;
    return a;
}

static mmi_value decode(mmi_io *io, mmi_value states, mmi_value source_bias)
{
    mmi_graph *g = io->g;
    mmi_value x = embed(io, "decoder_input_ids"), distances = mmi_weight_value(g, mmi_io_weight(io, DISTANCES, -1)); /* [B, T, C] */
    mmi_value mask = mmi_io_optional(io, "decoder_attention_mask", MM_DTYPE_I32, 2), bias = mask ? mmi_mask_bias(g, mask) : 0;
    mmi_norm_spec norm = norm_of(io, NORM, -1);

    for (int64_t l = 0; l < io->model->info.decoder_layers && !g->status; l++) {
        mmi_decoder_block_spec b = {0};
        mmi_cross_attention_spec cross = cross_of(io, l, source_bias);
        b.norm1 = norm_of(io, TARGET + NORM1, l);
        b.cross_norm = norm_of(io, CROSS_NORM, l);
        b.norm2 = norm_of(io, TARGET + NORM2, l);
        b.attention = attention_of(io, TARGET, l, distances);
        b.attention.cached = io->cached;
        b.attention.layer = (size_t)l;
        b.attention.spec.causal = 1;
        b.attention.spec.bias = bias;
        b.cross = &cross;
        b.states = states;
        b.feed_forward = feed_forward_of(io, TARGET, l);
        x = mmi_decoder_block(g, x, &b);
    }
    return mmi_norm(g, mmi_io_last(io, x), &norm);
}

/* input_ids, attention_mask [B, S]; decoder_input_ids, decoder_attention_mask [B, T] -> logits [B, T, V], encoder_last_hidden_state [B, S, C];
 * of the encoder alone: last_hidden_state */
static void build(mmi_io *io)
{
    const mmi_model_info *info = &io->model->info;
    const t5_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_value mask = io->cached ? 0 : mmi_io_optional(io, "attention_mask", MM_DTYPE_I32, 2), bias = mask ? mmi_mask_bias(g, mask) : 0;
    mmi_value states, x, head = mmi_io_weight(io, HEAD, -1);

    if (info->features & DECODES) io->side = "encoder";
    states = io->cached ? 0 : encode(io, bias);
    if (info->features & DECODES) io->side = "decoder";
    if (!io->cached && !io->encode) mmi_io_output(io, info->features & DECODES ? "encoder_last_hidden_state" : "last_hidden_state", states);
    if (!(info->features & DECODES)) return;
    for (int64_t l = 0; io->encode && l < info->decoder_layers; l++) {
        mmi_cross_attention_spec cross = cross_of(io, l, 0);
        mmi_cross_attention_store(g, states, &cross);
    }
    if (io->encode) return;
    x = decode(io, states, bias);
    if (c->scaled) x = mmi_scale(g, x, 1 / sqrtf((float)info->hidden));
    mmi_io_output(io, "logits", mmi_linear(g, x, head ? head : mmi_io_weight(io, TOKENS, -1), 0, MMI_ACT_NONE));
}

static const char *const classes[] = {"T5ForConditionalGeneration", "T5EncoderModel", NULL};
static const char *const prefixes[] = {"", NULL};

const mmi_architecture mmi_t5 = {
    .name = "t5", .classes = classes, .prefixes = prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(t5_config), .read_hf = read_hf, .dimension = dimension, .beginning = beginning, .build = build,
};
