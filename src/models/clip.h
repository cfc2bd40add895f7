/* Two towers joined at the top. SPDX-License-Identifier: MIT */
#ifndef MMI_CLIP_H
#define MMI_CLIP_H

#include "model.h"

extern const mmi_architecture mmi_clip, mmi_dual_encoder, mmi_siglip, mmi_siglip2;

#endif
