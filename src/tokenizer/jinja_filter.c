/* SPDX-License-Identifier: MIT */
#include "jinja_filter.h"

#include <math.h>
#include <string.h>

#include "jinja_format.h"
#include "jinja_method.h"
#include "jinja_operator.h"
#include "jinja_string.h"
#include "size.h"

enum { MAX_PARAMETERS = 4, MAX_INDENT = 1000 };

typedef mmi_jinja_value value;
typedef mmi_jinja_run jinja_run;
typedef mmi_jinja_string string;

/* `p` holds the parameters by their place in `names`, undefined where not given. */
typedef int (*filter_fn)(jinja_run *run, value v, const value *p, unsigned given, value *out);
typedef int (*open_filter_fn)(jinja_run *run, value v, const mmi_jinja_args *args, value *out);

struct mmi_jinja_filter {
    const char *name;
    filter_fn call;
    size_t required;
    const char *names[MAX_PARAMETERS + 1];
    open_filter_fn call_open; /* instead of `call`, for any arguments */
};

struct mmi_jinja_test {
    const char *name;
    int (*call)(jinja_run *run, value v, const value *p, int *out);
    size_t arguments;
};

/* ---- picking attributes ---- */

/* "user.names.0" of an item; one part at a time by subscript, digits as numbers. */
static int pick_path(jinja_run *run, value item, const char *path, size_t n, value default_, value *out)
{
    size_t at = 0, end;

    *out = item;
    for (;; at = end + 1) {
        value key;
        int digits;

        for (end = at, digits = 1; end < n && path[end] != '.'; end++) digits &= path[end] >= '0' && path[end] <= '9';
        if (digits && end > at && end - at < 10) {
            int64_t index = 0;
            for (size_t i = at; i < end; i++) index = index * 10 + (path[i] - '0');
            key = mmi_jinja_int(index);
        } else if (mmi_jinja_string_wrap(run, path + at, end - at, &key)) {
            return 1;
        }
        if (mmi_jinja_spend(run, 1) || mmi_jinja_item(run, *out, key, out)) return 1;
        if (out->kind == MMI_JINJA_UNDEFINED && default_.kind != MMI_JINJA_UNDEFINED && default_.kind != MMI_JINJA_NONE) *out = default_;
        if (end == n) return 0;
    }
}

/* The attribute that a filter was given, none or undefined for the item itself. */
static int pick(jinja_run *run, value item, value attribute, value default_, value *out)
{
    *out = item;
    if (attribute.kind == MMI_JINJA_UNDEFINED || attribute.kind == MMI_JINJA_NONE) return 0;
    if (attribute.kind == MMI_JINJA_STRING)
        return pick_path(run, item, attribute.as.string->data, attribute.as.string->size, default_, out);
    return mmi_jinja_item(run, item, attribute, out);
}

static int ignore_case(jinja_run *run, value *v)
{
    return v->kind == MMI_JINJA_STRING && mmi_jinja_change_case(run, v->as.string, MMI_JINJA_LOWER, v);
}

/* What to sort by: the attribute, or a list of those that commas separate. */
static int sort_key(jinja_run *run, value item, value attribute, int case_sensitive, value *out)
{
    const string *s = attribute.kind == MMI_JINJA_STRING ? attribute.as.string : NULL;
    size_t count = 1, at = 0, end, i = 0;
    value *keys;

    if (s && mmi_jinja_spend(run, s->size >> 6)) return 1;
    for (size_t c = 0; s && c < s->size; c++) count += s->data[c] == ',';
    if (count == 1) return pick(run, item, attribute, mmi_jinja_undefined, out) || (!case_sensitive && ignore_case(run, out));
    keys = mmi_jinja_alloc(run, count, sizeof *keys);
    if (!keys) return 1;
    for (; i < count; i++, at = end + 1) {
        for (end = at; end < s->size && s->data[end] != ','; end++) {
        }
        if (pick_path(run, item, s->data + at, end - at, mmi_jinja_undefined, &keys[i]) || (!case_sensitive && ignore_case(run, &keys[i])))
            return 1;
    }
    return mmi_jinja_list_wrap(run, MMI_JINJA_LIST, keys, count, out);
}

static int copy_items(jinja_run *run, const value *items, size_t count, value **out)
{
    *out = mmi_jinja_alloc(run, count, sizeof **out);
    if (!*out || mmi_jinja_spend(run, count >> 3)) return 1;
    if (count) memcpy(*out, items, count * sizeof **out);
    return 0;
}

/* ---- filters on any value ---- */

static int filter_default(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    if (v.kind != MMI_JINJA_UNDEFINED && !(mmi_jinja_truth(p[1]) && !mmi_jinja_truth(v)))
        *out = v;
    else if (given & 1)
        *out = p[0];
    else
        return mmi_jinja_string_wrap(run, "", 0, out);
    return 0;
}

static int filter_length(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    size_t n;

    (void)p, (void)given;
    if (mmi_jinja_length(run, v, &n)) return 1;
    *out = mmi_jinja_int((int64_t)n);
    return 0;
}

static int filter_string(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    (void)p, (void)given;
    return mmi_jinja_to_string(run, v, out);
}

static int filter_safe(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    (void)p, (void)given;
    if (mmi_jinja_to_string(run, v, out)) return 1;
    out->markup = 1;
    return 0;
}

static int filter_escape(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    (void)p, (void)given;
    *out = v;
    if (v.kind == MMI_JINJA_STRING && v.markup) return 0;
    return mmi_jinja_to_string(run, v, &v) || mmi_jinja_escape(run, v.as.string, out);
}

static int separator(jinja_run *run, value v, size_t which, const string **out)
{
    if ((v.kind != MMI_JINJA_TUPLE && v.kind != MMI_JINJA_LIST) || v.as.list->count != 2)
        return mmi_jinja_fail(run, MM_E_FORMAT, "tojson needs two separators");
    return mmi_jinja_want_string(run, "tojson", v.as.list->items[which], out);
}

static int filter_tojson(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    mmi_jinja_json_style style = {0};
    mmi_jinja_text text = {0}, spaces = {0};
    value indent = p[1];
    int64_t width;

    (void)given;
    style.ascii = mmi_jinja_truth(p[0]);
    style.sort_keys = mmi_jinja_truth(p[3]);
    if (indent.kind != MMI_JINJA_UNDEFINED && indent.kind != MMI_JINJA_NONE) {
        style.pretty = 1;
        if (indent.kind != MMI_JINJA_STRING) {
            if (mmi_jinja_want_int(run, "tojson", indent, &width)) return 1;
            if (width > MAX_INDENT) return mmi_jinja_fail(run, MM_E_LIMIT, "tojson with an indent of more than %d", MAX_INDENT);
            if (mmi_jinja_fill(run, &spaces, " ", 1, width > 0 ? (size_t)width : 0) || mmi_jinja_string_of_text(run, &spaces, &indent))
                return 1;
        }
        style.indent = indent.as.string;
    }
    if (p[2].kind != MMI_JINJA_UNDEFINED && p[2].kind != MMI_JINJA_NONE &&
        (separator(run, p[2], 0, &style.item_separator) || separator(run, p[2], 1, &style.key_separator)))
        return 1;
    return mmi_jinja_dump_json(run, &text, v, &style) || mmi_jinja_string_of_text(run, &text, out);
}

/* ---- filters on text ---- */

static int change_case(jinja_run *run, value v, mmi_jinja_case what, value *out)
{
    return mmi_jinja_to_string(run, v, &v) || mmi_jinja_change_case(run, v.as.string, what, out);
}

static int filter_upper(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    (void)p, (void)given;
    return change_case(run, v, MMI_JINJA_UPPER, out);
}

static int filter_lower(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    (void)p, (void)given;
    return change_case(run, v, MMI_JINJA_LOWER, out);
}

static int filter_capitalize(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    (void)p, (void)given;
    return change_case(run, v, MMI_JINJA_CAPITALIZE, out);
}

static int filter_title(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    (void)p, (void)given;
    return change_case(run, v, MMI_JINJA_TITLE_FILTER, out);
}

static int filter_trim(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    const string *chars = NULL;

    (void)given;
    if (p[0].kind != MMI_JINJA_UNDEFINED && p[0].kind != MMI_JINJA_NONE && mmi_jinja_want_string(run, "trim", p[0], &chars)) return 1;
    return mmi_jinja_to_string(run, v, &v) || mmi_jinja_strip(run, v.as.string, chars, MMI_JINJA_LEFT | MMI_JINJA_RIGHT, out);
}

static int filter_replace(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    value old, by;
    int64_t most = -1;

    (void)given;
    if (p[2].kind != MMI_JINJA_UNDEFINED && p[2].kind != MMI_JINJA_NONE && mmi_jinja_want_int(run, "replace", p[2], &most)) return 1;
    return mmi_jinja_to_string(run, v, &v) || mmi_jinja_to_string(run, p[0], &old) || mmi_jinja_to_string(run, p[1], &by) ||
           mmi_jinja_replace(run, v.as.string, old.as.string, by.as.string, most, out);
}

static int filter_indent(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    mmi_jinja_text text = {0}, spaces = {0};
    value indent, lines;
    const string *s;
    int64_t width = 4;
    int first = mmi_jinja_truth(p[1]), blank = mmi_jinja_truth(p[2]);

    if (mmi_jinja_want_string(run, "indent", v, &s)) return 1;
    if (p[0].kind == MMI_JINJA_STRING) {
        indent = p[0];
    } else {
        if (given & 1 && mmi_jinja_want_int(run, "indent", p[0], &width)) return 1;
        if (width > MAX_INDENT) return mmi_jinja_fail(run, MM_E_LIMIT, "indent by more than %d", MAX_INDENT);
        if (mmi_jinja_fill(run, &spaces, " ", 1, width > 0 ? (size_t)width : 0) || mmi_jinja_string_of_text(run, &spaces, &indent))
            return 1;
    }
    /* Jinja splits text with a line break put behind it, so that one at the end gives a last empty line. */
    if (mmi_jinja_text_append(run, &text, s->data, s->size) || mmi_jinja_text_append(run, &text, "\n", 1) ||
        mmi_jinja_string_of_text(run, &text, &lines) || mmi_jinja_splitlines(run, lines.as.string, 0, &lines))
        return 1;
    memset(&text, 0, sizeof text);
    for (size_t i = 0; i < lines.as.list->count; i++) {
        const string *line = lines.as.list->items[i].as.string;
        if (mmi_jinja_spend(run, 1) || (i && mmi_jinja_text_append(run, &text, "\n", 1))) return 1;
        if (i ? blank || line->size : first)
            if (mmi_jinja_text_append(run, &text, indent.as.string->data, indent.as.string->size)) return 1;
        if (mmi_jinja_text_append(run, &text, line->data, line->size)) return 1;
    }
    return mmi_jinja_string_of_text(run, &text, out);
}

static int filter_format(jinja_run *run, value v, const mmi_jinja_args *args, value *out)
{
    value arguments;
    mmi_jinja_dict *dict;

    if (args->named && args->positional) return mmi_jinja_fail(run, MM_E_FORMAT, "format takes arguments by position or by name, not both");
    if (args->named) {
        if (mmi_jinja_dict_create(run, &dict)) return 1;
        for (size_t i = 0; i < args->named; i++) {
            value key = {MMI_JINJA_STRING, 0, {0}};
            key.as.string = args->names[i];
            if (mmi_jinja_dict_put(run, dict, key, args->values[i])) return 1;
        }
        arguments.kind = MMI_JINJA_DICT;
        arguments.markup = 0;
        arguments.as.dict = dict;
    } else if (mmi_jinja_list_wrap(run, MMI_JINJA_TUPLE, args->values, args->positional, &arguments)) {
        return 1;
    }
    return mmi_jinja_to_string(run, v, &v) || mmi_jinja_percent(run, v.as.string, arguments, out);
}

/* ---- filters on numbers ---- */

static int filter_abs(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    (void)p, (void)given;
    if (!mmi_jinja_is_number(v)) return mmi_jinja_fail(run, MM_E_FORMAT, "abs of a value of type %s", mmi_jinja_type(v));
    if (v.kind == MMI_JINJA_FLOAT) {
        *out = mmi_jinja_float(fabs(v.as.real));
        return 0;
    }
    return mmi_jinja_signed(run, v.kind == MMI_JINJA_INT && v.as.integer < 0 ? MMI_JINJA_NEGATIVE : MMI_JINJA_POSITIVE, v, out);
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'z') return c - 'a' + 10;
    if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
    return 99;
}

/* Python's int(text, base). Returns 1 for a number, 0 for none, -1 for one above 64 bits. */
static int parse_integer(const char *s, size_t n, int base, int64_t *out)
{
    size_t at = 0;
    int negative = 0, prefix, after_digit = 0;

    if (n && (s[0] == '-' || s[0] == '+')) negative = s[at++] == '-';
    if (at + 1 < n && s[at] == '0') {
        prefix = s[at + 1] == 'x' || s[at + 1] == 'X'   ? 16
                 : s[at + 1] == 'o' || s[at + 1] == 'O' ? 8
                 : s[at + 1] == 'b' || s[at + 1] == 'B' ? 2
                                                        : 0;
        if (prefix == base) {
            at += 2;
            if (at < n && s[at] == '_') at++;
        }
    }
    *out = 0;
    if (at == n) return 0;
    for (size_t i = at; i < n; i++) { /* the form first, so that a wrong text is none rather than too large */
        if (s[i] == '_' ? !after_digit || i + 1 == n : digit_of(s[i]) >= base) return 0;
        after_digit = s[i] != '_';
    }
    for (size_t i = at; i < n; i++) {
        int64_t digit = digit_of(s[i]);
        if (s[i] == '_') continue;
        if (__builtin_mul_overflow(*out, (int64_t)base, out) || __builtin_add_overflow(*out, negative ? -digit : digit, out)) return -1;
    }
    return 1;
}

/* Digits with single underscores between; *at moves behind them. Returns how many. */
static size_t float_digits(const char *s, size_t n, size_t *at)
{
    size_t count = 0;
    while (*at < n && ((s[*at] >= '0' && s[*at] <= '9') ||
                       (s[*at] == '_' && count && s[*at - 1] != '_' && *at + 1 < n && s[*at + 1] >= '0' && s[*at + 1] <= '9'))) {
        count += s[*at] != '_';
        ++*at;
    }
    return count;
}

static int is_word(const char *s, size_t n, const char *word)
{
    if (strlen(word) != n) return 0;
    for (size_t i = 0; i < n; i++)
        if ((s[i] | 32) != word[i]) return 0;
    return 1;
}

/* Python's float(text); *is_number tells whether it is one. */
static int parse_float(jinja_run *run, const char *s, size_t n, int *is_number, double *out)
{
    size_t at = 0, digits, sign, size = 0;
    char *copy;

    *is_number = 1;
    if (n && (s[0] == '-' || s[0] == '+')) at++;
    sign = at;
    if (is_word(s + at, n - at, "inf") || is_word(s + at, n - at, "infinity") || is_word(s + at, n - at, "nan")) {
        *out = (s[at] | 32) == 'n' ? (double)NAN : sign && s[0] == '-' ? -(double)INFINITY : (double)INFINITY;
        return 0;
    }
    digits = float_digits(s, n, &at);
    if (at < n && s[at] == '.') {
        at++;
        digits += float_digits(s, n, &at);
    }
    *is_number = digits > 0;
    if (*is_number && at < n && (s[at] | 32) == 'e') {
        at++;
        if (at < n && (s[at] == '-' || s[at] == '+')) at++;
        *is_number = float_digits(s, n, &at) > 0;
    }
    *is_number = *is_number && at == n;
    if (!*is_number) return 0;
    copy = mmi_jinja_alloc(run, n, 1);
    if (!copy) return 1;
    for (size_t i = 0; i < n; i++)
        if (s[i] != '_') copy[size++] = s[i];
    return mmi_jinja_read_double(run, copy, size, out);
}

static int float_to_int(jinja_run *run, double real, value *out)
{
    if (!(fabs(real) < 9223372036854775808.0)) return mmi_jinja_fail(run, MM_E_LIMIT, "int of a float that does not fit in 64 bits");
    *out = mmi_jinja_int((int64_t)real);
    return 0;
}

static int fail_undefined(jinja_run *run, const char *what) { return mmi_jinja_fail(run, MM_E_FORMAT, "%s of an undefined value", what); }

static int filter_int(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    int64_t base = 10, number;
    int kind, is_number = 0;
    double real = 0;
    value stripped;

    if (given & 2 && mmi_jinja_want_int(run, "int", p[1], &base)) return 1;
    if (base < 2 || base > 36) return mmi_jinja_fail(run, MM_E_FORMAT, "int with base %lld", (long long)base);
    if (v.kind == MMI_JINJA_UNDEFINED) return fail_undefined(run, "int");
    *out = given & 1 ? p[0] : mmi_jinja_int(0);
    if (v.kind == MMI_JINJA_INT || v.kind == MMI_JINJA_BOOL) {
        *out = mmi_jinja_int(v.kind == MMI_JINJA_INT ? v.as.integer : v.as.truth);
        return 0;
    }
    if (v.kind == MMI_JINJA_FLOAT) return isnan(v.as.real) ? 0 : float_to_int(run, v.as.real, out);
    if (v.kind != MMI_JINJA_STRING) return 0;
    if (mmi_jinja_strip(run, v.as.string, NULL, MMI_JINJA_LEFT | MMI_JINJA_RIGHT, &stripped)) return 1;
    kind = parse_integer(stripped.as.string->data, stripped.as.string->size, (int)base, &number);
    if (kind < 0) return mmi_jinja_fail(run, MM_E_LIMIT, "int of a text whose number does not fit in 64 bits");
    if (kind > 0) {
        *out = mmi_jinja_int(number);
        return 0;
    }
    if (parse_float(run, stripped.as.string->data, stripped.as.string->size, &is_number, &real)) return 1; /* "42.5" gives 42 */
    return is_number && !isnan(real) && !isinf(real) ? float_to_int(run, real, out) : 0;
}

static int filter_float(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    int is_number = 0;
    double real = 0;
    value stripped;

    if (v.kind == MMI_JINJA_UNDEFINED) return fail_undefined(run, "float");
    *out = given & 1 ? p[0] : mmi_jinja_float(0);
    if (mmi_jinja_is_number(v)) {
        *out = mmi_jinja_float(v.kind == MMI_JINJA_FLOAT ? v.as.real : v.kind == MMI_JINJA_INT ? (double)v.as.integer : v.as.truth);
        return 0;
    }
    if (v.kind != MMI_JINJA_STRING) return 0;
    if (mmi_jinja_strip(run, v.as.string, NULL, MMI_JINJA_LEFT | MMI_JINJA_RIGHT, &stripped) ||
        parse_float(run, stripped.as.string->data, stripped.as.string->size, &is_number, &real))
        return 1;
    if (is_number) *out = mmi_jinja_float(real);
    return 0;
}

static int filter_round(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    int64_t precision = 0;
    const string *method = NULL;
    double scale, real;
    char digits[512];
    size_t n;

    if (given & 1 && mmi_jinja_want_int(run, "round", p[0], &precision)) return 1;
    if (given & 2 && mmi_jinja_want_string(run, "round", p[1], &method)) return 1;
    if (!mmi_jinja_is_number(v)) return mmi_jinja_fail(run, MM_E_FORMAT, "round of a value of type %s", mmi_jinja_type(v));
    if (precision < 0 || precision > 22)
        return mmi_jinja_fail(run, MM_E_FORMAT, "round to %lld digits; 0 to 22 are possible", (long long)precision);
    real = v.kind == MMI_JINJA_FLOAT ? v.as.real : v.kind == MMI_JINJA_INT ? (double)v.as.integer : v.as.truth;
    if (!method || mmi_jinja_string_equals(method, "common")) {
        *out = v.kind == MMI_JINJA_BOOL ? mmi_jinja_int(v.as.truth) : v;
        if (v.kind != MMI_JINJA_FLOAT || isnan(real) || isinf(real)) return 0;
        n = mmi_jinja_print_double(digits, sizeof digits, "", (int)precision, 'f', real); /* rounds the exact binary value, half to even */
        if (mmi_jinja_read_double(run, digits, n, &real)) return 1;
        *out = mmi_jinja_float(real);
        return 0;
    }
    scale = pow(10, (double)precision);
    if (!mmi_jinja_string_equals(method, "ceil") && !mmi_jinja_string_equals(method, "floor"))
        return mmi_jinja_fail(run, MM_E_FORMAT, "round knows the methods common, ceil and floor");
    if (isnan(real) || isinf(real)) return mmi_jinja_fail(run, MM_E_FORMAT, "round of a float that is no number");
    *out = mmi_jinja_float((mmi_jinja_string_equals(method, "ceil") ? ceil(real * scale) : floor(real * scale)) / scale);
    return 0;
}

/* ---- filters on sequences ---- */

static int filter_first(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    const value *items;
    size_t count;

    (void)p, (void)given;
    *out = mmi_jinja_undefined;
    if (v.kind == MMI_JINJA_ITERATOR) {
        if (v.as.iterator->next < v.as.iterator->count) *out = v.as.iterator->items[v.as.iterator->next++];
        return 0;
    }
    if (v.kind == MMI_JINJA_STRING) return v.as.string->size ? mmi_jinja_substring(run, v.as.string, 0, 1, out) : 0;
    if (mmi_jinja_items(run, v, &items, &count)) return 1;
    if (count) *out = items[0];
    return 0;
}

static int filter_last(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    const value *items;
    size_t count;

    (void)p, (void)given;
    if (v.kind == MMI_JINJA_ITERATOR)
        return mmi_jinja_fail(run, MM_E_FORMAT, "last of a %s, which cannot be walked backwards", mmi_jinja_type(v));
    if (mmi_jinja_items(run, v, &items, &count)) return 1;
    *out = count ? items[count - 1] : mmi_jinja_undefined;
    return 0;
}

static int filter_list(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    const value *items;
    size_t count;

    (void)p, (void)given;
    return mmi_jinja_items(run, v, &items, &count) || mmi_jinja_list_wrap(run, MMI_JINJA_LIST, items, count, out);
}

static int filter_reverse(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    const value *items;
    value *reversed;
    size_t count;

    (void)p, (void)given;
    if (v.kind == MMI_JINJA_STRING) return mmi_jinja_slice(run, v, mmi_jinja_none, mmi_jinja_none, mmi_jinja_int(-1), out);
    if (mmi_jinja_items(run, v, &items, &count)) return 1;
    reversed = mmi_jinja_alloc(run, count, sizeof *reversed);
    if (!reversed || mmi_jinja_spend(run, count >> 3)) return 1;
    for (size_t i = 0; i < count; i++) reversed[i] = items[count - 1 - i];
    if (v.kind == MMI_JINJA_ITERATOR) return mmi_jinja_list_wrap(run, MMI_JINJA_LIST, reversed, count, out);
    return mmi_jinja_iterator_wrap(run, "reversed iterator", reversed, count, out);
}

static int filter_items(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    mmi_jinja_view view = {MMI_JINJA_ITEMS, NULL};
    value as_view = {MMI_JINJA_VIEW, 0, {0}};
    const value *items = NULL;
    size_t count = 0;

    (void)p, (void)given;
    if (v.kind == MMI_JINJA_DICT) {
        view.dict = v.as.dict;
        as_view.as.view = &view;
        if (mmi_jinja_items(run, as_view, &items, &count)) return 1;
    } else if (v.kind != MMI_JINJA_UNDEFINED) {
        return mmi_jinja_fail(run, MM_E_FORMAT, "items of a value of type %s", mmi_jinja_type(v));
    }
    return mmi_jinja_iterator_wrap(run, "generator", items, count, out);
}

static int filter_join(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    mmi_jinja_text text = {0}, between = {0};
    const value *items;
    size_t count;

    if ((given & 1 && mmi_jinja_str(run, &between, p[0])) || mmi_jinja_items(run, v, &items, &count)) return 1;
    for (size_t i = 0; i < count; i++) {
        value item;
        if (mmi_jinja_spend(run, 1) || (i && mmi_jinja_text_append(run, &text, between.data, between.size)) ||
            pick(run, items[i], p[1], mmi_jinja_undefined, &item) || mmi_jinja_str(run, &text, item))
            return 1;
    }
    return mmi_jinja_string_of_text(run, &text, out);
}

static int filter_sort(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    const value *items;
    value *sorted, *keys;
    size_t count;

    (void)given;
    if (mmi_jinja_items(run, v, &items, &count) || copy_items(run, items, count, &sorted) || copy_items(run, items, count, &keys)) return 1;
    for (size_t i = 0; i < count; i++)
        if (mmi_jinja_spend(run, 1) || sort_key(run, items[i], p[2], mmi_jinja_truth(p[1]), &keys[i])) return 1;
    return mmi_jinja_sort(run, keys, sorted, count, mmi_jinja_truth(p[0])) || mmi_jinja_list_wrap(run, MMI_JINJA_LIST, sorted, count, out);
}

static int filter_dictsort(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    size_t count, by_value = 0;
    value *pairs, *keys;

    if (v.kind != MMI_JINJA_DICT) return mmi_jinja_fail(run, MM_E_FORMAT, "dictsort of a value of type %s", mmi_jinja_type(v));
    if (given & 2) {
        if (p[1].kind != MMI_JINJA_STRING ||
            (!mmi_jinja_string_equals(p[1].as.string, "key") && !mmi_jinja_string_equals(p[1].as.string, "value")))
            return mmi_jinja_fail(run, MM_E_FORMAT, "dictsort sorts by \"key\" or \"value\"");
        by_value = mmi_jinja_string_equals(p[1].as.string, "value");
    }
    count = v.as.dict->count;
    pairs = mmi_jinja_alloc(run, count, sizeof *pairs);
    keys = mmi_jinja_alloc(run, count, sizeof *keys);
    if (!pairs || !keys) return 1;
    for (size_t i = 0; i < count; i++) {
        const mmi_jinja_entry *e = &v.as.dict->entries[i];
        keys[i] = by_value ? e->value : e->key;
        if (mmi_jinja_spend(run, 1) || mmi_jinja_pair(run, e->key, e->value, &pairs[i]) ||
            (!mmi_jinja_truth(p[0]) && ignore_case(run, &keys[i])))
            return 1;
    }
    return mmi_jinja_sort(run, keys, pairs, count, mmi_jinja_truth(p[2])) || mmi_jinja_list_wrap(run, MMI_JINJA_LIST, pairs, count, out);
}

static int filter_unique(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    const value *items, *found;
    value *kept;
    size_t count, n = 0;
    mmi_jinja_dict *seen;

    (void)given;
    if (mmi_jinja_items(run, v, &items, &count) || copy_items(run, items, count, &kept) || mmi_jinja_dict_create(run, &seen)) return 1;
    for (size_t i = 0; i < count; i++) {
        value key;
        if (mmi_jinja_spend(run, 1) || pick(run, items[i], p[1], mmi_jinja_undefined, &key) ||
            (!mmi_jinja_truth(p[0]) && ignore_case(run, &key)) || mmi_jinja_dict_find(run, seen, key, &found))
            return 1;
        if (found) continue;
        if (mmi_jinja_dict_put(run, seen, key, mmi_jinja_none)) return 1;
        kept[n++] = items[i];
    }
    return mmi_jinja_iterator_wrap(run, "generator", kept, n, out);
}

static int extreme(jinja_run *run, value v, const value *p, int sign, value *out)
{
    const value *items;
    size_t count;
    value best = mmi_jinja_undefined, key;
    int order;

    if (mmi_jinja_items(run, v, &items, &count)) return 1;
    *out = mmi_jinja_undefined;
    for (size_t i = 0; i < count; i++) {
        if (mmi_jinja_spend(run, 1) || pick(run, items[i], p[1], mmi_jinja_undefined, &key) ||
            (!mmi_jinja_truth(p[0]) && ignore_case(run, &key)))
            return 1;
        if (i) {
            if (mmi_jinja_order(run, key, best, &order)) return 1;
            if (order != sign) continue;
        }
        best = key;
        *out = items[i];
    }
    return 0;
}

static int filter_min(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    (void)given;
    return extreme(run, v, p, -1, out);
}

static int filter_max(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    (void)given;
    return extreme(run, v, p, 1, out);
}

static int filter_sum(jinja_run *run, value v, const value *p, unsigned given, value *out)
{
    const value *items;
    size_t count;

    *out = given & 2 ? p[1] : mmi_jinja_int(0);
    if (out->kind == MMI_JINJA_STRING) return mmi_jinja_fail(run, MM_E_FORMAT, "sum of text");
    if (mmi_jinja_items(run, v, &items, &count)) return 1;
    for (size_t i = 0; i < count; i++) {
        value item;
        if (mmi_jinja_spend(run, 1) || pick(run, items[i], p[0], mmi_jinja_undefined, &item) ||
            mmi_jinja_operate(run, MMI_JINJA_ADD, *out, item, out))
            return 1;
    }
    return 0;
}

/* map("filter", arguments ...) or map(attribute="name", default=...) */
static int filter_map(jinja_run *run, value v, const mmi_jinja_args *args, value *out)
{
    static const char *const names[] = {"attribute", "default", NULL};
    const mmi_jinja_filter *filter = NULL;
    mmi_jinja_args rest = *args;
    const string *name;
    const value *items;
    value *mapped, p[2] = {mmi_jinja_undefined, mmi_jinja_undefined};
    size_t count;
    unsigned given;

    if (!mmi_jinja_truth(v)) return mmi_jinja_iterator_wrap(run, "generator", NULL, 0, out);
    if (args->positional) {
        if (mmi_jinja_want_string(run, "map", args->values[0], &name)) return 1;
        filter = mmi_jinja_filter_find(name->data, name->size);
        if (!filter) return mmi_jinja_fail(run, MM_E_FORMAT, "there is no filter '%.*s'", (int)mmi_size_min(name->size, 60), name->data);
        rest.positional--;
        rest.values++;
    } else if (mmi_jinja_bind(run, "map", args, names, 1, p, &given)) {
        return 1;
    }
    if (mmi_jinja_items(run, v, &items, &count) || mmi_jinja_enter(run)) return 1;
    mapped = mmi_jinja_alloc(run, count, sizeof *mapped);
    if (!mapped) return 1;
    for (size_t i = 0; i < count; i++)
        if (mmi_jinja_spend(run, 1) ||
            (filter ? mmi_jinja_filter_apply(run, filter, items[i], &rest, &mapped[i]) : pick(run, items[i], p[0], p[1], &mapped[i])))
            return 1;
    run->depth--;
    return mmi_jinja_iterator_wrap(run, "generator", mapped, count, out);
}

/* select, reject, selectattr, rejectattr: the items whose test gives `wanted`. */
static int choose(jinja_run *run, value v, const mmi_jinja_args *args, int by_attribute, int wanted, value *out)
{
    const mmi_jinja_test *test = NULL;
    mmi_jinja_args rest = *args;
    const string *name;
    const value *items;
    value *kept, attribute = mmi_jinja_undefined;
    size_t count, n = 0;

    if (!mmi_jinja_truth(v)) return mmi_jinja_iterator_wrap(run, "generator", NULL, 0, out);
    if (by_attribute) {
        if (!args->positional) return mmi_jinja_fail(run, MM_E_FORMAT, "selectattr and rejectattr need the name of an attribute");
        attribute = args->values[0];
        rest.positional--;
        rest.values++;
    }
    if (rest.positional) {
        if (mmi_jinja_want_string(run, "select or reject", rest.values[0], &name)) return 1;
        test = mmi_jinja_test_find(name->data, name->size);
        if (!test) return mmi_jinja_fail(run, MM_E_FORMAT, "there is no test '%.*s'", (int)mmi_size_min(name->size, 60), name->data);
        rest.positional--;
        rest.values++;
    }
    if (mmi_jinja_items(run, v, &items, &count) || copy_items(run, items, count, &kept)) return 1;
    for (size_t i = 0; i < count; i++) {
        value picked;
        int passes;
        if (mmi_jinja_spend(run, 1) || pick(run, items[i], attribute, mmi_jinja_undefined, &picked)) return 1;
        passes = mmi_jinja_truth(picked);
        if (test && mmi_jinja_test_apply(run, test, picked, &rest, &passes)) return 1;
        if (passes == wanted) kept[n++] = items[i];
    }
    return mmi_jinja_iterator_wrap(run, "generator", kept, n, out);
}

static int filter_select(jinja_run *run, value v, const mmi_jinja_args *args, value *out) { return choose(run, v, args, 0, 1, out); }
static int filter_reject(jinja_run *run, value v, const mmi_jinja_args *args, value *out) { return choose(run, v, args, 0, 0, out); }
static int filter_selectattr(jinja_run *run, value v, const mmi_jinja_args *args, value *out) { return choose(run, v, args, 1, 1, out); }
static int filter_rejectattr(jinja_run *run, value v, const mmi_jinja_args *args, value *out) { return choose(run, v, args, 1, 0, out); }

static const mmi_jinja_filter filters[] = {
    {"abs", filter_abs, 0, {NULL}, NULL},
    {"capitalize", filter_capitalize, 0, {NULL}, NULL},
    {"count", filter_length, 0, {NULL}, NULL},
    {"d", filter_default, 0, {"default_value", "boolean", NULL}, NULL},
    {"default", filter_default, 0, {"default_value", "boolean", NULL}, NULL},
    {"dictsort", filter_dictsort, 0, {"case_sensitive", "by", "reverse", NULL}, NULL},
    {"e", filter_escape, 0, {NULL}, NULL},
    {"escape", filter_escape, 0, {NULL}, NULL},
    {"first", filter_first, 0, {NULL}, NULL},
    {"float", filter_float, 0, {"default", NULL}, NULL},
    {"format", NULL, 0, {NULL}, filter_format},
    {"indent", filter_indent, 0, {"width", "first", "blank", NULL}, NULL},
    {"int", filter_int, 0, {"default", "base", NULL}, NULL},
    {"items", filter_items, 0, {NULL}, NULL},
    {"join", filter_join, 0, {"d", "attribute", NULL}, NULL},
    {"last", filter_last, 0, {NULL}, NULL},
    {"length", filter_length, 0, {NULL}, NULL},
    {"list", filter_list, 0, {NULL}, NULL},
    {"lower", filter_lower, 0, {NULL}, NULL},
    {"map", NULL, 0, {NULL}, filter_map},
    {"max", filter_max, 0, {"case_sensitive", "attribute", NULL}, NULL},
    {"min", filter_min, 0, {"case_sensitive", "attribute", NULL}, NULL},
    {"reject", NULL, 0, {NULL}, filter_reject},
    {"rejectattr", NULL, 0, {NULL}, filter_rejectattr},
    {"replace", filter_replace, 2, {"old", "new", "count", NULL}, NULL},
    {"reverse", filter_reverse, 0, {NULL}, NULL},
    {"round", filter_round, 0, {"precision", "method", NULL}, NULL},
    {"safe", filter_safe, 0, {NULL}, NULL},
    {"select", NULL, 0, {NULL}, filter_select},
    {"selectattr", NULL, 0, {NULL}, filter_selectattr},
    {"sort", filter_sort, 0, {"reverse", "case_sensitive", "attribute", NULL}, NULL},
    {"string", filter_string, 0, {NULL}, NULL},
    {"sum", filter_sum, 0, {"attribute", "start", NULL}, NULL},
    {"title", filter_title, 0, {NULL}, NULL},
    {"tojson", filter_tojson, 0, {"ensure_ascii", "indent", "separators", "sort_keys", NULL}, NULL},
    {"trim", filter_trim, 0, {"chars", NULL}, NULL},
    {"unique", filter_unique, 0, {"case_sensitive", "attribute", NULL}, NULL},
    {"upper", filter_upper, 0, {NULL}, NULL},
};

const mmi_jinja_filter *mmi_jinja_filter_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (strlen(filters[i].name) == n && memcmp(filters[i].name, name, n) == 0) return &filters[i];
    return NULL;
}

int mmi_jinja_filter_apply(jinja_run *run, const mmi_jinja_filter *filter, value v, const mmi_jinja_args *args, value *out)
{
    value p[MAX_PARAMETERS] = {mmi_jinja_undefined, mmi_jinja_undefined, mmi_jinja_undefined, mmi_jinja_undefined};
    unsigned given;
    int failed;

    if (mmi_jinja_enter(run)) return 1; /* map("map", "map" ...) */
    if (filter->call_open)
        failed = filter->call_open(run, v, args, out);
    else
        failed = mmi_jinja_bind(run, filter->name, args, filter->names, filter->required, p, &given) || filter->call(run, v, p, given, out);
    if (!failed) run->depth--;
    return failed;
}

/* ---- tests ---- */

static int compare(jinja_run *run, value a, value b, int *order, int *unordered)
{
    if (mmi_jinja_order(run, a, b, order)) return 1;
    *unordered = *order == 2;
    return 0;
}

static int rest_is(jinja_run *run, value v, int64_t by, int64_t wanted, int *out)
{
    value rest;
    return mmi_jinja_operate(run, MMI_JINJA_MODULO, v, mmi_jinja_int(by), &rest) || mmi_jinja_equal(run, rest, mmi_jinja_int(wanted), out);
}

static int test_odd(jinja_run *run, value v, const value *p, int *out)
{
    (void)p;
    return rest_is(run, v, 2, 1, out);
}
static int test_even(jinja_run *run, value v, const value *p, int *out)
{
    (void)p;
    return rest_is(run, v, 2, 0, out);
}

static int test_divisibleby(jinja_run *run, value v, const value *p, int *out)
{
    value rest;
    return mmi_jinja_operate(run, MMI_JINJA_MODULO, v, p[0], &rest) || mmi_jinja_equal(run, rest, mmi_jinja_int(0), out);
}

static int test_defined(jinja_run *run, value v, const value *p, int *out)
{
    (void)run, (void)p;
    *out = v.kind != MMI_JINJA_UNDEFINED;
    return 0;
}
static int test_undefined(jinja_run *run, value v, const value *p, int *out)
{
    (void)run, (void)p;
    *out = v.kind == MMI_JINJA_UNDEFINED;
    return 0;
}
static int test_none(jinja_run *run, value v, const value *p, int *out)
{
    (void)run, (void)p;
    *out = v.kind == MMI_JINJA_NONE;
    return 0;
}
static int test_boolean(jinja_run *run, value v, const value *p, int *out)
{
    (void)run, (void)p;
    *out = v.kind == MMI_JINJA_BOOL;
    return 0;
}
static int test_true(jinja_run *run, value v, const value *p, int *out)
{
    (void)run, (void)p;
    *out = v.kind == MMI_JINJA_BOOL && v.as.truth;
    return 0;
}
static int test_false(jinja_run *run, value v, const value *p, int *out)
{
    (void)run, (void)p;
    *out = v.kind == MMI_JINJA_BOOL && !v.as.truth;
    return 0;
}
static int test_integer(jinja_run *run, value v, const value *p, int *out)
{
    (void)run, (void)p;
    *out = v.kind == MMI_JINJA_INT;
    return 0;
}
static int test_float(jinja_run *run, value v, const value *p, int *out)
{
    (void)run, (void)p;
    *out = v.kind == MMI_JINJA_FLOAT;
    return 0;
}
static int test_number(jinja_run *run, value v, const value *p, int *out)
{
    (void)run, (void)p;
    *out = mmi_jinja_is_number(v);
    return 0;
}
static int test_string(jinja_run *run, value v, const value *p, int *out)
{
    (void)run, (void)p;
    *out = v.kind == MMI_JINJA_STRING;
    return 0;
}
static int test_mapping(jinja_run *run, value v, const value *p, int *out)
{
    (void)run, (void)p;
    *out = v.kind == MMI_JINJA_DICT;
    return 0;
}
static int test_iterable(jinja_run *run, value v, const value *p, int *out)
{
    (void)run, (void)p;
    *out = mmi_jinja_is_iterable(v);
    return 0;
}
static int test_escaped(jinja_run *run, value v, const value *p, int *out)
{
    (void)run, (void)p;
    *out = v.kind == MMI_JINJA_STRING && v.markup;
    return 0;
}

static int test_sequence(jinja_run *run, value v, const value *p, int *out)
{
    (void)run, (void)p;
    *out = v.kind == MMI_JINJA_UNDEFINED || (v.kind >= MMI_JINJA_STRING && v.kind <= MMI_JINJA_RANGE);
    return 0;
}

static int test_callable(jinja_run *run, value v, const value *p, int *out)
{
    (void)run, (void)p;
    *out = v.kind == MMI_JINJA_UNDEFINED || v.kind >= MMI_JINJA_FUNCTION;
    return 0;
}

static int test_case(jinja_run *run, value v, mmi_jinja_class class_, int *out)
{
    if (mmi_jinja_to_string(run, v, &v)) return 1;
    *out = mmi_jinja_is_class(v.as.string, class_);
    return mmi_jinja_spend(run, v.as.string->size >> 4);
}

static int test_lower(jinja_run *run, value v, const value *p, int *out)
{
    (void)p;
    return test_case(run, v, MMI_JINJA_IS_LOWER, out);
}
static int test_upper(jinja_run *run, value v, const value *p, int *out)
{
    (void)p;
    return test_case(run, v, MMI_JINJA_IS_UPPER, out);
}
static int test_in(jinja_run *run, value v, const value *p, int *out) { return mmi_jinja_contains(run, p[0], v, out); }
static int test_eq(jinja_run *run, value v, const value *p, int *out) { return mmi_jinja_equal(run, v, p[0], out); }

static int test_sameas(jinja_run *run, value v, const value *p, int *out)
{
    *out = 0;
    if (v.kind != p[0].kind) return 0;
    if (v.kind <= MMI_JINJA_INT) return mmi_jinja_equal(run, v, p[0], out);
    *out = v.kind != MMI_JINJA_FLOAT && v.as.object == p[0].as.object;
    return 0;
}

static int test_ne(jinja_run *run, value v, const value *p, int *out)
{
    if (mmi_jinja_equal(run, v, p[0], out)) return 1;
    *out = !*out;
    return 0;
}

static int test_gt(jinja_run *run, value v, const value *p, int *out)
{
    int order, unordered;
    if (compare(run, v, p[0], &order, &unordered)) return 1;
    *out = order > 0 && !unordered;
    return 0;
}

static int test_ge(jinja_run *run, value v, const value *p, int *out)
{
    int order, unordered;
    if (compare(run, v, p[0], &order, &unordered)) return 1;
    *out = order >= 0 && !unordered;
    return 0;
}

static int test_lt(jinja_run *run, value v, const value *p, int *out)
{
    int order, unordered;
    if (compare(run, v, p[0], &order, &unordered)) return 1;
    *out = order < 0;
    return 0;
}

static int test_le(jinja_run *run, value v, const value *p, int *out)
{
    int order, unordered;
    if (compare(run, v, p[0], &order, &unordered)) return 1;
    *out = order <= 0;
    return 0;
}

static int test_filter(jinja_run *run, value v, const value *p, int *out)
{
    const string *name;
    (void)p;
    if (mmi_jinja_want_string(run, "filter", v, &name)) return 1;
    *out = mmi_jinja_filter_find(name->data, name->size) != NULL;
    return 0;
}

static int test_test(jinja_run *run, value v, const value *p, int *out)
{
    const string *name;
    (void)p;
    if (mmi_jinja_want_string(run, "test", v, &name)) return 1;
    *out = mmi_jinja_test_find(name->data, name->size) != NULL;
    return 0;
}

static const mmi_jinja_test tests[] = {
    {"odd", test_odd, 0},
    {"even", test_even, 0},
    {"divisibleby", test_divisibleby, 1},
    {"defined", test_defined, 0},
    {"undefined", test_undefined, 0},
    {"none", test_none, 0},
    {"boolean", test_boolean, 0},
    {"true", test_true, 0},
    {"false", test_false, 0},
    {"integer", test_integer, 0},
    {"float", test_float, 0},
    {"number", test_number, 0},
    {"string", test_string, 0},
    {"mapping", test_mapping, 0},
    {"iterable", test_iterable, 0},
    {"sequence", test_sequence, 0},
    {"callable", test_callable, 0},
    {"escaped", test_escaped, 0},
    {"lower", test_lower, 0},
    {"upper", test_upper, 0},
    {"in", test_in, 1},
    {"sameas", test_sameas, 1},
    {"filter", test_filter, 0},
    {"test", test_test, 0},
    {"==", test_eq, 1},
    {"eq", test_eq, 1},
    {"equalto", test_eq, 1},
    {"!=", test_ne, 1},
    {"ne", test_ne, 1},
    {">", test_gt, 1},
    {"gt", test_gt, 1},
    {"greaterthan", test_gt, 1},
    {">=", test_ge, 1},
    {"ge", test_ge, 1},
    {"<", test_lt, 1},
    {"lt", test_lt, 1},
    {"lessthan", test_lt, 1},
    {"<=", test_le, 1},
    {"le", test_le, 1},
};

const mmi_jinja_test *mmi_jinja_test_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (strlen(tests[i].name) == n && memcmp(tests[i].name, name, n) == 0) return &tests[i];
    return NULL;
}

int mmi_jinja_test_apply(jinja_run *run, const mmi_jinja_test *test, value v, const mmi_jinja_args *args, int *out)
{
    if (args->positional + args->named != test->arguments)
        return mmi_jinja_fail(run, MM_E_FORMAT, "the test '%s' takes %zu arguments, %zu are given", test->name, test->arguments,
                              args->positional + args->named);
    return test->call(run, v, args->values, out);
}
