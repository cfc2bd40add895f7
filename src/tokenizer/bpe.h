/* Byte pair encoding (Sennrich et al. 2016, arXiv:1508.07909): a word is cut into characters, then the neighbouring pair
 * with the lowest rank is joined until no pair is in the list of merges.
 *
 * The model knows nothing of bytes: in byte-level vocabularies the pre-tokenizer has turned them into characters.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_BPE_H
#define MMI_BPE_H

#include "ids.h"
#include "text.h"
#include "vocabulary.h"

typedef struct {
    const char *unk_token;                 /* NULL: characters outside the vocabulary are dropped */
    const char *continuing_subword_prefix; /* "" for none; as all of these, borrowed for the call of create */
    const char *end_of_word_suffix;
    int fuse_unk;
    int byte_fallback;
    int ignore_merges; /* a word that is a token is that token */
} mmi_bpe_options;

typedef struct mmi_bpe mmi_bpe; /* immutable once the merges are added */

/* `vocabulary` is borrowed and must live as long as the model; `where` names the file in messages. */
mm_status mmi_bpe_create(mm_context *ctx, const char *where, const mmi_vocabulary *vocabulary, const mmi_bpe_options *options, mmi_bpe **out);
void mmi_bpe_destroy(mmi_bpe *bpe); /* NULL allowed */

/* Add the next merge, of lower priority than those before. MM_E_FORMAT when a part or the whole is no token. */
mm_status mmi_bpe_add_merge(mm_context *ctx, mmi_bpe *bpe, const char *where, const char *left, size_t n_left, const char *right, size_t n_right);
/* The same from "left right". */
mm_status mmi_bpe_add_merge_text(mm_context *ctx, mmi_bpe *bpe, const char *where, const char *merge, size_t n);

/* Instead of merges, what SentencePiece does: any two tokens that make a token are joined, that with the highest of
 * scores[id] first. MM_E_FORMAT for a score that is not finite, MM_E_LIMIT for a token of more
 * than 1024 bytes. */
mm_status mmi_bpe_add_scores(mm_context *ctx, mmi_bpe *bpe, const char *where, const double *scores);

/* Scratch of one encoding: reused from word to word. Starts as all zeros. */
typedef struct {
    struct mmi_bpe_symbol *symbols;
    size_t count, capacity;
    struct mmi_bpe_pair *heap;
    size_t heap_count, heap_capacity;
    mmi_text character;
    int remember_words;           /* set by the caller: worth its price in texts of some length */
    struct mmi_bpe_cached *cache; /* words met before in this text */
    mmi_text cached_words;
    mmi_ids cached_ids;
} mmi_bpe_scratch;

void mmi_bpe_scratch_clear(mmi_bpe_scratch *scratch);

/* Append the ids of a word, valid UTF-8 of at most INT32_MAX bytes; time is near-linear in n. */
mm_status mmi_bpe_encode(mm_context *ctx, const mmi_bpe *bpe, mmi_bpe_scratch *scratch, const char *word, size_t n, mmi_ids *ids);

#endif
