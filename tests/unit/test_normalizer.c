/* src/tokenizer/normalizer.c against the `tokenizers` package (steps.json), and texts that would take long or grow.
 * SPDX-License-Identifier: MIT */
#include "normalizer.h"
#include "tokenizer_fixture.h"

static mm_status run(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, const char *in, size_t n, mmi_text *out)
{
    mmi_normalizer *normalizer = NULL;
    mmi_matcher *matcher = NULL;
    mmi_text spare = {0};
    mm_status st = mmi_normalizer_load(ctx, doc, node, &normalizer);

    if (!st) st = mmi_matcher_create(ctx, &matcher);
    out->size = 0;
    if (!st && mmi_text_append(ctx, out, in, n)) st = MM_E_NOMEM;
    if (!st) st = mmi_normalizer_run(ctx, normalizer, out, &spare, matcher);
    mmi_text_clear(&spare);
    mmi_matcher_destroy(matcher);
    mmi_normalizer_destroy(normalizer);
    return st;
}

static void test_golden(void **state)
{
    fixture *f = *state;
    mmi_json *doc = read_json(f, GOLDEN "steps.json");
    const mmi_json_node *texts = mmi_json_get(mmi_json_root(doc), "texts");
    mmi_text got = {0};
    size_t count = 0;

    for (const mmi_json_node *s = mmi_json_first(mmi_json_get(mmi_json_root(doc), "steps")); s; s = mmi_json_next(s)) {
        const mmi_json_node *node = mmi_json_get(s, "normalizer"), *c = mmi_json_first(mmi_json_get(s, "cases"));
        int64_t index = 0;
        if (!node) continue;
        for (const mmi_json_node *t = mmi_json_first(texts); t; t = mmi_json_next(t), index++) {
            int64_t next = -1;
            const char *text = mmi_json_string(t), *expected = text; /* cases lists what changes */
            if (c) assert_true(mmi_json_integer(at(c, 0), &next));
            if (next == index) {
                expected = mmi_json_string(at(c, 1));
                c = mmi_json_next(c);
            }
            if (run(f->ctx, doc, node, text, strlen(text), &got)) fail_msg("%s", f->ctx->error);
            assert_bytes(got.data, got.size, expected);
            count++;
        }
        assert_null(c);
    }
    assert_true(count > 300);
    mmi_text_clear(&got);
    mmi_json_destroy(doc);
}

static void test_empty_text(void **state)
{
    fixture *f = *state;
    mmi_json *doc = parse_json(f, "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Strip\"},{\"type\":\"Prepend\",\"prepend\":\"x\"},"
                                  "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"y\"},{\"type\":\"BertNormalizer\"}]}");
    mmi_text got = {0};

    assert_int_equal(run(f->ctx, doc, mmi_json_root(doc), "", 0, &got), MM_OK);
    assert_int_equal(got.size, 0);
    assert_int_equal(run(f->ctx, doc, NULL, "A\0B", 3, &got), MM_OK); /* no steps */
    assert_memory_equal(got.data, "A\0B", 3);
    assert_int_equal(got.size, 3);
    mmi_text_clear(&got);
    mmi_json_destroy(doc);
}

/* A megabyte of marks whose order is wrong: sorted by class, stable, and in no quadratic time. */
static void test_many_marks(void **state)
{
    enum { PAIRS = 250000 };
    fixture *f = *state;
    mmi_json *doc = parse_json(f, "{\"type\":\"NFD\"}");
    mmi_text in = {0}, got = {0};

    set_text(f, &in, "a");
    for (int i = 0; i < PAIRS; i++) assert_int_equal(mmi_text_append(f->ctx, &in, "\xCC\x81\xCC\xA3", 4), 0); /* 230, 220 */
    assert_int_equal(run(f->ctx, doc, mmi_json_root(doc), in.data, in.size, &got), MM_OK);
    assert_int_equal(got.size, in.size);
    for (int i = 0; i < PAIRS; i++) assert_memory_equal(got.data + 1 + 2 * i, "\xCC\xA3", 2);
    for (int i = PAIRS; i < 2 * PAIRS; i++) assert_memory_equal(got.data + 1 + 2 * i, "\xCC\x81", 2);
    mmi_text_clear(&in);
    mmi_text_clear(&got);
    mmi_json_destroy(doc);
}

static void test_refused(void **state)
{
    static const struct {
        const char *json, *sentence;
        mm_status status;
    } cases[] = {
        {"{\"type\":\"ByteLevel\"}", "test: a normalizer of type ByteLevel", MM_E_UNSUPPORTED},
        {"{\"type\":\"Precompiled\"}", "precompiled_charsmap", MM_E_FORMAT},
        {"{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"\"}", "0 bytes", MM_E_FORMAT},
        {"{\"type\":7}", "type", MM_E_FORMAT},
        {"{}", "type", MM_E_FORMAT},
        {"[]", "type", MM_E_FORMAT},
        {"\"NFC\"", "type", MM_E_FORMAT},
        {"{\"type\":\"Sequence\"}", "normalizers", MM_E_FORMAT},
        {"{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},null]}", "type", MM_E_FORMAT},
        {"{\"type\":\"Replace\",\"content\":\"\"}", "String or a Regex", MM_E_FORMAT},
        {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"}}", "content", MM_E_FORMAT},
        {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(\"},\"content\":\"\"}", "regular expression", MM_E_UNSUPPORTED},
        {"{\"type\":\"Prepend\"}", "prepend", MM_E_FORMAT},
        {"{\"type\":\"BertNormalizer\",\"lowercase\":1}", "lowercase", MM_E_FORMAT},
    };
    fixture *f = *state;
    mmi_text many = {0};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmi_json *doc = parse_json(f, cases[i].json);
        mmi_normalizer *n = NULL;
        assert_int_equal(mmi_normalizer_load(f->ctx, doc, mmi_json_root(doc), &n), cases[i].status);
        assert_null(n);
        assert_sentence(f, cases[i].sentence);
        mmi_json_destroy(doc);
    }
    set_text(f, &many, "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}");
    for (int i = 0; i < 100; i++) assert_int_equal(mmi_text_format(f->ctx, &many, ",{\"type\":\"NFC\"}"), 0);
    assert_int_equal(mmi_text_format(f->ctx, &many, "]}"), 0);
    {
        mmi_json *doc = parse_json(f, many.data);
        mmi_normalizer *n = NULL;
        assert_int_equal(mmi_normalizer_load(f->ctx, doc, mmi_json_root(doc), &n), MM_E_LIMIT);
        mmi_json_destroy(doc);
    }
    mmi_text_clear(&many);
}

/* Three replacements, each making 1 KB of every byte. */
static void test_growth(void **state)
{
    fixture *f = *state;
    mmi_text json = {0}, in = {0}, got = {0};
    mmi_json *doc;
    char big[1025];

    memset(big, 'a', sizeof big - 1);
    big[1024] = 0;
    set_text(f, &json, "{\"type\":\"Sequence\",\"normalizers\":[");
    for (int i = 0; i < 3; i++)
        assert_int_equal(mmi_text_format(f->ctx, &json, "%s{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"%s\"}", i ? "," : "", big), 0);
    assert_int_equal(mmi_text_format(f->ctx, &json, "]}"), 0);
    doc = parse_json(f, json.data);
    assert_int_equal(mm_context_set_i64(f->ctx, MM_CONTEXT_MEMORY_LIMIT, 64 << 20), MM_OK);
    assert_int_equal(run(f->ctx, doc, mmi_json_root(doc), "aa", 2, &got), MM_E_NOMEM);
    assert_int_equal(mm_context_set_i64(f->ctx, MM_CONTEXT_MEMORY_LIMIT, 0), MM_OK);
    mmi_text_clear(&json);
    mmi_text_clear(&in);
    mmi_text_clear(&got);
    mmi_json_destroy(doc);
}

static mm_status visit(mm_context *ctx, const char *path)
{
    mmi_json *doc = NULL;
    mmi_text out = {0};
    static const char text[] = "a\xCC\x81\xCC\xA3\xCC\x81 \xEF\xAC\x81 \xE4\xBD\xA0 B";
    mm_status st = mmi_json_read(ctx, path, 1 << 16, &doc);

    if (!st) st = run(ctx, doc, mmi_json_root(doc), text, sizeof text - 1, &out);
    mmi_text_clear(&out);
    mmi_json_destroy(doc);
    return st;
}

static void test_out_of_memory(void **state)
{
    fixture *f = *state;
    static const char json[] = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"},{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s\"},"
                               "\"content\":\"-\"},{\"type\":\"Prepend\",\"prepend\":\"x\"},{\"type\":\"BertNormalizer\"}]}";
    write_bytes(f, json, sizeof json - 1);
    visit_out_of_memory(f, visit, f->path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_golden, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_empty_text, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_many_marks, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_growth, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown)};
    return cmocka_run_group_tests_name("normalizer", tests, NULL, NULL);
}
