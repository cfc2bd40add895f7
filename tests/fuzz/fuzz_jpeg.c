/* libFuzzer target: decode a JPEG. Whatever the input is, either a whole picture comes out, or a failure with a sentence
 * and nothing else.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "mm_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mm_context *ctx;
    mm_image *image;
    uint8_t *copy = malloc(size ? size : 1); /* its own block, so that reads past the end are seen */

    if (!copy || mm_context_create(NULL, &ctx)) abort();
    memcpy(copy, data, size);
    if (size >= 3) memcpy(copy, "\xFF\xD8\xFF", 3);
    if (!mm_image_decode(ctx, copy, size, 1 << 18, &image)) {
        if (mm_image_width(image) < 1 || mm_image_height(image) < 1 || mm_image_width(image) * mm_image_height(image) > 1 << 18) abort();
        mm_image_destroy(image);
    } else if (image || !mm_context_error(ctx)[0]) {
        abort();
    }
    mm_context_destroy(ctx);
    free(copy);
    return 0;
}
