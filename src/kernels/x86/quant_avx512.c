/* Block-quantized linear with AVX-512 and VNNI.
 *
 * A block's codes are unpacked into eight registers and then serve all rows of activations at hand, so the cost of
 * unpacking vanishes for prompts; a single row (decoding) reads the weights in order and waits for memory.
 * The arithmetic is stated in quant_layout.h. SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "quant_block_avx512.h"

enum { ROWS = 64, PREFETCH = 2048 }; /* activation rows whose sums are held at a time; bytes read ahead */

static inline int32_t load32(const void *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return v;
}

/* sum + codes . four activations, the same four for all rows. Written out because gcc 12 loads the broadcast with an
 * instruction of its own; volatile because the order matters: rows alternate, each waits for its previous result. */
static ALWAYS_INLINE __m512i dot4(__m512i sum, __m512i codes, const int8_t *x)
{
    typedef int32_t __attribute__((may_alias, aligned(1))) four_codes;
    __asm__ volatile("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(codes), "m"(*(const four_codes *)x));
    return sum;
}

/* The weights are read in order; the hardware alone does not run far enough ahead. */
static ALWAYS_INLINE void prefetch(mmi_quant_format f, const uint8_t *p)
{
    for (size_t line = 0; line < f.code_bytes; line += 64) _mm_prefetch((const char *)p + PREFETCH + line, _MM_HINT_T0);
}

/* Add one block to the sums of n rows of activations (n constant), x_step bytes apart. */
static ALWAYS_INLINE void add_block(int32_t dtype, const __m512i c[8], const mmi_block_scales *s, mmi_quant_row x,
                                    size_t x_step, size_t b, __m512 *acc, const int n)
{
    const mmi_quant_format f = mmi_quant_format_of(dtype);
    const int halves = f.halves;
    __m512i sum[2][4];

    UNROLL
    for (int h = 0; h < halves; h++) {
        /* The codes are taken as unsigned: begin with -zero times the sum of the activations' codes. */
        uint32_t z = (uint16_t)-f.zero, pair = (h == 0 ? z : 0) | (halves == 1 || h == 1 ? z << 16 : 0);
        UNROLL
        for (int r = 0; r < n; r++) {
            sum[h][r] = _mm512_setzero_si512();
            if (f.zero) {
                __m512i sums = _mm512_set1_epi32(load32((const char *)(x.sums + 2 * b) + (size_t)r * x_step));
                sum[h][r] = _mm512_dpwssd_epi32(sum[h][r], sums, _mm512_set1_epi32((int32_t)pair));
            }
        }
    }
    UNROLL
    for (int k4 = 0; k4 < 8; k4++) {
        UNROLL
        for (int r = 0; r < n; r++) {
            __m512i *d = &sum[halves == 2 && k4 >= 4][r];
            *d = dot4(*d, c[k4], x.codes + b * MMI_QUANT_BLOCK + 4 * k4 + (size_t)r * x_step);
        }
    }
    UNROLL
    for (int r = 0; r < n; r++) {
        __m512 a = acc[r], x_scale = mmi_row_float(x.scales + b, (size_t)r, x_step);
        UNROLL
        for (int h = 0; h < halves; h++) {
            a = _mm512_fmadd_ps(_mm512_mul_ps(s->scale[h], x_scale), _mm512_cvtepi32_ps(sum[h][r]), a);
            if (f.has_min) a = _mm512_fmadd_ps(s->min[h], mmi_row_scaled_sum(f, x, b, h, (size_t)r, x_step), a);
        }
        acc[r] = a;
    }
}

static ALWAYS_INLINE void linear_one(int32_t dtype, const mmi_quant_tile *t)
{
    const mmi_quant_format f = mmi_quant_format_of(dtype);
    size_t group_bytes = mmi_pack_group_bytes(dtype, t->cols);
    mmi_quant_row x = mmi_quant_row_at(t->x, t->cols);

    for (size_t i = t->group0; i < t->group1; i++) {
        mmi_quant_group g = mmi_quant_group_at(dtype, (const char *)t->packed + i * group_bytes, t->cols);
        __m512 acc = _mm512_setzero_ps();

        for (size_t b = 0; b < t->cols / MMI_QUANT_BLOCK; b++) {
            const uint8_t *p = g.codes + b * f.code_bytes;
            mmi_block_scales s = mmi_block_load_scales(f, g, b);
            __m512i c[8];
            prefetch(f, p);
            mmi_block_load_codes(f, p, c);
            add_block(dtype, c, &s, x, 0, b, &acc, 1);
        }
        mmi_store_outputs(t, i, 0, acc);
    }
}

static ALWAYS_INLINE void linear_rows(int32_t dtype, const mmi_quant_tile *t)
{
    const mmi_quant_format f = mmi_quant_format_of(dtype);
    size_t group_bytes = mmi_pack_group_bytes(dtype, t->cols), row_bytes = mmi_quant_row_bytes(t->cols);

    for (size_t m0 = 0; m0 < t->m; m0 += ROWS) {
        size_t n = t->m - m0 < ROWS ? t->m - m0 : ROWS;
        const char *x = (const char *)t->x + m0 * row_bytes;

        for (size_t i = t->group0; i < t->group1; i++) {
            mmi_quant_group g = mmi_quant_group_at(dtype, (const char *)t->packed + i * group_bytes, t->cols);
            __m512 acc[ROWS];

            for (size_t r = 0; r < n; r++) acc[r] = _mm512_setzero_ps();
            for (size_t b = 0; b < t->cols / MMI_QUANT_BLOCK; b++) {
                mmi_block_scales s = mmi_block_load_scales(f, g, b);
                __m512i c[8];
                size_t r = 0;
                prefetch(f, g.codes + b * f.code_bytes);
                mmi_block_load_codes(f, g.codes + b * f.code_bytes, c);
                for (; r + 4 <= n; r += 4)
                    add_block(dtype, c, &s, mmi_quant_row_at(x + r * row_bytes, t->cols), row_bytes, b, acc + r, 4);
                for (; r < n; r++) add_block(dtype, c, &s, mmi_quant_row_at(x + r * row_bytes, t->cols), 0, b, acc + r, 1);
            }
            for (size_t r = 0; r < n; r++) mmi_store_outputs(t, i, m0 + r, acc[r]);
        }
    }
}

static ALWAYS_INLINE void linear(int32_t dtype, const mmi_quant_tile *t)
{
    if (t->m == 1) linear_one(dtype, t);
    else linear_rows(dtype, t);
}

void mmi_quant_linear_avx512(const mmi_quant_tile *t)
{
    MMI_QUANT_SWITCH(linear, t)
}

static void quantize_row(const float *x, size_t n, size_t span, void *row)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
    int8_t *codes = row;
    size_t blocks = n / MMI_QUANT_BLOCK;
    float *scales = (float *)((char *)row + mmi_quant_row_code_bytes(n)), *scaled_sums = scales + blocks, scale = 0;
    int16_t *sums = (int16_t *)(scaled_sums + blocks);
    __m512 inverse = _mm512_setzero_ps();
    __mmask16 keep = 0;

    for (size_t b = 0; b < blocks; b++, x += MMI_QUANT_BLOCK, codes += MMI_QUANT_BLOCK, sums += 2) {
        __m128i half[2];
        __m256i all, sum;

        if (b % span == 0) {
            __m512i most = _mm512_setzero_si512();
            uint32_t bits;
            float largest;
            int finite, some;

            /* Magnitudes order as integers, infinity and NaN above all others. */
            for (size_t i = 0; i < (span < blocks - b ? span : blocks - b) * MMI_QUANT_BLOCK; i += 16)
                most = _mm512_max_epu32(most, _mm512_and_si512(_mm512_loadu_si512(x + i), magnitude));
            bits = _mm512_reduce_max_epu32(most);
            memcpy(&largest, &bits, sizeof largest);
            finite = bits < 0x7F800000;
            some = finite && largest >= MMI_QUANT_TINY;
            inverse = _mm512_set1_ps(some ? 127 / largest : 0);
            keep = some ? (__mmask16)0xFFFF : 0;
            scale = !finite ? NAN : some ? largest / 127 : 0;
        }
        scales[b] = scale;
        for (int h = 0; h < 2; h++) {
            __m512i q = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(_mm512_loadu_ps(x + 16 * h), inverse));
            half[h] = _mm512_cvtepi32_epi8(q);
        }
        all = _mm256_set_m128i(half[1], half[0]);
        _mm256_storeu_si256((__m256i *)codes, all);
        sum = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), all);
        sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32(sum, 0xB1));
        sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32(sum, 0x4E));
        sums[0] = (int16_t)_mm256_extract_epi32(sum, 0);
        sums[1] = (int16_t)_mm256_extract_epi32(sum, 4);
        scaled_sums[b] = scale * (float)(sums[0] + sums[1]);
    }
}

void mmi_kernels_quant_avx512(mmi_kernels *k)
{
    k->quantize_row = quantize_row;
    k->quant_linear = mmi_quant_linear_avx512;
    k->row_linear = mmi_row_linear_avx512;
}
