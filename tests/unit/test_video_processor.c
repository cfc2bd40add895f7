/* SPDX-License-Identifier: MIT */
#include "image_fixture.h"

#include <math.h>

#include "frame_sampling.h"
#include "video_processor.h"

static mm_status from_text(const char *text, const char *type, mmi_image_processor *p)
{
    mmi_json *doc = NULL;
    mm_status st = mmi_json_parse(ctx, "config", text, strlen(text), &doc);

    assert_int_equal(st, MM_OK);
    st = mmi_video_processor_from_json(ctx, doc, type, p);
    mmi_json_destroy(doc);
    return st;
}

static void read_config(const char *name, mmi_image_processor *p)
{
    FILE *list = fopen(VIDEOS "configs.txt", "r");
    char line[1024], *json = NULL;

    assert_non_null(list);
    while (fgets(line, sizeof line, list) && (json = strchr(line, ' '))) {
        *json++ = 0;
        if (!strcmp(line, name)) break;
        json = NULL;
    }
    (void)fclose(list);
    assert_non_null(json);
    if (from_text(json, NULL, p)) fail_msg("%s", mm_context_error(ctx));
}

static void sampling_equals_transformers(void **state)
{
    FILE *list = fopen(VIDEOS "sampling.txt", "r");
    char name[64];
    size_t total, want, middle, count, n = 0;
    double rate;
    unsigned crc;

    (void)state;
    assert_non_null(list);
    while (fscanf(list, "%63s %zu %lf %zu %x %zu", name, &total, &rate, &want, &crc, &middle) == 6) {
        mmi_image_processor p;
        size_t *indices = NULL;
        mm_status st;

        read_config(name, &p);
        st = mmi_video_sample(ctx, &p, total, rate, &indices, &count);
        if (!want) {
            assert_int_equal(st, MM_E_SHAPE);
            assert_null(indices);
        } else {
            if (st) fail_msg("%s of %zu frames: %s", name, total, mm_context_error(ctx));
            if (count != want || indices[want / 2] != middle || crc32_of(indices, count * sizeof *indices) != crc)
                fail_msg("%s of %zu frames, %g a second: %zu sampled, expected %zu", name, total, rate, count, want);
        }
        mmi_free(indices);
        n++;
    }
    (void)fclose(list);
    assert_true(n >= 60);
}

/* Frames that keep their size are equal within rounding; those resized by Pillow's fixed point instead of torch's may be one
 * level of 256 apart, a second resize may double that. */
static void arrays_equal_transformers(void **state)
{
    static const struct {
        const char *name;
        int resizes;
    } rows[] = {{"qwen", 0}, {"qwen_min_max", 0}, {"qwen_small", 1}, {"qwen_large", 1}, {"qwen_capped", 1}, {"smolvlm", 2}, {"smolvlm_many", 2}};
    mm_tensor_map *golden = NULL;
    mm_video *video = NULL;
    size_t compared = 0;

    (void)state;
    assert_int_equal(mm_tensor_map_read(ctx, VIDEOS "processed.safetensors", &golden), MM_OK);
    assert_int_equal(mm_video_open(ctx, VIDEOS "processed.y4m", 0, 0, &video), MM_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mmi_image_processor p;
        mm_tensor_map *made = NULL;
        mmi_image_layout layout;
        size_t *indices = NULL, count;
        double level = 1;

        read_config(rows[i].name, &p);
        for (int c = 0; c < 3; c++) level = fmax(c ? level : 0, p.do_normalize ? p.rescale_factor / p.std[c] : p.rescale_factor);
        assert_int_equal(mmi_video_sample(ctx, &p, video->frames, video->rate, &indices, &count), MM_OK);
        if (mmi_video_processor_run(ctx, &p, video, indices, count, &made, &layout)) fail_msg("%s: %s", rows[i].name, mm_context_error(ctx));
        mmi_free(indices);
        for (size_t k = 0; k < mm_tensor_map_count(golden); k++) {
            const char *name = mm_tensor_map_name(golden, k);
            const size_t n = strlen(rows[i].name);
            const mm_tensor *a, *b = mm_tensor_map_at(golden, k);

            if (strncmp(name, rows[i].name, n) || name[n] != '/') continue;
            a = mm_tensor_map_get(made, name + n + 1);
            if (!a) fail_msg("%s is missing", name);
            assert_int_equal(mm_tensor_dtype(a), mm_tensor_dtype(b));
            assert_int_equal(mm_tensor_rank(a), mm_tensor_rank(b));
            assert_memory_equal(mm_tensor_shape(a), mm_tensor_shape(b), (size_t)mm_tensor_rank(a) * sizeof(int64_t));
            compared++;
            if (mm_tensor_dtype(a) == MM_DTYPE_I64) {
                assert_memory_equal(mm_tensor_const_data(a), mm_tensor_const_data(b), mm_tensor_bytes(a));
                continue;
            }
            for (int64_t e = 0; e < mm_tensor_elements(a); e++) {
                const double x = (double)((const float *)mm_tensor_const_data(a))[e], y = (double)((const float *)mm_tensor_const_data(b))[e];
                if (!(fabs(x - y) <= rows[i].resizes * level + 1e-6)) fail_msg("%s: [%lld] is %.9g, expected %.9g", name, (long long)e, x, y);
            }
        }
        mm_tensor_map_destroy(made);
    }
    mm_video_destroy(video);
    mm_tensor_map_destroy(golden);
    assert_int_equal(compared, 5 * 3 + 2 * 2);
}

static void refused_with_the_key(void **state)
{
    static const struct {
        const char *text, *key;
        mm_status status;
    } rows[] = {
        {"{}", "\"video_processor_type\" is missing", MM_E_FORMAT},
        {"{\"video_processor_type\": \"Qwen2VLImageProcessor\"}", "Qwen2VLImageProcessor", MM_E_UNSUPPORTED},
        {"{\"video_processor_type\": \"LlavaOnevisionVideoProcessor\"}", "LlavaOnevisionVideoProcessor", MM_E_UNSUPPORTED},
        {"{\"video_processor_type\": \"Qwen2VLVideoProcessor\", \"fps\": 0}", "fps", MM_E_FORMAT},
        {"{\"video_processor_type\": \"Qwen2VLVideoProcessor\", \"num_frames\": 1e12}", "num_frames", MM_E_FORMAT},
        {"{\"video_processor_type\": \"Qwen2VLVideoProcessor\", \"min_frames\": -1}", "min_frames", MM_E_FORMAT},
        {"{\"video_processor_type\": \"Qwen2VLVideoProcessor\", \"do_sample_frames\": 1}", "do_sample_frames", MM_E_FORMAT},
        {"{\"video_processor_type\": \"SmolVLMVideoProcessor\", \"video_sampling\": {\"fps\": \"1\"}}", "fps", MM_E_FORMAT},
        {"{\"video_processor_type\": \"SmolVLMVideoProcessor\", \"do_resize\": false}", "do_resize", MM_E_UNSUPPORTED},
    };
    mmi_image_processor p;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mm_status st = from_text(rows[i].text, NULL, &p);
        if (st != rows[i].status || !strstr(mm_context_error(ctx), rows[i].key) || !strstr(mm_context_error(ctx), "config"))
            fail_msg("%s: %s: %s", rows[i].text, mm_status_name(st), mm_context_error(ctx));
    }
}

/* Where the numbers stand in checkpoints of other ages. */
static void shapes_of_configurations(void **state)
{
    mmi_image_processor p;

    (void)state;
    assert_int_equal(from_text("{\"image_processor_type\": \"Qwen2VLImageProcessor\", \"min_pixels\": 3136, \"max_pixels\": 12845056}",
                               "Qwen2VLVideoProcessor", &p), MM_OK);
    assert_int_equal(p.max_pixels, 12845056);
    assert_int_equal(p.max_frames, 768);
    assert_int_equal(p.do_sample_frames, 0);
    assert_int_equal(from_text("{\"image_processor\": {\"image_processor_type\": \"SmolVLMImageProcessor\"}, \"video_processor\": {\"fps\": 2, "
                               "\"num_frames\": 64, \"video_processor_type\": \"SmolVLMVideoProcessor\", \"size\": {\"longest_edge\": 512}}}",
                               NULL, &p), MM_OK);
    assert_true(p.fps == 2 && p.num_frames == 64 && p.longest == 512 && p.do_sample_frames && !p.do_image_splitting);
    assert_int_equal(from_text("{\"video_sampling\": {\"fps\": 1, \"max_frames\": 50, \"video_size\": {\"longest_edge\": 8192}}}",
                               "SmolVLMVideoProcessor", &p), MM_OK);
    assert_true(p.fps == 1 && p.num_frames == 50 && p.longest == 4096 && p.do_sample_frames);
}

static void frames_that_cannot_be(void **state)
{
    const size_t indices[2] = {0, 1};
    size_t *sampled = NULL, count;
    mm_tensor_map *map = NULL;
    mm_video *video = NULL;
    mmi_image_processor p;

    (void)state;
    assert_int_equal(mm_video_open(ctx, IMAGES, 0, 0, &video), MM_OK); /* pictures of every size */
    assert_int_equal(from_text("{\"patch_size\": 2}", "Qwen2VLVideoProcessor", &p), MM_OK);
    assert_int_equal(mmi_video_processor_run(ctx, &p, video, indices, 0, &map, NULL), MM_E_SHAPE);
    assert_int_equal(mmi_video_processor_run(ctx, &p, video, (const size_t[]){0, 12}, 2, &map, NULL), MM_E_SHAPE);
    assert_non_null(strstr(mm_context_error(ctx), "frame 12 has"));
    assert_null(map);
    mm_video_destroy(video);
    assert_int_equal(from_text("{\"do_sample_frames\": true}", "SmolVLMVideoProcessor", &p), MM_OK);
    assert_int_equal(mmi_video_sample(ctx, &p, 5, 24, &sampled, &count), MM_E_UNSUPPORTED);
    assert_null(sampled);
}

static void out_of_memory(void **state)
{
    static const char *const names[] = {"qwen_small", "smolvlm"};
    mm_video *video = NULL;
    size_t live;

    (void)state;
    assert_int_equal(mm_video_open(ctx, VIDEOS "processed.y4m", 0, 0, &video), MM_OK);
    live = heap.live;
    for (size_t i = 0; i < 2; i++) {
        mm_status st = MM_E_NOMEM;
        mmi_image_processor p;

        read_config(names[i], &p);
        for (size_t n = 1; st; n++) {
            mm_tensor_map *map = NULL;
            size_t *indices = NULL, count;

            assert_true(n < 1000);
            heap.fail_at = heap.made + n;
            st = mmi_video_sample(ctx, &p, video->frames, video->rate, &indices, &count);
            if (!st) st = mmi_video_processor_run(ctx, &p, video, indices, count, &map, NULL);
            heap.fail_at = 0;
            assert_true(st == MM_OK || (st == MM_E_NOMEM && !map));
            mm_tensor_map_destroy(map);
            mmi_free(indices);
            assert_int_equal(heap.live, live);
        }
    }
    mm_video_destroy(video);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sampling_equals_transformers, setup, teardown),
        cmocka_unit_test_setup_teardown(arrays_equal_transformers, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_with_the_key, setup, teardown),
        cmocka_unit_test_setup_teardown(shapes_of_configurations, setup, teardown),
        cmocka_unit_test_setup_teardown(frames_that_cannot_be, setup, teardown),
        cmocka_unit_test_setup_teardown(out_of_memory, setup, teardown),
    };
    return cmocka_run_group_tests_name("video processor", tests, NULL, NULL);
}
