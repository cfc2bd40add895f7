/* include/mm_context.h. SPDX-License-Identifier: MIT */
#include "mm_context.h"

#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "cpu.h"

const char *mm_build_version(void) { return MM_BUILD_VERSION; }

const char *mm_status_name(mm_status status)
{
    switch (status) {
    case MM_OK: return "MM_OK";
    case MM_E_ARGUMENT: return "MM_E_ARGUMENT";
    case MM_E_NOMEM: return "MM_E_NOMEM";
    case MM_E_LIMIT: return "MM_E_LIMIT";
    case MM_E_OVERFLOW: return "MM_E_OVERFLOW";
    case MM_E_CANCELLED: return "MM_E_CANCELLED";
    case MM_E_UNSUPPORTED: return "MM_E_UNSUPPORTED";
    case MM_E_INTERNAL: return "MM_E_INTERNAL";
    case MM_E_IO: return "MM_E_IO";
    case MM_E_NOT_FOUND: return "MM_E_NOT_FOUND";
    case MM_E_FORMAT: return "MM_E_FORMAT";
    case MM_E_SHAPE: return "MM_E_SHAPE";
    case MM_E_DTYPE: return "MM_E_DTYPE";
    case MM_E_STATE: return "MM_E_STATE";
    case MM_E_CONTEXT_FULL: return "MM_E_CONTEXT_FULL";
    default: return "MM_E_?";
    }
}

mm_status mm_context_create(const mm_hooks *hooks, mm_context **out)
{
    mmi_heap *heap;
    mm_context *ctx;
    const char *name;
    int level;

    if (!out) return MM_E_ARGUMENT;
    *out = NULL;
    if (hooks && (hooks->struct_size < sizeof(mm_hooks) || !hooks->alloc_fn || !hooks->free_fn)) return MM_E_ARGUMENT;
    heap = mmi_heap_create(hooks);
    if (!heap) return MM_E_NOMEM;
    ctx = mmi_heap_alloc(heap, sizeof *ctx);
    if (!ctx) {
        mmi_heap_release(heap);
        return MM_E_NOMEM;
    }
    memset(ctx, 0, sizeof *ctx);
    ctx->heap = heap;
    ctx->threads = mmi_cpu_count();
    if (ctx->threads > 256) ctx->threads = 256;
    ctx->cpu_level = mmi_cpu_best_level();
    name = getenv("MM_CPU");
    level = name ? mmi_cpu_level_from_name(name) : -1;
    if (level >= 0 && level < ctx->cpu_level) ctx->cpu_level = level;
    atomic_init(&ctx->cancel, 0);
    *out = ctx;
    return MM_OK;
}

void mm_context_destroy(mm_context *ctx)
{
    mmi_heap *heap;
    if (!ctx) return;
    heap = ctx->heap;
    mmi_thread_pool_destroy(ctx->pool);
    mmi_free(ctx->kernels);
    mmi_free(ctx);
    mmi_heap_release(heap);
}

const char *mm_context_error(const mm_context *ctx) { return ctx ? ctx->error : "context is NULL"; }

static mm_status bounds(mm_context *ctx, const char *option, int64_t value, int64_t lowest, int64_t highest)
{
    if (value >= lowest && value <= highest) return MM_OK;
    return mmi_fail(ctx, MM_E_ARGUMENT, "%s is %lld, allowed are %lld to %lld", option, (long long)value, (long long)lowest, (long long)highest);
}

mm_status mm_context_set_i64(mm_context *ctx, int32_t option, int64_t value)
{
    mm_status st;
    if (!ctx) return MM_E_ARGUMENT;
    switch (option) {
    case MM_CONTEXT_THREADS:
        st = bounds(ctx, "MM_CONTEXT_THREADS", value, 1, 256);
        if (st) return st;
        mmi_thread_pool_destroy(ctx->pool);
        ctx->pool = NULL;
        ctx->threads = (int)value;
        return MM_OK;
    case MM_CONTEXT_MEMORY_LIMIT:
        st = bounds(ctx, "MM_CONTEXT_MEMORY_LIMIT", value, 0, INT64_MAX);
        if (st) return st;
        mmi_heap_set_limit(ctx->heap, (size_t)value);
        return MM_OK;
    case MM_CONTEXT_CPU_LEVEL:
        st = bounds(ctx, "MM_CONTEXT_CPU_LEVEL", value, MM_CPU_REFERENCE, MM_CPU_AMX);
        if (st) return st;
        ctx->cpu_level = mmi_cpu_best_level() < value ? mmi_cpu_best_level() : (int)value;
        mmi_free(ctx->kernels);
        ctx->kernels = NULL;
        return MM_OK;
    default: return mmi_fail(ctx, MM_E_ARGUMENT, "%d is no option of a context that can be set", option);
    }
}

mm_status mm_context_get_i64(const mm_context *ctx, int32_t option, int64_t *out)
{
    if (!ctx || !out) return MM_E_ARGUMENT;
    switch (option) {
    case MM_CONTEXT_THREADS: *out = ctx->threads; return MM_OK;
    case MM_CONTEXT_MEMORY_LIMIT: *out = (int64_t)mmi_heap_limit(ctx->heap); return MM_OK;
    case MM_CONTEXT_CPU_LEVEL: *out = ctx->cpu_level; return MM_OK;
    case MM_CONTEXT_MEMORY_USED: *out = (int64_t)mmi_heap_used(ctx->heap); return MM_OK;
    case MM_CONTEXT_MEMORY_PEAK: *out = (int64_t)mmi_heap_peak(ctx->heap); return MM_OK;
    default: return MM_E_ARGUMENT;
    }
}

mm_status mm_context_set_log(mm_context *ctx, mm_log_fn fn, void *user)
{
    if (!ctx) return MM_E_ARGUMENT;
    ctx->log_fn = fn;
    ctx->log_user = user;
    return MM_OK;
}

mm_status mm_context_set_progress(mm_context *ctx, mm_progress_fn fn, void *user)
{
    if (!ctx) return MM_E_ARGUMENT;
    ctx->progress_fn = fn;
    ctx->progress_user = user;
    return MM_OK;
}

void mm_context_cancel(mm_context *ctx)
{
    if (ctx) atomic_store(&ctx->cancel, 1);
}

void mm_text_free(char *text) { mmi_free(text); }
