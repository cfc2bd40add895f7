/* The symbols of a word are a linked list in an array, the pairs that could be joined a heap ordered by rank and then
 * by place. Joining makes entries of the heap stale rather than removing them: each is checked when it comes up.
 * SPDX-License-Identifier: MIT */
#include "bpe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "size.h"

enum {
    MAX_SCORED = 1024,      /* bytes of a token that is cut in every way */
    DIRECT = 0x800,         /* characters below this are found in a table */
    CACHE_SLOTS = 4096,     /* a power of two */
    CACHE_WORD = 64,        /* longer words are not remembered */
    CACHE_BYTES = 1 << 20   /* when this much is remembered, nothing more is */
};

typedef struct {
    uint64_t pair; /* left << 32 | right; EMPTY */
    uint32_t rank;
    int32_t joined;
} merge;

#define EMPTY UINT64_MAX

struct mmi_bpe {
    const mmi_vocabulary *vocabulary;
    merge *merges; /* open addressing */
    size_t capacity, count;
    uint64_t seed;
    uint32_t next_rank;
    int32_t direct[DIRECT]; /* ids of single characters, -1 for none, when there is no prefix nor suffix */
    int32_t bytes[256];     /* ids of <0x00> ... <0xFF> for byte_fallback, all or none */
    int32_t unk;            /* -1: none */
    char *prefix, *suffix;
    size_t n_prefix, n_suffix;
    int has_affix, fuse_unk, byte_fallback, ignore_merges;
};

struct mmi_bpe_symbol {
    int32_t id;             /* -1: joined into the one before */
    int32_t previous, next; /* -1: none */
};

struct mmi_bpe_pair {
    uint64_t order; /* rank << 32 | place of the left symbol */
    int32_t joined;
};

struct mmi_bpe_cached {
    uint64_t hash; /* 0: empty */
    uint32_t word, n_word; /* in cached_words */
    uint32_t ids, n_ids;   /* in cached_ids */
};

/* ---- building ---- */

static size_t slot_of(const mmi_bpe *b, uint64_t pair)
{
    uint64_t h = (pair ^ b->seed) * 0x9E3779B97F4A7C15u;
    return (size_t)(h ^ h >> 32) & (b->capacity - 1);
}

static const merge *find_merge(const mmi_bpe *b, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;

    if (!b->capacity) return NULL;
    for (size_t j = slot_of(b, pair); b->merges[j].pair != EMPTY; j = (j + 1) & (b->capacity - 1))
        if (b->merges[j].pair == pair) return &b->merges[j];
    return NULL;
}

static int rehash(mm_context *ctx, mmi_bpe *b)
{
    merge *old = b->merges;
    size_t old_capacity = b->capacity, capacity = old_capacity ? old_capacity * 2 : 1024;
    merge *merges = mmi_alloc_array(ctx, capacity, sizeof *merges);

    if (!merges) return 1;
    for (size_t i = 0; i < capacity; i++) merges[i].pair = EMPTY;
    b->merges = merges;
    b->capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++) {
        size_t j;
        if (old[i].pair == EMPTY) continue;
        for (j = slot_of(b, old[i].pair); merges[j].pair != EMPTY; j = (j + 1) & (capacity - 1)) {}
        merges[j] = old[i];
    }
    mmi_free(old);
    return 0;
}

void mmi_bpe_destroy(mmi_bpe *b)
{
    if (!b) return;
    mmi_free(b->merges);
    mmi_free(b->prefix);
    mmi_free(b->suffix);
    mmi_free(b);
}

mm_status mmi_bpe_create(mm_context *ctx, const char *where, const mmi_vocabulary *vocabulary, const mmi_bpe_options *o, mmi_bpe **out)
{
    mm_status st = MM_OK;
    mmi_bpe *b = mmi_zalloc(ctx, sizeof *b);

    *out = NULL;
    if (!b) return MM_E_NOMEM;
    /* mixed from an address, so that a file cannot aim at one slot */
    b->seed = ((uint64_t)(uintptr_t)b ^ 0x8EBC6AF09C88C6E3u) * 0xE7037ED1A0B428DBu;
    b->vocabulary = vocabulary;
    b->fuse_unk = o->fuse_unk;
    b->ignore_merges = o->ignore_merges;
    b->prefix = mmi_strdup(ctx, o->continuing_subword_prefix);
    b->suffix = mmi_strdup(ctx, o->end_of_word_suffix);
    if (!b->prefix || !b->suffix) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    b->n_prefix = strlen(b->prefix);
    b->n_suffix = strlen(b->suffix);
    b->has_affix = b->n_prefix || b->n_suffix;
    b->unk = -1;
    if (o->unk_token) {
        b->unk = mmi_vocabulary_find(vocabulary, o->unk_token, strlen(o->unk_token));
        if (b->unk < 0) {
            st = mmi_fail(ctx, MM_E_FORMAT, "%s: the unk_token %.60s is not in the vocabulary", where, o->unk_token);
            goto cleanup;
        }
    }
    for (uint32_t c = 0; c < DIRECT; c++) {
        char bytes[4];
        size_t n = mmi_utf8_encode(c, bytes);
        b->direct[c] = mmi_vocabulary_find(vocabulary, bytes, n);
    }
    b->byte_fallback = o->byte_fallback;
    for (unsigned i = 0; i < 256; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "<0x%02X>", i);
        b->bytes[i] = mmi_vocabulary_find(vocabulary, name, 6);
    }
    *out = b;
    b = NULL;
cleanup:
    mmi_bpe_destroy(b);
    return st;
}

/* A merge given twice counts where it stands last, as in the reference. */
static int put_merge(mm_context *ctx, mmi_bpe *b, int32_t left, int32_t right, uint32_t rank, int32_t joined)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t j;

    if (b->count * 2 >= b->capacity && rehash(ctx, b)) return 1;
    for (j = slot_of(b, pair); b->merges[j].pair != EMPTY && b->merges[j].pair != pair; j = (j + 1) & (b->capacity - 1)) {}
    if (b->merges[j].pair == EMPTY) b->count++;
    b->merges[j] = (merge){pair, rank, joined};
    return 0;
}

mm_status mmi_bpe_add_merge(mm_context *ctx, mmi_bpe *b, const char *where, const char *left, size_t n_left, const char *right, size_t n_right)
{
    const mmi_vocabulary *v = b->vocabulary;
    int shown_left = n_left > 60 ? 60 : (int)n_left, shown_right = n_right > 60 ? 60 : (int)n_right;
    int32_t l = mmi_vocabulary_find(v, left, n_left), r = mmi_vocabulary_find(v, right, n_right), joined = -1;
    mmi_text whole = {0};

    if (l < 0 || r < 0)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: merge %u of %.*s and %.*s, of which %.*s is not in the vocabulary", where, b->next_rank, shown_left,
                        left, shown_right, right, l < 0 ? shown_left : shown_right, l < 0 ? left : right);
    if (n_right >= b->n_prefix) {
        if (mmi_text_append(ctx, &whole, left, n_left) || mmi_text_append(ctx, &whole, right + b->n_prefix, n_right - b->n_prefix)) {
            mmi_text_clear(&whole);
            return MM_E_NOMEM;
        }
        joined = mmi_vocabulary_find(v, whole.data, whole.size);
        mmi_text_clear(&whole);
    }
    if (joined < 0)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: merge %u of %.*s and %.*s makes no token of the vocabulary", where, b->next_rank, shown_left, left,
                        shown_right, right);
    if (b->next_rank == INT32_MAX) return mmi_fail(ctx, MM_E_LIMIT, "%s: more than %d merges", where, INT32_MAX);
    return put_merge(ctx, b, l, r, b->next_rank++, joined) ? MM_E_NOMEM : MM_OK;
}

mm_status mmi_bpe_add_merge_text(mm_context *ctx, mmi_bpe *b, const char *where, const char *merge_text, size_t n)
{
    const char *space = n ? memchr(merge_text, ' ', n) : NULL;
    size_t left = space ? (size_t)(space - merge_text) : 0;

    if (!space || memchr(space + 1, ' ', n - left - 1))
        return mmi_fail(ctx, MM_E_FORMAT, "%s: merge %u is \"%.*s\", not two tokens with a space between them", where, b->next_rank,
                        n > 60 ? 60 : (int)n, merge_text);
    return mmi_bpe_add_merge(ctx, b, where, merge_text, left, space + 1, n - left - 1);
}

typedef struct {
    double score;
    int32_t id;
} scored;

static int highest_first(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    return (x->score < y->score) - (x->score > y->score);
}

/* Each way to cut the token into two tokens is a merge. */
static int add_cuts(mm_context *ctx, mmi_bpe *b, int32_t id, uint32_t rank)
{
    size_t n = 0;
    const char *text = mmi_vocabulary_text(b->vocabulary, id, &n);

    for (size_t cut = 1; cut < n; cut++) {
        int32_t left, right;
        if (((unsigned char)text[cut] & 0xC0) == 0x80) continue;
        left = mmi_vocabulary_find(b->vocabulary, text, cut);
        if (left < 0) continue;
        right = mmi_vocabulary_find(b->vocabulary, text + cut, n - cut);
        if (right >= 0 && put_merge(ctx, b, left, right, rank, id)) return 1;
    }
    return 0;
}

mm_status mmi_bpe_add_scores(mm_context *ctx, mmi_bpe *b, const char *where, const double *scores)
{
    size_t size = (size_t)b->vocabulary->size, n = 0;
    scored *order = mmi_alloc_array(ctx, size, sizeof *order);
    uint32_t rank = 0;
    mm_status st = MM_OK;

    if (!order) return MM_E_NOMEM;
    for (size_t id = 0; id < size && !st; id++) {
        size_t bytes = 0;
        order[id] = (scored){scores[id], (int32_t)id};
        if (!isfinite(scores[id])) st = mmi_fail(ctx, MM_E_FORMAT, "%s: the score of the token with id %zu is not finite", where, id);
        if (mmi_vocabulary_text(b->vocabulary, (int64_t)id, &bytes) && bytes > MAX_SCORED)
            st = mmi_fail(ctx, MM_E_LIMIT, "%s: the token with id %zu has %zu bytes, more than the %d allowed", where, id, bytes, (int)MAX_SCORED);
    }
    if (!st) qsort(order, size, sizeof *order, highest_first);
    for (; n < size && !st; n++) {
        if (n && order[n].score != order[n - 1].score) rank++;
        if (add_cuts(ctx, b, order[n].id, rank)) st = MM_E_NOMEM;
    }
    mmi_free(order);
    return st;
}

/* ---- the heap ---- */

static int push_pair(mm_context *ctx, const mmi_bpe *b, mmi_bpe_scratch *s, int32_t place)
{
    const struct mmi_bpe_symbol *left = &s->symbols[place];
    const merge *m = left->next < 0 ? NULL : find_merge(b, left->id, s->symbols[left->next].id);
    struct mmi_bpe_pair entry;
    size_t at;

    if (!m) return 0;
    if (mmi_grow(ctx, (void **)&s->heap, &s->heap_capacity, s->heap_count, sizeof *s->heap)) return 1;
    entry.order = (uint64_t)m->rank << 32 | (uint32_t)place;
    entry.joined = m->joined;
    for (at = s->heap_count++; at > 0; at = (at - 1) / 2) {
        if (s->heap[(at - 1) / 2].order <= entry.order) break;
        s->heap[at] = s->heap[(at - 1) / 2];
    }
    s->heap[at] = entry;
    return 0;
}

static struct mmi_bpe_pair pop_pair(mmi_bpe_scratch *s)
{
    struct mmi_bpe_pair top = s->heap[0], last = s->heap[--s->heap_count];
    size_t at = 0, child;

    while ((child = 2 * at + 1) < s->heap_count) {
        if (child + 1 < s->heap_count && s->heap[child + 1].order < s->heap[child].order) child++;
        if (last.order <= s->heap[child].order) break;
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = last;
    return top;
}

/* ---- encoding ---- */

void mmi_bpe_scratch_clear(mmi_bpe_scratch *s)
{
    mmi_free(s->symbols);
    mmi_free(s->heap);
    mmi_free(s->cache);
    mmi_text_clear(&s->character);
    mmi_text_clear(&s->cached_words);
    mmi_free(s->cached_ids.data);
    memset(s, 0, sizeof *s);
}

static int add_symbol(mm_context *ctx, mmi_bpe_scratch *s, int32_t id)
{
    struct mmi_bpe_symbol *symbol;

    if (mmi_grow(ctx, (void **)&s->symbols, &s->capacity, s->count, sizeof *s->symbols)) return 1;
    symbol = &s->symbols[s->count];
    symbol->id = id;
    symbol->previous = (int32_t)s->count - 1;
    symbol->next = -1;
    if (s->count) s->symbols[s->count - 1].next = (int32_t)s->count;
    s->count++;
    return 0;
}

/* Cut the word into characters, as ids. */
static int add_symbols(mm_context *ctx, const mmi_bpe *b, mmi_bpe_scratch *s, const char *word, size_t n)
{
    int unknown = 0; /* an unknown token that is not yet added, for the next one may be fused with it */

    s->count = 0;
    for (size_t i = 0, len; i < n; i += len) {
        const char *text = word + i;
        size_t size;
        uint32_t code = 0;
        int32_t id;

        size = len = mmi_utf8_decode(text, n - i, &code);
        if (!b->has_affix && code < DIRECT) {
            id = b->direct[code];
        } else {
            if (b->has_affix) {
                s->character.size = 0;
                if ((i > 0 && mmi_text_append(ctx, &s->character, b->prefix, b->n_prefix)) || mmi_text_append(ctx, &s->character, text, len) ||
                    (i + len == n && mmi_text_append(ctx, &s->character, b->suffix, b->n_suffix)))
                    return 1;
                text = s->character.data;
                size = s->character.size;
            }
            id = mmi_vocabulary_find(b->vocabulary, text, size);
        }
        if (id >= 0) {
            if (unknown && add_symbol(ctx, s, b->unk)) return 1;
            unknown = 0;
            if (add_symbol(ctx, s, id)) return 1;
            continue;
        }
        if (b->byte_fallback) {
            size_t known = 0;
            while (known < size && b->bytes[(unsigned char)text[known]] >= 0) known++;
            if (known == size) {
                for (size_t k = 0; k < size; k++)
                    if (add_symbol(ctx, s, b->bytes[(unsigned char)text[k]])) return 1;
                continue;
            }
        }
        if (b->unk < 0) continue;
        if (unknown && !b->fuse_unk && add_symbol(ctx, s, b->unk)) return 1;
        unknown = 1;
    }
    return unknown && add_symbol(ctx, s, b->unk);
}

static int join_symbols(mm_context *ctx, const mmi_bpe *b, mmi_bpe_scratch *s)
{
    s->heap_count = 0;
    for (size_t i = 0; i + 1 < s->count; i++)
        if (push_pair(ctx, b, s, (int32_t)i)) return 1;
    while (s->heap_count) {
        struct mmi_bpe_pair top = pop_pair(s);
        int32_t place = (int32_t)(uint32_t)top.order;
        struct mmi_bpe_symbol *left = &s->symbols[place], *right;
        const merge *m;

        if (left->id < 0 || left->next < 0) continue;
        right = &s->symbols[left->next];
        m = find_merge(b, left->id, right->id);
        if (!m || m->joined != top.joined) continue; /* stale */
        left->id = top.joined;
        right->id = -1;
        left->next = right->next;
        if (right->next >= 0) s->symbols[right->next].previous = place;
        if (left->previous >= 0 && push_pair(ctx, b, s, left->previous)) return 1;
        if (push_pair(ctx, b, s, place)) return 1;
    }
    return 0;
}

static uint64_t hash_word(const char *word, size_t n)
{
    uint64_t h = n;

    while (n) {
        uint64_t w = 0;
        size_t k = mmi_size_min(n, 8);
        memcpy(&w, word, k);
        h = (h ^ w) * 0x9E3779B97F4A7C15u;
        h ^= h >> 29;
        word += k;
        n -= k;
    }
    return h ? h : 1;
}

/* The word's ids are those from `first` on. */
static int remember(mm_context *ctx, mmi_bpe_scratch *s, struct mmi_bpe_cached *slot, uint64_t hash, const char *word, size_t n, const mmi_ids *ids,
                    size_t first)
{
    struct mmi_bpe_cached entry;

    entry.hash = hash;
    entry.word = (uint32_t)s->cached_words.size;
    entry.n_word = (uint32_t)n;
    entry.ids = (uint32_t)s->cached_ids.count;
    entry.n_ids = (uint32_t)(ids->count - first);
    if (mmi_text_append(ctx, &s->cached_words, word, n)) return 1;
    for (size_t i = first; i < ids->count; i++)
        if (mmi_ids_add(ctx, &s->cached_ids, ids->data[i])) return 1;
    *slot = entry;
    return 0;
}

mm_status mmi_bpe_encode(mm_context *ctx, const mmi_bpe *b, mmi_bpe_scratch *s, const char *word, size_t n, mmi_ids *ids)
{
    struct mmi_bpe_cached *slot = NULL;
    uint64_t hash = 0;
    size_t first = ids->count;

    if (b->ignore_merges) {
        int32_t id = mmi_vocabulary_find(b->vocabulary, word, n);
        if (id >= 0) return mmi_ids_add(ctx, ids, id) ? MM_E_NOMEM : MM_OK;
    }
    if (s->remember_words && n <= CACHE_WORD) {
        if (!s->cache) s->cache = mmi_zalloc_array(ctx, CACHE_SLOTS, sizeof *s->cache);
        if (!s->cache) return MM_E_NOMEM;
        hash = hash_word(word, n);
        slot = &s->cache[hash & (CACHE_SLOTS - 1)];
        if (slot->hash == hash && slot->n_word == n && !memcmp(s->cached_words.data + slot->word, word, n)) {
            for (uint32_t i = 0; i < slot->n_ids; i++)
                if (mmi_ids_add(ctx, ids, s->cached_ids.data[slot->ids + i])) return MM_E_NOMEM;
            return MM_OK;
        }
    }
    if (add_symbols(ctx, b, s, word, n) || join_symbols(ctx, b, s)) return MM_E_NOMEM;
    for (int32_t i = s->count ? 0 : -1; i >= 0; i = s->symbols[i].next)
        if (mmi_ids_add(ctx, ids, s->symbols[i].id)) return MM_E_NOMEM;
    if (slot && s->cached_words.size < CACHE_BYTES && remember(ctx, s, slot, hash, word, n, ids, first))
        return MM_E_NOMEM;
    return MM_OK;
}
