/* PCRE2 stays in this file.
 *
 * A search tries one position after the other with an anchored match, so that the match limit holds for each position
 * and the host can cancel in between. Characters that PCRE2 would class otherwise than Oniguruma are replaced in a copy
 * of the text by others of the same length (unicode_data.h).
 * SPDX-License-Identifier: MIT */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "pattern.h"

#include <pcre2.h>
#include <string.h>

#include "text.h"
#include "unicode_data.h"

enum {
    MAX_REGEX = 16384,      /* bytes; the longest published ones have 600 */
    MATCH_LIMIT = 10000000, /* PCRE2's own default, here whatever the build says */
    HEAP_LIMIT = 65536,     /* KiB, for the interpreter that serves what the JIT cannot */
    POLL = 4096             /* positions between two looks at the cancel flag */
};

/* \w as Oniguruma has it, without the brackets of a class; outside classes it takes six Latin-1 numbers as well. */
#define CLASS_WORD "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
#define WORD CLASS_WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

/* What PCRE2's allocations come from. Freeing needs no heap, so this may be gone by then. */
typedef struct {
    mmi_heap *heap;
    int failed;
} pcre_memory;

struct mmi_pattern {
    pcre2_code *code;
    char *where;
};

struct mmi_matcher {
    pcre2_match_data *data;
    pcre2_match_context *limits;
    pcre_memory memory;
    const char *text; /* the caller's, or `copy` */
    size_t n, at;
    size_t last_end; /* where the last match ended; SIZE_MAX before the first */
    char *copy;
    size_t copy_capacity;
};

static void *pcre_alloc(size_t size, void *memory)
{
    pcre_memory *m = memory;
    void *p = mmi_heap_alloc(m->heap, size);

    if (!p) m->failed = 1;
    return p;
}

static void pcre_free(void *ptr, void *memory)
{
    (void)memory;
    mmi_free(ptr);
}

static mm_status no_memory(mm_context *ctx) { return mmi_fail(ctx, MM_E_NOMEM, "out of memory: a regular expression"); }

/* The name in \p{...} at s (behind the p), with the braces and ^; its length, 0 when there is none. */
static size_t property_length(const char *s, size_t n)
{
    const char *close = n && *s == '{' ? memchr(s, '}', n) : NULL;
    return close ? (size_t)(close - s) + 1 : 0;
}

/* Write \p{...}: PCRE2 takes a bare script name for Script_Extensions, Oniguruma for Script. */
static int translate_property(mm_context *ctx, mmi_text *out, char p, const char *braced, size_t n)
{
    int negated = n > 2 && braced[1] == '^';
    const char *name = braced + 1 + negated;
    size_t len = n - 2 - (size_t)negated;
    const char *script = len > 2 && !memchr(name, ':', len) && !memchr(name, '=', len) ? "sc:" : "";

    return mmi_text_format(ctx, out, "\\%c{%s%s%.*s}", p, negated ? "^" : "", script, (int)len, name);
}

/* One escape, `at` on the character behind the backslash; moves `at` past it. */
static mm_status translate_escape(mm_context *ctx, const char *where, const char *s, size_t n, size_t *at, int in_class, mmi_text *out)
{
    char c = s[*at];
    size_t len;
    int failed;

    switch (c) {
    case 'p':
    case 'P':
        len = property_length(s + *at + 1, n - *at - 1);
        if (len < 3) return mmi_fail(ctx, MM_E_FORMAT, "%s: \\%c without {name} in a regular expression", where, c);
        failed = translate_property(ctx, out, c, s + *at + 1, len);
        *at += len + 1;
        return failed ? MM_E_NOMEM : MM_OK;
    case 'w': failed = in_class ? mmi_text_format(ctx, out, "%s", CLASS_WORD) : mmi_text_format(ctx, out, "[%s]", WORD); break;
    case 'W':
        if (in_class) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: \\W inside a class of a regular expression", where);
        failed = mmi_text_format(ctx, out, "[^%s]", WORD);
        break;
    case 'b':
        if (in_class)
            failed = mmi_text_append(ctx, out, "\\b", 2);
        else
            failed = mmi_text_format(ctx, out, "(?:(?<=[%s])(?![%s])|(?<![%s])(?=[%s]))", WORD, WORD, WORD, WORD);
        break;
    case 'B': failed = mmi_text_format(ctx, out, "(?:(?<=[%s])(?=[%s])|(?<![%s])(?![%s]))", WORD, WORD, WORD, WORD); break;
    case 'h':
    case 'H':
    case 'R':
    case 'X':
    case 'K':
    case 'G':
    case 'C':
    case 'g':
    case 'k':
    case 'y':
    case 'Y':
    case 'N':
    case 'O':
    case 'M':
    case 'c':
    case 'Q':
    case 'E': return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: \\%c in a regular expression", where, c);
    default:
        len = mmi_utf8_length((unsigned char)c);
        failed = mmi_text_append(ctx, out, "\\", 1) || mmi_text_append(ctx, out, s + *at, len);
        *at += len;
        return failed ? MM_E_NOMEM : MM_OK;
    }
    ++*at;
    return failed ? MM_E_NOMEM : MM_OK;
}

/* Rewrite Oniguruma's syntax (Ruby flavour) as PCRE2's; what has no counterpart is refused. */
static mm_status translate(mm_context *ctx, const char *where, const char *s, size_t n, mmi_text *out)
{
    size_t at = 0;
    int in_class = 0;
    mm_status st;

    while (at < n) {
        if (s[at] == '\\') {
            if (++at == n) return mmi_fail(ctx, MM_E_FORMAT, "%s: a regular expression ends with a backslash", where);
            st = translate_escape(ctx, where, s, n, &at, in_class, out);
            if (st) return st;
            continue;
        }
        if (in_class && s[at] == '[')
            return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: a class inside a class of a regular expression", where);
        if (in_class && s[at] == '&' && at + 1 < n && s[at + 1] == '&')
            return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: an intersection (&&) in a regular expression", where);
        /* {,n} and {n}+ mean something else to PCRE2 */
        if (!in_class && at + 1 < n && ((s[at] == '{' && s[at + 1] == ',') || (s[at] == '}' && s[at + 1] == '+')))
            return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: the quantifier %c%c in a regular expression", where, s[at], s[at + 1]);
        if (!in_class && s[at] == '(' && at + 1 < n && (s[at + 1] == '*' || s[at + 1] == '?')) {
            /* (*VERB) is PCRE2's alone and could switch UTF mode off; of (? the groups and flags that both read alike pass */
            size_t flags = s[at + 1] == '?' ? strspn(s + at + 2, "i") : 0;
            char after = s[at + 1] == '?' && at + 2 + flags < n ? s[at + 2 + flags] : '*';
            int look_behind = after == '<' && at + 3 < n && (s[at + 3] == '=' || s[at + 3] == '!');
            if (flags ? after != ':' && after != ')' : !look_behind && !strchr(":=!>", after))
                return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: the group (%c%c in a regular expression", where, s[at + 1],
                                after >= ' ' && after <= '~' ? after : '.');
        }
        if (s[at] == '[') {
            in_class = 1;
            if (mmi_text_append(ctx, out, "[", 1)) return MM_E_NOMEM;
            at++;
            if (at < n && s[at] == '^') {
                if (mmi_text_append(ctx, out, "^", 1)) return MM_E_NOMEM;
                at++;
            }
            if (at < n && s[at] == ']') return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: an empty class in a regular expression", where);
            continue;
        }
        if (s[at] == ']') in_class = 0;
        if (mmi_text_append(ctx, out, s + at, 1)) return MM_E_NOMEM;
        at++;
    }
    return MM_OK;
}

mm_status mmi_pattern_compile(mm_context *ctx, const char *where, const char *regex, mmi_pattern **out)
{
    mm_status st = MM_OK;
    size_t n = strlen(regex);
    mmi_pattern *p = NULL;
    mmi_text translated = {0};
    pcre_memory memory = {ctx->heap, 0};
    pcre2_general_context *general = NULL;
    pcre2_compile_context *compile = NULL;
    PCRE2_SIZE offset = 0;
    int error = 0;

    *out = NULL;
    if (n > MAX_REGEX)
        return mmi_fail(ctx, MM_E_LIMIT, "%s: a regular expression of %zu bytes, more than the %d allowed", where, n, (int)MAX_REGEX);
    if (mmi_utf8_valid(regex, n) < n) return mmi_fail(ctx, MM_E_FORMAT, "%s: a regular expression that is not UTF-8", where);
    st = translate(ctx, where, regex, n, &translated);
    if (st) goto cleanup;
    p = mmi_zalloc(ctx, sizeof *p);
    if (p) p->where = mmi_strdup(ctx, where);
    if (!p || !p->where) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    general = pcre2_general_context_create(pcre_alloc, pcre_free, &memory);
    compile = general ? pcre2_compile_context_create(general) : NULL;
    if (!compile) {
        st = no_memory(ctx);
        goto cleanup;
    }
    (void)pcre2_set_newline(compile, PCRE2_NEWLINE_LF);
    (void)pcre2_set_parens_nest_limit(compile, 100);
    p->code = pcre2_compile((PCRE2_SPTR)(translated.data ? translated.data : ""), translated.size,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, compile);
    if (!p->code) {
        PCRE2_UCHAR text[128] = "";
        if (memory.failed) {
            st = no_memory(ctx);
            goto cleanup;
        }
        (void)pcre2_get_error_message(error, text, sizeof text);
        st = mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: the regular expression %.200s: %s", where, regex, (const char *)text);
        goto cleanup;
    }
    (void)pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* where there is none the interpreter gives the same answers */
    if (memory.failed) {
        st = no_memory(ctx);
        goto cleanup;
    }
    *out = p;
    p = NULL;
cleanup:
    pcre2_compile_context_free(compile);
    pcre2_general_context_free(general);
    mmi_text_clear(&translated);
    mmi_pattern_destroy(p);
    return st;
}

void mmi_pattern_destroy(mmi_pattern *p)
{
    if (!p) return;
    pcre2_code_free(p->code);
    mmi_free(p->where);
    mmi_free(p);
}

mm_status mmi_matcher_create(mm_context *ctx, mmi_matcher **out)
{
    mm_status st = MM_OK;
    mmi_matcher *m = mmi_zalloc(ctx, sizeof *m);
    pcre2_general_context *general = NULL;

    *out = NULL;
    if (!m) return MM_E_NOMEM;
    m->memory.heap = ctx->heap;
    general = pcre2_general_context_create(pcre_alloc, pcre_free, &m->memory);
    if (general) {
        m->data = pcre2_match_data_create(1, general);
        m->limits = pcre2_match_context_create(general);
    }
    if (!m->data || !m->limits) {
        st = no_memory(ctx);
        goto cleanup;
    }
    (void)pcre2_set_match_limit(m->limits, MATCH_LIMIT);
    (void)pcre2_set_heap_limit(m->limits, HEAP_LIMIT);
    *out = m;
    m = NULL;
cleanup:
    pcre2_general_context_free(general);
    mmi_matcher_destroy(m);
    return st;
}

void mmi_matcher_destroy(mmi_matcher *m)
{
    if (!m) return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->limits);
    mmi_free(m->copy);
    mmi_free(m);
}

mm_status mmi_matcher_begin(mm_context *ctx, mmi_matcher *m, const char *text, size_t n)
{
    int copied = 0;

    m->text = text;
    m->n = n;
    m->at = 0;
    m->last_end = SIZE_MAX;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t code, to;

        len = 1;
        if ((unsigned char)text[i] < 0xE0) continue; /* nothing below U+0800 differs */
        len = mmi_utf8_decode(text + i, n - i, &code);
        to = mmi_unicode_stand_in(code);
        if (to == code) continue;
        if (!copied) {
            if (n > m->copy_capacity) {
                char *grown = mmi_alloc(ctx, n);
                if (!grown) return MM_E_NOMEM;
                mmi_free(m->copy);
                m->copy = grown;
                m->copy_capacity = n;
            }
            memcpy(m->copy, text, n);
            m->text = m->copy;
            copied = 1;
        }
        (void)mmi_utf8_encode(to, m->copy + i);
    }
    return MM_OK;
}

mm_status mmi_matcher_next(mm_context *ctx, mmi_matcher *m, const mmi_pattern *p, size_t *start, size_t *end, int *found)
{
    const PCRE2_SPTR subject = (PCRE2_SPTR)m->text;
    size_t tries = 0;
    mm_status st;

    *found = 0;
    while (m->at <= m->n) {
        int rc = pcre2_match(p->code, subject, m->n, m->at, PCRE2_NO_UTF_CHECK, m->data, m->limits);

        if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
            rc = pcre2_match(p->code, subject, m->n, m->at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, m->data, m->limits);
        if (rc >= 0) {
            const PCRE2_SIZE *place = pcre2_get_ovector_pointer(m->data);
            if (place[1] > m->at || m->at != m->last_end) {
                *start = m->at;
                *end = m->last_end = place[1];
                m->at = place[1];
                *found = 1;
                return MM_OK;
            }
        } else if (rc == PCRE2_ERROR_NOMEMORY) {
            return no_memory(ctx);
        } else if (rc != PCRE2_ERROR_NOMATCH) {
            return mmi_fail(ctx, MM_E_LIMIT, "%s: the regular expression needs too many steps at byte %zu of the text", p->where, m->at);
        }
        if (m->at == m->n) break;
        m->at += mmi_utf8_length(subject[m->at]);
        if (++tries % POLL == 0 && (st = mmi_check_cancel(ctx))) return st;
    }
    m->at = m->n + 1;
    return MM_OK;
}
