/* src/tokenizer/tokenizer.c: whole tokenizers against the `tokenizers` package (make_tokenizers.py), files that lie,
 * and failing allocations. SPDX-License-Identifier: MIT */
#include "tokenizer.h"

#include "tokenizer_fixture.h"

static const char *const names[] = {"gpt2", "smollm", "llama3", "qwen2", "roberta", "clip", "llama2", "bert", "bert_cased", "bert_accents", "bert_raw", "mixed",
                                    "t5", "t5_first", "siglip", "xlm_roberta", "unigram_bytes", "gemma", "llama_first", "llama_always", "llama_never", "whisper"};
enum { NAMES = sizeof names / sizeof *names };

/* The next line of the torture text, which ends at \n only; NULL at the end. */
static const char *next_line(const char **p, const char *end, size_t *n)
{
    const char *line = *p, *stop;
    if (line == end) return NULL;
    stop = memchr(line, '\n', (size_t)(end - line));
    *n = (size_t)(stop - line);
    *p = stop + 1;
    return line;
}

static void test_ids(void **state)
{
    fixture *f = *state;
    mmi_json *expected = read_json(f, GOLDEN "expected.json");
    size_t size = 0;
    char *torture = read_golden(f, GOLDEN "torture.txt", &size);
    mmi_ids ids = {0}, types = {0};

    for (size_t i = 0; i < NAMES; i++) {
        const mmi_json_node *e = mmi_json_get(mmi_json_root(expected), names[i]), *lines = mmi_json_first(mmi_json_get(e, "ids"));
        mmi_tokenizer *t = open_golden(f, names[i]);
        const char *p = torture, *line, *fourth = NULL, *special = NULL;
        size_t n = 0, n_fourth = 0, n_special = 0, count = 0;
        for (; (line = next_line(&p, torture + size, &n)); lines = mmi_json_next(lines), count++) {
            ids.count = 0;
            if (mmi_tokenizer_encode(f->ctx, t, line, n, 1, 1, &ids)) fail_msg("%s", f->ctx->error);
            assert_ids(&ids, lines);
            if (count == 3) fourth = line, n_fourth = n;
            if (count == 21) special = line, n_special = n;
        }
        assert_null(lines);
        ids.count = 0;
        assert_int_equal(mmi_tokenizer_encode_pair(f->ctx, t, fourth, n_fourth, special, n_special, 1, 1, &ids, &types), MM_OK);
        assert_ids(&ids, mmi_json_get(e, "pair"));
        assert_ids(&types, mmi_json_get(e, "pair_types"));
        types.count = ids.count = 0;
        assert_int_equal(mmi_tokenizer_encode(f->ctx, t, special, n_special, 0, 1, &ids), MM_OK);
        assert_ids(&ids, mmi_json_get(e, "bare"));
        ids.count = 0;
        assert_int_equal(mmi_tokenizer_encode(f->ctx, t, special, n_special, 1, 0, &ids), MM_OK);
        assert_ids(&ids, mmi_json_get(e, "unparsed"));
        mmi_tokenizer_release(t);
    }
    mmi_free(ids.data);
    mmi_free(types.data);
    mmi_free(torture);
    mmi_json_destroy(expected);
}

/* At once and id by id, with and without special tokens. */
static void test_decode(void **state)
{
    fixture *f = *state;
    mmi_json *expected = read_json(f, GOLDEN "expected.json");
    size_t size = 0, decoded = 0;
    char *torture = read_golden(f, GOLDEN "torture.txt", &size);
    mmi_text out = {0}, steps = {0};

    for (size_t i = 0; i < NAMES; i++) {
        const mmi_json_node *e = mmi_json_get(mmi_json_root(expected), names[i]), *lines = mmi_json_first(mmi_json_get(e, "ids"));
        const mmi_json_node *plain = mmi_json_first(mmi_json_get(e, "decoded")), *with = mmi_json_first(mmi_json_get(e, "decoded_special"));
        mmi_tokenizer *t = open_golden(f, names[i]);
        const char *p = torture, *line;
        size_t n = 0;
        for (; plain && (line = next_line(&p, torture + size, &n)); plain = mmi_json_next(plain), with = mmi_json_next(with), lines = mmi_json_next(lines)) {
            const char *wanted = mmi_json_string(plain); /* null: the line itself */
            char *copy = malloc(n + 1);
            mmi_ids ids = {0};
            assert_non_null(copy);
            memcpy(copy, line, n);
            copy[n] = 0;
            if (!wanted) wanted = copy;
            for (const mmi_json_node *id = mmi_json_first(lines); id; id = mmi_json_next(id)) {
                int64_t value = -1;
                assert_true(mmi_json_integer(id, &value));
                assert_int_equal(mmi_ids_add(f->ctx, &ids, (int32_t)value), 0);
            }
            for (int skip = 1; skip >= 0; skip--) {
                mmi_token_decoder *d = NULL;
                if (!skip && mmi_json_string(with)) wanted = mmi_json_string(with);
                out.size = steps.size = 0;
                assert_int_equal(mmi_tokenizer_decode(f->ctx, t, ids.data, ids.count, skip, &out), MM_OK);
                assert_bytes(out.data, out.size, wanted);
                assert_int_equal(mmi_token_decoder_create(f->ctx, t, skip, &d), MM_OK);
                for (size_t k = 0; k < ids.count; k++) {
                    assert_int_equal(mmi_token_decoder_push(f->ctx, d, ids.data[k], &steps), MM_OK);
                    assert_int_equal(mmi_utf8_valid(steps.data, steps.size), steps.size);
                }
                assert_int_equal(mmi_token_decoder_finish(f->ctx, d, &steps), MM_OK);
                assert_bytes(steps.data, steps.size, wanted);
                mmi_token_decoder_destroy(d);
            }
            mmi_free(ids.data);
            free(copy);
            decoded++;
        }
        mmi_tokenizer_release(t);
    }
    assert_true(decoded > 250);
    mmi_text_clear(&out);
    mmi_text_clear(&steps);
    mmi_free(torture);
    mmi_json_destroy(expected);
}

static void test_lookup(void **state)
{
    fixture *f = *state;
    mmi_json *doc = read_json(f, GOLDEN "bert.json");
    mmi_json *config = parse_json(f, "{\"cls_token\":\"[CLS]\",\"pad_token\":{\"content\":\"[PAD]\"},\"bos_token\":null,\"eos_token\":\"nowhere\",\"mask_token\":7}");
    mmi_tokenizer *t = NULL;
    mmi_text out = {0};
    const int32_t outside[] = {2, 1 << 30, 3}, negative[] = {-1};
    size_t n = 0;

    assert_int_equal(mmi_tokenizer_from_json(f->ctx, doc, config, &t), MM_OK);
    assert_int_equal(mmi_tokenizer_special(t, MMI_SPECIAL_CLS), 2);
    assert_int_equal(mmi_tokenizer_special(t, MMI_SPECIAL_PAD), 0);
    assert_int_equal(mmi_tokenizer_special(t, MMI_SPECIAL_UNK), 1); /* the model's */
    assert_int_equal(mmi_tokenizer_special(t, MMI_SPECIAL_BOS), -1);
    assert_int_equal(mmi_tokenizer_special(t, MMI_SPECIAL_EOS), -1);
    assert_int_equal(mmi_tokenizer_special(t, MMI_SPECIAL_MASK), -1);
    assert_int_equal(mmi_tokenizer_truncation(t), 16);
    assert_int_equal(mmi_tokenizer_size(t), 480);
    assert_string_equal(mmi_tokenizer_kind(t), "WordPiece");
    assert_string_equal(mmi_tokenizer_token(t, 3, &n), "[SEP]");
    assert_null(mmi_tokenizer_token(t, 480, &n));
    assert_null(mmi_tokenizer_token(t, -1, &n));
    for (int32_t id = 0; id < 480; id++) {
        const char *text = mmi_tokenizer_token(t, id, &n);
        assert_non_null(text);
        assert_int_equal(mmi_tokenizer_find(t, text, n), id);
        assert_int_equal(mmi_tokenizer_is_special(t, id), id < 5);
    }
    assert_int_equal(mmi_tokenizer_find(t, "nowhere", 7), -1);
    assert_int_equal(mmi_tokenizer_decode(f->ctx, t, outside, 3, 0, &out), MM_OK);
    assert_bytes(out.data, out.size, "[CLS] [SEP]");
    assert_int_equal(mmi_tokenizer_decode(f->ctx, t, negative, 1, 0, &out), MM_E_ARGUMENT);
    assert_sentence(f, "-1");
    mmi_text_clear(&out);
    mmi_tokenizer_release(t);
    mmi_json_destroy(config);
    mmi_json_destroy(doc);
}

static void test_refused_texts(void **state)
{
    fixture *f = *state;
    mmi_tokenizer *t = open_golden(f, "smollm");
    mmi_ids ids = {0};

    assert_int_equal(mmi_ids_add(f->ctx, &ids, 7), 0);
    assert_int_equal(mmi_tokenizer_encode(f->ctx, t, "ab\xFFz", 4, 1, 1, &ids), MM_E_FORMAT);
    assert_sentence(f, "at byte 2");
    assert_int_equal(mmi_tokenizer_encode(f->ctx, t, "ab\xED\xA0\x80", 5, 1, 1, &ids), MM_E_FORMAT); /* half a surrogate pair */
    assert_int_equal(mmi_tokenizer_encode(f->ctx, t, "ab\xE4\xBD", 4, 1, 1, &ids), MM_E_FORMAT);
    assert_int_equal(mmi_tokenizer_encode_pair(f->ctx, t, "ab", 2, "\x80", 1, 1, 1, &ids, NULL), MM_E_FORMAT);
    assert_int_equal(mmi_tokenizer_encode(f->ctx, t, "x", (size_t)INT32_MAX + 1, 1, 1, &ids), MM_E_LIMIT); /* before the text is read */
    mm_context_cancel(f->ctx);
    assert_int_equal(mmi_tokenizer_encode(f->ctx, t, "abc", 3, 1, 1, &ids), MM_E_CANCELLED);
    assert_int_equal(ids.count, 1);
    assert_int_equal(ids.data[0], 7);
    mmi_free(ids.data);
    mmi_tokenizer_release(t);
}

#define PARTS "\"normalizer\":null,\"pre_tokenizer\":null,\"post_processor\":null,\"decoder\":null"
#define BPE(vocab, merges) "{" PARTS ",\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges "}}"
#define UNIGRAM(vocab, more) "{" PARTS ",\"model\":{\"type\":\"Unigram\",\"vocab\":" vocab more "}}"
#define ADDED(token) "{" PARTS ",\"added_tokens\":[" token "],\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}"

static void test_refused_files(void **state)
{
    static const struct {
        const char *json, *sentence;
        mm_status status;
    } cases[] = {
        {"[]", "test is no JSON object", MM_E_FORMAT},
        {"{}", "no object \"model\"", MM_E_FORMAT},
        {"{\"model\":{\"type\":\"WordLevel\"}}", "WordLevel", MM_E_UNSUPPORTED},
        {"{\"model\":{\"type\":7}}", "type", MM_E_FORMAT},
        {"{\"model\":{\"vocab\":{}}}", "without a name", MM_E_UNSUPPORTED},
        {BPE("[]", "[]"), "no object \"vocab\"", MM_E_FORMAT},
        {BPE("{\"a\":0}", "{}"), "no array \"merges\"", MM_E_FORMAT},
        {BPE("{\"a\":-1}", "[]"), "token a has the id -1", MM_E_FORMAT},
        {BPE("{\"a\":0.5}", "[]"), "the id of token a", MM_E_FORMAT},
        {BPE("{\"a\":\"0\"}", "[]"), "the id of token a", MM_E_FORMAT},
        {BPE("{\"a\":1e18}", "[]"), "token a", MM_E_FORMAT},
        {BPE("{\"a\":4000000000}", "[]"), "token a", MM_E_LIMIT},
        {BPE("{\"a\":16000000}", "[]"), "ids up to 16000000", MM_E_FORMAT},
        {BPE("{\"a\":0,\"b\":0}", "[]"), "both have the id 0", MM_E_FORMAT},
        {BPE("{\"a\":0,\"a\":1}", "[]"), "stands twice", MM_E_FORMAT},
        {BPE("{\"a\":0}", "[7]"), "a merge is neither", MM_E_FORMAT},
        {BPE("{\"a\":0}", "[[\"a\"]]"), "a merge is neither", MM_E_FORMAT},
        {BPE("{\"a\":0}", "[[\"a\",\"a\",\"a\"]]"), "a merge is neither", MM_E_FORMAT},
        {BPE("{\"a\":0}", "[\"a a\"]"), "makes no token", MM_E_FORMAT},
        {BPE("{\"a\":0}", "[\"a b\"]"), "not in the vocabulary", MM_E_FORMAT},
        {"{\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{},\"merges\":[]}}", "dropout", MM_E_UNSUPPORTED},
        {"{\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"vocab\":{},\"merges\":[]}}", "<unk>", MM_E_FORMAT},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", "[UNK]", MM_E_FORMAT},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":0},\"max_input_chars_per_word\":1000000}}", "max_input_chars_per_word", MM_E_LIMIT},
        {UNIGRAM("{}", ""), "no array \"vocab\"", MM_E_FORMAT},
        {UNIGRAM("[[\"a\"]]", ""), "element 0 of the Unigram vocabulary", MM_E_FORMAT},
        {UNIGRAM("[[\"a\",0],[0,\"b\"]]", ""), "element 1 of the Unigram vocabulary", MM_E_FORMAT},
        {UNIGRAM("[[\"a\",1e999]]", ""), "element 0 of the Unigram vocabulary", MM_E_FORMAT},
        {UNIGRAM("[[\"a\",0,0]]", ""), "element 0 of the Unigram vocabulary", MM_E_FORMAT},
        {UNIGRAM("[[\"a\",0],[\"a\",1]]", ""), "token a stands twice", MM_E_FORMAT},
        {UNIGRAM("[[\"a\",0]]", ",\"unk_id\":1"), "unk_id is 1 in a vocabulary of 1 tokens", MM_E_FORMAT},
        {UNIGRAM("[]", ",\"unk_id\":0"), "unk_id is 0 in a vocabulary of 0 tokens", MM_E_FORMAT},
        {UNIGRAM("[[\"a\",0]]", ",\"unk_id\":-1"), "unk_id", MM_E_FORMAT},
        {UNIGRAM("[[\"a\",0]]", ",\"byte_fallback\":1"), "byte_fallback", MM_E_FORMAT},
        {ADDED("{\"content\":\"x\"}"), "id", MM_E_FORMAT},
        {ADDED("{\"id\":1}"), "content", MM_E_FORMAT},
        {ADDED("{\"id\":1e9,\"content\":\"x\"}"), "id", MM_E_FORMAT},
        {ADDED("{\"id\":1,\"content\":\"x\",\"special\":1}"), "special", MM_E_FORMAT},
        {ADDED("{\"id\":1,\"content\":\"x\"},{\"id\":1,\"content\":\"y\"}"), "both have the id 1", MM_E_FORMAT},
        {ADDED("7"), "content", MM_E_FORMAT},
        {"{\"added_tokens\":{},\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}", "added_tokens", MM_E_FORMAT},
        {"{\"truncation\":{\"max_length\":-5},\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}", "max_length", MM_E_FORMAT},
        {"{\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"a\",0],\"cls\":[\"b\",1]},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}",
         "cls", MM_E_FORMAT},
    };
    fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmi_json *doc = parse_json(f, cases[i].json);
        mmi_tokenizer *t = NULL;
        mm_status st = mmi_tokenizer_from_json(f->ctx, doc, NULL, &t);
        if (st != cases[i].status) fail_msg("case %zu: %d, %s", i, (int)st, f->ctx->error);
        assert_null(t);
        assert_sentence(f, cases[i].sentence);
        mmi_json_destroy(doc);
    }
}

/* A vocabulary of nothing, and a text of 4 MB that is one word, one run of spaces, or only special tokens. */
static void test_extremes(void **state)
{
    enum { SIZE = 1 << 20 };
    static const char *const units[] = {"x", " ", "<|im_end|>", "\xCC\x81", "1", "<", "\n"};
    fixture *f = *state;
    mmi_json *doc = parse_json(f, BPE("{}", "[]"));
    mmi_tokenizer *t = NULL;
    mmi_ids ids = {0};
    char *text = malloc(SIZE);

    assert_non_null(text);
    assert_int_equal(mmi_tokenizer_from_json(f->ctx, doc, NULL, &t), MM_OK);
    assert_int_equal(mmi_tokenizer_size(t), 0);
    assert_int_equal(mmi_tokenizer_encode(f->ctx, t, "abc", 3, 1, 1, &ids), MM_OK);
    assert_int_equal(ids.count, 0);
    mmi_tokenizer_release(t);
    mmi_json_destroy(doc);
    for (int name = 0; name < 4; name++) {
        static const char *const kinds[] = {"mixed", "qwen2", "unigram_bytes", "gemma"};
        t = open_golden(f, kinds[name]);
        for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
            size_t unit = strlen(units[i]), n = 0;
            for (; n + unit <= SIZE; n += unit) memcpy(text + n, units[i], unit);
            ids.count = 0;
            if (mmi_tokenizer_encode(f->ctx, t, text, n, 1, 1, &ids)) fail_msg("%s", f->ctx->error);
        }
        mmi_tokenizer_release(t);
    }
    mmi_free(ids.data);
    free(text);
}

/* Open a tokenizer, encode, decode, step by step. */
static mm_status visit(mm_context *ctx, const char *path)
{
    static const char text[] = "Hello wo\xCC\x81rld <mask> [SEP] 12 \xF0\x9F\x91\x8D\xE4\xBD\xA0 x<|im_end|>";
    mmi_json *doc = NULL;
    mmi_tokenizer *t = NULL;
    mmi_ids ids = {0}, types = {0};
    mmi_text out = {0};
    mmi_token_decoder *d = NULL;
    mm_status st = mmi_json_read(ctx, path, 1 << 20, &doc);

    if (!st) st = mmi_tokenizer_from_json(ctx, doc, NULL, &t);
    if (!st) st = mmi_tokenizer_encode_pair(ctx, t, text, sizeof text - 1, text, 5, 1, 1, &ids, &types);
    if (!st) st = mmi_tokenizer_decode(ctx, t, ids.data, ids.count, 0, &out);
    if (!st) st = mmi_token_decoder_create(ctx, t, 0, &d);
    for (size_t i = 0; i < ids.count && !st; i++) st = mmi_token_decoder_push(ctx, d, ids.data[i], &out);
    if (!st) st = mmi_token_decoder_finish(ctx, d, &out);
    mmi_token_decoder_destroy(d);
    mmi_text_clear(&out);
    mmi_free(ids.data);
    mmi_free(types.data);
    mmi_tokenizer_release(t);
    mmi_json_destroy(doc);
    return st;
}

/* Small models of both kinds, since each of hundreds of allocations fails in its turn, and each bit is flipped. */
enum { SMALL = 3 };
static const char *const small[SMALL] = {
    "{\"added_tokens\":[{\"id\":4,\"content\":\"<mask>\",\"special\":true,\"lstrip\":true},{\"id\":5,\"content\":\"X\"}],\"normalizer\":{\"type\":\"NFC\"},"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"decoder\":{\"type\":\"ByteLevel\"},\"post_processor\":null,"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"l\":0,\"o\":1,\"lo\":2,\"\xC4\xA0\":3},\"merges\":[\"l o\"]}}",
    "{\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\"},"
    "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"he\",1],\"cls\":[\"[UNK]\",0]},"
    "\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":0,\"he\":1,\"##llo\":2},\"unk_token\":\"[UNK]\"}}",
    "{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"BAAAAAAAAABhAA==\"},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\"},"
    "\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\"},"
    "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"byte_fallback\":true,\"vocab\":[[\"<unk>\",0],[\"lo\",-1.5],[\"_\",-2],[\"l\",-3],[\"<0x64>\",-9]]}}",
};

static void test_out_of_memory(void **state)
{
    fixture *f = *state;

    for (size_t i = 0; i < SMALL; i++) {
        write_bytes(f, small[i], strlen(small[i]));
        visit_out_of_memory(f, visit, f->path);
    }
}

static void test_damaged(void **state)
{
    fixture *f = *state;
    char path[128];

    (void)snprintf(path, sizeof path, "%s/whole", f->folder);
    for (size_t i = 0; i < SMALL; i++) {
        size_t n = strlen(small[i]);
        write_file(path, small[i], n);
        visit_damaged(f, visit, path, n, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ids, setup, teardown),           cmocka_unit_test_setup_teardown(test_decode, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lookup, setup, teardown),        cmocka_unit_test_setup_teardown(test_refused_texts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_files, setup, teardown), cmocka_unit_test_setup_teardown(test_extremes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown), cmocka_unit_test_setup_teardown(test_damaged, setup, teardown)};
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
