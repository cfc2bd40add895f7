/* include/mm_video.h. SPDX-License-Identifier: MIT */
#include "image_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mm_video.h"

/* Every frame is that of an independent conversion, which ffmpeg was held against. */
static void frames_equal_golden(void **state)
{
    FILE *list = fopen(VIDEOS "frames.txt", "r");
    char name[64], path[256];
    size_t index, w, h, n = 0;
    unsigned crc;

    (void)state;
    assert_non_null(list);
    while (fscanf(list, "%63s %zu %zu %zu %x", name, &index, &w, &h, &crc) == 5) {
        mm_video *video = NULL;
        mm_image *image = NULL;

        (void)snprintf(path, sizeof path, VIDEOS "%s", name);
        if (mm_video_open(ctx, path, 0, 0, &video)) fail_msg("%s", mm_context_error(ctx));
        if (mm_video_frame(ctx, video, (int64_t)index, &image)) fail_msg("%s", mm_context_error(ctx));
        assert_int_equal(mm_image_width(image), w);
        assert_int_equal(mm_image_height(image), h);
        if (crc32_of(mm_image_pixels(image), w * h * 3) != crc) fail_msg("%s: frame %zu differs", name, index);
        mm_image_destroy(image);
        mm_video_destroy(video);
        n++;
    }
    (void)fclose(list);
    assert_int_equal(n, 37);
}

static int freed;
static void count_free(void *user) { freed += *(int *)user; }

static mm_status wrap(const void *data, size_t size, double rate, mm_video **out)
{
    static int one = 1;
    return mm_video_wrap(ctx, data, size, 1 << 20, rate, count_free, &one, out);
}

static void rates_and_counts(void **state)
{
    mm_video *video = NULL;
    size_t size;
    unsigned char *data = load("../videos/420_full.y4m", &size);
    mm_image *image = NULL;

    (void)state;
    freed = 0;
    assert_int_equal(wrap(data, size, 0, &video), MM_OK);
    assert_int_equal(mm_video_frames(video), 2);
    assert_true(mm_video_rate(video) == 30000.0 / 1001);
    assert_int_equal(mm_video_frame(ctx, video, 2, &image), MM_E_ARGUMENT);
    assert_non_null(strstr(mm_context_error(ctx), "frame 2 of a video of 2"));
    assert_int_equal(mm_video_frame(ctx, video, -1, &image), MM_E_ARGUMENT);
    assert_int_equal(mm_video_frame(ctx, NULL, 0, &image), MM_E_ARGUMENT);
    assert_int_equal(mm_video_frame(ctx, video, 0, NULL), MM_E_ARGUMENT);
    assert_int_equal(freed, 0);
    mm_video_destroy(video);
    assert_int_equal(freed, 1);
    assert_int_equal(wrap(data, size, 7.5, &video), MM_OK);
    assert_true(mm_video_rate(video) == 7.5);
    mm_video_destroy(video);
    free(data);
    assert_int_equal(mm_video_open(ctx, VIDEOS "bare.y4m", 0, 0, &video), MM_OK);
    assert_true(mm_video_rate(video) == 24);
    assert_int_equal(mm_video_frames(video), 3);
    mm_video_destroy(video);
    mm_video_destroy(NULL);
    assert_int_equal(mm_video_frames(NULL), 0);
    assert_int_equal(mm_video_open(ctx, NULL, 0, 0, &video), MM_E_ARGUMENT);
    assert_int_equal(mm_video_open(ctx, VIDEOS "bare.y4m", -1, 0, &video), MM_E_ARGUMENT);
    assert_int_equal(mm_video_open(ctx, VIDEOS "bare.y4m", 0, -1, &video), MM_E_ARGUMENT);
    assert_int_equal(mm_video_open(ctx, VIDEOS "bare.y4m", 11, 0, &video), MM_E_LIMIT);
    assert_int_equal(mm_video_open(ctx, VIDEOS "none.y4m", 0, 0, &video), MM_E_NOT_FOUND);
    assert_int_equal(mm_video_open(ctx, VIDEOS "frames.txt", 0, 0, &video), MM_E_FORMAT);
    assert_null(video);
}

static void damaged_files(void **state)
{
    static const struct {
        const char *text, *sentence;
        mm_status status;
    } rows[] = {
        {"", "YUV4MPEG2", MM_E_FORMAT},
        {"YUV4MPEG", "YUV4MPEG2", MM_E_FORMAT},
        {"YUV4MPEG2", "YUV4MPEG2", MM_E_FORMAT},
        {"YUV4MPEG2 W2 H2", "first line", MM_E_FORMAT},
        {"YUV4MPEG25 W2 H2\n", "first line", MM_E_FORMAT},
        {"YUV4MPEG2\n", "no pixels", MM_E_FORMAT},
        {"YUV4MPEG2 W2 H2\n", "has no frames", MM_E_FORMAT},
        {"YUV4MPEG2 W2\nFRAME\nyyyyuv", "no pixels", MM_E_FORMAT},
        {"YUV4MPEG2 W0 H2\nFRAME\n", "no pixels", MM_E_FORMAT},
        {"YUV4MPEG2 W-2 H2\nFRAME\n", "\"W-2\"", MM_E_FORMAT},
        {"YUV4MPEG2 W2x H2\nFRAME\n", "\"W2x\"", MM_E_FORMAT},
        {"YUV4MPEG2 W H2\nFRAME\n", "\"W\"", MM_E_FORMAT},
        {"YUV4MPEG2 W20000 H20000\nFRAME\n", "20000 x 20000", MM_E_LIMIT},
        {"YUV4MPEG2 W2147483647 H2147483647\nFRAME\n", "2147483647", MM_E_LIMIT},
        {"YUV4MPEG2 W2147483648 H2\nFRAME\n", "\"W2147483648\"", MM_E_FORMAT},
        {"YUV4MPEG2 W99999999999999999999999999 H2\nFRAME\n", "\"W9999", MM_E_FORMAT},
        {"YUV4MPEG2 W2 H2 F1:0\nFRAME\nyyyyuv", "\"F1:0\"", MM_E_FORMAT},
        {"YUV4MPEG2 W2 H2 F25\nFRAME\nyyyyuv", "\"F25\"", MM_E_FORMAT},
        {"YUV4MPEG2 W2 H2 It\nFRAME\nyyyyuv", "interlaced (It)", MM_E_UNSUPPORTED},
        {"YUV4MPEG2 W2 H2 C420p10\nFRAME\nyyyyuv", "C420p10", MM_E_UNSUPPORTED},
        {"YUV4MPEG2 W2 H2 C444alpha\nFRAME\nyyyyuv", "C444alpha", MM_E_UNSUPPORTED},
        {"YUV4MPEG2 W2 H2\nyyyyuv", "frame 0 does not begin with FRAME", MM_E_FORMAT},
        {"YUV4MPEG2 W2 H2\nFRAMEyyyyuv", "frame 0 does not begin with FRAME", MM_E_FORMAT},
        {"YUV4MPEG2 W2 H2\nFRAME yyyyuv", "frame 0 does not begin with FRAME", MM_E_FORMAT},
        {"YUV4MPEG2 W2 H2\nFRAME\nyyyyu", "frame 0 is cut off: it has 5 of 6 bytes", MM_E_FORMAT},
        {"YUV4MPEG2 W2 H2\nFRAME\nyyyyuv\n", "frame 1 does not begin with FRAME", MM_E_FORMAT},
        {"YUV4MPEG2 W2 H2\nFRAME\nyyyyuvFRAME\nyyyy", "frame 1 is cut off", MM_E_FORMAT},
    };
    mm_video *video = NULL;
    char *many;
    size_t size = 0;

    (void)state;
    freed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t n = strlen(rows[i].text);
        char *copy = malloc(n ? n : 1); /* its own block, so that a sanitizer sees reads past the end */
        mm_status st;

        memcpy(copy, rows[i].text, n);
        st = wrap(copy, n, 0, &video);
        if (st != rows[i].status || video || !strstr(mm_context_error(ctx), rows[i].sentence))
            fail_msg("%s: %s: %s", rows[i].text, mm_status_name(st), mm_context_error(ctx));
        free(copy);
    }
    assert_int_equal(wrap("YUV4MPEG2 W1\0 H1\nFRAME\nyuv", 26, 0, &video), MM_E_FORMAT);
    /* as many frames as fit, and one more */
    many = malloc((size_t)(MM_VIDEO_MAX_FRAMES + 1) * 7 + 64);
    assert_non_null(many);
    size = (size_t)sprintf(many, "YUV4MPEG2 W1 H1 Cmono\n");
    for (int i = 0; i <= MM_VIDEO_MAX_FRAMES; i++, size += 7) memcpy(many + size, "FRAME\ny", 7);
    assert_int_equal(wrap(many, size, 0, &video), MM_E_LIMIT);
    assert_int_equal(wrap(many, size - 7, 0, &video), MM_OK);
    assert_int_equal(mm_video_frames(video), MM_VIDEO_MAX_FRAMES);
    assert_int_equal(freed, 0); /* what failed did not take the memory */
    mm_video_destroy(video);
    free(many);
}

static char folder[] = "/tmp/libmm-frames-XXXXXX";

static void put(const char *name, const char *source)
{
    char path[256];
    size_t size;
    unsigned char *data = load(source, &size);
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    (void)fclose(f);
    free(data);
}

static void folders_in_natural_order(void **state)
{
    static const char *const names[] = {"f02.PNG", "f2.png", "f010.jpeg", "f10x.png", "f100.JPG"}; /* as they must come */
    static const char *const sources[] = {"png_1x1.png", "png_wide.png", "jpeg_wide.jpg", "png_high_adam7.png", "jpeg_17x15.jpg"};
    static const int64_t widths[] = {1, 300, 250, 1, 17};
    char path[256];
    mm_video *video = NULL;
    mm_image *image = NULL;

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(mm_video_open(ctx, folder, 0, 0, &video), MM_E_NOT_FOUND);
    assert_non_null(strstr(mm_context_error(ctx), "no PNG or JPEG"));
    for (size_t i = 5; i-- > 0;) put(names[i], sources[i]);
    put(".f0.png", "png_1x1.png");
    put("f1.txt", "png_1x1.png");
    put("png", "png_1x1.png");
    assert_int_equal(mm_video_open(ctx, folder, 0, 0, &video), MM_OK);
    assert_int_equal(mm_video_frames(video), 5);
    assert_true(mm_video_rate(video) == 24);
    for (int64_t i = 5; i-- > 0;) {
        assert_int_equal(mm_video_frame(ctx, video, i, &image), MM_OK);
        assert_int_equal(mm_image_width(image), widths[i]);
        mm_image_destroy(image);
    }
    mm_video_destroy(video);
    assert_int_equal(mm_video_open(ctx, folder, 100, 0.5, &video), MM_OK);
    assert_true(mm_video_rate(video) == 0.5);
    assert_int_equal(mm_video_frame(ctx, video, 1, &image), MM_E_LIMIT);
    (void)snprintf(path, sizeof path, "%s/f02.PNG", folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mm_video_frame(ctx, video, 0, &image), MM_E_NOT_FOUND);
    assert_null(image);
    mm_video_destroy(video);
    for (size_t i = 1; i < 5; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
}

/* What comes through a pipe is the same video. */
static void pipes(void **state)
{
    char path[64];
    unsigned char *data;
    size_t size;
    mm_video *video = NULL;
    int ends[2];

    (void)state;
    data = load("../videos/processed.y4m", &size);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], data, size), size); /* it fits into a pipe's buffer */
    (void)close(ends[1]);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    if (access(path, R_OK) == 0) {
        if (mm_video_open(ctx, path, 0, 0, &video)) fail_msg("%s", mm_context_error(ctx));
        assert_int_equal(mm_video_frames(video), 5);
        mm_video_destroy(video);
    }
    (void)close(ends[0]);
    free(data);
}

static void out_of_memory(void **state)
{
    const size_t live = heap.live;

    (void)state;
    for (int in_folder = 0; in_folder < 2; in_folder++) {
        mm_status st = MM_E_NOMEM;
        for (size_t n = 1; st; n++) {
            mm_video *video = NULL;
            mm_image *image = NULL;

            assert_true(n < 1000);
            heap.fail_at = heap.made + n;
            st = mm_video_open(ctx, in_folder ? IMAGES : VIDEOS "420_full.y4m", 0, 0, &video);
            if (!st) st = mm_video_frame(ctx, video, 0, &image);
            heap.fail_at = 0;
            if (st != MM_OK && st != MM_E_NOMEM) fail_msg("%s", mm_context_error(ctx));
            mm_image_destroy(image);
            mm_video_destroy(video);
            assert_int_equal(heap.live, live);
        }
    }
}

static void removed(void) { (void)rmdir(folder); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_equal_golden, setup, teardown),
        cmocka_unit_test_setup_teardown(rates_and_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_files, setup, teardown),
        cmocka_unit_test_setup_teardown(folders_in_natural_order, setup, teardown),
        cmocka_unit_test_setup_teardown(pipes, setup, teardown),
        cmocka_unit_test_setup_teardown(out_of_memory, setup, teardown),
    };
    int failed = cmocka_run_group_tests_name("frames", tests, NULL, NULL);
    removed();
    return failed;
}
