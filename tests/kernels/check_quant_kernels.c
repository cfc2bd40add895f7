/* The block-quantized linear kernels of every level the processor has: bit for bit against the reference, the reference
 * against float64, and no byte written that is not an output.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "block_quant.h"
#include "cpu.h"
#include "dtype.h"
#include "kernels.h"
#include "quant_layout.h"
#include "quant_pack.h"

static mmi_kernels levels[MM_CPU_AMX + 1];
static int level_count;

static int setup(void **state)
{
    int best = mmi_cpu_best_level();

    (void)state;
    for (level_count = 0; level_count <= best; level_count++) mmi_kernels_init(&levels[level_count], level_count);
    return 0;
}

/* The C library's rand differs between systems. */
static uint32_t random_state = 1;
static uint32_t random_u32(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}
static float random_unit(void) { return (float)(random_u32() >> 8) * 0x1p-23f - 1; }

enum { RANDOM, ALL_ONES, ALL_ZEROS, LARGEST_NEGATIVE, BAD_SCALES, KINDS };

static void put_f16(uint8_t *p, uint16_t h)
{
    p[0] = (uint8_t)h;
    p[1] = (uint8_t)(h >> 8);
}

/* A file's [rows, cols]: codes as `kind` says, f16 scales finite but for BAD_SCALES. */
static uint8_t *make_weights(int32_t dtype, size_t rows, size_t cols, int kind)
{
    const mmi_dtype_info *info = mmi_dtype_get(dtype);
    size_t blocks = rows * cols / info->block;
    uint8_t *w = malloc(blocks * info->block_bytes);
    static const uint16_t bad[] = {0x7C00, 0xFC00, 0x7E00, 0x7BFF, 0x0001};

    assert_non_null(w);
    for (size_t i = 0; i < blocks * info->block_bytes; i++)
        w[i] = kind == ALL_ONES ? 0xFF : kind == ALL_ZEROS ? 0 : kind == LARGEST_NEGATIVE ? 0x80 : (uint8_t)(random_u32() >> 11);
    for (size_t i = 0; i < blocks; i++) {
        uint8_t *d = w + i * info->block_bytes + (dtype == MM_DTYPE_Q6_K ? 208 : dtype == MM_DTYPE_Q3_K ? 108 : dtype == MM_DTYPE_Q2_K ? 80 : 0);
        int two = dtype == MM_DTYPE_Q4_1 || dtype == MM_DTYPE_Q5_1 || dtype == MM_DTYPE_Q4_K || dtype == MM_DTYPE_Q5_K || dtype == MM_DTYPE_Q2_K;
        for (int j = 0; j <= two; j++) {
            uint16_t h = mmi_f32_to_f16(random_unit() * 0.1f);
            if (kind == BAD_SCALES && random_u32() % 8 == 0) h = bad[random_u32() % 5];
            put_f16(d + 2 * j, h);
        }
    }
    return w;
}

/* [rows, cols] floats, to be packed as Q8_ROW: a row that is not finite with BAD_SCALES. */
static uint8_t *make_floats(size_t rows, size_t cols, int kind)
{
    float *w = malloc(rows * cols * sizeof *w);

    assert_non_null(w);
    for (size_t i = 0; i < rows * cols; i++) w[i] = kind == ALL_ONES ? 1 : kind == ALL_ZEROS ? 0 : kind == LARGEST_NEGATIVE ? -1 : random_unit();
    for (size_t r = 0; kind == BAD_SCALES && r < rows; r += 5) w[r * cols + r] = r % 2 ? NAN : INFINITY;
    return (uint8_t *)w;
}

static uint8_t *pack(int32_t dtype, const uint8_t *w, size_t rows, size_t cols, size_t misalign, uint8_t **base)
{
    size_t bytes = 0, row_bytes = 0, group_bytes = mmi_pack_group_bytes(dtype, cols);

    assert_int_equal(mmi_pack_bytes(dtype, rows, cols, &bytes), 0);
    assert_int_equal(mmi_dtype_bytes(dtype, cols, &row_bytes), 0);
    *base = malloc(bytes + misalign);
    assert_non_null(*base);
    if (dtype == MM_DTYPE_Q8_ROW) {
        memset(*base, 0, bytes + misalign);
        for (size_t r = 0; r < rows; r++)
            mmi_pack_q8_row((const float *)(const void *)w + r * cols, r % MMI_PACK_ROWS, cols, *base + misalign + r / MMI_PACK_ROWS * group_bytes);
        return *base + misalign;
    }
    for (size_t r = 0; r < rows; r += MMI_PACK_ROWS)
        mmi_pack_group(dtype, w + r * row_bytes, rows - r < MMI_PACK_ROWS ? rows - r : MMI_PACK_ROWS, cols,
                       *base + misalign + r / MMI_PACK_ROWS * group_bytes);
    return *base + misalign;
}

static int same(float a, float b)
{
    uint32_t u, v;
    memcpy(&u, &a, 4);
    memcpy(&v, &b, 4);
    return u == v || (isnan(a) && isnan(b));
}

static void fill_row(float *x, size_t cols, int kind)
{
    for (size_t c = 0; c < cols; c++) {
        float v = random_unit();
        if (kind == ALL_ONES) v = 1;
        if (kind == LARGEST_NEGATIVE) v = -1;
        if (kind == ALL_ZEROS) v = random_u32() & 1 ? 1 : -1;
        x[c] = v * (1 + (float)(c / 32));
    }
}

/* m quantized rows. The reference makes them; the levels' own quantization has its test. */
static uint8_t *make_rows(size_t m, size_t cols, size_t span, int kind)
{
    size_t bytes = mmi_quant_row_bytes(cols);
    uint8_t *rows = malloc(m * bytes + 1);
    float *x = malloc((cols + 1) * sizeof *x);

    assert_non_null(rows);
    assert_non_null(x);
    for (size_t i = 0; i < m; i++) {
        fill_row(x, cols, kind);
        levels[0].quantize_row(x, cols, span, rows + i * bytes);
    }
    free(x);
    return rows;
}

/* Outputs with a border: `before` floats ahead of the matrix and ldy > rows. */
typedef struct {
    size_t m, ldy, before, count;
    float *all, *y;
} outputs;

static const uint32_t border = 0x7FA5A5A5; /* a NaN that no computation makes */

static outputs make_outputs(size_t m, size_t rows, size_t before)
{
    outputs o = {m, rows + 3, before, 0, NULL, NULL};
    o.count = before + (m + 1) * o.ldy;
    o.all = malloc(o.count * sizeof *o.all);
    assert_non_null(o.all);
    for (size_t i = 0; i < o.count; i++) memcpy(&o.all[i], &border, 4);
    o.y = o.all + before;
    return o;
}

static int is_border(const float *p)
{
    return memcmp(p, &border, 4) == 0;
}

static void check_border(const outputs *o, size_t first, size_t last)
{
    for (size_t i = 0; i < o->count; i++) {
        size_t at = i - o->before;
        int inside = i >= o->before && at / o->ldy < o->m && at % o->ldy >= first && at % o->ldy < last;
        if (is_border(&o->all[i]) == inside) fail_msg("element %zu is %s", i, inside ? "not written" : "overwritten");
    }
}

static void linear(int level, const mmi_quant_tile *t)
{
    (t->dtype == MM_DTYPE_Q8_ROW ? levels[level].row_linear : levels[level].quant_linear)(t);
}

/* Every level, its outputs against the reference's, and one row at a time. */
static void check_levels(int32_t dtype, size_t rows, size_t cols, size_t m, int w_kind, int x_kind, size_t misalign)
{
    uint8_t *base, *w = dtype == MM_DTYPE_Q8_ROW ? make_floats(rows, cols, w_kind) : make_weights(dtype, rows, cols, w_kind);
    uint8_t *packed = pack(dtype, w, rows, cols, misalign, &base), *x = make_rows(m, cols, dtype == MM_DTYPE_Q8_ROW ? MMI_QUANT_SPAN : 1, x_kind);
    size_t groups = (rows + MMI_PACK_ROWS - 1) / MMI_PACK_ROWS, row_bytes = mmi_quant_row_bytes(cols);
    outputs expected = make_outputs(m, rows, 0);
    mmi_quant_tile t = {dtype, packed, rows, cols, 0, groups, x, m, expected.y, expected.ldy};

    linear(0, &t);
    check_border(&expected, 0, rows);
    for (int level = 0; level < level_count; level++) {
        outputs o = make_outputs(m, rows, misalign);

        t.y = o.y;
        t.ldy = o.ldy;
        linear(level, &t);
        check_border(&o, 0, rows);
        for (size_t i = 0; i < m; i++)
            for (size_t r = 0; r < rows; r++)
                if (!same(o.y[i * o.ldy + r], expected.y[i * expected.ldy + r]))
                    fail_msg("%s %s [%zu, %zu] m %zu: output [%zu, %zu] is %.9g, expected %.9g", mm_dtype_name(dtype),
                             mmi_cpu_level_name(level), rows, cols, m, i, r,
                             (double)o.y[i * o.ldy + r], (double)expected.y[i * expected.ldy + r]);
        free(o.all);

        for (size_t i = 0; i < m; i++) { /* each row alone, each group alone */
            outputs one = make_outputs(1, rows, misalign);
            mmi_quant_tile s = t;
            size_t g = i % groups, last = 16 * g + 16 < rows ? 16 * g + 16 : rows;
            s.x = x + i * row_bytes;
            s.m = 1;
            s.y = one.y;
            s.ldy = one.ldy;
            s.group0 = g;
            s.group1 = g + 1;
            linear(level, &s);
            check_border(&one, 16 * g, last);
            for (size_t r = 16 * g; r < last; r++) assert_true(same(one.y[r], expected.y[i * expected.ldy + r]));
            free(one.all);
        }
    }
    free(expected.all);
    free(x);
    free(base);
    free(w);
}

static void test_levels(void **state)
{
    static const size_t all_rows[] = {1, 15, 16, 17, 33}, blocks[] = {1, 2, 3, 5}, ms[] = {0, 1, 2, 3, 4, 5, 8, 15, 16, 17, 33};

    (void)state;
    for (int32_t dtype = MM_DTYPE_Q4_0; dtype <= MM_DTYPE_Q8_ROW; dtype++)
        for (size_t r = 0; r < sizeof all_rows / sizeof *all_rows; r++)
            for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++)
                for (size_t i = 0; i < sizeof ms / sizeof *ms; i++)
                    check_levels(dtype, all_rows[r], blocks[b] * mmi_dtype_get(dtype)->block, ms[i], RANDOM, RANDOM,
                                 dtype == MM_DTYPE_Q8_ROW ? 0 : r % 2); /* its scales are floats, aligned as those are */
}

/* More rows than a kernel holds at a time, more columns than any block it may cut them into. */
static void test_large(void **state)
{
    (void)state;
    for (int32_t dtype = MM_DTYPE_Q4_0; dtype <= MM_DTYPE_Q8_ROW; dtype++) {
        check_levels(dtype, 18, 256, 149, RANDOM, RANDOM, 0);
        check_levels(dtype, 18, 4096 + 256, 19, RANDOM, RANDOM, 0);
    }
}

/* The largest and smallest codes and scales of both sides: nothing saturates or overflows. */
static void test_extremes(void **state)
{
    (void)state;
    for (int32_t dtype = MM_DTYPE_Q4_0; dtype <= MM_DTYPE_Q8_ROW; dtype++)
        for (int w = RANDOM; w < KINDS; w++)
            for (int x = RANDOM; x < BAD_SCALES; x++)
                for (size_t m = 1; m <= 18; m += 17) check_levels(dtype, 17, 512, m, w, x, 0);
}

/* The reference of Q8_ROW against float64 on what mmi_unpack_row gives: a rounding for the weight, the sum, its scale and each addition. */
static void test_row_against_double(void **state)
{
    enum { ROWS = 17, M = 3 };

    (void)state;
    for (size_t cols = 32; cols < 700; cols += 96) {
        const size_t row_bytes = mmi_quant_row_bytes(cols), group_bytes = mmi_pack_group_bytes(MM_DTYPE_Q8_ROW, cols);
        uint8_t *base, *w = make_floats(ROWS, cols, RANDOM), *packed = pack(MM_DTYPE_Q8_ROW, w, ROWS, cols, 0, &base);
        uint8_t *x = make_rows(M, cols, MMI_QUANT_SPAN, RANDOM);
        float values[700], y[M][ROWS];
        mmi_quant_tile t = {MM_DTYPE_Q8_ROW, packed, ROWS, cols, 0, 2, x, M, y[0], ROWS};

        linear(0, &t);
        for (size_t r = 0; r < ROWS; r++) {
            mmi_unpack_row(MM_DTYPE_Q8_ROW, packed + r / 16 * group_bytes, r % 16, cols, values);
            for (size_t i = 0; i < M; i++) {
                mmi_quant_row q = mmi_quant_row_at(x + i * row_bytes, cols);
                double sum = 0, magnitude = 0;
                for (size_t c = 0; c < cols; c++) {
                    double term = (double)values[c] * q.codes[c] * (double)q.scales[c / 32];
                    sum += term;
                    magnitude += fabs(term);
                }
                assert_true(fabs((double)y[i][r] - sum) <= (double)(cols / 128 + 4) * 0x1p-24 * magnitude);
            }
        }
        free(x);
        free(base);
        free(w);
    }
}

/* The reference against float64 on mmi_dequantize's weights. Its rounding errors: one for w_scale * x_scale, one for
 * x_scaled_sum, one for each addition, and up to two in each dequantized weight; 2^-24 of the terms' magnitudes each. */
static void test_against_double(void **state)
{
    enum { ROWS = 17, M = 3 };

    (void)state;
    for (int32_t dtype = MM_DTYPE_Q4_0; dtype <= MM_DTYPE_IQ4_NL; dtype++) {
        const size_t cols = 768, blocks = cols / 32, row_bytes = mmi_quant_row_bytes(cols);
        uint8_t *base, *w = make_weights(dtype, ROWS, cols, RANDOM), *packed = pack(dtype, w, ROWS, cols, 0, &base);
        uint8_t *x = make_rows(M, cols, 1, RANDOM);
        float *values = malloc(cols * sizeof *values), y[M][ROWS];
        mmi_quant_tile t = {dtype, packed, ROWS, cols, 0, 2, x, M, y[0], ROWS};
        size_t file_row = 0;

        assert_non_null(values);
        assert_int_equal(mmi_dtype_bytes(dtype, cols, &file_row), 0);
        levels[0].quant_linear(&t);
        for (size_t r = 0; r < ROWS; r++) {
            mmi_dequantize(dtype, w + r * file_row, values, cols);
            for (size_t i = 0; i < M; i++) {
                mmi_quant_row q = mmi_quant_row_at(x + i * row_bytes, cols);
                double sum = 0, magnitude = 0, bound;
                for (size_t c = 0; c < cols; c++) {
                    mmi_quant_block b;
                    double a = (double)q.codes[c] * (double)q.scales[c / 32];
                    mmi_unpack_block(dtype, packed + r / 16 * mmi_pack_group_bytes(dtype, cols), r % 16, cols, c / 32, &b);
                    sum += (double)values[c] * a;
                    magnitude += (fabs((double)values[c] - (double)b.min[c % 32 / 16]) + fabs((double)b.min[c % 32 / 16])) * fabs(a);
                }
                bound = (double)(2 * blocks + 4) * 0x1p-24 * magnitude;
                if (!(fabs((double)y[i][r] - sum) <= bound))
                    fail_msg("%s: output [%zu, %zu] is %.9g, expected %.9g +- %.2g", mm_dtype_name(dtype), i, r, (double)y[i][r],
                             sum, bound);
                assert_true(bound < 1e-4 * magnitude);
            }
        }
        free(values);
        free(x);
        free(base);
        free(w);
    }
}

/* One row quantized by every level: the same bytes; and what the format promises, checked in float64. */
static void check_quantize_span(const float *x, size_t cols, size_t span)
{
    size_t bytes = mmi_quant_row_bytes(cols);
    uint8_t *expected = malloc(bytes), *row = malloc(bytes + 1);
    mmi_quant_row q = mmi_quant_row_at(expected, cols);

    assert_non_null(expected);
    assert_non_null(row);
    memset(expected, 0x5A, bytes);
    levels[0].quantize_row(x, cols, span, expected);
    for (size_t b = 0; b < cols / 32; b++) {
        double largest = 0;
        int sum[2] = {0, 0}, finite = 1;

        for (size_t c = b / span * span * 32; c < cols && c < (b / span + 1) * span * 32; c++) {
            if (!isfinite(x[c])) finite = 0;
            else largest = fmax(largest, fabs((double)x[c]));
            if (c / 32 == b) sum[c % 32 / 16] += q.codes[c];
        }
        assert_int_equal(q.sums[2 * b], sum[0]);
        assert_int_equal(q.sums[2 * b + 1], sum[1]);
        if (!finite) {
            assert_true(isnan(q.scales[b]) && isnan(q.scaled_sums[b]));
            continue;
        }
        if (largest < 0x1p-100) largest = 0;
        assert_true(q.scales[b] == (float)largest / 127);
        assert_true(q.scaled_sums[b] == q.scales[b] * (float)(sum[0] + sum[1]));
        for (size_t c = 32 * b; c < 32 * b + 32; c++) { /* half a step, and the roundings of 127 / largest and of the product */
            assert_in_range(q.codes[c] + 127, 0, 254);
            if (largest > 0) assert_true(fabs((double)x[c] * 127 / largest - q.codes[c]) <= 0.5 + 127 * 0x1p-23);
        }
    }
    for (int level = 1; level < level_count; level++) {
        memset(row, 0x5A, bytes + 1);
        levels[level].quantize_row(x, cols, span, row);
        assert_memory_equal(row, expected, (size_t)((const uint8_t *)q.scales - expected));
        for (size_t b = 0; b < cols / 32; b++) {
            mmi_quant_row p = mmi_quant_row_at(row, cols);
            assert_true(same(p.scales[b], q.scales[b]) && same(p.scaled_sums[b], q.scaled_sums[b]));
            assert_int_equal(p.sums[2 * b], q.sums[2 * b]);
            assert_int_equal(p.sums[2 * b + 1], q.sums[2 * b + 1]);
        }
        assert_int_equal(row[bytes], 0x5A);
    }
    free(expected);
    free(row);
}

static void check_quantize(const float *x, size_t cols)
{
    check_quantize_span(x, cols, 1);
    check_quantize_span(x, cols, MMI_QUANT_SPAN);
}

static void test_quantize(void **state)
{
    static const float odd[] = {0,         -0.0f,             FLT_MAX, -FLT_MAX, FLT_MIN,   0x1p-149f,
                                0x1p-100f, 0x1.fffffep-101f,  1,       -1,       INFINITY, -INFINITY, NAN};
    static float x[1 + 1024];

    (void)state;
    check_quantize(x, 0);
    for (size_t cols = 32; cols <= 1024; cols = cols * 3 / 64 * 32 + 32) {
        for (size_t i = 0; i <= cols; i++) x[i] = random_unit() * powf(2, (float)(random_u32() % 40) - 20);
        check_quantize(x + 1, cols);
    }
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) /* in each place of a block, beside small and large numbers */
        for (size_t at = 0; at < 32; at++) {
            for (size_t c = 0; c < 96; c++) x[c] = c < 32 ? 0 : c < 64 ? random_unit() : random_unit() * 0x1p-110f;
            x[at] = x[32 + at] = x[64 + at] = odd[i];
            check_quantize(x, 96);
        }
    for (size_t c = 0; c < 32; c++) x[c] = c ? (float)c + 0.5f : 127; /* ties go to the even neighbour */
    check_quantize(x, 32);
}

/* NaN, infinity: the outputs that depend on them are NaN, others are as before; no level differs. */
static void test_not_finite(void **state)
{
    (void)state;
    for (int32_t dtype = MM_DTYPE_Q4_0; dtype <= MM_DTYPE_IQ4_NL; dtype++)
        for (int level = 0; level < level_count; level++) {
            enum { COLS = 256, M = 17, ROWS = 16 };
            uint8_t *base, *w = make_weights(dtype, ROWS, COLS, RANDOM), *packed = pack(dtype, w, ROWS, COLS, 0, &base);
            size_t row_bytes = mmi_quant_row_bytes(COLS);
            uint8_t *rows = malloc(M * row_bytes);
            float x[COLS], y[M][ROWS];
            mmi_quant_tile t = {dtype, packed, ROWS, COLS, 0, 1, rows, M, y[0], ROWS};

            assert_non_null(rows);
            for (int i = 0; i < M; i++) {
                fill_row(x, COLS, RANDOM);
                if (i % 3 == 1) x[40 + i] = i % 2 ? NAN : INFINITY;
                levels[level].quantize_row(x, COLS, 1, rows + (size_t)i * row_bytes);
            }
            levels[level].quant_linear(&t);
            for (int i = 0; i < M; i++)
                for (int r = 0; r < ROWS; r++) assert_true(isnan(y[i][r]) ? i % 3 == 1 : i % 3 != 1 && isfinite(y[i][r]));
            free(rows);
            free(base);
            free(w);
        }
}

#if defined(__x86_64__)
/* Tile registers are given back: components 17 and 18 of XINUSE are in their initial state. */
static void test_tiles_released(void **state)
{
    (void)state;
    if (level_count <= MM_CPU_AMX) skip();
    for (size_t m = 1; m <= 40; m += 13) {
        uint32_t a, d;
        check_levels(MM_DTYPE_Q4_1, 16, 64, m, RANDOM, RANDOM, 0);
        check_levels(MM_DTYPE_Q8_ROW, 16, 64, m, RANDOM, RANDOM, 0);
        __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(1));
        assert_int_equal(a >> 17 & 3, 0);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_against_double),
        cmocka_unit_test(test_row_against_double),
        cmocka_unit_test(test_quantize),
        cmocka_unit_test(test_not_finite),
#if defined(__x86_64__)
        cmocka_unit_test(test_tiles_released),
#endif
    };
    return cmocka_run_group_tests_name("quant kernels", tests, setup, NULL);
}
