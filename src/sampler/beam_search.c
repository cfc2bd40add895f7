/* Each running sequence has a cache of its own; one that goes on in several is copied, one that goes on in none is dropped.
 * SPDX-License-Identifier: MIT */
#include "beam_search.h"

#include <math.h>
#include <string.h>

#include "score_rules.h"
#include "session_state.h"
#include "size.h"

typedef struct {
    double score;
    size_t beam;
    int32_t id;
} candidate;

typedef struct {
    mm_session *s;
    size_t beams, keep, most, length; /* tokens generated so far */
    mmi_beam *running;                /* [beams], only [0] counts before the first token */
    mmi_kv_cache **caches;            /* [beams] */
    mmi_beam *finished;               /* [beams], the best first; the first n_finished exist */
    size_t n_finished;
    candidate *candidates;            /* [keep], the best first */
    size_t n_candidates;
    float *scores;                    /* [V] */
    mmi_step step;
} search;

void mmi_beam_list_clear(mmi_beam_list *l)
{
    for (size_t i = 0; l->items && i < l->count; i++) mmi_free(l->items[i].ids.data);
    mmi_free(l->items);
    memset(l, 0, sizeof *l);
}

/* Into the sorted list of the best; of equals the earlier stays in front. */
static void offer(search *q, candidate c)
{
    size_t at = q->n_candidates;

    if (at == q->keep && !(c.score > q->candidates[at - 1].score)) return;
    if (at == q->keep) {
        at--;
    } else {
        q->n_candidates++;
    }
    for (; at && c.score > q->candidates[at - 1].score; at--) q->candidates[at] = q->candidates[at - 1];
    q->candidates[at] = c;
}

static void log_softmax(float *x, size_t n)
{
    double sum = 0;
    float most = -INFINITY;

    for (size_t i = 0; i < n; i++) most = fmaxf(most, x[i]);
    for (size_t i = 0; i < n; i++) sum += exp((double)x[i] - (double)most);
    for (size_t i = 0; i < n; i++) x[i] = (float)((double)x[i] - (double)most - log(sum));
}

/* The best continuations of all running sequences by their logits, [n, V]. */
static mm_status find_candidates(search *q, const float *logits, size_t n)
{
    size_t V = (size_t)q->s->model->info.vocabulary;

    q->n_candidates = 0;
    for (size_t b = 0; b < n; b++) {
        mm_status st;
        memcpy(q->scores, logits + b * V, V * sizeof *q->scores);
        log_softmax(q->scores, V);
        st = mmi_session_rule_scores(q->s, q->scores, q->running[b].ids.data, q->length, q->most);
        if (st) return st;
        for (size_t v = 0; v < V; v++)
            if (q->scores[v] > -INFINITY) offer(q, (candidate){q->running[b].score + (double)q->scores[v], b, (int32_t)v});
    }
    if (!q->n_candidates) return mmi_fail(q->s->ctx, MM_E_STATE, "no token is possible");
    return MM_OK;
}

static mm_status extend(mm_context *ctx, const mmi_beam *from, int32_t id, mmi_beam *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < from->ids.count; i++)
        if (mmi_ids_add(ctx, &out->ids, from->ids.data[i])) return MM_E_NOMEM;
    return mmi_ids_add(ctx, &out->ids, id) ? MM_E_NOMEM : MM_OK;
}

/* A sequence that ended among the best of its step takes the place of a worse finished one. */
static mm_status finish(search *q, const candidate *c)
{
    double score = c->score / pow((double)q->length + 1, q->s->length_penalty);
    size_t at = q->n_finished;
    mmi_beam b;

    if (at == q->beams && !(score > q->finished[at - 1].score)) return MM_OK;
    if (extend(q->s->ctx, &q->running[c->beam], c->id, &b)) {
        mmi_free(b.ids.data);
        return MM_E_NOMEM;
    }
    b.score = score;
    b.finished = 1;
    if (at == q->beams) {
        mmi_free(q->finished[--at].ids.data);
    } else {
        q->n_finished++;
    }
    for (; at && score > q->finished[at - 1].score; at--) q->finished[at] = q->finished[at - 1];
    q->finished[at] = b;
    return MM_OK;
}

/* The caches of the chosen: each parent's goes to its first child and is copied for the others. */
static mm_status hand_on_caches(search *q, const size_t *parents, size_t n)
{
    mmi_kv_cache **next = mmi_zalloc_array(q->s->ctx, q->beams, sizeof *next);
    mm_status st = MM_OK;

    if (!next) return MM_E_NOMEM;
    for (size_t i = 0; i < n && !st; i++) {
        size_t first = 0;
        while (parents[first] != parents[i]) first++;
        if (first != i) {
            st = mmi_kv_cache_fork(q->s->ctx, next[first], next[first]->length, &next[i]);
        } else if (q->length) {
            next[i] = q->caches[parents[i]];
            q->caches[parents[i]] = NULL;
        } else { /* the session's own stays with it */
            st = mmi_kv_cache_fork(q->s->ctx, q->s->cache, q->s->cache->length, &next[i]);
        }
    }
    for (size_t b = 0; b < q->beams; b++) mmi_kv_cache_destroy(q->caches[b]);
    memcpy(q->caches, next, q->beams * sizeof *next);
    mmi_free(next);
    return st;
}

/* Choose who goes on and who has ended; *n is how many run on. */
static mm_status choose(search *q, size_t *n)
{
    size_t *parents = mmi_zalloc_array(q->s->ctx, q->beams, sizeof *parents);
    mmi_beam *next = mmi_zalloc_array(q->s->ctx, q->beams, sizeof *next);
    int last = q->length + 1 == q->most;
    int full = q->n_finished == q->beams && q->s->early_stopping == MM_EARLY_STOPPING_ON;
    mm_status st = parents && next ? MM_OK : MM_E_NOMEM;

    *n = 0;
    for (size_t i = 0; i < q->n_candidates && !st; i++) {
        const candidate *c = &q->candidates[i];
        if (last || mmi_session_is_end(q->s, c->id)) {
            if (i < q->beams && !full) st = finish(q, c);
        } else if (*n < q->beams) {
            st = extend(q->s->ctx, &q->running[c->beam], c->id, &next[*n]);
            next[*n].score = c->score;
            parents[(*n)++] = c->beam;
        }
    }
    if (!st && *n) st = hand_on_caches(q, parents, *n);
    for (size_t b = 0; next && b < q->beams; b++) {
        mmi_free(q->running[b].ids.data);
        q->running[b] = next[b];
    }
    mmi_free(parents);
    mmi_free(next);
    return st;
}

/* Whether the best of those that run can still become better than the worst finished one. */
static int may_improve(const search *q)
{
    double length = (double)(q->s->early_stopping == MM_EARLY_STOPPING_NEVER && q->s->length_penalty > 0 ? q->most : q->length);

    if (q->n_finished < q->beams) return 1;
    return q->s->early_stopping != MM_EARLY_STOPPING_ON && q->running[0].score / pow(length, q->s->length_penalty) > q->finished[q->n_finished - 1].score;
}

static mm_status advance(search *q, size_t n, const float **logits)
{
    size_t streams = q->s->model->info.position_streams ? 3 : 1;
    int32_t *ids = mmi_alloc_array(q->s->ctx, n, sizeof *ids), *positions = mmi_alloc_array(q->s->ctx, streams * n, sizeof *positions);
    int32_t next = (int32_t)(q->s->tokens.count + q->length - 1);
    mm_status st = ids && positions ? MM_OK : MM_E_NOMEM;

    if (streams == 3) next = mmi_session_next_position(q->s) + (int32_t)q->length - 1;
    for (size_t b = 0; b < n && !st; b++) ids[b] = q->running[b].ids.data[q->length - 1];
    for (size_t i = 0; i < streams * n && !st; i++) positions[i] = streams == 3 ? next : mmi_model_position(q->s->model, ids[i], (size_t)next);
    if (!st) st = mmi_session_step_many(q->s, &q->step, q->caches, n, ids, positions, logits);
    mmi_free(ids);
    mmi_free(positions);
    return st;
}

mm_status mmi_beam_search(mm_session *s, size_t most, mmi_beam_list *out)
{
    search q = {.s = s, .beams = (size_t)s->beams, .most = most};
    const float *logits = s->logits;
    size_t n = 1;
    mm_status st = mmi_session_compute(s);

    memset(out, 0, sizeof *out);
    if (st) return st;
    q.keep = mmi_size_max(2, 1 + s->model->n_end_tokens) * q.beams;
    q.running = mmi_zalloc_array(s->ctx, q.beams, sizeof *q.running);
    q.finished = mmi_zalloc_array(s->ctx, q.beams, sizeof *q.finished);
    q.caches = mmi_zalloc_array(s->ctx, q.beams, sizeof *q.caches);
    q.candidates = mmi_zalloc_array(s->ctx, q.keep, sizeof *q.candidates);
    q.scores = mmi_alloc_array(s->ctx, (size_t)s->model->info.vocabulary, sizeof *q.scores);
    if (!q.running || !q.finished || !q.caches || !q.candidates || !q.scores) st = MM_E_NOMEM;
    while (!st) {
        st = find_candidates(&q, logits, n);
        if (!st) st = choose(&q, &n);
        q.length++;
        if (st || !n || q.length == most || !may_improve(&q)) break;
        st = advance(&q, n, &logits);
        if (!st) st = mmi_progress(s->ctx, "searching", (int64_t)q.length, (int64_t)most);
    }
    if (!st) {
        out->items = q.finished;
        out->count = q.n_finished;
        q.finished = NULL;
    }
    for (size_t b = 0; b < q.beams; b++) {
        if (q.running) mmi_free(q.running[b].ids.data);
        if (q.finished) mmi_free(q.finished[b].ids.data);
        if (q.caches) mmi_kv_cache_destroy(q.caches[b]);
    }
    mmi_step_clear(&q.step);
    mmi_free(q.running);
    mmi_free(q.finished);
    mmi_free(q.caches);
    mmi_free(q.candidates);
    mmi_free(q.scores);
    return st;
}
