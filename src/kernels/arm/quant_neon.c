/* Block-quantized linear with the NEON of every aarch64, and rows of activations. SPDX-License-Identifier: MIT */
#include "vector_neon.h"

/* Products and sums of two fit into 16 bits: activations are no smaller than -127. */
static ALWAYS_INLINE int32x4_t dot(int32x4_t sum, int8x16_t w, int8x8_t x)
{
    return vpadalq_s16(sum, vpaddq_s16(vmull_s8(vget_low_s8(w), x), vmull_s8(vget_high_s8(w), x)));
}

#define DOT(sum, w, x, lane) dot(sum, w, vreinterpret_s8_s32(vdup_laneq_s32(vreinterpretq_s32_s8(x), lane)))
#include "quant_template.h"

static void quantize_row(const float *x, size_t n, size_t span, void *row)
{
    int8_t *codes = row;
    const size_t blocks = n / MMI_QUANT_BLOCK;
    float *scales = (float *)((char *)row + mmi_quant_row_code_bytes(n)), *scaled_sums = scales + blocks, scale = 0;
    int16_t *sums = (int16_t *)(scaled_sums + blocks);
    vec inverse = v_zero();
    int finite = 1;

    for (size_t b = 0; b < blocks; b++, x += MMI_QUANT_BLOCK, codes += MMI_QUANT_BLOCK, sums += 2) {
        if (b % span == 0) {
            uint32x4_t most = vdupq_n_u32(0);

            /* Magnitudes order as integers, infinity and NaN above all others. */
            for (size_t i = 0; i < (span < blocks - b ? span : blocks - b) * MMI_QUANT_BLOCK; i += LANES)
                most = vmaxq_u32(most, vreinterpretq_u32_f32(v_abs(v_load(x + i))));
            const uint32_t bits = vmaxvq_u32(most);
            float largest;
            memcpy(&largest, &bits, sizeof largest);
            finite = bits < 0x7F800000;
            const int some = finite && largest >= MMI_QUANT_TINY;
            inverse = v_set(some ? 127 / largest : 0);
            scale = !finite ? NAN : some ? largest / 127 : 0;
        }
        scales[b] = scale;
        for (size_t h = 0; h < 2; h++) {
            int16x4_t q[4];
            for (size_t i = 0; i < 4; i++) q[i] = finite ? vmovn_s32(vcvtnq_s32_f32(v_mul(v_load(x + 16 * h + 4 * i), inverse))) : vdup_n_s16(0);
            const int8x16_t all = vcombine_s8(vmovn_s16(vcombine_s16(q[0], q[1])), vmovn_s16(vcombine_s16(q[2], q[3])));
            vst1q_s8(codes + 16 * h, all);
            sums[h] = vaddlvq_s8(all);
        }
        scaled_sums[b] = scale * (float)(sums[0] + sums[1]);
    }
}

void mmi_kernels_quant_neon(mmi_kernels *k)
{
    k->quantize_row = quantize_row;
    k->quant_linear = quant_linear;
    k->row_linear = row_linear;
}
