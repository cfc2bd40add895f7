/* The text model of Llama 3.2 Vision (The Llama 3 Herd of Models: arXiv:2407.21783, section 7.2): Llama, with blocks of gated attention across
 * to the states of pictures among its layers. Without pictures those are left out, and it is Llama. From a Hugging Face directory
 * (MllamaForCausalLM).
 * SPDX-License-Identifier: MIT */
#include "mllama_text.h"

#include "decoder_stack.h"
#include "dropout_op.h"
#include "gated_cross_block.h"
#include "io.h"
#include "layer_weights.h"

enum { UNPREDICTED = 8 }; /* rows of the table behind the vocabulary: the placeholder of pictures and spare ones */

typedef struct {
    mmi_decoder_config decoder;          /* first: the stack's functions read it */
    uint8_t across[MMI_DECODER_LAYERS];  /* the layer attends across */
    int32_t cache[MMI_DECODER_LAYERS];   /* a layer's index among those of its kind, which are the layers of the caches */
} text_config;

enum { GATE1 = MMI_DEC_OUT_NORM2 + 1, GATE2 };
enum { ALONG = 32, ACROSS = 64 }; /* features of a layer */

/* As in decoder_stack.h; E rows of the table */
static const mmi_weight_row rows[] = {
    {MMI_DEC_TOKENS, "embed_tokens.weight", NULL, "E,C", 0, MMI_ROW_TABLE | MMI_ROW_PADDED},
    {MMI_DEC_NORM, "norm.weight", NULL, "C", 0, 0},
    {MMI_DEC_HEAD, "/lm_head.weight", NULL, "V,C", 0, 0},
    MMI_DEC_NORMS, MMI_DEC_FEED_FORWARD,
    {MMI_DEC_Q, "layers.%.self_attn.q_proj.weight", NULL, "H,C", ALONG, 0},
    {MMI_DEC_K, "layers.%.self_attn.k_proj.weight", NULL, "K,C", ALONG, 0},
    {MMI_DEC_V, "layers.%.self_attn.v_proj.weight", NULL, "K,C", ALONG, 0},
    {MMI_DEC_O, "layers.%.self_attn.o_proj.weight", NULL, "C,H", ALONG, 0},
    {MMI_DEC_Q, "layers.%.cross_attn.q_proj.weight", NULL, "H,C", ACROSS, 0},
    {MMI_DEC_K, "layers.%.cross_attn.k_proj.weight", NULL, "K,C", ACROSS, 0},
    {MMI_DEC_V, "layers.%.cross_attn.v_proj.weight", NULL, "K,C", ACROSS, 0},
    {MMI_DEC_O, "layers.%.cross_attn.o_proj.weight", NULL, "C,H", ACROSS, 0},
    {MMI_DEC_Q_NORM, "layers.%.cross_attn.q_norm.weight", NULL, "D", ACROSS, 0},
    {MMI_DEC_K_NORM, "layers.%.cross_attn.k_norm.weight", NULL, "D", ACROSS, 0},
    {GATE1, "layers.%.cross_attn_attn_gate", NULL, "1", ACROSS, 0},
    {GATE2, "layers.%.cross_attn_mlp_gate", NULL, "1", ACROSS, 0},
};

static int64_t dimension(const mm_model *m, char letter)
{
    return letter == 'E' ? m->info.vocabulary + m->info.unpredicted : mmi_decoder_dimension(m, letter);
}

static unsigned layer_features(const mm_model *m, int64_t layer) { return ((const text_config *)m->config)->across[layer] ? ACROSS : ALONG; }

/* cross_attention_layers, and where each layer stands in its caches. */
static mm_status read_across(mm_context *ctx, mm_model *m, const mmi_json *doc, text_config *c)
{
    static const int64_t first = 3, step = 5, last = 38; /* when it is absent */
    const mmi_json_node *list = mmi_json_get(mmi_json_root(doc), "cross_attention_layers"), *node;
    mmi_model_info *info = &m->info;
    int64_t k, count[2] = {0, 0};

    if (!list || mmi_json_kind_of(list) == MMI_JSON_NULL) {
        for (k = first; k <= last && k < info->layers; k += step) c->across[k] = 1;
    } else {
        node = mmi_json_kind_of(list) == MMI_JSON_ARRAY ? mmi_json_first(list) : NULL;
        for (; node && mmi_json_integer(node, &k) && k >= 0 && k < info->layers; node = mmi_json_next(node)) c->across[k] = 1;
        if (node || mmi_json_kind_of(list) != MMI_JSON_ARRAY)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: cross_attention_layers is no list of layers from 0 to %lld", mmi_json_name(doc), (long long)info->layers - 1);
    }
    for (int64_t l = 0; l < info->layers; l++) c->cache[l] = (int32_t)count[c->across[l]]++;
    if (!count[0] || !count[1])
        return mmi_fail(ctx, MM_E_FORMAT, "%s: cross_attention_layers has %lld of %lld layers; some must attend across, and some along the text",
                        mmi_json_name(doc), (long long)count[1], (long long)info->layers);
    info->cross = info->kv;
    info->cross.layers = (size_t)count[1];
    info->kv.layers = (size_t)count[0];
    return MM_OK;
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    static const mmi_decoder_defaults defaults = {.vocabulary = 128256, .hidden = 4096, .layers = 40, .intermediate = 14336, .heads = 32, .key_heads = 8,
                                                  .context = 131072, .act = MMI_ACT_SILU};
    text_config *c = m->config;
    mm_status st;

    if ((st = mmi_decoder_from_json(ctx, m, doc, &defaults))) return st;
    if (c->decoder.head_dim * c->decoder.heads != m->info.hidden)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: hidden_size %lld is not %lld heads of %lld", mmi_json_name(doc), (long long)m->info.hidden,
                        (long long)c->decoder.heads, (long long)c->decoder.head_dim);
    m->info.features = 0; /* the head is never the table, which has more rows */
    m->info.unpredicted = UNPREDICTED;
    return read_across(ctx, m, doc, c);
}

static mmi_cross_attention_spec attend_across(mmi_io *io, int64_t l, mmi_norm_spec norms[2], mmi_value bias)
{
    const text_config *c = io->model->config;
    mmi_cross_attention_spec a = mmi_layer_cross_attention(io, MMI_DEC_Q, l, c->decoder.heads, c->decoder.head_dim);

    norms[0] = mmi_decoder_norm(io, MMI_DEC_Q_NORM, l);
    norms[1] = mmi_decoder_norm(io, MMI_DEC_K_NORM, l);
    a.key_heads = c->decoder.key_heads;
    a.query_norm = &norms[0];
    a.key_norm = &norms[1];
    a.layer = (size_t)c->cache[l];
    a.spec.bias = bias;
    return a;
}

/* input_ids [B, T] or inputs_embeds, position_ids, attention_mask [B, T]; cross_attention_states [B, N, C], cross_attention_mask [B, 1, T, N] (a
 * bias) and full_text_row_masked_out_mask [B, T, 1] -> last_hidden_state [B, T, C], logits [B, T, V] */
static void build(mmi_io *io)
{
    const text_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_value states = mmi_io_optional(io, "cross_attention_states", MM_DTYPE_F32, 3), across_bias, seen, x, positions, mask, rope, bias;
    mmi_norm_spec norm = mmi_decoder_norm(io, MMI_DEC_NORM, -1), norms[2];

    if (states && !g->status && mmi_graph_look(g, states)->shape[2] != io->model->info.hidden) {
        char s[128];
        mmi_graph_fail(g, MM_E_SHAPE, "cross_attention_states are %s, expected rows of %lld", mmi_graph_shape_text(g, states, s), (long long)io->model->info.hidden);
    }
    for (int64_t l = 0; io->encode && l < io->model->info.layers && !g->status; l++) {
        mmi_cross_attention_spec a = attend_across(io, l, norms, 0);
        if (c->across[l]) mmi_cross_attention_store(g, states, &a);
    }
    if (io->encode) return;
    across_bias = mmi_io_optional(io, "cross_attention_mask", MM_DTYPE_F32, 4);
    seen = mmi_io_optional(io, "full_text_row_masked_out_mask", MM_DTYPE_F32, 3);
    x = mmi_decoder_begin(io, mmi_io_weight(io, MMI_DEC_TOKENS, -1), 0);
    if (!x) return;
    x = mmi_dropout(g, x, g->dropout.blocks);
    positions = mmi_io_require(io, "position_ids", MM_DTYPE_I32, 2);
    mask = mmi_io_optional(io, "attention_mask", MM_DTYPE_I32, 2);
    bias = mask ? mmi_mask_bias(g, mask) : 0;
    rope = mmi_decoder_rope_table(io, positions, 0);
    for (int64_t l = 0; l < io->model->info.layers && !g->status; l++) {
        if (!c->across[l]) {
            mmi_decoder_block_spec b = mmi_decoder_layer(io, l);
            b.attention.layer = (size_t)c->cache[l];
            b.attention.rope = rope;
            b.attention.spec.bias = bias;
            x = mmi_decoder_block(g, x, &b);
        } else if (states || (io->cached && across_bias)) {
            mmi_gated_cross_block_spec b = {0};
            b.norm1 = mmi_decoder_norm(io, MMI_DEC_NORM1, l);
            b.norm2 = mmi_decoder_norm(io, MMI_DEC_NORM2, l);
            b.attention = attend_across(io, l, norms, across_bias);
            b.states = states;
            b.feed_forward = mmi_decoder_feed_forward(io, l);
            b.seen = seen;
            b.gate1 = mmi_io_weight(io, GATE1, l);
            b.gate2 = mmi_io_weight(io, GATE2, l);
            x = mmi_gated_cross_block(g, x, &b);
        }
    }
    mmi_decoder_end(io, x, &norm, mmi_io_weight(io, MMI_DEC_HEAD, -1), 0);
}

static const char *const classes[] = {"MllamaForCausalLM", NULL};

const mmi_architecture mmi_mllama_text = {
    .name = "mllama_text", .classes = classes, .prefixes = mmi_decoder_prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(text_config), .read_hf = read_hf, .dimension = dimension, .layer_features = layer_features, .prepare = mmi_decoder_prepare,
    .build = build,
};
