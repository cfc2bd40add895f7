/* SPDX-License-Identifier: MIT */
#include "jinja_format.h"

#include <math.h>
#include <string.h>

#include "jinja_method.h"
#include "jinja_string.h"
#include "size.h"

enum {
    MAX_WIDTH = 1 << 20,
    MAX_PRECISION = 100,
    NUMBER_SIZE = 1024 /* 309 digits with separators, point, precision, sign */
};

typedef mmi_jinja_value value;
typedef mmi_jinja_run jinja_run;

typedef struct {
    char fill[4];
    size_t fill_size;
    char align; /* '<' '>' '^' '=', 0: the type's own */
    char sign;  /* '+', ' ', 0 */
    int alternate;
    int zero;
    char grouping;            /* ',' '_', 0 */
    int64_t width, precision; /* precision -1: none */
    char type;                /* 0: none */
} spec;

static int fail_format(jinja_run *run, const char *what) { return mmi_jinja_fail(run, MM_E_FORMAT, "format: %s", what); }

/* Append text with `prefix` bytes (sign, 0x) that '=' alignment puts before the filling. */
static int append_padded(jinja_run *run, mmi_jinja_text *text, const char *bytes, size_t n, size_t prefix, char align, const spec *s)
{
    size_t chars = mmi_jinja_chars(bytes, n), fill, left = 0;

    if (s->width > MAX_WIDTH) return mmi_jinja_fail(run, MM_E_LIMIT, "a field of more than %d characters", MAX_WIDTH);
    fill = s->width > 0 && (size_t)s->width > chars ? (size_t)s->width - chars : 0;
    if (align == '>')
        left = fill;
    else if (align == '^')
        left = fill / 2;
    else if (align == '=') {
        return mmi_jinja_text_append(run, text, bytes, prefix) || mmi_jinja_fill(run, text, s->fill, s->fill_size, fill) ||
               mmi_jinja_text_append(run, text, bytes + prefix, n - prefix);
    }
    return mmi_jinja_fill(run, text, s->fill, s->fill_size, left) || mmi_jinja_text_append(run, text, bytes, n) ||
           mmi_jinja_fill(run, text, s->fill, s->fill_size, fill - left);
}

static int append_string(jinja_run *run, mmi_jinja_text *text, const mmi_jinja_string *s, const spec *how)
{
    size_t size = s->size;

    if (how->precision >= 0 && (size_t)how->precision < s->chars) size = mmi_jinja_offset(s, (size_t)how->precision);
    return append_padded(run, text, s->data, size, 0, how->align ? how->align : '<', how);
}

/* Sign, prefix and digits of an integer; *prefix_size counts all before the digits. */
static size_t integer_text(int64_t number, const spec *s, char out[NUMBER_SIZE], size_t *prefix_size)
{
    static const char small[] = "0123456789abcdef", capital[] = "0123456789ABCDEF";
    unsigned base = s->type == 'x' || s->type == 'X' ? 16 : s->type == 'o' ? 8 : s->type == 'b' ? 2 : 10;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    char digits[160];
    size_t n = sizeof digits, size = 0;
    int count = 0, group = s->grouping ? (base == 10 ? 3 : 4) : 0;

    do {
        if (group && count && count % group == 0) digits[--n] = s->grouping;
        digits[--n] = (s->type == 'X' ? capital : small)[rest % base];
        rest /= base;
        count++;
    } while (rest);
    if (number < 0)
        out[size++] = '-';
    else if (s->sign)
        out[size++] = s->sign;
    if (s->alternate && base != 10) {
        out[size++] = '0';
        out[size++] = s->type;
    }
    *prefix_size = size;
    memcpy(out + size, digits + n, sizeof digits - n);
    return size + sizeof digits - n;
}

/* Put separators between the whole digits of out[from..n). */
static size_t group_digits(char out[NUMBER_SIZE], size_t from, size_t n, char separator)
{
    size_t digits = 0, added;

    while (from + digits < n && out[from + digits] >= '0' && out[from + digits] <= '9') digits++;
    added = digits ? (digits - 1) / 3 : 0;
    if (n + added >= NUMBER_SIZE) return n;
    memmove(out + from + digits + added, out + from + digits, n - from - digits);
    for (size_t i = digits, to = from + digits + added, done = 0; i-- > 0;) {
        out[--to] = out[from + i];
        if (++done % 3 == 0 && i) out[--to] = separator;
    }
    return n + added;
}

/* The types e f g % of a number, or none. */
static int float_text(jinja_run *run, double real, const spec *s, char out[NUMBER_SIZE], size_t *prefix_size, size_t *size)
{
    char flags[8] = "", shortest[40];
    size_t f = 0, n;
    int precision = s->precision >= 0 ? (int)s->precision : 6;
    char type = s->type ? s->type : 'g';

    if (s->precision > MAX_PRECISION) return mmi_jinja_fail(run, MM_E_LIMIT, "format: a precision of more than %d", MAX_PRECISION);
    if (s->sign) flags[f++] = s->sign;
    if (s->alternate) flags[f++] = '#';
    flags[f] = 0;
    if (!s->type && s->precision < 0) {
        n = 0;
        if (s->sign && !signbit(real)) out[n++] = s->sign;
        mmi_jinja_float_text(real, shortest);
        memcpy(out + n, shortest, strlen(shortest));
        n += strlen(shortest);
    } else if (type == '%') {
        n = mmi_jinja_print_double(out, NUMBER_SIZE - 1, flags, precision, 'f', real * 100);
        if (n) out[n++] = '%';
    } else {
        n = mmi_jinja_print_double(out, NUMBER_SIZE, flags, precision, type, real);
    }
    if (!n) return fail_format(run, "a number that is too long");
    *prefix_size = out[0] == '-' || out[0] == '+' || out[0] == ' ';
    if (s->grouping) n = group_digits(out, *prefix_size, n, s->grouping);
    *size = n;
    return 0;
}

static int append_number(jinja_run *run, mmi_jinja_text *text, value v, const spec *s)
{
    char out[NUMBER_SIZE], utf8[4];
    size_t n = 0, prefix = 0;
    int64_t number = v.kind == MMI_JINJA_BOOL ? v.as.truth : v.as.integer;
    char align = s->align ? s->align : '>';

    if (s->type == 'c') {
        if (v.kind == MMI_JINJA_FLOAT || number < 0 || number > 0x10FFFF || (number >= 0xD800 && number < 0xE000))
            return fail_format(run, "'c' needs the number of a character");
        n = mmi_utf8_encode((uint32_t)number, utf8);
        return append_padded(run, text, utf8, n, 0, s->align ? s->align : '<', s);
    }
    if (v.kind == MMI_JINJA_FLOAT || (s->type && strchr("eEfFgG%", s->type))) {
        if (s->type && !strchr("eEfFgG%", s->type)) return fail_format(run, "an integer type for a float");
        if (float_text(run, v.kind == MMI_JINJA_FLOAT ? v.as.real : (double)number, s, out, &prefix, &n)) return 1;
    } else {
        if (s->precision >= 0) return fail_format(run, "a precision for an integer");
        n = integer_text(number, s, out, &prefix);
    }
    return append_padded(run, text, out, n, prefix, align, s);
}

/* ---- the % operator ---- */

typedef struct {
    value all;
    size_t next; /* of a tuple, or 1 when a single value was used */
} percent_arguments;

static int next_argument(jinja_run *run, percent_arguments *args, value *out)
{
    size_t count = args->all.kind == MMI_JINJA_TUPLE ? args->all.as.list->count : 1;

    if (args->next >= count) return fail_format(run, "not enough arguments");
    *out = args->all.kind == MMI_JINJA_TUPLE ? args->all.as.list->items[args->next] : args->all;
    args->next++;
    return 0;
}

/* Digits, or '*' for an argument; *out stays when there is neither. */
static int read_count(jinja_run *run, const mmi_jinja_string *f, size_t *at, percent_arguments *args, int64_t *out)
{
    if (*at < f->size && f->data[*at] == '*') {
        value v;
        ++*at;
        return next_argument(run, args, &v) || mmi_jinja_want_int(run, "format", v, out);
    }
    if (*at >= f->size || f->data[*at] < '0' || f->data[*at] > '9') return 0;
    for (*out = 0; *at < f->size && f->data[*at] >= '0' && f->data[*at] <= '9'; ++*at)
        if (*out < MAX_WIDTH) *out = *out * 10 + (f->data[*at] - '0');
    return 0;
}

/* (name) picks a member of the dict. */
static int named_argument(jinja_run *run, const mmi_jinja_string *f, size_t *at, value all, value *out)
{
    size_t begin = *at + 1, end = begin;
    int open = 1;
    value key;
    const value *found;

    for (; end < f->size; end++) {
        open += (f->data[end] == '(') - (f->data[end] == ')');
        if (!open) break;
    }
    if (open) return fail_format(run, "a name without ')'");
    if (all.kind != MMI_JINJA_DICT) return fail_format(run, "names need a dict");
    if (mmi_jinja_string_wrap(run, f->data + begin, end - begin, &key) || mmi_jinja_dict_find(run, all.as.dict, key, &found)) return 1;
    if (!found) return fail_format(run, "a name that the dict does not have");
    *out = *found;
    *at = end + 1;
    return 0;
}

static int percent_number(jinja_run *run, mmi_jinja_text *text, value v, char conversion, spec *s)
{
    int is_float = strchr("eEfFgG", conversion) != NULL;

    if (!mmi_jinja_is_number(v)) return fail_format(run, "a number is required");
    if (!is_float && v.kind == MMI_JINJA_FLOAT) {
        if (strchr("xXo", conversion)) return fail_format(run, "an integer is required");
        if (!(fabs(v.as.real) < 9e18)) return mmi_jinja_fail(run, MM_E_LIMIT, "format: a float that is no 64-bit integer");
        v = mmi_jinja_int((int64_t)v.as.real);
    }
    if (!is_float && s->precision >= 0) return fail_format(run, "a precision for an integer is not supported");
    s->type = strchr("diu", conversion) ? 'd' : conversion;
    if (s->zero && s->align != '<') {
        s->align = '=';
        s->fill[0] = '0';
    }
    return append_number(run, text, v, s);
}

static int percent_field(jinja_run *run, mmi_jinja_text *text, const mmi_jinja_string *f, size_t *at, percent_arguments *args, int *named)
{
    spec s = {.fill = " ", .fill_size = 1, .precision = -1};
    value v = mmi_jinja_undefined, shown;
    mmi_jinja_text piece = {0};
    int has_value = 0;
    char c;

    if (*at < f->size && f->data[*at] == '(') {
        if (named_argument(run, f, at, args->all, &v)) return 1;
        has_value = *named = 1;
    }
    for (; *at < f->size && f->data[*at] && strchr("-+ #0", f->data[*at]); ++*at) {
        c = f->data[*at];
        if (c == '-')
            s.align = '<';
        else if (c == '+')
            s.sign = '+';
        else if (c == ' ')
            s.sign = s.sign ? s.sign : ' ';
        else if (c == '#')
            s.alternate = 1;
        else
            s.zero = 1;
    }
    if (read_count(run, f, at, args, &s.width)) return 1;
    if (s.width < 0) {
        s.align = '<';
        s.width = s.width < -MAX_WIDTH ? MAX_WIDTH + 1 : -s.width;
    }
    if (*at < f->size && f->data[*at] == '.') {
        ++*at;
        s.precision = 0;
        if (read_count(run, f, at, args, &s.precision)) return 1;
        if (s.precision < 0) s.precision = 0;
    }
    while (*at < f->size && f->data[*at] && strchr("hlL", f->data[*at])) ++*at;
    if (*at >= f->size) return fail_format(run, "the text ends within a field");
    c = f->data[(*at)++];
    if (c == '%') return mmi_jinja_text_append(run, text, "%", 1);
    if (!c || !strchr("srcdiuxXoeEfFgG", c)) return fail_format(run, "an unknown conversion");
    if (!has_value && next_argument(run, args, &v)) return 1;
    if (!s.align) s.align = '>';
    if (c == 's' || c == 'r') {
        if ((c == 's' ? mmi_jinja_str(run, &piece, v) : mmi_jinja_repr(run, &piece, v)) || mmi_jinja_string_of_text(run, &piece, &shown))
            return 1;
        return append_string(run, text, shown.as.string, &s);
    }
    if (c == 'c' && v.kind == MMI_JINJA_STRING) {
        if (v.as.string->chars != 1) return fail_format(run, "%c needs one character");
        s.precision = -1;
        return append_string(run, text, v.as.string, &s);
    }
    return percent_number(run, text, v, c, &s);
}

int mmi_jinja_percent(jinja_run *run, const mmi_jinja_string *f, value v, value *out)
{
    mmi_jinja_text text = {0};
    percent_arguments args = {v, 0};
    size_t at = 0, plain;
    int named = 0;
    int mapping = v.kind == MMI_JINJA_DICT || v.kind == MMI_JINJA_LIST || v.kind == MMI_JINJA_RANGE || v.kind == MMI_JINJA_UNDEFINED;

    while (at < f->size) {
        for (plain = at; at < f->size && f->data[at] != '%'; at++) {
        }
        if (mmi_jinja_text_append(run, &text, f->data + plain, at - plain)) return 1;
        if (at++ >= f->size) break;
        if (mmi_jinja_spend(run, 1) || percent_field(run, &text, f, &at, &args, &named)) return 1;
    }
    if (!mapping && !named && args.next < (v.kind == MMI_JINJA_TUPLE ? v.as.list->count : 1))
        return fail_format(run, "not all arguments are used");
    return mmi_jinja_string_of_text(run, &text, out);
}

/* ---- str.format ---- */

/* [[fill]align][sign][#][0][width][grouping][.precision][type] */
static int read_spec(jinja_run *run, const char *p, size_t n, spec *s)
{
    size_t at = 0, len = n ? mmi_utf8_length((unsigned char)p[0]) : 0;
    uint32_t code;

    *s = (spec){.fill = " ", .fill_size = 1, .precision = -1};
    if (len && len < n && mmi_utf8_decode(p, n, &code) && p[len] && strchr("<>=^", p[len])) {
        memcpy(s->fill, p, len);
        s->fill_size = len;
        s->align = p[len];
        at = len + 1;
    } else if (n && p[0] && strchr("<>=^", p[0])) {
        s->align = p[at++];
    }
    if (at < n && (p[at] == '+' || p[at] == '-' || p[at] == ' ')) {
        s->sign = p[at] == '-' ? 0 : p[at];
        at++;
    }
    if (at < n && p[at] == '#') s->alternate = 1, at++;
    if (at < n && p[at] == '0') s->zero = 1, at++;
    for (; at < n && p[at] >= '0' && p[at] <= '9'; at++)
        if (s->width <= MAX_WIDTH) s->width = s->width * 10 + (p[at] - '0');
    if (at < n && (p[at] == ',' || p[at] == '_')) s->grouping = p[at++];
    if (at < n && p[at] == '.') {
        if (++at >= n || p[at] < '0' || p[at] > '9') return fail_format(run, "a precision without digits");
        for (s->precision = 0; at < n && p[at] >= '0' && p[at] <= '9'; at++)
            if (s->precision <= MAX_WIDTH) s->precision = s->precision * 10 + (p[at] - '0');
    }
    if (at < n) s->type = p[at++];
    if (at < n || (s->type && !strchr("sbcdoxXeEfFgG%", s->type))) return fail_format(run, "an unknown format specification");
    return 0;
}

static int format_value(jinja_run *run, mmi_jinja_text *text, value v, const char *bytes, size_t n)
{
    spec s;

    if (!n) return mmi_jinja_str(run, text, v);
    if (read_spec(run, bytes, n, &s)) return 1;
    if (v.kind == MMI_JINJA_STRING) {
        if ((s.type && s.type != 's') || s.sign || s.alternate || s.grouping || s.align == '=')
            return fail_format(run, "a specification that text does not have");
        if (s.zero && !s.align) s.fill[0] = '0';
        return append_string(run, text, v.as.string, &s);
    }
    if (!mmi_jinja_is_number(v) || s.type == 's') return fail_format(run, "a specification that this type does not have");
    if (s.zero && !s.align) {
        s.align = '=';
        s.fill[0] = '0';
        s.fill_size = 1;
    }
    return append_number(run, text, v, &s);
}

static int is_number_text(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] < '0' || p[i] > '9') return 0;
    return n > 0 && n < 10;
}

static size_t number_of(const char *p, size_t n)
{
    size_t number = 0;
    for (size_t i = 0; i < n; i++) number = number * 10 + (size_t)(p[i] - '0');
    return number;
}

/* `name` of {name.attribute[item]}: a position, the next position when empty, or a keyword. */
static int field_argument(jinja_run *run, const char *name, size_t n, const mmi_jinja_args *args, size_t *next, value *out)
{
    if (n && !is_number_text(name, n)) {
        if (mmi_jinja_spend(run, args->named >> 2)) return 1;
        for (size_t i = 0; i < args->named; i++)
            if (args->names[i]->size == n && memcmp(args->names[i]->data, name, n) == 0) {
                *out = args->values[args->positional + i];
                return 0;
            }
        return fail_format(run, "a field with the name of no argument");
    }
    if (n ? *next > 0 && *next != (size_t)-1 : *next == (size_t)-1) return fail_format(run, "numbered and unnumbered fields together");
    if ((n ? number_of(name, n) : *next) >= args->positional) return fail_format(run, "not enough arguments");
    *out = args->values[n ? number_of(name, n) : *next];
    *next = n ? (size_t)-1 : *next + 1; /* numbered fields forbid unnumbered ones */
    return 0;
}

/* The value of a field's name with its attributes and items. */
static int field_value(jinja_run *run, const char *p, size_t n, const mmi_jinja_args *args, size_t *next, value *out)
{
    size_t at = 0, begin;
    value key;

    while (at < n && p[at] != '.' && p[at] != '[') at++;
    if (field_argument(run, p, at, args, next, out)) return 1;
    while (at < n) {
        char kind = p[at++];
        begin = at;
        if (mmi_jinja_spend(run, 1)) return 1;
        if (kind == '.') {
            while (at < n && p[at] != '.' && p[at] != '[') at++;
        } else if (kind == '[') {
            while (at < n && p[at] != ']') at++;
            if (at == n) return fail_format(run, "'[' without ']'");
        } else {
            return fail_format(run, "only '.' or '[' may follow ']'");
        }
        if (at == begin) return fail_format(run, "an empty attribute");
        if (kind == '[' && is_number_text(p + begin, at - begin))
            key = mmi_jinja_int((int64_t)number_of(p + begin, at - begin));
        else if (mmi_jinja_string_wrap(run, p + begin, at - begin, &key))
            return 1;
        if (kind == '.' ? mmi_jinja_attribute(run, *out, key.as.string, out) : mmi_jinja_item(run, *out, key, out)) return 1;
        if (kind == '[') at++;
    }
    return 0;
}

/* One field, from behind '{' to behind '}'. */
static int brace_field(jinja_run *run, mmi_jinja_text *text, const mmi_jinja_string *f, size_t *at, const mmi_jinja_args *args,
                       size_t *next)
{
    size_t begin = *at, name_end, end, spec_begin;
    char conversion = 0;
    value v, shown;
    mmi_jinja_text piece = {0};

    for (end = begin; end < f->size && f->data[end] != '}'; end++)
        if (f->data[end] == '{') return fail_format(run, "a field within a field is not supported");
    if (end == f->size) return fail_format(run, "'{' without '}'");
    for (name_end = begin; name_end < end && f->data[name_end] != '!' && f->data[name_end] != ':'; name_end++) {
    }
    spec_begin = name_end;
    if (spec_begin < end && f->data[spec_begin] == '!') {
        if (spec_begin + 1 == end || (spec_begin + 2 < end && f->data[spec_begin + 2] != ':'))
            return fail_format(run, "an unknown conversion");
        conversion = f->data[spec_begin + 1];
        spec_begin += 2;
    }
    if (spec_begin < end) spec_begin++;
    *at = end + 1;
    if (field_value(run, f->data + begin, name_end - begin, args, next, &v)) return 1;
    if (conversion) {
        if (conversion != 's' && conversion != 'r') return fail_format(run, "an unknown conversion");
        if ((conversion == 's' ? mmi_jinja_str(run, &piece, v) : mmi_jinja_repr(run, &piece, v)) ||
            mmi_jinja_string_of_text(run, &piece, &shown))
            return 1;
        v = shown;
    }
    return format_value(run, text, v, f->data + spec_begin, end - spec_begin);
}

int mmi_jinja_brace_format(jinja_run *run, const mmi_jinja_string *f, const mmi_jinja_args *args, value *out)
{
    mmi_jinja_text text = {0};
    size_t at = 0, next = 0, plain;

    while (at < f->size) {
        char c;
        for (plain = at; at < f->size && f->data[at] != '{' && f->data[at] != '}'; at++) {
        }
        if (mmi_jinja_text_append(run, &text, f->data + plain, at - plain)) return 1;
        if (at == f->size) break;
        c = f->data[at++];
        if (at < f->size && f->data[at] == c) {
            at++;
            if (mmi_jinja_text_append(run, &text, &c, 1)) return 1;
        } else if (c == '}') {
            return fail_format(run, "'}' without '{'");
        } else if (mmi_jinja_spend(run, 1) || brace_field(run, &text, f, &at, args, &next)) {
            return 1;
        }
    }
    return mmi_jinja_string_of_text(run, &text, out);
}
