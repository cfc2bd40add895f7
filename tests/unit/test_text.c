/* Growing text, and UTF-8 against the table of well-formed sequences of the Unicode Standard (table 3-7). SPDX-License-Identifier: MIT */
#include "unit_fixture.h"

#include "text.h"

static void test_append_and_format(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mmi_text t = {0};
    (void)state;

    assert_int_equal(mmi_text_append(ctx, &t, "", 0), 0);
    assert_string_equal(t.data, "");
    for (int i = 0; i < 1000; i++)
        assert_int_equal(i % 2 ? mmi_text_append(ctx, &t, "abc", 3) : mmi_text_format(ctx, &t, "%c%02d", 'x', i % 100), 0);
    assert_int_equal(t.size, 3000);
    assert_int_equal(strlen(t.data), 3000);
    for (int i = 0; i < 1000; i++) {
        char want[8];
        (void)snprintf(want, sizeof want, i % 2 ? "abc" : "x%02d", i % 100);
        assert_memory_equal(t.data + 3 * i, want, 3);
    }
    assert_int_equal(mmi_text_append(ctx, &t, "\0z", 2), 0); /* bytes, NUL among them */
    assert_int_equal(t.size, 3002);
    a.fail_at = a.count + 1;
    while (!mmi_text_append(ctx, &t, "0123456789", 10)) {}
    assert_memory_equal(t.data, "x00abcx02", 9); /* what there was stays */
    assert_int_equal(t.data[t.size], 0);
    assert_int_not_equal(mmi_text_append(ctx, &t, "x", SIZE_MAX), 0);
    mmi_text_clear(&t);
    assert_null(t.data);
    mmi_text_clear(&t);
    unit_context_end(&a, ctx);
}

/* Table 3-7: nonzero and the code point when the n bytes begin with a well-formed sequence. */
static size_t table(const unsigned char *s, size_t n, uint32_t *code)
{
    static const struct {
        unsigned char lead[2], second[2];
        size_t length;
    } rows[] = {{{0x00, 0x7F}, {0, 0}, 1},       {{0xC2, 0xDF}, {0x80, 0xBF}, 2}, {{0xE0, 0xE0}, {0xA0, 0xBF}, 3},
                {{0xE1, 0xEC}, {0x80, 0xBF}, 3}, {{0xED, 0xED}, {0x80, 0x9F}, 3}, {{0xEE, 0xEF}, {0x80, 0xBF}, 3},
                {{0xF0, 0xF0}, {0x90, 0xBF}, 4}, {{0xF1, 0xF3}, {0x80, 0xBF}, 4}, {{0xF4, 0xF4}, {0x80, 0x8F}, 4}};

    for (size_t r = 0; n && r < sizeof rows / sizeof *rows; r++) {
        size_t length = rows[r].length;
        if (s[0] < rows[r].lead[0] || s[0] > rows[r].lead[1]) continue;
        if (length > n || (length > 1 && (s[1] < rows[r].second[0] || s[1] > rows[r].second[1]))) return 0;
        *code = length == 1 ? s[0] : s[0] & (0x7Fu >> length);
        for (size_t i = 1; i < length; i++) {
            if (s[i] < 0x80 || s[i] > 0xBF) return 0;
            *code = *code << 6 | (s[i] & 0x3F);
        }
        return length;
    }
    return 0;
}

static void test_decode(void **state)
{
    static const unsigned char tails[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xED, 0xF4, 0xFF};
    enum { TAILS = sizeof tails };
    (void)state;

    for (int lead = 0; lead < 256; lead++)
        for (int i = 0; i < TAILS; i++)
            for (int j = 0; j < TAILS; j++)
                for (int k = 0; k < TAILS; k++)
                    for (size_t n = 0; n <= 4; n++) {
                        unsigned char s[4] = {(unsigned char)lead, tails[i], tails[j], tails[k]};
                        uint32_t have = 0, want = 0;
                        size_t length = table(s, n, &want);
                        if (mmi_utf8_decode((const char *)s, n, &have) != length || (length && have != want))
                            fail_msg("%02x %02x %02x %02x of %zu", s[0], s[1], s[2], s[3], n);
                    }
    for (int lead = 0; lead < 256; lead++) {
        size_t want = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
        assert_int_equal(mmi_utf8_length((unsigned char)lead), want);
    }
}

static void test_every_code_point(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        char s[4];
        uint32_t have = 0;
        size_t n;
        if (c >= 0xD800 && c < 0xE000) continue;
        n = mmi_utf8_encode(c, s);
        if (mmi_utf8_decode(s, n, &have) != n || have != c || table((unsigned char *)s, n, &have) != n || have != c) fail_msg("U+%04X", c);
    }
}

static void test_valid(void **state)
{
    (void)state;
    assert_int_equal(mmi_utf8_valid("", 0), 0);
    assert_int_equal(mmi_utf8_valid("a\xC3\xA4z", 4), 4);
    assert_int_equal(mmi_utf8_valid("a\xC3", 2), 1);
    assert_int_equal(mmi_utf8_valid("\xFF", 1), 0);
    assert_int_equal(mmi_utf8_valid("ab\xED\xA0\x80", 5), 2); /* a surrogate */
    assert_int_equal(mmi_utf8_valid("\0\0", 2), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_and_format),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_valid),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
