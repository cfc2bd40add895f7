/* Optimizers beside torch's and transformers' (tests/golden/make_optimizers.py); and what is promised of threads, of a run that goes on, and of
 * rounding by chance. SPDX-License-Identifier: MIT */
#include "unit_fixture.h"

#include <math.h>

#include "dtype.h"
#include "mm_tensor.h"
#include "optimizer.h"
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

/* ---- goldens ---- */

static const struct golden {
    const char *name, *optimizer;
    double lr, beta1, beta2, eps, decay; /* NaN: the customary ones */
    int nesterov, relative;
} GOLDENS[] = {
    {"adamw", "adamw", 1e-2, NAN, NAN, NAN, 0.1, 0, 0},
    {"adamw_betas", "adamw", 1e-2, 0.8, 0.95, 1e-3, 0, 0, 0},
    {"sgd", "sgd", 1e-2, NAN, NAN, NAN, 0.1, 0, 0},
    {"sgd_nesterov", "sgd", 1e-2, 0.7, NAN, NAN, 0, 1, 0},
    {"sgd_plain", "sgd", 1e-2, 0, NAN, NAN, 0.1, 0, 0},
    {"lion", "lion", 1e-3, NAN, NAN, NAN, 0.1, 0, 0},
    {"adafactor", "adafactor", 1e-2, NAN, NAN, NAN, 0.1, 0, 0},
    {"adafactor_relative", "adafactor", 1e-2, NAN, NAN, NAN, 0.1, 0, 1},
    {"adafactor_torch", "adafactor", 0.5, NAN, NAN, NAN, 0, 0, 1},
};

static const mm_tensor *part(const mm_tensor_map *map, const char *name, const char *what)
{
    char key[96];
    const mm_tensor *t;
    (void)snprintf(key, sizeof key, "%s.%s", name, what);
    if (!(t = mm_tensor_map_get(map, key))) fail_msg("no %s among the goldens", key);
    return t;
}

/* With the gradient twice as large, and half of it taken: the same bits. With half the rate, and twice as much asked for: too. */
static void test_goldens(void **state)
{
    static const char *const NAMES[] = {"matrix", "vector"};
    mm_tensor_map *map = NULL;
    (void)state;

    ok(mm_tensor_map_read(ctx, "tests/golden/optimizers.safetensors", &map));
    const float *rates = mm_tensor_const_data(mm_tensor_map_get(map, "rates"));
    for (size_t c = 0; c < sizeof GOLDENS / sizeof *GOLDENS; c++) {
        const struct golden *g = &GOLDENS[c];
        float weights[2][128], gradients[2][128];
        mmi_parameter p[2];
        mmi_optimizer_spec spec;
        mmi_optimizer *o = NULL;
        size_t steps = 0;

        ok(mmi_optimizer_spec_of(ctx, g->optimizer, &spec));
        if (!isnan(g->beta1)) spec.beta1 = g->beta1;
        if (!isnan(g->beta2)) spec.beta2 = g->beta2;
        if (!isnan(g->eps)) spec.eps = g->eps;
        spec.nesterov = g->nesterov;
        spec.relative_step = g->relative;
        for (int i = 0; i < 2; i++) {
            const mm_tensor *t = part(map, "start", NAMES[i]);
            const size_t rows = mm_tensor_rank(t) > 1 ? (size_t)mm_tensor_shape(t)[0] : 1, cols = (size_t)mm_tensor_shape(t)[mm_tensor_rank(t) - 1];
            p[i] = (mmi_parameter){NAMES[i], weights[i], MM_DTYPE_F32, gradients[i], rows, cols, g->relative ? 1 : 0.5f, (float)g->decay};
            assert_true(rows * cols <= 128);
            memcpy(weights[i], mm_tensor_const_data(t), rows * cols * sizeof(float));
            steps = (size_t)mm_tensor_shape(part(map, "gradient", NAMES[i]))[0];
        }
        assert_true(steps >= 10);
        ok(mmi_optimizer_create(ctx, &spec, p, 2, &o));
        for (size_t t = 0; t < steps; t++) {
            const double rate = !strcmp(g->name, "adafactor_relative") ? 1 : (double)rates[t];
            for (int i = 0; i < 2; i++) {
                const size_t n = p[i].rows * p[i].cols;
                const float *given = (const float *)mm_tensor_const_data(part(map, "gradient", NAMES[i])) + t * n;
                for (size_t k = 0; k < n; k++) gradients[i][k] = 2 * given[k];
            }
            ok(mmi_optimizer_step(ctx, o, t + 1, g->lr * rate / (double)p[0].lr_scale, 0.5f));
            for (int i = 0; i < 2; i++) {
                const size_t n = p[i].rows * p[i].cols;
                const float *want = (const float *)mm_tensor_const_data(part(map, g->name, NAMES[i])) + t * n;
                double largest = 0, worst = 0;
                for (size_t k = 0; k < n; k++) {
                    largest = fmax(largest, fabs((double)want[k]));
                    worst = isfinite(weights[i][k]) ? fmax(worst, fabs((double)weights[i][k] - (double)want[k])) : INFINITY;
                }
                if (!(worst <= 1e-6 * largest)) fail_msg("%s.%s, step %zu: off by %g of %g", g->name, NAMES[i], t + 1, worst, largest);
            }
        }
        mmi_optimizer_destroy(o);
    }
    mm_tensor_map_destroy(map);
}

/* ---- longer runs ---- */

/* More elements than chunks hold, in several shapes. */
enum { PARAMETERS = 4, MOST_STATES = 2 * PARAMETERS };
static const size_t SHAPES[PARAMETERS][2] = {{300, 257}, {1, 70001}, {5003, 1}, {65, 1031}};

typedef struct {
    void *weights[PARAMETERS];
    float *gradients[PARAMETERS];
    mmi_parameter p[PARAMETERS];
    mmi_optimizer *o;
} training;

static size_t bytes_of(const mmi_parameter *p) { return p->rows * p->cols * (p->dtype == MM_DTYPE_F32 ? sizeof(float) : sizeof(uint16_t)); }

static mmi_optimizer_spec spec_of(const char *name)
{
    mmi_optimizer_spec spec;
    ok(mmi_optimizer_spec_of(ctx, name, &spec));
    spec.relative_step = 1;
    spec.seed = 7;
    return spec;
}

static void training_open(training *t, const char *name, int32_t dtype)
{
    static const char *const NAMES[PARAMETERS] = {"a", "b", "c", "d"};
    const mmi_optimizer_spec spec = spec_of(name);

    for (size_t i = 0; i < PARAMETERS; i++) {
        const size_t n = SHAPES[i][0] * SHAPES[i][1];
        t->weights[i] = malloc(n * sizeof(float));
        t->gradients[i] = malloc(n * sizeof(float));
        for (size_t k = 0; k < n; k++) {
            const float x = (float)mmi_random_normal_at(1, i, k);
            if (dtype == MM_DTYPE_F32) ((float *)t->weights[i])[k] = x;
            else ((uint16_t *)t->weights[i])[k] = mmi_f32_to_bf16(x);
        }
        t->p[i] = (mmi_parameter){NAMES[i], t->weights[i], dtype, t->gradients[i], SHAPES[i][0], SHAPES[i][1], 1, 0.01f};
    }
    ok(mmi_optimizer_create(ctx, &spec, t->p, PARAMETERS, &t->o));
}

static void training_close(training *t)
{
    mmi_optimizer_destroy(t->o);
    for (size_t i = 0; i < PARAMETERS; i++) {
        free(t->weights[i]);
        free(t->gradients[i]);
    }
}

static void train(training *t, uint64_t first, uint64_t last)
{
    for (uint64_t step = first; step <= last; step++) {
        for (size_t i = 0; i < PARAMETERS; i++) {
            for (size_t k = 0; k < SHAPES[i][0] * SHAPES[i][1]; k++) t->gradients[i][k] = (float)mmi_random_unit_at(step, i, k) - 0.5f;
        }
        ok(mmi_optimizer_step(ctx, t->o, step, 1e-3, 0.7f));
    }
}

static void assert_same(const training *a, const training *b, const char *what)
{
    for (size_t i = 0; i < PARAMETERS; i++) {
        if (memcmp(a->weights[i], b->weights[i], bytes_of(&a->p[i]))) fail_msg("%s: weights %zu differ", what, i);
    }
    for (size_t i = 0; i < mmi_optimizer_states(a->o); i++) {
        const char *name, *other;
        float *x, *y;
        size_t n, m;
        mmi_optimizer_state(a->o, i, &name, &x, &n);
        mmi_optimizer_state(b->o, i, &other, &y, &m);
        assert_string_equal(name, other);
        assert_int_equal(n, m);
        if (memcmp(x, y, n * sizeof *x)) fail_msg("%s: state %s differs", what, name);
    }
}

static const char *const NAMES[] = {"adamw", "sgd", "lion", "adafactor"};
static const int32_t DTYPES[] = {MM_DTYPE_F32, MM_DTYPE_BF16};

static void test_threads(void **state)
{
    (void)state;
    for (size_t c = 0; c < 8; c++) {
        training one, many;
        ok(mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 1));
        training_open(&one, NAMES[c / 2], DTYPES[c % 2]);
        train(&one, 1, 3);
        for (int threads = 2; threads <= 5; threads += 3) {
            ok(mm_context_set_i64(ctx, MM_CONTEXT_THREADS, threads));
            training_open(&many, NAMES[c / 2], DTYPES[c % 2]);
            train(&many, 1, 3);
            assert_same(&one, &many, NAMES[c / 2]);
            training_close(&many);
        }
        training_close(&one);
    }
}

/* Weights and states carried over into a new optimizer give what an unbroken run gives, and without the states something else. */
static void test_resume(void **state)
{
    (void)state;
    for (size_t c = 0; c < 8; c++) {
        training whole, parts[2];
        for (int i = 0; i < 2; i++) training_open(&parts[i], NAMES[c / 2], DTYPES[c % 2]);
        training_open(&whole, NAMES[c / 2], DTYPES[c % 2]);
        train(&whole, 1, 5);
        train(&parts[0], 1, 2);
        for (size_t i = 0; i < PARAMETERS; i++) memcpy(parts[1].weights[i], parts[0].weights[i], bytes_of(&parts[0].p[i]));
        assert_true(mmi_optimizer_states(whole.o) >= PARAMETERS);
        for (size_t i = 0; i < mmi_optimizer_states(whole.o); i++) {
            const char *name;
            float *from, *to;
            size_t n;
            mmi_optimizer_state(parts[0].o, i, &name, &from, &n);
            mmi_optimizer_state(parts[1].o, i, &name, &to, &n);
            assert_memory_not_equal(from, to, n * sizeof *to);
            memcpy(to, from, n * sizeof *to);
        }
        train(&parts[1], 3, 5);
        assert_same(&whole, &parts[1], NAMES[c / 2]);
        training_close(&whole);
        for (int i = 0; i < 2; i++) training_close(&parts[i]);
    }
}

static void test_state_names(void **state)
{
    training t;
    const char *name;
    float *data;
    size_t n;
    (void)state;

    training_open(&t, "adamw", MM_DTYPE_F32);
    assert_int_equal(mmi_optimizer_states(t.o), 8);
    mmi_optimizer_state(t.o, 3, &name, &data, &n);
    assert_string_equal(name, "b.exp_avg_sq");
    assert_int_equal(n, 70001);
    training_close(&t);
    training_open(&t, "adafactor", MM_DTYPE_F32);
    mmi_optimizer_state(t.o, 0, &name, &data, &n);
    assert_string_equal(name, "a.exp_avg_sq_row");
    assert_int_equal(n, 300);
    mmi_optimizer_state(t.o, 1, &name, &data, &n);
    assert_string_equal(name, "a.exp_avg_sq_col");
    assert_int_equal(n, 257);
    training_close(&t);
}

/* A step of bf16 weights goes to one of the two neighbours of what the same step gives in f32: to the upper one as often as it is near. */
static void test_rounding_by_chance(void **state)
{
    (void)state;
    for (size_t c = 0; c < 4; c++) {
        training exact, rounded;
        double up = 0, expected = 0, variance = 0;
        training_open(&exact, NAMES[c], MM_DTYPE_F32);
        training_open(&rounded, NAMES[c], MM_DTYPE_BF16);
        for (size_t i = 0; i < PARAMETERS; i++) {
            for (size_t k = 0; k < SHAPES[i][0] * SHAPES[i][1]; k++) {
                ((float *)exact.weights[i])[k] = mmi_bf16_to_f32(((uint16_t *)rounded.weights[i])[k]);
            }
        }
        train(&exact, 1, 1);
        train(&rounded, 1, 1);
        for (size_t i = 0; i < PARAMETERS; i++) {
            for (size_t k = 0; k < SHAPES[i][0] * SHAPES[i][1]; k++) {
                union { float f; uint32_t u; } x = {((float *)exact.weights[i])[k]};
                const uint16_t low = (uint16_t)(x.u >> 16), have = ((uint16_t *)rounded.weights[i])[k];
                const double share = (double)(x.u & 0xffff) / 65536;
                if (have != low && have != low + 1) fail_msg("%s: element %zu, %04x for %08x", NAMES[c], k, have, (unsigned)x.u);
                assert_true(have == low || share > 0);
                up += have != low;
                expected += share;
                variance += share * (1 - share);
            }
        }
        assert_true(variance > 1000);
        assert_true(fabs(up - expected) < 5 * sqrt(variance));
        training_close(&exact);
        training_close(&rounded);
    }
}

/* Of a matrix in several chunks, in float64 by the paper's algorithm 4. */
static void test_adafactor_by_definition(void **state)
{
    const size_t R = SHAPES[0][0], C = SHAPES[0][1];
    training t;
    double *w = malloc(R * C * sizeof *w), *u = malloc(R * C * sizeof *u), *rows = calloc(R, sizeof *rows), *columns = calloc(C, sizeof *columns);
    (void)state;

    training_open(&t, "adafactor", MM_DTYPE_F32);
    for (size_t i = 0; i < R * C; i++) w[i] = ((float *)t.weights[0])[i];
    for (uint64_t step = 1; step <= 3; step++) {
        const double keep = 1 - pow((double)step, -0.8);
        double total = 0, size = 0, squares = 0, worst = 0;
        train(&t, step, step);
        for (size_t i = 0; i < R; i++) rows[i] *= keep;
        for (size_t j = 0; j < C; j++) columns[j] *= keep;
        for (size_t i = 0; i < R * C; i++) {
            const double g = (double)0.7f * (double)t.gradients[0][i];
            rows[i / C] += (1 - keep) * (g * g + 1e-30) / (double)C;
            columns[i % C] += (1 - keep) * (g * g + 1e-30) / (double)R;
            squares += w[i] * w[i];
            u[i] = g;
        }
        for (size_t i = 0; i < R; i++) total += rows[i] / (double)R;
        for (size_t i = 0; i < R * C; i++) {
            u[i] /= sqrt(rows[i / C] * columns[i % C] / total);
            size += u[i] * u[i];
        }
        const double alpha = fmax(1e-3, sqrt(squares / (double)(R * C))) * 1e-3; /* 1e-3 is less than 1 / sqrt(step) */
        for (size_t i = 0; i < R * C; i++) {
            w[i] = w[i] * (1 - alpha * (double)0.01f) - alpha * u[i] / fmax(1, sqrt(size / (double)(R * C)));
            worst = fmax(worst, fabs(w[i] - (double)((float *)t.weights[0])[i]));
        }
        assert_true(worst < 1e-6);
    }
    training_close(&t);
    free(w);
    free(u);
    free(rows);
    free(columns);
}

/* Steps far smaller than the distance of two bf16 numbers add up: 1000 steps of 1e-5 from 1. To the nearest, nothing would ever move. */
static void test_small_steps_add_up(void **state)
{
    enum { N = 40 * 1024, STEPS = 1000 };
    uint16_t weights[N];
    float gradient[N];
    mmi_optimizer_spec spec = spec_of("sgd");
    const mmi_parameter p = {"w", weights, MM_DTYPE_BF16, gradient, 1, N, 1, 0};
    mmi_optimizer *o = NULL;
    double sum = 0;
    (void)state;

    spec.beta1 = 0;
    for (size_t i = 0; i < N; i++) {
        weights[i] = 0x3f80;
        gradient[i] = 1;
    }
    ok(mmi_optimizer_create(ctx, &spec, &p, 1, &o));
    for (uint64_t t = 1; t <= STEPS; t++) ok(mmi_optimizer_step(ctx, o, t, 1e-5, 1));
    for (size_t i = 0; i < N; i++) sum += (double)mmi_bf16_to_f32(weights[i]);
    for (size_t i = 1024; i < N; i += 1024) assert_memory_not_equal(weights, weights + i, 1024 * sizeof *weights); /* each by its own chance */
    /* below 1 a unit is 2^-8, and a step moves by one with chance 1e-5 / 2^-8 */
    assert_true(fabs(sum / N - 0.99) < 5 * sqrt(STEPS * 1e-5 * 0x1p-8 / N));
    mmi_optimizer_destroy(o);
}

/* ---- what is refused, and no memory ---- */

static void test_refused(void **state)
{
    float w[2] = {1, 2}, g[2] = {0};
    const mmi_parameter good = {"layer.weight", w, MM_DTYPE_F32, g, 1, 2, 1, 0};
    mmi_optimizer_spec spec;
    mmi_parameter p = good;
    mmi_optimizer *o = NULL;
    (void)state;

    assert_int_equal(mmi_optimizer_spec_of(ctx, "adam", &spec), MM_E_ARGUMENT);
    assert_non_null(strstr(mm_context_error(ctx), "\"adam\" is none of adamw, sgd"));
    spec = spec_of("adamw");
    spec.beta2 = 1;
    assert_int_equal(mmi_optimizer_create(ctx, &spec, &good, 1, &o), MM_E_ARGUMENT);
    assert_non_null(strstr(mm_context_error(ctx), "adamw: beta2 1 "));
    spec = spec_of("sgd");
    spec.beta1 = NAN;
    assert_int_equal(mmi_optimizer_create(ctx, &spec, &good, 1, &o), MM_E_ARGUMENT);
    assert_non_null(strstr(mm_context_error(ctx), "sgd: momentum nan"));
    spec = spec_of("adafactor");
    spec.eps = 0;
    assert_int_equal(mmi_optimizer_create(ctx, &spec, &good, 1, &o), MM_E_ARGUMENT);
    spec = spec_of("adamw");
    p.dtype = MM_DTYPE_F16;
    assert_int_equal(mmi_optimizer_create(ctx, &spec, &p, 1, &o), MM_E_DTYPE);
    assert_non_null(strstr(mm_context_error(ctx), "layer.weight"));
    p = good;
    p.rows = 0;
    assert_int_equal(mmi_optimizer_create(ctx, &spec, &p, 1, &o), MM_E_SHAPE);
    p = good;
    p.weight_decay = -1;
    assert_int_equal(mmi_optimizer_create(ctx, &spec, &p, 1, &o), MM_E_ARGUMENT);
    p = good;
    p.rows = SIZE_MAX / 2;
    p.cols = 3;
    assert_int_equal(mmi_optimizer_create(ctx, &spec, &p, 1, &o), MM_E_OVERFLOW);
    assert_null(o);
    ok(mmi_optimizer_create(ctx, &spec, NULL, 0, &o)); /* nothing to train is no error here */
    ok(mmi_optimizer_step(ctx, o, 1, 1, 1));
    mmi_optimizer_destroy(o);
}

static void test_no_memory(void **state)
{
    (void)state;
    for (size_t c = 0; c < 4; c++) {
        for (long k = 1;; k++) {
            float w[6] = {1, 2, 3, 4, 5, 6}, g[6] = {1, 1, 1, 1, 1, 1};
            const mmi_parameter p[] = {{"a", w, MM_DTYPE_F32, g, 2, 2, 1, 0}, {"b", w + 4, MM_DTYPE_F32, g + 4, 1, 2, 1, 0}};
            unit_allocator a;
            mm_context *c2 = unit_context(&a);
            mmi_optimizer_spec spec = spec_of(NAMES[c]);
            mmi_optimizer *o = NULL;
            const long before = a.count;
            a.fail_at = before + k;
            mm_status st = mmi_optimizer_create(c2, &spec, p, 2, &o);
            if (st) assert_null(o);
            else st = mmi_optimizer_step(c2, o, 1, 0.1, 1);
            const int failed = a.count >= a.fail_at;
            /* without memory for threads the step is taken on one */
            assert_true(st == MM_OK || (st == MM_E_NOMEM && failed && w[0] == 1 && w[5] == 6));
            if (st == MM_OK) assert_true(w[0] < 1 && w[5] < 6);
            mmi_optimizer_destroy(o);
            unit_context_end(&a, c2);
            if (!failed) break;
            assert_true(k < 100);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_goldens, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_resume, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_state_names, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_rounding_by_chance, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_adafactor_by_definition, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_small_steps_add_up, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown)};
    return cmocka_run_group_tests_name("optimizer", tests, NULL, NULL);
}
