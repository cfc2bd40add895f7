/* src/tokenizer/word_piece.c against the definition, and its limits. SPDX-License-Identifier: MIT */
#include "tokenizer_fixture.h"
#include "word_piece.h"

static const char *const tokens[] = {"[UNK]", "a", "ab", "abc", "##a", "##b", "##bc", "##cab", "##", "\xC3\xA9", "##\xE4\xBD\xA0"};
enum { TOKENS = sizeof tokens / sizeof *tokens };

static void make_vocabulary(fixture *f, mmi_vocabulary *v)
{
    for (size_t i = 0; i < TOKENS; i++) assert_int_equal(mmi_vocabulary_add(f->ctx, v, "file", tokens[i], strlen(tokens[i]), (int64_t)i), MM_OK);
    assert_int_equal(mmi_vocabulary_seal(f->ctx, v, "file"), MM_OK);
}

/* Longest match first, by trying every length. */
static size_t encode_slowly(const mmi_vocabulary *v, const char *word, int32_t *ids)
{
    size_t n = strlen(word), count = 0;
    for (size_t i = 0, len; i < n; i += len) {
        int32_t id = -1;
        for (len = n - i; len > 0; len--) {
            char piece[64];
            (void)snprintf(piece, sizeof piece, "%s%.*s", i ? "##" : "", (int)len, word + i);
            if ((id = mmi_vocabulary_find(v, piece, strlen(piece))) >= 0) break;
        }
        if (id < 0) {
            ids[0] = 0;
            return 1;
        }
        ids[count++] = id;
    }
    return count;
}

static void test_against_definition(void **state)
{
    fixture *f = *state;
    mmi_vocabulary v = {0};
    mmi_word_piece *m = NULL;
    mmi_ids ids = {0};
    uint32_t seed = 3;

    make_vocabulary(f, &v);
    assert_int_equal(mmi_word_piece_create(f->ctx, "file", &v, "[UNK]", "##", 100, &m), MM_OK);
    for (int round = 0; round < 3000; round++) {
        static const char *const characters[] = {"a", "b", "c", "\xC3\xA9", "\xE4\xBD\xA0", "a", "#"};
        char word[40] = "";
        int32_t expected[40];
        size_t count, n = 1 + (seed >> 8) % 8;
        for (size_t k = 0; k < n; k++) {
            seed = seed * 1664525u + 1013904223u;
            strcat(word, characters[(seed >> 8) % 7]);
        }
        ids.count = 0;
        assert_int_equal(mmi_word_piece_encode(f->ctx, m, word, strlen(word), &ids), MM_OK);
        count = encode_slowly(&v, word, expected);
        assert_int_equal(ids.count, count);
        assert_memory_equal(ids.data, expected, count * sizeof *expected);
    }
    mmi_free(ids.data);
    mmi_word_piece_destroy(m);
    mmi_vocabulary_clear(&v);
}

static void test_limits(void **state)
{
    fixture *f = *state;
    mmi_vocabulary v = {0};
    mmi_word_piece *m = NULL;
    mmi_ids ids = {0};

    make_vocabulary(f, &v);
    assert_int_equal(mmi_word_piece_create(f->ctx, "file", &v, "nothing", "##", 100, &m), MM_E_FORMAT);
    assert_sentence(f, "nothing");
    assert_int_equal(mmi_word_piece_create(f->ctx, "file", &v, "[UNK]", "##", 1 << 30, &m), MM_E_LIMIT);
    assert_int_equal(mmi_word_piece_create(f->ctx, "file", &v, "[UNK]", "##", -1, &m), MM_E_LIMIT);
    assert_int_equal(mmi_word_piece_create(f->ctx, "file", &v, "[UNK]", "##", 3, &m), MM_OK);
    assert_int_equal(mmi_word_piece_encode(f->ctx, m, "\xC3\xA9\xE4\xBD\xA0\xE4\xBD\xA0", 8, &ids), MM_OK); /* three characters */
    assert_int_equal(ids.count, 3);
    assert_int_equal(mmi_word_piece_encode(f->ctx, m, "aaaa", 4, &ids), MM_OK);
    assert_int_equal(ids.count, 4);
    assert_int_equal(ids.data[3], 0);
    mmi_word_piece_destroy(m);

    assert_int_equal(mmi_word_piece_create(f->ctx, "file", &v, "[UNK]", "++", 100, &m), MM_OK); /* no token continues a word */
    ids.count = 0;
    assert_int_equal(mmi_word_piece_encode(f->ctx, m, "abc", 3, &ids), MM_OK);
    assert_int_equal(ids.data[0], 3);
    assert_int_equal(mmi_word_piece_encode(f->ctx, m, "abca", 4, &ids), MM_OK);
    assert_int_equal(ids.data[1], 0);
    assert_int_equal(ids.count, 2);
    mmi_word_piece_destroy(m);
    mmi_free(ids.data);
    mmi_vocabulary_clear(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_against_definition, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_limits, setup, teardown)};
    return cmocka_run_group_tests_name("word_piece", tests, NULL, NULL);
}
