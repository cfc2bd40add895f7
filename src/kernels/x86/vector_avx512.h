/* Vectors of 16 floats: the AVX-512 side of the names that the templates are written in.
 * v_min and v_max give their second argument when either is NaN.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_VECTOR_AVX512_H
#define MMI_VECTOR_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "unroll.h"

enum { LANES = 16 };

typedef __m512 vec;
typedef __mmask16 mask;

static inline vec v_zero(void) { return _mm512_setzero_ps(); }
static inline vec v_set(float x) { return _mm512_set1_ps(x); }
static inline vec v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void v_store(float *p, vec a) { _mm512_storeu_ps(p, a); }

static inline mask m_first(size_t n) { return (mask)((1u << n) - 1u); } /* lanes 0 .. n-1, n <= LANES */
static inline mask m_and(mask a, mask b) { return a & b; }
static inline mask m_not(mask a) { return (mask)~a; }
static inline mask m_less(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline vec v_select(mask m, vec a, vec b) { return _mm512_mask_blend_ps(m, b, a); } /* m ? a : b */
static inline vec v_load_masked(const float *p, mask m) /* other lanes are 0 and not read */
{
    return _mm512_maskz_loadu_ps(m, p);
}
static inline void v_store_masked(float *p, mask m, vec a) { _mm512_mask_storeu_ps(p, m, a); }

static inline vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
static inline vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
static inline vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }       /* a b + c */
static inline vec v_fmsub(vec a, vec b, vec c) { return _mm512_fmsub_ps(a, b, c); }     /* a b - c */
static inline vec v_fnmadd(vec a, vec b, vec c) { return _mm512_fnmadd_ps(a, b, c); }   /* c - a b */
static inline vec v_div(vec a, vec b) { return _mm512_div_ps(a, b); }
static inline vec v_sqrt(vec a) { return _mm512_sqrt_ps(a); }
static inline vec v_min(vec a, vec b) { return _mm512_min_ps(a, b); }
static inline vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); }
static inline vec v_abs(vec a) { return _mm512_abs_ps(a); }
static inline vec v_copysign(vec a, vec sign) /* a is not negative */
{
    return _mm512_or_ps(a, _mm512_and_ps(sign, _mm512_set1_ps(-0.0f)));
}
static inline vec v_round(vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline vec v_scale2(vec a, vec n) { return _mm512_scalef_ps(a, n); } /* a 2^n, n whole */
static inline vec v_scale2_normal(vec a, vec n) { return v_scale2(a, n); }
static inline vec v_unless(mask m, vec a) { return _mm512_maskz_mov_ps((mask)~m, a); } /* m ? 0 : a */

static inline float v_sum(vec a)
{
    __m256 s = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_add_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}

/* Sums in float64, in half as many lanes. */
typedef __m512d wide;

static inline wide w_zero(void) { return _mm512_setzero_pd(); }
static inline wide w_add_squares(wide sum, vec a)
{
    const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(a)), high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1));
    return _mm512_fmadd_pd(high, high, _mm512_fmadd_pd(low, low, sum));
}
static inline wide w_add(wide sum, vec a)
{
    return _mm512_add_pd(sum, _mm512_add_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(a)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1))));
}
static inline double w_sum(wide a) { return _mm512_reduce_add_pd(a); }

static inline float v_top(vec a) { return _mm512_reduce_max_ps(a); }

static inline vec v_load_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p)); }
static inline vec v_load_f16_masked(const uint16_t *p, mask m) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, p)); }
static inline void v_store_f16(uint16_t *p, vec a)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline void v_store_f16_masked(uint16_t *p, mask m, vec a)
{
    _mm256_mask_storeu_epi16(p, m, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline vec v_widen_bf16(__m256i h) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16)); }
static inline vec v_load_bf16(const uint16_t *p) { return v_widen_bf16(_mm256_loadu_si256((const __m256i *)(const void *)p)); }
static inline vec v_load_bf16_masked(const uint16_t *p, mask m) { return v_widen_bf16(_mm256_maskz_loadu_epi16(m, p)); }

/* Split 2 LANES interleaved floats a, b into even and odd elements, and back. */
static inline void v_deinterleave(vec a, vec b, vec *even, vec *odd)
{
    const __m512i e = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    *even = _mm512_permutex2var_ps(a, e, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_or_si512(e, _mm512_set1_epi32(1)), b);
}

static inline void v_interleave(vec even, vec odd, vec *a, vec *b)
{
    const __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    *a = _mm512_permutex2var_ps(even, low, odd);
    *b = _mm512_permutex2var_ps(even, _mm512_add_epi32(low, _mm512_set1_epi32(8)), odd);
}

/* Rows to columns of a LANES x LANES square. */
static ALWAYS_INLINE void v_transpose(vec r[16])
{
    vec t[16];
    UNROLL for (int i = 0; i < 16; i += 2)
    {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    UNROLL for (int i = 0; i < 16; i += 4)
    {
        __m512d a = _mm512_castps_pd(t[i]), b = _mm512_castps_pd(t[i + 1]);
        __m512d c = _mm512_castps_pd(t[i + 2]), d = _mm512_castps_pd(t[i + 3]);
        r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    /* r[4 i + j] holds, in its 128-bit part p, column 4 p + j of rows 4 i .. 4 i + 3 */
    UNROLL for (int j = 0; j < 4; j++)
    {
        vec a = _mm512_shuffle_f32x4(r[j], r[4 + j], 0x88), b = _mm512_shuffle_f32x4(r[j], r[4 + j], 0xdd);
        vec c = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0x88), d = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0xdd);
        t[j] = _mm512_shuffle_f32x4(a, c, 0x88);
        t[8 + j] = _mm512_shuffle_f32x4(a, c, 0xdd);
        t[4 + j] = _mm512_shuffle_f32x4(b, d, 0x88);
        t[12 + j] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
    UNROLL for (int i = 0; i < 16; i++) r[i] = t[i];
}

#endif
