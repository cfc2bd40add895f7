/* Vectors of 4 floats: the NEON side of the names that the templates are written in.
 * v_min and v_max give their second argument when either is NaN, as the instructions do not.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_VECTOR_NEON_H
#define MMI_VECTOR_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#include "unroll.h"

enum { LANES = 4 };

typedef float32x4_t vec;
typedef uint32x4_t mask; /* all bits of a lane, as comparisons give them */

static inline vec v_zero(void) { return vdupq_n_f32(0); }
static inline vec v_set(float x) { return vdupq_n_f32(x); }
static inline vec v_load(const float *p) { return vld1q_f32(p); }
static inline void v_store(float *p, vec a) { vst1q_f32(p, a); }

static inline mask m_first(size_t n) /* lanes 0 .. n-1, n <= LANES */
{
    static const uint32_t lane[LANES] = {0, 1, 2, 3};
    return vcgtq_u32(vdupq_n_u32((uint32_t)n), vld1q_u32(lane));
}
static inline mask m_and(mask a, mask b) { return vandq_u32(a, b); }
static inline mask m_not(mask a) { return vmvnq_u32(a); }
static inline mask m_less(vec a, vec b) { return vcltq_f32(a, b); }
static inline vec v_select(mask m, vec a, vec b) { return vbslq_f32(m, a, b); } /* m ? a : b */
static inline vec v_unless(mask m, vec a) { return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(a), m)); } /* m ? 0 : a */

/* There are no masked loads and stores: lanes are taken one by one. */
#define EACH_LANE(m, body)                     \
    do {                                       \
        uint32_t lanes[LANES];                 \
        vst1q_u32(lanes, m);                   \
        for (size_t i = 0; i < LANES; i++)     \
            if (lanes[i]) body;                \
    } while (0)

static inline vec v_load_masked(const float *p, mask m) /* other lanes are 0 and not read */
{
    float part[LANES] = {0};
    EACH_LANE(m, part[i] = p[i]);
    return v_load(part);
}
static inline void v_store_masked(float *p, mask m, vec a)
{
    float part[LANES];
    v_store(part, a);
    EACH_LANE(m, p[i] = part[i]);
}

static inline vec v_add(vec a, vec b) { return vaddq_f32(a, b); }
static inline vec v_sub(vec a, vec b) { return vsubq_f32(a, b); }
static inline vec v_mul(vec a, vec b) { return vmulq_f32(a, b); }
static inline vec v_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }              /* a b + c */
static inline vec v_fmsub(vec a, vec b, vec c) { return vfmaq_f32(vnegq_f32(c), a, b); } /* a b - c */
static inline vec v_fnmadd(vec a, vec b, vec c) { return vfmsq_f32(c, a, b); }           /* c - a b */
static inline vec v_div(vec a, vec b) { return vdivq_f32(a, b); }
static inline vec v_sqrt(vec a) { return vsqrtq_f32(a); }
static inline vec v_min(vec a, vec b) { return v_select(m_less(a, b), a, b); }
static inline vec v_max(vec a, vec b) { return v_select(m_less(b, a), a, b); }
static inline vec v_abs(vec a) { return vabsq_f32(a); }
static inline vec v_copysign(vec a, vec sign) { return v_select(vdupq_n_u32(0x80000000u), sign, a); }
static inline vec v_round(vec a) { return vrndnq_f32(a); }

static inline vec v_scale2_normal(vec a, vec n) /* a 2^n for -126 <= n <= 127 */
{
    return vmulq_f32(a, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23)));
}
static inline vec v_scale2(vec a, vec n) /* a 2^n, n whole, |n| <= 252: in two steps, so that the result may be subnormal */
{
    const vec half = vrndmq_f32(vmulq_f32(n, v_set(0.5f)));
    return v_scale2_normal(v_scale2_normal(a, half), vsubq_f32(n, half));
}

static inline float v_sum(vec a) { return vaddvq_f32(a); }
static inline float v_top(vec a) { return vmaxvq_f32(a); } /* of numbers */

/* Sums in float64, in half as many lanes. */
typedef float64x2_t wide;

static inline wide w_zero(void) { return vdupq_n_f64(0); }
static inline wide w_add_squares(wide sum, vec a)
{
    const wide low = vcvt_f64_f32(vget_low_f32(a)), high = vcvt_high_f64_f32(a);
    return vfmaq_f64(vfmaq_f64(sum, low, low), high, high);
}
static inline wide w_add(wide sum, vec a) { return vaddq_f64(sum, vaddq_f64(vcvt_f64_f32(vget_low_f32(a)), vcvt_high_f64_f32(a))); }
static inline double w_sum(wide a) { return vaddvq_f64(a); }

static inline uint16x4_t load_16bit_masked(const uint16_t *p, mask m)
{
    uint16_t part[LANES] = {0};
    EACH_LANE(m, part[i] = p[i]);
    return vld1_u16(part);
}

static inline vec v_widen_f16(uint16x4_t h) { return vcvt_f32_f16(vreinterpret_f16_u16(h)); }
static inline vec v_widen_bf16(uint16x4_t h) { return vreinterpretq_f32_u32(vshll_n_u16(h, 16)); }
static inline vec v_load_f16(const uint16_t *p) { return v_widen_f16(vld1_u16(p)); }
static inline vec v_load_bf16(const uint16_t *p) { return v_widen_bf16(vld1_u16(p)); }
static inline vec v_load_f16_masked(const uint16_t *p, mask m) { return v_widen_f16(load_16bit_masked(p, m)); }
static inline vec v_load_bf16_masked(const uint16_t *p, mask m) { return v_widen_bf16(load_16bit_masked(p, m)); }
static inline void v_store_f16(uint16_t *p, vec a) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(a))); }
static inline void v_store_f16_masked(uint16_t *p, mask m, vec a)
{
    uint16_t part[LANES];
    v_store_f16(part, a);
    EACH_LANE(m, p[i] = part[i]);
}

/* Split 2 LANES interleaved floats a, b into even and odd elements, and back. */
static inline void v_deinterleave(vec a, vec b, vec *even, vec *odd)
{
    *even = vuzp1q_f32(a, b);
    *odd = vuzp2q_f32(a, b);
}

static inline void v_interleave(vec even, vec odd, vec *a, vec *b)
{
    *a = vzip1q_f32(even, odd);
    *b = vzip2q_f32(even, odd);
}

/* Rows to columns of a LANES x LANES square. */
static ALWAYS_INLINE void v_transpose(vec r[LANES])
{
    const vec a = vzip1q_f32(r[0], r[2]), b = vzip2q_f32(r[0], r[2]), c = vzip1q_f32(r[1], r[3]), d = vzip2q_f32(r[1], r[3]);
    v_interleave(a, c, &r[0], &r[1]);
    v_interleave(b, d, &r[2], &r[3]);
}

#endif
