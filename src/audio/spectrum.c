/* With N points, H = N / 2, and a = 2 pi k n / N, for bin k:
 *   re = sum over n = 0..H of c[n] cos a,  c[n] = x[n] + x[N - n]  (c[H] = x[H]; x[0] falls to the window's zero)
 *   im = sum over n = 1..H-1 of s[n] sin a,  s[n] = x[n] - x[N - n]
 * and since n -> H - n turns cos a into (-1)^k cos a and sin a into -(-1)^k sin a, again
 *   even k: c[n] + c[H - n] and s[n] - s[H - n],  odd k: c[n] - c[H - n] and s[n] + s[H - n],  n = 0..H/2.
 * SPDX-License-Identifier: MIT */
#include "spectrum.h"

#include <math.h>

#include "blas.h"

#define PI 3.14159265358979323846

mm_status mmi_spectrum_init(mm_context *ctx, size_t n, mmi_spectrum *s)
{
    const size_t half = n / 2;

    *s = (mmi_spectrum){.n = n, .bins = half + 1, .cols = n / 4 + 1, .evens = half / 2 + 1};
    s->window = mmi_alloc_array(ctx, s->bins, sizeof *s->window);
    if (!s->window) return MM_E_NOMEM;
    for (size_t i = 0; i <= half; i++) s->window[i] = 0.5 - 0.5 * cos(2 * PI * (double)i / (double)n);
    for (size_t w = 0; w < 4; w++) {
        s->waves[w] = mmi_alloc_array(ctx, s->cols * s->evens, sizeof *s->waves[w]);
        if (!s->waves[w]) return MM_E_NOMEM;
        for (size_t i = 0; i < s->cols; i++) {
            for (size_t k = 0; k < s->evens; k++) {
                const double angle = 2 * PI * (double)((2 * k + w / 2) * i % n) / (double)n;
                s->waves[w][i * s->evens + k] = w % 2 ? sin(angle) : cos(angle);
            }
        }
    }
    return MM_OK;
}

void mmi_spectrum_clear(mmi_spectrum *s)
{
    mmi_free(s->window);
    for (size_t w = 0; w < 4; w++) mmi_free(s->waves[w]);
    *s = (mmi_spectrum){0};
}

/* Four folded tiles, then the real and the imaginary parts of even or odd bins. */
size_t mmi_spectrum_scratch(const mmi_spectrum *s) { return MMI_SPECTRUM_TILE * (4 * s->cols + 2 * s->evens); }

void mmi_spectrum_fold(const mmi_spectrum *s, const double *frame, size_t row, double *scratch)
{
    const size_t half = s->n / 2, tile = MMI_SPECTRUM_TILE * s->cols;
    double *to = scratch + row * s->cols;

    for (size_t i = 0; i < s->cols; i++) {
        const size_t j = half - i;
        const double a = s->window[i] * frame[i], b = i ? s->window[i] * frame[s->n - i] : 0;
        const double c = s->window[j] * frame[j], d = i ? s->window[j] * frame[s->n - j] : 0;
        const double once = i == j ? 0.5 : 1; /* the middle meets itself */

        to[i] = once * (a + b + c + d);
        to[tile + i] = once * (a - b - c + d);
        to[2 * tile + i] = once * (a + b - c - d);
        to[3 * tile + i] = once * (a - b + c - d);
    }
}

void mmi_spectrum_power(const mmi_spectrum *s, size_t rows, double *scratch, double *power)
{
    const size_t tile = MMI_SPECTRUM_TILE * s->cols;
    double *re = scratch + 4 * tile, *im = re + MMI_SPECTRUM_TILE * s->evens;

    for (size_t odd = 0; odd < 2; odd++) {
        const size_t count = odd ? s->bins - s->evens : s->evens;
        mmi_blas_gemm_f64(rows, count, s->cols, scratch + 2 * odd * tile, s->cols, s->waves[2 * odd], s->evens, re, s->evens);
        mmi_blas_gemm_f64(rows, count, s->cols, scratch + (2 * odd + 1) * tile, s->cols, s->waves[2 * odd + 1], s->evens, im, s->evens);
        for (size_t r = 0; r < rows; r++)
            for (size_t k = 0; k < count; k++) {
                const double x = re[r * s->evens + k], y = im[r * s->evens + k];
                power[r * s->bins + 2 * k + odd] = x * x + y * y;
            }
    }
}
