/* mm bench: how fast a model is on this machine. Each figure is a list of samples; --json prints one object a line, else the median.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli.h"

enum { MOST_SAMPLES = 64 };

typedef struct {
    mm_context *ctx;
    mm_model *model;
    int json;
    double samples[MOST_SAMPLES];
    size_t count;
} bench;

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void add(bench *b, double value)
{
    if (b->count < MOST_SAMPLES) b->samples[b->count++] = value;
}

static void report(bench *b, const char *metric, const char *unit)
{
    if (b->json) {
        printf("{\"metric\": \"%s\", \"unit\": \"%s\", \"samples\": [", metric, unit);
        for (size_t i = 0; i < b->count; i++) printf(i ? ", %.6g" : "%.6g", b->samples[i]);
        puts("]}");
    } else if (b->count) {
        qsort(b->samples, b->count, sizeof *b->samples, ascending);
        printf("%-22s %10.4g %-12s (%zu samples, %.4g to %.4g)\n", metric, b->samples[b->count / 2], unit, b->count, b->samples[0],
               b->samples[b->count - 1]);
    }
    fflush(stdout);
    b->count = 0;
}

static int32_t likeliest(const float *logits, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

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

static mm_status bench_prompt(bench *b, mm_session *s, int64_t tokens, int64_t vocabulary)
{
    const float *logits;
    char metric[32];
    mm_status st = MM_OK;

    for (int i = 0; i < 4 && !st; i++) {
        double t;
        st = fill(s, tokens, vocabulary);
        t = cli_seconds();
        if (!st) st = mm_session_logits(s, &logits);
        if (!st && i) add(b, (double)tokens / (cli_seconds() - t)); /* the first warms up */
    }
    snprintf(metric, sizeof metric, "prompt%lld", (long long)tokens);
    if (!st) report(b, metric, "tok/s");
    return st;
}

static mm_status bench_decode(bench *b, mm_session *s, int64_t behind, const char *metric, int64_t vocabulary)
{
    const float *logits = NULL;
    mm_status st = MM_OK;

    for (int i = 0; i < 3 && !st; i++) {
        double t;
        st = fill(s, behind, vocabulary);
        if (!st) st = mm_session_logits(s, &logits);
        t = cli_seconds();
        for (int n = 0; n < 128 && !st; n++) {
            int32_t id = likeliest(logits, vocabulary);
            st = mm_session_append_tokens(s, &id, 1);
            if (!st) st = mm_session_logits(s, &logits);
        }
        if (!st) add(b, 128 / (cli_seconds() - t));
    }
    if (!st) report(b, metric, "tok/s");
    return st;
}

static mm_status bench_generation(bench *b)
{
    mm_session *s = NULL;
    int64_t vocabulary = 0, context = 0;
    mm_status st = mm_session_create(b->ctx, b->model, &s);

    (void)mm_model_get_i64(b->model, MM_MODEL_VOCABULARY, &vocabulary);
    (void)mm_model_get_i64(b->model, MM_MODEL_CONTEXT, &context);
    if (!st && context >= 128) st = bench_prompt(b, s, 128, vocabulary);
    if (!st && context >= 512) st = bench_prompt(b, s, 512, vocabulary);
    if (!st && context >= 16 + 128) st = bench_decode(b, s, 16, "decode128", vocabulary);
    if (!st && context >= 1024 + 128) st = bench_decode(b, s, 1024, "decode128_after1024", vocabulary);
    mm_session_destroy(s);
    return st;
}

static int shorter(const void *a, const void *b)
{
    size_t x = strlen(*(char *const *)a), y = strlen(*(char *const *)b);
    return x < y ? -1 : x > y;
}

/* Sentences in order of length, 32 at a time, text to unit vectors. */
static mm_status bench_texts(bench *b, char **lines, size_t count)
{
    static const char *const one = "The weather was so lovely today that we walked along the river for hours";
    mm_status st = MM_OK;

    qsort(lines, count, sizeof *lines, shorter);
    for (int i = 0; i < 4 && !st; i++) {
        double t = cli_seconds();
        for (size_t at = 0; at < count && !st; at += 32) {
            mm_tensor *out = NULL;
            st = mm_model_embed_texts(b->model, b->ctx, (const char *const *)lines + at, count - at < 32 ? count - at : 32, 1, &out);
            mm_tensor_release(out);
        }
        if (!st && i) add(b, (double)count / (cli_seconds() - t));
    }
    if (!st) report(b, "batch32", "sentences/s");
    for (int i = 0; i < 35 && !st; i++) {
        mm_tensor *out = NULL;
        double t = cli_seconds();
        st = mm_model_embed_texts(b->model, b->ctx, &one, 1, 1, &out);
        if (!st && i >= 5) add(b, 1e3 * (cli_seconds() - t));
        mm_tensor_release(out);
    }
    if (!st) report(b, "one16", "ms");
    return st;
}

/* Sentences when no file is given: the beginnings of one, 4 to 35 words long. */
static mm_status bench_own_texts(bench *b)
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
    if (!st) st = bench_texts(b, lines, count);
    for (size_t i = 0; i < count; i++) free(lines[i]);
    return st;
}

static mm_status bench_batch(bench *b, const mm_tensor *one, int64_t images)
{
    const int64_t *s = mm_tensor_shape(one);
    int64_t shape[4] = {images, s[1], s[2], s[3]};
    mm_tensor *pixels = NULL;
    mm_tensor_map *in = NULL;
    mm_status st = mm_tensor_create(b->ctx, MM_DTYPE_F32, 4, shape, &pixels);

    for (int64_t i = 0; i < images && !st; i++)
        memcpy((char *)mm_tensor_data(pixels) + (size_t)i * mm_tensor_bytes(one), mm_tensor_const_data(one), mm_tensor_bytes(one));
    if (!st) st = mm_tensor_map_create(b->ctx, &in);
    if (!st) st = mm_tensor_map_set(b->ctx, in, "pixel_values", pixels);
    for (int i = 0; i < (images == 1 ? 18 : 6) && !st; i++) {
        mm_tensor_map *out = NULL;
        double t = cli_seconds();
        st = mm_model_forward(b->model, b->ctx, in, &out);
        t = cli_seconds() - t;
        if (!st && i >= (images == 1 ? 3 : 1)) add(b, images == 1 ? 1e3 * t : (double)images / t);
        mm_tensor_map_destroy(out);
    }
    if (!st) report(b, images == 1 ? "batch1" : "batch8", images == 1 ? "ms" : "images/s");
    mm_tensor_map_destroy(in);
    mm_tensor_release(pixels);
    return st;
}

static mm_status bench_images(bench *b)
{
    enum { WIDTH = 640, HEIGHT = 480 };
    uint8_t *rgb = malloc((size_t)WIDTH * HEIGHT * 3);
    mm_image *image = NULL;
    mm_tensor *pixels = NULL;
    mm_status st;

    if (!rgb) return MM_E_NOMEM;
    for (size_t i = 0; i < (size_t)WIDTH * HEIGHT * 3; i++) rgb[i] = (uint8_t)(i * i / 977);
    st = mm_image_create(b->ctx, WIDTH, HEIGHT, rgb, &image);
    free(rgb);
    for (int i = 0; i < 6 && !st; i++) {
        double t = cli_seconds();
        mm_tensor_release(pixels);
        st = mm_model_preprocess_image(b->model, b->ctx, image, &pixels);
        if (!st && i) add(b, 1e3 * (cli_seconds() - t));
    }
    if (!st) report(b, "preprocess640x480", "ms");
    if (!st) st = bench_batch(b, pixels, 1);
    if (!st) st = bench_batch(b, pixels, 8);
    mm_tensor_release(pixels);
    mm_image_destroy(image);
    return st;
}

int cli_bench(int argc, char **argv)
{
    const char *path = NULL;
    bench b = {0};
    const cli_option options[] = {{"--json", CLI_FLAG, &b.json}, {"--text-file", CLI_TEXT, &path}, {NULL, CLI_FLAG, NULL}};
    cli_args args;
    cli_lines lines = {0};
    struct rusage usage;
    int64_t generates = 0, sees = 0, peak = 0;
    double t;
    int status;
    mm_status st = MM_OK;

    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    status = EXIT_FAILED;
    if (!(b.ctx = cli_context(&args))) goto cleanup;
    (void)mm_context_set_progress(b.ctx, NULL, NULL);
    t = cli_seconds();
    if (cli_open(b.ctx, &args, &b.model)) {
        status = cli_fail(b.ctx);
        goto cleanup;
    }
    add(&b, cli_seconds() - t);
    report(&b, "load", "s");
    if (path && (status = cli_read_lines(path, &lines))) goto cleanup;
    (void)mm_model_get_i64(b.model, MM_MODEL_GENERATES, &generates);
    (void)mm_model_get_i64(b.model, MM_MODEL_SEES, &sees);
    if (generates) st = bench_generation(&b);
    else if (sees) st = bench_images(&b);
    else st = path ? bench_texts(&b, lines.lines, lines.count) : bench_own_texts(&b);
    if (st) {
        status = cli_fail(b.ctx);
        goto cleanup;
    }
    (void)mm_context_get_i64(b.ctx, MM_CONTEXT_MEMORY_PEAK, &peak);
    add(&b, (double)peak / 1048576);
    report(&b, "peak_allocated", "MiB");
    if (!getrusage(RUSAGE_SELF, &usage)) {
        add(&b, (double)usage.ru_maxrss / 1024);
        report(&b, "peak_resident", "MiB");
    }
    status = EXIT_OK;
cleanup:
    cli_lines_clear(&lines);
    mm_model_release(b.model);
    cli_context_destroy(b.ctx);
    cli_args_clear(&args);
    return status;
}
