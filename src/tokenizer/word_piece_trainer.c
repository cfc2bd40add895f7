/* SPDX-License-Identifier: MIT */
#include "word_piece_trainer.h"

#include <string.h>

#include "json.h"

enum { MAX_CHARACTERS = 100 /* of a word that is cut at all, as in BERT */ };

mm_status mmi_word_piece_train_model(mm_context *ctx, const mmi_word_counts *words, const mmi_bpe_trainer_options *o, const char *unk_token,
                                     mmi_vocabulary *v, mmi_text *out)
{
    mm_status st = mmi_bpe_train(ctx, words, o, v, NULL, NULL);

    if (st) return st;
    return mmi_text_format(ctx, out, "{\"type\": \"WordPiece\", \"unk_token\": ") || mmi_json_quote(ctx, out, unk_token, strlen(unk_token)) ||
                   mmi_text_format(ctx, out, ", \"continuing_subword_prefix\": \"%s\", \"max_input_chars_per_word\": %d,\n  \"vocab\": ", o->prefix,
                                   (int)MAX_CHARACTERS) ||
                   mmi_bpe_trainer_write_vocabulary(ctx, v, out) || mmi_text_format(ctx, out, "}")
               ? MM_E_NOMEM
               : MM_OK;
}
