/* Qwen2: Yang et al. 2024 (arXiv:2407.10671), and Qwen2.5. Llama with biases on queries, keys and values, and where asked a sliding
 * window in the upper layers. Also the text part of Qwen2-VL and Qwen2.5-VL, with positions of three streams.
 * SPDX-License-Identifier: MIT */
#include "qwen2.h"

#include <string.h>

#include "decoder_stack.h"

static const mmi_weight_row rows[] = {MMI_DEC_ENDS, MMI_DEC_NORMS, MMI_DEC_ATTENTION, MMI_DEC_FEED_FORWARD};

static const mmi_decoder_defaults defaults = {
    .vocabulary = 151936, .hidden = 4096, .layers = 32, .intermediate = 22016, .heads = 32, .context = 32768, .act = MMI_ACT_SILU,
};

mm_status mmi_qwen_windows(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    mmi_decoder_config *c = m->config;
    int sliding = 0;
    int64_t first = 28;
    mm_status st;

    if ((st = mmi_json_bool(ctx, doc, mmi_json_root(doc), "use_sliding_window", 0, &sliding))) return st;
    if ((st = mmi_json_i64(ctx, doc, mmi_json_root(doc), "max_window_layers", 0, 0, MMI_DECODER_LAYERS, &first))) return st;
    if ((st = mmi_decoder_window(ctx, m, doc, 4096))) return st;
    if (!sliding) c->window = 0;
    mmi_decoder_local_layers(m, first, 0);
    return mmi_decoder_layer_types(ctx, m, doc);
}

static const mmi_decoder_defaults vl_defaults = {
    .vocabulary = 152064, .hidden = 8192, .layers = 80, .intermediate = 29568, .heads = 64, .key_heads = 8, .context = 32768, .act = MMI_ACT_SILU,
    .eps = 1e-5,
};

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    int vl = !strcmp(m->class_name, "Qwen2VLTextModel");
    mm_status st = mmi_decoder_from_json(ctx, m, doc, vl ? &vl_defaults : &defaults);

    m->info.features |= MMI_DEC_QKV_BIASES;
    if (!st && vl) st = mmi_decoder_sections(ctx, m, doc);
    return st ? st : mmi_qwen_windows(ctx, m, doc);
}

static mm_status read_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f) { return mmi_decoder_from_gguf(ctx, m, f, "qwen2", &defaults); }

static const char *const classes[] = {"Qwen2ForCausalLM", "Qwen2VLTextModel", NULL};

const mmi_architecture mmi_qwen2 = {
    .name = "qwen2", .classes = classes, .gguf = "qwen2", .prefixes = mmi_decoder_prefixes, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .config_bytes = sizeof(mmi_decoder_config), .read_hf = read_hf, .read_gguf = read_gguf, .dimension = mmi_decoder_dimension,
    .prepare = mmi_decoder_prepare, .build = mmi_decoder_build,
};
