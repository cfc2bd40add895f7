/* SPDX-License-Identifier: MIT */
#include "resize_op.h"

#include <math.h>
#include <string.h>

#include "grad.h"
#include "shape_ops.h"
#include "size.h"

enum { BACK_COLS = 64 };

typedef struct {
    const mmi_run *run;
    float *x, *out;
    int64_t h, w, c, height, width; /* height and width: of the output */
    mmi_resize_mode mode;
    const int32_t *sizes; /* of mmi_resize_grids */
    int64_t rows, images;
    int64_t from, to; /* columns */
    int back; /* what the output is given goes to x, by the same weights */
} resize_job;

/* Keys' cubic at distance t from the point. */
static float cubic(float t, float a)
{
    t = fabsf(t);
    if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? ((t - 5) * t + 8) * t * a - 4 * a : 0;
}

/* The source points of output point i, from *first on, and their weights; plain bicubic may point beyond the edges. */
static int64_t taps(mmi_resize_mode mode, int64_t in, int64_t out, int64_t i, int64_t *first, float *weights)
{
    float scale = (float)in / (float)out, center = scale * ((float)i + 0.5f), support, inverse, sum = 0;
    int64_t n = 4;

    if (mode == MMI_RESIZE_BICUBIC) {
        float at = center - 0.5f, t = at - floorf(at);
        *first = (int64_t)floorf(at) - 1;
        for (int k = 0; k < 4; k++) weights[k] = cubic(t + 1 - (float)k, -0.75f);
        return n;
    }
    support = (mode == MMI_RESIZE_BICUBIC_ANTIALIAS ? 2.0f : 1.0f) * fmaxf(scale, 1);
    inverse = 1 / fmaxf(scale, 1);
    *first = (int64_t)fmaxf(center - support + 0.5f, 0);
    n = (int64_t)(center + support + 0.5f);
    n = (n < in ? n : in) - *first;
    for (int64_t k = 0; k < n; k++) {
        float t = ((float)(*first + k) - center + 0.5f) * inverse;
        weights[k] = mode == MMI_RESIZE_BICUBIC_ANTIALIAS ? cubic(t, -0.5f) : fmaxf(1 - fabsf(t), 0);
        sum += weights[k];
    }
    for (int64_t k = 0; k < n; k++) weights[k] /= sum;
    return n;
}

static size_t tap_room(int64_t in) { return mmi_size_max((size_t)in, 4); }
static int64_t clamp(int64_t i, int64_t n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

static void add_times(float weight, const float *from, float *to, int64_t n)
{
    for (int64_t c = 0; c < n; c++) to[c] += weight * from[c];
}

/* The first `count` points of row y. */
static void resize_row(const resize_job *j, int64_t y, int64_t count, float *out, float *scratch)
{
    float *wy = scratch, *wx = scratch + tap_room(j->h);
    int64_t y0, x0, ny = taps(j->mode, j->h, j->height, y, &y0, wy);

    for (int64_t x = 0; x < count; x++, out += j->c) {
        int64_t nx = taps(j->mode, j->w, j->width, x, &x0, wx);
        if (!j->back) memset(out, 0, (size_t)j->c * sizeof *out);
        for (int64_t i = 0; i < ny; i++)
            for (int64_t k = 0; k < nx; k++) {
                float *in = j->x + (clamp(y0 + i, j->h) * j->w + clamp(x0 + k, j->w)) * j->c;
                add_times(wy[i] * wx[k], (j->back ? out : in) + j->from, (j->back ? in : out) + j->from, j->to - j->from);
            }
    }
}

static void row_task(void *arg, size_t task, int worker)
{
    const resize_job *j = arg;
    resize_row(j, (int64_t)task, j->width, j->out + (int64_t)task * j->width * j->c, mmi_run_worker(j->run, worker));
}

static void image_task(void *arg, size_t task, int worker)
{
    resize_job j = *(const resize_job *)arg;
    float *first = j.out + (int64_t)task * j.rows * j.c;

    j.height = j.sizes[2 * task];
    j.width = j.sizes[2 * task + 1];
    for (int64_t y = 0; y < j.height; y++) resize_row(&j, y, j.width, first + y * j.width * j.c, mmi_run_worker(j.run, worker));
    for (int64_t r = j.height * j.width; r < j.rows; r++) memcpy(first + r * j.c, first, (size_t)j.c * sizeof *first);
}

/* A task is some columns, of which all outputs give to the grid one after the other. */
static void back_task(void *arg, size_t task, int worker)
{
    resize_job j = *(const resize_job *)arg;
    float *out = j.out, *scratch = mmi_run_worker(j.run, worker);

    j.from = (int64_t)task * BACK_COLS;
    j.to = j.from + BACK_COLS < j.c ? j.from + BACK_COLS : j.c;
    for (int64_t i = 0; i < j.h * j.w; i++) memset(j.x + i * j.c + j.from, 0, (size_t)(j.to - j.from) * sizeof *j.x);
    for (int64_t b = 0; b < j.images; b++, out += j.rows * j.c) {
        if (j.sizes) {
            j.height = j.sizes[2 * b];
            j.width = j.sizes[2 * b + 1];
        }
        for (int64_t y = 0; y < j.height; y++) resize_row(&j, y, j.width, out + y * j.width * j.c, scratch);
        for (int64_t r = j.height * j.width; r < j.rows; r++) resize_row(&j, 0, 1, out + r * j.c, scratch); /* the first again */
    }
}

/* `grid` is what is resized to `out`. */
static resize_job job_of(mmi_run *run, const mmi_node *n, mmi_value grid, mmi_value out)
{
    const mmi_value_info *in = mmi_graph_look(run->graph, grid), *o = mmi_graph_look(run->graph, out);
    return (resize_job){.run = run, .x = mmi_run_f32(run, grid), .out = mmi_run_f32(run, out), .h = in->shape[0], .w = in->shape[1], .c = in->shape[2],
                        .height = o->shape[0], .width = o->shape[1], .mode = (mmi_resize_mode)n->i[0], .images = 1, .to = in->shape[2]};
}

static mm_status run_resize_grid(mmi_run *run, const mmi_node *n)
{
    resize_job j = job_of(run, n, n->inputs[0], n->output);
    mmi_run_tasks(run, row_task, &j, (size_t)j.height);
    return MM_OK;
}

static mm_status run_resize_grids(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *out = mmi_graph_look(run->graph, n->output);
    resize_job j = job_of(run, n, n->inputs[0], n->output);

    j.sizes = mmi_run_i32(run, n->inputs[1]);
    j.rows = out->shape[1];
    for (int64_t b = 0; b < out->shape[0]; b++)
        if (j.sizes[2 * b] < 1 || j.sizes[2 * b + 1] < 1 || j.sizes[2 * b] > j.rows / j.sizes[2 * b + 1])
            return mmi_fail(run->ctx, MM_E_ARGUMENT, "picture %lld has %d x %d patches; at least 1 x 1 and at most %lld fit", (long long)b,
                            j.sizes[2 * b], j.sizes[2 * b + 1], (long long)j.rows);
    mmi_run_tasks(run, image_task, &j, (size_t)out->shape[0]);
    return MM_OK;
}

static size_t scratch_of(const mmi_value_info *grid) { return (tap_room(grid->shape[0]) + tap_room(grid->shape[1])) * sizeof(float); }

static void resize_scratch(const mmi_graph *g, const mmi_node *n, mmi_scratch *size)
{
    size->worker = scratch_of(mmi_graph_look(g, n->inputs[0]));
}

/* Inputs: dy, and of mmi_resize_grids the sizes, which the forward run has checked. */
static mm_status run_resize_gradient(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *dy = mmi_graph_look(run->graph, n->inputs[0]);
    resize_job j = job_of(run, n, n->output, n->inputs[0]);

    j.back = 1;
    if (n->n_inputs > 1) {
        j.sizes = mmi_run_i32(run, n->inputs[1]);
        j.images = dy->shape[0];
        j.rows = dy->shape[1];
    }
    mmi_run_tasks(run, back_task, &j, (size_t)((j.c + BACK_COLS - 1) / BACK_COLS));
    return MM_OK;
}

static void resize_gradient_scratch(const mmi_graph *g, const mmi_node *n, mmi_scratch *size)
{
    size->worker = scratch_of(mmi_graph_look(g, n->output));
}

static const mmi_op resize_gradient_op = {"resize_gradient", run_resize_gradient, resize_gradient_scratch, 0, NULL};

static void resize_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_value in[2] = {mmi_contiguous(g, dy), n->n_inputs > 1 ? n->inputs[1] : 0};
    mmi_value_info v = *mmi_graph_look(g, n->inputs[0]);
    mmi_node *node = mmi_graph_node(g, &resize_gradient_op, in, n->n_inputs, MM_DTYPE_F32, v.rank, v.shape);

    if (!node) return;
    node->i[0] = n->i[0];
    mmi_gradient_add(g, n->inputs[0], node->output);
}

static const mmi_op resize_grid_op = {"resize_grid", run_resize_grid, resize_scratch, 0, resize_gradient};
static const mmi_op resize_grids_op = {"resize_grids", run_resize_grids, resize_scratch, 0, resize_gradient};

mmi_value mmi_resize_grid(mmi_graph *g, mmi_value x, int64_t height, int64_t width, mmi_resize_mode mode)
{
    const mmi_value_info *v;
    mmi_node *n;
    char text[128];

    if (g->status) return 0;
    x = mmi_contiguous(g, x);
    if (g->status) return 0;
    v = mmi_graph_look(g, x);
    if (v->rank != 3 || height < 1 || width < 1 || v->shape[0] < 1 || v->shape[1] < 1)
        return mmi_graph_fail(g, MM_E_SHAPE, "a grid %s cannot be resized to %lld x %lld", mmi_graph_shape_text(g, x, text),
                              (long long)height, (long long)width);
    n = mmi_graph_node(g, &resize_grid_op, &x, 1, MM_DTYPE_F32, 3, (int64_t[]){height, width, v->shape[2]});
    if (!n) return 0;
    n->i[0] = mode;
    return n->output;
}

mmi_value mmi_resize_grids(mmi_graph *g, mmi_value x, mmi_value sizes, int64_t rows, mmi_resize_mode mode)
{
    mmi_value in[2];
    const mmi_value_info *v, *s;
    mmi_node *n;
    char a[128], b[128];

    if (g->status) return 0;
    in[0] = mmi_contiguous(g, x);
    in[1] = sizes;
    if (g->status) return 0;
    v = mmi_graph_look(g, in[0]);
    s = mmi_graph_look(g, sizes);
    if (v->rank != 3 || v->shape[0] < 1 || v->shape[1] < 1 || s->dtype != MM_DTYPE_I32 || s->rank != 2 || s->shape[1] != 2)
        return mmi_graph_fail(g, MM_E_SHAPE, "a grid %s cannot be resized to sizes %s", mmi_graph_shape_text(g, in[0], a),
                              mmi_graph_shape_text(g, sizes, b));
    n = mmi_graph_node(g, &resize_grids_op, in, 2, MM_DTYPE_F32, 3, (int64_t[]){s->shape[0], rows, v->shape[2]});
    if (!n) return 0;
    n->i[0] = mode;
    return n->output;
}
