/* Attention by name against transformers' (tests/golden/make_attentions.py). SPDX-License-Identifier: MIT */
#include "model_fixture.h"

#include "forward.h"

enum { MOST = 8 };

static void compare(mm_context *ctx, const char *name, const char *file)
{
    char path[256];
    mm_model *m = open_golden(ctx, name);
    mm_tensor_map *in = read_golden(ctx, name, file, "in"), *want = NULL, *have = NULL;
    const char *wanted[MOST + 1] = {NULL};
    size_t n;

    (void)snprintf(path, sizeof path, "tests/golden/attentions/%s.%s.safetensors", name, file);
    ok(ctx, mm_tensor_map_read(ctx, path, &want));
    n = mm_tensor_map_count(want);
    assert_true(n > 0 && n <= MOST);
    for (size_t i = 0; i < n; i++) wanted[i] = mm_tensor_map_name(want, i);
    ok(ctx, mmi_forward(ctx, m, in, wanted, &have));
    if (mm_tensor_map_count(have) != n) fail_msg("%s %s: %zu outputs, %zu were asked for", name, file, mm_tensor_map_count(have), n);
    for (size_t i = 0; i < n; i++) {
        const mm_tensor *a = mm_tensor_map_get(have, wanted[i]), *b = mm_tensor_map_get(want, wanted[i]);
        const float *x = mm_tensor_const_data(a), *y = mm_tensor_const_data(b);
        double worst = 0;
        assert_same_shape(wanted[i], a, b);
        for (int64_t k = 0; k < mm_tensor_elements(b); k++) worst = fmax(worst, isfinite(x[k]) ? fabs((double)x[k] - (double)y[k]) : INFINITY);
        if (!(worst <= 1e-5)) fail_msg("%s %s %s: off by %g", name, file, wanted[i], worst);
    }
    mm_tensor_map_destroy(have);
    mm_tensor_map_destroy(want);
    mm_tensor_map_destroy(in);
    mm_model_release(m);
}

static void test_attentions(void **state)
{
    static const char *const cases[][2] = {
        {"roberta", "pad_right"}, {"deit", "b1_24x24"},     {"dinov2_registers", "b1_24x24"}, {"siglip2_vision", "sizes"}, {"siglip_vision", "b1_24x24"},
        {"clip", "both"},         {"llama_gqa", "len7"},    {"gpt2", "len6"},                 {"gemma2", "len70"},         {"gemma3", "len70"},
        {"mistral", "len70"},     {"t5_relu", "padded"},    {"bart", "padded"},               {"whisper", "one"},          {"ved_bert", "padded"},
        {"llava_clip", "two"},    {"paligemma", "prefix"},  {"blip_caption", "padded"},       {"blip_answer", "padded"}};
    mm_context *ctx = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) compare(ctx, cases[i][0], cases[i][1]);
    mm_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_attentions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
