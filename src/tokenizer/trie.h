/* A trie over bytes: which of many strings begins here, and what is the longest one.
 *
 * Edges stand in one hash table keyed by node and byte, so that building and walking take constant time a byte.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_TRIE_H
#define MMI_TRIE_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"

typedef struct {
    struct mmi_trie_edge *edges;
    size_t capacity, count; /* of edges; capacity a power of two, or 0 */
    int32_t *values;        /* of each node, -1 for none */
    size_t nodes, values_capacity;
    uint64_t seed;
} mmi_trie;

enum { MMI_TRIE_ROOT = 0 };

/* Starts as all zeros; clear frees it. */
void mmi_trie_clear(mmi_trie *trie);

/* Add or replace a string; value at least 0. Nonzero when out of memory (recorded on ctx). */
int mmi_trie_put(mm_context *ctx, mmi_trie *trie, const char *key, size_t n, int32_t value);

/* The node that key[0..n) leads to from `node`, or -1. An empty trie has no root. */
int64_t mmi_trie_walk(const mmi_trie *trie, int64_t node, const char *key, size_t n);

/* The longest string of the trie, from `node` on, that text[0..n) begins with: its length and value; 0 when there is
 * none (a string of length 0 does not count). */
size_t mmi_trie_longest(const mmi_trie *trie, int64_t node, const char *text, size_t n, int32_t *value);

#endif
