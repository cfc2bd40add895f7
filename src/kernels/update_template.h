/* Steps of optimizers for any vector length: included behind float_template.h. Products and sums are rounded one by one, as
 * the reference does. SPDX-License-Identifier: MIT */
#ifndef MMI_UPDATE_TEMPLATE_H
#define MMI_UPDATE_TEMPLATE_H

static inline void adamw(const mmi_update *u, const float *gradient, float *w, float *m, float *v, size_t n)
{
    const vec scale_by = v_set(u->scale), keep = v_set(u->keep), rate = v_set(u->rate), rest1 = v_set(u->rest1);
    const vec beta2 = v_set(u->beta2), rest2 = v_set(u->rest2), root = v_set(u->root), eps = v_set(u->eps);
#define BODY(LOAD, STORE)                                                                               \
    {                                                                                                   \
        const vec g = v_mul(scale_by, LOAD(gradient + i)), old = LOAD(m + i);                           \
        const vec first = v_add(old, v_mul(rest1, v_sub(g, old)));                                      \
        const vec second = v_add(v_mul(beta2, LOAD(v + i)), v_mul(rest2, v_mul(g, g)));                 \
        const vec step = v_div(first, v_add(v_mul(root, v_sqrt(second)), eps));                         \
        STORE(m + i, first);                                                                            \
        STORE(v + i, second);                                                                           \
        STORE(w + i, v_sub(v_mul(keep, LOAD(w + i)), v_mul(rate, step)));                               \
    }
    EACH_VECTOR_OF(n, BODY);
#undef BODY
}

static ALWAYS_INLINE void sgd_as(int moment, int nesterov, const mmi_update *u, const float *gradient, float *w, float *m, size_t n)
{
    const vec scale_by = v_set(u->scale), decay = v_set(u->decay), rate = v_set(u->rate), beta1 = v_set(u->beta1);
#define BODY(LOAD, STORE)                                                        \
    {                                                                            \
        const vec old = LOAD(w + i);                                             \
        vec g = v_add(v_mul(scale_by, LOAD(gradient + i)), v_mul(decay, old));   \
        if (moment) {                                                            \
            const vec first = v_add(v_mul(beta1, LOAD(m + i)), g);               \
            STORE(m + i, first);                                                 \
            g = nesterov ? v_add(g, v_mul(beta1, first)) : first;                \
        }                                                                        \
        STORE(w + i, v_sub(old, v_mul(rate, g)));                                \
    }
    EACH_VECTOR_OF(n, BODY);
#undef BODY
}

static inline void sgd(const mmi_update *u, const float *gradient, float *w, float *m, float *v, size_t n)
{
    (void)v;
    if (!m) sgd_as(0, 0, u, gradient, w, m, n);
    else if (u->nesterov) sgd_as(1, 1, u, gradient, w, m, n);
    else sgd_as(1, 0, u, gradient, w, m, n);
}

static inline void lion(const mmi_update *u, const float *gradient, float *w, float *m, float *v, size_t n)
{
    const vec scale_by = v_set(u->scale), keep = v_set(u->keep), rate = v_set(u->rate), beta1 = v_set(u->beta1), rest1 = v_set(u->rest1);
    const vec beta2 = v_set(u->beta2), rest2 = v_set(u->rest2), zero = v_zero(), one = v_set(1), minus = v_set(-1);
    (void)v;
#define BODY(LOAD, STORE)                                                                                       \
    {                                                                                                           \
        const vec g = v_mul(scale_by, LOAD(gradient + i)), old = LOAD(m + i);                                   \
        const vec c = v_add(v_mul(beta1, old), v_mul(rest1, g));                                                \
        const vec sign = v_select(m_less(zero, c), one, v_select(m_less(c, zero), minus, c));                   \
        STORE(w + i, v_sub(v_mul(keep, LOAD(w + i)), v_mul(rate, sign)));                                       \
        STORE(m + i, v_add(v_mul(beta2, old), v_mul(rest2, g)));                                                \
    }
    EACH_VECTOR_OF(n, BODY);
#undef BODY
}

static inline void adafactor(const mmi_update *u, const float *gradient, float *w, float *m, float *v, size_t n)
{
    const vec scale_by = v_set(u->scale), keep = v_set(u->keep), rate = v_set(u->rate);
    (void)v;
#define BODY(LOAD, STORE)                                                                \
    {                                                                                    \
        const vec step = v_mul(v_mul(scale_by, LOAD(gradient + i)), LOAD(m + i));        \
        STORE(w + i, v_sub(v_mul(keep, LOAD(w + i)), v_mul(rate, step)));                \
    }
    EACH_VECTOR_OF(n, BODY);
#undef BODY
}

static inline double sum_squares(const float *a, const float *b, size_t n)
{
    wide sum = w_zero();
    const vec one = v_set(1);
#define BODY(LOAD, STORE) sum = w_add_squares(sum, v_mul(LOAD(a + i), b ? LOAD(b + i) : one));
    EACH_VECTOR_OF(n, BODY);
#undef BODY
    return w_sum(sum);
}

static inline double column_squares(const float *x, float s, float *columns, size_t n)
{
    wide sum = w_zero();
    const vec scale_by = v_set(s);
#define BODY(LOAD, STORE)                                            \
    {                                                                \
        const vec y = v_mul(scale_by, LOAD(x + i));                  \
        STORE(columns + i, v_add(LOAD(columns + i), v_mul(y, y)));   \
        sum = w_add_squares(sum, y);                                 \
    }
    EACH_VECTOR_OF(n, BODY);
#undef BODY
    return w_sum(sum);
}

static inline void register_update_kernels(mmi_kernels *k)
{
    k->adamw = adamw;
    k->sgd = sgd;
    k->lion = lion;
    k->adafactor = adafactor;
    k->sum_squares = sum_squares;
    k->column_squares = column_squares;
}

#endif
