/* SPDX-License-Identifier: MIT */
#include "trie.h"

#include <string.h>

struct mmi_trie_edge {
    uint64_t key; /* (node << 8 | byte) + 1; 0: empty */
    uint32_t to;
};

static size_t slot_of(const mmi_trie *t, uint64_t key)
{
    uint64_t h = (key ^ t->seed) * 0x9E3779B97F4A7C15u;
    return (size_t)(h ^ h >> 32) & (t->capacity - 1);
}

void mmi_trie_clear(mmi_trie *t)
{
    mmi_free(t->edges);
    mmi_free(t->values);
    memset(t, 0, sizeof *t);
}

static int add_node(mm_context *ctx, mmi_trie *t)
{
    if (mmi_grow(ctx, (void **)&t->values, &t->values_capacity, t->nodes, sizeof *t->values)) return 1;
    t->values[t->nodes++] = -1;
    return 0;
}

static int rehash(mm_context *ctx, mmi_trie *t)
{
    struct mmi_trie_edge *old = t->edges;
    size_t old_capacity = t->capacity;
    size_t capacity = old_capacity ? old_capacity * 2 : 64;
    struct mmi_trie_edge *edges = mmi_zalloc_array(ctx, capacity, sizeof *edges);

    if (!edges) return 1;
    /* mixed from an address, so that a file cannot aim at one slot */
    if (!t->seed) t->seed = ((uint64_t)(uintptr_t)edges ^ 0x8EBC6AF09C88C6E3u) * 0xE7037ED1A0B428DBu;
    t->edges = edges;
    t->capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++) {
        size_t j;
        if (!old[i].key) continue;
        for (j = slot_of(t, old[i].key); edges[j].key; j = (j + 1) & (capacity - 1)) {}
        edges[j] = old[i];
    }
    mmi_free(old);
    return 0;
}

static int64_t step(const mmi_trie *t, int64_t node, unsigned char byte)
{
    uint64_t key = ((uint64_t)node << 8 | byte) + 1;

    if (!t->capacity) return -1;
    for (size_t j = slot_of(t, key); t->edges[j].key; j = (j + 1) & (t->capacity - 1))
        if (t->edges[j].key == key) return t->edges[j].to;
    return -1;
}

int mmi_trie_put(mm_context *ctx, mmi_trie *t, const char *key, size_t n, int32_t value)
{
    int64_t node = MMI_TRIE_ROOT;

    if (!t->nodes && add_node(ctx, t)) return 1;
    for (size_t i = 0; i < n; i++) {
        int64_t next = step(t, node, (unsigned char)key[i]);
        if (next < 0) {
            uint64_t edge = ((uint64_t)node << 8 | (unsigned char)key[i]) + 1;
            size_t j;
            if (t->nodes > INT32_MAX) {
                (void)mmi_fail(ctx, MM_E_NOMEM, "out of memory: a vocabulary of more than 2 GiB");
                return 1;
            }
            if (t->count * 2 >= t->capacity && rehash(ctx, t)) return 1;
            if (add_node(ctx, t)) return 1;
            for (j = slot_of(t, edge); t->edges[j].key; j = (j + 1) & (t->capacity - 1)) {}
            t->edges[j].key = edge;
            t->edges[j].to = (uint32_t)(t->nodes - 1);
            t->count++;
            next = (int64_t)t->nodes - 1;
        }
        node = next;
    }
    t->values[node] = value;
    return 0;
}

int64_t mmi_trie_walk(const mmi_trie *t, int64_t node, const char *key, size_t n)
{
    if (!t->nodes) return -1;
    for (size_t i = 0; i < n && node >= 0; i++) node = step(t, node, (unsigned char)key[i]);
    return node;
}

size_t mmi_trie_longest(const mmi_trie *t, int64_t node, const char *text, size_t n, int32_t *value)
{
    size_t longest = 0;

    if (!t->nodes) return 0;
    for (size_t i = 0; i < n; i++) {
        node = step(t, node, (unsigned char)text[i]);
        if (node < 0) break;
        if (t->values[node] >= 0) {
            longest = i + 1;
            *value = t->values[node];
        }
    }
    return longest;
}
