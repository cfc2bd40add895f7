/* src/tokenizer/added_tokens.c: what is found where; the options are also in the goldens of test_tokenizer.c.
 * SPDX-License-Identifier: MIT */
#include "added_tokens.h"
#include "tokenizer_fixture.h"

typedef struct {
    mmi_added_tokens tokens;
    mmi_normalizer *normalizer;
    mmi_matcher *matcher;
    mmi_json *doc;
} set;

static void make(fixture *f, set *s)
{
    memset(s, 0, sizeof *s);
    s->doc = parse_json(f, "{\"type\":\"Lowercase\"}");
    assert_int_equal(mmi_normalizer_load(f->ctx, s->doc, mmi_json_root(s->doc), &s->normalizer), MM_OK);
    assert_int_equal(mmi_matcher_create(f->ctx, &s->matcher), MM_OK);
}

static void destroy(set *s)
{
    mmi_added_tokens_clear(&s->tokens);
    mmi_normalizer_destroy(s->normalizer);
    mmi_matcher_destroy(s->matcher);
    mmi_json_destroy(s->doc);
}

static mm_status add(fixture *f, set *s, const char *text, int32_t id, const char *flags)
{
    mmi_added_token t = {0};
    char copy[2048];
    (void)snprintf(copy, sizeof copy, "%s", text);
    t.text = copy;
    t.size = strlen(copy);
    t.id = id;
    t.special = strchr(flags, 's') != NULL;
    t.single_word = strchr(flags, 'w') != NULL;
    t.lstrip = strchr(flags, 'l') != NULL;
    t.rstrip = strchr(flags, 'r') != NULL;
    t.normalized = strchr(flags, 'n') != NULL;
    return mmi_added_tokens_add(f->ctx, &s->tokens, "file", &t, s->normalizer, s->matcher);
}

/* The tokens found in a text, as "id:start-end id:start-end". */
static void assert_found(fixture *f, const set *s, int normalized, int special, const char *text, const char *expected)
{
    size_t start = 0, end = 0, from = 0;
    const mmi_added_token *t;
    mmi_text got = {0};

    set_text(f, &got, "");
    while ((t = mmi_added_tokens_find(&s->tokens, normalized, special, text, strlen(text), from, &start, &end))) {
        assert_int_equal(mmi_text_format(f->ctx, &got, got.size ? " %d:%zu-%zu" : "%d:%zu-%zu", (int)t->id, start, end), 0);
        from = end;
    }
    assert_string_equal(got.data, expected);
    mmi_text_clear(&got);
}

static void test_find(void **state)
{
    fixture *f = *state;
    set s;

    make(f, &s);
    assert_found(f, &s, 0, 1, "abc", "");
    assert_int_equal(add(f, &s, "ab", 1, "s"), MM_OK);
    assert_int_equal(add(f, &s, "abcd", 2, ""), MM_OK);
    assert_int_equal(add(f, &s, "bc", 3, ""), MM_OK);
    assert_int_equal(add(f, &s, "<m>", 4, "lr"), MM_OK);
    assert_int_equal(add(f, &s, "word", 5, "w"), MM_OK);
    assert_int_equal(add(f, &s, "YES", 6, "n"), MM_OK);
    assert_int_equal(add(f, &s, "", 7, ""), MM_OK);          /* ignored */
    assert_int_equal(add(f, &s, "ab", 8, ""), MM_OK);        /* the first one stays */
    assert_int_equal(add(f, &s, "ab", 1, ""), MM_OK);
    assert_int_equal(add(f, &s, "other", 1, ""), MM_E_FORMAT);
    assert_sentence(f, "file: the added tokens ab and other both have the id 1");
    assert_found(f, &s, 0, 1, "abcd abc bcab", "2:0-4 1:5-7 3:9-11 1:11-13"); /* leftmost, then longest */
    assert_found(f, &s, 0, 0, "abcd abc bcab", "2:0-4 3:9-11");               /* a special token is passed over whole */
    assert_found(f, &s, 0, 1, "a \xE3\x80\x80<m>\n<m> b", "4:1-9 4:9-13");
    assert_found(f, &s, 0, 1, "word words word\xCC\x81 _word \xC3\xA9word -word-", "5:0-4 5:32-36");
    assert_found(f, &s, 0, 1, "YES yes", "");
    assert_found(f, &s, 1, 1, "YES yes", "6:4-7"); /* by what the normalizer makes of it */
    assert_int_equal(mmi_added_tokens_by_id(&s.tokens, 2)->size, 4);
    assert_null(mmi_added_tokens_by_id(&s.tokens, 8));
    assert_int_equal(mmi_added_tokens_by_text(&s.tokens, "YES", 3)->id, 6);
    assert_null(mmi_added_tokens_by_text(&s.tokens, "yes", 3));
    destroy(&s);
}

static void test_limits(void **state)
{
    fixture *f = *state;
    set s;
    char text[1200];

    make(f, &s);
    memset(text, 'a', sizeof text - 1);
    text[1199] = 0;
    assert_int_equal(add(f, &s, text, 1, ""), MM_E_LIMIT);
    text[MMI_ADDED_TOKEN_MAX_BYTES] = 0;
    assert_int_equal(add(f, &s, text, 1, ""), MM_OK);
    assert_int_equal(add(f, &s, "\xC3", 2, ""), MM_E_FORMAT);
    destroy(&s);
}

static void test_out_of_memory(void **state)
{
    fixture *f = *state;
    mm_status st = MM_E_NOMEM;

    for (long k = 1; st; k++) {
        set s;
        int64_t before;
        make(f, &s);
        before = used_now(f);
        f->allocator.count = 0;
        f->allocator.fail_at = k;
        st = add(f, &s, "YES", 1, "n");
        if (!st) st = add(f, &s, "no", 2, "");
        f->allocator.fail_at = 0;
        assert_true(st == MM_OK || st == MM_E_NOMEM);
        mmi_added_tokens_clear(&s.tokens);
        assert_true(used_now(f) <= before);
        destroy(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_find, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown)};
    return cmocka_run_group_tests_name("added_tokens", tests, NULL, NULL);
}
