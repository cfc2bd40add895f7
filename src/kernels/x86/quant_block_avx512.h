/* One packed block (16 rows x 32 columns) into AVX-512 registers, for the AVX-512 and AMX kernels.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_QUANT_BLOCK_AVX512_H
#define MMI_QUANT_BLOCK_AVX512_H

#include <immintrin.h>

#include "block_quant.h"
#include "quant_layout.h"
#include "unroll.h"

/* Kernels are written once, with the dtype as an argument that is constant in each instance (hence ALWAYS_INLINE). */

/* Unsigned codes, c[k4] holding 16 rows x 4 columns. */
static ALWAYS_INLINE void mmi_block_load_codes(mmi_quant_format f, const uint8_t *p, __m512i c[8])
{
    const __m512i low = _mm512_set1_epi8(15);
    const int bits = f.bits;

    if (bits <= 3) {
        UNROLL
        for (int k4 = 0; k4 < 8; k4++) {
            c[k4] = _mm512_and_si512(_mm512_srli_epi16(_mm512_loadu_si512(p + k4 / 4 * 64), (unsigned)(k4 % 4 * 2)), _mm512_set1_epi8(3));
            if (bits == 3) { /* the high bit is moved to bit 2 */
                __m512i h = _mm512_loadu_si512(p + 128);
                h = k4 <= 2 ? _mm512_slli_epi16(h, (unsigned)(2 - k4)) : _mm512_srli_epi16(h, (unsigned)(k4 - 2));
                c[k4] = _mm512_ternarylogic_epi32(c[k4], h, _mm512_set1_epi8(4), 0xF8);
            }
        }
        return;
    }
    if (bits == 8) {
        UNROLL
        for (int k4 = 0; k4 < 8; k4++) c[k4] = _mm512_loadu_si512(p + 64 * k4);
        return;
    }
    UNROLL
    for (int j = 0; j < 4; j++) {
        __m512i v = _mm512_loadu_si512(p + 64 * j);
        c[j] = _mm512_and_si512(v, low);
        c[4 + j] = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
    }
    if (f.codebook) {
        __m512i values = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)mmi_iq4_nl_values));
        values = _mm512_xor_si512(values, _mm512_set1_epi8((char)0x80)); /* 128 added */
        UNROLL
        for (int k4 = 0; k4 < 8; k4++) c[k4] = _mm512_shuffle_epi8(values, c[k4]);
    }
    if (bits == 4) return;

    /* The high bits are moved to bit 4 and put in: c | (h & mask). */
    UNROLL
    for (int k4 = 0; k4 < 8; k4++) {
        int from = bits == 5 ? k4 : k4 % 4 * 2;
        __m512i h = _mm512_loadu_si512(p + 256 + (bits == 5 ? 0 : k4 / 4 * 64));
        h = from <= 4 ? _mm512_slli_epi16(h, (unsigned)(4 - from)) : _mm512_srli_epi16(h, (unsigned)(from - 4));
        c[k4] = _mm512_ternarylogic_epi32(c[k4], h, _mm512_set1_epi8(bits == 5 ? 0x10 : 0x30), 0xF8);
    }
}

typedef struct {
    __m512 scale[2], min[2]; /* of columns 0..15 and 16..31; the same unless the format has halves */
} mmi_block_scales;

static ALWAYS_INLINE __m512 mmi_load_f16(const uint8_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
static ALWAYS_INLINE __m512 mmi_load_u8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
static ALWAYS_INLINE __m512 mmi_load_i8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

/* d times an integer scale is exact in f32. */
static ALWAYS_INLINE mmi_block_scales mmi_block_load_scales(mmi_quant_format f, mmi_quant_group g, size_t b)
{
    const uint8_t *s = g.scales + b * f.scale_bytes, *d = g.super + b / 8 * f.super_bytes;
    mmi_block_scales out;

    out.min[0] = out.min[1] = _mm512_setzero_ps();
    if (!f.is_k) {
        out.scale[0] = out.scale[1] = mmi_load_f16(s);
        if (f.has_min) out.min[0] = out.min[1] = mmi_load_f16(s + 32);
    } else if (f.has_min) {
        __m512 negative_dmin = _mm512_xor_ps(mmi_load_f16(d + 32), _mm512_set1_ps(-0.0f));
        if (f.halves == 2) {
            UNROLL
            for (int h = 0; h < 2; h++) {
                __m512i v = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(s + 16 * h)));
                out.scale[h] = _mm512_mul_ps(mmi_load_f16(d), _mm512_cvtepi32_ps(_mm512_and_si512(v, _mm512_set1_epi32(15))));
                out.min[h] = _mm512_mul_ps(negative_dmin, _mm512_cvtepi32_ps(_mm512_srli_epi32(v, 4)));
            }
            return out;
        }
        out.scale[0] = out.scale[1] = _mm512_mul_ps(mmi_load_f16(d), mmi_load_u8(s));
        out.min[0] = out.min[1] = _mm512_mul_ps(negative_dmin, mmi_load_u8(s + 16));
    } else {
        out.scale[0] = _mm512_mul_ps(mmi_load_f16(d), mmi_load_i8(s));
        out.scale[1] = _mm512_mul_ps(mmi_load_f16(d), mmi_load_i8(s + 16));
    }
    return out;
}

/* The columns of the group that exist, from column 16 g of a row of y. */
static ALWAYS_INLINE void mmi_store_outputs(const mmi_quant_tile *t, size_t g, size_t row, __m512 acc)
{
    size_t left = t->rows - g * MMI_PACK_ROWS;
    unsigned mask = left < MMI_PACK_ROWS ? (1u << left) - 1 : 0xFFFF;
    _mm512_mask_storeu_ps(t->y + row * t->ldy + g * MMI_PACK_ROWS, (__mmask16)mask, acc);
}

/* A float x_step bytes times r further on: the same block of another row of activations. */
static ALWAYS_INLINE __m512 mmi_row_float(const float *p, size_t r, size_t x_step)
{
    return _mm512_set1_ps(*(const float *)((const char *)p + r * x_step));
}

static ALWAYS_INLINE __m512 mmi_row_scaled_sum(mmi_quant_format f, mmi_quant_row x, size_t b, const int h, size_t r, size_t x_step)
{
    if (f.halves == 1) return mmi_row_float(x.scaled_sums + b, r, x_step);
    return _mm512_mul_ps(mmi_row_float(x.scales + b, r, x_step),
                         _mm512_set1_ps(*(const int16_t *)((const char *)(x.sums + 2 * b + h) + r * x_step)));
}

void mmi_quant_linear_avx512(const mmi_quant_tile *t);
void mmi_row_linear_avx512(const mmi_quant_tile *t);

#endif
