/* Llama: Touvron et al. 2023 (arXiv:2302.13971, arXiv:2307.09288). Decoder-only: RMS normalization before each half, rotary positions,
 * grouped-query attention, SwiGLU. From a Hugging Face directory (LlamaForCausalLM) or a GGUF file of architecture "llama", whose
 * query and key rows are stored in the order of interleaved rotation.
 * SPDX-License-Identifier: MIT */
#include "llama.h"

#include "decoder_stack.h"

static const mmi_weight_row rows[] = {
    MMI_DEC_ENDS, MMI_DEC_NORMS, MMI_DEC_ATTENTION, MMI_DEC_FEED_FORWARD,
    {MMI_DEC_GATE_BIAS, "layers.%.mlp.gate_proj.bias", "blk.%.ffn_gate.bias", "I", MMI_DEC_MLP_BIASES, 0},
    {MMI_DEC_UP_BIAS, "layers.%.mlp.up_proj.bias", "blk.%.ffn_up.bias", "I", MMI_DEC_MLP_BIASES, 0},
    {MMI_DEC_DOWN_BIAS, "layers.%.mlp.down_proj.bias", "blk.%.ffn_down.bias", "C", MMI_DEC_MLP_BIASES, 0},
};

static const mmi_decoder_defaults defaults = {
    .vocabulary = 32000, .hidden = 4096, .layers = 32, .intermediate = 11008, .heads = 32, .context = 2048, .act = MMI_ACT_SILU,
};

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    int mlp_bias = 0;
    mm_status st;

    if ((st = mmi_decoder_from_json(ctx, m, doc, &defaults))) return st;
    if ((st = mmi_decoder_attention_bias(ctx, m, doc))) return st;
    if ((st = mmi_json_bool(ctx, doc, mmi_json_root(doc), "mlp_bias", 0, &mlp_bias))) return st;
    if (mlp_bias) m->info.features |= MMI_DEC_MLP_BIASES;
    return MM_OK;
}

static mm_status read_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f)
{
    mm_status st = mmi_decoder_from_gguf(ctx, m, f, "llama", &defaults);
    ((mmi_decoder_config *)m->config)->rope_neox = 0;
    return st;
}

static const char *const classes[] = {"LlamaForCausalLM", NULL};

const mmi_architecture mmi_llama = {
    .name = "llama", .classes = classes, .gguf = "llama", .gguf_interleaved = 1, .prefixes = mmi_decoder_prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(mmi_decoder_config), .read_hf = read_hf, .read_gguf = read_gguf, .dimension = mmi_decoder_dimension,
    .prepare = mmi_decoder_prepare, .build = mmi_decoder_build,
};
