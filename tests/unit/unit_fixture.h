/* What the small unit tests share: cmocka with what it needs, and a context whose allocations can be made to fail.
 * SPDX-License-Identifier: MIT */
#ifndef UNIT_FIXTURE_H
#define UNIT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "context.h"

typedef struct {
    size_t live; /* bytes */
    long count, fail_at; /* this allocation fails, counted from 1; 0: none */
} unit_allocator;

static void *unit_alloc(void *user, size_t size, size_t alignment)
{
    unit_allocator *a = user;
    void *p;

    assert_true(alignment <= 64 && (alignment & (alignment - 1)) == 0);
    if (++a->count == a->fail_at || size > (size_t)1 << 40) return NULL; /* AddressSanitizer would abort for so many */
    if (posix_memalign(&p, alignment, size)) return NULL; /* of this size to the byte, so that AddressSanitizer sees every step beyond */
    memset(p, 0xA5, size);
    a->live += size;
    return p;
}

static void unit_free(void *user, void *ptr, size_t size)
{
    unit_allocator *a = user;

    assert_non_null(ptr);
    memset(ptr, 0x5A, size);
    a->live -= size;
    free(ptr);
}

static inline mm_context *unit_context(unit_allocator *a)
{
    mm_hooks hooks = {sizeof hooks, unit_alloc, unit_free, NULL};
    mm_context *ctx = NULL;

    memset(a, 0, sizeof *a);
    hooks.user = a;
    assert_int_equal(mm_context_create(&hooks, &ctx), MM_OK);
    return ctx;
}

static inline void unit_context_end(unit_allocator *a, mm_context *ctx)
{
    mm_context_destroy(ctx);
    assert_int_equal(a->live, 0);
}

#endif
