/* SPDX-License-Identifier: MIT */
#include "token_table.h"

#include <stdlib.h>
#include <string.h>

#include "size.h"

void mmi_token_table_retain(mmi_token_table *t) { atomic_fetch_add_explicit(&t->references, 1, memory_order_relaxed); }

void mmi_token_table_release(mmi_token_table *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->references, 1, memory_order_acq_rel) != 1) return;
    mmi_text_clear(&t->bytes);
    mmi_free(t->entries);
    mmi_free(t->index);
    mmi_free(t);
}

/* For the time of sorting: qsort passes nothing on. */
typedef struct {
    const char *bytes;
    mmi_token_entry entry;
} keyed;

static int by_bytes(const void *a, const void *b)
{
    const keyed *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, mmi_size_min(x->entry.size, y->entry.size));
    if (order) return order;
    if (x->entry.size != y->entry.size) return x->entry.size < y->entry.size ? -1 : 1;
    return x->entry.id < y->entry.id ? -1 : 1;
}

static uint32_t shared_bytes(const char *bytes, const mmi_token_entry *a, const mmi_token_entry *b)
{
    uint32_t n = 0, most = a->size < b->size ? a->size : b->size;
    while (n < most && bytes[a->offset + n] == bytes[b->offset + n]) n++;
    return n;
}

static mm_status sort(mm_context *ctx, mmi_token_table *t)
{
    keyed *k = mmi_alloc_array(ctx, t->count, sizeof *k);

    if (!k) return MM_E_NOMEM;
    for (size_t i = 0; i < t->count; i++) k[i] = (keyed){t->bytes.data + t->entries[i].offset, t->entries[i]};
    qsort(k, t->count, sizeof *k, by_bytes);
    for (size_t i = 0; i < t->count; i++) {
        t->entries[i] = k[i].entry;
        t->index[t->entries[i].id] = (int32_t)i;
        if (i) t->entries[i].shared = shared_bytes(t->bytes.data, &t->entries[i - 1], &t->entries[i]);
    }
    mmi_free(k);
    return MM_OK;
}

static mm_status fill(mm_context *ctx, const mmi_tokenizer *tokenizer, size_t vocabulary, mmi_token_table *t)
{
    size_t n = mmi_size_min(vocabulary, (size_t)mmi_tokenizer_size(tokenizer));
    mm_status st = MM_OK;

    t->vocabulary = vocabulary;
    t->index = mmi_alloc_array(ctx, vocabulary, sizeof *t->index);
    if (!t->index) return MM_E_NOMEM;
    memset(t->index, 0xFF, vocabulary * sizeof *t->index);
    for (size_t id = 0; id < n && !st; id++) {
        size_t from = t->bytes.size, size;
        st = mmi_tokenizer_token_bytes(ctx, tokenizer, (int32_t)id, &t->bytes);
        size = t->bytes.size - from;
        if (st || !size) continue;
        if (t->bytes.size > UINT32_MAX) return mmi_fail(ctx, MM_E_LIMIT, "the tokens are longer than 4 GiB together");
        if (mmi_grow(ctx, (void **)&t->entries, &t->capacity, t->count, sizeof *t->entries)) return MM_E_NOMEM;
        t->entries[t->count++] = (mmi_token_entry){(int32_t)id, (uint32_t)from, (uint32_t)size, 0};
        t->longest = mmi_size_max(t->longest, size);
    }
    return st ? st : sort(ctx, t);
}

mm_status mmi_token_table_create(mm_context *ctx, const mmi_tokenizer *tokenizer, size_t vocabulary, mmi_token_table **out)
{
    mmi_token_table *t = mmi_zalloc(ctx, sizeof *t);
    mm_status st;

    *out = NULL;
    if (!t) return MM_E_NOMEM;
    atomic_init(&t->references, 1);
    st = fill(ctx, tokenizer, vocabulary, t);
    if (st) mmi_token_table_release(t);
    else *out = t;
    return st;
}
