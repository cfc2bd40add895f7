/* src/tokenizer/tokenizer_trainer.c and the trainers below it, through include/mm_tokenizer.h: what they learn is what the `tokenizers` package
 * learns (make_tokenizer_training.py); texts and options that cannot be; failing allocations. SPDX-License-Identifier: MIT */
#include "mm_tokenizer.h"
#include "tokenizer_fixture.h"

#include <math.h>

#define TRAINING "tests/golden/tokenizer_training/"

enum { NUMBERS = 8, TOKENS = 6, BOS = MM_TOKENIZER_TRAINER_BOS_TOKEN };

typedef struct {
    const char *name;
    int64_t numbers[NUMBERS][2]; /* options and values, the rest 0 */
    struct {
        int32_t option;
        const char *text;
    } tokens[TOKENS];
} training;

static const training trainings[] = {
    {"bpe",
     {{MM_TOKENIZER_TRAINER_VOCAB_SIZE, 1200}, {MM_TOKENIZER_TRAINER_MIN_FREQUENCY, 2}},
     {{MM_TOKENIZER_TRAINER_SPECIAL_TOKEN, "<s>"}, {MM_TOKENIZER_TRAINER_EOS_TOKEN, "</s>"}, {BOS, "<s>"}}},
    {"bpe_all", {{MM_TOKENIZER_TRAINER_VOCAB_SIZE, 30000}, {MM_TOKENIZER_TRAINER_MAX_PIECE_LENGTH, 5}}, {{0, NULL}}},
    {"bpe_short",
     {{MM_TOKENIZER_TRAINER_VOCAB_SIZE, 900},
      {MM_TOKENIZER_TRAINER_PRE_TOKENIZER, MM_PRE_TOKENIZER_METASPACE},
      {MM_TOKENIZER_TRAINER_LIMIT_ALPHABET, 40},
      {MM_TOKENIZER_TRAINER_NORMALIZATION, MM_NORMALIZATION_NFC},
      {MM_TOKENIZER_TRAINER_LOWERCASE, 1}},
     {{MM_TOKENIZER_TRAINER_PAD_TOKEN, "<pad>"}, {MM_TOKENIZER_TRAINER_UNK_TOKEN, "<unk>"}}},
    {"word_piece",
     {{MM_TOKENIZER_TRAINER_MODEL, MM_TOKENIZER_WORD_PIECE},
      {MM_TOKENIZER_TRAINER_VOCAB_SIZE, 1500},
      {MM_TOKENIZER_TRAINER_NORMALIZATION, MM_NORMALIZATION_NFKC},
      {MM_TOKENIZER_TRAINER_LOWERCASE, 1}},
     {{MM_TOKENIZER_TRAINER_PAD_TOKEN, "[PAD]"},
      {MM_TOKENIZER_TRAINER_UNK_TOKEN, "[UNK]"},
      {MM_TOKENIZER_TRAINER_CLS_TOKEN, "[CLS]"},
      {MM_TOKENIZER_TRAINER_SEP_TOKEN, "[SEP]"},
      {MM_TOKENIZER_TRAINER_MASK_TOKEN, "[MASK]"}}},
    {"unigram",
     {{MM_TOKENIZER_TRAINER_MODEL, MM_TOKENIZER_UNIGRAM}, {MM_TOKENIZER_TRAINER_VOCAB_SIZE, 1000}},
     {{MM_TOKENIZER_TRAINER_EOS_TOKEN, "</s>"}}}, /* <unk> comes in front by itself */
    {"unigram_bytes",
     {{MM_TOKENIZER_TRAINER_MODEL, MM_TOKENIZER_UNIGRAM},
      {MM_TOKENIZER_TRAINER_VOCAB_SIZE, 800},
      {MM_TOKENIZER_TRAINER_PRE_TOKENIZER, MM_PRE_TOKENIZER_BYTE_LEVEL},
      {MM_TOKENIZER_TRAINER_MAX_PIECE_LENGTH, 6}},
     {{MM_TOKENIZER_TRAINER_UNK_TOKEN, "<unk>"}}},
    {"unigram_pairs",
     {{MM_TOKENIZER_TRAINER_MODEL, MM_TOKENIZER_UNIGRAM}, {MM_TOKENIZER_TRAINER_VOCAB_SIZE, 1250}, {MM_TOKENIZER_TRAINER_MAX_PIECE_LENGTH, 2}},
     {{0, NULL}}},
};
enum { TRAININGS = sizeof trainings / sizeof *trainings };

static mm_tokenizer_trainer *make_trainer(fixture *f, const training *x)
{
    mm_tokenizer_trainer *t = NULL;

    assert_int_equal(mm_tokenizer_trainer_create(f->ctx, &t), MM_OK);
    for (int i = 0; x && i < NUMBERS && x->numbers[i][0]; i++)
        assert_int_equal(mm_tokenizer_trainer_set_i64(t, (int32_t)x->numbers[i][0], x->numbers[i][1]), MM_OK);
    for (int i = 0; x && i < TOKENS && x->tokens[i].text; i++)
        assert_int_equal(mm_tokenizer_trainer_set_str(t, x->tokens[i].option, x->tokens[i].text), MM_OK);
    return t;
}

static mm_tokenizer_trainer *make_simple(fixture *f, int64_t model, int64_t size)
{
    training x = {"", {{MM_TOKENIZER_TRAINER_MODEL, model}, {MM_TOKENIZER_TRAINER_VOCAB_SIZE, size}}, {{0, NULL}}};
    return make_trainer(f, &x);
}

static mm_tokenizer *train(fixture *f, mm_tokenizer_trainer *t, const char *directory)
{
    mm_tokenizer *out = NULL;
    if (mm_tokenizer_trainer_train(t, directory, &out)) fail_msg("%s", f->ctx->error);
    return out;
}

static void add(fixture *f, mm_tokenizer_trainer *t, const char *text)
{
    if (mm_tokenizer_trainer_add_text(t, text, strlen(text))) fail_msg("%s", f->ctx->error);
}

/* ---- against the package ---- */

static void check_vocabulary(const mm_tokenizer *t, const mmi_json_node *golden, const mmi_json_node *model)
{
    const mmi_json_node *scores = mmi_json_first(mmi_json_get(golden, "scores")), *ours = mmi_json_get(model, "vocab");
    int32_t id = 0;

    for (const mmi_json_node *n = mmi_json_first(mmi_json_get(golden, "vocab")); n; n = mmi_json_next(n), id++) {
        const char *token = mmi_json_string(n);
        int32_t found = mm_tokenizer_find(t, token, strlen(token));
        double wanted = 0, got = 0;
        if (!scores) { /* the order of Unigram's tokens hangs on the last bits of their scores */
            if (found != id) fail_msg("%s has the id %d, expected %d", token, (int)found, (int)id);
            continue;
        }
        if (found < 0) fail_msg("%s is no token", token);
        assert_true(mmi_json_number(scores, &wanted));
        assert_true(mmi_json_number(mmi_json_next(mmi_json_first(at(ours, found))), &got));
        if (!(fabs(got - wanted) <= 1e-9)) fail_msg("%s has the score %.12f, expected %.12f", token, got, wanted);
        scores = mmi_json_next(scores);
    }
    assert_int_equal(mm_tokenizer_size(t), id);
}

static void check_merges(const mmi_json_node *golden, const mmi_json_node *model)
{
    const mmi_json_node *ours = mmi_json_first(mmi_json_get(model, "merges"));

    for (const mmi_json_node *n = mmi_json_first(mmi_json_get(golden, "merges")); n; n = mmi_json_next(n), ours = mmi_json_next(ours)) {
        char text[256];
        assert_non_null(ours);
        (void)snprintf(text, sizeof text, "%s %s", mmi_json_string(mmi_json_first(ours)), mmi_json_string(mmi_json_next(mmi_json_first(ours))));
        assert_string_equal(text, mmi_json_string(n));
    }
    assert_null(ours);
}

static void check_lines(fixture *f, const mm_tokenizer *t, const mmi_json_node *golden)
{
    for (const mmi_json_node *line = mmi_json_first(mmi_json_get(golden, "lines")); line; line = mmi_json_next(line)) {
        const char *text = mmi_json_string(mmi_json_get(line, "text"));
        const mmi_json_node *id = mmi_json_first(mmi_json_get(line, "ids"));
        int32_t *ids = NULL;
        size_t count = 0;
        assert_int_equal(mm_tokenizer_encode(t, f->ctx, text, strlen(text), 0, &ids, &count), MM_OK);
        for (size_t i = 0; i < count; i++, id = mmi_json_next(id)) {
            int64_t wanted = -1;
            assert_true(mmi_json_integer(id, &wanted));
            assert_string_equal(mm_tokenizer_token(t, ids[i], NULL), mmi_json_string(at(mmi_json_get(golden, "vocab"), wanted)));
        }
        assert_null(id);
        mm_ids_free(ids);
    }
}

static void test_as_the_package(void **state)
{
    fixture *f = *state;

    for (size_t i = 0; i < TRAININGS; i++) {
        mm_tokenizer_trainer *trainer = make_trainer(f, &trainings[i]);
        mm_tokenizer *made = NULL, *opened = NULL;
        mmi_json *golden = NULL, *doc = NULL;
        char path[160], directory[128];

        (void)snprintf(path, sizeof path, TRAINING "%s.json", trainings[i].name);
        golden = read_json(f, path);
        if (mm_tokenizer_trainer_add_file(trainer, TRAINING "corpus.txt") || mm_tokenizer_trainer_add_file(trainer, GOLDEN "torture.txt"))
            fail_msg("%s", f->ctx->error);
        (void)snprintf(directory, sizeof directory, "%s/%s", f->folder, trainings[i].name);
        made = train(f, trainer, directory);
        (void)snprintf(path, sizeof path, "%s/tokenizer.json", directory);
        doc = read_json(f, path);
        check_vocabulary(made, mmi_json_root(golden), mmi_json_get(mmi_json_root(doc), "model"));
        check_merges(mmi_json_root(golden), mmi_json_get(mmi_json_root(doc), "model"));
        check_lines(f, made, mmi_json_root(golden));
        assert_int_equal(mm_tokenizer_open(f->ctx, directory, &opened), MM_OK);
        check_lines(f, opened, mmi_json_root(golden));
        for (int32_t role = 0; role <= MM_TOKEN_MASK; role++)
            assert_int_equal(mm_tokenizer_special(opened, role), mm_tokenizer_special(made, role));
        mm_tokenizer_release(opened);
        mm_tokenizer_release(made);
        mmi_json_destroy(doc);
        mmi_json_destroy(golden);
        mm_tokenizer_trainer_destroy(trainer);
    }
}

/* ---- what comes back ---- */

static void assert_encodes(fixture *f, const mm_tokenizer *t, const char *text, int32_t flags, const int32_t *ids, size_t count)
{
    int32_t *got = NULL;
    size_t n = 0;
    assert_int_equal(mm_tokenizer_encode(t, f->ctx, text, strlen(text), flags, &got, &n), MM_OK);
    assert_int_equal(n, count);
    assert_memory_equal(got, ids, count * sizeof *ids);
    mm_ids_free(got);
}

static void assert_round_trip(fixture *f, const mm_tokenizer *t, const char *text)
{
    int32_t *ids = NULL;
    size_t n = 0, size = 0;
    char *back = NULL;
    assert_int_equal(mm_tokenizer_encode(t, f->ctx, text, strlen(text), MM_TOKENS_ADD_SPECIAL | MM_TOKENS_PARSE_SPECIAL, &ids, &n), MM_OK);
    assert_int_equal(mm_tokenizer_decode(t, f->ctx, ids, n, MM_TOKENS_SKIP_SPECIAL, &back, &size), MM_OK);
    assert_string_equal(back, text);
    mm_text_free(back);
    mm_ids_free(ids);
}

static void test_special_tokens(void **state)
{
    fixture *f = *state;
    mm_tokenizer_trainer *trainer = make_simple(f, MM_TOKENIZER_WORD_PIECE, 30);
    mm_tokenizer *t;

    assert_int_equal(mm_tokenizer_trainer_set_str(trainer, MM_TOKENIZER_TRAINER_SPECIAL_TOKEN, "\"quoted\\\""), MM_OK);
    assert_int_equal(mm_tokenizer_trainer_set_str(trainer, MM_TOKENIZER_TRAINER_SEP_TOKEN, "<sep>"), MM_OK);
    assert_int_equal(mm_tokenizer_trainer_set_str(trainer, MM_TOKENIZER_TRAINER_EOS_TOKEN, "<sep>"), MM_OK);
    assert_int_equal(mm_tokenizer_trainer_set_str(trainer, MM_TOKENIZER_TRAINER_CLS_TOKEN, "<cls>"), MM_OK);
    add(f, trainer, "aa aa ab");
    t = train(f, trainer, NULL);
    assert_int_equal(mm_tokenizer_special(t, MM_TOKEN_UNK), 0); /* WordPiece needs one */
    assert_int_equal(mm_tokenizer_find(t, "[UNK]", 5), 0);
    assert_int_equal(mm_tokenizer_find(t, "\"quoted\\\"", 9), 1);
    assert_int_equal(mm_tokenizer_special(t, MM_TOKEN_SEP), 2);
    assert_int_equal(mm_tokenizer_special(t, MM_TOKEN_EOS), 2);
    assert_int_equal(mm_tokenizer_special(t, MM_TOKEN_CLS), 3);
    assert_int_equal(mm_tokenizer_special(t, MM_TOKEN_BOS), -1);
    assert_true(mm_tokenizer_is_special(t, 1));
    assert_false(mm_tokenizer_is_special(t, 4));
    assert_int_equal(mm_tokenizer_find(t, "aa", 2), 8); /* behind a, b, ##a, ##b */
    assert_encodes(f, t, "aa x", MM_TOKENS_ADD_SPECIAL, (const int32_t[]){3, 8, 0, 2}, 4);
    mm_tokenizer_release(t);
    /* more text, and a token that takes the role */
    assert_int_equal(mm_tokenizer_trainer_set_str(trainer, MM_TOKENIZER_TRAINER_UNK_TOKEN, "<?>"), MM_OK);
    add(f, trainer, "zz");
    t = train(f, trainer, NULL);
    assert_int_equal(mm_tokenizer_find(t, "[UNK]", 5), -1);
    assert_int_equal(mm_tokenizer_special(t, MM_TOKEN_UNK), 3);
    assert_true(mm_tokenizer_find(t, "##z", 3) > 3);
    mm_tokenizer_release(t);
    mm_tokenizer_trainer_destroy(trainer);

    /* no special token becomes a piece */
    trainer = make_simple(f, MM_TOKENIZER_UNIGRAM, 12);
    assert_int_equal(mm_tokenizer_trainer_set_str(trainer, MM_TOKENIZER_TRAINER_SPECIAL_TOKEN, "ab"), MM_OK);
    assert_int_equal(mm_tokenizer_trainer_set_str(trainer, MM_TOKENIZER_TRAINER_SPECIAL_TOKEN, "c"), MM_OK);
    add(f, trainer, "ab abab cab cabc abc");
    t = train(f, trainer, NULL);
    assert_int_equal(mm_tokenizer_find(t, "ab", 2), 1);
    assert_int_equal(mm_tokenizer_find(t, "c", 1), 2);
    mm_tokenizer_release(t);
    mm_tokenizer_trainer_destroy(trainer);
}

static void test_round_trips(void **state)
{
    static const char text[] = "Not met in training: \xE2\x82\xAC \xF0\x9F\x98\x80 \x01\x7F, and  two spaces\n";
    fixture *f = *state;

    for (int64_t model = MM_TOKENIZER_BPE; model <= MM_TOKENIZER_UNIGRAM; model += 2) {
        mm_tokenizer_trainer *trainer = make_simple(f, model, 300);
        mm_tokenizer *t;
        assert_int_equal(mm_tokenizer_trainer_set_i64(trainer, MM_TOKENIZER_TRAINER_PRE_TOKENIZER, MM_PRE_TOKENIZER_BYTE_LEVEL), MM_OK);
        add(f, trainer, "a text, and another text");
        t = train(f, trainer, NULL);
        assert_round_trip(f, t, text);
        mm_tokenizer_release(t);
        mm_tokenizer_trainer_destroy(trainer);
    }
}

/* ---- what cannot be ---- */

static void test_options(void **state)
{
    fixture *f = *state;
    mm_tokenizer_trainer *t = make_trainer(f, NULL);
    mm_tokenizer *out = NULL;
    char token[1026];

    assert_int_equal(mm_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_VOCAB_SIZE, 0), MM_E_ARGUMENT);
    assert_sentence(f, "MM_TOKENIZER_TRAINER_VOCAB_SIZE is 0, allowed are 1 to 16777216");
    assert_int_equal(mm_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_MODEL, 3), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_MAX_PIECE_LENGTH, 256), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_trainer_set_i64(t, 0, 0), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_trainer_set_i64(t, 9, 0), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_trainer_set_str(t, 49, "x"), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_trainer_set_str(t, 58, "x"), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_trainer_set_str(t, BOS, ""), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_trainer_set_str(t, BOS, "\xFF"), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_trainer_set_str(t, BOS, NULL), MM_E_ARGUMENT);
    memset(token, 'x', 1025);
    token[1025] = 0;
    assert_int_equal(mm_tokenizer_trainer_set_str(t, BOS, token), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_trainer_add_text(t, NULL, 1), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_trainer_add_file(t, NULL), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_trainer_add_file(t, "no/such.txt"), MM_E_NOT_FOUND);

    assert_int_equal(mm_tokenizer_trainer_train(t, NULL, &out), MM_E_STATE); /* nothing was added */
    assert_int_equal(mm_tokenizer_trainer_add_text(t, NULL, 0), MM_OK);
    assert_int_equal(mm_tokenizer_trainer_train(t, NULL, &out), MM_E_STATE);
    assert_null(out);
    assert_int_equal(mm_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_MODEL, MM_TOKENIZER_WORD_PIECE), MM_E_STATE);
    assert_int_equal(mm_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_MODEL, MM_TOKENIZER_BPE), MM_OK); /* as it is */
    assert_int_equal(mm_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_VOCAB_SIZE, 270), MM_OK);
    add(f, t, "some text");
    out = train(f, t, NULL);
    assert_true(mm_tokenizer_size(out) > 256 && mm_tokenizer_size(out) <= 270);
    mm_tokenizer_release(out);
    assert_int_equal(mm_tokenizer_trainer_train(t, NULL, NULL), MM_OK);
    write_bytes(f, "", 0);
    (void)snprintf(token, sizeof token, "%s/below", f->path); /* a file */
    assert_int_equal(mm_tokenizer_trainer_train(t, token, &out), MM_E_IO);
    assert_null(out);
    mm_tokenizer_trainer_destroy(t);

    t = make_simple(f, MM_TOKENIZER_WORD_PIECE, 100);
    assert_int_equal(mm_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_PRE_TOKENIZER, MM_PRE_TOKENIZER_WHITESPACE), MM_OK);
    add(f, t, " \t\n\xE3\x80\x80");
    assert_int_equal(mm_tokenizer_trainer_train(t, NULL, &out), MM_E_STATE); /* no word */
    mm_tokenizer_trainer_destroy(t);
    t = make_simple(f, MM_TOKENIZER_WORD_PIECE, 100);
    assert_int_equal(mm_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_PRE_TOKENIZER, MM_PRE_TOKENIZER_METASPACE), MM_OK);
    add(f, t, "a");
    assert_int_equal(mm_tokenizer_trainer_train(t, NULL, &out), MM_E_ARGUMENT);
    mm_tokenizer_trainer_destroy(t);
    t = make_simple(f, MM_TOKENIZER_BPE, 300);
    assert_int_equal(mm_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_LIMIT_ALPHABET, 20), MM_OK);
    add(f, t, "a");
    assert_int_equal(mm_tokenizer_trainer_train(t, NULL, &out), MM_E_ARGUMENT);
    mm_tokenizer_trainer_destroy(t);
    t = make_simple(f, MM_TOKENIZER_UNIGRAM, 100);
    assert_int_equal(mm_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_MIN_FREQUENCY, 2), MM_OK);
    add(f, t, "a");
    assert_int_equal(mm_tokenizer_trainer_train(t, NULL, &out), MM_E_ARGUMENT);
    assert_sentence(f, "MM_TOKENIZER_TRAINER_MIN_FREQUENCY is 2, but Unigram");
    mm_tokenizer_trainer_destroy(t);

    assert_int_equal(mm_tokenizer_trainer_create(f->ctx, NULL), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_trainer_create(NULL, &t), MM_E_ARGUMENT);
    assert_int_equal(mm_tokenizer_trainer_train(NULL, NULL, &out), MM_E_ARGUMENT);
    mm_tokenizer_trainer_destroy(NULL);
}

/* A vocabulary smaller than the alphabet: BPE and WordPiece keep the characters and join nothing, Unigram says what it needs. */
static void test_small_vocabularies(void **state)
{
    fixture *f = *state;
    mm_tokenizer_trainer *t = make_simple(f, MM_TOKENIZER_BPE, 3);
    mm_tokenizer *out;

    add(f, t, "the alphabet");
    out = train(f, t, NULL);
    assert_int_equal(mm_tokenizer_size(out), 256);
    assert_round_trip(f, out, "the alphabet");
    mm_tokenizer_release(out);
    for (int i = 0; i < 4; i++) {
        char token[] = {'<', (char)('a' + i), '>', 0};
        assert_int_equal(mm_tokenizer_trainer_set_str(t, MM_TOKENIZER_TRAINER_SPECIAL_TOKEN, token), MM_OK);
    }
    assert_int_equal(mm_tokenizer_trainer_train(t, NULL, &out), MM_E_ARGUMENT);
    assert_sentence(f, "3 tokens does not hold 4 special tokens");
    mm_tokenizer_trainer_destroy(t);
    t = make_simple(f, MM_TOKENIZER_WORD_PIECE, 3);
    add(f, t, "abc cab");
    out = train(f, t, NULL);
    assert_int_equal(mm_tokenizer_size(out), 1 + 3 + 3);
    mm_tokenizer_release(out);
    mm_tokenizer_trainer_destroy(t);
    t = make_simple(f, MM_TOKENIZER_UNIGRAM, 4);
    add(f, t, "abc cab");
    assert_int_equal(mm_tokenizer_trainer_train(t, NULL, &out), MM_E_ARGUMENT);
    assert_sentence(f, "4 tokens does not hold 1 special tokens and the 4 characters");
    assert_int_equal(mm_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_VOCAB_SIZE, 5), MM_OK);
    out = train(f, t, NULL);
    assert_int_equal(mm_tokenizer_size(out), 5);
    assert_round_trip(f, out, "abc cab");
    mm_tokenizer_release(out);
    mm_tokenizer_trainer_destroy(t);
}

static void test_hostile_texts(void **state)
{
    static const char nuls[] = "a\0b a\0b \0\0 ab";
    fixture *f = *state;

    for (int64_t model = MM_TOKENIZER_BPE; model <= MM_TOKENIZER_UNIGRAM; model++) {
        for (int pre = MM_PRE_TOKENIZER_BYTE_LEVEL; pre <= MM_PRE_TOKENIZER_BERT; pre++) {
            mm_tokenizer_trainer *t = make_simple(f, model, 280);
            mm_tokenizer *out;
            if (model == MM_TOKENIZER_WORD_PIECE && pre <= MM_PRE_TOKENIZER_METASPACE) pre = MM_PRE_TOKENIZER_WHITESPACE;
            assert_int_equal(mm_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_PRE_TOKENIZER, pre), MM_OK);
            assert_int_equal(mm_tokenizer_trainer_add_text(t, nuls, sizeof nuls - 1), MM_OK);
            out = train(f, t, f->folder);
            assert_true(mm_tokenizer_find(out, "a", 1) >= 0);
            assert_int_equal(mm_tokenizer_find(out, "", 1), -1);
            mm_tokenizer_release(out);
            assert_int_equal(mm_tokenizer_open(f->ctx, f->folder, &out), MM_OK);
            mm_tokenizer_release(out);
            assert_int_equal(mm_tokenizer_trainer_add_text(t, "ab\xC3(", 4), MM_E_FORMAT);
            assert_sentence(f, "byte 2");
            write_bytes(f, "line\nb\xF5", 7);
            assert_int_equal(mm_tokenizer_trainer_add_file(t, f->path), MM_E_FORMAT);
            assert_sentence(f, f->path);
            assert_sentence(f, "byte 6");
            mm_tokenizer_trainer_destroy(t);
        }
    }
}

/* Words of many characters: alternating, so that merges double, and without a pattern. */
static void test_giant_words(void **state)
{
    enum { SIZE = 100000 };
    fixture *f = *state;
    char *word = malloc(SIZE);
    uint32_t seed = 1;

    assert_non_null(word);
    for (int64_t model = MM_TOKENIZER_BPE; model <= MM_TOKENIZER_UNIGRAM; model++)
        for (int pattern = 0; pattern < 3; pattern++) {
            mm_tokenizer_trainer *t = make_simple(f, model, model == MM_TOKENIZER_BPE ? 320 : 64);
            mm_tokenizer *out;
            for (size_t i = 0; i < SIZE; i++) {
                seed = seed * 1664525u + 1013904223u;
                word[i] = (char)(pattern == 0 ? 'a' : pattern == 1 ? 'a' + (int)(i & 1) : 'a' + (int)(seed >> 28));
            }
            assert_int_equal(mm_tokenizer_trainer_add_text(t, word, SIZE), MM_OK);
            out = train(f, t, NULL);
            assert_true(mm_tokenizer_size(out) <= (model == MM_TOKENIZER_BPE ? 320 : 64));
            assert_true(mm_tokenizer_find(out, "a", 1) >= 0);
            mm_tokenizer_release(out);
            mm_tokenizer_trainer_destroy(t);
        }
    free(word);
}

static int32_t stop_now(void *user, const char *what, int64_t done, int64_t total)
{
    (void)what;
    assert_true(done >= 0 && done <= total);
    return --*(int *)user < 0;
}

static void test_cancel_and_limit(void **state)
{
    fixture *f = *state;

    for (int64_t model = MM_TOKENIZER_BPE; model <= MM_TOKENIZER_UNIGRAM; model++) {
        mm_tokenizer_trainer *t = make_simple(f, model, 600);
        mm_tokenizer *out = NULL;
        int steps = 1;
        int64_t used = 0;

        mm_context_cancel(f->ctx);
        assert_int_equal(mm_tokenizer_trainer_add_file(t, TRAINING "corpus.txt"), MM_E_CANCELLED);
        assert_int_equal(mm_tokenizer_trainer_add_file(t, TRAINING "corpus.txt"), MM_OK);
        mm_context_cancel(f->ctx);
        assert_int_equal(mm_tokenizer_trainer_train(t, f->folder, &out), MM_E_CANCELLED);
        mm_context_set_progress(f->ctx, stop_now, &steps);
        assert_int_equal(mm_tokenizer_trainer_train(t, f->folder, &out), MM_E_CANCELLED);
        mm_context_set_progress(f->ctx, NULL, NULL);
        assert_null(out);
        assert_int_equal(mm_context_get_i64(f->ctx, MM_CONTEXT_MEMORY_USED, &used), MM_OK);
        assert_int_equal(mm_context_set_i64(f->ctx, MM_CONTEXT_MEMORY_LIMIT, used + 65536), MM_OK);
        assert_int_equal(mm_tokenizer_trainer_train(t, f->folder, &out), MM_E_NOMEM);
        assert_int_equal(mm_context_set_i64(f->ctx, MM_CONTEXT_MEMORY_LIMIT, 0), MM_OK);
        mm_tokenizer_release(train(f, t, NULL));
        mm_tokenizer_trainer_destroy(t);
    }
}

/* A training in small, of the model that the path names. */
static mm_status visit(mm_context *ctx, const char *path)
{
    mm_tokenizer_trainer *t = NULL;
    mm_tokenizer *out = NULL;
    mm_status st = mm_tokenizer_trainer_create(ctx, &t);

    if (!st) st = mm_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_MODEL, *path - '0');
    if (!st) st = mm_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_VOCAB_SIZE, *path == '0' ? 270 : 20);
    if (!st) st = mm_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_LOWERCASE, 1);
    if (!st) st = mm_tokenizer_trainer_set_str(t, MM_TOKENIZER_TRAINER_EOS_TOKEN, "</s>");
    if (!st) st = mm_tokenizer_trainer_add_text(t, "banana bandana ban", 18);
    if (!st) st = mm_tokenizer_trainer_train(t, NULL, &out);
    mm_tokenizer_release(out);
    mm_tokenizer_trainer_destroy(t);
    return st;
}

static void test_out_of_memory(void **state)
{
    visit_out_of_memory(*state, visit, "0");
    visit_out_of_memory(*state, visit, "1");
    visit_out_of_memory(*state, visit, "2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_as_the_package, setup, teardown),
        cmocka_unit_test_setup_teardown(test_special_tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(test_round_trips, setup, teardown),
        cmocka_unit_test_setup_teardown(test_options, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_vocabularies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_texts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_giant_words, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_and_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
    };
    return cmocka_run_group_tests_name("tokenizer_trainer", tests, NULL, NULL);
}
