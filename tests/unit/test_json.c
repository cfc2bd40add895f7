/* src/formats/json.c against Python's json module (tests/golden/make_formats.py), RFC 8259, and hostile documents.
 * SPDX-License-Identifier: MIT */
#include "formats_fixture.h"
#include "json.h"

static mm_status parse(fixture *f, const char *text, mmi_json **doc) { return mmi_json_parse(f->ctx, "doc", text, strlen(text), doc); }

static void append_hex(mm_context *ctx, mmi_text *out, const char *s)
{
    for (; *s; s++) assert_int_equal(mmi_text_format(ctx, out, "%02x", (unsigned char)*s), 0);
}

/* As dump() in make_formats.py; of equal keys only the one that mmi_json_get gives. */
static void dump(mm_context *ctx, const mmi_json_node *node, mmi_text *out)
{
    mmi_json_kind kind = mmi_json_kind_of(node);
    double number;
    int first = 1;

    switch (kind) {
    case MMI_JSON_NULL: assert_int_equal(mmi_text_append(ctx, out, "n", 1), 0); break;
    case MMI_JSON_BOOL: assert_int_equal(mmi_text_append(ctx, out, mmi_json_true(node) ? "t" : "f", 1), 0); break;
    case MMI_JSON_NUMBER:
        assert_true(mmi_json_number(node, &number));
        assert_int_equal(mmi_text_format(ctx, out, "%.17g", number), 0);
        break;
    case MMI_JSON_STRING:
        assert_int_equal(mmi_text_append(ctx, out, "s", 1), 0);
        append_hex(ctx, out, mmi_json_string(node));
        break;
    case MMI_JSON_ARRAY:
    case MMI_JSON_OBJECT:
        assert_int_equal(mmi_text_append(ctx, out, kind == MMI_JSON_ARRAY ? "[" : "{", 1), 0);
        for (const mmi_json_node *m = mmi_json_first(node); m; m = mmi_json_next(m)) {
            if (kind == MMI_JSON_OBJECT && mmi_json_get(node, mmi_json_key(m)) != m) continue;
            if (!first) assert_int_equal(mmi_text_append(ctx, out, " ", 1), 0);
            first = 0;
            if (kind == MMI_JSON_OBJECT) {
                append_hex(ctx, out, mmi_json_key(m));
                assert_int_equal(mmi_text_append(ctx, out, ":", 1), 0);
            }
            dump(ctx, m, out);
        }
        assert_int_equal(mmi_text_append(ctx, out, kind == MMI_JSON_ARRAY ? "]" : "}", 1), 0);
        break;
    case MMI_JSON_ABSENT: fail();
    }
}

static size_t from_hex(const char *hex, char *out)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (char)byte;
    }
    return n;
}

static void agrees_with_python(void **state)
{
    fixture *f = *state;
    mmi_json *cases, *doc;
    int good = 0, bad = 0;

    assert_int_equal(mmi_json_read(f->ctx, "tests/golden/formats/json_verdicts.json", 1 << 20, &cases), MM_OK);
    for (const mmi_json_node *c = mmi_json_first(mmi_json_root(cases)); c; c = mmi_json_next(c)) {
        const char *hex = mmi_json_string(mmi_json_first(c));
        const char *expected = mmi_json_string(mmi_json_next(mmi_json_first(c)));
        char *text = malloc(strlen(hex) / 2 + 1);
        mmi_text got = {0};
        mm_status st;

        assert_non_null(text);
        st = mmi_json_parse(f->ctx, "doc", text, from_hex(hex, text), &doc);
        if (expected) {
            if (st) fail_msg("%s was refused: %s", hex, f->ctx->error);
            dump(f->ctx, mmi_json_root(doc), &got);
            assert_string_equal(got.data, expected);
            mmi_text_clear(&got);
            good++;
        } else {
            if (st != MM_E_FORMAT) fail_msg("%s gave %d", hex, st);
            assert_null(doc);
            assert_sentence(f, "doc: ");
            bad++;
        }
        mmi_json_destroy(doc);
        free(text);
    }
    assert_true(good > 30 && bad > 60);
    mmi_json_destroy(cases);
}

static void refuses_what_some_parsers_read(void **state)
{
    static const struct {
        const char *text;
        mm_status status;
        const char *sentence;
    } cases[] = {
        {"\"\\ud800\"", MM_E_FORMAT, "half a surrogate pair (byte 7 of 8)"},
        {"\"\\udc00\"", MM_E_FORMAT, "half a surrogate pair"},
        {"\"\\ud800x\"", MM_E_FORMAT, "half a surrogate pair"},
        {"\"\\ud800\\u0041\"", MM_E_FORMAT, "half a surrogate pair"},
        {"\"\\ud800\\ud800\"", MM_E_FORMAT, "half a surrogate pair"},
        {"\"\\udc00\\ud800\"", MM_E_FORMAT, "half a surrogate pair"},
        {"\"\\ud800\\u", MM_E_FORMAT, "half a surrogate pair"},
        {"[\"a\\u0000b\"]", MM_E_UNSUPPORTED, "\\u0000 in a string"},
        {"{\"a\\u0000b\":1}", MM_E_UNSUPPORTED, "\\u0000 in a string"},
        {"NaN", MM_E_FORMAT, "no value"},
        {"[Infinity]", MM_E_FORMAT, "no value"},
        {"-Infinity", MM_E_FORMAT, "no digit"},
        /* 63 and 64 digits */
        {"100000000000000000000000000000000000000000000000000000000000000", MM_OK, ""},
        {"1000000000000000000000000000000000000000000000000000000000000000", MM_E_LIMIT, "63 characters"},
    };
    fixture *f = *state;
    mmi_json *doc;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(parse(f, cases[i].text, &doc), cases[i].status);
        if (cases[i].status) assert_sentence(f, cases[i].sentence);
        mmi_json_destroy(doc);
    }
}

static void bounds_nesting(void **state)
{
    enum { DEEP = 1000000 };
    fixture *f = *state;
    char *text = malloc(DEEP * 4);
    mmi_json *doc;

    assert_non_null(text);
    memset(text, '[', DEEP);
    assert_int_equal(mmi_json_parse(f->ctx, "doc", text, DEEP, &doc), MM_E_LIMIT);
    assert_sentence(f, "nesting deeper than allowed (byte 64 of 1000000)");
    memset(text + MMI_JSON_MAX_DEPTH, ']', MMI_JSON_MAX_DEPTH);
    assert_int_equal(mmi_json_parse(f->ctx, "doc", text, 2 * MMI_JSON_MAX_DEPTH, &doc), MM_OK);
    mmi_json_destroy(doc);
    for (size_t i = 0; i < DEEP; i++) memcpy(text + 4 * i, "{\"\":", 4);
    assert_int_equal(mmi_json_parse(f->ctx, "doc", text, DEEP * 4, &doc), MM_E_LIMIT);
    /* brackets inside a string are no nesting */
    memset(text, '[', DEEP);
    text[0] = text[DEEP - 1] = '"';
    assert_int_equal(mmi_json_parse(f->ctx, "doc", text, DEEP, &doc), MM_OK);
    assert_int_equal(strlen(mmi_json_string(mmi_json_root(doc))), DEEP - 2);
    mmi_json_destroy(doc);
    free(text);
}

static void bounds_values(void **state)
{
    fixture *f = *state;
    size_t n = 2 * (size_t)MMI_JSON_MAX_NODES + 1; /* [0,0,...,0]: an array and MAX_NODES numbers */
    char *text = malloc(n);
    mmi_json *doc;

    assert_non_null(text);
    for (size_t i = 0; i < n; i++) text[i] = i % 2 ? '0' : ',';
    text[0] = '[';
    text[n - 1] = ']';
    assert_int_equal(mmi_json_parse(f->ctx, "doc", text, n, &doc), MM_E_LIMIT);
    assert_sentence(f, "one value more than allowed");
    free(text);
}

static void memory_counts_against_the_limit(void **state)
{
    fixture *f = *state;
    size_t n = 200001;
    char *text = malloc(n);
    mmi_json *doc;
    int64_t with;

    assert_non_null(text);
    for (size_t i = 0; i < n; i++) text[i] = i % 2 ? '0' : ',';
    text[0] = '[';
    text[n - 1] = ']';
    assert_int_equal(mmi_json_parse(f->ctx, "doc", text, n, &doc), MM_OK);
    assert_int_equal(mmi_json_count(mmi_json_root(doc)), 100000);
    with = used_now(f);
    assert_true(with - f->used > 100000 * 64);
    mmi_json_destroy(doc);
    assert_int_equal(used_now(f), f->used);

    assert_int_equal(mm_context_set_i64(f->ctx, MM_CONTEXT_MEMORY_LIMIT, with - 1), MM_OK);
    assert_int_equal(mmi_json_parse(f->ctx, "doc", text, n, &doc), MM_E_NOMEM);
    assert_sentence(f, "100001 values");
    assert_int_equal(used_now(f), f->used);
    assert_int_equal(mm_context_set_i64(f->ctx, MM_CONTEXT_MEMORY_LIMIT, with), MM_OK);
    assert_int_equal(mmi_json_parse(f->ctx, "doc", text, n, &doc), MM_OK);
    mmi_json_destroy(doc);
    assert_int_equal(mm_context_set_i64(f->ctx, MM_CONTEXT_MEMORY_LIMIT, 0), MM_OK);
    free(text);
}

static void absent_nodes_answer_absent(void **state)
{
    double d = 7;
    int64_t i = 7;

    (void)state;
    assert_int_equal(mmi_json_kind_of(NULL), MMI_JSON_ABSENT);
    assert_null(mmi_json_get(mmi_json_get(NULL, "a"), "b"));
    assert_null(mmi_json_first(NULL));
    assert_null(mmi_json_next(NULL));
    assert_null(mmi_json_key(NULL));
    assert_null(mmi_json_string(NULL));
    assert_int_equal(mmi_json_count(NULL), 0);
    assert_int_equal(mmi_json_true(NULL), 0);
    assert_int_equal(mmi_json_number(NULL, &d), 0);
    assert_int_equal(mmi_json_integer(NULL, &i), 0);
    assert_true(d == 7 && i == 7);
}

static void walks(void **state)
{
    fixture *f = *state;
    mmi_json *doc;
    const mmi_json_node *root, *m;

    assert_int_equal(parse(f, "{\"A\":1,\"a\":[true,null],\"b\":\"text\",\"a2\":{},\"b\":false}", &doc), MM_OK);
    root = mmi_json_root(doc);
    assert_string_equal(mmi_json_name(doc), "doc");
    assert_int_equal(mmi_json_count(root), 5);
    m = mmi_json_get(root, "a");
    assert_int_equal(mmi_json_kind_of(m), MMI_JSON_ARRAY);
    assert_int_equal(mmi_json_count(m), 2);
    assert_true(mmi_json_true(mmi_json_first(m)));
    assert_null(mmi_json_key(mmi_json_first(m)));
    assert_int_equal(mmi_json_kind_of(mmi_json_next(mmi_json_first(m))), MMI_JSON_NULL);
    assert_null(mmi_json_next(mmi_json_next(mmi_json_first(m))));
    assert_null(mmi_json_get(m, "a"));
    assert_int_equal(mmi_json_kind_of(mmi_json_get(root, "b")), MMI_JSON_BOOL); /* the last of the two */
    assert_false(mmi_json_true(mmi_json_get(root, "b")));
    assert_null(mmi_json_get(root, "c"));
    assert_string_equal(mmi_json_key(mmi_json_first(root)), "A");
    mmi_json_destroy(doc);
    mmi_json_destroy(NULL);
}

static void members_are_checked(void **state)
{
    fixture *f = *state;
    mmi_json *doc;
    const mmi_json_node *root;
    int64_t i = 5;
    double d = 5;
    int b = 5;
    const char *s = "default";

    assert_int_equal(parse(f,
                           "{\"i\":7,\"whole\":3.0,\"half\":1.5,\"null\":null,\"s\":\"x\",\"t\":true,\"big\":9007199254740992,"
                              "\"bigger\":9007199254740994,\"minus\":-9007199254740992,\"1e30\":1e30,\"inf\":1e999,\"-inf\":-1e999,\"a\":[]}",
                           &doc),
                     MM_OK);
    root = mmi_json_root(doc);
    assert_int_equal(mmi_json_i64(f->ctx, doc, root, "i", 1, 7, 7, &i), MM_OK);
    assert_int_equal(i, 7);
    assert_int_equal(mmi_json_i64(f->ctx, doc, root, "whole", 1, 0, 9, &i), MM_OK);
    assert_int_equal(i, 3);
    assert_int_equal(mmi_json_i64(f->ctx, doc, root, "big", 1, INT64_MIN, INT64_MAX, &i), MM_OK);
    assert_true(i == 9007199254740992);
    assert_int_equal(mmi_json_i64(f->ctx, doc, root, "minus", 1, INT64_MIN, INT64_MAX, &i), MM_OK);
    assert_true(i == -9007199254740992);
    i = 5;
    assert_int_equal(mmi_json_i64(f->ctx, doc, root, "absent", 0, 0, 1, &i), MM_OK);
    assert_int_equal(mmi_json_i64(f->ctx, doc, root, "null", 0, 0, 1, &i), MM_OK);
    assert_int_equal(mmi_json_i64(f->ctx, doc, NULL, "i", 0, 0, 1, &i), MM_OK);
    assert_int_equal(mmi_json_i64(f->ctx, doc, root, "absent", 1, 0, 1, &i), MM_E_FORMAT);
    assert_sentence(f, "doc: \"absent\" is missing");
    assert_int_equal(mmi_json_i64(f->ctx, doc, root, "null", 1, 0, 1, &i), MM_E_FORMAT);
    assert_int_equal(mmi_json_i64(f->ctx, doc, root, "i", 0, 0, 6, &i), MM_E_FORMAT);
    assert_sentence(f, "doc: \"i\" is 7, expected an integer from 0 to 6");
    assert_int_equal(mmi_json_i64(f->ctx, doc, root, "i", 0, 8, 9, &i), MM_E_FORMAT);
    for (const char *const *key = (const char *const[]){"half", "bigger", "1e30", "inf", "-inf", "s", "t", "a", NULL}; *key; key++)
        assert_int_equal(mmi_json_i64(f->ctx, doc, root, *key, 0, INT64_MIN, INT64_MAX, &i), MM_E_FORMAT);
    assert_sentence(f, "doc: \"a\" must be an integer but is an array");
    assert_int_equal(i, 5);

    assert_int_equal(mmi_json_f64(f->ctx, doc, root, "half", 1, 1.5, 1.5, &d), MM_OK);
    assert_true(d == 1.5);
    assert_int_equal(mmi_json_f64(f->ctx, doc, root, "absent", 0, 0, 1, &d), MM_OK);
    assert_int_equal(mmi_json_f64(f->ctx, doc, root, "half", 1, 2, 3, &d), MM_E_FORMAT);
    assert_sentence(f, "doc: \"half\" is 1.5, expected a number from 2 to 3");
    assert_int_equal(mmi_json_f64(f->ctx, doc, root, "inf", 1, -1e308 * 10, 1e308 * 10, &d), MM_E_FORMAT);
    assert_int_equal(mmi_json_f64(f->ctx, doc, root, "s", 1, 0, 3, &d), MM_E_FORMAT);
    assert_true(d == 1.5);

    assert_int_equal(mmi_json_bool(f->ctx, doc, root, "t", 1, &b), MM_OK);
    assert_int_equal(b, 1);
    assert_int_equal(mmi_json_bool(f->ctx, doc, root, "i", 1, &b), MM_E_FORMAT);
    assert_sentence(f, "doc: \"i\" must be true or false but is a number");
    assert_int_equal(mmi_json_text(f->ctx, doc, root, "absent", 0, &s), MM_OK);
    assert_string_equal(s, "default");
    assert_int_equal(mmi_json_text(f->ctx, doc, root, "s", 1, &s), MM_OK);
    assert_string_equal(s, "x");
    assert_int_equal(mmi_json_text(f->ctx, doc, root, "t", 1, &s), MM_E_FORMAT);
    mmi_json_destroy(doc);
}

static void quotes(void **state)
{
    static const struct {
        const char *bytes;
        const char *json;
    } cases[] = {{"", "\"\""},
                 {"a\"b\\c/d", "\"a\\\"b\\\\c/d\""},
                 {"\n\r\x01\x1f\x7f", "\"\\n\\u000d\\u0001\\u001f\x7f\""},
                 {"\xC3\xA9\xF0\x9F\x8C\x8D", "\"\xC3\xA9\xF0\x9F\x8C\x8D\""},
                 {"\xFFx\xC3", "\"\xEF\xBF\xBDx\xEF\xBF\xBD\""},
                 {"\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""}};
    fixture *f = *state;
    mmi_text t = {0};
    char every[4 * 256], *p = every;
    mmi_json *doc;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(mmi_json_quote(f->ctx, &t, cases[i].bytes, strlen(cases[i].bytes)), 0);
        assert_string_equal(t.data, cases[i].json);
        mmi_text_clear(&t);
    }
    assert_int_equal(mmi_json_quote(f->ctx, &t, "a\0b", 3), 0);
    assert_string_equal(t.data, "\"a\\u0000b\"");
    mmi_text_clear(&t);
    /* what is quoted reads back as it was */
    for (uint32_t c = 1; c < 256; c++) p += mmi_utf8_encode(c, p);
    *p = 0;
    assert_int_equal(mmi_json_quote(f->ctx, &t, every, (size_t)(p - every)), 0);
    assert_int_equal(mmi_json_parse(f->ctx, "quoted", t.data, t.size, &doc), MM_OK);
    assert_string_equal(mmi_json_string(mmi_json_root(doc)), every);
    mmi_json_destroy(doc);
    mmi_text_clear(&t);
}

static void touch(mm_context *ctx, const mmi_json_node *node)
{
    mmi_text t = {0};
    double d;
    if (mmi_json_string(node)) assert_int_equal(mmi_json_quote(ctx, &t, mmi_json_string(node), strlen(mmi_json_string(node))), 0);
    mmi_text_clear(&t);
    (void)mmi_json_number(node, &d);
    for (const mmi_json_node *m = mmi_json_first(node); m; m = mmi_json_next(m)) touch(ctx, m);
}

static mm_status visit(mm_context *ctx, const char *path)
{
    mmi_json *doc;
    mm_status st = mmi_json_read(ctx, path, 1 << 20, &doc);
    if (st) return st;
    touch(ctx, mmi_json_root(doc));
    mmi_json_destroy(doc);
    return MM_OK;
}

static mm_status visit_only_open(mm_context *ctx, const char *path)
{
    mmi_json *doc;
    mm_status st = mmi_json_read(ctx, path, 1 << 20, &doc);
    mmi_json_destroy(doc);
    return st;
}

/* Numbers as they came: readers of what is written may tell 1 from 1.0. */
static void writes_what_it_read(void **state)
{
    static const char text[] = "{\n  \"a\\\"1.5\": 1,\n  \"b\": [\n    1.0,\n    -2,\n    {\n      \"c\": 10000.0,\n      \"2e3\": true\n    },\n    0.5\n  ],\n  \"d\": \"7.0\",\n"
                               "  \"e\": 1000.0,\n  \"f\": null\n}";
    static const char given[] = "{\"a\\\"1.5\":1,\"b\":[1.0,-2,{\"c\":1e4,\"2e3\":true},0.5],\"d\":\"7.0\",\"e\":1E+3,\"f\":null}";
    fixture *f = *state;
    mmi_json *doc = NULL;
    mmi_text out = {0};

    assert_int_equal(mmi_json_parse(f->ctx, "given", given, sizeof given - 1, &doc), MM_OK);
    assert_int_equal(mmi_json_write(f->ctx, &out, mmi_json_root(doc)), 0);
    assert_string_equal(out.data, text);
    mmi_json_destroy(doc);
    mmi_text_clear(&out);
}

static void survives_damage(void **state)
{
    fixture *f = *state;
    static const char text[] = "{\"a\":[1,-2.5e3,{\"b\\n\":\"\\ud83c\\udf0d\xC3\xA9\"}],\"c\":[true,false,null,[]],\"\":{\"x\":{}}}";
    char golden[160];

    (void)snprintf(golden, sizeof golden, "%s/golden", f->folder);
    write_file(golden, text, sizeof text - 1);
    visit_damaged(f, visit, golden, sizeof text - 1, sizeof text - 1);
}

static void survives_failing_allocations(void **state)
{
    visit_out_of_memory(*state, visit_only_open, "tests/golden/formats/hf_bert/config.json");
}

static void reads_files_up_to_a_size(void **state)
{
    fixture *f = *state;
    mmi_json *doc;

    write_bytes(f, "[1]", 3);
    assert_int_equal(mmi_json_read(f->ctx, f->path, 2, &doc), MM_E_LIMIT);
    assert_int_equal(mmi_json_read(f->ctx, f->path, 3, &doc), MM_OK);
    assert_string_equal(mmi_json_name(doc), f->path);
    mmi_json_destroy(doc);
    assert_int_equal(mmi_json_read(f->ctx, f->folder, 100, &doc), MM_E_IO);
    assert_null(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(agrees_with_python, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_what_some_parsers_read, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_nesting, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_values, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_counts_against_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(absent_nodes_answer_absent, setup, teardown),
        cmocka_unit_test_setup_teardown(walks, setup, teardown),
        cmocka_unit_test_setup_teardown(members_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(quotes, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_what_it_read, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_files_up_to_a_size, setup, teardown),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
