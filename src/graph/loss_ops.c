/* SPDX-License-Identifier: MIT */
#include "loss_ops.h"

#include <math.h>
#include <string.h>

#include "grad.h"
#include "row_ops.h"
#include "shape_ops.h"

enum { TASK_ELEMENTS = 16384 };

typedef struct {
    mmi_run *run;
    const float *x, *other; /* other: the teacher's scores; NULL: targets */
    const int32_t *targets;
    const float *dy;        /* of the gradient */
    float *y;
    size_t rows, cols, rows_per_task;
    float smoothing, heat;  /* heat: 1 / temperature */
} likelihood_job;

#define FOR_ROWS(j, task) \
    for (size_t r = (task) * (j)->rows_per_task; r < ((task) + 1) * (j)->rows_per_task && r < (j)->rows; r++)

static void hard_task(void *arg, size_t task, int worker)
{
    const likelihood_job *j = arg;
    (void)worker;
    FOR_ROWS(j, task)
    {
        const float *x = j->x + r * j->cols;
        double all, mean = 0;
        j->y[r] = 0;
        if (j->targets[r] == MMI_IGNORED) continue;
        all = j->run->k->log_sum_exp(x, 1, j->cols);
        for (size_t c = 0; c < j->cols && j->smoothing > 0; c++) mean += x[c];
        j->y[r] = (float)((1 - j->smoothing) * (x[j->targets[r]] - all) + j->smoothing * (mean / (double)j->cols - all));
    }
}

static void hard_gradient_task(void *arg, size_t task, int worker)
{
    const likelihood_job *j = arg;
    (void)worker;
    FOR_ROWS(j, task)
    {
        const float *x = j->x + r * j->cols;
        float *dx = j->y + r * j->cols, dy = j->dy[r], even = j->smoothing / (float)j->cols;
        if (j->targets[r] == MMI_IGNORED || dy == 0) {
            memset(dx, 0, j->cols * sizeof *dx);
            continue;
        }
        j->run->k->softmax(x, dx, j->cols);
        for (size_t c = 0; c < j->cols; c++) dx[c] = dy * (even - dx[c]);
        dx[j->targets[r]] += dy * (1 - j->smoothing);
    }
}

static void soft_task(void *arg, size_t task, int worker)
{
    const likelihood_job *j = arg;
    (void)worker;
    FOR_ROWS(j, task)
    {
        const float *x = j->x + r * j->cols, *t = j->other + r * j->cols;
        double all = j->run->k->log_sum_exp(x, j->heat, j->cols), teacher = j->run->k->log_sum_exp(t, j->heat, j->cols), sum = 0;
        for (size_t c = 0; c < j->cols; c++) sum += exp((double)t[c] * j->heat - teacher) * ((double)x[c] * j->heat - all);
        j->y[r] = (float)sum;
    }
}

static void soft_gradient_task(void *arg, size_t task, int worker)
{
    const likelihood_job *j = arg;
    (void)worker;
    FOR_ROWS(j, task)
    {
        const float *x = j->x + r * j->cols, *t = j->other + r * j->cols;
        double all = j->run->k->log_sum_exp(x, j->heat, j->cols), teacher = j->run->k->log_sum_exp(t, j->heat, j->cols);
        float *dx = j->y + r * j->cols;
        for (size_t c = 0; c < j->cols; c++)
            dx[c] = (float)(j->dy[r] * j->heat * (exp((double)t[c] * j->heat - teacher) - exp((double)x[c] * j->heat - all)));
    }
}

static likelihood_job job_of(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *x = mmi_graph_look(run->graph, n->inputs[0]);
    likelihood_job j = {.run = run, .x = mmi_run_f32(run, n->inputs[0]), .y = mmi_run_f32(run, n->output), .cols = (size_t)x->shape[x->rank - 1],
                        .smoothing = n->f[0], .heat = n->f[1]};

    if (n->i[0]) j.other = mmi_run_f32(run, n->inputs[1]);
    else j.targets = mmi_run_i32(run, n->inputs[1]);
    j.rows = (size_t)mmi_graph_elements(run->graph, n->inputs[0]) / j.cols;
    j.rows_per_task = 1 + TASK_ELEMENTS / (j.cols + 1);
    return j;
}

static mm_status run_likelihood(mmi_run *run, const mmi_node *n)
{
    likelihood_job j = job_of(run, n);

    for (size_t r = 0; j.targets && r < j.rows; r++)
        if (j.targets[r] != MMI_IGNORED && (j.targets[r] < 0 || (size_t)j.targets[r] >= j.cols))
            return mmi_fail(run->ctx, MM_E_ARGUMENT, "target %d in row %zu is outside of 0..%zu", j.targets[r], r, j.cols - 1);
    mmi_run_tasks(run, j.targets ? hard_task : soft_task, &j, (j.rows + j.rows_per_task - 1) / j.rows_per_task);
    return MM_OK;
}

static mm_status run_likelihood_gradient(mmi_run *run, const mmi_node *n)
{
    likelihood_job j = job_of(run, n);

    j.dy = mmi_run_f32(run, n->inputs[2]);
    mmi_run_tasks(run, j.targets ? hard_gradient_task : soft_gradient_task, &j, (j.rows + j.rows_per_task - 1) / j.rows_per_task);
    return MM_OK;
}

static const mmi_op likelihood_gradient_op = {"likelihood_gradient", run_likelihood_gradient, NULL, 1, NULL};

static void likelihood_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_value in[3] = {n->inputs[0], n->inputs[1], mmi_contiguous(g, dy)};
    mmi_value_info x = *mmi_graph_look(g, n->inputs[0]);
    mmi_node *node = mmi_graph_node(g, &likelihood_gradient_op, in, 3, MM_DTYPE_F32, x.rank, x.shape);

    if (!node) return;
    node->i[0] = n->i[0];
    node->f[0] = n->f[0];
    node->f[1] = n->f[1];
    mmi_gradient_add(g, n->inputs[0], node->output);
}

static const mmi_op likelihood_op = {"likelihood", run_likelihood, NULL, 0, likelihood_gradient};

static mmi_value likelihood(mmi_graph *g, mmi_value logits, mmi_value other, int soft, float smoothing, float heat)
{
    mmi_value in[2] = {mmi_contiguous(g, logits), mmi_contiguous(g, other)};
    mmi_value_info x, o;
    mmi_node *n;
    char s[128], t[128];

    if (g->status) return 0;
    x = *mmi_graph_look(g, in[0]);
    o = *mmi_graph_look(g, in[1]);
    if (x.rank < 1 || x.dtype != MM_DTYPE_F32 || x.shape[x.rank - 1] < 1 || o.rank != x.rank - !soft || o.dtype != (soft ? MM_DTYPE_F32 : MM_DTYPE_I32) ||
        memcmp(o.shape, x.shape, (size_t)o.rank * sizeof *o.shape))
        return mmi_graph_fail(g, MM_E_SHAPE, "likelihood of %s under %s", mmi_graph_shape_text(g, in[1], s), mmi_graph_shape_text(g, in[0], t));
    n = mmi_graph_node(g, &likelihood_op, in, 2, MM_DTYPE_F32, x.rank - 1, x.shape);
    if (!n) return 0;
    n->i[0] = soft;
    n->f[0] = smoothing;
    n->f[1] = heat;
    return n->output;
}

mmi_value mmi_log_likelihood(mmi_graph *g, mmi_value logits, mmi_value targets, float smoothing) { return likelihood(g, logits, targets, 0, smoothing, 1); }

mmi_value mmi_soft_likelihood(mmi_graph *g, mmi_value logits, mmi_value teacher, float temperature)
{
    return likelihood(g, logits, teacher, 1, 0, 1 / temperature);
}

/* log sigmoid(x), and its gradient dy sigmoid(-x): input 1 is dy. Few elements come this way. */

static mm_status run_log_sigmoid(mmi_run *run, const mmi_node *n)
{
    const float *x = mmi_run_f32(run, n->inputs[0]), *dy = mmi_run_f32(run, n->inputs[1]);
    float *y = mmi_run_f32(run, n->output);
    int64_t count = mmi_graph_elements(run->graph, n->output);

    for (int64_t i = 0; i < count; i++) {
        const double v = x[i];
        if (dy) y[i] = (float)(dy[i] / (1 + exp(v)));
        else y[i] = (float)((v < 0 ? v : 0) - log1p(exp(-fabs(v))));
    }
    return MM_OK;
}

static const mmi_op log_sigmoid_gradient_op = {"log_sigmoid_gradient", run_log_sigmoid, NULL, 1, NULL};

static void log_sigmoid_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_value in[2] = {n->inputs[0], mmi_contiguous(g, dy)};
    mmi_value_info x = *mmi_graph_look(g, n->inputs[0]);
    mmi_node *node = mmi_graph_node(g, &log_sigmoid_gradient_op, in, 2, MM_DTYPE_F32, x.rank, x.shape);
    if (node) mmi_gradient_add(g, n->inputs[0], node->output);
}

static const mmi_op log_sigmoid_op = {"log_sigmoid", run_log_sigmoid, NULL, 0, log_sigmoid_gradient};

mmi_value mmi_log_sigmoid(mmi_graph *g, mmi_value x)
{
    mmi_value in[2] = {mmi_contiguous(g, x), 0};
    mmi_value_info v;
    mmi_node *n;

    if (g->status) return 0;
    v = *mmi_graph_look(g, in[0]);
    n = mmi_graph_node(g, &log_sigmoid_op, in, 2, MM_DTYPE_F32, v.rank, v.shape);
    return n ? n->output : 0;
}

static mm_status run_inner(mmi_run *run, const mmi_node *n)
{
    const float *x = mmi_run_f32(run, n->inputs[0]), *w = mmi_run_f32(run, n->inputs[1]);
    int64_t count = mmi_graph_elements(run->graph, n->inputs[0]);
    double sum = 0;

    for (int64_t i = 0; i < count; i++) sum += (double)x[i] * w[i];
    *mmi_run_f32(run, n->output) = (float)sum;
    return MM_OK;
}

static void inner_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    for (int i = 0; i < 2; i++) {
        mmi_value_info v = *mmi_graph_look(g, n->inputs[i]);
        mmi_value other = n->inputs[1 - i];
        if (mmi_gradient_wanted(g, n->inputs[i])) mmi_gradient_add(g, n->inputs[i], mmi_scale_by(g, mmi_reshape(g, other, v.rank, v.shape), dy));
    }
}

static const mmi_op inner_op = {"inner", run_inner, NULL, 0, inner_gradient};

mmi_value mmi_inner(mmi_graph *g, mmi_value x, mmi_value w)
{
    mmi_value in[2] = {mmi_contiguous(g, x), mmi_contiguous(g, w)};
    mmi_node *n;
    char s[128], t[128];

    if (g->status) return 0;
    if (mmi_graph_elements(g, in[0]) != mmi_graph_elements(g, in[1]))
        return mmi_graph_fail(g, MM_E_SHAPE, "inner product of %s and %s", mmi_graph_shape_text(g, in[0], s), mmi_graph_shape_text(g, in[1], t));
    n = mmi_graph_node(g, &inner_op, in, 2, MM_DTYPE_F32, 0, NULL);
    return n ? n->output : 0;
}

static mm_status run_scale_by(mmi_run *run, const mmi_node *n)
{
    run->k->scale(mmi_run_f32(run, n->inputs[0]), *mmi_run_f32(run, n->inputs[1]), mmi_run_f32(run, n->output),
                  (size_t)mmi_graph_elements(run->graph, n->output));
    return MM_OK;
}

static void scale_by_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_value_info s = *mmi_graph_look(g, n->inputs[1]);

    if (mmi_gradient_wanted(g, n->inputs[0])) mmi_gradient_add(g, n->inputs[0], mmi_scale_by(g, dy, n->inputs[1]));
    if (mmi_gradient_wanted(g, n->inputs[1])) mmi_gradient_add(g, n->inputs[1], mmi_reshape(g, mmi_inner(g, dy, n->inputs[0]), s.rank, s.shape));
}

static const mmi_op scale_by_op = {"scale_by", run_scale_by, NULL, 1, scale_by_gradient};

mmi_value mmi_scale_by(mmi_graph *g, mmi_value x, mmi_value s)
{
    mmi_value in[2] = {mmi_contiguous(g, x), s};
    mmi_value_info v;
    mmi_node *n;

    if (g->status) return 0;
    if (mmi_graph_elements(g, s) != 1) return mmi_graph_fail(g, MM_E_SHAPE, "scaling by what is no scalar");
    v = *mmi_graph_look(g, in[0]);
    n = mmi_graph_node(g, &scale_by_op, in, 2, MM_DTYPE_F32, v.rank, v.shape);
    return n ? n->output : 0;
}
