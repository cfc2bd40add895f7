/* The inside of a tokenizer, for the two files that build one. SPDX-License-Identifier: MIT */
#ifndef MMI_TOKENIZER_PARTS_H
#define MMI_TOKENIZER_PARTS_H

#include <stdatomic.h>

#include "bpe.h"
#include "tokenizer.h"
#include "unigram.h"
#include "word_piece.h"

struct mm_tokenizer {
    atomic_size_t references;
    mmi_vocabulary vocabulary; /* of the model */
    mmi_added_tokens added;
    mmi_normalizer *normalizer;
    mmi_pre_tokenizer *pre_tokenizer;
    mmi_bpe *bpe; /* one of the models; the others are NULL */
    mmi_word_piece *word_piece;
    mmi_unigram *unigram;
    mmi_post_processor post_processor;
    mmi_decoder *decoder;
    int32_t special[MMI_SPECIAL_COUNT];
    int32_t truncation;
    int32_t size;
};

/* All zeros but for the special ids (-1), one reference. */
mm_status mmi_tokenizer_create(mm_context *ctx, mmi_tokenizer **out);

/* The normalizer, pre-tokenizer and decoder of a tokenizer.json. */
mm_status mmi_tokenizer_load_steps(mm_context *ctx, const mmi_json *doc, mmi_tokenizer *t);

#endif
