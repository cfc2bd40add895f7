/* Sessions against transformers' generate: greedy and beam search with the scores it gives, from tokens and from the media of tiny checkpoints, which
 * are handed over as their processors would make them. SPDX-License-Identifier: MIT */
#include "model_fixture.h"

#include <glob.h>

#include "session.h"
#include "session_media.h"

enum { LEAST_BEAMS = 15, LEAST_MEDIA = 18 };

static int32_t number(const mm_tensor_map *map, const char *name) { return *(const int32_t *)mm_tensor_const_data(mm_tensor_map_get(map, name)); }

static const char *const no_media[] = {"prompt_ids", "input_ids",       "decoder_input_ids", "num_beams",       "length_penalty", "early_stopping",
                                       "sequences",  "sequences_scores", "max_new_tokens",    "generated_ids", "attention_mask", "end"};

static int is_medium(const char *name)
{
    for (size_t i = 0; i < sizeof no_media / sizeof *no_media; i++)
        if (!strcmp(name, no_media[i])) return 0;
    return 1;
}

/* What the case holds besides its ids, as one medium. */
static void append_media(mm_context *ctx, mm_session *s, const mm_tensor_map *map)
{
    mmi_medium medium = {0};
    size_t n = 0;

    ok(ctx, mm_tensor_map_create(ctx, &medium.inputs));
    for (size_t i = 0; i < mm_tensor_map_count(map); i++) {
        if (!is_medium(mm_tensor_map_name(map, i))) continue;
        if (strstr(mm_tensor_map_name(map, i), "video")) medium.modality = MMI_VIDEO;
        ok(ctx, mm_tensor_map_set(ctx, medium.inputs, mm_tensor_map_name(map, i), mm_tensor_map_at(map, i)));
        n++;
    }
    if (n) {
        ok(ctx, mmi_session_append_medium(s, (const uint64_t[2]){1, 2}, &medium));
    } else {
        mm_tensor_map_destroy(medium.inputs);
    }
}

static void append_ids(mm_context *ctx, mm_session *s, const mm_tensor_map *map, const char *name)
{
    const mm_tensor *t = mm_tensor_map_get(map, name);
    if (t) ok(ctx, mm_session_append_tokens(s, mm_tensor_const_data(t), (size_t)mm_tensor_elements(t)));
}

static void search(mm_context *ctx, const char *name, const char *file)
{
    mm_model *model = open_golden(ctx, name);
    mm_tensor_map *map = read_golden(ctx, name, file, "beams");
    const mm_tensor *want = mm_tensor_map_get(map, "sequences"), *scores = mm_tensor_map_get(map, "sequences_scores");
    const int32_t *expected = mm_tensor_const_data(want), *ids = NULL;
    size_t width = (size_t)mm_tensor_shape(want)[1], count = 0;
    mm_session *s = NULL;
    double score = 0;

    ok(ctx, mm_session_create(ctx, model, &s));
    ok(ctx, mm_session_set_i64(s, MM_SESSION_KV_TYPE, MM_DTYPE_F32));
    ok(ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, number(map, "max_new_tokens")));
    ok(ctx, mm_session_set_i64(s, MM_SESSION_BEAMS, number(map, "num_beams")));
    ok(ctx, mm_session_set_i64(s, MM_SESSION_EARLY_STOPPING, number(map, "early_stopping")));
    ok(ctx, mm_session_set_f64(s, MM_SESSION_LENGTH_PENALTY, (double)*(const float *)mm_tensor_const_data(mm_tensor_map_get(map, "length_penalty"))));
    append_media(ctx, s, map);
    append_ids(ctx, s, map, "input_ids");
    append_ids(ctx, s, map, "prompt_ids");
    ok(ctx, mm_session_generate(s, NULL, NULL, NULL));
    for (size_t b = 0; b < (size_t)mm_tensor_shape(want)[0]; b++) {
        double expected_score = (double)((const float *)mm_tensor_const_data(scores))[b];
        size_t n = 0;
        while (n < width && expected[b * width + n] >= 0) n++;
        if (mm_session_beam(s, b, &ids, &count, &score)) fail_msg("%s %s: sequence %zu was not found", name, file, b);
        if (count != n || memcmp(ids, expected + b * width, n * sizeof *ids)) fail_msg("%s %s: sequence %zu is another (%zu of %zu ids)", name, file, b, count, n);
        if (fabs(score - expected_score) > 1e-4 * fabs(expected_score)) fail_msg("%s %s: sequence %zu scores %g, expected %g", name, file, b, score, expected_score);
        if (!b) assert_memory_equal(mm_session_tokens(s) + mm_session_length(s) - n, ids, n * sizeof *ids); /* the best is the text */
    }
    assert_int_equal(mm_session_beam(s, (size_t)number(map, "num_beams"), &ids, &count, &score), MM_E_ARGUMENT);
    mm_session_destroy(s);
    mm_tensor_map_destroy(map);
    mm_model_release(model);
}

static void generate(mm_context *ctx, const char *name, const char *file)
{
    for (int64_t type = MM_DTYPE_F32; type <= MM_DTYPE_F16; type++) {
        mm_model *model = open_golden(ctx, name);
        mm_tensor_map *map = read_golden(ctx, name, file, "media");
        const mm_tensor *want = mm_tensor_map_get(map, "generated_ids");
        size_t count = (size_t)mm_tensor_elements(want), before;
        mm_session *s = NULL, *fork = NULL;
        const float *logits = NULL;

        ok(ctx, mm_session_create(ctx, model, &s));
        ok(ctx, mm_session_set_i64(s, MM_SESSION_KV_TYPE, type));
        ok(ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, (int64_t)count));
        append_media(ctx, s, map);
        append_ids(ctx, s, map, "input_ids");
        append_ids(ctx, s, map, "prompt_ids");
        ok(ctx, mm_session_logits(s, &logits)); /* reads the prompt */
        before = mm_session_length(s);
        ok(ctx, mm_session_fork(s, &fork));
        for (int i = 0; i < 2; i++) { /* a fork goes on alike */
            mm_session *g = i ? fork : s;
            ok(ctx, mm_session_generate(g, NULL, NULL, NULL));
            assert_int_equal(mm_session_length(g), before + count);
            for (size_t t = 0; t < count; t++)
                if (mm_session_tokens(g)[before + t] != ((const int32_t *)mm_tensor_const_data(want))[t])
                    fail_msg("%s %s: generated token %zu is %d, expected %d", name, file, t, mm_session_tokens(g)[before + t],
                             ((const int32_t *)mm_tensor_const_data(want))[t]);
        }
        if (!strncmp(name, "mllama", 6)) { /* placeholders: set_tokens gives media their places as append_tokens does, and refuses those without */
            const mm_tensor *prompt = mm_tensor_map_get(map, "prompt_ids");
            size_t n = (size_t)mm_tensor_elements(prompt);
            ok(ctx, mm_session_rewind(s, 0));
            refused(ctx, mm_session_set_tokens(s, mm_tensor_const_data(prompt), n), MM_E_ARGUMENT, "the text has", NULL);
            assert_int_equal(mm_session_length(s), 0);
            append_media(ctx, s, map);
            ok(ctx, mm_session_set_tokens(s, mm_tensor_const_data(prompt), n));
            ok(ctx, mm_session_generate(s, NULL, NULL, NULL));
            assert_int_equal(mm_session_length(s), n + count);
            assert_memory_equal(mm_session_tokens(s) + n, mm_tensor_const_data(want), count * sizeof(int32_t));
        }
        mm_session_destroy(fork);
        mm_session_destroy(s);
        mm_tensor_map_destroy(map);
        mm_model_release(model);
    }
}

static size_t for_each_line(mm_context *ctx, const char *pattern, void (*fn)(mm_context *ctx, const char *name, const char *file))
{
    glob_t files;
    char line[192], name[64], file[64];
    size_t n = 0;

    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        FILE *list = fopen(files.gl_pathv[i], "r");
        assert_non_null(list);
        for (; fgets(line, sizeof line, list); n++) {
            assert_int_equal(sscanf(line, "%63s %63s", name, file), 2);
            fn(ctx, name, file);
        }
        (void)fclose(list);
    }
    globfree(&files);
    return n;
}

static void test_beams_equal_transformers(void **state)
{
    mm_context *ctx = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    assert_true(for_each_line(ctx, MODELS "*.beams.txt", search) >= LEAST_BEAMS);
    mm_context_destroy(ctx);
}

static void test_media_equal_transformers(void **state)
{
    mm_context *ctx = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    assert_true(for_each_line(ctx, MODELS "*.media.txt", generate) >= LEAST_MEDIA);
    mm_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_beams_equal_transformers), cmocka_unit_test(test_media_equal_transformers)};
    return cmocka_run_group_tests_name("golden_sessions", tests, NULL, NULL);
}
