/* What src/kernels/blas.c takes of cblas, in plain C: `make check-arm` needs no BLAS library for aarch64.
 * SPDX-License-Identifier: MIT */
#ifndef CBLAS_H
#define CBLAS_H

enum { CblasRowMajor, CblasNoTrans, CblasTrans };

#define PRODUCT(name, real)                                                                                                          \
    static inline void name(int order, int at, int bt, int m, int n, int k, real alpha, const real *a, int lda, const real *b,       \
                            int ldb, real beta, real *y, int ldy)                                                                    \
    {                                                                                                                                \
        (void)order;                                                                                                                 \
        for (int i = 0; i < m; i++) {                                                                                                \
            for (int o = 0; o < n; o++) {                                                                                            \
                real sum = 0;                                                                                                        \
                for (int j = 0; j < k; j++)                                                                                          \
                    sum += a[at == CblasTrans ? j * lda + i : i * lda + j] * b[bt == CblasTrans ? o * ldb + j : j * ldb + o];        \
                y[i * ldy + o] = alpha * sum + (beta == 0 ? 0 : beta * y[i * ldy + o]);                                              \
            }                                                                                                                        \
        }                                                                                                                            \
    }
PRODUCT(cblas_sgemm, float)
PRODUCT(cblas_dgemm, double)
#undef PRODUCT

#endif
