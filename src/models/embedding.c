/* Texts are laid one behind another in a batch of one, as segments that attend to themselves only: no padding is computed, and what a
 * text gives does not depend on its neighbours. SPDX-License-Identifier: MIT */
#include "embedding.h"

#include <math.h>
#include <string.h>

#include "forward.h"
#include "io.h"
#include "kernels.h"
#include "plan.h"
#include "row_ops.h"
#include "run.h"
#include "shape_ops.h"
#include "size.h"

enum { BATCH_TOKENS = 1024 }; /* tokens computed at a time: enough to fill the matrix kernels, little enough to stay in cache */

typedef struct {
    int32_t *ids, *positions, *offsets;
    size_t tokens, texts;
} batch;

static mm_status run_batch(mm_context *ctx, const mm_model *m, const batch *b, int normalize, float *out)
{
    static const char *const wanted[] = {"last_hidden_state", NULL};
    int64_t ids_shape[2] = {1, (int64_t)b->tokens}, offsets_shape[1] = {(int64_t)b->texts + 1};
    mmi_io io = {0};
    mmi_value x, vectors;
    mm_status st;

    if ((st = mmi_graph_create(ctx, &io.g))) return st;
    io.model = m;
    io.wanted = wanted;
    io.inputs[0] = (mmi_io_entry){"input_ids", mmi_graph_input(io.g, "input_ids", MM_DTYPE_I32, 2, ids_shape), 0};
    io.inputs[1] = (mmi_io_entry){"position_ids", mmi_graph_input(io.g, "position_ids", MM_DTYPE_I32, 2, ids_shape), 0};
    io.n_inputs = 2;
    io.segments = mmi_graph_input(io.g, "segments", MM_DTYPE_I32, 1, offsets_shape);
    m->arch->build(&io);
    x = mmi_reshape(io.g, mmi_io_find_output(&io, "last_hidden_state"), 2, (int64_t[]){ids_shape[1], m->info.hidden}); /* [T, C] */
    vectors = m->pooling == MMI_POOL_MEAN ? mmi_segment_mean(io.g, x, io.segments) : mmi_segment_first(io.g, x, io.segments);
    if (normalize) vectors = mmi_l2_normalize(io.g, vectors);
    mmi_graph_output(io.g, "embedding", vectors);
    if (!(st = mmi_graph_plan(io.g))) {
        mmi_graph_bind(io.g, io.inputs[0].value, b->ids);
        mmi_graph_bind(io.g, io.inputs[1].value, b->positions);
        mmi_graph_bind(io.g, io.segments, b->offsets);
        st = mmi_graph_run(io.g, NULL);
    }
    if (!st) memcpy(out, mmi_graph_result(io.g, vectors), b->texts * (size_t)m->info.hidden * sizeof *out);
    mmi_graph_destroy(io.g);
    return st;
}

/* The ids of a text, at most `most`: as the tokenizers package truncates, the text is cut and the special tokens around it stay. */
static mm_status encode_cut(mm_context *ctx, const mmi_tokenizer *t, const char *text, size_t most, mmi_ids *ids)
{
    mmi_ids bare = {0};
    size_t n = strlen(text), before = 0, behind, stay;
    mm_status st = mmi_tokenizer_encode(ctx, t, text, n, 1, 1, ids);

    if (st || ids->count <= most) return st;
    st = mmi_tokenizer_encode(ctx, t, text, n, 0, 1, &bare);
    if (!st) {
        size_t added = ids->count - bare.count;
        while (before < added && memcmp(ids->data + before, bare.data, bare.count * sizeof *bare.data)) before++;
        behind = added - before;
        stay = most > added ? most - added : 0;
        memmove(ids->data + before + stay, ids->data + ids->count - behind, behind * sizeof *ids->data);
        ids->count = before + stay + behind;
    }
    mmi_free(bare.data);
    return st;
}

mm_status mmi_embed_texts(mm_context *ctx, const mm_model *m, const char *const *texts, size_t count, int normalize, mm_tensor **out)
{
    int64_t shape[2] = {(int64_t)count, m->info.hidden};
    size_t most = (size_t)(m->max_text && m->max_text < m->info.context ? m->max_text : m->info.context), room;
    batch b = {0};
    mmi_ids ids = {0};
    mm_tensor *t = NULL;
    float *to;
    mm_status st;

    *out = NULL;
    if (!m->tokenizer) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s has no tokenizer", m->path);
    room = BATCH_TOKENS + most;
    b.ids = mmi_alloc_array(ctx, room, sizeof *b.ids);
    b.positions = mmi_alloc_array(ctx, room, sizeof *b.positions);
    b.offsets = mmi_alloc_array(ctx, room + 1, sizeof *b.offsets);
    if (!b.ids || !b.positions || !b.offsets) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    if ((st = mm_tensor_create(ctx, MM_DTYPE_F32, 2, shape, &t))) goto cleanup;
    to = mm_tensor_data(t);
    b.offsets[0] = 0;
    for (size_t i = 0; i < count; i++) {
        ids.count = 0;
        if ((st = encode_cut(ctx, m->tokenizer, texts[i], most, &ids))) goto cleanup;
        ids.count = mmi_size_min(ids.count, most);
        if (ids.count) memcpy(b.ids + b.tokens, ids.data, ids.count * sizeof *b.ids);
        mmi_model_positions(m, ids.data, ids.count, b.positions + b.tokens);
        b.tokens += ids.count;
        b.offsets[++b.texts] = (int32_t)b.tokens;
        if (b.tokens < BATCH_TOKENS && b.texts < room && i + 1 < count) continue;
        if (b.tokens) st = run_batch(ctx, m, &b, normalize, to); /* texts without tokens keep their zeros */
        if (!st) st = mmi_progress(ctx, "embedding", (int64_t)i + 1, (int64_t)count);
        if (st) goto cleanup;
        to += b.texts * (size_t)m->info.hidden;
        b.tokens = b.texts = 0;
    }
    *out = t;
    t = NULL;
cleanup:
    mm_tensor_release(t);
    mmi_free(b.ids);
    mmi_free(b.positions);
    mmi_free(b.offsets);
    mmi_free(ids.data);
    return st;
}

mm_status mmi_prepare_image(mm_context *ctx, const mm_model *m, const mm_image *image, mm_tensor **out)
{
    mm_tensor_map *map = NULL;
    mm_status st;

    *out = NULL;
    if (!m->info.sees) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s takes no images", m->path);
    if (!m->has_processor) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s has no preprocessor_config.json that libmm supports", m->path);
    if ((st = mmi_image_processor_run(ctx, &m->processor, &image, 1, &map, NULL))) return st;
    *out = mm_tensor_map_get(map, "pixel_values");
    mm_tensor_retain(*out);
    mm_tensor_map_destroy(map);
    return MM_OK;
}

/* One named output of a picture. */
static mm_status forward_image(mm_context *ctx, const mm_model *m, const mm_image *image, const char *output, mm_tensor **out)
{
    const char *const wanted[] = {output, NULL};
    mm_tensor *pixels = NULL;
    mm_tensor_map *in = NULL, *map = NULL;
    mm_status st;

    *out = NULL;
    if ((st = mmi_prepare_image(ctx, m, image, &pixels))) goto cleanup;
    if ((st = mm_tensor_map_create(ctx, &in))) goto cleanup;
    if ((st = mm_tensor_map_set(ctx, in, "pixel_values", pixels))) goto cleanup;
    if ((st = mmi_forward(ctx, m, in, wanted, &map))) goto cleanup;
    *out = mm_tensor_map_get(map, output);
    mm_tensor_retain(*out);
cleanup:
    mm_tensor_release(pixels);
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(map);
    return st;
}

mm_status mmi_embed_images(mm_context *ctx, const mm_model *m, const mm_image *const *images, size_t count, int normalize, mm_tensor **out)
{
    int64_t shape[2] = {(int64_t)count, m->info.hidden};
    const mmi_kernels *k = mmi_kernels_of(ctx);
    mm_tensor *t = NULL, *states = NULL;
    size_t C = (size_t)m->info.hidden;
    float *to;
    mm_status st;

    *out = NULL;
    if (!k) return MM_E_NOMEM;
    if (!m->info.sees) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s takes no images", m->path);
    if ((st = mm_tensor_create(ctx, MM_DTYPE_F32, 2, shape, &t))) return st;
    to = mm_tensor_data(t);
    for (size_t i = 0; i < count && !st; i++, to += C) {
        st = forward_image(ctx, m, images[i], "last_hidden_state", &states);
        if (st) break;
        memcpy(to, mm_tensor_const_data(states), C * sizeof *to); /* the class token is the first */
        mm_tensor_release(states);
        if (normalize) {
            float length = sqrtf(k->dot(to, to, C));
            k->scale(to, 1.0f / fmaxf(length, 1e-12f), to, C);
        }
        st = mmi_progress(ctx, "embedding", (int64_t)i + 1, (int64_t)count);
    }
    if (st) {
        mm_tensor_release(t);
        return st;
    }
    *out = t;
    return MM_OK;
}

mm_status mmi_classify_image(mm_context *ctx, const mm_model *m, const mm_image *image, mm_tensor **out)
{
    const mmi_kernels *k = mmi_kernels_of(ctx);
    int64_t shape[1] = {(int64_t)m->n_labels};
    mm_tensor *logits = NULL;
    mm_status st;

    *out = NULL;
    if (!k) return MM_E_NOMEM;
    if (!m->info.classifies) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s has no classifier", m->path);
    if ((st = forward_image(ctx, m, image, "logits", &logits))) return st;
    st = mm_tensor_create(ctx, MM_DTYPE_F32, 1, shape, out);
    if (!st) k->softmax(mm_tensor_const_data(logits), mm_tensor_data(*out), m->n_labels);
    mm_tensor_release(logits);
    return st;
}
