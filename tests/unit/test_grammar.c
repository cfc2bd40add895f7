/* Grammars against the verdicts of tests/golden/make_grammars.py, and the tokens that may follow against trying each.
 * SPDX-License-Identifier: MIT */
#include "grammar_fixture.h"

static mmi_grammar *compile(const fixture *f, const char *text)
{
    mmi_grammar *g = NULL;
    if (mmi_grammar_create(f->ctx, "grammar", text, strlen(text), &g)) fail_msg("%s", mm_context_error(f->ctx));
    return g;
}

static mmi_grammar_state *start(const fixture *f, const char *text, int after_space)
{
    mmi_grammar *g = compile(f, text);
    mmi_grammar_state *s = NULL;
    assert_int_equal(mmi_grammar_state_create(f->ctx, g, f->table, after_space, &s), MM_OK);
    mmi_grammar_release(g);
    return s;
}

static void test_goldens(void **state)
{
    fixture *f = *state;
    mmi_json *doc = NULL;
    size_t n = 0;

    assert_int_equal(mmi_json_read(f->ctx, "tests/golden/grammars/gbnf.json", 1 << 20, &doc), MM_OK);
    for (const mmi_json_node *c = mmi_json_first(mmi_json_root(doc)); c; c = mmi_json_next(c), n++) {
        const char *text = mmi_json_string(mmi_json_get(c, "grammar"));
        mmi_grammar *g = compile(f, text);
        check_texts(f->ctx, f->table, text, g, mmi_json_get(c, "accepted"), 1);
        check_texts(f->ctx, f->table, text, g, mmi_json_get(c, "rejected"), 0);
        mmi_grammar_release(g);
    }
    assert_true(n >= 18);
    mmi_json_destroy(doc);
}

/* Every character, in sets that begin and end at all kinds of places. */
static void test_sets(void **state)
{
    static const uint32_t edges[] = {0, 1, 0x41, 0x7F, 0x80, 0xBF, 0xC0, 0x7FF, 0x800, 0xFFF, 0x1000, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x1F4A1, 0x3FFFF, 0x40000, 0xFFFFF, 0x100000, 0x10FFFF};
    const size_t n = sizeof edges / sizeof *edges;
    fixture *f = *state;

    for (size_t i = 0; i < n; i++)
        for (size_t k = i; k < n; k++)
            for (int negate = 0; negate < 2; negate++) {
                char text[64];
                mmi_grammar_state *s;
                if (negate && edges[i] == 0 && edges[k] == 0x10FFFF) continue; /* empty */
                (void)snprintf(text, sizeof text, "root ::= [%s\\U%08X-\\U%08X]", negate ? "^" : "", edges[i], edges[k]);
                s = start(f, text, 0);
                for (size_t c = 0; c < 3 * n; c++) {
                    uint32_t code = edges[c / 3] + (uint32_t)(c % 3) - 1;
                    char bytes[4];
                    size_t len;
                    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) continue;
                    len = mmi_utf8_encode(code, bytes);
                    if (follows(f->ctx, s, bytes, len) != ((code >= edges[i] && code <= edges[k]) != negate)) fail_msg("%s: U+%04X", text, (unsigned)code);
                    if (len > 1) assert_false(follows(f->ctx, s, bytes, len - 1));
                }
                assert_false(follows(f->ctx, s, "\xED\xA0\x80", 3)); /* a surrogate */
                assert_false(follows(f->ctx, s, "\xC0\x80", 2));
                assert_false(follows(f->ctx, s, "\xF4\x90\x80\x80", 4));
                mmi_grammar_state_destroy(s);
            }
}

static void refused(const fixture *f, const char *text, size_t n, mm_status want, const char *part)
{
    mmi_grammar *g = (mmi_grammar *)1;
    mm_status have = mmi_grammar_create(f->ctx, "grammar", text, n, &g);

    assert_null(g);
    if (have != want || !strstr(mm_context_error(f->ctx), part)) fail_msg("%s: %s (%s)", text, mm_status_name(have), mm_context_error(f->ctx));
}

static void test_errors(void **state)
{
    static const struct {
        const char *text;
        mm_status status;
        const char *part;
    } cases[] = {
        {"", MM_E_FORMAT, "no rule \"root\""},
        {"a ::= \"b\"", MM_E_FORMAT, "no rule \"root\""},
        {"root ::= a\n\nb ::= \"c\"\na ::= b d", MM_E_FORMAT, "line 4: there is no rule \"d\""},
        {"root ::= \"a\"\nroot ::= \"b\"", MM_E_FORMAT, "line 2: a second rule \"root\""},
        {"root = \"a\"", MM_E_FORMAT, "::="},
        {"root ::= \"a", MM_E_FORMAT, "quotes"},
        {"root ::= [a", MM_E_FORMAT, "brackets"},
        {"root ::= [z-a]", MM_E_FORMAT, "range"},
        {"root ::= []", MM_E_FORMAT, "without characters"},
        {"root ::= [^\\x00-\\U0010FFFF]", MM_E_FORMAT, "without characters"},
        {"root ::= (\"a\"", MM_E_FORMAT, ") is missing"},
        {"root ::= \"a\")", MM_E_FORMAT, "goes on"},
        {"root ::= \"a\"\n | \"b\"", MM_E_FORMAT, "line 2: a rule's name"},
        {"root ::= * \"a\"", MM_E_FORMAT, "nothing to repeat"},
        {"root ::= \"a\" | + \"a\"", MM_E_FORMAT, "nothing to repeat"},
        {"root ::= \"a\"{2,1}", MM_E_FORMAT, "less"},
        {"root ::= \"a\"{,1}", MM_E_FORMAT, "number"},
        {"root ::= \"a\"{1", MM_E_FORMAT, "}"},
        {"root ::= \"a\"{1,1000000}", MM_E_LIMIT, "65535"},
        {"root ::= \"a\"{99999999999999999999}", MM_E_LIMIT, "65535"},
        {"root ::= \"ab\"{60000} | [ab]{60000} | \"ab\"{0,60000} | \"c\"{0,65535} | \"d\"{0,65535} | \"c\"{0,65535} | \"d\"{0,65535} | \"c\"{0,65535} | \"d\"{0,65535}"
         "| \"c\"{0,65535} | \"d\"{0,65535}", MM_E_LIMIT, "steps"},
        {"root ::= \"\\q\"", MM_E_FORMAT, "escape"},
        {"root ::= \"\\x4\"", MM_E_FORMAT, "hexadecimal"},
        {"root ::= \"\\ud800\"", MM_E_FORMAT, "no character"},
        {"root ::= \"\\U00110000\"", MM_E_FORMAT, "no character"},
        {"root ::= \"\xC3\"", MM_E_FORMAT, "UTF-8"},
        {"root ::= root \"a\" | \"b\"", MM_E_FORMAT, "left recursion, which is not supported, in the rule \"root\""},
        {"root ::= \"x\" a\na ::= b\nb ::= [c]? (a \"z\")* | \"d\"", MM_E_FORMAT, "left recursion"},
        {"root ::= e a\ne ::= \"\" | e2\ne2 ::= e3? \"\"\ne3 ::= \"q\"\na ::= e root", MM_E_FORMAT, "left recursion"},
        {"root ::= (root | \"a\"){3}", MM_E_FORMAT, "left recursion"},
    };
    fixture *f = *state;
    char *deep = malloc(60000 + 16);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) refused(f, cases[i].text, strlen(cases[i].text), cases[i].status, cases[i].part);
    refused(f, "root ::= \"a\"\0", 13, MM_E_FORMAT, "goes on");
    assert_non_null(deep);
    memcpy(deep, "root ::= ", 9);
    memset(deep + 9, '(', 60000);
    refused(f, deep, 60009, MM_E_LIMIT, "128");
    free(deep);
}

/* A chain of 5000 rules, each beginning with the next, and 50,000 alternatives: neither deep recursion nor quadratic time. */
static void test_large(void **state)
{
    fixture *f = *state;
    mmi_text text = {0};
    mmi_grammar_state *s;

    for (int i = 0; i < 5000; i++) assert_int_equal(mmi_text_format(f->ctx, &text, "r%d ::= r%d \"x\"?\n", i, i + 1), 0);
    assert_int_equal(mmi_text_format(f->ctx, &text, "r5000 ::= \"a\"\nroot ::= r0"), 0);
    s = start(f, text.data, 0);
    assert_true(follows(f->ctx, s, "axx", 3));
    mmi_grammar_state_destroy(s);
    text.size = 0;
    assert_int_equal(mmi_text_format(f->ctx, &text, "root ::= \"0\""), 0);
    for (int i = 1; i < 5000; i++) assert_int_equal(mmi_text_format(f->ctx, &text, " | \"%d\"", i), 0);
    s = start(f, text.data, 0);
    assert_true(follows(f->ctx, s, "4999", 4));
    assert_false(follows(f->ctx, s, "5000", 4));
    mmi_grammar_state_destroy(s);
    mmi_text_clear(&text);
}

/* What could take exponential time or endless memory ends with an answer or a status. */
static void test_ambiguity(void **state)
{
    fixture *f = *state;
    mmi_grammar_state *s = start(f, "root ::= (\"a\"? ){3000} \"a\"{3000}", 0);
    char text[6000];
    mm_status st = MM_OK;

    memset(text, 'a', sizeof text);
    assert_true(follows(f->ctx, s, text, 3000));
    assert_true(follows(f->ctx, s, text, 6000));
    assert_false(follows(f->ctx, s, text, 2999));
    mmi_grammar_state_destroy(s);

    s = start(f, "root ::= \"a\" root \"x\" | \"a\" root \"y\" | \"\"", 0); /* 2^n stacks after n bytes */
    for (int i = 0; i < 64 && !st; i++) st = mmi_grammar_state_accept_bytes(f->ctx, s, "a", 1);
    assert_int_equal(st, MM_E_LIMIT);
    assert_non_null(strstr(mm_context_error(f->ctx), "ambiguous"));
    assert_true(follows(f->ctx, s, "aaxy", 4)); /* it stays usable */
    mmi_grammar_state_destroy(s);

    s = start(f, "root ::= list\nlist ::= \"a\" list | \"b\"", 0); /* recursion at the end needs no stack */
    for (int i = 0; i < 20000; i++) assert_int_equal(mmi_grammar_state_accept_bytes(f->ctx, s, text, 6), MM_OK);
    assert_true(f->a.live < 1 << 20);
    mmi_grammar_state_destroy(s);

    s = start(f, "root ::= \"(\" root \")\" | \"\"", 0); /* depth does; and positions are forgotten on the way */
    memset(text, '(', 5000);
    for (int i = 0; i < 6; i++) assert_int_equal(mmi_grammar_state_accept_bytes(f->ctx, s, text, 5000), MM_OK);
    memset(text, ')', 5000);
    for (int i = 0; i < 6; i++) assert_int_equal(mmi_grammar_state_accept_bytes(f->ctx, s, text, 5000), MM_OK);
    assert_true(mmi_grammar_state_is_complete(s));
    assert_int_equal(mmi_grammar_state_accept_bytes(f->ctx, s, ")", 1), MM_E_STATE);
    assert_true(mmi_grammar_state_is_complete(s)); /* as it was */
    assert_true(follows(f->ctx, s, "(())", 4));
    mmi_grammar_state_destroy(s);
}

static int bit(const uint64_t *mask, size_t id) { return (int)(mask[id / 64] >> id % 64 & 1); }

static const char any_json[] = "root ::= value\nvalue ::= \"{\" (string \":\" ws value (\",\" ws string \":\" ws value)*)? \"}\" | \"[\" (value (\",\" ws value)*)? \"]\""
                               " | string | \"-\"? [0-9]{1,3} (\".\" [0-9]+)? | \"true\" | \"null\"\nws ::= \" \"?\nstring ::= \"\\\"\" ([^\"\\\\\\x00-\\x1F]{0,8} | \"\\\\\" [n\"])* \"\\\"\"";

/* Random walks: at each step every token is allowed exactly when its bytes can be accepted, and the end where the text may end. */
static void test_masks(void **state)
{
    static const int32_t ends[] = {TOY_END, 256 /* a token with text that ends all the same */};
    fixture *f = *state;
    const mmi_token_table *t = f->table;
    const char *const grammars[] = {any_json, "root ::= [a-c]{2} ([^a]* \"é\" | \"\\u20ac\"+)", "root ::= (\"a\" | \"ab\" | \"abd\"){3,} \"\\n\""};
    uint32_t random = 3;

    for (size_t k = 0; k < 3; k++) {
        mmi_grammar *g = compile(f, grammars[k]);
        mmi_grammar_state *s = NULL, *probe = NULL;
        assert_int_equal(mmi_grammar_state_create(f->ctx, g, t, 0, &s), MM_OK);
        assert_int_equal(mmi_grammar_state_create(f->ctx, g, t, 0, &probe), MM_OK);
        for (int walk = 0; walk < 12; walk++) {
            mmi_text text = {0};
            mmi_grammar_state_begin(s);
            for (int step = 0; step < 24; step++) {
                const uint64_t *mask = NULL;
                size_t allowed[TOY_VOCABULARY], n = 0;
                const mmi_token_entry *e;

                assert_int_equal(mmi_grammar_state_mask(f->ctx, s, ends, 2, &mask), MM_OK);
                for (size_t id = 0; id < TOY_VOCABULARY; id++) {
                    int may = 0;
                    if (id == TOY_END || id == 256) {
                        may = mmi_grammar_state_accepts(s);
                    } else if (t->index[id] >= 0) {
                        mmi_grammar_state_begin(probe);
                        assert_int_equal(mmi_grammar_state_accept_bytes(f->ctx, probe, text.data, text.size), MM_OK);
                        may = mmi_grammar_state_accept(f->ctx, probe, (int32_t)id) == MM_OK;
                        if (may) allowed[n++] = id;
                    } else {
                        assert_int_equal(mmi_grammar_state_accept(f->ctx, probe, (int32_t)id), MM_E_STATE);
                    }
                    if (bit(mask, id) != may) fail_msg("grammar %zu behind %.*s: token %zu", k, (int)text.size, text.data ? text.data : "", id);
                }
                if (!n) break;
                random = random * 1664525u + 1013904223u;
                e = &t->entries[t->index[allowed[(random >> 8) % n]]];
                assert_int_equal(mmi_grammar_state_accept(f->ctx, s, e->id), MM_OK);
                assert_int_equal(mmi_text_append(f->ctx, &text, t->bytes.data + e->offset, e->size), 0);
            }
            mmi_text_clear(&text);
        }
        mmi_grammar_state_destroy(s);
        mmi_grammar_state_destroy(probe);
        mmi_grammar_release(g);
    }
}

/* So many positions that they are forgotten again and again; the masks stay right. */
static void test_forgetting(void **state)
{
    static const int32_t end = TOY_END;
    fixture *f = *state;
    mmi_grammar_state *s = start(f, "root ::= [^\\n]{0,3000} \"\\n\"", 0);
    const uint64_t *mask = NULL;

    for (int i = 0; i < 3000; i++) {
        assert_int_equal(mmi_grammar_state_mask(f->ctx, s, &end, 1, &mask), MM_OK);
        assert_true(bit(mask, 'a') && bit(mask, 0xC3) && bit(mask, '\n') && !bit(mask, 0x80) && !bit(mask, TOY_END));
        assert_int_equal(mmi_grammar_state_accept(f->ctx, s, i % 2 ? 'a' : 265), MM_OK); /* 265: é */
        assert_true(f->a.live < 64 << 20);
    }
    assert_int_equal(mmi_grammar_state_mask(f->ctx, s, &end, 1, &mask), MM_OK);
    assert_true(!bit(mask, 'a') && bit(mask, '\n'));
    assert_int_equal(mmi_grammar_state_accept(f->ctx, s, '\n'), MM_OK);
    assert_int_equal(mmi_grammar_state_mask(f->ctx, s, &end, 1, &mask), MM_OK);
    for (size_t i = 0; i < TOY_VOCABULARY; i++) assert_int_equal(bit(mask, i), i == TOY_END);
    assert_int_equal(mmi_grammar_state_mask(f->ctx, s, NULL, 0, &mask), MM_E_STATE); /* nothing can follow */
    assert_null(mask);
    mmi_grammar_state_destroy(s);
}

/* A space that the decoder drops counts for nothing, once. */
static void test_after_space(void **state)
{
    fixture *f = *state;
    mmi_grammar_state *s = start(f, "root ::= \"a\" \" \"", 1);

    assert_true(follows(f->ctx, s, "a ", 2));
    assert_true(follows(f->ctx, s, " a ", 3));
    assert_false(follows(f->ctx, s, "  a ", 4));
    mmi_grammar_state_destroy(s);
    s = start(f, "root ::= \" \" \"a\"", 1);
    assert_true(follows(f->ctx, s, "  a", 3));
    assert_false(follows(f->ctx, s, " a", 2));
    mmi_grammar_state_destroy(s);
}

static void test_out_of_memory(void **state)
{
    static const int32_t end = TOY_END;
    fixture *f = *state;
    long fails = 0;
    mm_status st = MM_E_NOMEM;

    for (long at = 1; st == MM_E_NOMEM; at++, fails++) {
        mmi_grammar *g = NULL;
        mmi_grammar_state *s = NULL;
        const uint64_t *mask = NULL;
        size_t before = f->a.live;

        f->a.count = 0;
        f->a.fail_at = at;
        st = mmi_grammar_create(f->ctx, "grammar", any_json, sizeof any_json - 1, &g);
        if (!st) st = mmi_grammar_state_create(f->ctx, g, f->table, 1, &s);
        if (!st) st = mmi_grammar_state_mask(f->ctx, s, &end, 1, &mask);
        if (!st) st = mmi_grammar_state_accept_bytes(f->ctx, s, "[{\"a\":", 6);
        f->a.fail_at = 0;
        if (st == MM_E_NOMEM && s) assert_true(follows(f->ctx, s, "[1, {\"\":true}]", 14)); /* still usable */
        mmi_grammar_state_destroy(s);
        mmi_grammar_release(g);
        assert_int_equal(f->a.live, before);
    }
    assert_int_equal(st, MM_OK);
    assert_true(fails > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_goldens, setup, teardown),   cmocka_unit_test_setup_teardown(test_sets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),    cmocka_unit_test_setup_teardown(test_large, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ambiguity, setup, teardown), cmocka_unit_test_setup_teardown(test_masks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forgetting, setup, teardown), cmocka_unit_test_setup_teardown(test_after_space, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
    };
    return cmocka_run_group_tests_name("grammar", tests, NULL, NULL);
}
