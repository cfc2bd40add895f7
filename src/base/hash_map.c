/* SPDX-License-Identifier: MIT */
#include "hash_map.h"

#include <string.h>

#include "size.h"

struct mmi_hash_slot {
    uint64_t hash; /* 0: empty */
    size_t offset; /* into keys */
    size_t n;
    int64_t value;
};

/* wyhash-like multiply and fold; the seed is mixed from addresses so that a file cannot aim at one bucket. */
__extension__ typedef unsigned __int128 uint128;

static uint64_t fold(uint64_t a, uint64_t b)
{
    uint128 p = (uint128)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t hash_of(uint64_t seed, const char *key, size_t n)
{
    uint64_t h = seed ^ (n * 0x9E3779B97F4A7C15u), w;
    while (n >= 8) {
        memcpy(&w, key, 8);
        h = fold(h ^ w, 0xA0761D6478BD642Fu ^ seed);
        key += 8;
        n -= 8;
    }
    w = 0;
    if (n) memcpy(&w, key, n);
    h = fold(h ^ w, 0xE7037ED1A0B428DBu);
    return h ? h : 1;
}

void mmi_hash_map_clear(mmi_hash_map *m)
{
    mmi_free(m->slots);
    mmi_free(m->keys);
    memset(m, 0, sizeof *m);
}

static int rehash(mm_context *ctx, mmi_hash_map *m)
{
    size_t cap = m->capacity ? m->capacity * 2 : 16;
    struct mmi_hash_slot *slots = mmi_zalloc_array(ctx, cap, sizeof *slots);

    if (!slots) return 1;
    for (size_t i = 0; i < m->capacity; i++) {
        size_t j;
        if (!m->slots[i].hash) continue;
        for (j = m->slots[i].hash & (cap - 1); slots[j].hash; j = (j + 1) & (cap - 1)) {}
        slots[j] = m->slots[i];
    }
    mmi_free(m->slots);
    m->slots = slots;
    m->capacity = cap;
    return 0;
}

/* The slot of a key, or the empty one where it belongs. */
static struct mmi_hash_slot *find(const mmi_hash_map *m, uint64_t hash, const char *key, size_t n)
{
    size_t j = hash & (m->capacity - 1);
    for (; m->slots[j].hash; j = (j + 1) & (m->capacity - 1)) {
        const struct mmi_hash_slot *s = &m->slots[j];
        if (s->hash == hash && s->n == n && (!n || !memcmp(m->keys + s->offset, key, n))) break; /* an empty key may be NULL */
    }
    return &m->slots[j];
}

int mmi_hash_map_put(mm_context *ctx, mmi_hash_map *m, const char *key, size_t n, int64_t value, int *existed)
{
    struct mmi_hash_slot *s;
    uint64_t hash;

    if (m->count * 10 >= m->capacity * 7 && rehash(ctx, m)) return 1;
    if (!m->seed) m->seed = fold((uint64_t)(uintptr_t)m->slots ^ 0x8EBC6AF09C88C6E3u, (uint64_t)(uintptr_t)m) | 1;
    hash = hash_of(m->seed, key, n);
    s = find(m, hash, key, n);
    if (existed) *existed = s->hash != 0;
    if (!s->hash) {
        size_t need;
        if (mmi_size_add(m->keys_size, n, &need)) {
            (void)mmi_fail(ctx, MM_E_NOMEM, "out of memory: keys of more than %zu bytes", m->keys_size);
            return 1;
        }
        if (need > m->keys_capacity || !m->keys) {
            size_t cap = mmi_size_max(need + need / 2, 64);
            char *p = mmi_realloc(ctx, m->keys, cap);
            if (!p) return 1;
            m->keys = p;
            m->keys_capacity = cap;
        }
        if (n) memcpy(m->keys + m->keys_size, key, n);
        s->hash = hash;
        s->offset = m->keys_size;
        s->n = n;
        m->keys_size = need;
        m->count++;
    }
    s->value = value;
    return 0;
}

int mmi_hash_map_get(const mmi_hash_map *m, const char *key, size_t n, int64_t *value)
{
    const struct mmi_hash_slot *s;
    if (!m->count) return 0;
    s = find(m, hash_of(m->seed, key, n), key, n);
    if (!s->hash) return 0;
    *value = s->value;
    return 1;
}
