/* Manifests: data sets as JSON lines, an example a line, read one by one from maps of the files.
 *
 *   {"image": path or [paths], "audio": path, "video": path, "text": s, "caption": s, "question": s, "answer": s, "prompt": s, "chosen": s,
 *    "rejected": s, "messages": [{"role": s, "content": s or [{"type": "text", "text": s}, {"type": "image"}]}], "label": name or index,
 *    "labels": {head: name or index}, "value": number or [numbers]}
 *
 * Paths are relative to the manifest's folder and must lead to files. null is like a missing member; lines of white space are none.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_MANIFEST_H
#define MMI_MANIFEST_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "chat_template.h"
#include "context.h"
#include "hash_map.h"
#include "json.h"

enum {
    MMI_MANIFEST_MAX_LINE = 1 << 20, /* bytes */
    MMI_MANIFEST_MAX_FILES = 4096,
    MMI_RECORD_MAX_MESSAGES = 1024 /* a template is rendered once for each of them */
};

typedef struct mmi_manifest mmi_manifest; /* immutable: many threads may read one */

/* A class as the manifest names it. */
typedef struct {
    const char *head; /* NULL for "label" */
    const char *name; /* NULL: by index */
    int64_t index;
} mmi_record_label;

/* An example. What is absent is NULL or 0; all of it belongs to the record. Starts as all zeros. */
typedef struct {
    const char *where; /* "file:line", for messages */
    const char *const *images;
    size_t image_count;
    const char *audio, *video, *text, *caption, *question, *answer, *prompt, *chosen, *rejected;
    const mmi_chat_message *messages;
    size_t message_count;
    const mmi_record_label *labels; /* "label" first */
    size_t label_count;
    const double *values;
    size_t value_count;
    mmi_arena arena;
    mmi_json *doc;
} mmi_record;

/* Find the lines of one or more files, in the order given. MM_E_NOT_FOUND, MM_E_IO, MM_E_LIMIT, MM_E_CANCELLED, MM_E_NOMEM; a file without
 * any example is MM_E_FORMAT. */
mm_status mmi_manifest_open(mm_context *ctx, const char *const *paths, size_t count, mmi_manifest **out);
void mmi_manifest_close(mmi_manifest *m);         /* NULL allowed */
size_t mmi_manifest_count(const mmi_manifest *m); /* examples */

/* Read example `line` of all, counted from 0; the record is cleared first. MM_E_FORMAT, MM_E_NOT_FOUND, MM_E_IO or MM_E_LIMIT name file,
 * line and key; MM_E_NOMEM. After a failure the record is clear. */
mm_status mmi_manifest_read(mm_context *ctx, const mmi_manifest *m, size_t line, mmi_record *record);
void mmi_record_clear(mmi_record *record);

/* The examples that are held out for validation, or the others: each by a number drawn for (seed, file, line), so that what is in a file
 * stays on its side when lines are appended. *lines, ascending, is the caller's to free. */
mm_status mmi_manifest_split(mm_context *ctx, const mmi_manifest *m, uint64_t seed, double validation, int want_validation, size_t **lines,
                             size_t *count);

/* The classes of a head. Starts as all zeros; clear frees it. */
typedef struct {
    mmi_hash_map index; /* of a name */
} mmi_label_list;

/* Append one; MM_E_ARGUMENT for a name that is there already. */
mm_status mmi_label_list_add(mm_context *ctx, mmi_label_list *list, const char *name);
void mmi_label_list_clear(mmi_label_list *list);
/* The class that the record has for `head` (NULL: its "label"). MM_E_FORMAT names file, line and key: it is missing, not on the list, or
 * out of range. */
mm_status mmi_label_list_find(mm_context *ctx, const mmi_label_list *list, const mmi_record *record, const char *head, size_t *out);

#endif
