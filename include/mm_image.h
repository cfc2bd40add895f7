/* libmm: pictures.
 *
 * A picture is a dense array of 8-bit RGB pixels, top row first. It never changes after it is made, so any number of
 * threads may read it. PNG and JPEG are read as Pillow's ImageOps.exif_transpose(Image.open(f)).convert("RGB") reads them:
 * alpha is dropped and not blended, gamma and colour profiles are ignored, 16-bit gray above 255 is white, and the
 * orientation in EXIF (or else XMP) is applied.
 *
 * SPDX-License-Identifier: MIT */
#ifndef MM_IMAGE_H
#define MM_IMAGE_H

#include "mm_context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mm_image mm_image;

/* Bounds of what is read. */
enum {
    MM_IMAGE_MAX_PIXELS = 178956970,      /* width * height unless a call gives another bound */
    MM_IMAGE_MAX_FILE_BYTES = 512 << 20   /* of a file or a block of memory */
};

/* Read a PNG or JPEG file; its first bytes tell which, not its name.
 *
 *   ctx         borrowed; gives memory, keeps the message of a failure
 *   path        UTF-8 name of a regular file
 *   max_pixels  the most pixels (width * height) to accept, below 2^31; 0 for MM_IMAGE_MAX_PIXELS
 *   out         receives the picture; the caller owns it, and it may outlive ctx; NULL after a failure
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_NOT_FOUND, MM_E_IO, MM_E_FORMAT (damaged or cut off), MM_E_UNSUPPORTED (neither PNG
 * nor JPEG, or a kind of them that is not read, such as 12-bit JPEG), MM_E_LIMIT, MM_E_NOMEM or MM_E_CANCELLED.
 * Threads: one call per ctx at a time. Since 0.1. */
MM_API mm_status mm_image_read(mm_context *ctx, const char *path, int64_t max_pixels, mm_image **out);

/* As mm_image_read, from the `size` bytes at `data`, which are borrowed for the call. Since 0.1. */
MM_API mm_status mm_image_decode(mm_context *ctx, const void *data, size_t size, int64_t max_pixels, mm_image **out);

/* Make a picture from pixels.
 *
 *   width, height  1 or more; width * height at most MM_IMAGE_MAX_PIXELS
 *   pixels         [height, width, 3] bytes, RGB, top row first, without gaps; copied
 *   out            receives the picture; the caller owns it, and it may outlive ctx; NULL after a failure
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_LIMIT or MM_E_NOMEM. Threads: one call per ctx at a time. Since 0.1. */
MM_API mm_status mm_image_create(mm_context *ctx, int64_t width, int64_t height, const uint8_t *pixels, mm_image **out);

/* Write a picture as a PNG file of 8-bit RGB, aside and renamed over `path`: after a failure `path` is as it was.
 *
 *   ctx    borrowed; gives memory, keeps the message of a failure
 *   image  borrowed; any context's
 *   path   UTF-8 name
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_IO, MM_E_LIMIT or MM_E_NOMEM. Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_image_save_png(mm_context *ctx, const mm_image *image, const char *path);

/* Free a picture; NULL is allowed. Any thread, after the last call that uses it. Since 0.1. */
MM_API void mm_image_destroy(mm_image *image);

/* Getters; 0 or NULL for NULL. The pixels are [height, width, 3] bytes and live as long as the picture. Any thread. Since 0.1. */
MM_API int64_t mm_image_width(const mm_image *image);
MM_API int64_t mm_image_height(const mm_image *image);
MM_API const uint8_t *mm_image_pixels(const mm_image *image);

#ifdef __cplusplus
}
#endif
#endif
