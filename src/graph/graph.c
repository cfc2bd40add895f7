/* SPDX-License-Identifier: MIT */
#include "graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dtype.h"
#include "run.h"
#include "size.h"

enum { MAX_VALUES = 1 << 22 };

mm_status mmi_graph_create(mm_context *ctx, mmi_graph **out)
{
    mmi_graph *g = mmi_zalloc(ctx, sizeof *g);
    *out = NULL;
    if (!g) return MM_E_NOMEM;
    g->ctx = ctx;
    g->memory = &g->own;
    if (mmi_grow(ctx, (void **)&g->values, &g->values_capacity, 0, sizeof *g->values)) {
        mmi_free(g);
        return MM_E_NOMEM;
    }
    memset(&g->values[0], 0, sizeof g->values[0]);
    g->n_values = 1;
    *out = g;
    return MM_OK;
}

void mmi_graph_destroy(mmi_graph *g)
{
    if (!g) return;
    for (size_t i = 0; i < g->n_nodes; i++) mmi_free(g->nodes[i].inputs);
    for (size_t i = 0; i < g->n_values; i++)
        if (g->values[i].owned) mmi_free(g->values[i].data);
    mmi_free(g->nodes);
    mmi_free(g->boundaries);
    mmi_free(g->values);
    mmi_graph_memory_clear(&g->own);
    mmi_free(g);
}

mmi_value mmi_graph_fail(mmi_graph *g, mm_status st, const char *format, ...)
{
    va_list args;
    char text[512];

    if (g->status) return 0;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    g->status = mmi_fail(g->ctx, st, "%s", text);
    return 0;
}

static mmi_value_info *new_value(mmi_graph *g, mmi_value_kind kind, int32_t dtype, int32_t rank, const int64_t *shape, mmi_value *out)
{
    mmi_value_info *v;
    size_t elements = 1;

    *out = 0;
    if (g->status) return NULL;
    if (rank < 0 || rank > MMI_MAX_RANK) {
        mmi_graph_fail(g, MM_E_SHAPE, "a value of rank %d; at most %d", rank, MMI_MAX_RANK);
        return NULL;
    }
    for (int32_t i = 0; i < rank; i++)
        if (shape[i] < 0 || mmi_size_mul(elements, (size_t)shape[i], &elements) || elements > SIZE_MAX / 16) {
            mmi_graph_fail(g, MM_E_OVERFLOW, "an activation of the graph would be too large (dimension %d is %lld)", i, (long long)shape[i]);
            return NULL;
        }
    if (g->n_values >= MAX_VALUES || mmi_grow(g->ctx, (void **)&g->values, &g->values_capacity, g->n_values, sizeof *g->values)) {
        g->status = MM_E_NOMEM;
        return NULL;
    }
    v = &g->values[g->n_values];
    memset(v, 0, sizeof *v);
    v->kind = kind;
    v->dtype = dtype;
    v->rank = rank;
    v->base = (mmi_value)g->n_values;
    v->last_use = -1;
    if (rank) memcpy(v->shape, shape, (size_t)rank * sizeof *shape);
    for (int32_t i = rank - 1, s = 0; i >= 0; i--, s++) v->stride[i] = i == rank - 1 ? 1 : v->stride[i + 1] * shape[i + 1];
    *out = (mmi_value)g->n_values++;
    return v;
}

mmi_value mmi_graph_input(mmi_graph *g, const char *name, int32_t dtype, int32_t rank, const int64_t *shape)
{
    mmi_value out;
    mmi_value_info *v = new_value(g, MMI_VALUE_INPUT, dtype, rank, shape, &out);
    if (v) v->name = name;
    return out;
}

mmi_value mmi_graph_constant(mmi_graph *g, int32_t dtype, int32_t rank, const int64_t *shape, void **data)
{
    mmi_value out;
    mmi_value_info *v = new_value(g, MMI_VALUE_INPUT, dtype, rank, shape, &out);

    *data = NULL;
    if (!v) return 0;
    v->data = *data = mmi_alloc_array(g->ctx, (size_t)mmi_graph_elements(g, out), 4);
    v->owned = v->data != NULL;
    if (v->owned) return out;
    g->status = MM_E_NOMEM;
    return 0;
}

mmi_value mmi_graph_weight(mmi_graph *g, const mmi_weight *w)
{
    mmi_value out;
    mmi_value_info *v;

    if (!w) return 0;
    if (w->rank > MMI_MAX_RANK) return mmi_graph_fail(g, MM_E_SHAPE, "tensor %s has rank %d", w->name, w->rank);
    v = new_value(g, MMI_VALUE_WEIGHT, w->dtype, w->rank, w->shape, &out);
    if (v) {
        v->weight = w;
        v->data = (void *)(uintptr_t)w->data;
    }
    return out;
}

mmi_value mmi_graph_view(mmi_graph *g, mmi_value of, int32_t rank, const int64_t *shape, const int64_t *stride, int64_t offset)
{
    mmi_value out;
    mmi_value_info *v, info = {0};
    const mmi_value_info *base;

    if (g->status || !of) return 0;
    for (int32_t d = 0; d < rank && d < MMI_MAX_RANK; d++) { /* copied, since they may lie in g->values, which grows */
        info.shape[d] = shape[d];
        info.stride[d] = stride[d];
    }
    v = new_value(g, MMI_VALUE_VIEW, mmi_graph_look(g, of)->dtype, rank, info.shape, &out);
    if (!v) return 0;
    base = mmi_graph_look(g, of);
    v->base = base->base;
    v->offset = base->offset + offset;
    v->weight = base->weight;
    memcpy(v->stride, info.stride, sizeof v->stride);
    return out;
}

mmi_node *mmi_graph_node(mmi_graph *g, const mmi_op *op, const mmi_value *inputs, size_t n_inputs, int32_t dtype, int32_t rank,
                         const int64_t *shape)
{
    mmi_node *n;
    mmi_value out;
    mmi_value *copy;

    if (g->status) return NULL;
    if (mmi_grow(g->ctx, (void **)&g->nodes, &g->nodes_capacity, g->n_nodes, sizeof *g->nodes)) {
        g->status = MM_E_NOMEM;
        return NULL;
    }
    copy = mmi_alloc_array(g->ctx, n_inputs, sizeof *copy);
    if (!copy) {
        g->status = MM_E_NOMEM;
        return NULL;
    }
    memcpy(copy, inputs, n_inputs * sizeof *copy);
    if (!new_value(g, MMI_VALUE_NODE, dtype, rank, shape, &out)) {
        mmi_free(copy);
        return NULL;
    }
    n = &g->nodes[g->n_nodes++];
    memset(n, 0, sizeof *n);
    n->op = op;
    n->inputs = copy;
    n->n_inputs = n_inputs;
    n->output = out;
    return n;
}

void mmi_graph_output(mmi_graph *g, const char *name, mmi_value v)
{
    if (g->status || !v) return;
    g->values[v].name = name;
    g->values[v].is_output = 1;
}

void mmi_graph_boundary(mmi_graph *g)
{
    if (g->status || !g->trains) return;
    if (mmi_grow(g->ctx, (void **)&g->boundaries, &g->boundaries_capacity, g->n_boundaries, sizeof *g->boundaries)) {
        g->status = MM_E_NOMEM;
        return;
    }
    g->boundaries[g->n_boundaries++] = g->n_nodes;
}

const mmi_value_info *mmi_graph_look(const mmi_graph *g, mmi_value v) { return &g->values[v]; }

int64_t mmi_graph_elements(const mmi_graph *g, mmi_value v)
{
    const mmi_value_info *i = mmi_graph_look(g, v);
    int64_t n = 1;
    for (int32_t d = 0; d < i->rank; d++) n *= i->shape[d];
    return n;
}

int mmi_graph_contiguous(const mmi_graph *g, mmi_value v)
{
    const mmi_value_info *i = mmi_graph_look(g, v);
    int64_t expected = 1;
    for (int32_t d = i->rank - 1; d >= 0; d--) {
        if (i->shape[d] != 1 && i->stride[d] != expected) return 0;
        expected *= i->shape[d];
    }
    return 1;
}

int mmi_graph_rows(const mmi_graph *g, mmi_value v, size_t *rows, size_t *cols, size_t *stride)
{
    const mmi_value_info *i = mmi_graph_look(g, v);
    int64_t n = 1, distance = 0, next = 0;

    if (i->rank == 0) {
        *rows = *cols = *stride = 1;
        return 1;
    }
    if (i->shape[i->rank - 1] != 1 && i->stride[i->rank - 1] != 1) return 0;
    for (int32_t d = i->rank - 2; d >= 0; d--) {
        if (i->shape[d] == 1) continue;
        if (!i->stride[d]) return 0; /* repeated: rows at no distance are none for a product of matrices */
        if (!distance) {
            distance = i->stride[d];
        } else if (i->stride[d] != next) {
            return 0;
        }
        n *= i->shape[d];
        next = i->stride[d] * i->shape[d];
    }
    *rows = (size_t)n;
    *cols = (size_t)i->shape[i->rank - 1];
    *stride = distance ? (size_t)distance : *cols;
    return 1;
}

const char *mmi_graph_shape_text(const mmi_graph *g, mmi_value v, char text[128])
{
    const mmi_value_info *i = mmi_graph_look(g, v);
    size_t at = 0;
    text[at++] = '[';
    for (int32_t d = 0; d < i->rank && at < 110; d++)
        at += (size_t)snprintf(text + at, 128 - at, d ? ", %lld" : "%lld", (long long)i->shape[d]);
    snprintf(text + at, 128 - at, "]");
    return text;
}

void *mmi_run_data(const mmi_run *run, mmi_value v)
{
    const mmi_value_info *i = mmi_graph_look(run->graph, v);
    char *base = mmi_graph_look(run->graph, i->base)->data;
    return base + i->offset * (int64_t)mmi_dtype_get(i->dtype)->block_bytes;
}

float *mmi_run_f32(const mmi_run *run, mmi_value v) { return v ? mmi_run_data(run, v) : NULL; }
const int32_t *mmi_run_i32(const mmi_run *run, mmi_value v) { return v ? mmi_run_data(run, v) : NULL; }
void *mmi_run_shared(const mmi_run *run) { return run->graph->memory->shared; }

void *mmi_run_worker(const mmi_run *run, int worker) { return run->graph->memory->workers + (size_t)worker * run->graph->worker_bytes; }

void mmi_run_tasks(mmi_run *run, mmi_task_fn fn, void *arg, size_t count)
{
    mmi_thread_pool_run(run->pool, fn, arg, count, &run->ctx->cancel);
}
