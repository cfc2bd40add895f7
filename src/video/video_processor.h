/* From a video to what a vision model takes: the video processors of Qwen2-VL and SmolVLM, with the steps of src/image.
 * Frames are resized as Pillow does, where transformers' tensors may differ by one of 256 levels.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_VIDEO_PROCESSOR_H
#define MMI_VIDEO_PROCESSOR_H

#include "frames.h"
#include "preprocess.h"

/* Process the frames that mmi_video_sample chose, one at a time.
 *
 *   out     receives the tensors under transformers' names; the caller destroys it; NULL after a failure
 *             GRID   "pixel_values_videos" [patches, 3 * temporal * patch * patch] float32, "video_grid_thw" [1, 3] int64,
 *                    "second_per_grid_ts" [1] float32; the last frame is repeated to fill the last patches
 *             SPLIT  "pixel_values" [1, count, 3, side, side] float32, "pixel_attention_mask" [1, count, side, side] int64
 *   layout  of each frame, or NULL
 *
 * MM_E_SHAPE (frames of different sizes, and as mmi_image_processor_run) and what reading a frame returns. */
mm_status mmi_video_processor_run(mm_context *ctx, const mmi_image_processor *p, const mm_video *video, const size_t *indices, size_t count,
                                  mm_tensor_map **out, mmi_image_layout *layout);

#endif
