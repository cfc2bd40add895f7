/* Qwen2 language models. SPDX-License-Identifier: MIT */
#ifndef MMI_QWEN2_H
#define MMI_QWEN2_H

#include "model.h"

extern const mmi_architecture mmi_qwen2;

/* use_sliding_window, sliding_window, max_window_layers and layer_types of a Qwen. */
mm_status mmi_qwen_windows(mm_context *ctx, mm_model *m, const mmi_json *doc);

#endif
