/* Python's arithmetic on template values: numbers, and + * % of text and lists. Integers have 64 bits; what does not fit
 * is a failure, never a wrong number.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_JINJA_OPERATOR_H
#define MMI_JINJA_OPERATOR_H

#include "jinja_parser.h"
#include "jinja_value.h"

/* `op` is one of MMI_JINJA_ADD ... MMI_JINJA_POWER. Nonzero on failure. */
int mmi_jinja_operate(mmi_jinja_run *run, mmi_jinja_node_kind op, mmi_jinja_value a, mmi_jinja_value b, mmi_jinja_value *out);
/* `op` is MMI_JINJA_NEGATIVE or MMI_JINJA_POSITIVE. Nonzero on failure. */
int mmi_jinja_signed(mmi_jinja_run *run, mmi_jinja_node_kind op, mmi_jinja_value a, mmi_jinja_value *out);

#endif
