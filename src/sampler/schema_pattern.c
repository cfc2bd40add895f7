/* SPDX-License-Identifier: MIT */
#include "schema_pattern.h"

#include <string.h>

enum { MAX_DEPTH = 64 };

typedef struct {
    mm_context *ctx;
    const char *all, *at, *end;
    mmi_text *out;
    int anchored_start, anchored_end, alternatives; /* of the whole expression */
} reader;

typedef struct {
    unsigned char ascii[128];
    mmi_text others; /* what of the set is beyond ASCII, as ranges of GBNF */
    int ascii_only;  /* if the set is negated, nothing beyond ASCII is in it */
    int negated;
} set;

static mm_status refuse(const reader *r, const char *what)
{
    return mmi_fail(r->ctx, MM_E_UNSUPPORTED, "the JSON schema's \"pattern\" \"%.200s\" has %s, which is not supported", r->all, what);
}

static mm_status malformed(const reader *r, const char *what)
{
    return mmi_fail(r->ctx, MM_E_FORMAT, "the JSON schema's \"pattern\" \"%.200s\" has %s", r->all, what);
}

static int next(const reader *r) { return r->at < r->end ? (unsigned char)*r->at : -1; }

static mm_status put(reader *r, const char *text) { return mmi_text_append(r->ctx, r->out, text, strlen(text)) ? MM_E_NOMEM : MM_OK; }

static mm_status put_character(reader *r, mmi_text *out, uint32_t code) { return mmi_text_format(r->ctx, out, "\\U%08X", (unsigned)code) ? MM_E_NOMEM : MM_OK; }

/* ---- sets ---- */

static int is_space(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static int is_digit(int c) { return c >= '0' && c <= '9'; }
static int is_word(int c) { return is_digit(c) || c == '_' || ((c | 32) >= 'a' && (c | 32) <= 'z'); }

static void add_class(set *s, int letter)
{
    for (int c = 0; c < 128; c++) {
        int lower = letter | 32, in = lower == 'd' ? is_digit(c) : lower == 's' ? is_space(c) : is_word(c);
        s->ascii[c] |= (unsigned char)(letter >= 'a' ? in : !in);
    }
    s->ascii_only = 1;
}

static mm_status add_range(reader *r, set *s, uint32_t low, uint32_t high)
{
    mm_status st = MM_OK;

    for (uint32_t c = low; c <= high && c < 128; c++) s->ascii[c] = 1;
    if (high < 128) return MM_OK;
    st = put_character(r, &s->others, low < 128 ? 128 : low);
    if (!st && mmi_text_append(r->ctx, &s->others, "-", 1)) st = MM_E_NOMEM;
    return st ? st : put_character(r, &s->others, high);
}

/* A set as it stands in a JSON string: unescaped where that is allowed, else escaped. */
static mm_status put_set(reader *r, set *s)
{
    static const char escaped[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    int outside = s->negated && !s->ascii_only; /* write what is not in it */
    size_t begun;
    int some;
    mm_status st = put(r, outside ? "([^\\\"\\\\\\x00-\\x1F" : "([");

    begun = r->out->size;
    for (int c = 0x20; c < 128 && !st; c++)
        if (c != '"' && c != '\\' && (s->ascii[c] != s->negated) != outside) st = put_character(r, r->out, (uint32_t)c);
    if (!st && s->others.size && (!s->negated || outside) && mmi_text_append(r->ctx, r->out, s->others.data, s->others.size)) st = MM_E_NOMEM;
    some = outside || r->out->size > begun;
    if (some && !st) st = put(r, "]");
    if (!some) r->out->size = begun - 1; /* the bracket */
    for (int c = 0; c < 128 && !st; c++) {
        const char *e = c ? strchr(escaped, c) : NULL;
        if ((c >= 0x20 && !e) || s->ascii[c] == s->negated || (s->negated && !e)) continue;
        st = put(r, some ? " | \"\\\\" : "\"\\\\");
        some = 1;
        if (st) break;
        if (!e) st = mmi_text_format(r->ctx, r->out, "u%04x\"", (unsigned)c) ? MM_E_NOMEM : MM_OK;
        else st = mmi_text_format(r->ctx, r->out, c == '"' || c == '\\' ? "\\%c\"" : "%c\"", letters[e - escaped]) ? MM_E_NOMEM : MM_OK;
    }
    if (!st && !some) st = malformed(r, "a set without characters");
    return st ? st : put(r, ")");
}

static mm_status read_hex(reader *r, int digits, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < digits; i++, r->at++) {
        int c = next(r), v = is_digit(c) ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (v < 0) return malformed(r, "an escape of too few hexadecimal digits");
        *out = *out << 4 | (uint32_t)v;
    }
    return *out >= 0xD800 && *out <= 0xDFFF ? refuse(r, "half a surrogate pair") : MM_OK;
}

/* What stands behind a backslash: a class (*letter) or a character. */
static mm_status read_escape(reader *r, int *letter, uint32_t *code)
{
    static const char names[] = "nrtfv", values[] = "\n\r\t\f\v";
    int c = next(r);
    const char *name = c > 0 ? strchr(names, c) : NULL;

    *letter = 0;
    if (c < 0) return malformed(r, "a backslash at its end");
    r->at++;
    if (strchr("dwsDWS", c)) {
        *letter = c;
    } else if (name) {
        *code = (uint32_t)values[name - names];
    } else if (c == 'u' || c == 'x') {
        return read_hex(r, c == 'u' ? 4 : 2, code);
    } else if (is_word(c) || c >= 128) {
        return refuse(r, "an escape of a letter or digit other than d w s D W S n r t f v u x");
    } else {
        *code = (uint32_t)c;
    }
    return MM_OK;
}

static mm_status read_character(reader *r, uint32_t *code)
{
    size_t n = mmi_utf8_decode(r->at, (size_t)(r->end - r->at), code);
    if (!n) return malformed(r, "malformed UTF-8, or a bracket that is not closed");
    r->at += n;
    return MM_OK;
}

static mm_status read_set(reader *r, set *s)
{
    mm_status st = MM_OK;

    if (next(r) == '^') {
        s->negated = 1;
        r->at++;
    }
    if (next(r) == ']') return refuse(r, "a bracket at the beginning of a set");
    while (!st && next(r) != ']') {
        uint32_t low = 0, high = 0;
        int letter = 0;

        if (next(r) == '[') return refuse(r, "a bracket inside a set");
        if (next(r) == '\\') {
            r->at++;
            st = read_escape(r, &letter, &low);
        } else {
            st = read_character(r, &low);
        }
        if (st) break;
        if (letter) {
            add_class(s, letter);
            if (next(r) == '-' && r->at + 1 < r->end && r->at[1] != ']') st = refuse(r, "a range that begins with a class");
            continue;
        }
        high = low;
        if (next(r) == '-' && r->at + 1 < r->end && r->at[1] != ']') {
            r->at++;
            if (next(r) == '\\') {
                r->at++;
                st = read_escape(r, &letter, &high);
            } else {
                st = read_character(r, &high);
            }
            if (!st && letter) st = refuse(r, "a range that ends with a class");
            if (!st && high < low) st = malformed(r, "a range that ends before it begins");
        }
        if (!st) st = add_range(r, s, low, high);
    }
    r->at++;
    return st;
}

/* ---- expressions ---- */

static mm_status read_quantifier(reader *r)
{
    const char *from = r->at;
    int c = next(r);
    mm_status st;

    if (c != '*' && c != '+' && c != '?' && c != '{') return MM_OK;
    r->at++;
    if (c == '{') {
        if (!is_digit(next(r))) return refuse(r, "a { without a number");
        while (is_digit(next(r))) r->at++;
        if (next(r) == ',') r->at++;
        while (is_digit(next(r))) r->at++;
        if (next(r) != '}') return malformed(r, "a { that is not closed");
        r->at++;
    }
    st = mmi_text_append(r->ctx, r->out, from, (size_t)(r->at - from)) ? MM_E_NOMEM : MM_OK;
    c = next(r);
    if (c == '?' || c == '+') return refuse(r, "a lazy or possessive repetition");
    return c == '*' || c == '{' ? malformed(r, "a repetition of a repetition") : st;
}

static mm_status read_alternatives(reader *r, int depth);

static mm_status read_group(reader *r, int depth)
{
    mm_status st;

    if (depth == MAX_DEPTH) return mmi_fail(r->ctx, MM_E_LIMIT, "the JSON schema's \"pattern\" nests groups more than %d deep", (int)MAX_DEPTH);
    if (next(r) == '?') {
        if (r->end - r->at < 2 || r->at[1] != ':') return refuse(r, "a group of another kind than (...) and (?:...)");
        r->at += 2;
    }
    if ((st = put(r, "(")) || (st = read_alternatives(r, depth + 1))) return st;
    if (next(r) != ')') return malformed(r, "a group that is not closed");
    r->at++;
    return put(r, ")");
}

static mm_status read_atom(reader *r, int depth)
{
    set s = {{0}, {0}, 0, 0};
    uint32_t code = 0;
    int c = next(r), letter = 0;
    mm_status st = MM_OK;

    if (c == '(') {
        r->at++;
        return read_group(r, depth);
    }
    if (c == '^') return refuse(r, "a ^ that does not stand at its beginning");
    if (c == '$') return refuse(r, "a $ that does not stand at its end");
    if (c == '*' || c == '+' || c == '?' || c == '{') return c == '{' ? refuse(r, "a { that repeats nothing") : malformed(r, "a repetition of nothing");
    if (c == '.') {
        r->at++;
        s.negated = s.ascii['\n'] = s.ascii['\r'] = 1;
        st = add_range(r, &s, 0x2028, 0x2029);
    } else if (c == '[') {
        r->at++;
        st = read_set(r, &s);
    } else if (c == '\\') {
        r->at++;
        st = read_escape(r, &letter, &code);
        if (letter) add_class(&s, letter);
        else if (!st) st = add_range(r, &s, code, code);
    } else {
        st = read_character(r, &code);
        if (!st) st = add_range(r, &s, code, code);
    }
    if (!st) st = put_set(r, &s);
    mmi_text_clear(&s.others);
    return st;
}

static mm_status read_alternatives(reader *r, int depth)
{
    mm_status st = MM_OK;

    while (!st && r->at < r->end && next(r) != ')') {
        if (next(r) == '|') {
            r->alternatives |= !depth;
            r->at++;
            st = put(r, "| ");
        } else if (next(r) == '$' && !depth && r->at + 1 == r->end) {
            r->anchored_end = 1;
            r->at++;
        } else {
            st = read_atom(r, depth);
            if (!st) st = read_quantifier(r);
            if (!st) st = put(r, " ");
        }
    }
    return st;
}

mm_status mmi_schema_pattern_write(mm_context *ctx, const char *regex, mmi_text *out)
{
    reader r = {ctx, regex, regex, regex + strlen(regex), out, 0, 0, 0};
    mm_status st;

    if (next(&r) == '^') {
        r.anchored_start = 1;
        r.at++;
    }
    st = put(&r, r.anchored_start ? "\"\\\"\" (" : "\"\\\"\" char* (");
    if (!st) st = read_alternatives(&r, 0);
    if (!st && r.at < r.end) st = malformed(&r, "a ) too many");
    if (!st && r.alternatives && (r.anchored_start || r.anchored_end)) st = refuse(&r, "an anchor beside alternatives (write ^(a|b)$)");
    return st ? st : put(&r, r.anchored_end ? ") \"\\\"\"" : ") char* \"\\\"\"");
}
