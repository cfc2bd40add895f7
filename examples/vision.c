/* How alike pictures are:  vision MODEL PICTURE...
 *
 *   cc vision.c $(pkg-config --cflags --libs mm)
 *
 * Prints the cosine of each pair of PNG or JPEG files. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm_model.h"

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int main(int argc, char **argv)
{
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mm_image **images = NULL;
    mm_tensor *vectors = NULL;
    size_t count, dim;
    const float *v;
    mm_status st;

    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL PICTURE...\n", argv[0]);
        return 2;
    }
    count = (size_t)argc - 2;
    images = calloc(count, sizeof *images);
    if (!images) {
        fprintf(stderr, "out of memory\n");
        return 1;
    }
    st = mm_context_create(NULL, &ctx);
    if (!st) st = mm_model_open(ctx, argv[1], &model);
    for (size_t i = 0; i < count && !st; i++) st = mm_image_read(ctx, argv[2 + i], 0, &images[i]);
    if (!st) st = mm_model_embed_images(model, ctx, (const mm_image *const *)images, count, 1, &vectors);
    if (st) {
        fprintf(stderr, "%s: %s\n", mm_status_name(st), mm_context_error(ctx));
        goto cleanup;
    }
    v = mm_tensor_const_data(vectors); /* [count, dim], rows of unit length */
    dim = (size_t)mm_tensor_shape(vectors)[1];
    for (size_t i = 0; i < count; i++) {
        printf("%-20s", base_name(argv[2 + i]));
        for (size_t j = 0; j < count; j++) {
            double cosine = 0;
            for (size_t d = 0; d < dim; d++) cosine += (double)v[i * dim + d] * v[j * dim + d];
            printf(" %7.3f", cosine);
        }
        putchar('\n');
    }
cleanup:
    mm_tensor_release(vectors);
    for (size_t i = 0; i < count; i++) mm_image_destroy(images[i]);
    free(images);
    mm_model_release(model);
    mm_context_destroy(ctx);
    return st || fflush(stdout) ? 1 : 0;
}
