/* SPDX-License-Identifier: MIT */
#include "pixels.h"

#include <math.h>

#include "size.h"

/* Rescaling is a product in float64 cut to float32, normalizing is float32: as numpy in transformers, to the last bit. */
void mmi_pixel_table_fill(const mmi_image_processor *p, mmi_pixel_table *table)
{
    for (int c = 0; c < 3; c++) {
        const float mean = (float)p->mean[c], std = (float)p->std[c];
        for (int v = 0; v < 256; v++) {
            float x = p->do_rescale ? (float)(v * p->rescale_factor) : (float)v;
            table->value[c][v] = p->do_normalize ? (x - mean) / std : x;
        }
    }
}

/* The longer side becomes `longest`, the shorter one even; then, where that is too long, the longer side becomes the longest
 * that may be. No side gets below 1. */
static void longest_size(size_t longest, size_t width, size_t height, size_t *out_width, size_t *out_height)
{
    size_t *const along = width >= height ? out_width : out_height, *const across = width >= height ? out_height : out_width;
    const double aspect = (double)width / (double)height;

    *along = longest;
    *across = (size_t)(width >= height ? (double)longest / aspect : (double)longest * aspect);
    *across = mmi_size_max(*across + *across % 2, 1);
    if (mmi_size_max(*along, *across) > MMI_SPLIT_MAX_SIDE) {
        const double again = (double)*out_width / (double)*out_height;
        const int wide = *out_width >= *out_height;
        *(wide ? out_width : out_height) = MMI_SPLIT_MAX_SIDE;
        *(wide ? out_height : out_width) = mmi_size_max((size_t)(wide ? MMI_SPLIT_MAX_SIDE / again : MMI_SPLIT_MAX_SIDE * again), 1);
    }
}

/* get_resize_output_image_size (of transformers and of Idefics3), get_size_with_aspect_ratio and
 * get_image_size_for_max_height_width of transformers, whose numbers are doubles that int() cuts off; round() is to even. */
void mmi_resized_size(const mmi_image_processor *p, size_t width, size_t height, size_t *out_width, size_t *out_height)
{
    const double w = (double)width, h = (double)height;
    double size = (double)p->shortest, raw, scale;

    switch (p->size_rule) {
    case MMI_SIZE_EXACT:
        *out_width = p->width;
        *out_height = p->height;
        return;
    case MMI_SIZE_SHORTEST:
        *out_width = width <= height ? p->shortest : (size_t)(size * w / h);
        *out_height = width <= height ? (size_t)(size * h / w) : p->shortest;
        return;
    case MMI_SIZE_SHORTEST_LONGEST:
        raw = size;
        if (fmax(w, h) / fmin(w, h) * size > (double)p->longest) {
            raw = (double)p->longest * fmin(w, h) / fmax(w, h);
            size = rint(raw);
        }
        if (fmin(w, h) == size) {
            *out_width = width;
            *out_height = height;
        } else {
            *out_width = width < height ? (size_t)size : (size_t)(raw * w / h);
            *out_height = width < height ? (size_t)(raw * h / w) : (size_t)size;
        }
        return;
    case MMI_SIZE_LONGEST:
        longest_size(p->longest, width, height, out_width, out_height);
        return;
    case MMI_SIZE_INSIDE:
        scale = fmin((double)p->height / h, (double)p->width / w);
        *out_width = (size_t)(w * scale);
        *out_height = (size_t)(h * scale);
        return;
    }
}

mm_status mmi_pixels_check(mm_context *ctx, size_t count, size_t width, size_t height)
{
    size_t pixels;

    if (!count || !width || !height)
        return mmi_fail(ctx, MM_E_SHAPE, "the processed picture would have no pixels: its size is %zu x %zu", width, height);
    if (width > INT32_MAX || height > INT32_MAX || mmi_size_mul3(count, width, height, &pixels) || pixels > MMI_PROCESSOR_MAX_PIXELS)
        return mmi_fail(ctx, MM_E_LIMIT, "%zu processed picture%s of %zu x %zu pixels would be more than the %d pixels allowed", count,
                        count > 1 ? "s" : "", width, height, MMI_PROCESSOR_MAX_PIXELS);
    return MM_OK;
}

void mmi_picture_replace(mmi_picture *picture, mmi_image *image)
{
    mmi_image_destroy(picture->owned);
    picture->image = picture->owned = image;
}

void mmi_picture_clear(mmi_picture *picture) { mmi_picture_replace(picture, NULL); }

mm_status mmi_picture_resize(mm_context *ctx, mmi_picture *picture, size_t width, size_t height, mmi_filter filter)
{
    mmi_image *resized = NULL;
    mm_status st;

    if (width == picture->image->width && height == picture->image->height) return MM_OK;
    st = mmi_pixels_check(ctx, 1, width, height);
    if (!st) st = mmi_image_resize(ctx, picture->image, width, height, filter, NULL, &resized);
    if (!st) mmi_picture_replace(picture, resized);
    return st;
}

mm_status mmi_canvas_place(mm_context *ctx, const mmi_canvas *canvas, const mmi_pixel_table *table, const mmi_image *image, ptrdiff_t x,
                           ptrdiff_t y)
{
    const ptrdiff_t right = x + (ptrdiff_t)image->width, bottom = y + (ptrdiff_t)image->height;
    const size_t from = x > 0 ? mmi_size_min((size_t)x, canvas->width) : 0;
    const size_t to = right > 0 ? mmi_size_max(mmi_size_min((size_t)right, canvas->width), from) : from;
    mm_status st;

    for (size_t row = 0; row < canvas->height; row++) {
        const int covered = (ptrdiff_t)row >= y && (ptrdiff_t)row < bottom && from < to;
        const uint8_t *s = covered ? image->pixels + ((size_t)((ptrdiff_t)row - y) * image->width + (size_t)((ptrdiff_t)from - x)) * 3 : NULL;

        if ((st = mmi_check_cancel(ctx))) return st;
        for (size_t c = 0; c < 3; c++) {
            float *out = canvas->to + c * canvas->plane + row * canvas->stride;
            const float *value = table->value[c];
            size_t at = 0;

            if (covered) {
                while (at < from) out[at++] = value[0];
                for (const uint8_t *v = s + c; at < to; at++, v += 3) out[at] = value[*v];
            }
            while (at < canvas->width) out[at++] = value[0];
        }
    }
    return MM_OK;
}

mm_status mmi_pixels_add(mm_context *ctx, mm_tensor_map *map, const char *name, int32_t dtype, int32_t rank, const int64_t *shape,
                         mm_tensor **out)
{
    mm_tensor *tensor = NULL;
    mm_status st = mm_tensor_create(ctx, dtype, rank, shape, &tensor);

    if (!st) st = mm_tensor_map_set(ctx, map, name, tensor);
    *out = st ? NULL : tensor;
    mm_tensor_release(tensor);
    return st;
}
