/* Vectors of 8 floats: the AVX2 side of the names that the templates are written in.
 * v_min and v_max give their second argument when either is NaN.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_VECTOR_AVX2_H
#define MMI_VECTOR_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "unroll.h"

enum { LANES = 8 };

typedef __m256 vec;
typedef __m256 mask; /* all bits of a lane, as comparisons give them */

static inline vec v_zero(void) { return _mm256_setzero_ps(); }
static inline vec v_set(float x) { return _mm256_set1_ps(x); }
static inline vec v_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void v_store(float *p, vec a) { _mm256_storeu_ps(p, a); }

static inline mask m_first(size_t n) /* lanes 0 .. n-1, n <= LANES */
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane));
}
static inline mask m_and(mask a, mask b) { return _mm256_and_ps(a, b); }
static inline mask m_not(mask a) { return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1))); }
static inline mask m_less(vec a, vec b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
static inline vec v_select(mask m, vec a, vec b) { return _mm256_blendv_ps(b, a, m); } /* m ? a : b */
static inline vec v_load_masked(const float *p, mask m) /* other lanes are 0 and not read */
{
    return _mm256_maskload_ps(p, _mm256_castps_si256(m));
}
static inline void v_store_masked(float *p, mask m, vec a) { _mm256_maskstore_ps(p, _mm256_castps_si256(m), a); }

static inline vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
static inline vec v_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
static inline vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }       /* a b + c */
static inline vec v_fmsub(vec a, vec b, vec c) { return _mm256_fmsub_ps(a, b, c); }     /* a b - c */
static inline vec v_fnmadd(vec a, vec b, vec c) { return _mm256_fnmadd_ps(a, b, c); }   /* c - a b */
static inline vec v_div(vec a, vec b) { return _mm256_div_ps(a, b); }
static inline vec v_sqrt(vec a) { return _mm256_sqrt_ps(a); }
static inline vec v_min(vec a, vec b) { return _mm256_min_ps(a, b); }
static inline vec v_max(vec a, vec b) { return _mm256_max_ps(a, b); }
static inline vec v_abs(vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline vec v_copysign(vec a, vec sign) /* a is not negative */
{
    return _mm256_or_ps(a, _mm256_and_ps(sign, _mm256_set1_ps(-0.0f)));
}
static inline vec v_round(vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

static inline vec v_scale2(vec a, vec n) /* a 2^n, n whole, |n| <= 252: in two steps, so that the result may be subnormal */
{
    __m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1), rest = _mm256_sub_epi32(i, half);
    const __m256i one = _mm256_set1_epi32(127);
    a = _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, one), 23)));
    return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, one), 23)));
}

static inline vec v_scale2_normal(vec a, vec n) /* a 2^n for -126 <= n <= 127 */
{
    const __m256i i = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(i, 23)));
}
static inline vec v_unless(mask m, vec a) { return _mm256_andnot_ps(m, a); } /* m ? 0 : a */

static inline float v_sum(vec a)
{
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    t = _mm_add_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}

/* Sums in float64, in half as many lanes. */
typedef __m256d wide;

static inline wide w_zero(void) { return _mm256_setzero_pd(); }
static inline wide w_add_squares(wide sum, vec a)
{
    const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(a)), high = _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1));
    return _mm256_fmadd_pd(high, high, _mm256_fmadd_pd(low, low, sum));
}
static inline wide w_add(wide sum, vec a)
{
    return _mm256_add_pd(sum, _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(a)), _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1))));
}
static inline double w_sum(wide a)
{
    const __m128d t = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(t, _mm_unpackhi_pd(t, t)));
}

static inline float v_top(vec a)
{
    __m128 t = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    t = _mm_max_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
}

/* There is no masked 16-bit load: lanes of the mask are a prefix, which is copied. */
static inline __m128i v_load_16bit_masked(const uint16_t *p, mask m)
{
    uint16_t part[8] = {0};
    memcpy(part, p, sizeof *part * (size_t)__builtin_popcount((unsigned)_mm256_movemask_ps(m)));
    return _mm_loadu_si128((const __m128i *)(const void *)part);
}

static inline vec v_load_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)); }
static inline vec v_load_f16_masked(const uint16_t *p, mask m) { return _mm256_cvtph_ps(v_load_16bit_masked(p, m)); }
static inline void v_store_f16(uint16_t *p, vec a)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline void v_store_f16_masked(uint16_t *p, mask m, vec a)
{
    uint16_t part[8];
    v_store_f16(part, a);
    memcpy(p, part, sizeof *part * (size_t)__builtin_popcount((unsigned)_mm256_movemask_ps(m)));
}

static inline vec v_widen_bf16(__m128i h) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16)); }
static inline vec v_load_bf16(const uint16_t *p) { return v_widen_bf16(_mm_loadu_si128((const __m128i *)(const void *)p)); }
static inline vec v_load_bf16_masked(const uint16_t *p, mask m) { return v_widen_bf16(v_load_16bit_masked(p, m)); }

/* Split 2 LANES interleaved floats a, b into even and odd elements, and back. */
static inline void v_deinterleave(vec a, vec b, vec *even, vec *odd)
{
    *even = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88)), 0xd8));
    *odd = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xdd)), 0xd8));
}

static inline void v_interleave(vec even, vec odd, vec *a, vec *b)
{
    vec low = _mm256_unpacklo_ps(even, odd), high = _mm256_unpackhi_ps(even, odd);
    *a = _mm256_permute2f128_ps(low, high, 0x20);
    *b = _mm256_permute2f128_ps(low, high, 0x31);
}

/* Rows to columns of a LANES x LANES square. */
static ALWAYS_INLINE void v_transpose(vec r[8])
{
    vec t[8];
    UNROLL for (int i = 0; i < 8; i += 2)
    {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    UNROLL for (int i = 0; i < 8; i += 4)
    {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    UNROLL for (int j = 0; j < 4; j++)
    {
        t[j] = _mm256_permute2f128_ps(r[j], r[4 + j], 0x20);
        t[4 + j] = _mm256_permute2f128_ps(r[j], r[4 + j], 0x31);
    }
    UNROLL for (int i = 0; i < 8; i++) r[i] = t[i];
}

#endif
