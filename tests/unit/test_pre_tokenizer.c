/* src/tokenizer/pre_tokenizer.c against the `tokenizers` package (steps.json). SPDX-License-Identifier: MIT */
#include "pre_tokenizer.h"
#include "tokenizer_fixture.h"

static mm_status run(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, const char *text, mmi_words *words)
{
    mmi_pre_tokenizer *p = NULL;
    mmi_matcher *matcher = NULL;
    mmi_words spare = {0};
    mm_status st = mmi_pre_tokenizer_load(ctx, doc, node, &p);

    if (!st) st = mmi_matcher_create(ctx, &matcher);
    words->text.size = 0;
    words->at_start = 1;
    if (!st && mmi_text_append(ctx, &words->text, text, strlen(text))) st = MM_E_NOMEM;
    if (!st) st = mmi_pre_tokenizer_run(ctx, p, words, &spare, matcher);
    mmi_words_clear(&spare);
    mmi_matcher_destroy(matcher);
    mmi_pre_tokenizer_destroy(p);
    return st;
}

static void test_golden(void **state)
{
    fixture *f = *state;
    mmi_json *doc = read_json(f, GOLDEN "steps.json");
    const mmi_json_node *texts = mmi_json_get(mmi_json_root(doc), "texts");
    mmi_words words = {0};
    size_t count = 0;

    for (const mmi_json_node *s = mmi_json_first(mmi_json_get(mmi_json_root(doc), "steps")); s; s = mmi_json_next(s)) {
        const mmi_json_node *node = mmi_json_get(s, "pre_tokenizer");
        if (!node) continue;
        for (const mmi_json_node *c = mmi_json_first(mmi_json_get(s, "cases")); c; c = mmi_json_next(c)) {
            int64_t index = -1;
            size_t i = 0;
            assert_true(mmi_json_integer(at(c, 0), &index));
            if (run(f->ctx, doc, node, mmi_json_string(at(texts, index)), &words)) fail_msg("%s", f->ctx->error);
            for (const mmi_json_node *w = mmi_json_first(at(c, 1)); w; w = mmi_json_next(w), i++) {
                assert_true(i < words.count);
                assert_bytes(words.text.data + words.spans[i].start, words.spans[i].end - words.spans[i].start, mmi_json_string(w));
            }
            assert_int_equal(words.count, i);
            count++;
        }
    }
    assert_true(count > 400);
    mmi_words_clear(&words);
    mmi_json_destroy(doc);
}

static void test_empty(void **state)
{
    fixture *f = *state;
    mmi_json *doc = parse_json(f, "{\"type\":\"ByteLevel\"}");
    mmi_words words = {0};

    assert_int_equal(run(f->ctx, doc, mmi_json_root(doc), "", &words), MM_OK);
    assert_int_equal(words.count, 0); /* no space is put before nothing */
    assert_int_equal(run(f->ctx, doc, NULL, "a b", &words), MM_OK);
    assert_int_equal(words.count, 1);
    mmi_words_clear(&words);
    mmi_json_destroy(doc);
}

static void test_refused(void **state)
{
    static const struct {
        const char *json, *sentence;
        mm_status status;
    } cases[] = {
        {"{\"type\":\"UnicodeScripts\"}", "test: a pre-tokenizer of type UnicodeScripts", MM_E_UNSUPPORTED},
        {"{\"type\":\"Metaspace\"}", "replacement", MM_E_FORMAT},
        {"{\"type\":\"Metaspace\",\"replacement\":\"\"}", "not one character", MM_E_FORMAT},
        {"{\"type\":\"Metaspace\",\"replacement\":\"ab\"}", "not one character", MM_E_FORMAT},
        {"{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"last\"}", "last", MM_E_UNSUPPORTED},
        {"{\"type\":\"Metaspace\",\"replacement\":\"_\",\"split\":1}", "split", MM_E_FORMAT},
        {"{\"type\":[]}", "type", MM_E_FORMAT},
        {"7", "type", MM_E_FORMAT},
        {"{\"type\":\"Sequence\",\"pretokenizers\":{}}", "pretokenizers", MM_E_FORMAT},
        {"{\"type\":\"Split\",\"behavior\":\"Isolated\"}", "String or a Regex", MM_E_FORMAT},
        {"{\"type\":\"Split\",\"pattern\":{\"String\":\"a\",\"Regex\":\"a\"},\"behavior\":\"Isolated\"}", "String or a Regex", MM_E_FORMAT},
        {"{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"}}", "behavior", MM_E_FORMAT},
        {"{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Kept\"}", "Kept", MM_E_UNSUPPORTED},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[\"},\"behavior\":\"Isolated\"}", "regular expression", MM_E_UNSUPPORTED},
        {"{\"type\":\"Digits\",\"individual_digits\":\"yes\"}", "individual_digits", MM_E_FORMAT},
    };
    fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmi_json *doc = parse_json(f, cases[i].json);
        mmi_pre_tokenizer *p = NULL;
        assert_int_equal(mmi_pre_tokenizer_load(f->ctx, doc, mmi_json_root(doc), &p), cases[i].status);
        assert_null(p);
        assert_sentence(f, cases[i].sentence);
        mmi_json_destroy(doc);
    }
}

static mm_status visit(mm_context *ctx, const char *path)
{
    mmi_json *doc = NULL;
    mmi_words words = {0};
    mm_status st = mmi_json_read(ctx, path, 1 << 16, &doc);

    if (!st) st = run(ctx, doc, mmi_json_root(doc), "one two 345 \xF0\x90\xB5\x90 a-b-c d e f g h i j k l m n o p q r s t u v", &words);
    mmi_words_clear(&words);
    mmi_json_destroy(doc);
    return st;
}

static void test_out_of_memory(void **state)
{
    fixture *f = *state;
    static const char json[] = "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Whitespace\"},{\"type\":\"Split\",\"pattern\":{\"String\":\"-\"},"
                               "\"behavior\":\"MergedWithNext\"},{\"type\":\"Digits\"},{\"type\":\"ByteLevel\"}]}";
    write_bytes(f, json, sizeof json - 1);
    visit_out_of_memory(f, visit, f->path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_golden, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown)};
    return cmocka_run_group_tests_name("pre_tokenizer", tests, NULL, NULL);
}
