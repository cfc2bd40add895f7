/* SPDX-License-Identifier: MIT */
#include "tokenizer.h"

#include <string.h>

#include "size.h"
#include "tokenizer_parts.h"

mm_status mmi_tokenizer_create(mm_context *ctx, mmi_tokenizer **out)
{
    mmi_tokenizer *t = mmi_zalloc(ctx, sizeof *t);

    *out = t;
    if (!t) return MM_E_NOMEM;
    atomic_init(&t->references, 1);
    for (int i = 0; i < MMI_SPECIAL_COUNT; i++) t->special[i] = -1;
    mmi_post_processor_init(&t->post_processor);
    return MM_OK;
}

void mmi_tokenizer_retain(mmi_tokenizer *t) { atomic_fetch_add_explicit(&t->references, 1, memory_order_relaxed); }

void mmi_tokenizer_release(mmi_tokenizer *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->references, 1, memory_order_acq_rel) != 1) return;
    mmi_bpe_destroy(t->bpe);
    mmi_word_piece_destroy(t->word_piece);
    mmi_unigram_destroy(t->unigram);
    mmi_decoder_destroy(t->decoder);
    mmi_pre_tokenizer_destroy(t->pre_tokenizer);
    mmi_normalizer_destroy(t->normalizer);
    mmi_added_tokens_clear(&t->added);
    mmi_vocabulary_clear(&t->vocabulary);
    mmi_free(t);
}

/* ---- tokenizer.json ---- */

static mm_status load_vocabulary(mm_context *ctx, const mmi_json *doc, const mmi_json_node *model, mmi_vocabulary *v)
{
    const mmi_json_node *vocab = mmi_json_get(model, "vocab");

    if (mmi_json_kind_of(vocab) != MMI_JSON_OBJECT) return mmi_fail(ctx, MM_E_FORMAT, "%s: the model has no object \"vocab\"", mmi_json_name(doc));
    for (const mmi_json_node *node = mmi_json_first(vocab); node; node = mmi_json_next(node)) {
        const char *text = mmi_json_key(node);
        int64_t id = -1;
        mm_status st;
        if (!mmi_json_integer(node, &id)) return mmi_fail(ctx, MM_E_FORMAT, "%s: the id of token %.60s is no whole number", mmi_json_name(doc), text);
        st = mmi_vocabulary_add(ctx, v, mmi_json_name(doc), text, strlen(text), id);
        if (st) return st;
    }
    return mmi_vocabulary_seal(ctx, v, mmi_json_name(doc));
}

static mm_status load_merges(mm_context *ctx, const mmi_json *doc, const mmi_json_node *model, mmi_bpe *bpe)
{
    const mmi_json_node *merges = mmi_json_get(model, "merges");
    const char *where = mmi_json_name(doc);

    if (mmi_json_kind_of(merges) != MMI_JSON_ARRAY) return mmi_fail(ctx, MM_E_FORMAT, "%s: the model has no array \"merges\"", where);
    for (const mmi_json_node *node = mmi_json_first(merges); node; node = mmi_json_next(node)) {
        const char *text = mmi_json_string(node);
        mm_status st;
        if (text) {
            st = mmi_bpe_add_merge_text(ctx, bpe, where, text, strlen(text));
        } else {
            const mmi_json_node *second = mmi_json_next(mmi_json_first(node));
            const char *left = mmi_json_string(mmi_json_first(node)), *right = mmi_json_string(second);
            if (!left || !right || mmi_json_next(second))
                return mmi_fail(ctx, MM_E_FORMAT, "%s: a merge is neither a string nor an array of two", where);
            st = mmi_bpe_add_merge(ctx, bpe, where, left, strlen(left), right, strlen(right));
        }
        if (st) return st;
    }
    return MM_OK;
}

static mm_status load_bpe(mm_context *ctx, const mmi_json *doc, const mmi_json_node *model, mmi_tokenizer *t)
{
    mmi_bpe_options o = {NULL, "", "", 0, 0, 0};
    double dropout = 0;
    mm_status st;

    if (mmi_json_number(mmi_json_get(model, "dropout"), &dropout) && dropout != 0)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: BPE with a dropout of %g", mmi_json_name(doc), dropout);
    st = mmi_json_text(ctx, doc, model, "unk_token", 0, &o.unk_token);
    if (!st) st = mmi_json_text(ctx, doc, model, "continuing_subword_prefix", 0, &o.continuing_subword_prefix);
    if (!st) st = mmi_json_text(ctx, doc, model, "end_of_word_suffix", 0, &o.end_of_word_suffix);
    if (!st) st = mmi_json_bool(ctx, doc, model, "fuse_unk", 0, &o.fuse_unk);
    if (!st) st = mmi_json_bool(ctx, doc, model, "byte_fallback", 0, &o.byte_fallback);
    if (!st) st = mmi_json_bool(ctx, doc, model, "ignore_merges", 0, &o.ignore_merges);
    if (!st) st = mmi_bpe_create(ctx, mmi_json_name(doc), &t->vocabulary, &o, &t->bpe);
    return st ? st : load_merges(ctx, doc, model, t->bpe);
}

static mm_status load_word_piece(mm_context *ctx, const mmi_json *doc, const mmi_json_node *model, mmi_tokenizer *t)
{
    const char *unk = "[UNK]", *prefix = "##";
    int64_t max_chars = 100;
    mm_status st = mmi_json_text(ctx, doc, model, "unk_token", 0, &unk);

    if (!st) st = mmi_json_text(ctx, doc, model, "continuing_subword_prefix", 0, &prefix);
    if (!st) st = mmi_json_i64(ctx, doc, model, "max_input_chars_per_word", 0, 0, INT32_MAX, &max_chars);
    return st ? st : mmi_word_piece_create(ctx, mmi_json_name(doc), &t->vocabulary, unk, prefix, max_chars, &t->word_piece);
}

/* The vocabulary is a list of tokens and their scores; the place in it is the id. */
static mm_status load_unigram(mm_context *ctx, const mmi_json *doc, const mmi_json_node *model, mmi_tokenizer *t)
{
    const mmi_json_node *vocab = mmi_json_get(model, "vocab");
    const char *where = mmi_json_name(doc);
    double *scores = NULL;
    int64_t unk = -1, count = 0;
    int byte_fallback = 0;
    mm_status st = mmi_json_i64(ctx, doc, model, "unk_id", 0, 0, INT32_MAX, &unk);

    if (!st) st = mmi_json_bool(ctx, doc, model, "byte_fallback", 0, &byte_fallback);
    if (st) return st;
    if (mmi_json_kind_of(vocab) != MMI_JSON_ARRAY) return mmi_fail(ctx, MM_E_FORMAT, "%s: the Unigram model has no array \"vocab\"", where);
    scores = mmi_alloc_array(ctx, mmi_json_count(vocab), sizeof *scores);
    if (!scores) return MM_E_NOMEM;
    for (const mmi_json_node *node = mmi_json_first(vocab); node && !st; node = mmi_json_next(node), count++) {
        const mmi_json_node *score = mmi_json_next(mmi_json_first(node));
        const char *text = mmi_json_string(mmi_json_first(node));
        if (!text || !mmi_json_number(score, &scores[count]) || mmi_json_next(score))
            st = mmi_fail(ctx, MM_E_FORMAT, "%s: element %lld of the Unigram vocabulary is not a token and its score", where, (long long)count);
        else
            st = mmi_vocabulary_add(ctx, &t->vocabulary, where, text, strlen(text), count);
    }
    if (!st) st = mmi_vocabulary_seal(ctx, &t->vocabulary, where);
    if (!st) st = mmi_unigram_create(ctx, where, &t->vocabulary, scores, unk, byte_fallback, &t->unigram);
    if (!st) t->special[MMI_SPECIAL_UNK] = (int32_t)unk;
    mmi_free(scores);
    return st;
}

/* Files from before the models had a type are told apart by what they hold. */
static mm_status load_model(mm_context *ctx, const mmi_json *doc, mmi_tokenizer *t)
{
    const mmi_json_node *model = mmi_json_get(mmi_json_root(doc), "model");
    const char *type = NULL, *unk;
    mm_status st;

    if (mmi_json_kind_of(model) != MMI_JSON_OBJECT) return mmi_fail(ctx, MM_E_FORMAT, "%s: no object \"model\"", mmi_json_name(doc));
    st = mmi_json_text(ctx, doc, model, "type", 0, &type);
    if (st) return st;
    if (!type) type = mmi_json_get(model, "merges") ? "BPE" : mmi_json_get(model, "continuing_subword_prefix") ? "WordPiece" : "without a name";
    if (!strcmp(type, "Unigram")) return load_unigram(ctx, doc, model, t);
    if (strcmp(type, "BPE") && strcmp(type, "WordPiece"))
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: a tokenizer model of type %.60s", mmi_json_name(doc), type);
    st = load_vocabulary(ctx, doc, model, &t->vocabulary);
    if (!st) st = strcmp(type, "BPE") ? load_word_piece(ctx, doc, model, t) : load_bpe(ctx, doc, model, t);
    if (st) return st;
    unk = mmi_json_string(mmi_json_get(model, "unk_token"));
    if (unk) t->special[MMI_SPECIAL_UNK] = mmi_vocabulary_find(&t->vocabulary, unk, strlen(unk));
    return MM_OK;
}

static mm_status load_added(mm_context *ctx, const mmi_json *doc, mmi_tokenizer *t)
{
    const mmi_json_node *list = mmi_json_get(mmi_json_root(doc), "added_tokens");
    mmi_json_kind kind = mmi_json_kind_of(list);
    mmi_matcher *matcher = NULL;
    mm_status st;

    if (kind == MMI_JSON_ABSENT || kind == MMI_JSON_NULL) return MM_OK;
    if (kind != MMI_JSON_ARRAY) return mmi_fail(ctx, MM_E_FORMAT, "%s: \"added_tokens\" is no array", mmi_json_name(doc));
    st = mmi_matcher_create(ctx, &matcher);
    for (const mmi_json_node *node = mmi_json_first(list); node && !st; node = mmi_json_next(node)) {
        mmi_added_token token = {0};
        const char *content = NULL;
        int64_t id = 0;
        int32_t known;

        st = mmi_json_text(ctx, doc, node, "content", 1, &content);
        if (!st) st = mmi_json_i64(ctx, doc, node, "id", 1, 0, MMI_VOCABULARY_MAX - 1, &id);
        if (!st) st = mmi_json_bool(ctx, doc, node, "special", 0, &token.special);
        token.normalized = !token.special;
        if (!st) st = mmi_json_bool(ctx, doc, node, "normalized", 0, &token.normalized);
        if (!st) st = mmi_json_bool(ctx, doc, node, "single_word", 0, &token.single_word);
        if (!st) st = mmi_json_bool(ctx, doc, node, "lstrip", 0, &token.lstrip);
        if (!st) st = mmi_json_bool(ctx, doc, node, "rstrip", 0, &token.rstrip);
        if (st) break;
        known = mmi_vocabulary_find(&t->vocabulary, content, strlen(content));
        token.text = (char *)(uintptr_t)content; /* copied */
        token.size = strlen(content);
        token.id = known >= 0 ? known : (int32_t)id; /* the model's id goes before the list's, as in the reference */
        st = mmi_added_tokens_add(ctx, &t->added, mmi_json_name(doc), &token, t->normalizer, matcher);
    }
    mmi_matcher_destroy(matcher);
    return st;
}

/* A token in tokenizer_config.json is a string or an object with "content". */
static void load_special_ids(const mmi_json *config, mmi_tokenizer *t)
{
    static const char *const keys[MMI_SPECIAL_COUNT] = {"bos_token", "eos_token", "pad_token", "unk_token", "cls_token", "sep_token", "mask_token"};

    for (int i = 0; i < MMI_SPECIAL_COUNT; i++) {
        const mmi_json_node *node = mmi_json_get(mmi_json_root(config), keys[i]);
        const char *text = mmi_json_kind_of(node) == MMI_JSON_OBJECT ? mmi_json_string(mmi_json_get(node, "content")) : mmi_json_string(node);
        if (text) t->special[i] = mmi_tokenizer_find(t, text, strlen(text));
    }
}

mm_status mmi_tokenizer_load_steps(mm_context *ctx, const mmi_json *doc, mmi_tokenizer *t)
{
    const mmi_json_node *root = mmi_json_root(doc);
    mm_status st = mmi_normalizer_load(ctx, doc, mmi_json_get(root, "normalizer"), &t->normalizer);

    if (!st) st = mmi_pre_tokenizer_load(ctx, doc, mmi_json_get(root, "pre_tokenizer"), &t->pre_tokenizer);
    return st ? st : mmi_decoder_load(ctx, doc, mmi_json_get(root, "decoder"), &t->decoder);
}

mm_status mmi_tokenizer_from_json(mm_context *ctx, const mmi_json *doc, const mmi_json *config, mmi_tokenizer **out)
{
    const mmi_json_node *root = mmi_json_root(doc), *truncation = mmi_json_get(root, "truncation");
    int64_t max_length = 0;
    mmi_tokenizer *t = NULL;
    mm_status st;

    *out = NULL;
    if (mmi_json_kind_of(root) != MMI_JSON_OBJECT) return mmi_fail(ctx, MM_E_FORMAT, "%s is no JSON object", mmi_json_name(doc));
    st = mmi_tokenizer_create(ctx, &t);
    if (!st) st = mmi_tokenizer_load_steps(ctx, doc, t);
    if (!st) st = load_model(ctx, doc, t);
    if (!st) st = load_added(ctx, doc, t);
    if (st) goto cleanup;
    t->size = (int32_t)t->vocabulary.size;
    for (size_t i = 0; i < t->added.count; i++)
        if (t->added.tokens[i].id >= t->size) t->size = t->added.tokens[i].id + 1;
    st = mmi_post_processor_load(ctx, doc, mmi_json_get(root, "post_processor"), t->size, &t->post_processor);
    if (!st && mmi_json_kind_of(truncation) == MMI_JSON_OBJECT) st = mmi_json_i64(ctx, doc, truncation, "max_length", 1, 0, INT32_MAX, &max_length);
    if (st) goto cleanup;
    t->truncation = (int32_t)max_length;
    if (config) load_special_ids(config, t);
    *out = t;
    t = NULL;
cleanup:
    mmi_tokenizer_release(t);
    return st;
}

/* ---- encoding ---- */

enum { WORTH_REMEMBERING = 8192 /* bytes of a text that repeats enough words */ };

typedef struct {
    mm_context *ctx;
    const mmi_tokenizer *t;
    int parse_special;
    mmi_matcher *matcher;
    mmi_words words, spare;
    mmi_text segment; /* normalized */
    mmi_bpe_scratch bpe;
    mmi_unigram_scratch unigram;
} encoder;

/* The words of words.text. */
static mm_status encode_words(encoder *e, mmi_ids *ids)
{
    mm_status st = mmi_pre_tokenizer_run(e->ctx, e->t->pre_tokenizer, &e->words, &e->spare, e->matcher);

    for (size_t i = 0; i < e->words.count && !st; i++) {
        const char *word = e->words.text.data + e->words.spans[i].start;
        size_t n = e->words.spans[i].end - e->words.spans[i].start;
        if (e->t->bpe)
            st = mmi_bpe_encode(e->ctx, e->t->bpe, &e->bpe, word, n, ids);
        else if (e->t->unigram)
            st = mmi_unigram_encode(e->ctx, e->t->unigram, &e->unigram, word, n, ids);
        else
            st = mmi_word_piece_encode(e->ctx, e->t->word_piece, word, n, ids);
        if (!st && i % 1024 == 0) st = mmi_check_cancel(e->ctx);
    }
    return st;
}

/* Text between the raw added tokens (at_start: none stands before it): normalize it, and look for the normalized ones. */
static mm_status encode_segment(encoder *e, const char *text, size_t n, int at_start, mmi_ids *ids)
{
    size_t at = 0, start = 0, end = 0;
    mm_status st;

    e->segment.size = 0;
    if (mmi_text_append(e->ctx, &e->segment, text, n)) return MM_E_NOMEM;
    st = mmi_normalizer_run(e->ctx, e->t->normalizer, &e->segment, &e->spare.text, e->matcher);
    if (st) return st;
    if (e->segment.size > MMI_TOKENIZER_MAX_TEXT)
        return mmi_fail(e->ctx, MM_E_LIMIT, "a text of %zu bytes when normalized, more than the %d allowed", e->segment.size, (int)MMI_TOKENIZER_MAX_TEXT);
    for (;;) {
        const mmi_added_token *token =
            mmi_added_tokens_find(&e->t->added, 1, e->parse_special, e->segment.data, e->segment.size, at, &start, &end);
        size_t to = token ? start : e->segment.size;
        e->words.text.size = 0;
        e->words.at_start = at_start && !at;
        if (to > at) {
            if (mmi_text_append(e->ctx, &e->words.text, e->segment.data + at, to - at)) return MM_E_NOMEM;
            st = encode_words(e, ids);
            if (st) return st;
        }
        if (!token) return MM_OK;
        if (mmi_ids_add(e->ctx, ids, token->id)) return MM_E_NOMEM;
        at = end;
    }
}

static mm_status encode_text(encoder *e, const char *text, size_t n, mmi_ids *ids)
{
    size_t at = 0, start = 0, end = 0, malformed;
    mm_status st;

    if (n > MMI_TOKENIZER_MAX_TEXT)
        return mmi_fail(e->ctx, MM_E_LIMIT, "a text of %zu bytes, more than the %d allowed", n, (int)MMI_TOKENIZER_MAX_TEXT);
    malformed = mmi_utf8_valid(text, n);
    if (malformed < n) return mmi_fail(e->ctx, MM_E_FORMAT, "the text is not UTF-8 at byte %zu", malformed);
    for (;;) {
        const mmi_added_token *token = mmi_added_tokens_find(&e->t->added, 0, e->parse_special, text, n, at, &start, &end);
        size_t to = token ? start : n;
        st = to > at ? encode_segment(e, text + at, to - at, !at, ids) : mmi_check_cancel(e->ctx);
        if (st || !token) return st;
        if (mmi_ids_add(e->ctx, ids, token->id)) return MM_E_NOMEM;
        at = end;
    }
}

mm_status mmi_tokenizer_encode_pair(mm_context *ctx, const mmi_tokenizer *t, const char *text_a, size_t n_a, const char *text_b, size_t n_b,
                                    int add_special, int parse_special, mmi_ids *ids, mmi_ids *types)
{
    encoder e = {0};
    mmi_ids a = {0}, b = {0};
    size_t count = ids->count, type_count = types ? types->count : 0;
    mm_status st;

    e.ctx = ctx;
    e.t = t;
    e.parse_special = parse_special;
    e.bpe.remember_words = n_a > WORTH_REMEMBERING || n_b > WORTH_REMEMBERING;
    st = mmi_matcher_create(ctx, &e.matcher);
    if (!st) st = encode_text(&e, text_a, n_a, &a);
    if (!st && text_b) st = encode_text(&e, text_b, n_b, &b);
    if (!st) st = mmi_post_processor_run(ctx, &t->post_processor, &a, text_b ? &b : NULL, add_special, ids, types);
    if (st) {
        ids->count = count;
        if (types) types->count = type_count;
    }
    mmi_matcher_destroy(e.matcher);
    mmi_words_clear(&e.words);
    mmi_words_clear(&e.spare);
    mmi_text_clear(&e.segment);
    mmi_bpe_scratch_clear(&e.bpe);
    mmi_unigram_scratch_clear(&e.unigram);
    mmi_free(a.data);
    mmi_free(b.data);
    return st;
}

mm_status mmi_tokenizer_encode(mm_context *ctx, const mmi_tokenizer *t, const char *text, size_t n, int add_special, int parse_special, mmi_ids *ids)
{
    return mmi_tokenizer_encode_pair(ctx, t, text, n, NULL, 0, add_special, parse_special, ids, NULL);
}

/* ---- decoding ---- */

struct mm_token_decoder {
    mmi_tokenizer *tokenizer;
    mmi_decoding *state;
    int skip_special;
};

static mm_status decode_id(mm_context *ctx, const mmi_tokenizer *t, mmi_decoding *state, int32_t id, int skip_special, mmi_text *out)
{
    const mmi_added_token *added;
    size_t n = 0;
    const char *token;

    if (id < 0) return mmi_fail(ctx, MM_E_ARGUMENT, "the token id %d is negative", (int)id);
    added = mmi_added_tokens_by_id(&t->added, id);
    if (added) return skip_special && added->special ? MM_OK : mmi_decoding_push(ctx, state, added->form, added->form_size, out);
    token = mmi_vocabulary_text(&t->vocabulary, id, &n);
    return token ? mmi_decoding_push(ctx, state, token, n, out) : MM_OK;
}

mm_status mmi_tokenizer_decode(mm_context *ctx, const mmi_tokenizer *t, const int32_t *ids, size_t n, int skip_special, mmi_text *out)
{
    mmi_decoding *state = NULL;
    mm_status st = mmi_decoding_create(ctx, t->decoder, &state);

    for (size_t i = 0; i < n && !st; i++) {
        st = decode_id(ctx, t, state, ids[i], skip_special, out);
        if (!st && i % 4096 == 4095) st = mmi_check_cancel(ctx);
    }
    if (!st) st = mmi_decoding_finish(ctx, state, out);
    mmi_decoding_destroy(state);
    return st;
}

mm_status mmi_token_decoder_create(mm_context *ctx, mmi_tokenizer *t, int skip_special, mmi_token_decoder **out)
{
    mmi_token_decoder *d = mmi_zalloc(ctx, sizeof *d);
    mm_status st;

    *out = NULL;
    if (!d) return MM_E_NOMEM;
    st = mmi_decoding_create(ctx, t->decoder, &d->state);
    if (st) {
        mmi_free(d);
        return st;
    }
    mmi_tokenizer_retain(t);
    d->tokenizer = t;
    d->skip_special = skip_special;
    *out = d;
    return MM_OK;
}

void mmi_token_decoder_destroy(mmi_token_decoder *d)
{
    if (!d) return;
    mmi_decoding_destroy(d->state);
    mmi_tokenizer_release(d->tokenizer);
    mmi_free(d);
}

mm_status mmi_token_decoder_push(mm_context *ctx, mmi_token_decoder *d, int32_t id, mmi_text *out)
{
    return decode_id(ctx, d->tokenizer, d->state, id, d->skip_special, out);
}

mm_status mmi_token_decoder_finish(mm_context *ctx, mmi_token_decoder *d, mmi_text *out) { return mmi_decoding_finish(ctx, d->state, out); }

mm_status mmi_tokenizer_token_bytes(mm_context *ctx, const mmi_tokenizer *t, int32_t id, mmi_text *out)
{
    const mmi_added_token *added = mmi_added_tokens_by_id(&t->added, id);
    size_t n = 0;
    const char *token = added ? added->form : mmi_vocabulary_text(&t->vocabulary, id, &n);

    if (!token || (added && added->special)) return MM_OK;
    return mmi_decoder_token_bytes(ctx, t->decoder, token, added ? added->form_size : n, out);
}

int mmi_tokenizer_drops_space(const mmi_tokenizer *t) { return mmi_decoder_drops_space(t->decoder); }

/* ---- look-up ---- */

const char *mmi_tokenizer_kind(const mmi_tokenizer *t) { return t->bpe ? "BPE" : t->unigram ? "Unigram" : "WordPiece"; }
int32_t mmi_tokenizer_size(const mmi_tokenizer *t) { return t->size; }

const char *mmi_tokenizer_token(const mmi_tokenizer *t, int32_t id, size_t *n)
{
    const mmi_added_token *added = mmi_added_tokens_by_id(&t->added, id);

    if (!added) return mmi_vocabulary_text(&t->vocabulary, id, n);
    *n = added->size;
    return added->text;
}

int32_t mmi_tokenizer_find(const mmi_tokenizer *t, const char *token, size_t n)
{
    const mmi_added_token *added = mmi_added_tokens_by_text(&t->added, token, n);
    return added ? added->id : mmi_vocabulary_find(&t->vocabulary, token, n);
}

int mmi_tokenizer_is_special(const mmi_tokenizer *t, int32_t id)
{
    const mmi_added_token *added = mmi_added_tokens_by_id(&t->added, id);
    return added && added->special;
}

int32_t mmi_tokenizer_special(const mmi_tokenizer *t, mmi_special which) { return t->special[which]; }
int32_t mmi_tokenizer_truncation(const mmi_tokenizer *t) { return t->truncation; }
