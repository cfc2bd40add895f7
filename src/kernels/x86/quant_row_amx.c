/* Q8_ROW linear with AMX: 32 rows of activations by two groups of weights, four tiles of integer sums that add up a whole span. They are scaled and
 * added to the float sums while the next span's are made. Few rows go to the AVX-512 version. The arithmetic is stated in quant_layout.h.
 * Tile registers are configured for one call and released at its end. SPDX-License-Identifier: MIT */
#include <string.h>

#include "kernels.h"
#include "quant_block_avx512.h"

enum { ROWS = 32, FEWEST_ROWS = 12, DEPTH = 64 }; /* of activations at a time; below this AVX-512 is faster; columns of a tile */

/* Tile registers: sums of the first 16 rows with either group, of the others, rows of activations, codes of groups. */
#define SUMS0 0
#define SUMS1 1
#define SUMS2 2
#define SUMS3 3
#define X0 4
#define X1 5
#define CODES0 6
#define CODES1 7

static void configure(size_t rows)
{
    const uint8_t first = (uint8_t)(rows < 16 ? rows : 16), second = (uint8_t)(rows > 16 ? rows - 16 : 16);
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t column_bytes[16];
        uint8_t rows[16];
    } c;

    memset(&c, 0, sizeof c);
    c.palette = 1;
    for (int i = 0; i < 8; i++) {
        c.column_bytes[i] = 64;
        c.rows[i] = 16;
    }
    c.rows[SUMS0] = c.rows[SUMS1] = c.rows[X0] = first;
    c.rows[SUMS2] = c.rows[SUMS3] = c.rows[X1] = second;
    __asm__ volatile("" : : "r"(&c) : "memory"); /* gcc 12 does not know that the instruction reads it */
    _tile_loadconfig(&c);
}

/* The integer sums of so many columns, a multiple of 64. */
static ALWAYS_INLINE void multiply(const int8_t *x, size_t x_step, const uint8_t *codes, size_t group_bytes, size_t columns, const int two_rows,
                                   const int two_groups, __m512i sums[4][16])
{
    _tile_zero(SUMS0);
    if (two_groups) _tile_zero(SUMS1);
    if (two_rows) _tile_zero(SUMS2);
    if (two_rows && two_groups) _tile_zero(SUMS3);
    for (size_t d = 0; d < columns; d += DEPTH) {
        _tile_loadd(X0, x + d, x_step);
        _tile_loadd(CODES0, codes + 16 * d, 64);
        _tile_dpbssd(SUMS0, X0, CODES0);
        if (two_groups) {
            _tile_loadd(CODES1, codes + group_bytes + 16 * d, 64);
            _tile_dpbssd(SUMS1, X0, CODES1);
        }
        if (two_rows) {
            _tile_loadd(X1, x + 16 * x_step + d, x_step);
            _tile_dpbssd(SUMS2, X1, CODES0);
            if (two_groups) _tile_dpbssd(SUMS3, X1, CODES1);
        }
    }
    _tile_stored(SUMS0, sums[0], 64);
    if (two_groups) _tile_stored(SUMS1, sums[1], 64);
    if (two_rows) _tile_stored(SUMS2, sums[2], 64);
    if (two_rows && two_groups) _tile_stored(SUMS3, sums[3], 64);
}

/* Outputs of n rows from m0 on, of one or two groups from g0 on. */
static ALWAYS_INLINE void unit(const mmi_quant_tile *t, size_t m0, size_t n, size_t g0, const int two_rows, const int two_groups)
{
    const size_t row_bytes = mmi_quant_row_bytes(t->cols), group_bytes = mmi_pack_group_bytes(t->dtype, t->cols), span = MMI_QUANT_SPAN * MMI_QUANT_BLOCK;
    const size_t depth = mmi_quant_row_code_bytes(t->cols);
    const uint8_t *w = (const uint8_t *)t->packed + g0 * group_bytes;
    const mmi_quant_row x = mmi_quant_row_at((const char *)t->x + m0 * row_bytes, t->cols);
    __m512i sums[2][4][16];
    __m512 acc[4][16], w_scale[2];
    int turn = 0;

    UNROLL
    for (int g = 0; g <= two_groups; g++) w_scale[g] = _mm512_loadu_ps(mmi_q8_row_scales(w + (size_t)g * group_bytes, t->cols));
    multiply(x.codes, row_bytes, w, group_bytes, span < depth ? span : depth, two_rows, two_groups, sums[turn]);
    for (size_t c = 0; c < depth; c += span, turn ^= 1) {
        const size_t next = c + span;
        const float *scale = x.scales + c / MMI_QUANT_BLOCK;

        if (next < depth)
            multiply(x.codes + next, row_bytes, w + 16 * next, group_bytes, next + span < depth ? span : depth - next, two_rows, two_groups, sums[turn ^ 1]);
        UNROLL
        for (int h = 0; h <= two_rows; h++) {
            const size_t last = n - (size_t)h * 16 < 16 ? n - (size_t)h * 16 : 16;
            for (size_t r = 0; r < last; r++, scale = (const float *)(const void *)((const char *)scale + row_bytes)) {
                UNROLL
                for (int g = 0; g <= two_groups; g++) {
                    const int i = 2 * h + g;
                    __m512 y = c ? acc[i][r] : _mm512_setzero_ps();
                    y = _mm512_fmadd_ps(_mm512_set1_ps(*scale), _mm512_cvtepi32_ps(sums[turn][i][r]), y);
                    if (next < depth) acc[i][r] = y;
                    else mmi_store_outputs(t, g0 + (size_t)g, m0 + 16 * (size_t)h + r, _mm512_mul_ps(y, w_scale[g]));
                }
            }
        }
    }
}

static ALWAYS_INLINE void rows(const mmi_quant_tile *t, size_t m0, size_t n, const int two_rows)
{
    size_t g = t->group0;

    for (; g + 2 <= t->group1; g += 2) unit(t, m0, n, g, two_rows, 1);
    if (g < t->group1) unit(t, m0, n, g, two_rows, 0);
}

static void row_linear(const mmi_quant_tile *t)
{
    const size_t whole = t->m / ROWS * ROWS, rest = t->m - whole;

    if (whole) {
        configure(ROWS);
        for (size_t m = 0; m < whole; m += ROWS) rows(t, m, ROWS, 1);
    }
    if (rest >= FEWEST_ROWS) {
        configure(rest);
        if (rest > 16) rows(t, whole, rest, 1);
        else rows(t, whole, rest, 0);
    }
    if (whole || rest >= FEWEST_ROWS) _tile_release();
    if (rest && rest < FEWEST_ROWS) {
        mmi_quant_tile few = *t;
        few.x = (const char *)t->x + whole * mmi_quant_row_bytes(t->cols);
        few.y = t->y + whole * t->ldy;
        few.m = rest;
        mmi_row_linear_avx512(&few);
    }
}

void mmi_kernels_row_amx(mmi_kernels *k) { k->row_linear = row_linear; }
