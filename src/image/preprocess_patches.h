/* Image processors that give a picture of any size as a list of patches: Qwen2-VL and SigLIP 2 (NaFlex).
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PREPROCESS_PATCHES_H
#define MMI_PREPROCESS_PATCHES_H

#include "pixels.h"
#include "preprocess.h"

/* mmi_image_processor_run for MMI_LAYOUT_GRID and MMI_LAYOUT_PATCHES; `layouts` may be NULL. */
mm_status mmi_grid_run(mm_context *ctx, const mmi_image_processor *p, const mmi_image *const *images, size_t n, mm_tensor_map *out,
                       mmi_image_layout *layouts);
mm_status mmi_patches_run(mm_context *ctx, const mmi_image_processor *p, const mmi_image *const *images, size_t n, mm_tensor_map *out,
                          mmi_image_layout *layouts);

/* The patches of one picture, or frame, of MMI_LAYOUT_GRID: its layout; then its pixels as frame `frame` of the `temporal`
 * frames in each of the patches at `to` [rows * cols, 3, temporal, patch, patch], which lie in blocks of merge x merge. */
mm_status mmi_grid_layout(mm_context *ctx, const mmi_image_processor *p, size_t width, size_t height, mmi_image_layout *layout);
mm_status mmi_grid_fill(mm_context *ctx, const mmi_image_processor *p, const mmi_pixel_table *table, const mmi_image *image,
                        const mmi_image_layout *layout, size_t frame, float *to);

#endif
