/* Tensors and maps of them: shapes, references, wrapping, and arguments that are refused. SPDX-License-Identifier: MIT */
#include "unit_fixture.h"

#include "mm_tensor.h"

static void test_create(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mm_tensor *t = NULL;
    static const int64_t shape[3] = {2, 3, 4}, empty[2] = {0, 5}, blocks[2] = {3, 64};
    float data[24];
    (void)state;

    assert_int_equal(mm_tensor_create(ctx, MM_DTYPE_F32, 3, shape, &t), MM_OK);
    assert_int_equal(mm_tensor_dtype(t), MM_DTYPE_F32);
    assert_int_equal(mm_tensor_rank(t), 3);
    assert_memory_equal(mm_tensor_shape(t), shape, sizeof shape);
    assert_int_equal(mm_tensor_elements(t), 24);
    assert_int_equal(mm_tensor_bytes(t), 96);
    for (int i = 0; i < 24; i++) assert_true(((float *)mm_tensor_data(t))[i] == 0);
    mm_tensor_retain(t);
    mm_tensor_release(t);
    assert_int_equal(mm_tensor_rank(t), 3); /* one reference is left */
    mm_tensor_release(t);

    for (int i = 0; i < 24; i++) data[i] = (float)i;
    assert_int_equal(mm_tensor_copy(ctx, MM_DTYPE_F32, 3, shape, data, &t), MM_OK);
    assert_memory_equal(mm_tensor_const_data(t), data, sizeof data);
    assert_ptr_not_equal(mm_tensor_const_data(t), data);
    mm_tensor_release(t);

    assert_int_equal(mm_tensor_create(ctx, MM_DTYPE_I64, 0, NULL, &t), MM_OK); /* a scalar */
    assert_int_equal(mm_tensor_elements(t), 1);
    assert_int_equal(mm_tensor_bytes(t), 8);
    mm_tensor_release(t);
    assert_int_equal(mm_tensor_copy(ctx, MM_DTYPE_U8, 2, empty, NULL, &t), MM_OK);
    assert_int_equal(mm_tensor_elements(t), 0);
    mm_tensor_release(t);
    assert_int_equal(mm_tensor_create(ctx, MM_DTYPE_Q4_0, 2, blocks, &t), MM_OK);
    assert_int_equal(mm_tensor_bytes(t), 3 * 2 * 18);
    mm_tensor_release(t);

    assert_int_equal(mm_tensor_dtype(NULL), -1);
    assert_int_equal(mm_tensor_elements(NULL), 0);
    assert_null(mm_tensor_shape(NULL));
    assert_null(mm_tensor_data(NULL));
    mm_tensor_retain(NULL);
    mm_tensor_release(NULL);
    unit_context_end(&a, ctx);
}

static void test_refused(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    size_t live = a.live;
    mm_tensor *t = (mm_tensor *)1;
    static const int64_t good[1] = {4}, negative[2] = {4, -1}, huge[3] = {INT64_MAX, INT64_MAX, 2}, large[2] = {INT64_MAX, 1},
                         odd[2] = {2, 33}, wrap[3] = {0, INT64_MAX, INT64_MAX};
    (void)state;

    assert_int_equal(mm_tensor_create(ctx, 99, 1, good, &t), MM_E_ARGUMENT);
    assert_null(t);
    assert_non_null(strstr(mm_context_error(ctx), "99"));
    assert_int_equal(mm_tensor_create(ctx, MM_DTYPE_F32, 9, good, &t), MM_E_ARGUMENT);
    assert_int_equal(mm_tensor_create(ctx, MM_DTYPE_F32, -1, good, &t), MM_E_ARGUMENT);
    assert_int_equal(mm_tensor_create(ctx, MM_DTYPE_F32, 1, NULL, &t), MM_E_ARGUMENT);
    assert_int_equal(mm_tensor_create(ctx, MM_DTYPE_F32, 2, negative, &t), MM_E_SHAPE);
    assert_int_equal(mm_tensor_create(ctx, MM_DTYPE_F32, 3, huge, &t), MM_E_OVERFLOW);
    assert_int_equal(mm_tensor_create(ctx, MM_DTYPE_I64, 2, large, &t), MM_E_OVERFLOW);
    assert_int_equal(mm_tensor_create(ctx, MM_DTYPE_U8, 2, large, &t), MM_E_NOMEM); /* fits in size_t, not into memory */
    assert_int_equal(mm_tensor_create(ctx, MM_DTYPE_Q8_0, 2, odd, &t), MM_E_SHAPE);
    assert_int_equal(mm_tensor_copy(ctx, MM_DTYPE_F32, 1, good, NULL, &t), MM_E_ARGUMENT);
    assert_int_equal(mm_tensor_wrap(ctx, MM_DTYPE_F32, 1, good, NULL, NULL, NULL, &t), MM_E_ARGUMENT);
    assert_int_equal(mm_tensor_create(ctx, MM_DTYPE_F32, 1, good, NULL), MM_E_ARGUMENT);
    assert_int_equal(mm_tensor_create(NULL, MM_DTYPE_F32, 1, good, &t), MM_E_ARGUMENT);
    assert_null(t);
    if (!mm_tensor_create(ctx, MM_DTYPE_F32, 3, wrap, &t)) { /* nothing in it, whatever the others say */
        assert_int_equal(mm_tensor_bytes(t), 0);
        mm_tensor_release(t);
    }
    assert_int_equal(a.live, live);
    unit_context_end(&a, ctx);
}

static void count(void *user) { ++*(int *)user; }

static void test_wrap(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    int32_t data[6] = {1, 2, 3, 4, 5, 6};
    static const int64_t shape[2] = {2, 3};
    mm_tensor *t = NULL;
    mm_tensor_map *map = NULL;
    int freed = 0;
    (void)state;

    assert_int_equal(mm_tensor_wrap(ctx, MM_DTYPE_I32, 2, shape, data, count, &freed, &t), MM_OK);
    assert_ptr_equal(mm_tensor_data(t), data);
    assert_int_equal(mm_tensor_map_create(ctx, &map), MM_OK);
    assert_int_equal(mm_tensor_map_set(ctx, map, "a", t), MM_OK);
    assert_int_equal(mm_tensor_map_set(ctx, map, "b", t), MM_OK);
    mm_tensor_release(t);
    assert_int_equal(freed, 0);
    mm_tensor_map_destroy(map);
    assert_int_equal(freed, 1);
    a.fail_at = a.count + 1; /* after a failure the memory is the caller's still */
    assert_int_equal(mm_tensor_wrap(ctx, MM_DTYPE_I32, 2, shape, data, count, &freed, &t), MM_E_NOMEM);
    assert_int_equal(freed, 1);
    unit_context_end(&a, ctx);
}

static void test_map(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mm_tensor_map *map = NULL;
    mm_tensor *t[50];
    char name[16];
    (void)state;

    assert_int_equal(mm_tensor_map_create(ctx, &map), MM_OK);
    for (int i = 0; i < 50; i++) {
        int64_t shape = i;
        assert_int_equal(mm_tensor_create(ctx, MM_DTYPE_F32, 1, &shape, &t[i]), MM_OK);
        (void)snprintf(name, sizeof name, "tensor %d", i * 13 % 50);
        assert_int_equal(mm_tensor_map_set(ctx, map, name, t[i]), MM_OK);
    }
    assert_int_equal(mm_tensor_map_count(map), 50);
    for (int i = 0; i < 50; i++) { /* order is kept */
        (void)snprintf(name, sizeof name, "tensor %d", i * 13 % 50);
        assert_string_equal(mm_tensor_map_name(map, (size_t)i), name);
        assert_ptr_equal(mm_tensor_map_at(map, (size_t)i), t[i]);
        assert_ptr_equal(mm_tensor_map_get(map, name), t[i]);
    }
    (void)snprintf(name, sizeof name, "tensor 13");
    assert_int_equal(mm_tensor_map_set(ctx, map, name, t[40]), MM_OK); /* replaced in its place */
    name[0] = 'X';                                                    /* the name was copied */
    assert_int_equal(mm_tensor_map_count(map), 50);
    assert_ptr_equal(mm_tensor_map_at(map, 1), t[40]);
    assert_int_equal(mm_tensor_map_set(ctx, map, "tensor 13", t[40]), MM_OK); /* by itself */
    assert_ptr_equal(mm_tensor_map_get(map, "tensor 13"), t[40]);
    assert_null(mm_tensor_map_get(map, "tensor"));
    assert_null(mm_tensor_map_get(map, NULL));
    assert_null(mm_tensor_map_at(map, 50));
    assert_null(mm_tensor_map_name(map, 50));
    assert_int_equal(mm_tensor_map_set(ctx, map, NULL, t[0]), MM_E_ARGUMENT);
    assert_int_equal(mm_tensor_map_set(ctx, map, "x", NULL), MM_E_ARGUMENT);
    for (int i = 0; i < 50; i++) mm_tensor_release(t[i]);
    mm_tensor_map_destroy(map);
    mm_tensor_map_destroy(NULL);
    assert_int_equal(mm_tensor_map_count(NULL), 0);
    unit_context_end(&a, ctx);
}

/* Each allocation of adding to a map fails once: the map stays as it was. */
static void test_map_out_of_memory(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mm_tensor_map *map = NULL;
    mm_tensor *t = NULL;
    static const int64_t shape = 1;
    long failures = 0;
    (void)state;

    assert_int_equal(mm_tensor_map_create(ctx, &map), MM_OK);
    assert_int_equal(mm_tensor_create(ctx, MM_DTYPE_F32, 1, &shape, &t), MM_OK);
    for (int i = 0; i < 40; i++) {
        char name[16];
        mm_status st = MM_E_NOMEM;
        (void)snprintf(name, sizeof name, "%d", i);
        for (long k = 1; st; k++) {
            a.count = 0;
            a.fail_at = k;
            st = mm_tensor_map_set(ctx, map, name, t);
            a.fail_at = 0;
            assert_true(st == MM_OK || st == MM_E_NOMEM);
            assert_int_equal(mm_tensor_map_count(map), st ? i : i + 1);
            if (st) assert_null(mm_tensor_map_get(map, name));
            failures += st != MM_OK;
        }
        assert_ptr_equal(mm_tensor_map_get(map, name), t);
    }
    assert_true(failures > 40);
    mm_tensor_release(t);
    mm_tensor_map_destroy(map);
    unit_context_end(&a, ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create), cmocka_unit_test(test_refused), cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_map),    cmocka_unit_test(test_map_out_of_memory),
    };
    return cmocka_run_group_tests_name("tensor", tests, NULL, NULL);
}
