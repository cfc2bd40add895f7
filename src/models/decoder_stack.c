/* SPDX-License-Identifier: MIT */
#include "decoder_stack.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "architecture_config.h"
#include "dropout_op.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "row_ops.h"
#include "shape_ops.h"

const char *const mmi_decoder_prefixes[] = {"model.", "", NULL};

int64_t mmi_decoder_dimension(const mm_model *m, char letter)
{
    const mmi_decoder_config *c = m->config;
    switch (letter) {
    case 'C': return m->info.hidden;
    case 'V': return m->info.vocabulary;
    case 'I': return c->intermediate;
    case 'D': return c->head_dim;
    case 'H': return c->heads * c->head_dim;
    case 'K': return c->key_heads * c->head_dim;
    case 'F': return (c->heads + 2 * c->key_heads) * c->head_dim;
    case 'R': return c->rotary_dim / 2;
    default: return -1;
    }
}

static void assume(mm_model *m, const mmi_decoder_defaults *d)
{
    mmi_decoder_config *c = m->config;
    mmi_model_info *info = &m->info;

    info->vocabulary = d->vocabulary;
    info->hidden = d->hidden;
    info->layers = d->layers;
    info->context = d->context;
    c->intermediate = d->intermediate;
    c->heads = d->heads;
    c->key_heads = d->key_heads;
    c->head_dim = d->head_dim;
    c->act = d->act;
    c->tied = d->tied;
    c->eps = d->eps > 0 ? d->eps : 1e-6;
    c->ropes = 1;
    c->rope_neox = 1;
}

/* What follows from the numbers, once they are known to fit each other. */
static mm_status finish(mm_context *ctx, mm_model *m, const char *where)
{
    mmi_decoder_config *c = m->config;

    if (c->heads % c->key_heads)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: %lld heads are no multiple of %lld key heads", where, (long long)c->heads, (long long)c->key_heads);
    if (c->head_dim < 1 || c->head_dim > 512)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: heads of %lld elements, allowed are 1 to 512", where, (long long)c->head_dim);
    if (c->rotary_dim % 2 || c->rotary_dim > c->head_dim)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: a rotary width of %lld does not fit heads of %lld", where, (long long)c->rotary_dim, (long long)c->head_dim);
    c->attention_scale = 1 / sqrt((double)c->head_dim);
    m->info.features |= c->tied ? MMI_DEC_TIED : MMI_DEC_UNTIED;
    m->info.generates = 1;
    m->info.kv = (mmi_kv_shape){(size_t)m->info.layers, (size_t)c->key_heads, (size_t)c->head_dim, MM_DTYPE_F16};
    return MM_OK;
}

mm_status mmi_decoder_from_json(mm_context *ctx, mm_model *m, const mmi_json *doc, const mmi_decoder_defaults *defaults)
{
    const mmi_json_node *root = mmi_json_root(doc);
    mmi_decoder_config *c = m->config;
    mmi_model_info *info = &m->info;
    int must = !m->part; /* the configuration of a part leaves out what its class assumes */
    double partial = 1;
    mm_status st;

    assume(m, defaults);
    if ((st = mmi_json_i64(ctx, doc, root, "vocab_size", must, 1, 1 << 22, &info->vocabulary))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "hidden_size", must, 1, 1 << 17, &info->hidden))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_hidden_layers", must, 1, MMI_DECODER_LAYERS, &info->layers))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "intermediate_size", must, 1, 1 << 20, &c->intermediate))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_attention_heads", must, 1, 4096, &c->heads))) return st;
    if (!c->key_heads) c->key_heads = c->heads;
    if ((st = mmi_json_i64(ctx, doc, root, "num_key_value_heads", 0, 1, 4096, &c->key_heads))) return st;
    if (!c->head_dim) c->head_dim = info->hidden / c->heads;
    if ((st = mmi_json_i64(ctx, doc, root, "head_dim", 0, 1, 512, &c->head_dim))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "max_position_embeddings", 0, 1, 1 << 26, &info->context))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "rms_norm_eps", 0, 0, 1, &c->eps))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "tie_word_embeddings", 0, &c->tied))) return st;
    if (m->part_tied) c->tied = 1;
    if ((st = mmi_config_activation(ctx, doc, root, "hidden_act", &c->act))) return st;
    if ((st = mmi_rope_from_json(ctx, doc, root, (double)info->context, &c->rope[0], &partial))) return st;
    c->rotary_dim = (int64_t)((double)c->head_dim * partial);
    return finish(ctx, m, mmi_json_name(doc));
}

mm_status mmi_decoder_sections(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc), *s = mmi_json_get(mmi_json_get(root, "rope_parameters"), "mrope_section"), *item;
    mmi_decoder_config *c = m->config;
    int64_t sum = 0;

    if (!s) s = mmi_json_get(mmi_json_get(root, "rope_scaling"), "mrope_section"); /* before transformers 5 */
    item = mmi_json_kind_of(s) == MMI_JSON_ARRAY ? mmi_json_first(s) : NULL;
    for (int i = 0; i < 3; i++, item = mmi_json_next(item)) {
        if (!item || !mmi_json_integer(item, &c->sections[i]) || c->sections[i] < 1 || c->sections[i] > 256)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: mrope_section must list three numbers of 1 to 256", mmi_json_name(doc));
        sum += c->sections[i];
    }
    if (item || sum != c->rotary_dim / 2)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: mrope_section makes %lld pairs, the heads have %lld", mmi_json_name(doc), (long long)sum,
                        (long long)c->rotary_dim / 2);
    m->info.position_streams = 3;
    return MM_OK;
}

mm_status mmi_decoder_attention_bias(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    int bias = 0;
    mm_status st = mmi_json_bool(ctx, doc, mmi_json_root(doc), "attention_bias", 0, &bias);

    if (bias) m->info.features |= MMI_DEC_QKV_BIASES | MMI_DEC_O_BIASES;
    return st;
}

/* Readers of "<arch>.<key>". */
static mm_status arch_i64(mm_context *ctx, const mmi_gguf *f, const char *arch, const char *key, int must, int64_t lowest, int64_t highest, int64_t *out)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", arch, key);
    return mmi_gguf_i64(ctx, f, full, must, lowest, highest, out);
}

static mm_status arch_f64(mm_context *ctx, const mmi_gguf *f, const char *arch, const char *key, int must, double lowest, double highest, double *out)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", arch, key);
    return mmi_gguf_f64(ctx, f, full, must, lowest, highest, out);
}

mm_status mmi_decoder_from_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f, const char *arch, const mmi_decoder_defaults *defaults)
{
    mmi_decoder_config *c = m->config;
    mmi_model_info *info = &m->info;
    const mmi_gguf_tensor *embedding = mmi_gguf_tensor_find(f, "token_embd.weight");
    double scale = 0;
    mm_status st;

    if (!embedding || embedding->rank != 2 || embedding->shape[0] > 1 << 22)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: token_embd.weight is missing or no matrix", mmi_gguf_path(f));
    assume(m, defaults);
    info->vocabulary = embedding->shape[0];
    if ((st = arch_i64(ctx, f, arch, "embedding_length", 1, 1, 1 << 17, &info->hidden))) return st;
    if ((st = arch_i64(ctx, f, arch, "block_count", 1, 1, MMI_DECODER_LAYERS, &info->layers))) return st;
    if ((st = arch_i64(ctx, f, arch, "feed_forward_length", 1, 1, 1 << 20, &c->intermediate))) return st;
    if ((st = arch_i64(ctx, f, arch, "attention.head_count", 1, 1, 4096, &c->heads))) return st;
    c->key_heads = c->heads;
    if ((st = arch_i64(ctx, f, arch, "attention.head_count_kv", 0, 1, 4096, &c->key_heads))) return st;
    c->head_dim = info->hidden / c->heads;
    if ((st = arch_i64(ctx, f, arch, "attention.key_length", 0, 1, 512, &c->head_dim))) return st;
    if ((st = arch_i64(ctx, f, arch, "context_length", 1, 1, 1 << 26, &info->context))) return st;
    if ((st = arch_f64(ctx, f, arch, "attention.layer_norm_rms_epsilon", 1, 0, 1, &c->eps))) return st;
    c->rotary_dim = c->head_dim;
    if ((st = arch_i64(ctx, f, arch, "rope.dimension_count", 0, 2, 512, &c->rotary_dim))) return st;
    if ((st = mmi_rope_from_gguf(ctx, f, arch, (double)info->context, &c->rope[0]))) return st;
    if ((st = arch_f64(ctx, f, arch, "attn_logit_softcapping", 0, 0, 1e6, &c->attention_softcap))) return st;
    if ((st = arch_f64(ctx, f, arch, "final_logit_softcapping", 0, 0, 1e6, &c->logit_softcap))) return st;
    if ((st = arch_f64(ctx, f, arch, "attention.scale", 0, 0, 1e6, &scale))) return st;
    c->tied = !mmi_gguf_tensor_find(f, "output.weight");
    info->features = (mmi_gguf_tensor_find(f, "blk.0.attn_q.bias") ? MMI_DEC_QKV_BIASES : 0) |
                     (mmi_gguf_tensor_find(f, "blk.0.attn_output.bias") ? MMI_DEC_O_BIASES : 0) |
                     (mmi_gguf_tensor_find(f, "blk.0.ffn_up.bias") ? MMI_DEC_MLP_BIASES : 0);
    st = finish(ctx, m, mmi_gguf_path(f));
    if (scale > 0) c->attention_scale = scale;
    return st;
}

void mmi_decoder_local_layers(mm_model *m, int64_t first, int64_t period)
{
    mmi_decoder_config *c = m->config;
    for (int64_t l = 0; l < m->info.layers; l++) c->local[l] = l >= first && !(period && (l + 1) % period == 0);
}

mm_status mmi_decoder_window(mm_context *ctx, mm_model *m, const mmi_json *doc, int64_t window)
{
    mmi_decoder_config *c = m->config;
    const mmi_json_node *root = mmi_json_root(doc);

    c->window = mmi_json_kind_of(mmi_json_get(root, "sliding_window")) == MMI_JSON_NULL ? 0 : window;
    return mmi_json_i64(ctx, doc, root, "sliding_window", 0, 1, 1 << 26, &c->window);
}

mm_status mmi_decoder_layer_types(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    mmi_decoder_config *c = m->config;
    const mmi_json_node *list = mmi_json_get(mmi_json_root(doc), "layer_types"), *node;
    int64_t l = 0;

    if (mmi_json_kind_of(list) == MMI_JSON_ABSENT || mmi_json_kind_of(list) == MMI_JSON_NULL) return MM_OK;
    for (node = mmi_json_kind_of(list) == MMI_JSON_ARRAY ? mmi_json_first(list) : NULL; node && l < m->info.layers; node = mmi_json_next(node)) {
        const char *type = mmi_json_string(node);
        if (!type || (strcmp(type, "full_attention") && strcmp(type, "sliding_attention")))
            return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: layer_types has \"%.40s\" for layer %lld", mmi_json_name(doc), type ? type : "", (long long)l);
        c->local[l++] = *type == 's';
    }
    if (node || l != m->info.layers)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: layer_types is no list of %lld types, one for each layer", mmi_json_name(doc), (long long)m->info.layers);
    return MM_OK;
}

mm_status mmi_decoder_window_from_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f, const char *arch)
{
    mmi_decoder_config *c = m->config;
    char key[96];
    mmi_gguf_type type;
    size_t count = 0;
    int64_t period = 0;
    int found = 0;
    mm_status st;

    if ((st = arch_i64(ctx, f, arch, "attention.sliding_window", 0, 0, 1 << 26, &c->window))) return st;
    snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", arch);
    if (!mmi_gguf_has(f, key)) return MM_OK;
    if (!mmi_gguf_i64(ctx, f, key, 1, 1, MMI_DECODER_LAYERS, &period)) { /* one number, or a truth value a layer */
        mmi_decoder_local_layers(m, 0, period);
        return MM_OK;
    }
    if ((st = mmi_gguf_array(ctx, f, key, 1, &type, &count, &found))) return st;
    if ((int64_t)count != m->info.layers)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: %s has %zu values for %lld layers", mmi_gguf_path(f), key, count, (long long)m->info.layers);
    for (size_t l = 0; l < count && !st; l++) {
        st = mmi_gguf_array_i64(ctx, f, key, l, &period);
        c->local[l] = period != 0;
    }
    return st;
}

mm_status mmi_decoder_prepare(mm_context *ctx, mm_model *m)
{
    mmi_decoder_config *c = m->config;
    const mmi_weight *within = mmi_model_weight(m, MMI_DEC_FACTORS, -1), *beyond = mmi_model_weight(m, MMI_DEC_LONG_FACTORS, -1);
    size_t bytes = (size_t)(c->rotary_dim / 2) * sizeof(float);

    if (within) { /* of a GGUF file: Llama 3's scaling ready made, or LongRoPE's */
        memcpy(c->rope[0].factors[0], within->data, bytes);
        c->rope[0].sets = 1;
    }
    if (beyond) {
        memcpy(c->rope[0].factors[1], beyond->data, bytes);
        c->rope[0].sets = 2;
    }
    for (size_t r = 0; r < c->ropes; r++)
        if (c->rope[r].sets == 2) m->info.long_context = (int64_t)c->rope[r].original_context;
    return mmi_rope_prepare(ctx, m, c->rope, c->ropes, c->rotary_dim, c->rope_scale);
}

mmi_norm_spec mmi_decoder_norm(mmi_io *io, int slot, int64_t l)
{
    const mmi_decoder_config *c = io->model->config;
    return (mmi_norm_spec){1, mmi_io_weight(io, slot, l), 0, (float)c->eps, io->model->info.norm_offset};
}

mmi_feed_forward_spec mmi_decoder_feed_forward(mmi_io *io, int64_t l)
{
    mmi_feed_forward_spec f = mmi_layer_feed_forward(io, MMI_DEC_UP, l, ((const mmi_decoder_config *)io->model->config)->act);

    f.gate = mmi_io_weight(io, MMI_DEC_GATE, l);
    f.gate_bias = mmi_io_weight(io, MMI_DEC_GATE_BIAS, l);
    f.gated = 1;
    return f;
}

mmi_decoder_block_spec mmi_decoder_layer(mmi_io *io, int64_t l)
{
    const mmi_decoder_config *c = io->model->config;
    mmi_decoder_block_spec b = {0};

    b.norm1 = mmi_decoder_norm(io, MMI_DEC_NORM1, l);
    b.out_norm1 = mmi_decoder_norm(io, MMI_DEC_OUT_NORM1, l);
    b.norm2 = mmi_decoder_norm(io, MMI_DEC_NORM2, l);
    b.out_norm2 = mmi_decoder_norm(io, MMI_DEC_OUT_NORM2, l);
    b.attention = mmi_layer_attention(io, MMI_DEC_Q, l, c->heads, c->key_heads, c->head_dim);
    b.attention.query_norm = mmi_decoder_norm(io, MMI_DEC_Q_NORM, l);
    b.attention.key_norm = mmi_decoder_norm(io, MMI_DEC_K_NORM, l);
    b.attention.rope_neox = c->rope_neox;
    b.attention.cached = io->cached;
    b.attention.layer = (size_t)l;
    b.attention.spec.causal = !io->prefix;
    b.attention.spec.scale = (float)c->attention_scale;
    b.attention.spec.softcap = (float)c->attention_softcap;
    b.attention.spec.window = c->local[l] && !io->prefix ? c->window : 0;
    b.attention.spec.segments = io->segments;
    b.feed_forward = mmi_decoder_feed_forward(io, l);
    return b;
}

mmi_value mmi_decoder_begin(mmi_io *io, mmi_value table, double scale)
{
    mmi_graph *g = io->g;
    mmi_value ids = mmi_io_optional(io, "input_ids", MM_DTYPE_I32, 2), x = mmi_io_optional(io, "inputs_embeds", MM_DTYPE_F32, 3);
    char s[128];

    if (g->status) return 0;
    if (!ids == !x) return mmi_graph_fail(g, MM_E_ARGUMENT, "one of the inputs input_ids and inputs_embeds is needed, %s", x ? "both are given" : "both are missing");
    if (x && mmi_graph_look(g, x)->shape[2] != io->model->info.hidden)
        return mmi_graph_fail(g, MM_E_SHAPE, "input inputs_embeds is %s, expected rows of %lld", mmi_graph_shape_text(g, x, s), (long long)io->model->info.hidden);
    if (ids) x = mmi_lookup(g, ids, table); /* [B, T, C] */
    if (ids && scale != 0) x = mmi_scale(g, x, (float)scale);
    if (!io->inner || !io->wanted || !mmi_io_wants(io, "inputs_embeds")) return x;
    mmi_io_output(io, "inputs_embeds", x);
    return 0;
}

void mmi_decoder_end(mmi_io *io, mmi_value x, const mmi_norm_spec *norm, mmi_value head, double softcap)
{
    mmi_graph *g = io->g;
    char last[40];

    if (g->status) return;
    (void)snprintf(last, sizeof last, "hidden_states.%lld", (long long)io->model->info.layers);
    if (mmi_io_asked(io, last)) mmi_io_hidden_state(io, io->model->info.layers, mmi_norm(g, x, norm)); /* transformers counts the norm in */
    x = mmi_norm(g, mmi_io_last(io, x), norm);
    mmi_io_output(io, "last_hidden_state", x);
    if (!mmi_io_wants(io, "logits")) return;
    x = mmi_linear(g, x, head, 0, MMI_ACT_NONE);
    if (softcap > 0) x = mmi_scale(g, mmi_activate(g, mmi_scale(g, x, (float)(1 / softcap)), MMI_ACT_TANH), (float)softcap);
    mmi_io_output(io, "logits", x);
}

/* The table of cosines and sines of rope r, whose frequencies lie behind those of the ropes before it. */
mmi_value mmi_decoder_rope_table(mmi_io *io, mmi_value positions, size_t r)
{
    const mmi_decoder_config *c = io->model->config;
    int64_t row = r ? mmi_rope_rows(&c->rope[0]) : 0;
    mmi_value frequencies = mmi_graph_weight(io->g, &io->model->inverse_frequencies);

    if (mmi_graph_look(io->g, positions)->rank == 3)
        return mmi_rope_table_streams(io->g, positions, mmi_select(io->g, frequencies, 0, row), c->sections, c->rope_scale[r]);

    if (mmi_rope_rows(&c->rope[r]) == 1) return mmi_rope_table(io->g, positions, mmi_select(io->g, frequencies, 0, row), c->rope_scale[r]);
    return mmi_rope_table_by_length(io->g, positions, mmi_slice(io->g, frequencies, 0, row, 2), (int64_t)c->rope[r].original_context, c->rope_scale[r]);
}

/* [B, T]; or [3, B, T] for a model with sections, which are equal in a text. */
static mmi_value position_ids(mmi_io *io)
{
    mmi_value v = mmi_io_input(io, "position_ids");
    int streams = io->model->info.position_streams == 3 && v && mmi_graph_look(io->g, v)->rank == 3;
    return mmi_io_require(io, "position_ids", MM_DTYPE_I32, 2 + streams);
}

void mmi_decoder_build(mmi_io *io)
{
    const mmi_decoder_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_value table = mmi_io_weight(io, MMI_DEC_TOKENS, -1), head = mmi_io_weight(io, MMI_DEC_HEAD, -1);
    mmi_value x = mmi_decoder_begin(io, table, c->embedding_scale), positions, mask, types, ropes[2], bias[2] = {0, 0};
    mmi_norm_spec norm = mmi_decoder_norm(io, MMI_DEC_NORM, -1);

    if (!x) return;
    x = mmi_dropout(g, x, g->dropout.blocks);
    positions = position_ids(io);
    mask = mmi_io_optional(io, "attention_mask", MM_DTYPE_I32, 2);
    types = io->inner ? mmi_io_optional(io, "token_type_ids", MM_DTYPE_I32, 2) : 0; /* the whole says what they mean */
    for (int local = 0; local < 2; local++)
        bias[local] = types ? mmi_prefix_bias(g, types, mask, local ? c->window : 0) : mask && !local ? mmi_mask_bias(g, mask) : bias[0];
    for (size_t r = 0; r < c->ropes && !g->status; r++) ropes[r] = mmi_decoder_rope_table(io, positions, r);
    for (int64_t l = 0; l < io->model->info.layers && !g->status; l++) {
        mmi_decoder_block_spec b = mmi_decoder_layer(io, l);
        b.attention.rope = ropes[c->local[l] && c->ropes == 2];
        b.attention.spec.bias = bias[c->local[l]];
        if (types) {
            b.attention.spec.causal = 0;
            b.attention.spec.window = 0;
        }
        mmi_io_hidden_state(io, l, x);
        x = mmi_decoder_block(g, x, &b);
    }
    mmi_decoder_end(io, x, &norm, head ? head : table, c->logit_softcap);
}
