/* SPDX-License-Identifier: MIT */
#include "y4m_reader.h"

#include <math.h>
#include <string.h>

#include "mm_video.h"
#include "size.h"

enum { MAX_LINE = 1024 };

static const char magic[] = "YUV4MPEG2";

/* The end of the line that begins at `at`, or NULL when there is none near. */
static const unsigned char *line_end(const unsigned char *data, size_t size, size_t at)
{
    return memchr(data + at, '\n', mmi_size_min(size - at, MAX_LINE));
}

/* A number of digits alone, at most INT32_MAX; *s moves behind it. */
static int read_number(const char **s, size_t *out)
{
    size_t v = 0;
    const char *from = *s;

    for (; **s >= '0' && **s <= '9'; ++*s)
        if ((v = v * 10 + (size_t)(**s - '0')) > INT32_MAX) return 0;
    *out = v;
    return *s > from;
}

static mm_status fail_parameter(mm_context *ctx, const char *name, const char *word)
{
    return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%.40s\" in its first line is not what YUV4MPEG2 allows", name, word);
}

static mm_status read_layout(mm_context *ctx, const char *name, const char *word, mmi_y4m *out)
{
    static const struct {
        const char *word;
        size_t x, y;
    } layouts[] = {{"C420", 2, 2},    {"C420jpeg", 2, 2}, {"C420mpeg2", 2, 2}, {"C420paldv", 2, 2},
                   {"C422", 2, 1}, {"C444", 1, 1},     {"Cmono", 0, 0}};

    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (!strcmp(word, layouts[i].word)) {
            out->shrink_x = layouts[i].x;
            out->shrink_y = layouts[i].y;
            return MM_OK;
        }
    return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s has the sample layout %.40s, which is not read (420, 422, 444 and mono of 8 bits are)", name,
                    word);
}

static mm_status read_parameter(mm_context *ctx, const char *name, const char *word, mmi_y4m *out)
{
    const char *s = word + 1;
    size_t num = 0, den = 0;

    switch (*word) {
    case 'W':
    case 'H':
        if (!read_number(&s, *word == 'W' ? &out->width : &out->height) || *s) return fail_parameter(ctx, name, word);
        return MM_OK;
    case 'F':
        if (!read_number(&s, &num) || *s++ != ':' || !read_number(&s, &den) || *s || (num && !den)) return fail_parameter(ctx, name, word);
        out->rate = num ? (double)num / (double)den : 0;
        return MM_OK;
    case 'I':
        if (!strcmp(word, "Ip") || !strcmp(word, "I?")) return MM_OK;
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s is interlaced (%.40s): deinterlace it first", name, word);
    case 'C': return read_layout(ctx, name, word, out);
    case 'X':
        if (!strcmp(word, "XCOLORRANGE=FULL")) out->full_range = 1;
        return MM_OK;
    default: return MM_OK; /* the shape of a pixel, and what others may add */
    }
}

static mm_status read_parameters(mm_context *ctx, const char *name, const unsigned char *line, size_t n, mmi_y4m *out)
{
    char text[MAX_LINE + 1], *word, *next;
    mm_status st = MM_OK;

    memcpy(text, line, n);
    text[n] = 0;
    if (strlen(text) != n) return mmi_fail(ctx, MM_E_FORMAT, "%s: its first line holds a zero byte", name);
    for (word = text + strlen(magic); *word && !st; word = next) {
        *word++ = 0;
        next = word + strcspn(word, " ");
        const char behind = *next;
        *next = 0;
        st = read_parameter(ctx, name, word, out);
        *next = behind;
    }
    if (!out->shrink_x) out->full_range = 1; /* as ffmpeg writes and reads it */
    return st;
}

static size_t shrunk(size_t side, size_t by) { return (side + by - 1) / by; }

/* Samples of color in a plane. */
static size_t color_samples(const mmi_y4m *y)
{
    return y->shrink_x ? shrunk(y->width, y->shrink_x) * shrunk(y->height, y->shrink_y) : 0;
}

mm_status mmi_y4m_read(mm_context *ctx, const char *name, const unsigned char *data, size_t size, size_t max_pixels, mmi_y4m *out)
{
    const size_t n = strlen(magic);
    const unsigned char *end = size > n && !memcmp(data, magic, n) && (data[n] == ' ' || data[n] == '\n') ? line_end(data, size, 0) : NULL;
    size_t bytes, capacity = 0;
    mm_status st;

    memset(out, 0, sizeof *out);
    out->shrink_x = out->shrink_y = 2;
    if (!end) return mmi_fail(ctx, MM_E_FORMAT, "%s is neither a folder nor YUV4MPEG2: its first line does not begin with %s", name, magic);
    if ((st = read_parameters(ctx, name, data, (size_t)(end - data), out))) return st;
    if ((st = mmi_image_check_size(ctx, name, out->width, out->height, max_pixels))) return st;
    bytes = out->width * out->height + 2 * color_samples(out); /* at most 3 * 2^31 */
    for (size_t at = (size_t)(end - data) + 1; at < size; at += bytes) {
        end = size - at > 5 && !memcmp(data + at, "FRAME", 5) && (data[at + 5] == '\n' || data[at + 5] == ' ') ? line_end(data, size, at) : NULL;
        if (!end) return mmi_fail(ctx, MM_E_FORMAT, "%s: frame %zu does not begin with FRAME", name, out->frames);
        at = (size_t)(end - data) + 1;
        if (size - at < bytes)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: frame %zu is cut off: it has %zu of %zu bytes", name, out->frames, size - at, bytes);
        if (out->frames == MM_VIDEO_MAX_FRAMES)
            return mmi_fail(ctx, MM_E_LIMIT, "%s has more than the %d frames allowed", name, MM_VIDEO_MAX_FRAMES);
        if (mmi_grow(ctx, (void **)&out->offsets, &capacity, out->frames, sizeof *out->offsets)) return MM_E_NOMEM;
        out->offsets[out->frames++] = at;
        if ((st = mmi_check_cancel(ctx))) return st;
    }
    return out->frames ? MM_OK : mmi_fail(ctx, MM_E_FORMAT, "%s has no frames", name);
}

void mmi_y4m_clear(mmi_y4m *y4m)
{
    mmi_free(y4m->offsets);
    y4m->offsets = NULL;
}

/* What a sample adds to R, G and B, by BT.601: R = Y + 1.402 V, G = Y - 0.344136 U - 0.714136 V, B = Y + 1.772 U. */
typedef struct {
    double y[256], red_v[256], green_u[256], green_v[256], blue_u[256];
} color_table;

static void fill_colors(color_table *t, int full_range)
{
    const double red = 0.299, green = 0.587, blue = 0.114; /* shares of luma */
    const double y_scale = full_range ? 1 : 255.0 / 219, color_scale = full_range ? 1 : 255.0 / 224;

    for (int i = 0; i < 256; i++) {
        const double c = (i - 128) * color_scale;
        t->y[i] = (i - (full_range ? 0 : 16)) * y_scale;
        t->red_v[i] = 2 * (1 - red) * c;
        t->green_u[i] = -2 * (1 - blue) * blue / green * c;
        t->green_v[i] = -2 * (1 - red) * red / green * c;
        t->blue_u[i] = 2 * (1 - blue) * c;
    }
}

/* Halves go up, also those that a double's last bit has made less than a half. */
static uint8_t nearest(double v) { return (uint8_t)(v <= 0 ? 0 : v >= 255 ? 255 : v + 0.5 + 1e-9); }

mm_status mmi_y4m_frame(mm_context *ctx, const mmi_y4m *y4m, const unsigned char *data, size_t index, mmi_image **out)
{
    const unsigned char *luma = data + y4m->offsets[index], *u = luma + y4m->width * y4m->height, *v = u + color_samples(y4m);
    const size_t across = y4m->shrink_x ? shrunk(y4m->width, y4m->shrink_x) : 0;
    mmi_image *image = NULL;
    color_table t;
    uint8_t *to;
    mm_status st = mmi_image_create(ctx, y4m->width, y4m->height, &image);

    *out = NULL;
    if (st) return st;
    fill_colors(&t, y4m->full_range);
    to = image->pixels;
    for (size_t row = 0; row < y4m->height && !st; row++) {
        const size_t line = across ? row / y4m->shrink_y * across : 0;
        for (size_t x = 0; x < y4m->width; x++, to += 3) {
            const double y = t.y[*luma++];
            if (!across) {
                to[0] = to[1] = to[2] = nearest(y);
                continue;
            }
            const size_t at = line + x / y4m->shrink_x;
            to[0] = nearest(y + t.red_v[v[at]]);
            to[1] = nearest(y + t.green_u[u[at]] + t.green_v[v[at]]);
            to[2] = nearest(y + t.blue_u[u[at]]);
        }
        st = mmi_check_cancel(ctx);
    }
    if (!st) {
        *out = image;
        image = NULL;
    }
    mmi_image_destroy(image);
    return st;
}
