/* Rank sentences by how near their meaning is to a question:  embed MODEL QUESTION SENTENCE...
 *
 *   cc embed.c $(pkg-config --cflags --libs mm)
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "mm_model.h"

typedef struct {
    double score; /* cosine with the question */
    const char *sentence;
} ranked;

static int best_first(const void *a, const void *b)
{
    double x = ((const ranked *)a)->score, y = ((const ranked *)b)->score;
    return x < y ? 1 : x > y ? -1 : 0;
}

int main(int argc, char **argv)
{
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mm_tensor *vectors = NULL;
    ranked *list = NULL;
    size_t texts, dim;
    const float *v;
    mm_status st;

    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL QUESTION SENTENCE...\n", argv[0]);
        return 2;
    }
    texts = (size_t)argc - 2;
    st = mm_context_create(NULL, &ctx);
    if (!st) st = mm_model_open(ctx, argv[1], &model);
    if (!st) st = mm_model_embed_texts(model, ctx, (const char *const *)&argv[2], texts, 1, &vectors);
    if (st) {
        fprintf(stderr, "%s: %s\n", mm_status_name(st), mm_context_error(ctx));
        goto cleanup;
    }
    v = mm_tensor_const_data(vectors); /* [texts, dim], rows of unit length: a dot product is a cosine */
    dim = (size_t)mm_tensor_shape(vectors)[1];
    list = calloc(texts - 1, sizeof *list);
    if (!list) {
        fprintf(stderr, "out of memory\n");
        st = MM_E_NOMEM;
        goto cleanup;
    }
    for (size_t i = 1; i < texts; i++) {
        list[i - 1].sentence = argv[2 + i];
        for (size_t d = 0; d < dim; d++) list[i - 1].score += (double)v[d] * v[i * dim + d];
    }
    qsort(list, texts - 1, sizeof *list, best_first);
    for (size_t i = 0; i < texts - 1; i++) printf("%7.4f  %s\n", list[i].score, list[i].sentence);
cleanup:
    free(list);
    mm_tensor_release(vectors);
    mm_model_release(model);
    mm_context_destroy(ctx);
    return st || fflush(stdout) ? 1 : 0;
}
