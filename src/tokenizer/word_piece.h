/* WordPiece: a word is the longest token that begins it, then the longest continuing token that begins the rest, and so
 * on; a word that cannot be cut so is the unknown token. SPDX-License-Identifier: MIT */
#ifndef MMI_WORD_PIECE_H
#define MMI_WORD_PIECE_H

#include "ids.h"
#include "vocabulary.h"

enum { MMI_WORD_PIECE_MAX_CHARS = 1000 }; /* of a word; cutting one may take time quadratic in its length */

typedef struct mmi_word_piece mmi_word_piece; /* immutable */

/* From a sealed vocabulary, which is needed for the call only. A word of more than max_chars characters is unknown.
 * MM_E_FORMAT when unk_token is no token, MM_E_LIMIT for max_chars above the bound; `where` names the file. */
mm_status mmi_word_piece_create(mm_context *ctx, const char *where, const mmi_vocabulary *vocabulary, const char *unk_token, const char *prefix,
                                int64_t max_chars, mmi_word_piece **out);
void mmi_word_piece_destroy(mmi_word_piece *model); /* NULL allowed */

/* Append the ids of a word of valid UTF-8. */
mm_status mmi_word_piece_encode(mm_context *ctx, const mmi_word_piece *model, const char *word, size_t n, mmi_ids *ids);

#endif
