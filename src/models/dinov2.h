/* DINOv2 vision encoders. SPDX-License-Identifier: MIT */
#ifndef MMI_DINOV2_H
#define MMI_DINOV2_H

#include "model.h"

extern const mmi_architecture mmi_dinov2, mmi_dinov2_with_registers;

#endif
