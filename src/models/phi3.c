/* Phi-3: Abdin et al. 2024 (arXiv:2404.14219), and Phi-4. Llama with queries, keys and values in one matrix, gate and up in another, where
 * asked part of each head rotated, a sliding window, and LongRoPE (arXiv:2402.13753).
 * SPDX-License-Identifier: MIT */
#include "phi3.h"

#include "decoder_stack.h"

/* F width of queries, keys and values together */
static const mmi_weight_row rows[] = {
    MMI_DEC_ENDS, MMI_DEC_NORMS,
    {MMI_DEC_FACTORS, NULL, "rope_factors_short.weight", "R", 0, MMI_ROW_OPTIONAL},
    {MMI_DEC_LONG_FACTORS, NULL, "rope_factors_long.weight", "R", 0, MMI_ROW_OPTIONAL},
    {MMI_DEC_Q, "layers.%.self_attn.qkv_proj.weight", "blk.%.attn_qkv.weight", "F,C", 0, 0},
    {MMI_DEC_O, "layers.%.self_attn.o_proj.weight", "blk.%.attn_output.weight", "C,H", 0, 0},
    {MMI_DEC_UP, "layers.%.mlp.gate_up_proj.weight", "blk.%.ffn_up.weight", "2I,C", 0, 0},
    {MMI_DEC_DOWN, "layers.%.mlp.down_proj.weight", "blk.%.ffn_down.weight", "C,I", 0, 0},
};

static const mmi_decoder_defaults defaults = {
    .vocabulary = 32064, .hidden = 3072, .layers = 32, .intermediate = 8192, .heads = 32, .context = 4096, .act = MMI_ACT_SILU,
};

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_decoder_config *c = m->config;
    mm_status st = mmi_decoder_from_json(ctx, m, doc, &defaults);

    if (st) return st;
    if (c->rope[0].kind != MMI_ROPE_DEFAULT && c->rope[0].kind != MMI_ROPE_LONG)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: the rotary scaling must be longrope", mmi_json_name(doc));
    mmi_decoder_local_layers(m, 0, 0);
    return mmi_decoder_window(ctx, m, doc, 0);
}

static mm_status read_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f)
{
    mmi_decoder_config *c = m->config;
    mm_status st = mmi_decoder_from_gguf(ctx, m, f, "phi3", &defaults);

    if (st) return st;
    if (mmi_gguf_tensor_find(f, "rope_factors_long.weight")) { /* the file names no kind */
        c->rope[0].kind = MMI_ROPE_LONG;
        if ((st = mmi_gguf_f64(ctx, f, "phi3.rope.scaling.attn_factor", 0, 1e-6, 1e6, &c->rope[0].attention_factor))) return st;
    }
    mmi_decoder_local_layers(m, 0, 0);
    return mmi_decoder_window_from_gguf(ctx, m, f, "phi3");
}

static const char *const classes[] = {"Phi3ForCausalLM", NULL};

const mmi_architecture mmi_phi3 = {
    .name = "phi3", .classes = classes, .gguf = "phi3", .prefixes = mmi_decoder_prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(mmi_decoder_config), .read_hf = read_hf, .read_gguf = read_gguf, .dimension = mmi_decoder_dimension,
    .prepare = mmi_decoder_prepare, .build = mmi_decoder_build,
};
