/* Reads one request a line and answers on stdout, so that compare_images.py can hold the image code against Pillow and
 * transformers. The fields of a request are separated by tabs:
 *
 *   decode FILE
 *   resize FILE WIDTH HEIGHT FILTER
 *   window FILE WIDTH HEIGHT FILTER X Y W H
 *   preprocess FILE CONFIG
 *
 * The answer is "ok WIDTH HEIGHT BYTES\n" and the bytes, or "fail STATUS SENTENCE\n".
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "preprocess.h"
#include "resize.h"

static mm_status answer(mm_context *ctx, char **field, int n)
{
    mmi_image *image = NULL, *resized = NULL;
    mmi_json *doc = NULL;
    float *planes = NULL;
    mmi_image_processor p;
    size_t w = 0, h = 0;
    mm_status st = mmi_image_read(ctx, field[1], MM_IMAGE_MAX_PIXELS, &image);

    if (!st && n >= 5) {
        const mmi_window window = {n == 9 ? (size_t)atoll(field[5]) : 0, n == 9 ? (size_t)atoll(field[6]) : 0,
                                   (size_t)atoll(field[n == 9 ? 7 : 2]), (size_t)atoll(field[n == 9 ? 8 : 3])};
        st = mmi_image_resize(ctx, image, (size_t)atoll(field[2]), (size_t)atoll(field[3]), (mmi_filter)atoi(field[4]),
                              n == 9 ? &window : NULL, &resized);
        mmi_image_destroy(image);
        image = resized;
    }
    if (!st && n == 3) {
        st = mmi_json_read(ctx, field[2], 1 << 20, &doc);
        if (!st) st = mmi_image_processor_from_json(ctx, doc, NULL, &p);
        if (!st) st = mmi_image_processor_output_size(ctx, &p, image->width, image->height, &w, &h);
        if (!st && !(planes = mmi_alloc_array(ctx, w * h, 3 * sizeof *planes))) st = MM_E_NOMEM;
        if (!st) st = mmi_preprocess_image(ctx, &p, image, planes);
    }
    if (st) {
        printf("fail\t%s\t%s\n", mm_status_name(st), mm_context_error(ctx));
    } else if (planes) {
        printf("ok\t%zu\t%zu\t%zu\n", w, h, w * h * 12);
        fwrite(planes, 12, w * h, stdout);
    } else {
        printf("ok\t%zu\t%zu\t%zu\n", image->width, image->height, mmi_image_bytes(image));
        fwrite(image->pixels, 1, mmi_image_bytes(image), stdout);
    }
    fflush(stdout);
    mmi_free(planes);
    mmi_json_destroy(doc);
    mmi_image_destroy(image);
    return st;
}

int main(void)
{
    static char line[65536];
    mm_context *ctx = NULL;

    if (mm_context_create(NULL, &ctx)) return 1;
    while (fgets(line, sizeof line, stdin)) {
        char *field[10] = {line};
        int n = 1;
        line[strcspn(line, "\n")] = 0;
        for (char *p = line; *p && n < 9; p++)
            if (*p == '\t') {
                *p = 0;
                field[n++] = p + 1;
            }
        if (n < 2) return 2;
        (void)answer(ctx, field, n);
    }
    mm_context_destroy(ctx);
    return 0;
}
