/* Python's two ways to format text: the % operator and str.format, with positional order, flags, width and precision.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_JINJA_FORMAT_H
#define MMI_JINJA_FORMAT_H

#include "jinja_value.h"

/* Both return nonzero on failure. */

/* format % v, where a tuple gives several arguments and a dict those with names */
int mmi_jinja_percent(mmi_jinja_run *run, const mmi_jinja_string *format, mmi_jinja_value v, mmi_jinja_value *out);
/* format.format(args) */
int mmi_jinja_brace_format(mmi_jinja_run *run, const mmi_jinja_string *format, const mmi_jinja_args *args, mmi_jinja_value *out);

#endif
