/* Candidates come off a heap, best first, so that top-k and top-p cost what they keep and not a sort of the vocabulary.
 * SPDX-License-Identifier: MIT */
#include "sampler.h"

#include <math.h>
#include <string.h>

typedef struct {
    float score;
    int32_t id;
} candidate;

void mmi_sampler_init(mmi_sampler *s)
{
    *s = (mmi_sampler){0, 0, 1, 0, 1, 0, 0, 64, {0}};
    mmi_random_seed(&s->random, 0);
}

static int better(candidate a, candidate b) { return a.score > b.score || (a.score == b.score && a.id < b.id); }

static void sift(candidate *heap, size_t n, size_t i)
{
    candidate moved = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && better(heap[child + 1], heap[child])) child++;
        if (!better(heap[child], moved)) break;
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

/* Move the best of heap[0 .. n) behind its end. */
static void pop(candidate *heap, size_t n)
{
    candidate best = heap[0];
    heap[0] = heap[n - 1];
    sift(heap, n - 1, 0);
    heap[n - 1] = best;
}

static int has_penalties(const mmi_sampler *s) { return s->repeat_penalty != 1 || s->presence_penalty != 0 || s->frequency_penalty != 0; }

/* Each distinct token of the window once; counts is zeroed scratch of the vocabulary's size. */
static void penalize(const mmi_sampler *s, candidate *c, size_t vocabulary, const int32_t *history, size_t n, uint32_t *counts)
{
    size_t from = s->repeat_last >= 0 && (size_t)s->repeat_last < n ? n - (size_t)s->repeat_last : 0;

    for (size_t i = from; i < n; i++)
        if (history[i] >= 0 && (size_t)history[i] < vocabulary) counts[history[i]]++;
    for (size_t i = 0; i < vocabulary; i++) {
        double score = c[i].score;
        if (!counts[i]) continue;
        score = score > 0 ? score / s->repeat_penalty : score * s->repeat_penalty;
        c[i].score = (float)(score - s->presence_penalty - s->frequency_penalty * counts[i]);
    }
}

static mm_status pick_likeliest(mm_context *ctx, const candidate *c, size_t n, int32_t *out)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (c[i].score > -INFINITY && (best == n || better(c[i], c[best]))) best = i;
    if (best == n) return mmi_fail(ctx, MM_E_STATE, "the model gives no token a finite score");
    *out = c[best].id;
    return MM_OK;
}

/* Keep the candidates that top-k, top-p and min-p leave; they end at c[0 .. kept), the scores being weights relative to the best. */
static size_t keep(const mmi_sampler *s, candidate *c, size_t n)
{
    size_t kept = s->top_k && (size_t)s->top_k < n ? (size_t)s->top_k : n, live = n;
    double total = 0, sum = 0, best;

    for (size_t i = n / 2; i-- > 0;) sift(c, n, i);
    best = c[0].score;
    for (size_t i = 0; i < n; i++) c[i].score = (float)exp((c[i].score - best) / s->temperature);
    if (kept == n && s->top_p >= 1) { /* nothing that needs an order */
        size_t w = 0;
        for (size_t i = 0; i < n; i++)
            if (c[i].score > 0 && c[i].score >= s->min_p) c[w++] = c[i];
        return w;
    }
    if (kept < n) { /* top-p counts within the k that are left */
        for (size_t i = 0; i < kept; i++) pop(c, live--);
        for (size_t i = live; i < n; i++) total += c[i].score;
    } else {
        for (size_t i = 0; i < n; i++) total += c[i].score;
        kept = 0;
        while (live && sum < s->top_p * total) {
            sum += c[0].score;
            pop(c, live--);
            kept++;
        }
        sum = 0;
    }
    /* best first, from the end of the array to its front */
    for (size_t i = 0; i < kept / 2; i++) {
        candidate t = c[n - kept + i];
        c[n - kept + i] = c[n - 1 - i];
        c[n - 1 - i] = t;
    }
    memmove(c, c + n - kept, kept * sizeof *c);
    for (size_t i = 0; i < kept; i++) {
        if ((i && sum >= s->top_p * total) || c[i].score < s->min_p || !(c[i].score > 0)) return i;
        sum += c[i].score;
    }
    return kept;
}

mm_status mmi_sampler_pick(mm_context *ctx, mmi_sampler *s, const float *logits, size_t vocabulary, const int32_t *history, size_t n, int32_t *out)
{
    candidate *c = mmi_alloc_array(ctx, vocabulary, sizeof *c);
    uint32_t *counts = NULL;
    size_t kept = 0;
    double total = 0, at;
    mm_status st;

    if (!c) return MM_E_NOMEM;
    for (size_t i = 0; i < vocabulary; i++) c[i] = (candidate){isnan(logits[i]) ? -INFINITY : logits[i], (int32_t)i};
    if (has_penalties(s)) {
        counts = mmi_zalloc_array(ctx, vocabulary, sizeof *counts);
        if (!counts) {
            mmi_free(c);
            return MM_E_NOMEM;
        }
        penalize(s, c, vocabulary, history, n, counts);
        mmi_free(counts);
    }
    st = pick_likeliest(ctx, c, vocabulary, out);
    if (st || s->temperature == 0) {
        mmi_free(c);
        return st;
    }
    for (size_t i = 0; i < vocabulary; i++)
        if (c[i].score > -INFINITY) c[kept++] = c[i];
    kept = keep(s, c, kept);
    for (size_t i = 0; i < kept; i++) total += c[i].score;
    at = mmi_random_unit(&s->random) * total;
    for (size_t i = 0; i < kept; i++) {
        *out = c[i].id; /* rounding may leave a rest behind the last */
        at -= c[i].score;
        if (at < 0) break;
    }
    mmi_free(c);
    return MM_OK;
}
