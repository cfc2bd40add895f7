/* Probabilities are computed again, a tile of queries at a time. A task is one sequence and one head of keys with all its heads of queries, so that what keys and
 * values are given needs no sum across tasks; what tasks add to one place, a bias or a table, they keep apart and it is summed in their order.
 *
 * With P = softmax(S), S = cap(scale q k^T) + bias: dv = P^T do; dP = do v^T; dS = P (dP - rows' sums of P dP); dq = scale dS' k, dk = scale dS'^T q, where dS' is dS times the cap's slope.
 * SPDX-License-Identifier: MIT */
#include "attention_gradient.h"

#include <math.h>
#include <string.h>

#include "attention_op.h"
#include "blas.h"
#include "grad.h"
#include "shape_ops.h"
#include "size.h"

enum { TILE = 64 }; /* queries at a time */

enum { DQ, DK, DV, DBIAS, DTABLE, PARTS }; /* of the output, one behind another */

typedef struct {
    const mmi_run *run;
    const mmi_value_info *q, *k, *v, *bias, *table; /* bias and table NULL: none */
    const float *dy, *qd, *kd, *vd, *bd, *td;
    const int32_t *segments;
    float *out[PARTS];
    float *partial;       /* of bias and table, sum_size for each task; NULL: not wanted */
    size_t bias_size, table_size;
    size_t sequences, key_heads, group, dim, value_dim, queries, keys;
    size_t most_keys;     /* of a sequence */
    const mmi_node *node;
} job;

/* A sequence: its batch row, first query and key there, and how many. */
typedef struct {
    size_t batch, q0, k0, queries, keys, past;
} span;

static span span_of(const job *j, size_t s)
{
    span r = {s, 0, 0, j->queries, j->keys, j->keys > j->queries ? j->keys - j->queries : 0};

    if (!j->segments) return r;
    r.batch = 0;
    r.q0 = r.k0 = (size_t)j->segments[s];
    r.queries = r.keys = (size_t)j->segments[s + 1] - r.q0;
    r.past = 0;
    return r;
}

static size_t at(const mmi_value_info *v, size_t b, size_t t, size_t h)
{
    return (size_t)((int64_t)b * v->stride[0] + (int64_t)t * v->stride[1] + (int64_t)h * v->stride[2]);
}

/* Which keys query t (of its sequence) sees: [*first, *last). */
static void sees(const job *j, const span *s, size_t t, size_t *first, size_t *last)
{
    const size_t window = (size_t)j->node->i[2];

    *last = j->node->i[1] ? s->past + t + 1 : s->keys;
    *first = window && *last > window ? *last - window : 0;
}

static const float *bias_row(const job *j, const span *s, size_t t, size_t h)
{
    return j->bd + (int64_t)s->batch * j->bias->stride[0] + (int64_t)h * j->bias->stride[1] + (int64_t)(s->q0 + t) * j->bias->stride[2] + (int64_t)s->k0;
}

static size_t bucket(const job *j, const span *s, size_t t, size_t key)
{
    return mmi_distance_bucket((int64_t)key - (int64_t)(s->past + t), j->table->shape[0], j->node->i[4], (int)j->node->i[5]);
}

/* Scores to probabilities, in place; the cap's slopes go to `slope` where there is a cap. */
static void soften(const job *j, const span *s, size_t t, size_t h, float *p, float *slope)
{
    const float cap = j->node->f[1], *bias = j->bias ? bias_row(j, s, t, h) : NULL;
    size_t first, last;
    float top = -INFINITY;

    sees(j, s, t, &first, &last);
    for (size_t k = first; k < last; k++) {
        if (cap > 0) {
            const float c = tanhf(p[k] / cap);
            slope[k] = 1 - c * c;
            p[k] = cap * c;
        }
        if (bias) p[k] += bias[k];
        if (j->table) p[k] += j->td[bucket(j, s, t, k) * j->key_heads * j->group + h];
        top = p[k] > top ? p[k] : top;
    }
    memset(p, 0, first * sizeof *p);
    memset(p + last, 0, (s->keys - last) * sizeof *p);
    if (top == -INFINITY) memset(p, 0, s->keys * sizeof *p); /* sees nothing */
    else j->run->k->softmax(p + first, p + first, last - first);
}

/* Rows of P and dP to those of dS, times the cap's slope, in place of dP. */
static void through_softmax(const job *j, const span *s, size_t t, size_t h, const float *p, float *d, const float *slope, float *bias, float *table)
{
    const float mean = j->run->k->dot(p, d, s->keys);
    size_t first, last;

    sees(j, s, t, &first, &last);
    for (size_t k = 0; k < s->keys; k++) d[k] = p[k] * (d[k] - mean);
    if (bias) {
        float *row = bias + (bias_row(j, s, t, h) - j->bd);
        for (size_t k = first; k < last; k++) row[k] += d[k];
    }
    for (size_t k = first; table && k < last; k++) table[bucket(j, s, t, k) * j->key_heads * j->group + h] += d[k];
    for (size_t k = first; slope && k < last; k++) d[k] *= slope[k];
}

static void tile(const job *j, const span *s, size_t t0, size_t rows, size_t key_head, size_t h, float *scratch, float *partial)
{
    const size_t T = s->keys, heads = j->key_heads * j->group, row = s->q0 + t0;
    float *p = scratch, *d = p + TILE * j->most_keys, *slope = j->node->f[1] > 0 ? d + TILE * j->most_keys : NULL;
    float *bias = partial && j->bias_size ? partial : NULL, *table = partial && j->table_size ? partial + j->bias_size : NULL;
    const float *q = j->qd + at(j->q, s->batch, row, h), *k = j->kd + at(j->k, s->batch, s->k0, key_head), *v = j->vd + at(j->v, s->batch, s->k0, key_head);
    const float *dy = j->dy + ((s->batch * j->queries + row) * heads + h) * j->value_dim;
    float *dq = j->out[DQ] + ((s->batch * j->queries + row) * heads + h) * j->dim;
    float *dk = j->out[DK] + ((s->batch * j->keys + s->k0) * j->key_heads + key_head) * j->dim;
    float *dv = j->out[DV] + ((s->batch * j->keys + s->k0) * j->key_heads + key_head) * j->value_dim;
    const size_t ldq = (size_t)j->q->stride[1], ldk = (size_t)j->k->stride[1], ldv = (size_t)j->v->stride[1];

    mmi_blas_gemm(0, 1, rows, T, j->dim, j->node->f[0], q, ldq, k, ldk, 0, p, T);
    for (size_t r = 0; r < rows; r++) soften(j, s, t0 + r, h, p + r * T, slope ? slope + r * T : NULL);
    mmi_blas_gemm(1, 0, T, j->value_dim, rows, 1, p, T, dy, heads * j->value_dim, 1, dv, j->key_heads * j->value_dim);
    mmi_blas_gemm(0, 1, rows, T, j->value_dim, 1, dy, heads * j->value_dim, v, ldv, 0, d, T);
    for (size_t r = 0; r < rows; r++) through_softmax(j, s, t0 + r, h, p + r * T, d + r * T, slope ? slope + r * T : NULL, bias, table);
    mmi_blas_gemm(0, 0, rows, j->dim, T, j->node->f[0], d, T, k, ldk, 0, dq, heads * j->dim);
    mmi_blas_gemm(1, 0, T, j->dim, rows, j->node->f[0], d, T, q, ldq, 1, dk, j->key_heads * j->dim);
}

static void task(void *arg, size_t number, int worker)
{
    const job *j = arg;
    const size_t sums = j->bias_size + j->table_size, key_head = number % j->key_heads;
    const span s = span_of(j, number / j->key_heads);
    float *partial = sums ? j->partial + number * sums : NULL;

    if (partial) memset(partial, 0, sums * sizeof *partial);
    for (size_t t = 0; t < s.keys; t++) {
        const size_t row = (s.batch * j->keys + s.k0 + t) * j->key_heads + key_head;
        memset(j->out[DK] + row * j->dim, 0, j->dim * sizeof(float));
        memset(j->out[DV] + row * j->value_dim, 0, j->value_dim * sizeof(float));
    }
    if (!s.keys) return;
    for (size_t g = 0; g < j->group; g++)
        for (size_t t = 0; t < s.queries; t += TILE)
            tile(j, &s, t, mmi_size_min(TILE, s.queries - t), key_head, key_head * j->group + g, mmi_run_worker(j->run, worker), partial);
}

/* Sizes that the node keeps: i[6] bits of what is wanted of bias and table. */
static void describe(const mmi_graph *g, const mmi_node *n, job *j)
{
    j->node = n;
    j->q = mmi_graph_look(g, n->inputs[1]);
    j->k = mmi_graph_look(g, n->inputs[2]);
    j->v = mmi_graph_look(g, n->inputs[3]);
    j->bias = n->inputs[4] ? mmi_graph_look(g, n->inputs[4]) : NULL;
    j->table = n->inputs[6] ? mmi_graph_look(g, n->inputs[6]) : NULL;
    j->key_heads = (size_t)j->k->shape[2];
    j->group = (size_t)j->q->shape[2] / j->key_heads;
    j->dim = (size_t)j->q->shape[3];
    j->value_dim = (size_t)j->v->shape[3];
    j->sequences = n->inputs[5] ? (size_t)mmi_graph_elements(g, n->inputs[5]) - 1 : (size_t)j->q->shape[0];
    j->queries = (size_t)j->q->shape[1];
    j->keys = j->most_keys = (size_t)j->k->shape[1];
    if (n->i[6] & 1) j->bias_size = (size_t)mmi_graph_elements(g, n->inputs[4]);
    if (n->i[6] & 2) j->table_size = (size_t)mmi_graph_elements(g, n->inputs[6]);
}

static mm_status run_gradient(mmi_run *run, const mmi_node *n)
{
    mmi_value_info bias;
    job j = {.run = run};
    size_t sums, tasks;

    describe(run->graph, n, &j);
    j.dy = mmi_run_f32(run, n->inputs[0]);
    j.qd = mmi_run_f32(run, n->inputs[1]);
    j.kd = mmi_run_f32(run, n->inputs[2]);
    j.vd = mmi_run_f32(run, n->inputs[3]);
    j.segments = mmi_run_i32(run, n->inputs[5]);
    j.td = mmi_run_f32(run, n->inputs[6]);
    if (j.bias) {
        j.bd = mmi_run_f32(run, n->inputs[4]);
        bias = *j.bias;
        for (int d = 0; d < 3; d++)
            if (bias.shape[d] == 1) bias.stride[d] = 0;
        j.bias = &bias;
    }
    j.out[DQ] = mmi_run_f32(run, n->output);
    j.out[DK] = j.out[DQ] + mmi_graph_elements(run->graph, n->inputs[1]);
    j.out[DV] = j.out[DK] + mmi_graph_elements(run->graph, n->inputs[2]);
    j.out[DBIAS] = j.out[DV] + mmi_graph_elements(run->graph, n->inputs[3]);
    sums = j.bias_size + j.table_size;
    tasks = j.sequences * j.key_heads;
    j.partial = mmi_run_shared(run);
    mmi_run_tasks(run, task, &j, tasks);
    if (!sums) return MM_OK;
    memset(j.out[DBIAS], 0, sums * sizeof(float));
    for (size_t i = 0; i < tasks; i++) run->k->add(j.out[DBIAS], j.partial + i * sums, j.out[DBIAS], sums);
    return MM_OK;
}

static void gradient_scratch(const mmi_graph *g, const mmi_node *n, mmi_scratch *size)
{
    job j = {0};

    describe(g, n, &j);
    size->worker = (n->f[1] > 0 ? 3 : 2) * TILE * j.most_keys * sizeof(float);
    size->shared = j.sequences * j.key_heads * (j.bias_size + j.table_size) * sizeof(float);
}

static const mmi_op gradient_op = {"attention_gradient", run_gradient, gradient_scratch, 0, NULL};

void mmi_attention_gradient(mmi_graph *g, const mmi_node *node, mmi_value dy)
{
    const mmi_value in[7] = {mmi_contiguous(g, dy), node->inputs[0], node->inputs[1], node->inputs[2], node->inputs[3], node->inputs[4], node->inputs[5]};
    static const int input[PARTS] = {0, 1, 2, 3, 5}; /* of the node, for each part */
    int64_t wanted = 0, total = 0;
    mmi_value all;
    mmi_node *n;

    if (g->status) return;
    if (node->i[0]) {
        mmi_graph_fail(g, MM_E_INTERNAL, "attention over a cache has no gradient");
        return;
    }
    if (mmi_gradient_wanted(g, node->inputs[3])) wanted |= 1;
    if (mmi_gradient_wanted(g, node->inputs[5])) wanted |= 2;
    for (int i = 0; i < PARTS; i++)
        if (i < DBIAS || (wanted >> (i - DBIAS) & 1)) total += mmi_graph_elements(g, node->inputs[input[i]]);
    n = mmi_graph_node(g, &gradient_op, in, 7, MM_DTYPE_F32, 1, &total);
    if (!n) return;
    memcpy(n->i, node->i, sizeof n->i);
    memcpy(n->f, node->f, sizeof n->f);
    n->i[6] = wanted;
    all = n->output;
    total = 0;
    for (int i = 0; i < PARTS && !g->status; i++) {
        mmi_value v = node->inputs[input[i]];
        mmi_value_info shape;
        int64_t elements;
        if (i >= DBIAS && !(wanted >> (i - DBIAS) & 1)) continue;
        shape = *mmi_graph_look(g, v);
        elements = mmi_graph_elements(g, v);
        if (mmi_gradient_wanted(g, v)) mmi_gradient_add(g, v, mmi_reshape(g, mmi_slice(g, all, 0, total, elements), shape.rank, shape.shape));
        total += elements;
    }
}
