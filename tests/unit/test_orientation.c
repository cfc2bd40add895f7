/* SPDX-License-Identifier: MIT */
#include "image_fixture.h"

#include "orientation.h"

static mm_image *turned(size_t width, size_t height, unsigned orientation)
{
    mm_image *image = noise_image(ctx, width, height);
    assert_int_equal(mmi_orientation_apply(ctx, orientation, &image), MM_OK);
    return image;
}

static const uint8_t *at(const mm_image *image, size_t x, size_t y) { return image->pixels + (y * image->width + x) * 3; }

/* Where TIFF 6.0, which defines Orientation, says that row 0 and column 0 of the file belong. */
static void each_orientation_is_as_exif_defines_it(void **state)
{
    static const size_t sizes[][2] = {{1, 1}, {1, 5}, {5, 1}, {4, 3}, {33, 70}, {100, 31}};

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const size_t w = sizes[s][0], h = sizes[s][1];
        mm_image *file = noise_image(ctx, w, h);
        for (unsigned o = 0; o <= 9; o++) {
            mm_image *seen = turned(w, h, o);
            assert_int_equal(seen->width, o >= 5 && o <= 8 ? h : w);
            assert_int_equal(seen->height, o >= 5 && o <= 8 ? w : h);
            for (size_t y = 0; y < h; y++) {
                for (size_t x = 0; x < w; x++) {
                    size_t sx = x, sy = y;
                    switch (o) {
                    case 2: sx = w - 1 - x; break;                 /* row 0 top, column 0 right */
                    case 3: sx = w - 1 - x; sy = h - 1 - y; break; /* bottom, right */
                    case 4: sy = h - 1 - y; break;                 /* bottom, left */
                    case 5: sx = y; sy = x; break;                 /* left, top */
                    case 6: sx = h - 1 - y; sy = x; break;         /* right, top */
                    case 7: sx = h - 1 - y; sy = w - 1 - x; break; /* right, bottom */
                    case 8: sx = y; sy = w - 1 - x; break;         /* left, bottom */
                    default: break;
                    }
                    assert_memory_equal(at(seen, sx, sy), at(file, x, y), 3);
                }
            }
            mm_image_destroy(seen);
        }
        mm_image_destroy(file);
    }
}

static void failure_leaves_the_picture(void **state)
{
    mm_image *image = noise_image(ctx, 4, 3), *before = image;
    const size_t live = heap.live;

    (void)state;
    for (size_t n = 1; n <= 2; n++) {
        heap.fail_at = heap.made + n;
        assert_int_equal(mmi_orientation_apply(ctx, 6, &image), MM_E_NOMEM);
        assert_ptr_equal(image, before);
        assert_int_equal(heap.live, live);
    }
    heap.fail_at = 0;
    mm_context_cancel(ctx);
    assert_int_equal(mmi_orientation_apply(ctx, 6, &image), MM_E_CANCELLED);
    assert_ptr_equal(image, before);
    assert_int_equal(heap.live, live);
    mm_image_destroy(image);
}

/* "MM", one entry: orientation, SHORT, 1 value, 6. */
static const unsigned char plain[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 18, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0};

static unsigned with(size_t where, unsigned char value)
{
    unsigned char data[sizeof plain];
    memcpy(data, plain, sizeof plain);
    data[where] = value;
    return mmi_orientation_from_exif(data, sizeof data);
}

static void exif(void **state)
{
    static const unsigned char little[] = {'E', 'x', 'i', 'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0, 0, 2, 0,
                                           0, 1, 3, 0, 1, 0, 0, 0, 9, 0, 0, 0,   /* ImageWidth, SHORT, 1 value, 9 */
                                           18, 1, 4, 0, 1, 0, 0, 0, 8, 0, 0, 0,  /* Orientation, LONG, 1 value, 8 */
                                           0, 0, 0, 0};
    static const unsigned char far_away[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 18, 0, 3, 0, 0, 0, 3, 0, 0, 0, 22, 0, 3, 0, 9, 0, 9};
    unsigned char copy[sizeof plain];

    (void)state;
    assert_int_equal(mmi_orientation_from_exif(plain, sizeof plain), 6);
    assert_int_equal(mmi_orientation_from_exif(far_away, sizeof far_away), 3);     /* the first of three values */
    assert_int_equal(mmi_orientation_from_exif(far_away, sizeof far_away - 1), 0); /* which are cut off */
    assert_int_equal(with(19, 0), 1); /* values that mean nothing */
    assert_int_equal(with(19, 9), 1);
    assert_int_equal(with(18, 1), 1);
    assert_int_equal(with(11, 19), 0); /* another tag */
    assert_int_equal(with(13, 1), 0);  /* BYTE */
    assert_int_equal(with(17, 0), 0);  /* no value */
    assert_int_equal(with(0, 'I'), 0);
    assert_int_equal(with(3, 41), 0);
    assert_int_equal(with(7, 9), 0);    /* the directory elsewhere */
    assert_int_equal(with(4, 255), 0);
    assert_int_equal(with(8, 255), 6);  /* 65281 entries, of which one is there */
    assert_int_equal(with(9, 0), 0);    /* none */
    for (size_t n = 0; n < 22; n++) { /* an entry is 12 bytes, with the last 4 for the next directory's place */
        memcpy(copy, plain, n);
        assert_int_equal(mmi_orientation_from_exif(copy, n), 0);
    }
    assert_int_equal(mmi_orientation_from_exif(little, sizeof little), 8);
}

static void xmp(void **state)
{
    static const struct {
        const char *text;
        unsigned expected;
    } rows[] = {
        {"", 0},
        {"tiff:Orientation", 0},
        {"tiff:Orientation=", 0},
        {"tiff:Orientation=\"", 0},
        {"tiff:Orientation=\"6", 6},
        {"<a tiff:Orientation=\"3\"/>", 3},
        {"<tiff:Orientation>8</tiff:Orientation>", 8},
        {"<tiff:Orientation>x", 0},
        {"ttiff:Orientation tiff:Orientation='2' tiff:Orientation=\"7\" tiff:Orientation>5", 7},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(mmi_orientation_from_xmp((const unsigned char *)rows[i].text, strlen(rows[i].text)), rows[i].expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_orientation_is_as_exif_defines_it, setup, teardown),
        cmocka_unit_test_setup_teardown(failure_leaves_the_picture, setup, teardown),
        cmocka_unit_test(exif),
        cmocka_unit_test(xmp),
    };
    return cmocka_run_group_tests_name("orientation", tests, NULL, NULL);
}
