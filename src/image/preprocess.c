/* SPDX-License-Identifier: MIT */
#include "preprocess.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "size.h"

/* The classes of transformers that run its common PIL pipeline unchanged, and their defaults. */
static const struct {
    const char *name; /* without "ImageProcessor" and what follows it */
    int square;       /* a single number as "size" is both sides, not the shorter one */
    int crop;
    mmi_image_processor defaults;
} classes[] = {
#define CLIP_MEAN {0.48145466, 0.4578275, 0.40821073}
#define CLIP_STD {0.26862954, 0.26130258, 0.27577711}
#define HALF {0.5, 0.5, 0.5}
#define STEPS .do_resize = 1, .do_rescale = 1, .do_normalize = 1, .rescale_factor = 1.0 / 255
#define EXACT(side) .size_rule = MMI_SIZE_EXACT, .height = (side), .width = (side)
#define SHORTEST(side) .size_rule = MMI_SIZE_SHORTEST, .shortest = (side)
#define CROP(side) .do_center_crop = 1, .crop_height = (side), .crop_width = (side)
    {"ViT", 1, 0, {STEPS, EXACT(224), .resample = MMI_FILTER_BILINEAR, .mean = HALF, .std = HALF}},
    {"DeiT", 1, 1, {STEPS, EXACT(256), CROP(224), .resample = MMI_FILTER_BICUBIC, .mean = HALF, .std = HALF}},
    {"Bit", 0, 1, {STEPS, SHORTEST(224), CROP(224), .resample = MMI_FILTER_BICUBIC, .mean = CLIP_MEAN, .std = CLIP_STD}},
    {"CLIP", 0, 1, {STEPS, SHORTEST(224), CROP(224), .resample = MMI_FILTER_BICUBIC, .mean = CLIP_MEAN, .std = CLIP_STD}},
    {"ChineseCLIP", 0, 1, {STEPS, SHORTEST(224), CROP(224), .resample = MMI_FILTER_BICUBIC, .mean = CLIP_MEAN, .std = CLIP_STD}},
    {"Siglip", 0, 0, {STEPS, EXACT(224), .resample = MMI_FILTER_BICUBIC, .mean = HALF, .std = HALF}},
    {"Blip", 1, 0, {STEPS, EXACT(384), .resample = MMI_FILTER_BICUBIC, .mean = CLIP_MEAN, .std = CLIP_STD}},
    {"Pvt", 1, 0, {STEPS, EXACT(224), .resample = MMI_FILTER_BICUBIC, .mean = {0.485, 0.456, 0.406}, .std = {0.229, 0.224, 0.225}}},
#undef CLIP_MEAN
#undef CLIP_STD
#undef HALF
#undef STEPS
#undef EXACT
#undef SHORTEST
#undef CROP
};

enum { CLASS_COUNT = sizeof classes / sizeof *classes };

/* ViTImageProcessor, ViTImageProcessorFast, ViTImageProcessorPil and the older ViTFeatureExtractor are one class here. */
static int class_matches(const char *name, const char *type)
{
    static const char *const endings[] = {"ImageProcessor", "ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor"};
    size_t n = strlen(name);

    if (strncmp(type, name, n)) return 0;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (!strcmp(type + n, endings[i])) return 1;
    return 0;
}

static mm_status find_class(mm_context *ctx, const mmi_json *doc, const mmi_json_node *root, const char *type, size_t *out)
{
    const char *named = NULL;
    mm_status st = mmi_json_text(ctx, doc, root, "image_processor_type", 0, &named);

    if (!st && !named) st = mmi_json_text(ctx, doc, root, "feature_extractor_type", 0, &named);
    if (st) return st;
    if (!named) named = type;
    if (!named) return mmi_fail(ctx, MM_E_FORMAT, "%s: \"image_processor_type\" is missing", mmi_json_name(doc));
    for (*out = 0; *out < CLASS_COUNT; ++*out)
        if (class_matches(classes[*out].name, named)) return MM_OK;
    return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: \"image_processor_type\" is %.64s, which is not one that libmm has",
                    mmi_json_name(doc), named);
}

/* One side out of an object. *out stays 0 when the key is absent. */
static mm_status read_side(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, const char *key, size_t *out)
{
    int64_t side = 0;
    mm_status st = mmi_json_i64(ctx, doc, object, key, 0, 1, MMI_PROCESSOR_MAX_SIDE, &side);
    *out = (size_t)side;
    return st;
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
        return read_height_width(ctx, doc, root, "size", &p->height, &p->width);
    }
    st = read_side(ctx, doc, node, "height", &h);
    if (!st) st = read_side(ctx, doc, node, "width", &w);
    if (!st) st = read_side(ctx, doc, node, "shortest_edge", &shortest);
    if (!st) st = read_side(ctx, doc, node, "longest_edge", &longest);
    if (!st) st = read_side(ctx, doc, node, "max_height", &max_h);
    if (!st) st = read_side(ctx, doc, node, "max_width", &max_w);
    if (st) return st;
    if (shortest) {
        p->size_rule = longest ? MMI_SIZE_SHORTEST_LONGEST : MMI_SIZE_SHORTEST;
        p->shortest = shortest;
        p->longest = longest;
    } else if (max_h && max_w) {
        p->size_rule = MMI_SIZE_INSIDE;
        p->height = max_h;
        p->width = max_w;
    } else if (h && w) {
        p->size_rule = MMI_SIZE_EXACT;
        p->height = h;
        p->width = w;
    } else {
        return mmi_fail(ctx, MM_E_UNSUPPORTED,
                        "%s: \"size\" has none of \"shortest_edge\", \"height\" with \"width\", and \"max_height\" with \"max_width\"",
                        mmi_json_name(doc));
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

mm_status mmi_image_processor_from_json(mm_context *ctx, const mmi_json *doc, const char *type, mmi_image_processor *out)
{
    const mmi_json_node *root = mmi_json_root(doc);
    mmi_image_processor p;
    size_t at;
    int square, convert = 1, use_square_size = 0;
    int64_t resample;
    mm_status st;

    if (mmi_json_kind_of(mmi_json_get(root, "image_processor")) == MMI_JSON_OBJECT) root = mmi_json_get(root, "image_processor");
    st = find_class(ctx, doc, root, type, &at);
    if (st) return st;
    p = classes[at].defaults;
    square = classes[at].square;
    resample = p.resample;

    st = mmi_json_bool(ctx, doc, root, "do_resize", 0, &p.do_resize);
    if (!st) st = mmi_json_bool(ctx, doc, root, "do_center_crop", 0, &p.do_center_crop);
    if (!st) st = mmi_json_bool(ctx, doc, root, "do_rescale", 0, &p.do_rescale);
    if (!st) st = mmi_json_bool(ctx, doc, root, "do_normalize", 0, &p.do_normalize);
    if (!st) st = mmi_json_bool(ctx, doc, root, "do_pad", 0, &p.do_pad);
    if (!st) st = mmi_json_bool(ctx, doc, root, "do_convert_rgb", 0, &convert); /* checked only: pictures are RGB already */
    if (!st) st = mmi_json_bool(ctx, doc, root, "default_to_square", 0, &square);
    if (!st) st = read_size(ctx, doc, root, square, &p);
    if (!st) st = mmi_json_i64(ctx, doc, root, "resample", 0, 0, 255, &resample);
    if (!st) st = read_height_width(ctx, doc, root, "crop_size", &p.crop_height, &p.crop_width);
    if (!st) st = read_height_width(ctx, doc, root, "pad_size", &p.pad_height, &p.pad_width);
    if (!st) st = mmi_json_f64(ctx, doc, root, "rescale_factor", 0, -FLT_MAX, FLT_MAX, &p.rescale_factor);
    if (!st) st = read_channels(ctx, doc, root, "image_mean", p.mean);
    if (!st) st = read_channels(ctx, doc, root, "image_std", p.std);
    if (!st && !strcmp(classes[at].name, "CLIP")) st = mmi_json_bool(ctx, doc, root, "use_square_size", 0, &use_square_size);
    if (st) return st;

    if (use_square_size) { /* KOSMOS-2: the class's own size as a square, whatever "size" says */
        p.size_rule = MMI_SIZE_EXACT;
        p.height = p.width = classes[at].defaults.shortest;
    }
    if (resample >= MMI_FILTER_COUNT)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: \"resample\" is %d, a filter that libmm does not have", mmi_json_name(doc),
                        (int)resample);
    p.resample = (mmi_filter)resample;
    if (p.do_center_crop && !p.crop_height) return mmi_fail(ctx, MM_E_FORMAT, "%s: \"crop_size\" is missing", mmi_json_name(doc));
    if (p.do_pad && !p.pad_height) return mmi_fail(ctx, MM_E_FORMAT, "%s: \"pad_size\" is missing", mmi_json_name(doc));
    for (int c = 0; c < 3; c++)
        if (p.do_normalize && (float)p.std[c] == 0.0f)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: \"image_std\" has a zero", mmi_json_name(doc));
    *out = p;
    return MM_OK;
}

/* get_resize_output_image_size, get_size_with_aspect_ratio and get_image_size_for_max_height_width of transformers, whose
 * numbers are doubles that int() cuts off; round() is to even. */
static void resized_size(const mmi_image_processor *p, size_t width, size_t height, size_t *out_width, size_t *out_height)
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
    case MMI_SIZE_INSIDE:
        scale = fmin((double)p->height / h, (double)p->width / w);
        *out_width = (size_t)(w * scale);
        *out_height = (size_t)(h * scale);
        return;
    }
}

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

static mm_status check_output(mm_context *ctx, size_t width, size_t height)
{
    size_t pixels;
    if (!width || !height)
        return mmi_fail(ctx, MM_E_SHAPE, "the processed picture would have no pixels: its size is %zu x %zu", width, height);
    if (width > INT32_MAX || height > INT32_MAX || mmi_size_mul(width, height, &pixels) || pixels > MMI_PROCESSOR_MAX_PIXELS)
        return mmi_fail(ctx, MM_E_LIMIT, "the processed picture would have %zu x %zu pixels, more than the %d allowed", width, height,
                        MMI_PROCESSOR_MAX_PIXELS);
    return MM_OK;
}

/* The sizes after each step: resized, cropped, padded. */
typedef struct {
    size_t width, height;
    crop x, y;
    size_t crop_width, crop_height;
    size_t out_width, out_height;
} plan;

static mm_status make_plan(mm_context *ctx, const mmi_image_processor *p, size_t width, size_t height, plan *out)
{
    out->width = width;
    out->height = height;
    if (p->do_resize) {
        resized_size(p, width, height, &out->width, &out->height);
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
    return check_output(ctx, out->out_width, out->out_height);
}

mm_status mmi_image_processor_output_size(mm_context *ctx, const mmi_image_processor *p, size_t width, size_t height,
                                          size_t *out_width, size_t *out_height)
{
    plan l = {0};
    mm_status st = make_plan(ctx, p, width, height, &l);

    if (st) return st;
    *out_width = l.out_width;
    *out_height = l.out_height;
    return MM_OK;
}

/* What each 8-bit value becomes. Rescaling is a product in float64 cut to float32, normalizing is float32: as numpy in
 * transformers, to the last bit. */
static void fill_table(const mmi_image_processor *p, float table[3][256])
{
    for (int c = 0; c < 3; c++) {
        const float mean = (float)p->mean[c], std = (float)p->std[c];
        for (int v = 0; v < 256; v++) {
            float x = p->do_rescale ? (float)(v * p->rescale_factor) : (float)v;
            table[c][v] = p->do_normalize ? (x - mean) / std : x;
        }
    }
}

mm_status mmi_preprocess_image(mm_context *ctx, const mmi_image_processor *p, const mmi_image *image, float *out)
{
    mmi_image *resized = NULL;
    float table[3][256];
    size_t plane, skip_x, skip_y;
    plan l = {0};
    mm_status st = make_plan(ctx, p, image->width, image->height, &l);

    if (st) goto cleanup;
    plane = l.out_width * l.out_height;
    skip_x = l.x.from;
    skip_y = l.y.from;
    if (l.width != image->width || l.height != image->height) { /* only what the crop leaves is made */
        const mmi_window window = {l.x.from, l.y.from, l.x.count, l.y.count};
        st = mmi_image_resize(ctx, image, l.width, l.height, p->resample, &window, &resized);
        if (st) goto cleanup;
        image = resized;
        skip_x = skip_y = 0;
    }
    fill_table(p, table);
    for (size_t c = 0; c < 3; c++) {
        for (size_t y = 0; y < l.out_height; y++) {
            float *row = out + c * plane + y * l.out_width;
            const uint8_t *s;

            const int covered = y >= l.y.to && y - l.y.to < l.y.count;
            st = mmi_check_cancel(ctx);
            if (st) goto cleanup;
            if (!covered || l.x.count < l.out_width) /* the crop is padded with black, the rest with zeros */
                for (size_t x = 0; x < l.out_width; x++) row[x] = x < l.crop_width && y < l.crop_height ? table[c][0] : 0.0f;
            if (!covered) continue;
            s = image->pixels + ((y - l.y.to + skip_y) * image->width + skip_x) * 3 + c;
            for (size_t x = 0; x < l.x.count; x++) row[l.x.to + x] = table[c][s[3 * x]];
        }
    }
cleanup:
    mmi_image_destroy(resized);
    return st;
}
