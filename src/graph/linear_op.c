/* Packed weights, quantized or not, go through kernels of our own, whose result for a row does not depend on its neighbours. Plain
 * weights, which a model in training has, are packed for the moment; where the processor has no such kernel they go through cblas. How the work is cut depends on shapes alone,
 * never on the number of threads; docs/performance.md has the measurements behind the tile sizes.
 * SPDX-License-Identifier: MIT */
#include "linear_op.h"

#include <string.h>

#include "blas.h"
#include "dropout_op.h"
#include "dtype.h"
#include "float_linear.h"
#include "linear_gradient.h"
#include "quant_layout.h"
#include "quant_pack.h"
#include "row_ops.h"
#include "shape_ops.h"
#include "size.h"

enum {
    FEW_ROWS = 4,         /* so many input rows read a plain weight once, at memory speed; more go through cblas */
    TASK_BYTES = 65536,   /* of weight in a task of few rows */
    GEMM_COLS = 192,      /* output columns of a cblas task */
    PACKED_COLS = 48,     /* output columns of a packed float task of many rows: the width of the kernel's tile */
    SPAN_COLS = 64,       /* so of one of Q8_ROW, whose tile has 32 */
    MANY_ROWS = 512,      /* input rows of a task, at most */
    WIDEN_COLS = 64,      /* output columns whose plain f16 or bf16 weights are widened to f32 at a time */
    MOMENT_BYTES = 4 << 20, /* of plain weights that are packed at a time */
    MOMENT_ROWS = 64,     /* input rows and output columns of a task on those */
    MOMENT_COLS = 192
};

typedef struct {
    const mmi_weight *w;
    const void *packed;        /* NULL: plain */
    size_t first, outputs;     /* of the weight's rows, what is computed and packed there */
    const float *bias;         /* of the first */
    size_t column;             /* of the first output */
    size_t tile_cols, tile_rows;
    size_t col_tiles, row_tiles;
} part;

typedef struct {
    const mmi_run *run;
    const float *x;
    size_t stride, m, k; /* of x */
    const void *quantized;
    size_t quant_row, span;
    float *y;
    size_t n; /* columns of y */
    mmi_activation act;
    size_t parts;
    part part[MMI_LINEAR_PARTS];
} linear_job;

static int is_quantized(const mmi_weight *w) { return mmi_dtype_is_quantized(w->dtype); }

static void cut(part *p, size_t m)
{
    const mmi_weight *w = p->w;

    p->tile_rows = mmi_size_min(m, MANY_ROWS);
    if (p->packed && !w->packed) {
        p->tile_rows = MOMENT_ROWS;
        p->tile_cols = MOMENT_COLS;
    } else if (w->packed) {
        size_t unit = w->dtype == MM_DTYPE_Q8_ROW ? SPAN_COLS : is_quantized(w) ? MMI_PACK_ROWS : PACKED_COLS;
        size_t bytes = mmi_weight_group_bytes(w) * (unit / MMI_PACK_ROWS) * (1 + m / 16);
        p->tile_cols = bytes >= TASK_BYTES ? unit : TASK_BYTES / bytes * unit;
    } else if (m <= FEW_ROWS) {
        p->tile_cols = 1 + TASK_BYTES / (w->cols * mmi_dtype_get(w->dtype)->block_bytes + 1);
    } else {
        p->tile_cols = w->dtype == MM_DTYPE_F32 ? GEMM_COLS : WIDEN_COLS;
    }
    p->col_tiles = (p->outputs + p->tile_cols - 1) / p->tile_cols;
    p->row_tiles = p->tile_rows ? (m + p->tile_rows - 1) / p->tile_rows : 0;
}

static void finish(const linear_job *j, const part *p, size_t row0, size_t row1, size_t col0, size_t col1)
{
    for (size_t r = row0; r < row1; r++) {
        float *y = j->y + r * j->n + p->column + col0;
        if (p->bias) j->run->k->add(y, p->bias + col0, y, col1 - col0);
        if (j->act) j->run->k->activate(j->act, y, y, col1 - col0);
    }
}

static void plain_linear(const linear_job *j, const mmi_weight *w, size_t row0, size_t row1, size_t col0, size_t col1, float *y, int worker)
{
    const char *from = (const char *)w->data + col0 * w->cols * mmi_dtype_get(w->dtype)->block_bytes;
    const float *rows = (const float *)(const void *)from;

    if (j->m <= FEW_ROWS) {
        j->run->k->matmul_rows(w->dtype, from, w->cols, col1 - col0, j->x + row0 * j->stride, j->stride, row1 - row0, j->k, y, j->n);
        return;
    }
    if (w->dtype != MM_DTYPE_F32) {
        float *wide = mmi_run_worker(j->run, worker);
        (w->dtype == MM_DTYPE_F16 ? j->run->k->from_f16 : j->run->k->from_bf16)((const uint16_t *)(const void *)from, wide, (col1 - col0) * w->cols);
        rows = wide;
    }
    mmi_blas_gemm(0, 1, row1 - row0, col1 - col0, j->k, 1.0f, j->x + row0 * j->stride, j->stride, rows, w->cols, 0.0f, y, j->n);
}

static void linear_task(void *arg, size_t task, int worker)
{
    const linear_job *j = arg;
    const part *p = j->part;
    size_t row0, row1, col0, col1;
    const mmi_weight *w;
    float *y;

    while (task >= p->col_tiles * p->row_tiles) {
        task -= p->col_tiles * p->row_tiles;
        p++;
    }
    w = p->w;
    row0 = task % p->row_tiles * p->tile_rows;
    row1 = mmi_size_min(row0 + p->tile_rows, j->m);
    col0 = task / p->row_tiles * p->tile_cols;
    col1 = mmi_size_min(col0 + p->tile_cols, p->outputs);

    y = j->y + row0 * j->n + p->column;
    if (is_quantized(w)) {
        mmi_quant_tile t = {w->dtype, w->packed, w->rows, w->cols, col0 / MMI_PACK_ROWS, (col1 + MMI_PACK_ROWS - 1) / MMI_PACK_ROWS,
                            (const char *)j->quantized + row0 * j->quant_row, row1 - row0, y, j->n};
        (w->dtype == MM_DTYPE_Q8_ROW ? j->run->k->row_linear : j->run->k->quant_linear)(&t);
    } else if (p->packed) {
        mmi_float_tile t = {w->dtype, p->packed, p->outputs, w->cols, col0 / MMI_PACK_ROWS, (col1 + MMI_PACK_ROWS - 1) / MMI_PACK_ROWS,
                            j->x + row0 * j->stride, j->stride, row1 - row0, y, j->n, 0, 0};
        j->run->k->float_linear(&t);
    } else {
        plain_linear(j, w, row0, row1, col0, col1, y + col0, worker);
    }
    finish(j, p, row0, row1, col0, col1);
}

/* Of quantized rows of x, which are in front of what is packed. */
static size_t shared_rows_bytes(size_t m, size_t k) { return (m * mmi_quant_row_bytes(k) + 63) / 64 * 64; }

static void quantize_task(void *arg, size_t row, int worker)
{
    const linear_job *j = arg;
    (void)worker;
    j->run->k->quantize_row(j->x + row * j->stride, j->k, j->span, (char *)(uintptr_t)j->quantized + row * j->quant_row);
}

/* Whether a weight is packed for the moment. */
static int is_for_the_moment(const mmi_weight *w, size_t m, int level) { return !w->packed && m > FEW_ROWS && level > MM_CPU_REFERENCE; }

/* Outputs that are packed together, whole columns of tasks. */
static size_t moment_outputs(const mmi_weight *w)
{
    const size_t unit = mmi_weight_group_bytes(w) * (MOMENT_COLS / MMI_PACK_ROWS);
    return MOMENT_COLS * mmi_size_max(1, MOMENT_BYTES / unit);
}

static void pack_task(void *arg, size_t group, int worker)
{
    const linear_job *j = arg;
    const part *p = j->part;
    const size_t row = group * MMI_PACK_ROWS, stride = p->w->cols;
    (void)worker;
    j->run->k->float_pack(p->w->dtype, (const char *)p->w->data + (p->first + row) * stride * mmi_dtype_get(p->w->dtype)->block_bytes, stride,
                          mmi_size_min(MMI_PACK_ROWS, p->outputs - row), stride, (char *)(uintptr_t)p->packed + group * mmi_weight_group_bytes(p->w));
}

static void run_for_the_moment(mmi_run *run, linear_job j, part p)
{
    const size_t all = p.w->rows, step = moment_outputs(p.w);

    p.packed = (const char *)mmi_run_shared(run) + shared_rows_bytes(j.quantized ? j.m : 0, j.k);
    for (; p.first < all; p.first += step, p.column += step, p.bias += p.bias ? step : 0) {
        p.outputs = mmi_size_min(step, all - p.first);
        cut(&p, j.m);
        j.part[0] = p;
        mmi_run_tasks(run, pack_task, &j, (p.outputs + MMI_PACK_ROWS - 1) / MMI_PACK_ROWS);
        mmi_run_tasks(run, linear_task, &j, p.col_tiles * p.row_tiles);
    }
}

static mm_status run_linear(mmi_run *run, const mmi_node *n)
{
    linear_job j = {0};
    size_t tasks = 0, column = 0;
    int any_quantized = 0, spans = 0; /* whose scales serve blocks too */

    j.run = run;
    j.x = mmi_run_f32(run, n->inputs[0]);
    j.y = mmi_run_f32(run, n->output);
    j.act = (mmi_activation)n->i[0];
    j.parts = (size_t)n->i[1];
    (void)mmi_graph_rows(run->graph, n->inputs[0], &j.m, &j.k, &j.stride);
    for (size_t i = 0; i < j.parts; i++) {
        part *p = &j.part[i];
        p->w = mmi_graph_look(run->graph, n->inputs[1 + i])->weight;
        p->bias = mmi_run_f32(run, n->inputs[1 + j.parts + i]);
        p->packed = p->w->packed;
        p->outputs = p->w->rows;
        p->column = column;
        column += p->w->rows;
        any_quantized |= is_quantized(p->w);
        spans |= p->w->dtype == MM_DTYPE_Q8_ROW;
        if (is_for_the_moment(p->w, j.m, run->k->level)) continue; /* no tasks of the others' */
        cut(p, j.m);
        tasks += p->col_tiles * p->row_tiles;
    }
    j.n = column;
    if (any_quantized) {
        j.quantized = mmi_run_shared(run);
        j.quant_row = mmi_quant_row_bytes(j.k);
        j.span = spans ? MMI_QUANT_SPAN : 1;
        mmi_run_tasks(run, quantize_task, &j, j.m);
    }
    if (tasks) mmi_run_tasks(run, linear_task, &j, tasks);
    for (size_t i = 0; i < j.parts; i++)
        if (is_for_the_moment(j.part[i].w, j.m, run->k->level)) run_for_the_moment(run, j, j.part[i]);
    return MM_OK;
}

static void linear_scratch(const mmi_graph *g, const mmi_node *n, mmi_scratch *size)
{
    size_t m = 0, k = 0, stride = 0, quantized = 0, moment = 0;

    (void)mmi_graph_rows(g, n->inputs[0], &m, &k, &stride);
    for (size_t i = 0; i < (size_t)n->i[1]; i++) {
        const mmi_weight *w = mmi_graph_look(g, n->inputs[1 + i])->weight;
        if (is_quantized(w)) {
            quantized = shared_rows_bytes(m, k);
        } else if (is_for_the_moment(w, m, g->ctx->cpu_level)) {
            const size_t outputs = mmi_size_min(moment_outputs(w), w->rows);
            moment = mmi_size_max(moment, (outputs + MMI_PACK_ROWS - 1) / MMI_PACK_ROWS * mmi_weight_group_bytes(w));
        } else if (!w->packed && w->dtype != MM_DTYPE_F32 && m > FEW_ROWS) {
            size->worker = WIDEN_COLS * w->cols * sizeof(float);
        }
    }
    size->shared = quantized + moment;
}

static void linear_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy)
{
    size_t parts = (size_t)n->i[1];
    mmi_linear_gradient(g, n->inputs[0], n->inputs + 1, n->inputs + 1 + parts, parts, dy);
}

static const mmi_op linear_op = {"linear", run_linear, linear_scratch, 0, linear_gradient};

static mmi_value linear_node(mmi_graph *g, mmi_value x, const mmi_value *w, const mmi_value *biases, size_t parts, mmi_activation act)
{
    mmi_value in[1 + 2 * MMI_LINEAR_PARTS] = {0};
    int64_t shape[MMI_MAX_RANK], columns = 0;
    size_t rows, cols, stride;
    const mmi_value_info *v;
    mmi_node *n;
    char s[128], t[128];

    if (g->status) return 0;
    if (!mmi_graph_rows(g, x, &rows, &cols, &stride)) x = mmi_contiguous(g, x);
    if (g->status || !mmi_graph_rows(g, x, &rows, &cols, &stride)) return 0;
    v = mmi_graph_look(g, x);
    in[0] = x;
    for (size_t i = 0; i < parts; i++) {
        const mmi_value_info *wi = mmi_graph_look(g, w[i]), *bi = biases && biases[i] ? mmi_graph_look(g, biases[i]) : NULL;
        if (!wi->weight || wi->weight->rank < 2 || wi->weight->cols != cols)
            return mmi_graph_fail(g, MM_E_SHAPE, "linear: %s %s does not take %s", wi->weight ? wi->weight->name : "the weight",
                                  mmi_graph_shape_text(g, w[i], s), mmi_graph_shape_text(g, x, t));
        if (bi && (bi->dtype != MM_DTYPE_F32 || bi->rank != 1 || bi->shape[0] != wi->shape[0]))
            return mmi_graph_fail(g, MM_E_SHAPE, "linear: the bias %s does not fit %s", mmi_graph_shape_text(g, biases[i], s), wi->weight->name);
        in[1 + i] = w[i];
        in[1 + parts + i] = biases ? biases[i] : 0;
        columns += wi->shape[0];
    }
    memcpy(shape, v->shape, sizeof shape);
    shape[v->rank - 1] = columns;
    n = mmi_graph_node(g, &linear_op, in, 1 + 2 * parts, MM_DTYPE_F32, v->rank, shape);
    if (!n) return 0;
    n->i[0] = g->trains ? MMI_ACT_NONE : act;
    n->i[1] = (int64_t)parts;
    return g->trains && act ? mmi_activate(g, n->output, act) : n->output;
}

/* Low-rank terms beside the weights of parts (LoRA: Hu et al. 2021, arXiv:2106.09685): x W^T + scale (x A^T) B^T. */
static mmi_value adapted_linear(mmi_graph *g, mmi_value x, const mmi_value *w, const mmi_value *biases, size_t parts, mmi_activation act)
{
    mmi_value y[MMI_LINEAR_PARTS], out;

    for (size_t i = 0; i < parts; i++) {
        const mmi_weight *weight = mmi_graph_look(g, w[i])->weight;
        y[i] = linear_node(g, x, &w[i], biases ? &biases[i] : NULL, 1, MMI_ACT_NONE);
        if (weight && weight->lora_a) {
            mmi_value low = mmi_linear(g, mmi_dropout(g, x, g->dropout.adapters), mmi_graph_weight(g, weight->lora_a), 0, MMI_ACT_NONE); /* [.., r] */
            low = mmi_scale(g, low, weight->lora_scale);
            y[i] = mmi_add(g, y[i], mmi_linear(g, low, mmi_graph_weight(g, weight->lora_b), 0, MMI_ACT_NONE));
        }
    }
    if (g->status) return 0;
    out = parts > 1 ? mmi_concat(g, mmi_graph_look(g, y[0])->rank - 1, y, parts) : y[0];
    return act ? mmi_activate(g, out, act) : out;
}

mmi_value mmi_linear_parts(mmi_graph *g, mmi_value x, const mmi_value *w, const mmi_value *biases, size_t parts, mmi_activation act)
{
    for (size_t i = 0; i < parts && !g->status; i++) {
        const mmi_weight *weight = mmi_graph_look(g, w[i])->weight;
        if (weight && weight->lora_a) return adapted_linear(g, x, w, biases, parts, act);
    }
    return linear_node(g, x, w, biases, parts, act);
}

mmi_value mmi_linear(mmi_graph *g, mmi_value x, mmi_value w, mmi_value b, mmi_activation act)
{
    return mmi_linear_parts(g, x, &w, &b, 1, act);
}
