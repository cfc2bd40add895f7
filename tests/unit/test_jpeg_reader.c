/* SPDX-License-Identifier: MIT */
#define _POSIX_C_SOURCE 200809L
#include "image_fixture.h"

#include <unistd.h>

#include "jpeg_reader.h"

static void reads_as_pillow(void **state)
{
    (void)state;
    assert_true(for_each_file(ctx, "jpeg_", check_golden) >= 25);
}

static void cut_one(mm_context *c, const char *name, size_t width, size_t height, uint32_t crc)
{
    size_t size;
    unsigned char *data = load(name, &size);
    (void)width, (void)height, (void)crc;
    check_cut_anywhere(c, data, size, size - 4); /* the end marker, and bits of padding before it */
    free(data);
}

static void cut_anywhere(void **state)
{
    (void)state;
    assert_true(for_each_file(ctx, "jpeg_", cut_one) > 0);
}

static void flip_one(mm_context *c, const char *name, size_t width, size_t height, uint32_t crc)
{
    size_t size;
    unsigned char *data = load(name, &size);
    (void)width, (void)height;
    check_flipped_bits(c, data, size, 500, crc | 1);
    free(data);
}

/* Whatever libjpeg thinks of damaged files, it says to the log and not on standard error. */
static void flipped_bits_in_silence(void **state)
{
    FILE *caught = tmpfile();
    int saved = dup(2);

    (void)state;
    assert_non_null(caught);
    assert_true(saved >= 0 && dup2(fileno(caught), 2) == 2);
    assert_true(for_each_file(ctx, "jpeg_", flip_one) > 0);
    assert_true(dup2(saved, 2) == 2);
    (void)close(saved);
    assert_int_equal(fseek(caught, 0, SEEK_END), 0);
    assert_int_equal(ftell(caught), 0);
    (void)fclose(caught);
}

/* The first marker of this kind, at its 0xFF. */
static unsigned char *find_marker(unsigned char *data, size_t size, unsigned kind)
{
    for (size_t at = 2; at + 4 <= size; at += 2 + ((size_t)data[at + 2] << 8 | data[at + 3])) {
        assert_int_equal(data[at], 0xFF);
        if (data[at + 1] == kind) return data + at;
    }
    fail_msg("no marker %02x", kind);
    return NULL;
}

static mm_status decode_with_size(const char *name, unsigned frame, unsigned width, unsigned height)
{
    size_t size;
    unsigned char *data = load(name, &size), *sof = find_marker(data, size, frame);
    mm_image *image = NULL;
    mm_status st;

    sof[5] = (unsigned char)(height >> 8);
    sof[6] = (unsigned char)height;
    sof[7] = (unsigned char)(width >> 8);
    sof[8] = (unsigned char)width;
    st = mm_image_decode(ctx, data, size, 0, &image);
    mm_image_destroy(image);
    free(data);
    return st;
}

static void claims_without_data(void **state)
{
    (void)state;
    heap.largest = 0;
    assert_int_equal(decode_with_size("jpeg_420.jpg", 0xC0, 20000, 20000), MM_E_LIMIT);
    assert_non_null(strstr(mm_context_error(ctx), "20000 x 20000 pixels, more than the 178956970 pixels allowed"));
    assert_int_equal(decode_with_size("jpeg_420.jpg", 0xC0, 13000, 13000), MM_E_FORMAT);
    assert_non_null(strstr(mm_context_error(ctx), "cannot hold its 13000 x 13000 pixels"));
    assert_int_equal(decode_with_size("jpeg_420_progressive.jpg", 0xC2, 13000, 13000), MM_E_FORMAT);
    assert_int_equal(decode_with_size("jpeg_420.jpg", 0xC0, 0, 8), MM_E_FORMAT);
    assert_int_equal(decode_with_size("jpeg_420.jpg", 0xC0, 8, 0), MM_E_FORMAT);
    assert_true(heap.largest < 100000);
}

static void unsupported_kinds(void **state)
{
    size_t size;
    unsigned char *data = load("jpeg_gray.jpg", &size), *sof = find_marker(data, size, 0xC0);

    (void)state;
    sof[4] = 12; /* bits */
    assert_int_equal(decode_any(ctx, data, size), MM_E_UNSUPPORTED);
    sof[4] = 8;
    sof[1] = 0xC5; /* hierarchical */
    assert_int_equal(decode_any(ctx, data, size), MM_E_UNSUPPORTED);
    sof[1] = 0xC0;
    assert_int_equal(decode_any(ctx, data, size), MM_OK);
    free(data);
}

/* The last scan of a progressive file, repeated: each repeat costs a walk over the picture. */
static mm_status decode_with_scans(size_t repeats)
{
    size_t size, scan, n;
    unsigned char *data = load("jpeg_gray_progressive.jpg", &size), *copy;
    mm_status st;

    for (scan = size - 2; data[scan] != 0xFF || data[scan + 1] != 0xDA; scan--) {}
    n = size - 2 - scan;
    copy = malloc(size + repeats * n);
    assert_non_null(copy);
    memcpy(copy, data, size - 2);
    for (size_t i = 0; i < repeats; i++) memcpy(copy + size - 2 + i * n, data + scan, n);
    memcpy(copy + size - 2 + repeats * n, data + size - 2, 2);
    st = decode_any(ctx, copy, size + repeats * n);
    free(copy);
    free(data);
    return st;
}

static void too_many_scans(void **state)
{
    (void)state;
    assert_int_equal(decode_with_scans(0), MM_OK);
    assert_int_equal(decode_with_scans(50), MM_OK);
    assert_int_equal(decode_with_scans(MMI_JPEG_MAX_SCANS), MM_E_LIMIT);
    assert_non_null(strstr(mm_context_error(ctx), "more than 100 scans"));
}

static void out_of_memory(void **state)
{
    static const char *const names[] = {"jpeg_420.jpg", "jpeg_cmyk_progressive.jpg", "jpeg_gray_exif_5.jpg"};
    size_t size;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsigned char *data = load(names[i], &size);
        check_out_of_memory(data, size);
        free(data);
    }
}

/* libjpeg's own memory counts too, and is given back. */
static void memory_limit(void **state)
{
    size_t size;
    unsigned char *data = load("jpeg_420_progressive.jpg", &size);
    int64_t before, after;

    (void)state;
    assert_int_equal(mm_context_get_i64(ctx, MM_CONTEXT_MEMORY_USED, &before), MM_OK);
    assert_int_equal(mm_context_set_i64(ctx, MM_CONTEXT_MEMORY_LIMIT, 100000), MM_OK);
    assert_int_equal(decode_any(ctx, data, size), MM_E_NOMEM);
    assert_int_equal(mm_context_set_i64(ctx, MM_CONTEXT_MEMORY_LIMIT, 4 << 20), MM_OK);
    assert_int_equal(decode_any(ctx, data, size), MM_OK);
    assert_int_equal(mm_context_get_i64(ctx, MM_CONTEXT_MEMORY_USED, &after), MM_OK);
    assert_int_equal(before, after);
    free(data);
}

static void cancelled(void **state)
{
    size_t size;
    unsigned char *data = load("jpeg_420_progressive.jpg", &size);

    (void)state;
    mm_context_cancel(ctx);
    assert_int_equal(decode_any(ctx, data, size), MM_E_CANCELLED);
    assert_int_equal(decode_any(ctx, data, size), MM_OK);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_as_pillow, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(flipped_bits_in_silence, setup, teardown),
        cmocka_unit_test_setup_teardown(claims_without_data, setup, teardown),
        cmocka_unit_test_setup_teardown(unsupported_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_scans, setup, teardown),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test_setup_teardown(memory_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(cancelled, setup, teardown),
    };
    return cmocka_run_group_tests_name("jpeg_reader", tests, NULL, NULL);
}
