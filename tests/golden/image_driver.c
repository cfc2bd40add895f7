/* Reads one request a line and answers on stdout, so that compare_images.py can hold the image code against Pillow and
 * transformers. The fields of a request are separated by tabs:
 *
 *   decode FILE
 *   resize FILE WIDTH HEIGHT FILTER
 *   window FILE WIDTH HEIGHT FILTER X Y W H
 *   preprocess CONFIG OUT FILE...        the arrays go to OUT, a .safetensors file
 *
 * The answer is "ok WIDTH HEIGHT BYTES\n" and the bytes, or "fail SENTENCE\n".
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "preprocess.h"
#include "resize.h"

static mm_status preprocess(mm_context *ctx, char **field, int n)
{
    mmi_image *images[8] = {0};
    mmi_json *doc = NULL;
    mm_tensor_map *map = NULL;
    mmi_image_processor p;
    mm_status st = mmi_json_read(ctx, field[1], 1 << 20, &doc);

    if (!st) st = mmi_image_processor_from_json(ctx, doc, NULL, &p);
    for (int i = 3; i < n && !st; i++) st = mmi_image_read(ctx, field[i], MM_IMAGE_MAX_PIXELS, &images[i - 3]);
    if (!st) st = mmi_image_processor_run(ctx, &p, (const mmi_image *const *)images, (size_t)n - 3, &map, NULL);
    if (!st) st = mm_tensor_map_write(ctx, map, field[2]);
    if (!st) printf("ok\t0\t0\t0\n");
    for (int i = 0; i < 8; i++) mmi_image_destroy(images[i]);
    mm_tensor_map_destroy(map);
    mmi_json_destroy(doc);
    return st;
}

static mm_status picture(mm_context *ctx, char **field, int n)
{
    mmi_image *image = NULL, *resized = NULL;
    mm_status st = mmi_image_read(ctx, field[1], MM_IMAGE_MAX_PIXELS, &image);

    if (!st && n >= 5) {
        const mmi_window window = {n == 9 ? (size_t)atoll(field[5]) : 0, n == 9 ? (size_t)atoll(field[6]) : 0,
                                   (size_t)atoll(field[n == 9 ? 7 : 2]), (size_t)atoll(field[n == 9 ? 8 : 3])};
        st = mmi_image_resize(ctx, image, (size_t)atoll(field[2]), (size_t)atoll(field[3]), (mmi_filter)atoi(field[4]),
                              n == 9 ? &window : NULL, &resized);
        mmi_image_destroy(image);
        image = resized;
    }
    if (!st) {
        printf("ok\t%zu\t%zu\t%zu\n", image->width, image->height, mmi_image_bytes(image));
        fwrite(image->pixels, 1, mmi_image_bytes(image), stdout);
    }
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
        if (strcmp(field[0], "preprocess") ? picture(ctx, field, n) : preprocess(ctx, field, n))
            printf("fail\t%s\n", mm_context_error(ctx));
        fflush(stdout);
    }
    mm_context_destroy(ctx);
    return 0;
}
