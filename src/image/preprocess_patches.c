/* SPDX-License-Identifier: MIT */
#include "preprocess_patches.h"

#include <math.h>

#include "size.h"

/* The size that a picture of Qwen2-VL is resized to: sides that are multiples of `factor`, pixels between the bounds, the
 * shape kept as well as that allows. In doubles, and rounded to even, as Python does. */
static mm_status smart_size(mm_context *ctx, const mmi_image_processor *p, size_t width, size_t height, size_t *out_width,
                            size_t *out_height)
{
    const double w = (double)width, h = (double)height, factor = (double)(p->patch * p->merge), most_aspect = 200;
    const double least = (double)p->min_pixels, most = (double)p->max_pixels;
    double out_w = rint(w / factor) * factor, out_h = rint(h / factor) * factor;

    if (fmax(w, h) / fmin(w, h) > most_aspect)
        return mmi_fail(ctx, MM_E_SHAPE, "a picture of %zu x %zu pixels: one side is more than %d times the other", width, height,
                        (int)most_aspect);
    if (out_h * out_w > most) {
        const double beta = sqrt(h * w / most);
        out_h = fmax(factor, floor(h / beta / factor) * factor);
        out_w = fmax(factor, floor(w / beta / factor) * factor);
    } else if (out_h * out_w < least) {
        const double beta = sqrt(least / (h * w));
        out_h = ceil(h * beta / factor) * factor;
        out_w = ceil(w * beta / factor) * factor;
    }
    *out_width = (size_t)out_w;
    *out_height = (size_t)out_h;
    return MM_OK;
}

/* Whether the sides divide into units of `unit` pixels, for pictures that are not resized. */
static mm_status check_divides(mm_context *ctx, size_t width, size_t height, size_t unit)
{
    if (width % unit || height % unit)
        return mmi_fail(ctx, MM_E_SHAPE, "a picture of %zu x %zu pixels does not divide into %zu x %zu", width, height, unit, unit);
    return MM_OK;
}

mm_status mmi_grid_layout(mm_context *ctx, const mmi_image_processor *p, size_t width, size_t height, mmi_image_layout *layout)
{
    mm_status st = p->do_resize ? smart_size(ctx, p, width, height, &width, &height) : MM_OK;

    if (!st) st = check_divides(ctx, width, height, p->patch * p->merge);
    if (!st) st = mmi_pixels_check(ctx, p->temporal, width, height);
    if (!st)
        *layout = (mmi_image_layout){.width = width, .height = height, .rows = height / p->patch, .cols = width / p->patch, .tiles = 1};
    return st;
}

mm_status mmi_grid_fill(mm_context *ctx, const mmi_image_processor *p, const mmi_pixel_table *table, const mmi_image *image,
                        const mmi_image_layout *layout, size_t frame, float *to)
{
    const size_t area = p->patch * p->patch, blocks_across = layout->cols / p->merge, block = p->merge * p->merge;
    mmi_picture picture = {image, NULL};
    mm_status st = mmi_picture_resize(ctx, &picture, layout->width, layout->height, p->resample);

    for (size_t i = 0; i < layout->rows * layout->cols && !st; i++) {
        const size_t at = i / block, in = i % block;
        const size_t row = at / blocks_across * p->merge + in / p->merge, col = at % blocks_across * p->merge + in % p->merge;
        const mmi_canvas canvas = {to + (i * 3 * p->temporal + frame) * area, p->patch, p->patch, p->patch, p->temporal * area};
        st = mmi_canvas_place(ctx, &canvas, table, picture.image, -(ptrdiff_t)(col * p->patch), -(ptrdiff_t)(row * p->patch));
    }
    mmi_picture_clear(&picture);
    return st;
}

mm_status mmi_grid_run(mm_context *ctx, const mmi_image_processor *p, const mmi_image *const *images, size_t n, mm_tensor_map *out,
                       mmi_image_layout *layouts)
{
    const size_t numbers = 3 * p->temporal * p->patch * p->patch; /* of a patch */
    int64_t shape[2] = {0, (int64_t)numbers}, grid_shape[2] = {(int64_t)n, 3}, *grid;
    mm_tensor *pixels, *grids;
    mmi_image_layout layout;
    mmi_pixel_table table;
    size_t patches = 0;
    float *to;
    mm_status st = mmi_pixels_add(ctx, out, "image_grid_thw", MM_DTYPE_I64, 2, grid_shape, &grids);

    if (st) return st;
    grid = mm_tensor_data(grids);
    for (size_t i = 0; i < n && !st; i++) {
        st = mmi_grid_layout(ctx, p, images[i]->width, images[i]->height, &layout);
        if (!st) {
            patches += layout.rows * layout.cols;
            st = mmi_pixels_check(ctx, patches, p->temporal * p->patch, p->patch);
        }
        if (st) return st;
        grid[3 * i] = 1;
        grid[3 * i + 1] = (int64_t)layout.rows;
        grid[3 * i + 2] = (int64_t)layout.cols;
        if (layouts) layouts[i] = layout;
    }
    shape[0] = (int64_t)patches;
    if ((st = mmi_pixels_add(ctx, out, "pixel_values", MM_DTYPE_F32, 2, shape, &pixels))) return st;
    to = mm_tensor_data(pixels);
    mmi_pixel_table_fill(p, &table);
    for (size_t i = 0; i < n && !st; i++) {
        st = mmi_grid_layout(ctx, p, images[i]->width, images[i]->height, &layout);
        for (size_t frame = 0; frame < p->temporal && !st; frame++) /* a picture is a film that stands still */
            st = mmi_grid_fill(ctx, p, &table, images[i], &layout, frame, to);
        to += layout.rows * layout.cols * numbers;
    }
    return st;
}

/* SigLIP 2: a side scaled and rounded up to whole patches. */
static size_t scaled_side(double scale, size_t side, size_t patch)
{
    return mmi_size_max((size_t)ceil((double)side * scale / (double)patch) * patch, patch);
}

/* The largest size of a picture's shape with no more than max_patches, by halving as transformers does. */
static void naflex_size(const mmi_image_processor *p, size_t *width, size_t *height)
{
    const double eps = 1e-5;
    double low = eps / 10, high = 100.0;

    while (high - low >= eps) {
        const double scale = (low + high) / 2;
        const double rows = (double)(scaled_side(scale, *height, p->patch) / p->patch);
        const double cols = (double)(scaled_side(scale, *width, p->patch) / p->patch);
        if (rows * cols <= (double)p->max_patches)
            low = scale;
        else
            high = scale;
    }
    *width = scaled_side(low, *width, p->patch);
    *height = scaled_side(low, *height, p->patch);
}

static mm_status patches_layout(mm_context *ctx, const mmi_image_processor *p, size_t width, size_t height, mmi_image_layout *layout)
{
    mm_status st;

    if (p->do_resize) naflex_size(p, &width, &height);
    st = check_divides(ctx, width, height, p->patch);
    if (!st && width / p->patch * (height / p->patch) > p->max_patches)
        st = mmi_fail(ctx, MM_E_SHAPE, "a picture of %zu x %zu pixels has more than the %zu patches of \"max_num_patches\"", width, height,
                      p->max_patches);
    *layout = (mmi_image_layout){.width = width, .height = height, .rows = height / p->patch, .cols = width / p->patch, .tiles = 1};
    return st;
}

/* The three numbers of a pixel stay together in the patches of SigLIP 2. */
static mm_status fill_patches(mm_context *ctx, const mmi_image_processor *p, const mmi_pixel_table *table, const mmi_image *image,
                              const mmi_image_layout *layout, float *to)
{
    const size_t side = p->patch;
    mmi_picture picture = {image, NULL};
    mm_status st = mmi_picture_resize(ctx, &picture, layout->width, layout->height, p->resample);

    for (size_t y = 0; y < layout->height && !st; y++) {
        const uint8_t *s = picture.image->pixels + y * layout->width * 3;
        float *row = to + (y / side * layout->cols * side + y % side) * side * 3;
        for (size_t x = 0; x < layout->width; x++)
            for (size_t c = 0; c < 3; c++) row[(x / side * side * side + x % side) * 3 + c] = table->value[c][*s++];
        st = mmi_check_cancel(ctx);
    }
    mmi_picture_clear(&picture);
    return st;
}

mm_status mmi_patches_run(mm_context *ctx, const mmi_image_processor *p, const mmi_image *const *images, size_t n, mm_tensor_map *out,
                          mmi_image_layout *layouts)
{
    const size_t numbers = 3 * p->patch * p->patch;
    const int64_t shape[3] = {(int64_t)n, (int64_t)p->max_patches, (int64_t)numbers}, spatial_shape[2] = {(int64_t)n, 2};
    mm_tensor *pixels, *mask, *spatial;
    mmi_image_layout layout;
    mmi_pixel_table table;
    size_t all;
    mm_status st;

    if (mmi_size_mul(n, p->max_patches, &all))
        return mmi_fail(ctx, MM_E_OVERFLOW, "%zu pictures of %zu patches are too many", n, p->max_patches);
    if ((st = mmi_pixels_check(ctx, all, p->patch, p->patch))) return st;
    if ((st = mmi_pixels_add(ctx, out, "pixel_values", MM_DTYPE_F32, 3, shape, &pixels))) return st;
    if ((st = mmi_pixels_add(ctx, out, "pixel_attention_mask", MM_DTYPE_I32, 2, shape, &mask))) return st;
    if ((st = mmi_pixels_add(ctx, out, "spatial_shapes", MM_DTYPE_I64, 2, spatial_shape, &spatial))) return st;
    mmi_pixel_table_fill(p, &table);
    for (size_t i = 0; i < n && !st; i++) {
        int32_t *valid = (int32_t *)mm_tensor_data(mask) + i * p->max_patches;
        int64_t *sides = (int64_t *)mm_tensor_data(spatial) + 2 * i;

        st = patches_layout(ctx, p, images[i]->width, images[i]->height, &layout);
        if (!st) st = fill_patches(ctx, p, &table, images[i], &layout, (float *)mm_tensor_data(pixels) + i * p->max_patches * numbers);
        if (st) return st;
        for (size_t k = 0; k < layout.rows * layout.cols; k++) valid[k] = 1;
        sides[0] = (int64_t)layout.rows;
        sides[1] = (int64_t)layout.cols;
        if (layouts) layouts[i] = layout;
    }
    return st;
}
