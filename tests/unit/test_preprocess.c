/* SPDX-License-Identifier: MIT */
#include "image_fixture.h"

#include <math.h>

#include "preprocess.h"

/* The array [1, 3, h, w] of one picture; NULL after a failure, whose status is in `failed`. */
static mm_status failed;
static mm_tensor_map *processed(const mmi_image_processor *p, const mm_image *image, const float **pixels, size_t *w, size_t *h)
{
    mm_tensor_map *map = NULL;
    const mm_tensor *t;

    failed = mmi_image_processor_run(ctx, p, &image, 1, &map, NULL);
    if (failed) {
        assert_null(map);
        return NULL;
    }
    t = mm_tensor_map_get(map, "pixel_values");
    assert_int_equal(mm_tensor_rank(t), 4);
    *h = (size_t)mm_tensor_shape(t)[2];
    *w = (size_t)mm_tensor_shape(t)[3];
    *pixels = mm_tensor_const_data(t);
    return map;
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
        mm_tensor_map *map;
        const float *out;

        (void)snprintf(path, sizeof path, IMAGES "%s.json", name);
        assert_int_equal(mmi_json_read(ctx, path, 1 << 20, &doc), MM_OK);
        if (mmi_image_processor_from_json(ctx, doc, NULL, &p)) fail_msg("%s", mm_context_error(ctx));
        map = processed(&p, image, &out, &got_w, &got_h);
        if (!want_w) {
            assert_null(map);
        } else {
            const size_t total = want_w * want_h * 3;
            assert_non_null(map);
            assert_int_equal(got_w, want_w);
            assert_int_equal(got_h, want_h);
            if (out[0] != first || out[total / 2] != middle || out[total - 1] != last || crc32_of(out, total * sizeof *out) != crc)
                fail_msg("%s on %zu x %zu pixels: %.9g %.9g %.9g with checksum %08x, expected %.9g %.9g %.9g with %08x", name, w, h,
                         (double)out[0], (double)out[total / 2], (double)out[total - 1], crc32_of(out, total * sizeof *out),
                         (double)first, (double)middle, (double)last, crc);
        }
        mm_tensor_map_destroy(map);
        mmi_json_destroy(doc);
        mm_image_destroy(image);
        n++;
    }
    (void)fclose(list);
    assert_true(n >= 100);
}

/* A file, or "WxH" for noise. */
static mm_image *source_image(const char *source)
{
    mm_image *image = NULL;
    char path[256];
    size_t w, h;

    if (!strchr(source, '.') && sscanf(source, "%zux%zu", &w, &h) == 2) return noise_image(ctx, w, h);
    (void)snprintf(path, sizeof path, IMAGES "%s", source);
    if (mm_image_read(ctx, path, 0, &image)) fail_msg("%s", mm_context_error(ctx));
    return image;
}

static double number_at(const void *data, int32_t dtype, size_t i)
{
    return dtype == MM_DTYPE_F32 ? (double)((const float *)data)[i] : dtype == MM_DTYPE_I64 ? (double)((const int64_t *)data)[i]
                                                                                             : (double)((const int32_t *)data)[i];
}

static void read_config(const char *name, mmi_image_processor *p)
{
    FILE *list = fopen(IMAGES "processor_configs.txt", "r");
    char line[1024], *json = NULL;
    mmi_json *doc = NULL;

    assert_non_null(list);
    while (fgets(line, sizeof line, list) && (json = strchr(line, ' '))) {
        *json++ = 0;
        if (!strcmp(line, name)) break;
        json = NULL;
    }
    (void)fclose(list);
    assert_non_null(json);
    assert_int_equal(mmi_json_parse(ctx, name, json, strlen(json), &doc), MM_OK);
    if (mmi_image_processor_from_json(ctx, doc, NULL, p)) fail_msg("%s", mm_context_error(ctx));
    mmi_json_destroy(doc);
}

/* Every array of every class, to the last bit, and its name, type and shape. */
static void all_processors_equal_transformers(void **state)
{
    FILE *list = fopen(IMAGES "processors.txt", "r");
    char name[64], sources[128], last_name[64] = "", last_sources[128] = "", key[64], dtype[16], shape[64];
    double want[3];
    unsigned crc;
    size_t lines = 0, n = 0, seen = 0;
    mm_tensor_map *map = NULL;
    mmi_image_layout layouts[8];
    mm_status st = MM_OK;

    (void)state;
    assert_non_null(list);
    while (fscanf(list, "%63s %127s %63s %15s %63s %x %lf %lf %lf", name, sources, key, dtype, shape, &crc, &want[0], &want[1], &want[2]) == 9) {
        char *numbers = shape;
        const void *data;
        int32_t type = !strcmp(dtype, "float32") ? MM_DTYPE_F32 : !strcmp(dtype, "int64") ? MM_DTYPE_I64 : MM_DTYPE_I32;
        int64_t by_layout[8];
        size_t total = 1, marks[3];

        lines++;
        if (strcmp(name, last_name) || strcmp(sources, last_sources)) {
            const mmi_image *images[8];
            mmi_image_processor p;
            char copy[128];

            if (map) assert_int_equal(seen, mm_tensor_map_count(map)); /* nothing that transformers does not give */
            mm_tensor_map_destroy(map);
            seen = 0;
            (void)snprintf(last_name, sizeof last_name, "%s", name);
            (void)snprintf(last_sources, sizeof last_sources, "%s", sources);
            (void)snprintf(copy, sizeof copy, "%s", sources);
            read_config(name, &p);
            n = 0;
            for (char *source = strtok(copy, "+"); source; source = strtok(NULL, "+")) images[n++] = source_image(source);
            st = mmi_image_processor_run(ctx, &p, images, n, &map, layouts);
            for (size_t i = 0; i < n; i++) mm_image_destroy((mm_image *)images[i]);
        }
        if (!strcmp(key, "refused")) {
            if (st != MM_E_SHAPE && st != MM_E_LIMIT) fail_msg("%s of %s: %s, but transformers raises", name, sources, mm_status_name(st));
            continue;
        }
        if (st) fail_msg("%s of %s: %s", name, sources, mm_context_error(ctx));
        if (!strcmp(key, "rows") || !strcmp(key, "cols")) {
            for (size_t i = 0; i < n; i++) by_layout[i] = (int64_t)(key[0] == 'r' ? layouts[i].rows : layouts[i].cols);
            data = by_layout;
            total = n;
        } else {
            const mm_tensor *t = mm_tensor_map_get(map, key);
            if (!t) fail_msg("%s of %s has no %s", name, sources, key);
            seen++;
            if (mm_tensor_dtype(t) != type) fail_msg("%s: %s is %s, expected %s", name, key, mm_dtype_name(mm_tensor_dtype(t)), dtype);
            for (int32_t i = 0; i < mm_tensor_rank(t); i++, numbers++)
                if (strtoll(numbers, &numbers, 10) != mm_tensor_shape(t)[i] || *numbers != (i + 1 < mm_tensor_rank(t) ? 'x' : 0))
                    fail_msg("%s of %s: %s has another shape than %s", name, sources, key, shape);
            data = mm_tensor_const_data(t);
            total = (size_t)mm_tensor_elements(t);
        }
        marks[0] = 0;
        marks[1] = total / 2;
        marks[2] = total - 1;
        for (int i = 0; i < 3; i++)
            if (number_at(data, type, marks[i]) != want[i])
                fail_msg("%s of %s: %s[%zu] is %.9g, expected %.9g", name, sources, key, marks[i], number_at(data, type, marks[i]), want[i]);
        if (crc32_of(data, total * (type == MM_DTYPE_I64 ? 8 : 4)) != crc) fail_msg("%s of %s: %s differs", name, sources, key);
    }
    mm_tensor_map_destroy(map);
    (void)fclose(list);
    assert_true(lines > 1000);
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

#define QWEN "{\"image_processor_type\": \"Qwen2VLImageProcessor\", "
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
        {"{\"image_processor_type\": \"Qwen2VLVideoProcessor\"}", "Qwen2VLVideoProcessor", MM_E_UNSUPPORTED},
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
        {QWEN "\"patch_size\": 0}", "patch_size", MM_E_FORMAT},
        {QWEN "\"merge_size\": 0}", "merge_size", MM_E_FORMAT},
        {QWEN "\"temporal_patch_size\": 1e9}", "temporal_patch_size", MM_E_FORMAT},
        {QWEN "\"min_pixels\": -1}", "min_pixels", MM_E_FORMAT},
        {QWEN "\"max_pixels\": 1e300}", "max_pixels", MM_E_FORMAT},
        {QWEN "\"size\": 224}", "\"size\"", MM_E_FORMAT},
        {QWEN "\"size\": {\"shortest_edge\": 5}}", "\"longest_edge\"", MM_E_FORMAT},
        {"{\"image_processor_type\": \"MllamaImageProcessor\", \"max_image_tiles\": 1000000000}", "max_image_tiles", MM_E_FORMAT},
        {"{\"image_processor_type\": \"MllamaImageProcessor\", \"max_image_tiles\": 0}", "max_image_tiles", MM_E_FORMAT},
        {"{\"image_processor_type\": \"MllamaImageProcessor\", \"size\": [4, 5]}", "\"size\" is 4 x 5", MM_E_FORMAT},
        {"{\"image_processor_type\": \"MllamaImageProcessor\", \"size\": {\"shortest_edge\": 4}}", "\"height\"", MM_E_UNSUPPORTED},
        {"{\"image_processor_type\": \"MllamaImageProcessor\", \"do_pad\": false}", "\"do_pad\" must be true", MM_E_UNSUPPORTED},
        {"{\"image_processor_type\": \"MllamaImageProcessor\", \"do_resize\": false}", "\"do_resize\" must be true", MM_E_UNSUPPORTED},
        {"{\"image_processor_type\": \"SmolVLMImageProcessor\", \"max_image_size\": 364}", "max_image_size", MM_E_FORMAT},
        {"{\"image_processor_type\": \"SmolVLMImageProcessor\", \"max_image_size\": {\"longest_edge\": 0}}", "longest_edge", MM_E_FORMAT},
        {"{\"image_processor_type\": \"SmolVLMImageProcessor\", \"size\": {\"shortest_edge\": 4}}", "\"longest_edge\"", MM_E_UNSUPPORTED},
        {"{\"image_processor_type\": \"Siglip2ImageProcessor\", \"max_num_patches\": -4}", "max_num_patches", MM_E_FORMAT},
        {"{\"image_processor_type\": \"DonutImageProcessor\", \"size\": {\"longest_edge\": 4}}", "\"size\"", MM_E_UNSUPPORTED},
        {"{\"image_processor_type\": \"DonutImageProcessor\", \"do_center_crop\": true}", "\"crop_size\"", MM_E_FORMAT},
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
    mm_image *thin = noise_image(ctx, 1, 100000), *dot = noise_image(ctx, 1, 1), *high = noise_image(ctx, 1, 6);
    mmi_image_processor p;
    mm_tensor_map *map;
    const float *pixels;
    size_t w, h;

    (void)state;
    assert_int_equal(from_text("{\"size\": {\"shortest_edge\": 224}}", "ViTImageProcessor", &p), MM_OK);
    assert_null(processed(&p, thin, &pixels, &w, &h));
    assert_int_equal(failed, MM_E_LIMIT);
    assert_non_null(strstr(mm_context_error(ctx), "224 x 22400000"));
    assert_int_equal(from_text("{\"size\": {\"shortest_edge\": 65000}}", "ViTImageProcessor", &p), MM_OK);
    assert_null(processed(&p, thin, &pixels, &w, &h));
    assert_int_equal(failed, MM_E_SHAPE);
    assert_int_equal(from_text("{\"size\": {\"max_height\": 5, \"max_width\": 5}}", "ViTImageProcessor", &p), MM_OK);
    assert_null(processed(&p, high, &pixels, &w, &h));
    assert_int_equal(failed, MM_E_SHAPE);
    map = processed(&p, dot, &pixels, &w, &h);
    assert_non_null(map);
    mm_tensor_map_destroy(map);
    assert_int_equal(from_text("{\"size\": 9, \"do_pad\": true, \"pad_size\": [8, 9]}", "ViTImageProcessor", &p), MM_OK);
    assert_null(processed(&p, dot, &pixels, &w, &h));
    assert_int_equal(failed, MM_E_SHAPE);
    assert_int_equal(from_text("{\"size\": 65536}", "ViTImageProcessor", &p), MM_OK);
    assert_null(processed(&p, dot, &pixels, &w, &h));
    assert_int_equal(failed, MM_E_LIMIT);
    assert_int_equal(from_text("{\"do_pad\": true}", "LlavaImageProcessor", &p), MM_OK);
    assert_null(processed(&p, thin, &pixels, &w, &h));
    assert_int_equal(failed, MM_E_LIMIT);
    assert_int_equal(from_text("{}", "DonutImageProcessor", &p), MM_OK);
    assert_null(processed(&p, thin, &pixels, &w, &h));
    assert_int_equal(failed, MM_E_LIMIT);
    assert_int_equal(from_text("{}", "Qwen2VLImageProcessor", &p), MM_OK);
    assert_null(processed(&p, thin, &pixels, &w, &h));
    assert_int_equal(failed, MM_E_SHAPE);
    assert_non_null(strstr(mm_context_error(ctx), "1 x 100000 pixels: one side is more than 200 times the other"));
    assert_int_equal(from_text("{\"max_image_tiles\": 1024, \"size\": 65536}", "MllamaImageProcessor", &p), MM_OK);
    assert_null(processed(&p, dot, &pixels, &w, &h));
    assert_int_equal(failed, MM_E_LIMIT);
    assert_int_equal(from_text("{\"max_num_patches\": 65536, \"patch_size\": 4096}", "Siglip2ImageProcessor", &p), MM_OK);
    assert_null(processed(&p, dot, &pixels, &w, &h));
    assert_int_equal(failed, MM_E_LIMIT);
    assert_int_equal(from_text("{\"max_image_size\": {\"longest_edge\": 65536}}", "Idefics3ImageProcessor", &p), MM_OK);
    assert_null(processed(&p, dot, &pixels, &w, &h));
    assert_int_equal(failed, MM_E_LIMIT);
    assert_int_equal(from_text("{\"max_image_size\": {\"longest_edge\": 1}, \"size\": {\"longest_edge\": 65536}}", "SmolVLMImageProcessor", &p), MM_OK);
    assert_int_equal(mmi_image_processor_run(ctx, &p, (const mmi_image *const *)&dot, 0, &map, NULL), MM_E_SHAPE);
    mm_image_destroy(thin);
    mm_image_destroy(dot);
    mm_image_destroy(high);
}

/* A thin picture whose resized form would be enormous costs no more than the crop that is left of it. */
static void crop_of_an_enormous_resize(void **state)
{
    mm_image *image = noise_image(ctx, 1, 100000);
    mmi_image_processor p;
    mm_tensor_map *map;
    const float *out;
    size_t w, h;

    (void)state;
    assert_int_equal(from_text("{}", "CLIPImageProcessor", &p), MM_OK);
    heap.largest = 0;
    map = processed(&p, image, &out, &w, &h);
    assert_non_null(map);
    assert_int_equal(w, 224);
    assert_int_equal(h, 224);
    assert_true(heap.largest < 2000000);
    mm_tensor_map_destroy(map);
    mm_image_destroy(image);
}

static void out_of_memory(void **state)
{
    static const char *const rows[] = {
        "{\"image_processor_type\": \"ViTImageProcessor\", \"size\": 8}",
        "{\"image_processor_type\": \"LlavaImageProcessor\", \"size\": 8, \"crop_size\": 8, \"do_pad\": true}",
        "{\"image_processor_type\": \"DonutImageProcessor\", \"size\": [40, 80], \"do_align_long_axis\": true}",
        "{\"image_processor_type\": \"Idefics3ImageProcessor\", \"size\": {\"longest_edge\": 20}, \"max_image_size\": {\"longest_edge\": 8}}",
        "{\"image_processor_type\": \"MllamaImageProcessor\", \"size\": 8}",
        "{\"image_processor_type\": \"Qwen2VLImageProcessor\", \"patch_size\": 4}",
        "{\"image_processor_type\": \"Siglip2ImageProcessor\", \"patch_size\": 4}",
    };
    mm_image *image = noise_image(ctx, 30, 20);
    const mmi_image *const images[2] = {image, image};
    const size_t live = heap.live;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mmi_image_processor p;
        mm_tensor_map *map = NULL;
        mm_status st = MM_E_NOMEM;

        assert_int_equal(from_text(rows[i], NULL, &p), MM_OK);
        for (size_t n = 1; st; n++) {
            assert_true(n < 100);
            heap.fail_at = heap.made + n;
            st = mmi_image_processor_run(ctx, &p, images, 2, &map, NULL);
            heap.fail_at = 0;
            assert_true(st == MM_OK ? n > 1 && map : st == MM_E_NOMEM && !map);
            mm_tensor_map_destroy(map);
            assert_int_equal(heap.live, live);
        }
    }
    mm_image_destroy(image);
}

/* A light in the array lies, by the view, where it lies in the picture. */
static void views_find_the_picture(void **state)
{
    enum { WIDTH = 60, HEIGHT = 36, X = 22, Y = 14, SIDE = 8 };
    const mmi_image_processor any = {.do_rescale = 1, .rescale_factor = 1.0 / 255, .resample = MMI_FILTER_BILINEAR, .std = {1, 1, 1}};
    mmi_image_processor cases[9];
    uint8_t *pixels = calloc(WIDTH * HEIGHT, 3);
    mm_image *image = NULL;
    mmi_image_view view;
    (void)state;

    assert_non_null(pixels);
    for (size_t y = Y; y < Y + SIDE; y++) memset(pixels + (y * WIDTH + X) * 3, 255, SIDE * 3);
    assert_int_equal(mm_image_create(ctx, WIDTH, HEIGHT, pixels, &image), MM_OK);
    free(pixels);
    for (size_t i = 0; i < 9; i++) cases[i] = any;
    cases[1].do_resize = cases[2].do_resize = cases[3].do_resize = cases[6].do_resize = cases[7].do_resize = 1;
    cases[1].height = 48, cases[1].width = 48;                                          /* squeezed */
    cases[2].size_rule = MMI_SIZE_SHORTEST, cases[2].shortest = 24;                     /* and cropped to the middle */
    cases[2].do_center_crop = 1, cases[2].crop_width = cases[2].crop_height = 24;
    cases[3].height = cases[3].width = 40, cases[3].do_square = 1;                      /* LLaVA's square */
    cases[4].do_center_crop = 1, cases[4].crop_width = 80, cases[4].crop_height = 50;   /* a crop that is larger */
    cases[5].do_pad = 1, cases[5].pad_width = 64, cases[5].pad_height = 64;             /* padded behind */
    cases[6].layout = MMI_LAYOUT_PAGE, cases[6].width = cases[6].height = 72;           /* enlarged, shrunk and centered on a page */
    cases[6].do_thumbnail = cases[6].do_pad = 1, cases[6].pad_width = 80, cases[6].pad_height = 100;
    cases[7] = cases[6];
    cases[7].do_center_crop = 1, cases[7].crop_width = 50, cases[7].crop_height = 60;
    cases[8].layout = MMI_LAYOUT_PAGE, cases[8].do_align_long_axis = 1, cases[8].width = 40, cases[8].height = 80;
    for (size_t i = 0; i < 8; i++) {
        const float *a;
        double sum = 0, x = 0, y = 0;
        size_t w, h;
        mm_tensor_map *map = processed(&cases[i], image, &a, &w, &h);
        assert_non_null(map);
        for (size_t k = 0; k < w * h; k++) {
            double v = (double)a[k];
            sum += v;
            x += v * ((double)(k % w) + 0.5);
            y += v * ((double)(k / w) + 0.5);
        }
        assert_int_equal(mmi_image_processor_view(ctx, &cases[i], image, &view), MM_OK);
        x = view.left + x / sum * (view.right - view.left) / (double)w;
        y = view.top + y / sum * (view.bottom - view.top) / (double)h;
        if (!(fabs(x - X - SIDE / 2.0) < 0.1 && fabs(y - Y - SIDE / 2.0) < 0.1)) fail_msg("view %zu finds the light at %g, %g", i, x, y);
        mm_tensor_map_destroy(map);
    }
    assert_int_equal(mmi_image_processor_view(ctx, &cases[8], image, &view), MM_E_UNSUPPORTED); /* turned */
    mm_image_destroy(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(equals_transformers, setup, teardown),
        cmocka_unit_test_setup_teardown(all_processors_equal_transformers, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_with_the_key, setup, teardown),
        cmocka_unit_test_setup_teardown(class_of_the_model_when_none_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(sizes_that_cannot_be, setup, teardown),
        cmocka_unit_test_setup_teardown(crop_of_an_enormous_resize, setup, teardown),
        cmocka_unit_test_setup_teardown(views_find_the_picture, setup, teardown),
        cmocka_unit_test_setup_teardown(out_of_memory, setup, teardown),
    };
    return cmocka_run_group_tests_name("preprocess", tests, NULL, NULL);
}
