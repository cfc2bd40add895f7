/* SPDX-License-Identifier: MIT */
#include "plot.h"

#ifndef MM_WITH_CAIRO

int cli_plot_check(void) { return cli_fail_text("plots need cairo, without which this mm was built"); }

int cli_plot_losses(mm_context *ctx, const char *path, const cli_series *series, size_t n_series, int logarithmic)
{
    (void)ctx, (void)path, (void)series, (void)n_series, (void)logarithmic;
    return cli_plot_check();
}

int cli_plot_confusion(mm_context *ctx, const char *path, const char *const *labels, size_t classes, const int64_t *counts)
{
    (void)ctx, (void)path, (void)labels, (void)classes, (void)counts;
    return cli_plot_check();
}

#else

#include <cairo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int cli_plot_check(void) { return EXIT_OK; }

/* A white sheet to draw on, black, in letters of this height. NULL after saying why. */
static cairo_t *sheet(int width, int height, double letters)
{
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    cairo_t *c = cairo_create(surface);

    cairo_surface_destroy(surface); /* c holds it */
    if (cairo_status(c)) {
        (void)cli_fail_text("cannot draw a plot of %d x %d pixels: %s", width, height, cairo_status_to_string(cairo_status(c)));
        cairo_destroy(c);
        return NULL;
    }
    cairo_set_source_rgb(c, 1, 1, 1);
    cairo_paint(c);
    cairo_set_source_rgb(c, 0, 0, 0);
    cairo_select_font_face(c, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(c, letters);
    return c;
}

/* Write what was drawn, and end it. */
static int save(mm_context *ctx, cairo_t *c, const char *path)
{
    cairo_surface_t *surface = cairo_get_target(c);
    const int width = cairo_image_surface_get_width(surface), height = cairo_image_surface_get_height(surface), stride = cairo_image_surface_get_stride(surface);
    uint8_t *pixels = malloc((size_t)width * (size_t)height * 3), *to = pixels;
    mm_image *image = NULL;
    int status = pixels ? EXIT_OK : cli_fail_text("out of memory");

    if (!status && cairo_status(c)) status = cli_fail_text("cannot draw %s: %s", path, cairo_status_to_string(cairo_status(c)));
    cairo_surface_flush(surface);
    for (int y = 0; y < height && !status; y++)
        for (int x = 0; x < width; x++) { /* a word a pixel: xrgb */
            uint32_t p;
            memcpy(&p, cairo_image_surface_get_data(surface) + (ptrdiff_t)y * stride + 4 * x, sizeof p);
            *to++ = (uint8_t)(p >> 16);
            *to++ = (uint8_t)(p >> 8);
            *to++ = (uint8_t)p;
        }
    if (!status && (mm_image_create(ctx, width, height, pixels, &image) || mm_image_save_png(ctx, image, path))) status = cli_fail(ctx);
    mm_image_destroy(image);
    free(pixels);
    cairo_destroy(c);
    return status;
}

/* Text whose point (`across`, `down`), fractions of its box, lies at (x, y). */
static void write_at(cairo_t *c, const char *text, double x, double y, double across, double down)
{
    cairo_text_extents_t e;
    cairo_font_extents_t f;

    cairo_text_extents(c, text, &e);
    cairo_font_extents(c, &f);
    cairo_move_to(c, x - across * e.x_advance, y + f.ascent - down * (f.ascent + f.descent));
    cairo_show_text(c, text);
}

static void write_upwards(cairo_t *c, const char *text, double x, double y, double across, double down)
{
    cairo_save(c);
    cairo_translate(c, x, y);
    cairo_rotate(c, -acos(-1) / 2);
    write_at(c, text, 0, 0, across, down);
    cairo_restore(c);
}

/* Losses. */

enum { WIDTH = 960, HEIGHT = 600, LEFT = 80, RIGHT = 30, TOP = 30, BOTTOM = 60 };

static const double colors[][3] = {{0.12, 0.36, 0.71}, {0.85, 0.33, 0.10}, {0.17, 0.55, 0.24}, {0.55, 0.24, 0.63}, {0.40, 0.40, 0.40}, {0.75, 0.60, 0.05}};

/* Values from `low` to `high` on `from` to `to` pixels; of a logarithmic one the logarithms. */
typedef struct {
    double low, high, from, to;
    int logarithmic;
} axis;

static double scaled(const axis *a, double v) { return a->logarithmic ? log10(v) : v; }
static double place(const axis *a, double v) { return a->from + (scaled(a, v) - a->low) / (a->high - a->low) * (a->to - a->from); }
static int fits(const axis *a, double v) { return isfinite(v) && (!a->logarithmic || v > 0); }

static void take(axis *a, double v)
{
    a->low = fmin(a->low, scaled(a, v));
    a->high = fmax(a->high, scaled(a, v));
}

/* Room for one value alone, and between the values and the frame. */
static void widen(axis *a, double share)
{
    const double room = a->high > a->low ? share * (a->high - a->low) : fmax(0.05 * fabs(a->high), 0.05);

    if (share > 0 || a->high == a->low) {
        a->low -= room;
        a->high += room;
    }
}

/* 1, 2 or 5 times a power of ten, so that about `wanted` of them make the distance. */
static double step_of(double distance, double wanted)
{
    const double raw = distance / wanted, power = pow(10, floor(log10(raw))), lead = raw / power;
    return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

static void tick(cairo_t *c, const axis *a, double v, int upright)
{
    const double at = place(a, v);
    char text[32];

    (void)snprintf(text, sizeof text, "%.6g", fabs(v) < 1e-12 ? 0.0 : v);
    cairo_set_source_rgb(c, 0.9, 0.9, 0.9);
    cairo_set_line_width(c, 1);
    if (upright) {
        cairo_move_to(c, LEFT, at);
        cairo_line_to(c, WIDTH - RIGHT, at);
    } else {
        cairo_move_to(c, at, TOP);
        cairo_line_to(c, at, HEIGHT - BOTTOM);
    }
    cairo_stroke(c);
    cairo_set_source_rgb(c, 0, 0, 0);
    if (upright) write_at(c, text, LEFT - 8, at, 1, 0.5);
    else write_at(c, text, at, HEIGHT - BOTTOM + 6, 0.5, 0);
}

static void ticks(cairo_t *c, const axis *a, int upright)
{
    if (a->logarithmic && a->high - a->low > 0.6) { /* decades, with their 2 and 5 where those have room */
        const int all = a->high - a->low < 3, every = 1 + (int)((a->high - a->low) / 12);
        for (int d = (int)floor(a->low); d <= (int)floor(a->high); d += every)
            for (int lead = 1; lead <= (all ? 5 : 1); lead += lead == 1 ? 1 : 3)
                if (log10(lead) + d >= a->low && log10(lead) + d <= a->high) tick(c, a, lead * pow(10, d), upright);
    } else {
        const double low = a->logarithmic ? pow(10, a->low) : a->low, high = a->logarithmic ? pow(10, a->high) : a->high;
        const double step = step_of(high - low, upright ? 7 : 9), first = ceil(low / step);
        for (int i = 0; i < 32 && (first + i) * step <= high; i++) tick(c, a, (first + i) * step, upright);
    }
}

/* One line through values that `mean` smooths, 0: not. */
static void draw_line(cairo_t *c, const cli_series *s, const axis *x, const axis *y, double mean)
{
    double average = 0, weight = 0;
    int pen = 0;

    for (size_t i = 0; i < s->count; i++) {
        double v = s->y[i];
        if (!fits(x, s->x[i]) || !fits(y, v)) {
            pen = 0;
            continue;
        }
        if (mean > 0) { /* a running mean that does not lean on where it began */
            average = mean * average + (1 - mean) * v;
            weight = mean * weight + (1 - mean);
            v = average / weight;
        }
        if (pen) cairo_line_to(c, place(x, s->x[i]), place(y, v));
        else cairo_move_to(c, place(x, s->x[i]), place(y, v));
        pen = 1;
    }
    cairo_stroke(c);
}

static void draw_series(cairo_t *c, const cli_series *s, const double color[3], const axis *x, const axis *y)
{
    cairo_set_line_join(c, CAIRO_LINE_JOIN_ROUND);
    if (s->smooth) {
        cairo_set_source_rgba(c, color[0], color[1], color[2], 0.25);
        cairo_set_line_width(c, 1);
        draw_line(c, s, x, y, 0);
    }
    cairo_set_source_rgb(c, color[0], color[1], color[2]);
    cairo_set_line_width(c, 2);
    draw_line(c, s, x, y, s->smooth ? fmax(1 - 50.0 / (double)s->count, 0) : 0);
    for (size_t i = 0; i < s->count && !s->smooth; i++)
        if (fits(x, s->x[i]) && fits(y, s->y[i])) {
            cairo_arc(c, place(x, s->x[i]), place(y, s->y[i]), 3, 0, 2 * acos(-1));
            cairo_fill(c);
        }
}

static void legend(cairo_t *c, const cli_series *series, size_t n)
{
    cairo_text_extents_t e;
    double width = 0;

    for (size_t i = 0; i < n; i++) {
        cairo_text_extents(c, series[i].name, &e);
        width = fmax(width, e.x_advance);
    }
    cairo_set_source_rgba(c, 1, 1, 1, 0.85);
    cairo_rectangle(c, WIDTH - RIGHT - width - 52, TOP + 6, width + 46, 20 * (double)n + 8);
    cairo_fill(c);
    for (size_t i = 0; i < n; i++) {
        const double *color = colors[i % (sizeof colors / sizeof *colors)], y = TOP + 20 + 20 * (double)i;
        cairo_set_source_rgb(c, color[0], color[1], color[2]);
        cairo_set_line_width(c, 2);
        cairo_move_to(c, WIDTH - RIGHT - width - 44, y);
        cairo_line_to(c, WIDTH - RIGHT - width - 20, y);
        cairo_stroke(c);
        cairo_set_source_rgb(c, 0, 0, 0);
        write_at(c, series[i].name, WIDTH - RIGHT - width - 12, y, 0, 0.5);
    }
}

int cli_plot_losses(mm_context *ctx, const char *path, const cli_series *series, size_t n_series, int logarithmic)
{
    axis x = {INFINITY, -INFINITY, LEFT, WIDTH - RIGHT, 0}, y = {INFINITY, -INFINITY, HEIGHT - BOTTOM, TOP, logarithmic};
    cairo_t *c;

    for (size_t k = 0; k < n_series; k++)
        for (size_t i = 0; i < series[k].count; i++)
            if (fits(&x, series[k].x[i]) && fits(&y, series[k].y[i])) {
                take(&x, series[k].x[i]);
                take(&y, series[k].y[i]);
            }
    if (!(x.low <= x.high)) return cli_fail_text("%s: there are no losses to draw", path);
    widen(&x, 0);
    widen(&y, 0.04);
    if (!(c = sheet(WIDTH, HEIGHT, 13))) return EXIT_FAILED;
    ticks(c, &x, 0);
    ticks(c, &y, 1);
    write_at(c, "step", (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 12, 0.5, 1);
    write_upwards(c, logarithmic ? "loss (logarithmic)" : "loss", 18, (TOP + HEIGHT - BOTTOM) / 2.0, 0.5, 0.5);
    cairo_save(c);
    cairo_rectangle(c, LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    cairo_clip(c);
    for (size_t k = 0; k < n_series; k++) draw_series(c, &series[k], colors[k % (sizeof colors / sizeof *colors)], &x, &y);
    cairo_restore(c);
    cairo_set_source_rgb(c, 0.3, 0.3, 0.3);
    cairo_set_line_width(c, 1);
    cairo_rectangle(c, LEFT + 0.5, TOP + 0.5, WIDTH - LEFT - RIGHT - 1, HEIGHT - TOP - BOTTOM - 1);
    cairo_stroke(c);
    legend(c, series, n_series);
    return save(ctx, c, path);
}

/* A confusion. */

enum { MAX_CLASSES = 1000, MAX_LABEL = 180 };

static const char *label_of(const char *const *labels, size_t i, char number[24])
{
    if (labels && labels[i]) return labels[i];
    (void)snprintf(number, 24, "%zu", i);
    return number;
}

static double widest_label(const char *const *labels, size_t classes)
{
    cairo_t *c = sheet(1, 1, 12);
    double width = 0;
    char number[24];

    for (size_t i = 0; i < classes && c; i++) {
        cairo_text_extents_t e;
        cairo_text_extents(c, label_of(labels, i, number), &e);
        width = fmax(width, e.x_advance);
    }
    if (c) cairo_destroy(c);
    return fmin(width, MAX_LABEL);
}

/* One cell, and its number where there is room. */
static void draw_cell(cairo_t *c, double x, double y, double side, int64_t count, int64_t of)
{
    const double share = of ? (double)count / (double)of : 0;
    char number[24];

    cairo_set_source_rgb(c, 1 - 0.88 * share, 1 - 0.64 * share, 1 - 0.29 * share);
    cairo_rectangle(c, x, y, side, side);
    cairo_fill(c);
    if (side < 28 || !count) return;
    (void)snprintf(number, sizeof number, "%lld", (long long)count);
    if (share > 0.5) cairo_set_source_rgb(c, 1, 1, 1);
    else cairo_set_source_rgb(c, 0, 0, 0);
    write_at(c, number, x + side / 2, y + side / 2, 0.5, 0.5);
}

int cli_plot_confusion(mm_context *ctx, const char *path, const char *const *labels, size_t classes, const int64_t *counts)
{
    const double side = classes ? floor(fmin(fmax(640.0 / (double)classes, 4), 64)) : 0, span = side * (double)classes;
    const double left = side < 12 ? 40 : widest_label(labels, classes) + 44, top = left;
    cairo_t *c;

    if (!classes || classes > MAX_CLASSES) return cli_fail_text("%s: a confusion of %zu classes cannot be drawn, only 1 to %d", path, classes, MAX_CLASSES);
    if (!(c = sheet((int)(left + span) + 16, (int)(top + span) + 16, 12))) return EXIT_FAILED;
    write_at(c, "guess", left + span / 2, 6, 0.5, 0);
    write_upwards(c, "right class", 6, top + span / 2, 0.5, 0);
    for (size_t i = 0; i < classes; i++) {
        const double middle = ((double)i + 0.5) * side;
        int64_t all = 0;
        char number[24];

        for (size_t k = 0; k < classes; k++) all += counts[i * classes + k];
        for (size_t k = 0; k < classes; k++) draw_cell(c, left + (double)k * side, top + (double)i * side, side, counts[i * classes + k], all);
        if (side < 12) continue;
        cairo_set_source_rgb(c, 0, 0, 0);
        cairo_save(c); /* long labels are cut at the edge of the sheet's titles */
        cairo_rectangle(c, 26, 26, left + span, top + span);
        cairo_clip(c);
        write_at(c, label_of(labels, i, number), left - 8, top + middle, 1, 0.5);
        write_upwards(c, label_of(labels, i, number), left + middle, top - 8, 0, 0.5);
        cairo_restore(c);
    }
    cairo_set_source_rgb(c, 0.3, 0.3, 0.3);
    cairo_set_line_width(c, 1);
    cairo_rectangle(c, left - 0.5, top - 0.5, span + 1, span + 1);
    cairo_stroke(c);
    return save(ctx, c, path);
}

#endif
