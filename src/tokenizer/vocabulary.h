/* The tokens of a model: text to id and back.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_VOCABULARY_H
#define MMI_VOCABULARY_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "hash_map.h"
#include "text.h"

enum { MMI_VOCABULARY_MAX = 1 << 24 }; /* ids are below this */

typedef struct {
    size_t offset; /* into texts */
    size_t size;
    int32_t id; /* -1: no token */
} mmi_vocabulary_entry;

typedef struct {
    mmi_hash_map ids;
    mmi_text texts; /* a NUL behind each token */
    mmi_vocabulary_entry *entries; /* in the order of adding; by id once sealed */
    size_t count, capacity;
    int64_t size; /* the highest id + 1 */
} mmi_vocabulary;

/* Starts as all zeros; clear frees it. */
void mmi_vocabulary_clear(mmi_vocabulary *v);

/* Add a token; `where` names the file in messages. MM_E_FORMAT for malformed UTF-8, an id below 0 or a text that is
 * there already; MM_E_LIMIT for an id of MMI_VOCABULARY_MAX or more. */
mm_status mmi_vocabulary_add(mm_context *ctx, mmi_vocabulary *v, const char *where, const char *text, size_t n, int64_t id);

/* Order the tokens by id; nothing is added afterwards. MM_E_FORMAT when two have one id, or when the highest id is far
 * above their number (the table is as long as that). */
mm_status mmi_vocabulary_seal(mm_context *ctx, mmi_vocabulary *v, const char *where);

/* The id of a text, -1 for none. */
int32_t mmi_vocabulary_find(const mmi_vocabulary *v, const char *text, size_t n);

/* The text of an id, NUL-terminated; NULL for none and for ids outside. After sealing, or while ids are added in order
 * from 0 on. */
const char *mmi_vocabulary_text(const mmi_vocabulary *v, int64_t id, size_t *n);

#endif
