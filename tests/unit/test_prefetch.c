/* Prefetching: batches in order, whatever the depth; failures, logs and ends at their step; cancelling from both sides; stopping early
 * leaves nothing.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* usleep */
#include "unit_fixture.h"

#include <unistd.h>

#include "prefetch.h"

/* An allocator for two threads. */
static atomic_size_t live_blocks;
static atomic_long blocks, fail_at;

static void *shared_alloc(void *user, size_t size, size_t alignment)
{
    void *p;
    (void)user;
    if (atomic_fetch_add(&blocks, 1) + 1 == atomic_load(&fail_at) || posix_memalign(&p, alignment, size)) return NULL;
    atomic_fetch_add(&live_blocks, 1);
    return p;
}

static void shared_free(void *user, void *ptr, size_t size)
{
    (void)user;
    (void)size;
    atomic_fetch_sub(&live_blocks, 1);
    free(ptr);
}

typedef struct {
    uint64_t fails_at; /* step */
    int slow, waits;   /* ms a step; wait for the cancel flag */
    atomic_size_t made, dropped;
    mm_context *consumer;
} maker;

static mm_status make(mm_context *ctx, void *arg, uint64_t step, void **batch)
{
    maker *m = arg;
    uint64_t *b;

    assert_ptr_not_equal(ctx, m->consumer);
    if (m->slow) (void)usleep((useconds_t)m->slow * 1000);
    while (m->waits) {
        mm_status st = mmi_check_cancel(ctx);
        if (st) return st;
        (void)usleep(1000);
    }
    mmi_log(ctx, MM_LOG_INFO, "making %u", (unsigned)step);
    if (step == m->fails_at) return mmi_fail(ctx, MM_E_FORMAT, "a.jsonl:%u: no good", (unsigned)step);
    b = mmi_alloc(ctx, sizeof *b);
    if (!b) return MM_E_NOMEM;
    *b = step * 3;
    *batch = b;
    atomic_fetch_add(&m->made, 1);
    return MM_OK;
}

static void drop(void *arg, void *batch)
{
    atomic_fetch_add(&((maker *)arg)->dropped, 1);
    mmi_free(batch);
}

static mm_context *context(void)
{
    const mm_hooks hooks = {sizeof hooks, shared_alloc, shared_free, NULL};
    mm_context *ctx = NULL;

    atomic_store(&live_blocks, 0);
    atomic_store(&fail_at, 0);
    assert_int_equal(mm_context_create(&hooks, &ctx), MM_OK);
    return ctx;
}

static void context_end(mm_context *ctx)
{
    mm_context_destroy(ctx);
    assert_int_equal(atomic_load(&live_blocks), 0);
}

static void keep_log(void *user, int32_t level, const char *text)
{
    assert_int_equal(level, MM_LOG_INFO);
    (void)snprintf(user, 64, "%s", text);
}

static void take(mm_context *ctx, mmi_prefetch *p, uint64_t step)
{
    void *batch = NULL;
    if (mmi_prefetch_take(ctx, p, &batch)) fail_msg("step %u: %s", (unsigned)step, ctx->error);
    assert_int_equal(*(uint64_t *)batch, step * 3);
    mmi_free(batch);
}

static void gives_batches_in_order(void **state)
{
    static const size_t depths[] = {0, 1, 2, 4, 64};
    mm_context *ctx = context();
    char last[64] = "";
    (void)state;

    assert_int_equal(mm_context_set_log(ctx, keep_log, last), MM_OK);
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
        for (int slow = 0; slow < 2; slow++) {
            maker m = {.fails_at = UINT64_MAX, .slow = slow, .consumer = ctx};
            const mmi_prefetch_spec spec = {make, drop, &m, 7, 40, depths[d]};
            mmi_prefetch *p = NULL;
            void *batch = NULL;
            char said[64];

            if (mmi_prefetch_create(ctx, &spec, &p)) fail_msg("%s", ctx->error);
            for (uint64_t step = 7; step < 40; step++) {
                take(ctx, p, step);
                (void)snprintf(said, sizeof said, "making %u", (unsigned)step);
                assert_string_equal(last, said); /* on this thread, with its batch */
            }
            assert_int_equal(mmi_prefetch_take(ctx, p, &batch), MM_E_STATE);
            assert_null(batch);
            mmi_prefetch_destroy(p);
            assert_int_equal(atomic_load(&m.made), 33);
            assert_int_equal(atomic_load(&m.dropped), 0);
        }
    }
    context_end(ctx);
}

static void fails_at_its_step(void **state)
{
    static const size_t depths[] = {0, 1, 4};
    mm_context *ctx = context();
    (void)state;

    for (size_t d = 0; d < 3; d++) {
        maker m = {.fails_at = 5, .consumer = ctx};
        const mmi_prefetch_spec spec = {make, drop, &m, 0, 100, depths[d]};
        mmi_prefetch *p = NULL;

        assert_int_equal(mmi_prefetch_create(ctx, &spec, &p), MM_OK);
        for (uint64_t step = 0; step < 5; step++) take(ctx, p, step);
        for (int again = 0; again < 2; again++) {
            void *batch = &m;
            assert_int_equal(mmi_prefetch_take(ctx, p, &batch), MM_E_FORMAT);
            assert_string_equal(ctx->error, "a.jsonl:5: no good");
            assert_null(batch);
        }
        mmi_prefetch_destroy(p);
        assert_int_equal(atomic_load(&m.made), 5);
    }
    context_end(ctx);
}

static void stops_early(void **state)
{
    mm_context *ctx = context();
    (void)state;

    for (int i = 0; i < 40; i++) {
        maker m = {.fails_at = i % 3 ? UINT64_MAX : 2, .slow = i % 2, .consumer = ctx};
        const mmi_prefetch_spec spec = {make, drop, &m, 0, 1000, (size_t)(i % 5)};
        mmi_prefetch *p = NULL;

        assert_int_equal(mmi_prefetch_create(ctx, &spec, &p), MM_OK);
        for (uint64_t step = 0; step < (uint64_t)(i % 3); step++) take(ctx, p, step);
        if (i % 4 == 0) (void)usleep(2000);
        mmi_prefetch_destroy(p);
        assert_int_equal(atomic_load(&m.made), (size_t)(i % 3) + atomic_load(&m.dropped));
    }
    mmi_prefetch_destroy(NULL);
    context_end(ctx);
}

/* The consumer is cancelled while it waits for a batch that does not come, and the worker when it is destroyed. */
static void is_cancelled(void **state)
{
    mm_context *ctx = context();
    maker m = {.fails_at = UINT64_MAX, .waits = 1, .consumer = ctx};
    const mmi_prefetch_spec spec = {make, drop, &m, 0, 10, 2};
    mmi_prefetch *p = NULL;
    void *batch = NULL;
    (void)state;

    assert_int_equal(mmi_prefetch_create(ctx, &spec, &p), MM_OK);
    for (int again = 0; again < 2; again++) {
        mm_context_cancel(ctx);
        assert_int_equal(mmi_prefetch_take(ctx, p, &batch), MM_E_CANCELLED);
        assert_null(batch);
    }
    mmi_prefetch_destroy(p);
    assert_int_equal(atomic_load(&m.made), 0);
    context_end(ctx);
}

static void loses_nothing_when_cancelled(void **state)
{
    mm_context *ctx = context();
    maker m = {.fails_at = UINT64_MAX, .slow = 5, .consumer = ctx};
    mmi_prefetch_spec spec = {make, drop, &m, 0, 6, 2};
    (void)state;

    for (int threads = 0; threads < 2; threads++) {
        mmi_prefetch *p = NULL;
        void *batch = NULL;
        spec.depth = threads ? 2 : 0;
        assert_int_equal(mmi_prefetch_create(ctx, &spec, &p), MM_OK);
        for (uint64_t step = 0; step < 6; step++) {
            mm_context_cancel(ctx);
            assert_int_equal(mmi_prefetch_take(ctx, p, &batch), MM_E_CANCELLED);
            take(ctx, p, step);
        }
        mmi_prefetch_destroy(p);
    }
    context_end(ctx);
}

static void survives_failing_allocations(void **state)
{
    mm_context *ctx = context();
    int failed = 0;
    maker m = {.fails_at = UINT64_MAX, .consumer = ctx};
    mmi_prefetch_spec spec = {make, drop, &m, 0, 3, 1};
    (void)state;

    spec.depth = MMI_PREFETCH_MAX_DEPTH + 1;
    {
        mmi_prefetch *p = NULL;
        assert_int_equal(mmi_prefetch_create(ctx, &spec, &p), MM_E_ARGUMENT);
    }
    spec.depth = 1;
    for (long k = 1; k < 40; k++) { /* one that only a log line wanted fails nothing */
        const size_t live = atomic_load(&live_blocks);
        mmi_prefetch *p = NULL;
        size_t got = 0;
        mm_status st;

        atomic_store(&fail_at, atomic_load(&blocks) + k);
        st = mmi_prefetch_create(ctx, &spec, &p);
        for (; !st && got < 3; got++) {
            void *batch = NULL;
            st = mmi_prefetch_take(ctx, p, &batch);
            mmi_free(batch);
        }
        mmi_prefetch_destroy(p);
        atomic_store(&fail_at, 0);
        assert_true(st == MM_OK || st == MM_E_NOMEM);
        assert_int_equal(atomic_load(&live_blocks), live);
        failed += st != MM_OK;
    }
    assert_int_equal(failed, 6); /* the prefetcher, its slots, its context, and three batches */
    context_end(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_batches_in_order),
        cmocka_unit_test(fails_at_its_step),
        cmocka_unit_test(stops_early),
        cmocka_unit_test(is_cancelled),
        cmocka_unit_test(loses_nothing_when_cancelled),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
