/* PNG files written, and read back by our reader, which is held against Pillow elsewhere. SPDX-License-Identifier: MIT */
#include "image_fixture.h"

#include <unistd.h>

#include "image.h"
#include "png_writer.h"

enum { WIDTH = 37, HEIGHT = 23 };

/* Noise of each number of channels comes back as RGB, without its alpha. */
static void comes_back(void **state)
{
    unsigned char pixels[WIDTH * HEIGHT * 4];
    uint32_t seed = 7;
    (void)state;

    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (unsigned char)(seed = seed * 1664525 + 1013904223, seed >> 24);
    for (size_t channels = 1; channels <= 4; channels += channels == 1 ? 2 : 1) {
        mmi_text file = {0};
        mmi_image *image = NULL;
        assert_int_equal(mmi_png_write(ctx, pixels, WIDTH, HEIGHT, (int)channels, &file), MM_OK);
        assert_int_equal(mmi_image_decode(ctx, "it", file.data, file.size, 1 << 20, &image), MM_OK);
        assert_int_equal(image->width, WIDTH);
        assert_int_equal(image->height, HEIGHT);
        for (size_t i = 0; i < WIDTH * HEIGHT * 3; i++)
            assert_int_equal(image->pixels[i], pixels[channels == 1 ? i / 3 : i / 3 * channels + i % 3]);
        mmi_image_destroy(image);
        mmi_text_clear(&file);
    }
}

static void saved_whole_or_not(void **state)
{
    char folder[64] = "/tmp/libmm.XXXXXX", path[96];
    mm_image *image = noise_image(ctx, 9, 5), *back = NULL;
    (void)state;

    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/a.png", folder);
    assert_int_equal(mm_image_save_png(ctx, image, path), MM_OK);
    for (size_t n = 1, done = 0; !done; n++) { /* what cannot be written leaves the file as it was */
        assert_true(n < 100);
        heap.fail_at = heap.made + n;
        done = mm_image_save_png(ctx, image, path) == MM_OK;
        heap.fail_at = 0;
        assert_int_equal(mm_image_read(ctx, path, 0, &back), MM_OK);
        assert_memory_equal(mm_image_pixels(back), mm_image_pixels(image), 9 * 5 * 3);
        mm_image_destroy(back);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mm_image_save_png(ctx, image, folder), MM_E_IO);
    assert_int_equal(rmdir(folder), 0); /* nothing else is left in it */
    assert_int_equal(mm_image_save_png(ctx, image, path), MM_E_IO);
    assert_non_null(strstr(mm_context_error(ctx), path));
    assert_int_equal(mm_image_save_png(ctx, NULL, path), MM_E_ARGUMENT);
    assert_int_equal(mm_image_save_png(ctx, image, NULL), MM_E_ARGUMENT);
    assert_int_equal(mm_image_save_png(NULL, image, path), MM_E_ARGUMENT);
    mm_image_destroy(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(comes_back, setup, teardown),
                                       cmocka_unit_test_setup_teardown(saved_whole_or_not, setup, teardown)};
    return cmocka_run_group_tests_name("png_writer", tests, NULL, NULL);
}
