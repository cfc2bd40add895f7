/* An arena: many small allocations that are freed together. Blocks come from the context's heap, so they count against
 * its limit; the arena has a limit of its own on top.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_ARENA_H
#define MMI_ARENA_H

#include <stddef.h>

#include "context.h"

/* Starts as all zeros but for `limit`: the most bytes that may be asked for, 0 for no limit. */
typedef struct {
    struct mmi_arena_block *last;
    char *next, *end; /* what is left of the last block */
    size_t used;
    size_t limit;
} mmi_arena;

/* `size` bytes aligned to 16, contents undefined; NULL after recording MM_E_NOMEM, or MM_E_LIMIT past the arena's limit. */
void *mmi_arena_alloc(mm_context *ctx, mmi_arena *arena, size_t size);
/* count * size with the product checked. */
void *mmi_arena_alloc_array(mm_context *ctx, mmi_arena *arena, size_t count, size_t size);
/* Make `ptr` (NULL: a new one), of `old_size` bytes, larger: in place when it is the newest allocation and its block has
 * room. The old bytes stay valid either way. NULL on failure, as above. */
void *mmi_arena_grow(mm_context *ctx, mmi_arena *arena, void *ptr, size_t old_size, size_t new_size);
/* Free everything; the arena may be used again. */
void mmi_arena_clear(mmi_arena *arena);

#endif
