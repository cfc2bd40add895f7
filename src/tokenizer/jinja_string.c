/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* memmem: linear time, which a loop over memcmp is not */
#include "jinja_string.h"

#include <string.h>
#include <utf8proc.h>

#include "size.h"

typedef mmi_jinja_value value;
typedef mmi_jinja_run jinja_run;
typedef mmi_jinja_string string;

static const size_t none = (size_t)-1;

/* One code point and its length; a malformed byte stands for itself as U+FFFD. */
static size_t decode(const char *s, size_t n, uint32_t *code)
{
    size_t len;
    if ((unsigned char)s[0] < 0x80) {
        *code = (unsigned char)s[0];
        return 1;
    }
    len = mmi_utf8_decode(s, n, code);
    if (len) return len;
    *code = 0xFFFD;
    return 1;
}

/* The code point that ends at `end` (> 0). */
static size_t decode_back(const char *s, size_t end, uint32_t *code)
{
    for (size_t len = 1; len <= 4 && len <= end; len++)
        if (((unsigned char)s[end - len] & 0xC0) != 0x80) {
            if (decode(s + end - len, len, code) == len) return len;
            break;
        }
    *code = 0xFFFD;
    return 1;
}

int mmi_jinja_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

size_t mmi_jinja_find_bytes(const char *bytes, size_t n, const char *wanted, size_t wanted_size)
{
    const char *p = wanted_size ? memmem(bytes, n, wanted, wanted_size) : bytes;
    return p ? (size_t)(p - bytes) : none;
}

/* The last occurrence; each place where it may begin is paid for, since this search is not linear. */
static int find_last(jinja_run *run, const char *bytes, size_t n, const string *wanted, size_t *out)
{
    *out = none;
    if (wanted->size > n) return 0;
    for (size_t i = n - wanted->size + 1; i-- > 0;) {
        if (wanted->size && bytes[i] != wanted->data[0]) continue;
        if (mmi_jinja_spend(run, wanted->size >> 6)) return 1;
        if (memcmp(bytes + i, wanted->data, wanted->size) == 0) {
            *out = i;
            return 0;
        }
    }
    return 0;
}

static int part(jinja_run *run, const string *s, size_t from, size_t to, value *out)
{
    return mmi_jinja_string_wrap(run, s->data + from, to - from, out);
}

int mmi_jinja_substring(jinja_run *run, const string *s, size_t start, size_t stop, value *out)
{
    size_t from = mmi_jinja_offset(s, start);
    size_t to = s->chars == s->size ? stop : mmi_jinja_offset(s, stop);

    return mmi_jinja_spend(run, s->chars == s->size ? 0 : to >> 4) || part(run, s, from, to, out);
}

/* Whether the code point is one to strip; a set costs steps for each question. */
static int in_set(jinja_run *run, uint32_t code, const string *chars, int *out)
{
    uint32_t c;

    *out = 0;
    if (!chars) {
        *out = mmi_jinja_is_space(code);
        return 0;
    }
    for (size_t i = 0; !*out && i < chars->size;) {
        i += decode(chars->data + i, chars->size - i, &c);
        *out = c == code;
    }
    return mmi_jinja_spend(run, 1 + (chars->size >> 4));
}

int mmi_jinja_strip(jinja_run *run, const string *s, const string *chars, int sides, value *out)
{
    size_t from = 0, to = s->size, len;
    uint32_t code;
    int strip;

    while (sides & MMI_JINJA_LEFT && from < to) {
        len = decode(s->data + from, to - from, &code);
        if (in_set(run, code, chars, &strip)) return 1;
        if (!strip) break;
        from += len;
    }
    while (sides & MMI_JINJA_RIGHT && to > from) {
        len = decode_back(s->data + from, to - from, &code);
        if (in_set(run, code, chars, &strip)) return 1;
        if (!strip) break;
        to -= len;
    }
    return mmi_jinja_spend(run, (s->size - (to - from)) >> 4) || part(run, s, from, to, out);
}

/* ---- splitting ---- */

typedef struct {
    value *items;
    size_t count, capacity;
} parts;

static int add_part(jinja_run *run, parts *list, const string *s, size_t from, size_t to)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 8;
        value *items = mmi_jinja_alloc(run, capacity, sizeof *items);
        if (!items) return 1;
        if (list->count) memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    return mmi_jinja_spend(run, 1) || part(run, s, from, to, &list->items[list->count++]);
}

static int finish_parts(jinja_run *run, parts *list, int reversed, value *out)
{
    for (size_t i = 0; reversed && i < list->count / 2; i++) {
        value v = list->items[i];
        list->items[i] = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = v;
    }
    return mmi_jinja_list_wrap(run, MMI_JINJA_LIST, list->items, list->count, out);
}

static size_t skip_spaces(const string *s, size_t at, int wanted)
{
    uint32_t code;
    size_t len;
    for (; at < s->size; at += len) {
        len = decode(s->data + at, s->size - at, &code);
        if (mmi_jinja_is_space(code) != wanted) break;
    }
    return at;
}

static size_t skip_spaces_back(const string *s, size_t at, int wanted)
{
    uint32_t code;
    size_t len;
    for (; at > 0; at -= len) {
        len = decode_back(s->data, at, &code);
        if (mmi_jinja_is_space(code) != wanted) break;
    }
    return at;
}

static int split_spaces(jinja_run *run, const string *s, int64_t most, value *out)
{
    parts list = {0};
    size_t at = skip_spaces(s, 0, 1), end;

    for (; at < s->size; at = skip_spaces(s, end, 1)) {
        if (most >= 0 && list.count >= (size_t)most) {
            if (add_part(run, &list, s, at, s->size)) return 1; /* the rest keeps its inner and last spaces */
            break;
        }
        end = skip_spaces(s, at, 0);
        if (add_part(run, &list, s, at, end)) return 1;
    }
    return finish_parts(run, &list, 0, out);
}

static int rsplit_spaces(jinja_run *run, const string *s, int64_t most, value *out)
{
    parts list = {0};
    size_t end = skip_spaces_back(s, s->size, 1), begin;

    for (; end > 0; end = skip_spaces_back(s, begin, 1)) {
        if (most >= 0 && list.count >= (size_t)most) {
            if (add_part(run, &list, s, 0, end)) return 1;
            break;
        }
        begin = skip_spaces_back(s, end, 0);
        if (add_part(run, &list, s, begin, end)) return 1;
    }
    return finish_parts(run, &list, 1, out);
}

int mmi_jinja_split(jinja_run *run, const string *s, const string *separator, int64_t most, int from, value *out)
{
    parts list = {0};
    size_t begin = 0, end = s->size, found;

    if (mmi_jinja_spend(run, s->size >> 4)) return 1;
    if (!separator) return from == MMI_JINJA_LEFT ? split_spaces(run, s, most, out) : rsplit_spaces(run, s, most, out);
    if (!separator->size) return mmi_jinja_fail(run, MM_E_FORMAT, "split with an empty separator");
    while (most < 0 || list.count < (size_t)most) {
        if (from == MMI_JINJA_LEFT) {
            found = mmi_jinja_find_bytes(s->data + begin, end - begin, separator->data, separator->size);
            if (found == none) break;
            if (add_part(run, &list, s, begin, begin + found)) return 1;
            begin += found + separator->size;
        } else {
            if (find_last(run, s->data, end, separator, &found)) return 1;
            if (found == none) break;
            if (add_part(run, &list, s, found + separator->size, end)) return 1;
            end = found;
        }
    }
    return add_part(run, &list, s, begin, end) || finish_parts(run, &list, from == MMI_JINJA_RIGHT, out);
}

static int is_line_break(uint32_t c) { return (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029; }

int mmi_jinja_splitlines(jinja_run *run, const string *s, int keep_ends, value *out)
{
    parts list = {0};
    size_t begin = 0, at = 0, len;
    uint32_t code;

    if (mmi_jinja_spend(run, s->size >> 4)) return 1;
    while (at < s->size) {
        len = decode(s->data + at, s->size - at, &code);
        if (is_line_break(code)) {
            if (code == '\r' && at + 1 < s->size && s->data[at + 1] == '\n') len = 2;
            if (add_part(run, &list, s, begin, keep_ends ? at + len : at)) return 1;
            begin = at + len;
        }
        at += len;
    }
    if (begin < s->size && add_part(run, &list, s, begin, s->size)) return 1;
    return finish_parts(run, &list, 0, out);
}

/* ---- replacing, repeating ---- */

/* Python puts `by` before each character and at the end when `old` is empty. */
static int replace_empty(jinja_run *run, const string *s, const string *by, int64_t most, value *out)
{
    mmi_jinja_text text = {0};
    size_t at = 0, len;
    uint32_t code;

    for (; most && at < s->size; at += len, most--) {
        len = decode(s->data + at, s->size - at, &code);
        if (mmi_jinja_text_append(run, &text, by->data, by->size) || mmi_jinja_text_append(run, &text, s->data + at, len) ||
            mmi_jinja_spend(run, 1))
            return 1;
    }
    if (at < s->size ? mmi_jinja_text_append(run, &text, s->data + at, s->size - at)
                     : most && mmi_jinja_text_append(run, &text, by->data, by->size))
        return 1;
    return mmi_jinja_string_of_text(run, &text, out);
}

int mmi_jinja_replace(jinja_run *run, const string *s, const string *old, const string *by, int64_t most, value *out)
{
    mmi_jinja_text text = {0};
    size_t at = 0, found;

    if (mmi_jinja_spend(run, s->size >> 5)) return 1;
    if (!old->size) return replace_empty(run, s, by, most, out);
    for (; most; most--) {
        found = mmi_jinja_find_bytes(s->data + at, s->size - at, old->data, old->size);
        if (found == none) break;
        if (mmi_jinja_spend(run, 1) || mmi_jinja_text_append(run, &text, s->data + at, found) ||
            mmi_jinja_text_append(run, &text, by->data, by->size))
            return 1;
        at += found + old->size;
    }
    if (!at) return part(run, s, 0, s->size, out);
    return mmi_jinja_text_append(run, &text, s->data + at, s->size - at) || mmi_jinja_string_of_text(run, &text, out);
}

int mmi_jinja_fill(jinja_run *run, mmi_jinja_text *text, const char *bytes, size_t n, size_t count)
{
    size_t total;

    if (mmi_size_mul(n, count, &total) || total > MMI_JINJA_MAX_TEXT)
        return mmi_jinja_fail(run, MM_E_LIMIT, "a text of more than %d MiB", MMI_JINJA_MAX_TEXT >> 20);
    if (mmi_jinja_spend(run, count >> 2)) return 1;
    while (count--)
        if (mmi_jinja_text_append(run, text, bytes, n)) return 1;
    return 0;
}

int mmi_jinja_repeat(jinja_run *run, const string *s, int64_t times, value *out)
{
    mmi_jinja_text text = {0};

    if (times > 0 && s->size && mmi_jinja_fill(run, &text, s->data, s->size, (size_t)times)) return 1;
    return mmi_jinja_string_of_text(run, &text, out);
}

int mmi_jinja_escape(jinja_run *run, const string *s, value *out)
{
    mmi_jinja_text text = {0};

    if (mmi_jinja_spend(run, s->size >> 4)) return 1;
    for (size_t i = 0; i < s->size; i++) {
        const char *by = NULL;
        switch (s->data[i]) {
        case '&': by = "&amp;"; break;
        case '<': by = "&lt;"; break;
        case '>': by = "&gt;"; break;
        case '"': by = "&#34;"; break;
        case '\'': by = "&#39;"; break;
        default: break;
        }
        if (by ? mmi_jinja_text_append(run, &text, by, strlen(by)) : mmi_jinja_text_append(run, &text, s->data + i, 1)) return 1;
    }
    if (mmi_jinja_string_of_text(run, &text, out)) return 1;
    out->markup = 1;
    return 0;
}

/* ---- searching ---- */

int mmi_jinja_find(jinja_run *run, const string *s, const string *wanted, size_t start, size_t stop, int from, int64_t *out)
{
    size_t begin = mmi_jinja_offset(s, start), end = mmi_jinja_offset(s, stop), found;

    if (mmi_jinja_spend(run, s->size >> 4)) return 1;
    *out = -1;
    if (end < begin) return 0;
    if (from == MMI_JINJA_LEFT)
        found = mmi_jinja_find_bytes(s->data + begin, end - begin, wanted->data, wanted->size);
    else if (find_last(run, s->data + begin, end - begin, wanted, &found))
        return 1;
    if (found != none) *out = (int64_t)(start + mmi_jinja_chars(s->data + begin, found));
    return 0;
}

int mmi_jinja_count(jinja_run *run, const string *s, const string *wanted, int64_t *out)
{
    size_t at = 0, found;

    if (mmi_jinja_spend(run, s->size >> 4)) return 1;
    *out = 0;
    if (!wanted->size) {
        *out = (int64_t)s->chars + 1;
        return 0;
    }
    while ((found = mmi_jinja_find_bytes(s->data + at, s->size - at, wanted->data, wanted->size)) != none) {
        at += found + wanted->size;
        ++*out;
        if (mmi_jinja_spend(run, 1)) return 1;
    }
    return 0;
}

/* ---- letters: one code point for one, but for the sharp s ---- */

static utf8proc_category_t category(uint32_t c) { return utf8proc_category((utf8proc_int32_t)c); }
static int is_upper(uint32_t c) { return c < 0x80 ? c >= 'A' && c <= 'Z' : category(c) == UTF8PROC_CATEGORY_LU; }
static int is_lower(uint32_t c) { return c < 0x80 ? c >= 'a' && c <= 'z' : category(c) == UTF8PROC_CATEGORY_LL; }
static uint32_t to_upper(uint32_t c) { return c < 0x80 ? (is_lower(c) ? c - 32 : c) : (uint32_t)utf8proc_toupper((utf8proc_int32_t)c); }
static uint32_t to_lower(uint32_t c) { return c < 0x80 ? (is_upper(c) ? c + 32 : c) : (uint32_t)utf8proc_tolower((utf8proc_int32_t)c); }
static int is_cased(uint32_t c) { return is_upper(c) || is_lower(c) || category(c) == UTF8PROC_CATEGORY_LT; }
static int is_digit(uint32_t c) { return c < 0x80 ? c >= '0' && c <= '9' : category(c) == UTF8PROC_CATEGORY_ND; }

static int is_alpha(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

static int is_alnum(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return is_alpha(c) || (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO);
}

int mmi_jinja_is_printable(uint32_t c)
{
    utf8proc_category_t k;

    if (c < 0x80) return c >= 0x20 && c != 0x7F;
    k = category(c);
    return k != UTF8PROC_CATEGORY_CN && k < UTF8PROC_CATEGORY_ZS;
}

/* Characters that begin a word for the title filter when they stand before it. */
static int begins_word(uint32_t c) { return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || mmi_jinja_is_space(c); }

int mmi_jinja_change_case(jinja_run *run, const string *s, mmi_jinja_case what, value *out)
{
    mmi_jinja_text text = {0};
    int start = 1; /* of the text, or of a word */
    uint32_t code;
    size_t len;

    if (mmi_jinja_spend(run, s->size >> 3)) return 1;
    for (size_t i = 0; i < s->size; i += len) {
        char bytes[4];
        uint32_t changed;
        int raise;

        len = decode(s->data + i, s->size - i, &code);
        raise = what == MMI_JINJA_UPPER || (start && what != MMI_JINJA_LOWER);
        changed = raise ? to_upper(code) : to_lower(code);
        if (what == MMI_JINJA_TITLE)
            start = !is_cased(code);
        else
            start = what == MMI_JINJA_TITLE_FILTER && begins_word(code);
        if (raise && code == 0xDF) { /* sharp s: the one common letter whose capital is two */
            if (mmi_jinja_text_append(run, &text, what == MMI_JINJA_UPPER ? "SS" : "Ss", 2)) return 1;
            continue;
        }
        if (mmi_jinja_text_append(run, &text, changed == code ? s->data + i : bytes,
                                  changed == code ? len : mmi_utf8_encode(changed, bytes)))
            return 1;
    }
    return mmi_jinja_string_of_text(run, &text, out);
}

int mmi_jinja_is_class(const string *s, mmi_jinja_class what)
{
    int cased = 0;
    uint32_t code;

    if (!s->size) return 0;
    for (size_t i = 0; i < s->size;) {
        i += decode(s->data + i, s->size - i, &code);
        switch (what) {
        case MMI_JINJA_IS_ALPHA:
            if (!is_alpha(code)) return 0;
            break;
        case MMI_JINJA_IS_DIGIT:
            if (!is_digit(code)) return 0;
            break;
        case MMI_JINJA_IS_ALNUM:
            if (!is_alnum(code)) return 0;
            break;
        case MMI_JINJA_IS_SPACE:
            if (!mmi_jinja_is_space(code)) return 0;
            break;
        case MMI_JINJA_IS_UPPER:
            if (is_lower(code)) return 0;
            cased |= is_upper(code);
            break;
        case MMI_JINJA_IS_LOWER:
            if (is_upper(code)) return 0;
            cased |= is_lower(code);
            break;
        }
    }
    return cased || what <= MMI_JINJA_IS_SPACE;
}
