/* SPDX-License-Identifier: MIT */
#ifndef MMI_QWEN2_VL_H
#define MMI_QWEN2_VL_H

#include "model.h"

extern const mmi_architecture mmi_qwen2_vl;

#endif
