/* Pictures, video and sound as a model's processor prepares them for its prompt. SPDX-License-Identifier: MIT */
#ifndef MMI_MEDIA_H
#define MMI_MEDIA_H

#include "medium.h"
#include "mm_audio.h"
#include "mm_video.h"
#include "model.h"

/* `out` is cleared by mmi_medium_clear, after a failure too. MM_E_UNSUPPORTED: the model takes none. */
mm_status mmi_media_image(mm_context *ctx, const mm_model *m, const mm_image *image, mmi_medium *out);
mm_status mmi_media_video(mm_context *ctx, const mm_model *m, const mm_video *video, mmi_medium *out);
mm_status mmi_media_audio(mm_context *ctx, const mm_model *m, const mm_audio *audio, mmi_medium *out); /* one chunk; MM_E_LIMIT: longer */
void mmi_medium_clear(mmi_medium *medium);

/* All pictures of one prompt; layouts NULL or [n]. */
mm_status mmi_media_images(mm_context *ctx, const mm_model *m, const mm_image *const *images, size_t n, mm_tensor_map **out, mmi_image_layout *layouts);

#endif
