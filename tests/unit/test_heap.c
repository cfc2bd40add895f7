/* The heap: alignment, accounting, limit, lifetime beyond its context. SPDX-License-Identifier: MIT */
#include "unit_fixture.h"

#include <pthread.h>

#include "heap.h"

static void test_blocks(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mmi_heap *heap = ctx->heap;
    size_t before = mmi_heap_used(heap);
    void *p[10];
    (void)state;

    for (size_t i = 0; i < 10; i++) {
        p[i] = mmi_heap_alloc(heap, i * 37);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 64, 0);
        assert_int_equal(mmi_block_size(p[i]), i * 37);
        memset(p[i], (int)i, i * 37);
    }
    for (size_t i = 0; i < 10; i++)
        for (size_t b = 0; b < i * 37; b++) assert_int_equal(((unsigned char *)p[i])[b], i);
    assert_true(mmi_heap_used(heap) >= before + 45 * 37);
    for (size_t i = 0; i < 10; i++) mmi_free(p[(i * 7) % 10]);
    mmi_free(NULL);
    assert_int_equal(mmi_heap_used(heap), before);
    assert_true(mmi_heap_peak(heap) >= before + 45 * 37);
    unit_context_end(&a, ctx);
}

static void test_limit(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mmi_heap *heap = ctx->heap;
    size_t base = mmi_heap_used(heap), live;
    void *p, *q;
    (void)state;

    mmi_heap_set_limit(heap, base + 1000);
    assert_int_equal(mmi_heap_limit(heap), base + 1000);
    live = a.live;
    assert_null(mmi_heap_alloc(heap, 1001));
    assert_null(mmi_heap_alloc(heap, SIZE_MAX));
    assert_null(mmi_heap_alloc(heap, SIZE_MAX - 10));
    assert_int_equal(a.live, live); /* the host was not even asked */
    p = mmi_heap_alloc(heap, 600);
    assert_non_null(p);
    assert_null(mmi_heap_alloc(heap, 600));
    assert_int_equal(mmi_heap_charge(heap, 200), 0);
    q = mmi_heap_alloc(heap, 200);
    assert_null(q);
    mmi_heap_discharge(heap, 200);
    q = mmi_heap_alloc(heap, 200);
    assert_non_null(q);
    assert_int_not_equal(mmi_heap_charge(heap, SIZE_MAX), 0);
    assert_int_not_equal(mmi_heap_charge(heap, 1000), 0);
    mmi_free(p);
    mmi_free(q);
    assert_int_equal(mmi_heap_used(heap), base);
    assert_true(mmi_heap_peak(heap) <= base + 1000);
    mmi_heap_set_limit(heap, 0);
    p = mmi_heap_alloc(heap, 100000);
    assert_non_null(p);
    mmi_free(p);
    unit_context_end(&a, ctx);
}

/* A refusing host: nothing is counted, and the context says how much was asked for. */
static void test_refusal(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    size_t used = mmi_heap_used(ctx->heap), capacity = 0;
    void *array = NULL, *p;
    (void)state;

    a.fail_at = a.count + 1;
    assert_null(mmi_alloc(ctx, 12345));
    assert_int_equal(ctx->error_status, MM_E_NOMEM);
    assert_non_null(strstr(mm_context_error(ctx), "12345"));
    assert_int_equal(mmi_heap_used(ctx->heap), used);
    assert_null(mmi_alloc_array(ctx, SIZE_MAX / 2, 3));
    assert_null(mmi_zalloc_array(ctx, SIZE_MAX, SIZE_MAX));
    a.fail_at = a.count + 2;
    p = mmi_alloc(ctx, 10);
    memset(p, 7, 10);
    assert_null(mmi_realloc(ctx, p, 1000)); /* the old block stays */
    for (int i = 0; i < 10; i++) assert_int_equal(((char *)p)[i], 7);
    p = mmi_realloc(ctx, p, 1000);
    for (int i = 0; i < 10; i++) assert_int_equal(((char *)p)[i], 7);
    mmi_free(p);
    for (size_t n = 0; n < 1000; n++) {
        assert_int_equal(mmi_grow(ctx, &array, &capacity, n, sizeof(int)), 0);
        assert_true(capacity > n);
        ((int *)array)[n] = (int)n;
    }
    for (int n = 0; n < 1000; n++) assert_int_equal(((int *)array)[n], n);
    a.fail_at = a.count + 1;
    assert_int_not_equal(mmi_grow(ctx, &array, &capacity, capacity, sizeof(int)), 0);
    assert_int_equal(((int *)array)[999], 999);
    mmi_free(array);
    unit_context_end(&a, ctx);
}

/* A block may be returned after its context is gone. */
static void test_outlives_context(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    void *p = mmi_alloc(ctx, 100);
    (void)state;

    mm_context_destroy(ctx);
    assert_true(a.live >= 100);
    memset(p, 1, 100);
    mmi_free(p);
    assert_int_equal(a.live, 0);
}

static void *hammer(void *arg)
{
    mm_context *ctx = arg;
    for (int i = 0; i < 2000; i++) {
        void *p = mmi_heap_alloc(ctx->heap, (size_t)i);
        if (!p) return (void *)1;
        mmi_free(p);
    }
    return NULL;
}

static void test_threads(void **state)
{
    mm_context *ctx = NULL;
    pthread_t t[3];
    size_t used;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    used = mmi_heap_used(ctx->heap);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&t[i], NULL, hammer, ctx), 0);
    for (int i = 0; i < 3; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(t[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(mmi_heap_used(ctx->heap), used);
    mm_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),           cmocka_unit_test(test_limit),   cmocka_unit_test(test_refusal),
        cmocka_unit_test(test_outlives_context), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}
