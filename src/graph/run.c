/* SPDX-License-Identifier: MIT */
#include "run.h"

#include <stdint.h>
#include <string.h>

#include "blas.h"
#include "size.h"

void mmi_graph_bind(mmi_graph *g, mmi_value input, const void *data) { g->values[input].data = (void *)(uintptr_t)data; }

void mmi_graph_use_memory(mmi_graph *g, mmi_graph_memory *memory) { g->memory = memory; }

void mmi_graph_memory_clear(mmi_graph_memory *m)
{
    mmi_free(m->arena);
    mmi_free(m->shared);
    mmi_free(m->workers);
    memset(m, 0, sizeof *m);
}

/* What is there is not kept: a run begins with nothing. */
static mm_status enlarge(mm_context *ctx, char **block, size_t *have, size_t need)
{
    if (*block && need <= *have) return MM_OK;
    mmi_free(*block);
    *have = 0;
    *block = mmi_alloc(ctx, need);
    if (!*block) return MM_E_NOMEM;
    *have = need;
    return MM_OK;
}

static mm_status take_memory(mmi_graph *g, int workers)
{
    mmi_graph_memory *m = g->memory;
    size_t bytes;
    mm_status st;

    if (mmi_size_mul(g->worker_bytes, (size_t)workers, &bytes)) return mmi_fail(g->ctx, MM_E_OVERFLOW, "scratch memory does not fit");
    if ((st = enlarge(g->ctx, &m->arena, &m->arena_bytes, g->arena_bytes))) return st;
    if (g->shared_bytes && (st = enlarge(g->ctx, &m->shared, &m->shared_bytes, g->shared_bytes))) return st;
    if (bytes && (st = enlarge(g->ctx, &m->workers, &m->workers_bytes, bytes))) return st;
    if (g->placed == m->arena) return MM_OK;
    for (size_t n = 0; n < g->n_nodes; n++) {
        mmi_value_info *out = &g->values[g->nodes[n].output];
        out->data = m->arena + out->place;
    }
    g->placed = m->arena;
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
