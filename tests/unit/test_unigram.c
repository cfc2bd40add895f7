/* src/tokenizer/unigram.c against the definition: of all ways to cut a word the best. Whole models are in the goldens of
 * test_tokenizer.c. SPDX-License-Identifier: MIT */
#include "tokenizer_fixture.h"
#include "unigram.h"

#include <math.h>

static const char *const tokens[] = {"<unk>", "a", "b", "ab", "ba", "aab", "\xC3\xA9", "b\xC3\xA9", "<0xC3>", "<0xA9>", "xyz"};
/* sums of powers of two are exact, and no two ways have one sum */
static const double scores[] = {0, -1, -1.5, -2.25, -2.125, -3.0625, -2.03125, -4.015625, -9, -9, -9};
enum { TOKENS = sizeof tokens / sizeof *tokens };

static void make_vocabulary(fixture *f, mmi_vocabulary *v)
{
    for (size_t i = 0; i < TOKENS; i++) assert_int_equal(mmi_vocabulary_add(f->ctx, v, "file", tokens[i], strlen(tokens[i]), (int64_t)i), MM_OK);
    assert_int_equal(mmi_vocabulary_seal(f->ctx, v, "file"), MM_OK);
}

/* The best sum of a word of known characters, by trying every way. */
static double best_sum(const char *word)
{
    double best = -INFINITY;
    if (!*word) return 0;
    for (size_t i = 1; i < 8; i++)
        if (!strncmp(word, tokens[i], strlen(tokens[i]))) best = fmax(best, scores[i] + best_sum(word + strlen(tokens[i])));
    return best;
}

static void test_against_definition(void **state)
{
    fixture *f = *state;
    mmi_vocabulary v = {0};
    mmi_unigram *m = NULL;
    mmi_unigram_scratch s = {0};
    mmi_ids ids = {0};
    uint32_t seed = 3;

    make_vocabulary(f, &v);
    assert_int_equal(mmi_unigram_create(f->ctx, "file", &v, scores, 0, 0, &m), MM_OK);
    for (int round = 0; round < 2000; round++) {
        static const char *const characters[] = {"a", "b", "\xC3\xA9"};
        char word[40] = "", spelled[40] = "";
        double sum = 0;
        seed = seed * 1664525u + 1013904223u;
        for (size_t k = 0, n = 1 + (seed >> 8) % 12; k < n; k++) {
            seed = seed * 1664525u + 1013904223u;
            strcat(word, characters[(seed >> 8) % 3]);
        }
        ids.count = 0;
        assert_int_equal(mmi_unigram_encode(f->ctx, m, &s, word, strlen(word), &ids), MM_OK);
        for (size_t k = 0; k < ids.count; k++) {
            strcat(spelled, tokens[ids.data[k]]);
            sum += scores[ids.data[k]];
        }
        assert_string_equal(spelled, word);
        assert_true(sum == best_sum(word));
    }
    mmi_unigram_scratch_clear(&s);
    mmi_free(ids.data);
    mmi_unigram_destroy(m);
    mmi_vocabulary_clear(&v);
}

static void assert_encoded(fixture *f, const mmi_unigram *m, const char *word, const int32_t *expected, size_t count)
{
    mmi_unigram_scratch s = {0};
    mmi_ids ids = {0};

    assert_int_equal(mmi_unigram_encode(f->ctx, m, &s, word, strlen(word), &ids), MM_OK);
    assert_int_equal(ids.count, count);
    if (count) assert_memory_equal(ids.data, expected, count * sizeof *expected);
    mmi_unigram_scratch_clear(&s);
    mmi_free(ids.data);
}

static void test_unknown(void **state)
{
    fixture *f = *state;
    mmi_vocabulary v = {0};
    mmi_unigram *m = NULL;
    mmi_unigram_scratch s = {0};
    mmi_ids ids = {0};

    make_vocabulary(f, &v);
    assert_int_equal(mmi_unigram_create(f->ctx, "file", &v, scores, 0, 0, &m), MM_OK);
    assert_encoded(f, m, "", NULL, 0);
    assert_encoded(f, m, "a??b?", (const int32_t[]){1, 0, 2, 0}, 4); /* fused */
    assert_encoded(f, m, "\xC3\xA8<unk>", (const int32_t[]){0}, 1);   /* the token's own name among unknown characters */
    mmi_unigram_destroy(m);
    assert_int_equal(mmi_unigram_create(f->ctx, "file", &v, scores, 0, 1, &m), MM_OK);
    assert_encoded(f, m, "a??", (const int32_t[]){1, 0}, 2); /* no <0x3F>: unknown */
    assert_encoded(f, m, "\xE9\x8A\x83", (const int32_t[]){0}, 1);
    mmi_unigram_destroy(m);
    assert_int_equal(mmi_unigram_create(f->ctx, "file", &v, scores, -1, 1, &m), MM_OK);
    assert_encoded(f, m, "ab", (const int32_t[]){3}, 1);
    assert_int_equal(mmi_unigram_encode(f->ctx, m, &s, "ab?", 3, &ids), MM_E_FORMAT);
    assert_sentence(f, "\"?\"");
    mmi_unigram_scratch_clear(&s);
    mmi_free(ids.data);
    mmi_unigram_destroy(m);
    mmi_vocabulary_clear(&v);
}

static void test_refused(void **state)
{
    fixture *f = *state;
    mmi_vocabulary v = {0}, empty = {0};
    mmi_unigram *m = NULL;
    double bad[TOKENS];
    char longest[MMI_UNIGRAM_MAX_TOKEN + 1];

    make_vocabulary(f, &v);
    memcpy(bad, scores, sizeof bad);
    assert_int_equal(mmi_unigram_create(f->ctx, "file", &v, scores, TOKENS, 0, &m), MM_E_FORMAT);
    assert_sentence(f, "unk_id is 11 in a vocabulary of 11 tokens");
    bad[3] = NAN;
    assert_int_equal(mmi_unigram_create(f->ctx, "file", &v, bad, 0, 0, &m), MM_E_FORMAT);
    assert_sentence(f, "score of the token with id 3");
    bad[3] = -INFINITY;
    assert_int_equal(mmi_unigram_create(f->ctx, "file", &v, bad, 0, 0, &m), MM_E_FORMAT);
    assert_int_equal(mmi_vocabulary_seal(f->ctx, &empty, "file"), MM_OK);
    assert_int_equal(mmi_unigram_create(f->ctx, "file", &empty, scores, 0, 0, &m), MM_E_FORMAT);
    assert_sentence(f, "vocabulary of 0");
    assert_int_equal(mmi_unigram_create(f->ctx, "file", &empty, scores, -1, 0, &m), MM_OK);
    assert_encoded(f, m, "", NULL, 0);
    mmi_unigram_destroy(m);
    mmi_vocabulary_clear(&empty);
    memset(longest, 'x', sizeof longest);
    assert_int_equal(mmi_vocabulary_add(f->ctx, &empty, "file", longest, sizeof longest, 0), MM_OK);
    assert_int_equal(mmi_vocabulary_seal(f->ctx, &empty, "file"), MM_OK);
    assert_int_equal(mmi_unigram_create(f->ctx, "file", &empty, scores, 0, 0, &m), MM_E_LIMIT);
    assert_null(m);
    mmi_vocabulary_clear(&empty);
    mmi_vocabulary_clear(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_against_definition, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_unknown, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_refused, setup, teardown)};
    return cmocka_run_group_tests_name("unigram", tests, NULL, NULL);
}
