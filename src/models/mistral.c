/* Mistral 7B: Jiang et al. 2023 (arXiv:2310.06825). Llama whose tokens see a sliding window of those before them. Its GGUF files call
 * themselves "llama".
 * SPDX-License-Identifier: MIT */
#include "mistral.h"

#include "decoder_stack.h"

static const mmi_weight_row rows[] = {MMI_DEC_ENDS, MMI_DEC_NORMS, MMI_DEC_ATTENTION, MMI_DEC_FEED_FORWARD};

static const mmi_decoder_defaults defaults = {
    .vocabulary = 32000, .hidden = 4096, .layers = 32, .intermediate = 14336, .heads = 32, .key_heads = 8, .context = 4096 * 32, .act = MMI_ACT_SILU,
};

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    mm_status st = mmi_decoder_from_json(ctx, m, doc, &defaults);

    if (st) return st;
    mmi_decoder_local_layers(m, 0, 0);
    return mmi_decoder_window(ctx, m, doc, 4096);
}

static const char *const classes[] = {"MistralForCausalLM", NULL};

const mmi_architecture mmi_mistral = {
    .name = "mistral", .classes = classes, .prefixes = mmi_decoder_prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(mmi_decoder_config), .read_hf = read_hf, .dimension = mmi_decoder_dimension,
    .prepare = mmi_decoder_prepare, .build = mmi_decoder_build,
};
