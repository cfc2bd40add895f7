/* The tensor behind include/mm_tensor.h, and maps of named tensors.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_TENSOR_H
#define MMI_TENSOR_H

#include "context.h"
#include "dtype.h"
#include "mm_tensor.h"

/* Elements of a shape and bytes of its data; MM_E_ARGUMENT, MM_E_SHAPE or MM_E_OVERFLOW with a sentence. */
mm_status mmi_tensor_measure(mm_context *ctx, int32_t dtype, int32_t rank, const int64_t *shape, size_t *elements, size_t *bytes);

/* Maps with the same names as one: the tensors of a name one behind another along their first dimension. MM_E_SHAPE names one that has other dimensions. */
mm_status mmi_tensor_maps_stack(mm_context *ctx, const mm_tensor_map *const *maps, size_t n, mm_tensor_map **out);

#endif
