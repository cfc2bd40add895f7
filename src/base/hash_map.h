/* A map from byte strings to 64-bit numbers: open addressing, keyed hash, keys copied into one block.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_HASH_MAP_H
#define MMI_HASH_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"

typedef struct {
    struct mmi_hash_slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
    char *keys; /* one behind the other, in the order in which they were first put */
    size_t keys_size, keys_capacity;
    uint64_t seed;
} mmi_hash_map;

/* Starts as all zeros; clear frees it. */
void mmi_hash_map_clear(mmi_hash_map *map);

/* Add or replace. *existed (may be NULL) tells which. Nonzero when out of memory (recorded on ctx). */
int mmi_hash_map_put(mm_context *ctx, mmi_hash_map *map, const char *key, size_t n, int64_t value, int *existed);

/* 1 and the value, or 0 (value untouched). A map that nobody changes may be read by many threads. */
int mmi_hash_map_get(const mmi_hash_map *map, const char *key, size_t n, int64_t *value);

#endif
