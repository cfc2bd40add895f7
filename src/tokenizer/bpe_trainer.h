/* Learns the merges of byte pair encoding (Sennrich et al. 2016, arXiv:1508.07909) from counted words, the same ones in the same order as the
 * `tokenizers` package does. SPDX-License-Identifier: MIT */
#ifndef MMI_BPE_TRAINER_H
#define MMI_BPE_TRAINER_H

#include "vocabulary.h"
#include "word_counts.h"

typedef struct {
    int64_t vocab_size;       /* where merging ends; characters may make it larger */
    int64_t min_frequency;    /* of a pair that is merged */
    int64_t limit_alphabet;   /* the most frequent characters alone are kept, others are dropped from words; 0: all, as with byte_alphabet */
    int64_t max_piece_length; /* a token is not joined with another one when both have this many characters or more; 0: no bound */
    int byte_alphabet;        /* the characters that stand for bytes are tokens, met or not */
    const char *prefix;       /* put in front of what does not begin a word; "" for nothing */
} mmi_bpe_trainer_options;

typedef struct {
    int32_t left, right;
} mmi_bpe_merge;

/* `vocabulary` holds the special tokens (ids from 0 on) and gains the others: first the characters by code point, then those with the prefix,
 * then what merging makes. *merges (NULL: not wanted) is freed with mmi_free. MM_E_LIMIT, MM_E_NOMEM, MM_E_CANCELLED. */
mm_status mmi_bpe_train(mm_context *ctx, const mmi_word_counts *words, const mmi_bpe_trainer_options *o, mmi_vocabulary *vocabulary,
                        mmi_bpe_merge **merges, size_t *count);

/* The same, appending the "model" of tokenizer.json; unk_token may be NULL. */
mm_status mmi_bpe_train_model(mm_context *ctx, const mmi_word_counts *words, const mmi_bpe_trainer_options *o, const char *unk_token,
                              mmi_vocabulary *vocabulary, mmi_text *out);

/* Append {"token": id, ...}. Nonzero when out of memory. */
int mmi_bpe_trainer_write_vocabulary(mm_context *ctx, const mmi_vocabulary *vocabulary, mmi_text *out);

#endif
