/* SPDX-License-Identifier: MIT */
#include "vocabulary.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_HOLES = 65536 }; /* ids without a token, beside one for each token */

void mmi_vocabulary_clear(mmi_vocabulary *v)
{
    mmi_hash_map_clear(&v->ids);
    mmi_text_clear(&v->texts);
    mmi_free(v->entries);
    memset(v, 0, sizeof *v);
}

mm_status mmi_vocabulary_add(mm_context *ctx, mmi_vocabulary *v, const char *where, const char *text, size_t n, int64_t id)
{
    mmi_vocabulary_entry entry = {v->texts.size, n, (int32_t)id};
    int shown = n > 60 ? 60 : (int)n;
    int existed = 0;

    if (mmi_utf8_valid(text, n) < n) return mmi_fail(ctx, MM_E_FORMAT, "%s: the token with id %" PRId64 " is not UTF-8", where, id);
    if (id < 0) return mmi_fail(ctx, MM_E_FORMAT, "%s: token %.*s has the id %" PRId64, where, shown, text, id);
    if (id >= MMI_VOCABULARY_MAX)
        return mmi_fail(ctx, MM_E_LIMIT, "%s: token %.*s has the id %" PRId64 ", the highest allowed is %d", where, shown, text, id,
                        MMI_VOCABULARY_MAX - 1);
    if (mmi_hash_map_put(ctx, &v->ids, text, n, id, &existed)) return MM_E_NOMEM;
    if (existed) return mmi_fail(ctx, MM_E_FORMAT, "%s: token %.*s stands twice in the vocabulary", where, shown, text);
    if (mmi_text_append(ctx, &v->texts, text, n) || mmi_text_append(ctx, &v->texts, "", 1)) return MM_E_NOMEM;
    if (mmi_grow(ctx, (void **)&v->entries, &v->capacity, v->count, sizeof *v->entries)) return MM_E_NOMEM;
    v->entries[v->count++] = entry;
    if (id >= v->size) v->size = id + 1;
    return MM_OK;
}

mm_status mmi_vocabulary_seal(mm_context *ctx, mmi_vocabulary *v, const char *where)
{
    mmi_vocabulary_entry *by_id;

    if (v->size > (int64_t)(2 * v->count) + MAX_HOLES)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: %zu tokens with ids up to %" PRId64, where, v->count, v->size - 1);
    by_id = mmi_alloc_array(ctx, (size_t)v->size, sizeof *by_id);
    if (!by_id) return MM_E_NOMEM;
    for (int64_t i = 0; i < v->size; i++) by_id[i].id = -1;
    for (size_t i = 0; i < v->count; i++) {
        const mmi_vocabulary_entry *e = &v->entries[i];
        if (by_id[e->id].id >= 0) {
            mm_status st = mmi_fail(ctx, MM_E_FORMAT, "%s: tokens %.60s and %.60s both have the id %d", where,
                                    v->texts.data + by_id[e->id].offset, v->texts.data + e->offset, (int)e->id);
            mmi_free(by_id);
            return st;
        }
        by_id[e->id] = *e;
    }
    mmi_free(v->entries);
    v->entries = by_id;
    return MM_OK;
}

int32_t mmi_vocabulary_find(const mmi_vocabulary *v, const char *text, size_t n)
{
    int64_t id;
    return mmi_hash_map_get(&v->ids, text, n, &id) ? (int32_t)id : -1;
}

const char *mmi_vocabulary_text(const mmi_vocabulary *v, int64_t id, size_t *n)
{
    if (id < 0 || id >= v->size || v->entries[id].id < 0) return NULL;
    *n = v->entries[id].size;
    return v->texts.data + v->entries[id].offset;
}
