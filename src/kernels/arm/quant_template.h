/* Block-quantized linear for aarch64: included with DOT(sum, w, x, lane) defined, which adds to each of 4 sums the products of its
 * four bytes of w with the four of x in this lane.
 *
 * Four rows of weights at a time: the codes of a block fill 8 registers and stay there for all rows of activations.
 * The arithmetic is stated in quant_layout.h. SPDX-License-Identifier: MIT */
#ifndef MMI_QUANT_TEMPLATE_H
#define MMI_QUANT_TEMPLATE_H

#include <math.h>
#include <string.h>

#include "block_quant.h"
#include "kernels.h"
#include "quant_layout.h"
#include "vector_neon.h"

enum { ROWS = 64 }; /* activation rows whose sums are held at a time */

/* A block of 4 rows: c[k4] holds 4 columns of each, signed or no larger than 63; scales and mins of columns 0..15 and 16..31, or of all. */
typedef struct {
    int8x16_t c[8];
    vec scale[2], min[2];
} block;

static ALWAYS_INLINE uint8x16_t bits_at(const uint8_t *p, int from, int to, uint8_t wanted) /* moved from one place in a byte to another */
{
    return vandq_u8(vshlq_u8(vld1q_u8(p), vdupq_n_s8((int8_t)(to - from))), vdupq_n_u8(wanted));
}

static ALWAYS_INLINE void load_codes(mmi_quant_format f, const uint8_t *p, int8x16_t c[8])
{
    UNROLL
    for (int k4 = 0; k4 < 8; k4++) {
        const int half = k4 / 4, j = k4 % 4;
        uint8x16_t v;

        if (f.bits == 8) v = veorq_u8(vld1q_u8(p + 64 * k4), vdupq_n_u8(0x80));
        else if (f.bits <= 3) v = bits_at(p + 64 * half, 2 * j, 0, 3);
        else v = bits_at(p + 64 * j, 4 * half, 0, 15);
        if (f.bits == 3) v = vorrq_u8(v, bits_at(p + 128, k4, 2, 4));
        if (f.bits == 5) v = vorrq_u8(v, bits_at(p + 256, k4, 4, 0x10));
        if (f.bits == 6) v = vorrq_u8(v, bits_at(p + 256 + 64 * half, 2 * j, 4, 0x30));
        c[k4] = f.codebook ? vqtbl1q_s8(vld1q_s8(mmi_iq4_nl_values), v) : vreinterpretq_s8_u8(v);
    }
}

static ALWAYS_INLINE vec load_f16(const uint8_t *p) { return v_widen_f16(vreinterpret_u16_u8(vld1_u8(p))); }

static ALWAYS_INLINE uint8x8_t load_4(const uint8_t *p)
{
    uint32_t four;
    memcpy(&four, p, sizeof four);
    return vreinterpret_u8_u32(vdup_n_u32(four));
}
static ALWAYS_INLINE vec from_u8(uint8x8_t v) { return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(v)))); }
static ALWAYS_INLINE vec from_i8(uint8x8_t v) { return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(v))))); }

static ALWAYS_INLINE void load_scales(mmi_quant_format f, const uint8_t *scales, const uint8_t *super, size_t row, block *w)
{
    if (!f.is_k) {
        w->scale[0] = load_f16(scales + 2 * row);
        if (f.has_min) w->min[0] = load_f16(scales + 32 + 2 * row);
        return;
    }
    const vec d = load_f16(super + 2 * row);
    if (!f.has_min) {
        w->scale[0] = v_mul(d, from_i8(load_4(scales + row)));
        w->scale[1] = v_mul(d, from_i8(load_4(scales + 16 + row)));
        return;
    }
    const vec dmin = vnegq_f32(load_f16(super + 32 + 2 * row));
    if (f.halves == 1) {
        w->scale[0] = v_mul(d, from_u8(load_4(scales + row)));
        w->min[0] = v_mul(dmin, from_u8(load_4(scales + 16 + row)));
        return;
    }
    UNROLL
    for (int h = 0; h < 2; h++) {
        const uint8x8_t v = load_4(scales + 16 * h + row);
        w->scale[h] = v_mul(d, from_u8(vand_u8(v, vdup_n_u8(15))));
        w->min[h] = v_mul(dmin, from_u8(vshr_n_u8(v, 4)));
    }
}

static ALWAYS_INLINE int32x4_t add_half(const int8x16_t c[4], const int8_t *codes, int32x4_t sum)
{
    const int8x16_t x = vld1q_s8(codes);
    sum = DOT(sum, c[0], x, 0);
    sum = DOT(sum, c[1], x, 1);
    sum = DOT(sum, c[2], x, 2);
    return DOT(sum, c[3], x, 3);
}

/* One block of one row of activations. */
static ALWAYS_INLINE vec add_block(mmi_quant_format f, const block *w, mmi_quant_row x, size_t b, vec acc)
{
    const int8_t *codes = x.codes + b * MMI_QUANT_BLOCK;
    const int zero = f.bits == 8 || f.codebook ? 0 : f.zero; /* signed codes have it taken off */

    UNROLL
    for (int h = 0; h < f.halves; h++) {
        const int16_t *s = x.sums + 2 * b + h;
        int32x4_t sum = vdupq_n_s32(zero ? -zero * (f.halves == 2 ? s[0] : s[0] + s[1]) : 0);

        sum = add_half(w->c + 4 * h, codes + 16 * h, sum);
        if (f.halves == 1) sum = add_half(w->c + 4, codes + 16, sum);
        acc = v_fma(v_mul(w->scale[h], v_set(x.scales[b])), vcvtq_f32_s32(sum), acc);
        if (f.has_min) acc = v_fma(w->min[h], v_set(mmi_quant_row_scaled_sum(f, x, b, h)), acc);
    }
    return acc;
}

static ALWAYS_INLINE void linear(int32_t dtype, const mmi_quant_tile *t)
{
    const mmi_quant_format f = mmi_quant_format_of(dtype);
    const size_t group_bytes = mmi_pack_group_bytes(dtype, t->cols), row_bytes = mmi_quant_row_bytes(t->cols);

    for (size_t m0 = 0; m0 < t->m; m0 += ROWS) {
        const size_t n = t->m - m0 < ROWS ? t->m - m0 : ROWS;
        const char *x = (const char *)t->x + m0 * row_bytes;

        for (size_t i = t->group0; i < t->group1; i++) {
            const mmi_quant_group g = mmi_quant_group_at(dtype, (const char *)t->packed + i * group_bytes, t->cols);
            const size_t first = i * MMI_PACK_ROWS, outputs = t->rows - first < MMI_PACK_ROWS ? t->rows - first : MMI_PACK_ROWS;
            float acc[ROWS][MMI_PACK_ROWS];

            memset(acc, 0, n * sizeof *acc);
            for (size_t b = 0; b < t->cols / MMI_QUANT_BLOCK; b++) {
                for (size_t row = 0; row < MMI_PACK_ROWS; row += LANES) {
                    block w;
                    load_codes(f, g.codes + b * f.code_bytes + 4 * row, w.c);
                    load_scales(f, g.scales + b * f.scale_bytes, g.super + b / 8 * f.super_bytes, row, &w);
                    for (size_t r = 0; r < n; r++)
                        v_store(acc[r] + row, add_block(f, &w, mmi_quant_row_at(x + r * row_bytes, t->cols), b, v_load(acc[r] + row)));
                }
            }
            for (size_t r = 0; r < n; r++) memcpy(t->y + (m0 + r) * t->ldy + first, acc[r], outputs * sizeof **acc);
        }
    }
}

static void quant_linear(const mmi_quant_tile *t)
{
    MMI_QUANT_SWITCH(linear, t)
}

/* Q8_ROW: a row of activations by 16 of weights, whose integer sums stay in registers for a span. */
static void row_linear(const mmi_quant_tile *t)
{
    const size_t group_bytes = mmi_pack_group_bytes(t->dtype, t->cols), row_bytes = mmi_quant_row_bytes(t->cols), blocks = t->cols / MMI_QUANT_BLOCK;

    for (size_t i = t->group0; i < t->group1; i++) {
        const char *group = (const char *)t->packed + i * group_bytes;
        const float *scales = mmi_q8_row_scales(group, t->cols);
        const size_t first = i * MMI_PACK_ROWS, outputs = t->rows - first < MMI_PACK_ROWS ? t->rows - first : MMI_PACK_ROWS;

        for (size_t m = 0; m < t->m; m++) {
            const mmi_quant_row x = mmi_quant_row_at((const char *)t->x + m * row_bytes, t->cols);
            vec acc[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
            float y[MMI_PACK_ROWS];

            for (size_t b = 0; b < blocks; b += MMI_QUANT_SPAN) {
                const size_t end = b + MMI_QUANT_SPAN < blocks ? b + MMI_QUANT_SPAN : blocks;
                int32x4_t sum[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};

                for (size_t c = b * MMI_QUANT_BLOCK; c < end * MMI_QUANT_BLOCK; c += 16) {
                    UNROLL
                    for (size_t q = 0; q < 4; q++) {
                        const int8_t *w = (const int8_t *)group + 16 * c + 16 * q;
                        const int8x16_t lines[4] = {vld1q_s8(w), vld1q_s8(w + 64), vld1q_s8(w + 128), vld1q_s8(w + 192)};
                        sum[q] = add_half(lines, x.codes + c, sum[q]);
                    }
                }
                for (size_t q = 0; q < 4; q++) acc[q] = v_fma(v_set(x.scales[b]), vcvtq_f32_s32(sum[q]), acc[q]);
            }
            for (size_t q = 0; q < 4; q++) v_store(y + 4 * q, v_mul(acc[q], v_load(scales + 4 * q)));
            memcpy(t->y + m * t->ldy + first, y, outputs * sizeof *y);
        }
    }
}

#endif
