/* JSON documents through cJSON (RFC 8259), with bounds: nesting, number of values, and memory counted against the
 * context. Refused although some parsers read it: a byte order mark, NaN and Infinity, half a surrogate pair written as
 * an escape (Python keeps it, Rust refuses it), \u0000, numbers of more than 63 characters.
 * Accessors take a NULL node and answer "absent", so that paths can be chained.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_JSON_H
#define MMI_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "text.h"

typedef struct mmi_json mmi_json;  /* a document; owns its nodes */
typedef struct cJSON mmi_json_node; /* borrowed from a document */

enum {
    MMI_JSON_MAX_DEPTH = 64,
    MMI_JSON_MAX_NODES = 8 * 1024 * 1024 /* values in a document; the largest tokenizer.json have about two million */
};

/* Parse text[0..n); `name` (copied) stands in messages. MM_E_FORMAT, MM_E_UNSUPPORTED (\u0000) and MM_E_LIMIT name it and the offset. */
mm_status mmi_json_parse(mm_context *ctx, const char *name, const char *text, size_t n, mmi_json **out);
/* Read and parse a file of at most `most` bytes. */
mm_status mmi_json_read(mm_context *ctx, const char *path, size_t most, mmi_json **out);
/* The object under `key` of the root as a document of its own, named "<name>: <key>"; it borrows the nodes of `doc`, which must outlive
 * it. *out is NULL when the member is absent or null; MM_E_FORMAT when it is no object. */
mm_status mmi_json_part(mm_context *ctx, const mmi_json *doc, const char *key, mmi_json **out);
void mmi_json_destroy(mmi_json *doc); /* NULL allowed */
const mmi_json_node *mmi_json_root(const mmi_json *doc);
const char *mmi_json_name(const mmi_json *doc);

typedef enum { MMI_JSON_ABSENT, MMI_JSON_NULL, MMI_JSON_BOOL, MMI_JSON_NUMBER, MMI_JSON_STRING, MMI_JSON_ARRAY, MMI_JSON_OBJECT } mmi_json_kind;

mmi_json_kind mmi_json_kind_of(const mmi_json_node *node);
const mmi_json_node *mmi_json_get(const mmi_json_node *object, const char *key); /* the last of equal keys; NULL: absent or no object */
const mmi_json_node *mmi_json_first(const mmi_json_node *array_or_object);
const mmi_json_node *mmi_json_next(const mmi_json_node *node);
const char *mmi_json_key(const mmi_json_node *member);
size_t mmi_json_count(const mmi_json_node *array_or_object); /* walks the list */
const char *mmi_json_string(const mmi_json_node *node);      /* NULL when it is no string */
int mmi_json_number(const mmi_json_node *node, double *out); /* nonzero: it was a number, and finite as a double */
int mmi_json_integer(const mmi_json_node *node, int64_t *out); /* nonzero: it was a whole number within +-2^53 */
int mmi_json_true(const mmi_json_node *node);                /* nonzero for `true` alone */

/* Members with type and range checks; a wrong type or a value outside [lowest, highest] is MM_E_FORMAT naming document
 * and key. An absent or null member leaves *out alone (put the default there first), or is MM_E_FORMAT when required. */
mm_status mmi_json_i64(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, const char *key, int required,
                       int64_t lowest, int64_t highest, int64_t *out);
mm_status mmi_json_f64(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, const char *key, int required,
                       double lowest, double highest, double *out);
mm_status mmi_json_bool(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, const char *key, int required, int *out);
mm_status mmi_json_text(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, const char *key, int required, const char **out);

/* MM_E_FORMAT naming the document and the key where the object has a member that is none of `keys`, NULL at their end. */
mm_status mmi_json_only(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, const char *const *keys);

/* Append a string as JSON, quotes included, with malformed UTF-8 as U+FFFD. Nonzero when out of memory. */
int mmi_json_quote(mm_context *ctx, mmi_text *out, const char *bytes, size_t n);
/* Append a node with all that is in it, two blanks a level. Nonzero when out of memory. */
int mmi_json_write(mm_context *ctx, mmi_text *out, const mmi_json_node *node);

#endif
