/* src/tokenizer/pattern.c: what matches where, what is refused, and expressions that would run for ever. That Oniguruma
 * finds the same is tested through the pre-tokenizers. SPDX-License-Identifier: MIT */
#include "pattern.h"
#include "tokenizer_fixture.h"

/* The matches of a regex in a text, as "start-end start-end". */
static void assert_matches(fixture *f, const char *regex, const char *text, const char *expected)
{
    mmi_pattern *p = NULL;
    mmi_matcher *m = NULL;
    mmi_text got = {0};
    size_t start = 0, end = 0;
    int found = 1;

    if (mmi_pattern_compile(f->ctx, "file", regex, &p)) fail_msg("%s", f->ctx->error);
    assert_int_equal(mmi_matcher_create(f->ctx, &m), MM_OK);
    assert_int_equal(mmi_matcher_begin(f->ctx, m, text, strlen(text)), MM_OK);
    set_text(f, &got, "");
    while (found) {
        assert_int_equal(mmi_matcher_next(f->ctx, m, p, &start, &end, &found), MM_OK);
        if (found) assert_int_equal(mmi_text_format(f->ctx, &got, got.size ? " %zu-%zu" : "%zu-%zu", start, end), 0);
    }
    assert_int_equal(mmi_matcher_next(f->ctx, m, p, &start, &end, &found), MM_OK); /* and stays at the end */
    assert_false(found);
    assert_string_equal(got.data, expected);
    mmi_text_clear(&got);
    mmi_matcher_destroy(m);
    mmi_pattern_destroy(p);
}

static void test_matches(void **state)
{
    fixture *f = *state;
    assert_matches(f, "b+", "abbacb", "1-3 5-6");
    assert_matches(f, "b+", "", "");
    assert_matches(f, "", "ab", "0-0 1-1 2-2");
    assert_matches(f, "a*", "baac", "0-0 1-3 4-4");
    assert_matches(f, "(?<=a)b", "abb", "1-2");           /* looks back over the last match */
    assert_matches(f, "(?i:'s)", "x'S'\xC5\xBF", "1-3 3-6"); /* U+017F is an s */
    assert_matches(f, ".", "\xC3\xA9\n\xE4\xBD\xA0", "0-2 3-6");
    assert_matches(f, "^a", "a\na", "0-1 2-3");           /* Ruby's ^ */
    assert_matches(f, "\\s", "\xE1\xA0\x8E\xC2\x85 ", "3-5 5-6"); /* not U+180E */
    assert_matches(f, "\\p{L}", "\xF0\x90\xB5\x90" "a", "0-4 4-5"); /* U+10D50, a letter of Unicode 16 */
    assert_matches(f, "\\p{Han}", "\xF0\xB1\x8D\x90\xE3\x80\x81", "0-4"); /* U+31350, and no Script_Extensions */
    assert_matches(f, "\\w", "e\xCC\x81\xC2\xBD-", "0-1 1-3 3-5");
    assert_matches(f, "[\\w]", "e\xCC\x81\xC2\xBD-", "0-1 1-3");
    assert_matches(f, "\\bx", "x ex e\xCC\x81x", "0-1");
}

static mm_status compile(fixture *f, const char *regex)
{
    mmi_pattern *p = NULL;
    mm_status st = mmi_pattern_compile(f->ctx, "file", regex, &p);
    mmi_pattern_destroy(p);
    if (st) assert_sentence(f, "file");
    return st;
}

static void test_refused(void **state)
{
    static const char *const unsupported[] = {"[a[b]]", "[a&&b]", "\\h", "\\R", "\\X", "\\K", "\\G", "\\Ca", "\\Qa", "(?m:a)", "(?s)a", "(*UCP)a", "(*LIMIT_MATCH=1)a",
                                              "(?R)", "(?1)(a)", "(?P<x>a)", "(?(1)a)", "(?{a})", "(?C1)", "a{,3}", "a{1,2}+", "[]a]", "(", "a)", "\\p{Nothing}",
                                              "[z-a]", "[\\W]", "(?<x>a)"};
    fixture *f = *state;
    char *deep = malloc(20001);

    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (compile(f, unsupported[i]) != MM_E_UNSUPPORTED) fail_msg("%s: %s", unsupported[i], f->ctx->error);
    assert_int_equal(compile(f, "a\\"), MM_E_FORMAT);
    assert_int_equal(compile(f, "\\p"), MM_E_FORMAT);
    assert_int_equal(compile(f, "\\p{"), MM_E_FORMAT);
    assert_int_equal(compile(f, "\\p{}"), MM_E_FORMAT);
    assert_int_equal(compile(f, "\xC3"), MM_E_FORMAT);
    assert_non_null(deep);
    memset(deep, '(', 5000);
    memset(deep + 5000, ')', 5000);
    deep[10000] = 0;
    assert_int_equal(compile(f, deep), MM_E_UNSUPPORTED);
    memset(deep, 'a', 20000);
    deep[20000] = 0;
    assert_int_equal(compile(f, deep), MM_E_LIMIT);
    free(deep);
}

/* The search on `text` ends with a refusal, or with matches, but it ends. */
static mm_status search(fixture *f, const char *regex, const char *text)
{
    mmi_pattern *p = NULL;
    mmi_matcher *m = NULL;
    size_t start, end;
    int found = 1;
    mm_status st = mmi_pattern_compile(f->ctx, "file", regex, &p);

    if (!st) st = mmi_matcher_create(f->ctx, &m);
    if (!st) st = mmi_matcher_begin(f->ctx, m, text, strlen(text));
    while (!st && found) st = mmi_matcher_next(f->ctx, m, p, &start, &end, &found);
    mmi_matcher_destroy(m);
    mmi_pattern_destroy(p);
    return st;
}

static void test_endless(void **state)
{
    fixture *f = *state;
    char text[20001];

    memset(text, 'a', sizeof text - 1);
    text[40] = 0;
    assert_int_equal(search(f, "(a+)+[bc]", text), MM_E_LIMIT);
    assert_sentence(f, "too many steps at byte 0");
    assert_int_equal(search(f, "(a|a)*[bc]", text), MM_E_LIMIT);
    text[40] = 'a';
    text[sizeof text - 1] = 0;
    assert_int_equal(search(f, "(?:a|aa)*(?!a)", text), MM_OK);
    mm_context_cancel(f->ctx);
    assert_int_equal(search(f, "b", text), MM_E_CANCELLED);
}

static mm_status visit(mm_context *ctx, const char *path)
{
    mmi_pattern *p = NULL;
    mmi_matcher *m = NULL;
    size_t start, end;
    int found;
    mm_status st = mmi_pattern_compile(ctx, path, "\\p{L}+|\\w", &p);

    if (!st) st = mmi_matcher_create(ctx, &m);
    if (!st) st = mmi_matcher_begin(ctx, m, "a\xE1\xA0\x8E", 4); /* takes a copy */
    if (!st) st = mmi_matcher_next(ctx, m, p, &start, &end, &found);
    mmi_matcher_destroy(m);
    mmi_pattern_destroy(p);
    return st;
}

static void test_out_of_memory(void **state) { visit_out_of_memory(*state, visit, "file"); }

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_matches, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_endless, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown)};
    return cmocka_run_group_tests_name("pattern", tests, NULL, NULL);
}
