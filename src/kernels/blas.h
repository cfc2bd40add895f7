/* Matrix products through cblas; the one file that includes cblas.h.
 *
 * Each call computes on the caller's thread alone: our pool splits the work. BLAS threads are process-wide state of the
 * host, so between mmi_blas_enter and mmi_blas_leave OpenBLAS is told to use one thread and then given back its count;
 * overlapping calls from several contexts nest. SPDX-License-Identifier: MIT */
#ifndef MMI_BLAS_H
#define MMI_BLAS_H

#include <stddef.h>

void mmi_blas_enter(void);
void mmi_blas_leave(void);

/* y[m, n] = alpha * a[m, k] x b + beta * y, where b is [n, k] when transpose_b, else [k, n], and a is [m, k], or [k, m] when
 * transpose_a. lda, ldb, ldy: distance of rows. Sizes must fit in an int. */
void mmi_blas_gemm(int transpose_a, int transpose_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                   const float *b, size_t ldb, float beta, float *y, size_t ldy);
/* y[m, n] = a[m, k] x b[k, n] in float64, for what float32 is too coarse for. */
void mmi_blas_gemm_f64(size_t m, size_t n, size_t k, const double *a, size_t lda, const double *b, size_t ldb, double *y, size_t ldy);

#endif
