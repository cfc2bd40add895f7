/* Python's operations on text, as far as chat templates use them. Positions count code points.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_JINJA_STRING_H
#define MMI_JINJA_STRING_H

#include <stddef.h>
#include <stdint.h>

#include "jinja_value.h"

enum { MMI_JINJA_LEFT = 1, MMI_JINJA_RIGHT = 2 };

typedef enum { MMI_JINJA_UPPER, MMI_JINJA_LOWER, MMI_JINJA_CAPITALIZE, MMI_JINJA_TITLE, MMI_JINJA_TITLE_FILTER } mmi_jinja_case;
typedef enum {
    MMI_JINJA_IS_ALPHA, MMI_JINJA_IS_DIGIT, MMI_JINJA_IS_ALNUM, MMI_JINJA_IS_SPACE, MMI_JINJA_IS_UPPER, MMI_JINJA_IS_LOWER
} mmi_jinja_class;

int mmi_jinja_is_space(uint32_t code);     /* str.isspace, \s */
int mmi_jinja_is_printable(uint32_t code); /* str.isprintable */

/* The offset of the first occurrence, or (size_t)-1. Linear time. */
size_t mmi_jinja_find_bytes(const char *bytes, size_t n, const char *wanted, size_t wanted_size);

/* The functions below return nonzero on failure. The values `s`, `old` ... are strings. */

/* Code points [start, stop) with 0 <= start <= stop <= chars. */
int mmi_jinja_substring(mmi_jinja_run *run, const mmi_jinja_string *s, size_t start, size_t stop, mmi_jinja_value *out);
/* sides: MMI_JINJA_LEFT | MMI_JINJA_RIGHT; chars: the set to strip, NULL for white space. */
int mmi_jinja_strip(mmi_jinja_run *run, const mmi_jinja_string *s, const mmi_jinja_string *chars, int sides, mmi_jinja_value *out);
/* separator NULL: runs of white space; most < 0: no bound; from: the side that the bound counts from. */
int mmi_jinja_split(mmi_jinja_run *run, const mmi_jinja_string *s, const mmi_jinja_string *separator, int64_t most, int from,
                    mmi_jinja_value *out);
int mmi_jinja_splitlines(mmi_jinja_run *run, const mmi_jinja_string *s, int keep_ends, mmi_jinja_value *out);
int mmi_jinja_replace(mmi_jinja_run *run, const mmi_jinja_string *s, const mmi_jinja_string *old, const mmi_jinja_string *by, int64_t most,
                      mmi_jinja_value *out);
int mmi_jinja_change_case(mmi_jinja_run *run, const mmi_jinja_string *s, mmi_jinja_case what, mmi_jinja_value *out);
int mmi_jinja_is_class(const mmi_jinja_string *s, mmi_jinja_class what);
/* In code points [start, stop); *out is a code point index or -1. */
int mmi_jinja_find(mmi_jinja_run *run, const mmi_jinja_string *s, const mmi_jinja_string *wanted, size_t start, size_t stop, int from,
                   int64_t *out);
int mmi_jinja_count(mmi_jinja_run *run, const mmi_jinja_string *s, const mmi_jinja_string *wanted, int64_t *out);
int mmi_jinja_repeat(mmi_jinja_run *run, const mmi_jinja_string *s, int64_t times, mmi_jinja_value *out);
/* Append `count` copies of the `n` bytes. */
int mmi_jinja_fill(mmi_jinja_run *run, mmi_jinja_text *text, const char *bytes, size_t n, size_t count);
/* Replace & < > " ' by HTML's references. */
int mmi_jinja_escape(mmi_jinja_run *run, const mmi_jinja_string *s, mmi_jinja_value *out);

#endif
