/* SPDX-License-Identifier: MIT */
#include "augment.h"

#include <math.h>
#include <string.h>

#include "color.h"
#include "processor_config.h"
#include "random.h"
#include "resize.h"
#include "size.h"

enum { STREAM_AUGMENT = 0x4155474D /* "AUGM" */, TRIES = 10 };

/* Which number of a picture's is drawn for what; a try takes four. */
enum {
    DRAW_ANGLE,
    DRAW_X,
    DRAW_Y,
    DRAW_FLIP,
    DRAW_ORDER,
    DRAW_SCALE = 7,
    DRAW_COLOR = 8,
    DRAW_ERASE = 12,
    DRAW_CROP_TRY = 16,
    DRAW_ERASE_TRY = 64,
    DRAW_NOISE = 128
};

static const double MAX_RATIO = 1000, PI = 3.14159265358979323846;

/* ---------------------------------------------------------------- configuration */

/* The members of the object under `key` (NULL: of the object itself) are among `names`, of which the last is NULL. */
static mm_status check_keys(mm_context *ctx, const mmi_json *doc, const char *key, const mmi_json_node *object, const char *const *names)
{
    if (mmi_json_kind_of(object) != MMI_JSON_OBJECT)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%s\" must be an object", mmi_json_name(doc), key);
    for (const mmi_json_node *e = mmi_json_first(object); e; e = mmi_json_next(e)) {
        const char *const *name = names;
        while (*name && strcmp(*name, mmi_json_key(e))) name++;
        if (!*name) return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%.100s\" is no key of \"%s\"", mmi_json_name(doc), mmi_json_key(e), key);
    }
    return MM_OK;
}

/* Two numbers from lowest to highest under `key` of `group`, left alone when absent; in_order: the first is not above the second. */
static mm_status read_pair(mm_context *ctx, const mmi_json *doc, const mmi_json_node *group, const char *key, double lowest, double highest,
                           int in_order, double *a, double *b)
{
    const mmi_json_node *node = mmi_json_get(group, key), *first = mmi_json_first(node), *second = mmi_json_next(first);
    double x, y;

    if (mmi_json_kind_of(node) <= MMI_JSON_NULL) return MM_OK;
    if (mmi_json_kind_of(node) != MMI_JSON_ARRAY || !mmi_json_number(first, &x) || !mmi_json_number(second, &y) || mmi_json_next(second) ||
        x < lowest || y < lowest || x > highest || y > highest || (in_order && x > y))
        return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%s\" must be two numbers from %g to %g%s", mmi_json_name(doc), key, lowest, highest,
                        in_order ? ", the lower one first" : "");
    *a = x;
    *b = y;
    return MM_OK;
}

/* The color under `key`, one number or three, or `word`, which sets *is_word; left alone when absent. */
static mm_status read_fill(mm_context *ctx, const mmi_json *doc, const mmi_json_node *group, const char *key, const char *word, int *is_word,
                           uint8_t value[3])
{
    const mmi_json_node *node = mmi_json_get(group, key), *color = mmi_json_first(node);
    const char *said = mmi_json_string(node);

    if (mmi_json_kind_of(node) <= MMI_JSON_NULL) return MM_OK;
    *is_word = said && !strcmp(said, word);
    for (int c = 0; c < 3 && !*is_word; c++) {
        const int one = mmi_json_kind_of(node) == MMI_JSON_NUMBER;
        int64_t v;
        if (!mmi_json_integer(one ? node : color, &v) || v < 0 || v > 255 || (c == 2 && mmi_json_next(color)))
            return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%s\" must be 0 to 255, three of them, or \"%s\"", mmi_json_name(doc), key, word);
        value[c] = (uint8_t)v;
        color = mmi_json_next(color);
    }
    return MM_OK;
}

static mm_status read_affine(mm_context *ctx, const mmi_json *doc, const mmi_json_node *group, mmi_augment *a)
{
    static const char *const names[] = {"degrees", "translate", "scale", "fill", NULL};
    mm_status st = check_keys(ctx, doc, "affine", group, names);

    a->does_affine = 1;
    a->degrees = 10;
    a->scale = (mmi_range){1, 1};
    if (!st) st = mmi_json_f64(ctx, doc, group, "degrees", 0, 0, 180, &a->degrees);
    if (!st) st = read_pair(ctx, doc, group, "translate", 0, 1, 0, &a->translate_x, &a->translate_y);
    if (!st) st = read_pair(ctx, doc, group, "scale", 1 / MAX_RATIO, MAX_RATIO, 1, &a->scale.lowest, &a->scale.highest);
    return st ? st : read_fill(ctx, doc, group, "fill", "edge", &a->fill_edge, a->fill);
}

static mm_status read_crop(mm_context *ctx, const mmi_json *doc, const mmi_json_node *group, mmi_augment *a)
{
    static const char *const names[] = {"scale", "ratio", "size", NULL};
    const mmi_json_node *size = mmi_json_get(group, "size");
    mm_status st = check_keys(ctx, doc, "crop", group, names);

    a->does_crop = 1;
    a->crop_scale = (mmi_range){0.08, 1};
    a->crop_ratio = (mmi_range){3.0 / 4, 4.0 / 3};
    if (!st) st = read_pair(ctx, doc, group, "scale", 1e-6, 1, 1, &a->crop_scale.lowest, &a->crop_scale.highest);
    if (!st) st = read_pair(ctx, doc, group, "ratio", 1 / MAX_RATIO, MAX_RATIO, 1, &a->crop_ratio.lowest, &a->crop_ratio.highest);
    if (!st && mmi_json_kind_of(size) > MMI_JSON_NULL) {
        const int one = mmi_json_kind_of(size) == MMI_JSON_NUMBER;
        const mmi_json_node *height = one ? size : mmi_json_first(size), *width = one ? size : mmi_json_next(height);
        int64_t h, w;
        if (!mmi_json_integer(height, &h) || !mmi_json_integer(width, &w) || (!one && mmi_json_next(width)) || h < 1 || w < 1 ||
            h > MMI_PROCESSOR_MAX_SIDE || w > MMI_PROCESSOR_MAX_SIDE || h * w > MMI_PROCESSOR_MAX_PIXELS)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: \"size\" must be a side or [height, width], of at most %d pixels", mmi_json_name(doc),
                            MMI_PROCESSOR_MAX_PIXELS);
        a->crop_height = (size_t)h;
        a->crop_width = (size_t)w;
    }
    return st;
}

static mm_status read_color(mm_context *ctx, const mmi_json *doc, const mmi_json_node *group, mmi_augment *a)
{
    static const char *const names[] = {"brightness", "contrast", "saturation", "hue", NULL};
    mm_status st = check_keys(ctx, doc, "color", group, names);

    a->does_color = 1;
    for (int i = 0; i < MMI_COLOR_COUNT && !st; i++) {
        const int hue = i == MMI_COLOR_HUE;
        const double lowest = hue ? -0.5 : 0, highest = hue ? 0.5 : MAX_RATIO, middle = hue ? 0 : 1;
        mmi_range *range = &a->color[i];
        double x = 0;

        if (mmi_json_kind_of(mmi_json_get(group, names[i])) == MMI_JSON_ARRAY) {
            st = read_pair(ctx, doc, group, names[i], lowest, highest, 1, &range->lowest, &range->highest);
        } else {
            st = mmi_json_f64(ctx, doc, group, names[i], 0, 0, highest - middle, &x);
            *range = (mmi_range){fmax(lowest, middle - x), middle + x};
        }
    }
    return st;
}

static mm_status read_erase(mm_context *ctx, const mmi_json *doc, const mmi_json_node *group, mmi_augment *a)
{
    static const char *const names[] = {"p", "scale", "ratio", "value", NULL};
    mm_status st = check_keys(ctx, doc, "erase", group, names);

    a->does_erase = 1;
    a->erase = 0.5;
    a->erase_scale = (mmi_range){0.02, 0.33};
    a->erase_ratio = (mmi_range){0.3, 3.3};
    if (!st) st = mmi_json_f64(ctx, doc, group, "p", 0, 0, 1, &a->erase);
    if (!st) st = read_pair(ctx, doc, group, "scale", 1e-6, 1, 1, &a->erase_scale.lowest, &a->erase_scale.highest);
    if (!st) st = read_pair(ctx, doc, group, "ratio", 1 / MAX_RATIO, MAX_RATIO, 1, &a->erase_ratio.lowest, &a->erase_ratio.highest);
    return st ? st : read_fill(ctx, doc, group, "value", "random", &a->erase_noise, a->erase_value);
}

mm_status mmi_augment_from_json(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, mmi_augment *out)
{
    static const char *const names[] = {"affine", "crop", "flip", "color", "erase", NULL};
    static mm_status (*const readers[])(mm_context *, const mmi_json *, const mmi_json_node *,
                                        mmi_augment *) = {read_affine, read_crop, NULL, read_color, read_erase};
    mm_status st = check_keys(ctx, doc, "augment", object, names);

    memset(out, 0, sizeof *out);
    if (!st) st = mmi_json_f64(ctx, doc, object, "flip", 0, 0, 1, &out->flip);
    for (int i = 0; names[i] && !st; i++) {
        const mmi_json_node *group = mmi_json_get(object, names[i]);
        if (readers[i] && mmi_json_kind_of(group) > MMI_JSON_NULL) st = readers[i](ctx, doc, group, out);
    }
    return st;
}

/* ---------------------------------------------------------------- drawing */

/* The numbers of one picture. */
typedef struct {
    uint64_t key, index;
} source;

static double unit(const source *s, uint64_t draw) { return mmi_random_unit_at(s->key, s->index, draw); }
static double between(const source *s, uint64_t draw, double low, double high) { return low + (high - low) * unit(s, draw); }
static size_t below(const source *s, uint64_t draw, size_t n) { return mmi_size_min((size_t)(unit(s, draw) * (double)n), n - 1); }

/* A rectangle of random area and ratio that lies inside width x height; 0 when none of the tries gives one. The ratio is width / height,
 * but for erasing height / width, and a rectangle to erase is smaller than both sides. */
static int draw_window(const source *s, uint64_t draw, mmi_range scale, mmi_range ratio, int erasing, size_t width, size_t height,
                       mmi_window *out)
{
    const double area = (double)width * (double)height;

    for (int i = 0; i < TRIES; i++, draw += 4) {
        const double part = area * between(s, draw, scale.lowest, scale.highest),
                     r = exp(between(s, draw + 1, log(ratio.lowest), log(ratio.highest)));
        const double w = rint(sqrt(erasing ? part / r : part * r)), h = rint(sqrt(erasing ? part * r : part / r));

        if (w < 1 || h < 1 || w > (double)(width - (size_t)erasing) || h > (double)(height - (size_t)erasing)) continue;
        out->width = (size_t)w;
        out->height = (size_t)h;
        out->y = below(s, draw + 2, height - out->height + 1);
        out->x = below(s, draw + 3, width - out->width + 1);
        return 1;
    }
    return 0;
}

/* Where no try fits: as much of the middle as the ratios allow. */
static mmi_window middle_window(mmi_range ratio, size_t width, size_t height)
{
    const double r = (double)width / (double)height;
    mmi_window w = {0, 0, width, height};

    if (r < ratio.lowest)
        w.height = mmi_size_max(1, mmi_size_min(height, (size_t)rint((double)width / ratio.lowest)));
    else if (r > ratio.highest)
        w.width = mmi_size_max(1, mmi_size_min(width, (size_t)rint((double)height * ratio.highest)));
    w.x = (width - w.width) / 2;
    w.y = (height - w.height) / 2;
    return w;
}

/* ---------------------------------------------------------------- steps */

/* Turn by `degrees` about the middle, scale and move by whole pixels: each pixel is interpolated (bilinear) where the inverse takes it, and
 * filled outside. */
static mm_status move(mm_context *ctx, const mmi_augment *a, const mmi_image *in, double degrees, double scale, double dx, double dy,
                      mmi_image **out)
{
    const double turn = degrees * PI / 180, c = cos(turn) / scale, s = sin(turn) / scale, cx = (double)in->width * 0.5, cy = (double)in->height * 0.5;
    const double x_at = c * (-cx - dx) + s * (-cy - dy) + cx, y_at = -s * (-cx - dx) + c * (-cy - dy) + cy;
    mm_status st = mmi_image_create(ctx, in->width, in->height, out);

    if (st) return st;
    for (size_t y = 0; y < in->height; y++) {
        for (size_t x = 0; x < in->width; x++) {
            const double px = c * ((double)x + 0.5) + s * ((double)y + 0.5) + x_at,
                         py = -s * ((double)x + 0.5) + c * ((double)y + 0.5) + y_at;
            uint8_t *to = (*out)->pixels + (y * in->width + x) * 3;
            const uint8_t *row[2];
            double fx, fy;
            size_t at[2];

            memcpy(to, a->fill, 3);
            if (!a->fill_edge && !(px >= 0 && px < (double)in->width && py >= 0 && py < (double)in->height)) continue;
            fx = floor(px - 0.5);
            fy = floor(py - 0.5);
            for (int i = 0; i < 2; i++) { /* at the edges the outermost pixel stands for what is beyond */
                at[i] = 3 * (size_t)fmin(fmax(fx + i, 0), (double)(in->width - 1));
                row[i] = in->pixels + 3 * in->width * (size_t)fmin(fmax(fy + i, 0), (double)(in->height - 1));
            }
            fx = px - 0.5 - fx;
            fy = py - 0.5 - fy;
            for (int k = 0; k < 3; k++) {
                const double above = row[0][at[0] + k] + (row[0][at[1] + k] - row[0][at[0] + k]) * fx;
                const double under = row[1][at[0] + k] + (row[1][at[1] + k] - row[1][at[0] + k]) * fx;
                to[k] = (uint8_t)(above + (under - above) * fy);
            }
        }
        if (y % 64 == 63 && (st = mmi_check_cancel(ctx))) {
            mmi_image_destroy(*out);
            *out = NULL;
            return st;
        }
    }
    return MM_OK;
}

static mm_status cut(mm_context *ctx, const mmi_image *in, const mmi_window *w, mmi_image **out)
{
    mm_status st = mmi_image_create(ctx, w->width, w->height, out);

    for (size_t y = 0; y < w->height && !st; y++)
        memcpy((*out)->pixels + y * w->width * 3, in->pixels + ((w->y + y) * in->width + w->x) * 3, w->width * 3);
    return st;
}

static void mirror(mmi_image *image)
{
    for (size_t y = 0; y < image->height; y++) {
        uint8_t *left = image->pixels + y * image->width * 3, *right = left + (image->width - 1) * 3, keep[3];
        for (; left < right; left += 3, right -= 3) {
            memcpy(keep, left, 3);
            memcpy(left, right, 3);
            memcpy(right, keep, 3);
        }
    }
}

static void change_color(const mmi_augment *a, const source *s, mmi_image *image)
{
    int order[MMI_COLOR_COUNT] = {MMI_COLOR_BRIGHTNESS, MMI_COLOR_CONTRAST, MMI_COLOR_SATURATION, MMI_COLOR_HUE};

    for (int i = MMI_COLOR_COUNT - 1; i > 0; i--) {
        const size_t j = below(s, DRAW_ORDER + (uint64_t)i - 1, (size_t)i + 1);
        const int keep = order[i];
        order[i] = order[j];
        order[j] = keep;
    }
    for (int i = 0; i < MMI_COLOR_COUNT; i++) {
        const mmi_range *range = &a->color[order[i]];
        const double x = between(s, DRAW_COLOR + (uint64_t)order[i], range->lowest, range->highest);

        if (order[i] == MMI_COLOR_HUE) {
            if (range->lowest != 0 || range->highest != 0) mmi_image_hue(image, x); /* converting alone would round */
        } else if (order[i] == MMI_COLOR_BRIGHTNESS) {
            mmi_image_brightness(image, (float)x);
        } else if (order[i] == MMI_COLOR_CONTRAST) {
            mmi_image_contrast(image, (float)x);
        } else {
            mmi_image_saturation(image, (float)x);
        }
    }
}

/* Noise is the bytes of the numbers drawn, lowest first. */
static void erase(const mmi_augment *a, const source *s, mmi_image *image)
{
    mmi_window w;
    size_t n = 0;
    uint64_t bytes = 0;

    if (unit(s, DRAW_ERASE) >= a->erase ||
        !draw_window(s, DRAW_ERASE_TRY, a->erase_scale, a->erase_ratio, 1, image->width, image->height, &w))
        return;
    for (size_t y = w.y; y < w.y + w.height; y++) {
        uint8_t *row = image->pixels + (y * image->width + w.x) * 3;
        for (size_t i = 0; i < w.width * 3; i++, n++) {
            if (a->erase_noise && n % 8 == 0) bytes = mmi_random_at(s->key, s->index, DRAW_NOISE + n / 8);
            row[i] = a->erase_noise ? (uint8_t)(bytes >> n % 8 * 8) : a->erase_value[i % 3];
        }
    }
}

mm_status mmi_augment_run(mm_context *ctx, const mmi_augment *a, uint64_t seed, uint64_t epoch, uint64_t index, const mmi_image *image,
                          mmi_image **out)
{
    const source s = {mmi_random_at(seed, STREAM_AUGMENT, epoch), index};
    const size_t width = image->width, height = image->height;
    mmi_window window = {0, 0, width, height};
    mmi_image *moved = NULL, *part = NULL;
    mm_status st = MM_OK;

    *out = NULL;
    if (a->does_affine) {
        st = move(ctx, a, image, between(&s, DRAW_ANGLE, -a->degrees, a->degrees),
                  between(&s, DRAW_SCALE, a->scale.lowest, a->scale.highest),
                  rint(between(&s, DRAW_X, -a->translate_x * (double)width, a->translate_x * (double)width)),
                  rint(between(&s, DRAW_Y, -a->translate_y * (double)height, a->translate_y * (double)height)), &moved);
        if (st) goto cleanup;
        image = moved;
    }
    if (a->does_crop && !draw_window(&s, DRAW_CROP_TRY, a->crop_scale, a->crop_ratio, 0, width, height, &window))
        window = middle_window(a->crop_ratio, width, height);
    st = cut(ctx, image, &window, &part);
    if (!st && a->does_crop)
        st = mmi_image_resize(ctx, part, a->crop_width ? a->crop_width : width, a->crop_height ? a->crop_height : height,
                              MMI_FILTER_BILINEAR, NULL, out);
    if (st) goto cleanup;
    if (!a->does_crop) {
        *out = part;
        part = NULL;
    }
    if (unit(&s, DRAW_FLIP) < a->flip) mirror(*out);
    if (a->does_color) change_color(a, &s, *out);
    if (a->does_erase) erase(a, &s, *out);
cleanup:
    mmi_image_destroy(moved);
    mmi_image_destroy(part);
    return st;
}
