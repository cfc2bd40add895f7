/* Each step takes a piece, works on it and feeds what is certain to the next step; at the end each gives up what it
 * held. Behind ByteLevel or Fuse, which make one text of all tokens, a step sees that text in parts.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* memmem */
#include "decoder.h"

#include <string.h>

#include "byte_level.h"
#include "pre_tokenizer.h"
#include "size.h"

enum { MAX_STEPS = 16, MAX_PIECE = 1 << 26 /* bytes that Replace may make of a token */ };

typedef enum { STEP_JOIN, STEP_BYTE_LEVEL, STEP_WORD_PIECE, STEP_BPE, STEP_METASPACE, STEP_REPLACE, STEP_BYTE_FALLBACK, STEP_FUSE, STEP_STRIP } step_kind;

typedef struct {
    step_kind kind;
    int fused;            /* pieces are parts of one text */
    char *search;         /* REPLACE; the prefix of WORD_PIECE, the suffix of BPE, the replacement of METASPACE */
    char *content;        /* REPLACE */
    int cleanup;          /* WORD_PIECE */
    int drop_first;       /* METASPACE: no spaces in the first token */
    uint32_t character;   /* STRIP */
    int64_t start, stop;  /* STRIP */
} step;

struct mmi_decoder {
    step steps[MAX_STEPS];
    size_t count;
};

typedef struct {
    int started;
    mmi_text held;        /* BPE: the last token; BYTE_FALLBACK: bytes of a run */
    mmi_text work[2];
    unsigned char cut[4]; /* BYTE_LEVEL: a character that is not complete */
    size_t n_cut;
    int64_t skipped, pending; /* STRIP: characters dropped in front; those at the end that may have to go */
    int inside;               /* STRIP: past the front */
} step_state;

struct mmi_decoding {
    const mmi_decoder *decoder;
    step_state states[MAX_STEPS];
};

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

void mmi_decoder_destroy(mmi_decoder *d)
{
    if (!d) return;
    for (size_t i = 0; i < d->count; i++) {
        mmi_free(d->steps[i].search);
        mmi_free(d->steps[i].content);
    }
    mmi_free(d);
}

/* ---- loading ---- */

static mm_status add_step(mm_context *ctx, const char *where, mmi_decoder *d, step_kind kind, step **out)
{
    int fused = d->count && (d->steps[d->count - 1].fused || d->steps[d->count - 1].kind == STEP_FUSE || d->steps[d->count - 1].kind == STEP_BYTE_LEVEL);

    if (d->count == MAX_STEPS) return mmi_fail(ctx, MM_E_LIMIT, "%s: a decoder of more than %d steps", where, (int)MAX_STEPS);
    if (fused && kind != STEP_FUSE && kind != STEP_STRIP)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: a decoder that goes on with tokens after it has joined them", where);
    *out = &d->steps[d->count++];
    (*out)->kind = kind;
    (*out)->fused = fused;
    return MM_OK;
}

static mm_status load_text(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, const char *key, const char *otherwise, char **out)
{
    const char *text = otherwise;
    mm_status st = mmi_json_text(ctx, doc, node, key, !otherwise, &text);

    if (st) return st;
    *out = mmi_strdup(ctx, text);
    return *out ? MM_OK : MM_E_NOMEM;
}

static mm_status load_strip(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, step *s)
{
    const char *content = NULL;
    mm_status st = mmi_json_text(ctx, doc, node, "content", 1, &content);
    size_t n;

    if (st) return st;
    n = strlen(content);
    if (!n || mmi_utf8_decode(content, n, &s->character) != n)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: the content of the decoder Strip is not one character", mmi_json_name(doc));
    st = mmi_json_i64(ctx, doc, node, "start", 1, 0, INT32_MAX, &s->start);
    return st ? st : mmi_json_i64(ctx, doc, node, "stop", 1, 0, INT32_MAX, &s->stop);
}

/* The JSON reader bounds the nesting, and so this recursion. */
static mm_status load_node(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, mmi_decoder *d)
{
    const char *where = mmi_json_name(doc), *type = NULL;
    step *s = NULL;
    mm_status st = mmi_json_text(ctx, doc, node, "type", 1, &type);

    if (st) return st;
    if (!strcmp(type, "Sequence")) {
        const mmi_json_node *list = mmi_json_get(node, "decoders");
        if (mmi_json_kind_of(list) != MMI_JSON_ARRAY)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: a decoder Sequence without an array \"decoders\"", where);
        for (node = mmi_json_first(list); node && !st; node = mmi_json_next(node)) st = load_node(ctx, doc, node, d);
        return st;
    }
    if (!strcmp(type, "ByteLevel")) return add_step(ctx, where, d, STEP_BYTE_LEVEL, &s);
    if (!strcmp(type, "Fuse")) return add_step(ctx, where, d, STEP_FUSE, &s);
    if (!strcmp(type, "ByteFallback")) return add_step(ctx, where, d, STEP_BYTE_FALLBACK, &s);
    if (!strcmp(type, "WordPiece")) {
        st = add_step(ctx, where, d, STEP_WORD_PIECE, &s);
        if (st) return st;
        s->cleanup = 1;
        st = mmi_json_bool(ctx, doc, node, "cleanup", 0, &s->cleanup);
        return st ? st : load_text(ctx, doc, node, "prefix", "##", &s->search);
    }
    if (!strcmp(type, "BPEDecoder")) {
        st = add_step(ctx, where, d, STEP_BPE, &s);
        return st ? st : load_text(ctx, doc, node, "suffix", "</w>", &s->search);
    }
    if (!strcmp(type, "Replace")) {
        const mmi_json_node *pattern = mmi_json_get(node, "pattern");
        if (mmi_json_get(pattern, "Regex")) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: a decoder Replace with a Regex", where);
        st = add_step(ctx, where, d, STEP_REPLACE, &s);
        if (!st) st = load_text(ctx, doc, pattern, "String", NULL, &s->search);
        return st ? st : load_text(ctx, doc, node, "content", NULL, &s->content);
    }
    if (!strcmp(type, "Metaspace")) {
        const char *space = NULL;
        mmi_prepend_scheme prepend = MMI_PREPEND_ALWAYS;
        st = mmi_metaspace_load(ctx, doc, node, &space, &prepend);
        if (!st) st = add_step(ctx, where, d, STEP_METASPACE, &s);
        if (st) return st;
        s->drop_first = prepend != MMI_PREPEND_NEVER;
        s->search = mmi_strdup(ctx, space);
        return s->search ? MM_OK : MM_E_NOMEM;
    }
    if (!strcmp(type, "Strip")) {
        st = add_step(ctx, where, d, STEP_STRIP, &s);
        return st ? st : load_strip(ctx, doc, node, s);
    }
    return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: a decoder of type %.60s", where, type);
}

mm_status mmi_decoder_load(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, mmi_decoder **out)
{
    mmi_json_kind kind = mmi_json_kind_of(node);
    mmi_decoder *d = mmi_zalloc(ctx, sizeof *d);
    step *s = NULL;
    mm_status st;

    *out = NULL;
    if (!d) return MM_E_NOMEM;
    if (kind != MMI_JSON_ABSENT && kind != MMI_JSON_NULL)
        st = load_node(ctx, doc, node, d);
    else
        st = add_step(ctx, mmi_json_name(doc), d, STEP_JOIN, &s);
    if (st)
        mmi_decoder_destroy(d);
    else
        *out = d;
    return st;
}

mm_status mmi_decoding_create(mm_context *ctx, const mmi_decoder *d, mmi_decoding **out)
{
    *out = mmi_zalloc(ctx, sizeof **out);
    if (!*out) return MM_E_NOMEM;
    (*out)->decoder = d;
    return MM_OK;
}

void mmi_decoding_destroy(mmi_decoding *t)
{
    if (!t) return;
    for (size_t i = 0; i < MAX_STEPS; i++) {
        mmi_text_clear(&t->states[i].held);
        mmi_text_clear(&t->states[i].work[0]);
        mmi_text_clear(&t->states[i].work[1]);
    }
    mmi_free(t);
}

/* ---- the steps ---- */

/* A text that nothing was appended to has no data. */
static const char *data_of(const mmi_text *text) { return text->data ? text->data : ""; }

static mm_status feed(mm_context *ctx, mmi_decoding *t, size_t i, const char *piece, size_t n, mmi_text *out);

/* Whether `b` can follow the bytes of an incomplete character (Unicode 3.9, table 3-7). */
static int continues(const unsigned char *cut, size_t n, unsigned char b)
{
    if (n > 1) return b >= 0x80 && b <= 0xBF;
    return b >= (cut[0] == 0xE0 ? 0xA0 : cut[0] == 0xF0 ? 0x90 : 0x80) && b <= (cut[0] == 0xED ? 0x9F : cut[0] == 0xF4 ? 0x8F : 0xBF);
}

/* Take one byte; each maximal part of a malformed sequence becomes one U+FFFD, as Unicode recommends. */
static int take_byte(mm_context *ctx, step_state *s, unsigned char b, mmi_text *out)
{
    if (s->n_cut && !continues(s->cut, s->n_cut, b)) {
        s->n_cut = 0;
        if (mmi_text_append(ctx, out, replacement, 3)) return 1;
    }
    if (!s->n_cut && b < 0x80) return mmi_text_append(ctx, out, (const char *)&b, 1);
    if (!s->n_cut && !mmi_utf8_length(b)) return mmi_text_append(ctx, out, replacement, 3);
    s->cut[s->n_cut++] = b;
    if (s->n_cut < mmi_utf8_length(s->cut[0])) return 0;
    s->n_cut = 0;
    return mmi_text_append(ctx, out, (const char *)s->cut, mmi_utf8_length(s->cut[0]));
}

/* A token all of whose characters stand for bytes is those bytes; another one is its own UTF-8. */
static int step_byte_level(mm_context *ctx, step_state *s, const char *piece, size_t n)
{
    size_t i = 0;
    uint32_t code = 0;
    int mapped;

    while (i < n) {
        size_t len = mmi_utf8_decode(piece + i, n - i, &code);
        if (mmi_byte_level_byte(code) < 0) break;
        i += len;
    }
    mapped = i == n;
    s->work[0].size = 0;
    for (i = 0; i < n;) {
        unsigned char b = (unsigned char)piece[i];
        if (mapped) {
            i += mmi_utf8_decode(piece + i, n - i, &code);
            b = (unsigned char)mmi_byte_level_byte(code);
        } else {
            i++;
        }
        if (take_byte(ctx, s, b, &s->work[0])) return 1;
    }
    return 0;
}

/* Append in[0..n) with each `search` replaced; an empty one is never found. */
static mm_status replace_all(mm_context *ctx, const char *in, size_t n, const char *search, const char *content, mmi_text *out)
{
    size_t at = 0, len = strlen(search);

    while (len && at < n) {
        const char *hit = memmem(in + at, n - at, search, len);
        if (!hit) break;
        if (mmi_text_append(ctx, out, in + at, (size_t)(hit - in) - at) || mmi_text_append(ctx, out, content, strlen(content))) return MM_E_NOMEM;
        if (out->size > MAX_PIECE) return mmi_fail(ctx, MM_E_LIMIT, "the decoder makes a token longer than %d bytes", (int)MAX_PIECE);
        at = (size_t)(hit - in) + len;
    }
    return mmi_text_append(ctx, out, in + at, n - at) ? MM_E_NOMEM : MM_OK;
}

static mm_status step_word_piece(mm_context *ctx, const step *d, step_state *s, const char *piece, size_t n, const mmi_text **result)
{
    static const char *const artifacts[][2] = {{" .", "."},     {" ?", "?"},   {" !", "!"},           {" ,", ","},   {" ' ", "'"},  {" n't", "n't"},
                                               {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    size_t prefix = strlen(d->search), from = 0;
    mmi_text *now = &s->work[0], *next = &s->work[1], *swap;

    now->size = 0;
    if (s->started) {
        if (n >= prefix && !memcmp(piece, d->search, prefix))
            from = prefix;
        else if (mmi_text_append(ctx, now, " ", 1))
            return MM_E_NOMEM;
    }
    if (mmi_text_append(ctx, now, piece + from, n - from)) return MM_E_NOMEM;
    for (size_t i = 0; d->cleanup && i < sizeof artifacts / sizeof *artifacts; i++) {
        mm_status st;
        next->size = 0;
        st = replace_all(ctx, data_of(now), now->size, artifacts[i][0], artifacts[i][1], next);
        if (st) return st;
        swap = now;
        now = next;
        next = swap;
    }
    *result = now;
    return MM_OK;
}

/* The byte of "<0x0A>", -1 for another token. */
static int fallback_byte(const char *piece, size_t n)
{
    int value = 0;

    if (n != 6 || memcmp(piece, "<0x", 3) || piece[5] != '>') return -1;
    for (int i = 3; i < 5; i++) {
        char c = piece[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* A run of byte tokens is a text, or one U+FFFD a byte where it is malformed. */
static mm_status end_run(mm_context *ctx, mmi_decoding *t, size_t i, mmi_text *out)
{
    mmi_text *run = &t->states[i].held;
    size_t n = run->size;
    mm_status st = MM_OK;

    run->size = 0;
    if (!n) return MM_OK;
    if (mmi_utf8_valid(run->data, n) == n) return feed(ctx, t, i + 1, run->data, n, out);
    for (size_t k = 0; k < n && !st; k++) st = feed(ctx, t, i + 1, replacement, 3, out);
    return st;
}

static int flush_pending(mm_context *ctx, const step *d, step_state *s, int64_t keep)
{
    char bytes[4];
    size_t len = mmi_utf8_encode(d->character, bytes);

    for (; s->pending > keep; s->pending--)
        if (mmi_text_append(ctx, &s->work[0], bytes, len)) return 1;
    return 0;
}

/* Characters at the end are held back, up to `stop` of them, until something else follows. */
static int step_strip(mm_context *ctx, const step *d, step_state *s, const char *piece, size_t n)
{
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t code = 0;
        len = mmi_utf8_decode(piece + i, n - i, &code);
        if (code == d->character) {
            if (!s->inside && s->skipped < d->start) {
                s->skipped++;
                continue;
            }
            s->inside = 1;
            s->pending++;
            if (flush_pending(ctx, d, s, d->stop)) return 1;
            continue;
        }
        s->inside = 1;
        if (flush_pending(ctx, d, s, 0) || mmi_text_append(ctx, &s->work[0], piece + i, len)) return 1;
    }
    return 0;
}

static void restart_strip(step_state *s)
{
    s->inside = 0;
    s->skipped = s->pending = 0;
}

/* BPEDecoder: the suffix is a space, but nothing in the last token. */
static mm_status release_held(mm_context *ctx, mmi_decoding *t, size_t i, const char *content, mmi_text *out)
{
    step_state *s = &t->states[i];
    mm_status st;

    if (!s->started) return MM_OK;
    s->work[0].size = 0;
    st = replace_all(ctx, data_of(&s->held), s->held.size, t->decoder->steps[i].search, content, &s->work[0]);
    return st ? st : feed(ctx, t, i + 1, data_of(&s->work[0]), s->work[0].size, out);
}

static mm_status feed(mm_context *ctx, mmi_decoding *t, size_t i, const char *piece, size_t n, mmi_text *out)
{
    const step *d = &t->decoder->steps[i];
    step_state *s = &t->states[i];
    const mmi_text *result = NULL;
    mm_status st = MM_OK;
    int byte;

    if (i == t->decoder->count) return mmi_text_append(ctx, out, piece, n) ? MM_E_NOMEM : MM_OK;
    switch (d->kind) {
    case STEP_FUSE: return feed(ctx, t, i + 1, piece, n, out);
    case STEP_JOIN:
        if (s->started && mmi_text_append(ctx, out, " ", 1)) return MM_E_NOMEM;
        s->started = 1;
        return feed(ctx, t, i + 1, piece, n, out);
    case STEP_BYTE_LEVEL:
        if (step_byte_level(ctx, s, piece, n)) return MM_E_NOMEM;
        return feed(ctx, t, i + 1, data_of(&s->work[0]), s->work[0].size, out);
    case STEP_WORD_PIECE:
        st = step_word_piece(ctx, d, s, piece, n, &result);
        s->started = 1;
        return st ? st : feed(ctx, t, i + 1, data_of(result), result->size, out);
    case STEP_BPE:
        st = release_held(ctx, t, i, " ", out);
        if (st) return st;
        s->started = 1;
        s->held.size = 0;
        return mmi_text_append(ctx, &s->held, piece, n) ? MM_E_NOMEM : MM_OK;
    case STEP_METASPACE:
        s->work[0].size = 0;
        st = replace_all(ctx, piece, n, d->search, !s->started && d->drop_first ? "" : " ", &s->work[0]);
        s->started = 1;
        return st ? st : feed(ctx, t, i + 1, data_of(&s->work[0]), s->work[0].size, out);
    case STEP_REPLACE:
        s->work[0].size = 0;
        st = replace_all(ctx, piece, n, d->search, d->content, &s->work[0]);
        return st ? st : feed(ctx, t, i + 1, data_of(&s->work[0]), s->work[0].size, out);
    case STEP_BYTE_FALLBACK:
        byte = fallback_byte(piece, n);
        if (byte >= 0) {
            char b = (char)byte;
            return mmi_text_append(ctx, &s->held, &b, 1) ? MM_E_NOMEM : MM_OK;
        }
        st = end_run(ctx, t, i, out);
        return st ? st : feed(ctx, t, i + 1, piece, n, out);
    case STEP_STRIP:
        if (!d->fused) restart_strip(s);
        s->work[0].size = 0;
        if (step_strip(ctx, d, s, piece, n)) return MM_E_NOMEM;
        return feed(ctx, t, i + 1, data_of(&s->work[0]), s->work[0].size, out);
    }
    return mmi_fail(ctx, MM_E_INTERNAL, "a decoder step of kind %d", (int)d->kind);
}

mm_status mmi_decoding_push(mm_context *ctx, mmi_decoding *t, const char *token, size_t n, mmi_text *out) { return feed(ctx, t, 0, token, n, out); }

mm_status mmi_decoding_finish(mm_context *ctx, mmi_decoding *t, mmi_text *out)
{
    mm_status st = MM_OK;

    for (size_t i = 0; i < t->decoder->count && !st; i++) {
        step_state *s = &t->states[i];
        step_kind kind = t->decoder->steps[i].kind;
        if (kind == STEP_BYTE_LEVEL && s->n_cut) st = feed(ctx, t, i + 1, replacement, 3, out);
        if (kind == STEP_BYTE_FALLBACK) st = end_run(ctx, t, i, out);
        if (kind == STEP_BPE) st = release_held(ctx, t, i, "", out);
    }
    for (size_t i = 0; i < t->decoder->count; i++) {
        step_state *s = &t->states[i];
        s->started = 0;
        s->n_cut = 0;
        s->held.size = 0;
        restart_strip(s);
    }
    return st;
}

/* ---- single tokens ---- */

static int append_unmapped(mm_context *ctx, const char *token, size_t n, mmi_text *out)
{
    size_t before = out->size;
    uint32_t code = 0;

    for (size_t i = 0; i < n;) {
        size_t len = mmi_utf8_decode(token + i, n - i, &code);
        int b = mmi_byte_level_byte(code);
        char byte = (char)b;
        if (b < 0) { /* another token is its own UTF-8 */
            out->size = before;
            return mmi_text_append(ctx, out, token, n);
        }
        if (mmi_text_append(ctx, out, &byte, 1)) return 1;
        i += len;
    }
    return 0;
}

mm_status mmi_decoder_token_bytes(mm_context *ctx, const mmi_decoder *d, const char *token, size_t n, mmi_text *out)
{
    mmi_text work[2] = {{0}, {0}};
    int turn = 0, raw = 0; /* a byte is final: what comes later works on characters */
    mm_status st = MM_OK;

    for (size_t i = 0; i < d->count && !st && !raw; i++) {
        const step *s = &d->steps[i];
        mmi_text *to = &work[turn];
        size_t len = s->search ? strlen(s->search) : 0;
        int byte = s->kind == STEP_BYTE_FALLBACK ? fallback_byte(token, n) : -1, failed = 0;
        char one = (char)byte;

        to->size = 0;
        switch (s->kind) {
        case STEP_JOIN: failed = mmi_text_append(ctx, to, " ", 1) || mmi_text_append(ctx, to, token, n); break;
        case STEP_WORD_PIECE:
            if (n >= len && !memcmp(token, s->search, len)) failed = mmi_text_append(ctx, to, token + len, n - len);
            else failed = mmi_text_append(ctx, to, " ", 1) || mmi_text_append(ctx, to, token, n);
            break;
        case STEP_BYTE_LEVEL:
            failed = append_unmapped(ctx, token, n, to);
            raw = 1;
            break;
        case STEP_BPE:
        case STEP_METASPACE: st = replace_all(ctx, token, n, s->search, " ", to); break;
        case STEP_REPLACE: st = replace_all(ctx, token, n, s->search, s->content, to); break;
        case STEP_BYTE_FALLBACK:
            failed = byte < 0 ? mmi_text_append(ctx, to, token, n) : mmi_text_append(ctx, to, &one, 1);
            raw = byte >= 0;
            break;
        case STEP_FUSE:
        case STEP_STRIP: continue; /* they leave the inside of a text alone */
        }
        if (failed) st = MM_E_NOMEM;
        token = data_of(to);
        n = to->size;
        turn ^= 1;
    }
    if (!st && mmi_text_append(ctx, out, token, n)) st = MM_E_NOMEM;
    mmi_text_clear(&work[0]);
    mmi_text_clear(&work[1]);
    return st;
}

int mmi_decoder_drops_space(const mmi_decoder *d)
{
    for (size_t i = 0; i < d->count; i++)
        if ((d->steps[i].kind == STEP_STRIP && d->steps[i].character == ' ' && d->steps[i].start > 0) ||
            (d->steps[i].kind == STEP_METASPACE && d->steps[i].drop_first))
            return 1;
    return 0;
}
