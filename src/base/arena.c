/* SPDX-License-Identifier: MIT */
#include "arena.h"

#include <stdint.h>
#include <string.h>

#include "size.h"

#if defined(__SANITIZE_ADDRESS__)
#define MMI_ARENA_GUARDED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MMI_ARENA_GUARDED 1
#endif
#endif

/* With AddressSanitizer a gap that must not be touched follows each allocation. */
#ifdef MMI_ARENA_GUARDED
#include <sanitizer/asan_interface.h>
enum { GAP = 16 };
static void hide(const void *p, size_t n) { __asan_poison_memory_region(p, n); }
static void show(const void *p, size_t n) { __asan_unpoison_memory_region(p, n); }
#else
enum { GAP = 0 };
static void hide(const void *p, size_t n) { (void)p, (void)n; }
static void show(const void *p, size_t n) { (void)p, (void)n; }
#endif

enum { ALIGN = 16, LEAST_BLOCK = 8 << 10, MOST_BLOCK = 1 << 20 };

struct mmi_arena_block {
    struct mmi_arena_block *previous;
    size_t size; /* of data */
    max_align_t data[];
};

static int charge(mm_context *ctx, mmi_arena *arena, size_t size)
{
    size_t sum;

    if (mmi_size_add(arena->used, size, &sum) || (arena->limit && sum > arena->limit)) {
        (void)mmi_fail(ctx, MM_E_LIMIT, "%zu more bytes are above the limit of %zu", size, arena->limit);
        return 1;
    }
    arena->used = sum;
    return 0;
}

/* The room that `size` bytes take, 0 when there can be none. */
static size_t room_for(size_t size)
{
    size_t room;
    return mmi_size_add(size ? size : 1, GAP, &room) || mmi_size_round_up(room, ALIGN, &room) ? 0 : room;
}

void *mmi_arena_alloc(mm_context *ctx, mmi_arena *arena, size_t size)
{
    size_t room = room_for(size), block_size, bytes;
    struct mmi_arena_block *block;
    void *p;

    if (charge(ctx, arena, room ? room : size)) return NULL;
    if (!room || room > (size_t)(arena->end - arena->next)) {
        block_size = mmi_size_max(room ? room : size, mmi_size_min(mmi_size_max(arena->used, LEAST_BLOCK), MOST_BLOCK));
        if (mmi_size_add(block_size, sizeof *block, &bytes)) bytes = SIZE_MAX; /* which mmi_alloc refuses */
        block = mmi_alloc(ctx, bytes);
        if (!block) return NULL;
        block->previous = arena->last;
        block->size = block_size;
        arena->last = block;
        arena->next = (char *)block->data;
        arena->end = arena->next + block_size;
        hide(block->data, block_size);
    }
    p = arena->next;
    arena->next += room;
    show(p, size);
    return p;
}

void *mmi_arena_alloc_array(mm_context *ctx, mmi_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (mmi_size_mul(count, size, &bytes)) bytes = SIZE_MAX;
    return mmi_arena_alloc(ctx, arena, bytes);
}

void *mmi_arena_grow(mm_context *ctx, mmi_arena *arena, void *ptr, size_t old_size, size_t new_size)
{
    size_t old_room = room_for(old_size), new_room = room_for(new_size);
    void *p;

    if (ptr && new_room > old_room && (char *)ptr + old_room == arena->next && new_room - old_room <= (size_t)(arena->end - arena->next)) {
        if (charge(ctx, arena, new_room - old_room)) return NULL;
        arena->next += new_room - old_room;
        show(ptr, new_size);
        return ptr;
    }
    p = mmi_arena_alloc(ctx, arena, new_size);
    if (p && ptr) memcpy(p, ptr, mmi_size_min(old_size, new_size));
    return p;
}

void mmi_arena_clear(mmi_arena *arena)
{
    struct mmi_arena_block *block = arena->last, *previous;

    for (; block; block = previous) {
        previous = block->previous;
        show(block->data, block->size);
        mmi_free(block);
    }
    arena->last = NULL;
    arena->next = arena->end = NULL;
    arena->used = 0;
}
