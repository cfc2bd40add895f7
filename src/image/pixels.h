/* The steps that all image processors are made of.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PIXELS_H
#define MMI_PIXELS_H

#include "image.h"
#include "mm_tensor.h"
#include "processor_config.h"

/* What each 8-bit value of R, G and B becomes by rescaling and normalizing. */
typedef struct {
    float value[3][256];
} mmi_pixel_table;

void mmi_pixel_table_fill(const mmi_image_processor *p, mmi_pixel_table *table);

/* The size that a picture of width x height is resized to by p->size_rule; a side may come out as 0. */
void mmi_resized_size(const mmi_image_processor *p, size_t width, size_t height, size_t *out_width, size_t *out_height);

/* MM_OK when `count` processed pictures of width x height pixels may be made; MM_E_SHAPE: there are no pixels; MM_E_LIMIT. */
mm_status mmi_pixels_check(mm_context *ctx, size_t count, size_t width, size_t height);

/* A picture on its way: the caller's, or one of ours that took its place. */
typedef struct {
    const mmi_image *image;
    mmi_image *owned; /* NULL, or what `image` points to */
} mmi_picture;

/* Resize to width x height, within the bounds of mmi_pixels_check. After a failure the picture is as it was. */
mm_status mmi_picture_resize(mm_context *ctx, mmi_picture *picture, size_t width, size_t height, mmi_filter filter);
void mmi_picture_replace(mmi_picture *picture, mmi_image *image); /* takes the image over */
void mmi_picture_clear(mmi_picture *picture);

/* Where width x height numbers of one color go: rows `stride` apart, colors `plane` apart. */
typedef struct {
    float *to;
    size_t width, height, stride, plane;
} mmi_canvas;

/* Lay a picture on the canvas with its upper left corner at (x, y), which may lie outside: what does not fit is cut off, what
 * is not covered is black. MM_E_CANCELLED. */
mm_status mmi_canvas_place(mm_context *ctx, const mmi_canvas *canvas, const mmi_pixel_table *table, const mmi_image *image, ptrdiff_t x,
                           ptrdiff_t y);

/* Put a new tensor of zeros into the map; *out is borrowed from there. */
mm_status mmi_pixels_add(mm_context *ctx, mm_tensor_map *map, const char *name, int32_t dtype, int32_t rank, const int64_t *shape,
                         mm_tensor **out);

#endif
