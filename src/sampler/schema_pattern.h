/* The regular expressions of JSON schemas, as a grammar for the JSON string that they describe.
 *
 * Read are literals, ., sets, \d \w \s \D \W \S and the escapes of characters, groups, |, * + ? {m} {m,} {m,n}, ^ at the beginning and $ at the
 * end; what is not anchored may have anything beside it. Where dialects differ only what all of them match is written: \d \w \s are ASCII,
 * \D \W \S what of ASCII is left. The rest (look-around, back references, \b, lazy repetition, ...) is refused by name.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_SCHEMA_PATTERN_H
#define MMI_SCHEMA_PATTERN_H

#include "text.h"

/* Append the body of a rule in GBNF, which uses the rule `char` for any character of a string. MM_E_FORMAT, MM_E_UNSUPPORTED, MM_E_LIMIT, MM_E_NOMEM. */
mm_status mmi_schema_pattern_write(mm_context *ctx, const char *regex, mmi_text *out);

#endif
