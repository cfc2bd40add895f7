/* SPDX-License-Identifier: MIT */
#include "explanation.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "forward.h"
#include "media.h"

enum { NAME = 96 };

static void name_of(char name[NAME], const char *side, const char *kind, int64_t layer)
{
    char number[24] = "";

    if (layer >= 0) (void)snprintf(number, sizeof number, ".%lld", (long long)layer);
    (void)snprintf(name, NAME, "mean_%.*s%s%s%s", (int)strcspn(side, "_"), side, *side ? "_" : "", kind, number);
}

mm_status mmi_watch_name(mm_context *ctx, mmi_watch_list *l, const char *name)
{
    if (mmi_grow(ctx, (void **)&l->names, &l->capacity, l->count + 1, sizeof *l->names)) return MM_E_NOMEM;
    l->names[l->count + 1] = NULL;
    l->names[l->count] = mmi_strdup(ctx, name);
    return l->names[l->count++] ? MM_OK : MM_E_NOMEM;
}

mm_status mmi_watch_layers(mm_context *ctx, mmi_watch_list *l, const char *side, const char *kind, int64_t layers)
{
    char name[NAME];
    mm_status st = MM_OK;

    for (int64_t k = 0; k < layers && !st; k++) {
        name_of(name, side, kind, k);
        st = mmi_watch_name(ctx, l, name);
    }
    return st;
}

void mmi_watch_clear(mmi_watch_list *l)
{
    for (size_t i = 0; i < l->count; i++) mmi_free(l->names[i]);
    mmi_free(l->names);
    memset(l, 0, sizeof *l);
}

mm_status mmi_watched(mm_context *ctx, const mm_tensor_map *outputs, const char *side, const char *kind, int64_t layer, const mm_tensor **out)
{
    char name[NAME];

    name_of(name, side, kind, layer);
    *out = mm_tensor_map_get(outputs, name);
    if (!*out || mm_tensor_rank(*out) != 3 || mm_tensor_shape(*out)[0] != 1) return mmi_fail(ctx, MM_E_UNSUPPORTED, "the model gives no %s of one picture", name);
    return MM_OK;
}

mm_status mmi_roll_out(mm_context *ctx, const mm_tensor_map *outputs, const char *side, const char *kind, int64_t layers, float *v, size_t n)
{
    float *next = mmi_alloc_array(ctx, n, sizeof *next);
    mm_status st = next ? MM_OK : MM_E_NOMEM;

    while (layers-- > 0 && !st) {
        const mm_tensor *t;
        const float *a;
        if ((st = mmi_watched(ctx, outputs, side, kind, layers, &t))) break;
        if ((size_t)mm_tensor_shape(t)[1] != n || (size_t)mm_tensor_shape(t)[2] != n) {
            st = mmi_fail(ctx, MM_E_UNSUPPORTED, "layer %lld attends from %lld tokens to %lld, expected %zu", (long long)layers,
                          (long long)mm_tensor_shape(t)[1], (long long)mm_tensor_shape(t)[2], n);
            break;
        }
        a = mm_tensor_const_data(t);
        for (size_t i = 0; i < n; i++) next[i] = 0.5f * v[i];
        for (size_t q = 0; q < n; q++, a += n)
            for (size_t i = 0; i < n && v[q] > 0; i++) next[i] += 0.5f * v[q] * a[i];
        memcpy(v, next, n * sizeof *v);
    }
    mmi_free(next);
    return st;
}

/* Share what n cells in a row hold, each `step` wide from `from` on, with m cells `cell` wide from 0 on; what lies beside those is lost. */
static void share(const float *in, size_t n, double from, double step, float *out, size_t m, size_t stride, double cell)
{
    for (size_t i = 0; i < n; i++) {
        const double begin = fmax(from + (double)i * step, 0), end = fmin(from + (double)(i + 1) * step, (double)m * cell);
        for (size_t o = (size_t)(begin / cell); o < m && (double)o * cell < end; o++) {
            const double overlap = fmin(end, (double)(o + 1) * cell) - fmax(begin, (double)o * cell);
            if (overlap > 0) out[o * stride] += in[i] * (float)(overlap / step);
        }
    }
}

static size_t cells_of(double whole, double step) { return (size_t)fmax(1, round(whole / step)); }

mm_status mmi_explain_place(mm_context *ctx, const mm_model *m, const mm_image *image, const float *weights, size_t rows, size_t cols, mm_tensor **out)
{
    mmi_image_view v;
    size_t R, C;
    double w, h, sum = 0;
    float *across = NULL, *column = NULL, *to;
    mm_tensor *t = NULL;
    mm_status st = mmi_image_processor_view(ctx, &m->processor, image, &v);

    *out = NULL;
    if (st) return st;
    w = (v.right - v.left) / (double)cols;
    h = (v.bottom - v.top) / (double)rows;
    R = cells_of((double)image->height, h);
    C = cells_of((double)image->width, w);
    st = mm_tensor_create(ctx, MM_DTYPE_F32, 2, (int64_t[]){(int64_t)R, (int64_t)C}, &t); /* of zeros */
    if (st) return st;
    across = mmi_alloc_array(ctx, rows, C * sizeof *across);
    column = mmi_alloc_array(ctx, rows, sizeof *column);
    if (!across || !column) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    memset(across, 0, rows * C * sizeof *across);
    for (size_t y = 0; y < rows; y++) share(weights + y * cols, cols, v.left, w, across + y * C, C, 1, (double)image->width / (double)C);
    to = mm_tensor_data(t);
    for (size_t x = 0; x < C; x++) {
        for (size_t y = 0; y < rows; y++) column[y] = across[y * C + x];
        share(column, rows, v.top, h, to + x, R, C, (double)image->height / (double)R);
    }
    for (size_t i = 0; i < R * C; i++) sum += to[i];
    if (!(sum > 0)) {
        st = mmi_fail(ctx, MM_E_STATE, "nothing of the answer looked at the picture");
        goto cleanup;
    }
    for (size_t i = 0; i < R * C; i++) to[i] = (float)(to[i] / sum);
    *out = t;
    t = NULL;
cleanup:
    mmi_free(across);
    mmi_free(column);
    mm_tensor_release(t);
    return st;
}

/* The part that sees, or the model itself, and what its attention is called. */
static const mm_model *tower_of(const mm_model *m, const char **side)
{
    *side = "";
    for (size_t i = 0; i < m->arch->n_parts; i++)
        if (m->parts[i] && m->parts[i]->info.sees) {
            *side = m->arch->parts[i].config;
            return m->parts[i];
        }
    return m;
}

static int64_t layers_of(const mm_model *m, const mm_model *tower) { return m->info.vision_layers ? m->info.vision_layers : tower->info.layers; }

mm_status mmi_watch_tower(mm_context *ctx, mmi_watch_list *l, const mm_model *m)
{
    const char *side;
    const mm_model *tower = tower_of(m, &side);
    char pooler[NAME];
    mm_status st = mmi_watch_layers(ctx, l, side, "attentions", layers_of(m, tower));

    name_of(pooler, side, "pooler_attentions", -1);
    return st ? st : mmi_watch_name(ctx, l, pooler);
}

/* Patches of a picture down and across. */
static mm_status patch_grid(mm_context *ctx, const mm_model *tower, const mm_tensor_map *inputs, size_t *rows, size_t *cols)
{
    const mm_tensor *pixels = mm_tensor_map_get(inputs, "pixel_values"), *sizes = mm_tensor_map_get(inputs, "spatial_shapes");
    const int64_t *shape = mm_tensor_shape(pixels), *sides = sizes ? mm_tensor_const_data(sizes) : NULL;

    if (!sides && (!pixels || mm_tensor_rank(pixels) != 4 || !tower->info.patch))
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s makes no one grid of patches of a picture", tower->class_name);
    *rows = (size_t)(sides ? sides[0] : shape[2] / tower->info.patch);
    *cols = (size_t)(sides ? sides[1] : shape[3] / tower->info.patch);
    return MM_OK;
}

/* Where the tower's answer comes from: a pooling layer's weights, or the token before the patches, or all alike. */
static mm_status begin_at_answer(mm_context *ctx, const char *side, const mm_tensor_map *outputs, float *v, size_t n, size_t before)
{
    const mm_tensor *pooler = NULL;
    char name[NAME];

    name_of(name, side, "pooler_attentions", -1);
    if (mm_tensor_map_get(outputs, name)) {
        mm_status st = mmi_watched(ctx, outputs, side, "pooler_attentions", -1, &pooler);
        if (st) return st;
        memcpy(v, mm_tensor_const_data(pooler), n * sizeof *v); /* [1, 1, n] */
    } else if (before) {
        v[0] = 1;
    } else {
        for (size_t i = 0; i < n; i++) v[i] = 1.0f / (float)n;
    }
    return MM_OK;
}

mm_status mmi_explain_tower(mm_context *ctx, const mm_model *m, const mm_image *image, const mm_tensor_map *inputs, const mm_tensor_map *outputs,
                            const float *from, size_t n, mm_tensor **out)
{
    const char *side;
    const mm_model *tower = tower_of(m, &side);
    const mm_tensor *first;
    size_t rows = 0, cols = 0, count, before;
    float *v = NULL;
    mm_status st = patch_grid(ctx, tower, inputs, &rows, &cols);

    *out = NULL;
    if (!st) st = mmi_watched(ctx, outputs, side, "attentions", 0, &first);
    if (st) return st;
    count = (size_t)mm_tensor_shape(first)[1];
    if (count < rows * cols || (from && n != count && n != rows * cols))
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s has %zu tokens for the %zu patches of a picture, of which the text sees %zu", tower->class_name, count,
                        rows * cols, n);
    before = mm_tensor_map_get(inputs, "spatial_shapes") ? 0 : count - rows * cols; /* there the rest is padding behind them */
    v = mmi_zalloc_array(ctx, count, sizeof *v);
    if (!v) return MM_E_NOMEM;
    if (from) memcpy(v + (n == count ? 0 : before), from, n * sizeof *v);
    else st = begin_at_answer(ctx, side, outputs, v, count, before);
    if (!st) st = mmi_roll_out(ctx, outputs, side, "attentions", layers_of(m, tower), v, count);
    if (!st) st = mmi_explain_place(ctx, m, image, v + before, rows, cols, out);
    mmi_free(v);
    return st;
}

mm_status mmi_explain_image(mm_context *ctx, const mm_model *m, const mm_image *image, mm_tensor **out)
{
    mm_tensor_map *inputs = NULL, *outputs = NULL;
    mmi_watch_list watch = {0};
    mm_status st;

    *out = NULL;
    if (m->info.generates)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s (%s) answers with text, where it looks depends on that: mm_session_explain", m->path, m->class_name);
    st = mmi_media_images(ctx, m, &image, 1, &inputs, NULL);
    if (!st) st = mmi_watch_tower(ctx, &watch, m);
    if (!st) st = mmi_forward(ctx, m, inputs, (const char *const *)watch.names, &outputs);
    if (!st) st = mmi_explain_tower(ctx, m, image, inputs, outputs, NULL, 0, out);
    mmi_watch_clear(&watch);
    mm_tensor_map_destroy(inputs);
    mm_tensor_map_destroy(outputs);
    return st;
}
