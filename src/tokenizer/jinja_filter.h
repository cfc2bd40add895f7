/* Jinja's filters (`x | name(...)`) and tests (`x is name(...)`), as far as published chat templates use them.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_JINJA_FILTER_H
#define MMI_JINJA_FILTER_H

#include <stddef.h>

#include "jinja_value.h"

typedef struct mmi_jinja_filter mmi_jinja_filter;
typedef struct mmi_jinja_test mmi_jinja_test;

/* NULL: there is no such. */
const mmi_jinja_filter *mmi_jinja_filter_find(const char *name, size_t n);
const mmi_jinja_test *mmi_jinja_test_find(const char *name, size_t n);

/* Nonzero on failure. */
int mmi_jinja_filter_apply(mmi_jinja_run *run, const mmi_jinja_filter *filter, mmi_jinja_value v, const mmi_jinja_args *args,
                           mmi_jinja_value *out);
int mmi_jinja_test_apply(mmi_jinja_run *run, const mmi_jinja_test *test, mmi_jinja_value v, const mmi_jinja_args *args, int *out);

#endif
