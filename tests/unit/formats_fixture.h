/* What the tests of src/formats share: a context whose allocator can be told to fail, files made of bytes, and the loops
 * over truncations, flipped bits and failing allocations that each reader goes through.
 * SPDX-License-Identifier: MIT */
#ifndef FORMATS_FIXTURE_H
#define FORMATS_FIXTURE_H

#define _GNU_SOURCE /* mkdtemp; this header comes first in a test */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "context.h"
#include "file.h"
#include "mm_context.h"

typedef struct {
    size_t live;       /* blocks */
    long fail_at;      /* this allocation fails, counted from 1; 0: none */
    int from_there_on; /* and all after it */
    long count;
} test_allocator;

static void *hook_alloc(void *user, size_t size, size_t alignment)
{
    test_allocator *a = user;
    void *p;
    a->count++;
    if (a->fail_at && (a->count == a->fail_at || (a->from_there_on && a->count > a->fail_at))) return NULL;
    p = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    assert_non_null(p);
    memset(p, 0xA5, size);
    a->live++;
    return p;
}

static void hook_free(void *user, void *ptr, size_t size)
{
    test_allocator *a = user;
    memset(ptr, 0x5A, size);
    a->live--;
    free(ptr);
}

/* The state of every test in this folder's format tests. */
typedef struct {
    test_allocator allocator;
    mm_context *ctx;
    int64_t used; /* by the context alone */
    char folder[64];
    char path[128]; /* of the file that write_bytes writes */
} fixture;

static inline int64_t used_now(const fixture *f)
{
    int64_t used = -1;
    assert_int_equal(mm_context_get_i64(f->ctx, MM_CONTEXT_MEMORY_USED, &used), MM_OK);
    return used;
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    mm_hooks hooks = {sizeof hooks, hook_alloc, hook_free, NULL};
    const char *tmp = getenv("TMPDIR");

    assert_non_null(f);
    hooks.user = &f->allocator;
    assert_int_equal(mm_context_create(&hooks, &f->ctx), MM_OK);
    f->used = used_now(f);
    (void)snprintf(f->folder, sizeof f->folder, "%.40s/libmm.XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->folder));
    (void)snprintf(f->path, sizeof f->path, "%s/file", f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    char command[128];

    assert_int_equal(used_now(f), f->used); /* nothing leaked, counted bytes included */
    mm_context_destroy(f->ctx);
    assert_int_equal(f->allocator.live, 0);
    (void)snprintf(command, sizeof command, "rm -r '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static inline void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static inline void write_bytes(const fixture *f, const void *bytes, size_t n) { write_file(f->path, bytes, n); }

/* A whole file; free it with mmi_free. */
static inline char *read_golden(const fixture *f, const char *path, size_t *n)
{
    char *bytes = NULL;
    assert_int_equal(mmi_file_read(f->ctx, path, 1 << 20, &bytes, n), MM_OK);
    return bytes;
}

/* Open `path`, touch all that can be reached, close. */
typedef mm_status (*visit_fn)(mm_context *ctx, const char *path);

/* Visit the file as it stands: it must be good, or refused with a sentence; either way nothing stays behind. */
static inline mm_status visit_file(const fixture *f, visit_fn visit)
{
    mm_status st;

    f->ctx->error[0] = 0;
    st = visit(f->ctx, f->path);
    assert_int_equal(used_now(f), f->used);
    if (st) assert_true(f->ctx->error[0] != 0);
    return st;
}

static inline mm_status visit_bytes(const fixture *f, visit_fn visit, const void *bytes, size_t n)
{
    write_bytes(f, bytes, n);
    return visit_file(f, visit);
}

/* A file cut before `needed` must be refused, and after a flip of any bit of its first `flips` bytes nothing worse than a
 * refusal may come. */
static inline void visit_damaged(const fixture *f, visit_fn visit, const char *golden, size_t needed, size_t flips)
{
    size_t n;
    char *original = read_golden(f, golden, &n), *bytes = malloc(n);
    int fd;

    assert_non_null(bytes);
    memcpy(bytes, original, n);
    mmi_free(original);
    assert_int_equal(visit_bytes(f, visit, bytes, n), MM_OK);
    assert_true(needed <= n && flips <= n);
    fd = open(f->path, O_WRONLY);
    assert_true(fd >= 0);
    for (size_t i = 0; i < flips * 8; i++) {
        char damaged = (char)(bytes[i / 8] ^ 1 << i % 8);
        assert_int_equal(pwrite(fd, &damaged, 1, (off_t)(i / 8)), 1);
        (void)visit_file(f, visit);
        assert_int_equal(pwrite(fd, &bytes[i / 8], 1, (off_t)(i / 8)), 1);
    }
    for (size_t i = needed; i-- > 0;) {
        assert_int_equal(ftruncate(fd, (off_t)i), 0);
        assert_int_not_equal(visit_file(f, visit), MM_OK);
    }
    assert_int_equal(close(fd), 0);
    free(bytes);
}

/* Fail the first allocation, the second, ... alone and with all after it, until the visit succeeds. */
static inline void visit_out_of_memory(fixture *f, visit_fn visit, const char *path)
{
    assert_int_equal(visit(f->ctx, path), MM_OK);
    for (int on = 0; on < 2; on++) {
        mm_status st = MM_E_NOMEM;
        f->allocator.from_there_on = on;
        for (long k = 1; st; k++) {
            f->allocator.count = 0;
            f->allocator.fail_at = k;
            st = visit(f->ctx, path);
            assert_true(st == MM_E_NOMEM || (st == MM_OK && f->allocator.count < k));
            assert_int_equal(used_now(f), f->used);
        }
        f->allocator.fail_at = 0;
        assert_int_equal(visit(f->ctx, path), MM_OK);
    }
}

static inline void assert_sentence(const fixture *f, const char *part)
{
    if (!strstr(f->ctx->error, part)) fail_msg("\"%s\" does not say \"%s\"", f->ctx->error, part);
}

#endif
