/* libFuzzer target: decode a PNG. Checksums are made right first, so that mutations reach what lies behind them. Whatever
 * the input is, either a whole picture comes out, or a failure with a sentence and nothing else.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "mm_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t get32(const uint8_t *p) { return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3]; }

static void mend_checksums(uint8_t *data, size_t size)
{
    for (size_t at = 8, n; size - at >= 12 && (n = get32(data + at)) <= size - at - 12; at += 12 + n) {
        uint32_t c = 0xFFFFFFFF;
        for (size_t i = 0; i < n + 4; i++) {
            c ^= data[at + 4 + i];
            for (int k = 0; k < 8; k++) c = c >> 1 ^ (c & 1 ? 0xEDB88320 : 0);
        }
        for (int k = 0; k < 4; k++) data[at + 8 + n + (size_t)k] = (uint8_t)(~c >> (24 - 8 * k));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mm_context *ctx;
    mm_image *image;
    uint8_t *copy = malloc(size ? size : 1); /* its own block, so that reads past the end are seen */

    if (!copy || mm_context_create(NULL, &ctx)) abort();
    memcpy(copy, data, size);
    if (size > 8) {
        memcpy(copy, "\x89PNG\r\n\x1a\n", 8);
        mend_checksums(copy, size);
    }
    if (!mm_image_decode(ctx, copy, size, 1 << 20, &image)) {
        if (mm_image_width(image) < 1 || mm_image_height(image) < 1 || mm_image_width(image) * mm_image_height(image) > 1 << 20) abort();
        mm_image_destroy(image);
    } else if (image || !mm_context_error(ctx)[0]) {
        abort();
    }
    mm_context_destroy(ctx);
    free(copy);
    return 0;
}
