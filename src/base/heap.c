/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* _SC_PHYS_PAGES */
#include "heap.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "size.h"

enum { HEADER = 64 }; /* one cache line, so that blocks stay aligned to 64 */

struct mmi_heap {
    mm_hooks hooks;
    atomic_size_t references;
    atomic_size_t limit; /* 0: none */
    atomic_size_t used;
    atomic_size_t peak;
};

typedef struct {
    mmi_heap *heap;
    size_t size; /* as asked for */
} block_header;

static void *default_alloc(void *user, size_t size, size_t alignment)
{
    size_t rounded;
    (void)user;
    if (mmi_size_round_up(size, alignment, &rounded)) return NULL;
    return aligned_alloc(alignment, rounded);
}

static void default_free(void *user, void *ptr, size_t size)
{
    (void)user;
    (void)size;
    free(ptr);
}

mmi_heap *mmi_heap_create(const mm_hooks *hooks)
{
    mm_hooks h = {sizeof(mm_hooks), default_alloc, default_free, NULL};
    mmi_heap *heap;

    if (hooks) h = *hooks;
    heap = h.alloc_fn(h.user, sizeof *heap, 64);
    if (!heap) return NULL;
    heap->hooks = h;
    atomic_init(&heap->references, 1);
    atomic_init(&heap->limit, 0);
    atomic_init(&heap->used, 0);
    atomic_init(&heap->peak, 0);
    return heap;
}

void mmi_heap_retain(mmi_heap *heap)
{
    atomic_fetch_add_explicit(&heap->references, 1, memory_order_relaxed);
}

void mmi_heap_release(mmi_heap *heap)
{
    if (!heap) return;
    if (atomic_fetch_sub_explicit(&heap->references, 1, memory_order_acq_rel) == 1)
        heap->hooks.free_fn(heap->hooks.user, heap, sizeof *heap);
}

void mmi_heap_set_limit(mmi_heap *heap, size_t bytes) { atomic_store(&heap->limit, bytes); }
size_t mmi_heap_limit(const mmi_heap *heap) { return atomic_load(&heap->limit); }
size_t mmi_heap_used(const mmi_heap *heap) { return atomic_load(&heap->used); }
size_t mmi_heap_peak(const mmi_heap *heap) { return atomic_load(&heap->peak); }

size_t mmi_heap_machine(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (size_t)pages * (size_t)page : SIZE_MAX;
}

int mmi_heap_charge(mmi_heap *heap, size_t bytes)
{
    size_t limit = atomic_load_explicit(&heap->limit, memory_order_relaxed);
    size_t used = atomic_load_explicit(&heap->used, memory_order_relaxed), sum, peak;

    do {
        if (mmi_size_add(used, bytes, &sum) || (limit && sum > limit)) return 1;
    } while (!atomic_compare_exchange_weak(&heap->used, &used, sum));
    peak = atomic_load_explicit(&heap->peak, memory_order_relaxed);
    while (sum > peak && !atomic_compare_exchange_weak(&heap->peak, &peak, sum)) {}
    return 0;
}

void mmi_heap_discharge(mmi_heap *heap, size_t bytes) { atomic_fetch_sub(&heap->used, bytes); }

void *mmi_heap_alloc(mmi_heap *heap, size_t size)
{
    size_t total;
    block_header *b;

    if (mmi_size_add(size, HEADER, &total) || mmi_heap_charge(heap, total)) return NULL;
    b = heap->hooks.alloc_fn(heap->hooks.user, total, 64);
    if (!b) {
        mmi_heap_discharge(heap, total);
        return NULL;
    }
    b->heap = heap;
    b->size = size;
    mmi_heap_retain(heap);
    return (char *)b + HEADER;
}

static block_header *header_of(void *ptr) { return (block_header *)(void *)((char *)ptr - HEADER); }

size_t mmi_block_size(const void *ptr)
{
    return ((const block_header *)(const void *)((const char *)ptr - HEADER))->size;
}

void mmi_free(void *ptr)
{
    block_header *b;
    mmi_heap *heap;
    size_t total;

    if (!ptr) return;
    b = header_of(ptr);
    heap = b->heap;
    total = b->size + HEADER;
    heap->hooks.free_fn(heap->hooks.user, b, total);
    mmi_heap_discharge(heap, total);
    mmi_heap_release(heap);
}
