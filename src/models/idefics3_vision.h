/* The vision tower of Idefics3 and SmolVLM. SPDX-License-Identifier: MIT */
#ifndef MMI_IDEFICS3_VISION_H
#define MMI_IDEFICS3_VISION_H

#include "model.h"

extern const mmi_architecture mmi_idefics3_vision;

#endif
