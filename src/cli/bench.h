/* What the measurements of mm bench share. SPDX-License-Identifier: MIT */
#ifndef MM_CLI_BENCH_H
#define MM_CLI_BENCH_H

#include "cli.h"

enum { BENCH_MOST_SAMPLES = 64 };

typedef struct {
    mm_context *ctx;
    mm_model *model;
    const cli_args *args; /* --only NAME: what is measured, all that the model can where there is none */
    int json;
    int64_t tokens; /* most that a session held */
    double samples[BENCH_MOST_SAMPLES];
    size_t count;
} bench;

int bench_wanted(const bench *b, const char *metric);
void bench_add(bench *b, double value);
void bench_report(bench *b, const char *metric, const char *unit); /* prints the samples and forgets them */
int32_t bench_likeliest(const float *logits, int64_t n);

mm_status bench_generation(bench *b);
mm_status bench_texts(bench *b, char **lines, size_t count); /* sorts the lines; without any, some of its own */
mm_status bench_images(bench *b);
mm_status bench_picture_question(bench *b);
mm_status bench_speech(bench *b, const char *path, const char *language);

#endif
