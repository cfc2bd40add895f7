/* The vision towers of SigLIP and SigLIP 2. SPDX-License-Identifier: MIT */
#ifndef MMI_SIGLIP_VISION_H
#define MMI_SIGLIP_VISION_H

#include "model.h"

extern const mmi_architecture mmi_siglip_vision, mmi_siglip2_vision;

#endif
