/* Element types: their names and block sizes.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_DTYPE_H
#define MMI_DTYPE_H

#include <stddef.h>
#include <stdint.h>

#include "mm_tensor.h"

typedef struct {
    const char *name;
    size_t block;       /* elements in a block, 1 for plain types */
    size_t block_bytes; /* bytes of a block */
} mmi_dtype_info;

/* NULL for a number that is no dtype. */
const mmi_dtype_info *mmi_dtype_get(int32_t dtype);

int mmi_dtype_is_quantized(int32_t dtype);

/* Bytes of `n` elements in a row; nonzero when n is no whole number of blocks or the product does not fit. */
int mmi_dtype_bytes(int32_t dtype, size_t n, size_t *out);

static inline float mmi_bf16_to_f32(uint16_t h)
{
    union { uint32_t u; float f; } v = {(uint32_t)h << 16};
    return v.f;
}

uint16_t mmi_f32_to_bf16(float f); /* round to nearest even, NaN stays NaN */
float mmi_f16_to_f32(uint16_t h);
uint16_t mmi_f32_to_f16(float f); /* round to nearest even */

#endif
