/* Pictures, video and sound as a model's processor prepares them for its prompt. SPDX-License-Identifier: MIT */
#ifndef MMI_MEDIA_H
#define MMI_MEDIA_H

#include "medium.h"
#include "model.h"

/* `out` is cleared by mmi_medium_clear, after a failure too. MM_E_UNSUPPORTED: the model takes none. */
mm_status mmi_media_image(mm_context *ctx, const mm_model *m, const mm_image *image, mmi_medium *out);
void mmi_medium_clear(mmi_medium *medium);

#endif
