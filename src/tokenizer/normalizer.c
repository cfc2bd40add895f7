/* Each step reads one text and appends to another. utf8proc decomposes and composes; the order of combining marks is
 * made here, since its own takes time quadratic in a run of marks. SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* memmem */
#include "normalizer.h"

#include <string.h>
#include <utf8proc.h>

#include "charsmap.h"
#include "size.h"
#include "unicode_data.h"

enum { MAX_STEPS = 64, MAX_GROWTH = 1 << 30 /* bytes that one text may become by Replace and Prepend */ };

typedef enum {
    STEP_FORM, STEP_LOWERCASE, STEP_STRIP_ACCENTS, STEP_STRIP, STEP_REPLACE, STEP_PREPEND, STEP_NMT, STEP_PRECOMPILED, STEP_BERT_CLEAN,
    STEP_BERT_CHINESE, STEP_BERT_ACCENTS
} step_kind;

typedef struct {
    step_kind kind;
    int compose, compatible; /* STEP_FORM */
    int left, right;         /* STEP_STRIP */
    char *search, *content;  /* STEP_REPLACE (search NULL: a pattern), STEP_PREPEND (content) */
    mmi_pattern *pattern;
    mmi_charsmap *charsmap; /* STEP_PRECOMPILED */
} step;

struct mmi_normalizer {
    step steps[MAX_STEPS];
    size_t count;
};

void mmi_normalizer_destroy(mmi_normalizer *n)
{
    if (!n) return;
    for (size_t i = 0; i < n->count; i++) {
        mmi_free(n->steps[i].search);
        mmi_free(n->steps[i].content);
        mmi_pattern_destroy(n->steps[i].pattern);
        mmi_charsmap_destroy(n->steps[i].charsmap);
    }
    mmi_free(n);
}

/* ---- loading ---- */

static mm_status add_step(mm_context *ctx, const mmi_json *doc, mmi_normalizer *n, step_kind kind, step **out)
{
    if (n->count == MAX_STEPS)
        return mmi_fail(ctx, MM_E_LIMIT, "%s: a normalizer of more than %d steps", mmi_json_name(doc), (int)MAX_STEPS);
    *out = &n->steps[n->count++];
    (*out)->kind = kind;
    return MM_OK;
}

static mm_status load_replace(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, step *s)
{
    const mmi_json_node *pattern = mmi_json_get(node, "pattern");
    const char *literal = mmi_json_string(mmi_json_get(pattern, "String")), *regex = mmi_json_string(mmi_json_get(pattern, "Regex"));
    const char *content = NULL;
    mm_status st = mmi_json_text(ctx, doc, node, "content", 1, &content);

    if (st) return st;
    if (!literal == !regex) return mmi_fail(ctx, MM_E_FORMAT, "%s: Replace needs a pattern that is a String or a Regex", mmi_json_name(doc));
    s->content = mmi_strdup(ctx, content);
    if (!s->content) return MM_E_NOMEM;
    if (regex) return mmi_pattern_compile(ctx, mmi_json_name(doc), regex, &s->pattern);
    s->search = mmi_strdup(ctx, literal);
    return s->search ? MM_OK : MM_E_NOMEM;
}

static mm_status load_bert(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, mmi_normalizer *n)
{
    int clean = 1, chinese = 1, lowercase = 1, accents;
    step *s = NULL;
    mm_status st;

    st = mmi_json_bool(ctx, doc, node, "clean_text", 0, &clean);
    if (!st) st = mmi_json_bool(ctx, doc, node, "handle_chinese_chars", 0, &chinese);
    if (!st) st = mmi_json_bool(ctx, doc, node, "lowercase", 0, &lowercase);
    accents = lowercase; /* strip_accents null: as lowercase says */
    if (!st) st = mmi_json_bool(ctx, doc, node, "strip_accents", 0, &accents);
    if (!st && clean) st = add_step(ctx, doc, n, STEP_BERT_CLEAN, &s);
    if (!st && chinese) st = add_step(ctx, doc, n, STEP_BERT_CHINESE, &s);
    if (!st && accents) st = add_step(ctx, doc, n, STEP_FORM, &s); /* NFD */
    if (!st && accents) st = add_step(ctx, doc, n, STEP_BERT_ACCENTS, &s);
    if (!st && lowercase) st = add_step(ctx, doc, n, STEP_LOWERCASE, &s);
    return st;
}

/* The JSON reader bounds the nesting, and so this recursion. */
static mm_status load_node(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, mmi_normalizer *n)
{
    const char *type = NULL;
    step *s = NULL;
    mm_status st = mmi_json_text(ctx, doc, node, "type", 1, &type);

    if (st) return st;
    if (!strcmp(type, "Sequence")) {
        const mmi_json_node *list = mmi_json_get(node, "normalizers");
        if (mmi_json_kind_of(list) != MMI_JSON_ARRAY)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: a normalizer Sequence without an array \"normalizers\"", mmi_json_name(doc));
        for (node = mmi_json_first(list); node && !st; node = mmi_json_next(node)) st = load_node(ctx, doc, node, n);
        return st;
    }
    if (!strcmp(type, "NFC") || !strcmp(type, "NFD") || !strcmp(type, "NFKC") || !strcmp(type, "NFKD")) {
        st = add_step(ctx, doc, n, STEP_FORM, &s);
        if (st) return st;
        s->compose = type[strlen(type) - 1] == 'C';
        s->compatible = type[2] == 'K';
        return MM_OK;
    }
    if (!strcmp(type, "Lowercase")) return add_step(ctx, doc, n, STEP_LOWERCASE, &s);
    if (!strcmp(type, "StripAccents")) return add_step(ctx, doc, n, STEP_STRIP_ACCENTS, &s);
    if (!strcmp(type, "Strip")) {
        st = add_step(ctx, doc, n, STEP_STRIP, &s);
        if (st) return st;
        s->left = s->right = 1;
        st = mmi_json_bool(ctx, doc, node, "strip_left", 0, &s->left);
        return st ? st : mmi_json_bool(ctx, doc, node, "strip_right", 0, &s->right);
    }
    if (!strcmp(type, "Replace")) {
        st = add_step(ctx, doc, n, STEP_REPLACE, &s);
        return st ? st : load_replace(ctx, doc, node, s);
    }
    if (!strcmp(type, "Prepend")) {
        const char *content = NULL;
        st = mmi_json_text(ctx, doc, node, "prepend", 1, &content);
        if (!st) st = add_step(ctx, doc, n, STEP_PREPEND, &s);
        if (st) return st;
        s->content = mmi_strdup(ctx, content);
        return s->content ? MM_OK : MM_E_NOMEM;
    }
    if (!strcmp(type, "Nmt")) return add_step(ctx, doc, n, STEP_NMT, &s);
    if (!strcmp(type, "Precompiled")) {
        const char *map = NULL;
        st = mmi_json_text(ctx, doc, node, "precompiled_charsmap", 1, &map);
        if (!st) st = add_step(ctx, doc, n, STEP_PRECOMPILED, &s);
        return st ? st : mmi_charsmap_load(ctx, mmi_json_name(doc), map, &s->charsmap);
    }
    if (!strcmp(type, "BertNormalizer")) return load_bert(ctx, doc, node, n);
    return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: a normalizer of type %.60s", mmi_json_name(doc), type);
}

mm_status mmi_normalizer_load(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, mmi_normalizer **out)
{
    mmi_json_kind kind = mmi_json_kind_of(node);
    mmi_normalizer *n = mmi_zalloc(ctx, sizeof *n);
    mm_status st = MM_OK;

    *out = NULL;
    if (!n) return MM_E_NOMEM;
    if (kind != MMI_JSON_ABSENT && kind != MMI_JSON_NULL) st = load_node(ctx, doc, node, n);
    if (st)
        mmi_normalizer_destroy(n);
    else
        *out = n;
    return st;
}

/* ---- normalization forms ---- */

typedef struct {
    utf8proc_int32_t *codes, *sorted;
    size_t count, capacity, sorted_capacity;
} code_buffer;

static int combining_class(utf8proc_int32_t code)
{
    if (code < 0x300 || mmi_unicode_is_inert((uint32_t)code)) return 0;
    return utf8proc_get_property(code)->combining_class;
}

/* Stable sort of a run of marks by combining class, the 55 values of which are below 256. */
static int sort_marks(mm_context *ctx, code_buffer *b, size_t from, size_t to)
{
    size_t starts[257] = {0}, n = to - from;
    utf8proc_int32_t *marks = b->codes + from;

    if (n > b->sorted_capacity) {
        utf8proc_int32_t *grown = mmi_alloc_array(ctx, n, sizeof *grown);
        if (!grown) return 1;
        mmi_free(b->sorted);
        b->sorted = grown;
        b->sorted_capacity = n;
    }
    for (size_t i = 0; i < n; i++) starts[combining_class(marks[i]) + 1]++;
    for (size_t i = 1; i < 257; i++) starts[i] += starts[i - 1];
    for (size_t i = 0; i < n; i++) b->sorted[starts[combining_class(marks[i])]++] = marks[i];
    memcpy(marks, b->sorted, n * sizeof *marks);
    return 0;
}

/* Canonical order (Unicode 3.11, D109). */
static int order_marks(mm_context *ctx, code_buffer *b)
{
    size_t i = 0;

    while (i < b->count) {
        size_t from = i;
        int last = 0, sorted = 1;
        for (; i < b->count; i++) {
            int class = combining_class(b->codes[i]);
            if (!class) break;
            if (class < last) sorted = 0;
            last = class;
        }
        if (!sorted && sort_marks(ctx, b, from, i)) return 1;
        if (i == from) i++;
    }
    return 0;
}

/* Takes no part in composition: what is younger than the tables, and U+11A7, the vowel before the first trailing
 * consonant, which utf8proc 2.8 drops behind a Hangul syllable as if it were consonant 0. */
static int separates(utf8proc_int32_t code) { return code == 0x11A7 || mmi_unicode_is_inert((uint32_t)code); }

/* Compose what stands between separators, and append all as UTF-8. */
static int flush_form(mm_context *ctx, code_buffer *b, int compose, mmi_text *out)
{
    size_t from = 0, to = 0;

    if (order_marks(ctx, b)) return 1;
    while (compose && from < b->count) {
        size_t end = from;
        utf8proc_ssize_t n;
        while (end < b->count && !separates(b->codes[end])) end++;
        n = utf8proc_normalize_utf32(b->codes + from, (utf8proc_ssize_t)(end - from), UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        memmove(b->codes + to, b->codes + from, (size_t)n * sizeof *b->codes);
        to += (size_t)n;
        from = end;
        while (from < b->count && separates(b->codes[from])) b->codes[to++] = b->codes[from++];
    }
    if (compose) b->count = to;
    for (size_t i = 0; i < b->count; i++) {
        char bytes[4];
        if (mmi_text_append(ctx, out, bytes, mmi_utf8_encode((uint32_t)b->codes[i], bytes))) return 1;
    }
    b->count = 0;
    return 0;
}

static int decompose(mm_context *ctx, code_buffer *b, uint32_t code, int compatible)
{
    utf8proc_int32_t parts[32]; /* the longest decomposition has 18 */
    utf8proc_ssize_t n = 1;
    int boundary = 0;

    parts[0] = (utf8proc_int32_t)code;
    if (!mmi_unicode_is_inert(code))
        n = utf8proc_decompose_char((utf8proc_int32_t)code, parts, 32,
                                    (utf8proc_option_t)(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | (compatible ? UTF8PROC_COMPAT : 0)), &boundary);
    if (n < 0 || n > 32) { /* cannot be, for scalar values */
        parts[0] = (utf8proc_int32_t)code;
        n = 1;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        if (mmi_grow(ctx, (void **)&b->codes, &b->capacity, b->count, sizeof *b->codes)) return 1;
        b->codes[b->count++] = parts[i];
    }
    return 0;
}

/* ASCII never combines with what stands before it, so an ASCII character begins a piece that is normalized alone. */
static mm_status run_form(mm_context *ctx, const step *s, const mmi_text *in, mmi_text *out)
{
    code_buffer b = {0};
    size_t i = 0;
    mm_status st = MM_E_NOMEM;

    while (i < in->size) {
        size_t plain = i;
        while (plain < in->size && (unsigned char)in->data[plain] < 0x80) plain++;
        if (plain == in->size || plain > i + 1) { /* keep the last one for the piece that follows */
            size_t copy = plain == in->size ? plain - i : plain - i - 1;
            if (mmi_text_append(ctx, out, in->data + i, copy)) goto cleanup;
            i += copy;
            if (i == in->size) break;
        }
        do {
            uint32_t code = 0;
            i += mmi_utf8_decode(in->data + i, in->size - i, &code);
            if (decompose(ctx, &b, code, s->compatible)) goto cleanup;
        } while (i < in->size && (unsigned char)in->data[i] >= 0x80);
        if (flush_form(ctx, &b, s->compose, out)) goto cleanup;
    }
    st = MM_OK;
cleanup:
    mmi_free(b.codes);
    mmi_free(b.sorted);
    return st;
}

/* ---- the other steps ---- */

static int append_code(mm_context *ctx, mmi_text *out, uint32_t code)
{
    char bytes[4];
    return mmi_text_append(ctx, out, bytes, mmi_utf8_encode(code, bytes));
}

enum { DROPPED = 0x110000 /* no code point */ };

/* SentencePiece's rules for machine translation. */
static uint32_t nmt(uint32_t c)
{
    if (c < 0x20) return c == '\t' || c == '\n' || c == '\f' || c == '\r' ? ' ' : c ? DROPPED : 0;
    if (c == 0x7F || c == 0x8F || c == 0x9F) return DROPPED;
    if (c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD) return ' ';
    return c;
}

/* Steps that look at one character at a time. */
static int map_character(mm_context *ctx, step_kind kind, uint32_t code, mmi_text *out)
{
    uint32_t small[2];
    size_t n;

    switch (kind) {
    case STEP_LOWERCASE:
        n = mmi_unicode_lower(code, small);
        return append_code(ctx, out, small[0]) || (n > 1 && append_code(ctx, out, small[1]));
    case STEP_STRIP_ACCENTS: return !mmi_unicode_is_mark(code) && append_code(ctx, out, code);
    case STEP_NMT:
        code = nmt(code);
        return code != DROPPED && append_code(ctx, out, code);
    case STEP_BERT_ACCENTS: return !mmi_unicode_is_bert_mark(code) && append_code(ctx, out, code);
    case STEP_BERT_CLEAN:
        if (mmi_unicode_is_bert_removed(code)) return 0;
        return append_code(ctx, out, mmi_unicode_is_space(code) ? ' ' : code);
    default: /* STEP_BERT_CHINESE */
        if (!mmi_unicode_is_bert_chinese(code)) return append_code(ctx, out, code);
        return mmi_text_append(ctx, out, " ", 1) || append_code(ctx, out, code) || mmi_text_append(ctx, out, " ", 1);
    }
}

static mm_status run_map(mm_context *ctx, step_kind kind, const mmi_text *in, mmi_text *out)
{
    size_t i = 0;

    while (i < in->size) {
        size_t from = i;
        uint32_t code = 0;
        /* printable ASCII in small letters passes all of them */
        while (i < in->size && in->data[i] >= ' ' && in->data[i] < 0x7F && !(kind == STEP_LOWERCASE && in->data[i] >= 'A' && in->data[i] <= 'Z')) i++;
        if (mmi_text_append(ctx, out, in->data + from, i - from)) return MM_E_NOMEM;
        if (i == in->size) break;
        i += mmi_utf8_decode(in->data + i, in->size - i, &code);
        if (map_character(ctx, kind, code, out)) return MM_E_NOMEM;
    }
    return MM_OK;
}

static mm_status run_strip(mm_context *ctx, const step *s, const mmi_text *in, mmi_text *out)
{
    size_t from = 0, to = 0;
    uint32_t code = 0;

    if (s->left)
        while (from < in->size) {
            size_t len = mmi_utf8_decode(in->data + from, in->size - from, &code);
            if (!mmi_unicode_is_space(code)) break;
            from += len;
        }
    if (!s->right)
        to = in->size;
    else
        for (size_t i = from; i < in->size;) {
            i += mmi_utf8_decode(in->data + i, in->size - i, &code);
            if (!mmi_unicode_is_space(code)) to = i;
        }
    if (to < from) to = from;
    return mmi_text_append(ctx, out, in->data ? in->data + from : "", to - from) ? MM_E_NOMEM : MM_OK;
}

static mm_status too_long(mm_context *ctx)
{
    return mmi_fail(ctx, MM_E_LIMIT, "the normalizer makes the text longer than %d bytes", (int)MAX_GROWTH);
}

static mm_status run_replace(mm_context *ctx, const step *s, const mmi_text *in, mmi_text *out, mmi_matcher *matcher)
{
    size_t kept = 0, start = 0, end = 0, len = s->search ? strlen(s->search) : 0, content = strlen(s->content);
    int found = 0;
    mm_status st = MM_OK;

    if (s->pattern) st = mmi_matcher_begin(ctx, matcher, in->data ? in->data : "", in->size);
    if (st) return st;
    for (;;) {
        if (s->pattern) {
            st = mmi_matcher_next(ctx, matcher, s->pattern, &start, &end, &found);
            if (st) return st;
        } else {
            const char *hit = len && in->size - kept >= len ? memmem(in->data + kept, in->size - kept, s->search, len) : NULL;
            found = hit != NULL;
            if (hit) {
                start = (size_t)(hit - in->data);
                end = start + len;
            }
        }
        if (!found) break;
        if (mmi_text_append(ctx, out, in->data + kept, start - kept) || mmi_text_append(ctx, out, s->content, content)) return MM_E_NOMEM;
        if (out->size > MAX_GROWTH) return too_long(ctx);
        kept = end;
    }
    return mmi_text_append(ctx, out, in->data ? in->data + kept : "", in->size - kept) ? MM_E_NOMEM : MM_OK;
}

static mm_status run_prepend(mm_context *ctx, const step *s, const mmi_text *in, mmi_text *out)
{
    if (in->size && mmi_text_append(ctx, out, s->content, strlen(s->content))) return MM_E_NOMEM;
    if (out->size > MAX_GROWTH) return too_long(ctx);
    return mmi_text_append(ctx, out, in->data ? in->data : "", in->size) ? MM_E_NOMEM : MM_OK;
}

mm_status mmi_normalizer_run(mm_context *ctx, const mmi_normalizer *n, mmi_text *text, mmi_text *spare, mmi_matcher *matcher)
{
    for (size_t i = 0; i < n->count; i++) {
        const step *s = &n->steps[i];
        mmi_text swap;
        mm_status st;

        spare->size = 0;
        switch (s->kind) {
        case STEP_FORM: st = run_form(ctx, s, text, spare); break;
        case STEP_STRIP: st = run_strip(ctx, s, text, spare); break;
        case STEP_REPLACE: st = run_replace(ctx, s, text, spare, matcher); break;
        case STEP_PREPEND: st = run_prepend(ctx, s, text, spare); break;
        case STEP_PRECOMPILED: st = mmi_charsmap_run(ctx, s->charsmap, text->data, text->size, spare) ? MM_E_NOMEM : MM_OK; break;
        default: st = run_map(ctx, s->kind, text, spare); break;
        }
        if (st) return st;
        swap = *text;
        *text = *spare;
        *spare = swap;
    }
    return MM_OK;
}
