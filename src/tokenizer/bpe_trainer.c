/* A queue holds candidates: a pair of neighbouring tokens, how often it occurred when it was queued, and the words that it came up in since it was
 * queued before. What has changed since is noticed when a candidate comes out: it goes back with the number of now. A pair can stand in
 * the queue more than once, each time with other words, and the order of merges depends on that.
 * SPDX-License-Identifier: MIT */
#include "bpe_trainer.h"

#include <string.h>

#include "json.h"

static const char where[] = "the trained tokenizer";

#define NONE UINT32_MAX

typedef struct {
    int32_t id;
    uint32_t length; /* characters */
} symbol;

typedef struct {
    size_t start, count; /* in symbols */
} symbol_range;

typedef struct {
    int32_t left, right;
    int64_t count;
    uint32_t words; /* first of the places where it came up and is not queued for */
} pair;

/* A word in a list, or a free one. */
typedef struct {
    uint32_t word, next;
} place;

typedef struct {
    int64_t count;
    uint32_t pair, words;
} candidate;

typedef struct {
    mm_context *ctx;
    const mmi_word_counts *words;
    const mmi_bpe_trainer_options *o;
    mmi_vocabulary *vocabulary;
    uint32_t max_length;
    symbol *symbols;
    symbol_range *ranges; /* of each word */
    mmi_hash_map index;   /* left and right to the place in pairs */
    pair *pairs;
    size_t n_pairs, pairs_capacity;
    place *places;
    size_t n_places, places_capacity;
    uint32_t free_place;
    uint32_t *touched; /* pairs that words were added to */
    size_t n_touched, touched_capacity;
    candidate *queue; /* a heap */
    size_t n_queue, queue_capacity;
    mmi_bpe_merge *merges;
    size_t n_merges, merges_capacity;
} trainer;

/* ---- tokens ---- */

/* The id of a + b, which becomes a token if it is none. */
static mm_status add_token(trainer *t, const char *a, size_t n_a, const char *b, size_t n_b, int32_t *id)
{
    mmi_text text = {0};
    mm_status st = mmi_text_append(t->ctx, &text, a, n_a) || mmi_text_append(t->ctx, &text, b, n_b) ? MM_E_NOMEM : MM_OK;

    if (!st) {
        *id = mmi_vocabulary_find(t->vocabulary, text.data, text.size);
        if (*id < 0) {
            *id = (int32_t)t->vocabulary->count;
            st = mmi_vocabulary_add(t->ctx, t->vocabulary, where, text.data, text.size, *id);
        }
    }
    mmi_text_clear(&text);
    return st;
}

static mm_status add_alphabet(trainer *t)
{
    mmi_counted_character *list = NULL;
    size_t count = 0;
    mm_status st = mmi_word_counts_characters(t->ctx, t->words, t->o->byte_alphabet, &list, &count);

    if (!st && t->o->limit_alphabet && count > (size_t)t->o->limit_alphabet) {
        mmi_counted_characters_by_count(list, count);
        count = (size_t)t->o->limit_alphabet;
        mmi_counted_characters_by_code(list, count);
    }
    for (size_t i = 0; i < count && !st; i++) {
        char bytes[4];
        int32_t id;
        st = add_token(t, bytes, mmi_utf8_encode(list[i].code, bytes), "", 0, &id);
    }
    mmi_free(list);
    return st;
}

/* Cut the words into characters. Behind the first of its word a character is another token, with the prefix: inner[id]. */
static mm_status cut_words(trainer *t)
{
    size_t total = 0, known = t->vocabulary->count;
    int32_t *inner = NULL;
    mm_status st = MM_OK;

    t->ranges = mmi_alloc_array(t->ctx, t->words->count, sizeof *t->ranges);
    t->symbols = mmi_alloc_array(t->ctx, t->words->index.keys_size, sizeof *t->symbols); /* a character has a byte at least */
    inner = mmi_zalloc_array(t->ctx, known, sizeof *inner);
    if (!t->ranges || !t->symbols || !inner) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    for (size_t i = 0; i < t->words->count; i++) {
        size_t n, at = 0;
        const char *word = mmi_word_counts_word(t->words, i, &n);
        t->ranges[i].start = total;
        while (at < n) {
            size_t length = mmi_utf8_length((unsigned char)word[at]);
            int32_t id = mmi_vocabulary_find(t->vocabulary, word + at, length);
            if (id >= 0) {
                if (at && *t->o->prefix) inner[id] = 1;
                t->symbols[total].length = at ? 2 : 1; /* for now: whether it is an inner one */
                t->symbols[total++].id = id;
            }
            at += length;
        }
        t->ranges[i].count = total - t->ranges[i].start;
        if (i % 1024 == 0 && (st = mmi_check_cancel(t->ctx))) goto cleanup;
    }
    for (size_t id = 0; id < known && !st; id++) {
        size_t n = 0;
        const char *token = mmi_vocabulary_text(t->vocabulary, (int64_t)id, &n);
        if (inner[id]) st = add_token(t, t->o->prefix, strlen(t->o->prefix), token, n, &inner[id]);
    }
    for (size_t i = 0; i < total; i++) {
        symbol *s = &t->symbols[i];
        if (s->length == 2 && *t->o->prefix) s->id = inner[s->id];
        s->length = 1;
    }
cleanup:
    mmi_free(inner);
    return st;
}

/* ---- pairs ---- */

static int before(const trainer *t, const candidate *a, const candidate *b)
{
    const pair *x = &t->pairs[a->pair], *y = &t->pairs[b->pair];

    if (a->count != b->count) return a->count > b->count;
    return x->left != y->left ? x->left < y->left : x->right < y->right;
}

static mm_status push(trainer *t, candidate c)
{
    size_t i = t->n_queue;

    if (mmi_grow(t->ctx, (void **)&t->queue, &t->queue_capacity, t->n_queue, sizeof *t->queue)) return MM_E_NOMEM;
    t->n_queue++;
    for (; i && before(t, &c, &t->queue[(i - 1) / 2]); i = (i - 1) / 2) t->queue[i] = t->queue[(i - 1) / 2];
    t->queue[i] = c;
    return MM_OK;
}

static candidate pop(trainer *t)
{
    candidate top = t->queue[0], c = t->queue[--t->n_queue];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < t->n_queue) {
        if (child + 1 < t->n_queue && before(t, &t->queue[child + 1], &t->queue[child])) child++;
        if (!before(t, &t->queue[child], &c)) break;
        t->queue[i] = t->queue[child];
        i = child;
    }
    t->queue[i] = c;
    return top;
}

static mm_status too_many(trainer *t, const char *what)
{
    return mmi_fail(t->ctx, MM_E_LIMIT, "training a tokenizer: more than %u %s", (unsigned)NONE, what);
}

/* A pair occurs `times` more, or less, in a word. */
static mm_status change_pair(trainer *t, int32_t left, int32_t right, int64_t times, uint32_t word)
{
    int32_t key[2] = {left, right};
    int64_t at = 0;
    pair *p;
    uint32_t i;

    if (!mmi_hash_map_get(&t->index, (const char *)key, sizeof key, &at)) {
        at = (int64_t)t->n_pairs;
        if (at >= NONE) return too_many(t, "pairs of tokens");
        if (mmi_grow(t->ctx, (void **)&t->pairs, &t->pairs_capacity, t->n_pairs, sizeof *t->pairs)) return MM_E_NOMEM;
        if (mmi_hash_map_put(t->ctx, &t->index, (const char *)key, sizeof key, at, NULL)) return MM_E_NOMEM;
        t->pairs[t->n_pairs++] = (pair){left, right, 0, NONE};
    }
    p = &t->pairs[at];
    p->count += times;
    if (times < 0 || (p->words != NONE && t->places[p->words].word == word)) return MM_OK;
    if (p->words == NONE) {
        if (mmi_grow(t->ctx, (void **)&t->touched, &t->touched_capacity, t->n_touched, sizeof *t->touched)) return MM_E_NOMEM;
        t->touched[t->n_touched++] = (uint32_t)at;
    }
    i = t->free_place;
    if (i != NONE) {
        t->free_place = t->places[i].next;
    } else {
        if (t->n_places >= NONE) return too_many(t, "places of pairs of tokens");
        if (mmi_grow(t->ctx, (void **)&t->places, &t->places_capacity, t->n_places, sizeof *t->places)) return MM_E_NOMEM;
        i = (uint32_t)t->n_places++;
    }
    t->places[i] = (place){word, p->words};
    p->words = i;
    return MM_OK;
}

/* The place behind one, which becomes free. */
static uint32_t free_place(trainer *t, uint32_t i)
{
    uint32_t next = t->places[i].next;
    t->places[i].next = t->free_place;
    t->free_place = i;
    return next;
}

static mm_status queue_touched(trainer *t)
{
    mm_status st = MM_OK;

    for (size_t i = 0; i < t->n_touched && !st; i++) {
        pair *p = &t->pairs[t->touched[i]];
        uint32_t words = p->words;
        p->words = NONE;
        if (p->count > 0)
            st = push(t, (candidate){p->count, t->touched[i], words});
        else
            while (words != NONE) words = free_place(t, words);
    }
    t->n_touched = 0;
    return st;
}

static mm_status count_pairs(trainer *t)
{
    mm_status st = MM_OK;

    for (size_t w = 0; w < t->words->count && !st; w++) {
        const symbol *s = t->symbols + t->ranges[w].start;
        for (size_t i = 1; i < t->ranges[w].count && !st; i++) st = change_pair(t, s[i - 1].id, s[i].id, t->words->words[w].count, (uint32_t)w);
        if (!st && w % 1024 == 0) st = mmi_check_cancel(t->ctx);
    }
    return st ? st : queue_touched(t);
}

/* ---- merging ---- */

/* Join left and right to `id` in a word, from its beginning on. */
static mm_status merge_word(trainer *t, uint32_t word, int32_t left, int32_t right, int32_t id)
{
    symbol *s = t->symbols + t->ranges[word].start;
    size_t n = t->ranges[word].count, to = 0;
    int64_t count = t->words->words[word].count;
    mm_status st = MM_OK;

    for (size_t i = 0; i < n; i++) {
        symbol joined = s[i];
        if (i + 1 < n && s[i].id == left && s[i + 1].id == right) {
            joined.id = id;
            joined.length = s[i].length + s[i + 1].length;
            if (to) {
                st = change_pair(t, s[to - 1].id, left, -count, word);
                if (!st && s[to - 1].length + joined.length < t->max_length) st = change_pair(t, s[to - 1].id, id, count, word);
            }
            i++;
            if (!st && i + 1 < n) {
                st = change_pair(t, right, s[i + 1].id, -count, word);
                if (!st && s[i + 1].length + joined.length < t->max_length) st = change_pair(t, id, s[i + 1].id, count, word);
            }
            if (st) return st;
        }
        s[to++] = joined;
    }
    t->ranges[word].count = to;
    return MM_OK;
}

static mm_status merge_pair(trainer *t, candidate c)
{
    int32_t left = t->pairs[c.pair].left, right = t->pairs[c.pair].right, id = -1;
    size_t n_left = 0, n_right = 0, prefix = strlen(t->o->prefix);
    const char *a = mmi_vocabulary_text(t->vocabulary, left, &n_left), *b = mmi_vocabulary_text(t->vocabulary, right, &n_right);
    mm_status st;

    if (n_right >= prefix && !memcmp(b, t->o->prefix, prefix)) b += prefix, n_right -= prefix;
    st = add_token(t, a, n_left, b, n_right, &id);
    if (st) return st;
    if (mmi_grow(t->ctx, (void **)&t->merges, &t->merges_capacity, t->n_merges, sizeof *t->merges)) return MM_E_NOMEM;
    t->merges[t->n_merges++] = (mmi_bpe_merge){left, right};
    for (size_t i = 1; c.words != NONE && !st; i++) {
        st = merge_word(t, t->places[c.words].word, left, right, id);
        c.words = free_place(t, c.words);
        if (!st && i % 1024 == 0) st = mmi_check_cancel(t->ctx);
    }
    return st ? st : queue_touched(t);
}

static mm_status merge_pairs(trainer *t)
{
    mm_status st = MM_OK;

    while (!st && (int64_t)t->vocabulary->count < t->o->vocab_size && t->n_queue) {
        candidate c = pop(t);
        int64_t now = t->pairs[c.pair].count;
        if (c.count != now) {
            c.count = now;
            st = push(t, c);
            continue;
        }
        if (now < 1 || now < t->o->min_frequency) break;
        st = merge_pair(t, c);
        if (!st) st = mmi_progress(t->ctx, "training a tokenizer", (int64_t)t->vocabulary->count, t->o->vocab_size);
    }
    return st;
}

mm_status mmi_bpe_train(mm_context *ctx, const mmi_word_counts *words, const mmi_bpe_trainer_options *o, mmi_vocabulary *vocabulary,
                        mmi_bpe_merge **merges, size_t *count)
{
    trainer t = {.ctx = ctx, .words = words, .o = o, .vocabulary = vocabulary, .free_place = NONE};
    mm_status st;

    t.max_length = o->max_piece_length ? (uint32_t)o->max_piece_length : UINT32_MAX;
    st = words->count >= NONE ? too_many(&t, "different words") : add_alphabet(&t);
    if (!st) st = cut_words(&t);
    if (!st) st = count_pairs(&t);
    if (!st) st = merge_pairs(&t);
    if (!st && merges) {
        *merges = t.merges;
        *count = t.n_merges;
        t.merges = NULL;
    }
    mmi_free(t.symbols);
    mmi_free(t.ranges);
    mmi_hash_map_clear(&t.index);
    mmi_free(t.pairs);
    mmi_free(t.places);
    mmi_free(t.touched);
    mmi_free(t.queue);
    mmi_free(t.merges);
    return st;
}

/* ---- writing ---- */

int mmi_bpe_trainer_write_vocabulary(mm_context *ctx, const mmi_vocabulary *v, mmi_text *out)
{
    for (size_t id = 0; id < v->count; id++) {
        size_t n = 0;
        const char *token = mmi_vocabulary_text(v, (int64_t)id, &n);
        if (mmi_text_format(ctx, out, id ? ", " : "{") || mmi_json_quote(ctx, out, token, n) || mmi_text_format(ctx, out, ": %zu", id)) return 1;
    }
    return mmi_text_format(ctx, out, v->count ? "}" : "{}");
}

mm_status mmi_bpe_train_model(mm_context *ctx, const mmi_word_counts *words, const mmi_bpe_trainer_options *o, const char *unk_token,
                              mmi_vocabulary *v, mmi_text *out)
{
    mmi_bpe_merge *merges = NULL;
    size_t count = 0;
    mm_status st = mmi_bpe_train(ctx, words, o, v, &merges, &count);
    int failed;

    if (st) return st;
    failed = mmi_text_format(ctx, out, "{\"type\": \"BPE\", \"dropout\": null, \"unk_token\": ") ||
             (unk_token ? mmi_json_quote(ctx, out, unk_token, strlen(unk_token)) : mmi_text_format(ctx, out, "null")) ||
             mmi_text_format(ctx, out, ", \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false, "
                                       "\"byte_fallback\": false, \"ignore_merges\": false,\n  \"vocab\": ") ||
             mmi_bpe_trainer_write_vocabulary(ctx, v, out) || mmi_text_format(ctx, out, ",\n  \"merges\": [");
    for (size_t i = 0; i < count && !failed; i++) {
        size_t n_left = 0, n_right = 0;
        const char *left = mmi_vocabulary_text(v, merges[i].left, &n_left), *right = mmi_vocabulary_text(v, merges[i].right, &n_right);
        failed = mmi_text_format(ctx, out, i ? ", [" : "[") || mmi_json_quote(ctx, out, left, n_left) || mmi_text_format(ctx, out, ", ") ||
                 mmi_json_quote(ctx, out, right, n_right) || mmi_text_format(ctx, out, "]");
    }
    failed = failed || mmi_text_format(ctx, out, "]}");
    mmi_free(merges);
    return failed ? MM_E_NOMEM : MM_OK;
}
