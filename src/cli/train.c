/* mm train: a run by its configuration; mm eval: what a model has learnt. SPDX-License-Identifier: MIT */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "cli.h"
#include "mm_train.h"
#include "plot.h"

enum { MAX_TASKS = 16 };

typedef struct {
    mm_trainer *trainer;
    double began, shown;
    int64_t first; /* step at which this process began */
} run;

/* The run in a line: on a terminal in its place, else one every few seconds. */
static int show_step(void *user, mm_trainer *t)
{
    run *r = user;
    const int terminal = isatty(STDERR_FILENO);
    const double now = cli_seconds();
    int64_t step = 0, steps = 1;
    double loss = 0, rate = 0, left;

    (void)mm_trainer_get_i64(t, MM_TRAINER_STEP, &step);
    (void)mm_trainer_get_i64(t, MM_TRAINER_STEPS, &steps);
    if (step < steps && now - r->shown < (terminal ? 0.1 : 5.0)) return 0;
    r->shown = now;
    (void)mm_trainer_get_f64(t, MM_TRAINER_LOSS, &loss);
    (void)mm_trainer_get_f64(t, MM_TRAINER_SAMPLES_PER_SECOND, &rate);
    left = (now - r->began) / (double)(step - r->first) * (double)(steps - step);
    if (terminal) {
        const int width = (int)(30 * step / steps);
        fprintf(stderr, "\r[%.*s%*s] %lld/%lld  loss %.4f  %.1f samples/s  %d:%02d left ", width, "##############################", 30 - width, "",
                (long long)step, (long long)steps, loss, rate, (int)(left / 60), (int)left % 60);
        if (step == steps) fputc('\n', stderr);
    } else {
        fprintf(stderr, "step %lld of %lld: loss %.4f, %.1f samples/s, %.0f s left\n", (long long)step, (long long)steps, loss, rate, left);
    }
    fflush(stderr);
    return 0;
}

/* Curves of a log. */

typedef struct {
    char *name;
    double *x, *y;
    size_t count, capacity;
    int smooth;
} curve;

typedef struct {
    curve list[2 * MAX_TASKS + 1];
    size_t count;
} curves;

static int add_point(curves *c, const char *prefix, const char *name, int smooth, double x, double y)
{
    char full[160];
    curve *k = c->list;

    (void)snprintf(full, sizeof full, "%s%s", prefix, name);
    while (k < c->list + c->count && strcmp(k->name, full)) k++;
    if (k == c->list + c->count) {
        if (c->count == sizeof c->list / sizeof *c->list) return 1;
        *k = (curve){.name = strdup(full), .smooth = smooth};
        if (!k->name) return 0;
        c->count++;
    }
    if (k->count == k->capacity) {
        const size_t room = k->capacity ? 2 * k->capacity : 256;
        double *xs = realloc(k->x, room * sizeof *xs), *ys;
        if (xs) k->x = xs;
        ys = xs ? realloc(k->y, room * sizeof *ys) : NULL;
        if (!ys) return 0;
        k->y = ys;
        k->capacity = room;
    }
    k->x[k->count] = x;
    k->y[k->count++] = y;
    return 1;
}

static int read_line(curves *c, const char *text)
{
    cJSON *line = cJSON_Parse(text);
    const cJSON *step = cJSON_GetObjectItemCaseSensitive(line, "step"), *tasks = cJSON_GetObjectItemCaseSensitive(line, "tasks"),
                *evaluation = cJSON_GetObjectItemCaseSensitive(line, "evaluation"), *item;
    int fine = 1;

    if (cJSON_IsNumber(step)) {
        cJSON_ArrayForEach(item, tasks) if (cJSON_IsNumber(item)) fine &= add_point(c, "", item->string, 1, step->valuedouble, item->valuedouble);
        cJSON_ArrayForEach(item, evaluation)
        {
            const cJSON *loss = cJSON_GetObjectItemCaseSensitive(item, "loss");
            if (cJSON_IsNumber(loss)) fine &= add_point(c, "validation: ", item->string, 0, step->valuedouble, loss->valuedouble);
        }
    }
    cJSON_Delete(line);
    return fine;
}

static int plot_log(mm_context *ctx, const char *output, const char *picture)
{
    char path[4096];
    curves c = {0};
    cli_lines lines = {0};
    cli_series series[2 * MAX_TASKS + 1];
    int status = EXIT_FAILED, fine = 1;

    (void)snprintf(path, sizeof path, "%s/log.jsonl", output);
    if (cli_read_lines(path, &lines)) return EXIT_FAILED;
    for (size_t i = 0; i < lines.count && fine; i++) fine = read_line(&c, lines.lines[i]);
    for (size_t i = 0; i < c.count; i++) series[i] = (cli_series){c.list[i].name, c.list[i].x, c.list[i].y, c.list[i].count, c.list[i].smooth};
    status = fine ? cli_plot_losses(ctx, picture, series, c.count, 0) : cli_fail_text("out of memory");
    for (size_t i = 0; i < c.count; i++) {
        free(c.list[i].name);
        free(c.list[i].x);
        free(c.list[i].y);
    }
    cli_lines_clear(&lines);
    return status;
}

int cli_train(int argc, char **argv)
{
    cli_args args;
    int resume = 0, status;
    const char *plot = NULL;
    const cli_option options[] = {{"--resume", CLI_FLAG, &resume}, {"--plot", CLI_TEXT, &plot}, {NULL, CLI_FLAG, NULL}};
    mm_context *ctx = NULL;
    run r = {0};
    int64_t skipped = 0, parameters = 0;
    mm_status st;

    status = cli_parse(argc, argv, options, &args);
    if (status) goto cleanup;
    status = EXIT_FAILED;
    if (plot && cli_plot_check()) goto cleanup;
    ctx = cli_context(&args);
    if (!ctx) goto cleanup;
    if (mm_trainer_create(ctx, args.model, &r.trainer)) {
        (void)cli_fail(ctx);
        goto cleanup;
    }
    if (resume) {
        st = mm_trainer_resume(r.trainer);
        if (st == MM_E_NOT_FOUND) fprintf(stderr, "no checkpoint yet: from the beginning\n"); /* the run may have been killed before its first */
        else if (st) {
            (void)cli_fail(ctx);
            goto cleanup;
        }
    }
    (void)mm_trainer_get_i64(r.trainer, MM_TRAINER_STEP, &r.first);
    (void)mm_trainer_get_i64(r.trainer, MM_TRAINER_PARAMETERS, &parameters);
    fprintf(stderr, "training %lld parameters, results go to %s\n", (long long)parameters, mm_trainer_output(r.trainer));
    r.began = r.shown = cli_seconds();
    st = mm_trainer_run(r.trainer, 0, show_step, &r);
    status = st ? cli_fail(ctx) : EXIT_OK;
    if (st == MM_E_CANCELLED && !mm_trainer_checkpoint(r.trainer)) fprintf(stderr, "a checkpoint was written; --resume goes on from it\n");
    (void)mm_trainer_get_i64(r.trainer, MM_TRAINER_SKIPPED, &skipped);
    if (skipped) fprintf(stderr, "%lld bad lines were skipped\n", (long long)skipped);
    if (plot && plot_log(ctx, mm_trainer_output(r.trainer), plot)) status = EXIT_FAILED;
    if (!status) printf("%s\n", mm_trainer_output(r.trainer));
cleanup:
    mm_trainer_destroy(r.trainer);
    cli_context_destroy(ctx);
    cli_args_clear(&args);
    return status;
}

/* Evaluation. */

/* A confusion as a picture; the first task that has one. */
static int plot_result(mm_context *ctx, const char *json, const char *picture)
{
    cJSON *doc = cJSON_Parse(json);
    const cJSON *task, *confusion = NULL, *labels = NULL, *row, *cell;
    const char **names = NULL;
    int64_t *counts = NULL;
    size_t n, i = 0;
    int status;

    cJSON_ArrayForEach(task, doc) if (!confusion) {
        confusion = cJSON_GetObjectItemCaseSensitive(task, "confusion");
        labels = cJSON_GetObjectItemCaseSensitive(task, "labels");
    }
    if (!confusion) {
        cJSON_Delete(doc);
        return cli_fail_text("no task here has a confusion to draw: its classes would have to be 64 or fewer");
    }
    n = (size_t)cJSON_GetArraySize(confusion);
    counts = calloc(n * n, sizeof *counts);
    names = calloc(n, sizeof *names);
    if (counts && names) {
        cJSON_ArrayForEach(row, confusion) cJSON_ArrayForEach(cell, row) counts[i++] = (int64_t)cell->valuedouble;
        i = 0;
        cJSON_ArrayForEach(cell, labels) names[i++] = cell->valuestring;
        status = cli_plot_confusion(ctx, picture, labels ? names : NULL, n, counts);
    } else {
        status = cli_fail_text("out of memory");
    }
    free(counts);
    free(names);
    cJSON_Delete(doc);
    return status;
}

/* A measure a line, for people. */
static void print_result(const char *json)
{
    cJSON *doc = cJSON_Parse(json);
    const cJSON *task, *item;

    cJSON_ArrayForEach(task, doc)
    {
        printf("%s\n", task->string);
        cJSON_ArrayForEach(item, task) if (cJSON_IsNumber(item)) printf("  %-28s %.6g\n", item->string, item->valuedouble);
    }
    cJSON_Delete(doc);
}

int cli_eval(int argc, char **argv)
{
    cli_args args;
    int json = 0, status;
    const char *plot = NULL, *config = NULL;
    const cli_option options[] = {{"--json", CLI_FLAG, &json}, {"--plot", CLI_TEXT, &plot}, {NULL, CLI_FLAG, NULL}};
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    char *result = NULL;

    if (argc > 3 && argv[3][0] != '-') { /* mm eval MODEL CONFIG.json */
        config = argv[3];
        memmove(argv + 3, argv + 4, (size_t)(argc - 4) * sizeof *argv);
        argc--;
    }
    status = cli_parse(argc, argv, options, &args);
    if (status) goto cleanup;
    if (!config) {
        fprintf(stderr, "mm: CONFIG.json is missing\n");
        status = EXIT_USAGE;
        goto cleanup;
    }
    status = EXIT_FAILED;
    if (plot && cli_plot_check()) goto cleanup;
    ctx = cli_context(&args);
    if (!ctx) goto cleanup;
    if (cli_open(ctx, &args, &model) || mm_evaluate(ctx, model, config, &result)) {
        (void)cli_fail(ctx);
        goto cleanup;
    }
    if (json) printf("%s\n", result);
    else print_result(result);
    status = plot ? plot_result(ctx, result, plot) : EXIT_OK;
cleanup:
    mm_text_free(result);
    mm_model_release(model);
    cli_context_destroy(ctx);
    cli_args_clear(&args);
    return status;
}
