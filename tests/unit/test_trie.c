/* src/tokenizer/trie.c against looking through a list. SPDX-License-Identifier: MIT */
#include "tokenizer_fixture.h"
#include "trie.h"

static void test_longest(void **state)
{
    fixture *f = *state;
    mmi_trie trie = {0};
    char keys[300][8], text[64];
    uint32_t seed = 1;
    int32_t value = -7;

    assert_int_equal(mmi_trie_longest(&trie, MMI_TRIE_ROOT, "a", 1, &value), 0); /* an empty one */
    assert_int_equal(mmi_trie_walk(&trie, MMI_TRIE_ROOT, "", 0), -1);
    for (int i = 0; i < 300; i++) {
        size_t n = 1 + (seed >> 16) % 6;
        for (size_t k = 0; k < n; k++) {
            seed = seed * 1664525u + 1013904223u;
            keys[i][k] = (char)("ab\xC3\xFF"[seed >> 30]);
        }
        keys[i][n] = 0;
        assert_int_equal(mmi_trie_put(f->ctx, &trie, keys[i], n, i), 0);
    }
    for (int round = 0; round < 2000; round++) {
        size_t n = 1 + (seed >> 16) % 12, longest = 0, got;
        int32_t best = -1;
        for (size_t k = 0; k < n; k++) {
            seed = seed * 1664525u + 1013904223u;
            text[k] = (char)("ab\xC3\xFF"[seed >> 30]);
        }
        for (int i = 0; i < 300; i++) {
            size_t len = strlen(keys[i]);
            if (len <= n && len >= longest && !memcmp(keys[i], text, len)) { /* of equal keys the last one counts */
                longest = len;
                best = i;
            }
        }
        value = -1;
        got = mmi_trie_longest(&trie, MMI_TRIE_ROOT, text, n, &value);
        assert_int_equal(got, longest);
        if (longest) assert_int_equal(value, best);
    }
    mmi_trie_clear(&trie);
}

static void test_walk(void **state)
{
    fixture *f = *state;
    mmi_trie trie = {0};
    int64_t node;
    int32_t value = -1;

    assert_int_equal(mmi_trie_put(f->ctx, &trie, "##a", 3, 1), 0);
    assert_int_equal(mmi_trie_put(f->ctx, &trie, "##ab", 4, 2), 0);
    node = mmi_trie_walk(&trie, MMI_TRIE_ROOT, "##", 2);
    assert_true(node > 0);
    assert_int_equal(mmi_trie_longest(&trie, node, "abc", 3, &value), 2);
    assert_int_equal(value, 2);
    assert_int_equal(mmi_trie_walk(&trie, MMI_TRIE_ROOT, "#x", 2), -1);
    assert_int_equal(mmi_trie_walk(&trie, MMI_TRIE_ROOT, "", 0), MMI_TRIE_ROOT);
    mmi_trie_clear(&trie);
}

static void test_out_of_memory(void **state)
{
    fixture *f = *state;
    int failed = 1;

    for (long k = 1; failed; k++) {
        mmi_trie trie = {0};
        f->allocator.count = 0;
        f->allocator.fail_at = k;
        failed = 0;
        for (int i = 0; i < 200 && !failed; i++) failed = mmi_trie_put(f->ctx, &trie, (const char *)&i, 2, i);
        mmi_trie_clear(&trie);
        assert_int_equal(used_now(f), f->used);
    }
    f->allocator.fail_at = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_longest, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_walk, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown)};
    return cmocka_run_group_tests_name("trie", tests, NULL, NULL);
}
