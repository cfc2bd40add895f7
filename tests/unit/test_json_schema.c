/* JSON schemas against the verdicts of jsonschema (tests/golden/make_grammars.py): what is valid in our order is accepted, what is not valid is not.
 * SPDX-License-Identifier: MIT */
#include "grammar_fixture.h"
#include "json_schema.h"

static void write_json(const fixture *f, const mmi_json_node *n, mmi_text *out)
{
    double x = 0;
    int failed = 0;
    const char *s = mmi_json_string(n);
    mmi_json_kind kind = mmi_json_kind_of(n);

    if (kind == MMI_JSON_NULL) failed = mmi_text_format(f->ctx, out, "null");
    else if (kind == MMI_JSON_BOOL) failed = mmi_text_format(f->ctx, out, mmi_json_true(n) ? "true" : "false");
    else if (kind == MMI_JSON_NUMBER) failed = !mmi_json_number(n, &x) || mmi_text_format(f->ctx, out, "%.17g", x);
    else if (kind == MMI_JSON_STRING) failed = mmi_json_quote(f->ctx, out, s, strlen(s));
    else {
        failed = mmi_text_format(f->ctx, out, kind == MMI_JSON_ARRAY ? "[" : "{");
        for (const mmi_json_node *m = mmi_json_first(n); m; m = mmi_json_next(m)) {
            if (m != mmi_json_first(n)) failed |= mmi_text_format(f->ctx, out, ",");
            if (kind == MMI_JSON_OBJECT) failed |= mmi_json_quote(f->ctx, out, mmi_json_key(m), strlen(mmi_json_key(m))) || mmi_text_format(f->ctx, out, ":");
            write_json(f, m, out);
        }
        failed |= mmi_text_format(f->ctx, out, kind == MMI_JSON_ARRAY ? "]" : "}");
    }
    assert_int_equal(failed, 0);
}

static void test_goldens(void **state)
{
    fixture *f = *state;
    mmi_json *doc = NULL;
    size_t n = 0;

    assert_int_equal(mmi_json_read(f->ctx, "tests/golden/grammars/schemas.json", 1 << 20, &doc), MM_OK);
    for (const mmi_json_node *c = mmi_json_first(mmi_json_root(doc)); c; c = mmi_json_next(c), n++) {
        mmi_text text = {0};
        mmi_grammar *g = NULL;

        write_json(f, mmi_json_get(c, "schema"), &text);
        if (mmi_json_schema_compile(f->ctx, text.data, text.size, &g)) fail_msg("%s: %s", text.data, mm_context_error(f->ctx));
        check_texts(f->ctx, f->table, text.data, g, mmi_json_get(c, "accepted"), 1);
        check_texts(f->ctx, f->table, text.data, g, mmi_json_get(c, "rejected"), 0);
        mmi_grammar_release(g);
        mmi_text_clear(&text);
    }
    assert_true(n >= 37);
    mmi_json_destroy(doc);
}

/* Whatever the dice say, what any JSON comes to is read by the JSON reader. */
static void test_walks(void **state)
{
    static const int32_t end = TOY_END;
    fixture *f = *state;
    mmi_grammar *g = NULL;
    mmi_grammar_state *s = NULL;
    uint32_t random = 11;
    int finished = 0;

    assert_int_equal(mmi_json_schema_compile(f->ctx, "{}", 2, &g), MM_OK);
    assert_int_equal(mmi_grammar_state_create(f->ctx, g, f->table, 0, &s), MM_OK);
    for (int walk = 0; walk < 300; walk++) {
        static const char wanted[] = "\"}],:0123456789e.truefalsnl{[";
        mmi_text text = {0};
        mmi_json *doc = NULL;

        mmi_grammar_state_begin(s);
        for (int step = 0; step < 400; step++) {
            const uint64_t *mask = NULL;
            size_t id;
            const mmi_token_entry *e;
            assert_int_equal(mmi_grammar_state_mask(f->ctx, s, &end, 1, &mask), MM_OK);
            do {
                random = random * 1664525u + 1013904223u;
                id = (random >> 10) % 3 ? (unsigned char)wanted[(random >> 14) % (sizeof wanted - 1)] : (random >> 14) % TOY_VOCABULARY;
                if (mmi_grammar_state_accepts(s) && (step > 60 || random >> 30 == 0)) id = TOY_END;
            } while (!(mask[id / 64] >> id % 64 & 1));
            if (id == TOY_END) {
                finished++;
                if (mmi_json_parse(f->ctx, "walk", text.data, text.size, &doc) && !strstr(mm_context_error(f->ctx), "u0000")) fail_msg("%s: %s", text.data, mm_context_error(f->ctx));
                mmi_json_destroy(doc);
                break;
            }
            e = &f->table->entries[f->table->index[id]];
            assert_int_equal(mmi_grammar_state_accept(f->ctx, s, (int32_t)id), MM_OK);
            assert_int_equal(mmi_text_append(f->ctx, &text, f->table->bytes.data + e->offset, e->size), 0);
        }
        mmi_text_clear(&text);
    }
    assert_true(finished > 150);
    mmi_grammar_state_destroy(s);
    mmi_grammar_release(g);
}

static void test_refused(void **state)
{
    static const struct {
        const char *schema;
        mm_status status;
        const char *part;
    } cases[] = {
        {"{", MM_E_FORMAT, "the JSON schema"},
        {"3", MM_E_FORMAT, "neither an object nor a boolean"},
        {"{\"items\": 3, \"type\": \"array\"}", MM_E_FORMAT, "neither an object nor a boolean"},
        {"false", MM_E_UNSUPPORTED, "\"false\""},
        {"{\"not\": {}}", MM_E_UNSUPPORTED, "\"not\""},
        {"{\"type\": \"object\", \"patternProperties\": {}}", MM_E_UNSUPPORTED, "\"patternProperties\""},
        {"{\"properties\": {\"a\": {\"type\": \"integer\", \"multipleOf\": 2}}}", MM_E_UNSUPPORTED, "\"multipleOf\""},
        {"{\"type\": \"array\", \"uniqueItems\": true}", MM_E_UNSUPPORTED, "\"uniqueItems\""},
        {"{\"type\": \"number\", \"minimum\": 0}", MM_E_UNSUPPORTED, "\"minimum\" of a number"},
        {"{\"type\": \"integer\", \"minimum\": 2, \"maximum\": 1}", MM_E_FORMAT, "no whole number"},
        {"{\"type\": \"integer\", \"minimum\": 1e300}", MM_E_LIMIT, "1e15"},
        {"{\"type\": \"integer\", \"exclusiveMinimum\": true}", MM_E_FORMAT, "no number"},
        {"{\"type\": \"strin\"}", MM_E_FORMAT, "\"type\""},
        {"{\"type\": []}", MM_E_FORMAT, "\"type\""},
        {"{\"type\": \"string\", \"format\": \"email\"}", MM_E_UNSUPPORTED, "\"email\""},
        {"{\"type\": \"string\", \"format\": \"date\", \"maxLength\": 3}", MM_E_UNSUPPORTED, "\"format\""},
        {"{\"type\": \"string\", \"pattern\": \"^a$\", \"minLength\": 3}", MM_E_UNSUPPORTED, "\"pattern\""},
        {"{\"type\": \"string\", \"minLength\": -1}", MM_E_FORMAT, "minLength"},
        {"{\"type\": \"string\", \"minLength\": 2, \"maxLength\": 1}", MM_E_FORMAT, "maxLength"},
        {"{\"type\": \"string\", \"maxLength\": 1000000}", MM_E_LIMIT, "65535"},
        {"{\"type\": \"array\", \"items\": [{}]}", MM_E_UNSUPPORTED, "\"items\""},
        {"{\"type\": \"array\", \"prefixItems\": [{}], \"items\": false, \"minItems\": 2}", MM_E_FORMAT, "\"minItems\""},
        {"{\"type\": \"object\", \"required\": [\"a\"], \"additionalProperties\": false}", MM_E_FORMAT, "\"required\""},
        {"{\"enum\": []}", MM_E_FORMAT, "\"enum\""},
        {"{\"enum\": [1], \"type\": \"string\"}", MM_E_FORMAT, "\"enum\""},
        {"{\"enum\": [1], \"minimum\": 0}", MM_E_UNSUPPORTED, "\"minimum\" beside"},
        {"{\"anyOf\": []}", MM_E_FORMAT, "\"anyOf\""},
        {"{\"anyOf\": [{}], \"type\": \"string\"}", MM_E_UNSUPPORTED, "\"type\" beside \"anyOf\""},
        {"{\"oneOf\": [{\"type\": \"integer\"}, {\"type\": \"number\"}]}", MM_E_UNSUPPORTED, "alternatives 0 and 1"},
        {"{\"oneOf\": [{\"type\": \"null\"}, {\"enum\": [1, 2]}, {\"enum\": [2.0, 3]}]}", MM_E_UNSUPPORTED, "alternatives 1 and 2"},
        {"{\"oneOf\": [{\"type\": \"object\", \"properties\": {\"k\": {\"const\": 1}}}, {\"type\": \"object\", \"properties\": {\"k\": {\"const\": 2}}}]}", MM_E_UNSUPPORTED, "alternatives"},
        {"{\"allOf\": [{\"type\": \"string\"}, {\"minLength\": 2}]}", MM_E_UNSUPPORTED, "no objects"},
        {"{\"allOf\": [{\"type\": \"string\"}, {\"type\": \"object\"}]}", MM_E_UNSUPPORTED, "no objects"},
        {"{\"allOf\": [{\"additionalProperties\": false}, {\"properties\": {\"a\": {}}}]}", MM_E_UNSUPPORTED, "\"additionalProperties\""},
        {"{\"allOf\": [{\"properties\": {\"a\": {}}}, {\"properties\": {\"a\": {\"type\": \"null\"}}}]}", MM_E_UNSUPPORTED, "\"a\" twice"},
        {"{\"allOf\": [{\"$ref\": \"#\"}, {}]}", MM_E_LIMIT, "64"},
        {"{\"$ref\": \"#\"}", MM_E_FORMAT, "left recursion"},
        {"{\"anyOf\": [{\"$ref\": \"#/anyOf/1\"}, {\"$ref\": \"#/anyOf/0\"}]}", MM_E_FORMAT, "left recursion"},
        {"{\"$ref\": \"#/$defs/x\"}", MM_E_FORMAT, "leads nowhere"},
        {"{\"$ref\": \"other.json\"}", MM_E_UNSUPPORTED, "other.json"},
        {"{\"$ref\": 1}", MM_E_FORMAT, "\"$ref\""},
    };
    static const struct {
        const char *pattern;
        mm_status status;
        const char *part;
    } patterns[] = {
        {"^+", MM_E_FORMAT, "repetition of nothing"}, {"a**", MM_E_FORMAT, "repetition"},    {"a+?", MM_E_UNSUPPORTED, "lazy"},
        {"(?=a)", MM_E_UNSUPPORTED, "group"},         {"(a", MM_E_FORMAT, "not closed"},     {"a)", MM_E_FORMAT, "too many"},
        {"[a", MM_E_FORMAT, "not closed"},            {"[z-a]", MM_E_FORMAT, "range"},       {"[[:alpha:]]", MM_E_UNSUPPORTED, "bracket"},
        {"\\\\1", MM_OK, ""},                         {"\\bfoo", MM_E_UNSUPPORTED, "escape"}, {"(a)\\1", MM_E_UNSUPPORTED, "escape"},
        {"^a|b$", MM_E_UNSUPPORTED, "anchor"},        {"a^b", MM_E_UNSUPPORTED, "^"},        {"a$b", MM_E_UNSUPPORTED, "$"},
        {"a{2", MM_E_FORMAT, "{"},                    {"{2}", MM_E_UNSUPPORTED, "{"},        {"a{,2}", MM_E_UNSUPPORTED, "{"},
        {"a{3,2}", MM_E_FORMAT, "less"},              {"\\ud83d\\udca1", MM_E_UNSUPPORTED, "surrogate"}, {"\\u12", MM_E_FORMAT, "hexadecimal"},
        {"[^\\s\\S]", MM_E_FORMAT, "without characters"}, {"a\\", MM_E_FORMAT, "backslash"}, {"\\p{L}", MM_E_UNSUPPORTED, "escape"},
    };
    fixture *f = *state;
    mmi_text text = {0};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmi_grammar *g = (mmi_grammar *)1;
        mm_status have = mmi_json_schema_compile(f->ctx, cases[i].schema, strlen(cases[i].schema), &g);
        if (have != cases[i].status || !strstr(mm_context_error(f->ctx), cases[i].part))
            fail_msg("%s: %s (%s)", cases[i].schema, mm_status_name(have), mm_context_error(f->ctx));
        assert_null(g);
    }
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        mmi_grammar *g = NULL;
        mm_status have;
        text.size = 0;
        assert_int_equal(mmi_text_format(f->ctx, &text, "{\"type\": \"string\", \"pattern\": "), 0);
        assert_int_equal(mmi_json_quote(f->ctx, &text, patterns[i].pattern, strlen(patterns[i].pattern)) || mmi_text_append(f->ctx, &text, "}", 1), 0);
        have = mmi_json_schema_compile(f->ctx, text.data, text.size, &g);
        if (have != patterns[i].status || (have && !strstr(mm_context_error(f->ctx), patterns[i].part)))
            fail_msg("%s: %s (%s)", patterns[i].pattern, mm_status_name(have), have ? mm_context_error(f->ctx) : "");
        mmi_grammar_release(g);
    }
    text.size = 0; /* 30,000 parentheses in a pattern; then allOf that doubles at each of 30 levels */
    assert_int_equal(mmi_text_format(f->ctx, &text, "{\"pattern\": \""), 0);
    for (int i = 0; i < 30000; i++) assert_int_equal(mmi_text_append(f->ctx, &text, "(", 1), 0);
    assert_int_equal(mmi_text_append(f->ctx, &text, "\"}", 2), 0);
    {
        mmi_grammar *g = NULL;
        assert_int_equal(mmi_json_schema_compile(f->ctx, text.data, text.size, &g), MM_E_LIMIT);
        text.size = 0;
        assert_int_equal(mmi_text_format(f->ctx, &text, "{\"allOf\": [{\"$ref\": \"#/$defs/d0\"}, {}], \"$defs\": {\"d30\": {}"), 0);
        for (int i = 0; i < 30; i++)
            assert_int_equal(mmi_text_format(f->ctx, &text, ", \"d%d\": {\"allOf\": [{\"$ref\": \"#/$defs/d%d\"}, {\"$ref\": \"#/$defs/d%d\"}]}", i, i + 1, i + 1), 0);
        assert_int_equal(mmi_text_append(f->ctx, &text, "}}", 2), 0);
        assert_int_equal(mmi_json_schema_compile(f->ctx, text.data, text.size, &g), MM_E_LIMIT);
    }
    mmi_text_clear(&text);
}

static void test_out_of_memory(void **state)
{
    static const char schema[] =
        "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\", \"pattern\": \"^[a-\\u00e9]+$\"}, \"b\": {\"enum\": [1, [\"x\"]]}, \"c\": {\"allOf\": [{\"$ref\": \"#/$defs/x\"}, "
        "{\"required\": [\"q\"]}]}}, \"required\": [\"b\"], \"additionalProperties\": {\"type\": \"integer\", \"maximum\": 77}, \"$defs\": {\"x\": {\"properties\": {\"p\": true}}}}";
    fixture *f = *state;
    mm_status st = MM_E_NOMEM;
    long fails = 0;

    for (long at = 1; st == MM_E_NOMEM; at++, fails++) {
        mmi_grammar *g = NULL;
        size_t before = f->a.live;
        f->a.count = 0;
        f->a.fail_at = at;
        st = mmi_json_schema_compile(f->ctx, schema, sizeof schema - 1, &g);
        f->a.fail_at = 0;
        mmi_grammar_release(g);
        assert_int_equal(f->a.live, before);
    }
    if (st) fail_msg("%s", mm_context_error(f->ctx));
    assert_true(fails > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_goldens, setup, teardown),
        cmocka_unit_test_setup_teardown(test_walks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
    };
    return cmocka_run_group_tests_name("json_schema", tests, NULL, NULL);
}
