/* SPDX-License-Identifier: MIT */
#include "unigram_trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ids.h"
#include "jinja_value.h"
#include "json.h"
#include "random.h"
#include "size.h"
#include "trie.h"

/* The constants of SentencePiece's trainer. */
enum { MAX_SEEDS = 1000000, SUB_ITERATIONS = 2 };
/* Of a score in the file: with more, readers that do not round to the nearest double (the package's is one) break ties otherwise than we do. */
enum { DIGITS = 15 };
static const double shrinking_factor = 0.75, unk_penalty = 10, least_expected = 0.5, missing_step = 0.0001;

typedef struct {
    size_t offset; /* into texts */
    uint32_t size;
    double score; /* log probability; of a seed a count */
} piece;

/* A piece that stands in a word. */
typedef struct {
    int32_t id; /* into pieces; UNK: a character without a piece */
    uint32_t size;
} node;

enum { UNK = -1 };

typedef struct {
    mm_context *ctx;
    const mmi_word_counts *words;
    const mmi_unigram_trainer_options *o;
    const mmi_vocabulary *special;
    mmi_counted_character *characters;
    size_t n_characters;
    mmi_text texts;
    piece *pieces;
    size_t count, capacity;
    double least; /* lowest score of a piece */
    mmi_trie trie;  /* text to the place in pieces */
    /* the lattice of one word of n bytes: the nodes that begin at byte i are nodes[first[i]..first[i + 1]) */
    node *nodes;
    size_t n_nodes, nodes_capacity;
    size_t *first;
    double *forward, *backward; /* of each place the log of the sum over all ways from the beginning, and to the end */
    size_t *from;               /* of each place the node on the best way to it, and where that begins */
    size_t *begin;
    size_t lattice_size;
    mmi_ids path;
} trainer;

static const char *text_of(const trainer *t, const piece *p) { return t->texts.data + p->offset; }

static double score_of(const trainer *t, const node *n) { return n->id == UNK ? t->least - unk_penalty : t->pieces[n->id].score; }

/* ---- seeds: the substrings that are nodes of the suffix tree of all different words ---- */

typedef struct {
    size_t first; /* in the sorted suffixes */
    uint32_t length, count;
} seed;

typedef struct {
    mm_context *ctx;
    uint32_t *codes;    /* of the words, a 0 behind each */
    uint32_t *suffixes; /* places in codes, which become sorted */
    size_t count;
    uint32_t depth;     /* characters by which they are sorted: one more than a piece may have */
    seed *seeds;
    size_t n_seeds, seeds_capacity;
} suffix_list;

/* Multikey quicksort (Bentley and Sedgewick 1997): three parts by the character at `depth`. The recursion takes the smaller parts. */
static mm_status sort_suffixes(suffix_list *l, uint32_t *s, size_t n, uint32_t depth)
{
    while (n > 1 && depth < l->depth) {
        uint32_t pivot = l->codes[s[mmi_random_at(n, depth, s[n / 2]) % n] + depth];
        size_t low = 0, high = n, i = 0, sizes[3];
        uint32_t *parts[3] = {s, NULL, NULL};
        int largest = 0;
        mm_status st = n > 4096 ? mmi_check_cancel(l->ctx) : MM_OK;

        if (st) return st;
        while (i < high) {
            uint32_t code = l->codes[s[i] + depth], swap = s[i];
            if (code < pivot) {
                s[i++] = s[low];
                s[low++] = swap;
            } else if (code > pivot) {
                s[i] = s[--high];
                s[high] = swap;
            } else {
                i++;
            }
        }
        parts[1] = s + low;
        parts[2] = s + high;
        sizes[0] = low;
        sizes[1] = pivot ? high - low : 0; /* what ends here is sorted */
        sizes[2] = n - high;
        for (int k = 1; k < 3; k++)
            if (sizes[k] > sizes[largest]) largest = k;
        for (int k = 0; k < 3 && !st; k++)
            if (k != largest) st = sort_suffixes(l, parts[k], sizes[k], depth + (k == 1));
        if (st) return st;
        s = parts[largest];
        n = sizes[largest];
        depth += largest == 1;
    }
    return MM_OK;
}

/* The characters that two suffixes have in common; more than any piece has when both words end there. */
static uint32_t common(const suffix_list *l, uint32_t a, uint32_t b)
{
    uint32_t n = 0;
    while (n < l->depth && l->codes[a + n] == l->codes[b + n])
        if (!l->codes[a + n++]) return l->depth;
    return n;
}

/* Each run of suffixes with `length` characters in common, as long as it can be: a stack of the runs that are open. */
static mm_status find_repeats(suffix_list *l)
{
    seed open[MMI_UNIGRAM_TRAINER_MAX_PIECE + 2] = {{0, 0, 0}}; /* lengths grow towards the top */
    size_t top = 0;

    for (size_t i = 1; i <= l->count; i++) {
        uint32_t length = i < l->count ? common(l, l->suffixes[i - 1], l->suffixes[i]) : 0;
        size_t first = i - 1;
        while (open[top].length > length) {
            seed s = open[top--];
            s.count = (uint32_t)(i - s.first);
            first = s.first;
            if (s.length < 2 || s.length >= l->depth) continue;
            if (mmi_grow(l->ctx, (void **)&l->seeds, &l->seeds_capacity, l->n_seeds, sizeof *l->seeds)) return MM_E_NOMEM;
            l->seeds[l->n_seeds++] = s;
        }
        if (open[top].length < length) open[++top] = (seed){first, length, 0};
    }
    return MM_OK;
}

/* By characters covered, then from the end of the alphabet, the longer first. */
static int best_seed(const void *a, const void *b)
{
    const seed *x = a, *y = b;
    uint64_t p = (uint64_t)x->count * x->length, q = (uint64_t)y->count * y->length;

    if (p != q) return p < q ? 1 : -1;
    if (x->first != y->first) return x->first < y->first ? 1 : -1;
    return x->length < y->length ? 1 : -1;
}

static mm_status list_suffixes(const trainer *t, suffix_list *l)
{
    size_t at = 0, size = t->words->index.keys_size + t->words->count;
    mm_status st;

    if (size > UINT32_MAX) return mmi_fail(t->ctx, MM_E_LIMIT, "training a tokenizer: %zu bytes of different words, more than 4 GiB", size);
    l->codes = mmi_alloc_array(t->ctx, size, sizeof *l->codes); /* a character has a byte at least */
    l->suffixes = mmi_alloc_array(t->ctx, size, sizeof *l->suffixes);
    if (!l->codes || !l->suffixes) return MM_E_NOMEM;
    for (size_t i = 0; i < t->words->count; i++) {
        size_t n;
        const char *word = mmi_word_counts_word(t->words, i, &n);
        for (size_t k = 0; k < n; at++) {
            k += mmi_utf8_decode(word + k, n - k, &l->codes[at]);
            if (l->codes[at]) l->suffixes[l->count++] = (uint32_t)at;
        }
        l->codes[at++] = 0;
    }
    st = sort_suffixes(l, l->suffixes, l->count, 0);
    if (!st) st = find_repeats(l);
    if (!st && l->n_seeds) qsort(l->seeds, l->n_seeds, sizeof *l->seeds, best_seed);
    return st;
}

static mm_status add_piece(trainer *t, const uint32_t *codes, uint32_t length, double score)
{
    size_t offset = t->texts.size;

    for (uint32_t i = 0; i < length; i++) {
        char bytes[4];
        if (mmi_text_append(t->ctx, &t->texts, bytes, mmi_utf8_encode(codes[i], bytes))) return MM_E_NOMEM;
    }
    if (mmi_vocabulary_find(t->special, t->texts.data + offset, t->texts.size - offset) >= 0) return MM_OK;
    if (mmi_grow(t->ctx, (void **)&t->pieces, &t->capacity, t->count, sizeof *t->pieces)) return MM_E_NOMEM;
    t->pieces[t->count++] = (piece){offset, (uint32_t)(t->texts.size - offset), score};
    return MM_OK;
}

/* The pieces to begin with: all characters of the words, then the best seeds. */
static mm_status make_seeds(trainer *t)
{
    suffix_list l = {.ctx = t->ctx, .depth = (uint32_t)t->o->max_piece_length + 1};
    double sum = 0;
    mm_status st = list_suffixes(t, &l);

    mmi_counted_characters_by_count(t->characters, t->n_characters);
    for (size_t i = 0; i < t->n_characters && !st && t->characters[i].count; i++)
        st = add_piece(t, &t->characters[i].code, 1, (double)t->characters[i].count);
    mmi_counted_characters_by_code(t->characters, t->n_characters);
    for (size_t i = 0; i < l.n_seeds && t->count < MAX_SEEDS && !st; i++)
        st = add_piece(t, l.codes + l.suffixes[l.seeds[i].first], l.seeds[i].length, (double)l.seeds[i].count * l.seeds[i].length);
    for (size_t i = 0; i < t->count; i++) sum += t->pieces[i].score;
    for (size_t i = 0; i < t->count; i++) t->pieces[i].score = log(t->pieces[i].score) - log(sum);
    mmi_free(l.codes);
    mmi_free(l.suffixes);
    mmi_free(l.seeds);
    return st;
}

/* ---- the lattice of a word ---- */

/* After the pieces have changed. */
static mm_status index_pieces(trainer *t)
{
    mmi_trie_clear(&t->trie);
    t->least = t->count ? INFINITY : 0;
    for (size_t i = 0; i < t->count; i++) {
        if (mmi_trie_put(t->ctx, &t->trie, text_of(t, &t->pieces[i]), t->pieces[i].size, (int32_t)i)) return MM_E_NOMEM;
        t->least = fmin(t->least, t->pieces[i].score);
    }
    return MM_OK;
}

static mm_status make_room(trainer *t, size_t n)
{
    if (n < t->lattice_size) return MM_OK;
    mmi_free(t->first);
    mmi_free(t->from);
    mmi_free(t->begin);
    mmi_free(t->forward);
    mmi_free(t->backward);
    t->lattice_size = 0;
    t->first = mmi_alloc_array(t->ctx, n + 2, sizeof *t->first);
    t->from = mmi_alloc_array(t->ctx, n + 2, sizeof *t->from);
    t->begin = mmi_alloc_array(t->ctx, n + 2, sizeof *t->begin);
    t->forward = mmi_alloc_array(t->ctx, n + 2, sizeof *t->forward);
    t->backward = mmi_alloc_array(t->ctx, n + 2, sizeof *t->backward);
    if (!t->first || !t->from || !t->begin || !t->forward || !t->backward) return MM_E_NOMEM;
    t->lattice_size = n + 1;
    return MM_OK;
}

static mm_status add_node(trainer *t, int32_t id, size_t size)
{
    if (mmi_grow(t->ctx, (void **)&t->nodes, &t->nodes_capacity, t->n_nodes, sizeof *t->nodes)) return MM_E_NOMEM;
    t->nodes[t->n_nodes++] = (node){id, (uint32_t)size};
    return MM_OK;
}

static mm_status build_lattice(trainer *t, const char *word, size_t n)
{
    mm_status st = make_room(t, n);
    size_t boundary = 0; /* the next character */

    if (st) return st;
    t->n_nodes = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t at = t->trie.nodes ? MMI_TRIE_ROOT : -1;
        size_t character = mmi_utf8_length((unsigned char)word[i]);
        int single = 0;

        t->first[i] = t->n_nodes;
        if (i < boundary) continue;
        boundary = i + character;
        for (size_t k = i; k < n; k++) {
            at = mmi_trie_walk(&t->trie, at, word + k, 1);
            if (at < 0) break;
            if (t->trie.values[at] < 0) continue;
            if (add_node(t, t->trie.values[at], k + 1 - i)) return MM_E_NOMEM;
            single |= k + 1 == boundary;
        }
        if (!single && add_node(t, UNK, character)) return MM_E_NOMEM;
        if (i % 65536 == 65535 && (st = mmi_check_cancel(t->ctx))) return st;
    }
    t->first[n] = t->first[n + 1] = t->n_nodes;
    return MM_OK;
}

/* The log of exp(x) + exp(y), where x may be the log of 0. */
static double add_logs(double x, double y)
{
    double low = fmin(x, y), high = fmax(x, y);
    return x == -INFINITY || high > low + 50 ? high : high + log(exp(low - high) + 1);
}

/* Add to expected[id] how often each piece stands in a word that occurs `count` times, over all ways to cut it. */
static void add_expected(trainer *t, size_t n, double count, double *expected)
{
    for (size_t i = 0; i <= n; i++) t->forward[i] = t->backward[i] = -INFINITY;
    t->forward[0] = t->backward[n] = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = t->first[i]; k < t->first[i + 1]; k++) {
            double *to = &t->forward[i + t->nodes[k].size];
            *to = add_logs(*to, score_of(t, &t->nodes[k]) + t->forward[i]);
        }
    for (size_t i = n; i-- > 0;)
        for (size_t k = t->first[i]; k < t->first[i + 1]; k++) {
            const node *p = &t->nodes[k];
            double rest = t->backward[i + p->size];
            t->backward[i] = add_logs(t->backward[i], score_of(t, p) + rest);
            if (p->id != UNK) expected[p->id] += count * exp(t->forward[i] + score_of(t, p) + rest - t->forward[n]);
        }
}

/* The best way to cut a word of n bytes without the node of piece `without` (UNK: with all), into t->path; *score is -INFINITY when there
 * is none. Of equal ones the longer last piece. */
static mm_status find_path(trainer *t, size_t n, int32_t without, double *score)
{
    for (size_t i = 0; i <= n; i++) t->forward[i] = -INFINITY;
    t->forward[0] = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = t->first[i]; k < t->first[i + 1]; k++) {
            size_t to = i + t->nodes[k].size;
            double sum = t->forward[i] + score_of(t, &t->nodes[k]);
            if (sum <= t->forward[to] || (without != UNK && t->nodes[k].id == without)) continue;
            t->forward[to] = sum;
            t->from[to] = k;
            t->begin[to] = i;
        }
    t->path.count = 0;
    *score = t->forward[n];
    for (size_t i = n; i && *score > -INFINITY; i = t->begin[i])
        if (mmi_ids_add(t->ctx, &t->path, t->nodes[t->from[i]].id)) return MM_E_NOMEM;
    return MM_OK;
}

/* ---- expectation maximization ---- */

/* The derivative of log gamma, by the asymptotic series about x - 1/2. */
static double digamma(double x)
{
    double sum = 0, r;

    for (; x < 7; x++) sum -= 1 / x;
    x -= 0.5;
    r = 1 / (x * x);
    return sum + log(x) + r * (1.0 / 24 + r * (-7.0 / 960 + r * (31.0 / 8064 - r * 127.0 / 30720)));
}

/* Pieces that are expected too seldom go; the others get scores that digamma makes a little lower for rare ones, as a sparse prior does. */
static mm_status improve_scores(trainer *t)
{
    double *expected = mmi_zalloc_array(t->ctx, t->count, sizeof *expected), sum = 0;
    size_t kept = 0;
    mm_status st = expected ? MM_OK : MM_E_NOMEM;

    for (size_t i = 0; i < t->words->count && !st; i++) {
        size_t n;
        const char *word = mmi_word_counts_word(t->words, i, &n);
        st = build_lattice(t, word, n);
        if (!st) add_expected(t, n, (double)t->words->words[i].count, expected);
        if (!st && i % 1024 == 0) st = mmi_check_cancel(t->ctx);
    }
    if (!st) {
        for (size_t i = 0; i < t->count; i++) {
            if (expected[i] < least_expected) continue;
            sum += expected[i];
            t->pieces[kept] = t->pieces[i];
            t->pieces[kept++].score = expected[i];
        }
        t->count = kept;
        for (size_t i = 0; i < kept; i++) t->pieces[i].score = digamma(t->pieces[i].score) - digamma(sum);
        st = index_pieces(t);
    }
    mmi_free(expected);
    return st;
}

typedef struct {
    size_t id;
    double loss;
} loser;

static int greatest_loss(const void *a, const void *b)
{
    const loser *x = a, *y = b;
    if (x->loss != y->loss) return x->loss < y->loss ? 1 : -1;
    return x->id < y->id ? -1 : 1;
}

/* How often each piece, and in counts[t->count] the unknown one, stands in the best ways to cut the words. */
static mm_status count_pieces(trainer *t, double *counts, double *words)
{
    mm_status st = MM_OK;

    for (size_t i = 0; i < t->words->count && !st; i++) {
        size_t n;
        const char *word = mmi_word_counts_word(t->words, i, &n);
        double count = (double)t->words->words[i].count, score;
        st = build_lattice(t, word, n);
        if (!st) st = find_path(t, n, UNK, &score);
        for (size_t k = 0; k < t->path.count && !st; k++) counts[t->path.data[k] == UNK ? t->count : (size_t)t->path.data[k]] += count;
        *words += count;
        if (!st && i % 1024 == 0) st = mmi_check_cancel(t->ctx);
    }
    return st;
}

/* Drop pieces: those that no best way needs, then those that cost the least likelihood when the second best way to cut them takes their
 * place. *dropped tells how many. */
static mm_status prune_pieces(trainer *t, size_t *dropped)
{
    double *counts = mmi_zalloc_array(t->ctx, t->count + 1, sizeof *counts), words = 0, sum = 0;
    piece *kept = mmi_alloc_array(t->ctx, t->count, sizeof *kept);
    loser *losers = mmi_alloc_array(t->ctx, t->count, sizeof *losers);
    size_t n_kept = 0, n_losers = 0, most = (size_t)((double)(t->count + 1) * shrinking_factor);
    mm_status st = counts && kept && losers ? count_pieces(t, counts, &words) : MM_E_NOMEM;

    if (st) goto cleanup;
    most = mmi_size_max((size_t)t->o->vocab_size * 11 / 10, most) - 1; /* these numbers count the unknown one */
    for (size_t i = 0; i <= t->count; i++) sum += counts[i];
    for (size_t i = 0; i < t->count; i++) {
        const piece *p = &t->pieces[i];
        double other = 0, alternative = 0, count = counts[i];
        size_t n = 0;

        st = build_lattice(t, text_of(t, p), p->size);
        if (!st) st = find_path(t, p->size, (int32_t)i, &other);
        if (!st && i % 1024 == 0) st = mmi_check_cancel(t->ctx);
        if (st) goto cleanup;
        n = t->path.count;
        if (!n || (other > p->score && count > 0)) { /* the only way; or not even the best one */
            kept[n_kept++] = *p;
            continue;
        }
        if (count == 0) continue;
        /* How many more tokens there are then: SentencePiece takes the number of alternatives less one. The package takes that of all pieces, and
         * what it learns is what is wanted here. */
        for (size_t k = n; k-- > 0;) {
            size_t id = t->path.data[k] == UNK ? t->count : (size_t)t->path.data[k];
            alternative += log(counts[id] + count) - log(sum + count * (double)t->count);
        }
        losers[n_losers++] = (loser){i, count / words * (log(count) - log(sum) - alternative)};
    }
    qsort(losers, n_losers, sizeof *losers, greatest_loss);
    for (size_t i = 0; i < n_losers && n_kept < most; i++) kept[n_kept++] = t->pieces[losers[i].id];
    *dropped = t->count - n_kept;
    memcpy(t->pieces, kept, n_kept * sizeof *kept);
    t->count = n_kept;
    st = index_pieces(t);
cleanup:
    mmi_free(counts);
    mmi_free(kept);
    mmi_free(losers);
    return st;
}

static mm_status learn(trainer *t)
{
    size_t desired = (size_t)t->o->vocab_size * 11 / 10 - 1, seeds = 0, dropped = 1;
    mm_status st = make_seeds(t);

    seeds = t->count;
    if (!st) st = index_pieces(t);
    for (;;) {
        for (int i = 0; i < SUB_ITERATIONS && !st; i++) st = improve_scores(t);
        if (!st) st = mmi_progress(t->ctx, "training a tokenizer", (int64_t)(seeds - t->count), (int64_t)(seeds - mmi_size_min(seeds, desired)));
        if (st || t->count <= desired || !dropped) return st;
        st = prune_pieces(t, &dropped);
        if (st) return st;
    }
}

/* ---- the vocabulary ---- */

typedef struct {
    piece piece;
    size_t order;
} ranked;

static int highest_score(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->piece.score != y->piece.score) return x->piece.score < y->piece.score ? 1 : -1;
    return x->order < y->order ? -1 : 1;
}

/* All characters, those without a piece at the lower end, then pieces in their order while there is room. */
static mm_status choose_pieces(trainer *t, ranked *chosen, size_t room, size_t *count)
{
    double missing = t->least;

    *count = 0;
    for (size_t i = 0; i < t->n_characters; i++) {
        piece p = {t->texts.size, 0, 0};
        char bytes[4];
        int64_t at;

        p.size = (uint32_t)mmi_utf8_encode(t->characters[i].code, bytes);
        if (mmi_vocabulary_find(t->special, bytes, p.size) >= 0) continue;
        if (mmi_text_append(t->ctx, &t->texts, bytes, p.size)) return MM_E_NOMEM;
        at = mmi_trie_walk(&t->trie, MMI_TRIE_ROOT, bytes, p.size);
        if (at >= 0 && t->trie.values[at] >= 0) {
            p.score = t->pieces[t->trie.values[at]].score;
        } else {
            p.score = missing;
            missing += missing_step;
        }
        chosen[*count] = (ranked){p, *count};
        ++*count;
    }
    for (size_t i = 0; i < t->count && *count < room; i++) {
        const piece *p = &t->pieces[i];
        if (p->size == mmi_utf8_length((unsigned char)*text_of(t, p))) continue; /* a character */
        chosen[*count] = (ranked){*p, *count};
        ++*count;
    }
    qsort(chosen, *count, sizeof *chosen, highest_score);
    return MM_OK;
}

static int write_token(trainer *t, const char *token, size_t n, double score, int first, mmi_text *out)
{
    char number[40];

    (void)mmi_jinja_print_double(number, sizeof number, "", DIGITS, 'g', score); /* it fits */
    return mmi_text_format(t->ctx, out, first ? "[" : ", [") || mmi_json_quote(t->ctx, out, token, n) || mmi_text_format(t->ctx, out, ", %s]", number);
}

static mm_status write_model(trainer *t, int32_t unk, size_t room, mmi_text *out)
{
    ranked *chosen = mmi_alloc_array(t->ctx, mmi_size_min(room, t->count + t->n_characters), sizeof *chosen);
    size_t count = 0;
    mm_status st = chosen ? choose_pieces(t, chosen, room, &count) : MM_E_NOMEM;
    int failed;

    if (st) goto cleanup;
    failed = mmi_text_format(t->ctx, out, "{\"type\": \"Unigram\", \"unk_id\": %d, \"byte_fallback\": false,\n  \"vocab\": [", (int)unk);
    for (size_t i = 0; i < t->special->count && !failed; i++) {
        size_t n = 0;
        const char *token = mmi_vocabulary_text(t->special, (int64_t)i, &n);
        failed = write_token(t, token, n, 0, !i, out);
    }
    for (size_t i = 0; i < count && !failed; i++)
        failed = write_token(t, text_of(t, &chosen[i].piece), chosen[i].piece.size, chosen[i].piece.score, 0, out);
    if (failed || mmi_text_format(t->ctx, out, "]}")) st = MM_E_NOMEM;
cleanup:
    mmi_free(chosen);
    return st;
}

mm_status mmi_unigram_train_model(mm_context *ctx, const mmi_word_counts *words, const mmi_unigram_trainer_options *o, const mmi_vocabulary *special,
                                  int32_t unk, mmi_text *out)
{
    trainer t = {.ctx = ctx, .words = words, .o = o, .special = special};
    mm_status st = mmi_word_counts_characters(ctx, words, o->byte_alphabet, &t.characters, &t.n_characters);

    if (!st && (uint64_t)o->vocab_size < special->count + t.n_characters)
        st = mmi_fail(ctx, MM_E_ARGUMENT, "a vocabulary of %lld tokens does not hold %zu special tokens and the %zu characters of the texts",
                      (long long)o->vocab_size, special->count, t.n_characters);
    if (!st) st = learn(&t);
    if (!st) st = write_model(&t, unk, (size_t)o->vocab_size - special->count, out);
    mmi_free(t.characters);
    mmi_text_clear(&t.texts);
    mmi_free(t.pieces);
    mmi_trie_clear(&t.trie);
    mmi_free(t.nodes);
    mmi_free(t.first);
    mmi_free(t.from);
    mmi_free(t.begin);
    mmi_free(t.forward);
    mmi_free(t.backward);
    mmi_free(t.path.data);
    return st;
}
