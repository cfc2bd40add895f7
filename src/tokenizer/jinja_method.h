/* Subscripts, attributes, the methods of strings, lists and dicts, and the global functions. What Jinja's immutable sandbox
 * hides (append, update, everything that begins with an underscore) is not there.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_JINJA_METHOD_H
#define MMI_JINJA_METHOD_H

#include <stddef.h>

#include "jinja_value.h"

/* The functions below return nonzero on failure. */

/* Sort positional and named arguments into values[0..count) by `names` (NULL-terminated); absent ones stay undefined and
 * their bit in *given is 0. `what` stands in messages. At most 8 parameters. */
int mmi_jinja_bind(mmi_jinja_run *run, const char *what, const mmi_jinja_args *args, const char *const *names, size_t required,
                   mmi_jinja_value *values, unsigned *given);
/* The argument as an integer within the range, or a failure that names it. */
int mmi_jinja_want_int(mmi_jinja_run *run, const char *what, mmi_jinja_value v, int64_t *out);
int mmi_jinja_want_string(mmi_jinja_run *run, const char *what, mmi_jinja_value v, const mmi_jinja_string **out);

/* v.name: the attribute first, then the item. */
int mmi_jinja_attribute(mmi_jinja_run *run, mmi_jinja_value v, const mmi_jinja_string *name, mmi_jinja_value *out);
/* v[key]: the item first, then the attribute. */
int mmi_jinja_item(mmi_jinja_run *run, mmi_jinja_value v, mmi_jinja_value key, mmi_jinja_value *out);
/* v[start:stop:step], each none when left out */
int mmi_jinja_slice(mmi_jinja_run *run, mmi_jinja_value v, mmi_jinja_value start, mmi_jinja_value stop, mmi_jinja_value step,
                    mmi_jinja_value *out);
/* Set an attribute of a namespace. */
int mmi_jinja_namespace_set(mmi_jinja_run *run, mmi_jinja_value space, const mmi_jinja_string *name, mmi_jinja_value v);

/* The global function of this name; 0 when there is none. */
int mmi_jinja_global(const mmi_jinja_string *name, mmi_jinja_value *out);
/* Call a function or method. */
int mmi_jinja_call(mmi_jinja_run *run, mmi_jinja_value callee, const mmi_jinja_args *args, mmi_jinja_value *out);

#endif
