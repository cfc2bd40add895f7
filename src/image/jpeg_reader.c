/* SPDX-License-Identifier: MIT */
#include "jpeg_reader.h"

#include <setjmp.h>
#include <stdio.h> /* jpeglib.h needs it */
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "orientation.h"
#include "size.h"

/* Everything that must survive a longjmp lives here, and no function that calls setjmp changes a variable of its own. */
typedef struct {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr error;
    struct jpeg_progress_mgr progress;
    struct jpeg_source_mgr source;
    jmp_buf escape;
    mm_context *ctx;
    const char *name;
    size_t size;
    size_t max_pixels;
    size_t charged; /* bytes of libjpeg's own memory counted on the heap */
    mmi_image *image;
    unsigned char *row; /* one row of CMYK or gray samples */
    unsigned orientation;
    mm_status status;
} reader;

_Noreturn static void fail(reader *r, mm_status status)
{
    r->status = status;
    longjmp(r->escape, 1);
}

_Noreturn static void fail_cut_off(reader *r)
{
    fail(r, mmi_fail(r->ctx, MM_E_FORMAT, "%s is cut off: the JPEG data end after %zu bytes", r->name, r->size));
}

static void on_error(j_common_ptr common)
{
    reader *r = common->client_data;
    char text[JMSG_LENGTH_MAX];

    if (r->error.msg_code == JERR_OUT_OF_MEMORY || r->error.msg_code == JERR_NO_BACKING_STORE)
        fail(r, mmi_fail(r->ctx, MM_E_NOMEM, "out of memory: libjpeg cannot get what it needs to read %s", r->name));
    r->error.format_message(common, text);
    switch (r->error.msg_code) {
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_ARITH_NOTIMPL:
    case JERR_NOTIMPL: fail(r, mmi_fail(r->ctx, MM_E_UNSUPPORTED, "%s is a JPEG of a kind that is not read: %s", r->name, text));
    default: fail(r, mmi_fail(r->ctx, MM_E_FORMAT, "%s is a damaged JPEG: %s", r->name, text));
    }
}

static void on_message(j_common_ptr common, int level)
{
    reader *r = common->client_data;
    char text[JMSG_LENGTH_MAX];

    if (level >= 0) return;             /* trace */
    if (r->error.num_warnings++) return; /* the first tells enough of a damaged file */
    r->error.format_message(common, text);
    mmi_log(r->ctx, MM_LOG_WARNING, "%s: %s", r->name, text);
}

static void on_output(j_common_ptr common) { (void)common; }

static void on_progress(j_common_ptr common)
{
    reader *r = common->client_data;

    if (r->cinfo.input_scan_number > MMI_JPEG_MAX_SCANS)
        fail(r, mmi_fail(r->ctx, MM_E_LIMIT, "%s has more than %d scans", r->name, MMI_JPEG_MAX_SCANS));
    if (mmi_check_cancel(r->ctx)) fail(r, MM_E_CANCELLED);
}

/* The source is the whole file in memory: having to refill it means that the file ends too early. libjpeg then suspends. */
static void source_begin(j_decompress_ptr cinfo) { (void)cinfo; }
static boolean source_refill(j_decompress_ptr cinfo)
{
    (void)cinfo;
    return FALSE;
}
static void source_skip(j_decompress_ptr cinfo, long n)
{
    size_t step = n > 0 ? mmi_size_min((size_t)n, cinfo->src->bytes_in_buffer) : 0;
    cinfo->src->next_input_byte += step;
    cinfo->src->bytes_in_buffer -= step;
}
static void source_end(j_decompress_ptr cinfo) { (void)cinfo; }

static void read_orientation(reader *r)
{
    static const char exif[6] = "Exif\0", xmp[29] = "http://ns.adobe.com/xap/1.0/";
    unsigned from_xmp = 0;
    int exif_seen = 0;

    for (jpeg_saved_marker_ptr m = r->cinfo.marker_list; m; m = m->next) {
        if (m->data_length >= sizeof exif && !memcmp(m->data, exif, sizeof exif)) {
            if (!exif_seen) r->orientation = mmi_orientation_from_exif(m->data, m->data_length);
            exif_seen = 1;
        } else if (m->data_length >= sizeof xmp && !memcmp(m->data, xmp, sizeof xmp)) {
            from_xmp = mmi_orientation_from_xmp(m->data, m->data_length);
        }
    }
    if (!r->orientation) r->orientation = from_xmp;
}

/* A Huffman-coded file spends at least one bit on each MCU; a file too small for that only claims its pixels. */
static void check_file_size(reader *r)
{
    const struct jpeg_decompress_struct *c = &r->cinfo;
    size_t mcu_width = (size_t)c->max_h_samp_factor * DCTSIZE, mcu_height = (size_t)c->max_v_samp_factor * DCTSIZE;
    size_t mcus = ((c->image_width + mcu_width - 1) / mcu_width) * ((c->image_height + mcu_height - 1) / mcu_height);

    if (!c->arith_code && mcus / 8 > r->size)
        fail(r, mmi_fail(r->ctx, MM_E_FORMAT, "%s is cut off: %zu bytes cannot hold its %u x %u pixels", r->name, r->size,
                         (unsigned)c->image_width, (unsigned)c->image_height));
}

/* What libjpeg is going to allocate: a few rows of samples, the markers it saved, and for progressive files the coefficients
 * of the whole picture, 64 of 2 bytes for each block, with the blocks rounded up to whole MCUs. */
static void charge_memory(reader *r)
{
    const struct jpeg_decompress_struct *c = &r->cinfo;
    size_t bytes = (size_t)c->image_width * 512 + (1u << 20) + r->size, blocks, total = 0;

    if (jpeg_has_multiple_scans(&r->cinfo)) {
        for (int i = 0; i < c->num_components; i++) {
            const jpeg_component_info *comp = &c->comp_info[i];
            if (mmi_size_mul3((size_t)comp->width_in_blocks + 4, (size_t)comp->height_in_blocks + 4, sizeof(JBLOCK), &blocks) ||
                mmi_size_add(total, blocks, &total))
                fail(r, mmi_fail(r->ctx, MM_E_OVERFLOW, "%s is too large", r->name));
        }
    }
    if (mmi_size_add(bytes, total, &bytes) || bytes > (size_t)INT64_MAX || mmi_heap_charge(r->ctx->heap, bytes))
        fail(r, mmi_fail(r->ctx, MM_E_NOMEM, "out of memory: %zu bytes to read %s, %zu in use, limit %zu", bytes, r->name,
                         mmi_heap_used(r->ctx->heap), mmi_heap_limit(r->ctx->heap)));
    r->charged = bytes;
    r->cinfo.mem->max_memory_to_use = (long)bytes;
}

/* Pillow reads CMYK as Adobe writes it, inverted, whatever the file says, and converts without a profile:
 * 255 - K - C * (255 - K) / 255 with Pillow's rounding. s holds the inverted samples, so 255 - K is s[3]. */
static void write_cmyk(const unsigned char *s, unsigned char *to, size_t n)
{
    for (size_t i = 0; i < n; i++, s += 4, to += 3) {
        for (int c = 0; c < 3; c++) {
            unsigned product = (255u - s[c]) * s[3] + 128;
            unsigned ink = ((product >> 8) + product) >> 8;
            to[c] = (unsigned char)(s[3] - ink);
        }
    }
}

static void read_header(reader *r)
{
    struct jpeg_decompress_struct *c = &r->cinfo;

    jpeg_create_decompress(c);
    c->src = &r->source;
    c->progress = &r->progress;
    jpeg_save_markers(c, JPEG_APP0 + 1, 0xFFFF);
    if (jpeg_read_header(c, TRUE) != JPEG_HEADER_OK) fail_cut_off(r);
    if (c->data_precision != 8 || (c->num_components != 1 && c->num_components != 3 && c->num_components != 4))
        fail(r, mmi_fail(r->ctx, MM_E_UNSUPPORTED, "%s has %d colours of %d bits, expected 1, 3 or 4 of 8", r->name, c->num_components,
                         c->data_precision));
    if (mmi_image_check_size(r->ctx, r->name, c->image_width, c->image_height, r->max_pixels)) fail(r, r->ctx->error_status);
    check_file_size(r);
    read_orientation(r);
    c->out_color_space = c->num_components == 1 ? JCS_GRAYSCALE : c->num_components == 3 ? JCS_RGB : JCS_CMYK;
}

static void read_pixels(reader *r)
{
    struct jpeg_decompress_struct *c = &r->cinfo;
    const size_t width = c->image_width, channels = (size_t)c->num_components;

    charge_memory(r);
    if (!jpeg_start_decompress(c)) fail_cut_off(r);
    if (mmi_image_create(r->ctx, width, c->image_height, &r->image)) fail(r, r->ctx->error_status);
    r->row = mmi_alloc_array(r->ctx, width, channels);
    if (!r->row) fail(r, MM_E_NOMEM);
    for (size_t y = 0; y < r->image->height; y++) {
        unsigned char *to = r->image->pixels + y * width * 3;
        JSAMPROW row = channels == 3 ? to : r->row;
        if (jpeg_read_scanlines(c, &row, 1) != 1) fail_cut_off(r);
        if (channels == 4) write_cmyk(row, to, width);
        if (channels == 1)
            for (size_t x = 0; x < width; x++) to[3 * x] = to[3 * x + 1] = to[3 * x + 2] = row[x];
    }
    (void)jpeg_finish_decompress(c); /* pixels that are all there stay good when only the end marker is cut off */
}

static void read_guarded(reader *r)
{
    if (setjmp(r->escape)) return;
    read_header(r);
    read_pixels(r);
}

mm_status mmi_jpeg_read(mm_context *ctx, const char *name, const void *data, size_t size, size_t max_pixels, mmi_image **out)
{
    reader r;
    mm_status st;

    memset(&r, 0, sizeof r);
    r.ctx = ctx;
    r.name = name;
    r.size = size;
    r.max_pixels = max_pixels;
    r.cinfo.client_data = &r;
    r.cinfo.err = jpeg_std_error(&r.error);
    r.error.error_exit = on_error;
    r.error.emit_message = on_message;
    r.error.output_message = on_output;
    r.progress.progress_monitor = on_progress;
    r.source.next_input_byte = data;
    r.source.bytes_in_buffer = size;
    r.source.init_source = source_begin;
    r.source.fill_input_buffer = source_refill;
    r.source.skip_input_data = source_skip;
    r.source.resync_to_restart = jpeg_resync_to_restart;
    r.source.term_source = source_end;
    *out = NULL;

    read_guarded(&r);
    jpeg_destroy_decompress(&r.cinfo);
    mmi_heap_discharge(ctx->heap, r.charged);
    st = r.status;
    if (!st) st = mmi_orientation_apply(ctx, r.orientation, &r.image);
    if (!st) {
        *out = r.image;
        r.image = NULL;
    }
    mmi_free(r.row);
    mmi_image_destroy(r.image);
    return st;
}
