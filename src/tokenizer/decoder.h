/* Decoders of tokenizer.json: how tokens become text again, one token at a time.
 *
 * Kinds: ByteLevel, WordPiece, BPEDecoder, Metaspace, Replace (of a string), ByteFallback, Fuse, Strip, Sequence. A decoder is a
 * flat list of steps, immutable after loading; without steps tokens are joined with spaces. What is decoded at once and
 * what is decoded token by token is equal, since there is only the latter. SPDX-License-Identifier: MIT */
#ifndef MMI_DECODER_H
#define MMI_DECODER_H

#include "json.h"
#include "text.h"

typedef struct mmi_decoder mmi_decoder;
typedef struct mmi_decoding mmi_decoding; /* the state of one text; borrows the decoder */

/* From a node of `doc`, which may be absent or null. MM_E_UNSUPPORTED names an unknown kind. */
mm_status mmi_decoder_load(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, mmi_decoder **out);
void mmi_decoder_destroy(mmi_decoder *d); /* NULL allowed */

mm_status mmi_decoding_create(mm_context *ctx, const mmi_decoder *d, mmi_decoding **out);
void mmi_decoding_destroy(mmi_decoding *state); /* NULL allowed */

/* Append to `out` what the next token (valid UTF-8) makes certain: whole characters, maybe none. */
mm_status mmi_decoding_push(mm_context *ctx, mmi_decoding *state, const char *token, size_t n, mmi_text *out);

/* Append the bytes that a token stands for inside a text, which need not be whole characters. */
mm_status mmi_decoder_token_bytes(mm_context *ctx, const mmi_decoder *d, const char *token, size_t n, mmi_text *out);

/* Whether a space at the beginning of a text is dropped. */
int mmi_decoder_drops_space(const mmi_decoder *d);

/* Append what was still held back, malformed bytes as U+FFFD, and begin anew. */
mm_status mmi_decoding_finish(mm_context *ctx, mmi_decoding *state, mmi_text *out);

#endif
