/* SPDX-License-Identifier: MIT */
#include "forward.h"

#include <string.h>

#include "dtype.h"
#include "plan.h"
#include "run.h"

/* An input as the graph takes it: integers as i32, numbers as f32. */
static mm_status convert(mm_context *ctx, const char *name, const mm_tensor *t, void **out)
{
    size_t n = (size_t)mm_tensor_elements(t);
    const void *src = mm_tensor_const_data(t);
    int32_t *i;
    float *f;

    *out = mmi_alloc_array(ctx, n, 4);
    if (!*out) return MM_E_NOMEM;
    i = *out;
    f = *out;
    switch (mm_tensor_dtype(t)) {
    case MM_DTYPE_F32:
    case MM_DTYPE_I32: memcpy(*out, src, n * 4); return MM_OK;
    case MM_DTYPE_F16:
        for (size_t k = 0; k < n; k++) f[k] = mmi_f16_to_f32(((const uint16_t *)src)[k]);
        return MM_OK;
    case MM_DTYPE_BF16:
        for (size_t k = 0; k < n; k++) f[k] = mmi_bf16_to_f32(((const uint16_t *)src)[k]);
        return MM_OK;
    case MM_DTYPE_U8:
        for (size_t k = 0; k < n; k++) i[k] = ((const uint8_t *)src)[k];
        return MM_OK;
    case MM_DTYPE_I64:
        for (size_t k = 0; k < n; k++) {
            int64_t v;
            memcpy(&v, (const char *)src + 8 * k, 8);
            if (v < INT32_MIN || v > INT32_MAX) return mmi_fail(ctx, MM_E_ARGUMENT, "input %s holds %lld, which is out of range", name, (long long)v);
            i[k] = (int32_t)v;
        }
        return MM_OK;
    default: return mmi_fail(ctx, MM_E_DTYPE, "input %s is %s, expected numbers", name, mm_dtype_name(mm_tensor_dtype(t)));
    }
}

static int is_integer(int32_t dtype) { return dtype == MM_DTYPE_I32 || dtype == MM_DTYPE_I64 || dtype == MM_DTYPE_U8; }

/* The next input: a new value of the graph, or what it was before. */
static mm_status add_input(mm_context *ctx, mmi_feed *f, const char *name, int32_t dtype, int32_t rank, const int64_t *shape, int first)
{
    mmi_io *io = &f->io;

    if (!first) {
        io->n_inputs++;
        return MM_OK;
    }
    if (rank > MMI_MAX_RANK) return mmi_fail(ctx, MM_E_SHAPE, "input %s has %d dimensions, more than the %d of any input", name, rank, MMI_MAX_RANK);
    if (io->n_inputs == MMI_IO_MAX) return mmi_fail(ctx, MM_E_LIMIT, "more than %d inputs", MMI_IO_MAX);
    io->inputs[io->n_inputs++] = (mmi_io_entry){name, mmi_graph_input(io->g, name, dtype, rank, shape), 0};
    return io->g->status;
}

/* Positions of each row of ids [B, T], or embeddings [B, T, C], for a model that was not given its own. */
static mm_status add_positions(mm_context *ctx, mmi_feed *f, const mm_tensor_map *inputs, const char *of, const char *name, int first)
{
    mmi_io *io = &f->io;
    void **data = f->data;
    const mm_tensor *tokens = mm_tensor_map_get(inputs, of);
    const int64_t *shape = mm_tensor_shape(tokens);
    int ids = tokens && is_integer(mm_tensor_dtype(tokens));
    size_t at = 0;
    int32_t *p;

    if (!tokens || mm_tensor_rank(tokens) != (ids ? 2 : 3) || mm_tensor_map_get(inputs, name)) return MM_OK;
    p = data[io->n_inputs] = mmi_alloc_array(ctx, (size_t)(shape[0] * shape[1]), sizeof *p);
    if (!p) return MM_E_NOMEM;
    if (shape[1] > INT32_MAX / 2) return mmi_fail(ctx, MM_E_LIMIT, "%s has %lld tokens", of, (long long)shape[1]);
    while (mm_tensor_map_at(inputs, at) != tokens) at++;
    for (int64_t b = 0; b < shape[0]; b++)
        mmi_model_positions(io->model, ids ? (const int32_t *)data[at] + b * shape[1] : NULL, (size_t)shape[1], p + b * shape[1]);
    return add_input(ctx, f, name, MM_DTYPE_I32, 2, shape, first);
}

/* An input as it was converted; NULL: not given, or of another kind. *shape is set where it is given. */
static const void *find_input(const mm_tensor_map *inputs, void *const *data, const char *name, int integers, int32_t rank, const int64_t **shape)
{
    for (size_t i = 0; i < mm_tensor_map_count(inputs); i++) {
        const mm_tensor *t = mm_tensor_map_at(inputs, i);
        if (strcmp(mm_tensor_map_name(inputs, i), name)) continue;
        *shape = mm_tensor_shape(t);
        return is_integer(mm_tensor_dtype(t)) == integers && mm_tensor_rank(t) == rank ? data[i] : NULL;
    }
    return NULL;
}

/* The media that stand in a row of ids: each run of placeholders is one, in the order of its kind's grids. */
typedef struct {
    const char *name;
    const int32_t *grids; /* [count, 3] */
    const float *seconds; /* [count] of a grid step of time, NULL: one each */
    size_t count, next;
    int32_t token;
} media_input;

static mm_status media_of_row(mm_context *ctx, media_input kinds[2], const int32_t *ids, size_t count, mmi_medium *media, size_t *n_media)
{
    int32_t last = -1;

    *n_media = 0;
    for (size_t i = 0; i < count; last = ids[i++])
        for (int k = 0; k < 2; k++) {
            media_input *kind = &kinds[k];
            mmi_medium *m = &media[*n_media];
            if (ids[i] != kind->token || ids[i] == last) continue;
            if (kind->next == kind->count)
                return mmi_fail(ctx, MM_E_ARGUMENT, "input_ids holds more runs of token %d than the %zu of %s", kind->token, kind->count, kind->name);
            *m = (mmi_medium){.modality = k ? MMI_VIDEO : MMI_IMAGE, .rate = 1};
            for (int d = 0; d < 3; d++) m->grid[d] = kind->grids[3 * kind->next + (size_t)d];
            if (kind->seconds) m->rate = 1.0 / (double)kind->seconds[kind->next];
            kind->next++;
            ++*n_media;
        }
    return MM_OK;
}

/* Positions [3, B, T] of ids with media among them, as the architecture has them; hidden tokens are left out and stand at 0. */
static mm_status media_positions(mm_context *ctx, const mm_model *m, media_input kinds[2], const int32_t *ids, const int32_t *mask, size_t B,
                                 size_t T, int32_t *out)
{
    int32_t *row = mmi_alloc_array(ctx, T, sizeof *row), *where = mmi_alloc_array(ctx, T, sizeof *where), next;
    int32_t *streams = mmi_alloc_array(ctx, 3 * T, sizeof *streams);
    mmi_medium *media = mmi_alloc_array(ctx, T, sizeof *media);
    size_t n_media = 0;
    mm_status st = row && where && streams && media ? MM_OK : MM_E_NOMEM;

    memset(out, 0, 3 * B * T * sizeof *out);
    for (size_t b = 0; b < B && !st; b++) {
        size_t count = 0;
        for (size_t t = 0; t < T; t++) {
            if (mask && !mask[b * T + t]) continue;
            row[count] = ids[b * T + t];
            where[count++] = (int32_t)t;
        }
        next = 0;
        st = media_of_row(ctx, kinds, row, count, media, &n_media);
        if (!st) st = m->arch->positions(ctx, m, row, count, media, n_media, &next, streams);
        for (size_t i = 0; i < 3 * count && !st; i++) out[(i / count * B + b) * T + (size_t)where[i % count]] = streams[i];
    }
    mmi_free(row);
    mmi_free(where);
    mmi_free(streams);
    mmi_free(media);
    return st;
}

/* position_ids [3, B, T] of input_ids with media, where the model has its own way to place them and was not given them. */
static mm_status add_media_positions(mm_context *ctx, mmi_feed *f, const mm_tensor_map *inputs, int first)
{
    mmi_io *io = &f->io;
    const mm_model *m = io->model;
    void **data = f->data;
    media_input kinds[2] = {{.name = "image_grid_thw", .token = m->info.image_token}, {.name = "video_grid_thw", .token = m->info.video_token}};
    const int64_t *shape = NULL, *other = NULL;
    const int32_t *ids = find_input(inputs, data, "input_ids", 1, 2, &shape), *mask;
    int64_t streams[3] = {3};
    int32_t *p;
    mm_status st;

    for (int k = 0; k < 2; k++) {
        other = NULL;
        kinds[k].grids = find_input(inputs, data, kinds[k].name, 1, 2, &other);
        if (!kinds[k].grids && other) return MM_OK; /* the builder refuses it */
        if (!kinds[k].grids) continue;
        if (other[1] != 3) return mmi_fail(ctx, MM_E_SHAPE, "%s has rows of %lld, expected time, height and width", kinds[k].name, (long long)other[1]);
        kinds[k].count = (size_t)other[0];
    }
    if (!ids || !(kinds[0].grids || kinds[1].grids)) return MM_OK;
    if (shape[1] > INT32_MAX) return mmi_fail(ctx, MM_E_LIMIT, "an input of %lld tokens", (long long)shape[1]);
    kinds[1].seconds = find_input(inputs, data, "second_per_grid_ts", 0, 1, &other);
    if (kinds[1].seconds && (size_t)other[0] != kinds[1].count)
        return mmi_fail(ctx, MM_E_SHAPE, "second_per_grid_ts has %lld elements for %zu videos", (long long)other[0], kinds[1].count);
    mask = find_input(inputs, data, "attention_mask", 1, 2, &other);
    if (mask && memcmp(other, shape, 2 * sizeof *shape)) mask = NULL; /* the builder refuses it */
    memcpy(streams + 1, shape, 2 * sizeof *shape);
    p = data[io->n_inputs] = mmi_alloc_array(ctx, (size_t)(shape[0] * shape[1]), 3 * sizeof *p);
    if (!p) return MM_E_NOMEM;
    st = media_positions(ctx, m, kinds, ids, mask, (size_t)shape[0], (size_t)shape[1], p);
    return st ? st : add_input(ctx, f, "position_ids", MM_DTYPE_I32, 3, streams, first);
}

static mm_status collect_value(mm_context *ctx, const mmi_graph *g, const char *name, mmi_value value, mm_tensor_map *outputs)
{
    const mmi_value_info *v = mmi_graph_look(g, value);
    mm_tensor *t = NULL;
    mm_status st = mm_tensor_copy(ctx, v->dtype, v->rank, v->shape, mmi_graph_result(g, value), &t);

    if (!st) st = mm_tensor_map_set(ctx, outputs, name, t);
    mm_tensor_release(t);
    return st;
}

/* What the builders gave, and the attention that the graph gives of itself. */
static mm_status collect(mm_context *ctx, const mmi_io *io, mm_tensor_map **outputs)
{
    mm_status st = mm_tensor_map_create(ctx, outputs);

    for (size_t i = 0; i < io->n_outputs && !st; i++) st = collect_value(ctx, io->g, io->outputs[i].name, io->outputs[i].value, *outputs);
    for (size_t v = 1; v < io->g->n_values && !st; v++)
        if (io->g->values[v].is_output && !mm_tensor_map_get(*outputs, io->g->values[v].name))
            st = collect_value(ctx, io->g, io->g->values[v].name, (mmi_value)v, *outputs);
    if (st) {
        mm_tensor_map_destroy(*outputs);
        *outputs = NULL;
    }
    return st;
}

mm_status mmi_feed_begin(mm_context *ctx, const mm_model *m, const mm_tensor_map *inputs, mmi_feed *f)
{
    mmi_io *io = &f->io;
    size_t given = mm_tensor_map_count(inputs);
    mm_status st;

    memset(f, 0, sizeof *f);
    if (given > MMI_IO_MAX - 2) return mmi_fail(ctx, MM_E_LIMIT, "%zu inputs, allowed are %d", given, MMI_IO_MAX - 2);
    if ((st = mmi_graph_create(ctx, &io->g))) return st;
    io->model = m;
    f->given = given;
    return mmi_feed_fill(ctx, inputs, f);
}

/* The list of inputs is made the first time, and is the same the next. */
mm_status mmi_feed_fill(mm_context *ctx, const mm_tensor_map *inputs, mmi_feed *f)
{
    mmi_io *io = &f->io;
    const mm_model *m = io->model;
    const int first = !io->n_inputs;
    size_t n = io->n_inputs;
    mm_status st = MM_OK;

    io->n_inputs = 0;
    for (size_t i = 0; i < MMI_IO_MAX; i++) {
        mmi_free(f->data[i]);
        f->data[i] = NULL;
    }
    for (size_t i = 0; i < f->given && !st; i++) {
        const char *name = mm_tensor_map_name(inputs, i);
        const mm_tensor *t = mm_tensor_map_at(inputs, i);
        if (first) name = f->names[i] = mmi_strdup(ctx, name); /* the graph may outlive the tensors */
        if (!name) return MM_E_NOMEM;
        if (!mm_tensor_elements(t)) st = mmi_fail(ctx, MM_E_SHAPE, "input %s is empty", name);
        if (!st) st = convert(ctx, name, t, &f->data[i]);
        if (!st) st = add_input(ctx, f, name, is_integer(mm_tensor_dtype(t)) ? MM_DTYPE_I32 : MM_DTYPE_F32, mm_tensor_rank(t), mm_tensor_shape(t), first);
    }
    if (!st && m->arch->positions && !mm_tensor_map_get(inputs, "position_ids")) st = add_media_positions(ctx, f, inputs, first);
    if (!st && m->info.vocabulary && io->n_inputs == f->given)
        st = add_positions(ctx, f, inputs, mm_tensor_map_get(inputs, "input_ids") ? "input_ids" : "inputs_embeds", "position_ids", first);
    if (!st && m->info.ids_input) st = add_positions(ctx, f, inputs, "decoder_input_ids", "decoder_position_ids", first);
    if (!first) io->n_inputs = n;
    for (size_t i = 0; i < io->n_inputs && !st; i++) mmi_graph_bind(io->g, io->inputs[i].value, f->data[i]); /* some shape the graph by their values */
    return st;
}

void mmi_feed_end(mmi_feed *f)
{
    mmi_graph_destroy(f->io.g);
    for (size_t i = 0; i < MMI_IO_MAX; i++) {
        mmi_free(f->data[i]);
        mmi_free(f->names[i]);
    }
    memset(f, 0, sizeof *f);
}

/* `cross` NULL: forward; else the source's run, without outputs. */
static mm_status run(mm_context *ctx, const mm_model *m, const mm_tensor_map *inputs, const char *const *wanted, mmi_kv_cache *cross,
                     mm_tensor_map **outputs)
{
    mmi_feed f;
    mmi_run_values values = {.n_caches = 1, .cross = &cross};
    mm_status st = mmi_feed_begin(ctx, m, inputs, &f);

    if (st) goto cleanup;
    f.io.wanted = f.io.watched = wanted;
    f.io.encode = cross != NULL;
    m->arch->build(&f.io);
    if ((st = mmi_graph_plan(f.io.g))) goto cleanup;
    for (size_t i = 0; i < f.given; i++)
        if (!f.io.inputs[i].used) {
            st = mmi_fail(ctx, MM_E_ARGUMENT, "%s does not take an input %s", m->class_name, f.io.inputs[i].name);
            goto cleanup;
        }
    st = mmi_graph_run(f.io.g, cross ? &values : NULL);
    if (!st && outputs) st = collect(ctx, &f.io, outputs);
cleanup:
    mmi_feed_end(&f);
    return st;
}

mm_status mmi_forward(mm_context *ctx, const mm_model *m, const mm_tensor_map *inputs, const char *const *wanted, mm_tensor_map **outputs)
{
    *outputs = NULL;
    return run(ctx, m, inputs, wanted, NULL, outputs);
}

mm_status mmi_forward_source(mm_context *ctx, const mm_model *m, const mm_tensor_map *inputs, mmi_kv_cache *cross)
{
    static const char *const nothing[] = {NULL};
    return run(ctx, m, inputs, nothing, cross, NULL);
}
