/* The norm of gradients beside torch's (tests/golden/make_optimizers.py) and beside mathematics, and what is said of NaN.
 * SPDX-License-Identifier: MIT */
#include "unit_fixture.h"

#include <math.h>

#include "gradient_norm.h"
#include "mm_tensor.h"
#include "random.h"

static unit_allocator allocator;
static mm_context *ctx;

static int setup(void **state)
{
    (void)state;
    ctx = unit_context(&allocator);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unit_context_end(&allocator, ctx);
    return 0;
}

static void ok(mm_status st)
{
    if (st) fail_msg("%s: %s", mm_status_name(st), mm_context_error(ctx));
}

static const float *golden(const mm_tensor_map *map, const char *name, size_t *n)
{
    const mm_tensor *t = mm_tensor_map_get(map, name);
    if (!t) fail_msg("no %s among the goldens", name);
    for (int32_t i = 0; n && i < mm_tensor_rank(t); i++) *n *= (size_t)mm_tensor_shape(t)[i];
    return mm_tensor_const_data(t);
}

static void test_beside_torch(void **state)
{
    static const struct {
        double most;
        const char *norm, *matrix, *vector;
    } CASES[] = {{0.5, "clip_0.5.norm", "clip_0.5.matrix", "clip_0.5.vector"}, {100, "clip_100.norm", "clip_100.matrix", "clip_100.vector"}};
    mm_tensor_map *map = NULL;
    (void)state;

    ok(mm_tensor_map_read(ctx, "tests/golden/optimizers.safetensors", &map));
    for (size_t c = 0; c < 2; c++) {
        mmi_parameter p[2] = {{.name = "matrix", .gradient = golden(map, "gradient.matrix", NULL), .rows = 1, .cols = 1},
                              {.name = "vector", .gradient = golden(map, "gradient.vector", NULL), .rows = 1, .cols = 1}};
        const float *clipped[2] = {golden(map, CASES[c].matrix, &p[0].cols), golden(map, CASES[c].vector, &p[1].cols)};
        const double want = golden(map, CASES[c].norm, NULL)[0];
        double norm;
        ok(mmi_gradient_norm(ctx, p, 2, 1, 1, &norm));
        assert_true(fabs(norm - want) <= 1e-6 * want);
        for (int i = 0; i < 2; i++) {
            for (size_t k = 0; k < p[i].cols; k++) {
                const double have = p[i].gradient[k] * mmi_gradient_clip(norm, CASES[c].most), x = clipped[i][k];
                assert_true(fabs(have - x) <= 1e-6 * fabs(x));
            }
        }
    }
    mm_tensor_map_destroy(map);
}

/* Many chunks, numbers whose squares no float holds, any number of threads. */
static void test_large(void **state)
{
    enum { N = 200003 };
    float *g = malloc(N * sizeof *g);
    const mmi_parameter p[] = {{.name = "a", .gradient = g, .rows = 1, .cols = N}, {.name = "b", .gradient = g, .rows = 7, .cols = 3}};
    double sum = 0, first = 0, norm;
    (void)state;

    for (size_t i = 0; i < N; i++) {
        g[i] = (float)(1e30 * mmi_random_normal_at(1, 2, i));
        sum += (double)g[i] * g[i] * (i < 21 ? 2 : 1);
    }
    for (int threads = 1; threads <= 4; threads++) {
        ok(mm_context_set_i64(ctx, MM_CONTEXT_THREADS, threads));
        ok(mmi_gradient_norm(ctx, p, 2, -0.25, 1, &norm));
        if (threads == 1) first = norm;
        assert_true(norm == first);
    }
    assert_true(fabs(norm - 0.25 * sqrt(sum)) < 1e-12 * norm);
    assert_true(mmi_gradient_clip(0, 1) == 1);
    assert_true(mmi_gradient_clip(1e-6, 1e-6) == 0.5);
    ok(mmi_gradient_norm(ctx, NULL, 0, 1, 1, &norm));
    assert_true(norm == 0);
    free(g);
}

static void test_not_finite(void **state)
{
    static const float BAD[] = {NAN, INFINITY, -INFINITY};
    enum { ROWS = 400, COLS = 300 };
    float fine[3] = {1, 2, 3}, *g = calloc(ROWS * COLS, sizeof *g);
    const mmi_parameter p[] = {{.name = "fine", .gradient = fine, .rows = 1, .cols = 3},
                               {.name = "layers.3.bad", .gradient = g, .rows = ROWS, .cols = COLS}};
    double norm;
    (void)state;

    for (int i = 0; i < 3; i++) {
        const size_t row = i ? ROWS - 1 : 399, col = i ? COLS - 1 : 7;
        memset(g, 0, ROWS * COLS * sizeof *g);
        g[row * COLS + col] = BAD[i];
        assert_int_equal(mmi_gradient_norm(ctx, p, 2, 1, 41, &norm), MM_E_OVERFLOW);
        assert_non_null(strstr(mm_context_error(ctx), "step 41: the gradient of layers.3.bad is "));
        assert_non_null(strstr(mm_context_error(ctx), i ? "inf at [399, 299]" : "nan at [399, 7]"));
    }
    free(g);
}

static void test_no_memory(void **state)
{
    float g[3] = {1, 2, 2};
    const mmi_parameter p = {.name = "g", .gradient = g, .rows = 1, .cols = 3};
    mm_status st = MM_E_NOMEM;
    double norm = 0;
    (void)state;

    for (long k = 1; st; k++) {
        allocator.fail_at = allocator.count + k;
        st = mmi_gradient_norm(ctx, &p, 1, 1, 1, &norm);
        assert_true(st == MM_E_NOMEM || (st == MM_OK && k > 1));
    }
    allocator.fail_at = 0;
    assert_true(norm == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_beside_torch, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_large, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_not_finite, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown)};
    return cmocka_run_group_tests_name("gradient_norm", tests, NULL, NULL);
}
