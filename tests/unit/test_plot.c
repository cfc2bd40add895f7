/* Plots of the mm command: what they look like where that is sure. SPDX-License-Identifier: MIT */
#include "image_fixture.h"

#include <math.h>
#include <unistd.h>

#include "plot.h"

static char path[64];

/* The picture that was just written, which is taken away. */
static mm_image *drawn(void)
{
    mm_image *image = NULL;

    assert_int_equal(mm_image_read(ctx, path, 0, &image), MM_OK);
    assert_int_equal(unlink(path), 0);
    return image;
}

static const uint8_t *pixel(const mm_image *image, int64_t x, int64_t y) { return mm_image_pixels(image) + (y * mm_image_width(image) + x) * 3; }

static int is_near(const uint8_t *p, int r, int g, int b) { return abs(p[0] - r) + abs(p[1] - g) + abs(p[2] - b) < 40; }

/* How many pixels between two columns have about a color. */
static size_t count_of(const mm_image *image, int64_t x0, int64_t x1, int r, int g, int b)
{
    size_t n = 0;

    for (int64_t y = 0; y < mm_image_height(image); y++)
        for (int64_t x = x0; x < x1; x++) n += is_near(pixel(image, x, y), r, g, b);
    return n;
}

static void losses(void **state)
{
    double x[500], falling[500], rising[500];
    const cli_series one[] = {{"train", x, falling, 500, 1}, {"validation", x, rising, 500, 0}};
    (void)state;

    if (cli_plot_check()) skip();
    for (int i = 0; i < 500; i++) {
        x[i] = 10 * i;
        falling[i] = 3 * exp(-i / 100.0) + 0.1 + 0.05 * (i % 7);
        rising[i] = i == 30 ? NAN : 0.5 + i / 250.0;
    }
    for (int logarithmic = 0; logarithmic < 2; logarithmic++) {
        mm_image *image;
        assert_int_equal(cli_plot_losses(ctx, path, one, 2, logarithmic), EXIT_OK);
        image = drawn();
        assert_int_equal(mm_image_width(image), 960);
        assert_int_equal(mm_image_height(image), 600);
        assert_memory_equal(pixel(image, 0, 0), ((uint8_t[]){255, 255, 255}), 3);
        assert_true(count_of(image, 80, 930, 31, 92, 181) > 500);  /* the first line's color, and the second's */
        assert_true(count_of(image, 80, 930, 217, 84, 26) > 1000);
        assert_true(count_of(image, 200, 210, 31, 92, 181) < 60);  /* a line, no block */
        assert_true(count_of(image, 0, 78, 0, 0, 0) > 50);         /* numbers beside the axis */
        mm_image_destroy(image);
    }
}

/* A straight line from corner to corner goes through the middle. */
static void places(void **state)
{
    const double x[] = {0, 100}, y[] = {1, 100}, gap[] = {-1, NAN};
    const cli_series line[] = {{"", x, y, 2, 0}}, none[] = {{"", x, gap, 2, 0}};
    (void)state;

    if (cli_plot_check()) skip();
    for (int logarithmic = 0; logarithmic < 2; logarithmic++) {
        mm_image *image;
        assert_int_equal(cli_plot_losses(ctx, path, line, 1, logarithmic), EXIT_OK);
        image = drawn();
        assert_true(pixel(image, (80 + 930) / 2, (30 + 540) / 2)[2] > 150 && pixel(image, (80 + 930) / 2, (30 + 540) / 2)[0] < 100);
        mm_image_destroy(image);
    }
    assert_int_equal(cli_plot_losses(ctx, path, line, 0, 0), EXIT_FAILED);
    assert_int_equal(cli_plot_losses(ctx, path, none, 1, 1), EXIT_FAILED); /* nothing positive */
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(cli_plot_losses(ctx, "/nowhere/a.png", line, 1, 0), EXIT_FAILED);
    assert_int_equal(cli_plot_losses(ctx, path, (cli_series[]){{"one", x, y, 1, 1}}, 1, 0), EXIT_OK); /* one point has room around it */
    mm_image_destroy(drawn());
}

static void confusion(void **state)
{
    const char *const labels[] = {"red", "green", "a label that is much too long to be drawn in the room that there is beside the cells"};
    const int64_t counts[9] = {8, 0, 0, 2, 6, 0, 0, 0, 0};
    int64_t *many;
    mm_image *image;
    (void)state;

    if (cli_plot_check()) skip();
    for (int named = 0; named < 2; named++) {
        int64_t left, top;
        assert_int_equal(cli_plot_confusion(ctx, path, named ? labels : NULL, 3, counts), EXIT_OK);
        image = drawn();
        left = mm_image_width(image) - 16 - 3 * 64; /* cells of 64 pixels */
        top = mm_image_height(image) - 16 - 3 * 64;
        assert_true(left > 40 && left < 240 && top > 40 && top < 240);
        assert_true(is_near(pixel(image, left + 8, top + 8), 31, 92, 181));                          /* all of a row */
        assert_memory_equal(pixel(image, left + 64 + 8, top + 8), ((uint8_t[]){255, 255, 255}), 3); /* none */
        assert_true(pixel(image, left + 8, top + 64 + 8)[0] > pixel(image, left + 64 + 8, top + 64 + 8)[0]); /* 2 of 8 and 6 of 8 */
        mm_image_destroy(image);
    }
    many = calloc(400 * 400, sizeof *many);
    assert_non_null(many);
    assert_int_equal(cli_plot_confusion(ctx, path, NULL, 400, many), EXIT_OK);
    image = drawn();
    assert_int_equal(mm_image_width(image), 40 + 400 * 4 + 16);
    mm_image_destroy(image);
    free(many);
    assert_int_equal(cli_plot_confusion(ctx, path, NULL, 0, counts), EXIT_FAILED);
    assert_int_equal(cli_plot_confusion(ctx, path, NULL, 1001, counts), EXIT_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(losses, setup, teardown), cmocka_unit_test_setup_teardown(places, setup, teardown),
                                       cmocka_unit_test_setup_teardown(confusion, setup, teardown)};

    (void)snprintf(path, sizeof path, "/tmp/libmm-plot-%ld.png", (long)getpid());
    return cmocka_run_group_tests_name("plot", tests, NULL, NULL);
}
