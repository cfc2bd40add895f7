/* libmm: status codes and the context.
 *
 * A context owns what a host wants to control: threads, memory, messages and cancellation. Nothing in libmm is
 * global; two contexts share nothing but the models that both were given.
 *
 * SPDX-License-Identifier: MIT */
#ifndef MM_CONTEXT_H
#define MM_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MM_API __attribute__((visibility("default")))
#else
#define MM_API
#endif

/* Result of every call that can fail: 0, or one of the MM_E_* values below. */
typedef int32_t mm_status;

enum {
    MM_OK = 0,

    MM_E_ARGUMENT = -1,     /* an argument is NULL, out of range or of the wrong kind */
    MM_E_NOMEM = -2,        /* the allocator returned NULL, or the context's memory limit would be passed */
    MM_E_LIMIT = -3,        /* a count or size in the input is above a documented bound */
    MM_E_OVERFLOW = -4,     /* a size does not fit in size_t */
    MM_E_CANCELLED = -5,    /* mm_context_cancel, or a callback that returned nonzero */
    MM_E_UNSUPPORTED = -6,  /* understood, but this build or this model cannot do it */
    MM_E_INTERNAL = -7,     /* a defect of libmm */

    MM_E_IO = -20,          /* the operating system refused to open, read or write a file */
    MM_E_NOT_FOUND = -21,   /* no such file, key, tensor or name */
    MM_E_FORMAT = -22,      /* a file does not follow its format */

    MM_E_SHAPE = -40,       /* a tensor has the wrong shape */
    MM_E_DTYPE = -41,       /* a tensor has the wrong element type */
    MM_E_STATE = -42,       /* the call is not allowed now */

    MM_E_CONTEXT_FULL = -60 /* the session's context window has no room left */
};

/* The name of a status ("MM_E_NOMEM"); "MM_E_?" for a value that is none. Static text. Any thread. Since 0.1. */
MM_API const char *mm_status_name(mm_status status);

/* The version of the library that runs, "major.minor.patch". Static text. Any thread. Since 0.1. */
MM_API const char *mm_build_version(void);

typedef struct mm_context mm_context;

/* Memory hooks. `struct_size` is sizeof(mm_hooks) as the caller compiled it; members may be appended in later versions.
 *
 *   alloc_fn  returns `size` bytes aligned to `alignment` (a power of two, at most 64), or NULL
 *   free_fn   takes back what alloc_fn gave, with the size it was asked for; never called with NULL
 *
 * Both are called from whichever thread runs a libmm call of this context, and also from the thread that releases the
 * last reference to a model or tensor that the context made. Both must outlive every object made with the context. */
typedef struct mm_hooks {
    size_t struct_size;
    void *(*alloc_fn)(void *user, size_t size, size_t alignment);
    void (*free_fn)(void *user, void *ptr, size_t size);
    void *user;
} mm_hooks;

/* Create a context.
 *
 *   hooks  borrowed, copied; NULL for the C library's allocator
 *   out    receives the context; the caller owns it; NULL after a failure
 *
 * Returns MM_OK, MM_E_ARGUMENT or MM_E_NOMEM. Any thread. Since 0.1. */
MM_API mm_status mm_context_create(const mm_hooks *hooks, mm_context **out);

/* Destroy a context; NULL is allowed. What hangs on it (sessions) must be destroyed before; models, tensors, images
 * and tokenizers may live on. Since 0.1. */
MM_API void mm_context_destroy(mm_context *ctx);

/* The sentence that belongs to the last failure on this context ("" after mm_context_create): what was wrong, with
 * which name and numbers. Borrowed; valid until the next call on the context. Since 0.1. */
MM_API const char *mm_context_error(const mm_context *ctx);

/* Options of a context, set one by one. */
enum {
    MM_CONTEXT_THREADS = 1,      /* i64, 1..256: threads that a call may use; default: the processors this process may run on */
    MM_CONTEXT_MEMORY_LIMIT = 2, /* i64, bytes, 0 for none (default): bound on what is allocated through this context at one time */
    MM_CONTEXT_CPU_LEVEL = 3     /* i64, MM_CPU_*: highest instruction set to use; default: what the processor has, or $MM_CPU */
};

/* Instruction set levels of each architecture, each includes the ones before; an unknown or missing level is lowered to what the processor has. */
enum {
    MM_CPU_REFERENCE = 0, /* portable C */
    MM_CPU_AVX2 = 1,      /* x86-64-v3: AVX2, FMA, F16C */
    MM_CPU_AVX512 = 2,    /* x86-64-v4 and VNNI */
    MM_CPU_AMX = 3,       /* AMX-INT8 and AMX-BF16 tiles */
    MM_CPU_NEON = 1,      /* aarch64; since 0.2, as the next */
    MM_CPU_DOTPROD = 2    /* FEAT_DotProd */
};

/* Set an option. Returns MM_OK, or MM_E_ARGUMENT for an unknown option or a value out of bounds (the message names
 * both). One thread per context at a time. Since 0.1. */
MM_API mm_status mm_context_set_i64(mm_context *ctx, int32_t option, int64_t value);

/* Read an option, or bytes in use now (MM_CONTEXT_MEMORY_USED) and at most so far (MM_CONTEXT_MEMORY_PEAK).
 * Returns MM_OK or MM_E_ARGUMENT. Since 0.1. */
MM_API mm_status mm_context_get_i64(const mm_context *ctx, int32_t option, int64_t *out);

enum {
    MM_CONTEXT_MEMORY_USED = 100, /* i64, read only */
    MM_CONTEXT_MEMORY_PEAK = 101  /* i64, read only */
};

/* Levels of a log line. */
enum { MM_LOG_ERROR = 1, MM_LOG_WARNING = 2, MM_LOG_INFO = 3, MM_LOG_DEBUG = 4 };

/* Receives one line without a newline; `text` is borrowed for the call. Called on the thread that runs the libmm call. */
typedef void (*mm_log_fn)(void *user, int32_t level, const char *text);

/* Send messages to `fn`, NULL for silence (default). Since 0.1. */
MM_API mm_status mm_context_set_log(mm_context *ctx, mm_log_fn fn, void *user);

/* Receives the progress of long work: `what` names it, `done` of `total` steps (`total` 0: unknown). Returning nonzero
 * cancels the call with MM_E_CANCELLED. Called on the thread that runs the libmm call. */
typedef int32_t (*mm_progress_fn)(void *user, const char *what, int64_t done, int64_t total);

/* Send progress to `fn`, NULL for none (default). Since 0.1. */
MM_API mm_status mm_context_set_progress(mm_context *ctx, mm_progress_fn fn, void *user);

/* Ask the call that runs on `ctx` to stop; it returns MM_E_CANCELLED within about 100 ms. With no call running, the
 * next one that does work returns so. The flag is lowered when a call reports it. May be called from any thread and
 * from a signal handler. Since 0.1. */
MM_API void mm_context_cancel(mm_context *ctx);

/* Free text that a libmm call returned through a `char **`. NULL is allowed. Any thread. Since 0.1. */
MM_API void mm_text_free(char *text);

#ifdef __cplusplus
}
#endif
#endif
