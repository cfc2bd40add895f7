/* include/mm_tokenizer.h. SPDX-License-Identifier: MIT */
#include "mm_tokenizer.h"

#include "tokenizer.h"
#include "tokenizer_file.h"
#include "tokenizer_trainer.h"

_Static_assert((int)MM_TOKEN_BOS == (int)MMI_SPECIAL_BOS && (int)MM_TOKEN_EOS == (int)MMI_SPECIAL_EOS && (int)MM_TOKEN_PAD == (int)MMI_SPECIAL_PAD &&
                   (int)MM_TOKEN_UNK == (int)MMI_SPECIAL_UNK && (int)MM_TOKEN_CLS == (int)MMI_SPECIAL_CLS &&
                   (int)MM_TOKEN_SEP == (int)MMI_SPECIAL_SEP && (int)MM_TOKEN_MASK == (int)MMI_SPECIAL_MASK,
               "the public roles are the internal ones");

enum { ENCODE_FLAGS = MM_TOKENS_ADD_SPECIAL | MM_TOKENS_PARSE_SPECIAL, DECODE_FLAGS = MM_TOKENS_SKIP_SPECIAL };

static mm_status bad_flags(mm_context *ctx, const char *call, int32_t flags)
{
    return mmi_fail(ctx, MM_E_ARGUMENT, "%s: unknown flags in %d", call, (int)flags);
}

static mm_status null_argument(mm_context *ctx, const char *call) { return mmi_fail(ctx, MM_E_ARGUMENT, "%s: an argument is NULL", call); }

mm_status mm_tokenizer_open(mm_context *ctx, const char *path, mm_tokenizer **out)
{
    if (out) *out = NULL;
    if (!ctx) return MM_E_ARGUMENT;
    if (!path || !out) return null_argument(ctx, "mm_tokenizer_open");
    return mmi_tokenizer_open(ctx, path, out);
}

void mm_tokenizer_retain(mm_tokenizer *t)
{
    if (t) mmi_tokenizer_retain(t);
}

void mm_tokenizer_release(mm_tokenizer *t) { mmi_tokenizer_release(t); }

static mm_status encode(const char *call, const mm_tokenizer *t, mm_context *ctx, const char *a, size_t n_a, const char *b, size_t n_b, int32_t flags,
                        int32_t **out_ids, int32_t **out_types, size_t *count)
{
    mmi_ids ids = {0}, types = {0};
    mm_status st = MM_OK;

    if (flags & ~ENCODE_FLAGS) return bad_flags(ctx, call, flags);
    st = mmi_tokenizer_encode_pair(ctx, t, a ? a : "", n_a, b, n_b, (flags & MM_TOKENS_ADD_SPECIAL) != 0, (flags & MM_TOKENS_PARSE_SPECIAL) != 0, &ids,
                                   out_types ? &types : NULL);
    if (!st && !ids.data && !(ids.data = mmi_alloc(ctx, sizeof *ids.data))) st = MM_E_NOMEM; /* no ids: still something to free */
    if (!st && out_types && !types.data && !(types.data = mmi_alloc(ctx, sizeof *types.data))) st = MM_E_NOMEM;
    if (st) {
        mmi_free(ids.data);
        mmi_free(types.data);
        return st;
    }
    *out_ids = ids.data;
    if (out_types) *out_types = types.data;
    *count = ids.count;
    return MM_OK;
}

mm_status mm_tokenizer_encode(const mm_tokenizer *t, mm_context *ctx, const char *text, size_t size, int32_t flags, int32_t **ids, size_t *count)
{
    if (ids) *ids = NULL;
    if (count) *count = 0;
    if (!ctx) return MM_E_ARGUMENT;
    if (!t || (!text && size) || !ids || !count) return null_argument(ctx, "mm_tokenizer_encode");
    return encode("mm_tokenizer_encode", t, ctx, text, size, NULL, 0, flags, ids, NULL, count);
}

mm_status mm_tokenizer_encode_pair(const mm_tokenizer *t, mm_context *ctx, const char *text_a, size_t size_a, const char *text_b, size_t size_b,
                                   int32_t flags, int32_t **ids, int32_t **type_ids, size_t *count)
{
    if (ids) *ids = NULL;
    if (type_ids) *type_ids = NULL;
    if (count) *count = 0;
    if (!ctx) return MM_E_ARGUMENT;
    if (!t || (!text_a && size_a) || (!text_b && size_b) || !ids || !type_ids || !count) return null_argument(ctx, "mm_tokenizer_encode_pair");
    return encode("mm_tokenizer_encode_pair", t, ctx, text_a, size_a, text_b ? text_b : "", size_b, flags, ids, type_ids, count);
}

void mm_ids_free(int32_t *ids) { mmi_free(ids); }

/* Give `text` to the caller, or free it after a failure. */
static mm_status return_text(mm_context *ctx, mm_status st, mmi_text *text, char **out, size_t *size)
{
    if (!st && mmi_text_append(ctx, text, "", 0)) st = MM_E_NOMEM; /* an empty text has its NUL too */
    if (st) {
        mmi_text_clear(text);
        return st;
    }
    *out = text->data;
    *size = text->size;
    return MM_OK;
}

mm_status mm_tokenizer_decode(const mm_tokenizer *t, mm_context *ctx, const int32_t *ids, size_t count, int32_t flags, char **text, size_t *size)
{
    mmi_text out = {0};

    if (text) *text = NULL;
    if (size) *size = 0;
    if (!ctx) return MM_E_ARGUMENT;
    if (!t || (!ids && count) || !text || !size) return null_argument(ctx, "mm_tokenizer_decode");
    if (flags & ~DECODE_FLAGS) return bad_flags(ctx, "mm_tokenizer_decode", flags);
    return return_text(ctx, mmi_tokenizer_decode(ctx, t, ids, count, flags != 0, &out), &out, text, size);
}

const char *mm_tokenizer_token(const mm_tokenizer *t, int32_t id, size_t *size)
{
    size_t n = 0;
    const char *text = t ? mmi_tokenizer_token(t, id, &n) : NULL;

    if (size) *size = n;
    return text;
}

int32_t mm_tokenizer_find(const mm_tokenizer *t, const char *token, size_t size) { return t && token ? mmi_tokenizer_find(t, token, size) : -1; }

int32_t mm_tokenizer_size(const mm_tokenizer *t) { return t ? mmi_tokenizer_size(t) : 0; }

int32_t mm_tokenizer_special(const mm_tokenizer *t, int32_t role)
{
    return t && role >= 0 && role < MMI_SPECIAL_COUNT ? mmi_tokenizer_special(t, (mmi_special)role) : -1;
}

int32_t mm_tokenizer_is_special(const mm_tokenizer *t, int32_t id) { return t && mmi_tokenizer_is_special(t, id); }

int32_t mm_tokenizer_truncation(const mm_tokenizer *t) { return t ? mmi_tokenizer_truncation(t) : 0; }

mm_status mm_token_decoder_create(mm_tokenizer *t, mm_context *ctx, int32_t flags, mm_token_decoder **out)
{
    if (out) *out = NULL;
    if (!ctx) return MM_E_ARGUMENT;
    if (!t || !out) return null_argument(ctx, "mm_token_decoder_create");
    if (flags & ~DECODE_FLAGS) return bad_flags(ctx, "mm_token_decoder_create", flags);
    return mmi_token_decoder_create(ctx, t, flags != 0, out);
}

void mm_token_decoder_destroy(mm_token_decoder *d) { mmi_token_decoder_destroy(d); }

mm_status mm_token_decoder_push(mm_token_decoder *d, mm_context *ctx, int32_t id, char **text, size_t *size)
{
    mmi_text out = {0};

    if (text) *text = NULL;
    if (size) *size = 0;
    if (!ctx) return MM_E_ARGUMENT;
    if (!d || !text || !size) return null_argument(ctx, "mm_token_decoder_push");
    return return_text(ctx, mmi_token_decoder_push(ctx, d, id, &out), &out, text, size);
}

mm_status mm_token_decoder_finish(mm_token_decoder *d, mm_context *ctx, char **text, size_t *size)
{
    mmi_text out = {0};

    if (text) *text = NULL;
    if (size) *size = 0;
    if (!ctx) return MM_E_ARGUMENT;
    if (!d || !text || !size) return null_argument(ctx, "mm_token_decoder_finish");
    return return_text(ctx, mmi_token_decoder_finish(ctx, d, &out), &out, text, size);
}

mm_status mm_tokenizer_trainer_create(mm_context *ctx, mm_tokenizer_trainer **out)
{
    if (out) *out = NULL;
    if (!ctx) return MM_E_ARGUMENT;
    if (!out) return null_argument(ctx, "mm_tokenizer_trainer_create");
    return mmi_tokenizer_trainer_create(ctx, out);
}

void mm_tokenizer_trainer_destroy(mm_tokenizer_trainer *t) { mmi_tokenizer_trainer_destroy(t); }

mm_status mm_tokenizer_trainer_set_i64(mm_tokenizer_trainer *t, int32_t option, int64_t value)
{
    return t ? mmi_tokenizer_trainer_set_i64(t, option, value) : MM_E_ARGUMENT;
}

mm_status mm_tokenizer_trainer_set_str(mm_tokenizer_trainer *t, int32_t option, const char *value)
{
    if (!t) return MM_E_ARGUMENT;
    if (!value) return null_argument(mmi_tokenizer_trainer_context(t), "mm_tokenizer_trainer_set_str");
    return mmi_tokenizer_trainer_set_str(t, option, value);
}

mm_status mm_tokenizer_trainer_add_text(mm_tokenizer_trainer *t, const char *text, size_t size)
{
    if (!t) return MM_E_ARGUMENT;
    if (!text && size) return null_argument(mmi_tokenizer_trainer_context(t), "mm_tokenizer_trainer_add_text");
    return mmi_tokenizer_trainer_add_text(t, text ? text : "", size);
}

mm_status mm_tokenizer_trainer_add_file(mm_tokenizer_trainer *t, const char *path)
{
    if (!t) return MM_E_ARGUMENT;
    if (!path) return null_argument(mmi_tokenizer_trainer_context(t), "mm_tokenizer_trainer_add_file");
    return mmi_tokenizer_trainer_add_file(t, path);
}

mm_status mm_tokenizer_trainer_train(mm_tokenizer_trainer *t, const char *directory, mm_tokenizer **out)
{
    if (out) *out = NULL;
    return t ? mmi_tokenizer_trainer_train(t, directory, out) : MM_E_ARGUMENT;
}
