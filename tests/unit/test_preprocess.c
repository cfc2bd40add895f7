/* SPDX-License-Identifier: MIT */
#include "image_fixture.h"

#include <math.h>

#include "preprocess.h"

static mm_context *ctx;
static counting_heap heap;

static int setup(void **state)
{
    (void)state;
    ctx = counting_context(&heap);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    counting_end(ctx, &heap);
    return 0;
}

static float *processed(const mmi_image_processor *p, const mm_image *image, size_t *w, size_t *h)
{
    float *out;
    if (mmi_image_processor_output_size(ctx, p, image->width, image->height, w, h)) return NULL;
    out = malloc(*w * *h * 3 * sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < *w * *h * 3; i++) out[i] = NAN; /* so that one left out is seen */
    if (mmi_preprocess_image(ctx, p, image, out)) fail_msg("%s", mm_context_error(ctx));
    return out;
}

/* Every number is that of transformers, to the last bit. */
static void equals_transformers(void **state)
{
    FILE *list = fopen(IMAGES "preprocess.txt", "r");
    char name[64], path[256];
    size_t w, h, want_w, want_h, got_w, got_h, n = 0;
    unsigned crc;
    float first, middle, last;

    (void)state;
    assert_non_null(list);
    while (fscanf(list, "%63s %zu %zu %zu %zu %x %f %f %f", name, &w, &h, &want_w, &want_h, &crc, &first, &middle, &last) == 9) {
        mm_image *image = noise_image(ctx, w, h);
        mmi_json *doc = NULL;
        mmi_image_processor p;
        float *out;

        (void)snprintf(path, sizeof path, IMAGES "%s.json", name);
        assert_int_equal(mmi_json_read(ctx, path, 1 << 20, &doc), MM_OK);
        if (mmi_image_processor_from_json(ctx, doc, NULL, &p)) fail_msg("%s", mm_context_error(ctx));
        out = processed(&p, image, &got_w, &got_h);
        if (!want_w) {
            assert_null(out);
        } else {
            const size_t total = want_w * want_h * 3;
            assert_non_null(out);
            assert_int_equal(got_w, want_w);
            assert_int_equal(got_h, want_h);
            if (out[0] != first || out[total / 2] != middle || out[total - 1] != last || crc32_of(out, total * sizeof *out) != crc)
                fail_msg("%s on %zu x %zu pixels: %.9g %.9g %.9g with checksum %08x, expected %.9g %.9g %.9g with %08x", name, w, h,
                         (double)out[0], (double)out[total / 2], (double)out[total - 1], crc32_of(out, total * sizeof *out),
                         (double)first, (double)middle, (double)last, crc);
        }
        free(out);
        mmi_json_destroy(doc);
        mm_image_destroy(image);
        n++;
    }
    (void)fclose(list);
    assert_true(n >= 100);
}

static mm_status from_text(const char *text, const char *type, mmi_image_processor *p)
{
    mmi_json *doc = NULL;
    mm_status st;

    assert_int_equal(mmi_json_parse(ctx, "config", text, strlen(text), &doc), MM_OK);
    st = mmi_image_processor_from_json(ctx, doc, type, p);
    mmi_json_destroy(doc);
    return st;
}

#define VIT "{\"image_processor_type\": \"ViTImageProcessor\", "

static void refused_with_the_key(void **state)
{
    static const struct {
        const char *text, *key;
        mm_status status;
    } rows[] = {
        {"{}", "\"image_processor_type\" is missing", MM_E_FORMAT},
        {"[]", "image_processor_type", MM_E_FORMAT},
        {"{\"image_processor_type\": 3}", "image_processor_type", MM_E_FORMAT},
        {"{\"image_processor_type\": \"ViT\"}", "ViT, which", MM_E_UNSUPPORTED},
        {"{\"image_processor_type\": \"ViTImageProcessorFaster\"}", "ViTImageProcessorFaster", MM_E_UNSUPPORTED},
        {"{\"image_processor_type\": \"Qwen2VLImageProcessor\"}", "Qwen2VLImageProcessor", MM_E_UNSUPPORTED},
        {VIT "\"do_resize\": 1}", "do_resize", MM_E_FORMAT},
        {VIT "\"do_convert_rgb\": \"yes\"}", "do_convert_rgb", MM_E_FORMAT},
        {VIT "\"resample\": 6}", "\"resample\" is 6", MM_E_UNSUPPORTED},
        {VIT "\"resample\": -1}", "resample", MM_E_FORMAT},
        {VIT "\"resample\": \"bicubic\"}", "resample", MM_E_FORMAT},
        {VIT "\"size\": 0}", "\"size\"", MM_E_FORMAT},
        {VIT "\"size\": 2.5}", "\"size\"", MM_E_FORMAT},
        {VIT "\"size\": 100000}", "\"size\"", MM_E_FORMAT},
        {VIT "\"size\": \"large\"}", "\"size\"", MM_E_FORMAT},
        {VIT "\"size\": true}", "\"size\"", MM_E_FORMAT},
        {VIT "\"size\": [1]}", "\"size\"", MM_E_FORMAT},
        {VIT "\"size\": [1, 2, 3]}", "\"size\"", MM_E_FORMAT},
        {VIT "\"size\": {}}", "\"size\"", MM_E_UNSUPPORTED},
        {VIT "\"size\": {\"height\": 5}}", "\"size\"", MM_E_UNSUPPORTED},
        {VIT "\"size\": {\"longest_edge\": 5}}", "\"size\"", MM_E_UNSUPPORTED},
        {VIT "\"size\": {\"height\": 5, \"width\": -1}}", "\"width\"", MM_E_FORMAT},
        {VIT "\"crop_size\": {\"shortest_edge\": 5}}", "\"crop_size\"", MM_E_UNSUPPORTED},
        {VIT "\"do_center_crop\": true}", "\"crop_size\" is missing", MM_E_FORMAT},
        {VIT "\"do_pad\": true}", "\"pad_size\" is missing", MM_E_FORMAT},
        {VIT "\"rescale_factor\": \"1/255\"}", "rescale_factor", MM_E_FORMAT},
        {VIT "\"image_mean\": [0.5, 0.5]}", "image_mean", MM_E_FORMAT},
        {VIT "\"image_mean\": [0.5, 0.5, 0.5, 0.5]}", "image_mean", MM_E_FORMAT},
        {VIT "\"image_mean\": [0.5, \"0.5\", 0.5]}", "image_mean", MM_E_FORMAT},
        {VIT "\"image_std\": {}}", "image_std", MM_E_FORMAT},
        {VIT "\"image_std\": [1, 0, 1]}", "image_std", MM_E_FORMAT},
        {VIT "\"image_std\": 1e-60}", "image_std", MM_E_FORMAT},
    };
    mmi_image_processor p;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mm_status st = from_text(rows[i].text, NULL, &p);
        if (st != rows[i].status || !strstr(mm_context_error(ctx), rows[i].key) || !strstr(mm_context_error(ctx), "config"))
            fail_msg("%s: %s: %s", rows[i].text, mm_status_name(st), mm_context_error(ctx));
    }
}

static void class_of_the_model_when_none_is_named(void **state)
{
    mmi_image_processor p;

    (void)state;
    assert_int_equal(from_text("{}", "BitImageProcessor", &p), MM_OK);
    assert_int_equal(p.size_rule, MMI_SIZE_SHORTEST);
    assert_int_equal(p.crop_width, 224);
    assert_int_equal(from_text(VIT "\"unknown\": {}, \"size\": null}", "BitImageProcessor", &p), MM_OK);
    assert_int_equal(p.size_rule, MMI_SIZE_EXACT);
    assert_int_equal(p.height, 224);
}

static void sizes_that_cannot_be(void **state)
{
    mmi_image_processor p;
    size_t w, h;

    (void)state;
    assert_int_equal(from_text("{\"size\": {\"shortest_edge\": 224}}", "ViTImageProcessor", &p), MM_OK);
    assert_int_equal(mmi_image_processor_output_size(ctx, &p, 1, 100000000, &w, &h), MM_E_SHAPE);
    assert_int_equal(mmi_image_processor_output_size(ctx, &p, 1, 1000000, &w, &h), MM_E_LIMIT);
    assert_non_null(strstr(mm_context_error(ctx), "224 x 224000000"));
    assert_int_equal(from_text("{\"size\": {\"max_height\": 5, \"max_width\": 5}}", "ViTImageProcessor", &p), MM_OK);
    assert_int_equal(mmi_image_processor_output_size(ctx, &p, 1, 6, &w, &h), MM_E_SHAPE);
    assert_int_equal(mmi_image_processor_output_size(ctx, &p, 1, 5, &w, &h), MM_OK);
    assert_int_equal(from_text("{\"size\": 9, \"do_pad\": true, \"pad_size\": [8, 9]}", "ViTImageProcessor", &p), MM_OK);
    assert_int_equal(mmi_image_processor_output_size(ctx, &p, 1, 1, &w, &h), MM_E_SHAPE);
    assert_int_equal(from_text("{\"size\": 65536}", "ViTImageProcessor", &p), MM_OK);
    assert_int_equal(mmi_image_processor_output_size(ctx, &p, 1, 1, &w, &h), MM_E_LIMIT);
}

/* A thin picture whose resized form would be enormous costs no more than the crop that is left of it. */
static void crop_of_an_enormous_resize(void **state)
{
    mm_image *image = noise_image(ctx, 1, 100000);
    mmi_image_processor p;
    size_t w, h;
    float *out;

    (void)state;
    assert_int_equal(from_text("{}", "CLIPImageProcessor", &p), MM_OK);
    heap.largest = 0;
    out = processed(&p, image, &w, &h);
    assert_non_null(out);
    assert_int_equal(w, 224);
    assert_int_equal(h, 224);
    assert_true(heap.largest < 2000000);
    free(out);
    mm_image_destroy(image);
}

static void out_of_memory(void **state)
{
    mm_image *image = noise_image(ctx, 30, 20);
    const size_t live = heap.live;
    mmi_image_processor p;
    float out[3 * 8 * 8];
    mm_status st = MM_E_NOMEM;

    (void)state;
    assert_int_equal(from_text("{\"size\": 8}", "ViTImageProcessor", &p), MM_OK);
    for (size_t n = 1; st; n++) {
        assert_true(n < 100);
        heap.fail_at = heap.made + n;
        st = mmi_preprocess_image(ctx, &p, image, out);
        heap.fail_at = 0;
        assert_true(st == MM_OK || st == MM_E_NOMEM);
        assert_int_equal(heap.live, live);
    }
    mm_image_destroy(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(equals_transformers, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_with_the_key, setup, teardown),
        cmocka_unit_test_setup_teardown(class_of_the_model_when_none_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(sizes_that_cannot_be, setup, teardown),
        cmocka_unit_test_setup_teardown(crop_of_an_enormous_resize, setup, teardown),
        cmocka_unit_test_setup_teardown(out_of_memory, setup, teardown),
    };
    return cmocka_run_group_tests_name("preprocess", tests, NULL, NULL);
}
