/* Regular expressions of tokenizer files: Oniguruma's syntax as the `tokenizers` package uses it, run by PCRE2.
 *
 * Expressions are compiled for PCRE2's JIT where there is one. What the two engines read differently is translated, or
 * refused by name. Each attempt at a position has PCRE2's match limit and between positions a cancellation is noticed.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PATTERN_H
#define MMI_PATTERN_H

#include <stddef.h>

#include "context.h"

typedef struct mmi_pattern mmi_pattern; /* immutable; may be used by many threads */
typedef struct mmi_matcher mmi_matcher; /* the state of one search; one thread at a time */

/* Compile `regex`; `where` names its place in messages. MM_E_FORMAT, MM_E_UNSUPPORTED, MM_E_LIMIT, MM_E_NOMEM. */
mm_status mmi_pattern_compile(mm_context *ctx, const char *where, const char *regex, mmi_pattern **out);
void mmi_pattern_destroy(mmi_pattern *pattern); /* NULL allowed */

mm_status mmi_matcher_create(mm_context *ctx, mmi_matcher **out);
void mmi_matcher_destroy(mmi_matcher *matcher); /* NULL allowed */

/* Begin a search in text[0..n), valid UTF-8 that stays until the search ends. */
mm_status mmi_matcher_begin(mm_context *ctx, mmi_matcher *matcher, const char *text, size_t n);

/* The next match after the last: *found 1 and its place, or 0. MM_E_LIMIT when the expression needs too many steps. */
mm_status mmi_matcher_next(mm_context *ctx, mmi_matcher *matcher, const mmi_pattern *pattern, size_t *start, size_t *end, int *found);

#endif
