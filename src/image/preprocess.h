/* From pictures to what a vision model takes: the image processors of Hugging Face, as transformers' PIL-based classes
 * compute them. The description of a processor is in processor_config.h, the steps in pixels.h, and one file makes each
 * family of arrays: this one, preprocess_tiles.c and preprocess_patches.c.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PREPROCESS_H
#define MMI_PREPROCESS_H

#include "image.h"
#include "mm_tensor.h"
#include "processor_config.h"

/* What became of one picture: from this a model writes its image tokens. */
typedef struct {
    size_t width, height; /* after resizing: of the picture, or for MMI_LAYOUT_PLANES and _PAGE of the array */
    size_t rows, cols;    /* of tiles (SPLIT, 0: not split; CANVAS) or of patches (GRID, PATCHES); 0 for the others */
    size_t tiles;         /* arrays that it fills: the tiles and, for SPLIT, the whole picture as the last; 1 for the others */
} mmi_image_layout;

/* Process the n pictures of one prompt (1 or more), in their order.
 *
 *   out      receives the tensors under transformers' names; the caller destroys it; NULL after a failure
 *   layouts  [n], filled; or NULL
 *
 * All have "pixel_values", float32:
 *   PLANES, PAGE  [n, 3, H, W]; the pictures must all come out in one size
 *   SPLIT         [1, tiles of all, 3, side, side], and with do_pad "pixel_attention_mask" [1, tiles, side, side] of ones
 *   CANVAS        [1, n, max_tiles, 3, side, side], "aspect_ratio_ids" [1, n], "aspect_ratio_mask" [1, n, max_tiles], "num_tiles" [1, n]
 *   GRID          [patches of all, 3 * temporal * patch * patch], "image_grid_thw" [n, 3]
 *   PATCHES       [n, max_patches, patch * patch * 3], "pixel_attention_mask" [n, max_patches], "spatial_shapes" [n, 2]
 * Integers are int64, but the mask of PATCHES is int32.
 *
 * MM_E_SHAPE (a side would be 0, the sides are too far apart, they do not divide into patches, sizes that do not stack),
 * MM_E_LIMIT, MM_E_OVERFLOW, MM_E_NOMEM or MM_E_CANCELLED. */
mm_status mmi_image_processor_run(mm_context *ctx, const mmi_image_processor *p, const mmi_image *const *images, size_t n,
                                  mm_tensor_map **out, mmi_image_layout *layouts);

/* The part of a picture that its array shows, in pixels of the picture; beyond its edges where the array was padded. */
typedef struct {
    double left, top, right, bottom;
} mmi_image_view;

/* Fails as the run does, and with MM_E_UNSUPPORTED for a picture that is turned or lies on a canvas of tiles. */
mm_status mmi_image_processor_view(mm_context *ctx, const mmi_image_processor *p, const mmi_image *image, mmi_image_view *out);

#endif
