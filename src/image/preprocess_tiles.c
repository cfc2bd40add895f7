/* SPDX-License-Identifier: MIT */
#include "preprocess_tiles.h"

#include <math.h>

#include "size.h"

static mm_status place_tile(mm_context *ctx, const mmi_pixel_table *table, const mmi_image *image, size_t side, size_t row, size_t col,
                            float *to)
{
    const mmi_canvas canvas = {to, side, side, side, side * side};
    return mmi_canvas_place(ctx, &canvas, table, image, -(ptrdiff_t)(col * side), -(ptrdiff_t)(row * side));
}

static size_t round_up(size_t a, size_t unit) { return (a + unit - 1) / unit * unit; }

/* The size after do_resize, and then the size in whole tiles. Python's numbers: doubles that int() cuts off. */
static void split_sizes(const mmi_image_processor *p, size_t *width, size_t *height, size_t *tiled_width, size_t *tiled_height)
{
    double aspect;

    if (p->do_resize) mmi_resized_size(p, *width, *height, width, height);
    if (!p->do_image_splitting) {
        *tiled_width = *tiled_height = p->tile;
        return;
    }
    aspect = (double)*width / (double)*height;
    if (*width >= *height) {
        *tiled_width = round_up(*width, p->tile);
        *tiled_height = round_up((size_t)((double)*tiled_width / aspect), p->tile);
    } else {
        *tiled_height = round_up(*height, p->tile);
        *tiled_width = round_up((size_t)((double)*tiled_height * aspect), p->tile);
    }
}

mm_status mmi_split_layout(mm_context *ctx, const mmi_image_processor *p, size_t width, size_t height, mmi_image_layout *layout)
{
    size_t tiled_width, tiled_height;

    split_sizes(p, &width, &height, &tiled_width, &tiled_height);
    *layout = (mmi_image_layout){.width = tiled_width, .height = tiled_height, .tiles = 1};
    if (tiled_width > p->tile || tiled_height > p->tile) {
        layout->rows = tiled_height / p->tile;
        layout->cols = tiled_width / p->tile;
        layout->tiles = layout->rows * layout->cols + 1;
    }
    return mmi_pixels_check(ctx, layout->tiles, p->tile, p->tile);
}

mm_status mmi_split_fill(mm_context *ctx, const mmi_image_processor *p, const mmi_pixel_table *table, const mmi_image *image, float *to)
{
    mmi_picture picture = {image, NULL};
    size_t width = image->width, height = image->height, tiled_width, tiled_height;
    mm_status st;

    split_sizes(p, &width, &height, &tiled_width, &tiled_height);
    st = mmi_picture_resize(ctx, &picture, width, height, p->resample);
    if (!st) st = mmi_picture_resize(ctx, &picture, tiled_width, tiled_height, p->resample);
    if (tiled_width > p->tile || tiled_height > p->tile) {
        for (size_t row = 0; row < tiled_height / p->tile; row++)
            for (size_t col = 0; col < tiled_width / p->tile && !st; col++, to += 3 * p->tile * p->tile)
                st = place_tile(ctx, table, picture.image, p->tile, row, col, to);
        if (!st) st = mmi_picture_resize(ctx, &picture, p->tile, p->tile, p->resample);
    }
    if (!st) st = place_tile(ctx, table, picture.image, p->tile, 0, 0, to);
    mmi_picture_clear(&picture);
    return st;
}

mm_status mmi_split_tensors(mm_context *ctx, const mmi_image_processor *p, size_t tiles, mm_tensor_map *out, mm_tensor **pixels)
{
    const int64_t side = (int64_t)p->tile, shape[5] = {1, (int64_t)tiles, 3, side, side}, mask_shape[4] = {1, (int64_t)tiles, side, side};
    mm_tensor *mask;
    mm_status st = mmi_pixels_check(ctx, tiles, p->tile, p->tile);

    if (!st) st = mmi_pixels_add(ctx, out, "pixel_values", MM_DTYPE_F32, 5, shape, pixels);
    if (st || !p->do_pad) return st;
    /* every tile is full: transformers pads to the largest of tiles that are all of one size */
    st = mmi_pixels_add(ctx, out, "pixel_attention_mask", MM_DTYPE_I64, 4, mask_shape, &mask);
    if (st) return st;
    for (size_t i = 0; i < tiles * p->tile * p->tile; i++) ((int64_t *)mm_tensor_data(mask))[i] = 1;
    return MM_OK;
}

mm_status mmi_split_run(mm_context *ctx, const mmi_image_processor *p, const mmi_image *const *images, size_t n, mm_tensor_map *out,
                        mmi_image_layout *layouts)
{
    mmi_image_layout layout;
    mmi_pixel_table table;
    mm_tensor *pixels;
    size_t tiles = 0;
    float *to;
    mm_status st = MM_OK;

    for (size_t i = 0; i < n && !st; i++) {
        st = mmi_split_layout(ctx, p, images[i]->width, images[i]->height, &layout);
        tiles += layout.tiles;
        if (layouts) layouts[i] = layout;
    }
    if (!st) st = mmi_split_tensors(ctx, p, tiles, out, &pixels);
    if (st) return st;
    to = mm_tensor_data(pixels);
    mmi_pixel_table_fill(p, &table);
    for (size_t i = 0; i < n && !st; i++) {
        st = mmi_split_layout(ctx, p, images[i]->width, images[i]->height, &layout);
        if (!st) st = mmi_split_fill(ctx, p, &table, images[i], to);
        to += layout.tiles * 3 * p->tile * p->tile;
    }
    return st;
}

/* Mllama: the canvas of rows x cols tiles that fits best, the smallest that enlarges the picture least, or else shrinks it
 * least; its number, from 1, and the size that the picture gets on it. */
typedef struct {
    size_t rows, cols, id, width, height;
} fit;

static fit fit_canvas(const mmi_image_processor *p, size_t width, size_t height)
{
    const double w = (double)width, h = (double)height, side = (double)p->tile;
    double best_scale = 0, target_w, target_h;
    fit best = {0, 0, 0, 0, 0};
    size_t id = 1;

    for (size_t rows = 1; rows <= p->max_tiles; rows++)
        for (size_t cols = 1; rows * cols <= p->max_tiles; cols++, id++) {
            const double scale = fmin((double)rows * side / h, (double)cols * side / w);
            const int up = scale >= 1, best_up = best_scale >= 1;
            if (scale == best_scale ? rows * cols < best.rows * best.cols
                                    : up != best_up ? up : up ? scale < best_scale : scale > best_scale) {
                best = (fit){rows, cols, id, 0, 0};
                best_scale = scale;
            }
        }
    target_w = fmin(fmax(w, side), (double)best.cols * side);
    target_h = fmin(fmax(h, side), (double)best.rows * side);
    if (target_w / w < target_h / h) {
        best.width = (size_t)target_w;
        best.height = (size_t)fmin(fmax(floor(h * (target_w / w)), 1), target_h);
    } else {
        best.height = (size_t)target_h;
        best.width = (size_t)fmin(fmax(floor(w * (target_h / h)), 1), target_w);
    }
    return best;
}

mm_status mmi_canvas_run(mm_context *ctx, const mmi_image_processor *p, const mmi_image *const *images, size_t n, mm_tensor_map *out,
                         mmi_image_layout *layouts)
{
    const int64_t side = (int64_t)p->tile, shape[6] = {1, (int64_t)n, (int64_t)p->max_tiles, 3, side, side};
    const size_t tile = 3 * p->tile * p->tile;
    mmi_pixel_table table;
    mm_tensor *pixels, *ids, *mask, *counts;
    size_t all;
    mm_status st;

    if (mmi_size_mul(n, p->max_tiles, &all)) return mmi_fail(ctx, MM_E_OVERFLOW, "%zu pictures of %zu tiles are too many", n, p->max_tiles);
    if ((st = mmi_pixels_check(ctx, all, p->tile, p->tile))) return st;
    if ((st = mmi_pixels_add(ctx, out, "pixel_values", MM_DTYPE_F32, 6, shape, &pixels))) return st;
    if ((st = mmi_pixels_add(ctx, out, "aspect_ratio_ids", MM_DTYPE_I64, 2, shape, &ids))) return st;
    if ((st = mmi_pixels_add(ctx, out, "aspect_ratio_mask", MM_DTYPE_I64, 3, shape, &mask))) return st;
    if ((st = mmi_pixels_add(ctx, out, "num_tiles", MM_DTYPE_I64, 2, shape, &counts))) return st;
    mmi_pixel_table_fill(p, &table);
    for (size_t i = 0; i < n && !st; i++) {
        const fit f = fit_canvas(p, images[i]->width, images[i]->height);
        float *to = (float *)mm_tensor_data(pixels) + i * p->max_tiles * tile;
        int64_t *valid = (int64_t *)mm_tensor_data(mask) + i * p->max_tiles;
        mmi_picture picture = {images[i], NULL};

        st = mmi_picture_resize(ctx, &picture, f.width, f.height, p->resample);
        for (size_t row = 0; row < f.rows; row++)
            for (size_t col = 0; col < f.cols && !st; col++, to += tile) {
                st = place_tile(ctx, &table, picture.image, p->tile, row, col, to);
                *valid++ = 1;
            }
        ((int64_t *)mm_tensor_data(ids))[i] = (int64_t)f.id;
        ((int64_t *)mm_tensor_data(counts))[i] = (int64_t)(f.rows * f.cols);
        if (layouts)
            layouts[i] = (mmi_image_layout){.width = f.width, .height = f.height, .rows = f.rows, .cols = f.cols, .tiles = f.rows * f.cols};
        mmi_picture_clear(&picture);
    }
    return st;
}
