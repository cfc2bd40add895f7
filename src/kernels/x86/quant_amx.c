/* Block-quantized linear with AMX for many rows of activations; few rows go to the AVX-512 version.
 *
 * A unit is what shares a scale: 32 columns, or 16 where halves have scales of their own. Its codes, made signed, are a tile of 8 (4) lines; with a tile
 * of 16 rows of activations they give 16 x 16 integer sums, which AVX-512 scales and adds to the float sums. Two units are
 * in flight at a time. The arithmetic is stated in quant_layout.h.
 * Tile registers are configured for one call and released at its end. SPDX-License-Identifier: MIT */
#include <string.h>

#include "kernels.h"
#include "quant_block_avx512.h"

enum { ROWS = 64, FEWEST_ROWS = 12 }; /* activation rows whose sums are held at a time; below this AVX-512 is faster */

/* Tile registers. The LAST ones have as many rows as the last tile of activations. */
#define SUMS0 0
#define SUMS1 1
#define X0 2
#define X1 3
#define CODES0 4
#define CODES1 5
#define LAST_SUMS 6
#define LAST_X 7

/* gcc 12's intrinsics do not tell the compiler what memory a tile instruction reads. */
#define MEMORY_IS_READ(p) __asm__ volatile("" : : "r"(p) : "memory")

static void configure(size_t unit, size_t last_rows)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t column_bytes[16];
        uint8_t rows[16];
    } c;

    memset(&c, 0, sizeof c);
    c.palette = 1;
    c.rows[SUMS0] = c.rows[SUMS1] = c.rows[X0] = c.rows[X1] = 16;
    c.rows[CODES0] = c.rows[CODES1] = (uint8_t)(unit / 4);
    c.rows[LAST_SUMS] = c.rows[LAST_X] = (uint8_t)last_rows;
    c.column_bytes[SUMS0] = c.column_bytes[SUMS1] = c.column_bytes[LAST_SUMS] = 64;
    c.column_bytes[CODES0] = c.column_bytes[CODES1] = 64;
    c.column_bytes[X0] = c.column_bytes[X1] = c.column_bytes[LAST_X] = (uint16_t)unit;
    MEMORY_IS_READ(&c);
    _tile_loadconfig(&c);
}

typedef struct {
    __m512 scale[2], min[2]; /* of two units */
} unit_scales;

/* The codes of one block, signed, as lines of a tile: one unit, or two of 16 columns. */
static ALWAYS_INLINE void load_lines(mmi_quant_format f, mmi_quant_group g, size_t b, __m512i lines[8])
{
    __m512i c[8];

    mmi_block_load_codes(f, g.codes + b * f.code_bytes, c);
    UNROLL
    for (int k4 = 0; k4 < 8; k4++) lines[k4] = f.zero ? _mm512_sub_epi8(c[k4], _mm512_set1_epi8((char)f.zero)) : c[k4];
}

/* Put the units from block b into CODES0 and CODES1 and give their scales. */
static ALWAYS_INLINE void load_units(int32_t dtype, mmi_quant_group g, size_t b, const int units, unit_scales *out)
{
    const mmi_quant_format f = mmi_quant_format_of(dtype);
    __m512i lines[2][8];
    mmi_block_scales s = mmi_block_load_scales(f, g, b);

    load_lines(f, g, b, lines[0]);
    out->scale[0] = s.scale[0];
    out->scale[1] = s.scale[1];
    out->min[0] = s.min[0];
    out->min[1] = s.min[1];
    if (units == 2 && f.halves == 1) {
        s = mmi_block_load_scales(f, g, b + 1);
        load_lines(f, g, b + 1, lines[1]);
        out->scale[1] = s.scale[0];
        out->min[1] = s.min[0];
    }
    MEMORY_IS_READ(lines);
    _tile_loadd(CODES0, lines[0], 64);
    if (units == 2) _tile_loadd(CODES1, f.halves == 2 ? lines[0] + 4 : lines[1], 64);
}

/* Integer sums of one tile of activations with one or two units, whose codes are in CODES0 and CODES1. */
static ALWAYS_INLINE void multiply(const int8_t *x, size_t x_step, size_t rows, const int unit, const int units,
                                   __m512i sums[2][16])
{
    if (rows == 16) {
        _tile_zero(SUMS0);
        _tile_loadd(X0, x, x_step);
        _tile_dpbssd(SUMS0, X0, CODES0);
        if (units == 2) {
            _tile_zero(SUMS1);
            _tile_loadd(X1, x + unit, x_step);
            _tile_dpbssd(SUMS1, X1, CODES1);
        }
        _tile_stored(SUMS0, sums[0], 64);
        if (units == 2) _tile_stored(SUMS1, sums[1], 64);
        return;
    }
    _tile_zero(LAST_SUMS);
    _tile_loadd(LAST_X, x, x_step);
    _tile_dpbssd(LAST_SUMS, LAST_X, CODES0);
    _tile_stored(LAST_SUMS, sums[0], 64);
    if (units == 2) {
        _tile_zero(LAST_SUMS);
        _tile_loadd(LAST_X, x + unit, x_step);
        _tile_dpbssd(LAST_SUMS, LAST_X, CODES1);
        _tile_stored(LAST_SUMS, sums[1], 64);
    }
}

/* Add blocks [b, end), units (constant: 1 or 2) at a time, to the sums of n <= ROWS rows. The next tile is begun before
 * one's integer sums are scaled, so that tile and vector instructions overlap. */
static ALWAYS_INLINE void add_blocks(int32_t dtype, mmi_quant_group g, size_t b, size_t end, const int units, mmi_quant_row x,
                                     size_t x_step, size_t n, __m512 *acc)
{
    const mmi_quant_format f = mmi_quant_format_of(dtype);
    const int halves = f.halves == 2, unit = halves ? 16 : 32;
    const size_t step = halves ? 1 : (size_t)units;
    __m512i sums[2][2][16];
    unit_scales now, next;
    int turn = 0;

    if (b == end) return;
    load_units(dtype, g, b, units, &now);
    next = now;
    multiply(x.codes + b * MMI_QUANT_BLOCK, x_step, n < 16 ? n : 16, unit, units, sums[turn]);
    for (; b < end; b += step, now = next) {
        const int8_t *codes = x.codes + b * MMI_QUANT_BLOCK;

        for (size_t r0 = 0; r0 < n; r0 += 16, turn ^= 1) {
            size_t rows = n - r0 < 16 ? n - r0 : 16, r1 = r0 + 16;

            if (r1 < n) {
                multiply(codes + r1 * x_step, x_step, n - r1 < 16 ? n - r1 : 16, unit, units, sums[turn ^ 1]);
            } else if (b + step < end) {
                load_units(dtype, g, b + step, units, &next);
                multiply(codes + step * MMI_QUANT_BLOCK, x_step, n < 16 ? n : 16, unit, units, sums[turn ^ 1]);
            }
            for (size_t r = 0; r < rows; r++) {
                __m512 a = acc[r0 + r];
                UNROLL
                for (int u = 0; u < units; u++) {
                    size_t at = halves ? b : b + (size_t)u;
                    __m512 x_scale = mmi_row_float(x.scales + at, r0 + r, x_step);
                    a = _mm512_fmadd_ps(_mm512_mul_ps(now.scale[u], x_scale), _mm512_cvtepi32_ps(sums[turn][u][r]), a);
                    if (f.has_min) a = _mm512_fmadd_ps(now.min[u], mmi_row_scaled_sum(f, x, at, u, r0 + r, x_step), a);
                }
                acc[r0 + r] = a;
            }
        }
    }
}

static ALWAYS_INLINE void linear(int32_t dtype, const mmi_quant_tile *t)
{
    const int halves = mmi_quant_format_of(dtype).halves == 2;
    size_t group_bytes = mmi_pack_group_bytes(dtype, t->cols), row_bytes = mmi_quant_row_bytes(t->cols);
    size_t blocks = t->cols / MMI_QUANT_BLOCK, paired = halves ? blocks : blocks / 2 * 2;

    configure(halves ? 16 : 32, t->m % 16 ? t->m % 16 : 16);
    for (size_t m0 = 0; m0 < t->m; m0 += ROWS) {
        size_t n = t->m - m0 < ROWS ? t->m - m0 : ROWS;
        mmi_quant_row x = mmi_quant_row_at((const char *)t->x + m0 * row_bytes, t->cols);

        for (size_t i = t->group0; i < t->group1; i++) {
            mmi_quant_group g = mmi_quant_group_at(dtype, (const char *)t->packed + i * group_bytes, t->cols);
            __m512 acc[ROWS];

            for (size_t r = 0; r < n; r++) acc[r] = _mm512_setzero_ps();
            add_blocks(dtype, g, 0, paired, 2, x, row_bytes, n, acc);
            if (!halves) add_blocks(dtype, g, paired, blocks, 1, x, row_bytes, n, acc);
            for (size_t r = 0; r < n; r++) mmi_store_outputs(t, i, m0 + r, acc[r]);
        }
    }
    _tile_release();
}

static void quant_linear(const mmi_quant_tile *t)
{
    if (t->m < FEWEST_ROWS) {
        mmi_quant_linear_avx512(t);
        return;
    }
    MMI_QUANT_SWITCH(linear, t)
}

void mmi_kernels_quant_amx(mmi_kernels *k) { k->quant_linear = quant_linear; }
