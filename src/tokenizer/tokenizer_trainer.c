/* SPDX-License-Identifier: MIT */
#include "tokenizer_trainer.h"

#include <string.h>

#include "bpe_trainer.h"
#include "file.h"
#include "normalizer.h"
#include "size.h"
#include "unigram_trainer.h"
#include "word_piece_trainer.h"

static const char where[] = "the trained tokenizer";

enum { MODEL, VOCAB_SIZE, MIN_FREQUENCY, LIMIT_ALPHABET, MAX_PIECE_LENGTH, NORMALIZATION, LOWERCASE, PRE_TOKENIZER, NUMBERS, MAX_SPECIAL = 65536 };

/* In the order of MM_TOKENIZER_TRAINER_*, from 1 on. */
static const struct number_option {
    const char *name;
    int64_t lowest, highest, standard;
    int of_words; /* changes how texts are cut */
} number_options[NUMBERS] = {
    {"MM_TOKENIZER_TRAINER_MODEL", MM_TOKENIZER_BPE, MM_TOKENIZER_UNIGRAM, MM_TOKENIZER_BPE, 1},
    {"MM_TOKENIZER_TRAINER_VOCAB_SIZE", 1, MMI_VOCABULARY_MAX, 8000, 0},
    {"MM_TOKENIZER_TRAINER_MIN_FREQUENCY", 0, INT64_MAX, 0, 0},
    {"MM_TOKENIZER_TRAINER_LIMIT_ALPHABET", 0, INT64_MAX, 0, 0},
    {"MM_TOKENIZER_TRAINER_MAX_PIECE_LENGTH", 0, MMI_UNIGRAM_TRAINER_MAX_PIECE, 0, 0},
    {"MM_TOKENIZER_TRAINER_NORMALIZATION", MM_NORMALIZATION_NONE, MM_NORMALIZATION_NFKC, MM_NORMALIZATION_NONE, 1},
    {"MM_TOKENIZER_TRAINER_LOWERCASE", 0, 1, 0, 1},
    {"MM_TOKENIZER_TRAINER_PRE_TOKENIZER", MM_PRE_TOKENIZER_DEFAULT, MM_PRE_TOKENIZER_BERT, MM_PRE_TOKENIZER_DEFAULT, 1},
};

struct mm_tokenizer_trainer {
    mm_context *ctx;
    int64_t numbers[NUMBERS];
    mmi_vocabulary special;
    int32_t roles[MMI_SPECIAL_COUNT]; /* ids in special, -1 for none */
    mmi_normalizer *normalizer;       /* made for the first text */
    mmi_pre_tokenizer *pre_tokenizer;
    mmi_matcher *matcher;
    mmi_words cut, spare;
    mmi_word_counts words;
};

mm_status mmi_tokenizer_trainer_create(mm_context *ctx, mmi_tokenizer_trainer **out)
{
    mmi_tokenizer_trainer *t = mmi_zalloc(ctx, sizeof *t);

    *out = t;
    if (!t) return MM_E_NOMEM;
    t->ctx = ctx;
    for (int i = 0; i < NUMBERS; i++) t->numbers[i] = number_options[i].standard;
    for (int i = 0; i < MMI_SPECIAL_COUNT; i++) t->roles[i] = -1;
    return MM_OK;
}

void mmi_tokenizer_trainer_destroy(mmi_tokenizer_trainer *t)
{
    if (!t) return;
    mmi_vocabulary_clear(&t->special);
    mmi_normalizer_destroy(t->normalizer);
    mmi_pre_tokenizer_destroy(t->pre_tokenizer);
    mmi_matcher_destroy(t->matcher);
    mmi_words_clear(&t->cut);
    mmi_words_clear(&t->spare);
    mmi_word_counts_clear(&t->words);
    mmi_free(t);
}

mm_context *mmi_tokenizer_trainer_context(const mmi_tokenizer_trainer *t) { return t->ctx; }

/* ---- options ---- */

mm_status mmi_tokenizer_trainer_set_i64(mmi_tokenizer_trainer *t, int32_t option, int64_t value)
{
    const struct number_option *o;

    if (option < 1 || option > NUMBERS) return mmi_fail(t->ctx, MM_E_ARGUMENT, "%d is no integer option of a tokenizer trainer", (int)option);
    o = &number_options[option - 1];
    if (value < o->lowest || value > o->highest)
        return mmi_fail(t->ctx, MM_E_ARGUMENT, "%s is %lld, allowed are %lld to %lld", o->name, (long long)value, (long long)o->lowest,
                        (long long)o->highest);
    if (o->of_words && t->pre_tokenizer && value != t->numbers[option - 1])
        return mmi_fail(t->ctx, MM_E_STATE, "%s is set after the first text was added", o->name);
    t->numbers[option - 1] = value;
    return MM_OK;
}

mm_status mmi_tokenizer_trainer_set_str(mmi_tokenizer_trainer *t, int32_t option, const char *value)
{
    int role = option - MM_TOKENIZER_TRAINER_BOS_TOKEN;
    size_t n = strlen(value);
    int32_t id = mmi_vocabulary_find(&t->special, value, n);
    mm_status st = MM_OK;

    if (role < -1 || role >= MMI_SPECIAL_COUNT) return mmi_fail(t->ctx, MM_E_ARGUMENT, "%d is no text option of a tokenizer trainer", (int)option);
    if (!n || n > MMI_ADDED_TOKEN_MAX_BYTES || mmi_utf8_valid(value, n) < n)
        return mmi_fail(t->ctx, MM_E_ARGUMENT, "a special token of %zu bytes: it must be UTF-8 of 1 to %d", n, (int)MMI_ADDED_TOKEN_MAX_BYTES);
    if (id < 0) {
        if (t->special.count == MAX_SPECIAL) return mmi_fail(t->ctx, MM_E_LIMIT, "more than %d special tokens", (int)MAX_SPECIAL);
        id = (int32_t)t->special.count;
        st = mmi_vocabulary_add(t->ctx, &t->special, where, value, n, id);
    }
    if (!st && role >= 0) t->roles[role] = id;
    return st;
}

static int64_t pre_tokenizer_of(const mmi_tokenizer_trainer *t)
{
    static const int64_t standard[] = {MM_PRE_TOKENIZER_BYTE_LEVEL, MM_PRE_TOKENIZER_BERT, MM_PRE_TOKENIZER_METASPACE};
    return t->numbers[PRE_TOKENIZER] ? t->numbers[PRE_TOKENIZER] : standard[t->numbers[MODEL]];
}

/* ---- texts ---- */

/* The steps of tokenizer.json but for the model, as members of an object. */
static int write_steps(const mmi_tokenizer_trainer *t, mmi_text *out)
{
    static const char *const forms[] = {NULL, "{\"type\": \"NFC\"}", "{\"type\": \"NFKC\"}"};
    static const char *const cuts[] = {
        NULL, "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}",
        "{\"type\": \"Metaspace\", \"replacement\": \"\xE2\x96\x81\", \"prepend_scheme\": \"always\", \"split\": true}", "{\"type\": \"Whitespace\"}",
        "{\"type\": \"BertPreTokenizer\"}"};
    const char *form = forms[t->numbers[NORMALIZATION]], *lower = t->numbers[LOWERCASE] ? "{\"type\": \"Lowercase\"}" : NULL, *decoder = "null";
    int64_t kind = pre_tokenizer_of(t);

    if (kind == MM_PRE_TOKENIZER_BYTE_LEVEL || kind == MM_PRE_TOKENIZER_METASPACE)
        decoder = cuts[kind]; /* undoes what the pre-tokenizer of this kind does */
    else if (t->numbers[MODEL] == MM_TOKENIZER_WORD_PIECE)
        decoder = "{\"type\": \"WordPiece\", \"prefix\": \"" MMI_WORD_PIECE_PREFIX "\", \"cleanup\": true}";
    return (form && lower ? mmi_text_format(t->ctx, out, "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [%s, %s]}", form, lower)
                          : mmi_text_format(t->ctx, out, "\"normalizer\": %s", form ? form : lower ? lower : "null")) ||
           mmi_text_format(t->ctx, out, ",\n \"pre_tokenizer\": %s,\n \"decoder\": %s", cuts[kind], decoder);
}

static mm_status load_steps(mmi_tokenizer_trainer *t)
{
    mmi_text text = {0};
    mmi_json *doc = NULL;
    mm_status st = MM_OK;

    if (mmi_text_format(t->ctx, &text, "{") || write_steps(t, &text) || mmi_text_format(t->ctx, &text, "}")) st = MM_E_NOMEM;
    if (!st) st = mmi_json_parse(t->ctx, where, text.data, text.size, &doc);
    if (!st && !t->matcher) st = mmi_matcher_create(t->ctx, &t->matcher);
    if (!st && !t->normalizer) st = mmi_normalizer_load(t->ctx, doc, mmi_json_get(mmi_json_root(doc), "normalizer"), &t->normalizer);
    if (!st) st = mmi_pre_tokenizer_load(t->ctx, doc, mmi_json_get(mmi_json_root(doc), "pre_tokenizer"), &t->pre_tokenizer);
    mmi_json_destroy(doc);
    mmi_text_clear(&text);
    return st;
}

/* Valid UTF-8. */
static mm_status add_text(mmi_tokenizer_trainer *t, const char *text, size_t n)
{
    mm_status st = t->pre_tokenizer ? MM_OK : load_steps(t);

    if (st) return st;
    if (n > MMI_TOKENIZER_MAX_TEXT) return mmi_fail(t->ctx, MM_E_LIMIT, "a text of %zu bytes, more than the %d allowed", n, (int)MMI_TOKENIZER_MAX_TEXT);
    t->cut.text.size = 0;
    t->cut.at_start = 1;
    if (mmi_text_append(t->ctx, &t->cut.text, text, n)) return MM_E_NOMEM;
    st = mmi_normalizer_run(t->ctx, t->normalizer, &t->cut.text, &t->spare.text, t->matcher);
    if (!st && t->cut.text.size) st = mmi_pre_tokenizer_run(t->ctx, t->pre_tokenizer, &t->cut, &t->spare, t->matcher);
    if (st || !t->cut.text.size) return st;
    for (size_t i = 0; i < t->cut.count; i++) {
        const mmi_span *s = &t->cut.spans[i];
        if (mmi_word_counts_add(t->ctx, &t->words, t->cut.text.data + s->start, s->end - s->start)) return MM_E_NOMEM;
    }
    return mmi_check_cancel(t->ctx);
}

mm_status mmi_tokenizer_trainer_add_text(mmi_tokenizer_trainer *t, const char *text, size_t n)
{
    size_t valid = mmi_utf8_valid(text, n);

    if (valid < n) return mmi_fail(t->ctx, MM_E_FORMAT, "the text is not UTF-8 at byte %zu", valid);
    return add_text(t, text, n);
}

mm_status mmi_tokenizer_trainer_add_file(mmi_tokenizer_trainer *t, const char *path)
{
    mmi_file_map *map = NULL;
    mm_status st = mmi_file_map_open(t->ctx, path, &map);
    const char *text = NULL;
    size_t n = 0, at = 0, valid = 0;

    if (st) return st;
    text = (const char *)mmi_file_map_data(map);
    n = mmi_file_map_size(map);
    valid = mmi_utf8_valid(text, n);
    if (valid < n) st = mmi_fail(t->ctx, MM_E_FORMAT, "%s is not UTF-8 at byte %zu", path, valid);
    while (at < n && !st) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t to = end ? (size_t)(end + 1 - text) : n;
        st = add_text(t, text + at, to - at);
        at = to;
    }
    mmi_file_map_release(map);
    return st;
}

/* ---- the files ---- */

static mm_status check_options(const mmi_tokenizer_trainer *t, const mmi_vocabulary *special)
{
    int64_t model = t->numbers[MODEL], kind = pre_tokenizer_of(t);

    if (!t->words.count) return mmi_fail(t->ctx, MM_E_STATE, "training a tokenizer without a text that has a word");
    if (model == MM_TOKENIZER_WORD_PIECE && (kind == MM_PRE_TOKENIZER_BYTE_LEVEL || kind == MM_PRE_TOKENIZER_METASPACE))
        return mmi_fail(t->ctx, MM_E_ARGUMENT, "WordPiece takes the pre-tokenizers MM_PRE_TOKENIZER_WHITESPACE and MM_PRE_TOKENIZER_BERT");
    for (int i = MIN_FREQUENCY; i <= LIMIT_ALPHABET; i++)
        if (model == MM_TOKENIZER_UNIGRAM && t->numbers[i])
            return mmi_fail(t->ctx, MM_E_ARGUMENT, "%s is %lld, but Unigram has no such option", number_options[i].name, (long long)t->numbers[i]);
    if (kind == MM_PRE_TOKENIZER_BYTE_LEVEL && t->numbers[LIMIT_ALPHABET])
        return mmi_fail(t->ctx, MM_E_ARGUMENT, "MM_TOKENIZER_TRAINER_LIMIT_ALPHABET is %lld, but MM_PRE_TOKENIZER_BYTE_LEVEL takes all 256 characters",
                        (long long)t->numbers[LIMIT_ALPHABET]);
    if (t->numbers[VOCAB_SIZE] < (int64_t)special->count)
        return mmi_fail(t->ctx, MM_E_ARGUMENT, "a vocabulary of %lld tokens does not hold %zu special tokens", (long long)t->numbers[VOCAB_SIZE],
                        special->count);
    return MM_OK;
}

/* The special tokens: an unknown one that the model needs in front of the others, which gets its role. */
static mm_status list_special(const mmi_tokenizer_trainer *t, mmi_vocabulary *special, int32_t roles[MMI_SPECIAL_COUNT])
{
    const char *needed = t->numbers[MODEL] == MM_TOKENIZER_WORD_PIECE ? "[UNK]" : t->numbers[MODEL] == MM_TOKENIZER_UNIGRAM ? "<unk>" : NULL;
    const char *tokens = t->special.texts.data;
    size_t shift = 0;
    mm_status st = MM_OK;

    memcpy(roles, t->roles, sizeof t->roles);
    if (roles[MMI_SPECIAL_UNK] < 0 && needed) {
        roles[MMI_SPECIAL_UNK] = mmi_vocabulary_find(&t->special, needed, strlen(needed));
        if (roles[MMI_SPECIAL_UNK] < 0) {
            st = mmi_vocabulary_add(t->ctx, special, where, needed, strlen(needed), 0);
            for (int i = 0; i < MMI_SPECIAL_COUNT; i++) roles[i] += roles[i] >= 0;
            roles[MMI_SPECIAL_UNK] = 0;
            shift = 1;
        }
    }
    for (size_t i = 0; i < t->special.count && !st; i++)
        st = mmi_vocabulary_add(t->ctx, special, where, tokens + t->special.entries[i].offset, t->special.entries[i].size, (int64_t)(i + shift));
    return st;
}

static const char *token_of(const mmi_vocabulary *v, int32_t id)
{
    size_t n;
    return mmi_vocabulary_text(v, id, &n);
}

static int write_added_tokens(const mmi_tokenizer_trainer *t, const mmi_vocabulary *special, mmi_text *out)
{
    for (size_t i = 0; i < special->count; i++) {
        const char *token = token_of(special, (int32_t)i);
        if (mmi_text_format(t->ctx, out, "%s\n  {\"id\": %zu, \"content\": ", i ? "," : "", i) || mmi_json_quote(t->ctx, out, token, strlen(token)) ||
            mmi_text_format(t->ctx, out, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": true}"))
            return 1;
    }
    return 0;
}

static int write_post_processor(const mmi_tokenizer_trainer *t, const mmi_vocabulary *special, const int32_t *roles, mmi_text *out)
{
    int32_t cls = roles[MMI_SPECIAL_CLS], sep = roles[MMI_SPECIAL_SEP];

    if (cls < 0 || sep < 0) return mmi_text_format(t->ctx, out, "null");
    return mmi_text_format(t->ctx, out, "{\"type\": \"BertProcessing\", \"sep\": [") ||
           mmi_json_quote(t->ctx, out, token_of(special, sep), strlen(token_of(special, sep))) ||
           mmi_text_format(t->ctx, out, ", %d], \"cls\": [", (int)sep) ||
           mmi_json_quote(t->ctx, out, token_of(special, cls), strlen(token_of(special, cls))) || mmi_text_format(t->ctx, out, ", %d]}", (int)cls);
}

static mm_status write_model(const mmi_tokenizer_trainer *t, const mmi_vocabulary *special, int32_t unk, mmi_text *out)
{
    const int64_t *o = t->numbers;
    int bytes = pre_tokenizer_of(t) == MM_PRE_TOKENIZER_BYTE_LEVEL;
    mmi_bpe_trainer_options bpe = {o[VOCAB_SIZE], o[MIN_FREQUENCY], o[LIMIT_ALPHABET], o[MAX_PIECE_LENGTH], bytes, ""};
    mmi_unigram_trainer_options unigram = {o[VOCAB_SIZE], o[MAX_PIECE_LENGTH] ? o[MAX_PIECE_LENGTH] : 16, bytes};
    const char *unk_token = token_of(special, unk);
    mmi_vocabulary vocabulary = {0};
    mm_status st = MM_OK;

    if (o[MODEL] == MM_TOKENIZER_UNIGRAM) return mmi_unigram_train_model(t->ctx, &t->words, &unigram, special, unk, out);
    for (size_t i = 0; i < special->count && !st; i++)
        st = mmi_vocabulary_add(t->ctx, &vocabulary, where, token_of(special, (int32_t)i), special->entries[i].size, (int64_t)i);
    bpe.prefix = o[MODEL] == MM_TOKENIZER_WORD_PIECE ? MMI_WORD_PIECE_PREFIX : "";
    if (!st)
        st = o[MODEL] == MM_TOKENIZER_BPE ? mmi_bpe_train_model(t->ctx, &t->words, &bpe, unk_token, &vocabulary, out)
                                          : mmi_word_piece_train_model(t->ctx, &t->words, &bpe, unk_token, &vocabulary, out);
    mmi_vocabulary_clear(&vocabulary);
    return st;
}

static int write_config(const mmi_tokenizer_trainer *t, const mmi_vocabulary *special, const int32_t *roles, mmi_text *out)
{
    static const char *const names[MMI_SPECIAL_COUNT] = {"bos", "eos", "pad", "unk", "cls", "sep", "mask"};

    if (mmi_text_format(t->ctx, out, "{\n \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n \"clean_up_tokenization_spaces\": false")) return 1;
    for (int i = 0; i < MMI_SPECIAL_COUNT; i++) {
        if (roles[i] < 0) continue;
        if (mmi_text_format(t->ctx, out, ",\n \"%s_token\": ", names[i]) ||
            mmi_json_quote(t->ctx, out, token_of(special, roles[i]), strlen(token_of(special, roles[i]))))
            return 1;
    }
    return mmi_text_format(t->ctx, out, "\n}\n");
}

mm_status mmi_tokenizer_trainer_write(mmi_tokenizer_trainer *t, mmi_text *tokenizer, mmi_text *config)
{
    mmi_vocabulary special = {0};
    int32_t roles[MMI_SPECIAL_COUNT];
    mm_status st = list_special(t, &special, roles);

    if (!st) st = check_options(t, &special);
    if (st) goto cleanup;
    if (mmi_text_format(t->ctx, tokenizer, "{\"version\": \"1.0\",\n \"truncation\": null,\n \"padding\": null,\n \"added_tokens\": [") ||
        write_added_tokens(t, &special, tokenizer) || mmi_text_format(t->ctx, tokenizer, "],\n ") || write_steps(t, tokenizer) ||
        mmi_text_format(t->ctx, tokenizer, ",\n \"post_processor\": ") || write_post_processor(t, &special, roles, tokenizer) ||
        mmi_text_format(t->ctx, tokenizer, ",\n \"model\": "))
        st = MM_E_NOMEM;
    if (!st) st = write_model(t, &special, roles[MMI_SPECIAL_UNK], tokenizer);
    if (!st && (mmi_text_format(t->ctx, tokenizer, "}\n") || write_config(t, &special, roles, config))) st = MM_E_NOMEM;
cleanup:
    mmi_vocabulary_clear(&special);
    return st;
}

static mm_status save(mmi_tokenizer_trainer *t, const char *directory, const char *name, const mmi_text *text)
{
    char *path = mmi_file_join(t->ctx, directory, name);
    mm_status st = path ? mmi_file_write(t->ctx, path, &(mmi_file_piece){text->data, text->size}, 1) : MM_E_NOMEM;

    mmi_free(path);
    return st;
}

mm_status mmi_tokenizer_trainer_train(mmi_tokenizer_trainer *t, const char *directory, mmi_tokenizer **out)
{
    mmi_text tokenizer = {0}, config = {0};
    mmi_json *doc = NULL, *config_doc = NULL;
    mmi_tokenizer *made = NULL;
    mm_status st = mmi_tokenizer_trainer_write(t, &tokenizer, &config);

    if (!st) st = mmi_json_parse(t->ctx, where, tokenizer.data, tokenizer.size, &doc);
    if (!st) st = mmi_json_parse(t->ctx, where, config.data, config.size, &config_doc);
    if (!st) st = mmi_tokenizer_from_json(t->ctx, doc, config_doc, &made); /* before it is written: what cannot be opened is no result */
    if (!st && directory) st = mmi_file_make_directory(t->ctx, directory);
    if (!st && directory) st = save(t, directory, "tokenizer.json", &tokenizer);
    if (!st && directory) st = save(t, directory, "tokenizer_config.json", &config);
    if (!st && out) {
        *out = made;
        made = NULL;
    }
    mmi_tokenizer_release(made);
    mmi_json_destroy(config_doc);
    mmi_json_destroy(doc);
    mmi_text_clear(&config);
    mmi_text_clear(&tokenizer);
    return st;
}
