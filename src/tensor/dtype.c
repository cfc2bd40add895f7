/* SPDX-License-Identifier: MIT */
#include "dtype.h"

#include "size.h"

static const mmi_dtype_info plain[] = {{"F32", 1, 4}, {"F16", 1, 2}, {"BF16", 1, 2}, {"I32", 1, 4}, {"I64", 1, 8}, {"U8", 1, 1}};
static const mmi_dtype_info quantized[] = {{"Q4_0", 32, 18}, {"Q4_1", 32, 20}, {"Q5_0", 32, 22}, {"Q5_1", 32, 24},
                                           {"Q8_0", 32, 34}, {"Q4_K", 256, 144}, {"Q5_K", 256, 176}, {"Q6_K", 256, 210},
                                           {"Q2_K", 256, 84}, {"Q3_K", 256, 110}, {"IQ4_NL", 32, 18}, {"Q8_ROW", 32, 32}};

const mmi_dtype_info *mmi_dtype_get(int32_t d)
{
    if (d >= MM_DTYPE_F32 && d <= MM_DTYPE_U8) return &plain[d];
    if (d >= MM_DTYPE_Q4_0 && d <= MM_DTYPE_Q8_ROW) return &quantized[d - MM_DTYPE_Q4_0];
    return NULL;
}

int mmi_dtype_is_quantized(int32_t d) { return d >= MM_DTYPE_Q4_0 && d <= MM_DTYPE_Q8_ROW; }

int mmi_dtype_bytes(int32_t d, size_t n, size_t *out)
{
    const mmi_dtype_info *i = mmi_dtype_get(d);
    return !i || n % i->block || mmi_size_mul(n / i->block, i->block_bytes, out);
}

typedef union { uint32_t u; float f; } bits;

uint16_t mmi_f32_to_bf16(float f)
{
    bits v = {.f = f};
    if ((v.u & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(v.u >> 16 | 0x40);
    return (uint16_t)((v.u + 0x7FFF + (v.u >> 16 & 1)) >> 16);
}

float mmi_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 0x1F, mantissa = h & 0x3FF;
    bits v;
    if (exponent == 0x1F) {
        v.u = sign | 0x7F800000 | mantissa << 13;
    } else if (exponent) {
        v.u = sign | (exponent + 112) << 23 | mantissa << 13;
    } else { /* zero or subnormal: mantissa * 2^-24 is exact in f32 */
        v.f = (float)mantissa * 0x1p-24f;
        v.u |= sign;
    }
    return v.f;
}

uint16_t mmi_f32_to_f16(float f)
{
    bits v = {.f = f};
    uint16_t sign = (uint16_t)(v.u >> 16 & 0x8000);
    uint32_t a = v.u & 0x7FFFFFFF;

    if (a > 0x7F800000) return sign | 0x7E00;
    if (a >= 0x477FF000) return sign | 0x7C00; /* 65520 and above round to infinity */
    if (a < 0x38800000) {                      /* below 2^-14: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits */
        v.u = a;
        v.f += 0.5f;
        return (uint16_t)(sign | (v.u - 0x3F000000));
    }
    a += 0xFFF + (a >> 13 & 1);
    return (uint16_t)(sign | (a - 0x38000000) >> 13);
}
