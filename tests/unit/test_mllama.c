/* Llama 3.2 Vision beyond what the lists of goldens hold (tests/golden/make_mllama_models.py): pictures that come and go in a conversation give
 * what the whole gives at once, which is what forward gives; wrong inputs; prompts; failing allocations; the ops by themselves.
 * SPDX-License-Identifier: MIT */
#include "model_fixture.h"

#include "media.h"
#include "mm_image.h"
#include "picture_mask_op.h"
#include "plan.h"
#include "run.h"
#include "session.h"
#include "session_media.h"

enum { IMAGE = 47, VOCABULARY = 45, TILES = 3 }; /* of models/mllama */

typedef struct {
    long count, fail_at; /* this allocation fails, counted from 1; 0: none */
    long live;
} allocator;

static void *hook_alloc(void *user, size_t size, size_t alignment)
{
    allocator *a = user;
    if (++a->count == a->fail_at) return NULL;
    a->live++;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void hook_free(void *user, void *ptr, size_t size)
{
    (void)size;
    ((allocator *)user)->live--;
    free(ptr);
}

typedef struct {
    allocator allocator;
    mm_context *ctx;
    mm_model *model;
    mm_tensor_map *golden; /* a prompt of 9 tokens with two pictures, at 2 and 6 */
    const int32_t *prompt;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    mm_hooks hooks = {sizeof hooks, hook_alloc, hook_free, NULL};

    assert_non_null(f);
    hooks.user = &f->allocator;
    assert_int_equal(mm_context_create(&hooks, &f->ctx), MM_OK);
    ok(f->ctx, mm_context_set_i64(f->ctx, MM_CONTEXT_THREADS, 1));
    f->model = open_golden(f->ctx, "mllama");
    f->golden = read_golden(f->ctx, "mllama", "greedy_two", "media");
    f->prompt = mm_tensor_const_data(mm_tensor_map_get(f->golden, "prompt_ids"));
    assert_int_equal(f->prompt[2], IMAGE);
    assert_int_equal(f->prompt[6], IMAGE);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;

    mm_tensor_map_destroy(f->golden);
    mm_model_release(f->model);
    mm_context_destroy(f->ctx);
    assert_int_equal(f->allocator.live, 0);
    free(f);
    return 0;
}

static const char *const picture_inputs[] = {"pixel_values", "aspect_ratio_ids", "aspect_ratio_mask"};

/* Picture `index` of the golden, waiting. */
static mm_status append_picture(const fixture *f, mm_session *s, size_t index)
{
    mmi_medium medium = {0};
    mm_status st = mm_tensor_map_create(f->ctx, &medium.inputs);

    for (size_t i = 0; i < 3 && !st; i++) {
        const mm_tensor *all = mm_tensor_map_get(f->golden, picture_inputs[i]);
        size_t bytes = mm_tensor_bytes(all) / (size_t)mm_tensor_shape(all)[1];
        int64_t shape[MM_TENSOR_MAX_RANK];
        mm_tensor *one = NULL;
        memcpy(shape, mm_tensor_shape(all), (size_t)mm_tensor_rank(all) * sizeof *shape);
        shape[1] = 1;
        st = mm_tensor_copy(f->ctx, mm_tensor_dtype(all), mm_tensor_rank(all), shape, (const char *)mm_tensor_const_data(all) + index * bytes, &one);
        if (!st) st = mm_tensor_map_set(f->ctx, medium.inputs, picture_inputs[i], one);
        mm_tensor_release(one);
    }
    if (!st) return mmi_session_append_medium(s, (const uint64_t[2]){index, 7}, &medium);
    mm_tensor_map_destroy(medium.inputs);
    return st;
}

static mm_session *session_of(const fixture *f)
{
    mm_session *s = NULL;
    ok(f->ctx, mm_session_create(f->ctx, f->model, &s));
    ok(f->ctx, mm_session_set_i64(s, MM_SESSION_KV_TYPE, MM_DTYPE_F32));
    return s;
}

/* The session's logits are forward's at the last of `count` tokens of the prompt, with these inputs besides, which are destroyed. */
static void assert_forward(const fixture *f, mm_session *s, size_t count, mm_tensor_map *in)
{
    mm_tensor_map *out = NULL;
    mm_tensor *t = NULL;
    const float *have = NULL, *want;
    double worst = 0, largest = 0;

    ok(f->ctx, mm_tensor_copy(f->ctx, MM_DTYPE_I32, 2, (int64_t[]){1, (int64_t)count}, f->prompt, &t));
    ok(f->ctx, mm_tensor_map_set(f->ctx, in, "input_ids", t));
    mm_tensor_release(t);
    ok(f->ctx, mm_model_forward(f->model, f->ctx, in, &out));
    want = (const float *)mm_tensor_const_data(mm_tensor_map_get(out, "logits")) + (count - 1) * VOCABULARY;
    ok(f->ctx, mm_session_logits(s, &have));
    for (size_t v = 0; v < VOCABULARY; v++) {
        worst = fmax(worst, fabs((double)have[v] - (double)want[v]));
        largest = fmax(largest, fabs((double)want[v]));
    }
    if (!(worst <= 1e-5 * largest)) fail_msg("logits behind %zu tokens differ by %g of %g", count, worst, largest);
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(out);
}

/* The same with so many pictures of the golden. */
static void assert_logits(const fixture *f, mm_session *s, size_t count, size_t pictures)
{
    int64_t shape[MM_TENSOR_MAX_RANK];
    mm_tensor_map *in = NULL;
    mm_tensor *t = NULL;

    ok(f->ctx, mm_tensor_map_create(f->ctx, &in));
    for (size_t i = 0; i < 3 && pictures; i++) {
        const mm_tensor *all = mm_tensor_map_get(f->golden, picture_inputs[i]);
        memcpy(shape, mm_tensor_shape(all), (size_t)mm_tensor_rank(all) * sizeof *shape);
        shape[1] = (int64_t)pictures;
        ok(f->ctx, mm_tensor_copy(f->ctx, mm_tensor_dtype(all), mm_tensor_rank(all), shape, mm_tensor_const_data(all), &t));
        ok(f->ctx, mm_tensor_map_set(f->ctx, in, picture_inputs[i], t));
        mm_tensor_release(t);
    }
    assert_forward(f, s, count, in);
}

/* Text, a picture, text, another picture, and back. Tokens before the first picture see all pictures there are. */
static void test_pictures_come_and_go(void **state)
{
    const fixture *f = *state;
    mm_session *s = session_of(f), *fork = NULL;

    ok(f->ctx, mm_session_append_tokens(s, f->prompt, 2));
    assert_logits(f, s, 2, 0);
    ok(f->ctx, append_picture(f, s, 0));
    ok(f->ctx, mm_session_append_tokens(s, f->prompt + 2, 1));
    assert_logits(f, s, 3, 1);
    ok(f->ctx, mm_session_append_tokens(s, f->prompt + 3, 3));
    assert_logits(f, s, 6, 1);
    ok(f->ctx, mm_session_fork(s, &fork));
    ok(f->ctx, append_picture(f, s, 1));
    ok(f->ctx, mm_session_append_tokens(s, f->prompt + 6, 2));
    assert_logits(f, s, 8, 2);
    ok(f->ctx, mm_session_append_tokens(s, f->prompt + 8, 1));
    assert_logits(f, s, 9, 2);
    ok(f->ctx, mm_session_rewind(s, 5));
    assert_logits(f, s, 5, 1);
    ok(f->ctx, mm_session_rewind(s, 2));
    assert_logits(f, s, 2, 0);
    ok(f->ctx, append_picture(f, s, 0));
    ok(f->ctx, append_picture(f, s, 1));
    ok(f->ctx, mm_session_append_tokens(s, f->prompt + 2, 7));
    assert_logits(f, s, 9, 2);

    assert_logits(f, fork, 6, 1); /* none of that is its own */
    ok(f->ctx, append_picture(f, fork, 1));
    ok(f->ctx, mm_session_append_tokens(fork, f->prompt + 6, 3));
    assert_logits(f, fork, 9, 2);
    mm_session_destroy(fork);
    mm_session_destroy(s);
}

/* From pixels on, through the image processor of the directory: one picture high, one wide. */
static void test_images(void **state)
{
    const fixture *f = *state;
    mm_session *s = session_of(f);
    mm_image *images[2] = {NULL, NULL};
    mm_tensor_map *in = NULL;
    uint8_t pixels[3 * 9 * 25];

    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * i * 7 % 251);
    ok(f->ctx, mm_image_create(f->ctx, 9, 25, pixels, &images[0]));
    ok(f->ctx, mm_image_create(f->ctx, 25, 9, pixels, &images[1]));
    for (size_t i = 0; i < 2; i++) ok(f->ctx, mm_session_append_image(s, images[i]));
    ok(f->ctx, mm_session_append_tokens(s, f->prompt, 9));
    ok(f->ctx, mmi_media_images(f->ctx, f->model, (const mm_image *const *)images, 2, &in, NULL));
    assert_non_null(mm_tensor_map_get(in, "num_tiles"));
    assert_forward(f, s, 9, in);
    mm_session_destroy(s);
    for (size_t i = 0; i < 2; i++) mm_image_destroy(images[i]);
}

static void test_wrong_numbers_of_pictures(void **state)
{
    const fixture *f = *state;
    mm_session *s = session_of(f);
    mm_tensor_map *in = NULL, *out = NULL;
    mm_tensor *t = NULL;
    static const int32_t high[] = {VOCABULARY + 8};

    ok(f->ctx, append_picture(f, s, 0));
    refused(f->ctx, mm_session_append_tokens(s, f->prompt, 2), MM_E_ARGUMENT, "0 tokens", "need 1", NULL);
    refused(f->ctx, mm_session_append_tokens(s, f->prompt, 9), MM_E_ARGUMENT, "2 tokens", "need 1", NULL);
    ok(f->ctx, mm_session_append_tokens(s, f->prompt, 3));
    refused(f->ctx, mm_session_append_tokens(s, high, 1), MM_E_ARGUMENT, "53", "52", NULL);
    assert_logits(f, s, 3, 1);
    mm_session_destroy(s);

    ok(f->ctx, mm_tensor_map_create(f->ctx, &in));
    for (size_t i = 0; i < 3; i++) ok(f->ctx, mm_tensor_map_set(f->ctx, in, picture_inputs[i], mm_tensor_map_get(f->golden, picture_inputs[i])));
    ok(f->ctx, mm_tensor_copy(f->ctx, MM_DTYPE_I32, 2, (int64_t[]){1, 5}, f->prompt, &t));
    ok(f->ctx, mm_tensor_map_set(f->ctx, in, "input_ids", t));
    mm_tensor_release(t);
    refused(f->ctx, mm_model_forward(f->model, f->ctx, in, &out), MM_E_ARGUMENT, "input_ids", "token 47 1 times", "2 pictures", NULL);
    ok(f->ctx, mm_tensor_copy(f->ctx, MM_DTYPE_I32, 4, (int64_t[]){1, 5, 2, TILES - 1}, (int32_t[5 * 2 * (TILES - 1)]){0}, &t));
    ok(f->ctx, mm_tensor_map_set(f->ctx, in, "cross_attention_mask", t));
    mm_tensor_release(t);
    refused(f->ctx, mm_model_forward(f->model, f->ctx, in, &out), MM_E_SHAPE, "cross_attention_mask", "[1, 5, 2, 2]", "[1, 5, 2, 3]", NULL);
    ok(f->ctx, mm_tensor_copy(f->ctx, MM_DTYPE_I32, 2, (int64_t[]){1, 1}, (int32_t[]){1}, &t));
    ok(f->ctx, mm_tensor_map_set(f->ctx, in, "aspect_ratio_ids", t));
    mm_tensor_release(t);
    refused(f->ctx, mm_model_forward(f->model, f->ctx, in, &out), MM_E_SHAPE, "aspect_ratio_ids [1, 1]", "expected [B, n, 3, 3, 12, 12]", NULL);
    mm_tensor_map_destroy(in);
}

static void test_absent_and_unknown_kinds(void **state)
{
    const fixture *f = *state;
    mm_tensor_map *in = NULL, *out = NULL;
    mm_tensor *t = NULL;

    ok(f->ctx, mm_tensor_map_create(f->ctx, &in));
    ok(f->ctx, mm_tensor_copy(f->ctx, MM_DTYPE_I32, 2, (int64_t[]){1, 9}, f->prompt, &t));
    ok(f->ctx, mm_tensor_map_set(f->ctx, in, "input_ids", t));
    mm_tensor_release(t);
    ok(f->ctx, mm_tensor_map_set(f->ctx, in, "pixel_values", mm_tensor_map_get(f->golden, "pixel_values")));
    refused(f->ctx, mm_model_forward(f->model, f->ctx, in, &out), MM_E_ARGUMENT, "aspect_ratio_ids is missing", NULL);
    ok(f->ctx, mm_tensor_map_set(f->ctx, in, "aspect_ratio_mask", mm_tensor_map_get(f->golden, "aspect_ratio_mask")));
    ok(f->ctx, mm_tensor_copy(f->ctx, MM_DTYPE_I32, 2, (int64_t[]){1, 2}, (int32_t[]){1, 6}, &t)); /* five kinds and none */
    ok(f->ctx, mm_tensor_map_set(f->ctx, in, "aspect_ratio_ids", t));
    mm_tensor_release(t);
    refused(f->ctx, mm_model_forward(f->model, f->ctx, in, &out), MM_E_ARGUMENT, "id 6", "0..5", "tile_positional_embedding", NULL);
    mm_tensor_map_destroy(in);
}

static void test_prompts(void **state)
{
    static const struct {
        const char *text, *want; /* NULL: refused */
    } cases[] = {{"hello", "<|image|><|image|>hello"},
                 {"a<|image|>b", "<|image|>a<|image|>b"},
                 {"<|image|>a<|image|>", "<|image|>a<|image|>"},
                 {"", "<|image|><|image|>"},
                 {"<|image|><|image|><|image|>", NULL}};
    const fixture *f = *state;
    mmi_medium media[2] = {{.tokens = 1}, {.tokens = 1}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmi_text out = {0};
        mm_status st = f->model->arch->write_prompt(f->ctx, f->model, cases[i].text, media, 2, &out);
        if (cases[i].want) {
            ok(f->ctx, st);
            assert_string_equal(out.data, cases[i].want);
        } else {
            refused(f->ctx, st, MM_E_ARGUMENT, "3 places", "2 of them", NULL);
        }
        mmi_text_clear(&out);
    }
}

/* Two pictures, generation, a fork that goes on, and one picture taken back. */
static mm_status scenario(const fixture *f)
{
    mm_session *s = NULL, *fork = NULL;
    mm_status st = mm_session_create(f->ctx, f->model, &s);

    if (!st) st = mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, 2);
    if (!st) st = mm_session_append_tokens(s, f->prompt, 2);
    if (!st) st = mm_session_generate(s, NULL, NULL, NULL);
    if (!st) st = mm_session_rewind(s, 2);
    if (!st) st = append_picture(f, s, 0);
    if (!st) st = append_picture(f, s, 1);
    if (!st) st = mm_session_append_tokens(s, f->prompt + 2, 7);
    if (!st) st = mm_session_generate(s, NULL, NULL, NULL);
    if (!st) st = mm_session_fork(s, &fork);
    if (!st) st = mm_session_rewind(fork, 5);
    if (!st) st = mm_session_set_i64(fork, MM_SESSION_BEAMS, 2);
    if (!st) st = mm_session_generate(fork, NULL, NULL, NULL);
    mm_session_destroy(fork);
    mm_session_destroy(s);
    return st;
}

static void test_out_of_memory(void **state)
{
    fixture *f = *state;
    long total, live;

    ok(f->ctx, scenario(f)); /* makes what the context keeps */
    live = f->allocator.live;
    f->allocator.count = 0;
    ok(f->ctx, scenario(f));
    total = f->allocator.count;
    assert_true(total > 200);
    for (long k = 1; k <= total; k++) {
        f->allocator.count = 0;
        f->allocator.fail_at = k;
        refused(f->ctx, scenario(f), MM_E_NOMEM, "out of memory", NULL);
        f->allocator.fail_at = 0;
        assert_int_equal(f->allocator.live, live);
    }
    ok(f->ctx, scenario(f));
}

/* A call that failed is made again, and the session is as if it had not. */
static void test_memory_comes_back(void **state)
{
    fixture *f = *state;

    for (long k = 1;; k++) {
        mm_session *s = session_of(f);
        const float *logits = NULL;
        mm_status st;
        ok(f->ctx, mm_session_append_tokens(s, f->prompt, 2));
        ok(f->ctx, mm_session_logits(s, &logits));
        ok(f->ctx, append_picture(f, s, 0));
        ok(f->ctx, mm_session_append_tokens(s, f->prompt + 2, 3));
        f->allocator.count = 0;
        f->allocator.fail_at = k;
        st = mm_session_logits(s, &logits);
        f->allocator.fail_at = 0;
        assert_logits(f, s, 5, 1);
        mm_session_destroy(s);
        if (!st) break;
        assert_true(k < 2000);
    }
}

/* Places 1, 2, 4, 7, 8: which of them each token sees. */
static void test_pictures_of_token(void **state)
{
    static const int32_t places[] = {1, 2, 4, 7, 8};
    static const size_t want[10][2] = {{0, 0}, {0, 1}, {0, 2}, {0, 2}, {2, 3}, {2, 3}, {2, 3}, {3, 4}, {3, 5}, {3, 5}};
    size_t first, end;
    (void)state;

    for (int32_t t = 0; t < 10; t++) {
        mmi_pictures_of_token(places, 5, t, &first, &end);
        assert_int_equal(first, want[t][0]);
        assert_int_equal(end, want[t][1]);
    }
    mmi_pictures_of_token(NULL, 0, 3, &first, &end);
    assert_int_equal(first, end);
}

static void test_tile_bias(void **state)
{
    const fixture *f = *state;
    static const int32_t tiles[] = {1, 0};
    mmi_graph *g = NULL;
    mmi_value in, out;
    const float *bias;

    ok(f->ctx, mmi_graph_create(f->ctx, &g));
    in = mmi_graph_input(g, "tiles", MM_DTYPE_I32, 2, (int64_t[]){1, 2});
    out = mmi_tile_bias(g, in, 3, 2);
    mmi_graph_output(g, "bias", out);
    ok(f->ctx, mmi_graph_plan(g));
    mmi_graph_bind(g, in, tiles);
    ok(f->ctx, mmi_graph_run(g, NULL));
    bias = mmi_graph_result(g, out);
    for (size_t q = 0; q < 6; q++)
        for (size_t k = 0; k < 6; k++) {
            if (q >= 2 && k >= 2) assert_true(bias[q * 6 + k] == -INFINITY);
            else assert_true(bias[q * 6 + k] == 0);
        }
    mmi_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_pictures_come_and_go, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_images, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_wrong_numbers_of_pictures, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_absent_and_unknown_kinds, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_prompts, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_memory_comes_back, setup, teardown),
                                       cmocka_unit_test(test_pictures_of_token),
                                       cmocka_unit_test_setup_teardown(test_tile_bias, setup, teardown)};
    return cmocka_run_group_tests_name("mllama", tests, NULL, NULL);
}
