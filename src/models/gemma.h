/* Gemma, and what its successors keep of it. SPDX-License-Identifier: MIT */
#ifndef MMI_GEMMA_H
#define MMI_GEMMA_H

#include "decoder_stack.h"

extern const mmi_architecture mmi_gemma;

/* Configuration of any Gemma: the decoder's keys, attention_bias, scaled embeddings, norms less one. */
mm_status mmi_gemma_from_json(mm_context *ctx, mm_model *m, const mmi_json *doc, const mmi_decoder_defaults *assumed);
mm_status mmi_gemma_from_gguf(mm_context *ctx, mm_model *m, const mmi_gguf *f, const char *arch, const mmi_decoder_defaults *assumed);

/* Of Gemma 2 and 3: hidden_activation, query_pre_attn_scalar, final_logit_softcapping (of `softcap` when absent). In a GGUF file the
 * scale follows from the number of layers: that of the 27B model is of hidden / heads instead of the head. */
mm_status mmi_gemma2_scales(mm_context *ctx, mm_model *m, const mmi_json *doc, double softcap);
void mmi_gemma2_scale_of_size(mm_model *m, const mmi_gguf *f, const char *arch, int64_t layers);

#endif
