/* Q8_ROW linear with AVX2. As with other 8-bit codes in quant_avx2.c, vpmaddubsw takes a weight's magnitude and the activation with the weight's sign.
 * The arithmetic is stated in quant_layout.h. SPDX-License-Identifier: MIT */
#include <immintrin.h>
#include <string.h>

#include "kernels.h"
#include "quant_layout.h"
#include "unroll.h"

enum { ROWS = 4 }; /* whose integer sums stay in registers for a group */

/* Outputs of n rows (constant) from m0 on, of group g. */
static ALWAYS_INLINE void tile(const mmi_quant_tile *t, size_t m0, const int n, size_t g)
{
    const size_t row_bytes = mmi_quant_row_bytes(t->cols), blocks = t->cols / MMI_QUANT_BLOCK, left = t->rows - g * MMI_PACK_ROWS;
    const uint8_t *w = (const uint8_t *)t->packed + g * mmi_pack_group_bytes(t->dtype, t->cols);
    const mmi_quant_row x = mmi_quant_row_at((const char *)t->x + m0 * row_bytes, t->cols);
    const float *scales = mmi_q8_row_scales(w, t->cols);
    float acc[ROWS][16] = {{0}};

    for (size_t b = 0; b < blocks; b += MMI_QUANT_SPAN) {
        const size_t end = b + MMI_QUANT_SPAN < blocks ? b + MMI_QUANT_SPAN : blocks;
        __m256i sum[ROWS][2];

        UNROLL
        for (int r = 0; r < n; r++) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
        for (size_t k4 = 8 * b; k4 < 8 * end; k4++) {
            __m256i c[2], size[2];
            UNROLL
            for (int h = 0; h < 2; h++) {
                c[h] = _mm256_loadu_si256((const __m256i *)(w + 64 * k4 + 32 * h));
                size[h] = _mm256_abs_epi8(c[h]);
            }
            UNROLL
            for (int r = 0; r < n; r++) {
                int32_t four;
                __m256i v;
                memcpy(&four, x.codes + 4 * k4 + (size_t)r * row_bytes, 4);
                v = _mm256_set1_epi32(four);
                UNROLL
                for (int h = 0; h < 2; h++) {
                    __m256i two = _mm256_maddubs_epi16(size[h], _mm256_sign_epi8(v, c[h]));
                    sum[r][h] = _mm256_add_epi32(sum[r][h], _mm256_madd_epi16(two, _mm256_set1_epi16(1)));
                }
            }
        }
        UNROLL
        for (int r = 0; r < n; r++) {
            __m256 scale = _mm256_set1_ps(*(const float *)(const void *)((const char *)(x.scales + b) + (size_t)r * row_bytes));
            UNROLL
            for (int h = 0; h < 2; h++)
                _mm256_storeu_ps(acc[r] + 8 * h, _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(sum[r][h]), _mm256_loadu_ps(acc[r] + 8 * h)));
        }
    }
    UNROLL
    for (int r = 0; r < n; r++) {
        for (int o = 0; o < 16; o++) acc[r][o] *= scales[o];
        memcpy(t->y + (m0 + (size_t)r) * t->ldy + g * MMI_PACK_ROWS, acc[r], (left < MMI_PACK_ROWS ? left : MMI_PACK_ROWS) * sizeof **acc);
    }
}

static void row_linear(const mmi_quant_tile *t)
{
    size_t m = 0;

    for (; m + ROWS <= t->m; m += ROWS)
        for (size_t g = t->group0; g < t->group1; g++) tile(t, m, ROWS, g);
    for (; m < t->m; m++)
        for (size_t g = t->group0; g < t->group1; g++) tile(t, m, 1, g);
}

void mmi_kernels_row_avx2(mmi_kernels *k) { k->row_linear = row_linear; }
