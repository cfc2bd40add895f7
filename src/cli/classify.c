/* mm classify: the classes of a picture or text by the model's own head, or labels of the caller for a picture by two towers.
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

typedef struct {
    mm_context *ctx;
    mm_model *model;
    char *text;          /* what `labels` point into */
    const char **labels; /* NULL: the model's own */
    size_t n_labels;
    const char *label_template;
    int64_t top;
    int json;
} job;

/* Labels between commas, without the blanks around them. */
static int split_labels(job *j, const char *list)
{
    size_t commas = 0;
    char *at, *end;

    for (const char *p = list; *p; p++) commas += *p == ',';
    j->text = strdup(list);
    j->labels = calloc(commas + 1, sizeof *j->labels);
    if (!j->text || !j->labels) return cli_fail_text("out of memory");
    for (at = j->text; at; at = end) {
        end = strchr(at, ',');
        if (end) *end++ = 0;
        while (isspace((unsigned char)*at)) at++;
        for (size_t n = strlen(at); n && isspace((unsigned char)at[n - 1]); n--) at[n - 1] = 0;
        if (*at) j->labels[j->n_labels++] = at;
    }
    if (j->n_labels) return EXIT_OK;
    (void)cli_fail_text("--labels names none");
    return EXIT_USAGE;
}

/* The best `top` classes, best first: few of few, so by repeated search. `p` is used up. */
static void print_classes(const job *j, float *p, size_t count, const char *kind, const char *name)
{
    size_t top = j->top ? (size_t)j->top : j->labels ? count : 5;

    if (j->json) {
        printf("{\"%s\": ", kind);
        cli_print_json_string(stdout, name, strlen(name));
        fputs(", \"labels\": [", stdout);
    }
    for (size_t n = 0; n < top && n < count; n++) {
        size_t best = 0;
        const char *label;
        char number[32];
        for (size_t i = 1; i < count; i++)
            if (p[i] > p[best]) best = i;
        label = j->labels ? j->labels[best] : mm_model_label(j->model, best);
        if (!label) {
            snprintf(number, sizeof number, "LABEL_%zu", best);
            label = number;
        }
        if (j->json) {
            fputs(n ? ", {\"label\": " : "{\"label\": ", stdout);
            cli_print_json_string(stdout, label, strlen(label));
            printf(", \"probability\": %.6f}", p[best]);
        } else {
            printf("%8.4f  %s\n", p[best], label);
        }
        p[best] = -INFINITY;
    }
    if (j->json) puts("]}");
}

static int classify(job *j, const cli_item *item)
{
    int is_text = !strcmp(item->option, "--text");
    mm_image *image = NULL;
    mm_tensor *p = NULL;
    mm_status st = is_text ? MM_OK : mm_image_read(j->ctx, item->value, 0, &image);

    if (!st && is_text) st = mm_model_classify_text(j->model, j->ctx, item->value, &p);
    else if (!st && j->labels) st = mm_model_classify_labels(j->model, j->ctx, image, j->labels, j->n_labels, j->label_template, &p);
    else if (!st) st = mm_model_classify_image(j->model, j->ctx, image, &p);
    if (!st) print_classes(j, mm_tensor_data(p), (size_t)mm_tensor_elements(p), is_text ? "text" : "image", item->value);
    mm_tensor_release(p);
    mm_image_destroy(image);
    return st ? cli_fail(j->ctx) : EXIT_OK;
}

int cli_classify(int argc, char **argv)
{
    job j = {0};
    int status;
    const char *labels = NULL;
    const cli_option options[] = {{"--image", CLI_LIST, NULL},         {"--text", CLI_LIST, NULL},     {"--labels", CLI_TEXT, &labels},
                                  {"--template", CLI_TEXT, &j.label_template}, {"--top", CLI_INTEGER, &j.top}, {"--json", CLI_FLAG, &j.json},
                                  {NULL, CLI_FLAG, NULL}};
    cli_args args;

    j.top = -1;
    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    if (j.top == -1) j.top = 0;
    else if (j.top < 1) status = cli_fail_text("--top must be at least 1");
    if (!args.n_items) status = cli_fail_text("--image or --text is missing");
    for (size_t i = 0; i < args.n_items && labels && !status; i++)
        if (!strcmp(args.items[i].option, "--text")) status = cli_fail_text("--labels are for pictures");
    if (status) {
        status = EXIT_USAGE;
        goto cleanup;
    }
    if (labels && (status = split_labels(&j, labels))) goto cleanup;
    status = EXIT_FAILED;
    if (!(j.ctx = cli_context(&args))) goto cleanup;
    status = cli_open(j.ctx, &args, &j.model) ? cli_fail(j.ctx) : EXIT_OK;
    for (size_t i = 0; i < args.n_items && !status; i++) status = classify(&j, &args.items[i]);
cleanup:
    mm_model_release(j.model);
    cli_context_destroy(j.ctx);
    cli_args_clear(&args);
    free(j.labels);
    free(j.text);
    return status;
}
