/* Both products go through cblas, tile by tile; how they are cut depends on shapes alone.
 * SPDX-License-Identifier: MIT */
#include "linear_gradient.h"

#include "blas.h"
#include "grad.h"
#include "linear_op.h"
#include "row_gradients.h"
#include "shape_ops.h"
#include "size.h"

enum {
    TILE_ROWS = 512,  /* of dx in a task, at most */
    TILE_COLS = 192,
    WIDEN_ROWS = 64,  /* rows of a weight that is not plain f32 that are decoded at a time */
    WEIGHT_ROWS = 192, /* of dw in a task, at most */
    WEIGHT_COLS = 384
};

/* dx = sum over parts of dy_part w_part */

typedef struct {
    const mmi_run *run;
    const float *dy;
    float *dx;
    size_t m, n, k; /* dy [m, n], dx [m, k] */
    size_t row_tiles, col_tiles, tile_cols;
    size_t parts;
    const mmi_weight *w[MMI_LINEAR_PARTS];
} input_job;

static int is_plain(const mmi_weight *w) { return !w->packed && w->dtype == MM_DTYPE_F32; }

static void multiply_decoded(const input_job *j, const mmi_weight *w, const float *dy, size_t rows, float beta, float *dx, float *wide)
{
    for (size_t r = 0; r < w->rows; r += WIDEN_ROWS, beta = 1) {
        size_t n = mmi_size_min(WIDEN_ROWS, w->rows - r);
        for (size_t i = 0; i < n; i++) mmi_weight_read_row(w, r + i, wide + i * j->k);
        mmi_blas_gemm(0, 0, rows, j->k, n, 1.0f, dy + r, j->n, wide, j->k, beta, dx, j->k);
    }
}

static void input_task(void *arg, size_t task, int worker)
{
    const input_job *j = arg;
    size_t row = task % j->row_tiles * TILE_ROWS, rows = mmi_size_min(TILE_ROWS, j->m - row);
    size_t col = task / j->row_tiles * j->tile_cols, cols = mmi_size_min(j->tile_cols, j->k - col);
    const float *dy = j->dy + row * j->n;
    float *dx = j->dx + row * j->k + col;

    for (size_t p = 0; p < j->parts; p++) {
        const mmi_weight *w = j->w[p];
        if (is_plain(w)) mmi_blas_gemm(0, 0, rows, cols, w->rows, 1.0f, dy, j->n, (const float *)w->data + col, j->k, p ? 1.0f : 0.0f, dx, j->k);
        else multiply_decoded(j, w, dy, rows, p ? 1.0f : 0.0f, dx, mmi_run_worker(j->run, worker));
        dy += w->rows;
    }
}

static mm_status run_input(mmi_run *run, const mmi_node *n)
{
    input_job j = {.run = run, .dy = mmi_run_f32(run, n->inputs[0]), .dx = mmi_run_f32(run, n->output), .parts = n->n_inputs - 1};

    for (size_t p = 0; p < j.parts; p++) {
        j.w[p] = mmi_graph_look(run->graph, n->inputs[1 + p])->weight;
        j.n += j.w[p]->rows;
    }
    j.k = j.tile_cols = j.w[0]->cols;
    j.m = (size_t)mmi_graph_elements(run->graph, n->output) / j.k;
    if (!n->i[0]) j.tile_cols = TILE_COLS;
    j.row_tiles = (j.m + TILE_ROWS - 1) / TILE_ROWS;
    j.col_tiles = (j.k + j.tile_cols - 1) / j.tile_cols;
    mmi_run_tasks(run, input_task, &j, j.row_tiles * j.col_tiles);
    return MM_OK;
}

static void input_scratch(const mmi_graph *g, const mmi_node *n, mmi_scratch *size)
{
    if (n->i[0]) size->worker = WIDEN_ROWS * mmi_graph_look(g, n->inputs[1])->weight->cols * sizeof(float);
}

/* i[0]: a weight is decoded, which is done once for all columns */
static const mmi_op input_op = {"linear_input_gradient", run_input, input_scratch, 0, NULL};

/* dw += dy_part^T x; i[0] is the first column of the part */

typedef struct {
    const float *dy, *x;
    float *dw;
    size_t m, n, stride; /* dy [m, n], x [m] rows at this distance */
    size_t rows, cols, row_tiles;
} weight_job;

static void weight_task(void *arg, size_t task, int worker)
{
    const weight_job *j = arg;
    size_t row = task % j->row_tiles * WEIGHT_ROWS, col = task / j->row_tiles * WEIGHT_COLS;
    (void)worker;
    mmi_blas_gemm(1, 0, mmi_size_min(WEIGHT_ROWS, j->rows - row), mmi_size_min(WEIGHT_COLS, j->cols - col), j->m, 1.0f, j->dy + row, j->n, j->x + col,
                  j->stride, 1.0f, j->dw + row * j->cols + col, j->cols);
}

static mm_status run_weight(mmi_run *run, const mmi_node *n)
{
    const mmi_weight *w = mmi_graph_look(run->graph, n->inputs[2])->weight;
    const mmi_value_info *dy = mmi_graph_look(run->graph, n->inputs[0]);
    weight_job j = {mmi_run_f32(run, n->inputs[0]) + n->i[0], mmi_run_f32(run, n->inputs[1]), w->gradient, 0, (size_t)dy->shape[dy->rank - 1], 0, w->rows, w->cols, 0};
    size_t cols;

    (void)mmi_graph_rows(run->graph, n->inputs[1], &j.m, &cols, &j.stride);
    j.row_tiles = (j.rows + WEIGHT_ROWS - 1) / WEIGHT_ROWS;
    mmi_run_tasks(run, weight_task, &j, j.row_tiles * ((j.cols + WEIGHT_COLS - 1) / WEIGHT_COLS));
    return MM_OK;
}

static const mmi_op weight_op = {"linear_weight_gradient", run_weight, NULL, 0, NULL};

static void input_gradient(mmi_graph *g, mmi_value x, const mmi_value *w, size_t parts, mmi_value dy)
{
    mmi_value in[1 + MMI_LINEAR_PARTS] = {dy};
    mmi_value_info v = *mmi_graph_look(g, x);
    int decoded = 0;
    mmi_node *n;

    for (size_t i = 0; i < parts; i++) {
        in[1 + i] = w[i];
        decoded |= !is_plain(mmi_graph_look(g, w[i])->weight);
    }
    n = mmi_graph_node(g, &input_op, in, 1 + parts, MM_DTYPE_F32, v.rank, v.shape);
    if (!n) return;
    n->i[0] = decoded;
    mmi_gradient_add(g, x, n->output);
}

void mmi_linear_gradient(mmi_graph *g, mmi_value x, const mmi_value *w, const mmi_value *biases, size_t parts, mmi_value dy)
{
    int64_t column = 0;

    dy = mmi_contiguous(g, dy);
    if (g->status) return;
    for (size_t i = 0; i < parts && !g->status; i++) {
        const mmi_value in[3] = {dy, x, w[i]};
        int64_t rows = mmi_graph_look(g, w[i])->shape[0];
        if (mmi_gradient_wanted(g, w[i])) {
            mmi_node *n = mmi_graph_node(g, &weight_op, in, 3, MM_DTYPE_F32, 0, NULL);
            if (!n) return;
            n->i[0] = column;
            n->effect = 1;
        }
        if (mmi_gradient_wanted(g, biases[i])) {
            int32_t last = mmi_graph_look(g, dy)->rank - 1;
            mmi_gradient_add(g, biases[i], mmi_sum_to(g, mmi_slice(g, dy, last, column, rows), 1, &rows));
        }
        column += rows;
    }
    if (mmi_gradient_wanted(g, x)) input_gradient(g, x, w, parts, dy);
}
