/* Attention by name against transformers' (tests/golden/make_attentions.py). SPDX-License-Identifier: MIT */
#include "model_fixture.h"

#include "attention_op.h"
#include "forward.h"
#include "plan.h"
#include "run.h"

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

/* The weights, multiplied by the values, are what attention gives. */

enum { B = 2, T = 9, S = 13, H = 4, K = 2, D = 8, E = 5 };

static void fill(float *p, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) p[i] = (float)((seed = seed * 1664525 + 1013904223) >> 8) / (1 << 23) - 1;
}

static void sum_values(mm_context *ctx, const char *what, mmi_attention_spec spec, int64_t batch, int64_t queries, int64_t keys, const int32_t *segments,
                       const float *bias)
{
    static float q[B * T * H * D], k[B * S * K * D], v[B * S * K * E];
    mmi_graph *g = NULL;
    mmi_value in[5] = {0}, out;
    const float *weights = NULL, *mean = NULL, *sum;

    fill(q, B * T * H * D, 1);
    fill(k, B * S * K * D, 2);
    fill(v, B * S * K * E, 3);
    assert_int_equal(mmi_graph_create(ctx, &g), MM_OK);
    in[0] = mmi_graph_input(g, "q", MM_DTYPE_F32, 4, (int64_t[]){batch, queries, H, D});
    in[1] = mmi_graph_input(g, "k", MM_DTYPE_F32, 4, (int64_t[]){batch, keys, K, D});
    in[2] = mmi_graph_input(g, "v", MM_DTYPE_F32, 4, (int64_t[]){batch, keys, K, E});
    if (segments) spec.segments = in[3] = mmi_graph_input(g, "segments", MM_DTYPE_I32, 1, (int64_t[]){3});
    if (bias) spec.bias = in[4] = mmi_graph_input(g, "bias", MM_DTYPE_F32, 4, (int64_t[]){1, H, 1, keys});
    spec.weights = "weights";
    spec.mean_weights = "mean";
    out = mmi_attention(g, in[0], in[1], in[2], &spec);
    mmi_graph_output(g, "out", out);
    ok(ctx, mmi_graph_plan(g));
    mmi_graph_bind(g, in[0], q);
    mmi_graph_bind(g, in[1], k);
    mmi_graph_bind(g, in[2], v);
    if (segments) mmi_graph_bind(g, in[3], segments);
    if (bias) mmi_graph_bind(g, in[4], bias);
    ok(ctx, mmi_graph_run(g, NULL));
    for (size_t i = 1; i < g->n_values; i++) {
        if (g->values[i].is_output && !strcmp(g->values[i].name, "weights")) weights = mmi_graph_result(g, (mmi_value)i);
        if (g->values[i].is_output && !strcmp(g->values[i].name, "mean")) mean = mmi_graph_result(g, (mmi_value)i);
    }
    assert_true(weights && mean);
    sum = mmi_graph_result(g, out);
    for (int64_t b = 0; b < batch; b++)
        for (int64_t t = 0; t < queries; t++) {
            double average[S] = {0};
            for (int64_t h = 0; h < H; h++) {
                const float *w = weights + ((b * H + h) * queries + t) * keys;
                for (int64_t s = 0; s < keys; s++) average[s] += (double)w[s] / H;
                for (int64_t e = 0; e < E; e++) {
                    double want = 0;
                    for (int64_t s = 0; s < keys; s++) want += (double)w[s] * (double)v[((b * keys + s) * K + h / (H / K)) * E + e];
                    if (!(fabs(want - (double)sum[((b * queries + t) * H + h) * E + e]) <= 1e-5)) fail_msg("%s: row %lld of head %lld", what, (long long)t, (long long)h);
                }
            }
            for (int64_t s = 0; s < keys; s++) assert_true(fabs(average[s] - (double)mean[(b * queries + t) * keys + s]) <= 1e-6);
        }
    mmi_graph_destroy(g);
}

static void test_sums(void **state)
{
    const mmi_attention_spec plain = {.scale = 1.5f}, causal = {.scale = 1.5f, .causal = 1}, window = {.scale = 1.5f, .causal = 1, .window = 3, .softcap = 2};
    float bias[H * S];
    mm_context *ctx = NULL;
    (void)state;

    fill(bias, H * S, 4);
    for (size_t h = 0; h < H; h++) bias[h * S + 2 * h] = -INFINITY;
    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    sum_values(ctx, "plain", plain, B, T, S, NULL, NULL);
    sum_values(ctx, "causal", causal, B, T, S, NULL, NULL); /* the last T of S tokens ask */
    sum_values(ctx, "window", window, B, T, S, NULL, NULL);
    sum_values(ctx, "bias", plain, B, T, S, NULL, bias);
    sum_values(ctx, "segments", plain, 1, T, T, (const int32_t[]){0, 4, 9}, NULL);
    sum_values(ctx, "causal segments", causal, 1, T, T, (const int32_t[]){0, 4, 9}, NULL);
    for (size_t i = 0; i < H * S; i++) bias[i] = -INFINITY; /* who sees nothing sums nothing */
    sum_values(ctx, "hidden", plain, B, T, S, NULL, bias);
    mm_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_attentions), cmocka_unit_test(test_sums)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
