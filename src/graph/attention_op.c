/* Keys of a sequence are packed as the kernel reads them (or lie so in the cache), then each task takes a tile of query rows:
 * all query heads of a key head together, so that a key block is read once for them.
 * SPDX-License-Identifier: MIT */
#include "attention_op.h"

#include <math.h>
#include <string.h>

#include "kernels.h"
#include "kv_cache.h"
#include "shape_ops.h"
#include "size.h"

typedef struct {
    const mmi_run *run;
    const mmi_value_info *q, *k, *v, *bias; /* bias NULL: none */
    const float *qd, *kd, *vd, *bd;
    float *out;
    size_t dim, value_dim, heads, key_heads, group;
    size_t sequences;
    const int32_t *segments; /* NULL: the batch is the list of sequences */
    size_t queries, keys;    /* tokens of a sequence, when it is */
    mmi_kv_cache *const *caches; /* NULL: packed in shared scratch */
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
    tile.bias = j->bias ? bias : NULL;
    tile.scale = j->scale;
    tile.softcap = j->softcap;
    tile.scratch = mmi_run_worker(j->run, worker);
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

static mm_status run_attention(mmi_run *run, const mmi_node *n)
{
    attention_job j = {0};
    mmi_value_info bias;
    size_t tasks = 0;
    mm_status st;

    j.run = run;
    j.q = mmi_graph_look(run->graph, n->inputs[0]);
    j.k = mmi_graph_look(run->graph, n->inputs[1]);
    j.v = mmi_graph_look(run->graph, n->inputs[2]);
    j.qd = mmi_run_f32(run, n->inputs[0]);
    j.kd = mmi_run_f32(run, n->inputs[1]);
    j.vd = mmi_run_f32(run, n->inputs[2]);
    j.out = mmi_run_f32(run, n->output);
    if (n->inputs[3]) {
        bias = *mmi_graph_look(run->graph, n->inputs[3]);
        for (int d = 0; d < 3; d++)
            if (bias.shape[d] == 1) bias.stride[d] = 0;
        j.bias = &bias;
        j.bd = mmi_run_f32(run, n->inputs[3]);
    }
    j.heads = (size_t)j.q->shape[2];
    j.key_heads = (size_t)j.k->shape[2];
    j.group = j.heads / j.key_heads;
    j.dim = (size_t)j.q->shape[3];
    j.value_dim = (size_t)j.v->shape[3];
    j.sequences = (size_t)j.q->shape[0];
    j.queries = (size_t)j.q->shape[1];
    j.keys = (size_t)j.k->shape[1];
    if (n->inputs[4]) {
        j.segments = mmi_run_i32(run, n->inputs[4]);
        j.sequences = (size_t)mmi_graph_elements(run->graph, n->inputs[4]) - 1;
    }
    if (n->i[0]) {
        j.caches = run->values.caches;
        j.layer = (size_t)n->i[0] - 1;
        if (!j.caches) return mmi_fail(run->ctx, MM_E_INTERNAL, "a cached graph was run without a cache");
    }
    j.causal = (int)n->i[1];
    j.window = (size_t)n->i[2];
    j.scale = n->f[0];
    j.softcap = n->f[1];
    j.blocks = (size_t)n->i[3];
    j.packed_keys = mmi_run_shared(run);
    j.packed_values = j.packed_keys ? j.packed_keys + j.key_heads * j.blocks * MMI_KEY_BLOCK * j.dim : NULL;
    st = check_run(run, &j);
    if (st) return st;
    for (size_t s = 0; s < j.sequences; s++) {
        sequence q = sequence_of(&j, s);
        tasks += tiles_of(&j, &q) * j.key_heads;
    }
    mmi_run_tasks(run, store_task, &j, j.sequences * j.key_heads);
    mmi_run_tasks(run, attend_task, &j, tasks);
    return MM_OK;
}

static void attention_scratch(const mmi_graph *g, const mmi_node *n, mmi_scratch *size)
{
    const mmi_value_info *k = mmi_graph_look(g, n->inputs[1]), *v = mmi_graph_look(g, n->inputs[2]);
    size_t dim = (size_t)k->shape[3], value_dim = (size_t)v->shape[3];

    size->worker = mmi_attention_scratch(dim, value_dim) * sizeof(float);
    size->shared = (size_t)k->shape[2] * (size_t)n->i[3] * MMI_KEY_BLOCK * (dim + value_dim) * sizeof(float);
}

static const mmi_op attention_op = {"attention", run_attention, attention_scratch, 0};

static mmi_value attention(mmi_graph *g, size_t layer, mmi_value q, mmi_value k, mmi_value v, const mmi_attention_spec *spec)
{
    mmi_value in[5] = {q, k, v, spec->bias, spec->segments};
    const mmi_value_info *a, *b, *c;
    mmi_node *n;
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
    tokens = (size_t)b->shape[1];
    sequences = spec->segments ? (size_t)mmi_graph_elements(g, spec->segments) : (size_t)b->shape[0];
    blocks = layer ? 0 : spec->segments ? tokens / MMI_KEY_BLOCK + sequences : sequences * ((tokens + MMI_KEY_BLOCK - 1) / MMI_KEY_BLOCK);
    n = mmi_graph_node(g, &attention_op, in, 5, MM_DTYPE_F32, 3, (int64_t[]){a->shape[0], a->shape[1], a->shape[2] * c->shape[3]});
    if (!n) return 0;
    n->i[0] = (int64_t)layer;
    n->i[1] = spec->causal || layer;
    n->i[2] = spec->window;
    n->i[3] = (int64_t)blocks;
    n->f[0] = spec->scale;
    n->f[1] = spec->softcap;
    return n->output;
}

mmi_value mmi_attention(mmi_graph *g, mmi_value q, mmi_value k, mmi_value v, const mmi_attention_spec *spec)
{
    return attention(g, 0, q, k, v, spec);
}

mmi_value mmi_attention_cached(mmi_graph *g, size_t layer, mmi_value q, mmi_value k, mmi_value v, const mmi_attention_spec *spec)
{
    return attention(g, layer + 1, q, k, v, spec);
}

static mm_status run_mask_bias(mmi_run *run, const mmi_node *n)
{
    const int32_t *mask = mmi_run_i32(run, n->inputs[0]);
    float *y = mmi_run_f32(run, n->output);
    size_t count = (size_t)mmi_graph_elements(run->graph, n->inputs[0]);

    for (size_t i = 0; i < count; i++) y[i] = mask[i] ? 0.0f : -INFINITY;
    return MM_OK;
}

static const mmi_op mask_bias_op = {"mask_bias", run_mask_bias, NULL, 0};

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
