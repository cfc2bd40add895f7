/* Writing on: one token after another, its text handed out unless it may begin a stop text. SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* memmem */
#include "session_generate.h"

#include <string.h>

#include "beam_search.h"
#include "score_rules.h"
#include "session.h"
#include "session_state.h"
#include "size.h"

mm_status mmi_session_logits(mm_session *s, const float **out)
{
    mm_status st = mmi_session_compute(s);
    *out = st ? NULL : s->logits;
    return st;
}

/* Generated text on its way to the callback: what may begin a stop text waits. */
typedef struct {
    mm_session *s;
    mmi_token_decoder *decoder;
    mmi_text waiting;
    mm_generate_fn fn;
    void *user;
    int stopped;       /* by the callback */
    mmi_ids generated; /* so far; not the end of the session's tokens, which may slide */
} output;

/* The offset of the first stop text in the waiting text, or its size. */
static size_t find_stop(const output *o)
{
    size_t first = o->waiting.size;
    for (size_t i = 0; i < o->s->n_stops; i++) {
        const char *at = o->waiting.size ? memmem(o->waiting.data, o->waiting.size, o->s->stops[i], strlen(o->s->stops[i])) : NULL;
        if (at) first = mmi_size_min(first, (size_t)(at - o->waiting.data));
    }
    return first;
}

/* Bytes at the end of the waiting text that are the beginning of a stop text. */
static size_t held_back(const output *o)
{
    size_t most = 0;
    for (size_t i = 0; i < o->s->n_stops; i++) {
        size_t n = mmi_size_min(strlen(o->s->stops[i]) - 1, o->waiting.size);
        for (; n > most; n--)
            if (!memcmp(o->waiting.data + o->waiting.size - n, o->s->stops[i], n)) most = n;
    }
    return most;
}

static void hand_out(output *o, int32_t id, size_t n)
{
    char kept;

    if (!o->fn) {
        n = mmi_size_min(n, o->waiting.size);
    } else if (!o->waiting.data) {
        o->stopped |= o->fn(o->user, id, "", 0) != 0;
    } else {
        kept = o->waiting.data[n];
        o->waiting.data[n] = 0;
        o->stopped |= o->fn(o->user, id, o->waiting.data, n) != 0;
        o->waiting.data[n] = kept;
    }
    if (!n) return;
    memmove(o->waiting.data, o->waiting.data + n, o->waiting.size - n + 1);
    o->waiting.size -= n;
}

/* Take a token's text; *reason becomes MM_STOP_TEXT or MM_STOP_CALLBACK when that ends it. */
static mm_status take_token(output *o, int32_t id, int32_t *reason)
{
    size_t stop;
    mm_status st = MM_OK;

    if (o->decoder) st = mmi_token_decoder_push(o->s->ctx, o->decoder, id, &o->waiting);
    if (st) return st;
    stop = find_stop(o);
    if (stop < o->waiting.size) {
        hand_out(o, id, stop);
        o->waiting.size = 0;
        *reason = MM_STOP_TEXT;
        return MM_OK;
    }
    hand_out(o, id, o->waiting.size - held_back(o));
    if (o->stopped) *reason = MM_STOP_CALLBACK;
    return MM_OK;
}

static mm_status next_token(mm_session *s, mmi_ids *generated, int32_t *id)
{
    size_t V = (size_t)s->model->info.vocabulary;
    mm_status st = mmi_session_compute(s);

    if (st) return st;
    memcpy(s->scores, s->logits, V * sizeof *s->scores);
    st = mmi_session_rule_scores(s, s->scores, generated->data, generated->count, (size_t)s->max_tokens);
    if (!st) st = mmi_sampler_pick(s->ctx, &s->sampler, s->scores, V, s->tokens.data, s->tokens.count, id);
    if (!st && mmi_ids_add(s->ctx, generated, *id)) st = MM_E_NOMEM;
    return st ? st : mmi_session_add(s, id, 1, NULL, 0);
}

/* The best of several sequences, whole. */
static mm_status generate_beams(mm_session *s, output *o, int32_t *reason)
{
    size_t room, before;
    const mmi_beam *best;
    mm_status st = mmi_session_settle(s);

    mmi_beam_list_clear(&s->found);
    if (st) return st;
    before = s->tokens.count;
    room = mmi_size_min((size_t)s->max_tokens, (size_t)s->context - before);
    if (!room) {
        *reason = MM_STOP_FULL;
        return MM_OK;
    }
    st = mmi_beam_search(s, room, &s->found);
    if (st) return st;
    best = &s->found.items[0];
    *reason = MM_STOP_NONE;
    for (size_t i = 0; i < best->ids.count && !st && !*reason; i++) {
        int32_t id = best->ids.data[i];
        st = mmi_session_add(s, &id, 1, NULL, 0);
        if (!st && mmi_session_is_end(s, id)) {
            *reason = MM_STOP_END;
        } else if (!st) {
            st = take_token(o, id, reason);
        }
    }
    if (!st && !*reason) *reason = room < (size_t)s->max_tokens ? MM_STOP_FULL : MM_STOP_LENGTH;
    return st;
}

int mmi_session_beam(const mm_session *s, size_t index, const int32_t **ids, size_t *count, double *score)
{
    if (index >= s->found.count) return 0;
    *ids = s->found.items[index].ids.data;
    *count = s->found.items[index].ids.count;
    *score = s->found.items[index].score;
    return 1;
}

mm_status mmi_session_generate(mm_session *s, mm_generate_fn fn, void *user, int32_t *reason)
{
    output o = {s, NULL, {0}, fn, user, 0, {0}};
    int32_t why = MM_STOP_NONE, id = -1;
    int over = 0;
    mm_status st = MM_OK;

    if (s->model->tokenizer) st = mmi_token_decoder_create(s->ctx, s->model->tokenizer, 1, &o.decoder);
    if (!st && s->beams > 1) st = generate_beams(s, &o, &why);
    for (int64_t n = 0; !st && !why; n++) {
        if (n == s->max_tokens) {
            why = MM_STOP_LENGTH;
        } else if (n && s->when_full == MM_WHEN_FULL_STOP && s->tokens.count >= (size_t)s->context) {
            why = MM_STOP_FULL;
        } else if (!(st = mmi_constraint_is_over(s->ctx, &s->constraint, s->model, o.generated.data, o.generated.count, &over))) {
            if (!over) st = next_token(s, &o.generated, &id);
            if (over || (!st && mmi_session_is_end(s, id))) {
                why = MM_STOP_END;
            } else if (!st) {
                st = take_token(&o, id, &why);
            }
        }
    }
    if (!st && o.decoder && why != MM_STOP_TEXT && why != MM_STOP_CALLBACK) { /* what waited was no stop text after all */
        st = mmi_token_decoder_finish(s->ctx, o.decoder, &o.waiting);
        if (!st && o.waiting.size) hand_out(&o, -1, o.waiting.size);
    }
    mmi_token_decoder_destroy(o.decoder);
    mmi_text_clear(&o.waiting);
    mmi_free(o.generated.data);
    if (reason) *reason = why;
    return st;
}
