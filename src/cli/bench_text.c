/* mm bench: language models and encoders of sentences. SPDX-License-Identifier: MIT */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

/* Token i of a prompt: any ids will do, for what is computed does not depend on them. */
static int32_t prompt_token(int64_t i, int64_t vocabulary) { return (int32_t)(i * 7919 % vocabulary); }

static mm_status fill(mm_session *s, int64_t tokens, int64_t vocabulary)
{
    int32_t *ids = malloc((size_t)tokens * sizeof *ids);
    mm_status st = ids ? MM_OK : MM_E_NOMEM;

    for (int64_t i = 0; ids && i < tokens; i++) ids[i] = prompt_token(i, vocabulary);
    if (!st) st = mm_session_rewind(s, 0);
    if (!st) st = mm_session_append_tokens(s, ids, (size_t)tokens);
    free(ids);
    return st;
}

static void held(bench *b, int64_t tokens)
{
    if (tokens > b->tokens) b->tokens = tokens;
}

static mm_status measure_prompt(bench *b, mm_session *s, int64_t tokens, const char *metric, int64_t vocabulary)
{
    const float *logits;
    mm_status st = MM_OK;

    for (int i = 0; i < 4 && !st; i++) {
        double t;
        st = fill(s, tokens, vocabulary);
        t = cli_seconds();
        if (!st) st = mm_session_logits(s, &logits);
        if (!st && i) bench_add(b, (double)tokens / (cli_seconds() - t)); /* the first warms up */
    }
    held(b, tokens);
    if (!st) bench_report(b, metric, "tok/s");
    return st;
}

static mm_status measure_decode(bench *b, mm_session *s, int64_t behind, const char *metric, int64_t vocabulary)
{
    const float *logits = NULL;
    mm_status st = MM_OK;

    for (int i = 0; i < 3 && !st; i++) {
        double t;
        st = fill(s, behind, vocabulary);
        if (!st) st = mm_session_logits(s, &logits);
        t = cli_seconds();
        for (int n = 0; n < 128 && !st; n++) {
            int32_t id = bench_likeliest(logits, vocabulary);
            st = mm_session_append_tokens(s, &id, 1);
            if (!st) st = mm_session_logits(s, &logits);
        }
        if (!st) bench_add(b, 128 / (cli_seconds() - t));
    }
    held(b, behind + 128);
    if (!st) bench_report(b, metric, "tok/s");
    return st;
}

/* Eight sequences step by step together, each with a cache of its own, as beam search runs them. */
static mm_status measure_together(bench *b, mm_session *s, const char *metric, int64_t vocabulary)
{
    enum { SEQUENCES = 8, TOKENS = 64 };
    const float *logits;
    const int32_t *ids;
    size_t length = 0;
    double score;
    mm_status st = mm_session_set_i64(s, MM_SESSION_BEAMS, SEQUENCES);

    if (!st) st = mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, TOKENS);
    for (int i = 0; i < 3 && !st; i++) {
        double t;
        st = fill(s, 16, vocabulary);
        if (!st) st = mm_session_logits(s, &logits);
        t = cli_seconds();
        if (!st) st = mm_session_generate(s, NULL, NULL, NULL);
        t = cli_seconds() - t;
        if (!st) st = mm_session_beam(s, 0, &ids, &length, &score);
        if (!st) bench_add(b, (double)(SEQUENCES * length) / t);
    }
    held(b, SEQUENCES * (16 + TOKENS));
    if (!st) bench_report(b, metric, "tok/s");
    return st;
}

mm_status bench_generation(bench *b)
{
    mm_session *s = NULL;
    int64_t vocabulary = 0, context = 0;
    mm_status st = mm_session_create(b->ctx, b->model, &s);

    (void)mm_model_get_i64(b->model, MM_MODEL_VOCABULARY, &vocabulary);
    (void)mm_model_get_i64(b->model, MM_MODEL_CONTEXT, &context);
    if (!st && context >= 128 && bench_wanted(b, "prompt128")) st = measure_prompt(b, s, 128, "prompt128", vocabulary);
    if (!st && context >= 512 && bench_wanted(b, "prompt512")) st = measure_prompt(b, s, 512, "prompt512", vocabulary);
    if (!st && context >= 16 + 128 && bench_wanted(b, "decode128")) st = measure_decode(b, s, 16, "decode128", vocabulary);
    if (!st && context >= 1024 + 128 && bench_wanted(b, "decode128_after1024")) st = measure_decode(b, s, 1024, "decode128_after1024", vocabulary);
    if (!st && context >= 16 + 64 && bench_wanted(b, "decode_beams8")) st = measure_together(b, s, "decode_beams8", vocabulary);
    mm_session_destroy(s);
    return st;
}

static int shorter(const void *a, const void *b)
{
    size_t x = strlen(*(char *const *)a), y = strlen(*(char *const *)b);
    return x < y ? -1 : x > y;
}

/* Sentences in order of length, 32 at a time, text to unit vectors. */
static mm_status measure_sentences(bench *b, char **lines, size_t count)
{
    mm_status st = MM_OK;

    qsort(lines, count, sizeof *lines, shorter);
    for (int i = 0; i < 4 && !st; i++) {
        double t = cli_seconds();
        for (size_t at = 0; at < count && !st; at += 32) {
            mm_tensor *out = NULL;
            st = mm_model_embed_texts(b->model, b->ctx, (const char *const *)lines + at, count - at < 32 ? count - at : 32, 1, &out);
            mm_tensor_release(out);
        }
        if (!st && i) bench_add(b, (double)count / (cli_seconds() - t));
    }
    if (!st) bench_report(b, "batch32", "sentences/s");
    return st;
}

static mm_status measure_sentence(bench *b)
{
    static const char *const one = "The weather was so lovely today that we walked along the river for hours";
    mm_status st = MM_OK;

    for (int i = 0; i < 35 && !st; i++) {
        mm_tensor *out = NULL;
        double t = cli_seconds();
        st = mm_model_embed_texts(b->model, b->ctx, &one, 1, 1, &out);
        if (!st && i >= 5) bench_add(b, 1e3 * (cli_seconds() - t));
        mm_tensor_release(out);
    }
    if (!st) bench_report(b, "one16", "ms");
    return st;
}

/* Sentences when no file is given: the beginnings of one, 4 to 35 words long. */
static mm_status measure_own_sentences(bench *b)
{
    static const char text[] = "a model reads the words of a sentence one after another and makes of them a single vector that stands near those of "
                               "other sentences which mean the same thing even where not one word is shared";
    char *lines[32] = {NULL};
    size_t count = 0, words = 0;
    mm_status st = MM_OK;

    for (size_t i = 0; text[i] && count < 32; i++) {
        if (text[i] != ' ' || ++words < 4) continue;
        lines[count] = strndup(text, i);
        if (!lines[count++]) st = MM_E_NOMEM;
    }
    if (!st) st = measure_sentences(b, lines, count);
    for (size_t i = 0; i < count; i++) free(lines[i]);
    return st;
}

mm_status bench_texts(bench *b, char **lines, size_t count)
{
    mm_status st = MM_OK;

    if (bench_wanted(b, "batch32")) st = count ? measure_sentences(b, lines, count) : measure_own_sentences(b);
    if (!st && bench_wanted(b, "one16")) st = measure_sentence(b);
    return st;
}
