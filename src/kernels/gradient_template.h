/* Gradients of the row kernels for any vector length: included behind float_template.h. SPDX-License-Identifier: MIT */
#ifndef MMI_GRADIENT_TEMPLATE_H
#define MMI_GRADIENT_TEMPLATE_H

/* Phi(x), the standard normal distribution: as v_gelu has it, without the factor. */
static ALWAYS_INLINE vec v_normal(vec x, vec *density)
{
    const vec t = v_min(v_set(14.5f), v_abs(x));
    const vec e = v_exp(v_mul(v_mul(t, t), v_set(-0.5f)));
    const vec y = v_div(v_set(3), v_add(t, v_set(3))), w = v_sub(v_set(1), y);
    vec p = v_fma(v_set(-0.0226263516f), w, v_set(0.0521524213f));
    p = v_fma(p, w, v_set(-0.00117010216f));
    p = v_fma(p, w, v_set(-0.0380833857f));
    p = v_fma(p, w, v_set(-0.0854787678f));
    p = v_fma(p, w, v_set(0.0685894936f));
    p = v_fma(p, w, v_set(0.356401771f));
    p = v_fma(p, w, v_set(-0.696828961f));
    p = v_fma(p, w, v_set(0.5f));
    const vec tail = v_mul(v_mul(e, y), p);
    *density = v_mul(e, v_set(0.398942280f));
    return v_select(m_less(x, v_zero()), tail, v_sub(v_set(1), tail));
}

/* sigmoid(z) and its slope s (1 - s), without cancellation */
static ALWAYS_INLINE vec v_sigmoid_slope(vec z, vec *slope)
{
    const vec e = v_exp(v_sub(v_zero(), v_abs(z))), upper = v_div(v_set(1), v_add(v_set(1), e)), lower = v_mul(e, upper);
    *slope = v_mul(lower, upper);
    return v_select(m_less(z, v_zero()), lower, upper);
}

/* Of x sigmoid(z), where k is dz/dx; *y is x sigmoid(z) */
static ALWAYS_INLINE vec v_swish_slope(vec x, vec z, vec k, vec *y)
{
    vec slope;
    const vec s = v_sigmoid_slope(z, &slope);
    *y = v_mul(x, s);
    return v_fma(v_mul(x, k), slope, s);
}

/* act'(x); *y is act(x) */
static ALWAYS_INLINE vec v_slope(mmi_activation act, vec x, vec *y)
{
    const vec one = v_set(1);
    vec s, density;

    switch (act) {
    case MMI_ACT_RELU: *y = v_max(v_zero(), x); return v_select(m_less(v_zero(), x), one, v_zero());
    case MMI_ACT_GELU:
        s = v_normal(x, &density);
        *y = v_mul(x, s);
        return v_fma(x, density, s);
    case MMI_ACT_GELU_TANH: {
        const vec c = v_max(v_set(-13.0f), v_min(v_set(13.0f), x)), square = v_mul(c, c);
        density = v_swish_slope(c, v_mul(c, v_fma(v_set(0.0713548163f), square, v_set(1.59576912f))),
                                v_fma(v_set(0.214064449f), square, v_set(1.59576912f)), &s);
        *y = v_gelu_tanh(x); /* beyond 13 it is x or 0 */
        return density;
    }
    case MMI_ACT_QUICK_GELU: return v_swish_slope(x, v_mul(x, v_set(1.702f)), v_set(1.702f), y);
    case MMI_ACT_SILU: return v_swish_slope(x, x, one, y);
    case MMI_ACT_TANH:
        (void)v_sigmoid_slope(v_add(x, x), &s);
        *y = v_tanh(x);
        return v_mul(v_set(4), s);
    case MMI_ACT_SIGMOID: *y = v_sigmoid_slope(x, &s); return s;
    case MMI_ACT_NONE:
    case MMI_ACT_COUNT: break;
    }
    *y = x;
    return one;
}

static ALWAYS_INLINE void activate_gradient_as(mmi_activation act, const float *x, const float *dy, float *dx, size_t n)
{
    vec y;
    EACH_VECTOR(n, v_store(dx + i, v_mul(v_load(dy + i), v_slope(act, v_load(x + i), &y)));
                , v_store_masked(dx + i, tail, v_mul(v_load_masked(dy + i, tail), v_slope(act, v_load_masked(x + i, tail), &y))););
}

static inline void activate_gradient(mmi_activation act, const float *x, const float *dy, float *dx, size_t n)
{
#define CALL(a) activate_gradient_as(a, x, dy, dx, n)
    FOR_ACTIVATION(act, CALL)
#undef CALL
}

static ALWAYS_INLINE void gate_gradient_as(mmi_activation act, const float *gate, const float *up, const float *dy, float *dgate, float *dup, size_t n)
{
#define WRITE(LOAD, STORE)                                              \
    {                                                                   \
        vec y;                                                          \
        const vec d = LOAD(dy + i), slope = v_slope(act, LOAD(gate + i), &y); \
        const vec du = v_mul(d, y);                                     \
        STORE(dgate + i, v_mul(v_mul(d, LOAD(up + i)), slope));         \
        STORE(dup + i, du);                                             \
    }
    EACH_VECTOR_OF(n, WRITE);
#undef WRITE
}

static inline void gate_gradient(mmi_activation act, const float *gate, const float *up, const float *dy, float *dgate, float *dup, size_t n)
{
#define CALL(a) gate_gradient_as(a, gate, up, dy, dgate, dup, n)
    FOR_ACTIVATION(act, CALL)
#undef CALL
}

static inline void layer_norm_gradient(const float *x_row, const float *w, float eps, const float *dy, float *dx, float *dw, float *db, size_t n)
{
    const vec one = v_set(1);
    float sum, squares;
    SUM_OF(sum, x_row, n, x);
    const vec mean = v_set(sum / (float)n);
    SUM_OF(squares, x_row, n, v_mul(v_sub(x, mean), v_sub(x, mean)));
    const vec r = v_set(1.0f / sqrtf(squares / (float)n + eps));
    vec plain = v_zero(), along = v_zero();
#define SUMS(LOAD, STORE)                                                       \
    {                                                                           \
        const vec d = v_mul(LOAD(dy + i), w ? LOAD(w + i) : one);               \
        plain = v_add(plain, d);                                                \
        along = v_fma(d, v_mul(v_sub(LOAD(x_row + i), mean), r), along);        \
    }
    EACH_VECTOR_OF(n, SUMS); /* behind the end dy is 0 */
#undef SUMS
    const vec even = v_set(v_sum(plain) / (float)n), slope = v_set(v_sum(along) / (float)n);
#define WRITE(LOAD, STORE)                                                      \
    {                                                                           \
        const vec h = v_mul(v_sub(LOAD(x_row + i), mean), r), g = LOAD(dy + i); \
        const vec d = v_mul(g, w ? LOAD(w + i) : one);                          \
        if (dw) STORE(dw + i, v_fma(g, h, LOAD(dw + i)));                       \
        if (db) STORE(db + i, v_add(LOAD(db + i), g));                          \
        STORE(dx + i, v_mul(r, v_fnmadd(h, slope, v_sub(d, even))));            \
    }
    EACH_VECTOR_OF(n, WRITE);
#undef WRITE
}

static inline void rms_norm_gradient(const float *x_row, const float *w, float w_offset, float eps, const float *dy, float *dx, float *dw, size_t n)
{
    const vec offset = v_set(w_offset);
    float squares;
    SUM_OF(squares, x_row, n, v_mul(x, x));
    const vec r = v_set(1.0f / sqrtf(squares / (float)n + eps));
    vec along = v_zero();
#define SUMS(LOAD, STORE) along = v_fma(v_mul(LOAD(dy + i), v_add(LOAD(w + i), offset)), v_mul(LOAD(x_row + i), r), along);
    EACH_VECTOR_OF(n, SUMS);
#undef SUMS
    const vec slope = v_set(v_sum(along) / (float)n);
#define WRITE(LOAD, STORE)                                                                          \
    {                                                                                               \
        const vec h = v_mul(LOAD(x_row + i), r), g = LOAD(dy + i);                                  \
        if (dw) STORE(dw + i, v_fma(g, h, LOAD(dw + i)));                                           \
        STORE(dx + i, v_mul(r, v_fnmadd(h, slope, v_mul(g, v_add(LOAD(w + i), offset)))));          \
    }
    EACH_VECTOR_OF(n, WRITE);
#undef WRITE
}

static inline void softmax_gradient(const float *y, const float *dy, float s, float *dx, size_t n)
{
    const vec mean = v_set(dot(y, dy, n)), factor = v_set(s);
#define WRITE(LOAD, STORE) STORE(dx + i, v_mul(v_mul(LOAD(y + i), factor), v_sub(LOAD(dy + i), mean)));
    EACH_VECTOR_OF(n, WRITE);
#undef WRITE
}

static inline double log_sum_exp(const float *x, float s, size_t n)
{
    const vec lowest = v_set(-INFINITY), factor = v_set(s);
    vec top = lowest;
    wide sum = w_zero();
    EACH_VECTOR(n, top = v_max(v_load(x + i), top);
                , top = v_max(v_select(tail, v_load_masked(x + i, tail), lowest), top););
    const float highest = v_top(top);
    EACH_VECTOR(n, sum = w_add(sum, v_exp(v_mul(v_sub(v_load(x + i), v_set(highest)), factor)));
                , sum = w_add(sum, v_select(tail, v_exp(v_mul(v_sub(v_load_masked(x + i, tail), v_set(highest)), factor)), v_zero())););
    return (double)highest * (double)s + log(w_sum(sum));
}

static inline void register_gradient_kernels(mmi_kernels *k)
{
    k->activate_gradient = activate_gradient;
    k->gate_gradient = gate_gradient;
    k->layer_norm_gradient = layer_norm_gradient;
    k->rms_norm_gradient = rms_norm_gradient;
    k->softmax_gradient = softmax_gradient;
    k->log_sum_exp = log_sum_exp;
}

#endif
