/* mm embed: vectors of texts and pictures, in the order of the arguments. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

typedef struct {
    mm_context *ctx;
    mm_model *model;
    int json, normalize;
    char **names;    /* with --rank: what each vector stands for */
    float *vectors;  /* and the vectors, one after another */
    size_t count, dim;
    int rank;
} job;

static int keep(job *j, const char *name, const float *v, size_t dim)
{
    char **names = realloc(j->names, (j->count + 1) * sizeof *names);
    float *vectors = names ? realloc(j->vectors, (j->count + 1) * dim * sizeof *vectors) : NULL;

    if (names) j->names = names;
    if (vectors) j->vectors = vectors;
    if (!vectors || !(j->names[j->count] = strdup(name))) return cli_fail_text("out of memory");
    memcpy(j->vectors + j->count * dim, v, dim * sizeof *v);
    j->dim = dim;
    j->count++;
    return EXIT_OK;
}

static int give(job *j, const char *kind, const char *name, const float *v, size_t dim)
{
    if (j->rank) return keep(j, name, v, dim);
    if (j->json) {
        printf("{\"%s\": ", kind);
        cli_print_json_string(stdout, name, strlen(name));
        fputs(", \"embedding\": [", stdout);
        for (size_t i = 0; i < dim; i++) printf(i ? ", %.9g" : "%.9g", v[i]);
        puts("]}");
    } else {
        for (size_t i = 0; i < dim; i++) printf(i ? " %.6g" : "%.6g", v[i]);
        putchar('\n');
    }
    return EXIT_OK;
}

static int embed_texts(job *j, const char *const *texts, size_t count)
{
    mm_tensor *out = NULL;
    int status = EXIT_OK;
    size_t dim;

    if (mm_model_embed_texts(j->model, j->ctx, texts, count, j->normalize, &out)) return cli_fail(j->ctx);
    dim = (size_t)mm_tensor_shape(out)[1];
    for (size_t i = 0; i < count && !status; i++) status = give(j, "text", texts[i], (const float *)mm_tensor_const_data(out) + i * dim, dim);
    mm_tensor_release(out);
    return status;
}

static int embed_image(job *j, const char *path)
{
    mm_image *image = NULL;
    mm_tensor *out = NULL;
    int status = EXIT_OK;

    if (mm_image_read(j->ctx, path, 0, &image)) return cli_fail(j->ctx);
    if (mm_model_embed_images(j->model, j->ctx, (const mm_image *const *)&image, 1, j->normalize, &out)) status = cli_fail(j->ctx);
    else status = give(j, "image", path, mm_tensor_const_data(out), (size_t)mm_tensor_shape(out)[1]);
    mm_tensor_release(out);
    mm_image_destroy(image);
    return status;
}

typedef struct {
    double score;
    size_t index;
} ranked;

static int by_score(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : 1;
}

/* The first input is the question: the others by their cosine with it. */
static int print_ranking(job *j)
{
    ranked *r = calloc(j->count + 1, sizeof *r);

    if (!r) return cli_fail_text("out of memory");
    for (size_t i = 1; i < j->count; i++) {
        r[i - 1].index = i;
        for (size_t d = 0; d < j->dim; d++) r[i - 1].score += (double)j->vectors[d] * j->vectors[i * j->dim + d];
    }
    if (j->count > 1) qsort(r, j->count - 1, sizeof *r, by_score);
    for (size_t i = 0; i + 1 < j->count; i++) {
        const char *name = j->names[r[i].index];
        if (j->json) {
            printf("{\"score\": %.6f, \"input\": ", r[i].score);
            cli_print_json_string(stdout, name, strlen(name));
            puts("}");
        } else {
            printf("%8.4f  %s\n", r[i].score, name);
        }
    }
    free(r);
    return EXIT_OK;
}

int cli_embed(int argc, char **argv)
{
    int plain = 0, status;
    job j = {0};
    const cli_option options[] = {{"--text", CLI_LIST, NULL}, {"--text-file", CLI_LIST, NULL}, {"--image", CLI_LIST, NULL}, {"--json", CLI_FLAG, &j.json},
                                  {"--rank", CLI_FLAG, &j.rank}, {"--no-normalize", CLI_FLAG, &plain}, {NULL, CLI_FLAG, NULL}};
    cli_args args;

    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    if (!args.n_items || (j.rank && plain)) {
        status = EXIT_USAGE;
        (void)cli_fail_text(args.n_items ? "--rank compares unit vectors: leave out --no-normalize" : "--text, --text-file or --image is missing");
        goto cleanup;
    }
    status = EXIT_FAILED;
    j.normalize = !plain;
    if (!(j.ctx = cli_context(&args))) goto cleanup;
    status = cli_open(j.ctx, &args, &j.model) ? cli_fail(j.ctx) : EXIT_OK;
    for (size_t i = 0; i < args.n_items && !status; i++) {
        const cli_item *item = &args.items[i];
        if (!strcmp(item->option, "--text")) {
            status = embed_texts(&j, &item->value, 1);
        } else if (!strcmp(item->option, "--image")) {
            status = embed_image(&j, item->value);
        } else {
            cli_lines lines;
            status = cli_read_lines(item->value, &lines);
            if (!status) status = embed_texts(&j, (const char *const *)lines.lines, lines.count);
            cli_lines_clear(&lines);
        }
    }
    if (!status && j.rank) status = print_ranking(&j);
cleanup:
    for (size_t i = 0; i < j.count; i++) free(j.names[i]);
    free(j.names);
    free(j.vectors);
    mm_model_release(j.model);
    cli_context_destroy(j.ctx);
    cli_args_clear(&args);
    return status;
}
