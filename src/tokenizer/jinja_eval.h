/* Walks a parsed template: scopes, loops, macros, output.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_JINJA_EVAL_H
#define MMI_JINJA_EVAL_H

#include "jinja_parser.h"
#include "jinja_value.h"

/* Render `program` with the variables (keys are strings); the text lies in the run's arena. Nonzero on failure. */
int mmi_jinja_eval(mmi_jinja_run *run, const mmi_jinja_program *program, const mmi_jinja_dict *variables, mmi_jinja_text *out);

#endif
