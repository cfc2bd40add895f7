/* The shape that today's text decoders share: RMS normalization before (and in some after) each half, rotary positions, grouped-query
 * attention, a gated feed-forward (Llama: arXiv:2302.13971). A family's file holds its weight table and what it does otherwise; the
 * configuration, its common keys in both formats, and the graph are here.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_DECODER_STACK_H
#define MMI_DECODER_STACK_H

#include "decoder_block.h"
#include "io.h"
#include "kernels.h"
#include "model.h"
#include "norm.h"
#include "rope_frequencies.h"

enum { MMI_DECODER_LAYERS = 4096 }; /* at most */

/* The configuration: set from the defaults of a class, then from its file. */
typedef struct {
    int64_t heads, key_heads, head_dim, rotary_dim, intermediate;
    double eps;
    mmi_activation act;
    int tied;                 /* the head is the table of embeddings */
    double embedding_scale;   /* of input_ids, 0: none; inputs_embeds come scaled */
    double attention_scale;
    double attention_softcap, logit_softcap; /* 0: none */
    int64_t window;           /* of local layers, 0: none */
    uint8_t local[MMI_DECODER_LAYERS];
    mmi_rope_spec rope[2];    /* of global layers; of local ones where `ropes` is 2 */
    size_t ropes;
    int64_t sections[3];      /* of the frequencies, that turn by time, height and width (M-RoPE); 0: all by one position */
    float rope_scale[2];
    int rope_neox;
} mmi_decoder_config;

/* What transformers assumes of a class. The first five must stand in a config.json of its own, but not in a part's; 0: no such default. */
typedef struct {
    int64_t vocabulary, hidden, layers, intermediate, heads;
    int64_t key_heads;        /* 0: heads */
    int64_t head_dim;         /* 0: hidden / heads */
    int64_t context;
    mmi_activation act;
    int tied;
    double eps;               /* 0: 1e-6 */
} mmi_decoder_defaults;

/* Slots of the weights, and bits of features that rows depend on. */
enum {
    MMI_DEC_TOKENS, MMI_DEC_NORM, MMI_DEC_HEAD, MMI_DEC_FACTORS, MMI_DEC_LONG_FACTORS,
    MMI_DEC_NORM1, MMI_DEC_Q, MMI_DEC_Q_BIAS, MMI_DEC_K, MMI_DEC_K_BIAS, MMI_DEC_V, MMI_DEC_V_BIAS, MMI_DEC_O, MMI_DEC_O_BIAS,
    MMI_DEC_Q_NORM, MMI_DEC_K_NORM, MMI_DEC_OUT_NORM1,
    MMI_DEC_NORM2, MMI_DEC_GATE, MMI_DEC_GATE_BIAS, MMI_DEC_UP, MMI_DEC_UP_BIAS, MMI_DEC_DOWN, MMI_DEC_DOWN_BIAS, MMI_DEC_OUT_NORM2
};
enum { MMI_DEC_UNTIED = 1, MMI_DEC_TIED = 2, MMI_DEC_QKV_BIASES = 4, MMI_DEC_O_BIASES = 8, MMI_DEC_MLP_BIASES = 16 };

/* Rows that many tables have. C hidden, V vocabulary, I intermediate, H query width, K key width, D head, R half of the rotated width */
#define MMI_DEC_ENDS                                                                                           \
    {MMI_DEC_TOKENS, "embed_tokens.weight", "token_embd.weight", "V,C", MMI_DEC_UNTIED, MMI_ROW_TABLE | MMI_ROW_PADDED}, \
    {MMI_DEC_TOKENS, "embed_tokens.weight", "token_embd.weight", "V,C", MMI_DEC_TIED, MMI_ROW_PADDED},         \
    {MMI_DEC_NORM, "norm.weight", "output_norm.weight", "C", 0, 0},                                            \
    {MMI_DEC_HEAD, "/lm_head.weight", "output.weight", "V,C", MMI_DEC_UNTIED, 0},                               \
    {MMI_DEC_FACTORS, NULL, "rope_freqs.weight", "R", 0, MMI_ROW_OPTIONAL}
#define MMI_DEC_ATTENTION                                                                                      \
    {MMI_DEC_Q, "layers.%.self_attn.q_proj.weight", "blk.%.attn_q.weight", "H,C", 0, MMI_ROW_ROTATED},         \
    {MMI_DEC_Q_BIAS, "layers.%.self_attn.q_proj.bias", "blk.%.attn_q.bias", "H", MMI_DEC_QKV_BIASES, 0},       \
    {MMI_DEC_K, "layers.%.self_attn.k_proj.weight", "blk.%.attn_k.weight", "K,C", 0, MMI_ROW_ROTATED},         \
    {MMI_DEC_K_BIAS, "layers.%.self_attn.k_proj.bias", "blk.%.attn_k.bias", "K", MMI_DEC_QKV_BIASES, 0},       \
    {MMI_DEC_V, "layers.%.self_attn.v_proj.weight", "blk.%.attn_v.weight", "K,C", 0, 0},                       \
    {MMI_DEC_V_BIAS, "layers.%.self_attn.v_proj.bias", "blk.%.attn_v.bias", "K", MMI_DEC_QKV_BIASES, 0},       \
    {MMI_DEC_O, "layers.%.self_attn.o_proj.weight", "blk.%.attn_output.weight", "C,H", 0, 0},                  \
    {MMI_DEC_O_BIAS, "layers.%.self_attn.o_proj.bias", "blk.%.attn_output.bias", "C", MMI_DEC_O_BIASES, 0}
#define MMI_DEC_HEAD_NORMS                                                                                     \
    {MMI_DEC_Q_NORM, "layers.%.self_attn.q_norm.weight", "blk.%.attn_q_norm.weight", "D", 0, 0},               \
    {MMI_DEC_K_NORM, "layers.%.self_attn.k_norm.weight", "blk.%.attn_k_norm.weight", "D", 0, 0}
#define MMI_DEC_FEED_FORWARD                                                                                   \
    {MMI_DEC_GATE, "layers.%.mlp.gate_proj.weight", "blk.%.ffn_gate.weight", "I,C", 0, 0},                     \
    {MMI_DEC_UP, "layers.%.mlp.up_proj.weight", "blk.%.ffn_up.weight", "I,C", 0, 0},                           \
    {MMI_DEC_DOWN, "layers.%.mlp.down_proj.weight", "blk.%.ffn_down.weight", "C,I", 0, 0}
/* A norm before each half (Llama), or before and after (Gemma 2). */
#define MMI_DEC_NORMS                                                                                          \
    {MMI_DEC_NORM1, "layers.%.input_layernorm.weight", "blk.%.attn_norm.weight", "C", 0, 0},                   \
    {MMI_DEC_NORM2, "layers.%.post_attention_layernorm.weight", "blk.%.ffn_norm.weight", "C", 0, 0}
#define MMI_DEC_SANDWICH_NORMS                                                                                 \
    {MMI_DEC_NORM1, "layers.%.input_layernorm.weight", "blk.%.attn_norm.weight", "C", 0, 0},                   \
    {MMI_DEC_OUT_NORM1, "layers.%.post_attention_layernorm.weight", "blk.%.post_attention_norm.weight", "C", 0, 0}, \
    {MMI_DEC_NORM2, "layers.%.pre_feedforward_layernorm.weight", "blk.%.ffn_norm.weight", "C", 0, 0},          \
    {MMI_DEC_OUT_NORM2, "layers.%.post_feedforward_layernorm.weight", "blk.%.post_ffw_norm.weight", "C", 0, 0}

/* The common keys of a config.json, or of a GGUF file of architecture `arch`, into m->config and m->info; then a family's own. */
mm_status mmi_decoder_from_json(mm_context *ctx, mm_model *m, const mmi_json *doc, const mmi_decoder_defaults *defaults);
mm_status mmi_decoder_from_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f, const char *arch, const mmi_decoder_defaults *defaults);

/* attention_bias, of all four projections. */
mm_status mmi_decoder_attention_bias(mm_context *ctx, mm_model *m, const mmi_json *doc);

/* mrope_section, which must be there: positions come in three streams. */
mm_status mmi_decoder_sections(mm_context *ctx, mm_model *m, const mmi_json *doc);

/* Layers from `first` on are local, but for each period-th (0: none is spared). */
void mmi_decoder_local_layers(mm_model *m, int64_t first, int64_t period);

/* sliding_window, of `window` when absent, none when null; and layer_types, which where present take the place of what
 * mmi_decoder_local_layers said. */
mm_status mmi_decoder_window(mm_context *ctx, mm_model *m, const mmi_json *doc, int64_t window);
mm_status mmi_decoder_layer_types(mm_context *ctx, mm_model *m, const mmi_json *doc);
mm_status mmi_decoder_window_from_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f, const char *arch);

/* The architecture's dimension, prepare and build. The graph takes input_ids [B, T] or inputs_embeds [B, T, C], position_ids [B, T] (or [3, B, T]) and,
 * without a cache, attention_mask [B, T] and, within a whole, token_type_ids [B, T], 0 for a prefix whose tokens see each other; it gives last_hidden_state [B, T, C] and logits [B, T, V]. Within a whole it gives, for
 * "inputs_embeds" alone, the embeddings of input_ids. */
int64_t mmi_decoder_dimension(const mm_model *m, char letter);
mm_status mmi_decoder_prepare(mm_context *ctx, mm_model *m);
void mmi_decoder_build(mmi_io *io);

extern const char *const mmi_decoder_prefixes[];

/* Pieces of that graph, for families with layers of another kind among these: a layer's block, without rotary table and mask, its
 * feed-forward alone, a norm (layer -1 for the last), and rotary table r. */
mmi_decoder_block_spec mmi_decoder_layer(mmi_io *io, int64_t layer);
mmi_feed_forward_spec mmi_decoder_feed_forward(mmi_io *io, int64_t layer);
mmi_norm_spec mmi_decoder_norm(mmi_io *io, int slot, int64_t layer);
mmi_value mmi_decoder_rope_table(mmi_io *io, mmi_value positions, size_t r);

/* The two ends of any decoder's graph. The first returns the embedded tokens [B, T, C], those of input_ids times `scale` (0: none), or 0 when nothing more is
 * to be built; the second takes the states of the last layer, normalizes and multiplies by the head (0: the table) for what is wanted. */
mmi_value mmi_decoder_begin(mmi_io *io, mmi_value table, double scale);
void mmi_decoder_end(mmi_io *io, mmi_value x, const mmi_norm_spec *norm, mmi_value head, double softcap);

#endif
