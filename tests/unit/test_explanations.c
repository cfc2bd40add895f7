/* Where models look: against tests/golden/make_explanations.py, and where it can only be one place. Through the public API only.
 * SPDX-License-Identifier: MIT */
#include "model_fixture.h"

#define EXPLANATIONS "tests/golden/explanations/"
#define TREE "tests/golden/images/jpeg_420.jpg"
#define HOUSE "examples/images/house.png"

static mm_model *open_model(mm_context *ctx, const char *path)
{
    mm_model *m = NULL;
    ok(ctx, mm_model_open(ctx, path, &m));
    return m;
}

static mm_image *open_image(mm_context *ctx, const char *path)
{
    mm_image *image = NULL;
    ok(ctx, mm_image_read(ctx, path, 0, &image));
    return image;
}

/* A map of a picture: [rows, cols], nothing negative, with the sum 1. */
static void assert_is_map(const mm_tensor *map)
{
    const float *p = mm_tensor_const_data(map);
    double sum = 0;

    assert_int_equal(mm_tensor_dtype(map), MM_DTYPE_F32);
    assert_int_equal(mm_tensor_rank(map), 2);
    for (int64_t i = 0; i < mm_tensor_elements(map); i++) {
        assert_true(p[i] >= 0);
        sum += p[i];
    }
    assert_true(fabs(sum - 1) < 1e-5);
}

static void assert_equal_maps(const char *name, const mm_tensor *have, const mm_tensor *want)
{
    const float *a = mm_tensor_const_data(have), *b = mm_tensor_const_data(want);

    assert_is_map(have);
    assert_same_shape(name, have, want);
    for (int64_t i = 0; i < mm_tensor_elements(want); i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= 1e-5)) fail_msg("%s: cell %lld is %g, expected %g", name, (long long)i, (double)a[i], (double)b[i]);
}

/* The prompt as the golden has it, the answer as the model writes it. */
static mm_tensor *explain_answer(mm_context *ctx, mm_model *m, const mm_image *image, const mm_tensor_map *golden, const char *question)
{
    const mm_tensor *prompt = mm_tensor_map_get(golden, "prompt_ids"), *answer = mm_tensor_map_get(golden, "generated_ids");
    const size_t n = (size_t)mm_tensor_elements(prompt), written = (size_t)mm_tensor_elements(answer);
    mm_session *s = NULL;
    mm_tensor *map = NULL;

    ok(ctx, mm_session_create(ctx, m, &s));
    ok(ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, (int64_t)written));
    ok(ctx, mm_session_set_i64(s, MM_SESSION_KV_TYPE, MM_DTYPE_F32));
    ok(ctx, mm_session_append_image(s, image));
    if (question) ok(ctx, mm_session_append_text(s, question));
    else ok(ctx, mm_session_append_tokens(s, mm_tensor_const_data(prompt), n));
    ok(ctx, mm_session_generate(s, NULL, NULL, NULL));
    assert_int_equal(mm_session_length(s), n + written);
    assert_memory_equal(mm_session_tokens(s), mm_tensor_const_data(prompt), n * sizeof(int32_t));
    assert_memory_equal(mm_session_tokens(s) + n, mm_tensor_const_data(answer), written * sizeof(int32_t));
    ok(ctx, mm_session_explain(s, image, n, &map));
    mm_session_destroy(s);
    return map;
}

static void test_goldens(void **state)
{
    static const struct {
        const char *name, *image, *question; /* question: in words, of a model whose start tokens the session writes */
        int answers;
    } cases[] = {{"clip", TREE, NULL, 0},      {"siglip", TREE, NULL, 0},       {"llava", TREE, NULL, 1},
                 {"paligemma", HOUSE, NULL, 1}, {"qwen2_vl", TREE, NULL, 1},     {"smolvlm", TREE, NULL, 1},
                 {"blip_caption", TREE, "where what", 1}, {"blip_answer", TREE, "what what", 1}, {"trocr", TREE, "", 1}};
    mm_context *ctx = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[256];
        mm_tensor_map *golden = NULL;
        mm_image *image = open_image(ctx, cases[i].image);
        mm_tensor *map = NULL;
        mm_model *m;

        (void)snprintf(path, sizeof path, "tests/golden/pipelines/%s", cases[i].name);
        m = open_model(ctx, path);
        (void)snprintf(path, sizeof path, EXPLANATIONS "%s.safetensors", cases[i].name);
        ok(ctx, mm_tensor_map_read(ctx, path, &golden));
        if (cases[i].answers) map = explain_answer(ctx, m, image, golden, cases[i].question);
        else ok(ctx, mm_model_explain_image(m, ctx, image, &map));
        assert_equal_maps(cases[i].name, map, mm_tensor_map_get(golden, "map"));
        mm_tensor_release(map);
        mm_tensor_map_destroy(golden);
        mm_image_destroy(image);
        mm_model_release(m);
    }
    mm_context_destroy(ctx);
}

/* A light of `side` pixels square at (x, y) in the dark. */
static mm_image *light(mm_context *ctx, int64_t width, int64_t height, int64_t x, int64_t y, int64_t side)
{
    uint8_t *pixels = calloc((size_t)(width * height), 3);
    mm_image *image = NULL;

    assert_non_null(pixels);
    for (int64_t r = y; r < y + side; r++) memset(pixels + (r * width + x) * 3, 255, (size_t)side * 3);
    ok(ctx, mm_image_create(ctx, width, height, pixels, &image));
    free(pixels);
    return image;
}

/* The one who looks at what is brightest looks there, wherever the processor puts it: 32 x 32 pixels in patches of 4 from the middle. */
static void test_spotlight(void **state)
{
    static const struct {
        int64_t width, height, x, y, side, rows, cols;
    } cases[] = {{32, 32, 4, 20, 4, 8, 8},     {64, 64, 56, 0, 8, 8, 8},     {96, 32, 36, 16, 4, 8, 24}, /* the middle third is seen */
                 {128, 192, 64, 64, 16, 12, 8}, {33, 32, 12, 28, 4, 8, 8}};
    mm_context *ctx = NULL;
    mm_model *m;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    m = open_model(ctx, EXPLANATIONS "spotlight");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mm_image *image = light(ctx, cases[i].width, cases[i].height, cases[i].x, cases[i].y, cases[i].side);
        mm_tensor *map = NULL;
        const float *p;
        int64_t best = 0, row, col;

        ok(ctx, mm_model_explain_image(m, ctx, image, &map));
        assert_is_map(map);
        p = mm_tensor_const_data(map);
        assert_int_equal(mm_tensor_shape(map)[0], cases[i].rows);
        assert_int_equal(mm_tensor_shape(map)[1], cases[i].cols);
        for (int64_t k = 1; k < mm_tensor_elements(map); k++)
            if (p[k] > p[best]) best = k;
        row = best / cases[i].cols;
        col = best % cases[i].cols;
        assert_int_equal(row, (cases[i].y + cases[i].side / 2) * cases[i].rows / cases[i].height);
        assert_int_equal(col, (cases[i].x + cases[i].side / 2) * cases[i].cols / cases[i].width);
        assert_true(p[best] > 0.9f);
        mm_tensor_release(map);
        mm_image_destroy(image);
    }
    mm_model_release(m);
    mm_context_destroy(ctx);
}

static void test_refusals(void **state)
{
    static const char *const deaf[] = {"tests/golden/pipelines/t5", "tests/golden/pipelines/mllama"};
    mm_context *ctx = NULL;
    mm_model *m;
    mm_session *s = NULL;
    mm_image *tree, *house;
    mm_tensor *map = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    tree = open_image(ctx, TREE);
    house = open_image(ctx, HOUSE);
    m = open_model(ctx, "tests/golden/pipelines/llava");
    refused(ctx, mm_model_explain_image(m, ctx, tree, &map), MM_E_UNSUPPORTED, "mm_session_explain", NULL);
    ok(ctx, mm_session_create(ctx, m, &s));
    refused(ctx, mm_session_explain(s, tree, 0, &map), MM_E_STATE, "empty", NULL);
    ok(ctx, mm_session_append_text(s, "describe"));
    refused(ctx, mm_session_explain(s, tree, 0, &map), MM_E_ARGUMENT, "does not hold this picture", NULL);
    ok(ctx, mm_session_append_image(s, tree));
    ok(ctx, mm_session_append_text(s, "this"));
    refused(ctx, mm_session_explain(s, house, 0, &map), MM_E_ARGUMENT, "does not hold this picture", NULL);
    refused(ctx, mm_session_explain(s, tree, 1000, &map), MM_E_ARGUMENT, "1000", NULL);
    assert_null(map);
    ok(ctx, mm_session_explain(s, tree, mm_session_length(s), &map)); /* where the next token would look */
    assert_is_map(map);
    mm_tensor_release(map);
    assert_int_equal(mm_session_explain(NULL, tree, 0, &map), MM_E_ARGUMENT);
    assert_null(map);
    refused(ctx, mm_session_explain(s, NULL, 0, &map), MM_E_ARGUMENT, "NULL", NULL);
    refused(ctx, mm_session_explain(s, tree, 0, NULL), MM_E_ARGUMENT, "NULL", NULL);
    mm_session_destroy(s);
    mm_model_release(m);
    for (size_t i = 0; i < 2; i++) {
        m = open_model(ctx, deaf[i]);
        ok(ctx, mm_session_create(ctx, m, &s));
        if (i) ok(ctx, mm_session_append_image(s, tree));
        ok(ctx, mm_session_append_text(s, "describe"));
        refused(ctx, mm_session_explain(s, tree, 0, &map), MM_E_UNSUPPORTED, deaf[i], NULL);
        mm_session_destroy(s);
        mm_model_release(m);
    }
    m = open_model(ctx, MODELS "bert");
    refused(ctx, mm_model_explain_image(m, ctx, tree, &map), MM_E_UNSUPPORTED, "takes no images", NULL);
    mm_model_release(m);
    mm_image_destroy(tree);
    mm_image_destroy(house);
    mm_context_destroy(ctx);
}

/* Every allocation fails once: nothing is left, and the next call is right. */

typedef struct {
    size_t live, made, fail_at;
} failing_heap;

static void *failing_alloc(void *user, size_t size, size_t alignment)
{
    failing_heap *h = user;
    void *p;

    if (++h->made == h->fail_at) return NULL;
    p = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    h->live += p != NULL;
    return p;
}

static void failing_free(void *user, void *p, size_t size)
{
    (void)size;
    ((failing_heap *)user)->live--;
    free(p);
}

static void test_out_of_memory(void **state)
{
    failing_heap heap = {0};
    const mm_hooks hooks = {sizeof hooks, failing_alloc, failing_free, &heap};
    mm_context *ctx = NULL;
    mm_model *clip, *llava;
    mm_session *s = NULL;
    mm_image *tree;
    mm_tensor *map = NULL;
    (void)state;

    assert_int_equal(mm_context_create(&hooks, &ctx), MM_OK);
    ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 1));
    tree = open_image(ctx, TREE);
    clip = open_model(ctx, "tests/golden/pipelines/clip");
    llava = open_model(ctx, "tests/golden/pipelines/llava");
    ok(ctx, mm_session_create(ctx, llava, &s));
    ok(ctx, mm_session_append_image(s, tree));
    ok(ctx, mm_session_append_text(s, "describe"));
    for (int session = 0; session < 2; session++) {
        mm_status st = MM_E_NOMEM;
        for (size_t n = 1; st; n++) {
            size_t live = heap.live;
            assert_true(n < 5000);
            heap.fail_at = heap.made + n;
            st = session ? mm_session_explain(s, tree, mm_session_length(s), &map) : mm_model_explain_image(clip, ctx, tree, &map);
            heap.fail_at = 0;
            if (st) {
                assert_int_equal(st, MM_E_NOMEM);
                assert_null(map);
                assert_int_equal(heap.live, live);
            }
        }
        assert_is_map(map);
        mm_tensor_release(map);
    }
    mm_session_destroy(s);
    mm_model_release(clip);
    mm_model_release(llava);
    mm_image_destroy(tree);
    mm_context_destroy(ctx);
    assert_int_equal(heap.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_goldens), cmocka_unit_test(test_spotlight), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_out_of_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
