/* The GGUF block formats as ggml defines them (https://github.com/ggml-org/ggml, ggml-common.h describes the blocks):
 * their structures and the plain dequantization that defines what they mean.
 *
 * A block is cut into parts of 32 columns (one part, or eight in the 256-column K formats). In every format a column is
 *   scale * (code - zero)  or  scale * code + min
 * with an unsigned code of 2, 3, 4, 5, 6 or 8 bits (in IQ4_NL: scale * a value that the code chooses); a scale and a min serve one
 * part, in Q2_K, Q3_K and Q6_K half a part.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_BLOCK_QUANT_H
#define MMI_BLOCK_QUANT_H

#include <stddef.h>
#include <stdint.h>

enum { MMI_BLOCK_PART = 32 };

/* The codes of a part (0, or 0..7) of one block. The signed bytes of Q8_0 come as unsigned ones, 128 added. */
void mmi_block_codes(int32_t dtype, const uint8_t *block, size_t part, uint8_t codes[MMI_BLOCK_PART]);

/* The 6-bit scale and min of a part, from the 12 bytes that hold all of them in Q4_K and Q5_K. */
void mmi_block_scale_min(const uint8_t scales[12], size_t part, uint8_t *scale, uint8_t *min);

/* The signed scales of the halves of a part, from the 12 bytes that hold all of them in Q3_K. */
void mmi_block_half_scales(const uint8_t scales[12], size_t part, int8_t out[2]);

/* What the codes of IQ4_NL mean. */
extern const int8_t mmi_iq4_nl_values[16];

/* n elements (whole blocks) of a quantized dtype to f32. */
void mmi_dequantize(int32_t dtype, const void *src, float *dst, size_t n);

/* The other way, to the bits that gguf-py writes. A block with what is not finite gives blocks with it. */
int mmi_can_quantize(int32_t dtype); /* of the types that this can make */
void mmi_quantize(int32_t dtype, const float *src, void *dst, size_t n);

#endif
