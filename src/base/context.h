/* The context as the inside of the library sees it: error text, allocation, log, progress, cancellation, threads.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_CONTEXT_H
#define MMI_CONTEXT_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include "heap.h"
#include "mm_context.h"
#include "thread_pool.h"

enum { MMI_ERROR_SIZE = 1024 };

struct mmi_kernels; /* the dispatch table: src/kernels/kernels.h */

struct mm_context {
    mmi_heap *heap;
    mmi_thread_pool *pool; /* started by the first call that computes; NULL until then */
    int threads;
    int cpu_level; /* MM_CPU_* in force */
    struct mmi_kernels *kernels; /* for cpu_level; NULL until the first call that computes */
    atomic_int cancel;
    mm_log_fn log_fn;
    void *log_user;
    mm_progress_fn progress_fn;
    void *progress_user;
    mm_status error_status;
    char error[MMI_ERROR_SIZE];
};

/* A context for a thread beside the one that `ctx` serves: the same heap, with its hooks and limit, and the same CPU level, but one thread and
 * an error, a log and a cancel flag of its own. NULL when out of memory (recorded on ctx). */
mm_context *mmi_context_fork(mm_context *ctx);
void mmi_context_fork_end(mm_context *fork); /* NULL allowed */

/* Record a sentence and return `status`, so that a caller can write `return mmi_fail(...)`. The text must not hold
 * addresses. Names from files are quoted with mmi_text_quote or a bounded %.*s. */
mm_status mmi_fail(mm_context *ctx, mm_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Aligned to 64; NULL after recording MM_E_NOMEM with the size. Free with mmi_free. */
void *mmi_alloc(mm_context *ctx, size_t size);
void *mmi_zalloc(mm_context *ctx, size_t size);
/* count * size with the product checked. */
void *mmi_alloc_array(mm_context *ctx, size_t count, size_t size);
void *mmi_zalloc_array(mm_context *ctx, size_t count, size_t size);
/* Grow or shrink a block (NULL: a new one); on failure NULL is returned and the old block stays. */
void *mmi_realloc(mm_context *ctx, void *ptr, size_t size);
/* Make room for one more element in a growing array: doubles *capacity when count == *capacity. Nonzero on failure. */
int mmi_grow(mm_context *ctx, void **array, size_t *capacity, size_t count, size_t size);
char *mmi_strdup(mm_context *ctx, const char *text);

void mmi_log(mm_context *ctx, int32_t level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* MM_OK, or MM_E_CANCELLED after the callback or mm_context_cancel asked for it (the flag is lowered). */
mm_status mmi_progress(mm_context *ctx, const char *what, int64_t done, int64_t total);
mm_status mmi_check_cancel(mm_context *ctx);

/* The context's pool, started when needed. Never fails: with no memory or threads the caller's own thread does the work. */
mmi_thread_pool *mmi_context_pool(mm_context *ctx);

#endif
