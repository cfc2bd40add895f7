/* SPDX-License-Identifier: MIT */
#include "jinja_operator.h"

#include <math.h>
#include <string.h>

#include "jinja_format.h"
#include "jinja_string.h"
#include "size.h"

typedef mmi_jinja_value value;
typedef mmi_jinja_run jinja_run;

static int fail_overflow(jinja_run *run) { return mmi_jinja_fail(run, MM_E_LIMIT, "an integer does not fit in 64 bits"); }
static int fail_zero(jinja_run *run) { return mmi_jinja_fail(run, MM_E_FORMAT, "a division by zero"); }

static int fail_types(jinja_run *run, const char *sign, value a, value b)
{
    value missing = a.kind == MMI_JINJA_UNDEFINED ? a : b;

    if (missing.kind != MMI_JINJA_UNDEFINED)
        return mmi_jinja_fail(run, MM_E_FORMAT, "'%s' does not join values of type %s and %s", sign, mmi_jinja_type(a), mmi_jinja_type(b));
    if (!missing.as.hint) return mmi_jinja_fail(run, MM_E_FORMAT, "an undefined value is an operand of '%s'", sign);
    return mmi_jinja_fail(run, MM_E_FORMAT, "'%.*s' is undefined and an operand of '%s'", (int)mmi_size_min(missing.as.hint->size, 60),
                          missing.as.hint->data, sign);
}

/* ---- numbers ---- */

static int64_t integer_of(value v) { return v.kind == MMI_JINJA_BOOL ? v.as.truth : v.as.integer; }
static double real_of(value v) { return v.kind == MMI_JINJA_FLOAT ? v.as.real : (double)integer_of(v); }

static int integer_power(jinja_run *run, int64_t base, int64_t exponent, value *out)
{
    int64_t power = 1;

    while (exponent > 0) {
        if (exponent & 1 && __builtin_mul_overflow(power, base, &power)) return fail_overflow(run);
        exponent >>= 1;
        if (exponent && __builtin_mul_overflow(base, base, &base)) return fail_overflow(run);
    }
    *out = mmi_jinja_int(power);
    return 0;
}

static int float_operate(jinja_run *run, mmi_jinja_node_kind op, double a, double b, value *out)
{
    double r, rest;

    switch (op) {
    case MMI_JINJA_ADD: r = a + b; break;
    case MMI_JINJA_SUBTRACT: r = a - b; break;
    case MMI_JINJA_MULTIPLY: r = a * b; break;
    case MMI_JINJA_POWER:
        if (a == 0 && b < 0) return fail_zero(run);
        r = pow(a, b);
        if ((isnan(r) && !isnan(a) && !isnan(b)) || (isinf(r) && !isinf(a) && !isinf(b)))
            return mmi_jinja_fail(run, MM_E_FORMAT, "a power that is no number");
        break;
    case MMI_JINJA_DIVIDE:
        if (b == 0) return fail_zero(run);
        r = a / b;
        break;
    default: /* floor division and its rest, which has the sign of b */
        if (b == 0) return fail_zero(run);
        rest = fmod(a, b);
        r = (a - rest) / b;
        if (rest != 0 && (b < 0) != (rest < 0)) {
            rest += b;
            r -= 1;
        }
        if (rest == 0) rest = copysign(0.0, b);
        if (r != 0) {
            double whole = floor(r);
            if (r - whole > 0.5) whole += 1;
            r = whole;
        } else {
            r = copysign(0.0, a / b);
        }
        if (op == MMI_JINJA_MODULO) r = rest;
        break;
    }
    *out = mmi_jinja_float(r);
    return 0;
}

static int integer_operate(jinja_run *run, mmi_jinja_node_kind op, int64_t a, int64_t b, value *out)
{
    int64_t r = 0, rest;
    int overflow = 0;

    switch (op) {
    case MMI_JINJA_ADD: overflow = __builtin_add_overflow(a, b, &r); break;
    case MMI_JINJA_SUBTRACT: overflow = __builtin_sub_overflow(a, b, &r); break;
    case MMI_JINJA_MULTIPLY: overflow = __builtin_mul_overflow(a, b, &r); break;
    case MMI_JINJA_DIVIDE: return float_operate(run, op, (double)a, (double)b, out);
    case MMI_JINJA_POWER:
        if (b < 0) return float_operate(run, op, (double)a, (double)b, out);
        return integer_power(run, a, b, out);
    default:
        if (!b) return fail_zero(run);
        if (b == -1) { /* INT64_MIN / -1 does not fit */
            overflow = op == MMI_JINJA_FLOOR_DIVIDE && __builtin_sub_overflow((int64_t)0, a, &r);
            break;
        }
        r = a / b;
        rest = a % b;
        if (rest && (rest < 0) != (b < 0)) {
            rest += b;
            r--;
        }
        if (op == MMI_JINJA_MODULO) r = rest;
        break;
    }
    if (overflow) return fail_overflow(run);
    *out = mmi_jinja_int(r);
    return 0;
}

/* ---- text and lists ---- */

/* Text joined to text that `safe` or `escape` made is escaped, as markupsafe does. */
static int add_strings(jinja_run *run, value a, value b, value *out)
{
    int markup = a.markup || b.markup;

    if (markup && !a.markup && mmi_jinja_escape(run, a.as.string, &a)) return 1;
    if (markup && !b.markup && mmi_jinja_escape(run, b.as.string, &b)) return 1;
    if (mmi_jinja_string_concat(run, a, b, out)) return 1;
    out->markup = (uint8_t)markup;
    return 0;
}

static int add_lists(jinja_run *run, value a, value b, value *out)
{
    size_t count = a.as.list->count + b.as.list->count;
    value *items = mmi_jinja_alloc(run, count, sizeof *items);

    if (!items || mmi_jinja_spend(run, count >> 3)) return 1;
    if (a.as.list->count) memcpy(items, a.as.list->items, a.as.list->count * sizeof *items);
    if (b.as.list->count) memcpy(items + a.as.list->count, b.as.list->items, b.as.list->count * sizeof *items);
    return mmi_jinja_list_wrap(run, a.kind, items, count, out);
}

static int repeat_list(jinja_run *run, value list, int64_t times, value *out)
{
    size_t n = list.as.list->count, count;
    value *items;

    if (times < 0) times = 0;
    if (mmi_size_mul(n, (size_t)times, &count)) count = (size_t)-1;
    items = mmi_jinja_alloc(run, count, sizeof *items);
    if (!items || mmi_jinja_spend(run, count >> 3)) return 1;
    for (size_t i = 0; i < count; i += n) memcpy(items + i, list.as.list->items, n * sizeof *items);
    return mmi_jinja_list_wrap(run, list.kind, items, count, out);
}

static int is_list(value v) { return v.kind == MMI_JINJA_LIST || v.kind == MMI_JINJA_TUPLE; }
static int is_integer(value v) { return v.kind == MMI_JINJA_INT || v.kind == MMI_JINJA_BOOL; }

int mmi_jinja_operate(jinja_run *run, mmi_jinja_node_kind op, value a, value b, value *out)
{
    static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "**"};

    if (mmi_jinja_is_number(a) && mmi_jinja_is_number(b)) {
        if (a.kind == MMI_JINJA_FLOAT || b.kind == MMI_JINJA_FLOAT) return float_operate(run, op, real_of(a), real_of(b), out);
        return integer_operate(run, op, integer_of(a), integer_of(b), out);
    }
    if (op == MMI_JINJA_ADD && a.kind == MMI_JINJA_STRING && b.kind == MMI_JINJA_STRING) return add_strings(run, a, b, out);
    if (op == MMI_JINJA_ADD && is_list(a) && a.kind == b.kind) return add_lists(run, a, b, out);
    if (op == MMI_JINJA_MODULO && a.kind == MMI_JINJA_STRING) return mmi_jinja_percent(run, a.as.string, b, out);
    if (op == MMI_JINJA_MULTIPLY && is_integer(a)) {
        value swap = a;
        a = b;
        b = swap;
    }
    if (op == MMI_JINJA_MULTIPLY && is_integer(b)) {
        if (a.kind == MMI_JINJA_STRING) return mmi_jinja_repeat(run, a.as.string, integer_of(b), out);
        if (is_list(a)) return repeat_list(run, a, integer_of(b), out);
    }
    return fail_types(run, signs[op - MMI_JINJA_ADD], a, b);
}

int mmi_jinja_signed(jinja_run *run, mmi_jinja_node_kind op, value a, value *out)
{
    int64_t r;

    if (!mmi_jinja_is_number(a)) return fail_types(run, op == MMI_JINJA_NEGATIVE ? "-" : "+", a, a);
    if (a.kind == MMI_JINJA_FLOAT) {
        *out = mmi_jinja_float(op == MMI_JINJA_NEGATIVE ? -a.as.real : a.as.real);
        return 0;
    }
    r = integer_of(a);
    if (op == MMI_JINJA_NEGATIVE && __builtin_sub_overflow((int64_t)0, r, &r)) return fail_overflow(run);
    *out = mmi_jinja_int(r);
    return 0;
}
