/* Unigram (Kudo 2018, arXiv:1804.10959): of all ways to cut a word into tokens the one whose scores have the highest sum,
 * found by dynamic programming. SPDX-License-Identifier: MIT */
#ifndef MMI_UNIGRAM_H
#define MMI_UNIGRAM_H

#include "ids.h"
#include "vocabulary.h"

enum { MMI_UNIGRAM_MAX_TOKEN = 1024 /* bytes; what cutting costs at each place, at worst */ };

typedef struct mmi_unigram mmi_unigram; /* immutable */

/* scores[id] of each token of a sealed vocabulary, which is borrowed and must live as long as the model; unk -1: none;
 * `where` names the file. MM_E_FORMAT: unk that is no token, a score that is not finite; MM_E_LIMIT: a token too long. */
mm_status mmi_unigram_create(mm_context *ctx, const char *where, const mmi_vocabulary *vocabulary, const double *scores, int64_t unk, int byte_fallback,
                             mmi_unigram **out);
void mmi_unigram_destroy(mmi_unigram *model); /* NULL allowed */

/* Scratch of one encoding: reused from word to word. Starts as all zeros. */
typedef struct {
    struct mmi_unigram_end *ends;
    size_t capacity;
} mmi_unigram_scratch;

void mmi_unigram_scratch_clear(mmi_unigram_scratch *scratch);

/* Append the ids of a word of valid UTF-8. MM_E_FORMAT when a character has no token and the model no unknown one. */
mm_status mmi_unigram_encode(mm_context *ctx, const mmi_unigram *model, mmi_unigram_scratch *scratch, const char *word, size_t n, mmi_ids *ids);

#endif
