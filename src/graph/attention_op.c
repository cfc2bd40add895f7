/* Keys of a sequence are packed as the kernel reads them (or lie so in the cache), then each task takes a tile of query rows:
 * all query heads of a key head together, so that a key block is read once for them.
 * SPDX-License-Identifier: MIT */
#include "attention_op.h"

#include <math.h>
#include <string.h>

#include "attention_gradient.h"
#include "kernels.h"
#include "kv_cache.h"
#include "shape_ops.h"
#include "size.h"

typedef struct {
    const mmi_run *run;
    const mmi_value_info *q, *k, *v, *bias; /* bias NULL: none */
    const float *qd, *kd, *vd, *bd;
    float *by_distance;      /* [heads][distances], from -(past + queries) on; NULL: none */
    size_t distances, zero;  /* and where distance 0 stands */
    float *out;
    size_t dim, value_dim, heads, key_heads, group;
    size_t sequences;
    const int32_t *segments; /* NULL: the batch is the list of sequences */
    size_t queries, keys;    /* tokens of a sequence, when it is */
    mmi_kv_cache *const *caches; /* NULL: packed in shared scratch */
    int across;              /* the caches are whole, of another sequence */
    size_t layer;
    size_t blocks;           /* key blocks in scratch, of a key head */
    float *packed_keys, *packed_values;
    int causal;
    size_t window;
    float scale, softcap;
} attention_job;

/* Sequence s: where its tokens begin in the batch row, how many queries and keys it has, and its first block in scratch. */
typedef struct {
    size_t batch, q0, queries, k0, keys, past, block;
} sequence;

static sequence sequence_of(const attention_job *j, size_t s)
{
    sequence q = {s, 0, j->queries, 0, j->keys, 0, 0};

    if (j->segments) {
        q.batch = 0;
        q.q0 = q.k0 = (size_t)j->segments[s];
        q.queries = q.keys = (size_t)j->segments[s + 1] - q.q0;
        q.block = q.k0 / MMI_KEY_BLOCK + s; /* leaves each segment room for its last, partial block */
    } else if (j->across) {
        q.keys = j->caches[s]->length;
    } else if (j->caches) {
        q.past = j->caches[s]->length;
        q.keys = q.past + j->queries;
    } else {
        q.past = j->keys > j->queries ? j->keys - j->queries : 0;
        q.block = s * ((j->keys + MMI_KEY_BLOCK - 1) / MMI_KEY_BLOCK);
    }
    return q;
}

static float *keys_in_scratch(const attention_job *j, const sequence *s, size_t head)
{
    return j->packed_keys + (head * j->blocks + s->block) * MMI_KEY_BLOCK * j->dim;
}

static float *values_in_scratch(const attention_job *j, const sequence *s, size_t head)
{
    return j->packed_values + (head * j->blocks + s->block) * MMI_KEY_BLOCK * j->value_dim;
}

/* Keys and values of one head of one sequence into the cache or the scratch. */
static void store_task(void *arg, size_t task, int worker)
{
    const attention_job *j = arg;
    const mmi_kernels *k = j->run->k;
    size_t head = task % j->key_heads;
    sequence s = sequence_of(j, task / j->key_heads);
    const float *keys = j->kd + (int64_t)s.batch * j->k->stride[0] + (int64_t)s.k0 * j->k->stride[1] + (int64_t)head * j->k->stride[2];
    const float *values = j->vd + (int64_t)s.batch * j->v->stride[0] + (int64_t)s.k0 * j->v->stride[1] + (int64_t)head * j->v->stride[2];
    (void)worker;

    if (j->caches) {
        const mmi_kv_cache *c = j->caches[s.batch];
        char *to = mmi_kv_cache_values(c, j->layer, head);
        k->pack_keys(keys, (size_t)j->k->stride[1], j->queries, j->dim, c->shape.dtype, mmi_kv_cache_keys(c, j->layer, head), s.past);
        for (size_t t = 0; t < j->queries; t++, values += j->v->stride[1]) {
            if (c->shape.dtype == MM_DTYPE_F16) {
                k->to_f16(values, (uint16_t *)(void *)to + (s.past + t) * j->value_dim, j->value_dim);
            } else {
                memcpy((float *)(void *)to + (s.past + t) * j->value_dim, values, j->value_dim * sizeof(float));
            }
        }
        return;
    }
    k->pack_keys(keys, (size_t)j->k->stride[1], s.keys, j->dim, MM_DTYPE_F32, keys_in_scratch(j, &s, head), 0);
    for (size_t t = 0; t < s.keys; t++, values += j->v->stride[1])
        memcpy(values_in_scratch(j, &s, head) + t * j->value_dim, values, j->value_dim * sizeof(float));
}

/* The bias of one query row from its distances, on a mask or other bias where there is one. */
static const float *distance_row(const attention_job *j, const sequence *s, size_t t, size_t head, const float *bias, float *row)
{
    const float *d = j->by_distance + head * j->distances + j->zero - (s->past + t);

    if (!bias) return d;
    j->run->k->add(d, bias, row, s->keys);
    return row;
}

static size_t tiles_of(const attention_job *j, const sequence *s) { return (s->queries * j->group + MMI_QUERY_TILE - 1) / MMI_QUERY_TILE; }

static void attend_task(void *arg, size_t task, int worker)
{
    const attention_job *j = arg;
    const float *queries[MMI_QUERY_TILE], *bias[MMI_QUERY_TILE];
    float *outputs[MMI_QUERY_TILE];
    int32_t first[MMI_QUERY_TILE], last[MMI_QUERY_TILE];
    mmi_attention_tile tile = {0};
    sequence s = sequence_of(j, 0);
    size_t index = 0, head;
    float *scratch = mmi_run_worker(j->run, worker), *rows = scratch + mmi_attention_scratch(j->dim, j->value_dim);

    for (size_t n = tiles_of(j, &s) * j->key_heads; task >= n; n = tiles_of(j, &s) * j->key_heads) {
        task -= n;
        s = sequence_of(j, ++index);
    }
    head = task % j->key_heads;
    task /= j->key_heads;

    for (size_t r = task * MMI_QUERY_TILE; r < (task + 1) * MMI_QUERY_TILE && r < s.queries * j->group; r++) {
        size_t t = r / j->group, h = head * j->group + r % j->group, i = tile.rows++, end = j->causal ? s.past + t + 1 : s.keys;
        int64_t row = (int64_t)(s.q0 + t);
        queries[i] = j->qd + (int64_t)s.batch * j->q->stride[0] + row * j->q->stride[1] + (int64_t)h * j->q->stride[2];
        outputs[i] = j->out + ((s.batch * j->queries + (size_t)row) * j->heads + h) * j->value_dim;
        last[i] = (int32_t)end;
        first[i] = j->window && end > j->window ? (int32_t)(end - j->window) : 0;
        if (j->bias) { /* strides of size-1 dimensions were set to 0 */
            bias[i] = j->bd + (int64_t)s.batch * j->bias->stride[0] + (int64_t)h * j->bias->stride[1] + row * j->bias->stride[2] + (int64_t)s.k0;
        }
        if (j->by_distance) bias[i] = distance_row(j, &s, t, h, j->bias ? bias[i] : NULL, rows + i * s.keys);
    }
    tile.dim = j->dim;
    tile.value_dim = j->value_dim;
    tile.queries = queries;
    tile.outputs = outputs;
    if (j->caches) {
        const mmi_kv_cache *c = j->caches[s.batch];
        tile.keys = mmi_kv_cache_keys(c, j->layer, head);
        tile.values = mmi_kv_cache_values(c, j->layer, head);
        tile.dtype = c->shape.dtype;
    } else {
        tile.keys = keys_in_scratch(j, &s, head);
        tile.values = values_in_scratch(j, &s, head);
        tile.dtype = MM_DTYPE_F32;
    }
    tile.value_stride = j->value_dim;
    tile.first = first;
    tile.last = last;
    tile.bias = j->bias || j->by_distance ? bias : NULL;
    tile.scale = j->scale;
    tile.softcap = j->softcap;
    tile.scratch = scratch;
    j->run->k->attention(&tile);
}

static mm_status check_run(mmi_run *run, const attention_job *j)
{
    if (j->segments) {
        for (size_t s = 0; s <= j->sequences; s++)
            if (j->segments[s] < (s ? j->segments[s - 1] : 0) || (size_t)j->segments[s] > j->queries)
                return mmi_fail(run->ctx, MM_E_ARGUMENT, "segment offset %zu is %d, they must rise from 0 to %zu", s, j->segments[s], j->queries);
        if ((size_t)j->segments[j->sequences] != j->queries || j->segments[0])
            return mmi_fail(run->ctx, MM_E_ARGUMENT, "the segments do not cover the %zu tokens", j->queries);
    }
    if (!j->caches) return MM_OK;
    for (size_t b = 0; b < j->sequences; b++)
        if (run->values.n_caches != j->sequences || j->caches[b]->capacity < j->caches[b]->length + j->queries)
            return mmi_fail(run->ctx, MM_E_INTERNAL, "the key/value cache has no room for %zu tokens", j->queries);
    return MM_OK;
}

/* T5's buckets: half of them one distance each, the others in logarithmic steps. */
size_t mmi_distance_bucket(int64_t distance, int64_t buckets, int64_t most, int both)
{
    int64_t first = 0, n = distance < 0 ? -distance : 0, exact, step;

    if (both) {
        buckets /= 2;
        if (distance > 0) first = buckets;
        n = distance < 0 ? -distance : distance;
    }
    exact = buckets / 2;
    if (n < exact) return (size_t)(first + n);
    step = exact + (int64_t)(logf((float)n / (float)exact) / (float)log((double)most / (double)exact) * (float)(buckets - exact));
    return (size_t)(first + (step < buckets ? step : buckets - 1));
}

/* The biases of every distance that comes up, so that a row of them lies behind one address. */
static mm_status fill_distances(mmi_run *run, const mmi_node *n, attention_job *j)
{
    const mmi_value_info *table = mmi_graph_look(run->graph, n->inputs[5]);
    const float *t = mmi_run_f32(run, n->inputs[5]);
    size_t queries = 0, keys = 0;

    for (size_t s = 0; s < j->sequences; s++) {
        sequence q = sequence_of(j, s);
        queries = mmi_size_max(queries, q.past + q.queries);
        keys = mmi_size_max(keys, q.keys);
    }
    j->zero = queries;
    j->distances = queries + keys;
    j->by_distance = mmi_alloc_array(run->ctx, j->heads, j->distances * sizeof(float)); /* both counts are of 31 bits */
    if (!j->by_distance) return MM_E_NOMEM;
    for (size_t d = 0; d < j->distances; d++) {
        size_t bucket = mmi_distance_bucket((int64_t)d - (int64_t)j->zero, table->shape[0], n->i[4], (int)n->i[5]);
        for (size_t h = 0; h < j->heads; h++) j->by_distance[h * j->distances + d] = t[bucket * j->heads + h];
    }
    return MM_OK;
}

static void take_bias(mmi_run *run, mmi_value v, attention_job *j, mmi_value_info *bias)
{
    if (!v) return;
    *bias = *mmi_graph_look(run->graph, v);
    for (int d = 0; d < 3; d++)
        if (bias->shape[d] == 1) bias->stride[d] = 0;
    j->bias = bias;
    j->bd = mmi_run_f32(run, v);
}

static void attend(mmi_run *run, attention_job *j)
{
    size_t tasks = 0;

    for (size_t s = 0; s < j->sequences; s++) {
        sequence q = sequence_of(j, s);
        tasks += tiles_of(j, &q) * j->key_heads;
    }
    mmi_run_tasks(run, attend_task, j, tasks);
}

/* What a node of queries, keys, values, bias, segments and distances says of its job; `bias` backs j->bias. */
static void take_job(mmi_run *run, const mmi_node *n, attention_job *j, mmi_value_info *bias)
{
    j->run = run;
    j->q = mmi_graph_look(run->graph, n->inputs[0]);
    j->k = mmi_graph_look(run->graph, n->inputs[1]);
    j->qd = mmi_run_f32(run, n->inputs[0]);
    j->kd = mmi_run_f32(run, n->inputs[1]);
    j->out = mmi_run_f32(run, n->output);
    take_bias(run, n->inputs[3], j, bias);
    j->heads = (size_t)j->q->shape[2];
    j->key_heads = (size_t)j->k->shape[2];
    j->group = j->heads / j->key_heads;
    j->dim = (size_t)j->q->shape[3];
    j->sequences = (size_t)j->q->shape[0];
    j->queries = (size_t)j->q->shape[1];
    j->keys = (size_t)j->k->shape[1];
    if (n->inputs[4]) {
        j->segments = mmi_run_i32(run, n->inputs[4]);
        j->sequences = (size_t)mmi_graph_elements(run->graph, n->inputs[4]) - 1;
    }
    j->causal = (int)n->i[1];
    j->window = (size_t)n->i[2];
    j->scale = n->f[0];
    j->softcap = n->f[1];
}

static mm_status run_attention(mmi_run *run, const mmi_node *n)
{
    attention_job j = {0};
    mmi_value_info bias;
    mm_status st;

    take_job(run, n, &j, &bias);
    j.v = mmi_graph_look(run->graph, n->inputs[2]);
    j.vd = mmi_run_f32(run, n->inputs[2]);
    j.value_dim = (size_t)j.v->shape[3];
    if (n->i[0]) {
        j.caches = run->values.caches;
        j.layer = (size_t)n->i[0] - 1;
        if (!j.caches) return mmi_fail(run->ctx, MM_E_INTERNAL, "a cached graph was run without a cache");
    }
    j.blocks = (size_t)n->i[3];
    j.packed_keys = mmi_run_shared(run);
    j.packed_values = j.packed_keys ? j.packed_keys + j.key_heads * j.blocks * MMI_KEY_BLOCK * j.dim : NULL;
    st = check_run(run, &j);
    if (!st && n->inputs[5]) st = fill_distances(run, n, &j);
    if (!st) {
        mmi_run_tasks(run, store_task, &j, j.sequences * j.key_heads);
        attend(run, &j);
    }
    mmi_free(j.by_distance);
    return st;
}

static void attention_scratch(const mmi_graph *g, const mmi_node *n, mmi_scratch *size)
{
    const mmi_value_info *k = mmi_graph_look(g, n->inputs[1]), *v = mmi_graph_look(g, n->inputs[2]);
    size_t dim = (size_t)k->shape[3], value_dim = (size_t)v->shape[3];

    size->worker = mmi_attention_scratch(dim, value_dim) * sizeof(float);
    if (n->inputs[5] && n->inputs[3]) size->worker += MMI_QUERY_TILE * (size_t)k->shape[1] * sizeof(float); /* rows of both */
    size->shared = (size_t)k->shape[2] * (size_t)n->i[3] * MMI_KEY_BLOCK * (dim + value_dim) * sizeof(float);
}

static const mmi_op attention_op = {"attention", run_attention, attention_scratch, 0, mmi_attention_gradient};

static void set_params(mmi_node *n, const mmi_attention_spec *spec)
{
    n->i[1] = spec->causal;
    n->i[2] = spec->window;
    n->i[4] = spec->distance_most;
    n->i[5] = spec->distance_both;
    n->f[0] = spec->scale;
    n->f[1] = spec->softcap;
}

/* What the kernel above sums values with, for those who want to see it: plain code, row by row. */

typedef struct {
    attention_job job;
    size_t columns; /* of a row of the output */
    int mean;
} weights_job;

/* One query of one head: its softmax over the keys [from, to) of its sequence. */
static void weights_row(const weights_job *w, const sequence *s, size_t t, size_t head, float *row, size_t *from, size_t *to)
{
    const attention_job *j = &w->job;
    const mmi_kernels *k = j->run->k;
    const int64_t at = (int64_t)(s->q0 + t);
    const float *q = j->qd + (int64_t)s->batch * j->q->stride[0] + at * j->q->stride[1] + (int64_t)head * j->q->stride[2];
    const float *keys = j->kd + (int64_t)s->batch * j->k->stride[0] + (int64_t)s->k0 * j->k->stride[1] + (int64_t)(head / j->group) * j->k->stride[2];
    const float *bias = NULL, *distances = j->by_distance ? distance_row(j, s, t, head, NULL, NULL) : NULL;
    float best = -INFINITY;

    *to = j->causal ? s->past + t + 1 : s->keys;
    *from = j->window && *to > j->window ? *to - j->window : 0;
    if (j->bias)
        bias = j->bd + (int64_t)s->batch * j->bias->stride[0] + (int64_t)head * j->bias->stride[1] + at * j->bias->stride[2] + (int64_t)s->k0;
    for (size_t i = *from; i < *to; i++) {
        float x = j->scale * k->dot(q, keys + (int64_t)i * j->k->stride[1], j->dim);
        if (j->softcap > 0) x = j->softcap * tanhf(x / j->softcap);
        row[i] = x + (bias ? bias[i] : 0) + (distances ? distances[i] : 0);
        best = fmaxf(best, row[i]);
    }
    if (best == -INFINITY) *to = *from; /* it sees nothing */
    if (*to > *from) k->softmax(row + *from, row + *from, *to - *from);
}

static void weights_task(void *arg, size_t task, int worker)
{
    const weights_job *w = arg;
    const attention_job *j = &w->job;
    float *row = mmi_run_worker(j->run, worker), *out;
    size_t index = 0, from, to;
    sequence s = sequence_of(j, 0);

    while (task >= s.queries) {
        task -= s.queries;
        s = sequence_of(j, ++index);
    }
    for (size_t h = 0; h < j->heads; h++) {
        out = j->out + (w->mean ? s.batch * j->queries + s.q0 + task : (s.batch * j->heads + h) * j->queries + s.q0 + task) * w->columns;
        if (!w->mean || !h) memset(out, 0, w->columns * sizeof *out);
        weights_row(w, &s, task, h, row, &from, &to);
        for (size_t i = from; i < to; i++) out[s.k0 + i] += w->mean ? row[i] / (float)j->heads : row[i];
    }
}

static mm_status run_weights(mmi_run *run, const mmi_node *n)
{
    weights_job w = {0};
    attention_job *j = &w.job;
    mmi_value_info bias;
    size_t tasks = 0;
    mm_status st;

    take_job(run, n, j, &bias);
    w.columns = j->keys;
    w.mean = (int)n->i[3];
    st = check_run(run, j);
    if (!st && n->inputs[5]) st = fill_distances(run, n, j);
    for (size_t s = 0; s < j->sequences && !st; s++) tasks += sequence_of(j, s).queries;
    if (!st) mmi_run_tasks(run, weights_task, &w, tasks);
    mmi_free(j->by_distance);
    return st;
}

static void weights_scratch(const mmi_graph *g, const mmi_node *n, mmi_scratch *size)
{
    size->worker = (size_t)mmi_graph_look(g, n->inputs[1])->shape[1] * sizeof(float);
}

static const mmi_op weights_op = {"attention_weights", run_weights, weights_scratch, 0, NULL};

/* Values checked by attention(). */
static void give_weights(mmi_graph *g, const mmi_value in[6], const mmi_attention_spec *spec, const char *name, int mean)
{
    const mmi_value_info a = *mmi_graph_look(g, in[0]), b = *mmi_graph_look(g, in[1]);
    const mmi_value inputs[6] = {in[0], in[1], 0, in[3], in[4], in[5]};
    mmi_node *n = mmi_graph_node(g, &weights_op, inputs, 6, MM_DTYPE_F32, mean ? 3 : 4,
                                 mean ? (int64_t[]){a.shape[0], a.shape[1], b.shape[1], 0} : (int64_t[]){a.shape[0], a.shape[2], a.shape[1], b.shape[1]});

    if (!n) return;
    set_params(n, spec);
    n->i[3] = mean;
    mmi_graph_output(g, name, n->output);
}

static mmi_value attention(mmi_graph *g, size_t layer, mmi_value q, mmi_value k, mmi_value v, const mmi_attention_spec *spec)
{
    mmi_value in[6] = {q, k, v, spec->bias, spec->segments, 0};
    const mmi_value_info *a, *b, *c;
    mmi_node *n;
    mmi_value out;
    size_t tokens, sequences, blocks;
    char s[128], t[128], u[128];

    if (g->status) return 0;
    a = mmi_graph_look(g, q);
    b = mmi_graph_look(g, k);
    c = mmi_graph_look(g, v);
    if (a->rank != 4 || b->rank != 4 || c->rank != 4 || a->shape[0] != b->shape[0] || b->shape[0] != c->shape[0] || b->shape[1] != c->shape[1] ||
        b->shape[2] != c->shape[2] || b->shape[2] < 1 || a->shape[2] % b->shape[2] || a->shape[3] != b->shape[3] || a->shape[3] > 512 ||
        c->shape[3] > 512 || a->stride[3] != 1 || b->stride[3] != 1 || c->stride[3] != 1)
        return mmi_graph_fail(g, MM_E_SHAPE, "attention of queries %s, keys %s and values %s", mmi_graph_shape_text(g, q, s),
                              mmi_graph_shape_text(g, k, t), mmi_graph_shape_text(g, v, u));
    if ((spec->segments && (a->shape[0] != 1 || a->shape[1] != b->shape[1] || layer)) || (layer && a->shape[1] != b->shape[1]) ||
        a->shape[1] > INT32_MAX || b->shape[1] > INT32_MAX)
        return mmi_graph_fail(g, MM_E_SHAPE, "attention of queries %s does not fit keys %s", mmi_graph_shape_text(g, q, s),
                              mmi_graph_shape_text(g, k, t));
    if (spec->bias) {
        const mmi_value_info *bias;
        in[3] = mmi_contiguous(g, spec->bias);
        if (g->status) return 0;
        a = mmi_graph_look(g, q); /* the copy may have moved them */
        b = mmi_graph_look(g, k);
        c = mmi_graph_look(g, v);
        bias = mmi_graph_look(g, in[3]);
        if (bias->rank != 4 || (bias->shape[0] != 1 && bias->shape[0] != a->shape[0]) || (bias->shape[1] != 1 && bias->shape[1] != a->shape[2]) ||
            (bias->shape[2] != 1 && bias->shape[2] != a->shape[1]) || bias->shape[3] != b->shape[1])
            return mmi_graph_fail(g, MM_E_SHAPE, "an attention bias %s does not fit queries %s", mmi_graph_shape_text(g, in[3], s),
                                  mmi_graph_shape_text(g, q, t));
    }
    if (spec->distance) {
        const mmi_value_info *table;
        in[5] = mmi_contiguous(g, spec->distance);
        if (g->status) return 0;
        a = mmi_graph_look(g, q);
        b = mmi_graph_look(g, k);
        c = mmi_graph_look(g, v);
        table = mmi_graph_look(g, in[5]);
        if (table->dtype != MM_DTYPE_F32 || table->rank != 2 || table->shape[0] < 4 || table->shape[1] != a->shape[2] ||
            spec->distance_most <= table->shape[0] / 2)
            return mmi_graph_fail(g, MM_E_SHAPE, "buckets %s of distances to %lld do not fit queries %s", mmi_graph_shape_text(g, in[5], s),
                                  (long long)spec->distance_most, mmi_graph_shape_text(g, q, t));
    }
    tokens = (size_t)b->shape[1];
    sequences = spec->segments ? (size_t)mmi_graph_elements(g, spec->segments) : (size_t)b->shape[0];
    blocks = layer ? 0 : spec->segments ? tokens / MMI_KEY_BLOCK + sequences : sequences * ((tokens + MMI_KEY_BLOCK - 1) / MMI_KEY_BLOCK);
    n = mmi_graph_node(g, &attention_op, in, 6, MM_DTYPE_F32, 3, (int64_t[]){a->shape[0], a->shape[1], a->shape[2] * c->shape[3]});
    if (!n) return 0;
    set_params(n, spec);
    n->i[0] = (int64_t)layer;
    n->i[3] = (int64_t)blocks;
    n->effect = layer != 0;
    out = n->output;
    if (spec->weights && !layer) give_weights(g, in, spec, spec->weights, 0);
    if (spec->mean_weights && !layer) give_weights(g, in, spec, spec->mean_weights, 1);
    return out;
}

mmi_value mmi_attention(mmi_graph *g, mmi_value q, mmi_value k, mmi_value v, const mmi_attention_spec *spec)
{
    return attention(g, 0, q, k, v, spec);
}

mmi_value mmi_attention_cached(mmi_graph *g, size_t layer, mmi_value q, mmi_value k, mmi_value v, const mmi_attention_spec *spec)
{
    return attention(g, layer + 1, q, k, v, spec);
}

/* Across: the caches hold the whole other sequence. */

static mm_status cross_caches(mmi_run *run, size_t sequences, size_t heads, size_t dim, attention_job *j)
{
    j->run = run;
    j->caches = run->values.cross;
    j->sequences = sequences;
    j->key_heads = heads;
    j->dim = j->value_dim = dim;
    if (!j->caches || run->values.n_caches != sequences) return mmi_fail(run->ctx, MM_E_INTERNAL, "attention across without a cross cache for each sequence");
    for (size_t b = 0; b < sequences; b++)
        if (j->caches[b]->shape.dim != dim || heads % j->caches[b]->shape.heads)
            return mmi_fail(run->ctx, MM_E_INTERNAL, "a cross cache of other heads than attention across has");
    return MM_OK;
}

static mm_status run_cross_store(mmi_run *run, const mmi_node *n)
{
    attention_job j = {0};
    mm_status st;

    j.k = mmi_graph_look(run->graph, n->inputs[0]);
    j.v = mmi_graph_look(run->graph, n->inputs[1]);
    j.kd = mmi_run_f32(run, n->inputs[0]);
    j.vd = mmi_run_f32(run, n->inputs[1]);
    j.layer = (size_t)n->i[0];
    j.queries = (size_t)j.k->shape[1];
    st = cross_caches(run, (size_t)j.k->shape[0], (size_t)j.k->shape[2], (size_t)j.k->shape[3], &j);
    for (size_t b = 0; !st && b < j.sequences; b++) {
        j.caches[b]->length = 0;
        st = mmi_kv_cache_reserve(run->ctx, j.caches[b], j.queries);
    }
    if (st) return st;
    mmi_run_tasks(run, store_task, &j, j.sequences * j.key_heads);
    for (size_t b = 0; b < j.sequences; b++) j.caches[b]->length = j.queries;
    return MM_OK;
}

static const mmi_op cross_store_op = {"cross_store", run_cross_store, NULL, 0, NULL};

void mmi_cross_store(mmi_graph *g, size_t layer, mmi_value k, mmi_value v)
{
    mmi_value in[2] = {k, v};
    const mmi_value_info *a, *b;
    mmi_node *n;

    if (g->status) return;
    a = mmi_graph_look(g, k);
    b = mmi_graph_look(g, v);
    if (a->rank != 4 || b->rank != 4 || memcmp(a->shape, b->shape, 4 * sizeof *a->shape) || a->stride[3] != 1 || b->stride[3] != 1) {
        mmi_graph_fail(g, MM_E_SHAPE, "keys and values of a cross cache differ");
        return;
    }
    n = mmi_graph_node(g, &cross_store_op, in, 2, MM_DTYPE_F32, 1, (int64_t[]){1});
    if (!n) return;
    n->i[0] = (int64_t)layer;
    n->effect = 1;
}

static mm_status run_across(mmi_run *run, const mmi_node *n)
{
    attention_job j = {0};
    mmi_value_info bias;
    mm_status st;

    j.q = mmi_graph_look(run->graph, n->inputs[0]);
    j.qd = mmi_run_f32(run, n->inputs[0]);
    j.out = mmi_run_f32(run, n->output);
    j.heads = (size_t)j.q->shape[2];
    j.queries = (size_t)j.q->shape[1];
    j.layer = (size_t)n->i[0];
    j.across = 1;
    j.scale = n->f[0];
    j.softcap = n->f[1];
    take_bias(run, n->inputs[1], &j, &bias);
    st = cross_caches(run, (size_t)j.q->shape[0], j.heads, (size_t)j.q->shape[3], &j);
    if (st) return st;
    j.key_heads = j.caches[0]->shape.heads;
    j.group = j.heads / j.key_heads;
    for (size_t b = 0; b < j.sequences; b++)
        if (j.bias && (size_t)bias.shape[3] != j.caches[b]->length)
            return mmi_fail(run->ctx, MM_E_INTERNAL, "a bias of %lld columns across to %zu tokens", (long long)bias.shape[3], j.caches[b]->length);
    attend(run, &j);
    return MM_OK;
}

static void across_scratch(const mmi_graph *g, const mmi_node *n, mmi_scratch *size)
{
    size_t dim = (size_t)mmi_graph_look(g, n->inputs[0])->shape[3];
    size->worker = mmi_attention_scratch(dim, dim) * sizeof(float);
}

static const mmi_op across_op = {"attention_across", run_across, across_scratch, 0, NULL};

mmi_value mmi_attention_across(mmi_graph *g, size_t layer, mmi_value q, const mmi_attention_spec *spec)
{
    mmi_value in[2] = {q, mmi_contiguous(g, spec->bias)};
    const mmi_value_info *a;
    mmi_node *n;
    char s[128];

    if (g->status) return 0;
    a = mmi_graph_look(g, q);
    if (a->rank != 4 || a->shape[3] > 512 || a->stride[3] != 1 || a->shape[1] > INT32_MAX)
        return mmi_graph_fail(g, MM_E_SHAPE, "attention across of queries %s", mmi_graph_shape_text(g, q, s));
    n = mmi_graph_node(g, &across_op, in, 2, MM_DTYPE_F32, 3, (int64_t[]){a->shape[0], a->shape[1], a->shape[2] * a->shape[3]});
    if (!n) return 0;
    n->i[0] = (int64_t)layer;
    n->f[0] = spec->scale;
    n->f[1] = spec->softcap;
    return n->output;
}

static mm_status run_mask_bias(mmi_run *run, const mmi_node *n)
{
    const int32_t *mask = mmi_run_i32(run, n->inputs[0]);
    float *y = mmi_run_f32(run, n->output);
    size_t count = (size_t)mmi_graph_elements(run->graph, n->inputs[0]);

    for (size_t i = 0; i < count; i++) y[i] = mask[i] ? 0.0f : -INFINITY;
    return MM_OK;
}

static const mmi_op mask_bias_op = {"mask_bias", run_mask_bias, NULL, 0, NULL};

mmi_value mmi_mask_bias(mmi_graph *g, mmi_value mask)
{
    const mmi_value_info *v;
    mmi_node *n;

    if (g->status) return 0;
    v = mmi_graph_look(g, mask);
    if (v->dtype != MM_DTYPE_I32 || v->rank != 2) return mmi_graph_fail(g, MM_E_SHAPE, "a mask must be i32 [B, S]");
    n = mmi_graph_node(g, &mask_bias_op, &mask, 1, MM_DTYPE_F32, 4, (int64_t[]){v->shape[0], 1, 1, v->shape[1]});
    return n ? n->output : 0;
}

static mm_status run_prefix_bias(mmi_run *run, const mmi_node *n)
{
    const int32_t *types = mmi_run_i32(run, n->inputs[0]), *mask = mmi_run_i32(run, n->inputs[1]);
    const int64_t *shape = mmi_graph_look(run->graph, n->output)->shape, T = shape[3], window = n->i[0];
    float *y = mmi_run_f32(run, n->output);

    for (int64_t b = 0; b < shape[0]; b++, types += T, mask = mask ? mask + T : NULL)
        for (int64_t q = 0; q < T; q++)
            for (int64_t k = 0; k < T; k++) {
                int sees = (k <= q && (!window || q - k < window)) || (types[q] == 0 && types[k] == 0);
                *y++ = sees && (!mask || mask[k]) ? 0.0f : -INFINITY;
            }
    return MM_OK;
}

static const mmi_op prefix_bias_op = {"prefix_bias", run_prefix_bias, NULL, 0, NULL};

mmi_value mmi_prefix_bias(mmi_graph *g, mmi_value types, mmi_value mask, int64_t window)
{
    mmi_value in[2] = {types, mask};
    const mmi_value_info *v;
    mmi_node *n;
    char s[128];

    if (g->status) return 0;
    v = mmi_graph_look(g, types);
    if (v->dtype != MM_DTYPE_I32 || v->rank != 2 || (mask && memcmp(mmi_graph_look(g, mask)->shape, v->shape, 2 * sizeof *v->shape)))
        return mmi_graph_fail(g, MM_E_SHAPE, "types %s of a prefix do not fit the mask", mmi_graph_shape_text(g, types, s));
    n = mmi_graph_node(g, &prefix_bias_op, in, 2, MM_DTYPE_F32, 4, (int64_t[]){v->shape[0], 1, v->shape[1], v->shape[1]});
    if (!n) return 0;
    n->i[0] = window;
    return n->output;
}
