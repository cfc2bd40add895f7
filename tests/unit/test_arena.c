/* src/base/arena.c: allocations do not overlap, are aligned, keep their bytes when they grow, and obey both limits.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arena.h"

static int set_up(void **state)
{
    mm_context *ctx;
    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    *state = ctx;
    return 0;
}

static int tear_down(void **state)
{
    mm_context_destroy(*state);
    return 0;
}

static void arena_hands_out_separate_aligned_memory(void **state)
{
    mm_context *ctx = *state;
    mmi_arena arena = {0};
    unsigned char *blocks[64], *grown = NULL;
    size_t size = 0;

    arena.limit = 1 << 20;
    for (size_t i = 0; i < 64; i++) {
        blocks[i] = mmi_arena_alloc(ctx, &arena, i * 37);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 16, 0);
        memset(blocks[i], (int)i, i * 37);
    }
    for (size_t i = 0; i < 64; i++)
        for (size_t j = 0; j < i * 37; j++) assert_int_equal(blocks[i][j], i);
    for (size_t i = 1; i < 200; i++) {
        grown = mmi_arena_grow(ctx, &arena, grown, size, size + i);
        assert_non_null(grown);
        for (size_t j = 0; j < size; j++) assert_int_equal(grown[j], j % 251);
        for (; size < i * (i + 1) / 2; size++) grown[size] = (unsigned char)(size % 251);
    }
    assert_null(mmi_arena_alloc(ctx, &arena, 1 << 20));
    assert_null(mmi_arena_alloc_array(ctx, &arena, (size_t)-1, 16));
    assert_int_equal(ctx->error_status, MM_E_LIMIT);
    mmi_arena_clear(&arena);
    mmi_arena_clear(&arena);
    assert_non_null(mmi_arena_alloc(ctx, &arena, 1 << 19));
    mmi_arena_clear(&arena);
}

/* The context's limit holds for the blocks; what was handed out before stays, and clear gives everything back. */
static void arena_obeys_the_memory_limit_of_the_context(void **state)
{
    mm_context *ctx = *state;
    mmi_arena arena = {0};
    size_t before = mmi_heap_used(ctx->heap);
    unsigned char *first = mmi_arena_alloc(ctx, &arena, 1000);

    assert_non_null(first);
    memset(first, 7, 1000);
    mmi_heap_set_limit(ctx->heap, mmi_heap_used(ctx->heap) + 1000);
    assert_null(mmi_arena_alloc(ctx, &arena, 1 << 20));
    assert_int_equal(ctx->error_status, MM_E_NOMEM);
    assert_null(mmi_arena_grow(ctx, &arena, first, 1000, 1 << 20));
    for (size_t i = 0; i < 1000; i++) assert_int_equal(first[i], 7);
    mmi_arena_clear(&arena);
    assert_int_equal(mmi_heap_used(ctx->heap), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(arena_hands_out_separate_aligned_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(arena_obeys_the_memory_limit_of_the_context, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
