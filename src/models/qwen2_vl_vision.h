/* The vision part of Qwen2-VL and Qwen2.5-VL. SPDX-License-Identifier: MIT */
#ifndef MMI_QWEN2_VL_VISION_H
#define MMI_QWEN2_VL_VISION_H

#include "model.h"

extern const mmi_architecture mmi_qwen2_vl_vision;

/* Patches of each side that become one token. */
int64_t mmi_qwen2_vl_merge(const mm_model *vision);
/* Steps of temporal positions in a second of video, 0: one a grid step. */
int64_t mmi_qwen2_vl_tokens_per_second(const mm_model *vision);

#endif
