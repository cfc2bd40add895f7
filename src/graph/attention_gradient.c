/* Probabilities are computed again, a tile of queries at a time. A task is one sequence and one head of keys with all its heads of queries, so that what keys and
 * values are given needs no sum across tasks; what tasks add to one place, a bias or a table, they keep apart and it is summed in their order.
 *
 * With P = softmax(S), S = cap(scale q k^T) + bias: dv = P^T do; dP = do v^T; dS = P (dP - rows' sums of P dP); dq = scale dS' k, dk = scale dS'^T q, where dS' is dS times the cap's slope.
 * SPDX-License-Identifier: MIT */
#include "attention_gradient.h"

#include <math.h>
#include <string.h>

#include "attention_op.h"
#include "float_product.h"
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
    size_t step[DBIAS];   /* of the first three, from token to token */
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

/* Scores of the first `seen` keys to probabilities, in place; the cap's slopes go to `slope` where there is a cap. */
static void soften(const job *j, const span *s, size_t t, size_t h, size_t seen, float *p, float *slope)
{
    const float cap = j->node->f[1], *bias = j->bias ? bias_row(j, s, t, h) : NULL;
    const int plain = cap <= 0 && !bias && !j->table;
    size_t first, last;
    float top = plain ? 0 : -INFINITY;

    sees(j, s, t, &first, &last);
    for (size_t k = first; k < last && !plain; k++) {
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
    memset(p + last, 0, (seen - last) * sizeof *p);
    if (top == -INFINITY) memset(p, 0, seen * sizeof *p); /* sees nothing */
    else j->run->k->softmax(p + first, p + first, last - first);
}

/* Rows of P and dP to those of scale dS, times the cap's slope, in place of dP. */
static void through_softmax(const job *j, const span *s, size_t t, size_t h, size_t seen, const float *p, float *d, const float *slope, float *bias, float *table)
{
    const int plain = !slope && !bias && !table;
    size_t first, last;

    j->run->k->softmax_gradient(p, d, plain ? j->node->f[0] : 1, d, seen);
    if (plain) return;
    sees(j, s, t, &first, &last);
    if (bias) {
        float *row = bias + (bias_row(j, s, t, h) - j->bd);
        for (size_t k = first; k < last; k++) row[k] += d[k];
    }
    for (size_t k = first; table && k < last; k++) table[bucket(j, s, t, k) * j->key_heads * j->group + h] += d[k];
    for (size_t k = first; slope && k < last; k++) d[k] *= slope[k];
    j->run->k->scale(d, j->node->f[0], d, seen);
}

/* What a worker has: keys, their transpose times the scale, and the transpose of values, of a sequence and head; queries and dy of a tile, all packed; then P, dP and slopes. */
typedef struct {
    float *keys, *scaled, *values, *q, *dy, *p, *d, *slope;
    size_t row; /* floats of a row of P */
} scratch;

static scratch take_scratch(const job *j, float *from, size_t *floats)
{
    const size_t row = mmi_product_floats(1, j->most_keys), sizes[8] = {
        mmi_product_floats(j->most_keys, j->dim), mmi_product_floats(j->dim, j->most_keys), mmi_product_floats(j->value_dim, j->most_keys),
        mmi_product_floats(TILE, j->dim), mmi_product_floats(TILE, j->value_dim), TILE * row, TILE * row, j->node->f[1] > 0 ? TILE * row : 0};
    float *parts[8];

    *floats = 0;
    for (int i = 0; i < 8; i++) {
        parts[i] = from && sizes[i] ? from + *floats : NULL;
        *floats += sizes[i];
    }
    return (scratch){parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], parts[6], parts[7], row};
}

static void tile(const job *j, const span *s, size_t t0, size_t rows, size_t key_head, size_t h, const scratch *c, float *partial)
{
    const mmi_kernels *k = j->run->k;
    const size_t heads = j->key_heads * j->group, row = s->q0 + t0, dim = j->dim, value_dim = j->value_dim;
    const size_t seen = j->node->i[1] ? mmi_size_min(s->past + t0 + rows, s->keys) : s->keys; /* by any of these queries */
    const size_t ldq = (size_t)j->q->stride[1], ldy = heads * value_dim;
    float *bias = partial && j->bias_size ? partial : NULL, *table = partial && j->table_size ? partial + j->bias_size : NULL;
    const float *q = j->qd + at(j->q, s->batch, row, h), *dy = j->dy + ((s->batch * j->queries + row) * heads + h) * value_dim;
    float *dq = j->out[DQ] + (s->batch * j->queries + row) * j->step[DQ] + h * dim;
    float *dk = j->out[DK] + (s->batch * j->keys + s->k0) * j->step[DK] + key_head * dim;
    float *dv = j->out[DV] + (s->batch * j->keys + s->k0) * j->step[DV] + key_head * value_dim;

    for (size_t r = 0; r < rows; r++) {
        mmi_product_pack(k, q + r * ldq, r, rows, dim, c->q);
        mmi_product_pack(k, dy + r * ldy, r, rows, value_dim, c->dy);
    }
    mmi_product_run(k, &(mmi_product){q, ldq, MMI_A_ROWS, c->scaled, dim, s->keys, 0, rows, 0, seen, c->p, c->row, 0});
    for (size_t r = 0; r < rows; r++) soften(j, s, t0 + r, h, seen, c->p + r * c->row, c->slope ? c->slope + r * c->row : NULL);
    mmi_product_run(k, &(mmi_product){c->p, c->row, MMI_A_COLUMNS, c->dy, rows, value_dim, 0, seen, 0, value_dim, dv, j->step[DV], 1});
    mmi_product_run(k, &(mmi_product){dy, ldy, MMI_A_ROWS, c->values, value_dim, s->keys, 0, rows, 0, seen, c->d, c->row, 0});
    for (size_t r = 0; r < rows; r++) {
        float *d = c->d + r * c->row;
        through_softmax(j, s, t0 + r, h, seen, c->p + r * c->row, d, c->slope ? c->slope + r * c->row : NULL, bias, table);
        memset(d + seen, 0, (s->keys - seen) * sizeof *d);
    }
    mmi_product_run(k, &(mmi_product){c->d, c->row, MMI_A_ROWS, c->keys, s->keys, dim, 0, rows, 0, dim, dq, j->step[DQ], 0});
    mmi_product_run(k, &(mmi_product){c->d, c->row, MMI_A_COLUMNS, c->q, rows, dim, 0, seen, 0, dim, dk, j->step[DK], 1});
}

static void task(void *arg, size_t number, int worker)
{
    const job *j = arg;
    const mmi_kernels *k = j->run->k;
    const size_t sums = j->bias_size + j->table_size, key_head = number % j->key_heads;
    const span s = span_of(j, number / j->key_heads);
    const size_t step = mmi_size_even(s.queries, TILE);
    float *partial = sums ? j->partial + number * sums : NULL;
    size_t floats;
    const scratch c = take_scratch(j, mmi_run_worker(j->run, worker), &floats);

    if (partial) memset(partial, 0, sums * sizeof *partial);
    for (size_t t = 0; t < s.keys; t++) {
        const size_t row = s.batch * j->keys + s.k0 + t;
        memset(j->out[DK] + row * j->step[DK] + key_head * j->dim, 0, j->dim * sizeof(float));
        memset(j->out[DV] + row * j->step[DV] + key_head * j->value_dim, 0, j->value_dim * sizeof(float));
        mmi_product_pack(k, j->kd + at(j->k, s.batch, s.k0 + t, key_head), t, s.keys, j->dim, c.keys);
    }
    if (!s.keys) return;
    mmi_product_pack_transpose(k, j->kd + at(j->k, s.batch, s.k0, key_head), (size_t)j->k->stride[1], j->dim, s.keys, c.scaled);
    k->scale(c.scaled, j->node->f[0], c.scaled, mmi_product_floats(j->dim, s.keys));
    mmi_product_pack_transpose(k, j->vd + at(j->v, s.batch, s.k0, key_head), (size_t)j->v->stride[1], j->value_dim, s.keys, c.values);
    for (size_t g = 0; g < j->group; g++)
        for (size_t t = 0; t < s.queries; t += step) tile(j, &s, t, mmi_size_min(step, s.queries - t), key_head, key_head * j->group + g, &c, partial);
}

/* Sizes that the node keeps: i[6] bits of what is wanted of bias and table, i[7] that the output is the gradient of what queries, keys and values are slices of. */
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
    j.step[DQ] = j.key_heads * j.group * j.dim;
    j.step[DK] = j.key_heads * j.dim;
    j.step[DV] = j.key_heads * j.value_dim;
    if (n->i[7]) {
        j.out[DK] = j.out[DQ] + j.step[DQ];
        j.out[DV] = j.out[DK] + j.step[DK];
        j.step[DQ] = j.step[DK] = j.step[DV] = j.step[DQ] + j.step[DK] + j.step[DV];
    } else {
        j.out[DK] = j.out[DQ] + mmi_graph_elements(run->graph, n->inputs[1]);
        j.out[DV] = j.out[DK] + mmi_graph_elements(run->graph, n->inputs[2]);
        j.out[DBIAS] = j.out[DV] + mmi_graph_elements(run->graph, n->inputs[3]);
    }
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
    (void)take_scratch(&j, NULL, &size->worker);
    size->worker *= sizeof(float);
    size->shared = j.sequences * j.key_heads * (j.bias_size + j.table_size) * sizeof(float);
}

static const mmi_op gradient_op = {"attention_gradient", run_gradient, gradient_scratch, 0, NULL};

/* Whether queries, keys and values are all of one value, side by side in each token in this order. */
static int are_slices(const mmi_graph *g, const mmi_value *in)
{
    const mmi_value base = mmi_graph_look(g, in[0])->base;
    const mmi_value_info *whole = mmi_graph_look(g, base);
    int64_t at = 0;

    for (int i = 0; i < 3; i++) {
        const mmi_value_info *v = mmi_graph_look(g, in[i]);
        if (v->base != base || whole->rank != 3 || v->offset != at || v->shape[1] != whole->shape[1] || v->stride[0] != whole->stride[0] || v->stride[1] != whole->stride[1] ||
            v->stride[2] != v->shape[3])
            return 0;
        at += v->shape[2] * v->shape[3];
    }
    return at == whole->shape[2];
}

void mmi_attention_gradient(mmi_graph *g, const mmi_node *node, mmi_value dy)
{
    const mmi_value in[7] = {mmi_contiguous(g, dy), node->inputs[0], node->inputs[1], node->inputs[2], node->inputs[3], node->inputs[4], node->inputs[5]};
    static const int input[PARTS] = {0, 1, 2, 3, 5}; /* of the node, for each part */
    int64_t wanted = 0, total = 0;
    mmi_value_info shape;
    mmi_value all, whole;
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
    whole = wanted || !are_slices(g, node->inputs) ? 0 : mmi_graph_look(g, node->inputs[0])->base;
    if (whole) shape = *mmi_graph_look(g, whole);
    n = mmi_graph_node(g, &gradient_op, in, 7, MM_DTYPE_F32, whole ? shape.rank : 1, whole ? shape.shape : &total);
    if (!n) return;
    memcpy(n->i, node->i, sizeof n->i);
    memcpy(n->f, node->f, sizeof n->f);
    n->i[6] = wanted;
    n->i[7] = whole != 0;
    all = n->output;
    if (whole) {
        mmi_gradient_add(g, whole, all);
        return;
    }
    total = 0;
    for (int i = 0; i < PARTS && !g->status; i++) {
        mmi_value v = node->inputs[input[i]];
        int64_t elements;
        if (i >= DBIAS && !(wanted >> (i - DBIAS) & 1)) continue;
        shape = *mmi_graph_look(g, v);
        elements = mmi_graph_elements(g, v);
        if (mmi_gradient_wanted(g, v)) mmi_gradient_add(g, v, mmi_reshape(g, mmi_slice(g, all, 0, total, elements), shape.rank, shape.shape));
        total += elements;
    }
}
