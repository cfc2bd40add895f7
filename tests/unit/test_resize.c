/* SPDX-License-Identifier: MIT */
#include "image_fixture.h"

#include "resize.h"

static mm_image *resized(const mm_image *image, size_t w, size_t h, mmi_filter filter, const mmi_window *window)
{
    mm_image *out = NULL;
    if (mmi_image_resize(ctx, image, w, h, filter, window, &out)) fail_msg("%s", mm_context_error(ctx));
    return out;
}

static void equals_pillow(void **state)
{
    FILE *list = fopen(IMAGES "resize.txt", "r");
    size_t w, h, out_w, out_h, n = 0;
    unsigned filter, crc;

    (void)state;
    assert_non_null(list);
    while (fscanf(list, "%zu %zu %zu %zu %u %x", &w, &h, &out_w, &out_h, &filter, &crc) == 6) {
        mm_image *image = noise_image(ctx, w, h), *out = resized(image, out_w, out_h, (mmi_filter)filter, NULL);
        if (out->width != out_w || out->height != out_h || crc32_of(out->pixels, mmi_image_bytes(out)) != crc)
            fail_msg("%zu x %zu to %zu x %zu by filter %u has checksum %08x, expected %08x", w, h, out_w, out_h, filter,
                     crc32_of(out->pixels, mmi_image_bytes(out)), crc);
        mm_image_destroy(out);
        mm_image_destroy(image);
        n++;
    }
    (void)fclose(list);
    assert_true(n >= 100);
}

/* A window is the same part of the whole, in every direction of scaling and both orders of the passes. */
static void window_is_part_of_the_whole(void **state)
{
    static const size_t cases[][4] = {{20, 30, 9, 50}, {30, 20, 50, 9}, {40, 40, 13, 11}, {7, 9, 40, 31}, {10, 90, 9, 17},
                                      {90, 10, 90, 5}, {10, 90, 4, 90}, {16, 16, 16, 16}, {1, 200, 3, 20}, {200, 1, 20, 3}};
    uint32_t random = 7;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mm_image *image = noise_image(ctx, cases[i][0], cases[i][1]);
        const size_t w = cases[i][2], h = cases[i][3];
        for (int filter = 0; filter < MMI_FILTER_COUNT; filter++) {
            mm_image *whole = resized(image, w, h, (mmi_filter)filter, NULL);
            for (int k = 0; k < 8; k++) {
                mmi_window at = {next_random(&random) % w, next_random(&random) % h, 0, 0};
                mm_image *part;
                at.width = 1 + next_random(&random) % (w - at.x);
                at.height = 1 + next_random(&random) % (h - at.y);
                part = resized(image, w, h, (mmi_filter)filter, &at);
                assert_int_equal(part->width, at.width);
                assert_int_equal(part->height, at.height);
                for (size_t y = 0; y < at.height; y++)
                    assert_memory_equal(part->pixels + y * at.width * 3, whole->pixels + ((y + at.y) * w + at.x) * 3, at.width * 3);
                mm_image_destroy(part);
            }
            mm_image_destroy(whole);
        }
        mm_image_destroy(image);
    }
}

/* Weights that sum to one keep one colour as it is. */
static void flat_stays_flat(void **state)
{
    uint8_t pixels[31 * 17 * 3];
    mm_image *image = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i % 3 == 0 ? 255 : i % 3 == 1 ? 0 : 77);
    assert_int_equal(mm_image_create(ctx, 31, 17, pixels, &image), MM_OK);
    for (int filter = 0; filter < MMI_FILTER_COUNT; filter++) {
        for (size_t side = 1; side < 60; side += 7) {
            mm_image *out = resized(image, side, 60 - side, (mmi_filter)filter, NULL);
            for (size_t i = 0; i < mmi_image_bytes(out); i++) assert_int_equal(out->pixels[i], pixels[i % 3]);
            mm_image_destroy(out);
        }
    }
    mm_image_destroy(image);
}

/* A narrow window into an enormous result costs what the window costs. */
static void window_into_an_enormous_result(void **state)
{
    const mmi_window at = {1000000000, 500000000, 3, 2};
    mm_image *image = noise_image(ctx, 50, 40), *out;

    (void)state;
    heap.largest = 0;
    out = resized(image, 2147483647, 1000000000, MMI_FILTER_BICUBIC, &at);
    assert_int_equal(out->width, 3);
    assert_true(heap.largest < 10000);
    mm_image_destroy(out);
    mm_image_destroy(image);
}

static void out_of_memory(void **state)
{
    static const mmi_filter filters[] = {MMI_FILTER_NEAREST, MMI_FILTER_LANCZOS};

    (void)state;
    for (size_t f = 0; f < sizeof filters / sizeof *filters; f++) {
        mm_image *image = noise_image(ctx, 12, 90), *out = NULL;
        const size_t live = heap.live;
        mm_status st = MM_E_NOMEM;
        for (size_t n = 1; st; n++) {
            assert_true(n < 100);
            heap.fail_at = heap.made + n;
            st = mmi_image_resize(ctx, image, 9, 20, filters[f], NULL, &out);
            heap.fail_at = 0;
            if (!st) break;
            assert_int_equal(st, MM_E_NOMEM);
            assert_null(out);
            assert_int_equal(heap.live, live);
        }
        mm_image_destroy(out);
        mm_image_destroy(image);
    }
}

static void cancelled(void **state)
{
    mm_image *image = noise_image(ctx, 400, 400), *out = NULL;

    (void)state;
    for (int filter = 0; filter < MMI_FILTER_COUNT; filter++) {
        mm_context_cancel(ctx);
        assert_int_equal(mmi_image_resize(ctx, image, 1500, 1500, (mmi_filter)filter, NULL, &out), MM_E_CANCELLED);
        assert_null(out);
    }
    mm_image_destroy(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(equals_pillow, setup, teardown),
        cmocka_unit_test_setup_teardown(window_is_part_of_the_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(flat_stays_flat, setup, teardown),
        cmocka_unit_test_setup_teardown(window_into_an_enormous_result, setup, teardown),
        cmocka_unit_test_setup_teardown(out_of_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(cancelled, setup, teardown),
    };
    return cmocka_run_group_tests_name("resize", tests, NULL, NULL);
}
