/* One whole forward over the tokens of the session with its attention asked for, from the rows at which the answer's tokens were chosen down to the
 * picture's tokens; from there explanation.c goes through the tower. SPDX-License-Identifier: MIT */
#include "session_explain.h"

#include <math.h>
#include <string.h>

#include "explanation.h"
#include "forward.h"
#include "session_media.h"
#include "session_state.h"

/* Rows [*from, *to) of n: each chose the token behind it, but the last, which has none behind it unless nothing was written. */
static void answer_rows(size_t first, size_t n, size_t *from, size_t *to)
{
    *from = first ? first - 1 : 0;
    *to = n > 1 && first < n ? n - 1 : n;
    if (*from >= *to) *from = *to - 1;
}

static mm_status put(mm_context *ctx, mm_tensor_map *map, const char *name, int32_t dtype, int32_t rank, const int64_t *shape, const void *data)
{
    mm_tensor *t = NULL;
    mm_status st = mm_tensor_copy(ctx, dtype, rank, shape, data, &t);

    if (!st) st = mm_tensor_map_set(ctx, map, name, t);
    mm_tensor_release(t);
    return st;
}

/* Features of all media of a modality, as an input. */
static mm_status put_rows(mm_session *s, mm_tensor_map *map, mmi_modality modality, const char *name)
{
    size_t n = mmi_session_count_rows(s, modality, 0, s->tokens.count);
    mm_tensor *t = NULL;
    mm_status st;

    if (!n) return MM_OK;
    st = mm_tensor_create(s->ctx, MM_DTYPE_F32, 2, (int64_t[]){(int64_t)n, s->model->info.hidden}, &t);
    if (!st) mmi_session_gather_rows(s, modality, 0, s->tokens.count, mm_tensor_data(t));
    if (!st) st = mm_tensor_map_set(s->ctx, map, name, t);
    mm_tensor_release(t);
    return st;
}

/* What a run of all tokens at once takes. */
static mm_status put_tokens(mm_session *s, mm_tensor_map *map)
{
    const mmi_model_info *info = &s->model->info;
    const int64_t T = (int64_t)s->tokens.count, shape[3] = {3, 1, T};
    int32_t *numbers = mmi_alloc_array(s->ctx, s->tokens.count, 3 * sizeof *numbers);
    mm_status st = numbers ? MM_OK : MM_E_NOMEM;

    if (!st) st = put(s->ctx, map, info->ids_input ? info->ids_input : "input_ids", MM_DTYPE_I32, 2, shape + 1, s->tokens.data);
    if (!st && info->position_streams == 3) {
        for (int i = 0; i < 3; i++) memcpy(numbers + (int64_t)i * T, s->streams[i].data, (size_t)T * sizeof *numbers);
        st = put(s->ctx, map, "position_ids", MM_DTYPE_I32, 3, shape, numbers);
    }
    if (!st && info->prefix) {
        for (size_t t = 0; t < (size_t)T; t++) numbers[t] = t >= s->prefix;
        st = put(s->ctx, map, "token_type_ids", MM_DTYPE_I32, 2, shape + 1, numbers);
    }
    mmi_free(numbers);
    return st;
}

/* The answer's weights over all tokens: [n] of the caller's. */
static mm_status look_along_text(mm_session *s, size_t first, float *v)
{
    const size_t n = s->tokens.count;
    mm_tensor_map *inputs = NULL, *outputs = NULL;
    mmi_watch_list watch = {0};
    size_t from, to;
    mm_status st = mm_tensor_map_create(s->ctx, &inputs);

    answer_rows(first, n, &from, &to);
    for (size_t t = 0; t < n; t++) v[t] = t >= from && t < to ? 1.0f / (float)(to - from) : 0;
    if (!st) st = put_tokens(s, inputs);
    if (!st) st = put_rows(s, inputs, MMI_IMAGE, "image_features");
    if (!st) st = put_rows(s, inputs, MMI_VIDEO, "video_features");
    if (!st) st = mmi_watch_layers(s->ctx, &watch, "", "attentions", s->model->info.layers);
    if (!st) st = mmi_forward(s->ctx, s->model, inputs, (const char *const *)watch.names, &outputs);
    if (!st) st = mmi_roll_out(s->ctx, outputs, "", "attentions", s->model->info.layers, v, n);
    mmi_watch_clear(&watch);
    mm_tensor_map_destroy(inputs);
    mm_tensor_map_destroy(outputs);
    return st;
}

/* From tokens in a square for each tile, the whole picture's last, to one grid; what fell on the whole picture is spread over it. */
static mm_status explain_tiles(mm_session *s, const mm_image *image, const mmi_image_layout *layout, const float *v, size_t n, mm_tensor **out)
{
    const size_t down = layout->rows ? layout->rows : 1, across = layout->cols ? layout->cols : 1, tiles = layout->rows ? down * across : 0;
    const size_t side = (size_t)lround(sqrt((double)n / (double)(tiles + 1))), cols = across * side, rows = down * side, square = side * side;
    float *grid;
    mm_status st;

    if (square * (tiles + 1) != n) return mmi_fail(s->ctx, MM_E_UNSUPPORTED, "%zu tokens are no squares of %zu tiles", n, tiles + 1);
    grid = mmi_alloc_array(s->ctx, rows, cols * sizeof *grid);
    if (!grid) return MM_E_NOMEM;
    for (size_t y = 0; y < rows; y++)
        for (size_t x = 0; x < cols; x++) {
            const size_t tile = y / side * across + x / side;
            grid[y * cols + x] = v[tiles * square + y / down * side + x / across] / (float)(down * across);
            if (tiles) grid[y * cols + x] += v[tile * square + y % side * side + x % side];
        }
    st = mmi_explain_place(s->ctx, s->model, image, grid, rows, cols, out);
    mmi_free(grid);
    return st;
}

/* From v [n] over the picture's own tokens. */
static mm_status explain_tokens(mm_session *s, const mm_image *image, const float *v, size_t n, mm_tensor **out)
{
    const mmi_image_processor *p = &s->model->processor;
    mm_tensor_map *inputs = NULL, *outputs = NULL;
    mmi_watch_list watch = {0};
    mmi_image_layout layout = {0};
    mm_status st = mmi_media_images(s->ctx, s->model, &image, 1, &inputs, &layout);

    if (st) return st;
    if (p->layout == MMI_LAYOUT_SPLIT) {
        st = explain_tiles(s, image, &layout, v, n, out);
    } else if (p->layout == MMI_LAYOUT_GRID) {
        const size_t rows = layout.rows / p->merge, cols = layout.cols / p->merge;
        st = rows * cols == n ? mmi_explain_place(s->ctx, s->model, image, v, rows, cols, out)
                              : mmi_fail(s->ctx, MM_E_UNSUPPORTED, "%zu tokens are no grid of %zu x %zu", n, rows, cols);
    } else { /* a token a patch: through the tower, whose features the text saw */
        st = mmi_watch_tower(s->ctx, &watch, s->model);
        if (!st) st = mmi_watch_name(s->ctx, &watch, "image_features");
        if (!st) st = mmi_forward(s->ctx, s->model, inputs, (const char *const *)watch.names, &outputs);
        if (!st) st = mmi_explain_tower(s->ctx, s->model, image, inputs, outputs, v, n, out);
    }
    mmi_watch_clear(&watch);
    mm_tensor_map_destroy(inputs);
    mm_tensor_map_destroy(outputs);
    return st;
}

static mm_status explain_fused(mm_session *s, const mm_image *image, const mmi_encoded *e, size_t first, mm_tensor **out)
{
    const mmi_placed *p = NULL;
    size_t n = 0;
    float *v;
    mm_status st;

    for (size_t i = 0; i < s->placed.count && !p; i++)
        if (s->placed.items[i].of == e) p = &s->placed.items[i];
    if (!p) return mmi_fail(s->ctx, MM_E_ARGUMENT, "the session does not hold this picture");
    v = mmi_alloc_array(s->ctx, s->tokens.count, sizeof *v);
    if (!v) return MM_E_NOMEM;
    st = look_along_text(s, first, v);
    for (size_t t = p->begin; t < p->end && !st; t++) /* n stays behind t */
        if (s->tokens.data[t] == s->model->info.image_token) v[n++] = v[t];
    if (!st) st = explain_tokens(s, image, v, n, out);
    mmi_free(v);
    return st;
}

/* v [S] over a source: the mean over layers of the attention across to it, from the rows that `rows` [T] weighs. */
static mm_status look_across(mm_context *ctx, const mm_tensor_map *outputs, const char *side, int64_t layers, const float *rows, size_t T, float **v, size_t *S)
{
    const mm_tensor *t;
    mm_status st = mmi_watched(ctx, outputs, side, "cross_attentions", 0, &t);

    *v = NULL;
    if (st) return st;
    *S = (size_t)mm_tensor_shape(t)[2];
    *v = mmi_zalloc_array(ctx, *S, sizeof **v);
    if (!*v) return MM_E_NOMEM;
    for (int64_t l = 0; l < layers && !st; l++) {
        const float *a;
        if ((st = mmi_watched(ctx, outputs, side, "cross_attentions", l, &t))) break;
        a = mm_tensor_const_data(t); /* [1, T, S] */
        for (size_t q = 0; q < T; q++, a += *S)
            for (size_t i = 0; i < *S; i++) (*v)[i] += rows[q] * a[i] / (float)layers;
    }
    return st;
}

static mm_status explain_across(mm_session *s, const mm_image *image, const mmi_encoded *e, size_t first, mm_tensor **out)
{
    const mm_model *m = s->model;
    const int64_t layers = (int64_t)m->info.cross.layers, *shape = (const int64_t[]){1, (int64_t)s->source.count};
    const int64_t question = m->info.text_is_source ? m->info.layers : 0; /* the source is a text that attends across to the picture in turn */
    mm_tensor_map *inputs = NULL, *outputs = NULL;
    mmi_watch_list watch = {0};
    float *rows = NULL, *v = NULL, *words = NULL;
    size_t n = 0, from, to, T = s->tokens.count;
    mm_status st;

    if (!s->source_media.count || s->source_media.items[0] != e) return mmi_fail(s->ctx, MM_E_ARGUMENT, "the session does not hold this picture");
    if ((st = mm_tensor_map_create(s->ctx, &inputs))) return st;
    for (size_t i = 0; i < mm_tensor_map_count(e->medium.inputs) && !st; i++)
        st = mm_tensor_map_set(s->ctx, inputs, mm_tensor_map_name(e->medium.inputs, i), mm_tensor_map_at(e->medium.inputs, i));
    if (!st && s->source.count) st = put(s->ctx, inputs, "input_ids", MM_DTYPE_I32, 2, shape, s->source.data);
    if (!st) st = put_tokens(s, inputs);
    if (!st) st = mmi_watch_layers(s->ctx, &watch, "", "cross_attentions", layers);
    if (!st) st = mmi_watch_layers(s->ctx, &watch, "text", "cross_attentions", question);
    if (!st) st = mmi_watch_tower(s->ctx, &watch, m);
    if (!st) st = mmi_forward(s->ctx, m, inputs, (const char *const *)watch.names, &outputs);
    rows = mmi_zalloc_array(s->ctx, T, sizeof *rows);
    if (!rows) st = MM_E_NOMEM;
    if (st) goto cleanup;
    answer_rows(first, T, &from, &to);
    for (size_t t = from; t < to; t++) rows[t] = 1.0f / (float)(to - from);
    st = look_across(s->ctx, outputs, "", layers, rows, T, &v, &n);
    if (!st && question) {
        words = v;
        st = look_across(s->ctx, outputs, "text", question, words, n, &v, &n);
    }
    if (!st) st = mmi_explain_tower(s->ctx, m, image, inputs, outputs, v, n, out);
cleanup:
    mmi_free(rows);
    mmi_free(words);
    mmi_free(v);
    mmi_watch_clear(&watch);
    mm_tensor_map_destroy(inputs);
    mm_tensor_map_destroy(outputs);
    return st;
}

mm_status mmi_session_explain(mm_session *s, const mm_image *image, size_t first, mm_tensor **out)
{
    const mmi_encoded *e;
    mm_status st = mmi_session_settle(s);

    *out = NULL;
    if (st) return st;
    if (!s->tokens.count) return mmi_fail(s->ctx, MM_E_STATE, "the session is empty");
    if (first > s->tokens.count) return mmi_fail(s->ctx, MM_E_ARGUMENT, "token %zu of %zu", first, s->tokens.count);
    if (!s->model->info.sees || s->model->info.fusion == MMI_FUSION_NONE || s->model->info.fusion == MMI_FUSION_INTERLEAVED)
        return mmi_fail(s->ctx, MM_E_UNSUPPORTED, "where %s (%s) looks cannot be told", s->model->path, s->model->class_name);
    e = mmi_session_find_image(s, image);
    return s->model->info.fusion == MMI_FUSION_CROSS ? explain_across(s, image, e, first, out) : explain_fused(s, image, e, first, out);
}
