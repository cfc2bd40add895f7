/* Element types: sizes, and half precision against arithmetic in double. SPDX-License-Identifier: MIT */
#include "unit_fixture.h"

#include <math.h>

#include "dtype.h"

static const int32_t every[] = {MM_DTYPE_F32,  MM_DTYPE_F16,  MM_DTYPE_BF16, MM_DTYPE_I32,  MM_DTYPE_I64,  MM_DTYPE_U8,   MM_DTYPE_Q4_0,
                                MM_DTYPE_Q4_1, MM_DTYPE_Q5_0, MM_DTYPE_Q5_1, MM_DTYPE_Q8_0, MM_DTYPE_Q4_K, MM_DTYPE_Q5_K, MM_DTYPE_Q6_K,
                                MM_DTYPE_Q2_K, MM_DTYPE_Q3_K, MM_DTYPE_IQ4_NL, MM_DTYPE_Q8_ROW};

static void test_sizes(void **state)
{
    static const struct {
        const char *name;
        size_t block, bytes;
    } want[] = {{"F32", 1, 4},    {"F16", 1, 2},      {"BF16", 1, 2},     {"I32", 1, 4},     {"I64", 1, 8},
                {"U8", 1, 1},     {"Q4_0", 32, 18},   {"Q4_1", 32, 20},   {"Q5_0", 32, 22},  {"Q5_1", 32, 24},
                {"Q8_0", 32, 34}, {"Q4_K", 256, 144}, {"Q5_K", 256, 176}, {"Q6_K", 256, 210},
                {"Q2_K", 256, 84}, {"Q3_K", 256, 110}, {"IQ4_NL", 32, 18}, {"Q8_ROW", 32, 32}};
    (void)state;

    for (size_t i = 0; i < sizeof every / sizeof *every; i++) {
        const mmi_dtype_info *info = mmi_dtype_get(every[i]);
        size_t bytes = 77;
        assert_non_null(info);
        assert_string_equal(info->name, want[i].name);
        assert_string_equal(mm_dtype_name(every[i]), want[i].name);
        assert_int_equal(info->block, want[i].block);
        assert_int_equal(info->block_bytes, want[i].bytes);
        assert_int_equal(mmi_dtype_is_quantized(every[i]), want[i].block > 1);
        assert_int_equal(mmi_dtype_bytes(every[i], 0, &bytes), 0);
        assert_int_equal(bytes, 0);
        assert_int_equal(mmi_dtype_bytes(every[i], 3 * want[i].block, &bytes), 0);
        assert_int_equal(bytes, 3 * want[i].bytes);
        if (want[i].block > 1) assert_int_not_equal(mmi_dtype_bytes(every[i], want[i].block - 1, &bytes), 0);
        if (want[i].bytes > want[i].block)
            assert_int_not_equal(mmi_dtype_bytes(every[i], SIZE_MAX / want[i].block * want[i].block, &bytes), 0);
        assert_int_equal(bytes, 3 * want[i].bytes); /* left alone */
    }
    for (int32_t d = -3; d < 60; d++) {
        int known = 0;
        for (size_t i = 0; i < sizeof every / sizeof *every; i++) known |= every[i] == d;
        assert_int_equal(mmi_dtype_get(d) != NULL, known);
        if (!known) assert_string_equal(mm_dtype_name(d), "?");
    }
    assert_null(mmi_dtype_get(INT32_MIN));
    assert_null(mmi_dtype_get(INT32_MAX));
}

static float bits_f32(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* All 65536 halves: their value by definition, and back. */
static void test_f16_values(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        int sign = h >> 15 ? -1 : 1, e = (int)(h >> 10 & 31), m = (int)(h & 1023);
        float f = mmi_f16_to_f32((uint16_t)h);
        if (e == 31 && m) {
            assert_true(isnan(f));
            assert_true(isnan(mmi_f16_to_f32(mmi_f32_to_f16(f))));
            continue;
        }
        if (e == 31)
            assert_true(isinf(f) && (f < 0) == (sign < 0));
        else if (f != (float)(sign * (e ? ldexp(1024 + m, e - 25) : ldexp(m, -24))))
            fail_msg("half %04x is %g", h, (double)f);
        assert_int_equal(signbit(f) != 0, sign < 0);
        assert_int_equal(mmi_f32_to_f16(f), h);
    }
}

static void test_bf16_values(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = mmi_bf16_to_f32((uint16_t)h);
        uint32_t u;
        memcpy(&u, &f, 4);
        assert_int_equal(u, h << 16);
        if (isnan(f))
            assert_true(isnan(mmi_bf16_to_f32(mmi_f32_to_bf16(f))));
        else
            assert_int_equal(mmi_f32_to_bf16(f), h);
    }
    assert_true(isnan(mmi_bf16_to_f32(mmi_f32_to_bf16(bits_f32(0x7F800001))))); /* whose upper half is infinity */
    assert_true(isnan(mmi_f16_to_f32(mmi_f32_to_f16(bits_f32(0x7F800001)))));
}

/* Rounding to the nearest, the even one in the middle: between every two neighbours just below, at and just above the middle. */
static void test_rounding(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7BFF; h++) {
        double a = (double)mmi_f16_to_f32((uint16_t)h), b = (double)mmi_f16_to_f32((uint16_t)(h + 1));
        float middle = (float)((a + b) / 2); /* exact */
        assert_int_equal(mmi_f32_to_f16(middle), h % 2 ? h + 1 : h);
        assert_int_equal(mmi_f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(mmi_f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(mmi_f32_to_f16(-middle), 0x8000 | (h % 2 ? h + 1 : h));
    }
    assert_int_equal(mmi_f32_to_f16(65504.0f), 0x7BFF);
    assert_int_equal(mmi_f32_to_f16(65519.996f), 0x7BFF);
    assert_int_equal(mmi_f32_to_f16(65520.0f), 0x7C00);
    assert_int_equal(mmi_f32_to_f16(-INFINITY), 0xFC00);
    assert_int_equal(mmi_f32_to_f16(1e30f), 0x7C00);
    assert_int_equal(mmi_f32_to_f16(1e-30f), 0);
    assert_int_equal(mmi_f32_to_f16(-1e-30f), 0x8000);
    for (uint32_t h = 0; h < 0x7F7F; h++) {
        assert_int_equal(mmi_f32_to_bf16(bits_f32(h << 16 | 0x8000)), h % 2 ? h + 1 : h);
        assert_int_equal(mmi_f32_to_bf16(bits_f32(h << 16 | 0x7FFF)), h);
        assert_int_equal(mmi_f32_to_bf16(bits_f32(h << 16 | 0x8001)), h + 1);
    }
    assert_int_equal(mmi_f32_to_bf16(bits_f32(0x7F7FFFFF)), 0x7F80); /* the largest float rounds to infinity */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_f16_values),
        cmocka_unit_test(test_bf16_values),
        cmocka_unit_test(test_rounding),
    };
    return cmocka_run_group_tests_name("dtype", tests, NULL, NULL);
}
