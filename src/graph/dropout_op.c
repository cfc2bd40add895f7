/* The mask is never kept: the gradient, and a block that is computed again, draw it anew by the same numbers.
 * SPDX-License-Identifier: MIT */
#include "dropout_op.h"

#include <math.h>

#include "grad.h"
#include "random.h"
#include "shape_ops.h"
#include "size.h"

enum {
    ONE = 1 << 16, /* in which rates are counted: 16 bits of a random number decide on an element */
    LANES = 4,     /* elements that a number is for */
    TASK_DRAWS = 4096
};

typedef struct {
    const float *x;
    float *y;
    size_t count;
    uint64_t key, place, dropped; /* dropped: of ONE */
    float factor[2];              /* of an element that stays, of one that is dropped */
} dropout_job;

static void dropout_task(void *arg, size_t task, int worker)
{
    const dropout_job *j = arg;
    const size_t end = mmi_size_min(j->count, (task + 1) * TASK_DRAWS * LANES);
    (void)worker;

    for (size_t i = task * TASK_DRAWS * LANES; i < end; i += LANES) {
        uint64_t bits = mmi_random_at(j->key, j->place, i / LANES);
        for (size_t k = i; k < mmi_size_min(i + LANES, end); k++, bits >>= 16) j->y[k] = j->x[k] * j->factor[bits % ONE < j->dropped];
    }
}

static mm_status run_dropout(mmi_run *run, const mmi_node *n)
{
    dropout_job j = {mmi_run_f32(run, n->inputs[0]), mmi_run_f32(run, n->output), (size_t)mmi_graph_elements(run->graph, n->output),
                     run->values.dropout_key, (uint64_t)n->i[0], (uint64_t)n->i[1], {(float)ONE / (float)(ONE - n->i[1]), 0}};

    mmi_run_tasks(run, dropout_task, &j, (j.count + TASK_DRAWS * LANES - 1) / (TASK_DRAWS * LANES));
    return MM_OK;
}

static mmi_value dropout_node(mmi_graph *g, const mmi_op *op, mmi_value x, int64_t place, int64_t dropped)
{
    mmi_value_info v;
    mmi_node *n;

    x = mmi_contiguous(g, x);
    if (g->status) return 0;
    v = *mmi_graph_look(g, x);
    n = mmi_graph_node(g, op, &x, 1, MM_DTYPE_F32, v.rank, v.shape);
    if (!n) return 0;
    n->i[0] = place;
    n->i[1] = dropped;
    return n->output;
}

static void dropout_gradient(mmi_graph *g, const mmi_node *n, mmi_value dy) { mmi_gradient_add(g, n->inputs[0], dropout_node(g, n->op, dy, n->i[0], n->i[1])); }

static const mmi_op dropout_op = {"dropout", run_dropout, NULL, 1, dropout_gradient};

mmi_value mmi_dropout(mmi_graph *g, mmi_value x, float rate)
{
    const int64_t dropped = lroundf(rate * ONE);

    return g->trains && dropped ? dropout_node(g, &dropout_op, x, g->dropouts++, dropped) : x;
}
