/* Both products pack one side and are cut into blocks by shape alone: float_product.h.
 * SPDX-License-Identifier: MIT */
#include "linear_gradient.h"

#include <string.h>

#include "float_product.h"
#include "grad.h"
#include "linear_op.h"
#include "row_gradients.h"
#include "shape_ops.h"
#include "size.h"

enum {
    PIECES = 64,             /* of weights, packed at a time */
    PACKED_FLOATS = 2 << 20, /* packed at a time, unless one piece alone is more */
    PACK_ROWS = 64,          /* in a task */
    WEIGHT_ROWS = 32,        /* of dw in a task */
    WEIGHT_DEPTH = 256,      /* rows of dy and x in a piece, at most */
    WEIGHT_PIECES = 2        /* packed at a time, at most: what a task reads of them stays in the second-level cache */
};

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
        mmi_product_run(j->run->k, &(mmi_product){p->dy, j->n, MMI_A_ROWS, p->packed, p->depth, j->k, row, mmi_size_min(row + MMI_PRODUCT_ROWS, j->m), col,
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
        const size_t step = mmi_size_even(w->rows, MMI_PRODUCT_DEPTH);
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
        largest = mmi_size_max(largest, mmi_product_floats(mmi_size_even(rows, MMI_PRODUCT_DEPTH), k));
    }
    size->shared = mmi_size_min(all, mmi_size_max(largest, PACKED_FLOATS)) * sizeof(float);
    size->worker = k * sizeof(float);
}

static const mmi_op input_op = {"linear_input_gradient", run_input, input_scratch, 0, NULL};

/* dw_part += dy_part^T x, for the parts that want it; i[..] are their first columns */

typedef struct {
    float *dw;
    size_t column, rows, tiles;
    size_t packed; /* where it stands in a row of what is packed, x being in front */
} weight_part;

typedef struct {
    const mmi_run *run;
    const float *dy, *x;
    float *packed;
    size_t m, n, stride, cols; /* dy [m, n], x [m, cols] with rows at this distance */
    size_t parts, width;       /* of a packed row */
    weight_part part[MMI_LINEAR_PARTS];
    size_t depth;              /* of a piece */
    size_t from, to;           /* rows that are packed now, in pieces */
} weight_job;

static void pack_both_task(void *arg, size_t task, int worker)
{
    const weight_job *j = arg;
    const size_t tasks = (j->depth + PACK_ROWS - 1) / PACK_ROWS, at = j->from + task / tasks * j->depth; /* the piece */
    const size_t depth = mmi_size_min(j->depth, j->to - at);
    float *packed = j->packed + (at - j->from) * j->width;
    (void)worker;

    for (size_t r = task % tasks * PACK_ROWS; r < (task % tasks + 1) * PACK_ROWS && r < depth; r++) {
        mmi_product_pack(j->run->k, j->x + (at + r) * j->stride, r, depth, j->cols, packed);
        for (size_t p = 0; p < j->parts; p++)
            mmi_product_pack(j->run->k, j->dy + (at + r) * j->n + j->part[p].column, r, depth, j->part[p].rows, packed + j->part[p].packed * depth);
    }
}

static void weight_task(void *arg, size_t task, int worker)
{
    const weight_job *j = arg;
    const size_t col_tiles = (j->cols + MMI_PRODUCT_COLS - 1) / MMI_PRODUCT_COLS;
    const weight_part *p = j->part;
    size_t row, col;
    (void)worker;

    for (; task >= p->tiles * col_tiles; p++) task -= p->tiles * col_tiles;
    row = task % p->tiles * WEIGHT_ROWS;
    col = task / p->tiles * MMI_PRODUCT_COLS;
    for (size_t at = j->from; at < j->to; at += j->depth) {
        const size_t depth = mmi_size_min(j->depth, j->to - at);
        const float *x = j->packed + (at - j->from) * j->width;
        mmi_product_run(j->run->k, &(mmi_product){x + p->packed * depth, p->rows, MMI_A_PACKED, x, depth, j->cols, row, mmi_size_min(row + WEIGHT_ROWS, p->rows), col,
                                                  mmi_size_min(col + MMI_PRODUCT_COLS, j->cols), p->dw, j->cols, 1});
    }
}

static void describe_weights(const mmi_graph *g, const mmi_node *n, weight_job *j)
{
    (void)mmi_graph_rows(g, n->inputs[1], &j->m, &j->cols, &j->stride);
    j->parts = n->n_inputs - 2;
    j->depth = mmi_size_even(j->m, WEIGHT_DEPTH);
    j->width = mmi_product_floats(1, j->cols);
    for (size_t p = 0; p < j->parts; p++) {
        const mmi_weight *w = mmi_graph_look(g, n->inputs[2 + p])->weight;
        j->part[p] = (weight_part){w->gradient, (size_t)n->i[p], w->rows, (w->rows + WEIGHT_ROWS - 1) / WEIGHT_ROWS, j->width};
        j->width += mmi_product_floats(1, w->rows);
    }
}

/* Rows that are packed at a time: whole pieces. */
static size_t weight_step(const weight_job *j) { return mmi_size_min(j->m, j->depth * mmi_size_min(WEIGHT_PIECES, mmi_size_max(1, PACKED_FLOATS / (j->depth * j->width + 1)))); }

static mm_status run_weight(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *dy = mmi_graph_look(run->graph, n->inputs[0]);
    weight_job j = {.run = run, .dy = mmi_run_f32(run, n->inputs[0]), .x = mmi_run_f32(run, n->inputs[1]), .packed = mmi_run_shared(run), .n = (size_t)dy->shape[dy->rank - 1]};
    size_t tiles = 0;

    describe_weights(run->graph, n, &j);
    for (size_t p = 0; p < j.parts; p++) tiles += j.part[p].tiles;
    for (; j.from < j.m; j.from = j.to) {
        j.to = mmi_size_min(j.m, j.from + weight_step(&j));
        mmi_run_tasks(run, pack_both_task, &j, (j.to - j.from + j.depth - 1) / j.depth * ((j.depth + PACK_ROWS - 1) / PACK_ROWS));
        mmi_run_tasks(run, weight_task, &j, tiles * ((j.cols + MMI_PRODUCT_COLS - 1) / MMI_PRODUCT_COLS));
    }
    return MM_OK;
}

static void weight_scratch(const mmi_graph *g, const mmi_node *n, mmi_scratch *size)
{
    weight_job j = {0};

    describe_weights(g, n, &j);
    size->shared = weight_step(&j) * j.width * sizeof(float);
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
    mmi_value in[2 + MMI_LINEAR_PARTS];
    int64_t columns[MMI_LINEAR_PARTS], column = 0;
    size_t wanted = 0;

    dy = mmi_contiguous(g, dy);
    if (g->status) return;
    in[0] = dy;
    in[1] = x;
    for (size_t i = 0; i < parts && !g->status; i++) {
        int64_t rows = mmi_graph_look(g, w[i])->shape[0];
        if (mmi_gradient_wanted(g, w[i])) {
            columns[wanted] = column;
            in[2 + wanted++] = w[i];
        }
        if (mmi_gradient_wanted(g, biases[i])) {
            int32_t last = mmi_graph_look(g, dy)->rank - 1;
            mmi_gradient_add(g, biases[i], mmi_sum_to(g, mmi_slice(g, dy, last, column, rows), 1, &rows));
        }
        column += rows;
    }
    if (wanted) {
        mmi_node *n = mmi_graph_node(g, &weight_op, in, 2 + wanted, MM_DTYPE_F32, 0, NULL);
        if (!n) return;
        memcpy(n->i, columns, wanted * sizeof *columns);
        n->effect = 1;
    }
    if (mmi_gradient_wanted(g, x)) input_gradient(g, x, w, parts, dy);
}
