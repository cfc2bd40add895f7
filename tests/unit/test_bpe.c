/* src/tokenizer/bpe.c against the definition, joined pair by pair in quadratic time, and words of a megabyte.
 * SPDX-License-Identifier: MIT */
#include "bpe.h"
#include "tokenizer_fixture.h"

typedef struct {
    char left[16], right[16];
} pair;

/* A vocabulary of strings over a, b and c, grown by random merges. */
typedef struct {
    mmi_vocabulary vocabulary;
    pair merges[400];
    size_t count;
    mmi_bpe *bpe;
} model;

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void build(fixture *f, model *m, size_t wanted, uint32_t seed, const mmi_bpe_options *options)
{
    static const char *const first[] = {"a", "b", "c"};
    char tokens[403][16];
    size_t count = 3;

    memset(m, 0, sizeof *m);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(mmi_vocabulary_add(f->ctx, &m->vocabulary, "file", first[i], 1, (int64_t)i), MM_OK);
        strcpy(tokens[i], first[i]);
    }
    while (m->count < wanted) {
        const char *l = tokens[next_random(&seed) % count], *r = tokens[next_random(&seed) % count];
        char joined[32];
        int known = 0;
        if (strlen(l) + strlen(r) > 12) continue;
        (void)snprintf(joined, sizeof joined, "%s%s", l, r);
        for (size_t i = 0; i < m->count; i++) known |= !strcmp(m->merges[i].left, l) && !strcmp(m->merges[i].right, r);
        if (known) continue;
        strcpy(m->merges[m->count].left, l);
        strcpy(m->merges[m->count++].right, r);
        if (mmi_vocabulary_find(&m->vocabulary, joined, strlen(joined)) >= 0) continue; /* reached in two ways */
        assert_int_equal(mmi_vocabulary_add(f->ctx, &m->vocabulary, "file", joined, strlen(joined), (int64_t)count), MM_OK);
        strcpy(tokens[count++], joined);
    }
    assert_int_equal(mmi_vocabulary_seal(f->ctx, &m->vocabulary, "file"), MM_OK);
    assert_int_equal(mmi_bpe_create(f->ctx, "file", &m->vocabulary, options, &m->bpe), MM_OK);
    for (size_t i = 0; i < m->count; i++)
        assert_int_equal(mmi_bpe_add_merge(f->ctx, m->bpe, "file", m->merges[i].left, strlen(m->merges[i].left), m->merges[i].right,
                                           strlen(m->merges[i].right)), MM_OK);
}

static void destroy(model *m)
{
    mmi_bpe_destroy(m->bpe);
    mmi_vocabulary_clear(&m->vocabulary);
}

/* Join the pair with the lowest rank, leftmost first, until there is none. */
static size_t encode_slowly(const model *m, const char *word, int32_t *ids)
{
    char symbols[64][16];
    size_t n = strlen(word);

    for (size_t i = 0; i < n; i++) (void)snprintf(symbols[i], 16, "%c", word[i]);
    for (;;) {
        size_t best = m->count, at_symbol = 0;
        for (size_t i = 0; i + 1 < n; i++)
            for (size_t k = 0; k < best; k++)
                if (!strcmp(symbols[i], m->merges[k].left) && !strcmp(symbols[i + 1], m->merges[k].right)) {
                    best = k;
                    at_symbol = i;
                }
        if (best == m->count) break;
        (void)snprintf(symbols[at_symbol], sizeof symbols[at_symbol], "%s%s", m->merges[best].left, m->merges[best].right);
        for (size_t i = at_symbol + 1; i + 1 < n; i++) memcpy(symbols[i], symbols[i + 1], sizeof symbols[i]);
        n--;
    }
    for (size_t i = 0; i < n; i++) ids[i] = mmi_vocabulary_find(&m->vocabulary, symbols[i], strlen(symbols[i]));
    return n;
}

static void test_against_definition(void **state)
{
    fixture *f = *state;
    mmi_bpe_options options = {NULL, "", "", 0, 0, 0};
    static model m;
    uint32_t seed = 5;

    for (int round = 0; round < 6; round++) {
        mmi_bpe_scratch scratch = {0};
        mmi_ids ids = {0};
        build(f, &m, 10 + (size_t)round * 60, 17u * (unsigned)round + 1, &options);
        scratch.remember_words = round % 2;
        for (int i = 0; i < 300; i++) {
            char word[41];
            int32_t expected[64];
            size_t n = 1 + next_random(&seed) % (i % 3 ? 40 : 5), count;
            for (size_t k = 0; k < n; k++) word[k] = (char)('a' + next_random(&seed) % 3);
            word[n] = 0;
            ids.count = 0;
            assert_int_equal(mmi_bpe_encode(f->ctx, m.bpe, &scratch, word, n, &ids), MM_OK);
            count = encode_slowly(&m, word, expected);
            assert_int_equal(ids.count, count);
            assert_memory_equal(ids.data, expected, count * sizeof *expected);
        }
        mmi_free(ids.data);
        mmi_bpe_scratch_clear(&scratch);
        destroy(&m);
    }
}

/* In quadratic time this would take minutes. */
static void test_long_word(void **state)
{
    enum { SIZE = 1 << 20 };
    fixture *f = *state;
    mmi_bpe_options options = {NULL, "", "", 0, 0, 0};
    mmi_vocabulary v = {0};
    mmi_bpe *bpe = NULL;
    mmi_bpe_scratch scratch = {0};
    mmi_ids ids = {0};
    char *word = malloc(SIZE), token[1025];

    assert_non_null(word);
    memset(word, 'a', SIZE);
    memset(token, 'a', sizeof token);
    for (int i = 0; i <= 10; i++) assert_int_equal(mmi_vocabulary_add(f->ctx, &v, "file", token, (size_t)1 << i, i), MM_OK);
    assert_int_equal(mmi_vocabulary_seal(f->ctx, &v, "file"), MM_OK);
    assert_int_equal(mmi_bpe_create(f->ctx, "file", &v, &options, &bpe), MM_OK);
    for (int i = 0; i < 10; i++) assert_int_equal(mmi_bpe_add_merge(f->ctx, bpe, "file", token, (size_t)1 << i, token, (size_t)1 << i), MM_OK);
    assert_int_equal(mmi_bpe_encode(f->ctx, bpe, &scratch, word, SIZE, &ids), MM_OK);
    assert_int_equal(ids.count, SIZE / 1024);
    for (size_t i = 0; i < ids.count; i++) assert_int_equal(ids.data[i], 10);
    mmi_free(ids.data);
    mmi_bpe_scratch_clear(&scratch);
    mmi_bpe_destroy(bpe);
    mmi_vocabulary_clear(&v);
    free(word);
}

static void assert_word(fixture *f, const mmi_vocabulary *v, const mmi_bpe_options *options, const char *word, const char *expected)
{
    mmi_bpe *bpe = NULL;
    mmi_bpe_scratch scratch = {0};
    mmi_ids ids = {0};
    mmi_text got = {0};

    if (mmi_bpe_create(f->ctx, "file", v, options, &bpe)) fail_msg("%s", f->ctx->error);
    assert_int_equal(mmi_bpe_encode(f->ctx, bpe, &scratch, word, strlen(word), &ids), MM_OK);
    set_text(f, &got, "");
    for (size_t i = 0; i < ids.count; i++) {
        size_t n;
        assert_int_equal(mmi_text_format(f->ctx, &got, i ? " %s" : "%s", mmi_vocabulary_text(v, ids.data[i], &n)), 0);
    }
    assert_string_equal(got.data, expected);
    mmi_text_clear(&got);
    mmi_free(ids.data);
    mmi_bpe_scratch_clear(&scratch);
    mmi_bpe_destroy(bpe);
}

static void test_options(void **state)
{
    static const char *const tokens[] = {"<unk>", "a", "b", "##b", "b/", "##b/", "ab", "<0xC3>", "<0xA9>", "\xC3\xA9x"};
    fixture *f = *state;
    mmi_vocabulary v = {0};
    mmi_bpe_options o = {NULL, "", "", 0, 0, 0};
    mmi_bpe *bpe = NULL;

    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        assert_int_equal(mmi_vocabulary_add(f->ctx, &v, "file", tokens[i], strlen(tokens[i]), (int64_t)i), MM_OK);
    assert_int_equal(mmi_vocabulary_seal(f->ctx, &v, "file"), MM_OK);
    assert_word(f, &v, &o, "axxb", "a b"); /* dropped without an unknown token */
    o.unk_token = "<unk>";
    assert_word(f, &v, &o, "axxb\xC3\xA9", "a <unk> <unk> b <unk>");
    o.fuse_unk = 1;
    assert_word(f, &v, &o, "axxb\xC3\xA9", "a <unk> b <unk>");
    o.byte_fallback = 1;
    assert_word(f, &v, &o, "axxb\xC3\xA9", "a <unk> b <0xC3> <0xA9>");
    assert_word(f, &v, &o, "\xC3\xA9\xC3\xAA", "<0xC3> <0xA9> <unk>");
    o.continuing_subword_prefix = "##";
    assert_word(f, &v, &o, "ab", "a ##b");
    o.end_of_word_suffix = "/";
    assert_word(f, &v, &o, "abb", "a ##b ##b/");
    assert_word(f, &v, &o, "b", "b/");
    o.continuing_subword_prefix = o.end_of_word_suffix = "";
    assert_word(f, &v, &o, "ab", "a b");
    o.ignore_merges = 1;
    assert_word(f, &v, &o, "ab", "ab");
    assert_word(f, &v, &o, "abab", "a b a b");

    o.unk_token = "nothing";
    assert_int_equal(mmi_bpe_create(f->ctx, "file", &v, &o, &bpe), MM_E_FORMAT);
    assert_sentence(f, "nothing");
    o.unk_token = NULL;
    assert_int_equal(mmi_bpe_create(f->ctx, "file", &v, &o, &bpe), MM_OK);
    assert_int_equal(mmi_bpe_add_merge_text(f->ctx, bpe, "file", "a b", 3), MM_OK);
    assert_int_equal(mmi_bpe_add_merge_text(f->ctx, bpe, "file", "a x", 3), MM_E_FORMAT);
    assert_sentence(f, "file: merge 1 of a and x, of which x is not");
    assert_int_equal(mmi_bpe_add_merge_text(f->ctx, bpe, "file", "b a", 3), MM_E_FORMAT);
    assert_sentence(f, "makes no token");
    assert_int_equal(mmi_bpe_add_merge_text(f->ctx, bpe, "file", "ab", 2), MM_E_FORMAT);
    assert_int_equal(mmi_bpe_add_merge_text(f->ctx, bpe, "file", "a b b", 5), MM_E_FORMAT);
    assert_int_equal(mmi_bpe_add_merge_text(f->ctx, bpe, "file", "", 0), MM_E_FORMAT);
    mmi_bpe_destroy(bpe);
    mmi_vocabulary_clear(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_against_definition, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_long_word, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_options, setup, teardown)};
    return cmocka_run_group_tests_name("bpe", tests, NULL, NULL);
}
