/* Both products pack one side and are cut into blocks by shape alone: float_product.h.
 * SPDX-License-Identifier: MIT */
#include "linear_gradient.h"

#include "float_product.h"
#include "grad.h"
#include "linear_op.h"
#include "row_gradients.h"
#include "shape_ops.h"
#include "size.h"

enum {
    PIECES = 64,             /* of weights, packed at a time */
    PACKED_FLOATS = 1 << 20, /* of those, unless one alone is more */
    PACK_ROWS = 64,          /* in a task */
    WEIGHT_ROWS = 32,        /* of dw in a task */
    MOST_DEPTH = 256,        /* rows of dy and x, packed at a time */
    LEAST_DEPTH = 64
};

/* `total` cut evenly into parts of at most `most` */
static size_t even(size_t total, size_t most)
{
    const size_t parts = (total + most - 1) / most;
    return parts ? (total + parts - 1) / parts : 1;
}

/* dx = sum over parts of dy_part w_part */

typedef struct {
    const mmi_weight *w;
    size_t row, depth;
    const float *dy;
    float *packed;
} piece;

typedef struct {
    const mmi_run *run;
    float *dx;
    size_t m, n, k; /* dy [m, n], dx [m, k] */
    size_t row_tiles;
    piece pieces[PIECES];
    size_t count;
    int add; /* pieces went before these */
} input_job;

static void pack_task(void *arg, size_t task, int worker)
{
    const input_job *j = arg;
    const size_t tasks = (MMI_PRODUCT_DEPTH + PACK_ROWS - 1) / PACK_ROWS; /* of a piece, at most */
    const piece *p = &j->pieces[task / tasks];
    float *decoded = mmi_run_worker(j->run, worker);

    for (size_t r = task % tasks * PACK_ROWS; r < (task % tasks + 1) * PACK_ROWS && r < p->depth; r++) {
        const float *row = decoded;
        if (p->w->dtype == MM_DTYPE_F32 && !p->w->packed) row = (const float *)p->w->data + (p->row + r) * j->k;
        else mmi_weight_read_row(p->w, p->row + r, decoded);
        mmi_product_pack(j->run->k, row, r, p->depth, j->k, p->packed);
    }
}

static void input_task(void *arg, size_t task, int worker)
{
    const input_job *j = arg;
    const size_t row = task % j->row_tiles * MMI_PRODUCT_ROWS, col = task / j->row_tiles * MMI_PRODUCT_COLS;
    (void)worker;

    for (size_t i = 0; i < j->count; i++) {
        const piece *p = &j->pieces[i];
        mmi_product_run(j->run->k, &(mmi_product){p->dy, j->n, 0, p->packed, p->depth, j->k, row, mmi_size_min(row + MMI_PRODUCT_ROWS, j->m), col,
                                                  mmi_size_min(col + MMI_PRODUCT_COLS, j->k), j->dx, j->k, j->add || i});
    }
}

static void run_pieces(mmi_run *run, input_job *j)
{
    j->row_tiles = (j->m + MMI_PRODUCT_ROWS - 1) / MMI_PRODUCT_ROWS;
    mmi_run_tasks(run, pack_task, j, j->count * ((MMI_PRODUCT_DEPTH + PACK_ROWS - 1) / PACK_ROWS));
    mmi_run_tasks(run, input_task, j, j->row_tiles * ((j->k + MMI_PRODUCT_COLS - 1) / MMI_PRODUCT_COLS));
    j->count = 0;
    j->add = 1;
}

static mm_status run_input(mmi_run *run, const mmi_node *n)
{
    const float *dy = mmi_run_f32(run, n->inputs[0]);
    input_job j = {.run = run, .dx = mmi_run_f32(run, n->output)};
    float *packed = mmi_run_shared(run);
    size_t used = 0;

    for (size_t p = 1; p < n->n_inputs; p++) j.n += mmi_graph_look(run->graph, n->inputs[p])->weight->rows;
    j.k = mmi_graph_look(run->graph, n->inputs[1])->weight->cols;
    j.m = (size_t)mmi_graph_elements(run->graph, n->output) / j.k;
    for (size_t p = 1; p < n->n_inputs; p++) {
        const mmi_weight *w = mmi_graph_look(run->graph, n->inputs[p])->weight;
        const size_t step = even(w->rows, MMI_PRODUCT_DEPTH);
        for (size_t row = 0; row < w->rows; row += step) {
            const size_t depth = mmi_size_min(step, w->rows - row), floats = mmi_product_floats(depth, j.k);
            if (j.count == PIECES || (j.count && used + floats > PACKED_FLOATS)) {
                run_pieces(run, &j);
                used = 0;
            }
            j.pieces[j.count++] = (piece){w, row, depth, dy + row, packed + used};
            used += floats;
        }
        dy += w->rows;
    }
    run_pieces(run, &j);
    return MM_OK;
}

static void input_scratch(const mmi_graph *g, const mmi_node *n, mmi_scratch *size)
{
    const size_t k = mmi_graph_look(g, n->inputs[1])->weight->cols;
    size_t all = 0, largest = 0;

    for (size_t p = 1; p < n->n_inputs; p++) {
        const size_t rows = mmi_graph_look(g, n->inputs[p])->weight->rows;
        all += mmi_product_floats(rows, k);
        largest = mmi_size_max(largest, mmi_product_floats(even(rows, MMI_PRODUCT_DEPTH), k));
    }
    size->shared = mmi_size_min(all, mmi_size_max(largest, PACKED_FLOATS)) * sizeof(float);
    size->worker = k * sizeof(float);
}

static const mmi_op input_op = {"linear_input_gradient", run_input, input_scratch, 0, NULL};

/* dw += dy_part^T x; i[0] is the first column of the part */

typedef struct {
    const mmi_run *run;
    const float *dy, *x;
    float *dw, *packed_dy, *packed_x;
    size_t m, n, stride; /* dy [m, n], x [m] rows at this distance */
    size_t rows, cols, row_tiles;
    size_t from, depth;  /* rows of both, now */
} weight_job;

static void pack_both_task(void *arg, size_t task, int worker)
{
    const weight_job *j = arg;
    (void)worker;
    for (size_t r = task * PACK_ROWS; r < (task + 1) * PACK_ROWS && r < j->depth; r++) {
        mmi_product_pack(j->run->k, j->dy + (j->from + r) * j->n, r, j->depth, j->rows, j->packed_dy);
        mmi_product_pack(j->run->k, j->x + (j->from + r) * j->stride, r, j->depth, j->cols, j->packed_x);
    }
}

static void weight_task(void *arg, size_t task, int worker)
{
    const weight_job *j = arg;
    const size_t row = task % j->row_tiles * WEIGHT_ROWS, col = task / j->row_tiles * MMI_PRODUCT_COLS;
    (void)worker;
    mmi_product_run(j->run->k, &(mmi_product){j->packed_dy, j->rows, 1, j->packed_x, j->depth, j->cols, row, mmi_size_min(row + WEIGHT_ROWS, j->rows), col,
                                              mmi_size_min(col + MMI_PRODUCT_COLS, j->cols), j->dw, j->cols, 1});
}

static size_t depth_of(size_t m, size_t rows, size_t cols) { return even(m, mmi_size_max(LEAST_DEPTH, mmi_size_min(MOST_DEPTH, PACKED_FLOATS / (rows + cols)))); }

static mm_status run_weight(mmi_run *run, const mmi_node *n)
{
    const mmi_weight *w = mmi_graph_look(run->graph, n->inputs[2])->weight;
    const mmi_value_info *dy = mmi_graph_look(run->graph, n->inputs[0]);
    weight_job j = {.run = run, .dy = mmi_run_f32(run, n->inputs[0]) + n->i[0], .x = mmi_run_f32(run, n->inputs[1]), .dw = w->gradient,
                    .n = (size_t)dy->shape[dy->rank - 1], .rows = w->rows, .cols = w->cols, .row_tiles = (w->rows + WEIGHT_ROWS - 1) / WEIGHT_ROWS};
    size_t cols, step;

    (void)mmi_graph_rows(run->graph, n->inputs[1], &j.m, &cols, &j.stride);
    step = depth_of(j.m, j.rows, j.cols);
    j.packed_dy = mmi_run_shared(run);
    j.packed_x = j.packed_dy + mmi_product_floats(step, j.rows);
    for (; j.from < j.m; j.from += step) {
        j.depth = mmi_size_min(step, j.m - j.from);
        mmi_run_tasks(run, pack_both_task, &j, (j.depth + PACK_ROWS - 1) / PACK_ROWS);
        mmi_run_tasks(run, weight_task, &j, j.row_tiles * ((j.cols + MMI_PRODUCT_COLS - 1) / MMI_PRODUCT_COLS));
    }
    return MM_OK;
}

static void weight_scratch(const mmi_graph *g, const mmi_node *n, mmi_scratch *size)
{
    const mmi_weight *w = mmi_graph_look(g, n->inputs[2])->weight;
    size_t m, cols, stride;

    (void)mmi_graph_rows(g, n->inputs[1], &m, &cols, &stride);
    m = depth_of(m, w->rows, w->cols);
    size->shared = (mmi_product_floats(m, w->rows) + mmi_product_floats(m, w->cols)) * sizeof(float);
}

static const mmi_op weight_op = {"linear_weight_gradient", run_weight, weight_scratch, 0, NULL};

static void input_gradient(mmi_graph *g, mmi_value x, const mmi_value *w, size_t parts, mmi_value dy)
{
    mmi_value in[1 + MMI_LINEAR_PARTS] = {dy};
    mmi_value_info v = *mmi_graph_look(g, x);
    mmi_node *n;

    for (size_t i = 0; i < parts; i++) in[1 + i] = w[i];
    n = mmi_graph_node(g, &input_op, in, 1 + parts, MM_DTYPE_F32, v.rank, v.shape);
    if (n) mmi_gradient_add(g, x, n->output);
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
