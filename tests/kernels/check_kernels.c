/* Every float kernel at every level that this processor has, against the reference and against float64 mathematics.
 *   check_kernels           the tests
 *   check_kernels --list    which level gave each entry of the table
 *   check_kernels --bench   ns per call, and how many times faster than the reference
 * Arrays end at a page that cannot be read, or stand between guard bytes at an odd address; SIZES covers whole vectors,
 * tails and neither. SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpu.h"
#include "dtype.h"
#include "float_linear.h"
#include "float_product.h"
#include "kernels.h"

static const size_t SIZES[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 257, 1000};
enum { N_SIZES = sizeof SIZES / sizeof *SIZES, LEVELS = MM_CPU_AMX + 1, GUARD = 64 };

static const double EPS = FLT_EPSILON / 2; /* relative error of one rounding */

static mmi_kernels tables[LEVELS];

static const mmi_kernels *table(void **state) { return *state; }

/* ---- numbers ---- */

static uint64_t seed = 88172645463325252u;

static uint32_t random_bits(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32);
}

static float uniform(float low, float high) { return low + (high - low) * (float)(random_bits() >> 8) * 0x1p-24f; }

static void fill(float *x, size_t n, float low, float high)
{
    for (size_t i = 0; i < n; i++) x[i] = uniform(low, high);
}

/* Both NaN, or the same infinity, or apart by no more than `bound`. */
static int close_to(double got, double want, double bound)
{
    if (isnan(want)) return isnan(got);
    if (isinf(want) || isinf(got)) return got == want;
    return fabs(got - want) <= bound;
}

#define CHECK_CLOSE(got, want, bound, ...)                                                                \
    do {                                                                                                  \
        const double g_ = (got), w_ = (want), b_ = (bound);                                               \
        if (!close_to(g_, w_, b_)) {                                                                      \
            print_error("got %.9g, expected %.9g, off by %.3g, bound %.3g: ", g_, w_, fabs(g_ - w_), b_); \
            print_error(__VA_ARGS__);                                                                     \
            print_error("\n");                                                                            \
            fail();                                                                                       \
        }                                                                                                 \
    } while (0)

/* ---- memory ---- */

typedef struct {
    unsigned char *map;
    size_t map_size, bytes;
    unsigned char *data;
} buffer;

/* Even turns: the last byte is the last before a page that cannot be touched. Odd turns: an odd multiple of the element
 * size from the start of a page, guard bytes behind. */
static void *buffer_open(buffer *b, size_t bytes, size_t element, int turn)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = (bytes + 2 * GUARD + page - 1) / page * page;
    b->bytes = bytes;
    b->map_size = inner + page;
    b->map = mmap(NULL, b->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->map == MAP_FAILED) fail_msg("no memory");
    if (mprotect(b->map + inner, page, PROT_NONE)) fail_msg("mprotect");
    memset(b->map, 0xa5, inner);
    b->data = turn % 2 ? b->map + element : b->map + inner - bytes;
    return b->data;
}

static void buffer_close(buffer *b)
{
    for (unsigned char *p = b->map; p < b->data; p++)
        if (*p != 0xa5) fail_msg("wrote %td bytes before the array", b->data - p);
    for (unsigned char *p = b->data + b->bytes; p < b->map + b->map_size - (size_t)sysconf(_SC_PAGESIZE); p++)
        if (*p != 0xa5) fail_msg("wrote %td bytes behind the array", p - b->data - (ptrdiff_t)b->bytes);
    munmap(b->map, b->map_size);
}

static float *floats_open(buffer *b, size_t n, int turn) { return buffer_open(b, n * sizeof(float), sizeof(float), turn); }

/* ---- elementwise ---- */

typedef struct {
    const char *name;
    int inputs;
    void (*run)(const mmi_kernels *k, const float *a, const float *b, const float *c, float *y, size_t n);
    double (*bound)(double a, double b, double c);
} elementwise;

static void run_add(const mmi_kernels *k, const float *a, const float *b, const float *c, float *y, size_t n)
{
    (void)c;
    k->add(a, b, y, n);
}
static void run_mul(const mmi_kernels *k, const float *a, const float *b, const float *c, float *y, size_t n)
{
    (void)c;
    k->mul(a, b, y, n);
}
static void run_scale(const mmi_kernels *k, const float *a, const float *b, const float *c, float *y, size_t n)
{
    (void)b;
    (void)c;
    k->scale(a, 1.7f, y, n);
}
static double bound_none(double a, double b, double c) /* one rounding: exact */
{
    (void)a;
    (void)b;
    (void)c;
    return 0;
}
/* one version rounds the product, the other does not */

static const elementwise ELEMENTWISE[] = {
    {"add", 2, run_add, bound_none},
    {"mul", 2, run_mul, bound_none},
    {"scale", 1, run_scale, bound_none},
};

static void test_elementwise(void **state)
{
    const mmi_kernels *k = table(state), *ref = &tables[MM_CPU_REFERENCE];
    for (size_t e = 0; e < sizeof ELEMENTWISE / sizeof *ELEMENTWISE; e++) {
        const elementwise *op = &ELEMENTWISE[e];
        for (size_t s = 0; s < N_SIZES; s++) {
            for (int turn = 0; turn < 4; turn++) { /* turns 2 and 3: the output is an input, each in turn */
                for (int place = 0; place < (turn < 2 ? 1 : op->inputs); place++) {
                    const size_t n = SIZES[s];
                    buffer in[3], out;
                    float *x[3], *y = floats_open(&out, n, turn), *want = malloc((n + 1) * sizeof *want), *copy[3];
                    for (int i = 0; i < 3; i++) {
                        x[i] = floats_open(&in[i], n, turn);
                        fill(x[i], n, -10, 10);
                        if (n > 4) x[i][(size_t)i + 1] = i ? INFINITY : NAN;
                        copy[i] = malloc((n + 1) * sizeof(float));
                        memcpy(copy[i], x[i], n * sizeof(float));
                    }
                    op->run(ref, x[0], x[1], x[2], want, n);
                    float *to = turn < 2 ? y : x[place];
                    op->run(k, x[0], x[1], x[2], to, n);
                    for (size_t i = 0; i < n; i++)
                        CHECK_CLOSE(to[i], want[i], op->bound(copy[0][i], copy[1][i], copy[2][i]), "%s n=%zu i=%zu", op->name, n,
                                    i);
                    for (int i = 0; i < 3; i++) {
                        if (turn < 2 || i != place) assert_memory_equal(x[i], copy[i], n * sizeof(float));
                        buffer_close(&in[i]);
                        free(copy[i]);
                    }
                    buffer_close(&out);
                    free(want);
                }
            }
        }
    }
}

/* ---- activations ---- */

static const char *const ACT_NAMES[MMI_ACT_COUNT] = {"none",       "relu", "gelu", "gelu_tanh",
                                                     "quick_gelu", "silu", "tanh", "sigmoid"};

static double exact_act(mmi_activation act, double x)
{
    switch (act) {
    case MMI_ACT_RELU: return isnan(x) ? x : fmax(x, 0);
    case MMI_ACT_GELU: return 0.5 * x * erfc(-x / sqrt(2));
    case MMI_ACT_GELU_TANH: return x / (1 + exp(-2 * sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case MMI_ACT_QUICK_GELU: return x / (1 + exp(-1.702 * x));
    case MMI_ACT_SILU: return x / (1 + exp(-x));
    case MMI_ACT_TANH: return tanh(x);
    case MMI_ACT_SIGMOID: return 1 / (1 + exp(-x));
    default: return x;
    }
}

/* Up to eight roundings of half a unit in the last place on the way, less than 1e-6 in all; below 2^-126 exp is subnormal,
 * with an absolute error of half of 2^-149 times |x|. */
static double act_bound(double x, double want) { return 8 * EPS * fabs(want) + (1 + fabs(x)) * 0x1p-149; }

static void test_activations(void **state)
{
    const mmi_kernels *k = table(state);
    enum { N = 4096 };
    float x[N], y[N], up[N], z[N];

    for (int act = 0; act < MMI_ACT_COUNT; act++) {
        double worst = 0;
        for (int round = 0; round < 200; round++) {
            for (size_t i = 0; i < N; i++) {
                if (round < 100) x[i] = uniform(-100, 100);
                else if (round < 150) x[i] = uniform(-12, 12);
                else x[i] = ldexpf(uniform(-2, 2), -(int)(random_bits() % 60));
                up[i] = uniform(-4, 4);
            }
            k->activate((mmi_activation)act, x, y, N);
            k->gate((mmi_activation)act, x, up, z, N);
            for (size_t i = 0; i < N; i++) {
                const double want = exact_act((mmi_activation)act, x[i]);
                CHECK_CLOSE(y[i], want, act_bound(x[i], want), "%s(%.9g)", ACT_NAMES[act], x[i]);
                assert_true(z[i] == y[i] * up[i]);
                if (fabs(want) > 1e-36 && fabs(y[i] - want) > worst * fabs(want)) worst = fabs(y[i] - want) / fabs(want);
            }
        }
        if (getenv("CHECK_KERNELS_VERBOSE")) print_message("    %s: largest relative error %.2e\n", ACT_NAMES[act], worst);
    }
}

static void test_activation_edges(void **state)
{
    const mmi_kernels *k = table(state), *ref = &tables[MM_CPU_REFERENCE];
    const float edges[] = {0.0f,  -0.0f, 1e-45f, -1e-45f, FLT_MIN,  -FLT_MIN, 88.0f,     -88.0f, 1e4f,
                           -1e4f, 1e30f, -1e30f, FLT_MAX, -FLT_MAX, INFINITY, -INFINITY, NAN};
    enum { N_EDGES = sizeof edges / sizeof *edges };

    for (int act = 0; act < MMI_ACT_COUNT; act++) {
        for (size_t at = 0; at < N_EDGES; at++) { /* each edge in each lane */
            float x[N_EDGES], y[N_EDGES], want[N_EDGES];
            for (size_t i = 0; i < N_EDGES; i++) x[i] = edges[(at + i) % N_EDGES];
            ref->activate((mmi_activation)act, x, want, N_EDGES);
            k->activate((mmi_activation)act, x, y, N_EDGES);
            for (size_t i = 0; i < N_EDGES; i++)
                CHECK_CLOSE(y[i], want[i], act_bound(0, want[i]), "%s(%g)", ACT_NAMES[act], (double)x[i]);
        }
        for (size_t s = 0; s < N_SIZES; s++) {
            for (int turn = 0; turn < 4; turn++) {
                const size_t n = SIZES[s];
                buffer in, out, other;
                float *x = floats_open(&in, n, turn), *y = floats_open(&out, n, turn), *up = floats_open(&other, n, turn);
                float *want = malloc((n + 1) * sizeof *want);
                fill(x, n, -5, 5);
                fill(up, n, -5, 5);
                for (size_t i = 0; i < n; i++) want[i] = (float)exact_act((mmi_activation)act, x[i]);
                float *to = turn < 2 ? y : x;
                k->activate((mmi_activation)act, x, to, n);
                for (size_t i = 0; i < n; i++)
                    CHECK_CLOSE(to[i], want[i], act_bound(0, want[i]) * 2, "%s n=%zu i=%zu", ACT_NAMES[act], n, i);
                fill(x, n, -5, 5);
                for (size_t i = 0; i < n; i++) want[i] = (float)exact_act((mmi_activation)act, x[i]) * up[i];
                to = turn < 2 ? y : turn == 2 ? x : up;
                k->gate((mmi_activation)act, x, up, to, n);
                for (size_t i = 0; i < n; i++)
                    CHECK_CLOSE(to[i], want[i], act_bound(0, want[i]) * 2, "gate %s n=%zu i=%zu", ACT_NAMES[act], n, i);
                buffer_close(&in);
                buffer_close(&out);
                buffer_close(&other);
                free(want);
            }
        }
    }
}

/* ---- rows ---- */

static void test_layer_norm(void **state)
{
    const mmi_kernels *k = table(state);
    for (size_t s = 1; s < N_SIZES; s++) {
        for (int turn = 0; turn < 16; turn++) {
            const size_t n = SIZES[s];
            const float shift = turn & 8 ? 100 : 0, eps = 1e-5f;
            buffer in, out, wb, bb;
            float *x = floats_open(&in, n, turn), *y = floats_open(&out, n, turn);
            float *w = floats_open(&wb, n, turn), *b = floats_open(&bb, n, turn);
            double mean = 0, square = 0, *want = malloc(n * sizeof *want);
            fill(x, n, shift - 3, shift + 3);
            fill(w, n, -2, 2);
            fill(b, n, -2, 2);
            const float *wp = turn & 2 ? w : NULL, *bp = turn & 4 ? b : NULL;
            for (size_t i = 0; i < n; i++) mean += x[i];
            mean /= (double)n;
            for (size_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean);
            const double r = 1 / sqrt(square / (double)n + eps);
            for (size_t i = 0; i < n; i++) want[i] = (x[i] - mean) * r;
            float *to = turn % 3 == 2 ? x : y;
            k->layer_norm(x, wp, bp, eps, to, n);
            /* the mean has a few roundings of its own size, each product and sum one of the result's */
            for (size_t i = 0; i < n; i++) {
                const double y_exact = want[i] * (wp ? w[i] : 1) + (bp ? b[i] : 0);
                const double bound = 8 * EPS * ((fabs(mean) * r + fabs(want[i]) + 1) * (wp ? fabs(w[i]) : 1) + fabs(y_exact));
                CHECK_CLOSE(to[i], y_exact, bound, "layer_norm n=%zu turn=%d i=%zu", n, turn, i);
            }
            buffer_close(&in);
            buffer_close(&out);
            buffer_close(&wb);
            buffer_close(&bb);
            free(want);
        }
    }
    float none = 3;
    k->layer_norm(&none, NULL, NULL, 1e-5f, &none, 0);
    assert_true(none == 3);
}

static void test_rms_norm(void **state)
{
    const mmi_kernels *k = table(state);
    for (size_t s = 1; s < N_SIZES; s++) {
        for (int turn = 0; turn < 6; turn++) {
            const size_t n = SIZES[s];
            const float eps = 1e-6f, offset = turn & 2 ? 1.0f : 0.0f;
            buffer in, out, wb;
            float *x = floats_open(&in, n, turn), *y = floats_open(&out, n, turn), *w = floats_open(&wb, n, turn);
            double square = 0, *want = malloc(n * sizeof *want);
            fill(x, n, -3, 3);
            fill(w, n, -2, 2);
            for (size_t i = 0; i < n; i++) square += (double)x[i] * x[i];
            for (size_t i = 0; i < n; i++) want[i] = x[i] / sqrt(square / (double)n + eps) * ((double)w[i] + offset);
            float *to = turn & 4 ? x : y;
            k->rms_norm(x, w, offset, eps, to, n);
            for (size_t i = 0; i < n; i++) /* w + offset may cancel */
                CHECK_CLOSE(to[i], want[i], 8 * EPS * (fabs(want[i]) + 3), "rms_norm n=%zu i=%zu", n, i);
            buffer_close(&in);
            buffer_close(&out);
            buffer_close(&wb);
            free(want);
        }
    }
}

static void test_softmax(void **state)
{
    const mmi_kernels *k = table(state);
    for (size_t s = 0; s < N_SIZES; s++) {
        for (int turn = 0; turn < 8; turn++) {
            const size_t n = SIZES[s];
            buffer in, out;
            float *x = floats_open(&in, n, turn), *y = floats_open(&out, n, turn);
            double top = -INFINITY, sum = 0, *want = malloc((n + 1) * sizeof *want);
            if (turn & 2) fill(x, n, -1000, -900); /* far from zero: the masked lanes must not count */
            else fill(x, n, -20, 20);
            if (n > 3) x[2] = -INFINITY;
            for (size_t i = 0; i < n; i++) top = fmax(top, x[i]);
            for (size_t i = 0; i < n; i++) sum += want[i] = exp(x[i] - top);
            double *distance = malloc((n + 1) * sizeof *distance);
            for (size_t i = 0; i < n; i++) distance[i] = isinf(x[i]) ? 0 : fabs(x[i] - top);
            float *to = turn & 4 ? x : y;
            k->softmax(x, to, n);
            /* x - top is rounded, which exp turns into a relative error; then sum and quotient; subnormals may be 0 */
            for (size_t i = 0; i < n; i++)
                CHECK_CLOSE(to[i], want[i] / sum, EPS * (distance[i] + 12) * want[i] / sum + 0x1p-125, "softmax n=%zu i=%zu", n,
                            i);
            buffer_close(&in);
            buffer_close(&out);
            free(want);
            free(distance);
        }
    }
    float x[40], y[40];
    fill(x, 40, -1, 1);
    x[17] = NAN;
    k->softmax(x, y, 40);
    for (size_t i = 0; i < 40; i++) assert_true(isnan(y[i]));
}

static void test_softmax_gradient(void **state)
{
    const mmi_kernels *k = table(state);
    for (size_t s = 0; s < N_SIZES; s++) {
        for (int turn = 0; turn < 2; turn++) {
            const size_t n = SIZES[s];
            buffer in[3];
            float *y = floats_open(&in[0], n, turn), *dy = floats_open(&in[1], n, turn), *dx = floats_open(&in[2], n, turn), *to = turn ? dy : dx;
            double mean = 0, size = 0, *want = malloc((n + 1) * sizeof *want);
            fill(y, n, 0, 1);
            fill(dy, n, -3, 3);
            for (size_t i = 0; i < n; i++) {
                mean += (double)y[i] * dy[i];
                size += fabs((double)y[i] * dy[i]);
            }
            for (size_t i = 0; i < n; i++) want[i] = 0.7f * (double)y[i] * (dy[i] - mean);
            k->softmax_gradient(y, dy, 0.7f, to, n);
            for (size_t i = 0; i < n; i++) CHECK_CLOSE(to[i], want[i], EPS * (4 * fabs(want[i]) + 4 * (size + 3) * y[i]), "softmax gradient n=%zu i=%zu", n, i);
            for (int i = 0; i < 3; i++) buffer_close(&in[i]);
            free(want);
        }
    }
}

static void test_log_sum_exp(void **state)
{
    const mmi_kernels *k = table(state);
    for (size_t s = 0; s < N_SIZES; s++) {
        for (int turn = 0; turn < 4; turn++) {
            const size_t n = SIZES[s];
            const float scale = turn & 1 ? 0.4f : 1;
            double top = -INFINITY, sum = 0, want;
            buffer in;
            float *x = floats_open(&in, n, turn);
            if (!n) continue;
            if (turn & 2) fill(x, n, -1000, -900);
            else fill(x, n, -20, 20);
            if (n > 3) x[2] = -INFINITY;
            for (size_t i = 0; i < n; i++) top = fmax(top, x[i]);
            for (size_t i = 0; i < n; i++) sum += exp((x[i] - top) * scale);
            want = top * scale + log(sum);
            CHECK_CLOSE(k->log_sum_exp(x, scale, n), want, EPS * 40, "log of a sum n=%zu", n); /* of exponents up to 40 from the top */
            if (n > 3) x[3] = NAN;
            assert_true(n <= 3 || isnan(k->log_sum_exp(x, scale, n)));
            buffer_close(&in);
        }
    }
}

static void test_rope(void **state)
{
    const mmi_kernels *k = table(state);
    for (size_t s = 0; s < N_SIZES; s++) {
        for (int turn = 0; turn < 4; turn++) {
            const size_t half = SIZES[s];
            const int neox = turn / 2;
            buffer in, cb, sb;
            float *x = floats_open(&in, 2 * half, turn), *c = floats_open(&cb, half, turn), *sn = floats_open(&sb, half, turn);
            float *before = malloc((2 * half + 1) * sizeof *before);
            fill(x, 2 * half, -3, 3);
            for (size_t i = 0; i < half; i++) {
                const float angle = uniform(-3, 3);
                c[i] = cosf(angle);
                sn[i] = sinf(angle);
            }
            memcpy(before, x, 2 * half * sizeof *before);
            k->rope(x, c, sn, half, neox);
            for (size_t i = 0; i < half; i++) {
                const size_t ia = neox ? i : 2 * i, ib = neox ? half + i : 2 * i + 1;
                const double a = before[ia], b = before[ib], bound = 2 * EPS * (fabs(a) + fabs(b)); /* two products, one sum */
                CHECK_CLOSE(x[ia], a * c[i] - b * sn[i], bound, "rope half=%zu neox=%d i=%zu", half, neox, i);
                CHECK_CLOSE(x[ib], b * c[i] + a * sn[i], bound, "rope half=%zu neox=%d i=%zu", half, neox, i);
            }
            buffer_close(&in);
            buffer_close(&cb);
            buffer_close(&sb);
            free(before);
        }
    }
}

/* ---- conversions ---- */

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* binary16 by its definition: sign, 5 bits of exponent, 10 of fraction */
static double exact_f16(uint16_t h)
{
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const double size = exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY)
                        : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                       : ldexp(fraction, -24);
    return h & 0x8000 ? -size : size;
}

static void test_from_16bit(void **state)
{
    const mmi_kernels *k = table(state);
    static uint16_t h[65536];
    static float f[65536];
    for (size_t i = 0; i < 65536; i++) h[i] = (uint16_t)i;
    k->from_f16(h, f, 65536);
    for (size_t i = 0; i < 65536; i++) {
        const double want = exact_f16(h[i]);
        assert_true(isnan(want) ? isnan(f[i]) : f[i] == want && !signbit(f[i]) == !signbit(want));
    }
    k->from_bf16(h, f, 65536);
    for (size_t i = 0; i < 65536; i++) assert_int_equal(bits_of(f[i]), (uint32_t)h[i] << 16);
}

static void test_to_f16(void **state)
{
    const mmi_kernels *k = table(state);
    enum { N = 64 };
    for (int round = 0; round < 20000; round++) {
        float x[N];
        uint16_t h[N];
        for (size_t i = 0; i < N; i++) {
            uint32_t u = random_bits();
            if (i % 2) /* near halfway cases */
                u = (u & 0x80000000u) | ((103 + (u >> 4) % 42) << 23) | (random_bits() & 0x7ff000u) | (i % 4 == 3);
            x[i] = float_of(u);
        }
        k->to_f16(x, h, N);
        for (size_t i = 0; i < N; i++) {
            const double got = exact_f16(h[i]);
            if (isnan(x[i])) {
                assert_true(isnan(got));
            } else if (fabs(x[i]) >= 65520) { /* halfway from the largest number to the next that there would be */
                assert_true(got == (double)(x[i] > 0 ? INFINITY : -INFINITY));
            } else { /* no neighbour is nearer; of two as near the even one */
                const double off = fabs(got - x[i]), up = fabs(exact_f16((uint16_t)(h[i] + 1)) - x[i]);
                const double down = (h[i] & 0x7fff) ? fabs(exact_f16((uint16_t)(h[i] - 1)) - x[i]) : INFINITY;
                assert_true(off <= down && (off <= up || (h[i] & 0x7fff) == 0x7bff));
                if (off == down || off == up) assert_true(off == 0 || h[i] % 2 == 0);
                assert_true(!(h[i] & 0x8000) == !signbit(x[i]));
            }
        }
    }
}

static void test_conversion_sizes(void **state)
{
    const mmi_kernels *k = table(state);
    for (size_t s = 0; s < N_SIZES; s++) {
        for (int turn = 0; turn < 2; turn++) {
            const size_t n = SIZES[s];
            buffer in, out;
            uint16_t *h = buffer_open(&in, n * sizeof *h, sizeof *h, turn);
            float *f = floats_open(&out, n, turn);
            for (size_t i = 0; i < n; i++) h[i] = (uint16_t)(random_bits() & 0x3fff);
            k->from_bf16(h, f, n);
            for (size_t i = 0; i < n; i++) assert_int_equal(bits_of(f[i]), (uint32_t)h[i] << 16);
            k->from_f16(h, f, n);
            for (size_t i = 0; i < n; i++) assert_true(f[i] == exact_f16(h[i]));
            memset(h, 0, n * sizeof *h);
            k->to_f16(f, h, n);
            for (size_t i = 0; i < n; i++) assert_true(f[i] == exact_f16(h[i]));
            buffer_close(&in);
            buffer_close(&out);
        }
    }
}

/* ---- dot products ---- */

/* A vector of partial sums has at least 8 lanes and is one of two: n / 16 additions one after another, then five levels.
 * NEON has 4 lanes and is held to the same. */
static double dot_bound(size_t n, double absolute) { return EPS * ((double)n / 16 + 8) * absolute; }

static void test_dot(void **state)
{
    const mmi_kernels *k = table(state);
    for (size_t s = 0; s < N_SIZES; s++) {
        for (int turn = 0; turn < 2; turn++) {
            const size_t n = SIZES[s];
            buffer ab, bb;
            float *a = floats_open(&ab, n, turn), *b = floats_open(&bb, n, turn);
            double sum = 0, absolute = 0;
            fill(a, n, -2, 2);
            fill(b, n, -2, 2);
            for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i], absolute += fabs((double)a[i] * b[i]);
            CHECK_CLOSE(k->dot(a, b, n), sum, dot_bound(n, absolute), "dot n=%zu", n);
            if (n) {
                a[n - 1] = NAN;
                assert_true(isnan(k->dot(a, b, n)));
            }
            buffer_close(&ab);
            buffer_close(&bb);
        }
    }
}

static float weight_of(int32_t dtype, const void *w, size_t i)
{
    const uint16_t *h = w;
    return dtype == MM_DTYPE_F32   ? ((const float *)w)[i]
           : dtype == MM_DTYPE_F16 ? (float)exact_f16(h[i])
                                   : float_of((uint32_t)h[i] << 16);
}

static void test_matmul_rows(void **state)
{
    const mmi_kernels *k = table(state);
    static const int32_t dtypes[] = {MM_DTYPE_F32, MM_DTYPE_F16, MM_DTYPE_BF16};
    for (size_t t = 0; t < 3; t++) {
        const int32_t dtype = dtypes[t];
        const size_t element = dtype == MM_DTYPE_F32 ? sizeof(float) : sizeof(uint16_t);
        for (size_t s = 0; s < N_SIZES; s++) {
            for (size_t rows = 0; rows < 8; rows++) {
                for (size_t m = 1; m < 7; m++) {
                    const int turn = (int)(rows + m);
                    const size_t n = SIZES[s], stride = n + 3 * (m % 2), ldx = n + m % 3, ldy = rows + m % 2;
                    const size_t weights = rows ? (rows - 1) * stride + n : 0;
                    buffer wb, xb, yb, one_b;
                    void *w = buffer_open(&wb, weights * element, element, turn);
                    float *x = floats_open(&xb, (m - 1) * ldx + n, turn),
                          *y = floats_open(&yb, rows ? (m - 1) * ldy + rows : 0, turn);
                    float *one = floats_open(&one_b, rows, turn);
                    for (size_t i = 0; i < weights; i++) {
                        if (dtype == MM_DTYPE_F32) ((float *)w)[i] = uniform(-2, 2);
                        else
                            ((uint16_t *)w)[i] =
                                (uint16_t)((random_bits() & 0x8000u) | (dtype == MM_DTYPE_F16 ? 0x3400 + (random_bits() & 0x7ff)
                                                                                              : 0x3e80 + (random_bits() & 0xff)));
                    }
                    fill(x, (m - 1) * ldx + n, -2, 2);
                    k->matmul_rows(dtype, w, stride, rows, x, ldx, m, n, y, ldy);
                    for (size_t i = 0; i < m; i++) {
                        k->matmul_rows(dtype, w, stride, rows, x + i * ldx, n, 1, n, one, rows);
                        for (size_t r = 0; r < rows; r++) {
                            double sum = 0, absolute = 0;
                            for (size_t j = 0; j < n; j++) {
                                const double term = (double)weight_of(dtype, w, r * stride + j) * x[i * ldx + j];
                                sum += term;
                                absolute += fabs(term);
                            }
                            CHECK_CLOSE(y[i * ldy + r], sum, dot_bound(n, absolute), "matmul_rows dtype=%d n=%zu rows=%zu m=%zu",
                                        dtype, n, rows, m);
                            assert_int_equal(bits_of(y[i * ldy + r]), bits_of(one[r])); /* whatever m and rows are */
                            if (dtype == MM_DTYPE_F32)
                                assert_int_equal(bits_of(one[r]), bits_of(k->dot((float *)w + r * stride, x + i * ldx, n)));
                        }
                    }
                    buffer_close(&wb);
                    buffer_close(&xb);
                    buffer_close(&yb);
                    buffer_close(&one_b);
                }
            }
        }
    }
}

static void test_float_linear(void **state)
{
    const mmi_kernels *k = table(state);
    static const int32_t dtypes[] = {MM_DTYPE_F32, MM_DTYPE_F16, MM_DTYPE_BF16};
    static const size_t outputs[] = {1, 3, 8, 15, 16, 17, 40, 48, 49, 100};
    static const size_t rows_of_x[] = {1, 2, 3, 5, 6, 7, 8, 9, 13, 17, 33};
    for (size_t t = 0; t < 3; t++) {
        for (size_t s = 0; s < N_SIZES; s++) {
            for (size_t o = 0; o < sizeof outputs / sizeof *outputs; o++) {
                for (size_t i = 0; i < sizeof rows_of_x / sizeof *rows_of_x; i++) {
                    const int32_t dtype = dtypes[t];
                    const int turn = (int)(o + i);
                    const size_t element = dtype == MM_DTYPE_F32 ? sizeof(float) : sizeof(uint16_t), cols = SIZES[s], n = outputs[o], m = rows_of_x[i];
                    const size_t groups = (n + MMI_FLOAT_PACK_ROWS - 1) / MMI_FLOAT_PACK_ROWS, stride = cols + 3 * (i % 2), ldx = cols + i % 3, ldy = n + i % 2;
                    size_t bytes = 0;
                    buffer wb, pb, xb, yb;
                    assert_int_equal(mmi_float_pack_bytes(dtype, n, cols, &bytes), 0);
                    void *w = buffer_open(&wb, ((n - 1) * stride + cols) * element, element, turn), *packed = buffer_open(&pb, bytes, element, turn);
                    float *x = floats_open(&xb, (m - 1) * ldx + cols, turn), *y = floats_open(&yb, (m - 1) * ldy + n, turn);
                    float *one = malloc(n * sizeof *one);
                    for (size_t j = 0; j < (n - 1) * stride + cols; j++) {
                        if (dtype == MM_DTYPE_F32) ((float *)w)[j] = uniform(-2, 2);
                        else ((uint16_t *)w)[j] = (uint16_t)((random_bits() & 0x8000u) | (dtype == MM_DTYPE_F16 ? 0x3400 + (random_bits() & 0x7ff) : 0x3e80 + (random_bits() & 0xff)));
                    }
                    fill(x, (m - 1) * ldx + cols, -2, 2);
                    for (size_t g = 0; g < groups; g++)
                        k->float_pack(dtype, (char *)w + g * MMI_FLOAT_PACK_ROWS * stride * element, stride, g + 1 < groups ? MMI_FLOAT_PACK_ROWS : n - g * MMI_FLOAT_PACK_ROWS, cols,
                                      (char *)packed + g * mmi_float_group_bytes(dtype, cols));
                    mmi_float_tile tile = {dtype, packed, n, cols, 0, groups, x, ldx, m, y, ldy, 0, 0};
                    k->float_linear(&tile);
                    for (size_t r = 0; r < m; r++) {
                        for (size_t g = 0; g < groups; g++) { /* alone, group by group: the same bits */
                            mmi_float_tile single = {dtype, packed, n, cols, g, g + 1, x + r * ldx, ldx, 1, one, n, 0, 0};
                            k->float_linear(&single);
                        }
                        assert_memory_equal(one, y + r * ldy, n * sizeof *one);
                        for (size_t c = 0; c < n; c++) {
                            double sum = 0, absolute = 0;
                            for (size_t j = 0; j < cols; j++) {
                                const double term = (double)weight_of(dtype, w, c * stride + j) * x[r * ldx + j];
                                sum += term;
                                absolute += fabs(term);
                            }
                            CHECK_CLOSE(y[r * ldy + c], sum, EPS * (double)cols * absolute, "float_linear dtype=%d cols=%zu n=%zu m=%zu", dtype, cols, n, m);
                        }
                    }
                    buffer_close(&wb);
                    buffer_close(&pb);
                    buffer_close(&xb);
                    buffer_close(&yb);
                    free(one);
                }
            }
        }
    }
}

/* ---- attention ---- */

typedef struct {
    size_t rows, dim, value_dim, keys, value_stride;
    int32_t dtype;
    int causal, with_bias;
    float softcap;
    const float *queries[MMI_QUERY_TILE];
    float *outputs[MMI_QUERY_TILE];
    const float *bias[MMI_QUERY_TILE];
    int32_t first[MMI_QUERY_TILE], last[MMI_QUERY_TILE];
    float *k, *v; /* [keys, dim], [keys, value_dim], as the kernel sees them */
    void *packed, *values;
    buffer packed_memory, value_memory, scratch_memory, output_memory[MMI_QUERY_TILE];
    float *scratch;
} attention_case;

static float through(int32_t dtype, float x) { return dtype == MM_DTYPE_F16 ? (float)exact_f16(mmi_f32_to_f16(x)) : x; }

static void case_open(attention_case *c, const mmi_kernels *kernels)
{
    const size_t blocks = (c->keys + MMI_KEY_BLOCK - 1) / MMI_KEY_BLOCK,
                 element = c->dtype == MM_DTYPE_F16 ? sizeof(uint16_t) : sizeof(float);
    const size_t key_elements = blocks * MMI_KEY_BLOCK * c->dim, value_elements = blocks * MMI_KEY_BLOCK * c->value_stride;

    c->k = malloc(c->keys * c->dim * sizeof(float));
    c->v = malloc(c->keys * c->value_dim * sizeof(float));
    c->packed = buffer_open(&c->packed_memory, key_elements * element, element, 0);
    c->values = buffer_open(&c->value_memory, value_elements * element, element, 0);
    memset(c->packed, 0xff, key_elements * element); /* NaN in both types */
    memset(c->values, 0xff, value_elements * element);
    c->scratch = floats_open(&c->scratch_memory, mmi_attention_scratch(c->dim, c->value_dim), 0); /* whole lines: aligned to 64 */
    for (size_t i = 0; i < c->keys * c->dim; i++) c->k[i] = through(c->dtype, uniform(-2, 2));
    kernels->pack_keys(c->k, c->dim, c->keys, c->dim, c->dtype, c->packed, 0);
    for (size_t j = 0; j < c->keys; j++) {
        for (size_t i = 0; i < c->value_dim; i++) {
            const float x = c->v[j * c->value_dim + i] = through(c->dtype, uniform(-2, 2));
            if (c->dtype == MM_DTYPE_F16) ((uint16_t *)c->values)[j * c->value_stride + i] = mmi_f32_to_f16(x);
            else ((float *)c->values)[j * c->value_stride + i] = x;
        }
    }
    for (size_t r = 0; r < c->rows; r++) {
        float *q = malloc(c->dim * sizeof *q), *b = malloc(c->keys * sizeof *b);
        fill(q, c->dim, -2, 2);
        fill(b, c->keys, -3, 3);
        for (size_t j = 0; j < c->keys; j++)
            if (random_bits() % 4 == 0) b[j] = -INFINITY;
        c->queries[r] = q;
        c->bias[r] = b;
        c->outputs[r] = floats_open(&c->output_memory[r], c->value_dim, (int)r);
        memset(c->outputs[r], 0xff, c->value_dim * sizeof(float));
        if (!c->with_bias || r % 5 == 3) {
            free(b);
            c->bias[r] = NULL;
        }
        if (c->causal) {
            const size_t at = random_bits() % (c->keys + 1), window = 1 + random_bits() % 200;
            c->last[r] = (int32_t)at;
            c->first[r] = random_bits() % 2 && at > window ? (int32_t)(at - window) : 0;
            if (random_bits() % 8 == 0) c->first[r] = c->last[r]; /* sees nothing */
        } else {
            c->first[r] = 0;
            c->last[r] = (int32_t)c->keys;
        }
    }
}

static void case_close(attention_case *c)
{
    for (size_t r = 0; r < c->rows; r++) {
        free((void *)(uintptr_t)c->queries[r]);
        free((void *)(uintptr_t)c->bias[r]);
        buffer_close(&c->output_memory[r]);
    }
    free(c->k);
    free(c->v);
    buffer_close(&c->packed_memory);
    buffer_close(&c->value_memory);
    buffer_close(&c->scratch_memory);
}

static void case_call(const attention_case *c, const mmi_kernels *k, size_t from, size_t rows, float *const *outputs)
{
    const mmi_attention_tile tile = {.rows = rows,
                                     .dim = c->dim,
                                     .value_dim = c->value_dim,
                                     .queries = c->queries + from,
                                     .outputs = outputs + from,
                                     .keys = c->packed,
                                     .values = c->values,
                                     .value_stride = c->value_stride,
                                     .dtype = c->dtype,
                                     .first = c->first + from,
                                     .last = c->last + from,
                                     .bias = c->with_bias ? c->bias + from : NULL,
                                     .scale = 1 / sqrtf((float)c->dim),
                                     .softcap = c->softcap,
                                     .scratch = c->scratch};
    k->attention(&tile);
}

/* The same with scratch memory full of NaN. */
static void case_run(const attention_case *c, const mmi_kernels *k, size_t from, size_t rows, float *const *outputs)
{
    memset(c->scratch, 0xff, mmi_attention_scratch(c->dim, c->value_dim) * sizeof(float));
    case_call(c, k, from, rows, outputs);
}

/* y = a b and y += a b, whole and block by block, which gives the same bits; nothing beside a block is touched. */
static void test_product(void **state)
{
    const mmi_kernels *k = table(state);
    static const size_t sizes[][3] = {{1, 1, 1}, {16, 48, 7}, {33, 65, 40}, {70, 100, 19}, {8, 16, 0}, {17, 15, 64}}; /* m, cols, depth */
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int turn = 0; turn < 12; turn++) {
            const size_t m = sizes[s][0], cols = sizes[s][1], depth = sizes[s][2], ldb = (turn & 2 ? depth : cols) + 3, ldy = cols + 2;
            const mmi_product_form form = (mmi_product_form)(turn / 4);
            const size_t lda = form == MMI_A_ROWS ? depth + 1 : m + 5;
            buffer in[5];
            float *a = floats_open(&in[0], (form == MMI_A_ROWS ? m : depth) * lda, turn), *b = floats_open(&in[1], (turn & 2 ? cols : depth) * ldb, turn);
            float *pa = floats_open(&in[2], mmi_product_floats(depth, m), 0), *pb = floats_open(&in[3], mmi_product_floats(depth, cols), 0);
            float *y = floats_open(&in[4], m * ldy, turn), *blocks = malloc((m * ldy + 1) * sizeof *blocks);
            mmi_product p = {a, form == MMI_A_PACKED ? m : lda, form, pb, depth, cols, 0, m, 0, cols, y, ldy, turn & 1};
            fill(a, (form == MMI_A_ROWS ? m : depth) * lda, -2, 2);
            fill(b, (turn & 2 ? cols : depth) * ldb, -2, 2);
            for (size_t i = 0; i < m * ldy; i++) blocks[i] = y[i] = 1;
            if (turn & 2) mmi_product_pack_transpose(k, b, ldb, depth, cols, pb);
            for (size_t j = 0; j < depth && !(turn & 2); j++) mmi_product_pack(k, b + j * ldb, j, depth, cols, pb);
            for (size_t j = 0; j < depth && form == MMI_A_PACKED; j++) mmi_product_pack(k, a + j * lda, j, depth, m, pa);
            if (form == MMI_A_PACKED) p.a = pa;
            mmi_product_run(k, &p);
            p.y = blocks;
            for (size_t row = 0; row < m; row += 16)
                for (size_t col = 0; col < cols; col += 48) {
                    p.row0 = row;
                    p.row1 = row + 16 < m ? row + 16 : m;
                    p.col0 = col;
                    p.col1 = col + 48 < cols ? col + 48 : cols;
                    mmi_product_run(k, &p);
                }
            for (size_t r = 0; r < m; r++)
                for (size_t c = 0; c < ldy; c++) {
                    double sum = c >= cols || turn & 1, absolute = 1;
                    for (size_t j = 0; j < depth && c < cols; j++) {
                        const double term = (double)a[form == MMI_A_ROWS ? r * lda + j : j * lda + r] * b[turn & 2 ? c * ldb + j : j * ldb + c];
                        sum += term;
                        absolute += fabs(term);
                    }
                    CHECK_CLOSE(y[r * ldy + c], sum, dot_bound(depth + 1, absolute), "product turn=%d %zux%zux%zu at %zu %zu", turn, m, cols, depth, r, c);
                    if (k->level > MM_CPU_REFERENCE) assert_int_equal(bits_of(y[r * ldy + c]), bits_of(blocks[r * ldy + c])); /* cblas does not promise it */
                }
            for (int i = 0; i < 5; i++) buffer_close(&in[i]);
            free(blocks);
        }
    }
}

/* softmax(scores) V in float64, with all scores at once; y gets value_dim numbers. Returns the largest sum |q k| scale. */
static double exact_row(const attention_case *c, size_t r, double *y)
{
    double *s = malloc((c->keys + 1) * sizeof *s), top = -INFINITY, sum = 0, largest = 0;
    const double factor = 1 / sqrtf((float)c->dim);
    for (size_t j = 0; j < c->keys; j++) {
        double absolute = 0;
        s[j] = 0;
        for (size_t d = 0; d < c->dim; d++) {
            const double term = (double)c->queries[r][d] * c->k[j * c->dim + d];
            s[j] += term;
            absolute += fabs(term);
        }
        s[j] *= factor;
        largest = fmax(largest, absolute * factor);
        if (c->softcap > 0) s[j] = c->softcap * tanh(s[j] / c->softcap);
        if (c->with_bias && c->bias[r]) s[j] += c->bias[r][j];
        if ((int32_t)j < c->first[r] || (int32_t)j >= c->last[r]) s[j] = -INFINITY;
        top = fmax(top, s[j]);
    }
    for (size_t i = 0; i < c->value_dim; i++) y[i] = 0;
    for (size_t j = 0; j < c->keys; j++) {
        if (s[j] == -INFINITY) continue;
        const double p = exp(s[j] - top);
        sum += p;
        for (size_t i = 0; i < c->value_dim; i++) y[i] += p * c->v[j * c->value_dim + i];
    }
    for (size_t i = 0; i < c->value_dim; i++) y[i] = sum > 0 ? y[i] / sum : 0;
    free(s);
    return largest;
}

static void check_case(attention_case *c, const mmi_kernels *k)
{
    float *again[MMI_QUERY_TILE];
    double *want = malloc(c->value_dim * sizeof *want);

    case_open(c, k);
    case_run(c, k, 0, c->rows, c->outputs);
    for (size_t r = 0; r < c->rows; r++) {
        /* A score has up to dim roundings that grow like their root, and exp turns its error into a relative one; a weighted
         * sum has keys of them. Values are at most 2. */
        const double scores = exact_row(c, r, want);
        const double bound = 2 * EPS * ((sqrt((double)c->dim) + 4) * (scores + 4) + sqrt((double)c->keys) + 16);
        for (size_t i = 0; i < c->value_dim; i++)
            CHECK_CLOSE(c->outputs[r][i], want[i], bound,
                        "attention row %zu of %zu, dim %zu, value_dim %zu, keys %zu, dtype %d, seen %d..%d", r, c->rows, c->dim,
                        c->value_dim, c->keys, c->dtype, c->first[r], c->last[r]);
        again[r] = malloc(c->value_dim * sizeof(float));
    }
    for (size_t step = 1; step < c->rows; step = step * 2 + 1) { /* the same rows in tiles of 1, 3, 7, 15 */
        for (size_t r = 0; r < c->rows; r += step) case_run(c, k, r, c->rows - r < step ? c->rows - r : step, again);
        for (size_t r = 0; r < c->rows; r++) assert_memory_equal(again[r], c->outputs[r], c->value_dim * sizeof(float));
    }
    for (size_t r = 0; r < c->rows; r++) free(again[r]);
    free(want);
    case_close(c);
}

static void test_attention(void **state)
{
    static const size_t dims[] = {1, 3, 32, 64, 80, 128, 256};
    static const size_t keys[] = {1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 257, 300};
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        for (size_t n = 0; n < sizeof keys / sizeof *keys; n++) {
            for (int variant = 0; variant < 16; variant++) {
                attention_case c = {.rows = 1 + random_bits() % MMI_QUERY_TILE, .dim = dims[d], .keys = keys[n]};
                c.value_dim = variant % 3 == 0 ? dims[(d + 2) % 7] : dims[d];
                c.value_stride = c.value_dim + random_bits() % 3;
                c.dtype = variant & 1 ? MM_DTYPE_F16 : MM_DTYPE_F32;
                c.causal = variant & 2;
                c.with_bias = variant & 4;
                c.softcap = variant & 8 ? 5.0f : 0.0f;
                check_case(&c, table(state));
            }
        }
    }
}

static void test_attention_every_size(void **state)
{
    for (size_t rows = 1; rows <= MMI_QUERY_TILE; rows++) {
        for (size_t keys = 1; keys <= 130; keys += rows % 3 + 1) {
            attention_case c = {.rows = rows,
                                .dim = 8,
                                .value_dim = 20,
                                .value_stride = 20,
                                .keys = keys,
                                .causal = (int)(keys & 1),
                                .with_bias = (int)(keys & 2)};
            c.dtype = keys & 4 ? MM_DTYPE_F16 : MM_DTYPE_F32;
            check_case(&c, table(state));
        }
    }
}

/* A key or value that a row sees and that is NaN shows; one that it does not see never does. */
static void test_attention_nan(void **state)
{
    const mmi_kernels *k = table(state);
    attention_case c = {.rows = 6, .dim = 16, .value_dim = 16, .value_stride = 16, .keys = 200, .dtype = MM_DTYPE_F32};
    case_open(&c, k);
    float *key = (float *)c.packed + 1 * MMI_KEY_BLOCK * c.dim + (100 - MMI_KEY_BLOCK); /* element 0 of key 100 */
    ((float *)c.values)[150 * 16 + 3] = NAN;
    *key = NAN;
    const int32_t first[6] = {0, 0, 101, 0, 101, 151}, last[6] = {100, 101, 150, 151, 151, 200};
    memcpy(c.first, first, sizeof first);
    memcpy(c.last, last, sizeof last);
    case_run(&c, k, 0, 6, c.outputs);
    for (size_t r = 0; r < 6; r++) {
        for (size_t i = 0; i < 16; i++) {
            const int expected = r == 1 || r == 3 || (r == 4 && i == 3);
            assert_int_equal(isnan(c.outputs[r][i]), expected);
        }
    }
    case_close(&c);

    attention_case hidden = {
        .rows = 2, .dim = 16, .value_dim = 16, .value_stride = 16, .keys = 70, .dtype = MM_DTYPE_F32, .with_bias = 1};
    case_open(&hidden, k);
    ((float *)hidden.packed)[20] = NAN; /* key 20, hidden from row 0 alone */
    float *bias = (float *)(uintptr_t)hidden.bias[0];
    bias[20] = -INFINITY;
    bias[21] = 0;
    free((void *)(uintptr_t)hidden.bias[1]);
    hidden.bias[1] = NULL;
    case_run(&hidden, k, 0, 2, hidden.outputs);
    for (size_t i = 0; i < 16; i++) {
        assert_false(isnan(hidden.outputs[0][i]));
        assert_true(isnan(hidden.outputs[1][i]));
    }
    for (size_t j = 0; j < 70; j++) bias[j] = -INFINITY; /* all hidden: zeros */
    case_run(&hidden, k, 0, 1, hidden.outputs);
    for (size_t i = 0; i < 16; i++) assert_true(hidden.outputs[0][i] == 0);
    case_close(&hidden);
}

static void test_pack_keys(void **state)
{
    const mmi_kernels *k = table(state), *ref = &tables[MM_CPU_REFERENCE];
    static const size_t dims[] = {1, 3, 8, 15, 16, 17, 64, 80};
    static const int32_t dtypes[] = {MM_DTYPE_F32, MM_DTYPE_F16};
    for (size_t t = 0; t < 2; t++) {
        for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
            for (size_t s = 0; s < N_SIZES - 1; s++) {
                for (size_t position = 0; position < 140; position += 1 + random_bits() % 19) {
                    const size_t dim = dims[d], n = SIZES[s], stride = dim + random_bits() % 3,
                                 element = t ? sizeof(uint16_t) : sizeof(float);
                    const size_t bytes = (position + n + MMI_KEY_BLOCK - 1) / MMI_KEY_BLOCK * MMI_KEY_BLOCK * dim * element;
                    buffer xb, yb;
                    float *x = floats_open(&xb, n ? (n - 1) * stride + dim : 0, (int)position);
                    void *y = buffer_open(&yb, bytes, element, (int)position), *want = malloc(bytes + 1);
                    fill(x, n ? (n - 1) * stride + dim : 0, -2, 2);
                    memset(y, 0x11, bytes);
                    memset(want, 0x11, bytes);
                    k->pack_keys(x, stride, n, dim, dtypes[t], y, position);
                    ref->pack_keys(x, stride, n, dim, dtypes[t], want, position);
                    if (bytes) assert_memory_equal(y, want, bytes);
                    buffer_close(&xb);
                    buffer_close(&yb);
                    free(want);
                }
            }
        }
    }
    /* the layout of kernels.h, spelled out */
    float x[3 * 2] = {1, 2, 3, 4, 5, 6}, y[2 * 2 * MMI_KEY_BLOCK] = {0};
    k->pack_keys(x, 2, 3, 2, MM_DTYPE_F32, y, 62);
    assert_true(y[62] == 1 && y[64 + 62] == 2 && y[63] == 3 && y[64 + 63] == 4 && y[128] == 5 && y[128 + 64] == 6);
}

/* ---- steps of optimizers ---- */

/* The reference in bits, for every member of mmi_update and every sign; against mathematics in tests/unit/test_optimizer.c. */
static void test_updates(void **state)
{
    const mmi_kernels *k = table(state), *ref = &tables[MM_CPU_REFERENCE];
    const mmi_update_fn have[] = {k->adamw, k->sgd, k->sgd, k->sgd, k->lion, k->adafactor};
    const mmi_update_fn want[] = {ref->adamw, ref->sgd, ref->sgd, ref->sgd, ref->lion, ref->adafactor};
    enum { G, W, M, V, ARRAYS };

    for (size_t c = 0; c < sizeof have / sizeof *have; c++) {
        for (size_t s = 0; s < N_SIZES * 2; s++) {
            const size_t n = SIZES[s / 2];
            const mmi_update u = {0.7f, 0.99f, 0.013f, 0.003f, 0.9f, 0.1f, 0.97f, 0.03f, 1.3f, 1e-8f, c == 2};
            buffer b[ARRAYS];
            float *x[ARRAYS], *copy[ARRAYS];
            for (int i = 0; i < ARRAYS; i++) {
                x[i] = floats_open(&b[i], n, (int)s);
                fill(x[i], n, i == V ? 0 : -2, 2);
                if (i != W && i != V && n > 2) x[i][2] = 0; /* no sign for Lion */
                copy[i] = malloc((n + 1) * sizeof(float));
                memcpy(copy[i], x[i], n * sizeof(float));
            }
            have[c](&u, x[G], x[W], c == 3 ? NULL : x[M], x[V], n);
            want[c](&u, copy[G], copy[W], c == 3 ? NULL : copy[M], copy[V], n);
            for (int i = 0; i < ARRAYS; i++) {
                for (size_t j = 0; j < n; j++) {
                    if (bits_of(x[i][j]) != bits_of(copy[i][j])) fail_msg("update %zu, array %d, element %zu of %zu: %a, not %a", c, i, j, n, x[i][j], copy[i][j]);
                }
                buffer_close(&b[i]);
                free(copy[i]);
            }
        }
    }
}

/* Float64 sums of the same float products: equal but for the order. Large numbers, whose squares no float holds. */
static void test_squares(void **state)
{
    const mmi_kernels *k = table(state);

    for (size_t s = 0; s < N_SIZES * 4; s++) {
        const size_t n = SIZES[s / 4];
        const float large = s % 4 < 2 ? 3 : 1e30f;
        buffer in[3];
        float *a = floats_open(&in[0], n, (int)s), *b = floats_open(&in[1], n, (int)s), *columns = floats_open(&in[2], n, (int)s);
        double plain = 0, both = 0, scaled = 0;
        fill(a, n, -large, large);
        fill(b, n, -1, 1);
        for (size_t i = 0; i < n; i++) {
            const float product = a[i] * b[i], y = 0.3f * a[i];
            columns[i] = 1;
            plain += (double)a[i] * a[i];
            both += (double)product * product;
            scaled += (double)y * y;
        }
        CHECK_CLOSE(k->sum_squares(a, NULL, n), plain, 1e-12 * plain, "squares n=%zu", n);
        CHECK_CLOSE(k->sum_squares(a, b, n), both, 1e-12 * both, "squares of products n=%zu", n);
        CHECK_CLOSE(k->column_squares(a, 0.3f, columns, n), scaled, 1e-12 * scaled, "sum of column squares n=%zu", n);
        for (size_t i = 0; i < n; i++) {
            const float y = 0.3f * a[i], square = y * y;
            CHECK_CLOSE(columns[i], 1 + square, 0, "column squares n=%zu i=%zu", n, i);
        }
        for (int i = 0; i < 3; i++) buffer_close(&in[i]);
    }
}

/* ---- the list and the bench ---- */

#define ENTRIES(X)                                                                                                      \
    X(add)                                                                                                              \
    X(mul) X(scale) X(activate) X(gate) X(layer_norm) X(rms_norm) X(activate_gradient) X(gate_gradient) \
        X(layer_norm_gradient) X(rms_norm_gradient) X(softmax_gradient) X(log_sum_exp) X(softmax) X(dot) X(rope) X(from_f16) \
        X(from_bf16) X(to_f16) X(matmul_rows) X(float_linear) X(attention) X(pack_keys) X(adamw) X(sgd) X(lion) X(adafactor) \
        X(sum_squares) X(column_squares)

static void list(int best)
{
#define SHOW(entry)                                                              \
    do {                                                                         \
        int from = best;                                                         \
        while (from > 0 && tables[from - 1].entry == tables[best].entry) from--; \
        printf("%-20s %s\n", #entry, mmi_cpu_level_name(from));                  \
    } while (0);
    ENTRIES(SHOW)
#undef SHOW
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum { BENCH_FLOATS = 4 << 20 };

typedef struct {
    float *a, *b, *c, *y;
    float cosines[32], sines[32];
    uint16_t *h;
    attention_case prefill, decode;
    mmi_activation act;
} bench_data;

static void b_add(const mmi_kernels *k, bench_data *d) { k->add(d->a, d->b, d->y, 1536); }
static void b_activate(const mmi_kernels *k, bench_data *d) { k->activate(d->act, d->a, d->y, 1536); }
static void b_gate(const mmi_kernels *k, bench_data *d) { k->gate(MMI_ACT_SILU, d->a, d->b, d->y, 1536); }
static void b_layer_norm(const mmi_kernels *k, bench_data *d) { k->layer_norm(d->a, d->b, d->c, 1e-5f, d->y, 384); }
static void b_rms_norm(const mmi_kernels *k, bench_data *d) { k->rms_norm(d->a, d->b, 0, 1e-5f, d->y, 576); }
static void b_softmax(const mmi_kernels *k, bench_data *d) { k->softmax(d->a, d->y, 1000); }
static void b_dot(const mmi_kernels *k, bench_data *d) { d->y[0] = k->dot(d->a, d->b, 576); }
static void b_rope(const mmi_kernels *k, bench_data *d) { k->rope(d->y, d->cosines, d->sines, 32, 1); }
static void b_rope_pairs(const mmi_kernels *k, bench_data *d) { k->rope(d->y, d->cosines, d->sines, 32, 0); }
static void b_adamw(const mmi_kernels *k, bench_data *d)
{
    const mmi_update u = {.scale = 1, .keep = 1, .beta1 = 0.9f, .rest1 = 0.1f, .beta2 = 0.99f, .rest2 = 0.01f, .root = 1, .eps = 1e-8f};
    k->adamw(&u, d->a, d->b, d->c, d->y, 1536);
}
static void b_sum_squares(const mmi_kernels *k, bench_data *d) { d->y[0] = (float)k->sum_squares(d->a, NULL, 1536); }
static void b_from_f16(const mmi_kernels *k, bench_data *d) { k->from_f16(d->h, d->y, 1536); }
static void b_to_f16(const mmi_kernels *k, bench_data *d) { k->to_f16(d->a, d->h, 1536); }
static void b_matvec_f32(const mmi_kernels *k, bench_data *d)
{
    k->matmul_rows(MM_DTYPE_F32, d->b, 1024, BENCH_FLOATS / 1024, d->a, 1024, 1, 1024, d->y, BENCH_FLOATS / 1024);
}
static void b_matvec_f16(const mmi_kernels *k, bench_data *d)
{
    k->matmul_rows(MM_DTYPE_F16, d->h, 1024, BENCH_FLOATS / 1024, d->a, 1024, 1, 1024, d->y, BENCH_FLOATS / 1024);
}
static void b_matvec_bf16(const mmi_kernels *k, bench_data *d)
{
    k->matmul_rows(MM_DTYPE_BF16, d->h, 1024, BENCH_FLOATS / 1024, d->a, 1024, 1, 1024, d->y, BENCH_FLOATS / 1024);
}
static void b_matmul_4(const mmi_kernels *k, bench_data *d)
{
    k->matmul_rows(MM_DTYPE_F32, d->b, 1024, BENCH_FLOATS / 1024, d->a, 1024, 4, 1024, d->y, BENCH_FLOATS / 1024);
}
static void b_matmul_4_f16(const mmi_kernels *k, bench_data *d)
{
    k->matmul_rows(MM_DTYPE_F16, d->h, 1024, BENCH_FLOATS / 1024, d->a, 1024, 4, 1024, d->y, BENCH_FLOATS / 1024);
}
static void b_pack_block(const mmi_kernels *k, bench_data *d) { k->pack_keys(d->a, 64, 64, 64, MM_DTYPE_F32, d->y, 0); }
static void b_pack_one(const mmi_kernels *k, bench_data *d) { k->pack_keys(d->a, 64, 1, 64, MM_DTYPE_F16, d->y, 33); }
static void b_prefill(const mmi_kernels *k, bench_data *d) { case_call(&d->prefill, k, 0, d->prefill.rows, d->prefill.outputs); }
static void b_decode(const mmi_kernels *k, bench_data *d) { case_call(&d->decode, k, 0, d->decode.rows, d->decode.outputs); }

typedef struct {
    const char *name;
    void (*run)(const mmi_kernels *k, bench_data *d);
    mmi_activation act;
    double flops, bytes; /* of a call, 0: not shown */
} bench_row;

static const bench_row BENCH[] = {
    {"add 1536", b_add, 0, 0, 0},
    {"relu 1536", b_activate, MMI_ACT_RELU, 0, 0},
    {"gelu 1536", b_activate, MMI_ACT_GELU, 0, 0},
    {"gelu_tanh 1536", b_activate, MMI_ACT_GELU_TANH, 0, 0},
    {"quick_gelu 1536", b_activate, MMI_ACT_QUICK_GELU, 0, 0},
    {"silu 1536", b_activate, MMI_ACT_SILU, 0, 0},
    {"tanh 1536", b_activate, MMI_ACT_TANH, 0, 0},
    {"gate silu 1536", b_gate, 0, 0, 0},
    {"layer_norm 384", b_layer_norm, 0, 0, 0},
    {"rms_norm 576", b_rms_norm, 0, 0, 0},
    {"softmax 1000", b_softmax, 0, 0, 0},
    {"dot 576", b_dot, 0, 0, 0},
    {"rope 2 x 32 halves", b_rope, 0, 0, 0},
    {"rope 2 x 32 pairs", b_rope_pairs, 0, 0, 0},
    {"adamw 1536", b_adamw, 0, 0, 0},
    {"sum_squares 1536", b_sum_squares, 0, 0, 0},
    {"from_f16 1536", b_from_f16, 0, 0, 0},
    {"to_f16 1536", b_to_f16, 0, 0, 0},
    {"matvec f32 4096x1024", b_matvec_f32, 0, 2.0 * BENCH_FLOATS, 4.0 * BENCH_FLOATS},
    {"matvec f16 4096x1024", b_matvec_f16, 0, 2.0 * BENCH_FLOATS, 2.0 * BENCH_FLOATS},
    {"matvec bf16 4096x1024", b_matvec_bf16, 0, 2.0 * BENCH_FLOATS, 2.0 * BENCH_FLOATS},
    {"matmul_rows f32, m=4", b_matmul_4, 0, 8.0 * BENCH_FLOATS, 4.0 * BENCH_FLOATS},
    {"matmul_rows f16, m=4", b_matmul_4_f16, 0, 8.0 * BENCH_FLOATS, 2.0 * BENCH_FLOATS},
    {"attention 16x257 D64 f32", b_prefill, 0, 4.0 * 16 * 257 * 64, 0},
    {"attention 3x4096 D64 f16", b_decode, 0, 4.0 * 3 * 4096 * 64, 4096.0 * 64 * 2 * 2},
    {"pack_keys 64 D64 f32", b_pack_block, 0, 0, 0},
    {"pack_keys 1 D64 f16", b_pack_one, 0, 0, 0},
};

/* The least of many calls: other work on the machine only ever adds. */
static double time_of(const bench_row *row, const mmi_kernels *k, bench_data *d)
{
    double best = 1e9, began = now();
    d->act = row->act;
    for (int calls = 0; now() - began < 0.1 || calls < 3; calls++) {
        double t = now();
        int inner = row->bytes > 0 ? 1 : 16;
        for (int i = 0; i < inner; i++) row->run(k, d);
        t = (now() - t) / inner;
        if (t < best) best = t;
    }
    return best;
}

static void bench(int best_level)
{
    bench_data d = {0};
    float **arrays[] = {&d.a, &d.b, &d.c, &d.y};
    for (size_t i = 0; i < 4; i++) {
        *arrays[i] = aligned_alloc(64, BENCH_FLOATS * sizeof(float));
        fill(*arrays[i], BENCH_FLOATS, -1, 1);
    }
    for (int i = 0; i < 32; i++) { /* a rotation, so that calls in a row neither grow nor shrink x */
        d.cosines[i] = cosf((float)i);
        d.sines[i] = sinf((float)i);
    }
    d.h = aligned_alloc(64, BENCH_FLOATS * sizeof(uint16_t));
    tables[best_level].to_f16(d.a, d.h, BENCH_FLOATS);
    d.prefill = (attention_case){.rows = 16, .dim = 64, .value_dim = 64, .value_stride = 64, .keys = 257, .dtype = MM_DTYPE_F32};
    d.decode = (attention_case){.rows = 3, .dim = 64, .value_dim = 64, .value_stride = 64, .keys = 4096, .dtype = MM_DTYPE_F16};
    case_open(&d.prefill, &tables[0]);
    case_open(&d.decode, &tables[0]);
    printf("%-26s %12s", "ns per call", "reference");
    for (int level = 1; level <= best_level && level <= MM_CPU_AVX512; level++) printf(" %22s", mmi_cpu_level_name(level));
    printf("\n");
    for (size_t i = 0; i < sizeof BENCH / sizeof *BENCH; i++) {
        const double ref = time_of(&BENCH[i], &tables[0], &d);
        printf("%-26s %12.0f", BENCH[i].name, ref * 1e9);
        for (int level = 1; level <= best_level && level <= MM_CPU_AVX512; level++) {
            const double t = time_of(&BENCH[i], &tables[level], &d);
            printf(" %12.0f (%6.1fx)", t * 1e9, ref / t);
            if (level == best_level || level == MM_CPU_AVX512) {
                if (BENCH[i].flops > 0) printf("  %.1f GFLOP/s", BENCH[i].flops / t * 1e-9);
                if (BENCH[i].bytes > 0) printf("  %.1f GB/s", BENCH[i].bytes / t * 1e-9);
            }
        }
        printf("\n");
        fflush(stdout);
    }
    case_close(&d.prefill);
    case_close(&d.decode);
    for (size_t i = 0; i < 4; i++) free(*arrays[i]);
    free(d.h);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        CMUnitTestFunction run;
    } TESTS[] = {
        {"elementwise", test_elementwise},
        {"activations", test_activations},
        {"activation_edges", test_activation_edges},
        {"layer_norm", test_layer_norm},
        {"rms_norm", test_rms_norm},
        {"softmax", test_softmax},
        {"product", test_product},
        {"softmax gradient", test_softmax_gradient},
        {"log of a sum", test_log_sum_exp},
        {"rope", test_rope},
        {"from_16bit", test_from_16bit},
        {"to_f16", test_to_f16},
        {"conversion_sizes", test_conversion_sizes},
        {"dot", test_dot},
        {"matmul_rows", test_matmul_rows},
        {"float_linear", test_float_linear},
        {"attention", test_attention},
        {"attention_every_size", test_attention_every_size},
        {"attention_nan", test_attention_nan},
        {"pack_keys", test_pack_keys},
        {"updates", test_updates},
        {"squares", test_squares},
    };
    enum { N_TESTS = sizeof TESTS / sizeof *TESTS };
    const int best = mmi_cpu_best_level();
    int failed = 0;

    for (int level = 0; level <= best; level++) mmi_kernels_init(&tables[level], level);
    if (argc > 1 && !strcmp(argv[1], "--list")) {
        list(best);
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "--bench")) {
        bench(best);
        return 0;
    }
    for (int level = 0; level <= best && level <= MM_CPU_AVX512; level++) { /* no float kernel needs more */
        struct CMUnitTest tests[N_TESTS] = {0};
        for (size_t i = 0; i < N_TESTS; i++)
            tests[i] = (struct CMUnitTest){TESTS[i].name, TESTS[i].run, NULL, NULL, &tables[level]};
        failed += _cmocka_run_group_tests(mmi_cpu_level_name(level), tests, N_TESTS, NULL, NULL);
    }
    return failed != 0;
}
