/* A tokenizer: text to ids and back, as the `tokenizers` package does it.
 *
 *   text -> added tokens -> normalizer -> added tokens -> pre-tokenizer -> model -> post-processor -> ids
 *
 * A tokenizer is immutable and reference-counted: many threads may use one at once, each call with scratch of its own.
 * It comes from tokenizer.json here, from the metadata of a GGUF file in gguf_tokenizer.h.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_TOKENIZER_H
#define MMI_TOKENIZER_H

#include "added_tokens.h"
#include "decoder.h"
#include "ids.h"
#include "json.h"
#include "post_processor.h"
#include "pre_tokenizer.h"
#include "text.h"
#include "vocabulary.h"

typedef struct mm_tokenizer mmi_tokenizer; /* the public handle is the same object */

enum { MMI_TOKENIZER_MAX_TEXT = 1 << 30 }; /* bytes of one text, before and after normalization */

typedef enum {
    MMI_SPECIAL_BOS, MMI_SPECIAL_EOS, MMI_SPECIAL_PAD, MMI_SPECIAL_UNK, MMI_SPECIAL_CLS, MMI_SPECIAL_SEP, MMI_SPECIAL_MASK, MMI_SPECIAL_COUNT
} mmi_special;

/* From tokenizer.json; `config` is tokenizer_config.json, which names the special tokens, or NULL. MM_E_FORMAT,
 * MM_E_LIMIT, MM_E_UNSUPPORTED (names the kind), MM_E_NOMEM. */
mm_status mmi_tokenizer_from_json(mm_context *ctx, const mmi_json *tokenizer_json, const mmi_json *config, mmi_tokenizer **out);
void mmi_tokenizer_retain(mmi_tokenizer *t);
void mmi_tokenizer_release(mmi_tokenizer *t); /* NULL allowed */

/* Append the ids of text[0..n). add_special: the special tokens of the post-processor; parse_special: special tokens in
 * the text are those tokens, else they are text. MM_E_FORMAT names the first byte of malformed UTF-8; MM_E_LIMIT;
 * MM_E_CANCELLED; MM_E_NOMEM. After a failure `ids` is as it was. */
mm_status mmi_tokenizer_encode(mm_context *ctx, const mmi_tokenizer *t, const char *text, size_t n, int add_special, int parse_special, mmi_ids *ids);

/* The same of a pair, with the type ids of each token (text_b NULL: of one text; types NULL: not wanted). */
mm_status mmi_tokenizer_encode_pair(mm_context *ctx, const mmi_tokenizer *t, const char *text_a, size_t n_a, const char *text_b, size_t n_b,
                                    int add_special, int parse_special, mmi_ids *ids, mmi_ids *types);

/* Append the text of ids[0..n). An id without a token gives no text; a negative one is MM_E_ARGUMENT. */
mm_status mmi_tokenizer_decode(mm_context *ctx, const mmi_tokenizer *t, const int32_t *ids, size_t n, int skip_special, mmi_text *out);

/* Decoding id by id: appends whole characters only, and all of them together with the end are what decode gives. */
typedef struct mm_token_decoder mmi_token_decoder;
mm_status mmi_token_decoder_create(mm_context *ctx, mmi_tokenizer *t, int skip_special, mmi_token_decoder **out); /* retains t */
void mmi_token_decoder_destroy(mmi_token_decoder *d); /* NULL allowed */
mm_status mmi_token_decoder_push(mm_context *ctx, mmi_token_decoder *d, int32_t id, mmi_text *out);
mm_status mmi_token_decoder_finish(mm_context *ctx, mmi_token_decoder *d, mmi_text *out); /* then d begins anew */

/* Append the bytes that a token stands for inside a text, which need not be whole characters; none for a special token and an id without
 * a token. */
mm_status mmi_tokenizer_token_bytes(mm_context *ctx, const mmi_tokenizer *t, int32_t id, mmi_text *out);
int mmi_tokenizer_drops_space(const mmi_tokenizer *t); /* decoding drops a space at the beginning of a text */

/* "BPE", "WordPiece" or "Unigram"; static. */
const char *mmi_tokenizer_kind(const mmi_tokenizer *t);
/* The highest id + 1. */
int32_t mmi_tokenizer_size(const mmi_tokenizer *t);
/* The token of an id as the vocabulary writes it, NUL-terminated and borrowed; NULL for none. */
const char *mmi_tokenizer_token(const mmi_tokenizer *t, int32_t id, size_t *n);
/* The id of a token written so, -1 for none. */
int32_t mmi_tokenizer_find(const mmi_tokenizer *t, const char *token, size_t n);
int mmi_tokenizer_is_special(const mmi_tokenizer *t, int32_t id);
int32_t mmi_tokenizer_special(const mmi_tokenizer *t, mmi_special which); /* -1: none */
/* max_length of tokenizer.json's truncation, which encode does not apply; 0: none. */
int32_t mmi_tokenizer_truncation(const mmi_tokenizer *t);

#endif
