/* src/tokenizer/decoder.c: each kind, at once and token by token; whole texts are in the goldens of test_tokenizer.c.
 * The expected texts are the outputs of the kinds' `decode` in the `tokenizers` package.
 * SPDX-License-Identifier: MIT */
#include "decoder.h"
#include "tokenizer_fixture.h"

/* `tokens` are separated by "|". Every piece that comes out must be whole characters. */
static void assert_decoded(fixture *f, const char *json, const char *tokens, const char *expected)
{
    mmi_json *doc = parse_json(f, json);
    mmi_decoder *d = NULL;
    mmi_decoding *state = NULL;
    mmi_text out = {0};

    if (mmi_decoder_load(f->ctx, doc, mmi_json_root(doc), &d)) fail_msg("%s", f->ctx->error);
    assert_int_equal(mmi_decoding_create(f->ctx, d, &state), MM_OK);
    for (int round = 0; round < 2; round++) { /* finish begins anew */
        out.size = 0;
        for (const char *p = tokens; *tokens;) {
            size_t n = strcspn(p, "|");
            assert_int_equal(mmi_decoding_push(f->ctx, state, p, n, &out), MM_OK);
            assert_int_equal(mmi_utf8_valid(out.data, out.size), out.size);
            if (!p[n]) break;
            p += n + 1;
        }
        assert_int_equal(mmi_decoding_finish(f->ctx, state, &out), MM_OK);
        assert_bytes(out.data, out.size, expected);
    }
    mmi_text_clear(&out);
    mmi_decoding_destroy(state);
    mmi_decoder_destroy(d);
    mmi_json_destroy(doc);
}

#define FFFD "\xEF\xBF\xBD"

static void test_byte_level(void **state)
{
    fixture *f = *state;
    static const char json[] = "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true}";

    assert_decoded(f, json, "", "");
    assert_decoded(f, json, "Hello|\xC4\xA0world|!", "Hello world!");
    assert_decoded(f, json, "\xC3\xA4|\xC2\xBD|\xC5\x82", "\xE4\xBD\xA0");
    assert_decoded(f, json, "\xC3\xA4|a", FFFD "a");               /* E4 then a */
    assert_decoded(f, json, "\xC3\xB0|\xC5\x81|\xC3\xA4", FFFD FFFD); /* F0 9F E4, cut at the end */
    assert_decoded(f, json, "\xC3\xBF|\xC2\xBD", FFFD FFFD);       /* FF BD */
    assert_decoded(f, json, "\xC3\xAD|\xC5\x82", FFFD FFFD);       /* ED A0: half a surrogate pair */
    assert_decoded(f, json, "a b|\xE2\x96\x81|\xC3\xA9 ", "a b\xE2\x96\x81\xC3\xA9 "); /* tokens that are no bytes stay as they are */
}

static void test_word_piece(void **state)
{
    fixture *f = *state;
    static const char clean[] = "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}";
    static const char plain[] = "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":false}";

    assert_decoded(f, plain, "##uelo|Ara|##\xC3\xBAj|##o|No|##guera", "##uelo Ara\xC3\xBAjo Noguera");
    assert_decoded(f, plain, "a|.|b", "a . b");
    assert_decoded(f, clean, "a|.|?|!|,|'|s|n't|'m|'s|'ve|'re|do not", "a.?!, ' sn't'm's've're don't");
    assert_decoded(f, clean, "a ' b|do not", "a'b don't");
    assert_decoded(f, clean, "", "");
}

static void test_others(void **state)
{
    fixture *f = *state;
    static const char llama[] = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},\"content\":\" \"},"
                                "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}";
    static const char both[] = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\"x\",\"start\":2,\"stop\":2}]}";

    assert_decoded(f, "null", "a|b||c", "a b  c"); /* no decoder */
    assert_decoded(f, "{\"type\":\"Fuse\"}", "a|b||c", "abc");
    assert_decoded(f, "{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}", "a</w>|b|c</w>|d</w>", "a bc d");
    assert_decoded(f, "{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}", "", "");
    assert_decoded(f, "{\"type\":\"Replace\",\"pattern\":{\"String\":\"ab\"},\"content\":\"\"}", "aabb|ab|x", "abx");
    assert_decoded(f, "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\"}", "__a_b|_c|__", "ab c  ");
    assert_decoded(f, "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"never\"}", "__a_b|_c", "  a b c");
    assert_decoded(f, "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":true}", "_|_a", " a");
    assert_decoded(f, "{\"type\":\"ByteFallback\"}", "<0xE5>|<0x8f>|<0xAB>|a", "\xE5\x8F\xAB" "a");
    assert_decoded(f, "{\"type\":\"ByteFallback\"}", "<0xE5>|<0x8f>|a|<0xE5>", FFFD FFFD "a" FFFD);
    assert_decoded(f, "{\"type\":\"ByteFallback\"}", "<0x-1>|<0xZZ>|<0x4>|<0x414>", "<0x-1><0xZZ><0x4><0x414>");
    assert_decoded(f, llama, "_Hey|_you|<0xC3>|<0xA9>|_", "Hey you\xC3\xA9 ");
    assert_decoded(f, llama, "_|_a", " a");
    assert_decoded(f, "{\"type\":\"Strip\",\"content\":\"H\",\"start\":1,\"stop\":0}", "Hey| friend!|HHH", "ey friend!HH");
    assert_decoded(f, "{\"type\":\"Strip\",\"content\":\"y\",\"start\":0,\"stop\":1}", "Hey| friend!", "He friend!");
    assert_decoded(f, both, "x|xx|axx|xbx|x|x", "xaxxxbx");
    assert_decoded(f, both, "xxxxx", "x");
}

/* The bytes of single tokens: what has no whole character included. */
static void test_token_bytes(void **state)
{
    static const char byte_level[] = "{\"type\":\"ByteLevel\"}",
                      llama[] = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xE2\x96\x81\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},"
                                "{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}",
                      words[] = "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":false}", bpe[] = "{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}",
                      spaces[] = "{\"type\":\"Metaspace\",\"replacement\":\"_\"}", never[] = "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"never\"}";
    static const struct {
        const char *json, *token, *bytes;
        int drops_space;
    } cases[] = {{byte_level, "\xC4\xA0\xC3\xA4", " \xE4", 0}, {byte_level, "a b", "a b", 0}, {llama, "\xE2\x96\x81\xE2\x96\x81" "a", "  a", 1}, {llama, "<0xE4>", "\xE4", 1},
                 {llama, "<0xZZ>", "<0xZZ>", 1}, {llama, "\xC3\xA4", "\xC3\xA4", 1}, {words, "##ab", "ab", 0}, {words, "ab", " ab", 0}, {bpe, "ab</w>", "ab ", 0}, {"null", "a", " a", 0},
                 {spaces, "_a_b", " a b", 1}, {never, "_a", " a", 0}};
    fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmi_json *doc = parse_json(f, cases[i].json);
        mmi_decoder *d = NULL;
        mmi_text out = {0};

        set_text(f, &out, "x");
        assert_int_equal(mmi_decoder_load(f->ctx, doc, mmi_json_root(doc), &d), MM_OK);
        assert_int_equal(mmi_decoder_token_bytes(f->ctx, d, cases[i].token, strlen(cases[i].token), &out), MM_OK);
        assert_bytes(out.data + 1, out.size - 1, cases[i].bytes);
        assert_int_equal(mmi_decoder_drops_space(d), cases[i].drops_space);
        mmi_text_clear(&out);
        mmi_decoder_destroy(d);
        mmi_json_destroy(doc);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *json, *sentence;
        mm_status status;
    } cases[] = {
        {"{\"type\":\"CTC\"}", "test: a decoder of type CTC", MM_E_UNSUPPORTED},
        {"[]", "type", MM_E_FORMAT},
        {"{\"type\":\"Sequence\"}", "decoders", MM_E_FORMAT},
        {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"WordPiece\"}]}", "joined", MM_E_UNSUPPORTED},
        {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"\"}", "Regex", MM_E_UNSUPPORTED},
        {"{\"type\":\"Replace\",\"content\":\"\"}", "String", MM_E_FORMAT},
        {"{\"type\":\"Strip\",\"content\":\"ab\",\"start\":1,\"stop\":0}", "one character", MM_E_FORMAT},
        {"{\"type\":\"Strip\",\"content\":\"a\",\"start\":-1,\"stop\":0}", "start", MM_E_FORMAT},
    };
    fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmi_json *doc = parse_json(f, cases[i].json);
        mmi_decoder *d = NULL;
        assert_int_equal(mmi_decoder_load(f->ctx, doc, mmi_json_root(doc), &d), cases[i].status);
        assert_null(d);
        assert_sentence(f, cases[i].sentence);
        mmi_json_destroy(doc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_byte_level, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_word_piece, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_others, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_token_bytes, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_refused, setup, teardown)};
    return cmocka_run_group_tests_name("decoder", tests, NULL, NULL);
}
