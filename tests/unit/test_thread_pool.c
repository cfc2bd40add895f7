/* The pool: every task once, workers' numbers in range, cancelling, many short jobs, idle times between. SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* usleep */
#include "unit_fixture.h"

#include <unistd.h>

#include "thread_pool.h"

enum { MOST = 1000 };

typedef struct {
    atomic_int seen[MOST];
    atomic_int bad_worker;
    int threads;
    atomic_int *cancel; /* raised by task 10 */
    atomic_int in_use[8];
} job;

static void task_fn(void *arg, size_t task, int worker)
{
    job *j = arg;
    if (worker < 0 || worker >= j->threads || atomic_fetch_add(&j->in_use[worker], 1))
        atomic_store(&j->bad_worker, 1); /* its scratch is its own */
    atomic_fetch_add(&j->seen[task], 1);
    if (j->cancel && task == 10) atomic_store(j->cancel, 1);
    atomic_fetch_sub(&j->in_use[worker], 1);
}

static void run(mmi_thread_pool *pool, int threads, size_t count)
{
    job *j = calloc(1, sizeof *j);
    assert_non_null(j);
    j->threads = threads;
    mmi_thread_pool_run(pool, task_fn, j, count, NULL);
    for (size_t i = 0; i < MOST; i++) assert_int_equal(atomic_load(&j->seen[i]), i < count);
    assert_int_equal(atomic_load(&j->bad_worker), 0);
    free(j);
}

static void test_each_task_once(void **state)
{
    static const size_t counts[] = {0, 1, 2, 3, 7, 100, MOST};
    mm_context *ctx = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    assert_int_equal(mmi_thread_pool_size(NULL), 1);
    for (int threads = 1; threads <= 5; threads++) {
        mmi_thread_pool *pool = mmi_thread_pool_create(ctx->heap, threads);
        assert_non_null(pool);
        assert_in_range(mmi_thread_pool_size(pool), 1, threads);
        for (int again = 0; again < 20; again++)
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) run(pool, mmi_thread_pool_size(pool), counts[i]);
        (void)usleep(20000); /* the workers fall asleep */
        run(pool, mmi_thread_pool_size(pool), 50);
        (void)usleep(20000);
        mmi_thread_pool_destroy(pool);
    }
    run(NULL, 1, 100);
    mmi_thread_pool_destroy(NULL);
    mm_context_destroy(ctx);
}

static void add_up(void *arg, size_t task, int worker)
{
    (void)worker;
    atomic_fetch_add((atomic_size_t *)arg, task + 1);
}

static void test_many_short_jobs(void **state)
{
    mm_context *ctx = NULL;
    mmi_thread_pool *pool;
    atomic_size_t sum;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    pool = mmi_thread_pool_create(ctx->heap, 3);
    assert_non_null(pool);
    atomic_init(&sum, 0);
    for (int i = 0; i < 5000; i++) mmi_thread_pool_run(pool, add_up, &sum, 4, NULL);
    assert_int_equal(atomic_load(&sum), 5000 * 10);
    mmi_thread_pool_destroy(pool);
    mm_context_destroy(ctx);
}

static void test_cancel(void **state)
{
    mm_context *ctx = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    for (int threads = 0; threads <= 3; threads++) {
        mmi_thread_pool *pool = threads ? mmi_thread_pool_create(ctx->heap, threads) : NULL;
        job *j = calloc(1, sizeof *j);
        atomic_int cancel;
        size_t ran = 0;
        assert_non_null(j);
        atomic_init(&cancel, 1);
        j->threads = mmi_thread_pool_size(pool);
        mmi_thread_pool_run(pool, task_fn, j, MOST, &cancel);
        for (size_t i = 0; i < MOST; i++) assert_int_equal(atomic_load(&j->seen[i]), 0);
        atomic_store(&cancel, 0);
        j->cancel = &cancel;
        mmi_thread_pool_run(pool, task_fn, j, MOST, &cancel);
        for (size_t i = 0; i < MOST; i++) ran += (size_t)atomic_load(&j->seen[i]);
        assert_true(ran >= 1);
        if (threads <= 1) assert_int_equal(ran, 11);
        j->cancel = NULL; /* the pool works on */
        atomic_store(&cancel, 0);
        mmi_thread_pool_run(pool, task_fn, j, MOST, &cancel);
        for (size_t i = 0; i < MOST; i++) assert_in_range(atomic_load(&j->seen[i]), 1, 2);
        free(j);
        mmi_thread_pool_destroy(pool);
    }
    mm_context_destroy(ctx);
}

static void test_out_of_memory(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    (void)state;

    for (long k = 1; k <= 2; k++) {
        mmi_thread_pool *pool;
        a.count = 0;
        a.fail_at = k;
        pool = mmi_thread_pool_create(ctx->heap, 4);
        a.fail_at = 0;
        if (pool) {
            run(pool, mmi_thread_pool_size(pool), 100);
            assert_int_equal(mmi_thread_pool_size(pool), 1);
        }
        mmi_thread_pool_destroy(pool);
    }
    unit_context_end(&a, ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_task_once),
        cmocka_unit_test(test_many_short_jobs),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("thread_pool", tests, NULL, NULL);
}
