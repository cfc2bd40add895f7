/* Matrix products against plain loops in float64, and the host's thread count, which must come back.
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "blas.h"

/* OpenBLAS only */
extern int openblas_get_num_threads(void) __attribute__((weak));
extern void openblas_set_num_threads(int threads) __attribute__((weak));

static unsigned seed = 1;

static float random_float(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) * 0x1p-23f - 1.0f;
}

static float *random_matrix(size_t rows, size_t ld)
{
    float *x = malloc((rows * ld + 1) * sizeof *x);
    for (size_t i = 0; i < rows * ld; i++) x[i] = random_float();
    return x;
}

static void check(int ta, int tb, size_t m, size_t n, size_t k, float alpha, float beta)
{
    const size_t lda = (ta ? m : k) + 3, ldb = (tb ? k : n) + 2, ldy = n + 1;
    float *a = random_matrix(ta ? k : m, lda), *b = random_matrix(tb ? n : k, ldb), *y = random_matrix(m, ldy);
    float *before = malloc((m * ldy + 1) * sizeof *before);

    memcpy(before, y, m * ldy * sizeof *y);
    mmi_blas_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, y, ldy);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0, absolute = 0;
            for (size_t l = 0; l < k; l++) {
                const double term =
                    (double)(ta ? a[l * lda + i] : a[i * lda + l]) * (double)(tb ? b[j * ldb + l] : b[l * ldb + j]);
                sum += term;
                absolute += fabs(term);
            }
            const double want = alpha * sum + (beta != 0 ? (double)beta * before[i * ldy + j] : 0);
            /* one rounding for each of the k sums at worst, and three for alpha and beta */
            const double bound = 0x1p-24 * ((double)k * fabs(alpha) * absolute + 3 * (fabs(alpha) * absolute + fabs(beta)));
            if (!(fabs(y[i * ldy + j] - want) <= bound))
                fail_msg("%zu x %zu x %zu at %zu, %zu: %g, expected %g", m, n, k, i, j, (double)y[i * ldy + j], want);
        }
        assert_true(y[i * ldy + n] == before[i * ldy + n]);
    }
    free(a);
    free(b);
    free(y);
    free(before);
}

static void check_f64(size_t m, size_t n, size_t k)
{
    const size_t lda = k + 3, ldb = n + 2, ldy = n + 1;
    double *a = malloc(m * lda * sizeof *a), *b = malloc(k * ldb * sizeof *b), *y = malloc(m * ldy * sizeof *y);

    for (size_t i = 0; i < m * lda; i++) a[i] = (double)random_float();
    for (size_t i = 0; i < k * ldb; i++) b[i] = (double)random_float() / 3;
    for (size_t i = 0; i < m * ldy; i++) y[i] = 7;
    mmi_blas_gemm_f64(m, n, k, a, lda, b, ldb, y, ldy);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            long double sum = 0;
            for (size_t l = 0; l < k; l++) sum += (long double)a[i * lda + l] * (long double)b[l * ldb + j];
            assert_true(fabsl((long double)y[i * ldy + j] - sum) <= 0x1p-53L * (long double)(k * k));
        }
        assert_true(y[i * ldy + n] == 7);
    }
    free(a);
    free(b);
    free(y);
}

static void test_products_f64(void **state)
{
    (void)state;
    check_f64(1, 1, 1);
    check_f64(3, 7, 2);
    check_f64(64, 101, 101);
    check_f64(5, 64, 130);
}

static void test_products(void **state)
{
    static const size_t sizes[] = {1, 2, 7, 16, 33, 64, 130};
    (void)state;
    for (int t = 0; t < 4; t++) {
        for (size_t i = 0; i < 7; i++) {
            for (size_t j = 0; j < 7; j++) {
                for (size_t l = 0; l < 7; l++) check(t & 1, t & 2, sizes[i], sizes[j], sizes[l], 1.0f, 0.0f);
            }
            check(t & 1, t & 2, sizes[i], 20, sizes[6 - i], 0.5f, 1.0f);
            check(t & 1, t & 2, sizes[i], 20, sizes[6 - i], -2.0f, 0.25f);
        }
    }
}

/* Old contents are overwritten, not multiplied by 0. */
static void test_overwrites_nan(void **state)
{
    float a[4] = {1, 2, 3, 4}, y[4] = {NAN, INFINITY, NAN, -INFINITY};
    (void)state;
    mmi_blas_gemm(0, 1, 2, 2, 2, 1.0f, a, 2, a, 2, 0.0f, y, 2);
    assert_true(y[0] == 5 && y[1] == 11 && y[2] == 11 && y[3] == 25);
}

static void test_empty(void **state)
{
    float a[4] = {1, 2, 3, 4}, y[4] = {1, 2, 3, 4};
    (void)state;
    mmi_blas_gemm(0, 1, 0, 2, 2, 1.0f, a, 2, a, 2, 0.0f, y, 2);
    mmi_blas_gemm(0, 1, 2, 0, 2, 1.0f, a, 2, a, 2, 0.0f, y, 0);
    assert_true(y[0] == 1 && y[1] == 2 && y[2] == 3 && y[3] == 4);
    mmi_blas_gemm(0, 1, 2, 2, 0, 1.0f, a, 0, a, 0, 0.0f, y, 2);
    assert_true(y[0] == 0 && y[1] == 0 && y[2] == 0 && y[3] == 0);
}

static void test_threads_come_back(void **state)
{
    (void)state;
    if (!openblas_set_num_threads) skip();
    openblas_set_num_threads(2);
    mmi_blas_enter();
    assert_int_equal(openblas_get_num_threads(), 1);
    mmi_blas_enter();
    mmi_blas_leave();
    assert_int_equal(openblas_get_num_threads(), 1);
    mmi_blas_leave();
    assert_int_equal(openblas_get_num_threads(), 2);
    mmi_blas_enter();
    openblas_set_num_threads(3); /* the host's own wish counts */
    mmi_blas_leave();
    assert_int_equal(openblas_get_num_threads(), 3);
    openblas_set_num_threads(1);
    mmi_blas_enter();
    mmi_blas_leave();
    assert_int_equal(openblas_get_num_threads(), 1);
}

typedef struct {
    const float *a, *b;
    float *y;
    int wrong;
} job;

enum { M = 60, N = 70, K = 80, ROUNDS = 200 };

static void *multiply(void *arg)
{
    job *j = arg;
    for (int i = 0; i < ROUNDS; i++) {
        mmi_blas_enter();
        if (openblas_get_num_threads && openblas_get_num_threads() != 1) j->wrong = 1;
        mmi_blas_gemm(0, 1, M, N, K, 1.0f, j->a, K, j->b, K, 0.0f, j->y, N);
        mmi_blas_leave();
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    float *a = random_matrix(M, K), *b = random_matrix(N, K), *want = random_matrix(M, N);
    job jobs[2] = {{a, b, random_matrix(M, N), 0}, {a, b, random_matrix(M, N), 0}};
    pthread_t thread;

    (void)state;
    if (openblas_set_num_threads) openblas_set_num_threads(2);
    mmi_blas_enter();
    mmi_blas_gemm(0, 1, M, N, K, 1.0f, a, K, b, K, 0.0f, want, N);
    mmi_blas_leave();
    assert_int_equal(pthread_create(&thread, NULL, multiply, &jobs[0]), 0);
    multiply(&jobs[1]);
    pthread_join(thread, NULL);
    if (openblas_get_num_threads) assert_int_equal(openblas_get_num_threads(), 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(jobs[i].wrong, 0);
        assert_memory_equal(jobs[i].y, want, sizeof *want * M * N);
        free(jobs[i].y);
    }
    free(a);
    free(b);
    free(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_products_f64),          cmocka_unit_test(test_overwrites_nan), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_threads_come_back), cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests_name("blas", tests, NULL, NULL);
}
