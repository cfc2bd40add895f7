/* The text towers of CLIP and SigLIP. SPDX-License-Identifier: MIT */
#ifndef MMI_CLIP_TEXT_H
#define MMI_CLIP_TEXT_H

#include "model.h"

extern const mmi_architecture mmi_clip_text, mmi_siglip_text;

#endif
