/* Qwen3: Yang et al. 2025 (arXiv:2505.09388). Qwen2 without its biases, and with queries and keys normalized in each head.
 * SPDX-License-Identifier: MIT */
#include "qwen3.h"

#include "decoder_stack.h"
#include "qwen2.h"

static const mmi_weight_row rows[] = {MMI_DEC_ENDS, MMI_DEC_NORMS, MMI_DEC_ATTENTION, MMI_DEC_HEAD_NORMS, MMI_DEC_FEED_FORWARD};

static const mmi_decoder_defaults defaults = {
    .vocabulary = 151936, .hidden = 4096, .layers = 32, .intermediate = 22016, .heads = 32, .key_heads = 32, .head_dim = 128, .context = 32768,
    .act = MMI_ACT_SILU,
};

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    mm_status st = mmi_decoder_from_json(ctx, m, doc, &defaults);

    if (!st) st = mmi_decoder_attention_bias(ctx, m, doc);
    return st ? st : mmi_qwen_windows(ctx, m, doc);
}

static mm_status read_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f) { return mmi_decoder_from_gguf(ctx, m, f, "qwen3", &defaults); }

static const char *const classes[] = {"Qwen3ForCausalLM", NULL};

const mmi_architecture mmi_qwen3 = {
    .name = "qwen3", .classes = classes, .gguf = "qwen3", .prefixes = mmi_decoder_prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(mmi_decoder_config), .read_hf = read_hf, .read_gguf = read_gguf, .dimension = mmi_decoder_dimension,
    .prepare = mmi_decoder_prepare, .build = mmi_decoder_build,
};
