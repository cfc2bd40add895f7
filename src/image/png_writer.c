/* SPDX-License-Identifier: MIT */
#include "png_writer.h"

#include <png.h>
#include <setjmp.h>

/* Everything that must survive a longjmp. */
typedef struct {
    mm_context *ctx;
    mmi_text *out;
    png_structp png;
    png_infop info;
    mm_status status;
} writer;

static void on_error(png_structp png, png_const_charp text)
{
    writer *w = png_get_error_ptr(png);

    if (!w->status) w->status = mmi_fail(w->ctx, MM_E_LIMIT, "a picture cannot be written as PNG: %s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    writer *w = png_get_error_ptr(png);
    mmi_log(w->ctx, MM_LOG_DEBUG, "PNG: %s", text);
}

static png_voidp on_alloc(png_structp png, png_alloc_size_t size)
{
    writer *w = png_get_mem_ptr(png);
    void *p = mmi_alloc(w->ctx, size);
    if (!p) w->status = MM_E_NOMEM;
    return p;
}

static void on_free(png_structp png, png_voidp p)
{
    (void)png;
    mmi_free(p);
}

static void on_write(png_structp png, png_bytep bytes, size_t n)
{
    writer *w = png_get_io_ptr(png);

    if (!mmi_text_append(w->ctx, w->out, (const char *)bytes, n)) return;
    w->status = MM_E_NOMEM;
    png_longjmp(png, 1);
}

static void on_flush(png_structp png) { (void)png; }

static void write_picture(writer *w, const unsigned char *pixels, size_t width, size_t height, int channels)
{
    static const int types[] = {0, PNG_COLOR_TYPE_GRAY, 0, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA};

    if (setjmp(png_jmpbuf(w->png))) return;
    png_set_write_fn(w->png, w, on_write, on_flush);
    w->info = png_create_info_struct(w->png);
    if (!w->info) png_error(w->png, "out of memory");
    png_set_user_limits(w->png, 0x7FFFFFFF, 0x7FFFFFFF); /* the caller bounded them */
    png_set_IHDR(w->png, w->info, (png_uint_32)width, (png_uint_32)height, 8, types[channels], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(w->png, w->info);
    for (size_t y = 0; y < height; y++) png_write_row(w->png, pixels + y * width * (size_t)channels);
    png_write_end(w->png, w->info);
}

mm_status mmi_png_write(mm_context *ctx, const unsigned char *pixels, size_t width, size_t height, int channels, mmi_text *out)
{
    writer w = {.ctx = ctx, .out = out};

    w.png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &w, on_error, on_warning, &w, on_alloc, on_free);
    if (!w.png) return w.status ? w.status : mmi_fail(ctx, MM_E_INTERNAL, "libpng does not start");
    write_picture(&w, pixels, width, height, channels);
    png_destroy_write_struct(&w.png, &w.info);
    return w.status;
}
