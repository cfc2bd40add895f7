/* Q8_ROW linear with AVX-512 and VNNI: few rows of activations by two groups of weights, whose integer sums stay in registers for a span.
 * VNNI multiplies unsigned by signed bytes: 128 is added to the weights' codes, and 128 times the sum of the activations' taken away again.
 * The arithmetic is stated in quant_layout.h. SPDX-License-Identifier: MIT */
#include <string.h>

#include "kernels.h"
#include "quant_block_avx512.h"

enum { ROWS = 6 }; /* whose sums, integer and float, fit into the registers for two groups */

static ALWAYS_INLINE __m512i four_codes(const int8_t *x)
{
    int32_t v;
    memcpy(&v, x, 4);
    return _mm512_set1_epi32(v);
}

/* In each lane -128 times the sum of the codes of a span, from the sums of each 16 columns. */
static ALWAYS_INLINE __m512i offset(const int16_t *sums, size_t count)
{
    __m128i s = _mm_maskz_loadu_epi16((__mmask8)((1u << count) - 1), sums);

    s = _mm_madd_epi16(s, _mm_set1_epi16(-128));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1));
    return _mm512_broadcast_i32x4(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E)));
}

/* Outputs of n rows and groups (constants) from row m0 and group g0 on. */
static ALWAYS_INLINE void tile(const mmi_quant_tile *t, size_t m0, const int n, size_t g0, const int groups)
{
    const size_t row_bytes = mmi_quant_row_bytes(t->cols), blocks = t->cols / MMI_QUANT_BLOCK, group_bytes = mmi_pack_group_bytes(t->dtype, t->cols);
    const uint8_t *w = (const uint8_t *)t->packed + g0 * group_bytes;
    const char *rows = (const char *)t->x + m0 * row_bytes;
    const mmi_quant_row x = mmi_quant_row_at(rows, t->cols);
    const __m512i top = _mm512_set1_epi8((char)0x80);
    __m512 acc[ROWS][2];

    UNROLL
    for (int r = 0; r < n; r++) acc[r][0] = acc[r][1] = _mm512_setzero_ps();
    for (size_t b = 0; b < blocks; b += MMI_QUANT_SPAN) {
        const size_t end = b + MMI_QUANT_SPAN < blocks ? b + MMI_QUANT_SPAN : blocks;
        __m512i sum[ROWS][2];

        UNROLL
        for (int r = 0; r < n; r++)
            sum[r][0] = sum[r][1] = offset((const int16_t *)(const void *)((const char *)(x.sums + 2 * b) + (size_t)r * row_bytes), 2 * (end - b));
        for (size_t k4 = 8 * b; k4 < 8 * end; k4++) {
            __m512i c[2];
            UNROLL
            for (int g = 0; g < groups; g++) {
                c[g] = _mm512_xor_si512(_mm512_loadu_si512(w + (size_t)g * group_bytes + 64 * k4), top);
                _mm_prefetch((const char *)w + (size_t)g * group_bytes + 64 * k4 + 2048, _MM_HINT_T0);
            }
            UNROLL
            for (int r = 0; r < n; r++) {
                __m512i v = four_codes(x.codes + 4 * k4 + (size_t)r * row_bytes);
                UNROLL
                for (int g = 0; g < groups; g++) sum[r][g] = _mm512_dpbusd_epi32(sum[r][g], c[g], v);
            }
        }
        UNROLL
        for (int r = 0; r < n; r++) {
            UNROLL
            for (int g = 0; g < groups; g++)
                acc[r][g] = _mm512_fmadd_ps(mmi_row_float(x.scales + b, (size_t)r, row_bytes), _mm512_cvtepi32_ps(sum[r][g]), acc[r][g]);
        }
    }
    UNROLL
    for (int g = 0; g < groups; g++) {
        __m512 scale = _mm512_loadu_ps(mmi_q8_row_scales(w + (size_t)g * group_bytes, t->cols));
        UNROLL
        for (int r = 0; r < n; r++) mmi_store_outputs(t, g0 + (size_t)g, m0 + (size_t)r, _mm512_mul_ps(acc[r][g], scale));
    }
}

static ALWAYS_INLINE void rows(const mmi_quant_tile *t, size_t m0, const int n)
{
    size_t g = t->group0;

    for (; g + 2 <= t->group1; g += 2) tile(t, m0, n, g, 2);
    if (g < t->group1) tile(t, m0, n, g, 1);
}

void mmi_row_linear_avx512(const mmi_quant_tile *t)
{
    size_t m = 0;

    for (; m + ROWS <= t->m; m += ROWS) rows(t, m, ROWS);
    for (; m + 2 <= t->m; m += 2) rows(t, m, 2);
    if (m < t->m) rows(t, m, 1);
}
