/* src/tokenizer/byte_level.c: the 256 characters are different, printable, and the ones that GPT-2 has.
 * SPDX-License-Identifier: MIT */
#include "byte_level.h"
#include "tokenizer_fixture.h"

static void test_bijection(void **state)
{
    uint32_t next = 0x100; /* bytes without a printable character take the code points from here on, in order */
    (void)state;
    for (unsigned b = 0; b < 256; b++) {
        uint32_t c = mmi_byte_level_character((unsigned char)b);
        int printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        assert_int_equal(c, printable ? b : next++);
        assert_int_equal(mmi_byte_level_byte(c), b);
    }
    assert_int_equal(next, 0x144);
    for (uint32_t c = 0; c < 0x300; c++)
        if (mmi_byte_level_byte(c) >= 0) assert_int_equal(mmi_byte_level_character((unsigned char)mmi_byte_level_byte(c)), c);
    assert_int_equal(mmi_byte_level_character(' '), 0x120);
    assert_int_equal(mmi_byte_level_byte(' '), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_bijection, setup, teardown)};
    return cmocka_run_group_tests_name("byte_level", tests, NULL, NULL);
}
