/* The key/value cache of one sequence: per layer, keys transposed in blocks as the attention kernel reads them and values
 * as rows. It grows in whole blocks as tokens are stored, so its memory follows the text and not the context window.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_KV_CACHE_H
#define MMI_KV_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "kernels.h"

typedef struct {
    size_t layers, heads, dim; /* heads: of keys and values */
    int32_t dtype;             /* MM_DTYPE_F16 or MM_DTYPE_F32 */
} mmi_kv_shape;

typedef struct {
    mmi_kv_shape shape;
    size_t length;   /* tokens whose keys and values are stored and valid */
    size_t capacity; /* room, a multiple of MMI_KEY_BLOCK */
    void **keys;     /* a layer each: [heads][capacity / MMI_KEY_BLOCK][dim][MMI_KEY_BLOCK] */
    void **values;   /* a layer each: [heads][capacity][dim] */
} mmi_kv_cache;

mm_status mmi_kv_cache_create(mm_context *ctx, const mmi_kv_shape *shape, mmi_kv_cache **out);
void mmi_kv_cache_destroy(mmi_kv_cache *cache); /* NULL allowed */

/* Make room for `tokens` in all; what is stored stays. After a failure the cache is as it was. */
mm_status mmi_kv_cache_reserve(mm_context *ctx, mmi_kv_cache *cache, size_t tokens);

/* A copy of the first `length` tokens. */
mm_status mmi_kv_cache_fork(mm_context *ctx, const mmi_kv_cache *cache, size_t length, mmi_kv_cache **out);

/* Keys and values of one head of a layer. */
void *mmi_kv_cache_keys(const mmi_kv_cache *cache, size_t layer, size_t head);
void *mmi_kv_cache_values(const mmi_kv_cache *cache, size_t layer, size_t head);

/* Bytes that a token takes. */
size_t mmi_kv_cache_token_bytes(const mmi_kv_shape *shape);

#endif
