/* A picture as everything inside sees it: 8-bit RGB, top row first. One owner; made once, then only read.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_IMAGE_H
#define MMI_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "mm_image.h"

typedef struct mm_image mmi_image;

struct mm_image {
    size_t width, height; /* 1 or more, and below 2^31 */
    uint8_t *pixels;      /* [height, width, 3] */
};

/* MM_OK when a picture of this size may be made: MM_E_FORMAT for a zero side, MM_E_LIMIT above max_pixels or for a side
 * of 2^31 or more. The sentence begins with `name`. */
mm_status mmi_image_check_size(mm_context *ctx, const char *name, size_t width, size_t height, size_t max_pixels);

/* A picture with undefined pixels; the size has passed mmi_image_check_size. */
mm_status mmi_image_create(mm_context *ctx, size_t width, size_t height, mmi_image **out);
void mmi_image_destroy(mmi_image *image); /* NULL allowed */
size_t mmi_image_bytes(const mmi_image *image);

/* Read a PNG or JPEG, told apart by their first bytes, with its orientation applied; `name` stands in messages. */
mm_status mmi_image_decode(mm_context *ctx, const char *name, const void *data, size_t size, size_t max_pixels, mmi_image **out);
mm_status mmi_image_read(mm_context *ctx, const char *path, size_t max_pixels, mmi_image **out);

/* mm_image_save_png. */
mm_status mmi_image_save_png(mm_context *ctx, const mmi_image *image, const char *path);

#endif
