/* CLIP's vision tower. SPDX-License-Identifier: MIT */
#ifndef MMI_CLIP_VISION_H
#define MMI_CLIP_VISION_H

#include "model.h"

extern const mmi_architecture mmi_clip_vision;

#endif
