/* Texts are laid one behind another in a batch of one, as segments that attend to themselves only: no padding is computed, and what a
 * text gives does not depend on its neighbours. SPDX-License-Identifier: MIT */
#include "embedding.h"

#include <math.h>
#include <string.h>

#include "forward.h"
#include "io.h"
#include "kernels.h"
#include "media.h"
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

static const char *label_output(const mm_model *m) { return m->info.label_output ? m->info.label_output : "logits"; }

static int64_t text_context(const mm_model *m) { return m->info.text_context ? m->info.text_context : m->info.context; }

static int64_t width_of(const mm_model *m) { return m->info.embedding ? m->info.embedding : m->info.hidden; }

static mm_status run_batch(mm_context *ctx, const mm_model *m, const batch *b, int normalize, float *out)
{
    const char *const wanted[] = {m->info.text_output ? m->info.text_output : "last_hidden_state", NULL};
    int64_t ids_shape[2] = {1, (int64_t)b->tokens}, offsets_shape[1] = {(int64_t)b->texts + 1};
    mmi_io io = {0};
    mmi_value vectors;
    mm_status st;

    if ((st = mmi_graph_create(ctx, &io.g))) return st;
    io.model = m;
    io.wanted = wanted;
    io.inputs[0] = (mmi_io_entry){"input_ids", mmi_graph_input(io.g, "input_ids", MM_DTYPE_I32, 2, ids_shape), 0};
    io.inputs[1] = (mmi_io_entry){"position_ids", mmi_graph_input(io.g, "position_ids", MM_DTYPE_I32, 2, ids_shape), 0};
    io.n_inputs = 2;
    io.segments = mmi_graph_input(io.g, "segments", MM_DTYPE_I32, 1, offsets_shape);
    m->arch->build(&io);
    vectors = mmi_io_find_output(&io, wanted[0]); /* [n, E], or the states to pool */
    if (!m->info.text_output) {
        mmi_value x = mmi_reshape(io.g, vectors, 2, (int64_t[]){ids_shape[1], m->info.hidden}); /* [T, C] */
        vectors = m->pooling == MMI_POOL_MEAN ? mmi_segment_mean(io.g, x, io.segments) : mmi_segment_first(io.g, x, io.segments);
    }
    if (normalize) vectors = mmi_l2_normalize(io.g, vectors);
    mmi_graph_output(io.g, "embedding", vectors);
    if (!(st = mmi_graph_plan(io.g))) {
        mmi_graph_bind(io.g, io.inputs[0].value, b->ids);
        mmi_graph_bind(io.g, io.inputs[1].value, b->positions);
        mmi_graph_bind(io.g, io.segments, b->offsets);
        st = mmi_graph_run(io.g, NULL);
    }
    if (!st) memcpy(out, mmi_graph_result(io.g, vectors), b->texts * (size_t)width_of(m) * sizeof *out);
    mmi_graph_destroy(io.g);
    return st;
}

mm_status mmi_embedding_ids(mm_context *ctx, const mm_model *m, const char *text, size_t most, mmi_ids *ids)
{
    const mmi_tokenizer *t = m->tokenizer;
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
        ids->count = mmi_size_min(before + stay + behind, most);
    }
    mmi_free(bare.data);
    return st;
}

/* As the processors of models that see padding do it. */
static mm_status pad(mm_context *ctx, const mm_model *m, size_t count, mmi_ids *ids)
{
    int32_t token = mmi_tokenizer_special(m->tokenizer, MMI_SPECIAL_PAD);
    while (ids->count < count)
        if (mmi_ids_add(ctx, ids, token >= 0 ? token : (int32_t)m->info.pad_token)) return MM_E_NOMEM;
    return MM_OK;
}

mm_status mmi_embed_texts(mm_context *ctx, const mm_model *m, const char *const *texts, size_t count, int normalize, mm_tensor **out)
{
    int64_t shape[2] = {(int64_t)count, width_of(m)};
    size_t most = (size_t)(m->max_text && m->max_text < text_context(m) ? m->max_text : text_context(m)), room;
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
        if ((st = mmi_embedding_ids(ctx, m, texts[i], most, &ids))) goto cleanup;
        ids.count = mmi_size_min(ids.count, most);
        if (m->info.pads_text && (st = pad(ctx, m, most, &ids))) goto cleanup;
        if (ids.count) memcpy(b.ids + b.tokens, ids.data, ids.count * sizeof *b.ids);
        mmi_model_positions(m, ids.data, ids.count, b.positions + b.tokens);
        b.tokens += ids.count;
        b.offsets[++b.texts] = (int32_t)b.tokens;
        if (b.tokens < BATCH_TOKENS && b.texts < room && i + 1 < count) continue;
        if (b.tokens) st = run_batch(ctx, m, &b, normalize, to); /* texts without tokens keep their zeros */
        if (!st) st = mmi_progress(ctx, "embedding", (int64_t)i + 1, (int64_t)count);
        if (st) goto cleanup;
        to += b.texts * (size_t)width_of(m);
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
    mm_status st = mmi_media_images(ctx, m, &image, 1, &map, NULL);

    *out = NULL;
    if (st) return st;
    *out = mm_tensor_map_get(map, "pixel_values");
    mm_tensor_retain(*out);
    mm_tensor_map_destroy(map);
    return MM_OK;
}

/* One named output of a picture. */
static mm_status forward_image(mm_context *ctx, const mm_model *m, const mm_image *image, const char *output, mm_tensor **out)
{
    const char *const wanted[] = {output, NULL};
    mm_tensor_map *in = NULL, *map = NULL;
    mm_status st = mmi_media_images(ctx, m, &image, 1, &in, NULL);

    *out = NULL;
    if (!st) st = mmi_forward(ctx, m, in, wanted, &map);
    if (!st) {
        *out = mm_tensor_map_get(map, output);
        mm_tensor_retain(*out);
    }
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(map);
    return st;
}

mm_status mmi_embed_images(mm_context *ctx, const mm_model *m, const mm_image *const *images, size_t count, int normalize, mm_tensor **out)
{
    int64_t shape[2] = {(int64_t)count, width_of(m)};
    const mmi_kernels *k = mmi_kernels_of(ctx);
    mm_tensor *t = NULL, *vector = NULL;
    size_t C = (size_t)width_of(m);
    float *to;
    mm_status st;

    *out = NULL;
    if (!k) return MM_E_NOMEM;
    if (!m->info.sees) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s takes no images", m->path);
    if ((st = mm_tensor_create(ctx, MM_DTYPE_F32, 2, shape, &t))) return st;
    to = mm_tensor_data(t);
    for (size_t i = 0; i < count && !st; i++, to += C) {
        st = forward_image(ctx, m, images[i], m->info.image_output ? m->info.image_output : "last_hidden_state", &vector);
        if (st) break;
        memcpy(to, mm_tensor_const_data(vector), C * sizeof *to); /* of hidden states the class token, which is the first */
        mm_tensor_release(vector);
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

/* Scores as probabilities. */
static void judge(const mmi_kernels *k, mmi_judgement how, const float *scores, float *out, size_t n)
{
    if (how == MMI_JUDGE_CHOICE) k->softmax(scores, out, n);
    else k->activate(how == MMI_JUDGE_EACH ? MMI_ACT_SIGMOID : MMI_ACT_NONE, scores, out, n);
}

mm_status mmi_classify_image(mm_context *ctx, const mm_model *m, const mm_image *image, mm_tensor **out)
{
    const mmi_kernels *k = mmi_kernels_of(ctx);
    int64_t shape[1] = {(int64_t)m->n_labels};
    mm_tensor *logits = NULL;
    mm_status st;

    *out = NULL;
    if (!k) return MM_E_NOMEM;
    if (!m->info.classifies || !m->info.sees)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s has no classifier of pictures%s", m->path, m->info.compares ? ": give labels" : "");
    if ((st = forward_image(ctx, m, image, label_output(m), &logits))) return st;
    st = mm_tensor_create(ctx, MM_DTYPE_F32, 1, shape, out);
    if (!st) judge(k, m->info.judgement, mm_tensor_const_data(logits), mm_tensor_data(*out), m->n_labels);
    mm_tensor_release(logits);
    return st;
}

mm_status mmi_classify_text(mm_context *ctx, const mm_model *m, const char *text, mm_tensor **out)
{
    const char *const wanted[] = {label_output(m), NULL};
    const mmi_kernels *k = mmi_kernels_of(ctx);
    int64_t shape[2] = {1, 0};
    mmi_ids ids = {0};
    mm_tensor *t = NULL;
    mm_tensor_map *in = NULL, *map = NULL;
    mm_status st;

    *out = NULL;
    if (!k) return MM_E_NOMEM;
    if (!m->info.classifies || !m->info.vocabulary) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s has no classifier of texts", m->path);
    if (!m->tokenizer) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s has no tokenizer", m->path);
    if ((st = mmi_embedding_ids(ctx, m, text, (size_t)text_context(m), &ids))) goto cleanup;
    shape[1] = (int64_t)ids.count;
    if ((st = mm_tensor_copy(ctx, MM_DTYPE_I32, 2, shape, ids.data, &t))) goto cleanup;
    if ((st = mm_tensor_map_create(ctx, &in))) goto cleanup;
    if ((st = mm_tensor_map_set(ctx, in, "input_ids", t))) goto cleanup;
    if ((st = mmi_forward(ctx, m, in, wanted, &map))) goto cleanup;
    shape[0] = (int64_t)m->n_labels;
    st = mm_tensor_create(ctx, MM_DTYPE_F32, 1, shape, out);
    if (!st) judge(k, m->info.judgement, mm_tensor_const_data(mm_tensor_map_get(map, wanted[0])), mm_tensor_data(*out), m->n_labels);
cleanup:
    mm_tensor_release(t);
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(map);
    mmi_free(ids.data);
    return st;
}

/* The template with a label in the place of "{}". */
static mm_status write_label(mm_context *ctx, const char *label_template, const char *mark, const char *label, char **out)
{
    mmi_text text = {0};

    if (mmi_text_format(ctx, &text, "%.*s%s%s", (int)(mark - label_template), label_template, label, mark + 2)) return MM_E_NOMEM;
    *out = text.data;
    return MM_OK;
}

mm_status mmi_classify_labels(mm_context *ctx, const mm_model *m, const mm_image *image, const char *const *labels, size_t count,
                              const char *label_template, mm_tensor **out)
{
    const mmi_kernels *k = mmi_kernels_of(ctx);
    const char *mark;
    int64_t shape[1] = {(int64_t)count};
    size_t width = (size_t)width_of(m);
    char **texts = NULL;
    mm_tensor *words = NULL, *picture = NULL, *t = NULL;
    float *scores;
    mm_status st = MM_OK;

    *out = NULL;
    if (!k) return MM_E_NOMEM;
    if (!m->info.compares) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s does not compare pictures with texts", m->path);
    if (!label_template) label_template = "This is a photo of {}.";
    mark = strstr(label_template, "{}");
    if (!mark || strlen(label_template) > INT32_MAX) return mmi_fail(ctx, MM_E_ARGUMENT, "the template \"%.60s\" has no {} for the label", label_template);
    texts = mmi_zalloc_array(ctx, count, sizeof *texts);
    if (!texts) return MM_E_NOMEM;
    for (size_t i = 0; i < count && !st; i++) st = write_label(ctx, label_template, mark, labels[i], &texts[i]);
    if (!st) st = mmi_embed_texts(ctx, m, (const char *const *)texts, count, 1, &words);
    if (!st) st = mmi_embed_images(ctx, m, &image, 1, 1, &picture);
    if (!st) st = mm_tensor_create(ctx, MM_DTYPE_F32, 1, shape, &t);
    if (st) goto cleanup;
    scores = mm_tensor_data(t);
    for (size_t i = 0; i < count; i++)
        scores[i] = expf(m->info.score_scale) * k->dot((const float *)mm_tensor_const_data(words) + i * width, mm_tensor_const_data(picture), width) +
                    m->info.score_bias;
    judge(k, m->info.comparison, scores, scores, count);
    *out = t;
    t = NULL;
cleanup:
    for (size_t i = 0; i < count; i++) mmi_free(texts[i]);
    mmi_free(texts);
    mm_tensor_release(words);
    mm_tensor_release(picture);
    mm_tensor_release(t);
    return st;
}
