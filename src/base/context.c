/* SPDX-License-Identifier: MIT */
#include "context.h"

#include <stdio.h>
#include <string.h>

#include "size.h"

mm_status mmi_fail(mm_context *ctx, mm_status status, const char *format, ...)
{
    va_list args;
    char text[sizeof ctx->error]; /* apart, so that the old sentence may be among the arguments */

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(ctx->error, text, sizeof text);
    ctx->error_status = status;
    return status;
}

void *mmi_alloc(mm_context *ctx, size_t size)
{
    void *p = mmi_heap_alloc(ctx->heap, size);
    size_t limit = mmi_heap_limit(ctx->heap);

    if (p) return p;
    if (limit)
        (void)mmi_fail(ctx, MM_E_NOMEM, "out of memory: %zu bytes asked for, %zu in use, limit %zu", size, mmi_heap_used(ctx->heap), limit);
    else
        (void)mmi_fail(ctx, MM_E_NOMEM, "out of memory: %zu bytes asked for, %zu in use", size, mmi_heap_used(ctx->heap));
    return NULL;
}

void *mmi_zalloc(mm_context *ctx, size_t size)
{
    void *p = mmi_alloc(ctx, size);
    if (p) memset(p, 0, size);
    return p;
}

void *mmi_alloc_array(mm_context *ctx, size_t count, size_t size)
{
    size_t bytes;
    if (mmi_size_mul(count, size, &bytes)) {
        (void)mmi_fail(ctx, MM_E_NOMEM, "out of memory: %zu elements of %zu bytes asked for", count, size);
        return NULL;
    }
    return mmi_alloc(ctx, bytes);
}

void *mmi_zalloc_array(mm_context *ctx, size_t count, size_t size)
{
    void *p = mmi_alloc_array(ctx, count, size);
    if (p) memset(p, 0, count * size);
    return p;
}

void *mmi_realloc(mm_context *ctx, void *ptr, size_t size)
{
    void *p = mmi_alloc(ctx, size);
    if (!p || !ptr) return p;
    memcpy(p, ptr, mmi_size_min(size, mmi_block_size(ptr)));
    mmi_free(ptr);
    return p;
}

int mmi_grow(mm_context *ctx, void **array, size_t *capacity, size_t count, size_t size)
{
    size_t wanted, bytes;
    void *p;

    if (count < *capacity) return 0;
    wanted = *capacity ? *capacity : 16;
    if (*capacity && mmi_size_mul(wanted, 2, &wanted)) goto too_large;
    if (mmi_size_mul(wanted, size, &bytes)) goto too_large;
    p = mmi_realloc(ctx, *array, bytes);
    if (!p) return 1;
    *array = p;
    *capacity = wanted;
    return 0;
too_large:
    (void)mmi_fail(ctx, MM_E_NOMEM, "out of memory: an array of more than %zu elements of %zu bytes", count, size);
    return 1;
}

char *mmi_strdup(mm_context *ctx, const char *text)
{
    size_t n = strlen(text) + 1;
    char *p = mmi_alloc(ctx, n);
    if (p) memcpy(p, text, n);
    return p;
}

void mmi_log(mm_context *ctx, int32_t level, const char *format, ...)
{
    va_list args;
    char line[1024];

    if (!ctx->log_fn) return;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    ctx->log_fn(ctx->log_user, level, line);
}

mm_status mmi_check_cancel(mm_context *ctx)
{
    if (!atomic_exchange(&ctx->cancel, 0)) return MM_OK;
    return mmi_fail(ctx, MM_E_CANCELLED, "cancelled by the host");
}

mm_status mmi_progress(mm_context *ctx, const char *what, int64_t done, int64_t total)
{
    mm_status st = mmi_check_cancel(ctx);
    if (st || !ctx->progress_fn) return st;
    if (!ctx->progress_fn(ctx->progress_user, what, done, total)) return MM_OK;
    return mmi_fail(ctx, MM_E_CANCELLED, "cancelled by the progress callback during %s", what);
}

mmi_thread_pool *mmi_context_pool(mm_context *ctx)
{
    if (!ctx->pool && ctx->threads > 1) ctx->pool = mmi_thread_pool_create(ctx->heap, ctx->threads);
    return ctx->pool;
}

mm_context *mmi_context_fork(mm_context *ctx)
{
    mm_context *fork = mmi_zalloc(ctx, sizeof *fork);

    if (!fork) return NULL;
    fork->heap = ctx->heap; /* kept alive by the block that the fork is in */
    fork->threads = 1;
    fork->cpu_level = ctx->cpu_level;
    atomic_init(&fork->cancel, 0);
    return fork;
}

void mmi_context_fork_end(mm_context *fork)
{
    if (!fork) return;
    mmi_free(fork->kernels);
    mmi_free(fork);
}
