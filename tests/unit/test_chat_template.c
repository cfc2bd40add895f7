/* src/tokenizer/chat_template.c and the interpreter under it (jinja_*.c) against Jinja2 as transformers sets it
 * up (tests/golden/make_chat_templates.py), byte for byte; then hostile templates, and every allocation failing once.
 * SPDX-License-Identifier: MIT */
#define _POSIX_C_SOURCE 200809L /* setenv */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "chat_template.h"
#include "jinja_parser.h"
#include "jinja_value.h"

typedef struct {
    mm_context *ctx;
    mmi_json *doc; /* the golden file */
    int64_t now;
    size_t allocations, fail_at; /* fail allocation number fail_at (from 1) */
    size_t live;
} fixture;

static void *counted_alloc(void *user, size_t size, size_t alignment)
{
    fixture *f = user;
    void *p = NULL;

    if (++f->allocations == f->fail_at) return NULL;
    if (posix_memalign(&p, alignment, size)) return NULL;
    f->live++;
    return p;
}

static void counted_free(void *user, void *ptr, size_t size)
{
    (void)size;
    ((fixture *)user)->live--;
    free(ptr);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    mm_hooks hooks = {sizeof hooks, counted_alloc, counted_free, f};
    double now = 0;

    assert_non_null(f);
    assert_int_equal(mm_context_create(&hooks, &f->ctx), MM_OK);
    assert_int_equal(mmi_json_read(f->ctx, "tests/golden/chat_templates/cases.json", 1 << 20, &f->doc), MM_OK);
    assert_true(mmi_json_number(mmi_json_get(mmi_json_root(f->doc), "now"), &now));
    f->now = (int64_t)now;
    assert_int_equal(setenv("TZ", "UTC", 1), 0);
    tzset();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;

    mmi_json_destroy(f->doc);
    mm_context_destroy(f->ctx);
    assert_int_equal(f->live, 0);
    free(f);
    return 0;
}

static const mmi_json_node *golden(const fixture *f, const char *key)
{
    const mmi_json_node *node = mmi_json_get(mmi_json_root(f->doc), key);
    assert_non_null(node);
    return node;
}

/* Parse and render with variables from JSON. */
static mm_status render_text(fixture *f, const char *text, size_t n, const mmi_json_node *variables, mmi_text *out)
{
    mmi_chat_template *tpl;
    mm_status st = mmi_chat_template_create(f->ctx, text, n, &tpl);

    if (st) {
        assert_null(tpl);
        return st;
    }
    st = mmi_chat_template_render_json(f->ctx, tpl, variables, f->now, out);
    mmi_chat_template_destroy(tpl);
    return st;
}

static int matches(const char *name, const mmi_text *got, mm_status st, const char *expected, const char *error)
{
    if (!expected) {
        if (st == MM_E_FORMAT || st == MM_E_LIMIT) return 1;
        print_error("%s\n  gave      %.*s\n  where Jinja2 fails (status %d)\n", name, (int)got->size, got->size ? got->data : "", (int)st);
        return 0;
    }
    if (!st && strlen(expected) == got->size && (!got->size || memcmp(expected, got->data, got->size) == 0)) return 1;
    print_error("%s\n  expected  %s\n  gave      %.*s\n  status %d %s\n", name, expected, (int)got->size, got->size ? got->data : "",
                (int)st, st ? error : "");
    return 0;
}

static void snippets_equal_jinja2(void **state)
{
    fixture *f = *state;
    size_t count = 0, wrong = 0;

    for (const mmi_json_node *n = mmi_json_first(golden(f, "snippets")); n; n = mmi_json_next(n), count++) {
        const char *text = mmi_json_string(mmi_json_first(n));
        mmi_text out = {0};
        mm_status st = render_text(f, text, strlen(text), golden(f, "vars"), &out);

        wrong += !matches(text, &out, st, mmi_json_string(mmi_json_next(mmi_json_first(n))), mm_context_error(f->ctx));
        if (st) assert_null(out.data);
        mmi_text_clear(&out);
    }
    assert_true(count > 900);
    assert_int_equal(wrong, 0);
}

/* ---- whole conversations through the typed interface ---- */

enum { MOST_MESSAGES = 16, MOST_PARTS = 8 };

typedef struct {
    mmi_chat_message messages[MOST_MESSAGES];
    mmi_chat_part parts[MOST_MESSAGES][MOST_PARTS];
    size_t count;
} conversation;

static void read_conversation(const mmi_json_node *chat, conversation *c)
{
    memset(c, 0, sizeof *c);
    for (const mmi_json_node *n = mmi_json_first(chat); n; n = mmi_json_next(n)) {
        mmi_chat_message *m = &c->messages[c->count];
        const mmi_json_node *content = mmi_json_get(n, "content");

        assert_true(c->count < MOST_MESSAGES);
        m->role = mmi_json_string(mmi_json_get(n, "role"));
        m->content = mmi_json_string(content);
        if (mmi_json_kind_of(content) == MMI_JSON_ARRAY) {
            m->parts = c->parts[c->count];
            for (const mmi_json_node *p = mmi_json_first(content); p; p = mmi_json_next(p)) {
                assert_true(m->part_count < MOST_PARTS);
                c->parts[c->count][m->part_count].type = mmi_json_string(mmi_json_get(p, "type"));
                c->parts[c->count][m->part_count++].text = mmi_json_string(mmi_json_get(p, "text"));
            }
        }
        if (!m->parts) m->members = n; /* role and content again, tool_calls and the like */
        c->count++;
    }
}

static void conversations_equal_transformers(void **state)
{
    fixture *f = *state;
    size_t count = 0, wrong = 0;

    for (const mmi_json_node *family = mmi_json_first(golden(f, "families")); family; family = mmi_json_next(family)) {
        const char *text = mmi_json_string(mmi_json_get(family, "template"));
        mmi_chat_template *tpl;

        assert_int_equal(mmi_chat_template_create(f->ctx, text, strlen(text), &tpl), MM_OK);
        for (const mmi_json_node *run = mmi_json_first(mmi_json_get(family, "runs")); run; run = mmi_json_next(run), count++) {
            const char *chat = mmi_json_string(mmi_json_get(run, "chat"));
            mmi_chat_options options = {0};
            mmi_text out = {0};
            char name[128];
            conversation c;
            mm_status st;

            read_conversation(mmi_json_get(golden(f, "chats"), chat), &c);
            options.add_generation_prompt = mmi_json_true(mmi_json_get(run, "prompt"));
            options.bos_token = "<s>";
            options.eos_token = "</s>";
            options.tools = mmi_json_true(mmi_json_get(run, "tools")) ? golden(f, "tools") : NULL;
            options.variables = mmi_json_get(run, "extra");
            options.now = f->now;
            (void)snprintf(name, sizeof name, "%s, %s, tools %d, prompt %d", mmi_json_key(family), chat, options.tools != NULL,
                           options.add_generation_prompt);
            st = mmi_chat_template_render(f->ctx, tpl, c.messages, c.count, &options, &out);
            wrong += !matches(name, &out, st, mmi_json_string(mmi_json_get(run, "text")), mm_context_error(f->ctx));
            mmi_text_clear(&out);
        }
        mmi_chat_template_destroy(tpl);
    }
    assert_true(count > 180);
    assert_int_equal(wrong, 0);
}

static void options_are_optional_and_output_is_appended(void **state)
{
    static const char text[] = "{{ messages|length }}{{ tools is none }}{{ documents is none }}{{ bos_token is defined }}"
                               "{{ add_generation_prompt }}{{ messages[0].content is none }}";
    fixture *f = *state;
    mmi_chat_message m = {"user", NULL, NULL, 0, NULL};
    mmi_chat_template *tpl;
    mmi_text out = {0};

    assert_int_equal(mmi_chat_template_create(f->ctx, text, sizeof text - 1, &tpl), MM_OK);
    assert_int_equal(mmi_text_append(f->ctx, &out, "before ", 7), 0);
    assert_int_equal(mmi_chat_template_render(f->ctx, tpl, &m, 1, NULL, &out), MM_OK);
    assert_string_equal(out.data, "before 1TrueTrueFalseFalseTrue");
    mmi_chat_template_destroy(tpl);
    mmi_text_clear(&out);
    mmi_chat_template_destroy(NULL);
}

/* ---- failures ---- */

static void expect_failure(fixture *f, const char *text, mm_status expected, const char *sentence)
{
    mmi_text out = {0};
    mm_status st = render_text(f, text, strlen(text), NULL, &out);

    if (st != expected || !strstr(mm_context_error(f->ctx), sentence))
        print_error("%.200s\n  status %d, expected %d: %s\n", text, (int)st, (int)expected, mm_context_error(f->ctx));
    assert_int_equal(st, expected);
    assert_non_null(strstr(mm_context_error(f->ctx), sentence));
    assert_null(out.data);
}

static void sentences_name_the_line_and_the_cause(void **state)
{
    fixture *f = *state;

    expect_failure(f, "a\nb\n{{ x.y }}", MM_E_FORMAT, "line 3: 'x' is undefined and has no attributes");
    expect_failure(f, "\n\n{%- if true %}\n{{ 1 + 'a' }}{% endif %}", MM_E_FORMAT, "line 4: '+' does not join values of type int and str");
    expect_failure(f, "{{ raise_exception('roles must\nalternate') }}", MM_E_FORMAT,
                   "line 1: the template refuses the conversation: roles must\nalternate");
    expect_failure(f, "{{ 1 }}\n{% if x %}\n", MM_E_FORMAT, "line 2: the end of the template stands where the end of a block");
    expect_failure(f, "{% nosuch %}", MM_E_FORMAT, "line 1: 'nosuch' stands where the name of a statement is expected");
    expect_failure(f, "{#\n#}{{ 1|nosuch }}", MM_E_FORMAT, "line 2: there is no filter 'nosuch'");
    expect_failure(f, "{{ 'a\nb' }}\n{{ 1 is nosuch }}", MM_E_FORMAT, "line 3: there is no test 'nosuch'");
    expect_failure(f, "{% macro m() %}\n{{ 1 // 0 }}{% endmacro %}\n\n{{ m() }}", MM_E_FORMAT, "line 2: a division by zero");
    expect_failure(f, "{{ namespace().x() }}", MM_E_FORMAT, "'x' is undefined and has no call");
    expect_failure(f, "{% for x in y recursive %}{% endfor %}", MM_E_FORMAT, "recursive loops are not supported");
    expect_failure(f, "{{ dict(*x) }}", MM_E_FORMAT, "arguments by * or ** are not supported");
    expect_failure(f, "{{ strftime_now('%Q') }}", MM_E_FORMAT, "strftime_now does not know %Q");
    expect_failure(f, "{{ x }}\n\xFF", MM_E_FORMAT, "not UTF-8 at byte 8");
    expect_failure(f, "{{ range }}", MM_E_FORMAT, "a value of type function cannot be printed");
    expect_failure(f, "{{ (-8) ** 0.5 }}", MM_E_FORMAT, "a power that is no number");
    expect_failure(f, "{{ 'a'.encode() }}", MM_E_FORMAT, "'encode' is undefined and has no call");
    expect_failure(f, "{{ 'a'|map('upper') }}", MM_E_FORMAT, "a value of type generator cannot be printed");
}

/* Python has integers of any size; here what passes 64 bits fails. */
static void integers_do_not_wrap(void **state)
{
    static const char *const texts[] = {"{{ 9223372036854775807 + 1 }}",
                                        "{{ -9223372036854775807 - 2 }}",
                                        "{{ 4294967296 * 4294967296 }}",
                                        "{{ 2 ** 63 }}",
                                        "{{ 3 ** 99999999999 }}",
                                        "{{ 9223372036854775808 }}",
                                        "{{ -(-9223372036854775807 - 1) }}",
                                        "{{ (-9223372036854775807 - 1) // -1 }}",
                                        "{{ (-9223372036854775807 - 1)|abs }}",
                                        "{{ '99999999999999999999'|int }}",
                                        "{{ 1e30|int }}",
                                        "{{ [9223372036854775807, 1]|sum }}",
                                        "{{ '%d' % 1e30 }}",
                                        "{{ 0xFFFFFFFFFFFFFFFFF }}"};
    fixture *f = *state;
    mmi_text out = {0};
    static const char smallest[] = "{{ -9223372036854775807 - 1 }} {{ (-9223372036854775807 - 1) % -1 }} {{ 9223372036854775807 // 1 }} "
                                   "{{ 9223372036854775807 == 9223372036854775808.0 }} {{ 9223372036854775807 < 9223372036854775808.0 }}";

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) expect_failure(f, texts[i], MM_E_LIMIT, "64");
    assert_int_equal(render_text(f, smallest, sizeof smallest - 1, NULL, &out), MM_OK);
    assert_string_equal(out.data, "-9223372036854775808 0 9223372036854775807 False True");
    mmi_text_clear(&out);
}

/* ---- hostile templates ---- */

/* prefix, middle repeated, suffix */
static char *repeat(const char *prefix, const char *middle, size_t times, const char *suffix)
{
    size_t p = strlen(prefix), m = strlen(middle), s = strlen(suffix);
    char *text = malloc(p + m * times + s + 1);

    assert_non_null(text);
    memcpy(text, prefix, p);
    for (size_t i = 0; i < times; i++) memcpy(text + p + i * m, middle, m);
    memcpy(text + p + m * times, suffix, s + 1);
    return text;
}

static void expect_limit(fixture *f, const char *prefix, const char *middle, size_t times, const char *suffix)
{
    char *text = repeat(prefix, middle, times, suffix);
    expect_failure(f, text, MM_E_LIMIT, "more than");
    free(text);
}

static void nesting_is_bounded(void **state)
{
    fixture *f = *state;

    expect_limit(f, "{{ ", "(", 100000, "");
    expect_limit(f, "{{ ", "[", 100000, "");
    expect_limit(f, "{{ ", "{1:", 100000, "");
    expect_limit(f, "{{ ", "-", 100000, "1 }}");
    expect_limit(f, "{{ ", "not ", 100000, "1 }}");
    expect_limit(f, "{{ x", ".x", 100000, " }}");
    expect_limit(f, "{{ x", "[0]", 100000, " }}");
    expect_limit(f, "{{ x", "()", 100000, " }}");
    expect_limit(f, "{{ x", "(x", 100000, " }}");
    expect_limit(f, "{{ x", "|e", 100000, " }}");
    expect_limit(f, "{{ 1", "+1", 100000, " }}");
    expect_limit(f, "{{ 1", " if 1 else 1", 50000, " }}");
    expect_limit(f, "{{ 1", " if 1", 100000, " }}");
    expect_limit(f, "{{ 1", " or 1", 100000, " }}");
    expect_limit(f, "", "{% if 1 %}", 50000, "");
    expect_limit(f, "", "{% for x in y %}", 50000, "");
    expect_limit(f, "", "{% macro m() %}", 50000, "");
    expect_limit(f, "{% set ", "(", 100000, "a");
    expect_limit(f, "{{ 1", ", 1", 300000, " }}");
    expect_limit(f, "", "{{ 1 }}", 149000, "");
    expect_limit(f, "x", "x", MMI_JINJA_MAX_TEMPLATE, "");
}

static void running_is_bounded(void **state)
{
    static const char *const texts[] = {
        "{% for i in range(1000000000) %}{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(-9223372036854775807, 9223372036854775807) %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{% macro m(a=m()) %}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{% call m(n) %}{{ caller() }}{% endcall %}{% endmacro %}{{ m(1) }}",
        "{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s|replace('', ns.s) %}{% endfor %}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l|tojson }}",
        "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(100) %}{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% "
        "endfor %}"
        "{{ ns.l == ns.m }}",
        "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(100) %}{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% "
        "endfor %}"
        "{{ ns.l < ns.m }}",
        "{% set ns = namespace(t=(1,)) %}{% for i in range(100) %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ {ns.t: 1} }}",
        "{% set ns = namespace(l=1) %}{% for i in range(5000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=1) %}{% for i in range(5000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l|tojson }}",
        "{% set ns = namespace(l=1) %}{% for i in range(5000) %}{% set ns.l = (ns.l,) %}{% endfor %}{{ {ns.l: 1} }}",
        "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
        "{{ 'x' * 1000000000 }}",
        "{{ 'x' * 9223372036854775807 }}",
        "{{ 9223372036854775807 * 'xy' }}",
        "{{ [1] * 9223372036854775807 }}",
        "{{ [1] * 100000000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (9223372036854775807, 1) }}",
        "{{ '%*d' % (-9223372036854775807, 1) }}",
        "{{ '%.1000f' % 1.5 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:99999999999999999999}'.format('a') }}",
        "{{ 'a'.center(1000000000) }}",
        "{{ 'a'.zfill(9223372036854775807) }}",
        "{{ 'a'|indent(1000000000, true) }}",
        "{{ [1]|tojson(indent=1000000000) }}",
        "{% for i in range(100000) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' * 100 }}{% endfor %}",
        "{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{% if s == s ~ '' %}{% endif %}{% endfor %}",
        "{% set s = 'é' * 1000000 %}{% for i in range(100000) %}{% if s[999999] %}{% endif %}{% endfor %}",
        "{% set s = ('a' * 100000 ~ 'b') * 100 %}{% for i in range(100000) %}{% if s.rfind('a' * 100000 ~ 'c') %}{% endif %}{% endfor %}",
        "{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{% if s.strip('bcdefghijkla') %}{% endif %}{% endfor %}",
        "{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{% if s.split('a') %}{% endif %}{% endfor %}",
    };
    fixture *f = *state;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) expect_failure(f, texts[i], MM_E_LIMIT, "more than");
}

/* 20,000 names in one scope, and 20,000 keys in one dict, cost no quadratic time: they stay within the budget of steps. */
static void many_names_and_keys_fit(void **state)
{
    fixture *f = *state;
    char *text = malloc(1 << 20);
    size_t n = 0;
    mmi_text out = {0};

    assert_non_null(text);
    n += (size_t)sprintf(text + n, "{%% set d = {");
    for (int i = 0; i < 20000; i++) n += (size_t)sprintf(text + n, "%d:'k%d',", i, i);
    n += (size_t)sprintf(text + n,
                         "} %%}{{ d[19999] }}{{ d|length }}{%% for k in d %%}{%% if d[k] != 'k' ~ k %%}!{%% endif %%}{%% endfor %%}");
    assert_int_equal(render_text(f, text, n, NULL, &out), MM_OK);
    assert_string_equal(out.data, "k1999920000");
    mmi_text_clear(&out);
    n = 0;
    for (int i = 0; i < 20000; i++) n += (size_t)sprintf(text + n, "{%% set v%d = %d %%}", i, i);
    n += (size_t)sprintf(text + n, "{{ v0 }}{{ v19999 }}");
    assert_int_equal(render_text(f, text, n, NULL, &out), MM_OK);
    assert_string_equal(out.data, "019999");
    mmi_text_clear(&out);
    free(text);
}

/* s = s + x over 20,000 turns makes 200 MB of intermediate texts, which are no more than one buffer. */
static void gathering_text_is_linear(void **state)
{
    static const char text[] = "{% set ns = namespace(s='') %}{% for i in range(20000) %}{% set ns.s = ns.s + 'abcdefgh' ~ '12345678' %}"
                               "{% endfor %}{{ ns.s|length }}{{ ns.s[-8:] }}{{ ns.s[:10] }}";
    fixture *f = *state;
    mmi_text out = {0};
    int64_t before = 0, peak = 0;

    assert_int_equal(mm_context_get_i64(f->ctx, MM_CONTEXT_MEMORY_PEAK, &before), MM_OK);
    assert_int_equal(render_text(f, text, sizeof text - 1, NULL, &out), MM_OK);
    assert_string_equal(out.data, "32000012345678abcdefgh12");
    assert_int_equal(mm_context_get_i64(f->ctx, MM_CONTEXT_MEMORY_PEAK, &peak), MM_OK);
    assert_true(peak <= (before > 64 << 20 ? before : 64 << 20));
    mmi_text_clear(&out);
}

static void cancelling_stops_a_render(void **state)
{
    static const char text[] = "{% for i in range(100000) %}{% for j in range(10) %}{% endfor %}{% endfor %}";
    fixture *f = *state;
    mmi_text out = {0};

    mm_context_cancel(f->ctx);
    assert_int_equal(render_text(f, text, sizeof text - 1, NULL, &out), MM_E_CANCELLED);
    assert_int_equal(render_text(f, "ok", 2, NULL, &out), MM_OK);
    assert_string_equal(out.data, "ok");
    mmi_text_clear(&out);
}

/* Malformed UTF-8 in a message is passed on, counted byte by byte, and U+FFFD in JSON. */
static void malformed_text_is_harmless(void **state)
{
    static const char text[] =
        "{{ messages[0].content|length }}{{ messages[0].content }}{{ messages[0].content[1:2]|tojson }}{{ messages[0].content|upper }}";
    fixture *f = *state;
    mmi_chat_message m = {"user", "a\xFF\xC3", NULL, 0, NULL};
    mmi_chat_template *tpl;
    mmi_text out = {0};

    assert_int_equal(mmi_chat_template_create(f->ctx, text, sizeof text - 1, &tpl), MM_OK);
    assert_int_equal(mmi_chat_template_render(f->ctx, tpl, &m, 1, NULL, &out), MM_OK);
    assert_string_equal(out.data, "3a\xFF\xC3\"\xEF\xBF\xBD\"A\xFF\xC3");
    mmi_chat_template_destroy(tpl);
    mmi_text_clear(&out);
}

/* ---- allocation failures ---- */

static mm_status render_family(fixture *f, const char *family, const char *chat, mmi_text *out)
{
    const char *text = mmi_json_string(mmi_json_get(mmi_json_get(golden(f, "families"), family), "template"));
    mmi_chat_options options = {0};
    mmi_chat_template *tpl;
    conversation c;
    mm_status st;

    read_conversation(mmi_json_get(golden(f, "chats"), chat), &c);
    options.tools = golden(f, "tools");
    options.now = f->now;
    options.bos_token = "<s>";
    options.eos_token = "</s>";
    st = mmi_chat_template_create(f->ctx, text, strlen(text), &tpl);
    if (st) return st;
    st = mmi_chat_template_render(f->ctx, tpl, c.messages, c.count, &options, out);
    mmi_chat_template_destroy(tpl);
    return st;
}

static void every_allocation_may_fail(void **state)
{
    static const char *const families[] = {"llama31", "qwen3", "command_r", "tool_macros"};
    fixture *f = *state;

    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        mmi_text whole = {0};
        size_t failures = 0, live;

        assert_int_equal(render_family(f, families[i], "call", &whole), MM_OK);
        live = f->live;
        for (size_t n = 1;; n++) {
            mmi_text out = {0};
            mm_status st;

            f->allocations = 0;
            f->fail_at = n;
            st = render_family(f, families[i], "call", &out);
            f->fail_at = 0;
            if (!st) {
                assert_int_equal(out.size, whole.size);
                assert_memory_equal(out.data, whole.data, whole.size);
                mmi_text_clear(&out);
                break;
            }
            assert_int_equal(st, MM_E_NOMEM);
            assert_null(out.data);
            assert_int_equal(f->live, live);
            failures++;
        }
        assert_true(failures > 5);
        mmi_text_clear(&whole);
    }
}

/* ---- threads ---- */

enum { THREADS = 4, RENDERS = 25 };

typedef struct {
    fixture *f;
    const mmi_chat_template *tpl;
    const mmi_text *expected;
    int wrong;
} thread_job;

static void *render_in_thread(void *arg)
{
    thread_job *job = arg;
    mmi_chat_options options = {0};
    conversation c;
    mm_context *ctx;

    if (mm_context_create(NULL, &ctx)) {
        job->wrong = -1;
        return NULL;
    }
    read_conversation(mmi_json_get(golden(job->f, "chats"), "call"), &c);
    options.tools = golden(job->f, "tools");
    options.now = job->f->now;
    options.bos_token = "<s>";
    options.eos_token = "</s>";
    for (int i = 0; i < RENDERS; i++) {
        mmi_text out = {0};
        job->wrong += mmi_chat_template_render(ctx, job->tpl, c.messages, c.count, &options, &out) != MM_OK ||
                      out.size != job->expected->size || memcmp(out.data, job->expected->data, out.size) != 0;
        mmi_text_clear(&out);
    }
    mm_context_destroy(ctx);
    return NULL;
}

static void threads_may_share_a_template(void **state)
{
    fixture *f = *state;
    const char *text = mmi_json_string(mmi_json_get(mmi_json_get(golden(f, "families"), "command_r"), "template"));
    thread_job jobs[THREADS];
    pthread_t threads[THREADS];
    mmi_chat_template *tpl;
    mmi_text expected = {0};

    assert_int_equal(render_family(f, "command_r", "call", &expected), MM_OK);
    assert_int_equal(mmi_chat_template_create(f->ctx, text, strlen(text), &tpl), MM_OK);
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (thread_job){f, tpl, &expected, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, render_in_thread, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(jobs[i].wrong, 0);
    }
    mmi_chat_template_destroy(tpl);
    mmi_text_clear(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(snippets_equal_jinja2, set_up, tear_down),
        cmocka_unit_test_setup_teardown(conversations_equal_transformers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(options_are_optional_and_output_is_appended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sentences_name_the_line_and_the_cause, set_up, tear_down),
        cmocka_unit_test_setup_teardown(integers_do_not_wrap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nesting_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(running_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_names_and_keys_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gathering_text_is_linear, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cancelling_stops_a_render, set_up, tear_down),
        cmocka_unit_test_setup_teardown(malformed_text_is_harmless, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_may_share_a_template, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("chat_template", tests, NULL, NULL);
}
