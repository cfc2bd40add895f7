/* A pool of threads that run numbered tasks. Which thread runs a task never matters to its result: tasks are numbered
 * by the caller, independently of the number of threads.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_THREAD_POOL_H
#define MMI_THREAD_POOL_H

#include <stdatomic.h>
#include <stddef.h>

#include "heap.h"

typedef struct mmi_thread_pool mmi_thread_pool;

/* `worker` is 0 .. threads-1 and names the scratch memory that a task may use. */
typedef void (*mmi_task_fn)(void *arg, size_t task, int worker);

/* A pool of up to `threads` threads, the caller of run being one of them; fewer when the system has no more. NULL: no memory. */
mmi_thread_pool *mmi_thread_pool_create(mmi_heap *heap, int threads);
void mmi_thread_pool_destroy(mmi_thread_pool *pool); /* NULL allowed */

int mmi_thread_pool_size(const mmi_thread_pool *pool); /* 1 for NULL */

/* Run fn(arg, 0 .. count-1), each once, and return when all are done. With *cancel nonzero tasks not yet begun are
 * skipped. NULL pool: on the caller's thread. */
void mmi_thread_pool_run(mmi_thread_pool *pool, mmi_task_fn fn, void *arg, size_t count, const atomic_int *cancel);

#endif
