/* As transformers transcribes: each window of 30 seconds is written down by itself, cut where the timestamps say that a segment ended, and the
 * next window begins there (Whisper: arXiv:2212.04356, section 3.8). SPDX-License-Identifier: MIT */
#include "transcription.h"

#include <math.h>
#include <string.h>

#include "log_mel.h"
#include "resample.h"
#include "score_rules.h"
#include "session.h"
#include "session_generate.h"
#include "session_state.h"
#include "size.h"

static const double STEP = 0.02; /* seconds of a timestamp token, which are FRAMES features */
enum { FRAMES = 2 };

typedef struct {
    mm_session *s;
    const mmi_speech_tokens *tokens;
    const char *language;
    int32_t task, first_timestamp; /* the latter INT32_MAX: there are none */
    int stamped;                   /* they are written */
    mm_transcribe_fn fn;
    void *user;
    int stopped;
    double seconds;   /* of the sound */
    mm_tensor *features; /* [1, bands, frames] of all of it */
    int64_t bands, frames, window;
    mmi_ids written;  /* of the window */
} transcription;

/* The window from frame `seek` on becomes the session's source. */
static mm_status hear(transcription *t, int64_t seek)
{
    const float *from = mm_tensor_const_data(t->features);
    int64_t shape[3] = {1, t->bands, t->window}, count = t->frames - seek < t->window ? t->frames - seek : t->window;
    mmi_medium medium = {.modality = MMI_AUDIO};
    mm_tensor *window = NULL;
    float *to;
    mm_status st = mm_tensor_create(t->s->ctx, MM_DTYPE_F32, 3, shape, &window);

    if (st) return st;
    to = mm_tensor_data(window);
    memset(to, 0, (size_t)(t->bands * t->window) * sizeof *to);
    for (int64_t b = 0; b < t->bands; b++) memcpy(to + b * t->window, from + b * t->frames + seek, (size_t)count * sizeof *to);
    st = mm_tensor_map_create(t->s->ctx, &medium.inputs);
    if (!st) st = mm_tensor_map_set(t->s->ctx, medium.inputs, "input_features", window);
    mm_tensor_release(window);
    if (st) {
        mmi_medium_clear(&medium);
        return st;
    }
    mmi_encoded_list_clear(&t->s->waiting);
    mmi_encoded_list_clear(&t->s->known); /* a window does not come again */
    st = mmi_session_append_medium(t->s, (const uint64_t[2]){0, (uint64_t)seek}, &medium);
    return st ? st : mmi_session_append_text(t->s, "");
}

/* Of the languages the one that the model hears. */
static mm_status detect(transcription *t, int32_t *id)
{
    const float *logits = NULL;
    mm_status st = mmi_session_logits(t->s, &logits);
    size_t best = 0;

    if (st) return st;
    for (size_t i = 1; i < t->tokens->n_languages; i++)
        if (logits[t->tokens->languages[i].id] > logits[t->tokens->languages[best].id]) best = i;
    *id = t->tokens->languages[best].id;
    return MM_OK;
}

/* Language, task and whether timestamps are wanted, behind the start token. */
static mm_status write_orders(transcription *t, int32_t *language)
{
    int32_t ids[3];
    size_t n = 0;
    mm_status st = MM_OK;

    if (t->tokens->n_languages) {
        if (*language < 0) st = detect(t, language);
        ids[n++] = *language;
        if (t->task == MM_TASK_TRANSLATE ? t->tokens->translate >= 0 : t->tokens->transcribe >= 0)
            ids[n++] = t->task == MM_TASK_TRANSLATE ? t->tokens->translate : t->tokens->transcribe;
    }
    if (!t->stamped && t->tokens->no_timestamps >= 0) ids[n++] = t->tokens->no_timestamps;
    return st ? st : mmi_session_add(t->s, ids, n, NULL, 0);
}

static void rule_out(float *scores, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) scores[i] = -INFINITY;
}

/* Timestamps come in pairs, do not go back, begin the text, and win where they are likelier together than any word. */
static void rule_timestamps(const transcription *t, float *scores)
{
    size_t V = (size_t)t->s->model->info.vocabulary, n = t->written.count, begin = (size_t)t->first_timestamp, least = begin, end = begin;
    const int32_t *w = t->written.data;
    int last = n && w[n - 1] >= t->first_timestamp, before = n < 2 || w[n - 2] >= t->first_timestamp;
    float word = -INFINITY, most = -INFINITY;
    double sum = 0;

    for (size_t i = 0; i < t->s->model->n_end_tokens; i++) end = mmi_size_min(end, (size_t)t->s->model->end_tokens[i]);
    scores[t->tokens->no_timestamps] = -INFINITY;
    if (last && before) rule_out(scores, begin, V);
    if (last && !before) rule_out(scores, 0, end);
    for (size_t i = n; i-- > 0;)
        if (w[i] >= t->first_timestamp) {
            least = (size_t)w[i] + (last && !before ? 0 : 1);
            break;
        }
    rule_out(scores, begin, mmi_size_min(least, V));
    if (!n) {
        rule_out(scores, 0, begin);
        if (t->tokens->first_timestamp_most >= 0) rule_out(scores, mmi_size_min(begin + (size_t)t->tokens->first_timestamp_most + 1, V), V);
    }
    for (size_t i = 0; i < begin; i++) word = fmaxf(word, scores[i]);
    for (size_t i = begin; i < V; i++) most = fmaxf(most, scores[i]);
    if (!(most > -INFINITY)) return;
    for (size_t i = begin; i < V; i++) sum += exp((double)scores[i] - (double)most);
    if ((double)most + log(sum) > (double)word) rule_out(scores, 0, begin);
}

/* Write the window down until its end token or the end of the context. */
static mm_status write_window(transcription *t)
{
    mm_session *s = t->s;
    size_t V = (size_t)s->model->info.vocabulary, room = (size_t)s->context - s->tokens.count;
    int32_t id = -1;
    mm_status st = MM_OK;

    t->written.count = 0;
    while (!st && t->written.count < room) {
        if ((st = mmi_session_compute(s))) break;
        memcpy(s->scores, s->logits, V * sizeof *s->scores);
        st = mmi_session_rule_scores(s, s->scores, t->written.data, t->written.count, room);
        if (!st && t->stamped) rule_timestamps(t, s->scores);
        if (!st) st = mmi_sampler_pick(s->ctx, &s->sampler, s->scores, V, s->tokens.data, s->tokens.count, &id);
        if (st || mmi_session_is_end(s, id)) break;
        st = mmi_ids_add(s->ctx, &t->written, id) ? MM_E_NOMEM : mmi_session_add(s, &id, 1, NULL, 0);
    }
    return st;
}

/* Hand out the words among written tokens [from, to), said from `begin` to `end` seconds. */
static mm_status hand_out(transcription *t, size_t from, size_t to, double begin, double end)
{
    mmi_ids words = {0};
    mmi_text text = {0};
    mm_status st = MM_OK;

    for (size_t i = from; i < to && !st; i++)
        if (t->written.data[i] < t->first_timestamp) st = mmi_ids_add(t->s->ctx, &words, t->written.data[i]) ? MM_E_NOMEM : MM_OK;
    if (!st && words.count) st = mmi_tokenizer_decode(t->s->ctx, t->s->model->tokenizer, words.data, words.count, 1, &text);
    if (!st && text.size && t->fn && !t->stopped) t->stopped = t->fn(t->user, begin, end, text.data, text.size) != 0;
    mmi_text_clear(&text);
    mmi_free(words.data);
    return st;
}

static int is_timestamp(const transcription *t, size_t i) { return i < t->written.count && t->written.data[i] >= t->first_timestamp; }
static double seconds_of(const transcription *t, size_t i) { return (double)(t->written.data[i] - t->first_timestamp) * STEP; }

/* Cut what was written at pairs of timestamps; *advance receives how many frames were written down to the end. */
static mm_status cut(transcription *t, double begin, int64_t heard, int64_t *advance)
{
    size_t n = t->written.count, from = 0, last = SIZE_MAX;
    int single = n >= 2 && !is_timestamp(t, n - 2) && is_timestamp(t, n - 1), pairs = 0;
    mm_status st = MM_OK;

    *advance = heard;
    if (!t->stamped) return hand_out(t, 0, n, 0, t->seconds);
    for (size_t i = 0; i < n; i++)
        if (is_timestamp(t, i)) last = i;
    for (size_t i = 1; i < n && !st; i++) {
        if (!is_timestamp(t, i - 1) || !is_timestamp(t, i)) continue;
        st = hand_out(t, from, i, begin + seconds_of(t, from), begin + seconds_of(t, i - 1));
        *advance = (int64_t)(t->written.data[i - 1] - t->first_timestamp) * FRAMES;
        from = i;
        pairs = 1;
    }
    if (st || (pairs && !single)) return st; /* what follows the last pair is unfinished: the next window begins there */
    *advance = heard;
    if (pairs) return hand_out(t, from, n, begin + seconds_of(t, from), begin + seconds_of(t, n - 1));
    return hand_out(t, 0, n, begin, begin + (last != SIZE_MAX && t->written.data[last] != t->first_timestamp ? seconds_of(t, last) : (double)heard * STEP / FRAMES));
}

static mm_status run(transcription *t)
{
    int32_t language = t->language ? mmi_speech_language_id(t->tokens, t->language) : -1;
    int64_t seek = 0, heard, advance;
    mm_status st = MM_OK;

    while (!st && seek < t->frames && !t->stopped) {
        double begin = (double)seek * STEP / FRAMES;
        heard = t->frames - seek < t->window ? t->frames - seek : t->window;
        if ((st = hear(t, seek)) || (st = write_orders(t, &language)) || (st = write_window(t)) || (st = cut(t, begin, heard, &advance))) return st;
        seek += advance > 0 ? advance : heard; /* a pair at the very beginning leads nowhere */
        st = mmi_progress(t->s->ctx, "transcribing", seek < t->frames ? seek : t->frames, t->frames);
    }
    return st;
}

mm_status mmi_session_transcribe(mm_session *s, const mm_audio *audio, const char *language, int32_t task, int timestamps, mm_transcribe_fn fn, void *user)
{
    const mm_model *m = s->model;
    const mmi_audio_processor *p = &m->sound_processor;
    transcription t = {.s = s, .tokens = &m->speech, .language = language, .task = task, .fn = fn, .user = user, .first_timestamp = INT32_MAX};
    mm_audio *sound = NULL;
    int is_long;
    mm_status st;

    if (!m->info.hears) return mmi_fail(s->ctx, MM_E_UNSUPPORTED, "%s (%s) takes no sound", m->path, m->class_name);
    if (!m->has_sound_processor || !m->tokenizer) return mmi_fail(s->ctx, MM_E_UNSUPPORTED, "%s has no feature extractor or no tokenizer", m->path);
    if (s->beams > 1) return mmi_fail(s->ctx, MM_E_UNSUPPORTED, "transcription does not search with beams");
    if (task != MM_TASK_TRANSCRIBE && task != MM_TASK_TRANSLATE) return mmi_fail(s->ctx, MM_E_ARGUMENT, "%d is no task of transcription", task);
    if (task == MM_TASK_TRANSLATE && t.tokens->translate < 0) return mmi_fail(s->ctx, MM_E_UNSUPPORTED, "%s does not translate", m->path);
    if (language && t.tokens->n_languages && mmi_speech_language_id(t.tokens, language) < 0)
        return mmi_fail(s->ctx, MM_E_ARGUMENT, "%s knows no language \"%.20s\"", m->path, language);
    if (language && !t.tokens->n_languages && strcmp(language, "en") != 0)
        return mmi_fail(s->ctx, MM_E_ARGUMENT, "%s knows one language, \"%.20s\" cannot be chosen", m->path, language);
    if ((st = mmi_audio_resample(s->ctx, audio, (int32_t)p->sampling_rate, &sound))) return st;
    is_long = sound->count > p->n_samples;
    if ((timestamps || is_long) && t.tokens->no_timestamps < 0) {
        st = mmi_fail(s->ctx, MM_E_UNSUPPORTED, "%s names no timestamp tokens (no_timestamps_token_id), which %s needs", m->path,
                      is_long ? "a sound longer than a window" : "this");
        goto cleanup;
    }
    t.stamped = timestamps || is_long;
    if (t.tokens->no_timestamps >= 0) t.first_timestamp = t.tokens->no_timestamps + 1;
    t.seconds = (double)sound->count / (double)p->sampling_rate;
    if ((st = mmi_audio_features(s->ctx, p, sound->samples, sound->count, !is_long, &t.features, NULL))) goto cleanup;
    t.bands = mm_tensor_shape(t.features)[1];
    t.frames = mm_tensor_shape(t.features)[2];
    t.window = (int64_t)p->nb_max_frames;
    st = run(&t);
cleanup:
    mmi_free(t.written.data);
    mm_tensor_release(t.features);
    mmi_audio_destroy(sound);
    return st;
}
