/* The float kernels, written once for any vector length: included after a vector_*.h, with ROWS_OF_4 defined, the rows of w
 * in a dot product tile with 4 vectors. Sums: float32, two or four vectors of partial sums taken in turn, so that the order of
 * additions is a function of n alone. Tails are masked: nothing outside the arrays is read or written.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_FLOAT_TEMPLATE_H
#define MMI_FLOAT_TEMPLATE_H

#include <math.h>
#include <string.h>

#include "kernels.h"
#include "vector_math.h"

#define EACH_VECTOR(n, full, rest)                    \
    do {                                              \
        size_t i = 0;                                 \
        for (; i + LANES <= (n); i += LANES) { full } \
        if (i < (n)) {                                \
            const mask tail = m_first((n) - i);       \
            rest                                      \
        }                                             \
    } while (0)

/* The same with one `body` for both, a macro of what loads and stores, whole or masked. */
#define EACH_VECTOR_OF(n, body)                                    \
    do {                                                           \
        size_t i = 0;                                              \
        for (; i + LANES <= (n); i += LANES) body(v_load, v_store) \
        if (i < (n)) {                                             \
            const mask tail = m_first((n) - i);                    \
            body(LOAD_TAIL, STORE_TAIL)                            \
        }                                                          \
    } while (0)
#define LOAD_TAIL(p) v_load_masked(p, tail)
#define STORE_TAIL(p, a) v_store_masked(p, tail, a)

static inline void add(const float *a, const float *b, float *y, size_t n)
{
    EACH_VECTOR(n, v_store(y + i, v_add(v_load(a + i), v_load(b + i)));
                , v_store_masked(y + i, tail, v_add(v_load_masked(a + i, tail), v_load_masked(b + i, tail))););
}

static inline void mul(const float *a, const float *b, float *y, size_t n)
{
    EACH_VECTOR(n, v_store(y + i, v_mul(v_load(a + i), v_load(b + i)));
                , v_store_masked(y + i, tail, v_mul(v_load_masked(a + i, tail), v_load_masked(b + i, tail))););
}

static inline void scale(const float *a, float s, float *y, size_t n)
{
    const vec factor = v_set(s);
    EACH_VECTOR(n, v_store(y + i, v_mul(v_load(a + i), factor));
                , v_store_masked(y + i, tail, v_mul(v_load_masked(a + i, tail), factor)););
}

/* ---- activations ---- */

static ALWAYS_INLINE vec v_activate(mmi_activation act, vec x)
{
    switch (act) {
    case MMI_ACT_RELU: return v_max(v_zero(), x);
    case MMI_ACT_GELU: return v_gelu(x);
    case MMI_ACT_GELU_TANH: return v_gelu_tanh(x);
    case MMI_ACT_QUICK_GELU: return v_quick_gelu(x);
    case MMI_ACT_SILU: return v_mul(x, v_sigmoid(x, v_zero()));
    case MMI_ACT_TANH: return v_tanh(x);
    case MMI_ACT_SIGMOID: return v_sigmoid(x, v_zero());
    case MMI_ACT_NONE:
    case MMI_ACT_COUNT: break;
    }
    return x;
}

static ALWAYS_INLINE void activate_as(mmi_activation act, const float *x, float *y, size_t n)
{
    EACH_VECTOR(n, v_store(y + i, v_activate(act, v_load(x + i)));
                , v_store_masked(y + i, tail, v_activate(act, v_load_masked(x + i, tail))););
}

static ALWAYS_INLINE void gate_as(mmi_activation act, const float *g, const float *up, float *y, size_t n)
{
    EACH_VECTOR(n, v_store(y + i, v_mul(v_activate(act, v_load(g + i)), v_load(up + i)));
                , v_store_masked(y + i, tail, v_mul(v_activate(act, v_load_masked(g + i, tail)), v_load_masked(up + i, tail))););
}

/* One loop per activation, with the choice made outside. */
#define FOR_ACTIVATION(act, call)                                             \
    switch (act) {                                                            \
    case MMI_ACT_RELU: call(MMI_ACT_RELU); break;                             \
    case MMI_ACT_GELU: call(MMI_ACT_GELU); break;                             \
    case MMI_ACT_GELU_TANH: call(MMI_ACT_GELU_TANH); break;                   \
    case MMI_ACT_QUICK_GELU: call(MMI_ACT_QUICK_GELU); break;                 \
    case MMI_ACT_SILU: call(MMI_ACT_SILU); break;                             \
    case MMI_ACT_TANH: call(MMI_ACT_TANH); break;                             \
    case MMI_ACT_SIGMOID: call(MMI_ACT_SIGMOID); break;                       \
    case MMI_ACT_NONE:                                                        \
    case MMI_ACT_COUNT: call(MMI_ACT_NONE); break;                            \
    }

static inline void activate(mmi_activation act, const float *x, float *y, size_t n)
{
#define CALL(a) activate_as(a, x, y, n)
    FOR_ACTIVATION(act, CALL)
#undef CALL
}

static inline void gate(mmi_activation act, const float *g, const float *up, float *y, size_t n)
{
#define CALL(a) gate_as(a, g, up, y, n)
    FOR_ACTIVATION(act, CALL)
#undef CALL
}

/* ---- rows ---- */

/* sum of f(x) for an expression f of `x`, with four vectors of partial sums; zeros are added for lanes behind the end */
#define SUM_OF(out, p, n, f)                                                      \
    do {                                                                          \
        vec part[4] = {v_zero(), v_zero(), v_zero(), v_zero()};                   \
        size_t at = 0;                                                            \
        for (; at + 4 * LANES <= (n); at += 4 * LANES) {                          \
            UNROLL for (size_t u = 0; u < 4; u++)                                 \
            {                                                                     \
                const vec x = v_load((p) + at + u * LANES);                       \
                part[u] = v_add(part[u], f);                                      \
            }                                                                     \
        }                                                                         \
        for (; at + LANES <= (n); at += LANES) {                                  \
            const vec x = v_load((p) + at);                                       \
            part[0] = v_add(part[0], f);                                          \
        }                                                                         \
        if (at < (n)) {                                                           \
            const mask tail = m_first((n) - at);                                  \
            const vec x = v_load_masked((p) + at, tail);                          \
            part[1] = v_add(part[1], v_select(tail, f, v_zero()));                \
        }                                                                         \
        (out) = v_sum(v_add(v_add(part[0], part[1]), v_add(part[2], part[3])));   \
    } while (0)

static ALWAYS_INLINE vec normalized(vec x, vec mean, vec r, vec w, vec b)
{
    return v_fma(v_mul(v_sub(x, mean), r), w, b);
}

static inline void layer_norm(const float *x_row, const float *w, const float *b, float eps, float *y, size_t n)
{
    float sum, squares;
    SUM_OF(sum, x_row, n, x);
    const float mean_value = sum / (float)n;
    const vec mean = v_set(mean_value), one = v_set(1), zero = v_zero();
    SUM_OF(squares, x_row, n, v_mul(v_sub(x, mean), v_sub(x, mean)));
    const vec r = v_set(1.0f / sqrtf(squares / (float)n + eps));
    EACH_VECTOR(n, v_store(y + i, normalized(v_load(x_row + i), mean, r, w ? v_load(w + i) : one, b ? v_load(b + i) : zero));
                , v_store_masked(y + i, tail,
                                 normalized(v_load_masked(x_row + i, tail), mean, r, w ? v_load_masked(w + i, tail) : one,
                                            b ? v_load_masked(b + i, tail) : zero)););
}

static inline void rms_norm(const float *x_row, const float *w, float w_offset, float eps, float *y, size_t n)
{
    float squares;
    SUM_OF(squares, x_row, n, v_mul(x, x));
    const vec r = v_set(1.0f / sqrtf(squares / (float)n + eps)), offset = v_set(w_offset);
    EACH_VECTOR(n, v_store(y + i, v_mul(v_mul(v_load(x_row + i), r), v_add(v_load(w + i), offset)));
                , v_store_masked(y + i, tail,
                                 v_mul(v_mul(v_load_masked(x_row + i, tail), r), v_add(v_load_masked(w + i, tail), offset))););
}

static inline void softmax(const float *x_row, float *y, size_t n)
{
    const vec lowest = v_set(-INFINITY);
    vec top = lowest, part = v_zero();
    EACH_VECTOR(n, top = v_max(v_load(x_row + i), top);
                , top = v_max(v_select(tail, v_load_masked(x_row + i, tail), lowest), top););
    const vec highest = v_set(v_top(top));
    EACH_VECTOR(
        n,
        {
            const vec e = v_exp_weight(v_sub(v_load(x_row + i), highest));
            v_store(y + i, e);
            part = v_add(part, e);
        },
        {
            const vec e = v_select(tail, v_exp_weight(v_sub(v_load_masked(x_row + i, tail), highest)), v_zero());
            v_store_masked(y + i, tail, e);
            part = v_add(part, e);
        });
    scale(y, 1.0f / v_sum(part), y, n);
}

static inline void rope(float *x, const float *cosines, const float *sines, size_t half, int neox)
{
    size_t i = 0;
    for (; i + LANES <= half; i += LANES) {
        const vec c = v_load(cosines + i), s = v_load(sines + i);
        vec a, b;
        if (neox) {
            a = v_load(x + i);
            b = v_load(x + half + i);
        } else {
            v_deinterleave(v_load(x + 2 * i), v_load(x + 2 * i + LANES), &a, &b);
        }
        const vec re = v_fmsub(a, c, v_mul(b, s)), im = v_fma(b, c, v_mul(a, s));
        if (neox) {
            v_store(x + i, re);
            v_store(x + half + i, im);
        } else {
            v_interleave(re, im, &a, &b);
            v_store(x + 2 * i, a);
            v_store(x + 2 * i + LANES, b);
        }
    }
    for (; i < half; i++) {
        float *a = neox ? x + i : x + 2 * i, *b = neox ? a + half : a + 1;
        const float re = fmaf(*a, cosines[i], -(*b * sines[i])), im = fmaf(*b, cosines[i], *a * sines[i]);
        *a = re;
        *b = im;
    }
}

static inline void from_f16(const uint16_t *x, float *y, size_t n)
{
    EACH_VECTOR(n, v_store(y + i, v_load_f16(x + i));, v_store_masked(y + i, tail, v_load_f16_masked(x + i, tail)););
}

static inline void from_bf16(const uint16_t *x, float *y, size_t n)
{
    EACH_VECTOR(n, v_store(y + i, v_load_bf16(x + i));, v_store_masked(y + i, tail, v_load_bf16_masked(x + i, tail)););
}

static inline void to_f16(const float *x, uint16_t *y, size_t n)
{
    EACH_VECTOR(n, v_store_f16(y + i, v_load(x + i));, v_store_f16_masked(y + i, tail, v_load_masked(x + i, tail)););
}

/* ---- dot products ---- */

static ALWAYS_INLINE const void *row_of(int32_t dtype, const void *w, size_t offset)
{
    return (const char *)w + offset * (dtype == MM_DTYPE_F32 ? sizeof(float) : sizeof(uint16_t));
}

static ALWAYS_INLINE vec load_as(int32_t dtype, const void *w, size_t i)
{
    switch (dtype) {
    case MM_DTYPE_F16: return v_load_f16((const uint16_t *)w + i);
    case MM_DTYPE_BF16: return v_load_bf16((const uint16_t *)w + i);
    default: return v_load((const float *)w + i);
    }
}

static ALWAYS_INLINE vec load_masked_as(int32_t dtype, const void *w, size_t i, mask tail)
{
    switch (dtype) {
    case MM_DTYPE_F16: return v_load_f16_masked((const uint16_t *)w + i, tail);
    case MM_DTYPE_BF16: return v_load_bf16_masked((const uint16_t *)w + i, tail);
    default: return v_load_masked((const float *)w + i, tail);
    }
}

/* R rows of w by M vectors. Each of the R x M products has two partial sums of its own, so its value does not depend on R and M. */
static ALWAYS_INLINE void dot_tile(int32_t dtype, size_t R, size_t M, const void *w, size_t stride, const float *x, size_t ldx,
                                   size_t n, float *y, size_t ldy)
{
    vec even[4][4], odd[4][4];
    size_t j = 0;
    UNROLL for (size_t r = 0; r < R; r++)
    {
        UNROLL for (size_t i = 0; i < M; i++) even[r][i] = odd[r][i] = v_zero();
    }
    for (; j + 2 * LANES <= n; j += 2 * LANES) {
        UNROLL for (size_t r = 0; r < R; r++)
        {
            const void *row = row_of(dtype, w, r * stride);
            const vec a = load_as(dtype, row, j), b = load_as(dtype, row, j + LANES);
            UNROLL for (size_t i = 0; i < M; i++)
            {
                even[r][i] = v_fma(a, v_load(x + i * ldx + j), even[r][i]);
                odd[r][i] = v_fma(b, v_load(x + i * ldx + j + LANES), odd[r][i]);
            }
        }
    }
    if (j + LANES <= n) {
        UNROLL for (size_t r = 0; r < R; r++)
        {
            const vec a = load_as(dtype, row_of(dtype, w, r * stride), j);
            UNROLL for (size_t i = 0; i < M; i++) even[r][i] = v_fma(a, v_load(x + i * ldx + j), even[r][i]);
        }
        j += LANES;
    }
    if (j < n) {
        const mask tail = m_first(n - j);
        UNROLL for (size_t r = 0; r < R; r++)
        {
            const vec a = load_masked_as(dtype, row_of(dtype, w, r * stride), j, tail);
            UNROLL for (size_t i = 0; i < M; i++) odd[r][i] = v_fma(a, v_load_masked(x + i * ldx + j, tail), odd[r][i]);
        }
    }
    UNROLL for (size_t r = 0; r < R; r++)
    {
        UNROLL for (size_t i = 0; i < M; i++) y[i * ldy + r] = v_sum(v_add(even[r][i], odd[r][i]));
    }
}

/* Tiles of `few` rows by M vectors, as many as the registers hold. */
static ALWAYS_INLINE void matmul_rows_by(int32_t dtype, size_t few, size_t M, const void *w, size_t stride, size_t rows,
                                         const float *x, size_t ldx, size_t n, float *y, size_t ldy)
{
    size_t r = 0;
    for (; r + few <= rows; r += few) dot_tile(dtype, few, M, row_of(dtype, w, r * stride), stride, x, ldx, n, y + r, ldy);
    for (; r < rows; r++) dot_tile(dtype, 1, M, row_of(dtype, w, r * stride), stride, x, ldx, n, y + r, ldy);
}

static ALWAYS_INLINE void matmul_rows_as(int32_t dtype, const void *w, size_t stride, size_t rows, const float *x, size_t ldx,
                                         size_t m, size_t n, float *y, size_t ldy)
{
    for (; m >= 4; m -= 4, x += 4 * ldx, y += 4 * ldy) matmul_rows_by(dtype, ROWS_OF_4, 4, w, stride, rows, x, ldx, n, y, ldy);
    switch (m) {
    case 3: matmul_rows_by(dtype, ROWS_OF_4, 3, w, stride, rows, x, ldx, n, y, ldy); break;
    case 2: matmul_rows_by(dtype, 2, 2, w, stride, rows, x, ldx, n, y, ldy); break;
    case 1: matmul_rows_by(dtype, 4, 1, w, stride, rows, x, ldx, n, y, ldy); break;
    default: break;
    }
}

static inline void matmul_rows(int32_t dtype, const void *w, size_t stride, size_t rows, const float *x, size_t ldx, size_t m,
                               size_t n, float *y, size_t ldy)
{
    switch (dtype) {
    case MM_DTYPE_F16: matmul_rows_as(MM_DTYPE_F16, w, stride, rows, x, ldx, m, n, y, ldy); break;
    case MM_DTYPE_BF16: matmul_rows_as(MM_DTYPE_BF16, w, stride, rows, x, ldx, m, n, y, ldy); break;
    default: matmul_rows_as(MM_DTYPE_F32, w, stride, rows, x, ldx, m, n, y, ldy); break;
    }
}

static inline float dot(const float *a, const float *b, size_t n)
{
    float y;
    dot_tile(MM_DTYPE_F32, 1, 1, a, n, b, n, n, &y, 1);
    return y;
}

static inline void register_float_kernels(mmi_kernels *k)
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
}

#endif
