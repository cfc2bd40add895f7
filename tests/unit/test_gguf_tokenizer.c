/* src/tokenizer/gguf_tokenizer.c: vocabularies as llama.cpp's conversion stores them give the ids of the tokenizer.json
 * or the SentencePiece model that they were made from (make_tokenizers.py), and metadata that lies. SPDX-License-Identifier: MIT */
#include "gguf_tokenizer.h"
#include "tokenizer_fixture.h"

static void test_ids(void **state)
{
    static const char *const names[] = {"smollm", "llama3", "qwen2", "bert", "spm", "spm_plain"};
    fixture *f = *state;
    mmi_json *expected = read_json(f, GOLDEN "expected.json");
    size_t size = 0;
    char *torture = read_golden(f, GOLDEN "torture.txt", &size);
    mmi_ids ids = {0}, types = {0};
    mmi_text out = {0};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const mmi_json_node *e = mmi_json_get(mmi_json_root(expected), names[i]), *lines = mmi_json_first(mmi_json_get(e, "ids"));
        const char *p = torture, *fourth = NULL, *special = NULL;
        size_t n_fourth = 0, n_special = 0;
        char path[128];
        mmi_gguf *file = NULL;
        mmi_tokenizer *t = NULL;

        (void)snprintf(path, sizeof path, GOLDEN "%s.gguf", names[i]);
        assert_int_equal(mmi_gguf_open(f->ctx, path, &file), MM_OK);
        if (mmi_tokenizer_from_gguf(f->ctx, file, &t)) fail_msg("%s", f->ctx->error);
        mmi_gguf_destroy(file);
        for (int count = 0; p < torture + size; lines = mmi_json_next(lines), count++) {
            size_t n = (size_t)((const char *)memchr(p, '\n', (size_t)(torture + size - p)) - p);
            ids.count = 0;
            out.size = 0;
            assert_int_equal(mmi_tokenizer_encode(f->ctx, t, p, n, 1, 1, &ids), MM_OK);
            assert_ids(&ids, lines);
            assert_int_equal(mmi_tokenizer_decode(f->ctx, t, ids.data, ids.count, 1, &out), MM_OK);
            if (count == 3) fourth = p, n_fourth = n;
            if (count == 21) special = p, n_special = n;
            if ((i < 2 && count != 21) || (i > 3 && count != 31)) { /* byte-level or bytes: the line comes back, but for special tokens and U+2581 */
                assert_int_equal(out.size, n);
                if (n) assert_memory_equal(out.data, p, n);
            }
            p += n + 1;
        }
        ids.count = 0;
        types.count = 0;
        assert_int_equal(mmi_tokenizer_encode_pair(f->ctx, t, fourth, n_fourth, special, n_special, 1, 1, &ids, &types), MM_OK);
        assert_ids(&ids, mmi_json_get(e, "pair"));
        if (i == 3) assert_ids(&types, mmi_json_get(e, "pair_types"));
        assert_int_equal(mmi_tokenizer_special(t, i == 3 ? MMI_SPECIAL_CLS : MMI_SPECIAL_EOS), i >= 3 ? 2 : 1);
        mmi_tokenizer_release(t);
    }
    mmi_text_clear(&out);
    mmi_free(ids.data);
    mmi_free(types.data);
    mmi_free(torture);
    mmi_json_destroy(expected);
}

/* A GGUF file in the making: version 3, no tensors. */
typedef struct {
    mmi_text body;
    uint64_t keys;
} writer;

static void put(fixture *f, writer *w, const void *bytes, size_t n) { assert_int_equal(mmi_text_append(f->ctx, &w->body, bytes, n), 0); }

static void put_u32(fixture *f, writer *w, uint32_t v) { put(f, w, &v, 4); }

static void put_string(fixture *f, writer *w, const char *s, size_t n)
{
    uint64_t size = n;
    put(f, w, &size, 8);
    put(f, w, s, n);
}

static void put_key(fixture *f, writer *w, const char *key, uint32_t type)
{
    w->keys++;
    put_string(f, w, key, strlen(key));
    put_u32(f, w, type);
}

static void put_text(fixture *f, writer *w, const char *key, const char *text)
{
    put_key(f, w, key, MMI_GGUF_STRING);
    put_string(f, w, text, strlen(text));
}

/* Strings between "|". */
static void put_strings(fixture *f, writer *w, const char *key, const char *items)
{
    uint64_t count = 1;
    put_key(f, w, key, MMI_GGUF_ARRAY);
    put_u32(f, w, MMI_GGUF_STRING);
    for (const char *p = items; *p; p++) count += *p == '|';
    put(f, w, &count, 8);
    for (const char *p = items;; p++) {
        size_t n = strcspn(p, "|");
        put_string(f, w, p, n);
        p += n;
        if (!*p) break;
    }
}

static void put_i32(fixture *f, writer *w, const char *key, int32_t v)
{
    put_key(f, w, key, MMI_GGUF_I32);
    put(f, w, &v, 4);
}

static mm_status load(fixture *f, writer *w)
{
    struct {
        char magic[4];
        uint32_t version;
        uint64_t tensors, keys;
    } head = {{'G', 'G', 'U', 'F'}, 3, 0, w->keys};
    mmi_text whole = {0};
    mmi_gguf *file = NULL;
    mmi_tokenizer *t = NULL;
    mm_status st;

    assert_int_equal(mmi_text_append(f->ctx, &whole, (const char *)&head, sizeof head), 0);
    assert_int_equal(mmi_text_append(f->ctx, &whole, w->body.data, w->body.size), 0);
    write_bytes(f, whole.data, whole.size);
    mmi_text_clear(&whole);
    mmi_text_clear(&w->body);
    w->keys = 0;
    if (mmi_gguf_open(f->ctx, f->path, &file)) fail_msg("%s", f->ctx->error);
    st = mmi_tokenizer_from_gguf(f->ctx, file, &t);
    mmi_gguf_destroy(file);
    if (st) assert_null(t);
    mmi_tokenizer_release(t);
    return st;
}

static void begin(fixture *f, writer *w, const char *model, const char *tokens, const char *merges)
{
    put_text(f, w, "tokenizer.ggml.model", model);
    put_strings(f, w, "tokenizer.ggml.tokens", tokens);
    if (merges) put_strings(f, w, "tokenizer.ggml.merges", merges);
}

static void test_refused(void **state)
{
    fixture *f = *state;
    writer w = {{0}, 0};
    static const uint8_t bytes[] = {1, 1, 3};
    uint64_t three = 3;

    begin(f, &w, "gpt2", "a|b|ab", "a b");
    assert_int_equal(load(f, &w), MM_OK);
    begin(f, &w, "rwkv", "a", NULL);
    assert_int_equal(load(f, &w), MM_E_UNSUPPORTED);
    assert_sentence(f, "a tokenizer model \"rwkv\"");
    for (size_t i = 0; i < 5; i++) { /* "llama": scores, of which some are missing or no numbers */
        static const float scores[] = {-1, -2, -3};
        static const uint32_t odd[] = {0, 0, 0x7FC00000, 0xFF800000, 0};
        uint64_t n_scores = i == 1 ? 2 : 3;
        begin(f, &w, "llama", "a|b|ab", NULL);
        put_i32(f, &w, "tokenizer.ggml.bos_token_id", 0);
        if (i < 4) {
            put_key(f, &w, "tokenizer.ggml.scores", MMI_GGUF_ARRAY);
            put_u32(f, &w, MMI_GGUF_F32);
            put(f, &w, &n_scores, 8);
            put(f, &w, scores, (size_t)(n_scores - 1) * 4);
            put(f, &w, odd[i] ? (const void *)&odd[i] : (const void *)&scores[2], 4);
        }
        assert_int_equal(load(f, &w), i ? MM_E_FORMAT : MM_OK);
        if (i) assert_sentence(f, i == 1 ? "2 elements for 3 tokens" : i == 4 ? "tokenizer.ggml.scores" : "not finite");
    }
    put_strings(f, &w, "tokenizer.ggml.tokens", "a");
    assert_int_equal(load(f, &w), MM_E_FORMAT);
    assert_sentence(f, "tokenizer.ggml.model");
    begin(f, &w, "gpt2", "a|b|ab", "a b");
    put_text(f, &w, "tokenizer.ggml.pre", "nonesuch");
    assert_int_equal(load(f, &w), MM_E_UNSUPPORTED);
    assert_sentence(f, "nonesuch");
    begin(f, &w, "gpt2", "a|b|ab", NULL);
    assert_int_equal(load(f, &w), MM_E_FORMAT);
    assert_sentence(f, "tokenizer.ggml.merges");
    begin(f, &w, "gpt2", "a|b|ab", "a  b");
    assert_int_equal(load(f, &w), MM_E_FORMAT);
    begin(f, &w, "gpt2", "a|b|ab", "ab a");
    assert_int_equal(load(f, &w), MM_E_FORMAT);
    begin(f, &w, "gpt2", "a|b|a", "a b");
    assert_int_equal(load(f, &w), MM_E_FORMAT);
    assert_sentence(f, "stands twice");
    begin(f, &w, "gpt2", "a|\xFF|c", "a c");
    assert_int_equal(load(f, &w), MM_E_FORMAT);
    assert_sentence(f, "id 1 is not UTF-8");
    begin(f, &w, "gpt2", "a|b|ab", "a b");
    put_i32(f, &w, "tokenizer.ggml.bos_token_id", 3); /* past the vocabulary */
    assert_int_equal(load(f, &w), MM_E_FORMAT);
    assert_sentence(f, "bos_token_id");
    begin(f, &w, "gpt2", "a|b|ab", "a b");
    put_i32(f, &w, "tokenizer.ggml.eos_token_id", -2);
    assert_int_equal(load(f, &w), MM_E_FORMAT);
    begin(f, &w, "gpt2", "a|b|ab", "a b");
    put_text(f, &w, "tokenizer.ggml.pre", "llama-bpe"); /* begins texts with a token that the file has not */
    assert_int_equal(load(f, &w), MM_E_FORMAT);
    assert_sentence(f, "add_bos_token");
    begin(f, &w, "bert", "[PAD]|a", NULL);
    assert_int_equal(load(f, &w), MM_E_FORMAT); /* no unknown token */
    put_text(f, &w, "tokenizer.ggml.model", "gpt2");
    put_text(f, &w, "tokenizer.ggml.tokens", "a");
    assert_int_equal(load(f, &w), MM_E_FORMAT);

    begin(f, &w, "gpt2", "a|b|ab", "a b"); /* types as bytes: read as what they are */
    put_key(f, &w, "tokenizer.ggml.token_type", MMI_GGUF_ARRAY);
    put_u32(f, &w, MMI_GGUF_U8);
    put(f, &w, &three, 8);
    put(f, &w, bytes, 3);
    assert_int_equal(load(f, &w), MM_OK);
    begin(f, &w, "gpt2", "a|b", "a b");
    put_key(f, &w, "tokenizer.ggml.token_type", MMI_GGUF_ARRAY);
    put_u32(f, &w, MMI_GGUF_U8);
    put(f, &w, &three, 8);
    put(f, &w, bytes, 3);
    assert_int_equal(load(f, &w), MM_E_FORMAT);
    assert_sentence(f, "3 elements for 2 tokens");
    begin(f, &w, "gpt2", "a|b|ab", "a b");
    put_strings(f, &w, "tokenizer.ggml.token_type", "1|2|3");
    assert_int_equal(load(f, &w), MM_E_FORMAT);
}

static mm_status visit(mm_context *ctx, const char *path)
{
    mmi_gguf *file = NULL;
    mmi_tokenizer *t = NULL;
    mmi_ids ids = {0};
    mm_status st = mmi_gguf_open(ctx, path, &file);

    if (!st) st = mmi_tokenizer_from_gguf(ctx, file, &t);
    if (!st) st = mmi_tokenizer_encode(ctx, t, "[CLS] the copy x", 16, 1, 1, &ids);
    mmi_free(ids.data);
    mmi_tokenizer_release(t);
    mmi_gguf_destroy(file);
    return st;
}

static void test_out_of_memory(void **state)
{
    visit_out_of_memory(*state, visit, GOLDEN "bert.gguf");
    visit_out_of_memory(*state, visit, GOLDEN "spm.gguf");
}

/* The metadata up to the vocabulary. */
static void test_damaged(void **state) { visit_damaged(*state, visit, GOLDEN "bert.gguf", 200, 200); }

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_damaged, setup, teardown)};
    return cmocka_run_group_tests_name("gguf_tokenizer", tests, NULL, NULL);
}
