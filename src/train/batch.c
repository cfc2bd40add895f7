/* Lengths are rounded up, so that batches of few shapes come up and their graphs are found again.
 * SPDX-License-Identifier: MIT */
#include "batch.h"

#include <string.h>

#include "loss_ops.h"
#include "packing.h"
#include "size.h"
#include "tensor.h"

enum { TOKENS_STEP = 16, LABELS_STEP = 8 };

#define TRY(call) \
    do { \
        const mm_status tried = (call); \
        if (tried) return tried; \
    } while (0)

typedef struct {
    mm_context *ctx;
    const mmi_example_maker *m;
    const mmi_example *examples;
    size_t n;
    mm_tensor_map *map;
} collation;

/* A new tensor of the batch; *data is to be filled. */
static mm_status add(collation *c, const char *name, int32_t dtype, int32_t rank, const int64_t *shape, void **data)
{
    mm_tensor *t = NULL;
    mm_status st = mm_tensor_create(c->ctx, dtype, rank, shape, &t);

    if (!st) st = mm_tensor_map_set(c->ctx, c->map, name, t);
    *data = st ? NULL : mm_tensor_data(t);
    mm_tensor_release(t); /* the map holds it */
    return st;
}

static size_t rounded(size_t n, size_t step, size_t most)
{
    const size_t up = (n + step - 1) / step * step;
    return most && up > most ? mmi_size_max(n, most) : up;
}

static int32_t pad_token(const mm_model *m)
{
    const int32_t pad = m->tokenizer ? mmi_tokenizer_special(m->tokenizer, MMI_SPECIAL_PAD) : -1;
    if (pad >= 0) return pad;
    return m->info.position_base ? (int32_t)m->info.position_base - 1 : (int32_t)m->info.pad_token;
}

/* Sequence i of a batch. */
typedef const mmi_ids *(*ids_of)(const collation *c, size_t i);

/* Sequences as [n, T], behind each its padding, and where `masked` the mask of what is none. */
static mm_status add_ids(collation *c, const char *name, const char *mask_name, ids_of of, size_t count)
{
    const mm_model *model = c->m->model;
    size_t T = 1;
    int64_t shape[2] = {(int64_t)count, 0};
    int padded = 0;
    void *data, *mask = NULL;

    for (size_t i = 0; i < count; i++) T = mmi_size_max(T, of(c, i)->count);
    T = rounded(T, TOKENS_STEP, (size_t)model->info.context);
    shape[1] = (int64_t)T;
    for (size_t i = 0; i < count; i++) padded |= of(c, i)->count < T;
    TRY(add(c, name, MM_DTYPE_I32, 2, shape, &data));
    if (mask_name && padded) TRY(add(c, mask_name, MM_DTYPE_I32, 2, shape, &mask));
    for (size_t i = 0; i < count; i++) {
        const mmi_ids *ids = of(c, i);
        for (size_t t = 0; t < T; t++) {
            ((int32_t *)data)[i * T + t] = t < ids->count ? ids->data[t] : pad_token(model);
            if (mask) ((int32_t *)mask)[i * T + t] = t < ids->count;
        }
    }
    return MM_OK;
}

static const mmi_ids *written_ids(const collation *c, size_t i) { return &c->examples[i].written[0].ids; }
static const mmi_ids *source_ids(const collation *c, size_t i) { return &c->examples[i].source; }
static const mmi_ids *pair_source_ids(const collation *c, size_t i) { return &c->examples[i / 2].source; }
static const mmi_ids *pair_ids(const collation *c, size_t i) { return &c->examples[i / 2].written[i % 2].ids; }

/* Each picture's own text, then that of the next one that has another: a pair that is none. */
static const mmi_ids *match_ids(const collation *c, size_t i)
{
    const mmi_ids *own = &c->examples[i / 2].source, *other = own;

    for (size_t k = 1; k < c->n && i % 2 && other == own; k++) {
        const mmi_ids *next = &c->examples[(i / 2 + k) % c->n].source;
        if (next->count != own->count || memcmp(next->data, own->data, own->count * sizeof *own->data)) other = next;
    }
    return other;
}

/* What the loss counts of the sequences: labels, where, and each as much as every other; of preferences the sum of each. */
static mm_status add_labels(collation *c, size_t count, int pairs)
{
    size_t K = 1, total = 0;
    int64_t shape[2] = {(int64_t)count, 0};
    void *labels, *positions, *weights;

    for (size_t i = 0; i < count; i++) {
        const mmi_written *w = pairs ? &c->examples[i / 2].written[i % 2] : &c->examples[i].written[0];
        K = mmi_size_max(K, w->labels.count);
        total += w->labels.count;
    }
    shape[1] = (int64_t)(K = rounded(K, LABELS_STEP, 0));
    TRY(add(c, "labels", MM_DTYPE_I32, 2, shape, &labels));
    TRY(add(c, "label_positions", MM_DTYPE_I32, 2, shape, &positions));
    TRY(add(c, "label_weights", MM_DTYPE_F32, 2, shape, &weights));
    for (size_t i = 0; i < count; i++) {
        const mmi_written *w = pairs ? &c->examples[i / 2].written[i % 2] : &c->examples[i].written[0];
        for (size_t k = 0; k < K; k++) {
            const int there = k < w->labels.count;
            ((int32_t *)labels)[i * K + k] = there ? w->labels.data[k] : MMI_IGNORED;
            ((int32_t *)positions)[i * K + k] = there ? w->positions.data[k] : 0;
            ((float *)weights)[i * K + k] = !there ? 0 : pairs ? 1 : 1.0f / (float)total;
        }
    }
    return MM_OK;
}

/* Media of the examples one behind another; `repeat`: each twice, for two sequences. */
static mm_status add_media(collation *c, const mm_tensor_map *(*of)(const mmi_example *e), size_t repeat)
{
    const mm_tensor_map **maps;
    mm_tensor_map *all = NULL;
    size_t n = 0;
    mm_status st;

    for (size_t i = 0; i < c->n; i++) n += of(&c->examples[i]) != NULL;
    if (!n) return MM_OK;
    if (n != c->n && c->m->model->info.fusion != MMI_FUSION_TOKENS)
        return mmi_fail(c->ctx, MM_E_FORMAT, "task %s: %zu of %zu examples of a batch have pictures or sound, it must be all or none", c->m->task->name, n, c->n);
    maps = mmi_alloc_array(c->ctx, n * repeat, sizeof *maps);
    if (!maps) return MM_E_NOMEM;
    n = 0;
    for (size_t i = 0; i < c->n; i++)
        for (size_t r = 0; r < repeat && of(&c->examples[i]); r++) maps[n++] = of(&c->examples[i]);
    st = mmi_tensor_maps_stack(c->ctx, maps, n, &all);
    for (size_t i = 0; !st && i < mm_tensor_map_count(all); i++) st = mm_tensor_map_set(c->ctx, c->map, mm_tensor_map_name(all, i), mm_tensor_map_at(all, i));
    mm_tensor_map_destroy(all);
    mmi_free(maps);
    return st;
}

static const mm_tensor_map *media_of(const mmi_example *e) { return e->media; }
static const mm_tensor_map *clean_of(const mmi_example *e) { return e->clean; }

static mm_status add_noise(collation *c)
{
    const int64_t shape[2] = {(int64_t)c->n, (int64_t)c->examples[0].patches};
    void *data;

    TRY(add(c, "noise", MM_DTYPE_F32, 2, shape, &data));
    for (size_t i = 0; i < c->n; i++) {
        if (c->examples[i].patches != c->examples[0].patches) return mmi_fail(c->ctx, MM_E_SHAPE, "task %s: pictures of different sizes in one batch", c->m->task->name);
        memcpy((float *)data + i * (size_t)shape[1], c->examples[i].noise, (size_t)shape[1] * sizeof(float));
    }
    return MM_OK;
}

static mm_status add_classes(collation *c)
{
    const int64_t shape[1] = {(int64_t)c->n};
    void *labels, *weights;

    TRY(add(c, "labels", MM_DTYPE_I32, 1, shape, &labels));
    TRY(add(c, "label_weights", MM_DTYPE_F32, 1, shape, &weights));
    for (size_t i = 0; i < c->n; i++) {
        ((int32_t *)labels)[i] = c->examples[i].label;
        ((float *)weights)[i] = 1.0f / (float)c->n;
    }
    return MM_OK;
}

static mm_status add_values(collation *c)
{
    const int64_t shape[2] = {(int64_t)c->n, (int64_t)c->examples[0].n_values};
    void *data;

    TRY(add(c, "values", MM_DTYPE_F32, 2, shape, &data));
    for (size_t i = 0; i < c->n; i++) {
        if (c->examples[i].n_values != c->examples[0].n_values) return mmi_fail(c->ctx, MM_E_FORMAT, "task %s: examples with different numbers of values", c->m->task->name);
        for (size_t k = 0; k < c->examples[0].n_values; k++) ((float *)data)[i * (size_t)shape[1] + k] = (float)c->examples[i].values[k];
    }
    return MM_OK;
}

/* Rows in turns: a picture with its text, and with another's. */
static mm_status add_matches(collation *c)
{
    const int64_t shape[1] = {2 * (int64_t)c->n};
    void *labels, *weights;

    TRY(add(c, "labels", MM_DTYPE_I32, 1, shape, &labels));
    TRY(add(c, "label_weights", MM_DTYPE_F32, 1, shape, &weights));
    for (size_t i = 0; i < 2 * c->n; i++) {
        ((int32_t *)labels)[i] = match_ids(c, i) == &c->examples[i / 2].source;
        ((float *)weights)[i] = 0.5f / (float)c->n;
    }
    return MM_OK;
}

/* Written sequences with what their encoder reads. A decoder of its own needs no mask, since padding stands behind all that looks back; but a loss on hidden states does. */
static mm_status add_written(collation *c, ids_of of, size_t count, int pairs)
{
    const mm_model *model = c->m->model;
    const mmi_objective_spec *o = &c->m->task->objective;
    const int masked = o->kind == MMI_OBJECTIVE_MASKED_LM || (o->kind == MMI_OBJECTIVE_DISTILLATION && o->hidden_weight > 0 && !model->info.ids_input);
    size_t sources = 0;

    for (size_t i = 0; i < c->n; i++) sources += c->examples[i].source.count > 0;
    if (sources) TRY(add_ids(c, "input_ids", "attention_mask", pairs ? pair_source_ids : source_ids, count));
    TRY(add_ids(c, model->info.ids_input ? model->info.ids_input : "input_ids", masked ? "attention_mask" : NULL, of, count));
    return add_labels(c, count, pairs);
}

/* Texts one behind another in one sequence of rows of max_tokens, each a segment that sees itself alone. */
static mm_status fill_packed(collation *c, const mmi_packing *p)
{
    const size_t T = p->rows * p->length, offsets = mmi_packing_segments(p, 0, p->rows, NULL, NULL), room = rounded(offsets, LABELS_STEP, 0);
    const int64_t shape[2] = {1, (int64_t)T}, segments_shape[1] = {(int64_t)room};
    void *ids, *positions, *segments, *labels, *where, *weights;
    size_t total = 0, K = 0;

    for (size_t i = 0; i < p->count; i++) total += p->pieces[i].length - 1;
    TRY(add(c, "input_ids", MM_DTYPE_I32, 2, shape, &ids));
    TRY(add(c, "position_ids", MM_DTYPE_I32, 2, shape, &positions));
    TRY(add(c, "segments", MM_DTYPE_I32, 1, segments_shape, &segments));
    TRY(add(c, "labels", MM_DTYPE_I32, 2, (int64_t[]){1, (int64_t)rounded(total, LABELS_STEP, 0)}, &labels));
    TRY(add(c, "label_positions", MM_DTYPE_I32, 2, (int64_t[]){1, (int64_t)rounded(total, LABELS_STEP, 0)}, &where));
    TRY(add(c, "label_weights", MM_DTYPE_F32, 2, (int64_t[]){1, (int64_t)rounded(total, LABELS_STEP, 0)}, &weights));
    (void)mmi_packing_segments(p, 0, p->rows, segments, positions);
    for (size_t i = offsets; i < room; i++) ((int32_t *)segments)[i] = (int32_t)T; /* empty ones */
    for (size_t t = 0; t < T; t++) ((int32_t *)ids)[t] = pad_token(c->m->model);
    for (size_t i = 0; i < p->count; i++) {
        const mmi_packed_piece *piece = &p->pieces[i];
        const mmi_ids *from = &c->examples[piece->sequence].written[0].ids;
        const size_t at = piece->row * p->length + piece->at;
        memcpy((int32_t *)ids + at, from->data + piece->from, piece->length * sizeof *from->data);
        for (size_t t = 1; t < piece->length; t++, K++) {
            ((int32_t *)labels)[K] = from->data[piece->from + t];
            ((int32_t *)where)[K] = (int32_t)(at + t - 1);
            ((float *)weights)[K] = 1.0f / (float)total;
        }
    }
    for (; K < rounded(total, LABELS_STEP, 0); K++) ((int32_t *)labels)[K] = MMI_IGNORED; /* the rest is zeros */
    return MM_OK;
}

static mm_status add_packed(collation *c)
{
    size_t *lengths = mmi_alloc_array(c->ctx, c->n, sizeof *lengths);
    mmi_packing p = {0};
    mm_status st = lengths ? MM_OK : MM_E_NOMEM;

    for (size_t i = 0; i < c->n && !st; i++) lengths[i] = c->examples[i].written[0].ids.count;
    if (!st) st = mmi_packing_make(c->ctx, lengths, c->n, mmi_example_most_tokens(c->m), &p);
    if (!st) st = fill_packed(c, &p);
    mmi_packing_clear(&p);
    mmi_free(lengths);
    return st;
}

static mm_status collate(collation *c)
{
    const mmi_objective_kind k = c->m->task->objective.kind;
    const size_t repeat = k == MMI_OBJECTIVE_DPO || k == MMI_OBJECTIVE_MATCHING ? 2 : 1;
    size_t texts = 0;

    for (size_t i = 0; i < c->n; i++) texts += c->examples[i].source.count > 0;
    TRY(add_media(c, media_of, repeat));
    switch (k) {
    case MMI_OBJECTIVE_MAE: return add_noise(c);
    case MMI_OBJECTIVE_DENOISING_IMAGE: TRY(add_media(c, clean_of, 1)); return add_noise(c);
    case MMI_OBJECTIVE_CONTRASTIVE:
    case MMI_OBJECTIVE_SIGMOID_CONTRASTIVE: return add_ids(c, "input_ids", c->m->model->info.pads_text ? NULL : "attention_mask", source_ids, c->n);
    case MMI_OBJECTIVE_MATCHING:
        TRY(add_ids(c, "input_ids", "attention_mask", match_ids, 2 * c->n));
        return add_matches(c);
    case MMI_OBJECTIVE_CLASSIFICATION:
    case MMI_OBJECTIVE_REGRESSION:
        if (texts) TRY(add_ids(c, "input_ids", "attention_mask", source_ids, c->n));
        return k == MMI_OBJECTIVE_CLASSIFICATION ? add_classes(c) : add_values(c);
    case MMI_OBJECTIVE_DPO: return add_written(c, pair_ids, 2 * c->n, 1);
    default: return c->m->task->pack ? add_packed(c) : add_written(c, written_ids, c->n, 0);
    }
}

mm_status mmi_batch_collate(mm_context *ctx, const mmi_example_maker *m, const mmi_example *examples, size_t n, mm_tensor_map **out)
{
    collation c = {ctx, m, examples, n, NULL};
    mm_status st = mm_tensor_map_create(ctx, &c.map);

    if (!st) st = collate(&c);
    if (st) {
        mm_tensor_map_destroy(c.map);
        c.map = NULL;
    }
    *out = c.map;
    return st;
}
