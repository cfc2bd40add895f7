/* Learns a WordPiece vocabulary: what byte pair encoding makes of words whose characters but the first carry "##", as the `tokenizers` package
 * does it. SPDX-License-Identifier: MIT */
#ifndef MMI_WORD_PIECE_TRAINER_H
#define MMI_WORD_PIECE_TRAINER_H

#include "bpe_trainer.h"

#define MMI_WORD_PIECE_PREFIX "##"

/* As mmi_bpe_train_model; the prefix of the options is MMI_WORD_PIECE_PREFIX, unk_token is in the vocabulary. */
mm_status mmi_word_piece_train_model(mm_context *ctx, const mmi_word_counts *words, const mmi_bpe_trainer_options *o, const char *unk_token,
                                     mmi_vocabulary *vocabulary, mmi_text *out);

#endif
