/* The key/value cache: what is stored stays through growing, forking and failing. SPDX-License-Identifier: MIT */
#include "unit_fixture.h"

#include "dtype.h"
#include "kv_cache.h"

/* The 2-byte or 4-byte pattern that stands for element d of token t. */
static uint32_t pattern(size_t layer, size_t head, size_t t, size_t d, int value)
{
    return (uint32_t)(1 + layer * 7919 + head * 613 + t * 31 + d * 7 + (size_t)value * 5) * 2654435761u;
}

/* The documented places: keys in blocks, transposed, values in rows. */
static char *place(const mmi_kv_cache *c, size_t layer, size_t head, size_t t, size_t d, int value)
{
    size_t element = mmi_dtype_get(c->shape.dtype)->block_bytes, D = c->shape.dim;
    char *base = value ? mmi_kv_cache_values(c, layer, head) : mmi_kv_cache_keys(c, layer, head);
    size_t at = value ? t * D + d : t / MMI_KEY_BLOCK * D * MMI_KEY_BLOCK + d * MMI_KEY_BLOCK + t % MMI_KEY_BLOCK;
    return base + at * element;
}

static void each(mmi_kv_cache *c, size_t from, size_t to, int write)
{
    size_t element = mmi_dtype_get(c->shape.dtype)->block_bytes;

    for (size_t l = 0; l < c->shape.layers; l++)
        for (size_t h = 0; h < c->shape.heads; h++)
            for (size_t t = from; t < to; t++)
                for (size_t d = 0; d < c->shape.dim; d++)
                    for (int v = 0; v < 2; v++) {
                        uint32_t p = pattern(l, h, t, d, v);
                        char *at = place(c, l, h, t, d, v);
                        if (write)
                            memcpy(at, &p, element);
                        else if (memcmp(at, &p, element))
                            fail_msg("layer %zu, head %zu, token %zu, element %zu of the %s changed", l, h, t, d, v ? "value" : "key");
                    }
}

static void test_growth(void **state)
{
    static const int32_t dtypes[] = {MM_DTYPE_F16, MM_DTYPE_F32};
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    (void)state;

    for (size_t i = 0; i < 2; i++) {
        const mmi_kv_shape shape = {2, 3, 5, dtypes[i]};
        mmi_kv_cache *c = NULL;
        size_t growths = 0;
        assert_int_equal(mmi_kv_cache_create(ctx, &shape, &c), MM_OK);
        assert_int_equal(c->length, 0);
        assert_int_equal(c->capacity, 0);
        assert_int_equal(mmi_kv_cache_token_bytes(&shape), 2 * 2 * 3 * 5 * (dtypes[i] == MM_DTYPE_F16 ? 2 : 4));
        for (size_t n = 1; n <= 700; n++) {
            size_t before = c->capacity;
            assert_int_equal(mmi_kv_cache_reserve(ctx, c, n), MM_OK);
            assert_true(c->capacity >= n && c->capacity % MMI_KEY_BLOCK == 0);
            if (c->capacity != before) {
                growths++;
                each(c, 0, n - 1, 0);
                for (size_t b = 0; b < mmi_dtype_get(dtypes[i])->block_bytes; b++)
                    assert_int_equal(place(c, 1, 2, c->capacity - 1, 4, 0)[b], 0); /* unused room is zero */
            }
            each(c, n - 1, n, 1);
            c->length = n;
        }
        each(c, 0, 700, 0);
        assert_in_range(growths, 3, 11); /* not one a block */
        assert_true(c->capacity < 2 * 700);
        assert_int_equal(mmi_kv_cache_reserve(ctx, c, SIZE_MAX), MM_E_OVERFLOW);
        assert_int_equal(mmi_kv_cache_reserve(ctx, c, SIZE_MAX / 64), MM_E_OVERFLOW);
        each(c, 0, 700, 0);
        mmi_kv_cache_destroy(c);
    }
    mmi_kv_cache_destroy(NULL);
    unit_context_end(&a, ctx);
}

static void test_fork(void **state)
{
    static const size_t lengths[] = {0, 1, 63, 64, 65, 200};
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    const mmi_kv_shape shape = {3, 2, 4, MM_DTYPE_F16};
    mmi_kv_cache *c = NULL;
    (void)state;

    assert_int_equal(mmi_kv_cache_create(ctx, &shape, &c), MM_OK);
    assert_int_equal(mmi_kv_cache_reserve(ctx, c, 200), MM_OK);
    each(c, 0, 200, 1);
    c->length = 200;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        mmi_kv_cache *f = NULL;
        assert_int_equal(mmi_kv_cache_fork(ctx, c, lengths[i], &f), MM_OK);
        assert_int_equal(f->length, lengths[i]);
        each(f, 0, lengths[i], 0);
        assert_int_equal(mmi_kv_cache_reserve(ctx, f, 300), MM_OK);
        each(f, 0, lengths[i], 0);
        memset(place(f, 0, 0, 0, 0, 0), 0x33, 2); /* the original does not see it */
        mmi_kv_cache_destroy(f);
        each(c, 0, 200, 0);
    }
    mmi_kv_cache_destroy(c);
    unit_context_end(&a, ctx);
}

/* Each allocation of growing and forking fails once: the cache is as it was, and grows afterwards. */
static void test_out_of_memory(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    const mmi_kv_shape shape = {4, 3, 6, MM_DTYPE_F32};
    mmi_kv_cache *c = NULL, *f = NULL;
    mm_status st = MM_E_NOMEM;
    long failures = 0;
    (void)state;

    for (long k = 1; k <= 3; k++) {
        a.count = 0;
        a.fail_at = k;
        assert_int_equal(mmi_kv_cache_create(ctx, &shape, &c), MM_E_NOMEM);
        assert_null(c);
    }
    a.fail_at = 0;
    assert_int_equal(mmi_kv_cache_create(ctx, &shape, &c), MM_OK);
    for (size_t want = 50; want <= 500; want += 150) {
        size_t before = c->capacity;
        st = MM_E_NOMEM;
        for (long k = 1; st; k++) {
            a.count = 0;
            a.fail_at = k;
            st = mmi_kv_cache_reserve(ctx, c, want);
            a.fail_at = 0;
            if (!st) break;
            failures++;
            assert_int_equal(c->capacity, before);
            each(c, 0, c->length, 0);
        }
        each(c, 0, c->length, 0);
        each(c, c->length, want, 1);
        c->length = want;
    }
    assert_true(failures >= 4 * 8);
    st = MM_E_NOMEM;
    for (long k = 1; st; k++) {
        a.count = 0;
        a.fail_at = k;
        st = mmi_kv_cache_fork(ctx, c, 300, &f);
        a.fail_at = 0;
        if (st) assert_null(f);
        each(c, 0, c->length, 0);
    }
    each(f, 0, 300, 0);
    mmi_kv_cache_destroy(f);
    mmi_kv_cache_destroy(c);
    unit_context_end(&a, ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("kv_cache", tests, NULL, NULL);
}
