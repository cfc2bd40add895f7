/* SPDX-License-Identifier: MIT */
#include "index_ops.h"

#include <math.h>
#include <string.h>

#include "grad.h"
#include "shape_ops.h"

typedef struct {
    float key;
    int32_t index;
} keyed;

static int before(const keyed *a, const keyed *b)
{
    if (isnan(a->key) || isnan(b->key)) return !isnan(a->key) || (isnan(b->key) && a->index < b->index);
    return a->key != b->key ? a->key < b->key : a->index < b->index;
}

/* Merge sort from runs of one; the result is in the one of the two that is returned. */
static const keyed *sort(keyed *from, keyed *to, size_t n)
{
    for (size_t run = 1; run < n; run *= 2) {
        keyed *swap = from;
        for (size_t start = 0; start < n; start += 2 * run) {
            size_t a = start, a_end = start + run < n ? start + run : n, b = a_end, b_end = a_end + run < n ? a_end + run : n;
            for (size_t k = start; k < b_end; k++) to[k] = b >= b_end || (a < a_end && before(&from[a], &from[b])) ? from[a++] : from[b++];
        }
        from = to;
        to = swap;
    }
    return from;
}

typedef struct {
    const mmi_run *run;
    const mmi_value_info *in;
    const float *x;
    const int32_t *ids;
    int32_t *out;
} sort_job;

static void sort_task(void *arg, size_t row, int worker)
{
    const sort_job *j = arg;
    size_t n = (size_t)j->in->shape[1];
    keyed *a = mmi_run_worker(j->run, worker);
    const keyed *sorted;

    for (size_t i = 0; i < n; i++) a[i] = (keyed){j->x ? j->x[row * n + i] : (float)j->ids[row * n + i], (int32_t)i};
    sorted = sort(a, a + n, n);
    for (size_t i = 0; i < n; i++) j->out[row * n + i] = sorted[i].index;
}

static mm_status run_argsort(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *in = mmi_graph_look(run->graph, n->inputs[0]);
    int is_float = in->dtype == MM_DTYPE_F32;
    sort_job j = {run, in, is_float ? mmi_run_f32(run, n->inputs[0]) : NULL, is_float ? NULL : mmi_run_i32(run, n->inputs[0]),
                  mmi_run_data(run, n->output)};
    mmi_run_tasks(run, sort_task, &j, (size_t)in->shape[0]);
    return MM_OK;
}

static void argsort_scratch(const mmi_graph *g, const mmi_node *n, mmi_scratch *size)
{
    size->worker = 2 * (size_t)mmi_graph_look(g, n->inputs[0])->shape[1] * sizeof(keyed);
}

static const mmi_op argsort_op = {"argsort", run_argsort, argsort_scratch, 0, NULL};

mmi_value mmi_argsort(mmi_graph *g, mmi_value x)
{
    const mmi_value_info *v;
    mmi_node *n;
    char text[128];

    if (g->status) return 0;
    x = mmi_contiguous(g, x);
    if (g->status) return 0;
    v = mmi_graph_look(g, x);
    if (v->rank != 2 || (v->dtype != MM_DTYPE_F32 && v->dtype != MM_DTYPE_I32) || v->shape[1] >= 1 << 24)
        return mmi_graph_fail(g, MM_E_SHAPE, "sorting the rows of %s", mmi_graph_shape_text(g, x, text));
    n = mmi_graph_node(g, &argsort_op, &x, 1, MM_DTYPE_I32, 2, (int64_t[]){v->shape[0], v->shape[1]});
    return n ? n->output : 0;
}

static mm_status run_gather(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *in = mmi_graph_look(run->graph, n->inputs[0]), *out = mmi_graph_look(run->graph, n->output);
    const float *x = mmi_run_f32(run, n->inputs[0]);
    const int32_t *ids = mmi_run_i32(run, n->inputs[1]);
    float *y = mmi_run_f32(run, n->output);

    for (int64_t b = 0; b < out->shape[0]; b++)
        for (int64_t k = 0; k < out->shape[1]; k++, ids++, y += out->shape[2]) {
            if (*ids < 0 || *ids >= in->shape[1])
                return mmi_fail(run->ctx, MM_E_ARGUMENT, "row %d is asked for, there are %lld", *ids, (long long)in->shape[1]);
            memcpy(y, x + b * in->stride[0] + *ids * in->stride[1], (size_t)out->shape[2] * sizeof *y);
        }
    return MM_OK;
}

/* A task is a sequence: rows that were taken twice get both. */
typedef struct {
    const mmi_run *run;
    const mmi_value_info *in, *out; /* dy's and dx's */
    const int32_t *ids;
    const float *dy;
    float *dx;
} gather_job;

static void gather_gradient_task(void *arg, size_t task, int worker)
{
    const gather_job *j = arg;
    const size_t K = (size_t)j->in->shape[1], N = (size_t)j->out->shape[1], C = (size_t)j->out->shape[2];
    float *dx = j->dx + task * N * C;
    (void)worker;

    memset(dx, 0, N * C * sizeof *dx);
    for (size_t k = task * K; k < (task + 1) * K; k++) {
        float *row = dx + (size_t)j->ids[k] * C;
        j->run->k->add(row, j->dy + k * C, row, C);
    }
}

static mm_status run_gather_gradient(mmi_run *run, const mmi_node *n)
{
    gather_job j = {run, mmi_graph_look(run->graph, n->inputs[0]), mmi_graph_look(run->graph, n->output), mmi_run_i32(run, n->inputs[1]),
                    mmi_run_f32(run, n->inputs[0]), mmi_run_f32(run, n->output)};
    mmi_run_tasks(run, gather_gradient_task, &j, (size_t)j.out->shape[0]);
    return MM_OK;
}

static const mmi_op gather_gradient_op = {"gather_gradient", run_gather_gradient, NULL, 0, NULL};

static void gather_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_value in[2] = {mmi_contiguous(g, dy), n->inputs[1]};
    mmi_value_info v = *mmi_graph_look(g, n->inputs[0]);
    mmi_node *node = mmi_graph_node(g, &gather_gradient_op, in, 2, MM_DTYPE_F32, v.rank, v.shape);

    if (node) mmi_gradient_add(g, n->inputs[0], node->output);
}

static const mmi_op gather_op = {"gather", run_gather, NULL, 0, gather_gradient};

mmi_value mmi_gather(mmi_graph *g, mmi_value x, mmi_value ids)
{
    mmi_value in[2];
    const mmi_value_info *v, *i;
    mmi_node *n;
    char a[128], b[128];

    if (g->status) return 0;
    in[0] = x;
    in[1] = mmi_contiguous(g, ids);
    if (g->status) return 0;
    v = mmi_graph_look(g, x);
    i = mmi_graph_look(g, in[1]);
    if (v->rank != 3 || v->dtype != MM_DTYPE_F32 || v->stride[2] != 1 || i->rank != 2 || i->dtype != MM_DTYPE_I32 || i->shape[0] != v->shape[0])
        return mmi_graph_fail(g, MM_E_SHAPE, "rows %s of %s", mmi_graph_shape_text(g, in[1], a), mmi_graph_shape_text(g, x, b));
    n = mmi_graph_node(g, &gather_op, in, 2, MM_DTYPE_F32, 3, (int64_t[]){i->shape[0], i->shape[1], v->shape[2]});
    return n ? n->output : 0;
}

static mm_status run_at_least(mmi_run *run, const mmi_node *n)
{
    const int32_t *x = mmi_run_i32(run, n->inputs[0]);
    float *y = mmi_run_f32(run, n->output);
    int64_t count = mmi_graph_elements(run->graph, n->output);

    for (int64_t i = 0; i < count; i++) y[i] = x[i] >= n->i[0];
    return MM_OK;
}

static const mmi_op at_least_op = {"at_least", run_at_least, NULL, 0, NULL};

mmi_value mmi_at_least(mmi_graph *g, mmi_value x, int64_t bound)
{
    int64_t shape[MMI_MAX_RANK];
    mmi_node *n;

    if (g->status) return 0;
    x = mmi_contiguous(g, x);
    if (g->status) return 0;
    if (mmi_graph_look(g, x)->dtype != MM_DTYPE_I32) return mmi_graph_fail(g, MM_E_SHAPE, "a bound is for integers");
    memcpy(shape, mmi_graph_look(g, x)->shape, sizeof shape);
    n = mmi_graph_node(g, &at_least_op, &x, 1, MM_DTYPE_F32, mmi_graph_look(g, x)->rank, shape);
    if (!n) return 0;
    n->i[0] = bound;
    return n->output;
}

static mm_status run_find_token(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *in = mmi_graph_look(run->graph, n->inputs[0]);
    const int32_t *ids = mmi_run_i32(run, n->inputs[0]), *segments = mmi_run_i32(run, n->inputs[1]);
    int32_t *out = mmi_run_data(run, n->output), T = (int32_t)in->shape[1];
    int64_t texts = mmi_graph_elements(run->graph, n->output);

    for (int64_t s = 0; s < texts; s++) {
        int32_t from = segments ? segments[s] : 0, to = segments ? segments[s + 1] : T, at = from;
        if (from < 0 || to > T || from > to)
            return mmi_fail(run->ctx, MM_E_ARGUMENT, "segment %lld from %d to %d of %d tokens", (long long)s, from, to, T);
        if (n->i[0] == MMI_FIND_LAST && to > from) at = to - 1;
        for (int32_t t = from; t < to && n->i[0] != MMI_FIND_LAST; t++) {
            if (n->i[0] == MMI_FIND_FIRST ? ids[t] == n->i[1] : ids[t] > ids[at]) {
                at = t;
                if (n->i[0] == MMI_FIND_FIRST) break;
            }
        }
        out[s] = at < T ? at : T - 1;
        if (!segments) ids += T;
    }
    return MM_OK;
}

static const mmi_op find_token_op = {"find_token", run_find_token, NULL, 0, NULL};

mmi_value mmi_find_token(mmi_graph *g, mmi_value ids, mmi_value segments, mmi_find_rule rule, int64_t token)
{
    mmi_value in[2];
    const mmi_value_info *v, *s;
    int64_t shape[2];
    mmi_node *n;
    char text[128];

    if (g->status) return 0;
    in[0] = mmi_contiguous(g, ids);
    in[1] = segments;
    if (g->status) return 0;
    v = mmi_graph_look(g, in[0]);
    s = mmi_graph_look(g, segments);
    if (v->rank != 2 || v->dtype != MM_DTYPE_I32 || v->shape[1] < 1 || v->shape[1] > INT32_MAX ||
        (segments && (v->shape[0] != 1 || s->rank != 1 || s->shape[0] < 1)))
        return mmi_graph_fail(g, MM_E_SHAPE, "finding a token in %s", mmi_graph_shape_text(g, in[0], text));
    shape[0] = v->shape[0];
    shape[1] = segments ? s->shape[0] - 1 : 1;
    n = mmi_graph_node(g, &find_token_op, in, 2, MM_DTYPE_I32, 2, shape);
    if (!n) return 0;
    n->i[0] = rule;
    n->i[1] = token;
    return n->output;
}
