/* Which frames of a video a processor takes: sample_frames of transformers' video processors.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_FRAME_SAMPLING_H
#define MMI_FRAME_SAMPLING_H

#include "processor_config.h"

/* Choose among `total` frames (1 or more) that come `rate` a second. *indices, in rising order, is the caller's, to be freed
 * with mmi_free; NULL after a failure. Without do_sample_frames it is all of them.
 * MM_E_SHAPE: the video is too short for what is asked; MM_E_NOMEM. */
mm_status mmi_video_sample(mm_context *ctx, const mmi_image_processor *p, size_t total, double rate, size_t **indices, size_t *count);

#endif
