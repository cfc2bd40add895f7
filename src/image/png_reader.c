/* SPDX-License-Identifier: MIT */
#include "png_reader.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include "orientation.h"

/* Deflate packs at most 258 bytes into 2 bits. */
enum { DEFLATE_MOST = 1032 };

/* Everything that must survive a longjmp lives here, and no function that calls setjmp changes a variable of its own. */
typedef struct {
    mm_context *ctx;
    const char *name;
    const unsigned char *data;
    size_t size, at;
    size_t max_pixels;
    png_structp png;
    png_infop info;
    mmi_image *image;
    unsigned char *row; /* samples of one row as libpng gives them: one byte each, two for 16-bit files */
    unsigned char palette[256 * 3];
    int color_type, depth;
    size_t channels;
    int whole; /* every row has been read */
    int cut_off;
    unsigned exif_orientation, xmp_orientation;
    mm_status status;
} reader;

_Noreturn static void fail(reader *r, mm_status status)
{
    r->status = status;
    png_longjmp(r->png, 1);
}

static void on_error(png_structp png, png_const_charp text)
{
    reader *r = png_get_error_ptr(png);

    if (r->status == MM_OK) { /* else a callback below knows better what happened */
        if (r->cut_off)
            r->status = mmi_fail(r->ctx, MM_E_FORMAT, "%s is cut off: the PNG data end after %zu bytes", r->name, r->size);
        else
            r->status = mmi_fail(r->ctx, MM_E_FORMAT, "%s is a damaged PNG: %s", r->name, text);
    }
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    reader *r = png_get_error_ptr(png);
    mmi_log(r->ctx, MM_LOG_DEBUG, "%s: %s", r->name, text);
}

static png_voidp on_alloc(png_structp png, png_alloc_size_t size)
{
    reader *r = png_get_mem_ptr(png);
    void *p = mmi_alloc(r->ctx, size);
    if (!p) r->status = MM_E_NOMEM;
    return p;
}

static void on_free(png_structp png, png_voidp p)
{
    (void)png;
    mmi_free(p);
}

static void on_read(png_structp png, png_bytep to, size_t n)
{
    reader *r = png_get_io_ptr(png);

    if (n > r->size - r->at) {
        r->cut_off = 1;
        png_error(png, "end of data");
    }
    memcpy(to, r->data + r->at, n);
    r->at += n;
}

/* Receives the ancillary chunks that libpng is told not to interpret; returns 1 so that it keeps none of them. */
static int on_chunk(png_structp png, png_unknown_chunkp chunk)
{
    static const char xmp[] = "XML:com.adobe.xmp"; /* with its NUL */
    reader *r = png_get_user_chunk_ptr(png);

    if (!memcmp(chunk->name, "eXIf", 4)) {
        r->exif_orientation = mmi_orientation_from_exif(chunk->data, chunk->size);
    } else if (!memcmp(chunk->name, "iTXt", 4) && chunk->size > sizeof xmp && !memcmp(chunk->data, xmp, sizeof xmp) &&
               chunk->data[sizeof xmp] == 0) { /* not compressed */
        r->xmp_orientation = mmi_orientation_from_xmp(chunk->data, chunk->size);
    }
    return 1;
}

/* Bytes of all rows with their filter bytes, before compression; each factor is below 2^34, so nothing wraps. */
static uint64_t raw_bytes(uint64_t width, uint64_t height, int interlaced, uint64_t bits)
{
    uint64_t sum = 0;

    if (!interlaced) return height * (1 + (width * bits + 7) / 8);
    for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; pass++) {
        uint64_t columns = PNG_PASS_COLS(width, pass), rows = PNG_PASS_ROWS(height, pass);
        if (columns && rows) sum += rows * (1 + (columns * bits + 7) / 8);
    }
    return sum;
}

/* Write `n` pixels of the row as RGB at every `step`-th pixel from `to` on. */
static void write_row(const reader *r, unsigned char *to, size_t n, size_t step)
{
    const unsigned char *s = r->row;
    const size_t stride = r->channels * (r->depth == 16 ? 2 : 1); /* bytes from pixel to pixel */
    const size_t next = r->depth == 16 ? 2 : 1;                   /* bytes from sample to sample */

    step *= 3;
    if (r->color_type & PNG_COLOR_MASK_PALETTE) {
        for (size_t i = 0; i < n; i++, s++, to += step) memcpy(to, r->palette + 3 * (size_t)*s, 3);
    } else if (r->color_type & PNG_COLOR_MASK_COLOR) {
        for (size_t i = 0; i < n; i++, s += stride, to += step) { /* of 16 bits the upper 8 */
            to[0] = s[0];
            to[1] = s[next];
            to[2] = s[2 * next];
        }
    } else if (r->depth == 16 && r->color_type == PNG_COLOR_TYPE_GRAY) {
        for (size_t i = 0; i < n; i++, s += stride, to += step) /* Pillow's mode I;16 is clipped, not scaled */
            to[0] = to[1] = to[2] = s[0] ? 255 : s[1];
    } else {
        const unsigned scale = r->depth < 8 ? 255u / ((1u << r->depth) - 1) : 1;
        for (size_t i = 0; i < n; i++, s += stride, to += step) to[0] = to[1] = to[2] = (unsigned char)(*s * scale);
    }
}

static void read_header(reader *r)
{
    /* What we parse ourselves, beside what nobody needs. */
    static const png_byte ours[] = "eXIf\0iTXt", unused[] = "tRNS";
    png_uint_32 width = 0, height = 0;
    int interlace = 0;
    uint64_t raw;

    png_set_read_fn(r->png, r, on_read);
    png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* r->max_pixels is the bound that counts */
    png_set_chunk_malloc_max(r->png, r->size);                     /* no chunk is longer than its file */
    png_set_benign_errors(r->png, 1);
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1); /* ancillary chunks, text and profiles among them */
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, unused, 1);
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_ALWAYS, ours, 2);
    png_set_read_user_chunk_fn(r->png, r, on_chunk);
    png_read_info(r->png, r->info);
    png_get_IHDR(r->png, r->info, &width, &height, &r->depth, &r->color_type, &interlace, NULL, NULL);

    if (mmi_image_check_size(r->ctx, r->name, width, height, r->max_pixels)) fail(r, r->ctx->error_status);
    r->channels = png_get_channels(r->png, r->info);
    raw = raw_bytes(width, height, interlace != PNG_INTERLACE_NONE, (uint64_t)r->channels * (unsigned)r->depth);
    if (raw / DEFLATE_MOST > r->size)
        fail(r, mmi_fail(r->ctx, MM_E_FORMAT, "%s is cut off: %zu bytes cannot hold its %u x %u pixels", r->name, r->size,
                         (unsigned)width, (unsigned)height));
    if (r->color_type & PNG_COLOR_MASK_PALETTE) {
        png_colorp colors = NULL;
        int n = 0;
        png_get_PLTE(r->png, r->info, &colors, &n); /* an index past the palette is black */
        for (int i = 0; i < n && i < 256; i++) memcpy(r->palette + 3 * i, &colors[i], 3);
    }
    if (r->depth < 8) png_set_packing(r->png);
    png_read_update_info(r->png, r->info);
}

static void read_pixels(reader *r)
{
    const size_t width = png_get_image_width(r->png, r->info), height = png_get_image_height(r->png, r->info);
    const int interlaced = png_get_interlace_type(r->png, r->info) != PNG_INTERLACE_NONE;

    if (mmi_image_create(r->ctx, width, height, &r->image)) fail(r, r->ctx->error_status);
    r->row = mmi_alloc(r->ctx, png_get_rowbytes(r->png, r->info));
    if (!r->row) fail(r, MM_E_NOMEM);
    for (int pass = 0; pass < (interlaced ? PNG_INTERLACE_ADAM7_PASSES : 1); pass++) {
        size_t columns = interlaced ? PNG_PASS_COLS(width, pass) : width;
        size_t rows = interlaced ? PNG_PASS_ROWS(height, pass) : height;
        size_t first = interlaced ? PNG_PASS_START_COL(pass) : 0;
        size_t step = interlaced ? PNG_PASS_COL_OFFSET(pass) : 1;

        if (!columns) continue; /* then the pass has no rows in the file either */
        for (size_t y = 0; y < rows; y++) {
            size_t to = interlaced ? PNG_ROW_FROM_PASS_ROW(y, pass) : y;
            if (mmi_check_cancel(r->ctx)) fail(r, MM_E_CANCELLED);
            png_read_row(r->png, r->row, NULL);
            write_row(r, r->image->pixels + (to * width + first) * 3, columns, step);
        }
    }
    r->whole = 1;
    png_read_end(r->png, r->info); /* EXIF may stand behind the pixels */
}

static void read_guarded(reader *r)
{
    if (setjmp(png_jmpbuf(r->png))) return;
    read_header(r);
    read_pixels(r);
}

mm_status mmi_png_read(mm_context *ctx, const char *name, const void *data, size_t size, size_t max_pixels, mmi_image **out)
{
    reader r;
    mm_status st;

    memset(&r, 0, sizeof r);
    r.ctx = ctx;
    r.name = name;
    r.data = data;
    r.size = size;
    r.max_pixels = max_pixels;
    *out = NULL;

    r.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning, &r, on_alloc, on_free);
    if (r.png) r.info = png_create_info_struct(r.png);
    if (!r.info) {
        st = r.status ? r.status
                      : mmi_fail(ctx, MM_E_INTERNAL, "cannot read %s: libpng %s is not the one libmm was built for", name,
                                 png_libpng_ver);
        goto cleanup;
    }
    read_guarded(&r);
    st = r.status;
    /* Pixels that are all there stay good when only what should follow them is cut off. */
    if (st == MM_E_FORMAT && r.whole && r.cut_off) st = MM_OK;
    if (!st) st = mmi_orientation_apply(ctx, r.exif_orientation ? r.exif_orientation : r.xmp_orientation, &r.image);
    if (!st) {
        *out = r.image;
        r.image = NULL;
    }
cleanup:
    png_destroy_read_struct(&r.png, &r.info, NULL);
    mmi_free(r.row);
    mmi_image_destroy(r.image);
    return st;
}
