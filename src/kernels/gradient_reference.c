/* Derivatives of the row kernels, in float64, one element at a time.
 * SPDX-License-Identifier: MIT */
#include <math.h>

#include "kernels.h"

static double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

/* act(x), and act'(x) */
static double act_of(mmi_activation act, double x, double *slope)
{
    double s, t;

    switch (act) {
    case MMI_ACT_RELU: *slope = x > 0; return x > 0 ? x : 0;
    case MMI_ACT_GELU:
        s = 0.5 * erfc(-x * 0.70710678118654752440);
        *slope = s + x * 0.39894228040143267794 * exp(-0.5 * x * x);
        return x * s;
    case MMI_ACT_GELU_TANH:
        s = sigmoid(1.59576912160573071176 * (x + 0.044715 * x * x * x));
        *slope = s + x * s * (1 - s) * 1.59576912160573071176 * (1 + 3 * 0.044715 * x * x);
        return x * s;
    case MMI_ACT_QUICK_GELU:
        s = sigmoid(1.702 * x);
        *slope = s + 1.702 * x * s * (1 - s);
        return x * s;
    case MMI_ACT_SILU:
        s = sigmoid(x);
        *slope = s + x * s * (1 - s);
        return x * s;
    case MMI_ACT_TANH:
        t = tanh(x);
        *slope = 1 - t * t;
        return t;
    case MMI_ACT_SIGMOID:
        s = sigmoid(x);
        *slope = s * (1 - s);
        return s;
    case MMI_ACT_NONE:
    case MMI_ACT_COUNT: break;
    }
    *slope = 1;
    return x;
}

static void activate_gradient(mmi_activation act, const float *x, const float *dy, float *dx, size_t n)
{
    double slope;

    for (size_t i = 0; i < n; i++) {
        (void)act_of(act, x[i], &slope);
        dx[i] = (float)(dy[i] * slope);
    }
}

static void gate_gradient(mmi_activation act, const float *gate, const float *up, const float *dy, float *dgate, float *dup, size_t n)
{
    double slope;

    for (size_t i = 0; i < n; i++) {
        const double a = act_of(act, gate[i], &slope), d = dy[i];
        dgate[i] = (float)(d * up[i] * slope);
        dup[i] = (float)(d * a);
    }
}

static void layer_norm_gradient(const float *x, const float *w, float eps, const float *dy, float *dx, float *dw, float *db, size_t n)
{
    double sum = 0, squares = 0, plain = 0, along = 0;

    for (size_t i = 0; i < n; i++) sum += x[i];
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    const double r = 1.0 / sqrt(squares / (double)n + eps);
    for (size_t i = 0; i < n; i++) {
        const double d = (double)dy[i] * (w ? w[i] : 1);
        plain += d;
        along += d * (x[i] - mean) * r;
    }
    for (size_t i = 0; i < n; i++) {
        const double h = (x[i] - mean) * r, g = dy[i], d = g * (w ? w[i] : 1);
        if (dw) dw[i] += (float)(g * h);
        if (db) db[i] += (float)g;
        dx[i] = (float)(r * (d - plain / (double)n - h * along / (double)n));
    }
}

static void rms_norm_gradient(const float *x, const float *w, float w_offset, float eps, const float *dy, float *dx, float *dw, size_t n)
{
    double squares = 0, along = 0;

    for (size_t i = 0; i < n; i++) squares += (double)x[i] * x[i];
    const double r = 1.0 / sqrt(squares / (double)n + eps);
    for (size_t i = 0; i < n; i++) along += (double)dy[i] * ((double)w[i] + w_offset) * x[i] * r;
    for (size_t i = 0; i < n; i++) {
        const double h = x[i] * r, g = dy[i];
        if (dw) dw[i] += (float)(g * h);
        dx[i] = (float)(r * (g * ((double)w[i] + w_offset) - h * along / (double)n));
    }
}

static void softmax_gradient(const float *y, const float *dy, float scale, float *dx, size_t n)
{
    double mean = 0;

    for (size_t i = 0; i < n; i++) mean += (double)y[i] * dy[i];
    for (size_t i = 0; i < n; i++) dx[i] = (float)(scale * y[i] * (dy[i] - mean));
}

static double log_sum_exp(const float *x, float scale, size_t n)
{
    double top = x[0], sum = 0;

    for (size_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    for (size_t i = 0; i < n; i++) sum += exp((x[i] - top) * scale);
    return top * scale + log(sum);
}

void mmi_kernels_gradient_reference(mmi_kernels *k)
{
    k->activate_gradient = activate_gradient;
    k->gate_gradient = gate_gradient;
    k->layer_norm_gradient = layer_norm_gradient;
    k->rms_norm_gradient = rms_norm_gradient;
    k->softmax_gradient = softmax_gradient;
    k->log_sum_exp = log_sum_exp;
}
