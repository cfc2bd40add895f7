/* Sessions: their options, and the tokens they hold with what belongs to those. SPDX-License-Identifier: MIT */
#include "session.h"

#include <string.h>

#include "session_state.h"
#include "size.h"

static void forget_stops(mm_session *s)
{
    for (size_t i = 0; i < s->n_stops; i++) mmi_free(s->stops[i]);
    mmi_free(s->stops);
    s->stops = NULL;
    s->n_stops = 0;
}

/* Media with a placeholder at or behind token `length` go; one that reaches over it is cut. */
static void forget_placed(mm_session *s, size_t length)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->placed.count; i++) {
        mmi_placed p = s->placed.items[i];
        if (p.begin >= length) {
            mmi_encoded_release(p.of);
            continue;
        }
        p.end = mmi_size_min(p.end, length);
        s->placed.items[kept++] = p;
    }
    s->placed.count = kept;
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
    s->beams = 1;
    s->length_penalty = 1;
    mmi_sampler_init(&s->sampler);
    s->logits = mmi_alloc_array(ctx, (size_t)model->info.vocabulary, sizeof *s->logits);
    s->scores = mmi_alloc_array(ctx, (size_t)model->info.vocabulary, sizeof *s->scores);
    if (!s->logits || !s->scores) {
        mmi_session_destroy(s);
        return MM_E_NOMEM;
    }
    *out = s;
    return MM_OK;
}

void mmi_session_destroy(mm_session *s)
{
    if (!s) return;
    mmi_step_clear(&s->decode);
    mmi_step_clear(&s->prompt);
    forget_stops(s);
    mmi_constraint_clear(&s->constraint);
    forget_placed(s, 0);
    mmi_free(s->placed.items);
    mmi_encoded_list_clear(&s->known);
    mmi_encoded_list_clear(&s->waiting);
    mmi_encoded_list_clear(&s->source_media);
    mmi_text_clear(&s->source_text);
    mmi_free(s->source.data);
    mmi_kv_cache_destroy(s->cache);
    mmi_kv_cache_destroy(s->cross);
    mmi_free(s->tokens.data);
    for (int i = 0; i < 3; i++) mmi_free(s->streams[i].data);
    mmi_free(s->logits);
    mmi_free(s->scores);
    mmi_beam_list_clear(&s->found);
    mmi_model_release(s->model);
    mmi_free(s);
}

mm_context *mmi_session_context(const mm_session *s) { return s->ctx; }
size_t mmi_session_length(const mm_session *s) { return s->tokens.count; }
const int32_t *mmi_session_tokens(const mm_session *s) { return s->tokens.data; }

/* Options. */

#define OPTION(option, lowest, highest) {option, #option, lowest, highest}

static const struct integer_option {
    int32_t option;
    const char *name;
    int64_t lowest, highest;
} integers[] = {OPTION(MM_SESSION_MAX_TOKENS, 1, INT32_MAX),
                OPTION(MM_SESSION_CONTEXT, 1, INT32_MAX),
                OPTION(MM_SESSION_WHEN_FULL, MM_WHEN_FULL_STOP, MM_WHEN_FULL_SLIDE),
                OPTION(MM_SESSION_KEEP, 0, INT32_MAX),
                OPTION(MM_SESSION_TOP_K, 0, INT32_MAX),
                OPTION(MM_SESSION_SEED, INT64_MIN, INT64_MAX),
                OPTION(MM_SESSION_REPEAT_LAST, -1, INT32_MAX),
                OPTION(MM_SESSION_KV_TYPE, MM_DTYPE_F32, MM_DTYPE_F16),
                OPTION(MM_SESSION_PARSE_SPECIAL, 0, 1),
                OPTION(MM_SESSION_BEAMS, 1, 64),
                OPTION(MM_SESSION_EARLY_STOPPING, MM_EARLY_STOPPING_OFF, MM_EARLY_STOPPING_NEVER)};

static const struct number_option {
    int32_t option;
    const char *name;
    double lowest, highest;
} numbers[] = {OPTION(MM_SESSION_TEMPERATURE, 0, 100),         OPTION(MM_SESSION_TOP_P, 1e-9, 1),
               OPTION(MM_SESSION_MIN_P, 0, 1),                 OPTION(MM_SESSION_REPEAT_PENALTY, 1e-3, 10),
               OPTION(MM_SESSION_PRESENCE_PENALTY, -10, 10),   OPTION(MM_SESSION_FREQUENCY_PENALTY, -10, 10),
               OPTION(MM_SESSION_LENGTH_PENALTY, -100, 100)};

static const struct integer_option *find_integer(int32_t option)
{
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
        if (integers[i].option == option) return &integers[i];
    return NULL;
}

static const struct number_option *find_number(int32_t option)
{
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].option == option) return &numbers[i];
    return NULL;
}

int mmi_session_bounds_i64(int32_t option, int64_t *lowest, int64_t *highest)
{
    const struct integer_option *o = find_integer(option);

    if (!o) return 0;
    *lowest = o->lowest;
    *highest = o->highest;
    return 1;
}

int mmi_session_bounds_f64(int32_t option, double *lowest, double *highest)
{
    const struct number_option *o = find_number(option);

    if (!o) return 0;
    *lowest = o->lowest;
    *highest = o->highest;
    return 1;
}

mm_status mmi_session_set_i64(mm_session *s, int32_t option, int64_t value)
{
    const struct integer_option *o = find_integer(option);
    int64_t highest;

    if (!o) return mmi_fail(s->ctx, MM_E_ARGUMENT, "%d is no integer option of a session", option);
    highest = option == MM_SESSION_CONTEXT ? s->model->info.context : o->highest;
    if (value < o->lowest || value > highest)
        return mmi_fail(s->ctx, MM_E_ARGUMENT, "%s is %lld, allowed are %lld to %lld", o->name, (long long)value, (long long)o->lowest,
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
    case MM_SESSION_BEAMS: s->beams = value; break;
    case MM_SESSION_EARLY_STOPPING: s->early_stopping = value; break;
    case MM_SESSION_KV_TYPE:
        if (s->tokens.count) return mmi_fail(s->ctx, MM_E_STATE, "MM_SESSION_KV_TYPE can be set while the session is empty, it holds %zu tokens", s->tokens.count);
        s->kv_dtype = (int32_t)value;
        mmi_kv_cache_destroy(s->cache);
        s->cache = NULL;
        break;
    default: return mmi_fail(s->ctx, MM_E_INTERNAL, "%s has bounds and no place", o->name);
    }
    return MM_OK;
}

mm_status mmi_session_set_f64(mm_session *s, int32_t option, double value)
{
    const struct number_option *o = find_number(option);

    if (!o) return mmi_fail(s->ctx, MM_E_ARGUMENT, "%d is no numeric option of a session", option);
    if (!(value >= o->lowest && value <= o->highest))
        return mmi_fail(s->ctx, MM_E_ARGUMENT, "%s is %g, allowed are %g to %g", o->name, value, o->lowest, o->highest);
    switch (option) {
    case MM_SESSION_TEMPERATURE: s->sampler.temperature = value; break;
    case MM_SESSION_TOP_P: s->sampler.top_p = value; break;
    case MM_SESSION_MIN_P: s->sampler.min_p = value; break;
    case MM_SESSION_REPEAT_PENALTY: s->sampler.repeat_penalty = value; break;
    case MM_SESSION_PRESENCE_PENALTY: s->sampler.presence_penalty = value; break;
    case MM_SESSION_LENGTH_PENALTY: s->length_penalty = value; break;
    case MM_SESSION_FREQUENCY_PENALTY: s->sampler.frequency_penalty = value; break;
    default: return mmi_fail(s->ctx, MM_E_INTERNAL, "%s has bounds and no place", o->name);
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

mm_status mmi_session_set_constraint(mm_session *s, int32_t option, const char *text)
{
    return mmi_constraint_set(s->ctx, &s->constraint, s->model, option, text);
}

/* Tokens. */

mm_status mmi_session_rewind(mm_session *s, size_t length)
{
    if (length > s->tokens.count)
        return mmi_fail(s->ctx, MM_E_ARGUMENT, "the session holds %zu tokens, it cannot be rewound to %zu", s->tokens.count, length);
    if (length < s->tokens.count) s->logits_ready = 0;
    s->tokens.count = length;
    for (int i = 0; i < 3; i++) s->streams[i].count = mmi_size_min(s->streams[i].count, length);
    forget_placed(s, length);
    if (s->cache) s->cache->length = mmi_size_min(s->cache->length, length);
    if (s->cache && length < s->prefix) s->cache->length = s->prefix = 0; /* its tokens saw those that are gone */
    return MM_OK;
}

/* A session that holds media cannot forget their beginning. */
static int slides(const mm_session *s) { return s->when_full == MM_WHEN_FULL_SLIDE && !s->placed.count && s->model->info.fusion != MMI_FUSION_CROSS; }

/* The first `keep` tokens and the younger half of the room behind them stay. */
static void slide(mm_session *s)
{
    size_t context = (size_t)s->context, keep = mmi_size_min((size_t)s->keep, context / 2), stay = (context - keep) / 2;

    if (s->tokens.count <= keep + stay) return;
    memmove(s->tokens.data + keep, s->tokens.data + s->tokens.count - stay, stay * sizeof *s->tokens.data);
    s->tokens.count = keep + stay;
    if (s->cache) s->cache->length = mmi_size_min(s->cache->length, keep);
    for (int i = 0; i < s->model->info.position_streams; i++) /* without media all streams count alike */
        for (size_t t = 0; t < s->tokens.count; t++) s->streams[i].data[t] = (int32_t)t;
    for (int i = 0; i < 3; i++) s->streams[i].count = mmi_size_min(s->streams[i].count, s->tokens.count);
    s->logits_ready = 0;
}

static mm_status check_tokens(mm_session *s, const int32_t *ids, size_t count, size_t before)
{
    int64_t most = s->model->info.vocabulary + s->model->info.unpredicted;

    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= most)
            return mmi_fail(s->ctx, MM_E_ARGUMENT, "token %d at position %zu is outside 0..%lld", ids[i], i, (long long)most - 1);
    if (!slides(s) && (count > (size_t)s->context || before > (size_t)s->context - count))
        return mmi_fail(s->ctx, MM_E_CONTEXT_FULL, "%zu tokens and %zu more do not fit into a context of %lld", before, count, (long long)s->context);
    return MM_OK;
}

int32_t mmi_session_next_position(const mm_session *s)
{
    size_t n = s->streams[1].count;
    int32_t y = s->streams[1].data[n - 1], x = s->streams[2].data[n - 1];
    return (y > x ? y : x) + 1;
}

/* Positions of the last `count` tokens, where they are not their indices. */
static mm_status add_positions(mm_session *s, size_t count, const mmi_placed *placed, size_t n_placed)
{
    const mm_model *m = s->model;
    size_t before = s->tokens.count - count;
    mmi_medium *media = NULL;
    int32_t next = 0, *out = NULL;
    mm_status st = MM_OK;

    if (!m->info.position_streams || !count) return MM_OK;
    if (before) next = mmi_session_next_position(s);
    media = mmi_alloc_array(s->ctx, n_placed + 1, sizeof *media);
    out = mmi_alloc_array(s->ctx, 3 * count, sizeof *out);
    if (!media || !out) st = MM_E_NOMEM;
    for (size_t i = 0; i < n_placed && !st; i++) media[i] = placed[i].of->medium;
    for (size_t i = 0; i < 3 * count && !st && !m->arch->positions; i++) out[i] = next + (int32_t)(i % count);
    if (!st && m->arch->positions) st = m->arch->positions(s->ctx, m, s->tokens.data + before, count, media, n_placed, &next, out);
    for (size_t i = 0; i < 3 * count && !st; i++) st = mmi_ids_add(s->ctx, &s->streams[i / count], out[i]) ? MM_E_NOMEM : MM_OK;
    mmi_free(media);
    mmi_free(out);
    return st;
}

mm_status mmi_session_add(mm_session *s, const int32_t *ids, size_t count, const mmi_placed *placed, size_t n_placed)
{
    size_t before = s->tokens.count;
    mm_status st = check_tokens(s, ids, count, before);
    int ready = s->logits_ready;

    for (size_t i = 0; i < count && !st; i++) st = mmi_ids_add(s->ctx, &s->tokens, ids[i]) ? MM_E_NOMEM : MM_OK;
    for (size_t i = 0; i < n_placed && !st; i++) {
        if (mmi_grow(s->ctx, (void **)&s->placed.items, &s->placed.capacity, s->placed.count, sizeof *s->placed.items)) {
            st = MM_E_NOMEM;
        } else {
            placed[i].of->references++;
            s->placed.items[s->placed.count++] = (mmi_placed){placed[i].of, before + placed[i].begin, before + placed[i].end};
        }
    }
    if (!st) st = add_positions(s, count, placed, n_placed);
    if (st) {
        if (s->tokens.count > before) (void)mmi_session_rewind(s, before);
        s->logits_ready = ready;
        return st;
    }
    if (count) s->logits_ready = 0;
    if (s->tokens.count > (size_t)s->context) slide(s);
    return MM_OK;
}

static void clear_placed(mmi_placed_list *placed)
{
    for (size_t i = 0; i < placed->count; i++) mmi_encoded_release(placed->items[i].of);
    mmi_free(placed->items);
}

/* The source of a model that attends across changed: the answer begins anew. Waiting media are a part of it. */
static mm_status begin_anew(mm_session *s)
{
    if (s->waiting.count) {
        mmi_encoded_list_clear(&s->source_media);
        s->source_media = s->waiting;
        memset(&s->waiting, 0, sizeof s->waiting);
    }
    s->source_ready = 0;
    return mmi_session_rewind(s, 0);
}

static mm_status begin_answer(mm_session *s)
{
    mm_status st = s->waiting.count ? begin_anew(s) : MM_OK;
    if (!st && !s->tokens.count) st = mmi_session_add(s, s->model->start_tokens, s->model->n_start_tokens, NULL, 0);
    return st;
}

mm_status mmi_session_append_tokens(mm_session *s, const int32_t *ids, size_t count)
{
    const mmi_model_info *info = &s->model->info;
    mmi_placed_list placed = {0};
    size_t before = s->source.count;
    mm_status st = MM_OK;

    if (info->text_is_source) {
        if (s->source_text.size) return mmi_fail(s->ctx, MM_E_STATE, "the session's source is text, tokens cannot be put behind it");
        if ((st = check_tokens(s, ids, count, s->source.count))) return st;
        for (size_t i = 0; i < count && !st; i++) st = mmi_ids_add(s->ctx, &s->source, ids[i]) ? MM_E_NOMEM : MM_OK;
        if (st) s->source.count = before;
        return st ? st : begin_anew(s);
    }
    if (info->fusion == MMI_FUSION_CROSS && (st = begin_answer(s))) return st;
    st = mmi_session_place(s, ids, count, &placed);
    if (!st) st = mmi_session_add(s, ids, count, placed.items, placed.count);
    if (!st) mmi_encoded_list_clear(&s->waiting);
    clear_placed(&placed);
    return st;
}

static mm_status append_source_text(mm_session *s, const char *text)
{
    size_t before = s->source_text.size;
    mmi_ids ids = {0};
    mm_status st;

    if (!s->model->tokenizer) return mmi_fail(s->ctx, MM_E_UNSUPPORTED, "%s has no tokenizer", s->model->path);
    if (s->source.count && !before) return mmi_fail(s->ctx, MM_E_STATE, "the session's source is tokens, text cannot be put behind them");
    if (mmi_text_append(s->ctx, &s->source_text, text, strlen(text))) return MM_E_NOMEM;
    st = mmi_tokenizer_encode(s->ctx, s->model->tokenizer, s->source_text.data, s->source_text.size, 1, (int)s->parse_special, &ids);
    if (st) {
        s->source_text.size = before;
        s->source_text.data[before] = 0;
        mmi_free(ids.data);
        return st;
    }
    mmi_free(s->source.data);
    s->source = ids;
    return begin_anew(s);
}

mm_status mmi_session_append_text(mm_session *s, const char *text)
{
    const mmi_model_info *info = &s->model->info;
    mmi_ids ids = {0};
    mm_status st = MM_OK;

    if (info->text_is_source) return *text ? append_source_text(s, text) : begin_anew(s);
    if (info->fusion == MMI_FUSION_CROSS) {
        st = begin_answer(s);
        if (st || !*text) return st;
    }
    st = mmi_session_read_text(s, text, info->fusion != MMI_FUSION_CROSS && s->tokens.count == 0, &ids);
    if (!st) st = mmi_session_append_tokens(s, ids.data, ids.count);
    mmi_free(ids.data);
    return st;
}

static mm_status replace(mm_session *s, const int32_t *ids, size_t count, const mmi_placed *placed, size_t n_placed)
{
    size_t same = 0, kept = 0;
    mmi_placed *rest = NULL;
    mm_status st = check_tokens(s, ids, count, 0);

    if (st) return st;
    while (same < count && same < s->tokens.count && ids[same] == s->tokens.data[same]) same++;
    for (; kept < n_placed || kept < s->placed.count; kept++) { /* up to the first medium that differs */
        const mmi_placed *a = kept < n_placed ? &placed[kept] : NULL, *b = kept < s->placed.count ? &s->placed.items[kept] : NULL;
        if (a && b && a->of == b->of && a->begin == b->begin && a->end == b->end && a->end <= same) continue;
        if (a) same = mmi_size_min(same, a->begin);
        if (b) same = mmi_size_min(same, b->begin);
    }
    for (kept = 0; kept < n_placed && placed[kept].end <= same; kept++) continue;
    if (n_placed > kept) rest = mmi_alloc_array(s->ctx, n_placed - kept, sizeof *rest);
    if (n_placed > kept && !rest) return MM_E_NOMEM;
    for (size_t i = kept; i < n_placed; i++) rest[i - kept] = (mmi_placed){placed[i].of, placed[i].begin - same, placed[i].end - same};
    st = mmi_session_rewind(s, same);
    if (!st) st = mmi_session_add(s, ids + same, count - same, rest, n_placed - kept);
    mmi_free(rest);
    return st;
}

mm_status mmi_session_set_tokens(mm_session *s, const int32_t *ids, size_t count)
{
    mmi_placed_list placed = {0};
    size_t same = 0;
    mm_status st = check_tokens(s, ids, count, 0);

    while (same < count && same < s->tokens.count && ids[same] == s->tokens.data[same]) same++; /* media before stay where they are */
    if (!st) st = mmi_session_place(s, ids + same, count - same, &placed);
    if (!st) st = mmi_session_rewind(s, same);
    if (!st) st = mmi_session_add(s, ids + same, count - same, placed.items, placed.count);
    if (!st) mmi_encoded_list_clear(&s->waiting);
    clear_placed(&placed);
    return st;
}

/* A template of a model with a processor leaves the token that begins a text to the tokenizer, unless it writes it itself. */
static int begins_itself(const mm_model *m, const char *text)
{
    size_t n = m->bos_text ? strlen(m->bos_text) : 0;
    return m->info.fusion == MMI_FUSION_NONE || (n && !strncmp(text, m->bos_text, n));
}

mm_status mmi_session_set_text(mm_session *s, const char *text)
{
    mmi_placed_list placed = {0};
    mmi_ids ids = {0};
    mm_status st;

    if (s->model->info.fusion == MMI_FUSION_CROSS) {
        s->source_text.size = s->source.count = 0;
        st = mmi_session_rewind(s, 0);
        return st ? st : mmi_session_append_text(s, text);
    }
    st = mmi_session_read_text(s, text, !begins_itself(s->model, text), &ids);
    if (!st) st = mmi_session_place(s, ids.data, ids.count, &placed);
    if (!st) st = replace(s, ids.data, ids.count, placed.items, placed.count);
    if (!st) mmi_encoded_list_clear(&s->waiting);
    clear_placed(&placed);
    mmi_free(ids.data);
    return st;
}

static mm_status share(mm_context *ctx, const mmi_encoded_list *from, mmi_encoded_list *to)
{
    mm_status st = MM_OK;
    for (size_t i = 0; i < from->count && !st; i++) st = mmi_encoded_list_add(ctx, to, from->items[i]);
    return st;
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
    f->cached_long = s->cached_long;
    f->keep = s->keep;
    f->parse_special = s->parse_special;
    f->beams = s->beams;
    f->early_stopping = s->early_stopping;
    f->length_penalty = s->length_penalty;
    f->prefix = s->prefix;
    f->source_ready = s->source_ready;
    f->next_key = s->next_key;
    mmi_constraint_copy(&f->constraint, &s->constraint);
    for (size_t i = 0; i < s->n_stops && !st; i++) st = mmi_session_add_stop(f, s->stops[i]);
    for (size_t i = 0; i < s->tokens.count && !st; i++) st = mmi_ids_add(s->ctx, &f->tokens, s->tokens.data[i]) ? MM_E_NOMEM : MM_OK;
    for (int i = 0; i < 3; i++)
        for (size_t t = 0; t < s->streams[i].count && !st; t++) st = mmi_ids_add(s->ctx, &f->streams[i], s->streams[i].data[t]) ? MM_E_NOMEM : MM_OK;
    if (!st) st = share(s->ctx, &s->known, &f->known);
    if (!st) st = share(s->ctx, &s->waiting, &f->waiting);
    if (!st) st = share(s->ctx, &s->source_media, &f->source_media);
    for (size_t i = 0; i < s->placed.count && !st; i++) {
        if (mmi_grow(s->ctx, (void **)&f->placed.items, &f->placed.capacity, i, sizeof *f->placed.items)) {
            st = MM_E_NOMEM;
        } else {
            f->placed.items[f->placed.count++] = s->placed.items[i];
            s->placed.items[i].of->references++;
        }
    }
    for (size_t i = 0; i < s->source.count && !st; i++) st = mmi_ids_add(s->ctx, &f->source, s->source.data[i]) ? MM_E_NOMEM : MM_OK;
    if (!st && s->source_text.size) st = mmi_text_append(s->ctx, &f->source_text, s->source_text.data, s->source_text.size) ? MM_E_NOMEM : MM_OK;
    if (!st && s->cache) st = mmi_kv_cache_fork(s->ctx, s->cache, s->cache->length, &f->cache);
    if (!st && s->cross) st = mmi_kv_cache_fork(s->ctx, s->cross, s->cross->length, &f->cross);
    if (st) {
        mmi_session_destroy(f);
        return st;
    }
    memcpy(f->logits, s->logits, (size_t)s->model->info.vocabulary * sizeof *f->logits);
    f->logits_ready = s->logits_ready;
    *out = f;
    return MM_OK;
}
