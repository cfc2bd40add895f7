/* SPDX-License-Identifier: MIT */
#include "row_ops.h"

#include <math.h>
#include <string.h>

#include "grad.h"
#include "row_gradients.h"
#include "shape_ops.h"

/* Rows are handed out in tasks of about this many elements: enough to outweigh the hand-over, and fixed by shape. */
enum { TASK_ELEMENTS = 16384 };

typedef struct {
    const mmi_run *run;
    const mmi_node *node;
    const float *a, *b, *c;
    float *y;
    size_t rows, cols, stride; /* of input 0 */
    size_t b_rows;             /* input 1 repeats after so many rows */
    size_t rows_per_task;
} row_job;

static row_job job_of(mmi_run *run, const mmi_node *n)
{
    row_job j = {run, n, mmi_run_f32(run, n->inputs[0]), NULL, NULL, mmi_run_f32(run, n->output), 0, 0, 0, 1, 1};
    if (n->n_inputs > 1) j.b = mmi_run_f32(run, n->inputs[1]);
    if (n->n_inputs > 2) j.c = mmi_run_f32(run, n->inputs[2]);
    (void)mmi_graph_rows(run->graph, n->inputs[0], &j.rows, &j.cols, &j.stride);
    j.rows_per_task = 1 + TASK_ELEMENTS / (j.cols + 1);
    return j;
}

static mm_status run_rows(mmi_run *run, row_job *j, mmi_task_fn fn)
{
    mmi_run_tasks(run, fn, j, (j->rows + j->rows_per_task - 1) / j->rows_per_task);
    return MM_OK;
}

#define FOR_ROWS(j, task) \
    for (size_t r = (task) * (j)->rows_per_task; r < ((task) + 1) * (j)->rows_per_task && r < (j)->rows; r++)

/* One node with x's shape but `cols` as its last dimension. */
static mmi_node *row_node(mmi_graph *g, const mmi_op *op, mmi_value *in, size_t n_in, int64_t cols)
{
    int64_t shape[MMI_MAX_RANK];
    size_t rows, c, stride;
    const mmi_value_info *v;

    if (g->status) return NULL;
    if (!mmi_graph_rows(g, in[0], &rows, &c, &stride)) in[0] = mmi_contiguous(g, in[0]);
    if (g->status) return NULL;
    v = mmi_graph_look(g, in[0]);
    if (v->dtype != MM_DTYPE_F32 || v->rank < (cols >= 0)) {
        mmi_graph_fail(g, MM_E_SHAPE, "%s needs rows of f32", op->name);
        return NULL;
    }
    memcpy(shape, v->shape, sizeof shape);
    if (cols >= 0) shape[v->rank - 1] = cols;
    return mmi_graph_node(g, op, in, n_in, MM_DTYPE_F32, v->rank, shape);
}

static void add_task(void *arg, size_t task, int worker)
{
    const row_job *j = arg;
    (void)worker;
    FOR_ROWS(j, task) j->run->k->add(j->a + r * j->stride, j->b + r % j->b_rows * j->cols, j->y + r * j->cols, j->cols);
}

static void mul_task(void *arg, size_t task, int worker)
{
    const row_job *j = arg;
    (void)worker;
    FOR_ROWS(j, task) j->run->k->mul(j->a + r * j->stride, j->b + r % j->b_rows * j->cols, j->y + r * j->cols, j->cols);
}

static mm_status run_binary(mmi_run *run, const mmi_node *n, mmi_task_fn fn)
{
    row_job j = job_of(run, n);
    j.b_rows = j.cols ? (size_t)mmi_graph_elements(run->graph, n->inputs[1]) / j.cols : 1;
    return run_rows(run, &j, fn);
}

static mm_status run_add(mmi_run *run, const mmi_node *n) { return run_binary(run, n, add_task); }
static mm_status run_mul(mmi_run *run, const mmi_node *n) { return run_binary(run, n, mul_task); }

static void add_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_value_info b = *mmi_graph_look(g, n->inputs[1]);

    mmi_gradient_add(g, n->inputs[0], dy);
    if (mmi_gradient_wanted(g, n->inputs[1])) mmi_gradient_add(g, n->inputs[1], mmi_sum_to(g, dy, b.rank, b.shape));
}

static void mul_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_value_info b = *mmi_graph_look(g, n->inputs[1]);

    if (mmi_gradient_wanted(g, n->inputs[0])) mmi_gradient_add(g, n->inputs[0], mmi_mul(g, dy, n->inputs[1]));
    if (mmi_gradient_wanted(g, n->inputs[1])) mmi_gradient_add(g, n->inputs[1], mmi_sum_to(g, mmi_mul(g, dy, n->inputs[0]), b.rank, b.shape));
}

static const mmi_op add_op = {"add", run_add, NULL, 1, add_gradient};
static const mmi_op mul_op = {"mul", run_mul, NULL, 1, mul_gradient};

static mmi_value binary(mmi_graph *g, const mmi_op *op, mmi_value a, mmi_value b)
{
    mmi_value in[2] = {a, b};
    const mmi_value_info *va, *vb;
    mmi_node *n;
    char s[128], t[128];
    int fits;

    if (g->status) return 0;
    if (mmi_graph_look(g, b)->weight && (mmi_graph_look(g, b)->rank > 1 || !mmi_graph_look(g, b)->weight->data)) in[1] = mmi_weight_value(g, b);
    in[1] = mmi_contiguous(g, in[1]);
    if (g->status) return 0;
    va = mmi_graph_look(g, a);
    vb = mmi_graph_look(g, in[1]);
    fits = (vb->rank >= 1 || !va->rank) && vb->rank <= va->rank && va->dtype == MM_DTYPE_F32 && vb->dtype == MM_DTYPE_F32;
    for (int32_t d = 1; fits && d <= vb->rank; d++) {
        int64_t m = vb->shape[vb->rank - d];
        fits = m == va->shape[va->rank - d] || (m == 1 && d == vb->rank && d > 1);
    }
    if (!fits)
        return mmi_graph_fail(g, MM_E_SHAPE, "%s of %s and %s", op->name, mmi_graph_shape_text(g, a, s), mmi_graph_shape_text(g, in[1], t));
    n = row_node(g, op, in, 2, -1);
    return n ? n->output : 0;
}

mmi_value mmi_add(mmi_graph *g, mmi_value a, mmi_value b) { return binary(g, &add_op, a, b); }
mmi_value mmi_mul(mmi_graph *g, mmi_value a, mmi_value b) { return binary(g, &mul_op, a, b); }

static void activate_task(void *arg, size_t task, int worker)
{
    const row_job *j = arg;
    (void)worker;
    FOR_ROWS(j, task) j->run->k->activate((mmi_activation)j->node->i[0], j->a + r * j->stride, j->y + r * j->cols, j->cols);
}

static mm_status run_activate(mmi_run *run, const mmi_node *n)
{
    row_job j = job_of(run, n);
    return run_rows(run, &j, activate_task);
}

static void activate_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_gradient_add(g, n->inputs[0], mmi_activate_gradient(g, n->inputs[0], (mmi_activation)n->i[0], dy));
}

static const mmi_op activate_op = {"activate", run_activate, NULL, 1, activate_gradient};

static void scale_task(void *arg, size_t task, int worker)
{
    const row_job *j = arg;
    (void)worker;
    FOR_ROWS(j, task) j->run->k->scale(j->a + r * j->stride, j->node->f[0], j->y + r * j->cols, j->cols);
}

static mm_status run_scale(mmi_run *run, const mmi_node *n)
{
    row_job j = job_of(run, n);
    return run_rows(run, &j, scale_task);
}

static void scale_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy) { mmi_gradient_add(g, n->inputs[0], mmi_scale(g, dy, n->f[0])); }

static const mmi_op scale_op = {"scale", run_scale, NULL, 1, scale_gradient};

mmi_value mmi_scale(mmi_graph *g, mmi_value x, float s)
{
    mmi_node *n = row_node(g, &scale_op, &x, 1, -1);

    if (!n) return 0;
    n->f[0] = s;
    return n->output;
}

mmi_value mmi_activate(mmi_graph *g, mmi_value x, mmi_activation act)
{
    mmi_node *n = row_node(g, &activate_op, &x, 1, -1);
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
        j->run->k->gate((mmi_activation)j->node->i[0], j->a + r * j->stride, j->a + r * j->stride + half, j->y + r * half, half);
}

static mm_status run_gate(mmi_run *run, const mmi_node *n)
{
    row_job j = job_of(run, n);
    return run_rows(run, &j, gate_task);
}

static void gate_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_gradient_add(g, n->inputs[0], mmi_gate_gradient(g, n->inputs[0], (mmi_activation)n->i[0], dy));
}

static const mmi_op gate_op = {"gate", run_gate, NULL, 0, gate_gradient};

mmi_value mmi_gate(mmi_graph *g, mmi_value x, mmi_activation act)
{
    mmi_node *n;
    int64_t cols;

    if (g->status) return 0;
    cols = mmi_graph_look(g, x)->shape[mmi_graph_look(g, x)->rank - 1];
    if (cols % 2) return mmi_graph_fail(g, MM_E_SHAPE, "gate of rows of %lld, an odd number", (long long)cols);
    n = row_node(g, &gate_op, &x, 1, cols / 2);
    if (!n) return 0;
    n->i[0] = act;
    return n->output;
}

static void layer_norm_task(void *arg, size_t task, int worker)
{
    const row_job *j = arg;
    (void)worker;
    FOR_ROWS(j, task) j->run->k->layer_norm(j->a + r * j->stride, j->b, j->c, j->node->f[0], j->y + r * j->cols, j->cols);
}

static void rms_norm_task(void *arg, size_t task, int worker)
{
    const row_job *j = arg;
    (void)worker;
    FOR_ROWS(j, task) j->run->k->rms_norm(j->a + r * j->stride, j->b, j->node->f[1], j->node->f[0], j->y + r * j->cols, j->cols);
}

static mm_status run_layer_norm(mmi_run *run, const mmi_node *n)
{
    row_job j = job_of(run, n);
    return run_rows(run, &j, layer_norm_task);
}

static mm_status run_rms_norm(mmi_run *run, const mmi_node *n)
{
    row_job j = job_of(run, n);
    return run_rows(run, &j, rms_norm_task);
}

static void layer_norm_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_layer_norm_gradient(g, n->inputs[0], n->inputs[1], n->inputs[2], n->f[0], dy);
}

static void rms_norm_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_rms_norm_gradient(g, n->inputs[0], n->inputs[1], n->f[1], n->f[0], dy);
}

static const mmi_op layer_norm_op = {"layer_norm", run_layer_norm, NULL, 1, layer_norm_gradient};
static const mmi_op rms_norm_op = {"rms_norm", run_rms_norm, NULL, 1, rms_norm_gradient};

static int vector_fits(const mmi_graph *g, mmi_value w, mmi_value x)
{
    const mmi_value_info *v = mmi_graph_look(g, w), *i = mmi_graph_look(g, x);
    return i->rank && (!w || (v->dtype == MM_DTYPE_F32 && v->rank == 1 && v->shape[0] == i->shape[i->rank - 1]));
}

mmi_value mmi_layer_norm(mmi_graph *g, mmi_value x, mmi_value w, mmi_value b, float eps)
{
    mmi_value in[3] = {x, w, b};
    mmi_node *n;
    char s[128];

    if (g->status) return 0;
    if (!vector_fits(g, w, x) || !vector_fits(g, b, x))
        return mmi_graph_fail(g, MM_E_SHAPE, "the layer norm's weights do not fit %s", mmi_graph_shape_text(g, x, s));
    n = row_node(g, &layer_norm_op, in, 3, -1);
    if (!n) return 0;
    n->f[0] = eps;
    return n->output;
}

mmi_value mmi_rms_norm(mmi_graph *g, mmi_value x, mmi_value w, float w_offset, float eps)
{
    mmi_value in[2] = {x, w};
    mmi_node *n;
    char s[128];

    if (g->status) return 0;
    if (!w || !vector_fits(g, w, x)) return mmi_graph_fail(g, MM_E_SHAPE, "the RMS norm's weight does not fit %s", mmi_graph_shape_text(g, x, s));
    n = row_node(g, &rms_norm_op, in, 2, -1);
    if (!n) return 0;
    n->f[0] = eps;
    n->f[1] = w_offset;
    return n->output;
}

static void l2_task(void *arg, size_t task, int worker)
{
    const row_job *j = arg;
    (void)worker;
    FOR_ROWS(j, task)
    {
        const float *x = j->a + r * j->stride;
        float length = sqrtf(j->run->k->dot(x, x, j->cols));
        j->run->k->scale(x, 1.0f / fmaxf(length, 1e-12f), j->y + r * j->cols, j->cols); /* the bound is torch's normalize() */
    }
}

static mm_status run_l2(mmi_run *run, const mmi_node *n)
{
    row_job j = job_of(run, n);
    return run_rows(run, &j, l2_task);
}

static void l2_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy) { mmi_gradient_add(g, n->inputs[0], mmi_l2_gradient(g, n->inputs[0], dy)); }

static const mmi_op l2_op = {"l2_normalize", run_l2, NULL, 1, l2_gradient};

mmi_value mmi_l2_normalize(mmi_graph *g, mmi_value x)
{
    mmi_node *n = row_node(g, &l2_op, &x, 1, -1);
    return n ? n->output : 0;
}

/* A sequence's rows where each section of the frequencies follows a stream of its own; i[1] is how many, i[2..] are their ends. */
static void stream_angles(const mmi_node *n, const int32_t *positions, const int64_t *shape, const float *inverse, float *y)
{
    const int64_t half = shape[3];

    for (int64_t t = 0; t < shape[1]; t++, y += 2 * half)
        for (int64_t s = 0, i = 0; s < n->i[1]; s++)
            for (; i < n->i[2 + s]; i++) {
                float angle = (float)positions[s * shape[0] * shape[1] + t] * inverse[i];
                y[i] = cosf(angle) * n->f[0];
                y[half + i] = sinf(angle) * n->f[0];
            }
}

static mm_status run_rope_table(mmi_run *run, const mmi_node *n)
{
    const int32_t *positions = mmi_run_i32(run, n->inputs[0]);
    const float *frequencies = mmi_run_f32(run, n->inputs[1]);
    const int64_t *shape = mmi_graph_look(run->graph, n->output)->shape; /* [B, T, 2, half] */
    size_t half = (size_t)shape[3];
    float *y = mmi_run_f32(run, n->output);

    for (int64_t b = 0; b < shape[0]; b++, positions += shape[1]) {
        const float *inverse = frequencies;
        if (n->i[1]) {
            stream_angles(n, positions, shape, inverse, y);
            y += shape[1] * 2 * (int64_t)half;
            continue;
        }
        if (n->i[0]) { /* by the length of this text, whatever its neighbours' */
            int64_t length = (int64_t)run->values.length;
            for (int64_t t = 0; t < shape[1] && length <= n->i[0]; t++) length = positions[t] >= length ? (int64_t)positions[t] + 1 : length;
            if (length > n->i[0]) inverse += half;
        }
        for (int64_t t = 0; t < shape[1]; t++, y += 2 * half)
            for (size_t i = 0; i < half; i++) {
                float angle = (float)positions[t] * inverse[i]; /* the product in f32, as the reference implementations have it */
                y[i] = cosf(angle) * n->f[0];
                y[half + i] = sinf(angle) * n->f[0];
            }
    }
    return MM_OK;
}

static const mmi_op rope_table_op = {"rope_table", run_rope_table, NULL, 0, NULL};

static mmi_value rope_table(mmi_graph *g, mmi_value positions, mmi_value inverse_frequencies, int64_t context, float scale)
{
    mmi_value in[2] = {positions, inverse_frequencies};
    const mmi_value_info *p, *f;
    mmi_node *n;

    if (g->status) return 0;
    p = mmi_graph_look(g, positions);
    f = mmi_graph_look(g, inverse_frequencies);
    if (p->dtype != MM_DTYPE_I32 || p->rank != 2 || f->rank != (context ? 2 : 1) || (context && f->shape[0] != 2))
        return mmi_graph_fail(g, MM_E_SHAPE, "a rotary table needs i32 positions [B, T] and a vector of frequencies, or two to choose from by length");
    n = mmi_graph_node(g, &rope_table_op, in, 2, MM_DTYPE_F32, 4, (int64_t[]){p->shape[0], p->shape[1], 2, f->shape[f->rank - 1]});
    if (!n) return 0;
    n->i[0] = context;
    n->f[0] = scale;
    return n->output;
}

mmi_value mmi_rope_table(mmi_graph *g, mmi_value positions, mmi_value inverse_frequencies, float scale)
{
    return rope_table(g, positions, inverse_frequencies, 0, scale);
}

mmi_value mmi_rope_table_streams(mmi_graph *g, mmi_value positions, mmi_value inverse_frequencies, const int64_t *sections, float scale)
{
    mmi_value in[2] = {positions, inverse_frequencies};
    const mmi_value_info *p, *f;
    int64_t end = 0;
    mmi_node *n;

    if (g->status) return 0;
    p = mmi_graph_look(g, positions);
    f = mmi_graph_look(g, inverse_frequencies);
    for (int64_t s = 0; p->rank == 3 && s < p->shape[0] && s < MMI_ROPE_STREAMS; s++) end += sections[s];
    if (p->dtype != MM_DTYPE_I32 || p->rank != 3 || p->shape[0] > MMI_ROPE_STREAMS || f->rank != 1 || f->shape[0] != end)
        return mmi_graph_fail(g, MM_E_SHAPE, "a rotary table needs i32 positions [streams, B, T] and frequencies for all sections");
    n = mmi_graph_node(g, &rope_table_op, in, 2, MM_DTYPE_F32, 4, (int64_t[]){p->shape[1], p->shape[2], 2, end});
    if (!n) return 0;
    n->i[1] = mmi_graph_look(g, positions)->shape[0];
    for (int64_t s = 0; s < n->i[1]; s++) n->i[2 + s] = sections[s] + (s ? n->i[1 + s] : 0);
    n->f[0] = scale;
    return n->output;
}

mmi_value mmi_rope_table_by_length(mmi_graph *g, mmi_value positions, mmi_value inverse_frequencies, int64_t context, float scale)
{
    return rope_table(g, positions, inverse_frequencies, context, scale);
}

typedef struct {
    const mmi_run *run;
    const mmi_value_info *in;
    const float *x, *table;
    float *y;
    size_t tokens_per_task, tokens, half;
    int neox, back;
} rope_job;

static void rope_task(void *arg, size_t task, int worker)
{
    const rope_job *j = arg;
    const mmi_value_info *in = j->in;
    size_t heads = (size_t)in->shape[2], dim = (size_t)in->shape[3];
    float opposite[256]; /* heads have at most 512 elements */
    (void)worker;

    for (size_t t = task * j->tokens_per_task; t < (task + 1) * j->tokens_per_task && t < j->tokens; t++) {
        const float *x = j->x + (int64_t)t / in->shape[1] * in->stride[0] + (int64_t)t % in->shape[1] * in->stride[1];
        const float *cosines = j->table + t * 2 * j->half, *sines = cosines + j->half;
        float *y = j->y + t * heads * dim;
        if (j->back) {
            j->run->k->scale(sines, -1.0f, opposite, j->half);
            sines = opposite;
        }
        for (size_t h = 0; h < heads; h++, y += dim) {
            memcpy(y, x + (int64_t)h * in->stride[2], dim * sizeof *y);
            j->run->k->rope(y, cosines, sines, j->half, j->neox);
        }
    }
}

static mmi_value rope(mmi_graph *g, mmi_value x, mmi_value table, int neox, int back);

static mm_status run_rope(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *in = mmi_graph_look(run->graph, n->inputs[0]);
    rope_job j = {run, in, mmi_run_f32(run, n->inputs[0]), mmi_run_f32(run, n->inputs[1]), mmi_run_f32(run, n->output),
                  1 + TASK_ELEMENTS / (size_t)(in->shape[2] * in->shape[3] + 1), (size_t)(in->shape[0] * in->shape[1]),
                  (size_t)mmi_graph_look(run->graph, n->inputs[1])->shape[3], (int)n->i[0], (int)n->i[1]};
    mmi_run_tasks(run, rope_task, &j, (j.tokens + j.tokens_per_task - 1) / j.tokens_per_task);
    return MM_OK;
}

/* A rotation's transpose turns the other way. */
static void rope_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_gradient_add(g, n->inputs[0], rope(g, dy, n->inputs[1], (int)n->i[0], 1));
}

static const mmi_op rope_op = {"rope", run_rope, NULL, 0, rope_gradient};

static mmi_value rope(mmi_graph *g, mmi_value x, mmi_value table, int neox, int back)
{
    mmi_value in[2] = {x, table};
    int64_t shape[MMI_MAX_RANK];
    const mmi_value_info *v, *t;
    mmi_node *n;
    char s[128];

    if (g->status) return 0;
    v = mmi_graph_look(g, x);
    t = mmi_graph_look(g, table);
    if (v->rank != 4 || t->rank != 4 || v->shape[0] != t->shape[0] || v->shape[1] != t->shape[1] || v->shape[3] < 2 * t->shape[3] || v->stride[3] != 1 || t->shape[3] > 256)
        return mmi_graph_fail(g, MM_E_SHAPE, "the rotary table does not fit %s", mmi_graph_shape_text(g, x, s));
    memcpy(shape, v->shape, sizeof shape);
    n = mmi_graph_node(g, &rope_op, in, 2, MM_DTYPE_F32, 4, shape);
    if (!n) return 0;
    n->i[0] = neox;
    n->i[1] = back;
    return n->output;
}

mmi_value mmi_rope(mmi_graph *g, mmi_value x, mmi_value table, int neox) { return rope(g, x, table, neox, 0); }
