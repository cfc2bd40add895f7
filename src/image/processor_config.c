/* SPDX-License-Identifier: MIT */
#include "processor_config.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "size.h"

/* The classes of transformers and their defaults: those for pictures, and behind them those for videos. */
typedef struct {
    const char *name; /* without "ImageProcessor" or "VideoProcessor" and what follows it */
    int square;       /* a single number as "size" is both sides, not the shorter one */
    mmi_image_processor defaults;
} processor_class;

#define CLIP_MEAN .mean = {0.48145466, 0.4578275, 0.40821073}, .std = {0.26862954, 0.26130258, 0.27577711}
#define HALF .mean = {0.5, 0.5, 0.5}, .std = {0.5, 0.5, 0.5}
#define STEPS .do_resize = 1, .do_rescale = 1, .do_normalize = 1, .rescale_factor = 1.0 / 255
#define EXACT(side) .size_rule = MMI_SIZE_EXACT, .height = (side), .width = (side)
#define SHORTEST(side) .size_rule = MMI_SIZE_SHORTEST, .shortest = (side)
#define LONGEST(side) .size_rule = MMI_SIZE_LONGEST, .longest = (side)
#define CROP(side) .do_center_crop = 1, .crop_height = (side), .crop_width = (side)
#define SPLIT(split) .layout = MMI_LAYOUT_SPLIT, .do_pad = 1, .do_image_splitting = (split), LONGEST(4 * 364), .tile = 364
#define GRID(least, most) .layout = MMI_LAYOUT_GRID, .patch = 14, .temporal = 2, .merge = 2, .min_pixels = (least), .max_pixels = (most)
static const processor_class image_classes[] = {
    {"ViT", 1, {STEPS, EXACT(224), .resample = MMI_FILTER_BILINEAR, HALF}},
    {"DeiT", 1, {STEPS, EXACT(256), CROP(224), .resample = MMI_FILTER_BICUBIC, HALF}},
    {"Bit", 0, {STEPS, SHORTEST(224), CROP(224), .resample = MMI_FILTER_BICUBIC, CLIP_MEAN}},
    {"CLIP", 0, {STEPS, SHORTEST(224), CROP(224), .resample = MMI_FILTER_BICUBIC, CLIP_MEAN}},
    {"ChineseCLIP", 0, {STEPS, SHORTEST(224), CROP(224), .resample = MMI_FILTER_BICUBIC, CLIP_MEAN}},
    {"Llava", 0, {STEPS, SHORTEST(224), CROP(224), .resample = MMI_FILTER_BICUBIC, CLIP_MEAN}},
    {"Siglip", 0, {STEPS, EXACT(224), .resample = MMI_FILTER_BICUBIC, HALF}},
    {"Blip", 1, {STEPS, EXACT(384), .resample = MMI_FILTER_BICUBIC, CLIP_MEAN}},
    {"Pvt", 1, {STEPS, EXACT(224), .resample = MMI_FILTER_BICUBIC, .mean = {0.485, 0.456, 0.406}, .std = {0.229, 0.224, 0.225}}},
    {"Donut", 1, {STEPS, .layout = MMI_LAYOUT_PAGE, .size_rule = MMI_SIZE_EXACT, .height = 2560, .width = 1920, .do_thumbnail = 1,
                  .do_pad = 1, .resample = MMI_FILTER_BILINEAR, HALF}},
    {"Idefics3", 1, {STEPS, SPLIT(1), .resample = MMI_FILTER_LANCZOS, HALF}},
    {"SmolVLM", 1, {STEPS, SPLIT(1), .resample = MMI_FILTER_LANCZOS, HALF}},
    {"Mllama", 1, {STEPS, .layout = MMI_LAYOUT_CANVAS, .do_pad = 1, EXACT(224), .max_tiles = 4, .resample = MMI_FILTER_BILINEAR, HALF}},
    {"Qwen2VL", 0, {STEPS, GRID(56 * 56, 28 * 28 * 1280), .resample = MMI_FILTER_BICUBIC, CLIP_MEAN}},
    {"Siglip2", 1, {STEPS, .layout = MMI_LAYOUT_PATCHES, .patch = 16, .max_patches = 256, .resample = MMI_FILTER_BILINEAR, HALF}},
    {NULL, 0, {0}},
};
static const processor_class video_classes[] = {
    {"Qwen2VL", 0, {STEPS, GRID(128 * 28 * 28, 28 * 28 * 768), .min_frames = 4, .max_frames = 768, .resample = MMI_FILTER_BICUBIC, CLIP_MEAN}},
    {"SmolVLM", 1, {STEPS, SPLIT(0), .resample = MMI_FILTER_LANCZOS, HALF}},
    {NULL, 0, {0}},
};
#undef CLIP_MEAN
#undef HALF
#undef STEPS
#undef EXACT
#undef SHORTEST
#undef LONGEST
#undef CROP
#undef SPLIT
#undef GRID

/* Where a class is written, and how its name ends: ViTImageProcessor, ViTImageProcessorFast, ViTImageProcessorPil and the
 * older ViTFeatureExtractor are one class here. */
typedef struct {
    const processor_class *classes;
    const char *nested, *key, *old_key;
    const char *endings[4];
} processor_kind;

static const processor_kind image_kind = {
    image_classes, "image_processor", "image_processor_type", "feature_extractor_type",
    {"ImageProcessor", "ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor"}};
static const processor_kind video_kind = {
    video_classes, "video_processor", "video_processor_type", NULL, {"VideoProcessor", "VideoProcessorFast", NULL, NULL}};

static mm_status find_class(mm_context *ctx, const mmi_json *doc, const mmi_json_node *root, const processor_kind *kind, const char *type,
                            const processor_class **out)
{
    const char *named = NULL;
    mm_status st = mmi_json_text(ctx, doc, root, kind->key, 0, &named);

    if (!st && !named && kind->old_key) st = mmi_json_text(ctx, doc, root, kind->old_key, 0, &named);
    if (st) return st;
    if (!named) named = type;
    if (!named) return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%s\" is missing", mmi_json_name(doc), kind->key);
    for (*out = kind->classes; (*out)->name; ++*out) {
        size_t n = strlen((*out)->name);
        if (strncmp(named, (*out)->name, n)) continue;
        for (size_t i = 0; i < 4 && kind->endings[i]; i++)
            if (!strcmp(named + n, kind->endings[i])) return MM_OK;
    }
    return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: \"%s\" is %.64s, which is not one that libmm has", mmi_json_name(doc), kind->key, named);
}

/* A count. *out stays when the key is absent. */
static mm_status read_count(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, const char *key, int64_t highest, size_t *out)
{
    int64_t count = (int64_t)*out;
    mm_status st = mmi_json_i64(ctx, doc, object, key, 0, 1, highest, &count);
    *out = (size_t)count;
    return st;
}

/* One side out of an object. *out stays 0 when the key is absent. */
static mm_status read_side(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, const char *key, size_t *out)
{
    return read_count(ctx, doc, object, key, MMI_PROCESSOR_MAX_SIDE, out);
}

static mm_status fail_size(mm_context *ctx, const mmi_json *doc, const char *key)
{
    return mmi_fail(ctx, MM_E_FORMAT,
                    "%s: \"%s\" must be an integer from 1 to %d, an array [height, width] of such, or an object of them",
                    mmi_json_name(doc), key, MMI_PROCESSOR_MAX_SIDE);
}

static int side_of(const mmi_json_node *node, size_t *out)
{
    double side;
    if (!mmi_json_number(node, &side) || floor(side) != side || side < 1 || side > MMI_PROCESSOR_MAX_SIDE) return 0;
    *out = (size_t)side;
    return 1;
}

/* "crop_size" and "pad_size": a number for both sides, [height, width], or an object with these. *height stays when absent. */
static mm_status read_height_width(mm_context *ctx, const mmi_json *doc, const mmi_json_node *root, const char *key, size_t *height,
                                   size_t *width)
{
    const mmi_json_node *node = mmi_json_get(root, key), *first;
    size_t h = 0, w = 0;
    mm_status st;

    switch (mmi_json_kind_of(node)) {
    case MMI_JSON_ABSENT:
    case MMI_JSON_NULL: return MM_OK;
    case MMI_JSON_NUMBER:
        if (!side_of(node, &h)) return fail_size(ctx, doc, key);
        w = h;
        break;
    case MMI_JSON_ARRAY:
        first = mmi_json_first(node);
        if (mmi_json_count(node) != 2 || !side_of(first, &h) || !side_of(mmi_json_next(first), &w)) return fail_size(ctx, doc, key);
        break;
    case MMI_JSON_OBJECT:
        st = read_side(ctx, doc, node, "height", &h);
        if (!st) st = read_side(ctx, doc, node, "width", &w);
        if (st) return st;
        if (!h || !w)
            return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: \"%s\" needs both \"height\" and \"width\"", mmi_json_name(doc), key);
        break;
    default: return fail_size(ctx, doc, key);
    }
    *height = h;
    *width = w;
    return MM_OK;
}

static mm_status read_size(mm_context *ctx, const mmi_json *doc, const mmi_json_node *root, int square, mmi_image_processor *p)
{
    const mmi_json_node *node = mmi_json_get(root, "size");
    size_t h = 0, w = 0, shortest = 0, longest = 0, max_h = 0, max_w = 0;
    mm_status st;

    if (mmi_json_kind_of(node) == MMI_JSON_NUMBER && !square) {
        if (!side_of(node, &p->shortest)) return fail_size(ctx, doc, "size");
        p->size_rule = MMI_SIZE_SHORTEST;
        return MM_OK;
    }
    if (mmi_json_kind_of(node) == MMI_JSON_ABSENT || mmi_json_kind_of(node) == MMI_JSON_NULL) return MM_OK;
    if (mmi_json_kind_of(node) != MMI_JSON_OBJECT) {
        p->size_rule = MMI_SIZE_EXACT;
        /* an array is [height, width], but Donut's is [width, height] */
        return p->layout == MMI_LAYOUT_PAGE ? read_height_width(ctx, doc, root, "size", &p->width, &p->height)
                                            : read_height_width(ctx, doc, root, "size", &p->height, &p->width);
    }
    st = read_side(ctx, doc, node, "height", &h);
    if (!st) st = read_side(ctx, doc, node, "width", &w);
    if (!st) st = read_side(ctx, doc, node, "shortest_edge", &shortest);
    if (!st) st = read_side(ctx, doc, node, "longest_edge", &longest);
    if (!st) st = read_side(ctx, doc, node, "max_height", &max_h);
    if (!st) st = read_side(ctx, doc, node, "max_width", &max_w);
    if (st) return st;
    if (longest && p->layout == MMI_LAYOUT_SPLIT) {
        p->size_rule = MMI_SIZE_LONGEST;
        p->longest = longest;
    } else if (shortest && p->layout == MMI_LAYOUT_PLANES) {
        p->size_rule = longest ? MMI_SIZE_SHORTEST_LONGEST : MMI_SIZE_SHORTEST;
        p->shortest = shortest;
        p->longest = longest;
    } else if (max_h && max_w && p->layout == MMI_LAYOUT_PLANES) {
        p->size_rule = MMI_SIZE_INSIDE;
        p->height = max_h;
        p->width = max_w;
    } else if (h && w) {
        p->size_rule = MMI_SIZE_EXACT;
        p->height = h;
        p->width = w;
    } else {
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: \"size\" has no %s", mmi_json_name(doc),
                        p->layout == MMI_LAYOUT_SPLIT    ? "\"longest_edge\", and no \"height\" with \"width\""
                        : p->layout != MMI_LAYOUT_PLANES ? "\"height\" with \"width\""
                                                         : "\"shortest_edge\", \"height\" with \"width\", or \"max_height\" with \"max_width\"");
    }
    return MM_OK;
}

/* "image_mean" and "image_std": three numbers, or one for all channels. */
static mm_status read_channels(mm_context *ctx, const mmi_json *doc, const mmi_json_node *root, const char *key, double out[3])
{
    const mmi_json_node *node = mmi_json_get(root, key), *item;
    double v[3] = {0, 0, 0};
    size_t n = 0;

    if (mmi_json_kind_of(node) == MMI_JSON_ABSENT || mmi_json_kind_of(node) == MMI_JSON_NULL) return MM_OK;
    if (mmi_json_number(node, &v[0])) {
        v[1] = v[2] = v[0];
        n = 3;
    } else if (mmi_json_kind_of(node) == MMI_JSON_ARRAY) {
        for (item = mmi_json_first(node); item && n < 4; item = mmi_json_next(item), n++)
            if (n == 3 || !mmi_json_number(item, &v[n]))
                return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%s\" must hold 3 numbers", mmi_json_name(doc), key);
    }
    if (n != 3) return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%s\" must be a number or 3 of them", mmi_json_name(doc), key);
    memcpy(out, v, sizeof v);
    return MM_OK;
}

/* The least and most pixels of a Qwen2-VL picture: "size" with "shortest_edge" and "longest_edge", which are no edges, or
 * "min_pixels" and "max_pixels" there or, with the last word, beside it. */
static mm_status read_pixel_bounds(mm_context *ctx, const mmi_json *doc, const mmi_json_node *root, mmi_image_processor *p)
{
    const mmi_json_node *size = mmi_json_get(root, "size");
    mm_status st = MM_OK;

    if (mmi_json_kind_of(size) == MMI_JSON_OBJECT) {
        p->min_pixels = p->max_pixels = 0;
        st = read_count(ctx, doc, size, "min_pixels", INT32_MAX, &p->min_pixels);
        if (!st) st = read_count(ctx, doc, size, "max_pixels", INT32_MAX, &p->max_pixels);
        if (!st) st = read_count(ctx, doc, size, "shortest_edge", INT32_MAX, &p->min_pixels);
        if (!st) st = read_count(ctx, doc, size, "longest_edge", INT32_MAX, &p->max_pixels);
    } else if (mmi_json_kind_of(size) != MMI_JSON_ABSENT && mmi_json_kind_of(size) != MMI_JSON_NULL) {
        st = mmi_fail(ctx, MM_E_FORMAT, "%s: \"size\" must be an object", mmi_json_name(doc));
    }
    if (!st) st = read_count(ctx, doc, root, "min_pixels", INT32_MAX, &p->min_pixels);
    if (!st) st = read_count(ctx, doc, root, "max_pixels", INT32_MAX, &p->max_pixels);
    if (!st && (!p->min_pixels || !p->max_pixels))
        st = mmi_fail(ctx, MM_E_FORMAT, "%s: \"size\" needs both \"shortest_edge\" and \"longest_edge\"", mmi_json_name(doc));
    return st;
}

/* What the layout asks for beyond the steps that all have. */
static mm_status read_layout(mm_context *ctx, const mmi_json *doc, const mmi_json_node *root, int square, mmi_image_processor *p)
{
    enum { MAX_PATCH = 4096, MAX_MERGE = 64, MAX_TILES = 1024, MAX_PATCHES = 65536 };
    mm_status st = MM_OK;

    switch (p->layout) {
    case MMI_LAYOUT_PLANES: return read_size(ctx, doc, root, square, p);
    case MMI_LAYOUT_PAGE:
        st = read_size(ctx, doc, root, square, p);
        if (!st) st = mmi_json_bool(ctx, doc, root, "do_thumbnail", 0, &p->do_thumbnail);
        if (!st) st = mmi_json_bool(ctx, doc, root, "do_align_long_axis", 0, &p->do_align_long_axis);
        p->pad_height = p->height;
        p->pad_width = p->width;
        return st;
    case MMI_LAYOUT_SPLIT:
        st = read_size(ctx, doc, root, square, p);
        if (!st) st = mmi_json_bool(ctx, doc, root, "do_image_splitting", 0, &p->do_image_splitting);
        if (!st && mmi_json_kind_of(mmi_json_get(root, "max_image_size")) > MMI_JSON_NULL) {
            p->tile = 0;
            st = read_side(ctx, doc, mmi_json_get(root, "max_image_size"), "longest_edge", &p->tile);
            if (!st && !p->tile)
                st = mmi_fail(ctx, MM_E_FORMAT, "%s: \"max_image_size\" has no \"longest_edge\"", mmi_json_name(doc));
        }
        return st;
    case MMI_LAYOUT_CANVAS:
        st = read_size(ctx, doc, root, square, p);
        if (!st) st = read_count(ctx, doc, root, "max_image_tiles", MAX_TILES, &p->max_tiles);
        if (st) return st;
        if (p->height != p->width)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: \"size\" is %zu x %zu, but tiles are square", mmi_json_name(doc), p->height, p->width);
        if (!p->do_resize || !p->do_pad)
            return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: \"%s\" must be true", mmi_json_name(doc), p->do_pad ? "do_resize" : "do_pad");
        p->tile = p->height;
        return MM_OK;
    case MMI_LAYOUT_GRID:
        st = read_pixel_bounds(ctx, doc, root, p);
        if (!st) st = read_count(ctx, doc, root, "patch_size", MAX_PATCH, &p->patch);
        if (!st) st = read_count(ctx, doc, root, "temporal_patch_size", MAX_MERGE, &p->temporal);
        if (!st) st = read_count(ctx, doc, root, "merge_size", MAX_MERGE, &p->merge);
        return st;
    case MMI_LAYOUT_PATCHES:
        st = read_count(ctx, doc, root, "patch_size", MAX_PATCH, &p->patch);
        if (!st) st = read_count(ctx, doc, root, "max_num_patches", MAX_PATCHES, &p->max_patches);
        return st;
    }
    return st;
}

static mm_status read_processor(mm_context *ctx, const mmi_json *doc, const mmi_json_node *root, const processor_class *class,
                                mmi_image_processor *p)
{
    int square = class->square, convert = 1, use_square_size = 0;
    int64_t resample;
    mm_status st;

    *p = class->defaults;
    resample = p->resample;
    st = mmi_json_bool(ctx, doc, root, "do_resize", 0, &p->do_resize);
    if (!st) st = mmi_json_bool(ctx, doc, root, "do_center_crop", 0, &p->do_center_crop);
    if (!st) st = mmi_json_bool(ctx, doc, root, "do_rescale", 0, &p->do_rescale);
    if (!st) st = mmi_json_bool(ctx, doc, root, "do_normalize", 0, &p->do_normalize);
    if (!st) st = mmi_json_bool(ctx, doc, root, "do_pad", 0, &p->do_pad);
    if (!st) st = mmi_json_bool(ctx, doc, root, "do_convert_rgb", 0, &convert); /* checked only: pictures are RGB already */
    if (!st) st = mmi_json_bool(ctx, doc, root, "default_to_square", 0, &square);
    if (!st) st = mmi_json_i64(ctx, doc, root, "resample", 0, 0, 255, &resample);
    if (!st) st = read_height_width(ctx, doc, root, "crop_size", &p->crop_height, &p->crop_width);
    if (!st && p->layout == MMI_LAYOUT_PLANES) st = read_height_width(ctx, doc, root, "pad_size", &p->pad_height, &p->pad_width);
    if (!st) st = mmi_json_f64(ctx, doc, root, "rescale_factor", 0, -FLT_MAX, FLT_MAX, &p->rescale_factor);
    if (!st) st = read_channels(ctx, doc, root, "image_mean", p->mean);
    if (!st) st = read_channels(ctx, doc, root, "image_std", p->std);
    if (!st) st = read_layout(ctx, doc, root, square, p);
    if (!st && !strcmp(class->name, "CLIP")) st = mmi_json_bool(ctx, doc, root, "use_square_size", 0, &use_square_size);
    if (st) return st;

    if (use_square_size) { /* KOSMOS-2: the class's own size as a square, whatever "size" says */
        p->size_rule = MMI_SIZE_EXACT;
        p->height = p->width = class->defaults.shortest;
    }
    if (!strcmp(class->name, "Llava")) {
        p->do_square = p->do_pad;
        p->do_pad = 0;
    }
    if (resample >= MMI_FILTER_COUNT)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: \"resample\" is %d, a filter that libmm does not have", mmi_json_name(doc),
                        (int)resample);
    p->resample = (mmi_filter)resample;
    if (p->do_center_crop && !p->crop_height) return mmi_fail(ctx, MM_E_FORMAT, "%s: \"crop_size\" is missing", mmi_json_name(doc));
    if (p->do_pad && p->layout == MMI_LAYOUT_PLANES && !p->pad_height)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: \"pad_size\" is missing", mmi_json_name(doc));
    for (int c = 0; c < 3; c++)
        if (p->do_normalize && (float)p->std[c] == 0.0f)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: \"image_std\" has a zero", mmi_json_name(doc));
    return MM_OK;
}

static mm_status read_nested(mm_context *ctx, const mmi_json *doc, const processor_kind *kind, const char *type, const mmi_json_node **root,
                             const processor_class **class, mmi_image_processor *out)
{
    const mmi_json_node *nested = mmi_json_get(mmi_json_root(doc), kind->nested);
    mm_status st;

    *root = mmi_json_kind_of(nested) == MMI_JSON_OBJECT ? nested : mmi_json_root(doc);
    st = find_class(ctx, doc, *root, kind, type, class);
    return st ? st : read_processor(ctx, doc, *root, *class, out);
}

mm_status mmi_image_processor_from_json(mm_context *ctx, const mmi_json *doc, const char *type, mmi_image_processor *out)
{
    const processor_class *class;
    const mmi_json_node *root;
    return read_nested(ctx, doc, &image_kind, type, &root, &class, out);
}

mm_status mmi_video_processor_from_json(mm_context *ctx, const mmi_json *doc, const char *type, mmi_image_processor *out)
{
    enum { MAX_FRAMES = 1 << 20 };
    const double least_fps = 1e-3, most_fps = 1e6;
    const mmi_json_node *root, *sampling;
    const processor_class *class;
    size_t tokens = 128000;
    int capped = 0;
    mm_status st = read_nested(ctx, doc, &video_kind, type, &root, &class, out);

    if (!st) st = mmi_json_bool(ctx, doc, root, "do_sample_frames", 0, &out->do_sample_frames);
    if (!st) st = read_count(ctx, doc, root, "num_frames", MAX_FRAMES, &out->num_frames);
    if (!st) st = read_count(ctx, doc, root, "min_frames", MAX_FRAMES, &out->min_frames);
    if (!st) st = read_count(ctx, doc, root, "max_frames", MAX_FRAMES, &out->max_frames);
    if (!st) st = mmi_json_f64(ctx, doc, root, "fps", 0, least_fps, most_fps, &out->fps);
    if (!st) st = mmi_json_bool(ctx, doc, root, "cap_pixels_per_frame", 0, &capped);
    if (!st) st = read_count(ctx, doc, root, "max_video_tokens", INT32_MAX, &tokens);
    out->max_video_tokens = capped ? tokens : 0;
    if (st || out->layout != MMI_LAYOUT_SPLIT) return st;
    if (!out->do_resize) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: \"do_resize\" must be true", mmi_json_name(doc));
    /* SmolVLM: older files keep its sampling together; its chat template samples whenever the numbers are there */
    sampling = mmi_json_get(root, "video_sampling");
    st = read_count(ctx, doc, sampling, "max_frames", MAX_FRAMES, &out->num_frames);
    if (!st) st = mmi_json_f64(ctx, doc, sampling, "fps", 0, least_fps, most_fps, &out->fps);
    if (!st && mmi_json_kind_of(mmi_json_get(root, "size")) <= MMI_JSON_NULL)
        st = read_side(ctx, doc, mmi_json_get(sampling, "video_size"), "longest_edge", &out->longest);
    if (out->num_frames && out->fps > 0) out->do_sample_frames = 1;
    out->longest = mmi_size_min(out->longest, MMI_SPLIT_MAX_SIDE);
    return st;
}
