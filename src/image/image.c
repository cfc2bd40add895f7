/* SPDX-License-Identifier: MIT */
#include "image.h"

#include <string.h>

#include "file.h"
#include "jpeg_reader.h"
#include "png_reader.h"
#include "png_writer.h"
#include "size.h"

mm_status mmi_image_check_size(mm_context *ctx, const char *name, size_t width, size_t height, size_t max_pixels)
{
    size_t pixels;

    if (!width || !height) return mmi_fail(ctx, MM_E_FORMAT, "%s has no pixels: its size is %zu x %zu", name, width, height);
    if (width > INT32_MAX || height > INT32_MAX || mmi_size_mul(width, height, &pixels) || pixels > max_pixels)
        return mmi_fail(ctx, MM_E_LIMIT, "%s is %zu x %zu pixels, more than the %zu pixels allowed", name, width, height,
                        max_pixels);
    return MM_OK;
}

mm_status mmi_image_create(mm_context *ctx, size_t width, size_t height, mmi_image **out)
{
    mm_status st = MM_OK;
    mmi_image *image = NULL;
    size_t bytes;

    *out = NULL;
    if (mmi_size_mul3(width, height, 3, &bytes)) {
        st = mmi_fail(ctx, MM_E_OVERFLOW, "a picture of %zu x %zu pixels is too large", width, height);
        goto cleanup;
    }
    image = mmi_zalloc(ctx, sizeof *image);
    if (!image) { st = MM_E_NOMEM; goto cleanup; }
    image->width = width;
    image->height = height;
    image->pixels = mmi_alloc(ctx, bytes);
    if (!image->pixels) { st = MM_E_NOMEM; goto cleanup; }
    *out = image;
    image = NULL;
cleanup:
    mmi_image_destroy(image);
    return st;
}

void mmi_image_destroy(mmi_image *image)
{
    if (!image) return;
    mmi_free(image->pixels);
    mmi_free(image);
}

size_t mmi_image_bytes(const mmi_image *image) { return image->width * image->height * 3; }

mm_status mmi_image_decode(mm_context *ctx, const char *name, const void *data, size_t size, size_t max_pixels, mmi_image **out)
{
    static const unsigned char png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    static const unsigned char jpeg[] = {0xFF, 0xD8, 0xFF};

    *out = NULL;
    if (size > MM_IMAGE_MAX_FILE_BYTES)
        return mmi_fail(ctx, MM_E_LIMIT, "%s has %zu bytes, more than the %d allowed for a picture", name, size,
                        (int)MM_IMAGE_MAX_FILE_BYTES);
    if (size >= sizeof png && !memcmp(data, png, sizeof png)) return mmi_png_read(ctx, name, data, size, max_pixels, out);
    if (size >= sizeof jpeg && !memcmp(data, jpeg, sizeof jpeg)) return mmi_jpeg_read(ctx, name, data, size, max_pixels, out);
    return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s is neither PNG nor JPEG", name);
}

mm_status mmi_image_read(mm_context *ctx, const char *path, size_t max_pixels, mmi_image **out)
{
    char *data = NULL;
    size_t size = 0;
    mm_status st;

    *out = NULL;
    st = mmi_file_read(ctx, path, MM_IMAGE_MAX_FILE_BYTES, &data, &size);
    if (!st) st = mmi_image_decode(ctx, path, data, size, max_pixels, out);
    mmi_free(data);
    return st;
}

mm_status mmi_image_save_png(mm_context *ctx, const mmi_image *image, const char *path)
{
    mmi_text file = {0};
    mm_status st = mmi_png_write(ctx, image->pixels, image->width, image->height, 3, &file);

    if (!st) st = mmi_file_write(ctx, path, &(mmi_file_piece){file.data, file.size}, 1);
    mmi_text_clear(&file);
    return st;
}
