/* SPDX-License-Identifier: MIT */
#include "contrast_ops.h"

#include <math.h>

#include "blas.h"
#include "grad.h"
#include "row_ops.h"
#include "shape_ops.h"

static float weight_of(const mmi_run *run, mmi_value v)
{
    float x = 0;
    if (v) mmi_weight_read_row(mmi_graph_look(run->graph, v)->weight, 0, &x);
    return x;
}

typedef struct {
    const mmi_run *run;
    const float *a, *b;
    float *y;
    size_t n, cols, a_stride, b_stride;
    float scale, bias;
} similarity_job;

static void similarity_task(void *arg, size_t row, int worker)
{
    const similarity_job *j = arg;
    (void)worker;
    for (size_t i = 0; i < j->n; i++)
        j->y[row * j->n + i] = j->run->k->dot(j->a + row * j->a_stride, j->b + i * j->b_stride, j->cols) * j->scale + j->bias;
}

static mm_status run_similarity(mmi_run *run, const mmi_node *n)
{
    similarity_job j = {run, mmi_run_f32(run, n->inputs[0]), mmi_run_f32(run, n->inputs[1]), mmi_run_f32(run, n->output), 0, 0, 0, 0,
                        expf(weight_of(run, n->inputs[2])), weight_of(run, n->inputs[3])};
    size_t rows = 0;

    (void)mmi_graph_rows(run->graph, n->inputs[0], &rows, &j.cols, &j.a_stride);
    (void)mmi_graph_rows(run->graph, n->inputs[1], &j.n, &j.cols, &j.b_stride);
    mmi_run_tasks(run, similarity_task, &j, rows);
    return MM_OK;
}

/* Of y = s a b^T + bias: da = s dy b, db = s dy^T a, and as s is the exponential of its weight, that one's is the sum of a da. */

typedef struct {
    const float *dy, *a, *b;
    float *da, *db;
    size_t m, n, cols;
    float scale;
} similarity_gradient_job;

static void similarity_gradient_task(void *arg, size_t task, int worker)
{
    const similarity_gradient_job *j = arg;
    (void)worker;
    if (task == 0) mmi_blas_gemm(0, 0, j->m, j->cols, j->n, j->scale, j->dy, j->n, j->b, j->cols, 0, j->da, j->cols);
    else mmi_blas_gemm(1, 0, j->n, j->cols, j->m, j->scale, j->dy, j->n, j->a, j->cols, 0, j->db, j->cols);
}

static mm_status run_similarity_gradient(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *dy = mmi_graph_look(run->graph, n->inputs[0]);
    similarity_gradient_job j = {mmi_run_f32(run, n->inputs[0]), mmi_run_f32(run, n->inputs[1]), mmi_run_f32(run, n->inputs[2]), mmi_run_f32(run, n->output), NULL,
                                 (size_t)dy->shape[0], (size_t)dy->shape[1], (size_t)mmi_graph_look(run->graph, n->inputs[1])->shape[1],
                                 expf(weight_of(run, n->inputs[3]))};
    double scale = 0, bias = 0;

    j.db = j.da + j.m * j.cols;
    mmi_run_tasks(run, similarity_gradient_task, &j, 2);
    for (size_t i = 0; i < j.m * j.cols; i++) scale += (double)j.a[i] * (double)j.da[i];
    for (size_t i = 0; i < j.m * j.n; i++) bias += (double)j.dy[i];
    j.db[j.n * j.cols] = (float)scale;
    j.db[j.n * j.cols + 1] = (float)bias;
    return MM_OK;
}

static const mmi_op similarity_gradient_op = {"similarity_gradient", run_similarity_gradient, NULL, 0, NULL};

static void similarity_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_value in[4] = {mmi_contiguous(g, dy), n->inputs[0], n->inputs[1], n->inputs[2]}, all;
    const int64_t a = mmi_graph_elements(g, n->inputs[0]), b = mmi_graph_elements(g, n->inputs[1]);
    const int64_t at[4] = {0, a, a + b, a + b + 1}, count[4] = {a, b, 1, 1};
    mmi_node *node = mmi_graph_node(g, &similarity_gradient_op, in, 4, MM_DTYPE_F32, 1, (int64_t[]){a + b + 2});

    if (!node) return;
    all = node->output;
    for (int i = 0; i < 4; i++) {
        mmi_value_info v;
        if (!mmi_gradient_wanted(g, n->inputs[i])) continue;
        v = *mmi_graph_look(g, n->inputs[i]);
        mmi_gradient_add(g, n->inputs[i], mmi_reshape(g, mmi_slice(g, all, 0, at[i], count[i]), v.rank, v.shape));
    }
}

static const mmi_op similarity_op = {"similarity", run_similarity, NULL, 0, similarity_gradient};

mmi_value mmi_similarity(mmi_graph *g, mmi_value a, mmi_value b, mmi_value log_scale, mmi_value bias)
{
    mmi_value in[4];
    const mmi_value_info *x, *y;
    mmi_node *n;
    char s[128], t[128];

    if (g->status) return 0;
    in[0] = mmi_contiguous(g, a);
    in[1] = mmi_contiguous(g, b);
    in[2] = log_scale;
    in[3] = bias;
    if (g->status) return 0;
    x = mmi_graph_look(g, in[0]);
    y = mmi_graph_look(g, in[1]);
    if (x->rank != 2 || y->rank != 2 || x->shape[1] != y->shape[1] || !log_scale)
        return mmi_graph_fail(g, MM_E_SHAPE, "similarity of %s and %s", mmi_graph_shape_text(g, in[0], s), mmi_graph_shape_text(g, in[1], t));
    n = mmi_graph_node(g, &similarity_op, in, 4, MM_DTYPE_F32, 2, (int64_t[]){x->shape[0], y->shape[0]});
    return n ? n->output : 0;
}

static mm_status run_masked_error(mmi_run *run, const mmi_node *n)
{
    const float *x = mmi_run_f32(run, n->inputs[0]), *y = mmi_run_f32(run, n->inputs[1]), *mask = mmi_run_f32(run, n->inputs[2]);
    int64_t rows = mmi_graph_elements(run->graph, n->inputs[2]), cols = mmi_graph_look(run->graph, n->inputs[0])->shape[2];
    double sum = 0, weight = 0;

    for (int64_t r = 0; r < rows; r++, x += cols, y += cols) {
        double row = 0;
        for (int64_t c = 0; c < cols && mask[r] != 0; c++) {
            double d = (double)x[c] - (double)(y[c] * n->f[0]);
            row += d * d;
        }
        sum += row / (double)cols * (double)mask[r];
        weight += (double)mask[r];
    }
    *mmi_run_f32(run, n->output) = (float)(sum / weight);
    return MM_OK;
}

/* Of x; y's is -f[0] times that. */
static mm_status run_masked_error_gradient(mmi_run *run, const mmi_node *n)
{
    const float *x = mmi_run_f32(run, n->inputs[1]), *y = mmi_run_f32(run, n->inputs[2]), *mask = mmi_run_f32(run, n->inputs[3]);
    const int64_t rows = mmi_graph_elements(run->graph, n->inputs[3]), cols = mmi_graph_look(run->graph, n->inputs[1])->shape[2];
    float *dx = mmi_run_f32(run, n->output);
    double weight = 0;

    for (int64_t r = 0; r < rows; r++) weight += (double)mask[r];
    for (int64_t r = 0; r < rows; r++, x += cols, y += cols, dx += cols) {
        const float step = (float)(2 * (double)*mmi_run_f32(run, n->inputs[0]) * (double)mask[r] / ((double)cols * weight));
        for (int64_t c = 0; c < cols; c++) dx[c] = mask[r] != 0 ? step * (x[c] - n->f[0] * y[c]) : 0;
    }
    return MM_OK;
}

static const mmi_op masked_error_gradient_op = {"masked_error_gradient", run_masked_error_gradient, NULL, 0, NULL};

static void masked_error_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_value in[4] = {dy, n->inputs[0], n->inputs[1], n->inputs[2]}, dx;
    mmi_value_info v = *mmi_graph_look(g, n->inputs[0]);
    mmi_node *node = mmi_graph_node(g, &masked_error_gradient_op, in, 4, MM_DTYPE_F32, v.rank, v.shape);

    if (!node) return;
    node->f[0] = n->f[0];
    dx = node->output;
    mmi_gradient_add(g, n->inputs[0], dx);
    if (mmi_gradient_wanted(g, n->inputs[1])) mmi_gradient_add(g, n->inputs[1], mmi_scale(g, dx, -n->f[0]));
}

static const mmi_op masked_error_op = {"masked_error", run_masked_error, NULL, 0, masked_error_gradient};

mmi_value mmi_masked_error(mmi_graph *g, mmi_value x, mmi_value y, float y_scale, mmi_value mask)
{
    mmi_value in[3];
    const mmi_value_info *a, *b, *m;
    mmi_node *n;
    char s[128], t[128];

    if (g->status) return 0;
    in[0] = mmi_contiguous(g, x);
    in[1] = mmi_contiguous(g, y);
    in[2] = mmi_contiguous(g, mask);
    if (g->status) return 0;
    a = mmi_graph_look(g, in[0]);
    b = mmi_graph_look(g, in[1]);
    m = mmi_graph_look(g, in[2]);
    if (a->rank != 3 || b->rank != 3 || m->rank != 2 || a->shape[0] != b->shape[0] || a->shape[1] != b->shape[1] || a->shape[2] != b->shape[2] ||
        a->shape[0] != m->shape[0] || a->shape[1] != m->shape[1])
        return mmi_graph_fail(g, MM_E_SHAPE, "error of %s beside %s", mmi_graph_shape_text(g, in[0], s), mmi_graph_shape_text(g, in[1], t));
    n = mmi_graph_node(g, &masked_error_op, in, 3, MM_DTYPE_F32, 0, NULL);
    if (!n) return 0;
    n->f[0] = y_scale;
    return n->output;
}
