/* Augmentation: whole pictures equal to what Pillow makes by the numbers of torchvision's definitions (tests/golden/make_augment.py); the
 * same numbers for the same (seed, epoch, index), others else; wrong configurations; failing allocations. SPDX-License-Identifier: MIT */
#include "image_fixture.h"

#include "augment.h"
#include "image.h"

static mmi_json *parse(const char *text)
{
    mmi_json *doc = NULL;
    if (mmi_json_parse(ctx, "run.json", text, strlen(text), &doc)) fail_msg("%s", ctx->error);
    return doc;
}

static int64_t integer(const mmi_json_node *node, const char *key)
{
    int64_t v = -1;
    assert_true(mmi_json_integer(key ? mmi_json_get(node, key) : node, &v));
    return v;
}

static void equals_pillow(void **state)
{
    mmi_json *doc = NULL;
    size_t cases = 0;
    (void)state;

    if (mmi_json_read(ctx, "tests/golden/training/augment.json", 1 << 20, &doc)) fail_msg("%s", ctx->error);
    for (const mmi_json_node *c = mmi_json_first(mmi_json_root(doc)); c; c = mmi_json_next(c), cases++) {
        const mmi_json_node *size = mmi_json_first(mmi_json_get(c, "size")), *out = mmi_json_first(mmi_json_get(c, "out"));
        mm_image *image = noise_image(ctx, (size_t)integer(size, NULL), (size_t)integer(mmi_json_next(size), NULL)), *got = NULL;
        const uint32_t before = crc32_of(image->pixels, mmi_image_bytes(image));
        mmi_augment a;

        if (mmi_augment_from_json(ctx, doc, mmi_json_get(c, "config"), &a)) fail_msg("%s", ctx->error);
        if (mmi_augment_run(ctx, &a, (uint64_t)integer(c, "seed"), (uint64_t)integer(c, "epoch"), (uint64_t)integer(c, "index"), image,
                            &got))
            fail_msg("%s", ctx->error);
        assert_int_equal(got->width, integer(out, NULL));
        assert_int_equal(got->height, integer(mmi_json_next(out), NULL));
        if (crc32_of(got->pixels, mmi_image_bytes(got)) != (uint32_t)integer(c, "crc")) print_error("case %zu differs\n", cases);
        assert_int_equal(crc32_of(got->pixels, mmi_image_bytes(got)), integer(c, "crc"));
        assert_int_equal(crc32_of(image->pixels, mmi_image_bytes(image)), before);
        mmi_image_destroy(got);
        mmi_image_destroy(image);
    }
    assert_int_equal(cases, 120);
    mmi_json_destroy(doc);
}

static uint32_t run(const mmi_augment *a, uint64_t seed, uint64_t epoch, uint64_t index, const mm_image *image)
{
    mm_image *got = NULL;
    uint32_t crc;

    assert_int_equal(mmi_augment_run(ctx, a, seed, epoch, index, image, &got), MM_OK);
    crc = crc32_of(got->pixels, mmi_image_bytes(got));
    mmi_image_destroy(got);
    return crc;
}

static void hangs_on_its_three_numbers(void **state)
{
    mmi_json *doc = parse("{\"crop\": {\"scale\": [0.3, 0.9]}, \"color\": {\"hue\": 0.2}}");
    mm_image *image = noise_image(ctx, 40, 30);
    mmi_augment a;
    (void)state;

    assert_int_equal(mmi_augment_from_json(ctx, doc, mmi_json_root(doc), &a), MM_OK);
    assert_int_equal(run(&a, 1, 2, 3, image), run(&a, 1, 2, 3, image));
    assert_int_not_equal(run(&a, 1, 2, 3, image), run(&a, 2, 2, 3, image));
    assert_int_not_equal(run(&a, 1, 2, 3, image), run(&a, 1, 3, 3, image));
    assert_int_not_equal(run(&a, 1, 2, 3, image), run(&a, 1, 2, 4, image));
    mmi_image_destroy(image);
    mmi_json_destroy(doc);
}

/* A flip of half of the pictures flips half of the pictures. */
static void happens_as_often_as_said(void **state)
{
    mmi_json *doc = parse("{\"flip\": 0.3}");
    mm_image *image = noise_image(ctx, 5, 4);
    uint32_t same = crc32_of(image->pixels, mmi_image_bytes(image));
    mmi_augment a;
    int flipped = 0;
    (void)state;

    assert_int_equal(mmi_augment_from_json(ctx, doc, mmi_json_root(doc), &a), MM_OK);
    for (uint64_t i = 0; i < 4000; i++) flipped += run(&a, 5, 0, i, image) != same;
    assert_in_range(flipped, 1200 - 116, 1200 + 116); /* four standard deviations of 29 */
    mmi_image_destroy(image);
    mmi_json_destroy(doc);
}

static void refuses_wrong_configurations(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"[]", "augment"},
        {"3", "augment"},
        {"{\"flipp\": 1}", "flipp"},
        {"{\"flip\": 1.5}", "flip"},
        {"{\"flip\": \"x\"}", "flip"},
        {"{\"crop\": 1}", "crop"},
        {"{\"crop\": {\"scales\": 1}}", "scales"},
        {"{\"crop\": {\"scale\": [0.9, 0.1]}}", "scale"},
        {"{\"crop\": {\"scale\": [0, 1]}}", "scale"},
        {"{\"crop\": {\"scale\": [0.1, 1, 1]}}", "scale"},
        {"{\"crop\": {\"scale\": []}}", "scale"},
        {"{\"crop\": {\"ratio\": [-1, 1]}}", "ratio"},
        {"{\"crop\": {\"size\": 0}}", "size"},
        {"{\"crop\": {\"size\": [60000, 60000]}}", "size"},
        {"{\"crop\": {\"size\": [1]}}", "size"},
        {"{\"crop\": {\"size\": [1, 2, 3]}}", "size"},
        {"{\"crop\": {\"size\": 1e300}}", "size"},
        {"{\"crop\": {\"size\": \"a\"}}", "size"},
        {"{\"color\": {\"gamma\": 1}}", "gamma"},
        {"{\"color\": {\"hue\": 0.6}}", "hue"},
        {"{\"color\": {\"hue\": [-1, 0]}}", "hue"},
        {"{\"color\": {\"brightness\": -1}}", "brightness"},
        {"{\"color\": {\"contrast\": [2, 1]}}", "contrast"},
        {"{\"color\": {\"saturation\": true}}", "saturation"},
        {"{\"erase\": {\"prob\": 1}}", "prob"},
        {"{\"erase\": {\"p\": 2}}", "\"p\""},
        {"{\"erase\": {\"value\": 256}}", "value"},
        {"{\"erase\": {\"value\": [1, 2]}}", "value"},
        {"{\"erase\": {\"value\": [1, 2, 3, 4]}}", "value"},
        {"{\"erase\": {\"value\": \"noise\"}}", "value"},
        {"{\"affine\": {\"degrees\": 200}}", "degrees"},
        {"{\"affine\": {\"translate\": 0.1}}", "translate"},
        {"{\"affine\": {\"shear\": 1}}", "shear"},
        {"{\"affine\": {\"scale\": [0, 1]}}", "scale"},
        {"{\"affine\": {\"fill\": \"noise\"}}", "fill"},
        {"{\"affine\": {\"fill\": [1, 2, 300]}}", "fill"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmi_json *doc = parse(cases[i].text);
        mmi_augment a;
        if (mmi_augment_from_json(ctx, doc, mmi_json_root(doc), &a) != MM_E_FORMAT) fail_msg("%s", cases[i].text);
        if (!strstr(ctx->error, "run.json") || !strstr(ctx->error, cases[i].says)) fail_msg("%s: %s", cases[i].text, ctx->error);
        mmi_json_destroy(doc);
    }
}

/* Each allocation fails once. */
static void survives_failing_allocations(void **state)
{
    mmi_json *doc = parse("{\"affine\": {}, \"crop\": {\"size\": 9}, \"flip\": 1, \"color\": {\"hue\": 0.2}, \"erase\": {\"p\": 1}}");
    mm_image *image = noise_image(ctx, 40, 30);
    mm_status st = MM_E_NOMEM;
    mmi_augment a;
    size_t n = 0;
    (void)state;

    assert_int_equal(mmi_augment_from_json(ctx, doc, mmi_json_root(doc), &a), MM_OK);
    while (st) {
        const size_t live = heap.live;
        mm_image *got = NULL;

        heap.fail_at = heap.made + ++n;
        st = mmi_augment_run(ctx, &a, 1, 2, 3, image, &got);
        heap.fail_at = 0;
        if (st) {
            assert_int_equal(st, MM_E_NOMEM);
            assert_null(got);
        }
        mmi_image_destroy(got);
        assert_int_equal(heap.live, live);
    }
    assert_true(n > 6);
    mmi_image_destroy(image);
    mmi_json_destroy(doc);
}

static void stops_when_cancelled(void **state)
{
    mmi_json *doc = parse("{\"affine\": {}}");
    mm_image *image = noise_image(ctx, 40, 300), *got = NULL;
    mmi_augment a;
    (void)state;

    assert_int_equal(mmi_augment_from_json(ctx, doc, mmi_json_root(doc), &a), MM_OK);
    mm_context_cancel(ctx);
    assert_int_equal(mmi_augment_run(ctx, &a, 1, 2, 3, image, &got), MM_E_CANCELLED);
    assert_null(got);
    mmi_image_destroy(image);
    mmi_json_destroy(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(equals_pillow, setup, teardown),
        cmocka_unit_test_setup_teardown(hangs_on_its_three_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(happens_as_often_as_said, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_wrong_configurations, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, setup, teardown),
        cmocka_unit_test_setup_teardown(stops_when_cancelled, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
