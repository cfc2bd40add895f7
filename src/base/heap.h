/* The allocator behind a context: the host's hooks, a byte count and a limit.
 *
 * A heap is reference-counted because models and tensors may outlive the context that made them. Each block carries a
 * 64-byte header with its size and heap, so that freeing needs nothing but the pointer.
 * Thread-safe: counters are atomic, the hooks are the host's promise.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_HEAP_H
#define MMI_HEAP_H

#include <stddef.h>

#include "mm_context.h"

typedef struct mmi_heap mmi_heap;

mmi_heap *mmi_heap_create(const mm_hooks *hooks); /* NULL: out of memory; reference count 1 */
void mmi_heap_retain(mmi_heap *heap);
void mmi_heap_release(mmi_heap *heap); /* NULL allowed */

void mmi_heap_set_limit(mmi_heap *heap, size_t bytes); /* 0: none */
size_t mmi_heap_limit(const mmi_heap *heap);
size_t mmi_heap_used(const mmi_heap *heap);
size_t mmi_heap_peak(const mmi_heap *heap);
size_t mmi_heap_machine(void); /* bytes of memory that the machine has, SIZE_MAX: unknown */

/* `size` bytes aligned to 64, contents undefined; NULL when out of memory or past the limit. Size 0 gives a block too. */
void *mmi_heap_alloc(mmi_heap *heap, size_t size);

/* Return a block; NULL allowed. */
void mmi_free(void *ptr);

/* The size that a block was asked for. */
size_t mmi_block_size(const void *ptr);

/* Count bytes that another library allocates on our behalf against the limit: nonzero when they do not fit. */
int mmi_heap_charge(mmi_heap *heap, size_t bytes);
void mmi_heap_discharge(mmi_heap *heap, size_t bytes);

#endif
