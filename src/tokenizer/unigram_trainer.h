/* Learns a Unigram vocabulary (Kudo 2018, arXiv:1804.10959) from counted words as the `tokenizers` package does, which follows SentencePiece: the
 * substrings that occur most are the seeds, expectation maximization gives them scores, and the pieces that would be missed least are dropped,
 * until few enough are left. SPDX-License-Identifier: MIT */
#ifndef MMI_UNIGRAM_TRAINER_H
#define MMI_UNIGRAM_TRAINER_H

#include "vocabulary.h"
#include "word_counts.h"

enum { MMI_UNIGRAM_TRAINER_MAX_PIECE = 255 /* characters; a token of a Unigram model has MMI_UNIGRAM_MAX_TOKEN bytes at most */ };

typedef struct {
    int64_t vocab_size;       /* special tokens included */
    int64_t max_piece_length; /* characters, 1..MMI_UNIGRAM_TRAINER_MAX_PIECE */
    int byte_alphabet;        /* the characters that stand for bytes are tokens, met or not */
} mmi_unigram_trainer_options;

/* Append the "model" of tokenizer.json. `special` holds the special tokens, ids from 0 on, `unk` among them; none of them becomes a piece.
 * MM_E_ARGUMENT when vocab_size does not hold them and all characters; MM_E_LIMIT, MM_E_NOMEM, MM_E_CANCELLED. */
mm_status mmi_unigram_train_model(mm_context *ctx, const mmi_word_counts *words, const mmi_unigram_trainer_options *o, const mmi_vocabulary *special,
                                  int32_t unk, mmi_text *out);

#endif
