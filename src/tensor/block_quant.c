/* The GGUF block formats. Layouts, with d, m, dmin binary16 and the columns of a 32-column part numbered c:
 *
 *   Q4_0  d, nibbles[16]                          nibble c of byte c % 16: low for c < 16, high above
 *   Q4_1  d, m, nibbles[16]
 *   Q5_0  d, high[4], nibbles[16]                 fifth bits: bit c of a little-endian word
 *   Q5_1  d, m, high[4], nibbles[16]
 *   Q8_0  d, bytes[32]                            signed
 *   Q4_K  d, dmin, scales[12], nibbles[128]       32 bytes hold two parts: low nibbles part 2 i, high nibbles part 2 i + 1
 *   Q5_K  d, dmin, scales[12], high[32], nibbles[128]   fifth bit of column c: bit `part` of high[c]
 *   Q6_K  nibbles[128], high[64], scales[16] (signed), d
 *   Q2_K  scales[16] (low nibble scale, high one min), pairs[64], d, dmin   32 bytes hold four parts, two bits each
 *   Q3_K  high[32], pairs[64], scales[12], d   third bit of column c: bit `part` of high[c]
 *   IQ4_NL  d, nibbles[16]                        of mmi_iq4_nl_values
 *
 * SPDX-License-Identifier: MIT */
#include "block_quant.h"

#include <math.h>

#include "dtype.h"

const int8_t mmi_iq4_nl_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static float f16_at(const uint8_t *p) { return mmi_f16_to_f32((uint16_t)(p[0] | p[1] << 8)); }

/* What a code stands for zero with: 0 in the formats that have a min, and in IQ4_NL. */
static int zero_code(int32_t dtype)
{
    switch (dtype) {
    case MM_DTYPE_Q3_K: return 4;
    case MM_DTYPE_Q4_0: return 8;
    case MM_DTYPE_Q5_0: return 16;
    case MM_DTYPE_Q6_K: return 32;
    case MM_DTYPE_Q8_0: return 128;
    default: return 0;
    }
}

/* 16 bytes: columns 0..15 in the low nibbles, 16..31 in the high ones. */
static void split_nibbles(const uint8_t *q, uint8_t *codes)
{
    for (int i = 0; i < 16; i++) {
        codes[i] = q[i] & 15;
        codes[16 + i] = q[i] >> 4;
    }
}

static void add_fifth_bits(const uint8_t *high, uint8_t *codes)
{
    for (int i = 0; i < 32; i++) codes[i] = (uint8_t)(codes[i] | (high[i / 8] >> i % 8 & 1) << 4);
}

/* Half of each of 32 bytes: the low nibbles, or the high ones. */
static void pick_nibbles(const uint8_t *q, int high, uint8_t *codes)
{
    for (int i = 0; i < 32; i++) codes[i] = q[i] >> 4 * high & 15;
}

/* Two bits of each of 32 bytes. */
static void pick_pairs(const uint8_t *q, size_t which, uint8_t *codes)
{
    for (int i = 0; i < 32; i++) codes[i] = q[i] >> 2 * which & 3;
}

void mmi_block_codes(int32_t dtype, const uint8_t *block, size_t part, uint8_t codes[MMI_BLOCK_PART])
{
    switch (dtype) {
    case MM_DTYPE_Q4_0:
    case MM_DTYPE_IQ4_NL: split_nibbles(block + 2, codes); break;
    case MM_DTYPE_Q4_1: split_nibbles(block + 4, codes); break;
    case MM_DTYPE_Q5_0:
        split_nibbles(block + 6, codes);
        add_fifth_bits(block + 2, codes);
        break;
    case MM_DTYPE_Q5_1:
        split_nibbles(block + 8, codes);
        add_fifth_bits(block + 4, codes);
        break;
    case MM_DTYPE_Q8_0:
        for (int i = 0; i < 32; i++) codes[i] = block[2 + i] ^ 0x80;
        break;
    case MM_DTYPE_Q2_K: pick_pairs(block + 16 + part / 4 * 32, part % 4, codes); break;
    case MM_DTYPE_Q3_K:
        pick_pairs(block + 32 + part / 4 * 32, part % 4, codes);
        for (int i = 0; i < 32; i++) codes[i] = (uint8_t)(codes[i] | (block[i] >> part & 1) << 2);
        break;
    case MM_DTYPE_Q4_K: pick_nibbles(block + 16 + part / 2 * 32, part % 2, codes); break;
    case MM_DTYPE_Q5_K:
        pick_nibbles(block + 48 + part / 2 * 32, part % 2, codes);
        for (int i = 0; i < 32; i++) codes[i] = (uint8_t)(codes[i] | (block[16 + i] >> part & 1) << 4);
        break;
    case MM_DTYPE_Q6_K: { /* each half of 128 columns: 64 bytes of nibbles, 32 of high bits with two for each part */
        const uint8_t *high = block + 128 + part / 4 * 32;
        pick_nibbles(block + part / 4 * 64 + part % 2 * 32, part % 4 / 2, codes);
        for (int i = 0; i < 32; i++) codes[i] = (uint8_t)(codes[i] | (high[i] >> 2 * (part % 4) & 3) << 4);
        break;
    }
    }
}

void mmi_block_scale_min(const uint8_t s[12], size_t part, uint8_t *scale, uint8_t *min)
{
    if (part < 4) {
        *scale = s[part] & 63;
        *min = s[part + 4] & 63;
    } else { /* low four bits in the last third, high two above the six bits of part - 4 */
        *scale = (uint8_t)((s[part + 4] & 15) | s[part - 4] >> 6 << 4);
        *min = (uint8_t)(s[part + 4] >> 4 | s[part] >> 6 << 4);
    }
}

void mmi_block_half_scales(const uint8_t s[12], size_t part, int8_t out[2])
{
    for (size_t h = 0; h < 2; h++) { /* low four bits in the first two thirds, high two in the last */
        size_t i = 2 * part + h;
        out[h] = (int8_t)((s[i % 8] >> i / 8 * 4 & 15) + ((s[8 + i % 4] >> i / 4 * 2 & 3) << 4) - 32);
    }
}

void mmi_dequantize(int32_t dtype, const void *src, float *dst, size_t n)
{
    const mmi_dtype_info *info = mmi_dtype_get(dtype);
    const uint8_t *block = src;
    int zero = zero_code(dtype);

    for (size_t i = 0; i < n; i += info->block, block += info->block_bytes) {
        for (size_t part = 0; part < info->block / MMI_BLOCK_PART; part++, dst += MMI_BLOCK_PART) {
            uint8_t codes[MMI_BLOCK_PART], scale, min;
            float d[2], m[2] = {0, 0}; /* of the halves */
            int has_min = 0;
            int8_t halves[2];

            switch (dtype) {
            case MM_DTYPE_Q4_K:
            case MM_DTYPE_Q5_K:
                mmi_block_scale_min(block + 4, part, &scale, &min);
                d[0] = d[1] = f16_at(block) * scale;
                m[0] = m[1] = -(f16_at(block + 2) * min);
                has_min = 1;
                break;
            case MM_DTYPE_Q2_K:
                for (size_t h = 0; h < 2; h++) {
                    d[h] = f16_at(block + 80) * (block[2 * part + h] & 15);
                    m[h] = -(f16_at(block + 82) * (block[2 * part + h] >> 4));
                }
                has_min = 1;
                break;
            case MM_DTYPE_Q3_K:
                mmi_block_half_scales(block + 96, part, halves);
                for (int h = 0; h < 2; h++) d[h] = f16_at(block + 108) * halves[h];
                break;
            case MM_DTYPE_Q6_K:
                d[0] = f16_at(block + 208) * (int8_t)block[192 + 2 * part];
                d[1] = f16_at(block + 208) * (int8_t)block[193 + 2 * part];
                break;
            case MM_DTYPE_Q4_1:
            case MM_DTYPE_Q5_1:
                m[0] = m[1] = f16_at(block + 2);
                has_min = 1;
                /* fall through */
            default: d[0] = d[1] = f16_at(block);
            }
            mmi_block_codes(dtype, block, part, codes);
            for (int c = 0; c < MMI_BLOCK_PART; c++) {
                float v = d[c / 16] * (float)(dtype == MM_DTYPE_IQ4_NL ? mmi_iq4_nl_values[codes[c]] : codes[c] - zero);
                dst[c] = has_min ? v + m[c / 16] : v; /* adding 0 would lose the sign of -0 */
            }
        }
    }
}

int mmi_can_quantize(int32_t dtype) { return dtype == MM_DTYPE_Q8_0; }

/* Ties away from zero; 0 for what is no number. */
static int8_t round_away(float x) { return isfinite(x) ? (int8_t)roundf(x) : 0; }

void mmi_quantize(int32_t dtype, const float *src, void *dst, size_t n)
{
    uint8_t *block = dst;

    for (size_t i = 0; i < n; i += MMI_BLOCK_PART, src += MMI_BLOCK_PART, block += mmi_dtype_get(dtype)->block_bytes) {
        float largest = 0, scale, inverse;
        uint16_t h;

        for (int c = 0; c < MMI_BLOCK_PART && !isnan(largest); c++)
            if (!(fabsf(src[c]) <= largest)) largest = fabsf(src[c]);
        scale = largest / 127;
        inverse = scale == 0 ? 0 : 1 / scale;
        h = mmi_f32_to_f16(scale);
        block[0] = (uint8_t)h;
        block[1] = (uint8_t)(h >> 8);
        for (int c = 0; c < MMI_BLOCK_PART; c++) block[2 + c] = (uint8_t)round_away(src[c] * inverse);
    }
}
