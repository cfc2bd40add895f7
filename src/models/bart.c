/* BART (Lewis et al. 2020, arXiv:1910.13461), mBART (arXiv:2001.08210), and their decoder alone, as TrOCR (arXiv:2109.10282) and Donut have
 * it behind a vision encoder, and Whisper (arXiv:2212.04356), which hears: convolutions over a log-mel spectrogram in place of tokens. Positions are learned, counted from row 2 of their table, or sinusoidal; mBART normalizes before each part and
 * once more at the end, the others after. From a Hugging Face directory.
 * SPDX-License-Identifier: MIT */
#include "bart.h"

#include <math.h>
#include <string.h>

#include "architecture_config.h"
#include "decoder_block.h"
#include "dropout_op.h"
#include "encoder_block.h"
#include "io.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "row_ops.h"
#include "shape_ops.h"
#include "token_embedding.h"

enum { POSITION_OFFSET = 2, MOST_COMPUTED = 1 << 16 };

typedef struct {
    int64_t source_heads, source_intermediate, heads, intermediate;
    int64_t states;  /* width of what the decoder attends across to */
    float scale;     /* of embeddings, 0: none */
    mmi_activation act;
    int post_norm;
    int64_t position_offset, source_positions, bands;
} bart_config;

enum { ENCODES = 1, TIED = 2, UNTIED = 4, LEARNED = 8, EMBED_NORM = 16, LAST_NORM = 32, READS = 64, HEARS = 128, KEY_BIAS = 256, ALONE = 512 };

/* A side's layer, and what stands before and behind its layers, counted from the side's first slot. */
enum {
    POSITIONS, FIRST_NORM, FIRST_NORM_BIAS, FINAL_NORM, FINAL_NORM_BIAS, NORM1, NORM1_BIAS, Q, Q_BIAS, K, K_BIAS, V, V_BIAS, O, O_BIAS,
    NORM2, NORM2_BIAS, UP, UP_BIAS, DOWN, DOWN_BIAS, SIDE_SLOTS
};

enum {
    TOKENS, SOURCE_TOKENS, HEAD, HEAD_BIAS, CONV1, CONV1_BIAS, CONV2, CONV2_BIAS,
    SOURCE, TARGET = SOURCE + SIDE_SLOTS,
    CROSS_NORM = TARGET + SIDE_SLOTS, CROSS_NORM_BIAS, CROSS_Q, CROSS_Q_BIAS, CROSS_K, CROSS_K_BIAS, CROSS_V, CROSS_V_BIAS, CROSS_O, CROSS_O_BIAS
};

#define SIDE_ROWS(first, side, P, F, when, flags)                                                                   \
    {(first) + POSITIONS, side "embed_positions.weight", NULL, P ",C", (when) | LEARNED, MMI_ROW_TABLE},           \
    {(first) + FIRST_NORM, side "layernorm_embedding.weight", NULL, "C", (when) | EMBED_NORM, 0},                  \
    {(first) + FIRST_NORM_BIAS, side "layernorm_embedding.bias", NULL, "C", (when) | EMBED_NORM, 0},               \
    {(first) + FINAL_NORM, side "layer_norm.weight", NULL, "C", (when) | LAST_NORM, 0},                            \
    {(first) + FINAL_NORM_BIAS, side "layer_norm.bias", NULL, "C", (when) | LAST_NORM, 0},                         \
    {(first) + NORM1, side "layers.%.self_attn_layer_norm.weight", NULL, "C", when, flags},                        \
    {(first) + NORM1_BIAS, side "layers.%.self_attn_layer_norm.bias", NULL, "C", when, flags},                     \
    {(first) + Q, side "layers.%.self_attn.q_proj.weight", NULL, "C,C", when, flags},                              \
    {(first) + Q_BIAS, side "layers.%.self_attn.q_proj.bias", NULL, "C", when, flags},                             \
    {(first) + K, side "layers.%.self_attn.k_proj.weight", NULL, "C,C", when, flags},                              \
    {(first) + K_BIAS, side "layers.%.self_attn.k_proj.bias", NULL, "C", (when) | KEY_BIAS, flags},                \
    {(first) + V, side "layers.%.self_attn.v_proj.weight", NULL, "C,C", when, flags},                              \
    {(first) + V_BIAS, side "layers.%.self_attn.v_proj.bias", NULL, "C", when, flags},                             \
    {(first) + O, side "layers.%.self_attn.out_proj.weight", NULL, "C,C", when, flags},                            \
    {(first) + O_BIAS, side "layers.%.self_attn.out_proj.bias", NULL, "C", when, flags},                           \
    {(first) + NORM2, side "layers.%.final_layer_norm.weight", NULL, "C", when, flags},                            \
    {(first) + NORM2_BIAS, side "layers.%.final_layer_norm.bias", NULL, "C", when, flags},                         \
    {(first) + UP, side "layers.%.fc1.weight", NULL, F ",C", when, flags},                                         \
    {(first) + UP_BIAS, side "layers.%.fc1.bias", NULL, F, when, flags},                                           \
    {(first) + DOWN, side "layers.%.fc2.weight", NULL, "C," F, when, flags},                                       \
    {(first) + DOWN_BIAS, side "layers.%.fc2.bias", NULL, "C", when, flags}

/* C hidden, V vocabulary, P and E positions of decoder and encoder, B bands, J and I intermediate of encoder and decoder, S width of the states attended across to */
static const mmi_weight_row rows[] = {
    {TOKENS, "shared.weight|encoder.embed_tokens.weight+decoder.embed_tokens.weight", NULL, "V,C", TIED | ENCODES, MMI_ROW_PADDED},
    {TOKENS, "decoder.embed_tokens.weight", NULL, "V,C", TIED | ALONE, MMI_ROW_PADDED},
    {TOKENS, "decoder.embed_tokens.weight|shared.weight", NULL, "V,C", UNTIED, MMI_ROW_TABLE | MMI_ROW_PADDED},
    {SOURCE_TOKENS, "encoder.embed_tokens.weight|shared.weight", NULL, "V,C", UNTIED | READS, MMI_ROW_TABLE | MMI_ROW_PADDED}, /* or TOKENS */
    {HEAD, "/lm_head.weight+/output_projection.weight+/proj_out.weight", NULL, "V,C", TIED, MMI_ROW_TIED},                     /* or TOKENS */
    {HEAD, "/lm_head.weight+/output_projection.weight+/proj_out.weight", NULL, "V,C", UNTIED, 0},
    {HEAD_BIAS, "/final_logits_bias", NULL, "1,V>V", READS, MMI_ROW_OPTIONAL},
    {CONV1, "encoder.conv1.weight", NULL, "C,B,3", HEARS, 0},
    {CONV1_BIAS, "encoder.conv1.bias", NULL, "C", HEARS, 0},
    {CONV2, "encoder.conv2.weight", NULL, "C,C,3", HEARS, 0},
    {CONV2_BIAS, "encoder.conv2.bias", NULL, "C", HEARS, 0},
    SIDE_ROWS(SOURCE, "encoder.", "E", "J", ENCODES, 0),
    SIDE_ROWS(TARGET, "decoder.", "P", "I", 0, MMI_ROW_DECODER),
    {CROSS_NORM, "decoder.layers.%.encoder_attn_layer_norm.weight", NULL, "C", 0, MMI_ROW_DECODER},
    {CROSS_NORM_BIAS, "decoder.layers.%.encoder_attn_layer_norm.bias", NULL, "C", 0, MMI_ROW_DECODER},
    {CROSS_Q, "decoder.layers.%.encoder_attn.q_proj.weight", NULL, "C,C", 0, MMI_ROW_DECODER},
    {CROSS_Q_BIAS, "decoder.layers.%.encoder_attn.q_proj.bias", NULL, "C", 0, MMI_ROW_DECODER},
    {CROSS_K, "decoder.layers.%.encoder_attn.k_proj.weight", NULL, "C,S", 0, MMI_ROW_DECODER},
    {CROSS_K_BIAS, "decoder.layers.%.encoder_attn.k_proj.bias", NULL, "C", KEY_BIAS, MMI_ROW_DECODER},
    {CROSS_V, "decoder.layers.%.encoder_attn.v_proj.weight", NULL, "C,S", 0, MMI_ROW_DECODER},
    {CROSS_V_BIAS, "decoder.layers.%.encoder_attn.v_proj.bias", NULL, "C", 0, MMI_ROW_DECODER},
    {CROSS_O, "decoder.layers.%.encoder_attn.out_proj.weight", NULL, "C,C", 0, MMI_ROW_DECODER},
    {CROSS_O_BIAS, "decoder.layers.%.encoder_attn.out_proj.bias", NULL, "C", 0, MMI_ROW_DECODER},
};

/* Whisper's encoder by itself, or among a whole one's tensors. */
static const mmi_weight_row encoder_rows[] = {
    {CONV1, "conv1.weight", NULL, "C,B,3", 0, 0},
    {CONV1_BIAS, "conv1.bias", NULL, "C", 0, 0},
    {CONV2, "conv2.weight", NULL, "C,C,3", 0, 0},
    {CONV2_BIAS, "conv2.bias", NULL, "C", 0, 0},
    SIDE_ROWS(SOURCE, "", "E", "J", 0, 0),
};

static int64_t dimension(const mm_model *m, char letter)
{
    const bart_config *c = m->config;
    switch (letter) {
    case 'C': return m->info.hidden;
    case 'V': return m->info.vocabulary;
    case 'P': return m->info.context + c->position_offset;
    case 'E': return c->source_positions;
    case 'B': return c->bands;
    case 'J': return c->source_intermediate;
    case 'I': return c->intermediate;
    case 'S': return c->states;
    default: return -1;
    }
}

static mm_status check_heads(mm_context *ctx, const mm_model *m, const mmi_json *doc, const char *key, int64_t heads)
{
    if (m->info.hidden % heads || m->info.hidden / heads > 512)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: d_model %lld does not divide into %lld heads (%s) of at most 512", mmi_json_name(doc),
                        (long long)m->info.hidden, (long long)heads, key);
    return MM_OK;
}

static mm_status read_encoder(mm_context *ctx, mm_model *m, const mmi_json *doc, const mmi_json_node *root)
{
    bart_config *c = m->config;
    mmi_model_info *info = &m->info;
    mm_status st;

    if ((st = mmi_json_i64(ctx, doc, root, "encoder_layers", 1, 1, 4096, &info->layers))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "encoder_attention_heads", 1, 1, 4096, &c->source_heads))) return st;
    c->source_positions = info->context + c->position_offset;
    if ((st = mmi_json_i64(ctx, doc, root, "encoder_ffn_dim", 1, 1, 1 << 20, &c->source_intermediate))) return st;
    info->features |= ENCODES;
    info->fusion = MMI_FUSION_CROSS;
    info->text_is_source = !(info->features & HEARS);
    if (info->text_is_source) info->features |= READS;
    info->ids_input = "decoder_input_ids";
    return check_heads(ctx, m, doc, "encoder_attention_heads", c->source_heads);
}

static mm_status read_common(mm_context *ctx, mm_model *m, const mmi_json *doc, int64_t context)
{
    const mmi_json_node *root = mmi_json_root(doc);
    bart_config *c = m->config;
    mmi_model_info *info = &m->info;
    int scaled = 0, tied = 1;
    mm_status st;

    info->context = context;
    c->act = MMI_ACT_GELU;
    if ((st = mmi_json_i64(ctx, doc, root, "vocab_size", 1, 1, 1 << 22, &info->vocabulary))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "d_model", 1, 1, 1 << 17, &info->hidden))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "decoder_layers", 1, 1, 4096, &info->decoder_layers))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "decoder_attention_heads", 1, 1, 4096, &c->heads))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "decoder_ffn_dim", 1, 1, 1 << 20, &c->intermediate))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "max_position_embeddings", 0, 1, 1 << 22, &info->context))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "scale_embedding", 0, &scaled))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "tie_word_embeddings", 0, &tied))) return st;
    if ((st = mmi_config_activation(ctx, doc, root, "activation_function", &c->act))) return st;
    if ((st = check_heads(ctx, m, doc, "decoder_attention_heads", c->heads))) return st;
    c->scale = scaled ? sqrtf((float)info->hidden) : 0;
    c->states = info->hidden;
    info->layers = info->decoder_layers;
    info->features |= tied ? TIED : UNTIED;
    info->generates = 1;
    info->kv = info->cross = (mmi_kv_shape){(size_t)info->decoder_layers, (size_t)c->heads, (size_t)(info->hidden / c->heads), MM_DTYPE_F16};
    if (strstr(m->class_name, "ForConditionalGeneration")) return read_encoder(ctx, m, doc, root);
    info->features |= ALONE;
    return MM_OK;
}

static mm_status read_whisper(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    bart_config *c = m->config;
    int64_t context = 448;
    mm_status st;

    m->info.features = LEARNED | LAST_NORM | HEARS;
    m->info.naming = 2;
    m->info.hears = 1;
    if ((st = mmi_json_i64(ctx, doc, root, "max_target_positions", 1, 1, 1 << 22, &context))) return st;
    if ((st = read_common(ctx, m, doc, context))) return st;
    m->info.context = context;
    c->scale = 0;
    if ((st = mmi_json_i64(ctx, doc, root, "num_mel_bins", 1, 1, 512, &c->bands))) return st;
    return mmi_json_i64(ctx, doc, root, "max_source_positions", 1, 1, 1 << 20, &c->source_positions);
}

static mm_status read_whisper_encoder(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    bart_config *c = m->config;
    mm_status st;

    m->info.features = LEARNED | LAST_NORM | HEARS;
    m->info.hears = 1;
    c->act = MMI_ACT_GELU;
    if ((st = mmi_json_i64(ctx, doc, root, "d_model", 1, 1, 1 << 17, &m->info.hidden))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "encoder_layers", 1, 1, 4096, &m->info.layers))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "encoder_attention_heads", 1, 1, 4096, &c->source_heads))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "encoder_ffn_dim", 1, 1, 1 << 20, &c->source_intermediate))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_mel_bins", 1, 1, 512, &c->bands))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "max_source_positions", 1, 1, 1 << 20, &c->source_positions))) return st;
    if ((st = mmi_config_activation(ctx, doc, root, "activation_function", &c->act))) return st;
    return check_heads(ctx, m, doc, "encoder_attention_heads", c->source_heads);
}

static mm_status read_bart(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    bart_config *c = m->config;

    c->post_norm = 1;
    c->position_offset = POSITION_OFFSET;
    m->info.features = LEARNED | EMBED_NORM | KEY_BIAS;
    return read_common(ctx, m, doc, 1024);
}

static mm_status read_mbart(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    bart_config *c = m->config;

    c->position_offset = POSITION_OFFSET;
    m->info.features = LEARNED | EMBED_NORM | LAST_NORM | KEY_BIAS;
    return read_common(ctx, m, doc, 1024);
}

static mm_status read_trocr(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    bart_config *c = m->config;
    int learned = 1, norm = 1;
    int64_t pad = 1;
    mm_status st;

    if ((st = mmi_json_bool(ctx, doc, root, "use_learned_position_embeddings", 0, &learned))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "layernorm_embedding", 0, &norm))) return st;
    c->post_norm = 1;
    c->position_offset = POSITION_OFFSET;
    m->info.features = (learned ? LEARNED : 0) | (norm ? EMBED_NORM : 0) | KEY_BIAS;
    m->info.naming = 1;
    if ((st = read_common(ctx, m, doc, 512))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "cross_attention_hidden_size", 0, 1, 1 << 17, &c->states))) return st;
    if (learned) return MM_OK;
    if (m->info.hidden < 4 || m->info.hidden % 2 || m->info.context > MOST_COMPUTED)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: %lld sinusoidal positions (max_position_embeddings) for a d_model of %lld", mmi_json_name(doc),
                        (long long)m->info.context, (long long)m->info.hidden);
    if ((st = mmi_json_i64(ctx, doc, root, "pad_token_id", 0, 0, MOST_COMPUTED, &pad))) return st;
    m->info.position_base = pad + 1;
    return MM_OK;
}

/* The table of sinusoidal positions: sines, then cosines, and a row of zeros for the padding. */
static mm_status prepare_trocr(mm_context *ctx, mm_model *m)
{
    mmi_weight *w = &m->position_table;
    int64_t half = m->info.hidden / 2, count = m->info.context + m->info.position_base;
    float *table;

    if (m->info.features & LEARNED) return MM_OK;
    mmi_weight_clear(w);
    *w = (mmi_weight){.name = mmi_strdup(ctx, "the sinusoidal positions"), .dtype = MM_DTYPE_F32, .rank = 2, .shape = {count, m->info.hidden},
                      .rows = (size_t)count, .cols = (size_t)m->info.hidden, .data_owned = 1};
    w->data = table = mmi_zalloc_array(ctx, (size_t)(count * m->info.hidden), sizeof *table);
    if (!w->name || !table) return MM_E_NOMEM;
    for (int64_t p = 0; p < count; p++)
        for (int64_t i = 0; i < half && p != m->info.position_base - 1; i++) {
            float angle = (float)p * expf((float)i * -(logf(10000.0f) / (float)(half - 1)));
            table[p * m->info.hidden + i] = sinf(angle);
            table[p * m->info.hidden + half + i] = cosf(angle);
        }
    return MM_OK;
}

static mmi_norm_spec norm_of(mmi_io *io, int slot, int64_t l) { return mmi_layer_norm_spec(io, slot, l, 1e-5f); }

/* Tokens and positions of a side, normalized where it does so. */
static mmi_value embed(mmi_io *io, int first, mmi_value table, const char *ids, const char *positions)
{
    const bart_config *c = io->model->config;
    mmi_token_embedding_spec e = {.norm = norm_of(io, first + FIRST_NORM, -1)};

    e.ids = mmi_io_require(io, ids, MM_DTYPE_I32, 2);
    e.table = table;
    e.scale = c->scale;
    e.positions = mmi_io_require(io, positions, MM_DTYPE_I32, 2);
    e.position_table = mmi_io_weight(io, first + POSITIONS, -1);
    e.first_position = c->position_offset;
    if (!e.position_table) {
        e.position_table = mmi_graph_weight(io->g, &io->model->position_table);
        e.first_position = 0;
    }
    return mmi_token_embedding(io->g, &e);
}

/* Two convolutions over time, the second of which halves it: arXiv:2212.04356, section 2.2. */
static mmi_value hear(mmi_io *io)
{
    const bart_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_value x = mmi_io_require(io, "input_features", MM_DTYPE_F32, 3); /* [B, bands, T] */

    if (g->status) return 0;
    if (mmi_graph_look(g, x)->shape[1] != c->bands || mmi_graph_look(g, x)->shape[2] != 2 * c->source_positions) {
        char text[128];
        return mmi_graph_fail(g, MM_E_SHAPE, "input input_features is %s, expected %lld bands of %lld frames", mmi_graph_shape_text(g, x, text),
                              (long long)c->bands, (long long)(2 * c->source_positions));
    }
    x = mmi_linear(g, mmi_windows(g, x, 3, 1, 1), mmi_io_weight(io, CONV1, -1), mmi_io_weight(io, CONV1_BIAS, -1), MMI_ACT_GELU);
    x = mmi_windows(g, mmi_transpose(g, x), 3, 2, 1);
    x = mmi_linear(g, x, mmi_io_weight(io, CONV2, -1), mmi_io_weight(io, CONV2_BIAS, -1), MMI_ACT_GELU); /* [B, T / 2, C] */
    return mmi_dropout(g, mmi_add(g, x, mmi_weight_value(g, mmi_io_weight(io, SOURCE + POSITIONS, -1))), g->dropout.blocks);
}

static mmi_value encode(mmi_io *io, mmi_value bias)
{
    const bart_config *c = io->model->config;
    const mmi_model_info *info = &io->model->info;
    mmi_graph *g = io->g;
    mmi_value tokens = mmi_io_weight(io, SOURCE_TOKENS, -1), x; /* [B, S, C] */
    mmi_norm_spec norm = norm_of(io, SOURCE + FINAL_NORM, -1);

    x = info->features & HEARS ? hear(io) : embed(io, SOURCE, tokens ? tokens : mmi_io_weight(io, TOKENS, -1), "input_ids", "position_ids");
    for (int64_t l = 0; l < info->layers && !g->status; l++) {
        mmi_encoder_block_spec b = {0};
        b.post_norm = c->post_norm;
        b.norm1 = norm_of(io, SOURCE + NORM1, l);
        b.norm2 = norm_of(io, SOURCE + NORM2, l);
        b.attention = mmi_layer_attention(io, SOURCE + Q, l, c->source_heads, c->source_heads, info->hidden / c->source_heads);
        b.attention.spec.bias = bias;
        b.feed_forward = mmi_layer_feed_forward(io, SOURCE + UP, l, c->act);
        mmi_io_hidden_state(io, l, x);
        x = mmi_encoder_block(g, x, &b);
    }
    mmi_io_hidden_state(io, info->layers, x);
    return norm.w ? mmi_norm(g, x, &norm) : x;
}

/* x through the decoder's layers, attending across to `states` where there are any, or to what the cross caches hold. */
static mmi_value decode(mmi_io *io, mmi_value x, mmi_value mask, mmi_value states, mmi_value states_bias)
{
    const bart_config *c = io->model->config;
    const mmi_model_info *info = &io->model->info;
    mmi_graph *g = io->g;
    mmi_value bias = mask ? mmi_mask_bias(g, mask) : 0;
    mmi_norm_spec norm = norm_of(io, TARGET + FINAL_NORM, -1);

    for (int64_t l = 0; l < info->decoder_layers && !g->status; l++) {
        mmi_cross_attention_spec cross = mmi_layer_cross_attention(io, CROSS_Q, l, c->heads, info->hidden / c->heads);
        mmi_decoder_block_spec b = {0};
        b.post_norm = c->post_norm;
        b.norm1 = norm_of(io, TARGET + NORM1, l);
        b.cross_norm = norm_of(io, CROSS_NORM, l);
        b.norm2 = norm_of(io, TARGET + NORM2, l);
        b.attention = mmi_layer_attention(io, TARGET + Q, l, c->heads, c->heads, info->hidden / c->heads);
        b.attention.cached = io->cached;
        b.attention.layer = (size_t)l;
        b.attention.spec.causal = 1;
        b.attention.spec.bias = bias;
        b.states = states;
        cross.spec.bias = states_bias;
        if (states || mmi_io_across(io)) b.cross = &cross;
        b.feed_forward = mmi_layer_feed_forward(io, TARGET + UP, l, c->act);
        x = mmi_decoder_block(g, x, &b);
    }
    x = mmi_io_last(io, x);
    return norm.w ? mmi_norm(g, x, &norm) : x;
}

/* input_ids, position_ids, attention_mask [B, S] (or input_features [B, bands, 2 S]) of the encoder, decoder_* [B, T] -> logits [B, T, V], encoder_last_hidden_state [B, S, C].
 * The decoder alone: input_ids, position_ids, attention_mask [B, T]; encoder_hidden_states [B, N, S], encoder_attention_mask [B, N] ->
 * last_hidden_state, logits */
static void build(mmi_io *io)
{
    const bart_config *c = io->model->config;
    const mmi_model_info *info = &io->model->info;
    int whole = (info->features & ENCODES) != 0;
    mmi_graph *g = io->g;
    mmi_value states = 0, mask = 0, bias, x, head = mmi_io_weight(io, HEAD, -1);

    if (!io->cached) mask = mmi_io_optional(io, whole ? "attention_mask" : "encoder_attention_mask", MM_DTYPE_I32, 2);
    bias = mask ? mmi_mask_bias(g, mask) : 0;
    if (whole) io->side = "encoder";
    if (!io->cached) states = whole ? encode(io, bias) : mmi_io_optional(io, "encoder_hidden_states", MM_DTYPE_F32, 3);
    if (whole) io->side = "decoder";
    for (int64_t l = 0; io->encode && l < info->decoder_layers; l++) {
        mmi_cross_attention_spec cross = mmi_layer_cross_attention(io, CROSS_Q, l, c->heads, info->hidden / c->heads);
        mmi_cross_attention_store(g, states, &cross);
    }
    if (io->encode) return;
    if (whole && !io->cached) mmi_io_output(io, "encoder_last_hidden_state", states);
    x = embed(io, TARGET, mmi_io_weight(io, TOKENS, -1), whole ? "decoder_input_ids" : "input_ids",
              whole && !io->cached ? "decoder_position_ids" : "position_ids"); /* [B, T, C] */
    mask = mmi_io_optional(io, whole ? "decoder_attention_mask" : "attention_mask", MM_DTYPE_I32, 2);
    x = decode(io, x, mask, states, bias);
    if (!whole) mmi_io_output(io, "last_hidden_state", x);
    mmi_io_output(io, "logits", mmi_linear(g, x, head ? head : mmi_io_weight(io, TOKENS, -1), mmi_io_weight(io, HEAD_BIAS, -1), MMI_ACT_NONE));
}

/* input_features [B, bands, 2 S] -> last_hidden_state [B, S, C] */
static void build_whisper_encoder(mmi_io *io) { mmi_io_output(io, "last_hidden_state", encode(io, 0)); }

static const char *const bart_classes[] = {"BartForConditionalGeneration", "BartForCausalLM", NULL};
static const char *const mbart_classes[] = {"MBartForConditionalGeneration", "MBartForCausalLM", NULL};
static const char *const trocr_classes[] = {"TrOCRForCausalLM", NULL};
static const char *const prefixes[] = {"model.", "", NULL};

const mmi_architecture mmi_bart = {
    .name = "bart", .classes = bart_classes, .prefixes = prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(bart_config), .read_hf = read_bart, .dimension = dimension, .build = build,
};

const mmi_architecture mmi_mbart = {
    .name = "mbart", .classes = mbart_classes, .prefixes = prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(bart_config), .read_hf = read_mbart, .dimension = dimension, .build = build,
};

const mmi_architecture mmi_trocr = {
    .name = "trocr", .classes = trocr_classes, .prefixes = prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(bart_config), .read_hf = read_trocr, .dimension = dimension, .prepare = prepare_trocr, .build = build,
};

static const char *const whisper_classes[] = {"WhisperForConditionalGeneration", NULL}, *const whisper_encoder_classes[] = {"WhisperEncoder", NULL};
static const char *const encoder_prefixes[] = {"", "encoder.", "model.encoder.", NULL};

const mmi_architecture mmi_whisper = {
    .name = "whisper", .classes = whisper_classes, .prefixes = prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(bart_config), .read_hf = read_whisper, .dimension = dimension, .build = build,
};

const mmi_architecture mmi_whisper_encoder = {
    .name = "whisper_encoder", .classes = whisper_encoder_classes, .prefixes = encoder_prefixes, .rows = encoder_rows,
    .n_rows = sizeof encoder_rows / sizeof *encoder_rows, .config_bytes = sizeof(bart_config), .read_hf = read_whisper_encoder, .dimension = dimension,
    .build = build_whisper_encoder,
};
