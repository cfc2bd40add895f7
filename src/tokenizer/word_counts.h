/* How often each word stands in the texts that a tokenizer learns from; words keep the order in which they were met, so that what is learnt
 * depends on the texts alone. SPDX-License-Identifier: MIT */
#ifndef MMI_WORD_COUNTS_H
#define MMI_WORD_COUNTS_H

#include "hash_map.h"

typedef struct {
    size_t end; /* of the word in the keys of the map; it begins where the one before ends */
    int64_t count;
} mmi_counted_word;

typedef struct {
    mmi_hash_map index; /* word to its place in words */
    mmi_counted_word *words;
    size_t count, capacity;
} mmi_word_counts;

typedef struct {
    uint32_t code;
    int64_t count;
} mmi_counted_character;

/* Starts as all zeros; clear frees it. */
void mmi_word_counts_clear(mmi_word_counts *w);

/* Count a word of valid UTF-8. Nonzero when out of memory (recorded on ctx). */
int mmi_word_counts_add(mm_context *ctx, mmi_word_counts *w, const char *word, size_t n);

static inline const char *mmi_word_counts_word(const mmi_word_counts *w, size_t i, size_t *n)
{
    size_t start = i ? w->words[i - 1].end : 0;
    *n = w->words[i].end - start;
    return w->index.keys + start;
}

/* The characters of all words by code point; with byte_alphabet those too that stand for bytes (byte_level.h). Without U+0000, which
 * tokenizer files cannot hold. The caller frees *out with mmi_free. MM_E_NOMEM, MM_E_CANCELLED. */
mm_status mmi_word_counts_characters(mm_context *ctx, const mmi_word_counts *w, int byte_alphabet, mmi_counted_character **out, size_t *count);

/* Sort characters: the most frequent first, of equals the last code point first; or by code point. */
void mmi_counted_characters_by_count(mmi_counted_character *list, size_t count);
void mmi_counted_characters_by_code(mmi_counted_character *list, size_t count);

#endif
