/* SPDX-License-Identifier: MIT */
#include "word_counts.h"

#include <stdlib.h>
#include <string.h>

#include "byte_level.h"
#include "text.h"

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

static int by_count(const void *a, const void *b)
{
    const mmi_counted_character *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    return x->code < y->code ? 1 : -1;
}

static int by_code(const void *a, const void *b)
{
    const mmi_counted_character *x = a, *y = b;
    return x->code < y->code ? -1 : 1;
}

void mmi_counted_characters_by_count(mmi_counted_character *list, size_t count)
{
    if (count) qsort(list, count, sizeof *list, by_count);
}

void mmi_counted_characters_by_code(mmi_counted_character *list, size_t count)
{
    if (count) qsort(list, count, sizeof *list, by_code);
}

typedef struct {
    mmi_hash_map index; /* code to its place in list */
    mmi_counted_character *list;
    size_t count, capacity;
} character_counts;

static int count_character(mm_context *ctx, character_counts *c, uint32_t code, int64_t times)
{
    int64_t at;

    if (!mmi_hash_map_get(&c->index, (const char *)&code, sizeof code, &at)) {
        at = (int64_t)c->count;
        if (mmi_grow(ctx, (void **)&c->list, &c->capacity, c->count, sizeof *c->list)) return 1;
        if (mmi_hash_map_put(ctx, &c->index, (const char *)&code, sizeof code, at, NULL)) return 1;
        c->list[c->count++] = (mmi_counted_character){code, 0};
    }
    c->list[at].count += times;
    return 0;
}

mm_status mmi_word_counts_characters(mm_context *ctx, const mmi_word_counts *w, int byte_alphabet, mmi_counted_character **out, size_t *count)
{
    character_counts c = {0};
    mm_status st = MM_OK;

    *out = NULL;
    *count = 0;
    for (int byte = 0; byte_alphabet && byte < 256 && !st; byte++)
        if (count_character(ctx, &c, mmi_byte_level_character((unsigned char)byte), 0)) st = MM_E_NOMEM;
    for (size_t i = 0; i < w->count && !st; i++) {
        size_t n;
        const char *word = mmi_word_counts_word(w, i, &n);
        for (size_t at = 0; at < n && !st;) {
            uint32_t code = 0;
            at += mmi_utf8_decode(word + at, n - at, &code);
            if (code && count_character(ctx, &c, code, w->words[i].count)) st = MM_E_NOMEM;
        }
        if (!st && i % 1024 == 0) st = mmi_check_cancel(ctx);
    }
    mmi_counted_characters_by_code(c.list, c.count);
    mmi_hash_map_clear(&c.index);
    if (st) {
        mmi_free(c.list);
        return st;
    }
    *out = c.list;
    *count = c.count;
    return MM_OK;
}
