/* SPDX-License-Identifier: MIT */
#define _POSIX_C_SOURCE 200809L /* localtime_r */
#include "jinja_method.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "jinja_format.h"
#include "jinja_string.h"
#include "size.h"

typedef mmi_jinja_value value;
typedef mmi_jinja_run jinja_run;
typedef mmi_jinja_string string;

typedef int (*call_fn)(jinja_run *run, value self, const mmi_jinja_args *args, value *out);

struct mmi_jinja_method {
    const char *name;
    call_fn call;
};

struct mmi_jinja_function {
    const char *name;
    call_fn call; /* self: unused */
};

/* ---- arguments ---- */

int mmi_jinja_bind(jinja_run *run, const char *what, const mmi_jinja_args *args, const char *const *names, size_t required, value *values,
                   unsigned *given)
{
    size_t count = 0;

    while (names[count]) values[count++] = mmi_jinja_undefined;
    if (args->positional > count)
        return mmi_jinja_fail(run, MM_E_FORMAT, "%s takes %zu arguments at most, %zu are given", what, count, args->positional);
    *given = 0;
    for (size_t i = 0; i < args->positional; i++) {
        values[i] = args->values[i];
        *given |= 1u << i;
    }
    for (size_t i = 0; i < args->named; i++) {
        size_t at = 0;
        while (at < count && !mmi_jinja_string_equals(args->names[i], names[at])) at++;
        if (at == count)
            return mmi_jinja_fail(run, MM_E_FORMAT, "%s has no argument '%.*s'", what, (int)mmi_size_min(args->names[i]->size, 60),
                                  args->names[i]->data);
        if (*given & 1u << at) return mmi_jinja_fail(run, MM_E_FORMAT, "%s is given its argument '%s' twice", what, names[at]);
        values[at] = args->values[args->positional + i];
        *given |= 1u << at;
    }
    for (size_t i = 0; i < required; i++)
        if (!(*given & 1u << i)) return mmi_jinja_fail(run, MM_E_FORMAT, "%s needs its argument '%s'", what, names[i]);
    return 0;
}

int mmi_jinja_want_int(jinja_run *run, const char *what, value v, int64_t *out)
{
    *out = v.kind == MMI_JINJA_INT ? v.as.integer : v.kind == MMI_JINJA_BOOL ? v.as.truth : 0;
    if (v.kind == MMI_JINJA_INT || v.kind == MMI_JINJA_BOOL) return 0;
    return mmi_jinja_fail(run, MM_E_FORMAT, "%s needs an integer, not a value of type %s", what, mmi_jinja_type(v));
}

int mmi_jinja_want_string(jinja_run *run, const char *what, value v, const string **out)
{
    *out = v.as.string;
    if (v.kind == MMI_JINJA_STRING) return 0;
    return mmi_jinja_fail(run, MM_E_FORMAT, "%s needs a string, not a value of type %s", what, mmi_jinja_type(v));
}

/* ---- methods of strings ---- */

static int strip(jinja_run *run, const char *what, value self, const mmi_jinja_args *args, int sides, value *out)
{
    static const char *const names[] = {"chars", NULL};
    const string *chars = NULL;
    value v[1];
    unsigned given;

    if (mmi_jinja_bind(run, what, args, names, 0, v, &given)) return 1;
    if (given && v[0].kind != MMI_JINJA_NONE && mmi_jinja_want_string(run, what, v[0], &chars)) return 1;
    return mmi_jinja_strip(run, self.as.string, chars, sides, out);
}

static int str_strip(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return strip(run, "strip", self, args, MMI_JINJA_LEFT | MMI_JINJA_RIGHT, out);
}

static int str_lstrip(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return strip(run, "lstrip", self, args, MMI_JINJA_LEFT, out);
}

static int str_rstrip(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return strip(run, "rstrip", self, args, MMI_JINJA_RIGHT, out);
}

static int split(jinja_run *run, const char *what, value self, const mmi_jinja_args *args, int from, value *out)
{
    static const char *const names[] = {"sep", "maxsplit", NULL};
    const string *separator = NULL;
    int64_t most = -1;
    value v[2];
    unsigned given;

    if (mmi_jinja_bind(run, what, args, names, 0, v, &given)) return 1;
    if (given & 1 && v[0].kind != MMI_JINJA_NONE && mmi_jinja_want_string(run, what, v[0], &separator)) return 1;
    if (given & 2 && mmi_jinja_want_int(run, what, v[1], &most)) return 1;
    return mmi_jinja_split(run, self.as.string, separator, most, from, out);
}

static int str_split(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return split(run, "split", self, args, MMI_JINJA_LEFT, out);
}

static int str_rsplit(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return split(run, "rsplit", self, args, MMI_JINJA_RIGHT, out);
}

static int str_splitlines(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    static const char *const names[] = {"keepends", NULL};
    value v[1];
    unsigned given;

    return mmi_jinja_bind(run, "splitlines", args, names, 0, v, &given) ||
           mmi_jinja_splitlines(run, self.as.string, mmi_jinja_truth(v[0]), out);
}

/* A method without arguments that gives changed text. */
static int change_case(jinja_run *run, const char *what, value self, const mmi_jinja_args *args, mmi_jinja_case how, value *out)
{
    static const char *const names[] = {NULL};
    value v[1];
    unsigned given;

    return mmi_jinja_bind(run, what, args, names, 0, v, &given) || mmi_jinja_change_case(run, self.as.string, how, out);
}

static int str_upper(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return change_case(run, "upper", self, args, MMI_JINJA_UPPER, out);
}

static int str_lower(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return change_case(run, "lower", self, args, MMI_JINJA_LOWER, out);
}

static int str_title(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return change_case(run, "title", self, args, MMI_JINJA_TITLE, out);
}

static int str_capitalize(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return change_case(run, "capitalize", self, args, MMI_JINJA_CAPITALIZE, out);
}

static int is_class(jinja_run *run, const char *what, value self, const mmi_jinja_args *args, mmi_jinja_class class_, value *out)
{
    static const char *const names[] = {NULL};
    value v[1];
    unsigned given;

    if (mmi_jinja_bind(run, what, args, names, 0, v, &given) || mmi_jinja_spend(run, self.as.string->size >> 4)) return 1;
    *out = mmi_jinja_bool(mmi_jinja_is_class(self.as.string, class_));
    return 0;
}

static int str_isalpha(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return is_class(run, "isalpha", self, args, MMI_JINJA_IS_ALPHA, out);
}

static int str_isdigit(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return is_class(run, "isdigit", self, args, MMI_JINJA_IS_DIGIT, out);
}

static int str_isalnum(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return is_class(run, "isalnum", self, args, MMI_JINJA_IS_ALNUM, out);
}

static int str_isspace(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return is_class(run, "isspace", self, args, MMI_JINJA_IS_SPACE, out);
}

static int str_isupper(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return is_class(run, "isupper", self, args, MMI_JINJA_IS_UPPER, out);
}

static int str_islower(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return is_class(run, "islower", self, args, MMI_JINJA_IS_LOWER, out);
}

/* Python's rule for bounds: negative ones count from the end, all are cut to [0, count]. */
static size_t clip(int64_t bound, size_t count)
{
    if (bound < 0) bound = bound < -(int64_t)count ? 0 : bound + (int64_t)count;
    return bound > (int64_t)count ? count : (size_t)bound;
}

/* Optional start and end at v[1] and v[2]; *empty when start lies behind the end of the text or of the range. */
static int read_range(jinja_run *run, const char *what, const value *v, unsigned given, size_t count, size_t *start, size_t *stop,
                      int *empty)
{
    int64_t bound = 0;

    *start = 0;
    *stop = count;
    *empty = 0;
    if (given & 2 && v[1].kind != MMI_JINJA_NONE) {
        if (mmi_jinja_want_int(run, what, v[1], &bound)) return 1;
        *start = clip(bound, count);
        *empty = bound > (int64_t)count;
    }
    if (given & 4 && v[2].kind != MMI_JINJA_NONE) {
        if (mmi_jinja_want_int(run, what, v[2], &bound)) return 1;
        *stop = clip(bound, count);
    }
    *empty |= *start > *stop;
    return 0;
}

static int with(jinja_run *run, const char *what, value self, const mmi_jinja_args *args, int side, value *out)
{
    static const char *const names[] = {"prefix", "start", "end", NULL};
    const string *s = self.as.string, *affix;
    const value *tries;
    size_t start, stop, from, to, count = 1;
    int empty, found = 0;
    value v[3];
    unsigned given;

    if (mmi_jinja_bind(run, what, args, names, 1, v, &given) || read_range(run, what, v, given, s->chars, &start, &stop, &empty)) return 1;
    tries = v;
    if (v[0].kind == MMI_JINJA_TUPLE) {
        tries = v[0].as.list->items;
        count = v[0].as.list->count;
    }
    from = mmi_jinja_offset(s, start);
    to = mmi_jinja_offset(s, stop);
    if (s->chars != s->size && mmi_jinja_spend(run, s->size >> 4)) return 1;
    for (size_t i = 0; i < count && !found; i++) {
        if (mmi_jinja_want_string(run, what, tries[i], &affix) || mmi_jinja_spend(run, 1 + (affix->size >> 6))) return 1;
        found = !empty && affix->size <= to - from &&
                memcmp(side == MMI_JINJA_LEFT ? s->data + from : s->data + to - affix->size, affix->data, affix->size) == 0;
    }
    *out = mmi_jinja_bool(found);
    return 0;
}

static int str_startswith(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return with(run, "startswith", self, args, MMI_JINJA_LEFT, out);
}

static int str_endswith(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return with(run, "endswith", self, args, MMI_JINJA_RIGHT, out);
}

static int str_replace(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    static const char *const names[] = {"old", "new", "count", NULL};
    const string *old, *by;
    int64_t most = -1;
    value v[3];
    unsigned given;

    if (mmi_jinja_bind(run, "replace", args, names, 2, v, &given) || mmi_jinja_want_string(run, "replace", v[0], &old) ||
        mmi_jinja_want_string(run, "replace", v[1], &by) || (given & 4 && mmi_jinja_want_int(run, "replace", v[2], &most)))
        return 1;
    return mmi_jinja_replace(run, self.as.string, old, by, most, out);
}

static int find(jinja_run *run, const char *what, value self, const mmi_jinja_args *args, int side, int must, value *out)
{
    static const char *const names[] = {"sub", "start", "end", NULL};
    const string *s = self.as.string, *wanted;
    size_t start, stop;
    int64_t at = -1;
    int empty;
    value v[3];
    unsigned given;

    if (mmi_jinja_bind(run, what, args, names, 1, v, &given) || mmi_jinja_want_string(run, what, v[0], &wanted) ||
        read_range(run, what, v, given, s->chars, &start, &stop, &empty))
        return 1;
    if (!empty && mmi_jinja_find(run, s, wanted, start, stop, side, &at)) return 1;
    if (must && at < 0) return mmi_jinja_fail(run, MM_E_FORMAT, "%s does not find its text", what);
    *out = mmi_jinja_int(at);
    return 0;
}

static int str_find(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return find(run, "find", self, args, MMI_JINJA_LEFT, 0, out);
}

static int str_rfind(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return find(run, "rfind", self, args, MMI_JINJA_RIGHT, 0, out);
}

static int str_index(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return find(run, "index", self, args, MMI_JINJA_LEFT, 1, out);
}

static int str_rindex(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return find(run, "rindex", self, args, MMI_JINJA_RIGHT, 1, out);
}

static int str_count(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    static const char *const names[] = {"sub", NULL};
    const string *wanted;
    int64_t count;
    value v[1];
    unsigned given;

    if (mmi_jinja_bind(run, "count", args, names, 1, v, &given) || mmi_jinja_want_string(run, "count", v[0], &wanted) ||
        mmi_jinja_count(run, self.as.string, wanted, &count))
        return 1;
    *out = mmi_jinja_int(count);
    return 0;
}

static int str_join(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    static const char *const names[] = {"iterable", NULL};
    mmi_jinja_text text = {0};
    const value *items;
    const string *s;
    size_t count;
    value v[1];
    unsigned given;

    if (mmi_jinja_bind(run, "join", args, names, 1, v, &given) || mmi_jinja_items(run, v[0], &items, &count)) return 1;
    for (size_t i = 0; i < count; i++) {
        if (mmi_jinja_spend(run, 1) || mmi_jinja_want_string(run, "join", items[i], &s)) return 1;
        if ((i && mmi_jinja_text_append(run, &text, self.as.string->data, self.as.string->size)) ||
            mmi_jinja_text_append(run, &text, s->data, s->size))
            return 1;
    }
    return mmi_jinja_string_of_text(run, &text, out);
}

static int str_format(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return mmi_jinja_brace_format(run, self.as.string, args, out);
}

static int remove_affix(jinja_run *run, const char *what, value self, const mmi_jinja_args *args, int side, value *out)
{
    static const char *const names[] = {"affix", NULL};
    const string *s = self.as.string, *affix;
    value v[1];
    unsigned given;
    size_t cut;

    if (mmi_jinja_bind(run, what, args, names, 1, v, &given) || mmi_jinja_want_string(run, what, v[0], &affix)) return 1;
    cut =
        affix->size <= s->size && memcmp(side == MMI_JINJA_LEFT ? s->data : s->data + s->size - affix->size, affix->data, affix->size) == 0
            ? affix->size
            : 0;
    return mmi_jinja_string_wrap(run, side == MMI_JINJA_LEFT ? s->data + cut : s->data, s->size - cut, out);
}

static int str_removeprefix(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return remove_affix(run, "removeprefix", self, args, MMI_JINJA_LEFT, out);
}

static int str_removesuffix(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return remove_affix(run, "removesuffix", self, args, MMI_JINJA_RIGHT, out);
}

static int partition(jinja_run *run, const char *what, value self, const mmi_jinja_args *args, int side, value *out)
{
    static const char *const names[] = {"sep", NULL};
    const string *s = self.as.string, *separator;
    int64_t at;
    value v[1], *items;
    unsigned given;
    size_t begin, end;

    if (mmi_jinja_bind(run, what, args, names, 1, v, &given) || mmi_jinja_want_string(run, what, v[0], &separator)) return 1;
    if (!separator->size) return mmi_jinja_fail(run, MM_E_FORMAT, "%s with an empty separator", what);
    if (mmi_jinja_find(run, s, separator, 0, s->chars, side, &at)) return 1;
    if (at >= 0) {
        begin = mmi_jinja_offset(s, (size_t)at);
        end = begin + separator->size;
    } else {
        begin = side == MMI_JINJA_LEFT ? s->size : 0;
        end = begin;
    }
    items = mmi_jinja_alloc(run, 3, sizeof *items);
    return !items || mmi_jinja_string_wrap(run, s->data, begin, &items[0]) ||
           mmi_jinja_string_wrap(run, s->data + begin, end - begin, &items[1]) ||
           mmi_jinja_string_wrap(run, s->data + end, s->size - end, &items[2]) || mmi_jinja_list_wrap(run, MMI_JINJA_TUPLE, items, 3, out);
}

static int str_partition(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return partition(run, "partition", self, args, MMI_JINJA_LEFT, out);
}

static int str_rpartition(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return partition(run, "rpartition", self, args, MMI_JINJA_RIGHT, out);
}

static int justify(jinja_run *run, const char *what, value self, const mmi_jinja_args *args, int left, int right, value *out)
{
    static const char *const names[] = {"width", "fillchar", NULL};
    mmi_jinja_text text = {0};
    const string *s = self.as.string, *fill = NULL;
    int64_t width;
    value v[2];
    unsigned given;
    size_t missing, before;

    if (mmi_jinja_bind(run, what, args, names, 1, v, &given) || mmi_jinja_want_int(run, what, v[0], &width) ||
        (given & 2 && mmi_jinja_want_string(run, what, v[1], &fill)))
        return 1;
    if (fill && fill->chars != 1) return mmi_jinja_fail(run, MM_E_FORMAT, "%s fills with one character", what);
    missing = width > 0 && (size_t)width > s->chars ? (size_t)width - s->chars : 0;
    before = left && right ? missing / 2 + (missing & (size_t)width & 1) : left ? missing : 0; /* Python's rule for an odd rest */
    return mmi_jinja_fill(run, &text, fill ? fill->data : " ", fill ? fill->size : 1, before) ||
           mmi_jinja_text_append(run, &text, s->data, s->size) ||
           mmi_jinja_fill(run, &text, fill ? fill->data : " ", fill ? fill->size : 1, missing - before) ||
           mmi_jinja_string_of_text(run, &text, out);
}

static int str_center(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return justify(run, "center", self, args, 1, 1, out);
}

static int str_ljust(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return justify(run, "ljust", self, args, 0, 1, out);
}

static int str_rjust(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return justify(run, "rjust", self, args, 1, 0, out);
}

static int str_zfill(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    static const char *const names[] = {"width", NULL};
    mmi_jinja_text text = {0};
    const string *s = self.as.string;
    int64_t width;
    value v[1];
    unsigned given;
    size_t sign = s->size && (s->data[0] == '-' || s->data[0] == '+');

    if (mmi_jinja_bind(run, "zfill", args, names, 1, v, &given) || mmi_jinja_want_int(run, "zfill", v[0], &width)) return 1;
    return mmi_jinja_text_append(run, &text, s->data, sign) ||
           mmi_jinja_fill(run, &text, "0", 1, width > 0 && (size_t)width > s->chars ? (size_t)width - s->chars : 0) ||
           mmi_jinja_text_append(run, &text, s->data + sign, s->size - sign) || mmi_jinja_string_of_text(run, &text, out);
}

/* ---- methods of lists, tuples, dicts ---- */

static int list_find(jinja_run *run, const char *what, value self, const mmi_jinja_args *args, int64_t *first, int64_t *count)
{
    static const char *const names[] = {"value", NULL};
    value v[1];
    unsigned given;
    int same;

    *first = -1;
    *count = 0;
    if (mmi_jinja_bind(run, what, args, names, 1, v, &given)) return 1;
    for (size_t i = 0; i < self.as.list->count; i++) {
        if (mmi_jinja_spend(run, 1) || mmi_jinja_equal(run, self.as.list->items[i], v[0], &same)) return 1;
        if (same && *first < 0) *first = (int64_t)i;
        *count += same;
    }
    return 0;
}

static int list_index(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    int64_t first, count;
    if (list_find(run, "index", self, args, &first, &count)) return 1;
    if (!count) return mmi_jinja_fail(run, MM_E_FORMAT, "index does not find its value");
    *out = mmi_jinja_int(first);
    return 0;
}

static int list_count(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    int64_t first, count;
    if (list_find(run, "count", self, args, &first, &count)) return 1;
    *out = mmi_jinja_int(count);
    return 0;
}

static int copy(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    static const char *const names[] = {NULL};
    value v[1];
    unsigned given;

    *out = self; /* nothing can change either */
    return mmi_jinja_bind(run, "copy", args, names, 0, v, &given);
}

static int dict_get(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    static const char *const names[] = {"key", "default", NULL};
    const value *found;
    value v[2];
    unsigned given;

    if (mmi_jinja_bind(run, "get", args, names, 1, v, &given) || mmi_jinja_dict_find(run, self.as.dict, v[0], &found)) return 1;
    *out = found ? *found : given & 2 ? v[1] : mmi_jinja_none;
    return 0;
}

static int view(jinja_run *run, value self, const mmi_jinja_args *args, int what, value *out)
{
    static const char *const names[] = {NULL};
    mmi_jinja_view *made = mmi_jinja_alloc(run, 1, sizeof *made);
    value v[1];
    unsigned given;

    if (!made || mmi_jinja_bind(run, "keys, values or items", args, names, 0, v, &given)) return 1;
    made->what = what;
    made->dict = self.as.dict;
    out->kind = MMI_JINJA_VIEW;
    out->markup = 0;
    out->as.view = made;
    return 0;
}

static int dict_keys(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return view(run, self, args, MMI_JINJA_KEYS, out);
}
static int dict_values(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return view(run, self, args, MMI_JINJA_VALUES, out);
}
static int dict_items(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    return view(run, self, args, MMI_JINJA_ITEMS, out);
}

static const mmi_jinja_method string_methods[] = {{"strip", str_strip},
                                                  {"lstrip", str_lstrip},
                                                  {"rstrip", str_rstrip},
                                                  {"split", str_split},
                                                  {"rsplit", str_rsplit},
                                                  {"splitlines", str_splitlines},
                                                  {"upper", str_upper},
                                                  {"lower", str_lower},
                                                  {"title", str_title},
                                                  {"capitalize", str_capitalize},
                                                  {"startswith", str_startswith},
                                                  {"endswith", str_endswith},
                                                  {"replace", str_replace},
                                                  {"find", str_find},
                                                  {"rfind", str_rfind},
                                                  {"index", str_index},
                                                  {"rindex", str_rindex},
                                                  {"count", str_count},
                                                  {"join", str_join},
                                                  {"format", str_format},
                                                  {"removeprefix", str_removeprefix},
                                                  {"removesuffix", str_removesuffix},
                                                  {"partition", str_partition},
                                                  {"rpartition", str_rpartition},
                                                  {"center", str_center},
                                                  {"ljust", str_ljust},
                                                  {"rjust", str_rjust},
                                                  {"zfill", str_zfill},
                                                  {"isalpha", str_isalpha},
                                                  {"isdigit", str_isdigit},
                                                  {"isalnum", str_isalnum},
                                                  {"isspace", str_isspace},
                                                  {"isupper", str_isupper},
                                                  {"islower", str_islower},
                                                  {NULL, NULL}};
static const mmi_jinja_method list_methods[] = {{"index", list_index}, {"count", list_count}, {"copy", copy}, {NULL, NULL}};
static const mmi_jinja_method tuple_methods[] = {{"index", list_index}, {"count", list_count}, {NULL, NULL}};
/* The last ones hide members of the same name, as Python's methods do, but the sandbox forbids them. */
static const mmi_jinja_method dict_methods[] = {{"get", dict_get},    {"keys", dict_keys}, {"values", dict_values}, {"items", dict_items},
                                                {"copy", copy},       {"clear", NULL},     {"pop", NULL},           {"popitem", NULL},
                                                {"setdefault", NULL}, {"update", NULL},    {"fromkeys", NULL},      {NULL, NULL}};

/* ---- attributes and items ---- */

static value undefined_named(const string *name)
{
    value v = mmi_jinja_undefined;
    v.as.hint = name;
    return v;
}

static int fail_undefined(jinja_run *run, value v, const char *wanted)
{
    if (!v.as.hint) return mmi_jinja_fail(run, MM_E_FORMAT, "an undefined value has no %s", wanted);
    return mmi_jinja_fail(run, MM_E_FORMAT, "'%.*s' is undefined and has no %s", (int)mmi_size_min(v.as.hint->size, 60), v.as.hint->data,
                          wanted);
}

/* *found tells whether the type has a method of this name; one that is forbidden gives an undefined value. */
static int find_method(jinja_run *run, value v, const string *name, int *found, value *out)
{
    const mmi_jinja_method *m;
    mmi_jinja_bound *bound;

    *found = 0;
    switch ((mmi_jinja_kind)v.kind) {
    case MMI_JINJA_STRING: m = string_methods; break;
    case MMI_JINJA_LIST: m = list_methods; break;
    case MMI_JINJA_TUPLE: m = tuple_methods; break;
    case MMI_JINJA_DICT: m = dict_methods; break;
    default: return 0;
    }
    while (m->name && !mmi_jinja_string_equals(name, m->name)) m++;
    if (!m->name) return 0;
    *found = 1;
    if (!m->call) {
        *out = undefined_named(name);
        return 0;
    }
    bound = mmi_jinja_alloc(run, 1, sizeof *bound);
    if (!bound) return 1;
    bound->self = v;
    bound->method = m;
    out->kind = MMI_JINJA_METHOD;
    out->markup = 0;
    out->as.bound = bound;
    return 0;
}

int mmi_jinja_attribute(jinja_run *run, value v, const string *name, value *out)
{
    value key = {MMI_JINJA_STRING, 0, {0}};
    const value *found = NULL;
    int is_method;

    if (v.kind == MMI_JINJA_UNDEFINED) return fail_undefined(run, v, "attributes");
    if (find_method(run, v, name, &is_method, out)) return 1;
    if (is_method) return 0;
    key.as.string = name;
    if ((v.kind == MMI_JINJA_DICT || v.kind == MMI_JINJA_NAMESPACE) && mmi_jinja_dict_find(run, v.as.dict, key, &found)) return 1;
    *out = found ? *found : undefined_named(name);
    return 0;
}

static int is_hashable(value v) { return v.kind <= MMI_JINJA_STRING || v.kind == MMI_JINJA_TUPLE; }

int mmi_jinja_item(jinja_run *run, value v, value key, value *out)
{
    const value *found;
    int64_t index;
    size_t count;
    int is_method;

    if (v.kind == MMI_JINJA_UNDEFINED) return fail_undefined(run, v, "items");
    *out = mmi_jinja_undefined;
    if (v.kind == MMI_JINJA_DICT && key.kind != MMI_JINJA_UNDEFINED && is_hashable(key)) {
        if (mmi_jinja_dict_find(run, v.as.dict, key, &found)) return 1;
        if (found) {
            *out = *found;
            return 0;
        }
    }
    if (key.kind == MMI_JINJA_STRING) {
        if (v.kind == MMI_JINJA_NAMESPACE) return mmi_jinja_attribute(run, v, key.as.string, out);
        if (find_method(run, v, key.as.string, &is_method, out)) return 1;
        if (!is_method) *out = undefined_named(key.as.string);
        return 0;
    }
    if (key.kind != MMI_JINJA_INT && key.kind != MMI_JINJA_BOOL) return 0;
    if (v.kind != MMI_JINJA_STRING && v.kind != MMI_JINJA_LIST && v.kind != MMI_JINJA_TUPLE && v.kind != MMI_JINJA_RANGE) return 0;
    if (mmi_jinja_length(run, v, &count)) return 1;
    index = key.kind == MMI_JINJA_BOOL ? key.as.truth : key.as.integer;
    if (index < 0) index += (int64_t)count;
    if (index < 0 || index >= (int64_t)count) return 0;
    if (v.kind == MMI_JINJA_STRING) return mmi_jinja_substring(run, v.as.string, (size_t)index, (size_t)index + 1, out);
    *out = v.kind == MMI_JINJA_RANGE ? mmi_jinja_range_item(v.as.range, (size_t)index) : v.as.list->items[index];
    return 0;
}

/* Every step-th character from `start`. */
static int slice_string(jinja_run *run, const string *s, int64_t start, int64_t step, size_t count, value *out)
{
    mmi_jinja_text text = {0};
    const value *chars;
    size_t n;
    value whole = {MMI_JINJA_STRING, 0, {0}};

    whole.as.string = s;
    if (step == 1) return mmi_jinja_substring(run, s, (size_t)start, (size_t)start + count, out);
    if (mmi_jinja_items(run, whole, &chars, &n)) return 1;
    for (size_t i = 0; i < count; i++) {
        const string *c = chars[start + (int64_t)i * step].as.string;
        if (mmi_jinja_text_append(run, &text, c->data, c->size)) return 1;
    }
    return mmi_jinja_string_of_text(run, &text, out);
}

static int slice_range(jinja_run *run, const mmi_jinja_range *r, int64_t start, int64_t stop, int64_t step, size_t count, value *out)
{
    mmi_jinja_range *made = mmi_jinja_alloc(run, 1, sizeof *made);

    if (!made) return 1;
    made->start = (int64_t)((uint64_t)r->start + (uint64_t)start * (uint64_t)r->step);
    made->stop = (int64_t)((uint64_t)r->start + (uint64_t)stop * (uint64_t)r->step);
    made->step = (int64_t)((uint64_t)r->step * (uint64_t)step);
    made->count = count;
    out->kind = MMI_JINJA_RANGE;
    out->markup = 0;
    out->as.range = made;
    return 0;
}

/* Cut a bound as Python does: for a negative step the places are -1 .. count-1. */
static int64_t slice_bound(value v, int64_t count, int64_t step, int64_t left_out)
{
    int64_t at, lowest = step < 0 ? -1 : 0, highest = step < 0 ? count - 1 : count;

    if (v.kind == MMI_JINJA_NONE) return left_out;
    at = v.kind == MMI_JINJA_BOOL ? v.as.truth : v.as.integer;
    if (at < 0) at += count;
    return at < lowest ? lowest : at > highest ? highest : at;
}

static int is_bound(value v) { return v.kind == MMI_JINJA_NONE || v.kind == MMI_JINJA_INT || v.kind == MMI_JINJA_BOOL; }

int mmi_jinja_slice(jinja_run *run, value v, value start, value stop, value step, value *out)
{
    int64_t from, to, by = 1, length;
    size_t total, count = 0;
    value *items;

    if (v.kind == MMI_JINJA_UNDEFINED) return fail_undefined(run, v, "items");
    if (v.kind != MMI_JINJA_STRING && v.kind != MMI_JINJA_LIST && v.kind != MMI_JINJA_TUPLE && v.kind != MMI_JINJA_RANGE)
        return mmi_jinja_fail(run, MM_E_FORMAT, "a slice of a value of type %s", mmi_jinja_type(v));
    if (!is_bound(start) || !is_bound(stop) || !is_bound(step))
        return mmi_jinja_fail(run, MM_E_FORMAT, "a slice with bounds that are no integers");
    if (step.kind == MMI_JINJA_INT) by = step.as.integer;
    if (step.kind == MMI_JINJA_BOOL) by = step.as.truth;
    if (!by) return mmi_jinja_fail(run, MM_E_FORMAT, "a slice with step 0");
    if (mmi_jinja_length(run, v, &total)) return 1;
    length = (int64_t)total;
    if (by < -length - 1) by = -length - 1; /* no larger step makes a difference, and the products below stay small */
    if (by > length + 1) by = length + 1;
    from = slice_bound(start, length, by, by < 0 ? length - 1 : 0);
    to = slice_bound(stop, length, by, by < 0 ? -1 : length);
    if (by > 0 && from < to) count = (size_t)((to - from - 1) / by + 1);
    if (by < 0 && from > to) count = (size_t)((from - to - 1) / -by + 1);
    if (mmi_jinja_spend(run, count >> 3)) return 1;
    if (v.kind == MMI_JINJA_STRING) return slice_string(run, v.as.string, from, by, count, out);
    if (v.kind == MMI_JINJA_RANGE) return slice_range(run, v.as.range, from, to, by, count, out);
    items = mmi_jinja_alloc(run, count, sizeof *items);
    if (!items) return 1;
    for (size_t i = 0; i < count; i++) items[i] = v.as.list->items[from + (int64_t)i * by];
    return mmi_jinja_list_wrap(run, v.kind, items, count, out);
}

static int check_space_name(jinja_run *run, const string *name)
{
    if (!name->size || name->data[0] != '_') return 0;
    return mmi_jinja_fail(run, MM_E_FORMAT, "a namespace holds no '%.*s': names must not begin with _", (int)mmi_size_min(name->size, 60),
                          name->data);
}

int mmi_jinja_namespace_set(jinja_run *run, value space, const string *name, value v)
{
    value key = {MMI_JINJA_STRING, 0, {0}};

    if (space.kind != MMI_JINJA_NAMESPACE)
        return mmi_jinja_fail(run, MM_E_FORMAT, "an attribute is set on a value of type %s, which is no namespace", mmi_jinja_type(space));
    key.as.string = name;
    return check_space_name(run, name) || mmi_jinja_dict_put(run, space.as.dict, key, v);
}

/* ---- global functions ---- */

/* dict(mapping or pairs, name=value ...) */
static int build_dict(jinja_run *run, const char *what, const mmi_jinja_args *args, mmi_jinja_dict **out)
{
    if (args->positional > 1) return mmi_jinja_fail(run, MM_E_FORMAT, "%s takes one argument by position at most", what);
    if (mmi_jinja_dict_create(run, out)) return 1;
    if (args->positional && mmi_jinja_dict_update(run, *out, args->values[0])) return 1;
    for (size_t i = 0; i < args->named; i++) {
        value key = {MMI_JINJA_STRING, 0, {0}};
        key.as.string = args->names[i];
        if (mmi_jinja_dict_put(run, *out, key, args->values[args->positional + i])) return 1;
    }
    return 0;
}

static int call_dict(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    (void)self;
    out->kind = MMI_JINJA_DICT;
    out->markup = 0;
    return build_dict(run, "dict", args, &out->as.dict);
}

static int call_namespace(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    mmi_jinja_dict *dict;

    (void)self;
    if (build_dict(run, "namespace", args, &dict)) return 1;
    for (size_t i = 0; i < dict->count; i++)
        if (dict->entries[i].key.kind == MMI_JINJA_STRING && check_space_name(run, dict->entries[i].key.as.string)) return 1;
    out->kind = MMI_JINJA_NAMESPACE;
    out->markup = 0;
    out->as.dict = dict;
    return 0;
}

static int call_range(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    int64_t bounds[3] = {0, 0, 1};
    uint64_t distance = 0, step;
    mmi_jinja_range *range;

    (void)self;
    if (args->named || !args->positional || args->positional > 3) return mmi_jinja_fail(run, MM_E_FORMAT, "range takes 1 to 3 integers");
    for (size_t i = 0; i < args->positional; i++)
        if (mmi_jinja_want_int(run, "range", args->values[i], &bounds[args->positional == 1 ? 1 : i])) return 1;
    if (!bounds[2]) return mmi_jinja_fail(run, MM_E_FORMAT, "a range with step 0");
    step = bounds[2] < 0 ? 0 - (uint64_t)bounds[2] : (uint64_t)bounds[2];
    if (bounds[2] > 0 && bounds[0] < bounds[1]) distance = (uint64_t)bounds[1] - (uint64_t)bounds[0];
    if (bounds[2] < 0 && bounds[0] > bounds[1]) distance = (uint64_t)bounds[0] - (uint64_t)bounds[1];
    if (distance && (distance - 1) / step + 1 > MMI_JINJA_MAX_RANGE)
        return mmi_jinja_fail(run, MM_E_LIMIT, "a range of more than %d numbers", MMI_JINJA_MAX_RANGE);
    range = mmi_jinja_alloc(run, 1, sizeof *range);
    if (!range) return 1;
    range->start = bounds[0];
    range->stop = bounds[1];
    range->step = bounds[2];
    range->count = distance ? (size_t)((distance - 1) / step + 1) : 0;
    out->kind = MMI_JINJA_RANGE;
    out->markup = 0;
    out->as.range = range;
    return 0;
}

static int call_raise_exception(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    static const char *const names[] = {"message", NULL};
    value v[1], message;
    unsigned given;
    size_t n = 0, len;

    (void)self;
    (void)out;
    if (mmi_jinja_bind(run, "raise_exception", args, names, 1, v, &given) || mmi_jinja_to_string(run, v[0], &message)) return 1;
    while (n < message.as.string->size && n + (len = mmi_utf8_length((unsigned char)message.as.string->data[n])) <= 512) n += len ? len : 1;
    n = mmi_size_min(n, message.as.string->size);
    return mmi_jinja_fail(run, MM_E_FORMAT, "the template refuses the conversation: %.*s", (int)n, message.as.string->data);
}

/* One %-code of strftime in English, whatever the locale. Returns the length, 0 for an unknown code. */
static size_t time_field(const struct tm *t, char code, int padded, char out[40])
{
    static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
    static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                         "July",    "August",   "September", "October", "November", "December"};
    const char *two = padded ? "%02d" : "%d";
    int hour = t->tm_hour % 12 ? t->tm_hour % 12 : 12, n;

    switch (code) {
    case 'Y': n = snprintf(out, 40, "%d", t->tm_year + 1900); break;
    case 'y': n = snprintf(out, 40, two, (t->tm_year + 1900) % 100); break;
    case 'm': n = snprintf(out, 40, two, t->tm_mon + 1); break;
    case 'd': n = snprintf(out, 40, two, t->tm_mday); break;
    case 'e': n = snprintf(out, 40, padded ? "%2d" : "%d", t->tm_mday); break;
    case 'H': n = snprintf(out, 40, two, t->tm_hour); break;
    case 'I': n = snprintf(out, 40, two, hour); break;
    case 'M': n = snprintf(out, 40, two, t->tm_min); break;
    case 'S': n = snprintf(out, 40, two, t->tm_sec); break;
    case 'j': n = snprintf(out, 40, padded ? "%03d" : "%d", t->tm_yday + 1); break;
    case 'w': n = snprintf(out, 40, "%d", t->tm_wday); break;
    case 'u': n = snprintf(out, 40, "%d", t->tm_wday ? t->tm_wday : 7); break;
    case 'p': n = snprintf(out, 40, "%s", t->tm_hour < 12 ? "AM" : "PM"); break;
    case 'A': n = snprintf(out, 40, "%s", days[t->tm_wday]); break;
    case 'a': n = snprintf(out, 40, "%.3s", days[t->tm_wday]); break;
    case 'B': n = snprintf(out, 40, "%s", months[t->tm_mon]); break;
    case 'b':
    case 'h': n = snprintf(out, 40, "%.3s", months[t->tm_mon]); break;
    case 'F': n = snprintf(out, 40, "%d-%02d-%02d", t->tm_year + 1900, t->tm_mon + 1, t->tm_mday); break;
    case 'D': n = snprintf(out, 40, "%02d/%02d/%02d", t->tm_mon + 1, t->tm_mday, (t->tm_year + 1900) % 100); break;
    case 'T': n = snprintf(out, 40, "%02d:%02d:%02d", t->tm_hour, t->tm_min, t->tm_sec); break;
    case 'R': n = snprintf(out, 40, "%02d:%02d", t->tm_hour, t->tm_min); break;
    case 'n': n = snprintf(out, 40, "\n"); break;
    case 't': n = snprintf(out, 40, "\t"); break;
    case '%': n = snprintf(out, 40, "%%"); break;
    default: return 0;
    }
    return n > 0 && n < 40 ? (size_t)n : 0;
}

static int call_strftime_now(jinja_run *run, value self, const mmi_jinja_args *args, value *out)
{
    static const char *const names[] = {"format", NULL};
    mmi_jinja_text text = {0};
    const string *format;
    time_t now = (time_t)run->now;
    struct tm t;
    value v[1];
    unsigned given;

    (void)self;
    if (mmi_jinja_bind(run, "strftime_now", args, names, 1, v, &given) || mmi_jinja_want_string(run, "strftime_now", v[0], &format) ||
        mmi_jinja_spend(run, format->size >> 2))
        return 1;
    if (!localtime_r(&now, &t) || t.tm_year < -1900 || t.tm_year > 8099)
        return mmi_jinja_fail(run, MM_E_ARGUMENT, "the time %lld is outside the years 0 to 9999", (long long)run->now);
    for (size_t i = 0; i < format->size; i++) {
        char field[40];
        size_t n;
        int padded = 1;

        if (format->data[i] != '%' || i + 1 == format->size) {
            if (mmi_jinja_text_append(run, &text, format->data + i, 1)) return 1;
            continue;
        }
        if (format->data[++i] == '-' && i + 1 < format->size) {
            padded = 0;
            i++;
        }
        n = time_field(&t, format->data[i], padded, field);
        if (!n) return mmi_jinja_fail(run, MM_E_FORMAT, "strftime_now does not know %%%c", format->data[i]);
        if (mmi_jinja_spend(run, 1) || mmi_jinja_text_append(run, &text, field, n)) return 1;
    }
    return mmi_jinja_string_of_text(run, &text, out);
}

int mmi_jinja_global(const string *name, value *out)
{
    static const struct mmi_jinja_function functions[] = {{"range", call_range},
                                                          {"namespace", call_namespace},
                                                          {"dict", call_dict},
                                                          {"raise_exception", call_raise_exception},
                                                          {"strftime_now", call_strftime_now}};

    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (mmi_jinja_string_equals(name, functions[i].name)) {
            out->kind = MMI_JINJA_FUNCTION;
            out->markup = 0;
            out->as.function = &functions[i];
            return 1;
        }
    return 0;
}

int mmi_jinja_call(jinja_run *run, value callee, const mmi_jinja_args *args, value *out)
{
    if (callee.kind == MMI_JINJA_FUNCTION) return callee.as.function->call(run, callee, args, out);
    if (callee.kind == MMI_JINJA_METHOD) return callee.as.bound->method->call(run, callee.as.bound->self, args, out);
    if (callee.kind == MMI_JINJA_UNDEFINED) return fail_undefined(run, callee, "call");
    return mmi_jinja_fail(run, MM_E_FORMAT, "a value of type %s cannot be called", mmi_jinja_type(callee));
}
