/* Resizing 8-bit RGB, equal to Pillow's Image.resize bit for bit (libImaging/Resample.c, and Geometry.c for nearest).
 *
 * Two passes, each with the filter widened by the shrink factor (antialiasing), coefficients in fixed point with 22 bits
 * behind the point, and 8-bit pixels between the passes: horizontal then vertical, except for pictures whose height shrinks
 * by more than twice as many pixels as their width, which Pillow 13 (and not its older versions) takes the other way round.
 * A side that keeps its size has no pass.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_RESIZE_H
#define MMI_RESIZE_H

#include "image.h"

/* Values as in PIL.Image.Resampling and in preprocessor_config.json. */
typedef enum {
    MMI_FILTER_NEAREST = 0,
    MMI_FILTER_LANCZOS = 1, /* 3 lobes */
    MMI_FILTER_BILINEAR = 2,
    MMI_FILTER_BICUBIC = 3, /* a = -0.5 */
    MMI_FILTER_BOX = 4,
    MMI_FILTER_HAMMING = 5
} mmi_filter;

enum { MMI_FILTER_COUNT = 6 };

/* A part of a picture, in pixels. */
typedef struct {
    size_t x, y, width, height;
} mmi_window;

/* Resize to width x height (1 or more, below 2^31 each) and return the part of the result inside `window`, which costs
 * only that part; NULL for all of it. The window is not empty and lies inside the result.
 * MM_OK, MM_E_OVERFLOW, MM_E_NOMEM or MM_E_CANCELLED. */
mm_status mmi_image_resize(mm_context *ctx, const mmi_image *image, size_t width, size_t height, mmi_filter filter,
                           const mmi_window *window, mmi_image **out);

#endif
