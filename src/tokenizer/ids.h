/* A growing array of token ids. SPDX-License-Identifier: MIT */
#ifndef MMI_IDS_H
#define MMI_IDS_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"

/* Starts as all zeros; free data with mmi_free. */
typedef struct {
    int32_t *data;
    size_t count, capacity;
} mmi_ids;

/* Nonzero when out of memory (recorded on ctx). */
static inline int mmi_ids_add(mm_context *ctx, mmi_ids *ids, int32_t id)
{
    if (mmi_grow(ctx, (void **)&ids->data, &ids->capacity, ids->count, sizeof *ids->data)) return 1;
    ids->data[ids->count++] = id;
    return 0;
}

#endif
