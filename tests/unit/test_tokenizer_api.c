/* include/mm_tokenizer.h through src/api/tokenizer_api.c and src/tokenizer/tokenizer_file.c: every kind of path, ownership,
 * and arguments that cannot be. SPDX-License-Identifier: MIT */
#include "mm_tokenizer.h"
#include "tokenizer_fixture.h"

static mm_tokenizer *open_path(fixture *f, const char *path)
{
    mm_tokenizer *t = NULL;
    if (mm_tokenizer_open(f->ctx, path, &t)) fail_msg("%s", f->ctx->error);
    return t;
}

static void test_open(void **state)
{
    fixture *f = *state;
    char path[128];
    size_t n = 0;
    char *bytes = read_golden(f, GOLDEN "bert.json", &n);
    static const char config[] = "{\"sep_token\":\"[SEP]\"}";
    mm_tokenizer *t = open_path(f, GOLDEN "bert.json");

    assert_int_equal(mm_tokenizer_special(t, MM_TOKEN_SEP), -1);
    assert_int_equal(mm_tokenizer_special(t, MM_TOKEN_UNK), 1);
    assert_int_equal(mm_tokenizer_special(t, 7), -1);
    assert_int_equal(mm_tokenizer_special(t, -1), -1);
    assert_int_equal(mm_tokenizer_truncation(t), 16);
    mm_tokenizer_release(t);
    (void)snprintf(path, sizeof path, "%s/tokenizer.json", f->folder);
    write_file(path, bytes, n);
    mmi_free(bytes);
    (void)snprintf(path, sizeof path, "%s/tokenizer_config.json", f->folder);
    write_file(path, config, sizeof config - 1);
    t = open_path(f, f->folder);
    assert_int_equal(mm_tokenizer_special(t, MM_TOKEN_SEP), 3);
    mm_tokenizer_release(t);
    (void)snprintf(path, sizeof path, "%s/tokenizer.json", f->folder);
    t = open_path(f, path);
    assert_int_equal(mm_tokenizer_special(t, MM_TOKEN_SEP), 3); /* the file beside it */
    mm_tokenizer_release(t);
    t = open_path(f, GOLDEN "bert.gguf");
    assert_int_equal(mm_tokenizer_special(t, MM_TOKEN_SEP), 3);
    mm_tokenizer_release(t);

    assert_int_equal(mm_tokenizer_open(f->ctx, "tests/golden", &t), MM_E_NOT_FOUND);
    assert_null(t);
    assert_sentence(f, "tests/golden/tokenizer.json");
    assert_int_equal(mm_tokenizer_open(f->ctx, "no/such.gguf", &t), MM_E_NOT_FOUND);
    assert_int_equal(mm_tokenizer_open(f->ctx, "", &t), MM_E_NOT_FOUND);
    assert_int_equal(mm_tokenizer_open(f->ctx, GOLDEN "torture.txt", &t), MM_E_FORMAT);
    assert_int_equal(mm_tokenizer_open(f->ctx, NULL, &t), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_open(f->ctx, "x", NULL), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_open(NULL, "x", &t), MM_E_ARGUMENT);
}

static void test_round_trip(void **state)
{
    fixture *f = *state;
    mm_tokenizer *t = open_path(f, GOLDEN "smollm.json");
    mm_token_decoder *d = NULL;
    mmi_text pieces = {0};
    int32_t *ids = NULL, *types = NULL;
    size_t count = 0, size = 0;
    char *text = NULL;
    static const char line[] = "Hi \xF0\x9F\x91\x8D<|im_end|>\0!";

    assert_int_equal(mm_tokenizer_encode(t, f->ctx, line, sizeof line - 1, MM_TOKENS_PARSE_SPECIAL, &ids, &count), MM_OK);
    assert_true(count > 5);
    assert_int_equal(ids[count - 3], mm_tokenizer_find(t, "<|im_end|>", 10));
    assert_int_equal(mm_tokenizer_is_special(t, ids[count - 3]), 1);
    assert_int_equal(mm_tokenizer_is_special(t, ids[0]), 0);
    assert_int_equal(mm_tokenizer_decode(t, f->ctx, ids, count, 0, &text, &size), MM_OK);
    assert_int_equal(size, sizeof line - 1);
    assert_memory_equal(text, line, size + 1);
    mm_text_free(text);
    assert_int_equal(mm_tokenizer_decode(t, f->ctx, ids, count, MM_TOKENS_SKIP_SPECIAL, &text, &size), MM_OK);
    assert_int_equal(size, sizeof line - 1 - 10);
    mm_text_free(text);

    assert_int_equal(mm_token_decoder_create(t, f->ctx, 0, &d), MM_OK);
    mm_tokenizer_release(t); /* the decoder holds it */
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(mm_token_decoder_push(d, f->ctx, ids[i], &text, &size), MM_OK);
        assert_int_equal(text[size], 0);
        assert_int_equal(mmi_utf8_valid(text, size), size);
        assert_int_equal(mmi_text_append(f->ctx, &pieces, text, size), 0);
        mm_text_free(text);
    }
    assert_int_equal(mm_token_decoder_finish(d, f->ctx, &text, &size), MM_OK);
    assert_string_equal(text, "");
    mm_text_free(text);
    assert_int_equal(pieces.size, sizeof line - 1);
    assert_memory_equal(pieces.data, line, pieces.size);
    mm_token_decoder_destroy(d);
    mmi_text_clear(&pieces);
    mm_ids_free(ids);

    t = open_path(f, GOLDEN "bert.json");
    assert_int_equal(mm_tokenizer_encode_pair(t, f->ctx, "a", 1, NULL, 0, MM_TOKENS_ADD_SPECIAL, &ids, &types, &count), MM_OK);
    assert_int_equal(count, 4); /* [CLS] a [SEP] [SEP] */
    assert_int_equal(types[2], 0);
    assert_int_equal(types[3], 1);
    assert_string_equal(mm_tokenizer_token(t, ids[0], &size), "[CLS]");
    assert_int_equal(size, 5);
    assert_null(mm_tokenizer_token(t, mm_tokenizer_size(t), NULL));
    mm_ids_free(ids);
    mm_ids_free(types);
    assert_int_equal(mm_tokenizer_encode(t, f->ctx, NULL, 0, 0, &ids, &count), MM_OK);
    assert_int_equal(count, 0);
    assert_non_null(ids);
    mm_ids_free(ids);
    assert_int_equal(mm_tokenizer_decode(t, f->ctx, NULL, 0, 0, &text, &size), MM_OK);
    assert_string_equal(text, "");
    mm_text_free(text);
    mm_tokenizer_retain(t);
    mm_tokenizer_release(t);
    mm_tokenizer_release(t);
}

static void test_arguments(void **state)
{
    fixture *f = *state;
    mm_tokenizer *t = open_path(f, GOLDEN "bert.json");
    mm_token_decoder *d = NULL;
    int32_t *ids = NULL, *types = NULL, one = 1;
    size_t n = 9;
    char *text = NULL;

    assert_int_equal(mm_tokenizer_encode(NULL, f->ctx, "a", 1, 0, &ids, &n), MM_E_ARGUMENT);
    assert_int_equal(n, 0);
    assert_int_equal(mm_tokenizer_encode(t, NULL, "a", 1, 0, &ids, &n), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_encode(t, f->ctx, NULL, 1, 0, &ids, &n), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_encode(t, f->ctx, "a", 1, 0, NULL, &n), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_encode(t, f->ctx, "a", 1, MM_TOKENS_SKIP_SPECIAL, &ids, &n), MM_E_ARGUMENT);
    assert_sentence(f, "mm_tokenizer_encode: unknown flags in 4");
    assert_int_equal(mm_tokenizer_encode(t, f->ctx, "\xFF", 1, 0, &ids, &n), MM_E_FORMAT);
    assert_null(ids);
    assert_int_equal(mm_tokenizer_encode_pair(t, f->ctx, "a", 1, "b", 1, 0, &ids, NULL, &n), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_encode_pair(t, f->ctx, "a", 1, "b", 1, 64, &ids, &types, &n), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_decode(t, f->ctx, NULL, 1, 0, &text, &n), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_decode(t, f->ctx, &one, 1, MM_TOKENS_ADD_SPECIAL, &text, &n), MM_E_ARGUMENT);
    one = -1;
    assert_int_equal(mm_tokenizer_decode(t, f->ctx, &one, 1, 0, &text, &n), MM_E_ARGUMENT);
    assert_null(text);
    assert_int_equal(mm_token_decoder_create(t, f->ctx, 1, &d), MM_E_ARGUMENT);
    assert_null(d);
    assert_int_equal(mm_token_decoder_push(NULL, f->ctx, 1, &text, &n), MM_E_ARGUMENT);
    assert_int_equal(mm_token_decoder_finish(NULL, f->ctx, &text, &n), MM_E_ARGUMENT);
    mm_token_decoder_destroy(NULL);
    mm_tokenizer_retain(NULL);
    mm_tokenizer_release(NULL);
    mm_ids_free(NULL);
    assert_int_equal(mm_tokenizer_size(NULL), 0);
    assert_int_equal(mm_tokenizer_find(NULL, "a", 1), -1);
    assert_null(mm_tokenizer_token(NULL, 0, &n));
    mm_tokenizer_release(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_open, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_arguments, setup, teardown)};
    return cmocka_run_group_tests_name("tokenizer_api", tests, NULL, NULL);
}
