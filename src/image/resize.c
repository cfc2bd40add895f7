/* SPDX-License-Identifier: MIT */
#include "resize.h"

#include <math.h>
#include <string.h>

#include "size.h"

enum {
    PRECISION = 32 - 8 - 2, /* bits behind the point of a coefficient */
    HALF = 1 << (PRECISION - 1),
    BLOCK = 8,              /* rows that go through the horizontal pass together */
    LANES = 3 * BLOCK,
    POLL = 1 << 22          /* multiply-adds between two looks at the cancel flag */
};

static const double pi = 3.14159265358979323846;

static double sinc(double x)
{
    if (x == 0.0) return 1.0;
    x *= pi;
    return sin(x) / x;
}

static double lanczos(double x) { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

static double hamming(double x)
{
    x = fabs(x);
    if (x == 0.0) return 1.0;
    if (x >= 1.0) return 0.0;
    x *= pi;
    return sin(x) / x * (0.54f + 0.46f * cos(x)); /* constants of single precision, as in Pillow */
}

static const struct {
    double (*weight)(double x);
    double support; /* weight is 0 from here on */
} filters[MMI_FILTER_COUNT] = {
    [MMI_FILTER_LANCZOS] = {lanczos, 3.0}, [MMI_FILTER_BILINEAR] = {bilinear, 1.0}, [MMI_FILTER_BICUBIC] = {bicubic, 2.0},
    [MMI_FILTER_BOX] = {box, 0.5},         [MMI_FILTER_HAMMING] = {hamming, 1.0},
};

/* The inputs of one output pixel and where their coefficients begin. Both ends never go down from pixel to pixel. */
typedef struct {
    size_t from, to;
} span;

/* One pass: output pixels [first, first + count) of a side that goes from `in` to `out` pixels. */
typedef struct {
    span *spans;         /* [count] */
    int32_t *weights;    /* [count, stride] */
    size_t stride;
} pass;

static void pass_clear(pass *p)
{
    mmi_free(p->spans);
    mmi_free(p->weights);
}

static mm_status pass_create(mm_context *ctx, mmi_filter filter, size_t in, size_t out, size_t first, size_t count, pass *p)
{
    const double scale = (double)in / (double)out, widen = scale < 1.0 ? 1.0 : scale;
    const double support = filters[filter].support * widen, shrink = 1.0 / widen;
    double *exact = NULL;
    size_t cells, work = 0;
    mm_status st = MM_OK;

    p->stride = (size_t)ceil(support) * 2 + 1;
    if (mmi_size_mul(count, p->stride, &cells)) return mmi_fail(ctx, MM_E_OVERFLOW, "resizing %zu to %zu pixels is too large", in, out);
    p->spans = mmi_alloc_array(ctx, count, sizeof *p->spans);
    p->weights = p->spans ? mmi_alloc_array(ctx, cells, sizeof *p->weights) : NULL;
    exact = p->weights ? mmi_alloc_array(ctx, p->stride, sizeof *exact) : NULL;
    if (!exact) { st = MM_E_NOMEM; goto cleanup; }

    for (size_t i = 0; i < count; i++) {
        const double center = ((double)(first + i) + 0.5) * scale;
        const double low = center - support + 0.5, high = center + support + 0.5;
        size_t from = low > 0 ? mmi_size_min((size_t)low, in - 1) : 0; /* no span is empty, whatever rounding does */
        size_t to = mmi_size_max(mmi_size_min((size_t)high, in), from + 1), n = to - from;
        int32_t *weights = p->weights + i * p->stride;
        double sum = 0.0;

        for (size_t x = 0; x < n; x++) {
            exact[x] = filters[filter].weight(((double)(x + from) - center + 0.5) * shrink);
            sum += exact[x];
        }
        for (size_t x = 0; x < n; x++) {
            double w = sum != 0.0 ? exact[x] / sum : exact[x];
            weights[x] = (int32_t)((w < 0 ? -0.5 : 0.5) + w * (1 << PRECISION));
        }
        p->spans[i].from = from;
        p->spans[i].to = to;
        work += n;
        if (work >= POLL / 16) {
            work = 0;
            st = mmi_check_cancel(ctx);
            if (st) goto cleanup;
        }
    }
cleanup:
    mmi_free(exact);
    return st;
}

/* Sums wrap as unsigned numbers do, so that no filter at a picture's edge can make them undefined. */
static inline unsigned char round8(uint32_t sum)
{
    int32_t v = (int32_t)sum >> PRECISION;
    return (unsigned char)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* Everything that a resize in progress needs. The passes run row by row: each row that enters the vertical pass is added at
 * once to the output rows that it belongs to, and no more of these are open at a time than fit in `ring`. */
typedef struct {
    mm_context *ctx;
    const mmi_image *in;
    mmi_image *out;
    mmi_window window;
    int has_x, has_y;
    pass x, y;
    size_t x_from, x_to;    /* input columns that the window needs */
    size_t y_from, y_to;    /* and rows */
    unsigned char *columns; /* [x_to - x_from, rows of the block, 3]: a block with rows and columns swapped */
    unsigned char *rows;    /* a block of rows between the passes */
    uint32_t *ring;         /* [ring_rows, bytes of a row] sums */
    size_t ring_rows;
    size_t opened, closed;  /* rows that the vertical pass has begun and finished */
    size_t work;            /* multiply-adds since the last look at the cancel flag */
} resizer;

static mm_status poll_cancel(resizer *r, size_t work)
{
    r->work += work;
    if (r->work < POLL) return MM_OK;
    r->work = 0;
    return mmi_check_cancel(r->ctx);
}

/* The loops below run over pieces of constant size, which compilers turn into vector code without being asked to. */

/* One output column of a block of rows: sums[lane] of `lanes` = 3 * rows. */
static void filter_column(const unsigned char *restrict s, const int32_t *restrict weights, size_t n, size_t lanes,
                          uint32_t *restrict sums)
{
    for (size_t i = 0; i < lanes; i++) sums[i] = HALF;
    for (size_t x = 0; x < n; x++, s += lanes)
        for (size_t i = 0; i < lanes; i++) sums[i] += (uint32_t)weights[x] * s[i];
}

/* The same for a whole block. */
static void filter_column_block(const unsigned char *restrict s, const int32_t *restrict weights, size_t n, uint32_t *restrict sums)
{
    uint32_t acc[LANES];

    for (size_t i = 0; i < LANES; i++) acc[i] = HALF;
    for (size_t x = 0; x < n; x++, s += LANES) {
        const uint32_t weight = (uint32_t)weights[x];
#pragma GCC unroll 24
        for (size_t i = 0; i < LANES; i++) acc[i] += weight * s[i];
    }
    memcpy(sums, acc, sizeof acc);
}

static void add_weighted(uint32_t *restrict sums, const unsigned char *restrict row, uint32_t weight, size_t n)
{
    size_t i = 0;

    for (; n - i >= LANES; i += LANES)
        for (size_t j = 0; j < LANES; j++) sums[i + j] += weight * row[i + j];
    for (; i < n; i++) sums[i] += weight * row[i];
}

static void round_row(unsigned char *restrict to, const uint32_t *restrict sums, size_t n)
{
    size_t i = 0;

    for (; n - i >= 16; i += 16)
        for (size_t j = 0; j < 16; j++) to[i + j] = round8(sums[i + j]);
    for (; i < n; i++) to[i] = round8(sums[i]);
}

/* Horizontal pass over `count` rows that begin at column x_from, `stride` bytes apart, into rows of the window's width. */
static mm_status filter_block(resizer *r, const unsigned char *rows, size_t stride, size_t count, unsigned char *out)
{
    const size_t width = r->window.width, lanes = 3 * count;
    uint32_t sums[LANES];
    mm_status st;

    for (size_t row = 0; row < count; row++) {
        const unsigned char *s = rows + row * stride;
        unsigned char *to = r->columns + row * 3;
        for (size_t x = r->x_from; x < r->x_to; x++, s += 3, to += lanes) memcpy(to, s, 3);
    }
    for (size_t x = 0; x < width; x++) {
        const span sp = r->x.spans[x];
        const unsigned char *s = r->columns + (sp.from - r->x_from) * lanes;
        const int32_t *weights = r->x.weights + x * r->x.stride;

        st = poll_cancel(r, (sp.to - sp.from) * lanes);
        if (st) return st;
        if (count == BLOCK)
            filter_column_block(s, weights, sp.to - sp.from, sums);
        else
            filter_column(s, weights, sp.to - sp.from, lanes, sums);
        for (size_t row = 0; row < count; row++)
            for (size_t c = 0; c < 3; c++) out[(row * width + x) * 3 + c] = round8(sums[row * 3 + c]);
    }
    return MM_OK;
}

/* Vertical pass: add row y of n bytes to the open rows. */
static mm_status add_row(resizer *r, size_t y, const unsigned char *row, size_t n)
{
    const span *spans = r->y.spans;
    mm_status st;

    while (r->opened < r->window.height && spans[r->opened].from <= y) {
        uint32_t *sums = r->ring + r->opened++ % r->ring_rows * n;
        for (size_t i = 0; i < n; i++) sums[i] = HALF;
    }
    for (size_t o = r->closed; o < r->opened; o++) {
        const uint32_t weight = (uint32_t)r->y.weights[o * r->y.stride + y - spans[o].from];
        add_weighted(r->ring + o % r->ring_rows * n, row, weight, n);
        st = poll_cancel(r, n);
        if (st) return st;
    }
    return MM_OK;
}

/* Is the oldest open row complete with input row y? Then finish_row gives it. */
static int row_complete(const resizer *r, size_t y) { return r->closed < r->opened && r->y.spans[r->closed].to == y + 1; }

static void finish_row(resizer *r, unsigned char *to, size_t n)
{
    round_row(to, r->ring + r->closed++ % r->ring_rows * n, n);
}

/* The most output rows that are open at one time. */
static size_t most_open(const pass *p, size_t count)
{
    size_t most = 0, closed = 0;
    for (size_t o = 0; o < count; o++) {
        while (p->spans[closed].to <= p->spans[o].from) closed++;
        most = mmi_size_max(most, o + 1 - closed);
    }
    return most;
}

static const unsigned char *input_row(const resizer *r, size_t y) { return r->in->pixels + (y * r->in->width + r->x_from) * 3; }

/* Horizontal pass, then vertical; either may be missing. */
static mm_status columns_then_rows(resizer *r)
{
    const size_t n = r->window.width * 3;
    mm_status st;

    for (size_t y = r->y_from; y < r->y_to; y += BLOCK) {
        const size_t count = mmi_size_min(BLOCK, r->y_to - y);
        if (r->has_x) {
            st = filter_block(r, input_row(r, y), r->in->width * 3, count, r->rows);
            if (st) return st;
        }
        for (size_t row = 0; row < count; row++) {
            const unsigned char *s = r->has_x ? r->rows + row * n : input_row(r, y + row);
            if (!r->has_y) {
                memcpy(r->out->pixels + (y + row - r->y_from) * n, s, n);
                continue;
            }
            st = add_row(r, y + row, s, n);
            if (st) return st;
            while (row_complete(r, y + row)) finish_row(r, r->out->pixels + r->closed * n, n);
        }
    }
    return MM_OK;
}

/* Vertical pass, then horizontal over blocks of what it makes. */
static mm_status rows_then_columns(resizer *r)
{
    const size_t n = (r->x_to - r->x_from) * 3;
    mm_status st;

    for (size_t y = r->y_from; y < r->y_to; y++) {
        st = add_row(r, y, input_row(r, y), n);
        if (st) return st;
        while (row_complete(r, y)) {
            const size_t slot = r->closed % BLOCK;
            finish_row(r, r->rows + slot * n, n);
            if (slot + 1 < BLOCK && r->closed < r->window.height) continue;
            st = filter_block(r, r->rows, n, slot + 1, r->out->pixels + (r->closed - slot - 1) * r->window.width * 3);
            if (st) return st;
        }
    }
    return MM_OK;
}

static mm_status filter_image(resizer *r, size_t width, size_t height)
{
    const mmi_window *w = &r->window;
    /* Pillow's rule; the order shows in the rounding between the passes. */
    const int rows_first = r->has_x && r->has_y && height < r->in->height &&
                           (int64_t)(r->in->height - height) > 2 * ((int64_t)r->in->width - (int64_t)width);
    size_t row_bytes;

    r->x_from = r->has_x ? r->x.spans[0].from : w->x;
    r->x_to = r->has_x ? r->x.spans[w->width - 1].to : w->x + w->width;
    r->y_from = r->has_y ? r->y.spans[0].from : w->y;
    r->y_to = r->has_y ? r->y.spans[w->height - 1].to : w->y + w->height;
    row_bytes = 3 * (rows_first ? r->x_to - r->x_from : w->width); /* between the passes */
    if (r->has_x) {
        const size_t rows = rows_first ? w->height : r->y_to - r->y_from; /* that the pass will see */
        r->columns = mmi_alloc_array(r->ctx, r->x_to - r->x_from, 3 * mmi_size_min(BLOCK, rows));
        r->rows = r->columns ? mmi_alloc_array(r->ctx, BLOCK, row_bytes) : NULL;
        if (!r->rows) return MM_E_NOMEM;
    }
    if (r->has_y) {
        r->ring_rows = most_open(&r->y, w->height);
        r->ring = mmi_alloc_array(r->ctx, r->ring_rows, row_bytes * sizeof *r->ring);
        if (!r->ring) return MM_E_NOMEM;
    }
    return rows_first ? rows_then_columns(r) : columns_then_rows(r);
}

/* The input pixel under the middle of each output pixel. The position is summed up step by step as Pillow does, rounding
 * included; `in` marks a pixel that this carries past the edge, which Pillow leaves black. */
static mm_status nearest_positions(mm_context *ctx, size_t in, size_t out, size_t first, size_t count, size_t *positions)
{
    const double step = (double)in / (double)out;
    double at = step * 0.5;
    mm_status st;

    for (size_t i = 0; i < first + count; i++, at += step) {
        if (i >= first) positions[i - first] = at < (double)in ? (size_t)at : in;
        if (i % POLL == 0) {
            st = mmi_check_cancel(ctx);
            if (st) return st;
        }
    }
    return MM_OK;
}

static mm_status nearest_image(mm_context *ctx, const mmi_image *in, size_t width, size_t height, const mmi_window *w, mmi_image *out)
{
    size_t *columns = mmi_alloc_array(ctx, w->width, sizeof *columns), *rows = NULL;
    mm_status st = MM_OK;

    rows = columns ? mmi_alloc_array(ctx, w->height, sizeof *rows) : NULL;
    if (!rows) { st = MM_E_NOMEM; goto cleanup; }
    st = nearest_positions(ctx, in->width, width, w->x, w->width, columns);
    if (!st) st = nearest_positions(ctx, in->height, height, w->y, w->height, rows);
    if (st) goto cleanup;
    for (size_t y = 0; y < w->height; y++) {
        unsigned char *to = out->pixels + y * w->width * 3;
        st = mmi_check_cancel(ctx);
        if (st) goto cleanup;
        for (size_t x = 0; x < w->width; x++, to += 3) {
            if (rows[y] < in->height && columns[x] < in->width)
                memcpy(to, in->pixels + (rows[y] * in->width + columns[x]) * 3, 3);
            else
                memset(to, 0, 3);
        }
    }
cleanup:
    mmi_free(columns);
    mmi_free(rows);
    return st;
}

mm_status mmi_image_resize(mm_context *ctx, const mmi_image *image, size_t width, size_t height, mmi_filter filter,
                           const mmi_window *window, mmi_image **out)
{
    const mmi_window whole = {0, 0, width, height}, *w = window ? window : &whole;
    resizer r;
    mm_status st;

    memset(&r, 0, sizeof r);
    *out = NULL;
    st = mmi_image_create(ctx, w->width, w->height, &r.out);
    if (st) return st;
    r.ctx = ctx;
    r.in = image;
    r.window = *w;
    r.has_x = width != image->width;
    r.has_y = height != image->height;
    if (filter == MMI_FILTER_NEAREST) {
        st = nearest_image(ctx, image, width, height, w, r.out);
        goto cleanup;
    }
    if (r.has_x) st = pass_create(ctx, filter, image->width, width, w->x, w->width, &r.x);
    if (!st && r.has_y) st = pass_create(ctx, filter, image->height, height, w->y, w->height, &r.y);
    if (!st) st = filter_image(&r, width, height);
cleanup:
    pass_clear(&r.x);
    pass_clear(&r.y);
    mmi_free(r.columns);
    mmi_free(r.rows);
    mmi_free(r.ring);
    if (!st) {
        *out = r.out;
        r.out = NULL;
    }
    mmi_image_destroy(r.out);
    return st;
}
