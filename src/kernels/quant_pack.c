/* Packing of block-quantized rows for the integer kernels: see quant_layout.h for the layout.
 * SPDX-License-Identifier: MIT */
#include "quant_pack.h"

#include <math.h>
#include <string.h>

#include "block_quant.h"
#include "dtype.h"
#include "quant_layout.h"
#include "size.h"

size_t mmi_pack_group_bytes(int32_t dtype, size_t cols)
{
    mmi_quant_format f = mmi_quant_format_of(dtype);
    size_t bytes;

    if (dtype == MM_DTYPE_Q8_ROW) return MMI_PACK_ROWS * (mmi_quant_row_code_bytes(cols) + sizeof(float));
    bytes = cols / MMI_QUANT_BLOCK * (f.code_bytes + f.scale_bytes) + cols / MMI_QUANT_SUPER * f.super_bytes;
    return (bytes + 63) / 64 * 64; /* keeps the lines of every group aligned */
}

int mmi_pack_bytes(int32_t dtype, size_t rows, size_t cols, size_t *out)
{
    enum { MOST_BYTES = 34 }; /* of a group, per column */
    size_t room, padded, row_bytes;

    if (!mmi_dtype_is_quantized(dtype) || mmi_dtype_bytes(dtype, cols, &row_bytes)) return 1;
    if (mmi_size_mul(cols, MOST_BYTES, &room) || mmi_size_add(room, 63, &room)) return 1;
    if (mmi_size_round_up(rows, MMI_PACK_ROWS, &padded)) return 1;
    return mmi_size_mul(padded / MMI_PACK_ROWS, mmi_pack_group_bytes(dtype, cols), out);
}

static void pack_codes(int bits, const uint8_t codes[32], size_t row, uint8_t *lines)
{
    uint8_t *p = lines + 4 * row;

    if (bits == 8) {
        for (int k4 = 0; k4 < 8; k4++) memcpy(p + 64 * k4, codes + 4 * k4, 4);
        return;
    }
    if (bits <= 3) {
        for (int c = 0; c < 32; c++) {
            uint8_t *low = p + c / 16 * 64 + c % 4, *high = p + 128 + c % 4;
            *low = (uint8_t)(*low | (codes[c] & 3) << c % 16 / 4 * 2);
            if (bits == 3) *high = (uint8_t)(*high | codes[c] >> 2 << c / 4);
        }
        return;
    }
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < 4; i++)
            p[64 * j + i] = (uint8_t)((codes[4 * j + i] & 15) | (codes[16 + 4 * j + i] & 15) << 4);
    if (bits == 5) {
        for (int c = 0; c < 32; c++) p[256 + c % 4] = (uint8_t)(p[256 + c % 4] | codes[c] >> 4 << c / 4);
    } else if (bits == 6) {
        for (int c = 0; c < 32; c++)
            p[256 + c / 16 * 64 + c % 4] = (uint8_t)(p[256 + c / 16 * 64 + c % 4] | codes[c] >> 4 << c % 16 / 4 * 2);
    }
}

static void unpack_codes(int bits, const uint8_t *lines, size_t row, uint8_t codes[32])
{
    const uint8_t *p = lines + 4 * row;

    for (int c = 0; c < 32; c++) {
        int pair = p[64 * (c / 16) + c % 4] >> c % 16 / 4 * 2 & 3, nibble;
        if (bits <= 3) { /* of fewer lines than the nibbles below */
            codes[c] = (uint8_t)(bits == 2 ? pair : pair | (p[128 + c % 4] >> c / 4 & 1) << 2);
            continue;
        }
        nibble = p[64 * (c % 16 / 4) + c % 4] >> c / 16 * 4 & 15;
        if (bits == 8) codes[c] = p[64 * (c / 4) + c % 4];
        else if (bits == 6) codes[c] = (uint8_t)(nibble | (p[256 + c / 16 * 64 + c % 4] >> c % 16 / 4 * 2 & 3) << 4);
        else if (bits == 5) codes[c] = (uint8_t)(nibble | (p[256 + c % 4] >> c / 4 & 1) << 4);
        else codes[c] = (uint8_t)nibble;
    }
}

/* The 16-bit numbers of 16 rows stand side by side, array after array. */
static void put16(uint8_t *arrays, size_t array, size_t row, const uint8_t *value)
{
    memcpy(arrays + 32 * array + 2 * row, value, 2);
}

void mmi_pack_group(int32_t dtype, const void *src, size_t rows, size_t cols, void *group)
{
    const mmi_dtype_info *info = mmi_dtype_get(dtype);
    mmi_quant_format f = mmi_quant_format_of(dtype);
    size_t parts = info->block / MMI_BLOCK_PART;
    const uint8_t *block = src;
    uint8_t *lines = group, *scales = lines + cols / MMI_QUANT_BLOCK * f.code_bytes,
            *super = scales + cols / MMI_QUANT_BLOCK * f.scale_bytes;

    memset(group, 0, mmi_pack_group_bytes(dtype, cols));
    for (size_t r = 0; r < rows; r++) {
        for (size_t b = 0; b < cols / MMI_QUANT_BLOCK; b++) {
            size_t part = b % parts;
            uint8_t codes[MMI_BLOCK_PART], *s = scales + b * f.scale_bytes, *d = super + b / 8 * f.super_bytes;

            mmi_block_codes(dtype, block, part, codes);
            pack_codes(f.bits, codes, r, lines + b * f.code_bytes);
            switch (dtype) {
            case MM_DTYPE_Q4_K:
            case MM_DTYPE_Q5_K:
                mmi_block_scale_min(block + 4, part, &s[r], &s[16 + r]);
                put16(d, 0, r, block);
                put16(d, 1, r, block + 2);
                break;
            case MM_DTYPE_Q2_K:
                s[r] = block[2 * part];
                s[16 + r] = block[2 * part + 1];
                put16(d, 0, r, block + 80);
                put16(d, 1, r, block + 82);
                break;
            case MM_DTYPE_Q3_K: {
                int8_t halves[2];
                mmi_block_half_scales(block + 96, part, halves);
                s[r] = (uint8_t)halves[0];
                s[16 + r] = (uint8_t)halves[1];
                put16(d, 0, r, block + 108);
                break;
            }
            case MM_DTYPE_Q6_K:
                s[r] = block[192 + 2 * part];
                s[16 + r] = block[193 + 2 * part];
                put16(d, 0, r, block + 208);
                break;
            default:
                put16(s, 0, r, block);
                if (f.has_min) put16(s, 1, r, block + 2);
            }
            if (part + 1 == parts) block += info->block_bytes;
        }
    }
}

void mmi_pack_q8_row(const float *values, size_t row, size_t cols, void *group)
{
    int8_t *codes = (int8_t *)group + 4 * row;
    float largest = 0, inverse;

    for (size_t c = 0; c < cols && !isnan(largest); c++)
        if (!(fabsf(values[c]) <= largest)) largest = fabsf(values[c]);
    inverse = largest < MMI_QUANT_TINY || !isfinite(largest) ? 0 : 127 / largest;
    for (size_t c = 0; c < cols && inverse > 0; c++) codes[c / 4 * 64 + c % 4] = (int8_t)roundf(values[c] * inverse);
    ((float *)(uintptr_t)mmi_q8_row_scales(group, cols))[row] = isfinite(largest) ? largest / 127 : NAN;
}

static float get16(const uint8_t *arrays, size_t array, size_t row)
{
    uint16_t h;
    memcpy(&h, arrays + 32 * array + 2 * row, 2);
    return mmi_f16_to_f32(h);
}

void mmi_unpack_block(int32_t dtype, const void *group, size_t row, size_t cols, size_t b, mmi_quant_block *out)
{
    mmi_quant_format f = mmi_quant_format_of(dtype);
    mmi_quant_group g = mmi_quant_group_at(dtype, group, cols);
    const uint8_t *s = g.scales + b * f.scale_bytes, *d = g.super + b / 8 * f.super_bytes;

    unpack_codes(f.bits, g.codes + b * f.code_bytes, row, out->codes);
    if (f.codebook)
        for (int c = 0; c < MMI_QUANT_BLOCK; c++) out->codes[c] = (uint8_t)(mmi_iq4_nl_values[out->codes[c]] + f.zero);
    out->min[0] = out->min[1] = 0;
    if (!f.is_k) {
        out->scale[0] = out->scale[1] = get16(s, 0, row);
        if (f.has_min) out->min[0] = out->min[1] = get16(s, 1, row);
    } else if (f.has_min && f.halves == 1) {
        out->scale[0] = out->scale[1] = get16(d, 0, row) * s[row];
        out->min[0] = out->min[1] = -(get16(d, 1, row) * s[16 + row]);
    } else {
        for (size_t h = 0; h < 2; h++) {
            uint8_t v = s[16 * h + row];
            out->scale[h] = get16(d, 0, row) * (f.has_min ? v & 15 : (int8_t)v);
            if (f.has_min) out->min[h] = -(get16(d, 1, row) * (v >> 4));
        }
    }
}

void mmi_unpack_row(int32_t dtype, const void *group, size_t row, size_t cols, float *out)
{
    mmi_quant_format f = mmi_quant_format_of(dtype);

    if (dtype == MM_DTYPE_Q8_ROW) {
        const int8_t *codes = (const int8_t *)group + 4 * row;
        for (size_t c = 0; c < cols; c++) out[c] = mmi_q8_row_scales(group, cols)[row] * (float)codes[c / 4 * 64 + c % 4];
        return;
    }
    for (size_t b = 0; b < cols / MMI_QUANT_BLOCK; b++, out += MMI_QUANT_BLOCK) {
        mmi_quant_block w;
        mmi_unpack_block(dtype, group, row, cols, b, &w);
        for (int c = 0; c < MMI_QUANT_BLOCK; c++) {
            float v = w.scale[c / 16] * (float)(w.codes[c] - f.zero);
            out[c] = f.has_min ? v + w.min[c / 16] : v; /* adding 0 would lose the sign of -0 */
        }
    }
}

size_t mmi_quant_row_bytes(size_t cols)
{
    size_t bytes = mmi_quant_row_code_bytes(cols) + cols / MMI_QUANT_BLOCK * (2 * sizeof(float) + 2 * sizeof(int16_t));
    /* An odd number of lines, so that the same block of many rows falls into different sets of the cache. */
    return ((bytes + 63) / 64 | 1) * 64;
}
