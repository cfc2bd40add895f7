/* Sums over rows are cut by shape and added in order, whatever the number of threads.
 * SPDX-License-Identifier: MIT */
#include "row_gradients.h"

#include <math.h>
#include <string.h>

#include "grad.h"
#include "shape_ops.h"
#include "size.h"

enum { TASK_ELEMENTS = 16384, SUM_COLS = 64 };

/* Sums. */

typedef struct {
    const mmi_run *run;
    const float *x;
    float *y;
    size_t rows, cols, stride; /* of x */
} sum_job;

static void sum_task(void *arg, size_t task, int worker)
{
    const sum_job *j = arg;
    size_t from = task * SUM_COLS, n = mmi_size_min(j->cols - from, SUM_COLS);
    float *y = j->y + from;
    (void)worker;

    memcpy(y, j->x + from, n * sizeof *y);
    for (size_t r = 1; r < j->rows; r++) j->run->k->add(y, j->x + r * j->stride + from, y, n);
}

static mm_status run_sum(mmi_run *run, const mmi_node *n)
{
    size_t all = (size_t)mmi_graph_elements(run->graph, n->inputs[0]), cols = (size_t)mmi_graph_elements(run->graph, n->output), rows, last;
    sum_job j = {run, mmi_run_f32(run, n->inputs[0]), mmi_run_f32(run, n->output), cols ? all / cols : 0, cols, cols};

    if (!mmi_graph_contiguous(run->graph, n->inputs[0])) (void)mmi_graph_rows(run->graph, n->inputs[0], &rows, &last, &j.stride);
    mmi_run_tasks(run, sum_task, &j, (cols + SUM_COLS - 1) / SUM_COLS);
    return MM_OK;
}

static const mmi_op sum_op = {"sum", run_sum, NULL, 0, NULL};

mmi_value mmi_sum_to(mmi_graph *g, mmi_value dy, int32_t rank, const int64_t *shape)
{
    int64_t elements = 1;
    size_t rows, cols, stride;
    mmi_node *n;

    if (g->status) return 0;
    for (int32_t d = 0; d < rank; d++) elements *= shape[d];
    if (elements == mmi_graph_elements(g, dy)) {
        const mmi_value_info *v = mmi_graph_look(g, dy);
        return v->rank == rank && !memcmp(v->shape, shape, (size_t)rank * sizeof *shape) ? dy : mmi_reshape(g, dy, rank, shape);
    }
    if (rank != 1 || !mmi_graph_rows(g, dy, &rows, &cols, &stride)) dy = mmi_contiguous(g, dy);
    n = mmi_graph_node(g, &sum_op, &dy, 1, MM_DTYPE_F32, rank, shape);
    return n ? n->output : 0;
}

/* Rows of dy beside rows of x. */

typedef struct {
    const mmi_run *run;
    const mmi_node *node;
    const float *dy, *x, *w;
    float *dx, *sums;          /* sums: of the weights' gradients, sum_cols for each task */
    size_t rows, cols, stride; /* of x */
    size_t dy_cols, sum_cols, rows_per_task;
} row_job;

#define FOR_ROWS(j, task) \
    for (size_t r = (task) * (j)->rows_per_task; r < ((task) + 1) * (j)->rows_per_task && r < (j)->rows; r++)

static row_job job_of(mmi_run *run, const mmi_node *n)
{
    row_job j = {.run = run, .node = n, .dy = mmi_run_f32(run, n->inputs[0]), .x = mmi_run_f32(run, n->inputs[1]), .dx = mmi_run_f32(run, n->output)};

    (void)mmi_graph_rows(run->graph, n->inputs[1], &j.rows, &j.cols, &j.stride);
    j.dy_cols = j.cols;
    if (n->n_inputs > 2) j.w = mmi_run_f32(run, n->inputs[2]);
    j.rows_per_task = 1 + TASK_ELEMENTS / (j.cols + 1);
    return j;
}

static size_t tasks_of(const row_job *j) { return (j->rows + j->rows_per_task - 1) / j->rows_per_task; }

/* A node that has x's shape, or `elements` in a row; x in rows, dy contiguous. */
static mmi_node *row_node(mmi_graph *g, const mmi_op *op, mmi_value dy, mmi_value x, mmi_value w, int64_t extra)
{
    mmi_value in[3];
    int64_t shape[MMI_MAX_RANK];
    size_t rows, cols, stride;

    if (g->status) return NULL;
    in[0] = mmi_contiguous(g, dy);
    in[1] = mmi_graph_rows(g, x, &rows, &cols, &stride) ? x : mmi_contiguous(g, x);
    in[2] = w;
    if (g->status) return NULL;
    memcpy(shape, mmi_graph_look(g, x)->shape, sizeof shape);
    if (extra < 0) return mmi_graph_node(g, op, in, 3, MM_DTYPE_F32, mmi_graph_look(g, x)->rank, shape);
    return mmi_graph_node(g, op, in, 3, MM_DTYPE_F32, 1, (int64_t[]){mmi_graph_elements(g, x) + extra});
}

static void activate_task(void *arg, size_t task, int worker)
{
    const row_job *j = arg;
    (void)worker;
    FOR_ROWS(j, task)
        j->run->k->activate_gradient((mmi_activation)j->node->i[0], j->x + r * j->stride, j->dy + r * j->cols, j->dx + r * j->cols, j->cols);
}

static mm_status run_activate(mmi_run *run, const mmi_node *n)
{
    row_job j = job_of(run, n);
    mmi_run_tasks(run, activate_task, &j, tasks_of(&j));
    return MM_OK;
}

static const mmi_op activate_op = {"activate_gradient", run_activate, NULL, 1, NULL};

mmi_value mmi_activate_gradient(mmi_graph *g, mmi_value x, mmi_activation act, mmi_value dy)
{
    mmi_node *n = row_node(g, &activate_op, dy, x, 0, -1);

    if (!n) return 0;
    n->i[0] = act;
    return n->output;
}

static void gate_task(void *arg, size_t task, int worker)
{
    const row_job *j = arg;
    size_t half = j->cols / 2;
    (void)worker;
    FOR_ROWS(j, task)
    {
        const float *x = j->x + r * j->stride;
        float *dx = j->dx + r * j->cols;
        j->run->k->gate_gradient((mmi_activation)j->node->i[0], x, x + half, j->dy + r * half, dx, dx + half, half);
    }
}

static mm_status run_gate(mmi_run *run, const mmi_node *n)
{
    row_job j = job_of(run, n);
    mmi_run_tasks(run, gate_task, &j, tasks_of(&j));
    return MM_OK;
}

static const mmi_op gate_op = {"gate_gradient", run_gate, NULL, 0, NULL};

mmi_value mmi_gate_gradient(mmi_graph *g, mmi_value x, mmi_activation act, mmi_value dy)
{
    mmi_node *n = row_node(g, &gate_op, dy, x, 0, -1);

    if (!n) return 0;
    n->i[0] = act;
    return n->output;
}

/* Norms: the output is dx, and behind it the gradients of the weights: i[0] vectors of a row's length. i[1]: nothing wants those. */

static void norm_task(void *arg, size_t task, int worker)
{
    const row_job *j = arg;
    float *dw = j->sums ? j->sums + task * j->sum_cols : NULL, *db = dw ? dw + j->cols : NULL;
    const mmi_kernels *k = j->run->k;
    (void)worker;

    if (dw) memset(dw, 0, j->sum_cols * sizeof *dw);
    FOR_ROWS(j, task)
    {
        const float *x = j->x + r * j->stride, *dy = j->dy + r * j->cols;
        float *dx = j->dx + r * j->cols;
        if (j->node->i[0] == 2) k->layer_norm_gradient(x, j->w, j->node->f[0], dy, dx, dw, db, j->cols);
        else k->rms_norm_gradient(x, j->w, j->node->f[1], j->node->f[0], dy, dx, dw, j->cols);
    }
}

static void norm_job(row_job *j, const mmi_node *n)
{
    j->sum_cols = n->i[1] ? 0 : (size_t)n->i[0] * j->cols;
    j->rows_per_task = 1 + 4 * TASK_ELEMENTS / (j->cols + 1);
}

static mm_status run_norm(mmi_run *run, const mmi_node *n)
{
    row_job j = job_of(run, n);
    sum_job sum;

    norm_job(&j, n);
    if (j.sum_cols) j.sums = mmi_run_shared(run);
    mmi_run_tasks(run, norm_task, &j, tasks_of(&j));
    if (!j.sum_cols) return MM_OK;
    sum = (sum_job){run, j.sums, j.dx + j.rows * j.cols, tasks_of(&j), j.sum_cols, j.sum_cols};
    mmi_run_tasks(run, sum_task, &sum, (j.sum_cols + SUM_COLS - 1) / SUM_COLS);
    return MM_OK;
}

static void norm_scratch(const mmi_graph *g, const mmi_node *n, mmi_scratch *size)
{
    row_job j = {0};
    (void)mmi_graph_rows(g, n->inputs[1], &j.rows, &j.cols, &j.stride);
    norm_job(&j, n);
    size->shared = tasks_of(&j) * j.sum_cols * sizeof(float);
}

static const mmi_op norm_op = {"norm_gradient", run_norm, norm_scratch, 0, NULL};

static void norm_gradient(mmi_graph *g, mmi_value x, const mmi_value *weights, int64_t n_weights, float eps, float offset, mmi_value dy)
{
    mmi_value_info v;
    int64_t at, cols;
    mmi_value all;
    mmi_node *n;
    int wanted = 0;

    if (g->status) return;
    v = *mmi_graph_look(g, x);
    cols = v.shape[v.rank - 1];
    at = mmi_graph_elements(g, x);
    for (int64_t i = 0; i < n_weights; i++) wanted |= mmi_gradient_wanted(g, weights[i]);
    n = row_node(g, &norm_op, dy, x, weights[0], wanted ? n_weights * cols : 0);
    if (!n) return;
    n->i[0] = n_weights;
    n->i[1] = !wanted;
    n->f[0] = eps;
    n->f[1] = offset;
    all = n->output;
    for (int64_t i = 0; i < n_weights && wanted; i++)
        if (mmi_gradient_wanted(g, weights[i])) mmi_gradient_add(g, weights[i], mmi_slice(g, all, 0, at + i * cols, cols));
    if (mmi_gradient_wanted(g, x)) mmi_gradient_add(g, x, mmi_reshape(g, mmi_slice(g, all, 0, 0, at), v.rank, v.shape));
}

void mmi_layer_norm_gradient(mmi_graph *g, mmi_value x, mmi_value w, mmi_value b, float eps, mmi_value dy)
{
    norm_gradient(g, x, (mmi_value[]){w, b}, 2, eps, 0, dy);
}

void mmi_rms_norm_gradient(mmi_graph *g, mmi_value x, mmi_value w, float w_offset, float eps, mmi_value dy)
{
    norm_gradient(g, x, &w, 1, eps, w_offset, dy);
}

/* y = x / |x|: dx = (dy - y (y . dy)) / |x| */
static void l2_task(void *arg, size_t task, int worker)
{
    const row_job *j = arg;
    const mmi_kernels *k = j->run->k;
    (void)worker;
    FOR_ROWS(j, task)
    {
        const float *x = j->x + r * j->stride, *dy = j->dy + r * j->cols;
        float *dx = j->dx + r * j->cols, length = fmaxf(sqrtf(k->dot(x, x, j->cols)), 1e-12f), along = k->dot(x, dy, j->cols) / (length * length);
        for (size_t c = 0; c < j->cols; c++) dx[c] = (dy[c] - along * x[c]) / length;
    }
}

static mm_status run_l2(mmi_run *run, const mmi_node *n)
{
    row_job j = job_of(run, n);
    mmi_run_tasks(run, l2_task, &j, tasks_of(&j));
    return MM_OK;
}

static const mmi_op l2_op = {"l2_gradient", run_l2, NULL, 1, NULL};

mmi_value mmi_l2_gradient(mmi_graph *g, mmi_value x, mmi_value dy)
{
    mmi_node *n = row_node(g, &l2_op, dy, x, 0, -1);
    return n ? n->output : 0;
}
