/* The order: permutations for every count, evenly spread over epochs; turns of tasks in the ratios asked for. SPDX-License-Identifier: MIT
 * */
#include "unit_fixture.h"

#include <math.h>

#include "data_order.h"

static void is_a_permutation(void **state)
{
    static const size_t large[] = {1000, 1023, 1024, 1025, 4097, 65537};
    unsigned char *seen = malloc(65537);
    (void)state;

    assert_non_null(seen);
    for (size_t k = 1; k <= 200 + sizeof large / sizeof *large; k++) {
        const size_t n = k <= 200 ? k : large[k - 201];
        memset(seen, 0, n);
        for (size_t i = 0; i < n; i++) {
            const size_t at = mmi_data_order_at(k, k * 31, n, i);
            assert_true(at < n);
            assert_int_equal(seen[at]++, 0);
        }
    }
    free(seen);
    assert_true(mmi_data_order_at(1, 1, SIZE_MAX, SIZE_MAX - 1) < SIZE_MAX);
}

static void differs_by_seed_and_epoch(void **state)
{
    size_t same_seed = 0, same_epoch = 0, in_place = 0;
    (void)state;

    for (size_t i = 0; i < 1000; i++) {
        const size_t at = mmi_data_order_at(3, 4, 1000, i);
        assert_int_equal(at, mmi_data_order_at(3, 4, 1000, i));
        same_seed += at == mmi_data_order_at(3, 5, 1000, i);
        same_epoch += at == mmi_data_order_at(4, 4, 1000, i);
        in_place += at == i;
    }
    assert_true(same_seed < 8 && same_epoch < 8 && in_place < 8); /* 1 is expected of each; 8 or more have a chance of 1e-5 */
}

/* Over epochs each example comes at each place equally often, and each order of three is as likely: chi-square below its 1 - 1e-6
 * quantile. */
static void is_evenly_spread(void **state)
{
    enum { EPOCHS = 24000 };
    static const size_t counts[] = {2, 3, 5, 8, 13, 16};
    (void)state;

    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        const size_t n = counts[k];
        for (size_t i = 0; i < n; i++) {
            const double expected = (double)EPOCHS / (double)n, freedom = (double)n - 1;
            size_t times[16] = {0};
            double chi = 0;
            for (size_t e = 0; e < EPOCHS; e++) times[mmi_data_order_at(99, e, n, i)]++;
            for (size_t j = 0; j < n; j++) chi += ((double)times[j] - expected) * ((double)times[j] - expected) / expected;
            /* Wilson and Hilferty 1931: the cube root is nearly normal */
            assert_true(cbrt(chi / freedom) < 1 - 2 / (9 * freedom) + 4.75 * sqrt(2 / (9 * freedom)));
        }
    }
    {
        size_t times[27] = {0};
        double chi = 0;
        for (size_t e = 0; e < EPOCHS; e++)
            times[mmi_data_order_at(5, e, 3, 0) * 9 + mmi_data_order_at(5, e, 3, 1) * 3 + mmi_data_order_at(5, e, 3, 2)]++;
        for (size_t i = 0; i < 27; i++)
            if (times[i]) chi += ((double)times[i] - EPOCHS / 6.0) * ((double)times[i] - EPOCHS / 6.0) / (EPOCHS / 6.0);
        assert_true(chi < 35.9); /* 5 degrees of freedom */
    }
}

static void check_turns(mm_context *ctx, const double *ratios, size_t n, size_t steps, double most_behind)
{
    mmi_task_order *o = NULL;
    uint64_t *given = calloc(n, sizeof *given);
    double sum = 0;

    assert_non_null(given);
    if (mmi_task_order_create(ctx, ratios, n, &o)) fail_msg("%s", ctx->error);
    for (size_t i = 0; i < n; i++) sum += ratios[i];
    for (size_t s = 0; s < steps; s++) {
        size_t task = n;
        uint64_t nth = 0;
        mmi_task_order_at(o, s, &task, &nth);
        assert_true(task < n);
        assert_int_equal(nth, given[task]++); /* the turns of a task are numbered without a gap */
        for (size_t i = 0; i < n; i++)        /* and at no time is one far from its share */
            if (fabs((double)given[i] - (double)(s + 1) * ratios[i] / sum) > most_behind)
                fail_msg("task %zu has %u turns of %zu", i, (unsigned)given[i], s + 1);
    }
    mmi_task_order_destroy(o);
    free(given);
}

static void keeps_ratios(void **state)
{
    static const double equal[] = {1, 1, 1}, thirds[] = {1, 2}, three[] = {0.5, 0.3, 0.2}, pi[] = {3.14159265358979, 1}, one[] = {5};
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    double many[MMI_TASK_ORDER_MAX_TASKS];
    (void)state;

    check_turns(ctx, one, 1, 100, 1e-9);
    check_turns(ctx, equal, 3, 3000, 1);
    check_turns(ctx, thirds, 2, 30000, 1);
    check_turns(ctx, three, 3, 30000, 1);
    check_turns(ctx, pi, 2, 30000, 1 + 30000 * 0.5 / 4096);
    for (size_t i = 0; i < MMI_TASK_ORDER_MAX_TASKS; i++) many[i] = 1 + (double)(i % 7);
    check_turns(ctx, many, MMI_TASK_ORDER_MAX_TASKS, 4096, 3);
    unit_context_end(&a, ctx);
}

/* A ratio too small for a period still gets its turn. */
static void forgets_none(void **state)
{
    static const double ratios[] = {1e-9, 1, 1e9};
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mmi_task_order *o = NULL;
    size_t times[3] = {0};
    (void)state;

    assert_int_equal(mmi_task_order_create(ctx, ratios, 3, &o), MM_OK);
    for (size_t s = 0; s < MMI_TASK_ORDER_MAX_PERIOD; s++) {
        size_t task;
        uint64_t nth;
        mmi_task_order_at(o, s, &task, &nth);
        times[task]++;
    }
    assert_int_equal(times[0], 1);
    assert_int_equal(times[1], 1);
    mmi_task_order_destroy(o);
    unit_context_end(&a, ctx);
}

static void refuses_wrong_ratios(void **state)
{
    static const double bad[][2] = {{0, 1}, {-1, 1}, {1, NAN}, {INFINITY, 1}, {1e308, 1e308}};
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mmi_task_order *o = NULL;
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(mmi_task_order_create(ctx, bad[i], 2, &o), MM_E_ARGUMENT);
    assert_int_equal(mmi_task_order_create(ctx, bad[0], 0, &o), MM_E_ARGUMENT);
    a.fail_at = a.count + 1;
    assert_int_equal(mmi_task_order_create(ctx, &bad[0][1], 1, &o), MM_E_NOMEM);
    assert_null(o);
    unit_context_end(&a, ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_a_permutation), cmocka_unit_test(differs_by_seed_and_epoch),
        cmocka_unit_test(is_evenly_spread), cmocka_unit_test(keeps_ratios),
        cmocka_unit_test(forgets_none),     cmocka_unit_test(refuses_wrong_ratios),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
