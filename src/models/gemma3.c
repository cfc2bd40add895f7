/* Gemma 3, its text model: Gemma Team 2025 (arXiv:2503.19786). Gemma 2 with queries and keys normalized in each head instead of capped
 * scores, five local layers to a global one, and rotary positions of a short base in the local layers, a long (and scaled) one in the global.
 * SPDX-License-Identifier: MIT */
#include "gemma3.h"

#include "architecture_config.h"
#include "gemma.h"

static const mmi_weight_row rows[] = {MMI_DEC_ENDS, MMI_DEC_SANDWICH_NORMS, MMI_DEC_ATTENTION, MMI_DEC_HEAD_NORMS, MMI_DEC_FEED_FORWARD};

static const mmi_decoder_defaults defaults = {
    .vocabulary = 262208, .hidden = 2304, .layers = 26, .intermediate = 9216, .heads = 8, .key_heads = 4, .head_dim = 256, .context = 131072,
    .act = MMI_ACT_GELU_TANH, .tied = 1,
};

enum { GLOBAL, LOCAL };

static const double BASE[2] = {1e6, 1e4};

/* One kind of layers' rope: its member of rope_parameters, or the keys before transformers 5, where scaling is of the global ones. */
static mm_status read_rope(mm_context *ctx, mm_model *m, const mmi_json *doc, int kind)
{
    const mmi_json_node *root = mmi_json_root(doc);
    const mmi_json_node *s = mmi_json_get(mmi_json_get(root, "rope_parameters"), kind == GLOBAL ? "full_attention" : "sliding_attention");
    mmi_rope_spec *r = &((mmi_decoder_config *)m->config)->rope[kind];
    double partial = 1;
    mm_status st;

    *r = mmi_rope_plain(BASE[kind], (double)m->info.context);
    if ((st = mmi_json_f64(ctx, doc, root, kind == GLOBAL ? "rope_theta" : "rope_local_base_freq", 0, 1e-3, 1e12, &r->theta))) return st;
    if (kind == GLOBAL && mmi_json_kind_of(s) != MMI_JSON_OBJECT) s = mmi_json_get(root, "rope_scaling");
    return mmi_rope_scaling_from_json(ctx, doc, s, r, &partial);
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    int64_t period = 6;
    mm_status st;

    if ((st = mmi_gemma_from_json(ctx, m, doc, &defaults))) return st;
    if ((st = mmi_gemma2_scales(ctx, m, doc, 0))) return st;
    if ((st = mmi_decoder_window(ctx, m, doc, 4096))) return st;
    if ((st = mmi_json_i64(ctx, doc, mmi_json_root(doc), "sliding_window_pattern", 0, 1, MMI_DECODER_LAYERS, &period))) return st;
    mmi_decoder_local_layers(m, 0, period);
    if ((st = mmi_decoder_layer_types(ctx, m, doc))) return st;
    if ((st = read_rope(ctx, m, doc, GLOBAL))) return st;
    ((mmi_decoder_config *)m->config)->ropes = 2;
    return read_rope(ctx, m, doc, LOCAL);
}

static mm_status read_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f)
{
    mmi_decoder_config *c = m->config;
    double base = BASE[LOCAL];
    mm_status st;

    if ((st = mmi_gemma_from_gguf(ctx, m, f, "gemma3", &defaults))) return st;
    mmi_gemma2_scale_of_size(m, f, "gemma3", 62);
    if (!mmi_gguf_has(f, "gemma3.rope.freq_base")) c->rope[GLOBAL].theta = BASE[GLOBAL];
    if ((st = mmi_gguf_f64(ctx, f, "gemma3.rope.freq_base_swa", 0, 1e-3, 1e12, &base))) return st;
    c->rope[LOCAL] = mmi_rope_plain(base, (double)m->info.context);
    c->ropes = 2;
    mmi_decoder_local_layers(m, 0, 6);
    return mmi_decoder_window_from_gguf(ctx, m, f, "gemma3");
}

static const char *const classes[] = {"Gemma3ForCausalLM", NULL};

const mmi_architecture mmi_gemma3 = {
    .name = "gemma3", .classes = classes, .gguf = "gemma3", .prefixes = mmi_decoder_prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(mmi_decoder_config), .read_hf = read_hf, .read_gguf = read_gguf, .dimension = mmi_decoder_dimension,
    .prepare = mmi_decoder_prepare, .build = mmi_decoder_build,
};
