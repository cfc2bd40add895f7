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
        cmocka_unit_test(test_pack_unpack),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests_name("block_quant", tests, setup, teardown);
}
