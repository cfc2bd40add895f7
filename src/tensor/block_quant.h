/* The GGUF block formats as ggml defines them (https://github.com/ggml-org/ggml, ggml-common.h describes the blocks):
 * their structures and the plain dequantization that defines what they mean.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_BLOCK_QUANT_H
#define MMI_BLOCK_QUANT_H

#include <stddef.h>
#include <stdint.h>

/* n elements (whole blocks) of a quantized dtype to f32. */
void mmi_dequantize(int32_t dtype, const void *src, float *dst, size_t n);

#endif
