/* Where things lie in a packed group and in a quantized activation row: what packing and all kernels must agree on.
 *
 * A group (16 rows) has three regions, b counting blocks of 32 columns:
 *
 *   codes   per b: 4 lines of 64 bytes; byte 4 r + i of line j is row r, its low nibble column 4 j + i, its high nibble
 *           column 16 + 4 j + i. So a line is two VNNI operands (or two rows of an AMX tile), k4 = j and k4 = 4 + j, where
 *           k4 counts fours of columns.
 *           5-bit codes: one line more; bit k4 of byte 4 r + i is the fifth bit of column 4 k4 + i.
 *           6-bit codes: two lines more; bits 2 j, 2 j + 1 of byte 4 r + i of line h belong to k4 = 4 h + j.
 *           2-bit codes: two lines instead; bits 2 j, 2 j + 1 of byte 4 r + i of line h belong to k4 = 4 h + j.
 *           3-bit codes: one line more, as with 5-bit codes.
 *           8-bit codes: 8 lines instead, line k4 holding columns 4 k4 .. 4 k4 + 3.
 *   scales  per b, 16 rows each: Q4_0 Q5_0 Q8_0 IQ4_NL: f16 scale; Q4_1 Q5_1: f16 scale, f16 min;
 *           Q4_K Q5_K: u8 scale, u8 min; Q3_K Q6_K: i8 scale of columns 0..15, of columns 16..31;
 *           Q2_K: likewise, low nibble scale, high nibble min
 *   super   per 256 columns, 16 rows each: Q2_K Q4_K Q5_K: f16 d, f16 dmin; Q3_K Q6_K: f16 d
 *
 * A row of activations has four: int8 codes (one a column), f32 scales (one a block), f32 scale times sum of codes (one a
 * block), int16 sums of codes (two a block: columns 0..15 and 16..31).
 *
 * What every level computes for a row of activations and a row of weights, block after block, w_scale and w_min being f32:
 *   acc = fma(w_scale * x_scale, (float)(sum of (w_code - zero) * x_code), acc);
 *   acc = fma(w_min, x_scaled_sum, acc) where there is a min.
 * Where halves have scales of their own: both steps for the first half, then for the second, a half's x_scaled_sum being
 * x_scale * (float)(its sum of codes). A code of IQ4_NL is looked up and then counts as a code of 8 bits.
 * Q8_ROW has a layout of its own: per block 8 lines as with 8-bit codes, but of signed bytes, blocks filled up to an even number with zeros; then 16
 * f32 scales, a row each. Its activations are quantized by spans of MMI_QUANT_SPAN blocks (the last may be shorter), whose blocks have the same scale:
 *   acc = fma(x_scale, (float)(sum over the span of w_code * x_code), acc);  at the end  acc * w_scale
 *
 * The sums are exact integers, so all levels give the same bits. acc: float32.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_QUANT_LAYOUT_H
#define MMI_QUANT_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "mm_tensor.h"
#include "quant_pack.h"

enum { MMI_QUANT_BLOCK = 32, MMI_QUANT_SUPER = 256, MMI_QUANT_SPAN = 4 /* blocks */ };

/* F(dtype, t) with t's dtype as a constant: kernels are compiled for each quantized type. */
#define MMI_QUANT_CASE(type, F, t) \
    case MM_DTYPE_##type: F(MM_DTYPE_##type, t); break;
#define MMI_QUANT_SWITCH(F, t)   \
    switch ((t)->dtype) {        \
    MMI_QUANT_CASE(Q4_0, F, t)   \
    MMI_QUANT_CASE(Q4_1, F, t)   \
    MMI_QUANT_CASE(Q5_0, F, t)   \
    MMI_QUANT_CASE(Q5_1, F, t)   \
    MMI_QUANT_CASE(Q8_0, F, t)   \
    MMI_QUANT_CASE(Q2_K, F, t)   \
    MMI_QUANT_CASE(Q3_K, F, t)   \
    MMI_QUANT_CASE(Q4_K, F, t)   \
    MMI_QUANT_CASE(Q5_K, F, t)   \
    MMI_QUANT_CASE(Q6_K, F, t)   \
    MMI_QUANT_CASE(IQ4_NL, F, t) \
    }

typedef struct {
    int bits;           /* of a code */
    int zero;           /* the code of 0; 0 where there is a min */
    int has_min;
    int is_k;           /* has a super region */
    int halves;         /* 2: columns 0..15 and 16..31 of a block have each their scale and min; else 1 */
    int codebook;       /* codes are looked up in mmi_iq4_nl_values (+ 128) */
    size_t code_bytes;  /* per block of 32 columns */
    size_t scale_bytes; /* per block */
    size_t super_bytes; /* per 256 columns */
} mmi_quant_format;

/* A switch over constants: folds away where the dtype is a constant. */
static inline mmi_quant_format mmi_quant_format_of(int32_t dtype)
{
    switch (dtype) {
    case MM_DTYPE_Q2_K: return (mmi_quant_format){2, 0, 1, 1, 2, 0, 128, 32, 64};
    case MM_DTYPE_Q3_K: return (mmi_quant_format){3, 4, 0, 1, 2, 0, 192, 32, 32};
    case MM_DTYPE_Q4_0: return (mmi_quant_format){4, 8, 0, 0, 1, 0, 256, 32, 0};
    case MM_DTYPE_Q4_1: return (mmi_quant_format){4, 0, 1, 0, 1, 0, 256, 64, 0};
    case MM_DTYPE_Q5_0: return (mmi_quant_format){5, 16, 0, 0, 1, 0, 320, 32, 0};
    case MM_DTYPE_Q5_1: return (mmi_quant_format){5, 0, 1, 0, 1, 0, 320, 64, 0};
    case MM_DTYPE_Q8_0: return (mmi_quant_format){8, 128, 0, 0, 1, 0, 512, 32, 0};
    case MM_DTYPE_Q4_K: return (mmi_quant_format){4, 0, 1, 1, 1, 0, 256, 32, 64};
    case MM_DTYPE_Q5_K: return (mmi_quant_format){5, 0, 1, 1, 1, 0, 320, 32, 64};
    case MM_DTYPE_IQ4_NL: return (mmi_quant_format){4, 128, 0, 0, 1, 1, 256, 32, 0};
    default: return (mmi_quant_format){6, 32, 0, 1, 2, 0, 384, 32, 32}; /* Q6_K */
    }
}

typedef struct {
    const uint8_t *codes, *scales, *super;
} mmi_quant_group;

static inline mmi_quant_group mmi_quant_group_at(int32_t dtype, const void *group, size_t cols)
{
    mmi_quant_format f = mmi_quant_format_of(dtype);
    mmi_quant_group g;
    g.codes = group;
    g.scales = g.codes + cols / MMI_QUANT_BLOCK * f.code_bytes;
    g.super = g.scales + cols / MMI_QUANT_BLOCK * f.scale_bytes;
    return g;
}

typedef struct {
    const int8_t *codes;
    const float *scales, *scaled_sums;
    const int16_t *sums;
} mmi_quant_row;

/* The scaled sum of codes of a half, or of both where they share a min. */
static inline float mmi_quant_row_scaled_sum(mmi_quant_format f, mmi_quant_row r, size_t b, int half)
{
    return f.halves == 2 ? r.scales[b] * (float)r.sums[2 * b + (size_t)half] : r.scaled_sums[b];
}

/* The codes fill whole lines. */
static inline size_t mmi_quant_row_code_bytes(size_t cols) { return (cols + 63) / 64 * 64; }

static inline mmi_quant_row mmi_quant_row_at(const void *row, size_t cols)
{
    size_t blocks = cols / MMI_QUANT_BLOCK;
    mmi_quant_row r;
    r.codes = row;
    r.scales = (const float *)((const char *)row + mmi_quant_row_code_bytes(cols));
    r.scaled_sums = r.scales + blocks;
    r.sums = (const int16_t *)(r.scaled_sums + blocks);
    return r;
}

/* One row's block of 32 columns: column c is scale[c / 16] * (codes[c] - zero) + min[c / 16]. */
typedef struct {
    uint8_t codes[MMI_QUANT_BLOCK];
    float scale[2], min[2];
} mmi_quant_block;

void mmi_unpack_block(int32_t dtype, const void *group, size_t row, size_t cols, size_t b, mmi_quant_block *out);

/* The scales of a packed group of Q8_ROW. */
static inline const float *mmi_q8_row_scales(const void *group, size_t cols)
{
    return (const float *)(const void *)((const char *)group + MMI_PACK_ROWS * mmi_quant_row_code_bytes(cols));
}

/* A block of activations whose largest magnitude is below this counts as zeros: 127 / magnitude must stay finite. */
#define MMI_QUANT_TINY 0x1p-100f

#endif
