/* Dequantization against gguf-py (tests/golden/make_block_quant.py), and packing and unpacking of whole groups.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "block_quant.h"
#include "dtype.h"
#include "quant_pack.h"

typedef struct {
    uint32_t dtype, elements, bytes;
    uint8_t *blocks;
    float *values;
} golden;

enum { FORMATS = MM_DTYPE_IQ4_NL - MM_DTYPE_Q4_0 + 1 };
static golden goldens[FORMATS];
static float values[2048];
static uint8_t blocks[2048 / 32 * 34];

static int setup(void **state)
{
    FILE *f = fopen("tests/golden/block_quant.bin", "rb");
    (void)state;
    if (!f) return -1;
    for (int i = 0; i < FORMATS; i++) {
        golden *g = &goldens[i];
        if (fread(g, sizeof(uint32_t), 3, f) != 3) return -1;
        g->blocks = malloc(g->bytes);
        g->values = malloc(g->elements * sizeof(float));
        if (!g->blocks || !g->values) return -1;
        if (fread(g->blocks, 1, g->bytes, f) != g->bytes) return -1;
        if (fread(g->values, sizeof(float), g->elements, f) != g->elements) return -1;
    }
    {
        uint32_t n = 0;
        if (fread(&n, sizeof n, 1, f) != 1 || n != 2048 || fread(values, sizeof values, 1, f) != 1 || fread(blocks, sizeof blocks, 1, f) != 1) return -1;
    }
    return fclose(f);
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < FORMATS; i++) {
        free(goldens[i].blocks);
        free(goldens[i].values);
    }
    return 0;
}

static void assert_same_bits(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u, v;
        memcpy(&u, &a[i], 4);
        memcpy(&v, &b[i], 4);
        assert_int_equal(u, v);
    }
}

/* Every value that gguf-py computes, to the bit. */
static void test_dequantize(void **state)
{
    (void)state;
    for (int i = 0; i < FORMATS; i++) {
        const golden *g = &goldens[i];
        float *out = malloc(g->elements * sizeof(float));
        size_t bytes = 0;

        assert_non_null(out);
        assert_int_equal(g->dtype, MM_DTYPE_Q4_0 + i);
        assert_int_equal(mmi_dtype_bytes((int32_t)g->dtype, g->elements, &bytes), 0);
        assert_int_equal(bytes, g->bytes);
        mmi_dequantize((int32_t)g->dtype, g->blocks, out, g->elements);
        assert_same_bits(out, g->values, g->elements);
        free(out);
    }
}

/* The blocks that gguf-py writes, to the bit; what is not finite stays so in its own block. */
static void test_quantize(void **state)
{
    uint8_t have[sizeof blocks];
    float odd[64] = {0}, back[64];
    (void)state;

    assert_true(mmi_can_quantize(MM_DTYPE_Q8_0) && !mmi_can_quantize(MM_DTYPE_Q4_0) && !mmi_can_quantize(MM_DTYPE_F32));
    mmi_quantize(MM_DTYPE_Q8_0, values, have, 2048);
    assert_memory_equal(have, blocks, sizeof blocks);
    for (int i = 0; i < 2; i++) {
        odd[3] = i ? INFINITY : NAN;
        odd[4] = odd[40] = 1;
        mmi_quantize(MM_DTYPE_Q8_0, odd, have, 64);
        mmi_dequantize(MM_DTYPE_Q8_0, have, back, 64);
        assert_false(isfinite(back[4]));
        assert_true(fabsf(back[40] - 1) < 1e-3f && back[41] == 0);
    }
}

/* A packed row of Q8_ROW is within half a step of its values; NaN where they are not finite; others are not touched. */
static void test_q8_row(void **state)
{
    enum { COLS = 96 };
    size_t bytes = 0;
    uint8_t *group;
    float out[COLS], odd[COLS] = {1, NAN}, largest = 0;
    (void)state;

    assert_int_equal(mmi_pack_bytes(MM_DTYPE_Q8_ROW, 16, COLS, &bytes), 0);
    assert_int_equal(bytes, mmi_pack_group_bytes(MM_DTYPE_Q8_ROW, COLS));
    assert_int_equal(bytes % 64, 0);
    assert_int_not_equal(mmi_pack_bytes(MM_DTYPE_Q8_ROW, SIZE_MAX / 4, 1024, &bytes), 0);
    assert_int_not_equal(mmi_pack_bytes(MM_DTYPE_Q8_ROW, 16, SIZE_MAX / 32 * 32, &bytes), 0);
    group = calloc(1, bytes);
    assert_non_null(group);
    mmi_pack_q8_row(values + 640, 5, COLS, group);
    mmi_pack_q8_row(odd, 7, COLS, group);
    for (int c = 0; c < COLS; c++) largest = fmaxf(largest, fabsf(values[640 + c]));
    mmi_unpack_row(MM_DTYPE_Q8_ROW, group, 5, COLS, out);
    for (int c = 0; c < COLS; c++) assert_true(fabsf(out[c] - values[640 + c]) <= largest / 127 * 0.50001f);
    mmi_unpack_row(MM_DTYPE_Q8_ROW, group, 7, COLS, out);
    for (int c = 0; c < COLS; c++) assert_true(isnan(out[c]));
    mmi_unpack_row(MM_DTYPE_Q8_ROW, group, 6, COLS, out);
    for (int c = 0; c < COLS; c++) assert_true(out[c] == 0);
    free(group);
}

/* Rows of a packed group come back as mmi_dequantize gives them; rows that are not there are zeros. The row length
 * is cut so that 3 (K formats: 1) blocks make a row. */
static void test_pack_unpack(void **state)
{
    (void)state;
    for (int i = 0; i < FORMATS; i++) {
        const golden *g = &goldens[i];
        const int32_t dtype = (int32_t)g->dtype;
        const size_t block = mmi_dtype_get(dtype)->block, cols = block == 32 ? 96 : 256, all = g->elements / cols;

        for (size_t rows = 1; rows <= (all < 16 ? all : 16); rows++) {
            size_t bytes = 0, group_bytes = mmi_pack_group_bytes(dtype, cols);
            uint8_t *group;
            float out[256];

            assert_int_equal(mmi_pack_bytes(dtype, rows, cols, &bytes), 0);
            assert_int_equal(bytes, group_bytes);
            group = malloc(bytes + 1);
            assert_non_null(group);
            memset(group, 0xA5, bytes + 1);
            mmi_pack_group(dtype, g->blocks, rows, cols, group);
            assert_int_equal(group[bytes], 0xA5);
            for (size_t r = 0; r < 16; r++) {
                mmi_unpack_row(dtype, group, r, cols, out);
                if (r < rows) assert_same_bits(out, g->values + r * cols, cols);
                else for (size_t c = 0; c < cols; c++) assert_true(out[c] == 0);
            }
            free(group);
        }
    }
}

static void test_sizes(void **state)
{
    size_t bytes = 0;
    (void)state;

    /* No larger than the file's blocks but for what keeps lines aligned and 6-bit scales whole bytes. */
    for (int32_t d = MM_DTYPE_Q4_0; d <= MM_DTYPE_IQ4_NL; d++) {
        size_t file = 0;
        assert_int_equal(mmi_dtype_bytes(d, 1024 * 1024, &file), 0);
        assert_int_equal(mmi_pack_bytes(d, 1024, 1024, &bytes), 0);
        assert_true(bytes >= file && (double)bytes <= 1.04 * (double)file);
        assert_int_equal(mmi_pack_group_bytes(d, 1024) % 64, 0);
        assert_int_equal(bytes, 64 * mmi_pack_group_bytes(d, 1024));
        assert_int_equal(mmi_pack_bytes(d, 1025, 1024, &bytes), 0);
        assert_int_equal(bytes, 65 * mmi_pack_group_bytes(d, 1024));
        assert_int_equal(mmi_pack_bytes(d, 0, 1024, &bytes), 0);
        assert_int_equal(bytes, 0);
    }

    bytes = 7;
    assert_int_not_equal(mmi_pack_bytes(MM_DTYPE_Q4_1, 16, 33, &bytes), 0);
    assert_int_not_equal(mmi_pack_bytes(MM_DTYPE_Q4_K, 16, 128, &bytes), 0);
    assert_int_not_equal(mmi_pack_bytes(MM_DTYPE_F32, 16, 32, &bytes), 0);
    assert_int_not_equal(mmi_pack_bytes(99, 16, 32, &bytes), 0);
    assert_int_not_equal(mmi_pack_bytes(MM_DTYPE_Q8_0, 16, SIZE_MAX / 32 * 32, &bytes), 0);
    assert_int_not_equal(mmi_pack_bytes(MM_DTYPE_Q8_0, SIZE_MAX, 32, &bytes), 0);
    assert_int_not_equal(mmi_pack_bytes(MM_DTYPE_Q8_0, SIZE_MAX / 4, 1024, &bytes), 0);
    assert_int_equal(bytes, 7);

    for (size_t cols = 32; cols < 4096; cols += 32) {
        assert_int_equal(mmi_quant_row_bytes(cols) % 64, 0);
        assert_true(mmi_quant_row_bytes(cols) >= cols + cols / 32 * 12);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dequantize),
        cmocka_unit_test(test_quantize),
        cmocka_unit_test(test_q8_row),
        cmocka_unit_test(test_pack_unpack),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests_name("block_quant", tests, setup, teardown);
}
