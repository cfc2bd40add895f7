/* Power spectra of windowed frames as matrix products: a discrete Fourier transform of a few hundred points over many frames is a
 * small GEMM, and the symmetries of real input (x[n] with x[N - n], then n with N/2 - n) leave a quarter of its work.
 *
 * In float64: a logarithm follows, in which the weakest bins count as much as the strongest; float32 sums put 5e-5 of error into
 * the features of a pure tone, and cost almost as much. The window is the periodic Hann window. SPDX-License-Identifier: MIT */
#ifndef MMI_SPECTRUM_H
#define MMI_SPECTRUM_H

#include "context.h"

enum { MMI_SPECTRUM_TILE = 64, MMI_SPECTRUM_MAX = 4096 };

typedef struct {
    size_t n, bins;    /* points of a frame (even, 2 to MMI_SPECTRUM_MAX); n / 2 + 1 */
    size_t cols;       /* n / 4 + 1: what remains of a frame after folding twice */
    size_t evens;      /* bins of even number */
    double *window;    /* [n / 2 + 1]: the other half mirrors it */
    double *waves[4];  /* [cols, evens] each: cosines and sines of even bins, then of odd ones (evens - 1 or evens of them) */
} mmi_spectrum;

mm_status mmi_spectrum_init(mm_context *ctx, size_t n, mmi_spectrum *s);
void mmi_spectrum_clear(mmi_spectrum *s); /* all zeros and half-built allowed */

/* Doubles of scratch that a tile takes. */
size_t mmi_spectrum_scratch(const mmi_spectrum *s);
/* Put a frame of n points into row 0 .. MMI_SPECTRUM_TILE - 1 of a tile. */
void mmi_spectrum_fold(const mmi_spectrum *s, const double *frame, size_t row, double *scratch);
/* power[rows, bins] of the first rows of a tile. Between mmi_blas_enter and mmi_blas_leave. */
void mmi_spectrum_power(const mmi_spectrum *s, size_t rows, double *scratch, double *power);

#endif
