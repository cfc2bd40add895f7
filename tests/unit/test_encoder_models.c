/* What the encoders answer beside their usual outputs: hidden states by name. SPDX-License-Identifier: MIT */
#include "model_fixture.h"

#include "forward.h"

/* Each "hidden_states.<k>" of a case's expected outputs, asked for by name, alone and together with another output. */
static void compare_states(mm_context *ctx, const char *name, const char *file, size_t expected)
{
    mm_model *m = open_golden(ctx, name);
    mm_tensor_map *in = read_golden(ctx, name, file, "in"), *want = read_golden(ctx, name, file, "out"), *have = NULL;
    const char *wanted[16] = {NULL};
    size_t n = 0;

    for (size_t i = 0; i < mm_tensor_map_count(want) && n < 15; i++)
        if (!strncmp(mm_tensor_map_name(want, i), "hidden_states.", 14)) wanted[n++] = mm_tensor_map_name(want, i);
    assert_int_equal(n, expected);
    for (size_t both = 0; both < 2; both++) {
        wanted[n] = both ? "last_hidden_state" : NULL;
        ok(ctx, mmi_forward(ctx, m, in, wanted, &have));
        assert_int_equal(mm_tensor_map_count(have), n + both);
        for (size_t i = 0; i < n; i++) {
            const mm_tensor *h = mm_tensor_map_get(have, wanted[i]), *w = mm_tensor_map_get(want, wanted[i]);
            double error;
            assert_same_shape(wanted[i], h, w);
            error = relative_error(h, w, mm_tensor_map_get(in, "attention_mask"));
            if (!(error <= EXACT)) fail_msg("%s %s %s: relative error %g", name, file, wanted[i], error);
        }
        mm_tensor_map_destroy(have);
    }
    ok(ctx, mmi_forward(ctx, m, in, NULL, &have)); /* never unasked */
    for (size_t i = 0; i < mm_tensor_map_count(have); i++) assert_null(strchr(mm_tensor_map_name(have, i), '.'));
    mm_tensor_map_destroy(have);
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(want);
    mm_model_release(m);
}

static void test_hidden_states(void **state)
{
    static const struct {
        const char *name, *file;
        size_t states;
    } cases[] = {{"roberta", "len7", 3},        {"distilbert", "len7", 3},         {"bert_mlm", "len7", 3},
                 {"deit", "b1_24x24", 3},       {"dinov2_registers", "b1_24x24", 3}, {"clip_vision", "b1_24x24", 3},
                 {"clip_vision_projection", "b1_24x24", 3}, {"siglip_vision", "b1_24x24", 3}, {"siglip2_vision", "sizes", 3},
                 {"clip_text", "len7", 3},      {"siglip_text", "full", 2}};
    mm_context *ctx = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) compare_states(ctx, cases[i].name, cases[i].file, cases[i].states);
    mm_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hidden_states)};
    return cmocka_run_group_tests_name("encoder_models", tests, NULL, NULL);
}
