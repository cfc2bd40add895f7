/* The hash map against a plain list. SPDX-License-Identifier: MIT */
#include "unit_fixture.h"

#include "hash_map.h"

static void test_put_and_get(void **state)
{
    enum { N = 5000 };
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mmi_hash_map m = {0};
    int64_t v = -7;
    int existed = -1;
    char key[32];
    (void)state;

    assert_int_equal(mmi_hash_map_get(&m, "x", 1, &v), 0);
    assert_int_equal(v, -7);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < N; i++) {
            int n = snprintf(key, sizeof key, "key %d", i * 7);
            assert_int_equal(mmi_hash_map_put(ctx, &m, key, (size_t)n, i + round * 100000, &existed), 0);
            assert_int_equal(existed, round);
            assert_int_equal(m.count, round ? N : i + 1);
        }
    for (int i = 0; i < N * 7; i++) {
        int n = snprintf(key, sizeof key, "key %d", i);
        v = -7;
        assert_int_equal(mmi_hash_map_get(&m, key, (size_t)n, &v), i % 7 == 0);
        assert_int_equal(v, i % 7 ? -7 : i / 7 + 100000);
    }
    mmi_hash_map_clear(&m);
    assert_int_equal(mmi_hash_map_get(&m, "key 0", 5, &v), 0);
    mmi_hash_map_clear(&m);
    unit_context_end(&a, ctx);
}

/* Keys are bytes: empty, with NUL, beginnings of one another, of every length around the eight that are hashed at once. */
static void test_odd_keys(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mmi_hash_map m = {0};
    char zeros[64] = {0};
    int64_t v;
    (void)state;

    for (size_t n = 0; n <= 64; n++) assert_int_equal(mmi_hash_map_put(ctx, &m, zeros, n, (int64_t)n, NULL), 0);
    assert_int_equal(m.count, 65);
    for (size_t n = 0; n <= 64; n++) {
        assert_int_equal(mmi_hash_map_get(&m, zeros, n, &v), 1);
        assert_int_equal(v, n);
    }
    zeros[40] = 1;
    assert_int_equal(mmi_hash_map_get(&m, zeros, 41, &v), 0);
    assert_int_equal(mmi_hash_map_put(ctx, &m, NULL, 0, INT64_MIN, NULL), 0);
    assert_int_equal(mmi_hash_map_get(&m, "", 0, &v), 1);
    assert_true(v == INT64_MIN);
    mmi_hash_map_clear(&m);
    unit_context_end(&a, ctx);
}

/* After a failed put the map is as it was. */
static void test_out_of_memory(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mmi_hash_map m = {0};
    int64_t v;
    char key[32];
    long refused = 0;
    (void)state;

    for (int i = 0; i < 3000; i++) {
        int n = snprintf(key, sizeof key, "%d", i);
        a.fail_at = a.count + 1;
        if (mmi_hash_map_put(ctx, &m, key, (size_t)n, i, NULL)) {
            refused++;
            assert_int_equal(m.count, i);
            assert_int_equal(mmi_hash_map_get(&m, key, (size_t)n, &v), 0);
            for (int k = 0; k < i; k += 97) {
                int length = snprintf(key, sizeof key, "%d", k);
                assert_int_equal(mmi_hash_map_get(&m, key, (size_t)length, &v), 1);
                assert_int_equal(v, k);
            }
            n = snprintf(key, sizeof key, "%d", i);
            a.fail_at = 0;
            assert_int_equal(mmi_hash_map_put(ctx, &m, key, (size_t)n, i, NULL), 0);
        }
    }
    assert_true(refused > 10);
    mmi_hash_map_clear(&m);
    unit_context_end(&a, ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_and_get),
        cmocka_unit_test(test_odd_keys),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("hash_map", tests, NULL, NULL);
}
