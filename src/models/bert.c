/* BERT: Devlin et al. 2019 (arXiv:1810.04805). A bidirectional encoder with learned positions and segments; normalization after each
 * residual. From a Hugging Face directory (BertModel) or a GGUF file of architecture "bert".
 * SPDX-License-Identifier: MIT */
#include "bert.h"

#include <string.h>

#include "architecture_config.h"
#include "encoder_block.h"
#include "io.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "row_ops.h"
#include "shape_ops.h"
#include "token_embedding.h"

typedef struct {
    int64_t heads, intermediate, types;
    float eps;
    mmi_activation act;
} bert_config;

enum {
    TOKENS, POSITIONS, TYPES, NORM, NORM_BIAS, POOLER, POOLER_BIAS,
    Q, Q_BIAS, K, K_BIAS, V, V_BIAS, O, O_BIAS, NORM1, NORM1_BIAS,
    UP, UP_BIAS, DOWN, DOWN_BIAS, NORM2, NORM2_BIAS
};

/* C hidden, V vocabulary, P positions, S segment types, I intermediate */
static const mmi_weight_row rows[] = {
    {TOKENS, "embeddings.word_embeddings.weight", "token_embd.weight", "V,C", 0, MMI_ROW_TABLE},
    {POSITIONS, "embeddings.position_embeddings.weight", "position_embd.weight", "P,C", 0, MMI_ROW_TABLE},
    {TYPES, "embeddings.token_type_embeddings.weight", "token_types.weight", "S,C", 0, MMI_ROW_TABLE},
    {NORM, "embeddings.LayerNorm.weight", "token_embd_norm.weight", "C", 0, 0},
    {NORM_BIAS, "embeddings.LayerNorm.bias", "token_embd_norm.bias", "C", 0, 0},
    {POOLER, "pooler.dense.weight", NULL, "C,C", 0, MMI_ROW_OPTIONAL},
    {POOLER_BIAS, "pooler.dense.bias", NULL, "C", 0, MMI_ROW_OPTIONAL},
    {Q, "encoder.layer.%.attention.self.query.weight", "blk.%.attn_q.weight", "C,C", 0, 0},
    {Q_BIAS, "encoder.layer.%.attention.self.query.bias", "blk.%.attn_q.bias", "C", 0, 0},
    {K, "encoder.layer.%.attention.self.key.weight", "blk.%.attn_k.weight", "C,C", 0, 0},
    {K_BIAS, "encoder.layer.%.attention.self.key.bias", "blk.%.attn_k.bias", "C", 0, 0},
    {V, "encoder.layer.%.attention.self.value.weight", "blk.%.attn_v.weight", "C,C", 0, 0},
    {V_BIAS, "encoder.layer.%.attention.self.value.bias", "blk.%.attn_v.bias", "C", 0, 0},
    {O, "encoder.layer.%.attention.output.dense.weight", "blk.%.attn_output.weight", "C,C", 0, 0},
    {O_BIAS, "encoder.layer.%.attention.output.dense.bias", "blk.%.attn_output.bias", "C", 0, 0},
    {NORM1, "encoder.layer.%.attention.output.LayerNorm.weight", "blk.%.attn_output_norm.weight", "C", 0, 0},
    {NORM1_BIAS, "encoder.layer.%.attention.output.LayerNorm.bias", "blk.%.attn_output_norm.bias", "C", 0, 0},
    {UP, "encoder.layer.%.intermediate.dense.weight", "blk.%.ffn_up.weight", "I,C", 0, 0},
    {UP_BIAS, "encoder.layer.%.intermediate.dense.bias", "blk.%.ffn_up.bias", "I", 0, 0},
    {DOWN, "encoder.layer.%.output.dense.weight", "blk.%.ffn_down.weight", "C,I", 0, 0},
    {DOWN_BIAS, "encoder.layer.%.output.dense.bias", "blk.%.ffn_down.bias", "C", 0, 0},
    {NORM2, "encoder.layer.%.output.LayerNorm.weight", "blk.%.layer_output_norm.weight", "C", 0, 0},
    {NORM2_BIAS, "encoder.layer.%.output.LayerNorm.bias", "blk.%.layer_output_norm.bias", "C", 0, 0},
};

static int64_t dimension(const mm_model *m, char letter)
{
    const bert_config *c = m->config;
    switch (letter) {
    case 'C': return m->info.hidden;
    case 'V': return m->info.vocabulary;
    case 'P': return m->info.context;
    case 'S': return c->types;
    case 'I': return c->intermediate;
    default: return -1;
    }
}

static mm_status finish_config(mm_context *ctx, mm_model *m, const char *where)
{
    const bert_config *c = m->config;
    if (m->info.hidden % c->heads || m->info.hidden / c->heads > 512)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: a hidden size of %lld does not divide into %lld heads of at most 512", where,
                        (long long)m->info.hidden, (long long)c->heads);
    return MM_OK;
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    bert_config *c = m->config;
    mmi_model_info *info = &m->info;
    const char *positions = "absolute";
    double eps = 1e-12;
    mm_status st;

    if ((st = mmi_json_i64(ctx, doc, root, "vocab_size", 1, 1, 1 << 22, &info->vocabulary))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "hidden_size", 1, 1, 1 << 17, &info->hidden))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_hidden_layers", 1, 1, 4096, &info->layers))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_attention_heads", 1, 1, 4096, &c->heads))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "intermediate_size", 1, 1, 1 << 20, &c->intermediate))) return st;
    info->context = 512;
    if ((st = mmi_json_i64(ctx, doc, root, "max_position_embeddings", 0, 1, 1 << 22, &info->context))) return st;
    c->types = 2;
    if ((st = mmi_json_i64(ctx, doc, root, "type_vocab_size", 0, 1, 1 << 16, &c->types))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "layer_norm_eps", 0, 0, 1, &eps))) return st;
    if ((st = mmi_json_text(ctx, doc, root, "position_embedding_type", 0, &positions))) return st;
    if (strcmp(positions, "absolute"))
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: position_embedding_type \"%.40s\" is not supported", mmi_json_name(doc), positions);
    c->act = MMI_ACT_GELU;
    if ((st = mmi_config_activation(ctx, doc, root, "hidden_act", &c->act))) return st;
    c->eps = (float)eps;
    return finish_config(ctx, m, mmi_json_name(doc));
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
    if ((st = mmi_gguf_i64(ctx, f, "bert.attention.head_count", 1, 1, 4096, &c->heads))) return st;
    if ((st = mmi_gguf_i64(ctx, f, "bert.feed_forward_length", 1, 1, 1 << 20, &c->intermediate))) return st;
    if ((st = mmi_gguf_i64(ctx, f, "bert.context_length", 1, 1, 1 << 22, &info->context))) return st;
    if ((st = mmi_gguf_f64(ctx, f, "bert.attention.layer_norm_epsilon", 1, 0, 1, &eps))) return st;
    if ((st = mmi_gguf_i64(ctx, f, "bert.pooling_type", 0, 0, 4, &pooling))) return st;
    if (pooling == 1 || pooling == 2) { /* llama.cpp's mean and cls */
        m->pooling = pooling == 1 ? MMI_POOL_MEAN : MMI_POOL_FIRST;
        m->is_sentence_model = 1;
    }
    c->act = MMI_ACT_GELU;
    c->eps = (float)eps;
    return finish_config(ctx, m, mmi_gguf_path(f));
}

static mmi_encoder_block_spec layer(mmi_io *io, int64_t l)
{
    const bert_config *c = io->model->config;
    mmi_encoder_block_spec b = {0};

    b.post_norm = 1;
    b.norm1 = mmi_layer_norm_spec(io, NORM1, l, c->eps);
    b.norm2 = mmi_layer_norm_spec(io, NORM2, l, c->eps);
    b.attention = mmi_layer_attention(io, Q, l, c->heads, c->heads, io->model->info.hidden / c->heads);
    b.feed_forward = mmi_layer_feed_forward(io, UP, l, c->act);
    return b;
}

/* input_ids, position_ids [B, T]; attention_mask, token_type_ids [B, T] -> last_hidden_state [B, T, C], pooler_output [B, C] */
static void build(mmi_io *io)
{
    const bert_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_token_embedding_spec e = {0};
    mmi_value mask = mmi_io_optional(io, "attention_mask", MM_DTYPE_I32, 2), x, bias, pooler = mmi_io_weight(io, POOLER, -1);
    mmi_value types = mmi_io_weight(io, TYPES, -1);

    e.ids = mmi_io_require(io, "input_ids", MM_DTYPE_I32, 2);
    e.table = mmi_io_weight(io, TOKENS, -1);
    e.types = mmi_io_optional(io, "token_type_ids", MM_DTYPE_I32, 2);
    e.type_table = e.types ? types : 0;
    e.positions = mmi_io_require(io, "position_ids", MM_DTYPE_I32, 2);
    e.position_table = mmi_io_weight(io, POSITIONS, -1);
    x = mmi_token_embedding(g, &e); /* [B, T, C] */
    if (!e.types) {                 /* everything is of type 0 */
        mmi_value first = mmi_slice(g, mmi_weight_value(g, types), 0, 0, 1);
        x = mmi_add(g, x, mmi_reshape(g, first, 1, &io->model->info.hidden));
    }
    x = mmi_layer_norm(g, x, mmi_io_weight(io, NORM, -1), mmi_io_weight(io, NORM_BIAS, -1), c->eps);
    bias = mask ? mmi_mask_bias(g, mask) : 0;
    for (int64_t l = 0; l < io->model->info.layers && !g->status; l++) {
        mmi_encoder_block_spec b = layer(io, l);
        b.attention.spec.bias = bias;
        b.attention.spec.segments = io->segments;
        x = mmi_encoder_block(g, x, &b);
    }
    mmi_io_output(io, "last_hidden_state", x);
    if (pooler && mmi_io_wants(io, "pooler_output"))
        mmi_io_output(io, "pooler_output", mmi_linear(g, mmi_select(g, x, 1, 0), pooler, mmi_io_weight(io, POOLER_BIAS, -1), MMI_ACT_TANH));
}

static const char *const classes[] = {"BertModel", NULL};
static const char *const prefixes[] = {"", "bert.", NULL};

const mmi_architecture mmi_bert = {
    .name = "bert", .classes = classes, .gguf = "bert", .prefixes = prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(bert_config), .read_hf = read_hf, .read_gguf = read_gguf, .dimension = dimension, .build = build,
};
