/* SPDX-License-Identifier: MIT */
#include "blas.h"

#include <cblas.h>
#include <pthread.h>

/* OpenBLAS only; NULL with another library. */
extern int openblas_get_num_threads(void) __attribute__((weak));
extern void openblas_set_num_threads(int threads) __attribute__((weak));

/* The one piece of global state in libmm, because what it guards is global: OpenBLAS has one thread count for the process. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t entered; /* calls of mmi_blas_enter without their mmi_blas_leave, of all threads */
static int host_threads; /* what the first of them found */

void mmi_blas_enter(void)
{
    if (!openblas_get_num_threads || !openblas_set_num_threads) return;
    pthread_mutex_lock(&lock);
    if (entered++ == 0) {
        host_threads = openblas_get_num_threads();
        if (host_threads != 1) openblas_set_num_threads(1);
    }
    pthread_mutex_unlock(&lock);
}

void mmi_blas_leave(void)
{
    if (!openblas_get_num_threads || !openblas_set_num_threads) return;
    pthread_mutex_lock(&lock);
    /* A count other than 1 was set by the host in between: it stays. */
    if (--entered == 0 && host_threads != 1 && openblas_get_num_threads() == 1) openblas_set_num_threads(host_threads);
    pthread_mutex_unlock(&lock);
}

/* cblas wants a row distance of at least 1 even where there are no columns, and prints when it is less. */
static int distance(size_t ld) { return ld ? (int)ld : 1; }

void mmi_blas_gemm(int transpose_a, int transpose_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                   const float *b, size_t ldb, float beta, float *y, size_t ldy)
{
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans, (int)m, (int)n,
                (int)k, alpha, a, distance(lda), b, distance(ldb), beta, y, distance(ldy));
}

void mmi_blas_gemm_f64(size_t m, size_t n, size_t k, const double *a, size_t lda, const double *b, size_t ldb, double *y, size_t ldy)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1.0, a, distance(lda), b, distance(ldb), 0.0, y,
                distance(ldy));
}
