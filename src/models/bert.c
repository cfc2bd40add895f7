/* BERT (Devlin et al. 2019, arXiv:1810.04805) and those that are built like it: RoBERTa (arXiv:1907.11692), XLM-RoBERTa (arXiv:1911.02116)
 * and DistilBERT (arXiv:1910.01108). A bidirectional encoder with learned positions; normalization after each residual; heads for masked
 * language modelling and for classes of a text. From a Hugging Face directory or a GGUF file of architecture "bert".
 * SPDX-License-Identifier: MIT */
#include "bert.h"

#include <string.h>

#include "architecture_config.h"
#include "encoder_stack.h"
#include "fusion_trunk.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "row_ops.h"
#include "shape_ops.h"
#include "token_embedding.h"

typedef struct {
    mmi_stack_config stack;
    int64_t types, positions; /* rows of their tables; types 0: none */
    mmi_activation pooler_act;
} bert_config;

enum { POOLED = 1, TIED = 2, UNTIED = 4, PREDICTS = 8, CLASSIFIES = 16 };

enum {
    TOKENS, POSITIONS, TYPES, NORM, NORM_BIAS, POOLER, POOLER_BIAS,
    TRANSFORM, TRANSFORM_BIAS, TRANSFORM_NORM, TRANSFORM_NORM_BIAS, DECODER, DECODER_BIAS, HEAD, HEAD_BIAS, LAYER
};

/* A layer normalization's weight and bias, as BERT's first files still name them too. */
#define NORM_WEIGHT(name) name ".weight|" name ".gamma"
#define NORM_OFFSET(name) name ".bias|" name ".beta"

/* C hidden, V vocabulary, P positions, S segment types, I intermediate, L labels */
#define EMBEDDING_ROWS                                                                                                            \
    {TOKENS, "embeddings.word_embeddings.weight", "token_embd.weight", "V,C", UNTIED, MMI_ROW_TABLE | MMI_ROW_PADDED},                             \
    {TOKENS, "embeddings.word_embeddings.weight", NULL, "V,C", TIED, MMI_ROW_PADDED},                                                          \
    {POSITIONS, "embeddings.position_embeddings.weight", "position_embd.weight", "P,C", 0, MMI_ROW_TABLE},                        \
    {NORM, NORM_WEIGHT("embeddings.LayerNorm"), "token_embd_norm.weight", "C", 0, 0},                                                   \
    {NORM_BIAS, NORM_OFFSET("embeddings.LayerNorm"), "token_embd_norm.bias", "C", 0, 0}

static const mmi_weight_row rows[] = {
    EMBEDDING_ROWS,
    {TYPES, "embeddings.token_type_embeddings.weight", "token_types.weight", "S,C", 0, MMI_ROW_TABLE},
    {POOLER, "pooler.dense.weight", NULL, "C,C", POOLED, MMI_ROW_OPTIONAL},
    {POOLER_BIAS, "pooler.dense.bias", NULL, "C", POOLED, MMI_ROW_OPTIONAL},
    {POOLER, "pooler.dense.weight+/classifier.dense.weight", NULL, "C,C", CLASSIFIES, 0},
    {POOLER_BIAS, "pooler.dense.bias+/classifier.dense.bias", NULL, "C", CLASSIFIES, 0},
    {TRANSFORM, "/cls.predictions.transform.dense.weight+/lm_head.dense.weight", NULL, "C,C", PREDICTS, 0},
    {TRANSFORM_BIAS, "/cls.predictions.transform.dense.bias+/lm_head.dense.bias", NULL, "C", PREDICTS, 0},
    {TRANSFORM_NORM, NORM_WEIGHT("/cls.predictions.transform.LayerNorm") "+/lm_head.layer_norm.weight", NULL, "C", PREDICTS, 0},
    {TRANSFORM_NORM_BIAS, NORM_OFFSET("/cls.predictions.transform.LayerNorm") "+/lm_head.layer_norm.bias", NULL, "C", PREDICTS, 0},
    {DECODER, "/cls.predictions.decoder.weight+/lm_head.decoder.weight", NULL, "V,C", PREDICTS | UNTIED, 0},
    {DECODER_BIAS, "/cls.predictions.decoder.bias|/cls.predictions.bias+/lm_head.decoder.bias|/lm_head.bias", NULL, "V", PREDICTS | UNTIED, 0},
    {DECODER_BIAS, "/cls.predictions.bias|/cls.predictions.decoder.bias+/lm_head.bias|/lm_head.decoder.bias", NULL, "V", PREDICTS | TIED, 0},
    {HEAD, "/classifier.weight+/classifier.out_proj.weight", NULL, "L,C", CLASSIFIES, 0},
    {HEAD_BIAS, "/classifier.bias+/classifier.out_proj.bias", NULL, "L", CLASSIFIES, 0},
    {LAYER + MMI_STACK_Q, "encoder.layer.%.attention.self.query.weight", "blk.%.attn_q.weight", "C,C", 0, 0},
    {LAYER + MMI_STACK_Q_BIAS, "encoder.layer.%.attention.self.query.bias", "blk.%.attn_q.bias", "C", 0, 0},
    {LAYER + MMI_STACK_K, "encoder.layer.%.attention.self.key.weight", "blk.%.attn_k.weight", "C,C", 0, 0},
    {LAYER + MMI_STACK_K_BIAS, "encoder.layer.%.attention.self.key.bias", "blk.%.attn_k.bias", "C", 0, 0},
    {LAYER + MMI_STACK_V, "encoder.layer.%.attention.self.value.weight", "blk.%.attn_v.weight", "C,C", 0, 0},
    {LAYER + MMI_STACK_V_BIAS, "encoder.layer.%.attention.self.value.bias", "blk.%.attn_v.bias", "C", 0, 0},
    {LAYER + MMI_STACK_O, "encoder.layer.%.attention.output.dense.weight", "blk.%.attn_output.weight", "C,C", 0, 0},
    {LAYER + MMI_STACK_O_BIAS, "encoder.layer.%.attention.output.dense.bias", "blk.%.attn_output.bias", "C", 0, 0},
    {LAYER + MMI_STACK_NORM1, NORM_WEIGHT("encoder.layer.%.attention.output.LayerNorm"), "blk.%.attn_output_norm.weight", "C", 0, 0},
    {LAYER + MMI_STACK_NORM1_BIAS, NORM_OFFSET("encoder.layer.%.attention.output.LayerNorm"), "blk.%.attn_output_norm.bias", "C", 0, 0},
    {LAYER + MMI_STACK_UP, "encoder.layer.%.intermediate.dense.weight", "blk.%.ffn_up.weight", "I,C", 0, 0},
    {LAYER + MMI_STACK_UP_BIAS, "encoder.layer.%.intermediate.dense.bias", "blk.%.ffn_up.bias", "I", 0, 0},
    {LAYER + MMI_STACK_DOWN, "encoder.layer.%.output.dense.weight", "blk.%.ffn_down.weight", "C,I", 0, 0},
    {LAYER + MMI_STACK_DOWN_BIAS, "encoder.layer.%.output.dense.bias", "blk.%.ffn_down.bias", "C", 0, 0},
    {LAYER + MMI_STACK_NORM2, NORM_WEIGHT("encoder.layer.%.output.LayerNorm"), "blk.%.layer_output_norm.weight", "C", 0, 0},
    {LAYER + MMI_STACK_NORM2_BIAS, NORM_OFFSET("encoder.layer.%.output.LayerNorm"), "blk.%.layer_output_norm.bias", "C", 0, 0},
};

#define DISTILBERT_LAYER(part, kind) "transformer.layer.%." part kind

static const mmi_weight_row distilbert_rows[] = {
    EMBEDDING_ROWS,
    {POOLER, "/pre_classifier.weight", NULL, "C,C", CLASSIFIES, 0},
    {POOLER_BIAS, "/pre_classifier.bias", NULL, "C", CLASSIFIES, 0},
    {TRANSFORM, "/vocab_transform.weight", NULL, "C,C", PREDICTS, 0},
    {TRANSFORM_BIAS, "/vocab_transform.bias", NULL, "C", PREDICTS, 0},
    {TRANSFORM_NORM, "/vocab_layer_norm.weight", NULL, "C", PREDICTS, 0},
    {TRANSFORM_NORM_BIAS, "/vocab_layer_norm.bias", NULL, "C", PREDICTS, 0},
    {DECODER, "/vocab_projector.weight", NULL, "V,C", PREDICTS | UNTIED, 0},
    {DECODER_BIAS, "/vocab_projector.bias", NULL, "V", PREDICTS, 0},
    {HEAD, "/classifier.weight", NULL, "L,C", CLASSIFIES, 0},
    {HEAD_BIAS, "/classifier.bias", NULL, "L", CLASSIFIES, 0},
    MMI_STACK_ROWS(LAYER, DISTILBERT_LAYER, "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "sa_layer_norm",
                   "output_layer_norm", "ffn.lin1", "ffn.lin2", "C", "I", 0, 0),
};

static int64_t dimension(const mm_model *m, char letter)
{
    const bert_config *c = m->config;
    switch (letter) {
    case 'C': return m->info.hidden;
    case 'V': return m->info.vocabulary;
    case 'P': return c->positions;
    case 'S': return c->types;
    case 'I': return c->stack.intermediate;
    case 'L': return (int64_t)m->n_labels;
    default: return -1;
    }
}

/* What the class asks for, and the facts. Positions of RoBERTa begin past the padding token's id. */
static mm_status finish_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    const bert_config *c = m->config;
    mmi_model_info *info = &m->info;
    const char *positions = "absolute";
    int tied = 1;
    mm_status st;

    if ((st = mmi_json_text(ctx, doc, root, "position_embedding_type", 0, &positions))) return st;
    if (strcmp(positions, "absolute"))
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: position_embedding_type \"%.40s\" is not supported", mmi_json_name(doc), positions);
    info->layers = c->stack.layers;
    info->hidden = c->stack.hidden;
    info->context = c->positions;
    if (m->arch == &mmi_roberta) {
        int64_t padding = 1;
        if ((st = mmi_json_i64(ctx, doc, root, "pad_token_id", 0, 0, info->vocabulary - 1, &padding))) return st;
        info->position_base = padding + 1;
        info->naming = 1;
        info->context -= info->position_base;
        if (info->context < 1)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: max_position_embeddings %lld leaves no position past pad_token_id %lld", mmi_json_name(doc),
                            (long long)c->positions, (long long)padding);
    }
    if (strstr(m->class_name, "MaskedLM")) {
        if ((st = mmi_json_bool(ctx, doc, root, "tie_word_embeddings", 0, &tied))) return st;
        info->features |= PREDICTS | (tied ? TIED : UNTIED);
        return MM_OK;
    }
    info->features |= UNTIED;
    if (!strstr(m->class_name, "SequenceClassification")) {
        info->features |= POOLED;
        return MM_OK;
    }
    info->features |= CLASSIFIES;
    return mmi_config_labels(ctx, m, doc, root);
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    bert_config *c = m->config;
    mm_status st;

    c->stack = (mmi_stack_config){.eps = 1e-12f, .act = MMI_ACT_GELU};
    c->pooler_act = MMI_ACT_TANH;
    c->positions = 512;
    c->types = 2;
    if ((st = mmi_json_i64(ctx, doc, root, "vocab_size", 1, 1, 1 << 22, &m->info.vocabulary))) return st;
    if ((st = mmi_stack_config_read(ctx, doc, root, &mmi_stack_usual_keys, &c->stack))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "max_position_embeddings", 0, 1, 1 << 22, &c->positions))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "type_vocab_size", 0, 1, 1 << 16, &c->types))) return st;
    return finish_hf(ctx, m, doc);
}

static mm_status read_distilbert(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    static const mmi_stack_keys keys = {"n_layers", "dim", "n_heads", "hidden_dim", NULL, "activation"};
    const mmi_json_node *root = mmi_json_root(doc);
    bert_config *c = m->config;
    mm_status st;

    c->stack = (mmi_stack_config){.eps = 1e-12f, .act = MMI_ACT_GELU};
    c->pooler_act = MMI_ACT_RELU;
    c->positions = 512;
    if ((st = mmi_json_i64(ctx, doc, root, "vocab_size", 1, 1, 1 << 22, &m->info.vocabulary))) return st;
    if ((st = mmi_stack_config_read(ctx, doc, root, &keys, &c->stack))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "max_position_embeddings", 0, 1, 1 << 22, &c->positions))) return st;
    return finish_hf(ctx, m, doc);
}

static mm_status read_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f)
{
    bert_config *c = m->config;
    mmi_model_info *info = &m->info;
    const mmi_gguf_tensor *tokens = mmi_gguf_tensor_find(f, "token_embd.weight"), *types = mmi_gguf_tensor_find(f, "token_types.weight");
    double eps = 1e-12;
    int64_t pooling = 0;
    mm_status st;

    if (!tokens || tokens->rank != 2 || tokens->shape[0] > 1 << 22 || !types || types->shape[0] > 1 << 16)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: token_embd.weight or token_types.weight is missing or of the wrong shape", mmi_gguf_path(f));
    info->vocabulary = tokens->shape[0];
    c->types = types->rank > 1 ? types->shape[0] : 1;
    if ((st = mmi_gguf_i64(ctx, f, "bert.embedding_length", 1, 1, 1 << 17, &info->hidden))) return st;
    if ((st = mmi_gguf_i64(ctx, f, "bert.block_count", 1, 1, 4096, &info->layers))) return st;
    if ((st = mmi_gguf_i64(ctx, f, "bert.attention.head_count", 1, 1, 4096, &c->stack.heads))) return st;
    if ((st = mmi_gguf_i64(ctx, f, "bert.feed_forward_length", 1, 1, 1 << 20, &c->stack.intermediate))) return st;
    if ((st = mmi_gguf_i64(ctx, f, "bert.context_length", 1, 1, 1 << 22, &info->context))) return st;
    if ((st = mmi_gguf_f64(ctx, f, "bert.attention.layer_norm_epsilon", 1, 0, 1, &eps))) return st;
    if ((st = mmi_gguf_i64(ctx, f, "bert.pooling_type", 0, 0, 4, &pooling))) return st;
    if (pooling == 1 || pooling == 2) { /* llama.cpp's mean and cls */
        m->pooling = pooling == 1 ? MMI_POOL_MEAN : MMI_POOL_FIRST;
        m->is_sentence_model = 1;
    }
    c->positions = info->context;
    c->stack.layers = info->layers;
    c->stack.hidden = info->hidden;
    c->stack.act = MMI_ACT_GELU;
    c->stack.eps = (float)eps;
    info->features = UNTIED;
    return mmi_stack_config_check(ctx, mmi_gguf_path(f), &c->stack);
}

/* Each token's guess at the word that was masked: transform, then the vocabulary. */
static mmi_value predict(mmi_io *io, mmi_value x)
{
    const bert_config *c = io->model->config;
    mmi_norm_spec norm = mmi_layer_norm_spec(io, TRANSFORM_NORM, -1, c->stack.eps);
    mmi_value decoder = mmi_io_weight(io, DECODER, -1);

    x = mmi_linear(io->g, x, mmi_io_weight(io, TRANSFORM, -1), mmi_io_weight(io, TRANSFORM_BIAS, -1), c->stack.act);
    x = mmi_norm(io->g, x, &norm);
    return mmi_linear(io->g, x, decoder ? decoder : mmi_io_weight(io, TOKENS, -1), mmi_io_weight(io, DECODER_BIAS, -1), MMI_ACT_NONE);
}

/* input_ids, position_ids [B, T]; attention_mask, token_type_ids [B, T] -> last_hidden_state [B, T, C]; pooler_output [B, C];
 * logits [B, T, V] of masked words, or [B, L] of classes */
static void build(mmi_io *io)
{
    const bert_config *c = io->model->config;
    const mmi_model_info *info = &io->model->info;
    mmi_graph *g = io->g;
    mmi_token_embedding_spec e = {0};
    mmi_stack_spec stack = {.first = LAYER, .post_norm = 1};
    mmi_value mask = mmi_io_optional(io, "attention_mask", MM_DTYPE_I32, 2), x, pooler = mmi_io_weight(io, POOLER, -1);
    mmi_value types = mmi_io_weight(io, TYPES, -1);

    e.ids = mmi_io_require(io, "input_ids", MM_DTYPE_I32, 2);
    e.table = mmi_io_weight(io, TOKENS, -1);
    e.types = types ? mmi_io_optional(io, "token_type_ids", MM_DTYPE_I32, 2) : 0;
    e.type_table = types;
    e.positions = mmi_io_require(io, "position_ids", MM_DTYPE_I32, 2);
    e.position_table = mmi_io_weight(io, POSITIONS, -1);
    e.norm = mmi_layer_norm_spec(io, NORM, -1, c->stack.eps);
    stack.bias = mask ? mmi_mask_bias(g, mask) : 0;
    x = mmi_encoder_stack(io, mmi_token_embedding(g, &e), &c->stack, &stack);
    mmi_io_output(io, "last_hidden_state", x);
    if (info->features & PREDICTS) {
        if (mmi_io_wants(io, "logits")) mmi_io_output(io, "logits", predict(io, x));
    } else if (pooler && (mmi_io_wants(io, "pooler_output") || mmi_io_wants(io, "logits"))) {
        x = mmi_linear(g, mmi_pool_tokens(io, (mmi_tokens){x, 0}, MMI_POOL_FIRST), pooler, mmi_io_weight(io, POOLER_BIAS, -1), c->pooler_act);
        if (!info->classifies) mmi_io_output(io, "pooler_output", x);
        else mmi_io_output(io, "logits", mmi_linear(g, x, mmi_io_weight(io, HEAD, -1), mmi_io_weight(io, HEAD_BIAS, -1), MMI_ACT_NONE));
    }
}

static const char *const classes[] = {"BertModel", "BertForMaskedLM", "BertForSequenceClassification", NULL};
static const char *const roberta_classes[] = {"RobertaModel", "RobertaForMaskedLM", "RobertaForSequenceClassification", "XLMRobertaModel",
                                              "XLMRobertaForMaskedLM", "XLMRobertaForSequenceClassification", NULL};
static const char *const distilbert_classes[] = {"DistilBertModel", "DistilBertForMaskedLM", "DistilBertForSequenceClassification", NULL};
static const char *const prefixes[] = {"bert.", "", NULL}, *const roberta_prefixes[] = {"roberta.", "", NULL},
                         *const distilbert_prefixes[] = {"distilbert.", "", NULL};

const mmi_architecture mmi_bert = {
    .name = "bert", .classes = classes, .gguf = "bert", .prefixes = prefixes, .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(bert_config), .read_hf = read_hf, .read_gguf = read_gguf, .dimension = dimension,
    .build = build,
};
const mmi_architecture mmi_roberta = {
    .name = "roberta", .classes = roberta_classes, .prefixes = roberta_prefixes, .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(bert_config), .read_hf = read_hf, .dimension = dimension,
    .build = build,
};
const mmi_architecture mmi_distilbert = {
    .name = "distilbert", .classes = distilbert_classes, .prefixes = distilbert_prefixes, .rows = distilbert_rows,
    .n_rows = sizeof distilbert_rows / sizeof *distilbert_rows, .config_bytes = sizeof(bert_config), .read_hf = read_distilbert, .dimension = dimension,
    .build = build,
};
