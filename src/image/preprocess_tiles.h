/* Image processors that cut a picture into square tiles: Idefics3 and SmolVLM (with the whole picture as one more), and Mllama.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PREPROCESS_TILES_H
#define MMI_PREPROCESS_TILES_H

#include "pixels.h"
#include "preprocess.h"

/* mmi_image_processor_run for MMI_LAYOUT_SPLIT and MMI_LAYOUT_CANVAS; `layouts` may be NULL. */
mm_status mmi_split_run(mm_context *ctx, const mmi_image_processor *p, const mmi_image *const *images, size_t n, mm_tensor_map *out,
                        mmi_image_layout *layouts);
mm_status mmi_canvas_run(mm_context *ctx, const mmi_image_processor *p, const mmi_image *const *images, size_t n, mm_tensor_map *out,
                         mmi_image_layout *layouts);

/* The tiles of one picture of MMI_LAYOUT_SPLIT: its layout, then `layout->tiles` tiles into `to` [tiles, 3, side, side]. */
mm_status mmi_split_layout(mm_context *ctx, const mmi_image_processor *p, size_t width, size_t height, mmi_image_layout *layout);
mm_status mmi_split_fill(mm_context *ctx, const mmi_image_processor *p, const mmi_pixel_table *table, const mmi_image *image, float *to);

/* The tensors of MMI_LAYOUT_SPLIT for `tiles` tiles: "pixel_values", in *pixels, and "pixel_attention_mask". */
mm_status mmi_split_tensors(mm_context *ctx, const mmi_image_processor *p, size_t tiles, mm_tensor_map *out, mm_tensor **pixels);

#endif
