/* The tokenizer in the metadata of a GGUF file. SPDX-License-Identifier: MIT */
#ifndef MMI_GGUF_TOKENIZER_H
#define MMI_GGUF_TOKENIZER_H

#include "gguf.h"
#include "tokenizer.h"

/* tokenizer.ggml.model gpt2 (byte-level BPE, cut as tokenizer.ggml.pre says), llama (SentencePiece's BPE) or bert
 * (WordPiece); nothing of `file` is needed afterwards. MM_E_UNSUPPORTED names another model or pre. */
mm_status mmi_tokenizer_from_gguf(mm_context *ctx, const mmi_gguf *file, mmi_tokenizer **out);

#endif
