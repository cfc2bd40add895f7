/* Llama: Touvron et al. 2023 (arXiv:2302.13971, arXiv:2307.09288). Decoder-only: RMS normalization before each half, rotary positions,
 * grouped-query attention, SwiGLU. From a Hugging Face directory (LlamaForCausalLM) or a GGUF file of architecture "llama", whose
 * query and key rows are stored in the order of interleaved rotation.
 * SPDX-License-Identifier: MIT */
#include "llama.h"

#include <string.h>

#include "decoder_block.h"
#include "io.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "row_ops.h"
#include "rope_frequencies.h"
#include "architecture_config.h"
#include "shape_ops.h"
#include "token_embedding.h"

typedef struct {
    int64_t heads, key_heads, head_dim, rotary_dim, intermediate;
    float eps;
    mmi_activation act;
    mmi_rope_spec rope;
    float rope_scale;
    int rope_neox;
} llama_config;

enum { ATTENTION_BIAS = 1, MLP_BIAS = 2, UNTIED = 4, TIED = 8 };

enum {
    TOKENS, NORM, HEAD, ROPE_FACTORS,
    NORM1, Q, Q_BIAS, K, K_BIAS, V, V_BIAS, O, O_BIAS,
    NORM2, GATE, GATE_BIAS, UP, UP_BIAS, DOWN, DOWN_BIAS
};

/* C hidden, V vocabulary, I intermediate, H query width, K key width, R half of the rotated width */
static const mmi_weight_row rows[] = {
    {TOKENS, "embed_tokens.weight", "token_embd.weight", "V,C", UNTIED, MMI_ROW_TABLE},
    {TOKENS, "embed_tokens.weight", "token_embd.weight", "V,C", TIED, 0},
    {NORM, "norm.weight", "output_norm.weight", "C", 0, 0},
    {HEAD, "lm_head.weight", "output.weight", "V,C", UNTIED, 0},
    {ROPE_FACTORS, NULL, "rope_freqs.weight", "R", 0, MMI_ROW_OPTIONAL},
    {NORM1, "layers.%.input_layernorm.weight", "blk.%.attn_norm.weight", "C", 0, 0},
    {Q, "layers.%.self_attn.q_proj.weight", "blk.%.attn_q.weight", "H,C", 0, 0},
    {Q_BIAS, "layers.%.self_attn.q_proj.bias", "blk.%.attn_q.bias", "H", ATTENTION_BIAS, 0},
    {K, "layers.%.self_attn.k_proj.weight", "blk.%.attn_k.weight", "K,C", 0, 0},
    {K_BIAS, "layers.%.self_attn.k_proj.bias", "blk.%.attn_k.bias", "K", ATTENTION_BIAS, 0},
    {V, "layers.%.self_attn.v_proj.weight", "blk.%.attn_v.weight", "K,C", 0, 0},
    {V_BIAS, "layers.%.self_attn.v_proj.bias", "blk.%.attn_v.bias", "K", ATTENTION_BIAS, 0},
    {O, "layers.%.self_attn.o_proj.weight", "blk.%.attn_output.weight", "C,H", 0, 0},
    {O_BIAS, "layers.%.self_attn.o_proj.bias", "blk.%.attn_output.bias", "C", ATTENTION_BIAS, 0},
    {NORM2, "layers.%.post_attention_layernorm.weight", "blk.%.ffn_norm.weight", "C", 0, 0},
    {GATE, "layers.%.mlp.gate_proj.weight", "blk.%.ffn_gate.weight", "I,C", 0, 0},
    {GATE_BIAS, "layers.%.mlp.gate_proj.bias", "blk.%.ffn_gate.bias", "I", MLP_BIAS, 0},
    {UP, "layers.%.mlp.up_proj.weight", "blk.%.ffn_up.weight", "I,C", 0, 0},
    {UP_BIAS, "layers.%.mlp.up_proj.bias", "blk.%.ffn_up.bias", "I", MLP_BIAS, 0},
    {DOWN, "layers.%.mlp.down_proj.weight", "blk.%.ffn_down.weight", "C,I", 0, 0},
    {DOWN_BIAS, "layers.%.mlp.down_proj.bias", "blk.%.ffn_down.bias", "C", MLP_BIAS, 0},
};

static int64_t dimension(const mm_model *m, char letter)
{
    const llama_config *c = m->config;
    switch (letter) {
    case 'C': return m->info.hidden;
    case 'V': return m->info.vocabulary;
    case 'I': return c->intermediate;
    case 'H': return c->heads * c->head_dim;
    case 'K': return c->key_heads * c->head_dim;
    case 'R': return c->rotary_dim / 2;
    default: return -1;
    }
}

static mm_status finish_config(mm_context *ctx, mm_model *m, const char *where)
{
    const llama_config *c = m->config;

    if (c->heads % c->key_heads)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: %lld heads are no multiple of %lld key heads", where, (long long)c->heads, (long long)c->key_heads);
    if (c->rotary_dim % 2 || c->rotary_dim > c->head_dim)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: a rotary width of %lld does not fit heads of %lld", where, (long long)c->rotary_dim, (long long)c->head_dim);
    m->info.generates = 1;
    m->info.kv = (mmi_kv_shape){(size_t)m->info.layers, (size_t)c->key_heads, (size_t)c->head_dim, MM_DTYPE_F16};
    return MM_OK;
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    llama_config *c = m->config;
    mmi_model_info *info = &m->info;
    double eps = 1e-6, partial = 1;
    int attention_bias = 0, mlp_bias = 0, tied = 0;
    mm_status st;

    if ((st = mmi_json_i64(ctx, doc, root, "vocab_size", 1, 1, 1 << 22, &info->vocabulary))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "hidden_size", 1, 1, 1 << 17, &info->hidden))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_hidden_layers", 1, 1, 4096, &info->layers))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "intermediate_size", 1, 1, 1 << 20, &c->intermediate))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_attention_heads", 1, 1, 4096, &c->heads))) return st;
    c->key_heads = c->heads;
    if ((st = mmi_json_i64(ctx, doc, root, "num_key_value_heads", 0, 1, 4096, &c->key_heads))) return st;
    c->head_dim = info->hidden / c->heads;
    if ((st = mmi_json_i64(ctx, doc, root, "head_dim", 0, 1, 512, &c->head_dim))) return st;
    if (c->head_dim < 1 || c->head_dim > 512)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: heads of %lld elements, allowed are 1 to 512", mmi_json_name(doc), (long long)c->head_dim);
    info->context = 2048;
    if ((st = mmi_json_i64(ctx, doc, root, "max_position_embeddings", 0, 1, 1 << 26, &info->context))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "rms_norm_eps", 0, 0, 1, &eps))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "attention_bias", 0, &attention_bias))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "mlp_bias", 0, &mlp_bias))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "tie_word_embeddings", 0, &tied))) return st;
    c->act = MMI_ACT_SILU;
    if ((st = mmi_config_activation(ctx, doc, root, "hidden_act", &c->act))) return st;
    if ((st = mmi_rope_from_json(ctx, doc, root, (double)info->context, &c->rope, &partial))) return st;
    c->eps = (float)eps;
    c->rotary_dim = (int64_t)((double)c->head_dim * partial);
    c->rope_neox = 1;
    info->features = (attention_bias ? ATTENTION_BIAS : 0) | (mlp_bias ? MLP_BIAS : 0) | (tied ? TIED : UNTIED);
    return finish_config(ctx, m, mmi_json_name(doc));
}

static mm_status read_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f)
{
    llama_config *c = m->config;
    mmi_model_info *info = &m->info;
    const mmi_gguf_tensor *embedding = mmi_gguf_tensor_find(f, "token_embd.weight");
    double eps = 1e-5;
    mm_status st;

    if (!embedding || embedding->rank != 2 || embedding->shape[0] > 1 << 22)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: token_embd.weight is missing or no matrix", mmi_gguf_path(f));
    info->vocabulary = embedding->shape[0];
    if ((st = mmi_gguf_i64(ctx, f, "llama.embedding_length", 1, 1, 1 << 17, &info->hidden))) return st;
    if ((st = mmi_gguf_i64(ctx, f, "llama.block_count", 1, 1, 4096, &info->layers))) return st;
    if ((st = mmi_gguf_i64(ctx, f, "llama.feed_forward_length", 1, 1, 1 << 20, &c->intermediate))) return st;
    if ((st = mmi_gguf_i64(ctx, f, "llama.attention.head_count", 1, 1, 4096, &c->heads))) return st;
    c->key_heads = c->heads;
    if ((st = mmi_gguf_i64(ctx, f, "llama.attention.head_count_kv", 0, 1, 4096, &c->key_heads))) return st;
    c->head_dim = info->hidden / c->heads;
    if ((st = mmi_gguf_i64(ctx, f, "llama.attention.key_length", 0, 1, 512, &c->head_dim))) return st;
    if (c->head_dim < 1 || c->head_dim > 512)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: heads of %lld elements, allowed are 1 to 512", mmi_gguf_path(f), (long long)c->head_dim);
    if ((st = mmi_gguf_i64(ctx, f, "llama.context_length", 1, 1, 1 << 26, &info->context))) return st;
    if ((st = mmi_gguf_f64(ctx, f, "llama.attention.layer_norm_rms_epsilon", 1, 0, 1, &eps))) return st;
    c->rotary_dim = c->head_dim;
    if ((st = mmi_gguf_i64(ctx, f, "llama.rope.dimension_count", 0, 2, 512, &c->rotary_dim))) return st;
    if ((st = mmi_rope_from_gguf(ctx, f, "llama", (double)info->context, &c->rope))) return st;
    c->eps = (float)eps;
    c->act = MMI_ACT_SILU;
    info->features = (mmi_gguf_tensor_find(f, "blk.0.attn_q.bias") ? ATTENTION_BIAS : 0) | (mmi_gguf_tensor_find(f, "blk.0.ffn_up.bias") ? MLP_BIAS : 0) |
                     (mmi_gguf_tensor_find(f, "output.weight") ? UNTIED : TIED);
    return finish_config(ctx, m, mmi_gguf_path(f));
}

static mm_status prepare(mm_context *ctx, mm_model *m)
{
    llama_config *c = m->config;
    const mmi_weight *factors = mmi_model_weight(m, ROPE_FACTORS, -1);
    mm_status st = mmi_rope_prepare(ctx, m, &c->rope, c->rotary_dim, &c->rope_scale);
    float *inverse = (float *)(uintptr_t)m->inverse_frequencies.data;

    if (st || !factors) return st;
    for (int64_t i = 0; i < c->rotary_dim / 2; i++) inverse[i] /= ((const float *)factors->data)[i]; /* Llama 3's scaling, ready made */
    return MM_OK;
}

static mmi_decoder_block_spec layer(mmi_io *io, int64_t l, mmi_value rope)
{
    const llama_config *c = io->model->config;
    mmi_decoder_block_spec b = {0};

    b.norm1 = (mmi_norm_spec){1, mmi_io_weight(io, NORM1, l), 0, c->eps, 0};
    b.norm2 = (mmi_norm_spec){1, mmi_io_weight(io, NORM2, l), 0, c->eps, 0};
    b.attention = mmi_layer_attention(io, Q, l, c->heads, c->key_heads, c->head_dim);
    b.attention.rope = rope;
    b.attention.rope_neox = c->rope_neox;
    b.attention.cached = io->cached;
    b.attention.layer = (size_t)l;
    b.attention.spec.causal = 1;
    b.feed_forward = mmi_layer_feed_forward(io, UP, l, c->act);
    b.feed_forward.gate = mmi_io_weight(io, GATE, l);
    b.feed_forward.gate_bias = mmi_io_weight(io, GATE_BIAS, l);
    b.feed_forward.gated = 1;
    return b;
}

/* input_ids, position_ids [B, T] and, without a cache, attention_mask [B, T] -> last_hidden_state [B, T, C], logits [B, T, V] */
static void build(mmi_io *io)
{
    const llama_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_value ids = mmi_io_require(io, "input_ids", MM_DTYPE_I32, 2);
    mmi_value positions = mmi_io_require(io, "position_ids", MM_DTYPE_I32, 2);
    mmi_value mask = mmi_io_optional(io, "attention_mask", MM_DTYPE_I32, 2);
    mmi_value x, rope, bias, head;

    x = mmi_token_embedding(g, &(mmi_token_embedding_spec){.ids = ids, .table = mmi_io_weight(io, TOKENS, -1)}); /* [B, T, C] */
    rope = mmi_rope_table(g, positions, mmi_graph_weight(g, &io->model->inverse_frequencies), c->rope_scale);
    bias = mask ? mmi_mask_bias(g, mask) : 0;
    for (int64_t l = 0; l < io->model->info.layers && !g->status; l++) {
        mmi_decoder_block_spec b = layer(io, l, rope);
        b.attention.spec.bias = bias;
        b.attention.spec.segments = io->segments;
        x = mmi_decoder_block(g, x, &b);
    }
    x = mmi_norm(g, mmi_io_last(io, x), &(mmi_norm_spec){1, mmi_io_weight(io, NORM, -1), 0, c->eps, 0});
    mmi_io_output(io, "last_hidden_state", x);
    if (!mmi_io_wants(io, "logits")) return;
    head = mmi_io_weight(io, HEAD, -1);
    if (!head) head = mmi_io_weight(io, TOKENS, -1); /* tied */
    mmi_io_output(io, "logits", mmi_linear(g, x, head, 0, MMI_ACT_NONE));
}

static const char *const classes[] = {"LlamaForCausalLM", NULL};
static const char *const prefixes[] = {"model.", "", NULL};

const mmi_architecture mmi_llama = {
    .name = "llama", .classes = classes, .gguf = "llama", .prefixes = prefixes, .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(llama_config), .read_hf = read_hf, .read_gguf = read_gguf,
    .dimension = dimension, .prepare = prepare, .build = build,
};
