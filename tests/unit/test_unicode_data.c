/* src/tokenizer/unicode_data.c: the points where versions of Unicode differ, and what holds for every code point.
 * SPDX-License-Identifier: MIT */
#include "tokenizer_fixture.h"
#include "unicode_data.h"

static void test_spaces(void **state)
{
    static const uint32_t spaces[] = {9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, 0x2000, 0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000};
    size_t count = 0;
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) count += (size_t)mmi_unicode_is_space(c);
    assert_int_equal(count, 25); /* White_Space of PropList.txt */
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) assert_true(mmi_unicode_is_space(spaces[i]));
    assert_false(mmi_unicode_is_space(0x180E)); /* no space since Unicode 6.3 */
    assert_false(mmi_unicode_is_space(0x200B));
}

static void test_bert_sets(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x80; c++) {
        int punctuation = (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
        assert_int_equal(mmi_unicode_is_bert_punctuation(c), punctuation);
        assert_int_equal(mmi_unicode_is_bert_removed(c), (c < 32 && c != 9 && c != 10 && c != 13) || c == 0x7F);
    }
    assert_true(mmi_unicode_is_bert_removed(0xFFFD) && mmi_unicode_is_bert_removed(0xE000) && mmi_unicode_is_bert_removed(0x200D));
    assert_false(mmi_unicode_is_bert_removed(0x378)); /* unassigned stays */
    assert_true(mmi_unicode_is_bert_mark(0x301) && mmi_unicode_is_bert_mark(0x5B0));
    assert_false(mmi_unicode_is_bert_mark(0x903)); /* a spacing mark */
    assert_false(mmi_unicode_is_bert_mark(0x8CA)); /* younger than the table */
    assert_true(mmi_unicode_is_mark(0x903) && mmi_unicode_is_mark(0x20DD));
    assert_true(mmi_unicode_is_bert_chinese(0x4E00) && mmi_unicode_is_bert_chinese(0x20000));
    assert_false(mmi_unicode_is_bert_chinese(0x3042));
}

static void test_lower(void **state)
{
    uint32_t small[2];
    (void)state;
    assert_int_equal(mmi_unicode_lower('A', small), 1);
    assert_int_equal(small[0], 'a');
    assert_int_equal(mmi_unicode_lower(0x3A3, small), 1);
    assert_int_equal(small[0], 0x3C3);
    assert_int_equal(mmi_unicode_lower(0x130, small), 2);
    assert_int_equal(small[0], 'i');
    assert_int_equal(small[1], 0x307);
    assert_int_equal(mmi_unicode_lower(0x10D50, small), 1); /* Garay, Unicode 16 */
    assert_int_equal(small[0], 0x10D70);
    for (uint32_t c = 0; c < 0x110000; c++) {
        uint32_t again[2];
        assert_int_equal(mmi_unicode_lower(c, small), c == 0x130 ? 2 : 1);
        assert_int_equal(mmi_unicode_lower(small[0], again), 1); /* a small letter is its own small letter */
        assert_int_equal(again[0], small[0]);
    }
}

static void test_words_and_numbers(void **state)
{
    (void)state;
    assert_true(mmi_unicode_is_word('_') && mmi_unicode_is_word(0xE9) && mmi_unicode_is_word(0x301) && mmi_unicode_is_word(0x200D));
    assert_true(mmi_unicode_is_word(0x24B6) && mmi_unicode_is_word(0x10D50));
    assert_false(mmi_unicode_is_word('-') || mmi_unicode_is_word(0xBD) || mmi_unicode_is_word(0x1FAE8));
    assert_true(mmi_unicode_is_numeric('7') && mmi_unicode_is_numeric(0xBD) && mmi_unicode_is_numeric(0x2167) && mmi_unicode_is_numeric(0x10D40));
    assert_false(mmi_unicode_is_numeric(0x516D)); /* the ideograph six */
}

/* A stand-in has the length of what it replaces, and stands for itself. */
static void test_stand_ins(void **state)
{
    size_t replaced = 0;
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        char a[4], b[4];
        uint32_t to;
        if (c >= 0xD800 && c < 0xE000) continue;
        to = mmi_unicode_stand_in(c);
        if (to == c) continue;
        replaced++;
        assert_int_equal(mmi_utf8_encode(c, a), mmi_utf8_encode(to, b));
        assert_int_equal(mmi_unicode_stand_in(to), to);
    }
    assert_true(replaced > 9000); /* the letters of Unicode 15 and 16 */
    assert_int_not_equal(mmi_unicode_stand_in(0x180E), 0x180E);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_spaces, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_bert_sets, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_lower, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_words_and_numbers, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_stand_ins, setup, teardown)};
    return cmocka_run_group_tests_name("unicode_data", tests, NULL, NULL);
}
