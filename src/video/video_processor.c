/* SPDX-License-Identifier: MIT */
#include "video_processor.h"

#include <math.h>

#include "pixels.h"
#include "preprocess_patches.h"
#include "preprocess_tiles.h"
#include "size.h"

/* The tensors for `count` frames of the layout, of which *pixels is the one to fill. */
static mm_status grid_tensors(mm_context *ctx, const mmi_image_processor *p, const mm_video *video, size_t count,
                              const mmi_image_layout *layout, mm_tensor_map *out, mm_tensor **pixels)
{
    const size_t steps = (count + p->temporal - 1) / p->temporal;
    const int64_t one[1] = {1}, grid_shape[2] = {1, 3};
    int64_t shape[2] = {0, (int64_t)(3 * p->temporal * p->patch * p->patch)}, *grid;
    mm_tensor *grids, *seconds;
    size_t frames;
    mm_status st;

    if (mmi_size_mul(steps, p->temporal, &frames)) return mmi_fail(ctx, MM_E_OVERFLOW, "%zu frames are too many", count);
    if ((st = mmi_pixels_check(ctx, frames, layout->width, layout->height))) return st;
    shape[0] = (int64_t)(steps * layout->rows * layout->cols);
    if ((st = mmi_pixels_add(ctx, out, "pixel_values_videos", MM_DTYPE_F32, 2, shape, pixels))) return st;
    if ((st = mmi_pixels_add(ctx, out, "video_grid_thw", MM_DTYPE_I64, 2, grid_shape, &grids))) return st;
    if ((st = mmi_pixels_add(ctx, out, "second_per_grid_ts", MM_DTYPE_F32, 1, one, &seconds))) return st;
    grid = mm_tensor_data(grids);
    grid[0] = (int64_t)steps;
    grid[1] = (int64_t)layout->rows;
    grid[2] = (int64_t)layout->cols;
    *(float *)mm_tensor_data(seconds) = (float)((double)p->temporal / ((double)count / (double)video->frames * video->rate));
    return MM_OK;
}

/* With a bound for the tokens of a whole video, its share for a frame bounds the pixels. */
static void bound_frame(mmi_image_processor *p, size_t count)
{
    const size_t unit = p->patch * p->merge;
    const size_t all = (size_t)fmin((double)p->max_video_tokens * (double)unit * (double)unit * 0.9, 1e15); /* more than any video has */

    if (!p->max_video_tokens) return;
    p->max_pixels = mmi_size_max(mmi_size_min(p->max_pixels, all * p->temporal / count), (size_t)((double)p->min_pixels * 1.05));
}

mm_status mmi_video_processor_run(mm_context *ctx, const mmi_image_processor *processor, const mm_video *video, const size_t *indices,
                                  size_t count, mm_tensor_map **out, mmi_image_layout *layout)
{
    const int is_grid = processor->layout == MMI_LAYOUT_GRID;
    mmi_image_processor p = *processor;
    mmi_image_layout each = {0};
    size_t filled, width = 0, height = 0;
    mmi_image *image = NULL;
    mm_tensor_map *map = NULL;
    mm_tensor *pixels = NULL;
    mmi_pixel_table table;
    mm_status st;

    *out = NULL;
    if (!count) return mmi_fail(ctx, MM_E_SHAPE, "there are no frames to process");
    if ((st = mm_tensor_map_create(ctx, &map))) return st;
    bound_frame(&p, count);
    mmi_pixel_table_fill(&p, &table);
    filled = is_grid ? (count + p.temporal - 1) / p.temporal * p.temporal : count;
    for (size_t i = 0; i < filled && !st; i++) {
        if (i < count) { /* else the last frame once more */
            mmi_image_destroy(image);
            if ((st = mmi_video_frame(ctx, video, indices[i], &image))) break;
        }
        if (!i) {
            width = image->width;
            height = image->height;
            st = is_grid ? mmi_grid_layout(ctx, &p, width, height, &each) : mmi_split_layout(ctx, &p, width, height, &each);
            if (!st)
                st = is_grid ? grid_tensors(ctx, &p, video, count, &each, map, &pixels) : mmi_split_tensors(ctx, &p, count, map, &pixels);
        } else if (image->width != width || image->height != height) {
            st = mmi_fail(ctx, MM_E_SHAPE, "frame %zu has %zu x %zu pixels, but the first %zu x %zu", indices[i], image->width, image->height,
                          width, height);
        }
        if (st) break;
        if (is_grid)
            st = mmi_grid_fill(ctx, &p, &table, image, &each, i % p.temporal,
                               (float *)mm_tensor_data(pixels) + i / p.temporal * each.rows * each.cols * 3 * p.temporal * p.patch * p.patch);
        else
            st = mmi_split_fill(ctx, &p, &table, image, (float *)mm_tensor_data(pixels) + i * 3 * p.tile * p.tile);
        if (!st) st = mmi_progress(ctx, "frames", (int64_t)i + 1, (int64_t)filled);
    }
    mmi_image_destroy(image);
    if (st) {
        mm_tensor_map_destroy(map);
        return st;
    }
    if (layout) *layout = each;
    *out = map;
    return MM_OK;
}
