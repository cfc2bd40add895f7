/* SPDX-License-Identifier: MIT */
#include "image_fixture.h"

static void reads_as_pillow(void **state)
{
    (void)state;
    assert_true(for_each_file(ctx, "png_", check_golden) >= 50);
}

static size_t get32(const unsigned char *p) { return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3]; }
static void put32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> (24 - 8 * i));
}

/* Where the image data end, less the 8 bytes that a deflate stream may end with after the last pixel. */
static size_t pixels_end(const unsigned char *data, size_t size)
{
    size_t last[8] = {0}, n = 0;
    for (size_t at = 8; at + 12 <= size; at += 12 + get32(data + at))
        for (size_t i = 0; !memcmp(data + at + 4, "IDAT", 4) && i < get32(data + at); i++) last[n++ % 8] = at + 8 + i;
    return last[n % 8];
}

static void cut_one(mm_context *c, const char *name, size_t width, size_t height, uint32_t crc)
{
    size_t size;
    unsigned char *data = load(name, &size);
    (void)width, (void)height, (void)crc;
    check_cut_anywhere(c, data, size, pixels_end(data, size));
    free(data);
}

static void cut_anywhere(void **state)
{
    (void)state;
    assert_true(for_each_file(ctx, "png_", cut_one) > 0);
}

static void flip_one(mm_context *c, const char *name, size_t width, size_t height, uint32_t crc)
{
    size_t size;
    unsigned char *data = load(name, &size);
    (void)width, (void)height;
    check_flipped_bits(c, data, size, 200, crc | 1);
    free(data);
}

static void flipped_bits(void **state)
{
    (void)state;
    assert_true(for_each_file(ctx, "png_", flip_one) > 0);
}

/* Flips alone stop at the checksums. With these made right again, what lies behind them is met: headers, palettes, text,
 * EXIF, and the deflate stream. */
static void flip_behind_checksum(mm_context *c, const char *name, size_t width, size_t height, uint32_t crc)
{
    size_t size;
    unsigned char *data = load(name, &size), *copy = malloc(size);
    uint32_t random = crc | 1;

    (void)width, (void)height;
    assert_non_null(copy);
    for (int i = 0; i < 200; i++) {
        memcpy(copy, data, size);
        for (size_t at = 8; at + 12 <= size; at += 12 + get32(data + at)) {
            size_t n = get32(data + at);
            if (n && next_random(&random) % 3 == 0) {
                size_t where = at + 8 + next_random(&random) % n;
                copy[where] ^= (unsigned char)(1u << next_random(&random) % 8);
            }
            put32(copy + at + 8 + n, crc32_of(copy + at + 4, n + 4));
        }
        (void)decode_any(c, copy, size);
    }
    free(copy);
    free(data);
}

static void flipped_bits_behind_checksums(void **state)
{
    (void)state;
    assert_true(for_each_file(ctx, "png_", flip_behind_checksum) > 0);
}

/* png_1x1.png with another IHDR. */
static mm_status decode_with_header(uint32_t width, uint32_t height, unsigned depth, unsigned color_type, int64_t limit)
{
    size_t size;
    unsigned char *data = load("png_1x1.png", &size);
    mm_image *image = NULL;
    mm_status st;

    put32(data + 16, width);
    put32(data + 20, height);
    data[24] = (unsigned char)depth;
    data[25] = (unsigned char)color_type;
    put32(data + 29, crc32_of(data + 12, 17));
    st = mm_image_decode(ctx, data, size, limit, &image);
    mm_image_destroy(image);
    free(data);
    return st;
}

static void claims_without_data(void **state)
{
    (void)state;
    heap.largest = 0;
    assert_int_equal(decode_with_header(20000, 20000, 8, 2, 0), MM_E_LIMIT);
    assert_non_null(strstr(mm_context_error(ctx), "20000 x 20000 pixels, more than the 178956970 pixels allowed"));
    assert_int_equal(decode_with_header(0x7FFFFFFF, 0x7FFFFFFF, 16, 6, 0), MM_E_LIMIT);
    assert_int_equal(decode_with_header(0x7FFFFFFF, 1, 16, 6, 0), MM_E_LIMIT);
    assert_int_equal(decode_with_header(10000, 10000, 8, 2, 0), MM_E_FORMAT);
    assert_non_null(strstr(mm_context_error(ctx), "cannot hold its 10000 x 10000 pixels"));
    assert_int_equal(decode_with_header(100000000, 1, 1, 0, 0), MM_E_FORMAT);
    assert_int_equal(decode_with_header(0, 1, 8, 2, 0), MM_E_FORMAT);
    assert_int_equal(decode_with_header(1, 0, 8, 2, 0), MM_E_FORMAT);
    assert_int_equal(decode_with_header(0x80000000, 1, 8, 2, 0), MM_E_FORMAT);
    assert_int_equal(decode_with_header(1, 1, 4, 2, 0), MM_E_FORMAT); /* no such depth for RGB */
    assert_int_equal(decode_with_header(1, 1, 8, 3, 0), MM_E_FORMAT); /* no palette */
    assert_int_equal(decode_with_header(20, 20, 8, 2, 399), MM_E_LIMIT);
    assert_true(heap.largest < 100000); /* refused before anything large was asked for */
}

/* What stands behind the pixels cannot spoil them by being cut off, but image data that do not add up can. */
static void damage_at_the_end(void **state)
{
    size_t size, end;
    unsigned char *data = load("png_type2_8bit.png", &size);

    (void)state;
    end = size - 12; /* of the last IDAT, with its checksum */
    assert_int_equal(decode_any(ctx, data, end), MM_OK);
    assert_int_equal(decode_any(ctx, data, end + 5), MM_OK);
    data[end - 1] ^= 1;
    assert_int_equal(decode_any(ctx, data, size), MM_E_FORMAT);
    free(data);
}

static void out_of_memory(void **state)
{
    static const char *const names[] = {"png_type6_16bit_adam7.png", "png_exif_6.png", "png_palette_trns_gamma.png", "png_text.png"};
    size_t size;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsigned char *data = load(names[i], &size);
        check_out_of_memory(data, size);
        free(data);
    }
}

static void memory_limit(void **state)
{
    size_t size;
    unsigned char *data = load("png_solid.png", &size);

    (void)state;
    assert_int_equal(mm_context_set_i64(ctx, MM_CONTEXT_MEMORY_LIMIT, 4096), MM_OK);
    assert_int_equal(decode_any(ctx, data, size), MM_E_NOMEM);
    assert_int_equal(mm_context_set_i64(ctx, MM_CONTEXT_MEMORY_LIMIT, 0), MM_OK);
    assert_int_equal(decode_any(ctx, data, size), MM_OK);
    free(data);
}

static void cancelled(void **state)
{
    size_t size;
    unsigned char *data = load("png_type2_8bit.png", &size);

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
        cmocka_unit_test_setup_teardown(flipped_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(flipped_bits_behind_checksums, setup, teardown),
        cmocka_unit_test_setup_teardown(claims_without_data, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_at_the_end, setup, teardown),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test_setup_teardown(memory_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(cancelled, setup, teardown),
    };
    return cmocka_run_group_tests_name("png_reader", tests, NULL, NULL);
}
