/* Every step but those of ByteLevel and Metaspace only moves the bounds of words. A splitting step first lists the pieces of a word, each with
 * a mark whether it matched, and then joins or drops them as its behavior says. SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* memmem */
#include "pre_tokenizer.h"

#include <string.h>

#include "byte_level.h"
#include "unicode_data.h"

enum { MAX_STEPS = 64 };

static const char gpt2_regex[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

typedef enum { REMOVED, ISOLATED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS } behavior;

typedef enum { STEP_REGEX, STEP_LITERAL, STEP_CHARACTERS, STEP_WHITESPACE, STEP_PREFIX_SPACE, STEP_METASPACE, STEP_BYTES } step_kind;

typedef struct {
    step_kind kind;
    behavior behavior;
    int invert;
    mmi_pattern *pattern;         /* STEP_REGEX */
    char *literal;                /* STEP_LITERAL; the replacement of STEP_METASPACE */
    mmi_prepend_scheme prepend;   /* STEP_METASPACE */
    int (*matches)(uint32_t code); /* STEP_CHARACTERS */
} step;

struct mmi_pre_tokenizer {
    step steps[MAX_STEPS];
    size_t count;
};

void mmi_words_clear(mmi_words *w)
{
    mmi_text_clear(&w->text);
    mmi_free(w->spans);
    memset(w, 0, sizeof *w);
}

void mmi_pre_tokenizer_destroy(mmi_pre_tokenizer *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->count; i++) {
        mmi_pattern_destroy(p->steps[i].pattern);
        mmi_free(p->steps[i].literal);
    }
    mmi_free(p);
}

/* ---- loading ---- */

static mm_status add_step(mm_context *ctx, const mmi_json *doc, mmi_pre_tokenizer *p, step_kind kind, behavior how, step **out)
{
    if (p->count == MAX_STEPS)
        return mmi_fail(ctx, MM_E_LIMIT, "%s: a pre-tokenizer of more than %d steps", mmi_json_name(doc), (int)MAX_STEPS);
    *out = &p->steps[p->count++];
    (*out)->kind = kind;
    (*out)->behavior = how;
    return MM_OK;
}

static mm_status load_behavior(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, int required, behavior *out)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name = NULL;
    mm_status st = mmi_json_text(ctx, doc, node, "behavior", required, &name);

    if (st || !name) return st;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i])) {
            *out = (behavior)i;
            return MM_OK;
        }
    return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: a pre-tokenizer with the behavior %.60s", mmi_json_name(doc), name);
}

static mm_status load_split(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, mmi_pre_tokenizer *p)
{
    const mmi_json_node *pattern = mmi_json_get(node, "pattern");
    const char *literal = mmi_json_string(mmi_json_get(pattern, "String")), *regex = mmi_json_string(mmi_json_get(pattern, "Regex"));
    step *s = NULL;
    mm_status st;

    if (!literal == !regex) return mmi_fail(ctx, MM_E_FORMAT, "%s: Split needs a pattern that is a String or a Regex", mmi_json_name(doc));
    st = add_step(ctx, doc, p, regex ? STEP_REGEX : STEP_LITERAL, REMOVED, &s);
    if (!st) st = load_behavior(ctx, doc, node, 1, &s->behavior);
    if (!st) st = mmi_json_bool(ctx, doc, node, "invert", 0, &s->invert);
    if (st) return st;
    if (regex) return mmi_pattern_compile(ctx, mmi_json_name(doc), regex, &s->pattern);
    s->literal = mmi_strdup(ctx, literal);
    return s->literal ? MM_OK : MM_E_NOMEM;
}

static mm_status load_byte_level(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, mmi_pre_tokenizer *p)
{
    int prefix = 1, use_regex = 1;
    step *s = NULL;
    mm_status st = mmi_json_bool(ctx, doc, node, "add_prefix_space", 0, &prefix);

    if (!st) st = mmi_json_bool(ctx, doc, node, "use_regex", 0, &use_regex);
    if (!st && prefix) st = add_step(ctx, doc, p, STEP_PREFIX_SPACE, ISOLATED, &s);
    if (!st && use_regex) {
        st = add_step(ctx, doc, p, STEP_REGEX, ISOLATED, &s);
        if (!st) st = mmi_pattern_compile(ctx, mmi_json_name(doc), gpt2_regex, &s->pattern);
    }
    return st ? st : add_step(ctx, doc, p, STEP_BYTES, ISOLATED, &s);
}

mm_status mmi_metaspace_load(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, const char **replacement, mmi_prepend_scheme *prepend)
{
    static const char *const names[] = {"always", "first", "never"};
    const char *where = mmi_json_name(doc), *scheme = NULL;
    int prefix = 1;
    uint32_t code = 0;
    mm_status st = mmi_json_text(ctx, doc, node, "replacement", 1, replacement);

    if (!st) st = mmi_json_bool(ctx, doc, node, "add_prefix_space", 0, &prefix); /* of files older than prepend_scheme */
    if (!st) st = mmi_json_text(ctx, doc, node, "prepend_scheme", 0, &scheme);
    if (st) return st;
    if (!**replacement || mmi_utf8_decode(*replacement, strlen(*replacement), &code) != strlen(*replacement))
        return mmi_fail(ctx, MM_E_FORMAT, "%s: the replacement of Metaspace is not one character", where);
    if (!scheme) scheme = prefix ? "always" : "never";
    for (int i = 0; i < 3; i++)
        if (!strcmp(scheme, names[i])) {
            *prepend = (mmi_prepend_scheme)i;
            return MM_OK;
        }
    return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: Metaspace with the prepend_scheme %.60s", where, scheme);
}

static mm_status load_metaspace(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, mmi_pre_tokenizer *p)
{
    const char *replacement = NULL;
    int split = 1;
    step *s = NULL;
    mm_status st = add_step(ctx, doc, p, STEP_METASPACE, ISOLATED, &s);

    if (!st) st = mmi_metaspace_load(ctx, doc, node, &replacement, &s->prepend);
    if (!st) st = mmi_json_bool(ctx, doc, node, "split", 0, &split);
    if (st) return st;
    s->literal = mmi_strdup(ctx, replacement);
    if (!s->literal) return MM_E_NOMEM;
    if (!split) return MM_OK;
    st = add_step(ctx, doc, p, STEP_LITERAL, MERGED_WITH_NEXT, &s);
    if (st) return st;
    s->literal = mmi_strdup(ctx, replacement);
    return s->literal ? MM_OK : MM_E_NOMEM;
}

static mm_status add_characters(mm_context *ctx, const mmi_json *doc, mmi_pre_tokenizer *p, int (*matches)(uint32_t), behavior how)
{
    step *s = NULL;
    mm_status st = add_step(ctx, doc, p, STEP_CHARACTERS, how, &s);
    if (!st) s->matches = matches;
    return st;
}

/* The JSON reader bounds the nesting, and so this recursion. */
static mm_status load_node(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, mmi_pre_tokenizer *p)
{
    const char *type = NULL;
    behavior how = ISOLATED;
    int individual = 0;
    step *s = NULL;
    mm_status st = mmi_json_text(ctx, doc, node, "type", 1, &type);

    if (st) return st;
    if (!strcmp(type, "Sequence")) {
        const mmi_json_node *list = mmi_json_get(node, "pretokenizers");
        if (mmi_json_kind_of(list) != MMI_JSON_ARRAY)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: a pre-tokenizer Sequence without an array \"pretokenizers\"", mmi_json_name(doc));
        for (node = mmi_json_first(list); node && !st; node = mmi_json_next(node)) st = load_node(ctx, doc, node, p);
        return st;
    }
    if (!strcmp(type, "ByteLevel")) return load_byte_level(ctx, doc, node, p);
    if (!strcmp(type, "Metaspace")) return load_metaspace(ctx, doc, node, p);
    if (!strcmp(type, "Split")) return load_split(ctx, doc, node, p);
    if (!strcmp(type, "Whitespace")) return add_step(ctx, doc, p, STEP_WHITESPACE, REMOVED, &s);
    if (!strcmp(type, "WhitespaceSplit")) return add_characters(ctx, doc, p, mmi_unicode_is_space, REMOVED);
    if (!strcmp(type, "Punctuation")) {
        st = load_behavior(ctx, doc, node, 0, &how);
        return st ? st : add_characters(ctx, doc, p, mmi_unicode_is_bert_punctuation, how);
    }
    if (!strcmp(type, "Digits")) {
        st = mmi_json_bool(ctx, doc, node, "individual_digits", 0, &individual);
        return st ? st : add_characters(ctx, doc, p, mmi_unicode_is_numeric, individual ? ISOLATED : CONTIGUOUS);
    }
    if (!strcmp(type, "BertPreTokenizer")) {
        st = add_characters(ctx, doc, p, mmi_unicode_is_space, REMOVED);
        return st ? st : add_characters(ctx, doc, p, mmi_unicode_is_bert_punctuation, ISOLATED);
    }
    return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: a pre-tokenizer of type %.60s", mmi_json_name(doc), type);
}

mm_status mmi_pre_tokenizer_load(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, mmi_pre_tokenizer **out)
{
    mmi_json_kind kind = mmi_json_kind_of(node);
    mmi_pre_tokenizer *p = mmi_zalloc(ctx, sizeof *p);
    mm_status st = MM_OK;

    *out = NULL;
    if (!p) return MM_E_NOMEM;
    if (kind != MMI_JSON_ABSENT && kind != MMI_JSON_NULL) st = load_node(ctx, doc, node, p);
    if (st)
        mmi_pre_tokenizer_destroy(p);
    else
        *out = p;
    return st;
}

/* ---- splitting ---- */

static int add_span(mm_context *ctx, mmi_words *w, size_t start, size_t end)
{
    if (start == end) return 0;
    if (mmi_grow(ctx, (void **)&w->spans, &w->capacity, w->count, sizeof *w->spans)) return 1;
    w->spans[w->count].start = start;
    w->spans[w->count++].end = end;
    return 0;
}

/* Receives the pieces of one word in order and joins them. */
typedef struct {
    mm_context *ctx;
    mmi_words *out;
    behavior behavior;
    int invert;
    int held;           /* the piece `from`, `to` waits for its neighbour */
    int previous_match; /* of the piece before */
    size_t from, to;
} joiner;

static int emit(joiner *j)
{
    j->held = 0;
    return add_span(j->ctx, j->out, j->from, j->to);
}

static int hold(joiner *j, size_t start, size_t end)
{
    if (j->held && emit(j)) return 1;
    j->held = 1;
    j->from = start;
    j->to = end;
    return 0;
}

static int add_piece(joiner *j, size_t start, size_t end, int matched)
{
    int match = matched != j->invert, previous = j->previous_match, join = 0;

    j->previous_match = match;
    switch (j->behavior) {
    case REMOVED: return match ? 0 : add_span(j->ctx, j->out, start, end);
    case ISOLATED: return add_span(j->ctx, j->out, start, end);
    case CONTIGUOUS: join = match == previous; break;
    case MERGED_WITH_PREVIOUS: join = match && !previous; break;
    case MERGED_WITH_NEXT: join = !match && previous; break;
    }
    if (join && j->held) {
        j->to = end;
        return 0;
    }
    return hold(j, start, end);
}

static void begin_word(joiner *j)
{
    j->held = 0;
    j->previous_match = 0;
}

static int end_word(joiner *j) { return j->held ? emit(j) : 0; }

static mm_status split_regex(mm_context *ctx, const step *s, const char *text, mmi_span word, joiner *j, mmi_matcher *matcher)
{
    size_t previous = 0, start = 0, end = 0, n = word.end - word.start;
    int found = 0;
    mm_status st = mmi_matcher_begin(ctx, matcher, text + word.start, n);

    while (!st) {
        st = mmi_matcher_next(ctx, matcher, s->pattern, &start, &end, &found);
        if (st || !found) break;
        if (previous < start && add_piece(j, word.start + previous, word.start + start, 0)) return MM_E_NOMEM;
        if (add_piece(j, word.start + start, word.start + end, 1)) return MM_E_NOMEM;
        previous = end;
    }
    if (!st && previous < n && add_piece(j, word.start + previous, word.end, 0)) return MM_E_NOMEM;
    return st;
}

static int split_literal(const step *s, const char *text, mmi_span word, joiner *j)
{
    size_t at = word.start, len = strlen(s->literal);

    while (len) {
        const char *hit = memmem(text + at, word.end - at, s->literal, len);
        size_t start;
        if (!hit) break;
        start = (size_t)(hit - text);
        if (at < start && add_piece(j, at, start, 0)) return 1;
        if (add_piece(j, start, start + len, 1)) return 1;
        at = start + len;
    }
    return at < word.end && add_piece(j, at, word.end, 0);
}

static int split_characters(const step *s, const char *text, mmi_span word, joiner *j)
{
    size_t at = word.start, previous = at;

    while (at < word.end) {
        uint32_t code = 0;
        size_t len = mmi_utf8_decode(text + at, word.end - at, &code);
        if (s->matches(code)) {
            if (previous < at && add_piece(j, previous, at, 0)) return 1;
            if (add_piece(j, at, at + len, 1)) return 1;
            previous = at + len;
        }
        at += len;
    }
    return previous < word.end && add_piece(j, previous, word.end, 0);
}

/* \w+|[^\w\s]+ */
static int split_whitespace(mm_context *ctx, const char *text, mmi_span word, mmi_words *out)
{
    size_t at = word.start, from = at;
    int last = 0; /* 1 inside \w+, 2 inside [^\w\s]+ */

    while (at < word.end) {
        uint32_t code = 0;
        size_t len = mmi_utf8_decode(text + at, word.end - at, &code);
        int kind = mmi_unicode_is_word(code) ? 1 : mmi_unicode_is_space(code) ? 0 : 2;
        if (kind != last) {
            if (last && add_span(ctx, out, from, at)) return 1;
            from = at;
            last = kind;
        }
        at += len;
    }
    return last && add_span(ctx, out, from, word.end);
}

/* ---- running ---- */

static mm_status run_split(mm_context *ctx, const step *s, mmi_words *w, mmi_words *spare, mmi_matcher *matcher)
{
    joiner j = {ctx, spare, s->behavior, s->invert, 0, 0, 0, 0};
    mmi_span *spans;
    size_t capacity;
    mm_status st = MM_OK;

    spare->count = 0;
    for (size_t i = 0; i < w->count; i++) {
        begin_word(&j);
        switch (s->kind) {
        case STEP_REGEX: st = split_regex(ctx, s, w->text.data, w->spans[i], &j, matcher); break;
        case STEP_LITERAL: st = split_literal(s, w->text.data, w->spans[i], &j) ? MM_E_NOMEM : MM_OK; break;
        case STEP_CHARACTERS: st = split_characters(s, w->text.data, w->spans[i], &j) ? MM_E_NOMEM : MM_OK; break;
        default: st = split_whitespace(ctx, w->text.data, w->spans[i], spare) ? MM_E_NOMEM : MM_OK; break;
        }
        if (st || end_word(&j)) return st ? st : MM_E_NOMEM;
    }
    spans = w->spans;
    capacity = w->capacity;
    w->spans = spare->spans;
    w->capacity = spare->capacity;
    w->count = spare->count;
    w->at_start = w->at_start && w->count && !w->spans[0].start;
    spare->spans = spans;
    spare->capacity = capacity;
    return MM_OK;
}

/* Append a word with the replacement for each space, and before it. */
static int metaspace(mm_context *ctx, const step *s, const char *word, size_t n, int first, mmi_text *out)
{
    size_t len = strlen(s->literal);
    int prepend = s->prepend == MMI_PREPEND_ALWAYS || (s->prepend == MMI_PREPEND_FIRST && first);

    if (prepend && *word != ' ' && (n < len || memcmp(word, s->literal, len)) && mmi_text_append(ctx, out, s->literal, len)) return 1;
    while (n) {
        const char *space = memchr(word, ' ', n);
        size_t before = space ? (size_t)(space - word) : n;
        if (mmi_text_append(ctx, out, word, before) || (space && mmi_text_append(ctx, out, s->literal, len))) return 1;
        before += space != NULL;
        word += before;
        n -= before;
    }
    return 0;
}

/* Put a space before each word that has none, or Metaspace's character for spaces, or each byte's character in its place.
 * The words keep their number. */
static mm_status run_rewrite(mm_context *ctx, const step *rewrite, mmi_words *w, mmi_words *spare)
{
    char characters[256][2];
    unsigned char lengths[256];
    mmi_text swap;

    for (unsigned b = 0; b < 256; b++) {
        char bytes[4];
        lengths[b] = (unsigned char)mmi_utf8_encode(mmi_byte_level_character((unsigned char)b), bytes); /* below U+0800: 1 or 2 */
        memcpy(characters[b], bytes, 2);
    }
    spare->text.size = 0;
    for (size_t i = 0; i < w->count; i++) {
        mmi_span *word = &w->spans[i];
        size_t start = spare->text.size;
        if (rewrite->kind == STEP_METASPACE) {
            if (metaspace(ctx, rewrite, w->text.data + word->start, word->end - word->start, !i && w->at_start, &spare->text)) return MM_E_NOMEM;
        } else if (rewrite->kind == STEP_PREFIX_SPACE) {
            if (w->text.data[word->start] != ' ' && mmi_text_append(ctx, &spare->text, " ", 1)) return MM_E_NOMEM;
            if (mmi_text_append(ctx, &spare->text, w->text.data + word->start, word->end - word->start)) return MM_E_NOMEM;
        } else {
            const char *s = w->text.data;
            for (size_t k = word->start, same; k < word->end;) {
                for (same = k; same < word->end && s[same] > ' ' && s[same] < 0x7F; same++) {} /* stand for themselves */
                if (same > k && mmi_text_append(ctx, &spare->text, s + k, same - k)) return MM_E_NOMEM;
                for (k = same; k < word->end && !(s[k] > ' ' && s[k] < 0x7F); k++) {
                    unsigned char b = (unsigned char)s[k];
                    if (mmi_text_append(ctx, &spare->text, characters[b], lengths[b])) return MM_E_NOMEM;
                }
            }
        }
        word->start = start;
        word->end = spare->text.size;
    }
    swap = w->text;
    w->text = spare->text;
    spare->text = swap;
    return MM_OK;
}

mm_status mmi_pre_tokenizer_run(mm_context *ctx, const mmi_pre_tokenizer *p, mmi_words *w, mmi_words *spare, mmi_matcher *matcher)
{
    mm_status st = MM_OK;

    w->count = 0;
    if (add_span(ctx, w, 0, w->text.size)) return MM_E_NOMEM;
    for (size_t i = 0; i < p->count && !st; i++) {
        const step *s = &p->steps[i];
        if (s->kind == STEP_PREFIX_SPACE || s->kind == STEP_METASPACE || s->kind == STEP_BYTES)
            st = run_rewrite(ctx, s, w, spare);
        else
            st = run_split(ctx, s, w, spare, matcher);
    }
    return st;
}
