/* Running a model on named tensors. SPDX-License-Identifier: MIT */
#ifndef MMI_FORWARD_H
#define MMI_FORWARD_H

#include "model.h"
#include "tensor.h"

/* mm_model_forward of mm_model.h; `wanted` are names of outputs to compute, NULL at the end, NULL for all. */
mm_status mmi_forward(mm_context *ctx, const mm_model *m, const mm_tensor_map *inputs, const char *const *wanted, mm_tensor_map **outputs);

/* The source of a model with MMI_FUSION_CROSS, a batch of one: its keys and values into `cross`, which then holds its tokens. */
mm_status mmi_forward_source(mm_context *ctx, const mm_model *m, const mm_tensor_map *inputs, mmi_kv_cache *cross);

#endif
