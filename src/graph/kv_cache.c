/* SPDX-License-Identifier: MIT */
#include "kv_cache.h"

#include <string.h>

#include "dtype.h"
#include "size.h"

static size_t element_bytes(const mmi_kv_shape *s) { return mmi_dtype_get(s->dtype)->block_bytes; }

/* Bytes of one head's keys (or values) for `capacity` tokens; the products were checked by reserve. */
static size_t head_bytes(const mmi_kv_shape *s, size_t capacity) { return capacity * s->dim * element_bytes(s); }

mm_status mmi_kv_cache_create(mm_context *ctx, const mmi_kv_shape *shape, mmi_kv_cache **out)
{
    mmi_kv_cache *c = mmi_zalloc(ctx, sizeof *c);

    *out = NULL;
    if (!c) return MM_E_NOMEM;
    c->shape = *shape;
    c->keys = mmi_zalloc_array(ctx, shape->layers, sizeof *c->keys);
    c->values = mmi_zalloc_array(ctx, shape->layers, sizeof *c->values);
    if (!c->keys || !c->values) {
        mmi_kv_cache_destroy(c);
        return MM_E_NOMEM;
    }
    *out = c;
    return MM_OK;
}

void mmi_kv_cache_destroy(mmi_kv_cache *c)
{
    if (!c) return;
    for (size_t l = 0; l < c->shape.layers; l++) {
        if (c->keys) mmi_free(c->keys[l]);
        if (c->values) mmi_free(c->values[l]);
    }
    mmi_free(c->keys);
    mmi_free(c->values);
    mmi_free(c);
}

/* A layer's buffer with room for `capacity`, holding the first `kept` bytes of each head of `old`. Unused room is zeroed
 * because key blocks are read whole. */
static void *resized(mm_context *ctx, const mmi_kv_shape *s, const void *old, size_t old_capacity, size_t capacity, size_t kept)
{
    size_t to = head_bytes(s, capacity), from = head_bytes(s, old_capacity);
    char *p = mmi_alloc(ctx, s->heads * to);

    if (!p) return NULL;
    for (size_t h = 0; h < s->heads; h++) {
        if (kept) memcpy(p + h * to, (const char *)old + h * from, kept);
        memset(p + h * to + kept, 0, to - kept);
    }
    return p;
}

mm_status mmi_kv_cache_reserve(mm_context *ctx, mmi_kv_cache *c, size_t tokens)
{
    size_t wanted, bytes;
    void *old_keys, *old_values;
    const mmi_kv_shape *s = &c->shape;

    if (tokens <= c->capacity) return MM_OK;
    wanted = mmi_size_max(tokens, c->capacity + c->capacity / 8); /* by an eighth: copies stay linear in the text, and little room is idle */
    if (mmi_size_round_up(wanted, MMI_KEY_BLOCK, &wanted) || mmi_size_mul3(s->heads, s->dim, wanted, &bytes) ||
        mmi_size_mul3(bytes, 2 * element_bytes(s), s->layers, &bytes))
        return mmi_fail(ctx, MM_E_OVERFLOW, "a cache of %zu tokens does not fit", tokens);
    /* Layer by layer, so that old and new stand side by side for one layer only. A layer that has grown already is
     * kept as it is when a later one fails: capacity is the smallest of all. */
    for (size_t l = 0; l < s->layers; l++) {
        size_t kept = head_bytes(s, c->capacity);
        void *k = resized(ctx, s, c->keys[l], c->capacity, wanted, kept);
        void *v = k ? resized(ctx, s, c->values[l], c->capacity, wanted, kept) : NULL;
        if (!v) {
            mmi_free(k);
            for (size_t m = 0; m < l; m++) { /* undo in place: heads move back to their old distance */
                size_t from = head_bytes(s, wanted);
                for (size_t h = 1; h < s->heads; h++) {
                    memmove((char *)c->keys[m] + h * kept, (char *)c->keys[m] + h * from, kept);
                    memmove((char *)c->values[m] + h * kept, (char *)c->values[m] + h * from, kept);
                }
            }
            return MM_E_NOMEM;
        }
        old_keys = c->keys[l];
        old_values = c->values[l];
        c->keys[l] = k;
        c->values[l] = v;
        mmi_free(old_keys);
        mmi_free(old_values);
    }
    c->capacity = wanted;
    return MM_OK;
}

mm_status mmi_kv_cache_fork(mm_context *ctx, const mmi_kv_cache *c, size_t length, mmi_kv_cache **out)
{
    const mmi_kv_shape *s = &c->shape;
    mmi_kv_cache *f = NULL;
    size_t capacity = 0;
    mm_status st = mmi_kv_cache_create(ctx, s, &f);

    *out = NULL;
    if (st) return st;
    capacity = (length + MMI_KEY_BLOCK - 1) / MMI_KEY_BLOCK * MMI_KEY_BLOCK; /* fits: `c` has as much */
    for (size_t l = 0; capacity && l < s->layers; l++) {
        f->keys[l] = resized(ctx, s, c->keys[l], c->capacity, capacity, head_bytes(s, capacity));
        f->values[l] = resized(ctx, s, c->values[l], c->capacity, capacity, head_bytes(s, capacity));
        if (!f->keys[l] || !f->values[l]) {
            mmi_kv_cache_destroy(f);
            return MM_E_NOMEM;
        }
    }
    f->capacity = capacity;
    f->length = length;
    *out = f;
    return MM_OK;
}

void *mmi_kv_cache_keys(const mmi_kv_cache *c, size_t layer, size_t head)
{
    return (char *)c->keys[layer] + head * head_bytes(&c->shape, c->capacity);
}

void *mmi_kv_cache_values(const mmi_kv_cache *c, size_t layer, size_t head)
{
    return (char *)c->values[layer] + head * head_bytes(&c->shape, c->capacity);
}

size_t mmi_kv_cache_token_bytes(const mmi_kv_shape *s) { return 2 * s->layers * head_bytes(s, 1) * s->heads; }
