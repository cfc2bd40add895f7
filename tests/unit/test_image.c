/* The public calls of mm_image.h, and what image.c adds to the readers. SPDX-License-Identifier: MIT */
#include "image_fixture.h"

#include "image.h"

static void made_from_pixels(void **state)
{
    uint8_t pixels[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};
    mm_image *image = NULL;

    (void)state;
    assert_int_equal(mm_image_create(ctx, 2, 3, pixels, &image), MM_OK);
    memset(pixels, 0, 6); /* they were copied */
    assert_int_equal(mm_image_width(image), 2);
    assert_int_equal(mm_image_height(image), 3);
    assert_int_equal(mm_image_pixels(image)[0], 1);
    assert_int_equal(mm_image_pixels(image)[17], 18);
    mm_image_destroy(image);
    mm_image_destroy(NULL);
    assert_int_equal(mm_image_width(NULL), 0);
    assert_int_equal(mm_image_height(NULL), 0);
    assert_null(mm_image_pixels(NULL));
}

static void outlives_its_context(void **state)
{
    counting_heap own;
    mm_context *c = counting_context(&own);
    mm_image *image = noise_image(c, 3, 2);

    (void)state;
    mm_context_destroy(c);
    assert_int_equal(mm_image_width(image), 3);
    mm_image_destroy(image);
    assert_int_equal(own.live, 0);
}

static void wrong_arguments(void **state)
{
    const uint8_t pixels[3] = {0, 0, 0};
    mm_image *image = (mm_image *)(void *)&heap;

    (void)state;
    assert_int_equal(mm_image_create(NULL, 1, 1, pixels, &image), MM_E_ARGUMENT);
    assert_null(image);
    assert_int_equal(mm_image_create(ctx, 1, 1, NULL, &image), MM_E_ARGUMENT);
    assert_int_equal(mm_image_create(ctx, 1, 1, pixels, NULL), MM_E_ARGUMENT);
    assert_int_equal(mm_image_create(ctx, 0, 1, pixels, &image), MM_E_ARGUMENT);
    assert_int_equal(mm_image_create(ctx, 1, -1, pixels, &image), MM_E_ARGUMENT);
    assert_non_null(strstr(mm_context_error(ctx), "1 x -1"));
    assert_int_equal(mm_image_create(ctx, 20000, 20000, pixels, &image), MM_E_LIMIT);
    assert_int_equal(mm_image_create(ctx, INT64_MAX, INT64_MAX, pixels, &image), MM_E_LIMIT);
    assert_int_equal(mm_image_create(ctx, (int64_t)1 << 31, 1, pixels, &image), MM_E_LIMIT);
    assert_int_equal(mm_image_read(NULL, "x", 0, &image), MM_E_ARGUMENT);
    assert_int_equal(mm_image_read(ctx, NULL, 0, &image), MM_E_ARGUMENT);
    assert_non_null(strstr(mm_context_error(ctx), "path is NULL"));
    assert_int_equal(mm_image_read(ctx, "x", 0, NULL), MM_E_ARGUMENT);
    assert_int_equal(mm_image_read(ctx, "x", -1, &image), MM_E_ARGUMENT);
    assert_non_null(strstr(mm_context_error(ctx), "max_pixels is -1"));
    assert_int_equal(mm_image_decode(ctx, NULL, 1, 0, &image), MM_E_ARGUMENT);
    assert_int_equal(mm_image_decode(ctx, pixels, 3, (int64_t)1 << 31, &image), MM_E_ARGUMENT);
    assert_null(image);
}

static void files_that_cannot_be_read(void **state)
{
    mm_image *image;

    (void)state;
    assert_int_equal(mm_image_read(ctx, IMAGES "none.png", 0, &image), MM_E_NOT_FOUND);
    assert_non_null(strstr(mm_context_error(ctx), IMAGES "none.png"));
    assert_int_equal(mm_image_read(ctx, IMAGES, 0, &image), MM_E_IO);
    assert_int_equal(mm_image_read(ctx, IMAGES "decode.txt", 0, &image), MM_E_UNSUPPORTED);
    assert_non_null(strstr(mm_context_error(ctx), "decode.txt is neither PNG nor JPEG"));
    assert_null(image);
}

static void told_apart_by_their_first_bytes(void **state)
{
    size_t size;
    unsigned char *data = load("jpeg_1x1.jpg", &size);

    (void)state;
    for (size_t n = 0; n < 3; n++) assert_int_equal(decode_any(ctx, data, n), MM_E_UNSUPPORTED);
    assert_int_equal(decode_any(ctx, data, 3), MM_E_FORMAT);
    data[0] = 0x89;
    assert_int_equal(decode_any(ctx, data, size), MM_E_UNSUPPORTED);
    assert_int_equal(decode_any(ctx, "GIF89a", 6), MM_E_UNSUPPORTED);
    free(data);
}

static void limits(void **state)
{
    size_t size;
    unsigned char *data = load("png_solid.png", &size); /* 64 x 64 */
    mm_image *image;

    (void)state;
    assert_int_equal(mm_image_decode(ctx, data, size, 4096, &image), MM_OK);
    mm_image_destroy(image);
    assert_int_equal(mm_image_decode(ctx, data, size, 4095, &image), MM_E_LIMIT);
    assert_string_equal(mm_context_error(ctx), "the picture in memory is 64 x 64 pixels, more than the 4095 pixels allowed");
    assert_int_equal(mm_image_decode(ctx, data, (size_t)MM_IMAGE_MAX_FILE_BYTES + 1, 0, &image), MM_E_LIMIT);
    assert_int_equal(mm_image_read(ctx, IMAGES "jpeg_420.jpg", 100, &image), MM_E_LIMIT);
    assert_non_null(strstr(mm_context_error(ctx), IMAGES "jpeg_420.jpg is 45 x 35 pixels"));
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(made_from_pixels, setup, teardown),
        cmocka_unit_test(outlives_its_context),
        cmocka_unit_test_setup_teardown(wrong_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(files_that_cannot_be_read, setup, teardown),
        cmocka_unit_test_setup_teardown(told_apart_by_their_first_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(limits, setup, teardown),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
