/* mm_model_open_quantized: tiny models of each family beside what transformers computes in float32, the same bits at every level with any number of
 * threads, what is left as it is, and what is refused. SPDX-License-Identifier: MIT */
#include "formats_fixture.h"

#include <math.h>

#include "cpu.h"
#include "mm_model.h"

#define MODELS "tests/golden/models/"

/* Of an output with float32's, all its elements as one vector. llama_bf16 has 0.9988 with either type, all others more than 0.999: weights are random and
 * layers of 32 to 64 columns, in which single roundings count. */
static const double LEAST_COSINE = 0.998;

static const struct {
    const char *name, *file;
} cases[] = {{"llama_bf16", "len70"}, {"llama_sharded", "len7"}, {"phi3", "len70"},    {"gpt2", "len70"},       {"bert", "len70"},        {"clip_text", "len7"},
             {"siglip_text", "full"}, {"vit", "b2_32x32"},       {"dinov2", "b2_28x42"}, {"whisper", "two"},     {"llava_vit", "two"},     {"idefics3", "tiles"},
             {"smolvlm", "tiles"},   {"paligemma", "prefix"},   {"qwen2_vl", "images"}, {"mm_decoder", "two"}, {"mm_from", "one"}};
static const int32_t types[] = {MM_DTYPE_Q8_0, MM_DTYPE_Q8_ROW};

static void ok(mm_context *ctx, mm_status st)
{
    if (st) fail_msg("%s: %s", mm_status_name(st), mm_context_error(ctx));
}

static mm_model *open_as(mm_context *ctx, const char *name, int32_t dtype)
{
    char path[192];
    mm_model *m = NULL;

    (void)snprintf(path, sizeof path, MODELS "%s", name);
    ok(ctx, dtype ? mm_model_open_quantized(ctx, path, NULL, dtype, &m) : mm_model_open(ctx, path, &m));
    assert_non_null(m);
    return m;
}

static mm_tensor_map *read_map(mm_context *ctx, const char *name, const char *file, const char *suffix)
{
    char path[192];
    mm_tensor_map *map = NULL;

    (void)snprintf(path, sizeof path, MODELS "%.*s/%s.%s.safetensors", (int)strcspn(name, "/"), name, file, suffix);
    ok(ctx, mm_tensor_map_read(ctx, path, &map));
    return map;
}

static mm_tensor_map *run(mm_context *ctx, const mm_model *m, const char *name, const char *file)
{
    mm_tensor_map *in = read_map(ctx, name, file, "in"), *out = NULL;

    ok(ctx, mm_model_forward(m, ctx, in, &out));
    mm_tensor_map_destroy(in);
    return out;
}

/* What a context makes once is made. */
static int setup_warm(void **state)
{
    int failed = setup(state);
    fixture *f = *state;
    mm_model *m = open_as(f->ctx, "gpt2", 0);

    mm_tensor_map_destroy(run(f->ctx, m, "gpt2", "len6"));
    mm_model_release(m);
    f->used = used_now(f);
    return failed;
}

static double cosine(const mm_tensor *a, const mm_tensor *b)
{
    const float *x = mm_tensor_const_data(a), *y = mm_tensor_const_data(b);
    double xy = 0, xx = 0, yy = 0;

    assert_int_equal(mm_tensor_elements(a), mm_tensor_elements(b));
    for (int64_t i = 0; i < mm_tensor_elements(a); i++) {
        xy += (double)x[i] * (double)y[i];
        xx += (double)x[i] * (double)x[i];
        yy += (double)y[i] * (double)y[i];
    }
    return xy / sqrt(xx * yy);
}

static int64_t weight_bytes(const mm_model *m)
{
    int64_t n = 0;
    assert_int_equal(mm_model_get_i64(m, MM_MODEL_WEIGHT_BYTES, &n), MM_OK);
    return n;
}

static void test_families(void **state)
{
    mm_context *ctx = ((fixture *)*state)->ctx;
    double least = 1;

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        mm_model *plain = open_as(ctx, cases[c].name, 0);
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            mm_model *m = open_as(ctx, cases[c].name, types[t]);
            mm_tensor_map *want = read_map(ctx, cases[c].name, cases[c].file, "out"), *have = run(ctx, m, cases[c].name, cases[c].file);
            int compared = 0, off = 0;

            assert_non_null(strstr(mm_model_get_str(m, MM_MODEL_DTYPES), mm_dtype_name(types[t])));
            /* Q8_ROW fills rows to 64 columns: those of 32 are as large as in 16 bits. */
            if (types[t] == MM_DTYPE_Q8_0 || strstr(mm_model_get_str(plain, MM_MODEL_DTYPES), "F32")) assert_true(weight_bytes(m) < weight_bytes(plain));
            for (size_t i = 0; i < mm_tensor_map_count(want); i++) {
                const mm_tensor *w = mm_tensor_map_at(want, i), *h = mm_tensor_map_get(have, mm_tensor_map_name(want, i));
                double like;
                if (!h || mm_tensor_dtype(w) != MM_DTYPE_F32) continue;
                like = cosine(h, w);
                if (!(like >= LEAST_COSINE)) fail_msg("%s as %s: cosine of %s is %.6f", cases[c].name, mm_dtype_name(types[t]), mm_tensor_map_name(want, i), like);
                least = fmin(least, like);
                off |= like < 1 - 1e-9;
                compared++;
            }
            assert_true(compared && off); /* and it was quantized */
            mm_tensor_map_destroy(want);
            mm_tensor_map_destroy(have);
            mm_model_release(m);
        }
        mm_model_release(plain);
    }
    print_message("least cosine %.6f\n", least);
}

static void assert_same(const mm_tensor_map *a, const mm_tensor_map *b)
{
    assert_true(mm_tensor_map_count(a) > 0);
    for (size_t i = 0; i < mm_tensor_map_count(a); i++) {
        const mm_tensor *x = mm_tensor_map_at(a, i), *y = mm_tensor_map_get(b, mm_tensor_map_name(a, i));
        assert_int_equal(mm_tensor_bytes(x), mm_tensor_bytes(y));
        assert_memory_equal(mm_tensor_const_data(x), mm_tensor_const_data(y), mm_tensor_bytes(x));
    }
}

static void test_threads(void **state)
{
    (void)state;
    for (int level = 0; level <= mmi_cpu_best_level(); level++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++)
            for (size_t c = 0; c < 2; c++) {
                static const char *const names[2][2] = {{"dinov2", "b2_28x42"}, {"whisper", "two"}};
                mm_tensor_map *first = NULL;
                for (int64_t threads = 1; threads <= 3; threads++) {
                    mm_context *ctx = NULL;
                    mm_model *m;
                    mm_tensor_map *out;
                    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
                    ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_CPU_LEVEL, level));
                    ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_THREADS, threads));
                    m = open_as(ctx, names[c][0], types[t]);
                    out = run(ctx, m, names[c][0], names[c][1]);
                    if (first) assert_same(first, out);
                    else first = out;
                    if (out != first) mm_tensor_map_destroy(out);
                    mm_model_release(m);
                    mm_context_destroy(ctx);
                }
                mm_tensor_map_destroy(first);
            }
}

/* What a file has quantized already stays as it is. */
static void test_untouched(void **state)
{
    mm_context *ctx = ((fixture *)*state)->ctx;
    static const char name[] = "gguf_q4_0/model.gguf";

    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        mm_model *plain = open_as(ctx, name, 0), *m = open_as(ctx, name, types[t]);
        mm_tensor_map *a = run(ctx, plain, name, "len7"), *b = run(ctx, m, name, "len7");
        if (!strstr(mm_model_get_str(plain, MM_MODEL_DTYPES), "F32")) assert_same(a, b);
        assert_string_equal(mm_model_get_str(plain, MM_MODEL_DTYPES), mm_model_get_str(m, MM_MODEL_DTYPES));
        mm_tensor_map_destroy(a);
        mm_tensor_map_destroy(b);
        mm_model_release(plain);
        mm_model_release(m);
    }
}

static void test_refused(void **state)
{
    fixture *f = *state;
    static const int32_t others[] = {MM_DTYPE_F32, MM_DTYPE_BF16, MM_DTYPE_Q4_0, -1, 99};
    const int64_t shape[] = {16, 32};
    mm_model *m = NULL;
    mm_tensor *tensor = NULL;

    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(mm_model_open_quantized(f->ctx, MODELS "bert", NULL, others[i], &m), MM_E_DTYPE);
        assert_null(m);
        assert_sentence(f, mm_dtype_name(others[i]));
    }
    assert_int_equal(mm_model_open_quantized(f->ctx, NULL, NULL, MM_DTYPE_Q8_0, &m), MM_E_ARGUMENT);
    assert_int_equal(mm_model_open_quantized(NULL, MODELS "bert", NULL, MM_DTYPE_Q8_0, &m), MM_E_ARGUMENT);
    assert_int_equal(mm_model_open_quantized(f->ctx, MODELS "no_such", NULL, MM_DTYPE_Q8_0, &m), MM_E_NOT_FOUND);
    assert_int_equal(mm_tensor_create(f->ctx, MM_DTYPE_Q8_ROW, 2, shape, &tensor), MM_E_ARGUMENT);
    m = open_as(f->ctx, "bert", MM_DTYPE_Q8_ROW);
    assert_int_equal(mm_model_save(m, f->ctx, f->path, MM_SAVE_AS_IS), MM_E_UNSUPPORTED);
    mm_model_release(m);
}

static mm_status open_row(mm_context *ctx, const char *path)
{
    mm_model *m = NULL;
    mm_status st = mm_model_open_quantized(ctx, path, NULL, MM_DTYPE_Q8_ROW, &m);
    mm_model_release(m);
    return st;
}

static mm_status open_blocks(mm_context *ctx, const char *path)
{
    mm_model *m = NULL;
    mm_status st = mm_model_open_quantized(ctx, path, NULL, MM_DTYPE_Q8_0, &m);
    mm_model_release(m);
    return st;
}

static void test_out_of_memory(void **state)
{
    fixture *f = *state;
    visit_out_of_memory(f, open_row, MODELS "dinov2");
    visit_out_of_memory(f, open_blocks, MODELS "clip");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_families, setup_warm, teardown),
        cmocka_unit_test(test_threads),
        cmocka_unit_test_setup_teardown(test_untouched, setup_warm, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup_warm, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup_warm, teardown),
    };
    return cmocka_run_group_tests_name("quantized_open", tests, NULL, NULL);
}
