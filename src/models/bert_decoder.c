/* BERT (arXiv:1810.04805) and RoBERTa (arXiv:1907.11692) as decoders behind an encoder (Rothe et al. 2020, arXiv:1907.12461), and BLIP's text
 * model (Li et al. 2022, arXiv:2201.12086), which is the same without segments: causal where it generates, with attention across to the
 * other modality in every layer, and a head for the next token. From a Hugging Face directory (BertLMHeadModel, RobertaForCausalLM,
 * BlipTextLMHeadModel, and BlipTextModel, which reads both ways and has no head).
 * SPDX-License-Identifier: MIT */
#include "bert_decoder.h"

#include <string.h>

#include "decoder_block.h"
#include "encoder_stack.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "token_embedding.h"

typedef struct {
    mmi_stack_config stack;
    int64_t types, positions;
    int64_t states; /* width of what it attends across to */
    mmi_activation head_act;
} decoder_config;

enum { TYPED = 1, CAUSAL = 2, ACROSS = 4, PREDICTS = 8, TIED = 16, UNTIED = 32 };

enum {
    TOKENS, POSITIONS, TYPES, NORM, NORM_BIAS, TRANSFORM, TRANSFORM_BIAS, TRANSFORM_NORM, TRANSFORM_NORM_BIAS, HEAD, HEAD_BIAS,
    Q, Q_BIAS, K, K_BIAS, V, V_BIAS, O, O_BIAS, NORM1, NORM1_BIAS,
    CROSS_Q, CROSS_Q_BIAS, CROSS_K, CROSS_K_BIAS, CROSS_V, CROSS_V_BIAS, CROSS_O, CROSS_O_BIAS, CROSS_NORM, CROSS_NORM_BIAS,
    UP, UP_BIAS, DOWN, DOWN_BIAS, NORM2, NORM2_BIAS
};

#define ATTENTION_ROWS(first, norm, name, S, when)                                              \
    {first, "encoder.layer.%." name ".self.query.weight", NULL, "C,C", when, 0},                \
    {first + 1, "encoder.layer.%." name ".self.query.bias", NULL, "C", when, 0},                \
    {first + 2, "encoder.layer.%." name ".self.key.weight", NULL, "C," S, when, 0},             \
    {first + 3, "encoder.layer.%." name ".self.key.bias", NULL, "C", when, 0},                  \
    {first + 4, "encoder.layer.%." name ".self.value.weight", NULL, "C," S, when, 0},           \
    {first + 5, "encoder.layer.%." name ".self.value.bias", NULL, "C", when, 0},                \
    {first + 6, "encoder.layer.%." name ".output.dense.weight", NULL, "C,C", when, 0},          \
    {first + 7, "encoder.layer.%." name ".output.dense.bias", NULL, "C", when, 0},              \
    {norm, "encoder.layer.%." name ".output.LayerNorm.weight", NULL, "C", when, 0},             \
    {(norm) + 1, "encoder.layer.%." name ".output.LayerNorm.bias", NULL, "C", when, 0}

/* C hidden, V vocabulary, P rows of positions, T segment types, I intermediate, S width of the states attended across to */
static const mmi_weight_row rows[] = {
    {TOKENS, "embeddings.word_embeddings.weight", NULL, "V,C", TIED, MMI_ROW_PADDED},
    {TOKENS, "embeddings.word_embeddings.weight", NULL, "V,C", UNTIED, MMI_ROW_TABLE | MMI_ROW_PADDED},
    {POSITIONS, "embeddings.position_embeddings.weight", NULL, "P,C", 0, MMI_ROW_TABLE},
    {TYPES, "embeddings.token_type_embeddings.weight", NULL, "T,C", TYPED, MMI_ROW_TABLE},
    {NORM, "embeddings.LayerNorm.weight", NULL, "C", 0, 0},
    {NORM_BIAS, "embeddings.LayerNorm.bias", NULL, "C", 0, 0},
    {TRANSFORM, "/cls.predictions.transform.dense.weight+/lm_head.dense.weight", NULL, "C,C", PREDICTS, 0},
    {TRANSFORM_BIAS, "/cls.predictions.transform.dense.bias+/lm_head.dense.bias", NULL, "C", PREDICTS, 0},
    {TRANSFORM_NORM, "/cls.predictions.transform.LayerNorm.weight+/lm_head.layer_norm.weight", NULL, "C", PREDICTS, 0},
    {TRANSFORM_NORM_BIAS, "/cls.predictions.transform.LayerNorm.bias+/lm_head.layer_norm.bias", NULL, "C", PREDICTS, 0},
    {HEAD, "/cls.predictions.decoder.weight+/lm_head.decoder.weight", NULL, "V,C", PREDICTS | TIED, MMI_ROW_TIED}, /* or TOKENS */
    {HEAD, "/cls.predictions.decoder.weight+/lm_head.decoder.weight", NULL, "V,C", PREDICTS | UNTIED, 0},
    {HEAD_BIAS, "/cls.predictions.bias|/cls.predictions.decoder.bias+/lm_head.bias|/lm_head.decoder.bias", NULL, "V", PREDICTS | TIED, 0},
    {HEAD_BIAS, "/cls.predictions.decoder.bias|/cls.predictions.bias+/lm_head.decoder.bias|/lm_head.bias", NULL, "V", PREDICTS | UNTIED, 0},
    ATTENTION_ROWS(Q, NORM1, "attention", "C", 0),
    ATTENTION_ROWS(CROSS_Q, CROSS_NORM, "crossattention", "S", ACROSS),
    {UP, "encoder.layer.%.intermediate.dense.weight", NULL, "I,C", 0, 0},
    {UP_BIAS, "encoder.layer.%.intermediate.dense.bias", NULL, "I", 0, 0},
    {DOWN, "encoder.layer.%.output.dense.weight", NULL, "C,I", 0, 0},
    {DOWN_BIAS, "encoder.layer.%.output.dense.bias", NULL, "C", 0, 0},
    {NORM2, "encoder.layer.%.output.LayerNorm.weight", NULL, "C", 0, 0},
    {NORM2_BIAS, "encoder.layer.%.output.LayerNorm.bias", NULL, "C", 0, 0},
};

static int64_t dimension(const mm_model *m, char letter)
{
    const decoder_config *c = m->config;
    switch (letter) {
    case 'C': return m->info.hidden;
    case 'V': return m->info.vocabulary;
    case 'P': return c->positions;
    case 'T': return c->types;
    case 'I': return c->stack.intermediate;
    case 'S': return c->states;
    default: return -1;
    }
}

static mm_status read_common(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    decoder_config *c = m->config;
    mmi_model_info *info = &m->info;
    int tied = 1;
    mm_status st;

    c->stack.eps = 1e-12f;
    c->stack.act = MMI_ACT_GELU;
    c->positions = 512;
    if ((st = mmi_json_i64(ctx, doc, root, "vocab_size", 1, 1, 1 << 22, &info->vocabulary))) return st;
    if ((st = mmi_stack_config_read(ctx, doc, root, &mmi_stack_usual_keys, &c->stack))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "max_position_embeddings", 0, 1, 1 << 22, &c->positions))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "tie_word_embeddings", 0, &tied))) return st;
    info->layers = c->stack.layers;
    info->hidden = c->stack.hidden;
    c->head_act = c->stack.act;
    c->states = info->hidden;
    info->context = c->positions;
    info->features |= tied && info->features & PREDICTS ? TIED : UNTIED;
    if (info->features & CAUSAL && info->features & PREDICTS) info->generates = 1;
    info->kv = (mmi_kv_shape){(size_t)info->layers, (size_t)c->stack.heads, (size_t)(info->hidden / c->stack.heads), MM_DTYPE_F16};
    if (info->features & ACROSS) info->cross = info->kv;
    return MM_OK;
}

static mm_status read_bert(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    decoder_config *c = m->config;
    int causal = 0, across = 0;
    mm_status st;

    c->types = 2;
    if ((st = mmi_json_bool(ctx, doc, root, "is_decoder", 0, &causal))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "add_cross_attention", 0, &across))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "type_vocab_size", 0, 1, 1 << 16, &c->types))) return st;
    m->info.features = TYPED | PREDICTS | (causal ? CAUSAL : 0) | (across ? ACROSS : 0);
    return read_common(ctx, m, doc);
}

static mm_status read_roberta(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    decoder_config *c = m->config;
    int64_t pad = 1;
    mm_status st;

    if ((st = read_bert(ctx, m, doc))) return st;
    if ((st = mmi_json_i64(ctx, doc, mmi_json_root(doc), "pad_token_id", 0, 0, c->positions - 2, &pad))) return st;
    c->head_act = MMI_ACT_GELU;
    m->info.position_base = pad + 1;
    m->info.naming = 1;
    m->info.context = c->positions - m->info.position_base;
    if (m->info.context < 1)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: max_position_embeddings %lld leaves none behind pad_token_id %lld", mmi_json_name(doc),
                        (long long)c->positions, (long long)pad);
    return MM_OK;
}

static mm_status read_blip(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    decoder_config *c = m->config;
    int across = 1;
    mm_status st = mmi_json_bool(ctx, doc, mmi_json_root(doc), "is_decoder", 0, &across);

    if (st) return st;
    m->info.features = (across ? ACROSS : 0) | (strcmp(m->class_name, "BlipTextModel") ? CAUSAL | PREDICTS : 0);
    if ((st = read_common(ctx, m, doc))) return st;
    return mmi_json_i64(ctx, doc, mmi_json_root(doc), "encoder_hidden_size", 0, 1, 1 << 17, &c->states);
}

void mmi_blip_text_attend(mm_model *part, int64_t states) { ((decoder_config *)part->config)->states = states; }

static mmi_cross_attention_spec cross_of(mmi_io *io, int64_t l)
{
    const decoder_config *c = io->model->config;
    return mmi_layer_cross_attention(io, CROSS_Q, l, c->stack.heads, io->model->info.hidden / c->stack.heads);
}

static mmi_value embed(mmi_io *io)
{
    const decoder_config *c = io->model->config;
    mmi_token_embedding_spec e = {.norm = mmi_layer_norm_spec(io, NORM, -1, c->stack.eps)};

    e.ids = mmi_io_require(io, "input_ids", MM_DTYPE_I32, 2);
    e.table = mmi_io_weight(io, TOKENS, -1);
    e.types = io->model->info.features & TYPED ? mmi_io_optional(io, "token_type_ids", MM_DTYPE_I32, 2) : 0;
    e.type_table = mmi_io_weight(io, TYPES, -1);
    e.positions = mmi_io_require(io, "position_ids", MM_DTYPE_I32, 2);
    e.position_table = mmi_io_weight(io, POSITIONS, -1);
    return mmi_token_embedding(io->g, &e);
}

static mmi_value predict(mmi_io *io, mmi_value x)
{
    const decoder_config *c = io->model->config;
    mmi_norm_spec norm = mmi_layer_norm_spec(io, TRANSFORM_NORM, -1, c->stack.eps);
    mmi_value head = mmi_io_weight(io, HEAD, -1);

    x = mmi_linear(io->g, x, mmi_io_weight(io, TRANSFORM, -1), mmi_io_weight(io, TRANSFORM_BIAS, -1), c->head_act);
    return mmi_linear(io->g, mmi_norm(io->g, x, &norm), head ? head : mmi_io_weight(io, TOKENS, -1), mmi_io_weight(io, HEAD_BIAS, -1), MMI_ACT_NONE);
}

/* input_ids, position_ids, token_type_ids, attention_mask [B, T]; encoder_hidden_states [B, N, S], encoder_attention_mask [B, N] ->
 * last_hidden_state [B, T, C], logits [B, T, V] */
static void build(mmi_io *io)
{
    const decoder_config *c = io->model->config;
    const mmi_model_info *info = &io->model->info;
    mmi_graph *g = io->g;
    mmi_value states = info->features & ACROSS ? mmi_io_optional(io, "encoder_hidden_states", MM_DTYPE_F32, 3) : 0;
    mmi_value mask = mmi_io_optional(io, "attention_mask", MM_DTYPE_I32, 2), bias = mask ? mmi_mask_bias(g, mask) : 0;
    mmi_value states_mask = mmi_io_optional(io, "encoder_attention_mask", MM_DTYPE_I32, 2), states_bias = states_mask ? mmi_mask_bias(g, states_mask) : 0, x;

    for (int64_t l = 0; io->encode && l < info->layers; l++) {
        mmi_cross_attention_spec cross = cross_of(io, l);
        mmi_cross_attention_store(g, states, &cross);
    }
    if (io->encode) return;
    x = embed(io); /* [B, T, C] */
    for (int64_t l = 0; l < info->layers && !g->status; l++) {
        mmi_cross_attention_spec cross = cross_of(io, l);
        mmi_decoder_block_spec b = {0};
        b.post_norm = 1;
        b.norm1 = mmi_layer_norm_spec(io, NORM1, l, c->stack.eps);
        b.cross_norm = mmi_layer_norm_spec(io, CROSS_NORM, l, c->stack.eps);
        b.norm2 = mmi_layer_norm_spec(io, NORM2, l, c->stack.eps);
        b.attention = mmi_layer_attention(io, Q, l, c->stack.heads, c->stack.heads, info->hidden / c->stack.heads);
        b.attention.cached = io->cached;
        b.attention.layer = (size_t)l;
        b.attention.spec.causal = (info->features & CAUSAL) != 0;
        b.attention.spec.bias = bias;
        b.attention.spec.segments = io->segments;
        cross.spec.bias = states_bias;
        b.states = states;
        if (states || (info->features & ACROSS && mmi_io_across(io))) b.cross = &cross;
        b.feed_forward = mmi_layer_feed_forward(io, UP, l, c->stack.act);
        x = mmi_decoder_block(g, x, &b);
    }
    x = mmi_io_last(io, x);
    mmi_io_output(io, "last_hidden_state", x);
    if (info->features & PREDICTS) mmi_io_output(io, "logits", predict(io, x));
}

static const char *const bert_classes[] = {"BertLMHeadModel", NULL};
static const char *const roberta_classes[] = {"RobertaForCausalLM", NULL};
static const char *const blip_classes[] = {"BlipTextLMHeadModel", "BlipTextModel", NULL};
static const char *const bert_prefixes[] = {"bert.", "", NULL}, *const roberta_prefixes[] = {"roberta.", "", NULL};

const mmi_architecture mmi_bert_decoder = {
    .name = "bert_decoder", .classes = bert_classes, .prefixes = bert_prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(decoder_config), .read_hf = read_bert, .dimension = dimension, .build = build,
};

const mmi_architecture mmi_roberta_decoder = {
    .name = "roberta_decoder", .classes = roberta_classes, .prefixes = roberta_prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(decoder_config), .read_hf = read_roberta, .dimension = dimension, .build = build,
};

const mmi_architecture mmi_blip_text = {
    .name = "blip_text", .classes = blip_classes, .prefixes = bert_prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(decoder_config), .read_hf = read_blip, .dimension = dimension, .build = build,
};
