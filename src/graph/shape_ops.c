/* SPDX-License-Identifier: MIT */
#include "shape_ops.h"

#include <string.h>

#include "grad.h"
#include "row_gradients.h"
#include "row_ops.h"
#include "size.h"

mmi_value mmi_slice(mmi_graph *g, mmi_value x, int32_t axis, int64_t start, int64_t count)
{
    int64_t shape[MMI_MAX_RANK];
    const mmi_value_info *v;
    char text[128];

    if (g->status) return 0;
    v = mmi_graph_look(g, x);
    if (axis < 0 || axis >= v->rank || start < 0 || count < 0 || start > v->shape[axis] - count)
        return mmi_graph_fail(g, MM_E_SHAPE, "slice %lld + %lld of axis %d in %s", (long long)start, (long long)count, axis,
                              mmi_graph_shape_text(g, x, text));
    memcpy(shape, v->shape, sizeof shape);
    shape[axis] = count;
    return mmi_graph_view(g, x, v->rank, shape, v->stride, start * v->stride[axis]);
}

mmi_value mmi_select(mmi_graph *g, mmi_value x, int32_t axis, int64_t index)
{
    int64_t shape[MMI_MAX_RANK], stride[MMI_MAX_RANK];
    mmi_value s = mmi_slice(g, x, axis, index, 1);
    const mmi_value_info *v;
    int32_t n = 0;

    if (g->status) return 0;
    v = mmi_graph_look(g, s);
    for (int32_t d = 0; d < v->rank; d++) {
        if (d == axis) continue;
        shape[n] = v->shape[d];
        stride[n++] = v->stride[d];
    }
    return mmi_graph_view(g, s, n, shape, stride, 0);
}

mmi_value mmi_split_last(mmi_graph *g, mmi_value x, int64_t groups, int64_t size)
{
    int64_t shape[MMI_MAX_RANK], stride[MMI_MAX_RANK];
    const mmi_value_info *v;
    int32_t last;
    char text[128];

    if (g->status) return 0;
    v = mmi_graph_look(g, x);
    last = v->rank - 1;
    if (last < 0 || v->rank == MMI_MAX_RANK || v->shape[last] != groups * size)
        return mmi_graph_fail(g, MM_E_SHAPE, "%s cannot be split into %lld groups of %lld", mmi_graph_shape_text(g, x, text),
                              (long long)groups, (long long)size);
    memcpy(shape, v->shape, sizeof shape);
    memcpy(stride, v->stride, sizeof stride);
    shape[last] = groups;
    shape[last + 1] = size;
    stride[last + 1] = stride[last];
    stride[last] = size * stride[last];
    return mmi_graph_view(g, x, last + 2, shape, stride, 0);
}

mmi_value mmi_repeat(mmi_graph *g, mmi_value x, int32_t axis, int64_t count)
{
    mmi_value_info v;
    char text[128];

    if (g->status) return 0;
    v = *mmi_graph_look(g, x);
    if (axis < 0 || axis >= v.rank || v.shape[axis] != 1 || count < 1)
        return mmi_graph_fail(g, MM_E_SHAPE, "%s cannot be repeated %lld times along axis %d", mmi_graph_shape_text(g, x, text), (long long)count, axis);
    v.shape[axis] = count;
    v.stride[axis] = 0;
    return mmi_graph_view(g, x, v.rank, v.shape, v.stride, 0);
}

mmi_value mmi_reshape(mmi_graph *g, mmi_value x, int32_t rank, const int64_t *shape)
{
    int64_t stride[MMI_MAX_RANK], n = 1;
    char text[128];

    if (g->status) return 0;
    x = mmi_contiguous(g, x);
    if (g->status) return 0;
    for (int32_t d = rank - 1; d >= 0; d--) {
        stride[d] = n;
        n *= shape[d];
    }
    if (n != mmi_graph_elements(g, x))
        return mmi_graph_fail(g, MM_E_SHAPE, "%s has not the %lld elements of its new shape", mmi_graph_shape_text(g, x, text), (long long)n);
    return mmi_graph_view(g, x, rank, shape, stride, 0);
}

/* Copying: rows of the last dimension, found by counting through the leading ones. */

typedef struct {
    const mmi_run *run;
    const float *src;
    float *dst;
    const mmi_value_info *in;  /* shape and strides of the source */
    int64_t out_stride[MMI_MAX_RANK];
    size_t rows_per_task, rows;
} copy_job;

static void copy_task(void *arg, size_t task, int worker)
{
    const copy_job *j = arg;
    const mmi_value_info *in = j->in;
    int32_t last = in->rank - 1;
    size_t from = task * j->rows_per_task, to = from + j->rows_per_task;
    (void)worker;

    for (size_t r = from; r < to && r < j->rows; r++) {
        int64_t at = 0, put = 0, rest = (int64_t)r;
        const float *s;
        float *d;
        for (int32_t k = last - 1; k >= 0; k--) {
            int64_t i = rest % in->shape[k];
            rest /= in->shape[k];
            at += i * in->stride[k];
            put += i * j->out_stride[k];
        }
        s = j->src + at;
        d = j->dst + put;
        if (in->stride[last] == 1) {
            memcpy(d, s, (size_t)in->shape[last] * sizeof *d);
        } else {
            for (int64_t i = 0; i < in->shape[last]; i++) d[i] = s[i * in->stride[last]];
        }
    }
}

void mmi_copy_strided(mmi_run *run, const mmi_value_info *in, const float *src, float *dst, const int64_t *out_stride)
{
    copy_job j = {run, src, dst, in, {0}, 0, 1};

    if (in->rank == 0) {
        *dst = *src;
        return;
    }
    memcpy(j.out_stride, out_stride, sizeof j.out_stride);
    for (int32_t k = 0; k < in->rank - 1; k++) j.rows *= (size_t)in->shape[k];
    if (!in->shape[in->rank - 1]) return;
    j.rows_per_task = 1 + 16384 / (size_t)in->shape[in->rank - 1];
    mmi_run_tasks(run, copy_task, &j, (j.rows + j.rows_per_task - 1) / j.rows_per_task);
}

static mm_status run_contiguous(mmi_run *run, const mmi_node *n)
{
    mmi_copy_strided(run, mmi_graph_look(run->graph, n->inputs[0]), mmi_run_f32(run, n->inputs[0]), mmi_run_f32(run, n->output),
             mmi_graph_look(run->graph, n->output)->stride);
    return MM_OK;
}

static void contiguous_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy) { mmi_gradient_add(g, n->inputs[0], dy); }

static const mmi_op contiguous_op = {"contiguous", run_contiguous, NULL, 0, contiguous_gradient};

mmi_value mmi_contiguous(mmi_graph *g, mmi_value x)
{
    const mmi_value_info *v;
    int64_t shape[MMI_MAX_RANK];
    mmi_node *n;

    if (g->status || !x) return 0;
    v = mmi_graph_look(g, x);
    if (mmi_graph_contiguous(g, x)) return x;
    memcpy(shape, v->shape, sizeof shape);
    n = mmi_graph_node(g, &contiguous_op, &x, 1, v->dtype, v->rank, shape);
    return n ? n->output : 0;
}

static mm_status run_concat(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *out = mmi_graph_look(run->graph, n->output);
    int64_t at = 0;
    int32_t axis = (int32_t)n->i[0];

    for (size_t i = 0; i < n->n_inputs; i++) {
        mmi_value_info in = *mmi_graph_look(run->graph, n->inputs[i]);
        int64_t length = in.shape[axis];
        if (axis && in.shape[0] == 1 && out->shape[0] > 1) { /* repeated over the batch */
            in.shape[0] = out->shape[0];
            in.stride[0] = 0;
        }
        mmi_copy_strided(run, &in, mmi_run_f32(run, n->inputs[i]), mmi_run_f32(run, n->output) + at * out->stride[axis], out->stride);
        at += length;
    }
    return MM_OK;
}

static void concat_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    int32_t axis = (int32_t)n->i[0];
    int64_t at = 0;

    for (size_t i = 0; i < n->n_inputs && !g->status; i++) {
        mmi_value_info in = *mmi_graph_look(g, n->inputs[i]);
        mmi_value part = mmi_slice(g, dy, axis, at, in.shape[axis]);
        at += in.shape[axis];
        if (!mmi_gradient_wanted(g, n->inputs[i])) continue;
        mmi_gradient_add(g, n->inputs[i], mmi_sum_to(g, part, in.rank, in.shape));
    }
}

static const mmi_op concat_op = {"concat", run_concat, NULL, 0, concat_gradient};

mmi_value mmi_concat(mmi_graph *g, int32_t axis, const mmi_value *x, size_t n)
{
    int64_t shape[MMI_MAX_RANK];
    const mmi_value_info *first;
    mmi_node *node;
    char a[128], b[128];

    if (g->status) return 0;
    first = mmi_graph_look(g, x[0]);
    if (axis < 0 || axis >= first->rank) return mmi_graph_fail(g, MM_E_SHAPE, "concat along axis %d", axis);
    memcpy(shape, first->shape, sizeof shape);
    shape[axis] = 0;
    for (size_t i = 0; i < n; i++) {
        const mmi_value_info *v = mmi_graph_look(g, x[i]);
        int fits = v->rank == first->rank;
        for (int32_t d = 0; fits && d < v->rank; d++) {
            if (d == axis) continue;
            if (d == 0 && v->shape[0] > 1 && shape[0] == 1) shape[0] = v->shape[0];
            fits = v->shape[d] == shape[d] || (d == 0 && v->shape[0] == 1);
        }
        if (!fits)
            return mmi_graph_fail(g, MM_E_SHAPE, "%s and %s cannot be joined along axis %d", mmi_graph_shape_text(g, x[0], a),
                                  mmi_graph_shape_text(g, x[i], b), axis);
        shape[axis] += v->shape[axis];
    }
    node = mmi_graph_node(g, &concat_op, x, n, first->dtype, first->rank, shape);
    if (!node) return 0;
    node->i[0] = axis;
    return node->output;
}

typedef struct {
    const mmi_weight *w;
    const int32_t *ids; /* NULL: 0, 1, 2, ... */
    size_t first;       /* the row of id 0 */
    float *out;
    size_t rows, rows_per_task;
} lookup_job;

static void lookup_task(void *arg, size_t task, int worker)
{
    const lookup_job *j = arg;
    (void)worker;
    for (size_t r = task * j->rows_per_task; r < (task + 1) * j->rows_per_task && r < j->rows; r++)
        mmi_weight_read_row(j->w, j->first + (j->ids ? (size_t)j->ids[r] : r), j->out + r * j->w->cols);
}

static void decode_rows(mmi_run *run, const mmi_weight *w, const int32_t *ids, size_t first, float *out, size_t rows)
{
    lookup_job j = {w, ids, first, out, rows, 1 + 8192 / (w->cols + 1)};
    mmi_run_tasks(run, lookup_task, &j, (rows + j.rows_per_task - 1) / j.rows_per_task);
}

static mm_status run_lookup(mmi_run *run, const mmi_node *n)
{
    const mmi_weight *w = mmi_graph_look(run->graph, n->inputs[1])->weight;
    const int32_t *ids = mmi_run_i32(run, n->inputs[0]);
    size_t rows = (size_t)mmi_graph_elements(run->graph, n->inputs[0]), first = (size_t)n->i[0];

    for (size_t r = 0; r < rows; r++)
        if (ids[r] < 0 || (size_t)ids[r] >= w->rows - first)
            return mmi_fail(run->ctx, MM_E_ARGUMENT, "id %d at position %zu is outside 0..%zu, the rows of %s", ids[r], r, w->rows - first - 1, w->name);
    decode_rows(run, w, ids, first, mmi_run_f32(run, n->output), rows);
    return MM_OK;
}

/* Tasks share the columns, so that rows with the same id are added one after the other. */
static void lookup_gradient_task(void *arg, size_t task, int worker)
{
    const lookup_job *j = arg;
    size_t from = task * j->rows_per_task, to = mmi_size_min(from + j->rows_per_task, j->w->cols);
    (void)worker;
    for (size_t r = 0; r < j->rows; r++) {
        float *into = j->w->gradient + (j->first + (size_t)j->ids[r]) * j->w->cols;
        for (size_t c = from; c < to; c++) into[c] += j->out[r * j->w->cols + c];
    }
}

static mm_status run_lookup_gradient(mmi_run *run, const mmi_node *n)
{
    const mmi_weight *w = mmi_graph_look(run->graph, n->inputs[2])->weight;
    lookup_job j = {w, mmi_run_i32(run, n->inputs[1]), (size_t)n->i[0], mmi_run_f32(run, n->inputs[0]),
                    (size_t)mmi_graph_elements(run->graph, n->inputs[1]), 64};

    mmi_run_tasks(run, lookup_gradient_task, &j, (w->cols + j.rows_per_task - 1) / j.rows_per_task);
    return MM_OK;
}

static const mmi_op lookup_gradient_op = {"lookup_gradient", run_lookup_gradient, NULL, 0, NULL};

static void lookup_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_value in[3] = {mmi_contiguous(g, dy), n->inputs[0], n->inputs[1]};
    mmi_node *node = mmi_graph_node(g, &lookup_gradient_op, in, 3, MM_DTYPE_F32, 0, NULL);

    if (!node) return;
    node->i[0] = n->i[0];
    node->effect = 1;
}

static const mmi_op lookup_op = {"lookup", run_lookup, NULL, 0, lookup_gradient};

mmi_value mmi_lookup(mmi_graph *g, mmi_value ids, mmi_value table) { return mmi_lookup_from(g, ids, table, 0); }

mmi_value mmi_lookup_from(mmi_graph *g, mmi_value ids, mmi_value table, int64_t first)
{
    mmi_value in[2] = {ids, table};
    int64_t shape[MMI_MAX_RANK];
    const mmi_value_info *v, *t;
    mmi_node *n;

    if (g->status) return 0;
    v = mmi_graph_look(g, ids);
    t = mmi_graph_look(g, table);
    if (v->dtype != MM_DTYPE_I32 || v->rank == MMI_MAX_RANK || !t->weight || t->rank != 2 || t->shape[0] <= first)
        return mmi_graph_fail(g, MM_E_SHAPE, "lookup needs i32 ids and a [rows, columns] weight");
    if (t->weight->lora_a) return mmi_graph_fail(g, MM_E_UNSUPPORTED, "tensor %s is looked up: an adapter of it is not supported", t->weight->name);
    memcpy(shape, v->shape, sizeof shape);
    shape[v->rank] = t->shape[1];
    n = mmi_graph_node(g, &lookup_op, in, 2, MM_DTYPE_F32, v->rank + 1, shape);
    if (!n) return 0;
    n->i[0] = first;
    return n->output;
}

static mm_status run_merge_rows(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *rows = mmi_graph_look(run->graph, n->inputs[2]);
    const float *x = mmi_run_f32(run, n->inputs[0]), *r = mmi_run_f32(run, n->inputs[2]);
    const int32_t *ids = mmi_run_i32(run, n->inputs[1]), token = (int32_t)n->i[0];
    float *y = mmi_run_f32(run, n->output);
    size_t count = (size_t)mmi_graph_elements(run->graph, n->inputs[1]), C = (size_t)rows->shape[1], found = 0;

    for (size_t t = 0; t < count; t++) found += ids[t] == token;
    if (found != (size_t)rows->shape[0])
        return mmi_fail(run->ctx, MM_E_ARGUMENT, "input_ids holds token %d %zu times, but there are %lld rows of %s", token, found,
                        (long long)rows->shape[0], (const char *)(uintptr_t)n->i[1]);
    for (size_t t = 0; t < count; t++) {
        memcpy(y + t * C, ids[t] == token ? r : x + t * C, C * sizeof *y);
        if (ids[t] == token) r += C;
    }
    return MM_OK;
}

/* dy's rows to those that they came from: x's, and behind them the others; i[0] is the token. */
static mm_status run_merge_rows_gradient(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *v = mmi_graph_look(run->graph, n->inputs[0]);
    const float *dy = mmi_run_f32(run, n->inputs[0]);
    const int32_t *ids = mmi_run_i32(run, n->inputs[1]);
    const size_t count = (size_t)mmi_graph_elements(run->graph, n->inputs[1]), C = (size_t)v->shape[2];
    float *dx = mmi_run_f32(run, n->output), *dr = dx + count * C;

    for (size_t t = 0; t < count; t++, dx += C, dy += C) {
        if (ids[t] == n->i[0]) {
            memcpy(dr, dy, C * sizeof *dr);
            memset(dx, 0, C * sizeof *dx);
            dr += C;
        } else {
            memcpy(dx, dy, C * sizeof *dx);
        }
    }
    return MM_OK;
}

static const mmi_op merge_rows_gradient_op = {"merge_rows_gradient", run_merge_rows_gradient, NULL, 0, NULL};

static void merge_rows_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_value in[2] = {mmi_contiguous(g, dy), n->inputs[1]}, all;
    mmi_value_info x = *mmi_graph_look(g, n->inputs[0]), rows = *mmi_graph_look(g, n->inputs[2]);
    int64_t at = mmi_graph_elements(g, n->inputs[0]), more = mmi_graph_elements(g, n->inputs[2]);
    mmi_node *node = mmi_graph_node(g, &merge_rows_gradient_op, in, 2, MM_DTYPE_F32, 1, (int64_t[]){at + more});

    if (!node) return;
    node->i[0] = n->i[0];
    all = node->output;
    if (mmi_gradient_wanted(g, n->inputs[0])) mmi_gradient_add(g, n->inputs[0], mmi_reshape(g, mmi_slice(g, all, 0, 0, at), x.rank, x.shape));
    if (mmi_gradient_wanted(g, n->inputs[2])) mmi_gradient_add(g, n->inputs[2], mmi_reshape(g, mmi_slice(g, all, 0, at, more), rows.rank, rows.shape));
}

static const mmi_op merge_rows_op = {"merge_rows", run_merge_rows, NULL, 0, merge_rows_gradient};

mmi_value mmi_merge_rows(mmi_graph *g, mmi_value x, mmi_value ids, int32_t token, mmi_value rows, const char *what)
{
    mmi_value in[3] = {mmi_contiguous(g, x), ids, mmi_contiguous(g, rows)};
    const mmi_value_info *a, *b, *c;
    mmi_node *n;
    char s[128], t[128];

    if (g->status) return 0;
    a = mmi_graph_look(g, in[0]);
    b = mmi_graph_look(g, ids);
    c = mmi_graph_look(g, in[2]);
    if (a->rank != 3 || b->dtype != MM_DTYPE_I32 || b->rank != 2 || memcmp(a->shape, b->shape, 2 * sizeof *a->shape) || c->rank != 2 ||
        c->shape[1] != a->shape[2] || !mmi_graph_contiguous(g, ids))
        return mmi_graph_fail(g, MM_E_SHAPE, "%s %s do not fit into %s", what, mmi_graph_shape_text(g, in[2], s), mmi_graph_shape_text(g, in[0], t));
    n = mmi_graph_node(g, &merge_rows_op, in, 3, MM_DTYPE_F32, 3, (int64_t[]){a->shape[0], a->shape[1], a->shape[2]});
    if (!n) return 0;
    n->i[0] = token;
    n->i[1] = (int64_t)(intptr_t)what;
    return n->output;
}

static mm_status run_weight_value(mmi_run *run, const mmi_node *n)
{
    const mmi_weight *w = mmi_graph_look(run->graph, n->inputs[0])->weight;
    decode_rows(run, w, NULL, 0, mmi_run_f32(run, n->output), w->rows);
    return MM_OK;
}

static void weight_value_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy) { mmi_gradient_add(g, n->inputs[0], dy); }

static const mmi_op weight_value_op = {"weight_value", run_weight_value, NULL, 0, weight_value_gradient};

mmi_value mmi_weight_value(mmi_graph *g, mmi_value weight)
{
    int64_t shape[MMI_MAX_RANK];
    const mmi_value_info *v;
    mmi_node *n;

    if (g->status || !weight) return 0;
    v = mmi_graph_look(g, weight);
    memcpy(shape, v->shape, sizeof shape);
    n = mmi_graph_node(g, &weight_value_op, &weight, 1, MM_DTYPE_F32, v->rank, shape);
    return n ? n->output : 0;
}

typedef struct {
    float *pixels, *patches;
    size_t channels, height, width, patch;
    int back; /* from patches to pixels */
} patch_job;

static void patch_task(void *arg, size_t task, int worker)
{
    const patch_job *j = arg;
    size_t p = j->patch, rows = j->height / p, cols = j->width / p;
    size_t image = task / rows, row = task % rows;
    float *line = j->patches + task * cols * j->channels * p * p;
    (void)worker;

    for (size_t col = 0; col < cols; col++)
        for (size_t c = 0; c < j->channels; c++)
            for (size_t y = 0; y < p; y++, line += p) {
                float *pixels = j->pixels + ((image * j->channels + c) * j->height + row * p + y) * j->width + col * p;
                memcpy(j->back ? pixels : line, j->back ? line : pixels, p * sizeof *line);
            }
}

static mm_status run_patches(mmi_run *run, const mmi_node *n)
{
    const int back = (int)n->i[1];
    const mmi_value pixels = back ? n->output : n->inputs[0], patches = back ? n->inputs[0] : n->output;
    const mmi_value_info *v = mmi_graph_look(run->graph, pixels);
    patch_job j = {mmi_run_f32(run, pixels), mmi_run_f32(run, patches), (size_t)v->shape[1], (size_t)v->shape[2], (size_t)v->shape[3], (size_t)n->i[0], back};

    if (back) memset(j.pixels, 0, (size_t)mmi_graph_elements(run->graph, pixels) * sizeof *j.pixels);
    mmi_run_tasks(run, patch_task, &j, (size_t)v->shape[0] * (j.height / j.patch));
    return MM_OK;
}

static const mmi_op patches_gradient_op = {"patches_gradient", run_patches, NULL, 0, NULL};

static void patches_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_value_info v = *mmi_graph_look(g, n->inputs[0]);
    mmi_node *node;

    dy = mmi_contiguous(g, dy);
    node = mmi_graph_node(g, &patches_gradient_op, &dy, 1, MM_DTYPE_F32, v.rank, v.shape);
    if (!node) return;
    node->i[0] = n->i[0];
    node->i[1] = 1;
    mmi_gradient_add(g, n->inputs[0], node->output);
}

/* i[0] is the side of a patch; i[1]: back from patches to pixels */
static const mmi_op patches_op = {"patches", run_patches, NULL, 0, patches_gradient};

mmi_value mmi_patches(mmi_graph *g, mmi_value pixels, int64_t patch)
{
    const mmi_value_info *v;
    mmi_node *n;
    char text[128];

    if (g->status) return 0;
    pixels = mmi_contiguous(g, pixels);
    if (g->status) return 0;
    v = mmi_graph_look(g, pixels);
    if (v->rank != 4 || patch < 1 || v->shape[2] < patch || v->shape[3] < patch)
        return mmi_graph_fail(g, MM_E_SHAPE, "pixels %s do not hold a patch of %lld x %lld", mmi_graph_shape_text(g, pixels, text),
                              (long long)patch, (long long)patch);
    n = mmi_graph_node(g, &patches_op, &pixels, 1, MM_DTYPE_F32, 3,
                       (int64_t[]){v->shape[0], v->shape[2] / patch * (v->shape[3] / patch), v->shape[1] * patch * patch});
    if (!n) return 0;
    n->i[0] = patch;
    return n->output;
}

typedef struct {
    const float *x;
    const mmi_value_info *v;
    float *out;
    int64_t count, width, stride, padding;
} window_job;

static void window_task(void *arg, size_t task, int worker)
{
    const window_job *j = arg;
    const int64_t *step = j->v->stride;
    int64_t batch = (int64_t)task / j->count, first = (int64_t)task % j->count * j->stride - j->padding, T = j->v->shape[2];
    float *out = j->out + (int64_t)task * j->v->shape[1] * j->width;
    (void)worker;

    for (int64_t c = 0; c < j->v->shape[1]; c++)
        for (int64_t t = first; t < first + j->width; t++)
            *out++ = t >= 0 && t < T ? j->x[batch * step[0] + c * step[1] + t * step[2]] : 0;
}

static mm_status run_windows(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *out = mmi_graph_look(run->graph, n->output);
    window_job j = {mmi_run_f32(run, n->inputs[0]), mmi_graph_look(run->graph, n->inputs[0]), mmi_run_f32(run, n->output), out->shape[1], n->i[0],
                    n->i[1], n->i[2]};

    mmi_run_tasks(run, window_task, &j, (size_t)(out->shape[0] * out->shape[1]));
    return MM_OK;
}

/* A task is a channel of a sequence; x and out have changed their roles. */
static void window_gradient_task(void *arg, size_t task, int worker)
{
    const window_job *j = arg;
    int64_t C = j->v->shape[1], T = j->v->shape[2], batch = (int64_t)task / C, c = (int64_t)task % C;
    float *dx = j->out + (int64_t)task * T;
    (void)worker;

    memset(dx, 0, (size_t)T * sizeof *dx);
    for (int64_t w = 0; w < j->count; w++) {
        const float *dy = j->x + ((batch * j->count + w) * C + c) * j->width;
        for (int64_t k = 0, t = w * j->stride - j->padding; k < j->width; k++, t++)
            if (t >= 0 && t < T) dx[t] += dy[k];
    }
}

static mm_status run_windows_gradient(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *out = mmi_graph_look(run->graph, n->output);
    window_job j = {mmi_run_f32(run, n->inputs[0]), out, mmi_run_f32(run, n->output), mmi_graph_look(run->graph, n->inputs[0])->shape[1], n->i[0], n->i[1], n->i[2]};

    mmi_run_tasks(run, window_gradient_task, &j, (size_t)(out->shape[0] * out->shape[1]));
    return MM_OK;
}

static const mmi_op windows_gradient_op = {"windows_gradient", run_windows_gradient, NULL, 0, NULL};

static void windows_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_value_info v = *mmi_graph_look(g, n->inputs[0]);
    mmi_node *node;

    dy = mmi_contiguous(g, dy);
    node = mmi_graph_node(g, &windows_gradient_op, &dy, 1, MM_DTYPE_F32, v.rank, v.shape);
    if (!node) return;
    memcpy(node->i, n->i, sizeof node->i);
    mmi_gradient_add(g, n->inputs[0], node->output);
}

static const mmi_op windows_op = {"windows", run_windows, NULL, 0, windows_gradient};

mmi_value mmi_windows(mmi_graph *g, mmi_value x, int64_t width, int64_t stride, int64_t padding)
{
    const mmi_value_info *v;
    mmi_node *n;
    char text[128];

    if (g->status) return 0;
    v = mmi_graph_look(g, x);
    if (v->rank != 3 || width < 1 || stride < 1 || padding < 0 || padding >= width || v->shape[2] + 2 * padding < width)
        return mmi_graph_fail(g, MM_E_SHAPE, "no window of %lld fits into %s", (long long)width, mmi_graph_shape_text(g, x, text));
    n = mmi_graph_node(g, &windows_op, &x, 1, MM_DTYPE_F32, 3,
                       (int64_t[]){v->shape[0], (v->shape[2] + 2 * padding - width) / stride + 1, v->shape[1] * width});
    if (!n) return 0;
    n->i[0] = width;
    n->i[1] = stride;
    n->i[2] = padding;
    return n->output;
}

mmi_value mmi_transpose(mmi_graph *g, mmi_value x)
{
    mmi_value_info v;

    if (g->status) return 0;
    v = *mmi_graph_look(g, x);
    if (v.rank < 2) return mmi_graph_fail(g, MM_E_SHAPE, "a value of %d dimensions has no transpose", v.rank);
    for (int32_t d = v.rank - 2; d < v.rank; d++) {
        int32_t other = 2 * v.rank - 3 - d;
        v.shape[d] = mmi_graph_look(g, x)->shape[other];
        v.stride[d] = mmi_graph_look(g, x)->stride[other];
    }
    return mmi_graph_view(g, x, v.rank, v.shape, v.stride, 0);
}

static mm_status run_mean(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *in = mmi_graph_look(run->graph, n->inputs[0]);
    const float *x = mmi_run_f32(run, n->inputs[0]);
    float *y = mmi_run_f32(run, n->output);
    size_t cols = (size_t)in->shape[2];

    for (int64_t b = 0; b < in->shape[0]; b++, y += cols) {
        memset(y, 0, cols * sizeof *y);
        for (int64_t r = 0; r < in->shape[1]; r++) run->k->add(y, x + b * in->stride[0] + r * in->stride[1], y, cols);
        run->k->scale(y, 1.0f / (float)in->shape[1], y, cols);
    }
    return MM_OK;
}

static void mean_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_value_info in = *mmi_graph_look(g, n->inputs[0]);
    mmi_value row = mmi_scale(g, dy, 1.0f / (float)in.shape[1]);

    row = mmi_reshape(g, row, 3, (int64_t[]){in.shape[0], 1, in.shape[2]});
    mmi_gradient_add(g, n->inputs[0], mmi_repeat(g, row, 1, in.shape[1]));
}

static const mmi_op mean_op = {"mean", run_mean, NULL, 0, mean_gradient};

mmi_value mmi_mean(mmi_graph *g, mmi_value x)
{
    const mmi_value_info *v;
    mmi_node *n;
    char text[128];

    if (g->status) return 0;
    v = mmi_graph_look(g, x);
    if (v->rank != 3 || v->shape[1] < 1 || v->stride[2] != 1)
        return mmi_graph_fail(g, MM_E_SHAPE, "mean over the middle axis of %s", mmi_graph_shape_text(g, x, text));
    n = mmi_graph_node(g, &mean_op, &x, 1, MM_DTYPE_F32, 2, (int64_t[]){v->shape[0], v->shape[2]});
    return n ? n->output : 0;
}

/* Offsets come from a caller of the run: they must rise from 0 to T. */
static mm_status check_offsets(mmi_run *run, const int32_t *offsets, size_t segments, size_t rows)
{
    for (size_t s = 0; s <= segments; s++)
        if (offsets[s] < (s ? offsets[s - 1] : 0) || (size_t)offsets[s] > rows || (s == segments && (size_t)offsets[s] != rows))
            return mmi_fail(run->ctx, MM_E_ARGUMENT, "segment offset %zu is %d, they must rise from 0 to %zu", s, offsets[s], rows);
    return MM_OK;
}

/* Behind the last row of a segment that counts; i[0]: all do. */
static size_t segment_end(const mmi_node *n, const int32_t *offsets, size_t s)
{
    return n->i[0] ? (size_t)offsets[s + 1] : (size_t)offsets[s] + (offsets[s + 1] > offsets[s]);
}

static mm_status run_segment(mmi_run *run, const mmi_node *n)
{
    size_t rows = 0, cols = 0, stride = 0, segments = (size_t)mmi_graph_look(run->graph, n->output)->shape[0];
    const float *x = mmi_run_f32(run, n->inputs[0]);
    const int32_t *offsets = mmi_run_i32(run, n->inputs[1]);
    float *y = mmi_run_f32(run, n->output);
    mm_status st;

    (void)mmi_graph_rows(run->graph, n->inputs[0], &rows, &cols, &stride);
    st = check_offsets(run, offsets, segments, rows);
    if (st) return st;
    for (size_t s = 0; s < segments; s++, y += cols) {
        size_t from = (size_t)offsets[s], to = segment_end(n, offsets, s);
        memset(y, 0, cols * sizeof *y);
        for (size_t r = from; r < to; r++) run->k->add(y, x + r * stride, y, cols);
        if (to > from + 1) run->k->scale(y, 1.0f / (float)(to - from), y, cols);
    }
    return MM_OK;
}

static mm_status run_segment_gradient(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *in = mmi_graph_look(run->graph, n->inputs[0]);
    const size_t segments = (size_t)in->shape[0], cols = (size_t)in->shape[1];
    const float *dy = mmi_run_f32(run, n->inputs[0]);
    const int32_t *offsets = mmi_run_i32(run, n->inputs[1]);
    float *dx = mmi_run_f32(run, n->output);

    memset(dx, 0, (size_t)mmi_graph_elements(run->graph, n->output) * sizeof *dx);
    for (size_t s = 0; s < segments; s++, dy += cols) {
        const size_t from = (size_t)offsets[s], to = segment_end(n, offsets, s);
        for (size_t r = from; r < to; r++) run->k->scale(dy, 1.0f / (float)(to - from), dx + r * cols, cols);
    }
    return MM_OK;
}

static const mmi_op segment_gradient_op = {"segment_gradient", run_segment_gradient, NULL, 0, NULL};

static void segment_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    mmi_value in[2] = {mmi_contiguous(g, dy), n->inputs[1]};
    mmi_value_info v = *mmi_graph_look(g, n->inputs[0]);
    mmi_node *node = mmi_graph_node(g, &segment_gradient_op, in, 2, MM_DTYPE_F32, v.rank, v.shape);

    if (!node) return;
    node->i[0] = n->i[0];
    mmi_gradient_add(g, n->inputs[0], node->output);
}

static const mmi_op segment_op = {"segment", run_segment, NULL, 0, segment_gradient};

static mmi_value segment(mmi_graph *g, mmi_value x, mmi_value offsets, int whole)
{
    mmi_value in[2] = {x, offsets};
    size_t rows, cols, stride;
    mmi_node *n;

    if (g->status) return 0;
    if (!mmi_graph_rows(g, x, &rows, &cols, &stride) || mmi_graph_look(g, offsets)->rank != 1 || mmi_graph_look(g, offsets)->shape[0] < 1)
        return mmi_graph_fail(g, MM_E_SHAPE, "segments need rows and a vector of offsets");
    n = mmi_graph_node(g, &segment_op, in, 2, MM_DTYPE_F32, 2, (int64_t[]){mmi_graph_look(g, offsets)->shape[0] - 1, (int64_t)cols});
    if (!n) return 0;
    n->i[0] = whole;
    return n->output;
}

mmi_value mmi_segment_mean(mmi_graph *g, mmi_value x, mmi_value offsets) { return segment(g, x, offsets, 1); }
mmi_value mmi_segment_first(mmi_graph *g, mmi_value x, mmi_value offsets) { return segment(g, x, offsets, 0); }
