/* src/tokenizer/charsmap.c: what it maps is in the goldens of test_normalizer.c; here maps whose bytes lead astray.
 * SPDX-License-Identifier: MIT */
#include "charsmap.h"
#include "tokenizer_fixture.h"

/* One block that maps "a" to texts[0..], units set by hand, then broken one by one. */
typedef struct {
    uint32_t units[256];
    char texts[8];
    size_t n_texts, n_units;
} map;

static map good(void)
{
    map m = {.texts = "b\xC3\xA9", .n_texts = 4, .n_units = 256};
    m.units[0] = 1u << 10;                            /* base 1: the child "a" is unit 1 ^ 'a' */
    m.units[1 ^ 'a'] = 'a' | 1u << 8 | (1 ^ 'a' ^ 2) << 10; /* base 2, where the leaf is */
    m.units[2] = 1u << 31 | 0;
    return m;
}

static void to_base64(const unsigned char *bytes, size_t n, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)bytes[i] << 16 | (i + 1 < n ? (uint32_t)bytes[i + 1] << 8 : 0) | (i + 2 < n ? bytes[i + 2] : 0);
        for (int k = 0; k < 4; k++) *out++ = (size_t)k > n - i ? '=' : digits[v >> (18 - 6 * k) & 63];
    }
    *out = 0;
}

static mm_status load(mm_context *ctx, const map *m, mmi_charsmap **out)
{
    unsigned char bytes[2048];
    char text[3000];
    size_t n = 4 + 4 * m->n_units;

    memset(bytes, 0, 4);
    bytes[0] = (unsigned char)(4 * m->n_units);
    bytes[1] = (unsigned char)(4 * m->n_units >> 8);
    for (size_t i = 0; i < m->n_units; i++)
        for (int k = 0; k < 4; k++) bytes[4 + 4 * i + (size_t)k] = (unsigned char)(m->units[i] >> 8 * k);
    memcpy(bytes + n, m->texts, m->n_texts);
    to_base64(bytes, n + m->n_texts, text);
    return mmi_charsmap_load(ctx, "file", text, out);
}

static void assert_mapped(fixture *f, const map *m, const char *in, const char *expected)
{
    mmi_charsmap *c = NULL;
    mmi_text out = {0};

    if (load(f->ctx, m, &c)) fail_msg("%s", f->ctx->error);
    assert_int_equal(mmi_charsmap_run(f->ctx, c, in, strlen(in), &out), 0);
    assert_bytes(out.data, out.size, expected);
    mmi_text_clear(&out);
    mmi_charsmap_destroy(c);
}

static void assert_refused(fixture *f, const map *m, const char *sentence)
{
    mmi_charsmap *c = NULL;
    assert_int_equal(load(f->ctx, m, &c), MM_E_FORMAT);
    assert_null(c);
    assert_sentence(f, sentence);
}

static void test_units(void **state)
{
    fixture *f = *state;
    map m = good();

    assert_mapped(f, &m, "xaya", "xb\xC3\xA9yb\xC3\xA9");
    assert_mapped(f, &m, "a\xCC\x81|a\xCC\x81\xCC\x81\xCC\x81", "b\xC3\xA9|b\xC3\xA9\xCC\x81\xCC\x81\xCC\x81"); /* clusters of 3 and 7 bytes */
    m.units[2] = 1u << 31 | 1;
    assert_mapped(f, &m, "a", "\xC3\xA9");
    m.units[2] = 1u << 31 | 4; /* behind the texts: nothing */
    assert_mapped(f, &m, "xay", "xy");
    m.units[2] = 1u << 31 | 2;
    assert_refused(f, &m, "leads to byte 2");
    m.units[2] = 1u << 31 | 5;
    assert_refused(f, &m, "leads to byte 5");
    m = good();
    m.units[0] = 256u << 10;
    assert_refused(f, &m, "unit 0 leads to unit 256 of 256");
    m.units[0] |= 1u << 31; /* a root that calls itself a leaf */
    assert_refused(f, &m, "unit 0 leads");
    m = good();
    m.units[7] = 0xFFFFFF00u & ~(1u << 31);
    assert_refused(f, &m, "unit 7 leads");
    m = good();
    m.units[0] |= 1u << 31; /* a root that calls itself a leaf */
    assert_refused(f, &m, "unit 0 leads to unit 2097153 of 256");
    m = good();
    m.units[2] = 1u << 31;
    m.n_texts = 0;
    assert_mapped(f, &m, "xay", "xy");
    m = good();
    m.texts[2] = 'x';
    assert_refused(f, &m, "not UTF-8 at byte 1");
    m = good();
    m.n_units = 99; /* padded; the child of "a" stands at 96 */
    assert_mapped(f, &m, "a", "b\xC3\xA9");
    m.n_units = 96;
    assert_mapped(f, &m, "a", "a");
    m.n_units = 0;
    assert_refused(f, &m, "of which 0");
}

static void test_bytes(void **state)
{
    static const struct {
        const char *text, *sentence;
    } cases[] = {{"AAA", "no base64: 3 characters"}, {"AA*A", "at character 2"}, {"A===", "at character 1"}, {"AAAA", "3 bytes"},
                 {"/////w==", "of which 4294967295"}, {"CAAAAAAAAAA=", "8 bytes, of which 8"}, {"AA==AAAA", "at character 2"}};
    fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmi_charsmap *c = NULL;
        assert_int_equal(mmi_charsmap_load(f->ctx, "file", cases[i].text, &c), MM_E_FORMAT);
        assert_null(c);
        assert_sentence(f, cases[i].sentence);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_units, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_bytes, setup, teardown)};
    return cmocka_run_group_tests_name("charsmap", tests, NULL, NULL);
}
