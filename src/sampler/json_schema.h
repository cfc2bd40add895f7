/* JSON schemas as grammars: text that follows one is JSON that the schema describes.
 *
 * Not every such JSON can be written: properties come in the order of the schema, white space is short, numbers have few digits. What is written
 * is valid always: a keyword that is not understood is refused by name. docs/constrained.md has the list. SPDX-License-Identifier: MIT */
#ifndef MMI_JSON_SCHEMA_H
#define MMI_JSON_SCHEMA_H

#include "grammar.h"

/* MM_E_FORMAT (no JSON, or a keyword's value has the wrong form), MM_E_UNSUPPORTED, MM_E_LIMIT, MM_E_NOMEM. */
mm_status mmi_json_schema_compile(mm_context *ctx, const char *schema, size_t n, mmi_grammar **out);

#endif
