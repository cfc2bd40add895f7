/* The step of one token is built once and run again for each; a prompt is read in chunks whose graph is kept while the length stays.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* memmem */
#include "session.h"

#include <string.h>

#include "io.h"
#include "kv_cache.h"
#include "plan.h"
#include "run.h"
#include "sampler.h"
#include "size.h"

enum { CHUNK = 256 }; /* prompt tokens computed at a time: the activations of so many stay in the second-level cache */

/* A graph for `tokens` tokens behind what the cache holds. */
typedef struct {
    mmi_graph *g;
    size_t tokens;
    int with_logits;
    mmi_value ids, positions, logits;
} step;

struct mm_session {
    mm_context *ctx;
    mm_model *model;
    mmi_kv_cache *cache; /* its length is how many of the tokens were computed */
    int32_t kv_dtype;
    mmi_ids tokens;
    float *logits;       /* [V], of the token behind all tokens, when logits_ready */
    int logits_ready;
    step decode, prompt; /* one token; the last chunk length */
    mmi_sampler sampler;
    int64_t max_tokens, context, when_full, keep, parse_special;
    char **stops;
    size_t n_stops;
};

static void step_clear(step *s)
{
    mmi_graph_destroy(s->g);
    memset(s, 0, sizeof *s);
}

static void forget_stops(mm_session *s)
{
    for (size_t i = 0; i < s->n_stops; i++) mmi_free(s->stops[i]);
    mmi_free(s->stops);
    s->stops = NULL;
    s->n_stops = 0;
}

mm_status mmi_session_create(mm_context *ctx, mm_model *model, mm_session **out)
{
    mm_session *s;

    *out = NULL;
    if (!model->info.generates) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s (%s) does not generate text", model->path, model->class_name);
    s = mmi_zalloc(ctx, sizeof *s);
    if (!s) return MM_E_NOMEM;
    s->ctx = ctx;
    s->model = model;
    mmi_model_retain(model);
    s->kv_dtype = model->info.kv.dtype;
    s->max_tokens = 256;
    s->context = model->info.context;
    s->when_full = MM_WHEN_FULL_STOP;
    s->parse_special = 1;
    mmi_sampler_init(&s->sampler);
    s->logits = mmi_alloc_array(ctx, (size_t)model->info.vocabulary, sizeof *s->logits);
    if (!s->logits) {
        mmi_session_destroy(s);
        return MM_E_NOMEM;
    }
    *out = s;
    return MM_OK;
}

void mmi_session_destroy(mm_session *s)
{
    if (!s) return;
    step_clear(&s->decode);
    step_clear(&s->prompt);
    forget_stops(s);
    mmi_kv_cache_destroy(s->cache);
    mmi_free(s->tokens.data);
    mmi_free(s->logits);
    mmi_model_release(s->model);
    mmi_free(s);
}

mm_context *mmi_session_context(const mm_session *s) { return s->ctx; }
size_t mmi_session_length(const mm_session *s) { return s->tokens.count; }
const int32_t *mmi_session_tokens(const mm_session *s) { return s->tokens.data; }

/* Options. */

int mmi_session_bounds_i64(int32_t option, int64_t *lowest, int64_t *highest)
{
    static const struct {
        int32_t option;
        int64_t lowest, highest;
    } bounds[] = {{MM_SESSION_MAX_TOKENS, 1, INT32_MAX}, {MM_SESSION_CONTEXT, 1, INT32_MAX}, {MM_SESSION_WHEN_FULL, MM_WHEN_FULL_STOP, MM_WHEN_FULL_SLIDE},
                  {MM_SESSION_KEEP, 0, INT32_MAX}, {MM_SESSION_TOP_K, 0, INT32_MAX}, {MM_SESSION_SEED, INT64_MIN, INT64_MAX},
                  {MM_SESSION_REPEAT_LAST, -1, INT32_MAX}, {MM_SESSION_KV_TYPE, MM_DTYPE_F32, MM_DTYPE_F16}, {MM_SESSION_PARSE_SPECIAL, 0, 1}};

    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        if (bounds[i].option == option) {
            *lowest = bounds[i].lowest;
            *highest = bounds[i].highest;
            return 1;
        }
    return 0;
}

int mmi_session_bounds_f64(int32_t option, double *lowest, double *highest)
{
    static const struct {
        int32_t option;
        double lowest, highest;
    } bounds[] = {{MM_SESSION_TEMPERATURE, 0, 100}, {MM_SESSION_TOP_P, 1e-9, 1}, {MM_SESSION_MIN_P, 0, 1}, {MM_SESSION_REPEAT_PENALTY, 1e-3, 10},
                  {MM_SESSION_PRESENCE_PENALTY, -10, 10}, {MM_SESSION_FREQUENCY_PENALTY, -10, 10}};

    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        if (bounds[i].option == option) {
            *lowest = bounds[i].lowest;
            *highest = bounds[i].highest;
            return 1;
        }
    return 0;
}

mm_status mmi_session_set_i64(mm_session *s, int32_t option, int64_t value)
{
    int64_t lowest, highest;

    if (!mmi_session_bounds_i64(option, &lowest, &highest)) return mmi_fail(s->ctx, MM_E_ARGUMENT, "%d is no integer option of a session", option);
    if (option == MM_SESSION_CONTEXT) highest = s->model->info.context;
    if (value < lowest || value > highest)
        return mmi_fail(s->ctx, MM_E_ARGUMENT, "session option %d is %lld, allowed are %lld to %lld", option, (long long)value, (long long)lowest,
                        (long long)highest);
    switch (option) {
    case MM_SESSION_MAX_TOKENS: s->max_tokens = value; break;
    case MM_SESSION_CONTEXT:
        if ((size_t)value < s->tokens.count)
            return mmi_fail(s->ctx, MM_E_STATE, "the session holds %zu tokens, more than a context of %lld", s->tokens.count, (long long)value);
        s->context = value;
        break;
    case MM_SESSION_WHEN_FULL: s->when_full = value; break;
    case MM_SESSION_KEEP: s->keep = value; break;
    case MM_SESSION_TOP_K: s->sampler.top_k = value; break;
    case MM_SESSION_SEED: mmi_random_seed(&s->sampler.random, (uint64_t)value); break;
    case MM_SESSION_REPEAT_LAST: s->sampler.repeat_last = value; break;
    case MM_SESSION_PARSE_SPECIAL: s->parse_special = value; break;
    case MM_SESSION_KV_TYPE:
        if (s->tokens.count) return mmi_fail(s->ctx, MM_E_STATE, "MM_SESSION_KV_TYPE can be set while the session is empty, it holds %zu tokens", s->tokens.count);
        s->kv_dtype = (int32_t)value;
        mmi_kv_cache_destroy(s->cache);
        s->cache = NULL;
        break;
    default: return mmi_fail(s->ctx, MM_E_INTERNAL, "option %d has bounds and no place", option);
    }
    return MM_OK;
}

mm_status mmi_session_set_f64(mm_session *s, int32_t option, double value)
{
    double lowest, highest;

    if (!mmi_session_bounds_f64(option, &lowest, &highest)) return mmi_fail(s->ctx, MM_E_ARGUMENT, "%d is no numeric option of a session", option);
    if (!(value >= lowest && value <= highest))
        return mmi_fail(s->ctx, MM_E_ARGUMENT, "session option %d is %g, allowed are %g to %g", option, value, lowest, highest);
    switch (option) {
    case MM_SESSION_TEMPERATURE: s->sampler.temperature = value; break;
    case MM_SESSION_TOP_P: s->sampler.top_p = value; break;
    case MM_SESSION_MIN_P: s->sampler.min_p = value; break;
    case MM_SESSION_REPEAT_PENALTY: s->sampler.repeat_penalty = value; break;
    case MM_SESSION_PRESENCE_PENALTY: s->sampler.presence_penalty = value; break;
    case MM_SESSION_FREQUENCY_PENALTY: s->sampler.frequency_penalty = value; break;
    default: return mmi_fail(s->ctx, MM_E_INTERNAL, "option %d has bounds and no place", option);
    }
    return MM_OK;
}

mm_status mmi_session_add_stop(mm_session *s, const char *text)
{
    char **grown, *copy;

    if (!text) {
        forget_stops(s);
        return MM_OK;
    }
    if (!*text) return mmi_fail(s->ctx, MM_E_ARGUMENT, "an empty stop text");
    copy = mmi_strdup(s->ctx, text);
    grown = copy ? mmi_realloc(s->ctx, s->stops, (s->n_stops + 1) * sizeof *grown) : NULL;
    if (!grown) {
        mmi_free(copy);
        return MM_E_NOMEM;
    }
    s->stops = grown;
    s->stops[s->n_stops++] = copy;
    return MM_OK;
}

/* Tokens. */

mm_status mmi_session_rewind(mm_session *s, size_t length)
{
    if (length > s->tokens.count)
        return mmi_fail(s->ctx, MM_E_ARGUMENT, "the session holds %zu tokens, it cannot be rewound to %zu", s->tokens.count, length);
    if (length < s->tokens.count) s->logits_ready = 0;
    s->tokens.count = length;
    if (s->cache) s->cache->length = mmi_size_min(s->cache->length, length);
    return MM_OK;
}

/* The first `keep` tokens and the younger half of the room behind them stay. */
static void slide(mm_session *s)
{
    size_t context = (size_t)s->context, keep = mmi_size_min((size_t)s->keep, context / 2), stay = (context - keep) / 2;

    if (s->tokens.count <= keep + stay) return;
    memmove(s->tokens.data + keep, s->tokens.data + s->tokens.count - stay, stay * sizeof *s->tokens.data);
    s->tokens.count = keep + stay;
    if (s->cache) s->cache->length = mmi_size_min(s->cache->length, keep);
    s->logits_ready = 0;
}

mm_status mmi_session_append_tokens(mm_session *s, const int32_t *ids, size_t count)
{
    size_t before = s->tokens.count;

    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= s->model->info.vocabulary)
            return mmi_fail(s->ctx, MM_E_ARGUMENT, "token %d at position %zu is outside 0..%lld", ids[i], i, (long long)s->model->info.vocabulary - 1);
    if (s->when_full == MM_WHEN_FULL_STOP && (count > (size_t)s->context || before > (size_t)s->context - count))
        return mmi_fail(s->ctx, MM_E_CONTEXT_FULL, "%zu tokens and %zu more do not fit into a context of %lld", before, count, (long long)s->context);
    for (size_t i = 0; i < count; i++)
        if (mmi_ids_add(s->ctx, &s->tokens, ids[i])) {
            s->tokens.count = before;
            return MM_E_NOMEM;
        }
    if (count) s->logits_ready = 0;
    if (s->tokens.count > (size_t)s->context) slide(s);
    return MM_OK;
}

mm_status mmi_session_append_text(mm_session *s, const char *text)
{
    mmi_ids ids = {0};
    mm_status st;

    if (!s->model->tokenizer) return mmi_fail(s->ctx, MM_E_UNSUPPORTED, "%s has no tokenizer", s->model->path);
    st = mmi_tokenizer_encode(s->ctx, s->model->tokenizer, text, strlen(text), s->tokens.count == 0, (int)s->parse_special, &ids);
    if (!st) st = mmi_session_append_tokens(s, ids.data, ids.count);
    mmi_free(ids.data);
    return st;
}

mm_status mmi_session_set_tokens(mm_session *s, const int32_t *ids, size_t count)
{
    size_t same = 0;

    if (s->when_full == MM_WHEN_FULL_STOP && count > (size_t)s->context)
        return mmi_fail(s->ctx, MM_E_CONTEXT_FULL, "%zu tokens do not fit into a context of %lld", count, (long long)s->context);
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= s->model->info.vocabulary)
            return mmi_fail(s->ctx, MM_E_ARGUMENT, "token %d at position %zu is outside 0..%lld", ids[i], i, (long long)s->model->info.vocabulary - 1);
    while (same < count && same < s->tokens.count && ids[same] == s->tokens.data[same]) same++;
    (void)mmi_session_rewind(s, same);
    return mmi_session_append_tokens(s, ids + same, count - same);
}

mm_status mmi_session_fork(mm_session *s, mm_session **out)
{
    mm_session *f = NULL;
    mm_status st = mmi_session_create(s->ctx, s->model, &f);

    *out = NULL;
    if (st) return st;
    f->kv_dtype = s->kv_dtype;
    f->sampler = s->sampler;
    f->max_tokens = s->max_tokens;
    f->context = s->context;
    f->when_full = s->when_full;
    f->keep = s->keep;
    f->parse_special = s->parse_special;
    for (size_t i = 0; i < s->n_stops && !st; i++) st = mmi_session_add_stop(f, s->stops[i]);
    for (size_t i = 0; i < s->tokens.count && !st; i++) st = mmi_ids_add(s->ctx, &f->tokens, s->tokens.data[i]) ? MM_E_NOMEM : MM_OK;
    if (!st && s->cache) st = mmi_kv_cache_fork(s->ctx, s->cache, s->cache->length, &f->cache);
    if (st) {
        mmi_session_destroy(f);
        return st;
    }
    memcpy(f->logits, s->logits, (size_t)s->model->info.vocabulary * sizeof *f->logits);
    f->logits_ready = s->logits_ready;
    *out = f;
    return MM_OK;
}

/* Computing. */

static mm_status build_step(mm_session *s, step *out, size_t tokens, int with_logits)
{
    static const char *const logits[] = {"logits", NULL}, *const nothing[] = {NULL};
    int64_t shape[2] = {1, (int64_t)tokens};
    mmi_io io = {0};
    mm_status st;

    if (out->g && out->tokens == tokens && out->with_logits == with_logits) return MM_OK;
    step_clear(out);
    if ((st = mmi_graph_create(s->ctx, &io.g))) return st;
    io.model = s->model;
    io.cached = 1;
    io.last_only = 1;
    io.wanted = with_logits ? logits : nothing;
    out->ids = mmi_graph_input(io.g, "input_ids", MM_DTYPE_I32, 2, shape);
    out->positions = mmi_graph_input(io.g, "position_ids", MM_DTYPE_I32, 2, shape);
    io.inputs[0] = (mmi_io_entry){"input_ids", out->ids, 0};
    io.inputs[1] = (mmi_io_entry){"position_ids", out->positions, 0};
    io.n_inputs = 2;
    s->model->arch->build(&io);
    st = mmi_graph_plan(io.g);
    if (st) {
        mmi_graph_destroy(io.g);
        return st;
    }
    out->g = io.g;
    out->tokens = tokens;
    out->with_logits = with_logits;
    out->logits = mmi_io_find_output(&io, "logits");
    return MM_OK;
}

/* Compute tokens [length of the cache, + count), and the logits behind the last one when asked. */
static mm_status run_step(mm_session *s, size_t count, int with_logits)
{
    step *p = count == 1 && with_logits ? &s->decode : &s->prompt;
    mmi_kv_cache *caches[1] = {s->cache};
    mmi_run_values values = {caches, 1, NULL};
    int32_t positions[CHUNK];
    mm_status st;

    if ((st = build_step(s, p, count, with_logits))) return st;
    for (size_t i = 0; i < count; i++) positions[i] = (int32_t)(s->cache->length + i);
    mmi_graph_bind(p->g, p->ids, s->tokens.data + s->cache->length);
    mmi_graph_bind(p->g, p->positions, positions);
    if ((st = mmi_graph_run(p->g, &values))) return st;
    s->cache->length += count;
    if (with_logits) memcpy(s->logits, mmi_graph_result(p->g, p->logits), (size_t)s->model->info.vocabulary * sizeof *s->logits);
    return MM_OK;
}

static mm_status compute(mm_session *s)
{
    mmi_kv_shape shape = s->model->info.kv;
    size_t total = s->tokens.count, begun;
    mm_status st = MM_OK;

    if (s->logits_ready) return MM_OK;
    if (!total) return mmi_fail(s->ctx, MM_E_STATE, "the session is empty");
    shape.dtype = s->kv_dtype;
    if (!s->cache && (st = mmi_kv_cache_create(s->ctx, &shape, &s->cache))) return st;
    if (s->cache->length == total) s->cache->length--; /* the logits of the last token are gone: compute it again */
    begun = s->cache->length;
    if ((st = mmi_kv_cache_reserve(s->ctx, s->cache, total))) return st; /* at once: growing chunk by chunk would copy and fragment */
    while (s->cache->length < total && !st) {
        size_t count = mmi_size_min(total - s->cache->length, CHUNK);
        int last = s->cache->length + count == total;
        st = run_step(s, count, last);
        if (!st && total - begun > 1) st = mmi_progress(s->ctx, "reading the prompt", (int64_t)(s->cache->length - begun), (int64_t)(total - begun));
        if (!st && last) s->logits_ready = 1;
    }
    return st;
}

mm_status mmi_session_logits(mm_session *s, const float **out)
{
    mm_status st = compute(s);
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
    int stopped; /* by the callback */
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

static int is_end(const mm_model *m, int32_t id)
{
    for (size_t i = 0; i < m->n_end_tokens; i++)
        if (m->end_tokens[i] == id) return 1;
    return 0;
}

static mm_status next_token(mm_session *s, int32_t *id)
{
    mm_status st = compute(s);
    if (!st) st = mmi_sampler_pick(s->ctx, &s->sampler, s->logits, (size_t)s->model->info.vocabulary, s->tokens.data, s->tokens.count, id);
    if (!st) st = mmi_session_append_tokens(s, id, 1);
    return st;
}

mm_status mmi_session_generate(mm_session *s, mm_generate_fn fn, void *user, int32_t *reason)
{
    output o = {s, NULL, {0}, fn, user, 0};
    int32_t why = MM_STOP_NONE, id = -1;
    mm_status st = MM_OK;

    if (s->model->tokenizer) st = mmi_token_decoder_create(s->ctx, s->model->tokenizer, 1, &o.decoder);
    for (int64_t n = 0; !st && !why; n++) {
        if (n == s->max_tokens) {
            why = MM_STOP_LENGTH;
        } else if (n && s->when_full == MM_WHEN_FULL_STOP && s->tokens.count >= (size_t)s->context) {
            why = MM_STOP_FULL;
        } else {
            st = next_token(s, &id);
            if (!st && is_end(s->model, id)) {
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
    if (reason) *reason = why;
    return st;
}
