/* GPT-2: Radford et al. 2019. Decoder-only: layer normalization before each half, learned positions, biases everywhere, the head tied. From a
 * directory, whose matrices are stored [in, out], or a GGUF file, which has them [out, in].
 * SPDX-License-Identifier: MIT */
#include "gpt2.h"

#include "architecture_config.h"
#include "decoder_block.h"
#include "decoder_stack.h"
#include "dropout_op.h"
#include "layer_weights.h"
#include "row_ops.h"
#include "shape_ops.h"

typedef struct {
    int64_t heads, intermediate;
    double eps;
    mmi_activation act;
    int scaled, scaled_by_layer; /* scores by 1 / sqrt(D); by 1 / (layer + 1) */
} gpt2_config;

enum {
    TOKENS, POSITIONS, NORM, NORM_BIAS, HEAD,
    NORM1, NORM1_BIAS, QKV, QKV_BIAS, O = QKV + 6, O_BIAS,
    NORM2, NORM2_BIAS, UP, UP_BIAS, DOWN, DOWN_BIAS
};

/* C hidden, V vocabulary, P positions, I intermediate */
static const mmi_weight_row rows[] = {
    {TOKENS, "wte.weight", "token_embd.weight", "V,C", MMI_DEC_UNTIED, MMI_ROW_TABLE},
    {TOKENS, "wte.weight", "token_embd.weight", "V,C", MMI_DEC_TIED, 0},
    {POSITIONS, "wpe.weight", "position_embd.weight", "P,C", 0, MMI_ROW_TABLE},
    {NORM, "ln_f.weight", "output_norm.weight", "C", 0, 0},
    {NORM_BIAS, "ln_f.bias", "output_norm.bias", "C", 0, 0},
    {HEAD, "/lm_head.weight", "output.weight", "V,C", MMI_DEC_UNTIED, 0},
    {NORM1, "h.%.ln_1.weight", "blk.%.attn_norm.weight", "C", 0, 0},
    {NORM1_BIAS, "h.%.ln_1.bias", "blk.%.attn_norm.bias", "C", 0, 0},
    {QKV, "h.%.attn.c_attn.weight", "blk.%.attn_qkv.weight", "3C,C", 0, MMI_ROW_TRANSPOSED},
    {QKV_BIAS, "h.%.attn.c_attn.bias", "blk.%.attn_qkv.bias", "3C", 0, 0},
    {O, "h.%.attn.c_proj.weight", "blk.%.attn_output.weight", "C,C", 0, MMI_ROW_TRANSPOSED},
    {O_BIAS, "h.%.attn.c_proj.bias", "blk.%.attn_output.bias", "C", 0, 0},
    {NORM2, "h.%.ln_2.weight", "blk.%.ffn_norm.weight", "C", 0, 0},
    {NORM2_BIAS, "h.%.ln_2.bias", "blk.%.ffn_norm.bias", "C", 0, 0},
    {UP, "h.%.mlp.c_fc.weight", "blk.%.ffn_up.weight", "I,C", 0, MMI_ROW_TRANSPOSED},
    {UP_BIAS, "h.%.mlp.c_fc.bias", "blk.%.ffn_up.bias", "I", 0, 0},
    {DOWN, "h.%.mlp.c_proj.weight", "blk.%.ffn_down.weight", "C,I", 0, MMI_ROW_TRANSPOSED},
    {DOWN_BIAS, "h.%.mlp.c_proj.bias", "blk.%.ffn_down.bias", "C", 0, 0},
};

static int64_t dimension(const mm_model *m, char letter)
{
    switch (letter) {
    case 'C': return m->info.hidden;
    case 'V': return m->info.vocabulary;
    case 'P': return m->info.context;
    case 'I': return ((const gpt2_config *)m->config)->intermediate;
    default: return -1;
    }
}

static mm_status finish_config(mm_context *ctx, mm_model *m, const char *where, int tied)
{
    const gpt2_config *c = m->config;
    mmi_model_info *info = &m->info;

    if (info->hidden % c->heads || info->hidden / c->heads > 512)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: a hidden size of %lld does not divide into %lld heads of at most 512", where, (long long)info->hidden,
                        (long long)c->heads);
    info->generates = 1;
    info->kv = (mmi_kv_shape){(size_t)info->layers, (size_t)c->heads, (size_t)(info->hidden / c->heads), MM_DTYPE_F16};
    info->features = tied ? MMI_DEC_TIED : MMI_DEC_UNTIED;
    return MM_OK;
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    gpt2_config *c = m->config;
    mmi_model_info *info = &m->info;
    int must = !m->part, tied = 1, cross = 0;
    mm_status st;

    info->vocabulary = 50257;
    info->hidden = 768;
    info->layers = c->heads = 12;
    info->context = 1024;
    c->eps = 1e-5;
    c->act = MMI_ACT_GELU_TANH;
    c->scaled = 1;
    if ((st = mmi_json_i64(ctx, doc, root, "vocab_size", must, 1, 1 << 22, &info->vocabulary))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "n_embd", must, 1, 1 << 17, &info->hidden))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "n_layer", must, 1, MMI_DECODER_LAYERS, &info->layers))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "n_head", must, 1, 4096, &c->heads))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "n_positions", 0, 1, 1 << 22, &info->context))) return st;
    c->intermediate = 4 * info->hidden;
    if ((st = mmi_json_i64(ctx, doc, root, "n_inner", 0, 1, 1 << 20, &c->intermediate))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "layer_norm_epsilon", 0, 0, 1, &c->eps))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "scale_attn_weights", 0, &c->scaled))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "scale_attn_by_inverse_layer_idx", 0, &c->scaled_by_layer))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "tie_word_embeddings", 0, &tied))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "add_cross_attention", 0, &cross))) return st;
    if (cross) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: add_cross_attention is not supported", mmi_json_name(doc));
    if ((st = mmi_config_activation(ctx, doc, root, "activation_function", &c->act))) return st;
    return finish_config(ctx, m, mmi_json_name(doc), tied);
}

static mm_status read_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f)
{
    gpt2_config *c = m->config;
    mmi_model_info *info = &m->info;
    const mmi_gguf_tensor *embedding = mmi_gguf_tensor_find(f, "token_embd.weight");
    mm_status st;

    if (!embedding || embedding->rank != 2 || embedding->shape[0] > 1 << 22)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: token_embd.weight is missing or no matrix", mmi_gguf_path(f));
    info->vocabulary = embedding->shape[0];
    if ((st = mmi_gguf_i64(ctx, f, "gpt2.embedding_length", 1, 1, 1 << 17, &info->hidden))) return st;
    if ((st = mmi_gguf_i64(ctx, f, "gpt2.block_count", 1, 1, MMI_DECODER_LAYERS, &info->layers))) return st;
    if ((st = mmi_gguf_i64(ctx, f, "gpt2.attention.head_count", 1, 1, 4096, &c->heads))) return st;
    if ((st = mmi_gguf_i64(ctx, f, "gpt2.feed_forward_length", 1, 1, 1 << 20, &c->intermediate))) return st;
    if ((st = mmi_gguf_i64(ctx, f, "gpt2.context_length", 1, 1, 1 << 22, &info->context))) return st;
    if ((st = mmi_gguf_f64(ctx, f, "gpt2.attention.layer_norm_epsilon", 1, 0, 1, &c->eps))) return st;
    c->act = MMI_ACT_GELU_TANH;
    c->scaled = 1;
    return finish_config(ctx, m, mmi_gguf_path(f), !mmi_gguf_tensor_find(f, "output.weight"));
}

static mmi_decoder_block_spec layer(mmi_io *io, int64_t l, mmi_value bias)
{
    const gpt2_config *c = io->model->config;
    mmi_decoder_block_spec b = {0};

    b.norm1 = mmi_layer_norm_spec(io, NORM1, l, (float)c->eps);
    b.norm2 = mmi_layer_norm_spec(io, NORM2, l, (float)c->eps);
    b.attention = mmi_layer_attention(io, QKV, l, c->heads, c->heads, io->model->info.hidden / c->heads);
    if (!c->scaled) b.attention.spec.scale = 1;
    if (c->scaled_by_layer) b.attention.spec.scale /= (float)(l + 1);
    b.attention.cached = io->cached;
    b.attention.layer = (size_t)l;
    b.attention.spec.causal = !io->prefix;
    b.attention.spec.bias = bias;
    b.attention.spec.segments = io->segments;
    b.feed_forward = mmi_layer_feed_forward(io, UP, l, c->act);
    return b;
}

/* Inputs and outputs are those of mmi_decoder_build. */
static void build(mmi_io *io)
{
    const gpt2_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_value table = mmi_io_weight(io, TOKENS, -1), head = mmi_io_weight(io, HEAD, -1), x = mmi_decoder_begin(io, table, 0), mask, bias;
    mmi_norm_spec norm = mmi_layer_norm_spec(io, NORM, -1, (float)c->eps);

    if (!x) return;
    x = mmi_add(g, x, mmi_lookup(g, mmi_io_require(io, "position_ids", MM_DTYPE_I32, 2), mmi_io_weight(io, POSITIONS, -1)));
    x = mmi_dropout(g, x, g->dropout.blocks);
    mask = mmi_io_optional(io, "attention_mask", MM_DTYPE_I32, 2);
    bias = mask ? mmi_mask_bias(g, mask) : 0;
    for (int64_t l = 0; l < io->model->info.layers && !g->status; l++) {
        mmi_decoder_block_spec b = layer(io, l, bias);
        mmi_io_hidden_state(io, l, x);
        x = mmi_decoder_block(g, x, &b);
    }
    mmi_decoder_end(io, x, &norm, head ? head : table, 0);
}

static const char *const classes[] = {"GPT2LMHeadModel", NULL};
static const char *const prefixes[] = {"transformer.", "", NULL};

const mmi_architecture mmi_gpt2 = {
    .name = "gpt2", .classes = classes, .gguf = "gpt2", .prefixes = prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(gpt2_config), .read_hf = read_hf, .read_gguf = read_gguf, .dimension = dimension, .build = build,
};
