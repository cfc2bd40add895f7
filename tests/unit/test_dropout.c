/* Dropout: what share of elements it drops, how it scales the others, that masks are apart, and the same bits on any number of threads. Its gradient is tested
 * by test_gradients.c, runs with it by test_trainer.c. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "dropout_op.h"
#include "plan.h"
#include "run.h"

enum { N = 200003 }; /* of many tasks, and no whole number of draws */

static mm_context *ctx;

static int setup(void **state)
{
    (void)state;
    return mm_context_create(NULL, &ctx) != MM_OK;
}

static int teardown(void **state)
{
    (void)state;
    mm_context_destroy(ctx);
    return 0;
}

/* Ones through an op of each rate, beside each other; freed by the caller. */
static float *run(int64_t threads, uint64_t key, int trains, const float *rates, size_t n)
{
    const int64_t shape[1] = {N};
    const mmi_run_values values = {.dropout_key = key};
    mmi_graph *g = NULL;
    mmi_value x, y[4];
    float *out = malloc(n * N * sizeof *out);
    void *data = NULL;

    assert_non_null(out);
    assert_int_equal(mm_context_set_i64(ctx, MM_CONTEXT_THREADS, threads), MM_OK);
    assert_int_equal(mmi_graph_create(ctx, &g), MM_OK);
    g->trains = trains;
    x = mmi_graph_constant(g, MM_DTYPE_F32, 1, shape, &data);
    assert_non_null(data);
    for (int i = 0; i < N; i++) ((float *)data)[i] = 1;
    for (size_t i = 0; i < n; i++) {
        y[i] = mmi_dropout(g, x, rates[i]);
        assert_true((y[i] == x) == (!trains || rates[i] == 0)); /* no op where there is nothing to drop */
        mmi_graph_output(g, "y", y[i]);
    }
    assert_int_equal(mmi_graph_plan(g), MM_OK);
    assert_int_equal(mmi_graph_run(g, &values), MM_OK);
    for (size_t i = 0; i < n; i++) memcpy(out + i * N, mmi_graph_result(g, y[i]), N * sizeof *out);
    mmi_graph_destroy(g);
    return out;
}

/* Whether `hits` of `n` are as many as chance `p` gives, within five standard deviations. */
static void assert_share(double hits, double n, double p)
{
    if (!(fabs(hits - n * p) < 5 * sqrt(n * p * (1 - p)))) fail_msg("%.0f of %.0f, expected a share of %g", hits, n, p);
}

static void test_shares(void **state)
{
    static const float rates[4] = {0.1f, 0.5f, 0.999f, 0};
    float *y = run(2, 7, 1, rates, 4);
    (void)state;

    for (size_t r = 0; r < 4; r++) {
        const float *mask = y + r * N;
        size_t dropped = 0, pairs[5] = {0};
        for (size_t i = 0; i < N; i++) {
            dropped += mask[i] == 0;
            if (mask[i] != 0) assert_true(fabsf(mask[i] * (1 - rates[r]) - 1) < 0.01f); /* rates are rounded to shares of 2^-16 */
            for (size_t d = 1; d < 5 && i + d < N; d++) pairs[d] += mask[i] == 0 && mask[i + d] == 0;
        }
        if (rates[r] == 0) {
            assert_int_equal(dropped, 0);
            continue;
        }
        assert_share((double)dropped, N, (double)rates[r]);
        for (size_t d = 1; d < 5; d++) assert_share((double)pairs[d], N, (double)rates[r] * (double)rates[r]); /* neighbours know nothing of each other */
    }
    free(y);
}

/* Of another place, key or run of the same. */
static void test_masks(void **state)
{
    static const float half[2] = {0.5f, 0.5f};
    float *one = run(1, 7, 1, half, 2), *other = run(1, 8, 1, half, 2), *untrained = run(1, 7, 0, half, 1);
    double alike[2] = {0};
    (void)state;

    for (size_t i = 0; i < N; i++) {
        alike[0] += one[i] == one[N + i];
        alike[1] += one[i] == other[i];
        assert_true(untrained[i] == 1);
    }
    assert_share(alike[0], N, 0.5);
    assert_share(alike[1], N, 0.5);
    for (int64_t threads = 2; threads <= 3; threads++) {
        float *again = run(threads, 7, 1, half, 2);
        assert_memory_equal(one, again, 2 * N * sizeof *one);
        free(again);
    }
    free(one);
    free(other);
    free(untrained);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_shares, setup, teardown), cmocka_unit_test_setup_teardown(test_masks, setup, teardown)};
    return cmocka_run_group_tests_name("dropout", tests, NULL, NULL);
}
