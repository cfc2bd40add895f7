/* libmm: tokenizers, text to token ids and back.
 *
 * A tokenizer gives the ids that the Hugging Face `tokenizers` package gives for the same file. It is immutable and
 * reference-counted: many contexts on many threads may use one at once. SPDX-License-Identifier: MIT */
#ifndef MM_TOKENIZER_H
#define MM_TOKENIZER_H

#include "mm_context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mm_tokenizer mm_tokenizer;

/* Open a tokenizer.
 *
 *   path  a Hugging Face directory (its tokenizer.json, and tokenizer_config.json if there is one), a tokenizer.json, or
 *         a .gguf file; nothing of it is needed once the call has returned
 *   out   receives the tokenizer, reference count 1; NULL after a failure
 *
 * Models: BPE, WordPiece and Unigram; in GGUF files "gpt2", "llama" and "bert". Returns MM_OK, MM_E_ARGUMENT, MM_E_NOT_FOUND, MM_E_IO,
 * MM_E_FORMAT, MM_E_LIMIT, MM_E_UNSUPPORTED (the message names the kind) or MM_E_NOMEM. Since 0.1. */
MM_API mm_status mm_tokenizer_open(mm_context *ctx, const char *path, mm_tokenizer **out);

/* Count references up or down; the tokenizer goes with the last. NULL is allowed. Any thread. Since 0.1. */
MM_API void mm_tokenizer_retain(mm_tokenizer *tokenizer);
MM_API void mm_tokenizer_release(mm_tokenizer *tokenizer);

/* Flags of encoding and decoding, to be added up. */
enum {
    MM_TOKENS_ADD_SPECIAL = 1,   /* encode: put the special tokens around the text that the model expects ([CLS] ... [SEP]) */
    MM_TOKENS_PARSE_SPECIAL = 2, /* encode: special tokens written out in the text are those tokens; else they are mere text */
    MM_TOKENS_SKIP_SPECIAL = 4   /* decode: leave special tokens out */
};

/* Turn text into ids. Truncation and padding of tokenizer.json are not applied.
 *
 *   tokenizer  borrowed; may be in use by other contexts at the same time
 *   ctx        borrowed; gives memory, keeps the message of a failure
 *   text       borrowed; `size` bytes of UTF-8, NUL bytes among them allowed; NULL for size 0
 *   ids        receives `*count` ids, to be freed with mm_ids_free; NULL after a failure
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_FORMAT (malformed UTF-8; the message has its offset), MM_E_LIMIT (more than 1 GiB, or
 * a regular expression of the tokenizer that needs too many steps), MM_E_CANCELLED or MM_E_NOMEM.
 * Threads: one call per ctx at a time. Since 0.1. */
MM_API mm_status mm_tokenizer_encode(const mm_tokenizer *tokenizer, mm_context *ctx, const char *text, size_t size, int32_t flags, int32_t **ids,
                                     size_t *count);

/* The same of a pair of texts, as one sequence; `type_ids` receives `*count` numbers, which text each token belongs to as
 * the model counts them, to be freed with mm_ids_free too. Returns as mm_tokenizer_encode. Since 0.1. */
MM_API mm_status mm_tokenizer_encode_pair(const mm_tokenizer *tokenizer, mm_context *ctx, const char *text_a, size_t size_a, const char *text_b,
                                          size_t size_b, int32_t flags, int32_t **ids, int32_t **type_ids, size_t *count);

/* Free what encoding returned. NULL is allowed. Any thread. Since 0.1. */
MM_API void mm_ids_free(int32_t *ids);

/* Turn ids into text.
 *
 *   ids   borrowed; an id that has no token gives no text, a negative one is MM_E_ARGUMENT
 *   text  receives UTF-8 with a NUL behind its `*size` bytes, to be freed with mm_text_free; NULL after a failure. Bytes
 *         that are no UTF-8 come as U+FFFD
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_LIMIT, MM_E_CANCELLED or MM_E_NOMEM. Since 0.1. */
MM_API mm_status mm_tokenizer_decode(const mm_tokenizer *tokenizer, mm_context *ctx, const int32_t *ids, size_t count, int32_t flags, char **text,
                                     size_t *size);

/* A token as the vocabulary writes it ("\xC4\xA0the" is " the" in byte-level vocabularies): NUL-terminated, `*size` bytes
 * (size may be NULL), borrowed from the tokenizer; NULL for an id without one. Any thread. Since 0.1. */
MM_API const char *mm_tokenizer_token(const mm_tokenizer *tokenizer, int32_t id, size_t *size);

/* The id of a token written so, -1 for none. Any thread. Since 0.1. */
MM_API int32_t mm_tokenizer_find(const mm_tokenizer *tokenizer, const char *token, size_t size);

/* The highest id plus one. Any thread. Since 0.1. */
MM_API int32_t mm_tokenizer_size(const mm_tokenizer *tokenizer);

/* Special tokens by role. */
enum {
    MM_TOKEN_BOS = 0,  /* begins a text */
    MM_TOKEN_EOS = 1,  /* ends it */
    MM_TOKEN_PAD = 2,
    MM_TOKEN_UNK = 3,
    MM_TOKEN_CLS = 4,
    MM_TOKEN_SEP = 5,
    MM_TOKEN_MASK = 6
};

/* The id of a role, -1 when the tokenizer has none or `role` is none of MM_TOKEN_*. Any thread. Since 0.1. */
MM_API int32_t mm_tokenizer_special(const mm_tokenizer *tokenizer, int32_t role);

/* 1 for a special token, which MM_TOKENS_SKIP_SPECIAL leaves out, else 0. Any thread. Since 0.1. */
MM_API int32_t mm_tokenizer_is_special(const mm_tokenizer *tokenizer, int32_t id);

/* The number of tokens that tokenizer.json truncates to, special ones among them; 0 when it does not. Since 0.1. */
MM_API int32_t mm_tokenizer_truncation(const mm_tokenizer *tokenizer);

/* Decoding one id at a time: only whole characters come out, and all that comes out is together what
 * mm_tokenizer_decode gives for the same ids. */
typedef struct mm_token_decoder mm_token_decoder;

/* `tokenizer` is retained; `flags` as in mm_tokenizer_decode. MM_OK, MM_E_ARGUMENT or MM_E_NOMEM. Since 0.1. */
MM_API mm_status mm_token_decoder_create(mm_tokenizer *tokenizer, mm_context *ctx, int32_t flags, mm_token_decoder **out);
MM_API void mm_token_decoder_destroy(mm_token_decoder *decoder); /* NULL allowed */

/* The text that the next id makes certain, maybe ""; as `text` of mm_tokenizer_decode. Since 0.1. */
MM_API mm_status mm_token_decoder_push(mm_token_decoder *decoder, mm_context *ctx, int32_t id, char **text, size_t *size);

/* The text that was still held back; the decoder then begins anew. Since 0.1. */
MM_API mm_status mm_token_decoder_finish(mm_token_decoder *decoder, mm_context *ctx, char **text, size_t *size);

#ifdef __cplusplus
}
#endif
#endif
