/* include/mm_image.h. SPDX-License-Identifier: MIT */
#include "mm_image.h"

#include <string.h>

#include "context.h"
#include "image.h"

/* Nonzero after recording MM_E_ARGUMENT for an argument that no read can work with. */
static int check_arguments(mm_context *ctx, const char *call, const char *source, const void *from, int64_t max_pixels, mm_image **out)
{
    if (!from || !out) {
        (void)mmi_fail(ctx, MM_E_ARGUMENT, "%s: %s is NULL", call, from ? "out" : source);
    } else if (max_pixels < 0 || max_pixels > INT32_MAX) {
        (void)mmi_fail(ctx, MM_E_ARGUMENT, "%s: max_pixels is %lld, expected 0 to %d", call, (long long)max_pixels, INT32_MAX);
    } else {
        return 0;
    }
    return 1;
}

static size_t limit_of(int64_t max_pixels) { return max_pixels ? (size_t)max_pixels : MM_IMAGE_MAX_PIXELS; }

mm_status mm_image_read(mm_context *ctx, const char *path, int64_t max_pixels, mm_image **out)
{
    if (out) *out = NULL;
    if (!ctx || check_arguments(ctx, "mm_image_read", "path", path, max_pixels, out)) return MM_E_ARGUMENT;
    return mmi_image_read(ctx, path, limit_of(max_pixels), out);
}

mm_status mm_image_decode(mm_context *ctx, const void *data, size_t size, int64_t max_pixels, mm_image **out)
{
    if (out) *out = NULL;
    if (!ctx || check_arguments(ctx, "mm_image_decode", "data", data, max_pixels, out)) return MM_E_ARGUMENT;
    return mmi_image_decode(ctx, "the picture in memory", data, size, limit_of(max_pixels), out);
}

mm_status mm_image_create(mm_context *ctx, int64_t width, int64_t height, const uint8_t *pixels, mm_image **out)
{
    mm_status st;

    if (out) *out = NULL;
    if (!ctx) return MM_E_ARGUMENT;
    if (!pixels || !out) return mmi_fail(ctx, MM_E_ARGUMENT, "mm_image_create: %s is NULL", pixels ? "out" : "pixels");
    if (width < 1 || height < 1)
        return mmi_fail(ctx, MM_E_ARGUMENT, "a picture of %lld x %lld pixels, expected 1 or more each way", (long long)width,
                        (long long)height);
    st = mmi_image_check_size(ctx, "the picture", (size_t)width, (size_t)height, MM_IMAGE_MAX_PIXELS);
    if (!st) st = mmi_image_create(ctx, (size_t)width, (size_t)height, out);
    if (!st) memcpy((*out)->pixels, pixels, mmi_image_bytes(*out));
    return st;
}

mm_status mm_image_save_png(mm_context *ctx, const mm_image *image, const char *path)
{
    if (!ctx) return MM_E_ARGUMENT;
    if (!image || !path) return mmi_fail(ctx, MM_E_ARGUMENT, "mm_image_save_png: %s is NULL", image ? "path" : "image");
    return mmi_image_save_png(ctx, image, path);
}

void mm_image_destroy(mm_image *image) { mmi_image_destroy(image); }
int64_t mm_image_width(const mm_image *image) { return image ? (int64_t)image->width : 0; }
int64_t mm_image_height(const mm_image *image) { return image ? (int64_t)image->height : 0; }
const uint8_t *mm_image_pixels(const mm_image *image) { return image ? image->pixels : NULL; }
