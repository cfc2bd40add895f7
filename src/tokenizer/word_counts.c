/* SPDX-License-Identifier: MIT */
#include "word_counts.h"

#include <string.h>

#include "byte_level.h"
#include "text.h"

enum { CODES = 0x110000 };

void mmi_word_counts_clear(mmi_word_counts *w)
{
    mmi_hash_map_clear(&w->index);
    mmi_free(w->words);
    memset(w, 0, sizeof *w);
}

int mmi_word_counts_add(mm_context *ctx, mmi_word_counts *w, const char *word, size_t n)
{
    int64_t i;

    if (mmi_hash_map_get(&w->index, word, n, &i)) {
        w->words[i].count++;
        return 0;
    }
    if (mmi_grow(ctx, (void **)&w->words, &w->capacity, w->count, sizeof *w->words)) return 1;
    if (mmi_hash_map_put(ctx, &w->index, word, n, (int64_t)w->count, NULL)) return 1;
    w->words[w->count].end = w->index.keys_size;
    w->words[w->count++].count = 1;
    return 0;
}

mm_status mmi_word_counts_characters(mm_context *ctx, const mmi_word_counts *w, int byte_alphabet, mmi_counted_character **out, size_t *count)
{
    int64_t *counts = mmi_zalloc_array(ctx, CODES, sizeof *counts); /* and one more, so that 0 is a character that does not occur */
    mmi_counted_character *list = NULL;
    size_t found = 0, capacity = 0;
    mm_status st = MM_OK;

    *out = NULL;
    *count = 0;
    if (!counts) return MM_E_NOMEM;
    for (int byte = 0; byte_alphabet && byte < 256; byte++) counts[mmi_byte_level_character((unsigned char)byte)] = 1;
    for (size_t i = 0; i < w->count; i++) {
        size_t n;
        const char *word = mmi_word_counts_word(w, i, &n);
        for (size_t at = 0; at < n;) {
            uint32_t code = 0;
            at += mmi_utf8_decode(word + at, n - at, &code);
            counts[code] += w->words[i].count + !counts[code];
        }
        if (i % 1024 == 0 && (st = mmi_check_cancel(ctx))) goto cleanup;
    }
    for (uint32_t code = 1; code < CODES; code++) {
        if (!counts[code]) continue;
        if (mmi_grow(ctx, (void **)&list, &capacity, found, sizeof *list)) {
            st = MM_E_NOMEM;
            goto cleanup;
        }
        list[found].code = code;
        list[found++].count = counts[code] - 1;
    }
    *out = list;
    *count = found;
    list = NULL;
cleanup:
    mmi_free(list);
    mmi_free(counts);
    return st;
}
