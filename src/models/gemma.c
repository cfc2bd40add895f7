/* Gemma: Gemma Team 2024 (arXiv:2403.08295). Llama with wide heads, a gelu gate, embeddings scaled by the root of their width, and norms
 * whose weights are stored less one (a GGUF file has them whole).
 * SPDX-License-Identifier: MIT */
#include "gemma.h"

#include <math.h>

static const mmi_weight_row rows[] = {MMI_DEC_ENDS, MMI_DEC_NORMS, MMI_DEC_ATTENTION, MMI_DEC_FEED_FORWARD};

static const mmi_decoder_defaults defaults = {
    .vocabulary = 256000, .hidden = 3072, .layers = 28, .intermediate = 24576, .heads = 16, .key_heads = 16, .head_dim = 256, .context = 8192,
    .act = MMI_ACT_GELU_TANH, .tied = 1,
};

mm_status mmi_gemma_from_json(mm_context *ctx, mm_model *m, const mmi_json *doc, const mmi_decoder_defaults *assumed)
{
    mmi_decoder_config *c = m->config;
    int bidirectional = 0;
    mm_status st;

    if ((st = mmi_decoder_from_json(ctx, m, doc, assumed))) return st;
    if ((st = mmi_decoder_attention_bias(ctx, m, doc))) return st;
    if ((st = mmi_json_bool(ctx, doc, mmi_json_root(doc), "use_bidirectional_attention", 0, &bidirectional))) return st;
    if (bidirectional && !m->part) /* the whole says who sees whom */
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: use_bidirectional_attention is not supported", mmi_json_name(doc));
    m->info.norm_offset = 1;
    c->embedding_scale = sqrt((double)m->info.hidden);
    return MM_OK;
}

mm_status mmi_gemma_from_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f, const char *arch, const mmi_decoder_defaults *assumed)
{
    mmi_decoder_config *c = m->config;
    mm_status st = mmi_decoder_from_gguf(ctx, m, f, arch, assumed);

    c->embedding_scale = sqrt((double)m->info.hidden);
    return st;
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    mmi_decoder_config *c = m->config;
    mm_status st = mmi_gemma_from_json(ctx, m, doc, &defaults);

    if (c->act == MMI_ACT_GELU) c->act = MMI_ACT_GELU_TANH; /* what the first releases meant */
    return st;
}

static mm_status read_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f) { return mmi_gemma_from_gguf(ctx, m, f, "gemma", &defaults); }

static const char *const classes[] = {"GemmaForCausalLM", NULL};

const mmi_architecture mmi_gemma = {
    .name = "gemma", .classes = classes, .gguf = "gemma", .prefixes = mmi_decoder_prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(mmi_decoder_config), .read_hf = read_hf, .read_gguf = read_gguf, .dimension = mmi_decoder_dimension,
    .prepare = mmi_decoder_prepare, .build = mmi_decoder_build,
};
