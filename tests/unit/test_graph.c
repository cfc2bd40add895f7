/* The graph: single operations against torch (tests/golden/make_graph.py) or their definition in double, building errors, and random graphs
 * whose plan must never let two living values share memory and whose results must be those of a naive evaluation, bit for bit.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <limits.h>
#include <math.h>

#include "attention_op.h"
#include "dtype.h"
#include "graph.h"
#include "kv_cache.h"
#include "linear_op.h"
#include "plan.h"
#include "random.h"
#include "contrast_ops.h"
#include "index_ops.h"
#include "resize_op.h"
#include "row_ops.h"
#include "run.h"
#include "shape_ops.h"

/* float32 against double or another order of summation, relative to the largest value */
static const double CLOSE = 2e-6;

static mm_context *ctx;

static int setup(void **state)
{
    (void)state;
    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    assert_int_equal(mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 2), MM_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mm_context_destroy(ctx);
    return 0;
}

static void ok(mm_status st)
{
    if (st) fail_msg("%s: %s", mm_status_name(st), mm_context_error(ctx));
}

static mmi_graph *new_graph(void)
{
    mmi_graph *g = NULL;
    ok(mmi_graph_create(ctx, &g));
    return g;
}

static void plan_and_run(mmi_graph *g)
{
    ok(mmi_graph_plan(g));
    ok(mmi_graph_run(g, NULL));
}

static void assert_close(const char *what, const float *have, const float *want, size_t n, double bound)
{
    double worst = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, isfinite(have[i]) ? fabs((double)have[i] - (double)want[i]) : INFINITY);
        largest = fmax(largest, fabs((double)want[i]));
    }
    if (!(worst <= bound * largest)) fail_msg("%s: off by %g of %g", what, worst, largest);
}

static float *random_floats(mmi_random *r, size_t n)
{
    float *p = malloc((n ? n : 1) * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) p[i] = (float)(mmi_random_unit(r) * 4 - 2);
    return p;
}

/* Goldens. */

static mm_tensor_map *goldens(void)
{
    mm_tensor_map *map = NULL;
    ok(mm_tensor_map_read(ctx, "tests/golden/graph.safetensors", &map));
    return map;
}

static const mm_tensor *part(const mm_tensor_map *map, const char *name, const char *what)
{
    char key[128];
    const char *last = strrchr(name, '.');
    (void)snprintf(key, sizeof key, "%.*s.%s", (int)(last - name), name, what);
    return mm_tensor_map_get(map, key);
}

static mmi_value input_of(mmi_graph *g, const char *name, const mm_tensor *t)
{
    mmi_value v = mmi_graph_input(g, name, mm_tensor_dtype(t), mm_tensor_rank(t), mm_tensor_shape(t));
    mmi_graph_bind(g, v, mm_tensor_const_data(t));
    return v;
}

static void test_resize_grid(void **state)
{
    mm_tensor_map *map = goldens();
    size_t n = 0;
    (void)state;

    for (size_t i = 0; i < mm_tensor_map_count(map); i++) {
        const char *name = mm_tensor_map_name(map, i);
        const mm_tensor *y;
        mmi_graph *g;
        mmi_value out;
        if (strncmp(name, "resize.", 7) || strcmp(strrchr(name, '.'), ".x")) continue;
        g = new_graph();
        y = part(map, name, "y");
        out = mmi_resize_grid(g, input_of(g, "x", mm_tensor_map_at(map, i)), mm_tensor_shape(y)[0], mm_tensor_shape(y)[1], MMI_RESIZE_BICUBIC);
        mmi_graph_output(g, "y", out);
        plan_and_run(g);
        assert_close(name, mmi_graph_result(g, out), mm_tensor_const_data(y), (size_t)mm_tensor_elements(y), CLOSE);
        mmi_graph_destroy(g);
        n++;
    }
    assert_int_equal(n, 8);
    mm_tensor_map_destroy(map);
}

/* And the same sizes asked for at the run: two copies of a grid's size in a batch, with room left. */
static void test_resize_antialias(void **state)
{
    mm_tensor_map *map = goldens();
    size_t n = 0;
    (void)state;

    for (size_t i = 0; i < mm_tensor_map_count(map); i++) {
        const char *name = mm_tensor_map_name(map, i);
        mmi_resize_mode mode = strstr(name, "bicubic") ? MMI_RESIZE_BICUBIC_ANTIALIAS : MMI_RESIZE_BILINEAR_ANTIALIAS;
        const mm_tensor *y;
        const float *want;
        int32_t sizes[4];
        int64_t H, W, C, rows;
        mmi_graph *g;
        mmi_value x, out, many, asked;
        if (strncmp(name, "antialias.", 10) || strcmp(strrchr(name, '.'), ".x")) continue;
        g = new_graph();
        y = part(map, name, "y");
        want = mm_tensor_const_data(y);
        H = mm_tensor_shape(y)[0], W = mm_tensor_shape(y)[1], C = mm_tensor_shape(y)[2], rows = H * W + 2;
        sizes[0] = sizes[2] = (int32_t)H;
        sizes[1] = sizes[3] = (int32_t)W;
        x = input_of(g, "x", mm_tensor_map_at(map, i));
        asked = mmi_graph_input(g, "sizes", MM_DTYPE_I32, 2, (int64_t[]){2, 2});
        mmi_graph_bind(g, asked, sizes);
        out = mmi_resize_grid(g, x, H, W, mode);
        many = mmi_resize_grids(g, x, asked, rows, mode);
        mmi_graph_output(g, "y", out);
        mmi_graph_output(g, "z", many);
        plan_and_run(g);
        assert_close(name, mmi_graph_result(g, out), want, (size_t)(H * W * C), CLOSE);
        for (int b = 0; b < 2; b++) {
            const float *have = (const float *)mmi_graph_result(g, many) + b * rows * C;
            assert_close(name, have, want, (size_t)(H * W * C), CLOSE);
            for (int64_t r = H * W; r < rows; r++) assert_memory_equal(have + r * C, have, (size_t)C * sizeof *have);
        }
        for (int bad = 0; bad < 4; bad++) {
            static const int32_t wrong[4][2] = {{0, 1}, {1, -1}, {INT32_MAX, INT32_MAX}, {1, INT32_MAX}};
            sizes[2] = wrong[bad][0];
            sizes[3] = wrong[bad][1];
            assert_int_equal(mmi_graph_run(g, NULL), MM_E_ARGUMENT);
            assert_non_null(strstr(mm_context_error(ctx), "picture 1"));
        }
        mmi_graph_destroy(g);
        n++;
    }
    assert_int_equal(n, 10);
    mm_tensor_map_destroy(map);
}

static void test_argsort(void **state)
{
    mm_tensor_map *map = goldens();
    size_t n = 0;
    (void)state;

    for (size_t i = 0; i < mm_tensor_map_count(map); i++) {
        const char *name = mm_tensor_map_name(map, i);
        const mm_tensor *y;
        mmi_graph *g;
        mmi_value order, places;
        if (strncmp(name, "sort.", 5) || strcmp(strrchr(name, '.'), ".x")) continue;
        g = new_graph();
        y = part(map, name, "y");
        order = mmi_argsort(g, input_of(g, "x", mm_tensor_map_at(map, i)));
        places = mmi_argsort(g, order);
        mmi_graph_output(g, "y", order);
        mmi_graph_output(g, "z", places);
        plan_and_run(g);
        assert_memory_equal(mmi_graph_result(g, order), mm_tensor_const_data(y), mm_tensor_bytes(y));
        assert_memory_equal(mmi_graph_result(g, places), mm_tensor_const_data(part(map, name, "places")), mm_tensor_bytes(y));
        mmi_graph_destroy(g);
        n++;
    }
    assert_int_equal(n, 2);
    mm_tensor_map_destroy(map);
}

static void test_rows_by_index(void **state)
{
    static const float x[2 * 3 * 2] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    static const int32_t texts[6] = {4, 9, 4, 7, 7, 2}, segments[5] = {0, 2, 2, 5, 6};
    /* first 7, largest, last: of two rows of three, then of segments [4 9] [] [4 7 7] [2] */
    static const int32_t want[3][6] = {{0, 0, 0, 2, 3, 5}, {1, 0, 1, 2, 3, 5}, {2, 2, 1, 2, 4, 5}};
    int32_t ids[4] = {2, 0, 1, 1};
    mmi_graph *g = new_graph();
    mmi_value a = mmi_graph_input(g, "x", MM_DTYPE_F32, 3, (int64_t[]){2, 3, 2}), b = mmi_graph_input(g, "ids", MM_DTYPE_I32, 2, (int64_t[]){2, 2});
    mmi_value y = mmi_gather(g, a, b), z = mmi_at_least(g, b, 1);
    (void)state;

    mmi_graph_bind(g, a, x);
    mmi_graph_bind(g, b, ids);
    mmi_graph_output(g, "y", y);
    mmi_graph_output(g, "z", z);
    plan_and_run(g);
    assert_memory_equal(mmi_graph_result(g, y), ((const float[]){4, 5, 0, 1, 8, 9, 8, 9}), 8 * sizeof(float));
    assert_memory_equal(mmi_graph_result(g, z), ((const float[]){1, 0, 1, 1}), 4 * sizeof(float));
    ids[3] = 3;
    assert_int_equal(mmi_graph_run(g, NULL), MM_E_ARGUMENT);
    ids[3] = -1;
    assert_int_equal(mmi_graph_run(g, NULL), MM_E_ARGUMENT);
    mmi_graph_destroy(g);
    for (int rule = 0; rule < 3; rule++) {
        g = new_graph();
        a = mmi_graph_input(g, "two", MM_DTYPE_I32, 2, (int64_t[]){2, 3});
        b = mmi_graph_input(g, "one", MM_DTYPE_I32, 2, (int64_t[]){1, 6});
        z = mmi_graph_input(g, "segments", MM_DTYPE_I32, 1, (int64_t[]){5});
        mmi_graph_bind(g, a, texts);
        mmi_graph_bind(g, b, texts);
        mmi_graph_bind(g, z, segments);
        y = mmi_find_token(g, a, 0, (mmi_find_rule)rule, 7);
        z = mmi_find_token(g, b, z, (mmi_find_rule)rule, 7);
        mmi_graph_output(g, "y", y);
        mmi_graph_output(g, "z", z);
        plan_and_run(g);
        assert_memory_equal(mmi_graph_result(g, y), want[rule], 2 * sizeof(int32_t));
        assert_memory_equal(mmi_graph_result(g, z), want[rule] + 2, 4 * sizeof(int32_t));
        mmi_graph_destroy(g);
    }
}

static mmi_weight vector_weight(const float *data, int64_t n, const char *name)
{
    mmi_weight w = {0};
    w.name = (char *)(uintptr_t)name;
    w.dtype = MM_DTYPE_F32;
    w.rank = 1;
    w.shape[0] = n;
    w.rows = 1;
    w.cols = (size_t)n;
    w.data = data;
    return w;
}

/* Positions and frequencies to a table, and the table over heads that lie inside wider rows. */
static void test_rope(void **state)
{
    mm_tensor_map *map = goldens();
    size_t n = 0;
    (void)state;

    for (size_t i = 0; i < mm_tensor_map_count(map); i++) {
        const char *name = mm_tensor_map_name(map, i);
        if (strncmp(name, "rope.", 5) || strcmp(strrchr(name, '.'), ".x")) continue;
        for (int neox = 0; neox < 2; neox++) {
            const mm_tensor *want = part(map, name, neox ? "neox" : "pairs"), *inverse = part(map, name, "inverse");
            mmi_weight w = vector_weight(mm_tensor_const_data(inverse), mm_tensor_elements(inverse), "inverse");
            mmi_graph *g = new_graph();
            mmi_value x = input_of(g, "x", mm_tensor_map_at(map, i)), twice[2] = {x, x}, wide, table, out;
            wide = mmi_slice(g, mmi_concat(g, 2, twice, 2), 2, mm_tensor_shape(want)[2], mm_tensor_shape(want)[2]); /* strided */
            table = mmi_rope_table(g, input_of(g, "positions", part(map, name, "positions")), mmi_graph_weight(g, &w), 0.75f);
            out = mmi_rope(g, wide, table, neox);
            mmi_graph_output(g, "y", out);
            plan_and_run(g);
            /* an angle of up to 300 loses 2^-15 of a turn's radian in float32, in both */
            assert_close(name, mmi_graph_result(g, out), mm_tensor_const_data(want), (size_t)mm_tensor_elements(want), 1e-5);
            mmi_graph_destroy(g);
            n++;
        }
    }
    assert_int_equal(n, 8);
    mm_tensor_map_destroy(map);
}

/* The row of frequencies by the length of each text, whatever its neighbours', or by the run's. */
static void test_rope_by_length(void **state)
{
    static const float frequencies[2][3] = {{1, 0.5f, 0.25f}, {0.5f, 0.125f, 0.0625f}};
    static const int32_t positions[2][4] = {{0, 1, 2, 7}, {3, 8, 2, 1}};
    (void)state;

    for (size_t length = 0; length < 10; length++) {
        mmi_weight w = vector_weight(frequencies[0], 3, "inverse");
        mmi_graph *g = new_graph();
        mmi_value in = mmi_graph_input(g, "positions", MM_DTYPE_I32, 2, (int64_t[]){2, 4}), out;
        mmi_run_values values = {.length = length};
        float want[2][4][2][3];

        w.rank = 2;
        w.shape[0] = 2;
        w.shape[1] = 3;
        out = mmi_rope_table_by_length(g, in, mmi_graph_weight(g, &w), 8, 0.75f);
        mmi_graph_output(g, "y", out);
        mmi_graph_bind(g, in, positions);
        ok(mmi_graph_plan(g));
        ok(mmi_graph_run(g, &values));
        for (int b = 0; b < 2; b++)
            for (int t = 0; t < 4; t++)
                for (int i = 0; i < 3; i++) {
                    double angle = (double)positions[b][t] * (double)frequencies[b == 1 || length == 9][i];
                    want[b][t][0][i] = (float)(0.75 * cos(angle));
                    want[b][t][1][i] = (float)(0.75 * sin(angle));
                }
        assert_close("by length", mmi_graph_result(g, out), want[0][0][0], 48, 1e-6);
        mmi_graph_destroy(g);
    }
}

static void test_attention(void **state)
{
    mm_tensor_map *map = goldens();
    size_t n = 0;
    (void)state;

    for (int64_t level = MM_CPU_REFERENCE; level <= MM_CPU_AMX; level++) {
        ok(mm_context_set_i64(ctx, MM_CONTEXT_CPU_LEVEL, level));
        for (size_t i = 0; i < mm_tensor_map_count(map); i++) {
            const char *name = mm_tensor_map_name(map, i);
            const mm_tensor *want, *bias;
            long c[11];
            mmi_attention_spec spec = {0};
            mmi_graph *g;
            mmi_value out;
            char *at;
            if (strncmp(name, "attention.", 10) || strcmp(strrchr(name, '.'), ".q")) continue;
            at = (char *)(uintptr_t)name + 10;
            for (int k = 0; k < 11; k++) c[k] = strtol(at + (k > 0), &at, 10);
            g = new_graph();
            want = part(map, name, "y");
            bias = part(map, name, "bias");
            spec.scale = 0.4f;
            spec.causal = (int)c[7];
            spec.window = c[8];
            spec.softcap = (float)c[9];
            spec.bias = bias ? input_of(g, "bias", bias) : 0;
            out = mmi_attention(g, input_of(g, "q", mm_tensor_map_at(map, i)), input_of(g, "k", part(map, name, "k")),
                                input_of(g, "v", part(map, name, "v")), &spec);
            mmi_graph_output(g, "y", out);
            plan_and_run(g);
            assert_close(name, mmi_graph_result(g, out), mm_tensor_const_data(want), (size_t)mm_tensor_elements(want), 5e-6);
            mmi_graph_destroy(g);
            n++;
        }
    }
    assert_int_equal(n, 8 * 4);
    mm_tensor_map_destroy(map);
}

/* Over a cache, in pieces, attention gives what it gives at once; bit for bit, since key blocks stand at fixed positions. */
static void test_cached_attention(void **state)
{
    enum { T = 150, H = 4, K = 2, D = 8 };
    static const int64_t pieces[] = {1, 63, 1, 1, 70, 14};
    const mmi_kv_shape shape = {3, K, D, MM_DTYPE_F32};
    mmi_random r;
    float *q, *k, *v, *whole;
    mmi_kv_cache *cache = NULL;
    mmi_attention_spec spec = {0};
    mmi_graph *g = new_graph();
    mmi_value in[3], out;
    int64_t done = 0;
    (void)state;

    mmi_random_seed(&r, 3);
    q = random_floats(&r, T * H * D);
    k = random_floats(&r, T * K * D);
    v = random_floats(&r, T * K * D);
    whole = malloc(T * H * D * sizeof *whole);
    assert_non_null(whole);
    spec.scale = 0.3f;
    spec.causal = 1;
    in[0] = mmi_graph_input(g, "q", MM_DTYPE_F32, 4, (int64_t[]){1, T, H, D});
    in[1] = mmi_graph_input(g, "k", MM_DTYPE_F32, 4, (int64_t[]){1, T, K, D});
    in[2] = mmi_graph_input(g, "v", MM_DTYPE_F32, 4, (int64_t[]){1, T, K, D});
    mmi_graph_bind(g, in[0], q);
    mmi_graph_bind(g, in[1], k);
    mmi_graph_bind(g, in[2], v);
    out = mmi_attention(g, in[0], in[1], in[2], &spec);
    mmi_graph_output(g, "y", out);
    plan_and_run(g);
    memcpy(whole, mmi_graph_result(g, out), T * H * D * sizeof *whole);
    mmi_graph_destroy(g);

    ok(mmi_kv_cache_create(ctx, &shape, &cache));
    for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
        int64_t n = pieces[p];
        mmi_kv_cache *caches[1] = {cache};
        mmi_run_values values = {.caches = caches, .n_caches = 1};
        g = new_graph();
        in[0] = mmi_graph_input(g, "q", MM_DTYPE_F32, 4, (int64_t[]){1, n, H, D});
        in[1] = mmi_graph_input(g, "k", MM_DTYPE_F32, 4, (int64_t[]){1, n, K, D});
        in[2] = mmi_graph_input(g, "v", MM_DTYPE_F32, 4, (int64_t[]){1, n, K, D});
        out = mmi_attention_cached(g, 1, in[0], in[1], in[2], &spec);
        mmi_graph_output(g, "y", out);
        ok(mmi_graph_plan(g));
        mmi_graph_bind(g, in[0], q + done * H * D);
        mmi_graph_bind(g, in[1], k + done * K * D);
        mmi_graph_bind(g, in[2], v + done * K * D);
        assert_int_equal(mmi_graph_run(g, NULL), MM_E_INTERNAL); /* no cache */
        if (cache->capacity < (size_t)(done + n)) assert_int_equal(mmi_graph_run(g, &values), MM_E_INTERNAL); /* no room */
        ok(mmi_kv_cache_reserve(ctx, cache, (size_t)(done + n)));
        ok(mmi_graph_run(g, &values));
        ok(mmi_graph_run(g, &values)); /* the caller moves on, not the run */
        assert_memory_equal(mmi_graph_result(g, out), whole + done * H * D, (size_t)n * H * D * sizeof *whole);
        cache->length += (size_t)n;
        done += n;
        mmi_graph_destroy(g);
    }
    assert_int_equal(done, T);
    mmi_kv_cache_destroy(cache);
    free(q);
    free(k);
    free(v);
    free(whole);
}

/* Texts one behind another with their borders give what each gives alone, bit for bit; borders are checked at the run. */
static void test_segments(void **state)
{
    enum { T = 140, H = 2, D = 8 };
    static const int32_t good[] = {0, 1, 1, 66, 130, 140}, bad[][6] = {{0, 5, 4, 66, 130, 140},
                                                                       {0, 1, 1, 66, 130, 139},
                                                                       {0, 1, 1, 66, 130, 141},
                                                                       {1, 1, 1, 66, 130, 140},
                                                                       {-1, 1, 1, 66, 130, 140}};
    mmi_random r;
    float *qkv;
    mmi_attention_spec spec = {0};
    (void)state;

    mmi_random_seed(&r, 4);
    qkv = random_floats(&r, T * H * D);
    spec.scale = 0.3f;
    for (int causal = 0; causal < 2; causal++) {
        mmi_graph *g = new_graph();
        mmi_value x = mmi_graph_input(g, "x", MM_DTYPE_F32, 4, (int64_t[]){1, T, H, D}),
                  s = mmi_graph_input(g, "s", MM_DTYPE_I32, 1, (int64_t[]){6}), out, mean, first;
        spec.causal = causal;
        spec.segments = s;
        out = mmi_attention(g, x, x, x, &spec);
        mmi_graph_output(g, "y", out);
        mean = mmi_segment_mean(g, mmi_reshape(g, out, 2, (int64_t[]){T, H * D}), s);
        first = mmi_segment_first(g, mmi_reshape(g, out, 2, (int64_t[]){T, H * D}), s);
        mmi_graph_output(g, "mean", mean);
        mmi_graph_output(g, "first", first);
        ok(mmi_graph_plan(g));
        mmi_graph_bind(g, x, qkv);
        for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
            mmi_graph_bind(g, s, bad[b]);
            assert_int_equal(mmi_graph_run(g, NULL), MM_E_ARGUMENT);
            assert_non_null(strstr(mm_context_error(ctx), "segment"));
        }
        mmi_graph_bind(g, s, good);
        ok(mmi_graph_run(g, NULL));
        for (int k = 0; k < 5; k++) {
            int64_t n = good[k + 1] - good[k];
            const float *have = (const float *)mmi_graph_result(g, out) + good[k] * H * D;
            float want[H * D];
            mmi_graph *alone;
            mmi_value y, z;
            for (int c = 0; c < H * D; c++) {
                double sum = 0;
                for (int64_t t = 0; t < n; t++) sum += (double)have[t * H * D + c];
                want[c] = (float)(n ? sum / (double)n : 0);
            }
            assert_true(n || !memcmp((const float *)mmi_graph_result(g, mean) + k * H * D, want, sizeof want));
            if (!n) continue;
            assert_close("segment mean", (const float *)mmi_graph_result(g, mean) + k * H * D, want, H * D, CLOSE);
            assert_memory_equal((const float *)mmi_graph_result(g, first) + k * H * D, have, sizeof want);
            alone = new_graph();
            y = mmi_graph_input(alone, "x", MM_DTYPE_F32, 4, (int64_t[]){1, n, H, D});
            mmi_graph_bind(alone, y, qkv + good[k] * H * D);
            spec.segments = 0;
            z = mmi_attention(alone, y, y, y, &spec);
            mmi_graph_output(alone, "y", z);
            plan_and_run(alone);
            assert_memory_equal(have, mmi_graph_result(alone, z), (size_t)n * H * D * sizeof *have);
            mmi_graph_destroy(alone);
        }
        mmi_graph_destroy(g);
    }
    free(qkv);
}

/* Linear layers by their definition in double: each float type, few and many rows, odd sizes, several parts, bias and activation, strided
 * input, and with the layouts that a weight takes where a kernel multiplies it and where none does. */
static void test_linear(void **state)
{
    static const int32_t dtypes[] = {MM_DTYPE_F32, MM_DTYPE_F16, MM_DTYPE_BF16};
    static const int64_t rows[] = {1, 2, 4, 5, 16, 17, 64, 65, 131};
    static const int64_t sizes[][3] = {{7, 3, 5}, {64, 48, 33}, {33, 1, 200}, {1, 17, 2}};
    mmi_random r;
    (void)state;

    mmi_random_seed(&r, 5);
    for (size_t d = 0; d < 3; d++)
        for (int multiplied = 0; multiplied < 2; multiplied++)
            for (size_t z = 0; z < sizeof sizes / sizeof *sizes; z++)
                for (size_t m = 0; m < sizeof rows / sizeof *rows; m++) {
                    int64_t K = sizes[z][0], N[2] = {sizes[z][1], sizes[z][2]}, M = rows[m], total = N[0] + N[1];
                    float *x = random_floats(&r, (size_t)(M * 2 * K)), *bias = random_floats(&r, (size_t)N[1]),
                          *want = malloc((size_t)(M * total) * sizeof *want);
                    mmi_weight w[2], b = vector_weight(bias, N[1], "bias");
                    void *stored[2];
                    mmi_graph *g = new_graph();
                    mmi_value in, wv[2], bv[2] = {0, 0}, out;
                    assert_non_null(want);
                    for (int p = 0; p < 2; p++) {
                        size_t n = (size_t)(N[p] * K), bytes = n * mmi_dtype_get(dtypes[d])->block_bytes;
                        float *f = random_floats(&r, n);
                        int in_place = 0;
                        stored[p] = malloc(bytes);
                        assert_non_null(stored[p]);
                        for (size_t i = 0; i < n; i++) { /* round, and keep what the rounded value means */
                            uint16_t h = dtypes[d] == MM_DTYPE_F16 ? mmi_f32_to_f16(f[i]) : mmi_f32_to_bf16(f[i]);
                            if (dtypes[d] == MM_DTYPE_F32) {
                                ((float *)stored[p])[i] = f[i];
                                continue;
                            }
                            ((uint16_t *)stored[p])[i] = h;
                            f[i] = dtypes[d] == MM_DTYPE_F16 ? mmi_f16_to_f32(h) : mmi_bf16_to_f32(h);
                        }
                        memset(&w[p], 0, sizeof w[p]);
                        w[p].name = mmi_strdup(ctx, "w");
                        w[p].dtype = dtypes[d];
                        w[p].rank = 2;
                        w[p].shape[0] = N[p];
                        w[p].shape[1] = K;
                        ok(mmi_weight_adopt(ctx, &w[p], stored[p], bytes, multiplied, &in_place));
                        for (int64_t i = 0; i < M; i++)
                            for (int64_t c = 0; c < N[p]; c++) {
                                double sum = p ? (double)bias[c] : 0;
                                for (int64_t k = 0; k < K; k++) sum += (double)x[i * 2 * K + K + k] * (double)f[c * K + k];
                                want[i * total + (p ? N[0] : 0) + c] = (float)fmax(sum, 0);
                            }
                        for (int64_t row = 0; row < N[p]; row++) {
                            float decoded[64];
                            mmi_weight_read_row(&w[p], (size_t)row, decoded);
                            assert_memory_equal(decoded, f + row * K, (size_t)K * sizeof *f);
                        }
                        free(f);
                        wv[p] = mmi_graph_weight(g, &w[p]);
                    }
                    bv[1] = mmi_graph_weight(g, &b);
                    in = mmi_graph_input(g, "x", MM_DTYPE_F32, 2, (int64_t[]){M, 2 * K});
                    mmi_graph_bind(g, in, x);
                    out = mmi_linear_parts(g, mmi_slice(g, in, 1, K, K), wv, bv, 2, MMI_ACT_RELU);
                    mmi_graph_output(g, "y", out);
                    plan_and_run(g);
                    assert_close("linear", mmi_graph_result(g, out), want, (size_t)(M * total), CLOSE);
                    mmi_graph_destroy(g);
                    for (int p = 0; p < 2; p++) {
                        mmi_weight_clear(&w[p]);
                        free(stored[p]);
                    }
                    free(x);
                    free(bias);
                    free(want);
                }
}

/* Norms, gates and unit length over rows inside wider rows, by their definition. */
static void test_row_ops(void **state)
{
    enum { R = 3, T = 5, C = 38 };
    mmi_random r;
    float *x, *w, *b;
    mmi_weight ww, bw;
    mmi_graph *g = new_graph();
    mmi_value in, rows, out[7], vw, vb;
    float want[7][R * T * C];
    (void)state;

    mmi_random_seed(&r, 6);
    x = random_floats(&r, R * T * 2 * C);
    w = random_floats(&r, C);
    b = random_floats(&r, C);
    memset(x, 0, 2 * C * sizeof *x); /* a row of zeros */
    ww = vector_weight(w, C, "w");
    bw = vector_weight(b, C, "b");
    in = mmi_graph_input(g, "x", MM_DTYPE_F32, 3, (int64_t[]){R, T, 2 * C});
    rows = mmi_slice(g, in, 2, C, C);
    vw = mmi_graph_weight(g, &ww);
    vb = mmi_graph_weight(g, &bw);
    out[0] = mmi_layer_norm(g, rows, vw, vb, 1e-5f);
    out[1] = mmi_layer_norm(g, rows, 0, 0, 1e-5f);
    out[2] = mmi_rms_norm(g, rows, vw, 1.0f, 1e-5f);
    out[3] = mmi_l2_normalize(g, rows);
    out[4] = mmi_gate(g, rows, MMI_ACT_SILU);
    out[5] = mmi_mul(g, mmi_add(g, rows, vw), vb);
    out[6] = mmi_scale(g, rows, -2.5f);
    for (int i = 0; i < R * T; i++) {
        const float *p = x + i * 2 * C + C;
        double mean = 0, var = 0, square = 0;
        for (int c = 0; c < C; c++) mean += (double)p[c] / C;
        for (int c = 0; c < C; c++) var += ((double)p[c] - mean) * ((double)p[c] - mean) / C;
        for (int c = 0; c < C; c++) square += (double)p[c] * (double)p[c];
        for (int c = 0; c < C; c++) {
            want[1][i * C + c] = (float)(((double)p[c] - mean) / sqrt(var + 1e-5));
            want[0][i * C + c] = (float)(((double)p[c] - mean) / sqrt(var + 1e-5) * (double)w[c] + (double)b[c]);
            want[2][i * C + c] = (float)((double)p[c] / sqrt(square / C + 1e-5) * ((double)w[c] + 1));
            want[3][i * C + c] = (float)((double)p[c] / fmax(sqrt(square), 1e-12));
            want[5][i * C + c] = (p[c] + w[c]) * b[c];
            want[6][i * C + c] = -2.5f * p[c];
            if (c < C / 2) want[4][i * C / 2 + c] = (float)((double)p[c] / (1 + exp(-(double)p[c])) * (double)p[C / 2 + c]);
        }
    }
    for (int i = 0; i < 7; i++) mmi_graph_output(g, "y", out[i]);
    mmi_graph_bind(g, in, x);
    plan_and_run(g);
    for (int i = 0; i < 7; i++) assert_close("row op", mmi_graph_result(g, out[i]), want[i], R * T * (i == 4 ? C / 2 : C), CLOSE);
    mmi_graph_destroy(g);
    free(x);
    free(w);
    free(b);
}

/* Look-ups: rows of a table, ids checked at each run. */
static void test_lookup(void **state)
{
    float table[4 * 3];
    static const int32_t good[6] = {3, 0, 1, 1, 2, 3}, high[6] = {3, 0, 4, 1, 2, 3}, low[6] = {3, 0, 1, -1, 2, 3};
    mmi_weight w = {0};
    mmi_graph *g = new_graph();
    mmi_value ids, out, from;
    int in_place = 0;
    const float *y;
    (void)state;

    for (int i = 0; i < 12; i++) table[i] = (float)i;
    w.name = mmi_strdup(ctx, "table");
    w.dtype = MM_DTYPE_F32;
    w.rank = 2;
    w.shape[0] = 4;
    w.shape[1] = 3;
    ok(mmi_weight_adopt(ctx, &w, table, sizeof table, 0, &in_place));
    ids = mmi_graph_input(g, "ids", MM_DTYPE_I32, 2, (int64_t[]){2, 3});
    out = mmi_lookup(g, ids, mmi_graph_weight(g, &w));
    mmi_graph_output(g, "y", out);
    assert_int_equal(mmi_graph_look(g, out)->rank, 3);
    ok(mmi_graph_plan(g));
    mmi_graph_bind(g, ids, high);
    assert_int_equal(mmi_graph_run(g, NULL), MM_E_ARGUMENT);
    assert_non_null(strstr(mm_context_error(ctx), "4"));
    assert_non_null(strstr(mm_context_error(ctx), "table"));
    mmi_graph_bind(g, ids, low);
    assert_int_equal(mmi_graph_run(g, NULL), MM_E_ARGUMENT);
    assert_non_null(strstr(mm_context_error(ctx), "-1"));
    mmi_graph_bind(g, ids, good);
    ok(mmi_graph_run(g, NULL));
    y = mmi_graph_result(g, out);
    for (int i = 0; i < 6; i++)
        for (int c = 0; c < 3; c++) assert_true(y[i * 3 + c] == table[good[i] * 3 + c]);
    mmi_graph_destroy(g);
    g = new_graph(); /* the first two rows are no id's */
    ids = mmi_graph_input(g, "ids", MM_DTYPE_I32, 1, (int64_t[]){2});
    from = mmi_lookup_from(g, ids, mmi_graph_weight(g, &w), 2);
    mmi_graph_output(g, "y", from);
    ok(mmi_graph_plan(g));
    mmi_graph_bind(g, ids, (const int32_t[]){1, 0});
    ok(mmi_graph_run(g, NULL));
    y = mmi_graph_result(g, from);
    for (int c = 0; c < 3; c++) assert_true(y[c] == table[9 + c] && y[3 + c] == table[6 + c]);
    mmi_graph_bind(g, ids, (const int32_t[]){1, 2});
    assert_int_equal(mmi_graph_run(g, NULL), MM_E_ARGUMENT);
    assert_non_null(strstr(mm_context_error(ctx), "0..1"));
    assert_int_equal(mmi_lookup_from(g, ids, mmi_graph_weight(g, &w), 4), 0);
    mmi_graph_destroy(g);
    mmi_weight_clear(&w);
}

static void test_patches(void **state)
{
    enum { B = 2, C = 3, H = 7, W = 9, P = 3 };
    float pixels[B * C * H * W];
    mmi_graph *g = new_graph();
    mmi_value in = mmi_graph_input(g, "pixels", MM_DTYPE_F32, 4, (int64_t[]){B, C, H, W}), out = mmi_patches(g, in, P);
    const float *y;
    (void)state;

    for (int i = 0; i < B * C * H * W; i++) pixels[i] = (float)i;
    mmi_graph_output(g, "y", out);
    mmi_graph_bind(g, in, pixels);
    plan_and_run(g);
    y = mmi_graph_result(g, out);
    for (int b = 0; b < B; b++)
        for (int r = 0; r < H / P; r++)
            for (int c = 0; c < W / P; c++)
                for (int k = 0; k < C; k++)
                    for (int i = 0; i < P; i++)
                        for (int j = 0; j < P; j++) assert_true(*y++ == pixels[((b * C + k) * H + r * P + i) * W + c * P + j]);
    mmi_graph_destroy(g);
}

/* A convolution over time is a product with its windows; the transpose only looks. */
static void test_windows(void **state)
{
    enum { B = 2, C = 3, T = 7, W = 3, S = 2, P = 1, N = (T + 2 * P - W) / S + 1 };
    float x[B * T * C];
    mmi_graph *g = new_graph();
    mmi_value in = mmi_graph_input(g, "x", MM_DTYPE_F32, 3, (int64_t[]){B, T, C}), out = mmi_windows(g, mmi_transpose(g, in), W, S, P);
    const float *y;
    (void)state;

    for (int i = 0; i < B * T * C; i++) x[i] = (float)(i + 1);
    mmi_graph_output(g, "y", out);
    mmi_graph_bind(g, in, x);
    plan_and_run(g);
    y = mmi_graph_result(g, out);
    for (int b = 0; b < B; b++)
        for (int n = 0; n < N; n++)
            for (int c = 0; c < C; c++)
                for (int k = 0; k < W; k++) {
                    int t = n * S + k - P;
                    assert_true(*y++ == (t < 0 || t >= T ? 0 : x[(b * T + t) * C + c]));
                }
    mmi_graph_destroy(g);
}

/* The first failure stays, later calls do nothing, plan reports it, and its sentence holds the shapes. */
static void test_shape_errors(void **state)
{
    static const int64_t s23[] = {2, 3}, s24[] = {2, 4}, s234[] = {2, 3, 4}, s2345[] = {2, 3, 4, 5}, huge[] = {INT64_MAX, 4},
                         negative[] = {-1}, deep[] = {1, 1, 1, 1, 1, 1, 1};
    float table[12] = {0};
    mmi_weight w = {0};
    int in_place = 0;
    (void)state;

    w.name = mmi_strdup(ctx, "blk.0.weight");
    w.dtype = MM_DTYPE_F32;
    w.rank = 2;
    w.shape[0] = 4;
    w.shape[1] = 3;
    ok(mmi_weight_adopt(ctx, &w, table, sizeof table, 0, &in_place));
    for (int i = 0; i < 33; i++) {
        mmi_graph *g = new_graph();
        mmi_value a = mmi_graph_input(g, "a", MM_DTYPE_F32, 2, s23), b = mmi_graph_input(g, "b", MM_DTYPE_F32, 2, s24),
                  c = mmi_graph_input(g, "c", MM_DTYPE_F32, 3, s234), d = mmi_graph_input(g, "d", MM_DTYPE_F32, 4, s2345),
                  ids = mmi_graph_input(g, "ids", MM_DTYPE_I32, 2, s23), wv = mmi_graph_weight(g, &w), v = -1;
        mmi_attention_spec spec = {0};
        const char *part = "[2, 3]";
        size_t nodes;
        switch (i) {
        case 0: v = mmi_add(g, a, b); break;
        case 1: v = mmi_mul(g, b, a); break;
        case 2: v = mmi_slice(g, a, 1, 2, 2); break;
        case 3: v = mmi_slice(g, a, 2, 0, 1); break;
        case 4: v = mmi_slice(g, a, 0, -1, 1); break;
        case 5: v = mmi_slice(g, a, 0, 1, INT64_MAX); break;
        case 6: v = mmi_select(g, a, 0, 2); break;
        case 7: v = mmi_reshape(g, a, 2, s24); break;
        case 8: v = mmi_split_last(g, a, 2, 2); break;
        case 9: v = mmi_concat(g, 0, (mmi_value[]){a, b}, 2); break;
        case 10: v = mmi_concat(g, 5, (mmi_value[]){a, a}, 2), part = "5"; break;
        case 11: v = mmi_linear(g, b, wv, 0, MMI_ACT_NONE), part = "blk.0.weight"; break;
        case 12: v = mmi_linear(g, a, wv, b, MMI_ACT_NONE), part = "blk.0.weight"; break;
        case 13: v = mmi_gate(g, a, MMI_ACT_SILU), part = "3"; break;
        case 14: v = mmi_lookup(g, a, wv), part = "i32"; break;
        case 15: v = mmi_patches(g, d, 6), part = "6"; break;
        case 16: v = mmi_resize_grid(g, a, 2, 2, MMI_RESIZE_BICUBIC); break;
        case 17: v = mmi_resize_grid(g, c, 0, 2, MMI_RESIZE_BICUBIC), part = "[2, 3, 4]"; break;
        case 18: v = mmi_mean(g, a); break;
        case 19: v = mmi_attention(g, d, c, c, &spec), part = "[2, 3, 4, 5]"; break;
        case 20: v = mmi_rope_table(g, a, wv, 1), part = "rotary"; break;
        case 21: v = mmi_graph_input(g, "x", MM_DTYPE_F32, 2, huge), part = "large"; break;
        case 22: v = mmi_graph_input(g, "x", MM_DTYPE_F32, 1, negative), part = "-1"; break;
        case 23: v = mmi_graph_input(g, "x", MM_DTYPE_F32, 7, deep), part = "7"; break;
        case 24: v = mmi_rope_table(g, ids, wv, 1), part = "rotary"; break; /* a matrix of frequencies */
        case 25: v = mmi_rope_table_by_length(g, ids, wv, 9, 1), part = "rotary"; break; /* of four rows */
        case 26: v = mmi_resize_grids(g, c, a, 9, MMI_RESIZE_BILINEAR_ANTIALIAS), part = "[2, 3, 4]"; break;
        case 27: v = mmi_argsort(g, c), part = "[2, 3, 4]"; break;
        case 28: v = mmi_gather(g, c, a), part = "[2, 3, 4]"; break;
        case 29: v = mmi_at_least(g, a, 1), part = "integers"; break;
        case 30: v = mmi_find_token(g, ids, ids, MMI_FIND_LAST, 0); break;
        case 31: v = mmi_similarity(g, a, b, wv, 0); break;
        case 32: v = mmi_masked_error(g, c, c, 1, b), part = "[2, 3, 4]"; break;
        }
        if (v != 0) fail_msg("case %d was built", i);
        nodes = g->n_nodes;
        assert_int_equal(mmi_add(g, a, a), 0);
        assert_int_equal(mmi_activate(g, a, MMI_ACT_RELU), 0);
        assert_int_equal(mmi_lookup(g, ids, wv), 0);
        mmi_graph_output(g, "y", a);
        assert_int_equal(g->n_nodes, nodes);
        assert_int_equal(mmi_graph_plan(g), i == 21 || i == 22 ? MM_E_OVERFLOW : MM_E_SHAPE);
        if (!strstr(mm_context_error(ctx), part)) fail_msg("case %d: \"%s\" does not say \"%s\"", i, mm_context_error(ctx), part);
        assert_int_not_equal(mmi_graph_run(g, NULL), MM_OK);
        mmi_graph_destroy(g);
    }
    mmi_weight_clear(&w);
}

/* Random graphs. */

enum { MAX_NODES = 60 };

typedef struct {
    mmi_value v;
    int32_t rank;
    int64_t shape[MMI_MAX_RANK];
    float *data; /* naive result, contiguous */
    size_t n;
} known;

static size_t below(mmi_random *r, size_t n) { return mmi_random_u32(r) % n; }

static known make_known(int32_t rank, const int64_t *shape)
{
    known k = {0, rank, {0}, NULL, 1};
    for (int32_t d = 0; d < rank; d++) {
        k.shape[d] = shape[d];
        k.n *= (size_t)shape[d];
    }
    k.data = malloc((k.n ? k.n : 1) * sizeof *k.data);
    assert_non_null(k.data);
    return k;
}

/* x[outer, start + i, inner] for a slice of an axis. */
static void naive_slice(const known *x, int32_t axis, int64_t start, known *y)
{
    int64_t inner = 1, outer = 1, count = y->shape[axis];
    for (int32_t d = 0; d < axis; d++) outer *= x->shape[d];
    for (int32_t d = axis + 1; d < x->rank; d++) inner *= x->shape[d];
    for (int64_t o = 0; o < outer; o++)
        memcpy(y->data + o * count * inner, x->data + (o * x->shape[axis] + start) * inner, (size_t)(count * inner) * sizeof(float));
}

static void naive_concat(const known *a, const known *b, int32_t axis, known *y)
{
    int64_t outer = 1, na = 1, nb = 1;
    for (int32_t d = 0; d < axis; d++) outer *= a->shape[d];
    for (int32_t d = axis; d < a->rank; d++) na *= a->shape[d], nb *= b->shape[d];
    for (int64_t o = 0; o < outer; o++) {
        memcpy(y->data + o * (na + nb), a->data + o * na, (size_t)na * sizeof(float));
        memcpy(y->data + o * (na + nb) + na, b->data + o * nb, (size_t)nb * sizeof(float));
    }
}

static int same_dims(const known *a, const known *b)
{
    return a->rank == b->rank && !memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape);
}

/* Places of values that live at once do not overlap, but for an output that takes over its dying first input. */
static size_t check_plan(const mmi_graph *g)
{
    int last[4 * MAX_NODES + 64];
    size_t shared = 0;

    assert_true(g->n_values < sizeof last / sizeof *last);
    for (size_t v = 0; v < g->n_values; v++) last[v] = -1;
    for (size_t n = 0; n < g->n_nodes; n++)
        for (size_t i = 0; i < g->nodes[n].n_inputs; i++)
            if (g->nodes[n].inputs[i]) last[g->values[g->nodes[n].inputs[i]].base] = (int)n;
    for (size_t v = 1; v < g->n_values; v++)
        if (g->values[v].is_output) last[g->values[v].base] = INT_MAX;
    for (size_t a = 0; a < g->n_nodes; a++)
        for (size_t b = a + 1; b < g->n_nodes; b++) {
            mmi_value va = g->nodes[a].output, vb = g->nodes[b].output;
            const mmi_value_info *x = &g->values[va], *y = &g->values[vb];
            size_t nx = (size_t)mmi_graph_elements(g, va) * 4, ny = (size_t)mmi_graph_elements(g, vb) * 4;
            assert_true(x->place % 64 == 0 && x->place + nx <= g->arena_bytes);
            assert_true(y->place + ny <= g->arena_bytes);
            if ((int)b > last[va]) continue; /* dead before b */
            if (x->place + nx <= y->place || y->place + ny <= x->place) continue;
            if ((int)b == last[va] && g->nodes[b].op->in_place && g->nodes[b].inputs[0] == va && x->place == y->place && nx == ny) {
                shared++;
                continue;
            }
            fail_msg("node %zu (%s) lies over the living value of node %zu (%s)", b, g->nodes[b].op->name, a, g->nodes[a].op->name);
        }
    return shared;
}

static size_t random_graph(uint64_t seed)
{
    mmi_random r;
    known k[MAX_NODES];
    size_t n = 0, inputs = 0, outputs = 0, shared;
    mmi_value out[MAX_NODES];
    size_t of[MAX_NODES];
    mmi_graph *g = new_graph();
    int64_t shape[3];

    mmi_random_seed(&r, seed);
    for (int d = 0; d < 3; d++) shape[d] = 1 + (int64_t)below(&r, d == 2 ? 20 : 5);
    for (; inputs < 2; inputs++) {
        k[n] = make_known(3, shape);
        for (size_t i = 0; i < k[n].n; i++) k[n].data[i] = (float)(mmi_random_unit(&r) - 0.5);
        k[n].v = mmi_graph_input(g, "x", MM_DTYPE_F32, 3, shape);
        n++;
    }
    while (n < 6 + below(&r, MAX_NODES - 6)) {
        const known *a = below(&r, 3) ? &k[n - 1 - below(&r, n < 4 ? n : 4)] : &k[below(&r, n)], *b = a; /* mostly chains */
        known y;
        int32_t axis = (int32_t)below(&r, (size_t)a->rank);
        for (size_t tries = 0; tries < 20; tries++) {
            const known *c = &k[below(&r, n)];
            if (same_dims(a, c)) {
                b = c;
                break;
            }
        }
        switch (below(&r, 9)) {
        case 0:
        case 1:
            y = make_known(a->rank, a->shape);
            for (size_t i = 0; i < y.n; i++) y.data[i] = a->data[i] + b->data[i];
            y.v = mmi_add(g, a->v, b->v);
            break;
        case 2:
            y = make_known(a->rank, a->shape);
            for (size_t i = 0; i < y.n; i++) y.data[i] = a->data[i] * b->data[i];
            y.v = mmi_mul(g, a->v, b->v);
            break;
        case 7: { /* one of a's own rows to all of them */
            int64_t row = (int64_t)below(&r, (size_t)a->shape[0]);
            size_t width = a->n / (size_t)a->shape[0];
            if (a->rank < 2) continue;
            y = make_known(a->rank, a->shape);
            for (size_t i = 0; i < y.n; i++) y.data[i] = a->data[i] + a->data[(size_t)row * width + i % width];
            y.v = mmi_add(g, a->v, mmi_select(g, a->v, 0, row));
            break;
        }
        case 3:
            y = make_known(a->rank, a->shape);
            for (size_t i = 0; i < y.n; i++) y.data[i] = a->data[i] > 0 ? a->data[i] : 0;
            y.v = mmi_activate(g, a->v, MMI_ACT_RELU);
            break;
        case 4: {
            int64_t start = (int64_t)below(&r, (size_t)a->shape[axis]), count = 1 + (int64_t)below(&r, (size_t)(a->shape[axis] - start)),
                    s[MMI_MAX_RANK];
            memcpy(s, a->shape, sizeof s);
            s[axis] = count;
            y = make_known(a->rank, s);
            naive_slice(a, axis, start, &y);
            y.v = mmi_slice(g, a->v, axis, start, count);
            break;
        }
        case 5: {
            int64_t s[MMI_MAX_RANK];
            memcpy(s, a->shape, sizeof s);
            s[axis] += b->shape[axis];
            if (s[axis] > 40) continue;
            y = make_known(a->rank, s);
            naive_concat(a, b, axis, &y);
            y.v = mmi_concat(g, axis, (mmi_value[]){a->v, b->v}, 2);
            break;
        }
        case 6: { /* the last two dimensions joined, or the last one split */
            int64_t s[MMI_MAX_RANK];
            int32_t rank = a->rank;
            memcpy(s, a->shape, sizeof s);
            if (rank == 3) {
                s[1] *= s[2];
                rank = 2;
                y = make_known(rank, s);
                y.v = mmi_reshape(g, a->v, rank, s);
            } else if (s[rank - 1] % 2 == 0) {
                s[rank] = 2;
                s[rank - 1] /= 2;
                rank++;
                y = make_known(rank, s);
                y.v = mmi_split_last(g, a->v, s[rank - 2], 2);
            } else {
                continue;
            }
            memcpy(y.data, a->data, y.n * sizeof *y.data);
            break;
        }
        default:
            y = make_known(a->rank, a->shape);
            memcpy(y.data, a->data, y.n * sizeof *y.data);
            y.v = mmi_contiguous(g, a->v);
        }
        if (g->status) fail_msg("seed %llu: %s", (unsigned long long)seed, mm_context_error(ctx));
        k[n++] = y;
    }
    for (size_t i = inputs; i < n; i++) { /* the last, and some others */
        if (i + 1 < n && below(&r, 6)) continue;
        out[outputs] = mmi_contiguous(g, k[i].v);
        mmi_graph_output(g, "y", out[outputs]);
        of[outputs++] = i;
    }
    for (size_t i = 0; i < inputs; i++) mmi_graph_bind(g, k[i].v, k[i].data);
    ok(mmi_graph_plan(g));
    shared = check_plan(g);
    for (int run = 0; run < 2; run++) {
        ok(mmi_graph_run(g, NULL));
        for (size_t o = 0; o < outputs; o++) {
            const float *y = mmi_graph_result(g, out[o]);
            for (size_t i = 0; i < k[of[o]].n; i++)
                if (!(y[i] == k[of[o]].data[i])) /* -0 is 0 */
                    fail_msg("seed %llu: output %zu of %zu is %g at %zu, expected %g, in run %d", (unsigned long long)seed, o, outputs,
                             (double)y[i], i, (double)k[of[o]].data[i], run);
        }
    }
    mmi_graph_destroy(g);
    for (size_t i = 0; i < n; i++) free(k[i].data);
    return shared;
}

static void test_random_graphs(void **state)
{
    size_t shared = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) shared += random_graph(seed);
    assert_true(shared > 1000); /* outputs do take over their inputs */
}

/* The memory follows what lives, not how many nodes there are. */
static void test_chain_reuses_memory(void **state)
{
    mmi_graph *g = new_graph();
    mmi_value x = mmi_graph_input(g, "x", MM_DTYPE_F32, 2, (int64_t[]){16, 64}), y = x;
    static const float data[16 * 64] = {1};
    (void)state;

    for (int i = 0; i < 100; i++)
        y = mmi_add(g, mmi_concat(g, 1, (mmi_value[]){mmi_slice(g, y, 1, 32, 32), mmi_slice(g, y, 1, 0, 32)}, 2), y);
    mmi_graph_output(g, "y", y);
    ok(mmi_graph_plan(g));
    assert_true(g->n_nodes == 200);
    assert_true(g->arena_bytes <= 3 * 16 * 64 * sizeof(float));
    mmi_graph_bind(g, x, data);
    ok(mmi_graph_run(g, NULL));
    mmi_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_resize_grid, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resize_antialias, setup, teardown),
        cmocka_unit_test_setup_teardown(test_argsort, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows_by_index, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rope, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rope_by_length, setup, teardown),
        cmocka_unit_test_setup_teardown(test_attention, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cached_attention, setup, teardown),
        cmocka_unit_test_setup_teardown(test_segments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_linear, setup, teardown),
        cmocka_unit_test_setup_teardown(test_row_ops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lookup, setup, teardown),
        cmocka_unit_test_setup_teardown(test_patches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_windows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shape_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_graphs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chain_reuses_memory, setup, teardown),
    };
    return cmocka_run_group_tests_name("graph", tests, NULL, NULL);
}
