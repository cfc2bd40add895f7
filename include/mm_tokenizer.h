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

/* Training a tokenizer on texts. The trainer counts the words of each text as it comes, and needs memory for the different words alone. What it
 * learns is what the trainers of the `tokenizers` package learn from the same texts; where those leave the order of equals to chance it goes by
 * code point. It hangs on the context it was created with: it must be destroyed before the context, and both serve one thread at a time. */
typedef struct mm_tokenizer_trainer mm_tokenizer_trainer;

/* `out` receives the trainer; the caller destroys it; NULL after a failure. MM_OK, MM_E_ARGUMENT or MM_E_NOMEM. Since 0.2. */
MM_API mm_status mm_tokenizer_trainer_create(mm_context *ctx, mm_tokenizer_trainer **out);
MM_API void mm_tokenizer_trainer_destroy(mm_tokenizer_trainer *trainer); /* NULL allowed */

/* Options, set one by one. */
enum {
    MM_TOKENIZER_TRAINER_MODEL = 1,            /* i64, MM_TOKENIZER_*: default MM_TOKENIZER_BPE; like the three marked (*) only before the first text */
    MM_TOKENIZER_TRAINER_VOCAB_SIZE = 2,       /* i64, 1..16777216: tokens wanted, special ones included; default 8000. There are fewer when the texts
                                                * give no more, and more when that many characters occur (BPE, WordPiece) */
    MM_TOKENIZER_TRAINER_MIN_FREQUENCY = 3,    /* i64, 0..: times that two tokens must stand side by side to be joined (BPE, WordPiece); default 0 */
    MM_TOKENIZER_TRAINER_LIMIT_ALPHABET = 4,   /* i64, 0..: characters that become tokens, the most frequent ones (BPE and WordPiece without
                                                * BYTE_LEVEL); 0 (default): all */
    MM_TOKENIZER_TRAINER_MAX_PIECE_LENGTH = 5, /* i64, 0..255: characters of a token (Unigram; 0 (default) means 16), or that two tokens together must
                                                * have fewer of to be joined, but for single characters (BPE, WordPiece; 0: no bound) */
    MM_TOKENIZER_TRAINER_NORMALIZATION = 6,    /* i64, MM_NORMALIZATION_*: default MM_NORMALIZATION_NONE (*) */
    MM_TOKENIZER_TRAINER_LOWERCASE = 7,        /* i64, 0 (default) or 1: capital letters become small ones (*) */
    MM_TOKENIZER_TRAINER_PRE_TOKENIZER = 8,    /* i64, MM_PRE_TOKENIZER_*: default what suits the model (*) */

    /* Special tokens get the first ids, in the order in which they are set; texts are not searched for them. A token may be set more than once. */
    MM_TOKENIZER_TRAINER_SPECIAL_TOKEN = 50,   /* str: one without a role */
    MM_TOKENIZER_TRAINER_BOS_TOKEN = 51,       /* str: one with the role MM_TOKEN_BOS, and so on in the order of MM_TOKEN_* */
    MM_TOKENIZER_TRAINER_EOS_TOKEN = 52,
    MM_TOKENIZER_TRAINER_PAD_TOKEN = 53,
    MM_TOKENIZER_TRAINER_UNK_TOKEN = 54,       /* stands for characters without a token. WordPiece and Unigram need one: default "[UNK]" and "<unk>" */
    MM_TOKENIZER_TRAINER_CLS_TOKEN = 55,       /* with a SEP_TOKEN, encoding puts both around texts as BERT does */
    MM_TOKENIZER_TRAINER_SEP_TOKEN = 56,
    MM_TOKENIZER_TRAINER_MASK_TOKEN = 57
};
enum {
    MM_TOKENIZER_BPE = 0,        /* Sennrich et al. 2016, arXiv:1508.07909 */
    MM_TOKENIZER_WORD_PIECE = 1, /* BERT's: Devlin et al. 2018, arXiv:1810.04805 */
    MM_TOKENIZER_UNIGRAM = 2     /* Kudo 2018, arXiv:1804.10959 */
};
enum { MM_NORMALIZATION_NONE = 0, MM_NORMALIZATION_NFC = 1, MM_NORMALIZATION_NFKC = 2 };
enum {
    MM_PRE_TOKENIZER_DEFAULT = 0,    /* BPE: BYTE_LEVEL, WordPiece: BERT, Unigram: METASPACE */
    MM_PRE_TOKENIZER_BYTE_LEVEL = 1, /* GPT-2's words, spelled in 256 characters that stand for bytes and all become tokens: no text is unknown */
    MM_PRE_TOKENIZER_METASPACE = 2,  /* SentencePiece's words, each with U+2581 in place of the space before it */
    MM_PRE_TOKENIZER_WHITESPACE = 3, /* runs of letters and digits, and runs of other characters; white space is lost */
    MM_PRE_TOKENIZER_BERT = 4        /* what stands between white space, punctuation marks each alone; white space is lost */
};

/* MM_OK; MM_E_ARGUMENT for an unknown option or a value out of bounds, with a message that names both; MM_E_STATE for a change of one marked (*)
 * after the first text; MM_E_NOMEM. A special token is valid UTF-8 of 1 to 1024 bytes, and copied. Since 0.2. */
MM_API mm_status mm_tokenizer_trainer_set_i64(mm_tokenizer_trainer *trainer, int32_t option, int64_t value);
MM_API mm_status mm_tokenizer_trainer_set_str(mm_tokenizer_trainer *trainer, int32_t option, const char *value);

/* Learn from a text: `size` bytes of UTF-8, borrowed for the call. U+0000 in it becomes no token, but with BYTE_LEVEL.
 * Returns as mm_tokenizer_encode; after a failure part of the text may have been counted. Since 0.2. */
MM_API mm_status mm_tokenizer_trainer_add_text(mm_tokenizer_trainer *trainer, const char *text, size_t size);

/* Learn from a text file: each line with its line feed is a text. As mm_tokenizer_trainer_add_text, and MM_E_NOT_FOUND or MM_E_IO. Since 0.2. */
MM_API mm_status mm_tokenizer_trainer_add_file(mm_tokenizer_trainer *trainer, const char *path);

/* Make a tokenizer of what was added; more may be added, or options set, and another one made.
 *
 *   directory  receives tokenizer.json and tokenizer_config.json, which mm_tokenizer_open, `tokenizers` and transformers open; it is made when it is
 *              missing; NULL: nothing is written
 *   out        receives the tokenizer, reference count 1; NULL after a failure; may itself be NULL
 *
 * Returns MM_OK; MM_E_STATE (no text had a word); MM_E_ARGUMENT (WordPiece with BYTE_LEVEL or METASPACE; MIN_FREQUENCY or LIMIT_ALPHABET for
 * Unigram, LIMIT_ALPHABET with BYTE_LEVEL; VOCAB_SIZE smaller than special tokens and, for Unigram, characters together); MM_E_LIMIT; MM_E_IO (a file that is there already is then as
 * it was); MM_E_CANCELLED; MM_E_NOMEM. Since 0.2. */
MM_API mm_status mm_tokenizer_trainer_train(mm_tokenizer_trainer *trainer, const char *directory, mm_tokenizer **out);

#ifdef __cplusplus
}
#endif
#endif
