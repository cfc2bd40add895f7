/* SPDX-License-Identifier: MIT */
#include "run.h"

#include <stdint.h>

#include "blas.h"
#include "size.h"

void mmi_graph_bind(mmi_graph *g, mmi_value input, const void *data) { g->values[input].data = (void *)(uintptr_t)data; }

static mm_status take_memory(mmi_graph *g, int workers)
{
    size_t bytes;

    if (!g->arena) {
        g->arena = mmi_alloc(g->ctx, g->arena_bytes);
        if (!g->arena) return MM_E_NOMEM;
        for (size_t n = 0; n < g->n_nodes; n++) {
            mmi_value_info *out = &g->values[g->nodes[n].output];
            out->data = g->arena + out->place;
        }
    }
    if (!g->shared && g->shared_bytes) {
        g->shared = mmi_alloc(g->ctx, g->shared_bytes);
        if (!g->shared) return MM_E_NOMEM;
    }
    if (mmi_size_mul(g->worker_bytes, (size_t)workers, &bytes)) return mmi_fail(g->ctx, MM_E_OVERFLOW, "scratch memory does not fit");
    if (bytes > g->workers_bytes) {
        mmi_free(g->workers);
        g->workers_bytes = 0;
        g->workers = mmi_alloc(g->ctx, bytes);
        if (!g->workers) return MM_E_NOMEM;
        g->workers_bytes = bytes;
    }
    return MM_OK;
}

mm_status mmi_graph_run(mmi_graph *g, const mmi_run_values *values)
{
    mmi_run run = {.ctx = g->ctx, .graph = g, .k = mmi_kernels_of(g->ctx), .pool = mmi_context_pool(g->ctx)};
    mm_status st;

    if (g->status) return g->status;
    if (!run.k) return MM_E_NOMEM;
    if (values) run.values = *values;
    st = take_memory(g, mmi_thread_pool_size(run.pool));
    if (st) return st;
    mmi_blas_enter();
    for (size_t n = 0; n < g->n_nodes && !st; n++) {
        st = g->nodes[n].op->run(&run, &g->nodes[n]);
        if (!st) st = mmi_check_cancel(g->ctx);
    }
    mmi_blas_leave();
    return st;
}

const void *mmi_graph_result(const mmi_graph *g, mmi_value output)
{
    const mmi_value_info *v = &g->values[output];
    return (const char *)g->values[v->base].data + v->offset * 4;
}
