/* mm bench: how fast a model is on this machine. Each figure is a list of samples; --json prints one object a line, else the median.
 * SPDX-License-Identifier: MIT */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

int bench_wanted(const bench *b, const char *metric)
{
    for (size_t i = 0; i < b->args->n_items; i++)
        if (!strcmp(b->args->items[i].value, metric)) return 1;
    return !b->args->n_items;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

void bench_add(bench *b, double value)
{
    if (b->count < BENCH_MOST_SAMPLES) b->samples[b->count++] = value;
}

void bench_report(bench *b, const char *metric, const char *unit)
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

int32_t bench_likeliest(const float *logits, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

static void report_memory(bench *b, const char *metric, int64_t bytes)
{
    bench_add(b, (double)bytes / 1048576);
    bench_report(b, metric, "MiB");
}

int cli_bench(int argc, char **argv)
{
    const char *path = NULL, *sound = NULL, *language = NULL;
    bench b = {0};
    const cli_option options[] = {{"--json", CLI_FLAG, &b.json}, {"--text-file", CLI_TEXT, &path}, {"--audio", CLI_TEXT, &sound},
                                  {"--language", CLI_TEXT, &language}, {"--only", CLI_LIST, NULL}, {NULL, CLI_FLAG, NULL}};
    cli_args args;
    cli_lines lines = {0};
    struct rusage usage;
    int64_t generates = 0, sees = 0, hears = 0, weights = 0, token = 0, peak = 0;
    double t;
    int status;
    mm_status st = MM_OK;

    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    b.args = &args;
    status = EXIT_FAILED;
    if (!(b.ctx = cli_context(&args))) goto cleanup;
    (void)mm_context_set_progress(b.ctx, NULL, NULL);
    t = cli_seconds();
    if (cli_open(b.ctx, &args, &b.model)) {
        status = cli_fail(b.ctx);
        goto cleanup;
    }
    bench_add(&b, cli_seconds() - t);
    bench_report(&b, "load", "s");
    if (path && (status = cli_read_lines(path, &lines))) goto cleanup;
    (void)mm_model_get_i64(b.model, MM_MODEL_GENERATES, &generates);
    (void)mm_model_get_i64(b.model, MM_MODEL_SEES, &sees);
    (void)mm_model_get_i64(b.model, MM_MODEL_HEARS, &hears);
    (void)mm_model_get_i64(b.model, MM_MODEL_WEIGHT_BYTES, &weights);
    (void)mm_model_get_i64(b.model, MM_MODEL_KV_TOKEN_BYTES, &token);
    if (generates && hears && sound) {
        if (bench_wanted(&b, "transcribe")) st = bench_speech(&b, sound, language);
    } else if (generates && sees) {
        if (bench_wanted(&b, "picture_question")) st = bench_picture_question(&b);
    } else if (generates) {
        st = bench_generation(&b);
    } else if (sees) {
        st = bench_images(&b);
    } else {
        st = bench_texts(&b, lines.lines, lines.count);
    }
    if (st) {
        status = cli_fail(b.ctx);
        goto cleanup;
    }
    report_memory(&b, "weights", weights);
    report_memory(&b, "caches", token * b.tokens);
    (void)mm_context_get_i64(b.ctx, MM_CONTEXT_MEMORY_PEAK, &peak);
    report_memory(&b, "peak_allocated", peak);
    if (!getrusage(RUSAGE_SELF, &usage)) report_memory(&b, "peak_resident", (int64_t)usage.ru_maxrss * 1024);
    status = EXIT_OK;
cleanup:
    cli_lines_clear(&lines);
    mm_model_release(b.model);
    cli_context_destroy(b.ctx);
    cli_args_clear(&args);
    return status;
}
