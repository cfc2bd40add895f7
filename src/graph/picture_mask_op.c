/* SPDX-License-Identifier: MIT */
#include "picture_mask_op.h"

#include <math.h>
#include <string.h>

void mmi_pictures_of_token(const int32_t *places, size_t count, int32_t t, size_t *first, size_t *end)
{
    size_t n = 0, k;

    while (n < count && places[n] <= t) n++;
    *end = k = n;
    if (k) k--;
    while (k && places[k - 1] + 1 == places[k]) k--;
    *first = k;
}

static mm_status run_picture_mask(mmi_run *run, const mmi_node *n)
{
    const int64_t *shape = mmi_graph_look(run->graph, n->output)->shape;
    size_t T = (size_t)shape[1], M = (size_t)shape[2], K = (size_t)shape[3];
    const int32_t *ids = mmi_run_i32(run, n->inputs[0]), *tiles = mmi_run_i32(run, n->inputs[1]), *kinds = mmi_run_i32(run, n->inputs[2]);
    int32_t *out = (int32_t *)(void *)mmi_run_f32(run, n->output), *places = mmi_run_shared(run);

    memset(out, 0, (size_t)mmi_graph_elements(run->graph, n->output) * sizeof *out);
    for (int64_t b = 0; b < shape[0]; b++, ids += T, tiles += M * K, kinds += M) {
        size_t found = 0, pictures = 0, first, end;
        for (size_t m = 0; m < M; m++) pictures += kinds[m] != 0;
        for (size_t t = 0; t < T; t++) {
            if (ids[t] != n->i[0]) continue;
            if (found < M) places[found] = (int32_t)t;
            found++;
        }
        if (found != pictures)
            return mmi_fail(run->ctx, MM_E_ARGUMENT, "row %lld of input_ids holds token %lld %zu times, but there are %zu pictures of it", (long long)b,
                            (long long)n->i[0], found, pictures);
        for (size_t t = 0; t < T; t++, out += M * K) {
            mmi_pictures_of_token(places, found, (int32_t)t, &first, &end);
            memcpy(out + first * K, tiles + first * K, (end - first) * K * sizeof *out);
        }
    }
    return MM_OK;
}

static void picture_mask_scratch(const mmi_graph *g, const mmi_node *n, mmi_scratch *size)
{
    size->shared = (size_t)mmi_graph_look(g, n->output)->shape[2] * sizeof(int32_t);
}

static const mmi_op picture_mask_op = {"picture_mask", run_picture_mask, picture_mask_scratch, 0, NULL};

mmi_value mmi_picture_mask(mmi_graph *g, mmi_value ids, int32_t token, mmi_value tiles, mmi_value kinds)
{
    mmi_value in[3] = {ids, tiles, kinds};
    const mmi_value_info *a, *b, *c;
    mmi_node *n;
    char s[128], t[128], u[128];

    if (g->status) return 0;
    a = mmi_graph_look(g, ids);
    b = mmi_graph_look(g, tiles);
    c = mmi_graph_look(g, kinds);
    if (a->rank != 2 || b->rank != 3 || c->rank != 2 || a->shape[0] != b->shape[0] || memcmp(b->shape, c->shape, 2 * sizeof *b->shape))
        return mmi_graph_fail(g, MM_E_SHAPE, "ids %s, tiles %s and kinds %s of pictures do not fit each other", mmi_graph_shape_text(g, ids, s),
                              mmi_graph_shape_text(g, tiles, t), mmi_graph_shape_text(g, kinds, u));
    n = mmi_graph_node(g, &picture_mask_op, in, 3, MM_DTYPE_I32, 4, (int64_t[]){a->shape[0], a->shape[1], b->shape[1], b->shape[2]});
    if (!n) return 0;
    n->i[0] = token;
    return n->output;
}

static int any(const int32_t *mask, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (mask[i]) return 1;
    return 0;
}

static mm_status run_picture_bias(mmi_run *run, const mmi_node *n)
{
    const int64_t *shape = mmi_graph_look(run->graph, n->inputs[0])->shape;
    size_t tokens = (size_t)(shape[0] * shape[1]), tiles = (size_t)(shape[2] * shape[3]);
    const int32_t *mask = mmi_run_i32(run, n->inputs[0]);
    float *out = mmi_run_f32(run, n->output);

    for (size_t t = 0; t < tokens; t++, mask += tiles) {
        int seen = any(mask, tiles);
        for (size_t k = 0; k < tiles; k++)
            for (int64_t r = 0; r < n->i[0]; r++) *out++ = seen && !mask[k] ? -INFINITY : 0.0f;
    }
    return MM_OK;
}

static mm_status run_picture_seen(mmi_run *run, const mmi_node *n)
{
    const int64_t *shape = mmi_graph_look(run->graph, n->inputs[0])->shape;
    size_t tokens = (size_t)(shape[0] * shape[1]), tiles = (size_t)(shape[2] * shape[3]);
    const int32_t *mask = mmi_run_i32(run, n->inputs[0]);
    float *out = mmi_run_f32(run, n->output);

    for (size_t t = 0; t < tokens; t++, mask += tiles) out[t] = any(mask, tiles) ? 1.0f : 0.0f;
    return MM_OK;
}

static const mmi_op picture_bias_op = {"picture_bias", run_picture_bias, NULL, 0, NULL};
static const mmi_op picture_seen_op = {"picture_seen", run_picture_seen, NULL, 0, NULL};

mmi_value mmi_picture_bias(mmi_graph *g, mmi_value mask, int64_t rows)
{
    const mmi_value_info *v;
    mmi_node *n;

    if (g->status) return 0;
    v = mmi_graph_look(g, mask);
    n = mmi_graph_node(g, &picture_bias_op, &mask, 1, MM_DTYPE_F32, 4, (int64_t[]){v->shape[0], 1, v->shape[1], v->shape[2] * v->shape[3] * rows});
    if (!n) return 0;
    n->i[0] = rows;
    return n->output;
}

mmi_value mmi_picture_seen(mmi_graph *g, mmi_value mask)
{
    const mmi_value_info *v;
    mmi_node *n;

    if (g->status) return 0;
    v = mmi_graph_look(g, mask);
    n = mmi_graph_node(g, &picture_seen_op, &mask, 1, MM_DTYPE_F32, 3, (int64_t[]){v->shape[0], v->shape[1], 1});
    return n ? n->output : 0;
}

static mm_status run_tile_bias(mmi_run *run, const mmi_node *n)
{
    const int64_t *shape = mmi_graph_look(run->graph, n->output)->shape;
    size_t S = (size_t)shape[3], rows = (size_t)n->i[0], patches = (size_t)n->i[1];
    const int32_t *tiles = mmi_run_i32(run, n->inputs[0]);
    float *out = mmi_run_f32(run, n->output);

    for (int64_t b = 0; b < shape[0]; b++, tiles += S / rows)
        for (size_t q = 0; q < S; q++) {
            int padding = q % rows >= patches || !tiles[q / rows];
            for (size_t k = 0; k < S; k++) *out++ = padding && (k % rows >= patches || !tiles[k / rows]) ? -INFINITY : 0.0f;
        }
    return MM_OK;
}

static const mmi_op tile_bias_op = {"tile_bias", run_tile_bias, NULL, 0, NULL};

mmi_value mmi_tile_bias(mmi_graph *g, mmi_value tiles, int64_t rows, int64_t patches)
{
    const mmi_value_info *v;
    mmi_node *n;

    if (g->status) return 0;
    v = mmi_graph_look(g, tiles);
    n = mmi_graph_node(g, &tile_bias_op, &tiles, 1, MM_DTYPE_F32, 4, (int64_t[]){v->shape[0], 1, v->shape[1] * rows, v->shape[1] * rows});
    if (!n) return 0;
    n->i[0] = rows;
    n->i[1] = patches;
    return n->output;
}
