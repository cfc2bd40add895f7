/* Steps of optimizers, one element at a time, and the sums that they need.
 * SPDX-License-Identifier: MIT */
#include <math.h>

#include "kernels.h"

static void adamw(const mmi_update *u, const float *gradient, float *w, float *m, float *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float g = u->scale * gradient[i];
        m[i] += u->rest1 * (g - m[i]);
        v[i] = u->beta2 * v[i] + u->rest2 * (g * g);
        w[i] = u->keep * w[i] - u->rate * (m[i] / (u->root * sqrtf(v[i]) + u->eps));
    }
}

static void sgd(const mmi_update *u, const float *gradient, float *w, float *m, float *v, size_t n)
{
    (void)v;
    for (size_t i = 0; i < n; i++) {
        float g = u->scale * gradient[i] + u->decay * w[i];
        if (m) {
            m[i] = u->beta1 * m[i] + g;
            g = u->nesterov ? g + u->beta1 * m[i] : m[i];
        }
        w[i] -= u->rate * g;
    }
}

static void lion(const mmi_update *u, const float *gradient, float *w, float *m, float *v, size_t n)
{
    (void)v;
    for (size_t i = 0; i < n; i++) {
        const float g = u->scale * gradient[i], c = u->beta1 * m[i] + u->rest1 * g;
        w[i] = u->keep * w[i] - u->rate * (c > 0 ? 1 : c < 0 ? -1 : c);
        m[i] = u->beta2 * m[i] + u->rest2 * g;
    }
}

static void adafactor(const mmi_update *u, const float *gradient, float *w, float *m, float *v, size_t n)
{
    (void)v;
    for (size_t i = 0; i < n; i++) w[i] = u->keep * w[i] - u->rate * (u->scale * gradient[i] * m[i]);
}

static double sum_squares(const float *a, const float *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        const float x = b ? a[i] * b[i] : a[i];
        sum += (double)x * x;
    }
    return sum;
}

static double column_squares(const float *x, float scale, float *columns, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        const float y = scale * x[i];
        columns[i] += y * y;
        sum += (double)y * y;
    }
    return sum;
}

void mmi_kernels_update_reference(mmi_kernels *k)
{
    k->adamw = adamw;
    k->sgd = sgd;
    k->lion = lion;
    k->adafactor = adafactor;
    k->sum_squares = sum_squares;
    k->column_squares = column_squares;
}
