/* Random numbers: the same for a seed everywhere, evenly spread. SPDX-License-Identifier: MIT */
#include "unit_fixture.h"

#include <math.h>

#include "random.h"

/* PCG-XSH-RR 64/32 as its author defines it, with the increment of pcg32_oneseq, computed with the paper's names. */
static uint32_t pcg32(uint64_t *state)
{
    uint64_t old = *state;
    uint32_t xorshifted = (uint32_t)(((old >> 18u) ^ old) >> 27u), rot = (uint32_t)(old >> 59u);
    *state = old * 6364136223846793005ULL + 1442695040888963407ULL;
    return rot ? xorshifted >> rot | xorshifted << (32 - rot) : xorshifted;
}

static void test_sequence(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        mmi_random r;
        uint64_t s = 0;
        mmi_random_seed(&r, seed * 0x9E3779B97F4A7C15u);
        (void)pcg32(&s);
        s += seed * 0x9E3779B97F4A7C15u;
        (void)pcg32(&s);
        for (int i = 0; i < 100; i++) assert_int_equal(mmi_random_u32(&r), pcg32(&s));
    }
}

static void test_unit_range(void **state)
{
    enum { N = 200000, CELLS = 100 };
    mmi_random r;
    int cells[CELLS] = {0};
    double sum = 0, chi = 0, last_bits = 0;
    (void)state;

    mmi_random_seed(&r, 1);
    for (int i = 0; i < N; i++) {
        double u = mmi_random_unit(&r);
        assert_true(u >= 0 && u < 1);
        cells[(int)(u * CELLS)]++;
        sum += u;
        last_bits += fmod(u * 0x1p53, 2);
    }
    for (int i = 0; i < CELLS; i++) chi += (cells[i] - N / CELLS) * (double)(cells[i] - N / CELLS) / (N / CELLS);
    assert_true(fabs(sum / N - 0.5) < 5 / sqrt(12.0 * N));
    assert_true(fabs(last_bits / N - 0.5) < 5 / sqrt(4.0 * N)); /* all 53 bits are used */
    assert_true(chi < 185); /* 99 degrees of freedom, 1e-6 */
    assert_true(chi > 40);  /* and not too even */
}

/* Known answers of Random123, the authors' implementation. */
static void test_counter_based(void **state)
{
    enum { N = 100000 };
    double sum = 0, squares = 0;
    (void)state;

    assert_true(mmi_random_at(0, 0, 0) == 0xe169c58d6627e8d5u);
    assert_true(mmi_random_at(UINT64_MAX, UINT64_MAX, UINT64_MAX) == 0x41c83b0e408f276du);
    for (uint64_t i = 0; i < N; i++) {
        double u = mmi_random_unit_at(7, i % 3, i), n = mmi_random_normal_at(7, 3, i);
        assert_true(u >= 0 && u < 1);
        sum += n;
        squares += n * n;
    }
    assert_true(fabs(sum / N) < 5 / sqrt(N));
    assert_true(fabs(squares / N - 1) < 5 * sqrt(2.0 / N));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sequence), cmocka_unit_test(test_unit_range), cmocka_unit_test(test_counter_based)};
    return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
