/* What the tests of grammars share: a vocabulary of all bytes and of some longer tokens, and following a text.
 * SPDX-License-Identifier: MIT */
#ifndef GRAMMAR_FIXTURE_H
#define GRAMMAR_FIXTURE_H

#include "unit_fixture.h"

#include "grammar_state.h"
#include "json.h"

/* Ids 0..255 are the bytes, then the texts; 900.. have no text, 999 ends. */
enum { TOY_VOCABULARY = 1000, TOY_END = 999 };

/* A table in the order of the bytes, by insertion: it is small. */
static inline mmi_token_table *toy_table(mm_context *ctx)
{
    static const char *const texts[] = {"{\"", "\":", "\": ", "\",", "true", "false", "null", "tr", "ue", "\xC3\xA9", "\xE2\x82", "\x82\xAC", "\xF0\x9F", "ab", "aaaa", "aab", ", ", "12", "}]",
                                        "yes", "ye", "\\u00", "\\\"", "  ", "\"}", "[[", "]]", "-1", "1.5", "e+", "abc", "abd", "\n"};
    mmi_token_table *t = mmi_zalloc(ctx, sizeof *t);

    assert_non_null(t);
    atomic_init(&t->references, 1);
    t->vocabulary = TOY_VOCABULARY;
    t->index = mmi_alloc_array(ctx, TOY_VOCABULARY, sizeof *t->index);
    assert_non_null(t->index);
    memset(t->index, 0xFF, TOY_VOCABULARY * sizeof *t->index);
    for (size_t i = 0; i < 256 + sizeof texts / sizeof *texts; i++) {
        char byte[2] = {(char)i, 0};
        const char *text = i < 256 ? byte : texts[i - 256];
        size_t n = i < 256 ? 1 : strlen(text), at = t->count;
        assert_int_equal(mmi_text_append(ctx, &t->bytes, text, n), 0);
        assert_int_equal(mmi_grow(ctx, (void **)&t->entries, &t->capacity, t->count, sizeof *t->entries), 0);
        for (; at > 0; at--) {
            const mmi_token_entry *e = &t->entries[at - 1];
            size_t m = e->size < n ? e->size : n;
            int order = memcmp(t->bytes.data + e->offset, text, m);
            if (order < 0 || (!order && e->size <= n)) break;
            t->entries[at] = *e;
        }
        t->entries[at] = (mmi_token_entry){(int32_t)i, (uint32_t)(t->bytes.size - n), (uint32_t)n, 0};
        t->count++;
        if (n > t->longest) t->longest = n;
    }
    for (size_t i = 0; i < t->count; i++) {
        mmi_token_entry *e = &t->entries[i];
        t->index[e->id] = (int32_t)i;
        while (i && e->shared < e->size && e->shared < e[-1].size && t->bytes.data[e->offset + e->shared] == t->bytes.data[e[-1].offset + e->shared]) e->shared++;
    }
    return t;
}

/* Whether the whole text follows, from the beginning. */
static inline int follows(mm_context *ctx, mmi_grammar_state *s, const char *text, size_t n)
{
    mm_status st;
    mmi_grammar_state_begin(s);
    st = mmi_grammar_state_accept_bytes(ctx, s, text, n);
    if (st && st != MM_E_STATE) fail_msg("%s", mm_context_error(ctx));
    return !st && mmi_grammar_state_accepts(s);
}

/* Texts of a golden file: `key` names what is compiled. */
static inline void check_texts(mm_context *ctx, const mmi_token_table *table, const char *what, mmi_grammar *g, const mmi_json_node *texts, int want)
{
    mmi_grammar_state *s = NULL;

    assert_int_equal(mmi_grammar_state_create(ctx, g, table, 0, &s), MM_OK);
    for (const mmi_json_node *t = mmi_json_first(texts); t; t = mmi_json_next(t)) {
        const char *text = mmi_json_string(t);
        if (follows(ctx, s, text, strlen(text)) != want) fail_msg("%s: %s is %s", what, text, want ? "rejected" : "accepted");
    }
    mmi_grammar_state_destroy(s);
}

typedef struct {
    unit_allocator a;
    mm_context *ctx;
    mmi_token_table *table;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (!f) return -1;
    f->ctx = unit_context(&f->a);
    f->table = toy_table(f->ctx);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    mmi_token_table_release(f->table);
    unit_context_end(&f->a, f->ctx);
    free(f);
    return 0;
}

#endif
