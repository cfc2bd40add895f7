/* SPDX-License-Identifier: MIT */
#include "run_tokenizer.h"

#include <string.h>

#include "manifest.h"
#include "tokenizer_trainer.h"

#define TRY(call) \
    do { \
        const mm_status tried = (call); \
        if (tried) return tried; \
    } while (0)

static const struct {
    const char *key;
    int32_t option;
} numbers[] = {{"vocab_size", MM_TOKENIZER_TRAINER_VOCAB_SIZE}, {"min_frequency", MM_TOKENIZER_TRAINER_MIN_FREQUENCY},
               {"limit_alphabet", MM_TOKENIZER_TRAINER_LIMIT_ALPHABET}, {"max_piece_length", MM_TOKENIZER_TRAINER_MAX_PIECE_LENGTH}},
  tokens[] = {{"bos_token", MM_TOKENIZER_TRAINER_BOS_TOKEN}, {"eos_token", MM_TOKENIZER_TRAINER_EOS_TOKEN}, {"pad_token", MM_TOKENIZER_TRAINER_PAD_TOKEN},
              {"unk_token", MM_TOKENIZER_TRAINER_UNK_TOKEN}, {"cls_token", MM_TOKENIZER_TRAINER_CLS_TOKEN}, {"sep_token", MM_TOKENIZER_TRAINER_SEP_TOKEN},
              {"mask_token", MM_TOKENIZER_TRAINER_MASK_TOKEN}};

/* Options that are one of a few names. */
static const struct {
    const char *key;
    int32_t option;
    const char *names[6];
} choices[] = {
    {"train", MM_TOKENIZER_TRAINER_MODEL, {"bpe", "wordpiece", "unigram"}},
    {"normalization", MM_TOKENIZER_TRAINER_NORMALIZATION, {"none", "nfc", "nfkc"}},
    {"pre_tokenizer", MM_TOKENIZER_TRAINER_PRE_TOKENIZER, {"default", "byte_level", "metaspace", "whitespace", "bert"}},
};

static mm_status choose(mm_context *ctx, const mmi_json *doc, const mmi_json_node *n, size_t i, mmi_tokenizer_trainer *t)
{
    const char *name = mmi_json_string(n);

    for (int k = 0; name && choices[i].names[k]; k++)
        if (!strcmp(choices[i].names[k], name)) return mmi_tokenizer_trainer_set_i64(t, choices[i].option, k);
    return mmi_fail(ctx, MM_E_FORMAT, "%s: %s \"%.40s\" of the tokenizer is not known", mmi_json_name(doc), choices[i].key, name ? name : "");
}

/* Special tokens get their ids in the order in which they stand. */
static mm_status set_option(mm_context *ctx, const mmi_json *doc, const mmi_json_node *n, mmi_tokenizer_trainer *t)
{
    const char *key = mmi_json_key(n), *text = mmi_json_string(n);
    int64_t value;

    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (!strcmp(choices[i].key, key)) return choose(ctx, doc, n, i, t);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(numbers[i].key, key)) {
            if (!mmi_json_integer(n, &value)) return mmi_fail(ctx, MM_E_FORMAT, "%s: %s of the tokenizer must be a whole number", mmi_json_name(doc), key);
            return mmi_tokenizer_trainer_set_i64(t, numbers[i].option, value);
        }
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        if (!strcmp(tokens[i].key, key)) {
            if (!text) return mmi_fail(ctx, MM_E_FORMAT, "%s: %s of the tokenizer must be a text", mmi_json_name(doc), key);
            return mmi_tokenizer_trainer_set_str(t, tokens[i].option, text);
        }
    if (!strcmp(key, "lowercase")) return mmi_tokenizer_trainer_set_i64(t, MM_TOKENIZER_TRAINER_LOWERCASE, mmi_json_true(n));
    if (strcmp(key, "special_tokens")) return mmi_fail(ctx, MM_E_FORMAT, "%s: the tokenizer has no option \"%.60s\"", mmi_json_name(doc), key);
    for (const mmi_json_node *s = mmi_json_first(n); s; s = mmi_json_next(s)) {
        if (!mmi_json_string(s)) return mmi_fail(ctx, MM_E_FORMAT, "%s: special_tokens of the tokenizer must be a list of texts", mmi_json_name(doc));
        TRY(mmi_tokenizer_trainer_set_str(t, MM_TOKENIZER_TRAINER_SPECIAL_TOKEN, mmi_json_string(s)));
    }
    return MM_OK;
}

static mm_status add(mmi_tokenizer_trainer *t, const char *text) { return text ? mmi_tokenizer_trainer_add_text(t, text, strlen(text)) : MM_OK; }

static mm_status add_record(mmi_tokenizer_trainer *t, const mmi_record *r)
{
    const char *const texts[] = {r->text, r->caption, r->question, r->answer, r->prompt, r->chosen, r->rejected};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) TRY(add(t, texts[i]));
    for (size_t i = 0; i < r->message_count; i++) {
        TRY(add(t, r->messages[i].content));
        for (size_t k = 0; k < r->messages[i].part_count; k++) TRY(add(t, r->messages[i].parts[k].text));
    }
    return MM_OK;
}

static mm_status add_manifest(mm_context *ctx, mmi_tokenizer_trainer *t, const mmi_train_task *task)
{
    mmi_manifest *m = NULL;
    mmi_record r = {0};
    mm_status st = mmi_manifest_open(ctx, (const char *const *)&task->train, 1, &m);

    for (size_t i = 0; !st && i < mmi_manifest_count(m); i++) {
        st = mmi_manifest_read(ctx, m, i, &r);
        if (st && task->skip_bad && st != MM_E_NOMEM && st != MM_E_CANCELLED) st = MM_OK; /* it is named when its turn comes */
        else if (!st) st = add_record(t, &r);
    }
    mmi_record_clear(&r);
    mmi_manifest_close(m);
    return st;
}

mm_status mmi_run_tokenizer_train(mm_context *ctx, const mmi_train_config *c, const char *directory)
{
    mmi_tokenizer_trainer *t = NULL;
    mm_status st = mmi_tokenizer_trainer_create(ctx, &t);

    if (!st && !mmi_json_get(c->tokenizer_options, "train")) st = mmi_fail(ctx, MM_E_FORMAT, "%s: \"train\" of the tokenizer is missing", mmi_json_name(c->doc));
    for (const mmi_json_node *n = mmi_json_first(c->tokenizer_options); n && !st; n = mmi_json_next(n)) st = set_option(ctx, c->doc, n, t);
    for (size_t i = 0; i < c->n_tasks && !st; i++) {
        st = add(t, c->tasks[i].prompt);
        if (!st) st = add_manifest(ctx, t, &c->tasks[i]);
    }
    if (!st) st = mmi_tokenizer_trainer_train(t, directory, NULL);
    mmi_tokenizer_trainer_destroy(t);
    return st;
}
