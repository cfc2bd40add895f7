/* SPDX-License-Identifier: MIT */
#include "speech_tokens.h"

#include <string.h>

enum { MAX_LANGUAGES = 1024 };

void mmi_speech_tokens_clear(mmi_speech_tokens *t)
{
    for (size_t i = 0; i < t->n_languages; i++) mmi_free(t->languages[i].code);
    mmi_free(t->languages);
    memset(t, 0, sizeof *t);
}

static mm_status token(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, const char *key, int64_t vocabulary, int32_t *out)
{
    int64_t id = -1;
    mm_status st = mmi_json_i64(ctx, doc, object, key, 0, 0, vocabulary - 1, &id);
    *out = (int32_t)id;
    return st;
}

/* "<|en|>": 50259 */
static mm_status add_language(mm_context *ctx, const mmi_json *doc, const mmi_json_node *member, int64_t vocabulary, mmi_speech_tokens *t)
{
    const char *name = mmi_json_key(member);
    size_t n = strlen(name);
    int64_t id;
    char *code;

    if (n < 5 || memcmp(name, "<|", 2) || memcmp(name + n - 2, "|>", 2) || !mmi_json_integer(member, &id) || id < 0 || id >= vocabulary)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: lang_to_id: \"%.40s\" is no \"<|language|>\" with the id of a token", mmi_json_name(doc), name);
    code = t->languages[t->n_languages].code = mmi_alloc(ctx, n - 3);
    if (!code) return MM_E_NOMEM;
    memcpy(code, name + 2, n - 4);
    code[n - 4] = 0;
    t->languages[t->n_languages++].id = (int32_t)id;
    return MM_OK;
}

mm_status mmi_speech_tokens_read(mm_context *ctx, const mmi_json *doc, int64_t vocabulary, mmi_speech_tokens *t)
{
    const mmi_json_node *root = doc ? mmi_json_root(doc) : NULL, *languages = mmi_json_get(root, "lang_to_id");
    int64_t most = -1;
    mm_status st = MM_OK;

    *t = (mmi_speech_tokens){NULL, 0, -1, -1, -1, -1};
    if (!doc) return MM_OK;
    if ((st = token(ctx, doc, mmi_json_get(root, "task_to_id"), "transcribe", vocabulary, &t->transcribe))) return st;
    if ((st = token(ctx, doc, mmi_json_get(root, "task_to_id"), "translate", vocabulary, &t->translate))) return st;
    if ((st = token(ctx, doc, root, "no_timestamps_token_id", vocabulary, &t->no_timestamps))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "max_initial_timestamp_index", 0, 0, vocabulary, &most))) return st;
    t->first_timestamp_most = (int32_t)most;
    if (mmi_json_kind_of(languages) != MMI_JSON_OBJECT) return MM_OK;
    if (mmi_json_count(languages) > MAX_LANGUAGES)
        return mmi_fail(ctx, MM_E_LIMIT, "%s: lang_to_id has %zu languages, at most %d are read", mmi_json_name(doc), mmi_json_count(languages), MAX_LANGUAGES);
    t->languages = mmi_zalloc_array(ctx, mmi_json_count(languages) + 1, sizeof *t->languages);
    if (!t->languages) return MM_E_NOMEM;
    for (const mmi_json_node *l = mmi_json_first(languages); l && !st; l = mmi_json_next(l)) st = add_language(ctx, doc, l, vocabulary, t);
    return st;
}

int32_t mmi_speech_language_id(const mmi_speech_tokens *t, const char *code)
{
    for (size_t i = 0; i < t->n_languages; i++)
        if (!strcmp(t->languages[i].code, code)) return t->languages[i].id;
    return -1;
}
