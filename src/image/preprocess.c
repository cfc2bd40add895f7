/* SPDX-License-Identifier: MIT */
#include "preprocess.h"

#include <math.h>
#include <string.h>

#include "pixels.h"
#include "preprocess_patches.h"
#include "preprocess_tiles.h"
#include "size.h"

/* A center crop along one side: `count` pixels from `from` on go to `to` on; the rest of the cropped side is zeros. */
typedef struct {
    size_t from, to, count;
} crop;

static crop center_crop(size_t in, size_t out)
{
    crop c = {0, 0, in};
    if (in >= out) {
        c.from = (in - out) / 2;
        c.count = out;
    } else {
        c.to = (out - in + 1) / 2;
    }
    return c;
}


/* The sizes after each step of MMI_LAYOUT_PLANES: resized, cropped, padded. */
typedef struct {
    size_t width, height;
    crop x, y;
    size_t crop_width, crop_height;
    size_t out_width, out_height;
} plan;

static mm_status make_plan(mm_context *ctx, const mmi_image_processor *p, const mmi_image *image, plan *out)
{
    const size_t width = p->do_square ? mmi_size_max(image->width, image->height) : image->width;
    const size_t height = p->do_square ? width : image->height;

    out->width = width;
    out->height = height;
    if (p->do_resize) {
        mmi_resized_size(p, width, height, &out->width, &out->height);
        if (!out->width || !out->height || out->width > INT32_MAX || out->height > INT32_MAX)
            return mmi_fail(ctx, MM_E_SHAPE, "a picture of %zu x %zu pixels cannot be resized to %zu x %zu", width, height, out->width,
                            out->height);
    }
    out->crop_width = p->do_center_crop ? p->crop_width : out->width;
    out->crop_height = p->do_center_crop ? p->crop_height : out->height;
    out->x = center_crop(out->width, out->crop_width);
    out->y = center_crop(out->height, out->crop_height);
    out->out_width = p->do_pad ? p->pad_width : out->crop_width;
    out->out_height = p->do_pad ? p->pad_height : out->crop_height;
    if (out->out_width < out->crop_width || out->out_height < out->crop_height)
        return mmi_fail(ctx, MM_E_SHAPE, "a processed picture of %zu x %zu pixels is larger than the %zu x %zu it is to be padded to",
                        out->crop_width, out->crop_height, out->out_width, out->out_height);
    return MM_OK;
}

/* LLaVA's square: the picture in the middle, the mean of the colors around it. */
static mm_status make_square(mm_context *ctx, const mmi_image_processor *p, mmi_picture *picture)
{
    const mmi_image *in = picture->image;
    const size_t side = mmi_size_max(in->width, in->height), x = (side - in->width) / 2, y = (side - in->height) / 2;
    mmi_image *out = NULL;
    mm_status st = MM_OK;

    if (in->width == in->height) return MM_OK;
    st = mmi_pixels_check(ctx, 1, side, side);
    if (!st) st = mmi_image_create(ctx, side, side, &out);
    if (st) return st;
    for (size_t i = 0; i < side * side * 3; i++) out->pixels[i] = (uint8_t)(int64_t)fmax(0, fmin(255, p->mean[i % 3] * 255));
    for (size_t row = 0; row < in->height; row++)
        memcpy(out->pixels + ((y + row) * side + x) * 3, in->pixels + row * in->width * 3, in->width * 3);
    mmi_picture_replace(picture, out);
    return MM_OK;
}

static mm_status fill_planes(mm_context *ctx, const mmi_image_processor *p, const mmi_pixel_table *table, const mmi_image *image, float *to)
{
    mmi_picture picture = {image, NULL};
    mmi_image *resized = NULL;
    plan l = {0};
    mmi_canvas canvas;
    mm_status st = make_plan(ctx, p, image, &l);
    ptrdiff_t x = (ptrdiff_t)l.x.to - (ptrdiff_t)l.x.from, y = (ptrdiff_t)l.y.to - (ptrdiff_t)l.y.from;

    if (!st && p->do_square) st = make_square(ctx, p, &picture);
    if (!st && (l.width != picture.image->width || l.height != picture.image->height)) { /* only what the crop leaves is made */
        const mmi_window window = {l.x.from, l.y.from, l.x.count, l.y.count};
        st = mmi_image_resize(ctx, picture.image, l.width, l.height, p->resample, &window, &resized);
        if (!st) mmi_picture_replace(&picture, resized);
        x = (ptrdiff_t)l.x.to;
        y = (ptrdiff_t)l.y.to;
    }
    canvas = (mmi_canvas){to, l.crop_width, l.crop_height, l.out_width, l.out_width * l.out_height};
    if (!st) st = mmi_canvas_place(ctx, &canvas, table, picture.image, x, y); /* the padding keeps its zeros */
    mmi_picture_clear(&picture);
    return st;
}

static int page_turns(const mmi_image_processor *p, const mmi_image *image)
{
    return p->do_align_long_axis && ((p->width < p->height && image->width > image->height) ||
                                     (p->width > p->height && image->width < image->height));
}

/* The sizes of a page: resized, shrunk to the page, and of what comes out. */
typedef struct {
    size_t width, height, small_width, small_height, out_width, out_height;
} page;

static mm_status make_page(mm_context *ctx, const mmi_image_processor *p, const mmi_image *image, page *l)
{
    const int turns = page_turns(p, image);

    l->width = turns ? image->height : image->width;
    l->height = turns ? image->width : image->height;
    if (p->do_resize) {
        const mmi_image_processor rule = {.size_rule = MMI_SIZE_SHORTEST, .shortest = mmi_size_min(p->width, p->height)};
        mmi_resized_size(&rule, l->width, l->height, &l->width, &l->height);
    }
    l->small_width = l->width;
    l->small_height = l->height;
    if (p->do_thumbnail) {
        l->small_width = mmi_size_min(l->width, p->width);
        l->small_height = mmi_size_min(l->height, p->height);
        if (l->small_width == l->width && l->small_height == l->height)
            ; /* it is small enough */
        else if (l->height > l->width)
            l->small_width = (size_t)((double)l->width * (double)l->small_height / (double)l->height);
        else if (l->width > l->height)
            l->small_height = (size_t)((double)l->height * (double)l->small_width / (double)l->width);
    }
    if (p->do_pad && (l->small_width > p->pad_width || l->small_height > p->pad_height))
        return mmi_fail(ctx, MM_E_SHAPE, "a processed picture of %zu x %zu pixels is larger than the %zu x %zu of its \"size\"",
                        l->small_width, l->small_height, p->pad_width, p->pad_height);
    l->out_width = p->do_center_crop ? p->crop_width : p->do_pad ? p->pad_width : l->small_width;
    l->out_height = p->do_center_crop ? p->crop_height : p->do_pad ? p->pad_height : l->small_height;
    return MM_OK;
}

/* A quarter turn clockwise. */
static mm_status turn(mm_context *ctx, mmi_picture *picture)
{
    const mmi_image *in = picture->image;
    mmi_image *out = NULL;
    mm_status st = mmi_image_create(ctx, in->height, in->width, &out);

    if (st) return st;
    for (size_t y = 0; y < out->height; y++)
        for (size_t x = 0; x < out->width; x++)
            memcpy(out->pixels + (y * out->width + x) * 3, in->pixels + ((in->height - 1 - x) * in->width + y) * 3, 3);
    mmi_picture_replace(picture, out);
    return MM_OK;
}

static mm_status fill_page(mm_context *ctx, const mmi_image_processor *p, const mmi_pixel_table *table, const mmi_image *image, float *to)
{
    mmi_picture picture = {image, NULL};
    size_t width, height;
    mmi_canvas canvas;
    page l = {0};
    crop x, y;
    mm_status st = make_page(ctx, p, image, &l);

    if (!st && page_turns(p, image)) st = turn(ctx, &picture);
    if (!st) st = mmi_picture_resize(ctx, &picture, l.width, l.height, p->resample);
    /* transformers takes filter 0 for none given */
    if (!st) st = mmi_picture_resize(ctx, &picture, l.small_width, l.small_height, p->resample ? p->resample : MMI_FILTER_BICUBIC);
    width = p->do_pad ? p->pad_width : l.small_width;
    height = p->do_pad ? p->pad_height : l.small_height;
    x = center_crop(width, l.out_width);
    y = center_crop(height, l.out_height);
    canvas = (mmi_canvas){to, l.out_width, l.out_height, l.out_width, l.out_width * l.out_height};
    if (!st)
        st = mmi_canvas_place(ctx, &canvas, table, picture.image, (ptrdiff_t)((width - l.small_width) / 2 + x.to) - (ptrdiff_t)x.from,
                              (ptrdiff_t)((height - l.small_height) / 2 + y.to) - (ptrdiff_t)y.from);
    mmi_picture_clear(&picture);
    return st;
}

static mm_status array_size(mm_context *ctx, const mmi_image_processor *p, const mmi_image *image, size_t *width, size_t *height)
{
    plan planes = {0};
    page paper = {0};
    const int is_page = p->layout == MMI_LAYOUT_PAGE;
    mm_status st = is_page ? make_page(ctx, p, image, &paper) : make_plan(ctx, p, image, &planes);

    *width = is_page ? paper.out_width : planes.out_width;
    *height = is_page ? paper.out_height : planes.out_height;
    return st;
}

static mm_status run_planes(mm_context *ctx, const mmi_image_processor *p, const mmi_image *const *images, size_t n, mm_tensor_map *out,
                            mmi_image_layout *layouts)
{
    size_t width = 0, height = 0, w = 0, h = 0;
    int64_t shape[4] = {(int64_t)n, 3, 0, 0};
    mmi_pixel_table table;
    mm_tensor *pixels;
    float *to;
    mm_status st = array_size(ctx, p, images[0], &width, &height);

    if (!st) st = mmi_pixels_check(ctx, n, width, height);
    for (size_t i = 1; i < n && !st; i++) {
        st = array_size(ctx, p, images[i], &w, &h);
        if (!st && (w != width || h != height))
            st = mmi_fail(ctx, MM_E_SHAPE, "picture %zu would have %zu x %zu pixels, but the first %zu x %zu", i + 1, w, h, width, height);
    }
    shape[2] = (int64_t)height;
    shape[3] = (int64_t)width;
    if (!st) st = mmi_pixels_add(ctx, out, "pixel_values", MM_DTYPE_F32, 4, shape, &pixels);
    if (st) return st;
    to = mm_tensor_data(pixels);
    mmi_pixel_table_fill(p, &table);
    for (size_t i = 0; i < n && !st; i++, to += 3 * width * height) {
        st = p->layout == MMI_LAYOUT_PAGE ? fill_page(ctx, p, &table, images[i], to) : fill_planes(ctx, p, &table, images[i], to);
        if (layouts) layouts[i] = (mmi_image_layout){.width = width, .height = height, .tiles = 1};
    }
    return st;
}

mm_status mmi_image_processor_run(mm_context *ctx, const mmi_image_processor *p, const mmi_image *const *images, size_t n,
                                  mm_tensor_map **out, mmi_image_layout *layouts)
{
    mm_status st;

    *out = NULL;
    if (!n) return mmi_fail(ctx, MM_E_SHAPE, "there are no pictures to process");
    if ((st = mm_tensor_map_create(ctx, out))) return st;
    switch (p->layout) {
    case MMI_LAYOUT_PLANES:
    case MMI_LAYOUT_PAGE: st = run_planes(ctx, p, images, n, *out, layouts); break;
    case MMI_LAYOUT_SPLIT: st = mmi_split_run(ctx, p, images, n, *out, layouts); break;
    case MMI_LAYOUT_CANVAS: st = mmi_canvas_run(ctx, p, images, n, *out, layouts); break;
    case MMI_LAYOUT_GRID: st = mmi_grid_run(ctx, p, images, n, *out, layouts); break;
    case MMI_LAYOUT_PATCHES: st = mmi_patches_run(ctx, p, images, n, *out, layouts); break;
    }
    if (st) {
        mm_tensor_map_destroy(*out);
        *out = NULL;
    }
    return st;
}

/* [0, count) of an array whose pixel i is pixel i + shift of `resized`, which shows `whole` from -margin on: in pixels of that. */
static void view_side(double shift, double count, double resized, double whole, double margin, double *from, double *to)
{
    *from = shift * whole / resized - margin;
    *to = (shift + count) * whole / resized - margin;
}

static mm_status view_of_planes(mm_context *ctx, const mmi_image_processor *p, const mmi_image *image, mmi_image_view *v)
{
    const size_t side = p->do_square ? mmi_size_max(image->width, image->height) : 0;
    const size_t width = side ? side : image->width, height = side ? side : image->height;
    plan l = {0};
    mm_status st = make_plan(ctx, p, image, &l);

    if (st) return st;
    view_side((double)l.x.from - (double)l.x.to, (double)l.out_width, (double)l.width, (double)width, (double)((width - image->width) / 2), &v->left, &v->right);
    view_side((double)l.y.from - (double)l.y.to, (double)l.out_height, (double)l.height, (double)height, (double)((height - image->height) / 2), &v->top,
              &v->bottom);
    return MM_OK;
}

static mm_status view_of_page(mm_context *ctx, const mmi_image_processor *p, const mmi_image *image, mmi_image_view *v)
{
    page l = {0};
    size_t width, height;
    crop x, y;
    mm_status st = make_page(ctx, p, image, &l);

    if (st) return st;
    if (page_turns(p, image)) return mmi_fail(ctx, MM_E_UNSUPPORTED, "a picture that its processor turns");
    width = p->do_pad ? p->pad_width : l.small_width;
    height = p->do_pad ? p->pad_height : l.small_height;
    x = center_crop(width, l.out_width);
    y = center_crop(height, l.out_height);
    view_side((double)x.from - (double)x.to - (double)((width - l.small_width) / 2), (double)l.out_width, (double)l.small_width, (double)image->width, 0,
              &v->left, &v->right);
    view_side((double)y.from - (double)y.to - (double)((height - l.small_height) / 2), (double)l.out_height, (double)l.small_height, (double)image->height, 0,
              &v->top, &v->bottom);
    return MM_OK;
}

mm_status mmi_image_processor_view(mm_context *ctx, const mmi_image_processor *p, const mmi_image *image, mmi_image_view *out)
{
    *out = (mmi_image_view){0, 0, (double)image->width, (double)image->height};
    switch (p->layout) {
    case MMI_LAYOUT_PLANES: return view_of_planes(ctx, p, image, out);
    case MMI_LAYOUT_PAGE: return view_of_page(ctx, p, image, out);
    case MMI_LAYOUT_CANVAS: return mmi_fail(ctx, MM_E_UNSUPPORTED, "a picture on a canvas of tiles");
    default: return MM_OK; /* resized as a whole */
    }
}
