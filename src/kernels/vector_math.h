/* exp, sigmoid, tanh and the GELUs on the vectors of the vector_*.h included before. Polynomials are minimax fits (Remez).
 * Relative errors against float64, outside the subnormal range: exp 1e-7, the rest below 5e-7; NaN gives NaN.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_VECTOR_MATH_H
#define MMI_VECTOR_MATH_H

#include "unroll.h"

/* x = n ln 2 + r with |r| <= ln(2) / 2; returns (e^r - 1 - r) / r^2. */
static ALWAYS_INLINE vec v_exp_parts(vec x, vec *n, vec *r)
{
    *n = v_round(v_mul(x, v_set(1.44269504f)));
    *r = v_fnmadd(*n, v_set(0.693145752f), x);         /* 15 bits, so that the product is exact */
    *r = v_fnmadd(*n, v_set(1.42860682e-6f), *r);
    vec q = v_fma(v_set(0.00139504918f), *r, v_set(0.00836888935f));
    q = v_fma(q, *r, v_set(0.0416662058f));
    q = v_fma(q, *r, v_set(0.166665188f));
    return v_fma(q, *r, v_set(0.500000010f));
}

/* e^x for x <= 0; subnormal or 0 below -87.3 */
static ALWAYS_INLINE vec v_exp(vec x)
{
    vec n, r;
    x = v_max(v_set(-105.0f), x);
    const vec q = v_exp_parts(x, &n, &r);
    return v_scale2(v_add(v_fma(v_mul(r, r), q, r), v_set(1)), n);
}

/* e^x for x <= 0, as a weight beside weights of about 1: 0 where e^x would be subnormal, which processors are slow at. */
static ALWAYS_INLINE vec v_exp_weight(vec x)
{
    vec n, r;
    const vec least = v_set(-87.0f);
    const vec clamped = v_max(least, x);
    const vec q = v_exp_parts(clamped, &n, &r);
    return v_unless(m_less(x, least), v_scale2_normal(v_add(v_fma(v_mul(r, r), q, r), v_set(1)), n));
}

/* sigmoid(z + rest), where rest is a rounding error of z. exp is taken of -|z|, so it cannot overflow. */
static ALWAYS_INLINE vec v_sigmoid(vec z, vec rest)
{
    const mask negative = m_less(z, v_zero());
    const vec e = v_exp(v_sub(v_zero(), v_abs(z)));
    const vec exact = v_fma(e, v_select(negative, rest, v_sub(v_zero(), rest)), e);
    return v_div(v_select(negative, exact, v_set(1)), v_add(exact, v_set(1)));
}

/* tanh(x) = -m / (2 + m), m = e^(-2|x|) - 1 without cancellation */
static ALWAYS_INLINE vec v_tanh(vec x)
{
    vec n, r;
    const vec z = v_max(v_set(-40.0f), v_mul(v_abs(x), v_set(-2.0f)));
    const vec q = v_exp_parts(z, &n, &r);
    const vec power = v_scale2(v_set(1), n);
    const vec m = v_fma(power, v_fma(v_mul(r, r), q, r), v_sub(power, v_set(1)));
    return v_copysign(v_div(v_sub(v_zero(), m), v_add(m, v_set(2))), x);
}

/* x Phi(x). With t = |x|: Phi(-t) = e^(-t^2/2) y p(w), y = 3 / (t + 3), w = 1 - y, p of degree 8 for 0 <= t <= 14.5. */
static ALWAYS_INLINE vec v_gelu(vec x)
{
    const vec t = v_min(v_set(14.5f), v_abs(x)), square = v_mul(t, t), rest = v_fmsub(t, t, square);
    const vec power = v_exp(v_mul(square, v_set(-0.5f)));
    const vec e = v_fnmadd(power, v_mul(rest, v_set(0.5f)), power);
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
    return v_mul(x, v_select(m_less(x, v_zero()), tail, v_sub(v_set(1), tail)));
}

/* x sigmoid(z), z = 2 sqrt(2/pi) (x + 0.044715 x^3) = x (a + b x^2). An error of z is a relative error of e^z, so z is
 * carried with its rounding errors; |x| <= 13 suffices. */
static ALWAYS_INLINE vec v_gelu_tanh(vec x)
{
    const vec a = v_set(1.59576917f), a_rest = v_set(-4.53406803e-08f);
    const vec b = v_set(0.0713548139f), b_rest = v_set(2.39883240e-09f);
    const vec c = v_max(v_set(-13.0f), v_min(v_set(13.0f), x));
    const vec square = v_mul(c, c), square_rest = v_fmsub(c, c, square);
    const vec term = v_mul(square, b);
    const vec term_rest = v_fma(square_rest, b, v_fma(square, b_rest, v_fmsub(square, b, term)));
    const vec sum = v_add(term, a), a_part = v_sub(sum, term);
    const vec sum_rest = v_add(v_add(v_sub(term, v_sub(sum, a_part)), v_sub(a, a_part)), v_add(term_rest, a_rest));
    const vec z = v_mul(c, sum);
    return v_mul(x, v_sigmoid(z, v_fma(c, sum_rest, v_fmsub(c, sum, z))));
}

/* x sigmoid(1.702 x) */
static ALWAYS_INLINE vec v_quick_gelu(vec x)
{
    const vec a = v_set(1.70200002f), a_rest = v_set(-2.19345093e-08f);
    const vec c = v_max(v_set(-64.0f), v_min(v_set(64.0f), x));
    const vec z = v_mul(c, a);
    return v_mul(x, v_sigmoid(z, v_fma(c, a_rest, v_fmsub(c, a, z))));
}

#endif
