/* Tokens are found leftmost first, the longest of those that begin at one place, as the `tokenizers` package does.
 * SPDX-License-Identifier: MIT */
#include "added_tokens.h"

#include <string.h>

#include "unicode_data.h"

void mmi_added_tokens_clear(mmi_added_tokens *a)
{
    for (size_t i = 0; i < a->count; i++) {
        if (a->tokens[i].form != a->tokens[i].text) mmi_free(a->tokens[i].form);
        mmi_free(a->tokens[i].text);
    }
    mmi_free(a->tokens);
    mmi_hash_map_clear(&a->by_id);
    mmi_hash_map_clear(&a->by_text);
    mmi_trie_clear(&a->raw);
    mmi_trie_clear(&a->normalized);
    memset(a, 0, sizeof *a);
}

const mmi_added_token *mmi_added_tokens_by_id(const mmi_added_tokens *a, int64_t id)
{
    int64_t index;
    return mmi_hash_map_get(&a->by_id, (const char *)&id, sizeof id, &index) ? &a->tokens[index] : NULL;
}

const mmi_added_token *mmi_added_tokens_by_text(const mmi_added_tokens *a, const char *text, size_t n)
{
    int64_t index;
    return mmi_hash_map_get(&a->by_text, text, n, &index) ? &a->tokens[index] : NULL;
}

/* Make the token findable by its text, or by what the normalizer makes of it. */
static mm_status index_token(mm_context *ctx, mmi_added_tokens *a, mmi_added_token *t, int64_t index, const mmi_normalizer *normalizer,
                             mmi_matcher *matcher)
{
    mmi_text form = {0}, spare = {0};
    mmi_trie *trie = t->normalized ? &a->normalized : &a->raw;
    unsigned char *first = t->normalized ? a->normalized_first : a->raw_first;
    int32_t before;
    mm_status st = mmi_text_append(ctx, &form, t->text, t->size) ? MM_E_NOMEM : MM_OK;

    if (!st && t->normalized) st = mmi_normalizer_run(ctx, normalizer, &form, &spare, matcher);
    if (!st && form.size && mmi_trie_longest(trie, MMI_TRIE_ROOT, form.data, form.size, &before) < form.size) {
        if (mmi_trie_put(ctx, trie, form.data, form.size, (int32_t)index)) st = MM_E_NOMEM;
        first[(unsigned char)form.data[0]] = 1;
    }
    if (!st && t->normalized) {
        t->form_size = form.size;
        if (form.size) {
            t->form = form.data;
            form.data = NULL;
        }
    }
    mmi_text_clear(&form);
    mmi_text_clear(&spare);
    return st;
}

mm_status mmi_added_tokens_add(mm_context *ctx, mmi_added_tokens *a, const char *where, const mmi_added_token *token,
                               const mmi_normalizer *normalizer, mmi_matcher *matcher)
{
    const mmi_added_token *other = mmi_added_tokens_by_id(a, token->id);
    mmi_added_token *t;
    int64_t id = token->id, index = (int64_t)a->count;

    if (!token->size) return MM_OK;
    if (mmi_utf8_valid(token->text, token->size) < token->size)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: the added token with id %d is not UTF-8", where, (int)token->id);
    if (token->size > MMI_ADDED_TOKEN_MAX_BYTES)
        return mmi_fail(ctx, MM_E_LIMIT, "%s: the added token with id %d has %zu bytes, more than the %d allowed", where, (int)token->id, token->size,
                        (int)MMI_ADDED_TOKEN_MAX_BYTES);
    if (other && (other->size != token->size || memcmp(other->text, token->text, token->size)))
        return mmi_fail(ctx, MM_E_FORMAT, "%s: the added tokens %.60s and %.*s both have the id %d", where, other->text,
                        token->size > 60 ? 60 : (int)token->size, token->text, (int)token->id);
    if (other || mmi_added_tokens_by_text(a, token->text, token->size)) return MM_OK;
    if (mmi_grow(ctx, (void **)&a->tokens, &a->capacity, a->count, sizeof *a->tokens)) return MM_E_NOMEM;
    t = &a->tokens[a->count];
    *t = *token;
    t->text = mmi_alloc(ctx, token->size + 1);
    if (!t->text) return MM_E_NOMEM;
    memcpy(t->text, token->text, token->size);
    t->text[t->size] = 0;
    t->form = t->text;
    t->form_size = t->size;
    a->count++;
    if (mmi_hash_map_put(ctx, &a->by_id, (const char *)&id, sizeof id, index, NULL)) return MM_E_NOMEM;
    if (mmi_hash_map_put(ctx, &a->by_text, t->text, t->size, index, NULL)) return MM_E_NOMEM;
    return index_token(ctx, a, t, index, normalizer, matcher);
}

/* Whether the character that ends at, or begins at, `at` is a \w. */
static int word_before(const char *text, size_t at)
{
    size_t from = at;
    uint32_t code = 0;

    if (!at) return 0;
    do from--;
    while (from > 0 && ((unsigned char)text[from] & 0xC0) == 0x80);
    (void)mmi_utf8_decode(text + from, at - from, &code);
    return mmi_unicode_is_word(code);
}

static int word_after(const char *text, size_t n, size_t at)
{
    uint32_t code = 0;
    return at < n && mmi_utf8_decode(text + at, n - at, &code) && mmi_unicode_is_word(code);
}

static size_t skip_space_left(const char *text, size_t at, size_t least)
{
    while (at > least) {
        size_t from = at;
        uint32_t code = 0;
        do from--;
        while (from > least && ((unsigned char)text[from] & 0xC0) == 0x80);
        (void)mmi_utf8_decode(text + from, at - from, &code);
        if (!mmi_unicode_is_space(code)) break;
        at = from;
    }
    return at;
}

static size_t skip_space_right(const char *text, size_t n, size_t at)
{
    uint32_t code = 0;
    size_t len;
    while (at < n && (len = mmi_utf8_decode(text + at, n - at, &code)) && mmi_unicode_is_space(code)) at += len;
    return at;
}

const mmi_added_token *mmi_added_tokens_find(const mmi_added_tokens *a, int normalized, int special, const char *text, size_t n, size_t from,
                                             size_t *start, size_t *end)
{
    const mmi_trie *trie = normalized ? &a->normalized : &a->raw;
    const unsigned char *first = normalized ? a->normalized_first : a->raw_first;

    if (!trie->nodes) return NULL;
    for (size_t at = from; at < n; at++) {
        const mmi_added_token *t;
        int32_t index = 0;
        size_t len;

        if (!first[(unsigned char)text[at]]) continue;
        len = mmi_trie_longest(trie, MMI_TRIE_ROOT, text + at, n - at, &index);
        if (!len) continue;
        t = &a->tokens[index];
        if ((t->special && !special) || (t->single_word && (word_before(text, at) || word_after(text, n, at + len)))) {
            at += len - 1; /* passed over whole */
            continue;
        }
        *start = t->lstrip ? skip_space_left(text, at, from) : at;
        *end = t->rstrip ? skip_space_right(text, n, at + len) : at + len;
        return t;
    }
    return NULL;
}
