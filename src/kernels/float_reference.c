/* The definition of correct for the float kernels: plain loops, one element at a time.
 *
 * Sums and transcendental functions are float64 here, so that a faster version can be measured against the result and
 * not against another rounding. Attention is in attention_reference.c.
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "attention_reference.h"
#include "dtype.h"
#include "float_linear.h"
#include "kernels.h"

static void add(const float *a, const float *b, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void mul(const float *a, const float *b, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

static void scale(const float *a, float s, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = a[i] * s;
}

static double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

static float act_of(mmi_activation act, float value)
{
    const double x = value;
    switch (act) {
    case MMI_ACT_RELU: return value < 0 ? 0 : value;
    case MMI_ACT_GELU: return (float)(x * 0.5 * erfc(-x * 0.70710678118654752440));
    /* 0.5 (1 + tanh(u)) = sigmoid(2 u), without the cancellation */
    case MMI_ACT_GELU_TANH: return (float)(x * sigmoid(1.59576912160573071176 * (x + 0.044715 * x * x * x)));
    case MMI_ACT_QUICK_GELU: return (float)(x * sigmoid(1.702 * x));
    case MMI_ACT_SILU: return (float)(x * sigmoid(x));
    case MMI_ACT_TANH: return (float)tanh(x);
    case MMI_ACT_SIGMOID: return (float)sigmoid(x);
    case MMI_ACT_NONE:
    case MMI_ACT_COUNT: break;
    }
    return value;
}

static void activate(mmi_activation act, const float *x, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = act_of(act, x[i]);
}

static void gate(mmi_activation act, const float *g, const float *up, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = act_of(act, g[i]) * up[i];
}

static void layer_norm(const float *x, const float *w, const float *b, float eps, float *y, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    const double r = 1.0 / sqrt(squares / (double)n + eps);
    for (size_t i = 0; i < n; i++) y[i] = (float)((x[i] - mean) * r * (w ? w[i] : 1) + (b ? b[i] : 0));
}

static void rms_norm(const float *x, const float *w, float w_offset, float eps, float *y, size_t n)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++) squares += (double)x[i] * x[i];
    const double r = 1.0 / sqrt(squares / (double)n + eps);
    for (size_t i = 0; i < n; i++) y[i] = (float)(x[i] * r * ((double)w[i] + w_offset));
}

/* The largest is taken off first, so that exp cannot overflow. */
static void softmax(const float *x, float *y, size_t n)
{
    double top = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        if (x[i] > top) top = x[i];
    for (size_t i = 0; i < n; i++) sum += exp(x[i] - top);
    for (size_t i = 0; i < n; i++) y[i] = (float)(exp(x[i] - top) / sum);
}

static float element(int32_t dtype, const void *p, size_t i)
{
    switch (dtype) {
    case MM_DTYPE_F16: return mmi_f16_to_f32(((const uint16_t *)p)[i]);
    case MM_DTYPE_BF16: return mmi_bf16_to_f32(((const uint16_t *)p)[i]);
    default: return ((const float *)p)[i];
    }
}

static float dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return (float)sum;
}

static void rope(float *x, const float *cosines, const float *sines, size_t half, int neox)
{
    for (size_t i = 0; i < half; i++) {
        float *a = neox ? x + i : x + 2 * i, *b = neox ? a + half : a + 1;
        const float re = *a * cosines[i] - *b * sines[i], im = *b * cosines[i] + *a * sines[i];
        *a = re;
        *b = im;
    }
}

static void from_f16(const uint16_t *x, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = mmi_f16_to_f32(x[i]);
}

static void from_bf16(const uint16_t *x, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = mmi_bf16_to_f32(x[i]);
}

static void to_f16(const float *x, uint16_t *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = mmi_f32_to_f16(x[i]);
}

static void matmul_rows(int32_t dtype, const void *w, size_t stride, size_t rows, const float *x, size_t ldx, size_t m, size_t n,
                        float *y, size_t ldy)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t r = 0; r < rows; r++) {
            double sum = 0;
            for (size_t j = 0; j < n; j++) sum += (double)element(dtype, w, r * stride + j) * x[i * ldx + j];
            y[i * ldy + r] = (float)sum;
        }
    }
}

void mmi_kernels_reference(mmi_kernels *k)
{
    k->add = add;
    k->mul = mul;
    k->scale = scale;
    k->activate = activate;
    k->gate = gate;
    k->layer_norm = layer_norm;
    k->rms_norm = rms_norm;
    k->softmax = softmax;
    k->dot = dot;
    k->rope = rope;
    k->from_f16 = from_f16;
    k->from_bf16 = from_bf16;
    k->to_f16 = to_f16;
    k->matmul_rows = matmul_rows;
    k->pack_keys = mmi_pack_keys_reference;
    k->float_pack = mmi_float_pack_reference;
    k->float_linear = mmi_float_linear_reference;
    k->attention = mmi_attention_reference;
}
