/* Gemma 2: Gemma Team 2024 (arXiv:2408.00118). Gemma with a norm before and after each half, tanh caps on attention scores and logits, and
 * layers that take turns between a window and the whole text.
 * SPDX-License-Identifier: MIT */
#include "gemma2.h"

#include <math.h>
#include <stdio.h>

#include "architecture_config.h"
#include "gemma.h"

static const mmi_weight_row rows[] = {MMI_DEC_ENDS, MMI_DEC_SANDWICH_NORMS, MMI_DEC_ATTENTION, MMI_DEC_FEED_FORWARD};

static const mmi_decoder_defaults defaults = {
    .vocabulary = 256000, .hidden = 2304, .layers = 26, .intermediate = 9216, .heads = 8, .key_heads = 4, .head_dim = 256, .context = 8192,
    .act = MMI_ACT_GELU_TANH, .tied = 1,
};

/* A number that null takes away. */
static mm_status cap(mm_context *ctx, const mmi_json *doc, const char *key, double value, double *out)
{
    const mmi_json_node *root = mmi_json_root(doc);
    *out = mmi_json_kind_of(mmi_json_get(root, key)) == MMI_JSON_NULL ? 0 : value;
    return mmi_json_f64(ctx, doc, root, key, 0, 1e-6, 1e6, out);
}

mm_status mmi_gemma2_scales(mm_context *ctx, mm_model *m, const mmi_json *doc, double softcap)
{
    mmi_decoder_config *c = m->config;
    double scalar = 256;
    mm_status st;

    c->act = MMI_ACT_GELU_TANH;
    if ((st = mmi_config_activation(ctx, doc, mmi_json_root(doc), "hidden_activation", &c->act))) return st;
    if ((st = mmi_json_f64(ctx, doc, mmi_json_root(doc), "query_pre_attn_scalar", 0, 1e-6, 1e9, &scalar))) return st;
    c->attention_scale = 1 / sqrt(scalar);
    return cap(ctx, doc, "final_logit_softcapping", softcap, &c->logit_softcap);
}

void mmi_gemma2_scale_of_size(mm_model *m, const mmi_gguf *f, const char *arch, int64_t layers)
{
    mmi_decoder_config *c = m->config;
    char key[64];

    snprintf(key, sizeof key, "%s.attention.scale", arch);
    if (m->info.layers == layers && !mmi_gguf_has(f, key)) c->attention_scale = 1 / sqrt((double)(m->info.hidden / c->heads));
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    mmi_decoder_config *c = m->config;
    mm_status st;

    if ((st = mmi_gemma_from_json(ctx, m, doc, &defaults))) return st;
    if ((st = mmi_gemma2_scales(ctx, m, doc, 30))) return st;
    if ((st = cap(ctx, doc, "attn_logit_softcapping", 50, &c->attention_softcap))) return st;
    if ((st = mmi_decoder_window(ctx, m, doc, 4096))) return st;
    mmi_decoder_local_layers(m, 0, 2);
    return mmi_decoder_layer_types(ctx, m, doc);
}

static mm_status read_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f)
{
    mm_status st = mmi_gemma_from_gguf(ctx, m, f, "gemma2", &defaults);

    if (st) return st;
    mmi_gemma2_scale_of_size(m, f, "gemma2", 46);
    mmi_decoder_local_layers(m, 0, 2);
    return mmi_decoder_window_from_gguf(ctx, m, f, "gemma2");
}

static const char *const classes[] = {"Gemma2ForCausalLM", NULL};

const mmi_architecture mmi_gemma2 = {
    .name = "gemma2", .classes = classes, .gguf = "gemma2", .prefixes = mmi_decoder_prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(mmi_decoder_config), .read_hf = read_hf, .read_gguf = read_gguf, .dimension = mmi_decoder_dimension,
    .prepare = mmi_decoder_prepare, .build = mmi_decoder_build,
};
