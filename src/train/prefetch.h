/* A thread that makes the batches of the coming steps while the present one is used.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PREFETCH_H
#define MMI_PREFETCH_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"

typedef struct mmi_prefetch mmi_prefetch;

/* `make` is called for one step after the other, on the prefetcher's thread, with a context of its own that shares heap and limit with the
 * consumer's. It does not touch what the consumer changes. */
typedef struct {
    mm_status (*make)(mm_context *ctx, void *arg, uint64_t step, void **batch);
    void (*drop)(void *arg, void *batch); /* a batch that nobody took */
    void *arg;
    uint64_t first, end; /* steps: first to end - 1 */
    size_t depth;        /* batches made ahead, at most 64; 0: no thread, batches are made when they are taken */
} mmi_prefetch_spec;

enum { MMI_PREFETCH_DEPTH = 4 /* the usual depth */, MMI_PREFETCH_MAX_DEPTH = 64 };

mm_status mmi_prefetch_create(mm_context *ctx, const mmi_prefetch_spec *spec, mmi_prefetch **out);

/* The batch of the next step, which is the caller's then. A failure of make arrives when its step's turn has come, with its sentence, and
 * is the last thing made: it is returned from then on. What make logged goes to the log of `ctx` when its batch is taken. MM_E_STATE
 * behind the last step; MM_E_CANCELLED when the consumer's context was cancelled while it waited: nothing is lost then, and taking may be
 * tried again. */
mm_status mmi_prefetch_take(mm_context *ctx, mmi_prefetch *p, void **batch);

/* Cancel what is being made, wait for the thread, drop what was not taken. NULL allowed. */
void mmi_prefetch_destroy(mmi_prefetch *p);

#endif
