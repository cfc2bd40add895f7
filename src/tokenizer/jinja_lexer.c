/* SPDX-License-Identifier: MIT */
#include "jinja_lexer.h"

#include <string.h>

#include "jinja_string.h"

typedef mmi_jinja_lexer lexer;
typedef mmi_jinja_token token;

int mmi_jinja_fail_at(lexer *p, uint32_t line, const char *what)
{
    p->run.line = line;
    return mmi_jinja_fail(&p->run, MM_E_FORMAT, "%s", what);
}

static void move_to(lexer *p, size_t to)
{
    for (; p->at < to; p->at++) p->line += p->source[p->at] == '\n';
}

static int looking_at(const lexer *p, size_t at, const char *text)
{
    size_t n = strlen(text);
    return n <= p->size - at && memcmp(p->source + at, text, n) == 0;
}

static size_t skip_space(const lexer *p, size_t at)
{
    uint32_t code;
    size_t len;

    while (at < p->size && (len = mmi_utf8_decode(p->source + at, p->size - at, &code)) && mmi_jinja_is_space(code)) at += len;
    return at;
}

static size_t strip_end(const lexer *p, size_t begin, size_t end)
{
    while (end > begin) {
        size_t last = end - 1;
        uint32_t code;
        while (last > begin && ((unsigned char)p->source[last] & 0xC0) == 0x80) last--;
        if (!mmi_utf8_decode(p->source + last, end - last, &code) || !mmi_jinja_is_space(code)) break;
        end = last;
    }
    return end;
}

/* The end of the data before a tag: `-` strips all white space, a statement or comment that is first in its line its indent. */
static size_t data_end(const lexer *p, size_t begin, size_t tag, char sign, int is_print)
{
    size_t line_begin = tag, end;

    if (sign == '-') return strip_end(p, begin, tag);
    if (sign == '+' || is_print) return tag;
    while (line_begin > begin && p->source[line_begin - 1] != '\n') line_begin--;
    if (line_begin == begin && begin > 0 && p->source[begin - 1] != '\n') return tag;
    end = strip_end(p, line_begin, tag);
    return end == line_begin ? end : tag;
}

/* Behind `name` with the end of its tag, when that stands at `at` (behind "{%" and its sign); 0 otherwise. */
static size_t match_bare_tag(const lexer *p, size_t at, const char *name, int trim)
{
    at = skip_space(p, at);
    if (!looking_at(p, at, name)) return 0;
    at = skip_space(p, at + strlen(name));
    if (looking_at(p, at, "-%}")) return skip_space(p, at + 3);
    if (trim && looking_at(p, at, "+%}")) return at + 3;
    if (!looking_at(p, at, "%}")) return 0;
    at += 2;
    return trim && looking_at(p, at, "\n") ? at + 1 : at;
}

static char sign_at(const lexer *p, size_t at)
{
    return at < p->size && (p->source[at] == '-' || p->source[at] == '+') ? p->source[at] : 0;
}

static void set_data(lexer *p, token *t, size_t begin, size_t end)
{
    t->kind = MMI_TOKEN_DATA;
    t->line = p->line;
    t->text = p->source + begin;
    t->size = end - begin;
}

/* From behind {% raw %} to behind {% endraw %}. */
static int lex_raw(lexer *p, token *t)
{
    size_t begin = p->at;

    for (size_t at = begin; at + 1 < p->size; at++) {
        char sign;
        size_t after;

        if (p->source[at] != '{' || p->source[at + 1] != '%') continue;
        sign = sign_at(p, at + 2);
        after = match_bare_tag(p, at + (sign ? 3 : 2), "endraw", 1);
        if (!after) continue;
        set_data(p, t, begin, data_end(p, begin, at, sign, 0));
        move_to(p, after);
        return 0;
    }
    return mmi_jinja_fail_at(p, p->line, "{% raw %} without {% endraw %}");
}

static int skip_comment(lexer *p, size_t begin)
{
    for (size_t at = begin; at + 1 < p->size; at++) {
        char before = at > begin ? p->source[at - 1] : 0;
        if (p->source[at] != '#' || p->source[at + 1] != '}') continue;
        at += 2;
        if (before == '-')
            at = skip_space(p, at);
        else if (before != '+' && looking_at(p, at, "\n"))
            at++;
        move_to(p, at);
        return 0;
    }
    return mmi_jinja_fail_at(p, p->line, "a comment without #}");
}

static int lex_data(lexer *p, token *t)
{
    for (;;) {
        size_t tag = p->at, end, after;
        char kind, sign;

        for (; tag < p->size; tag++)
            if (p->source[tag] == '{' && tag + 1 < p->size && strchr("%{#", p->source[tag + 1]) && p->source[tag + 1]) break;
        if (tag >= p->size) {
            t->kind = MMI_TOKEN_EOF;
            t->line = p->line;
            if (p->at == p->size) return 0;
            set_data(p, t, p->at, p->size);
            move_to(p, p->size);
            return 0;
        }
        kind = p->source[tag + 1];
        sign = sign_at(p, tag + 2);
        end = data_end(p, p->at, tag, sign, kind == '{');
        if (end > p->at) {
            set_data(p, t, p->at, end);
            move_to(p, tag);
            return 0;
        }
        move_to(p, tag);
        after = tag + (sign ? 3 : 2);
        if (kind == '#') {
            if (skip_comment(p, after)) return 1;
            continue;
        }
        if (kind == '%') {
            size_t raw = match_bare_tag(p, after, "raw", 0);
            if (raw) {
                move_to(p, raw);
                if (lex_raw(p, t)) return 1;
                if (t->size) return 0;
                continue;
            }
        }
        t->kind = kind == '{' ? MMI_TOKEN_PRINT_BEGIN : MMI_TOKEN_BLOCK_BEGIN;
        t->line = p->line;
        p->mode = kind == '{' ? MMI_LEX_PRINT : MMI_LEX_BLOCK;
        p->open = 0;
        move_to(p, after);
        return 0;
    }
}

/* The end of the tag at p->at, 0 when there is none. */
static size_t match_tag_end(const lexer *p)
{
    if (p->open) return 0; /* {{ {'a': {}} }}: within brackets }} is two of them */
    if (p->mode == MMI_LEX_PRINT) {
        if (looking_at(p, p->at, "-}}")) return skip_space(p, p->at + 3);
        return looking_at(p, p->at, "}}") ? p->at + 2 : 0;
    }
    if (looking_at(p, p->at, "-%}")) return skip_space(p, p->at + 3);
    if (looking_at(p, p->at, "+%}")) return p->at + 3;
    if (!looking_at(p, p->at, "%}")) return 0;
    return looking_at(p, p->at + 2, "\n") ? p->at + 3 : p->at + 2;
}

static int is_digit(char c) { return c >= '0' && c <= '9'; }
static int is_name_char(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c); }

static int digit_of(char c)
{
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 99;
}

/* Behind digits of `base`, which single underscores may separate. */
static size_t skip_digits(const lexer *p, size_t at, int base)
{
    while (at < p->size && (digit_of(p->source[at]) < base || (p->source[at] == '_' && at + 1 < p->size &&
                                                               digit_of(p->source[at + 1]) < base && digit_of(p->source[at - 1]) < 16)))
        at++;
    return at;
}

static int lex_float(lexer *p, token *t, size_t end)
{
    char *digits = mmi_jinja_alloc(&p->run, end - p->at, 1);
    size_t n = 0;
    double real;

    if (!digits) return 1;
    for (size_t i = p->at; i < end; i++)
        if (p->source[i] != '_') digits[n++] = p->source[i];
    if (mmi_jinja_read_double(&p->run, digits, n, &real)) return 1;
    t->kind = MMI_TOKEN_FLOAT;
    t->value = mmi_jinja_float(real);
    move_to(p, end);
    return 0;
}

static int lex_number(lexer *p, token *t)
{
    size_t at = p->at, end = skip_digits(p, at, 10), fraction = end, exponent;
    int base = 10;
    int64_t number = 0;

    if (!(at > 0 && p->source[at - 1] == '.')) { /* x.1.2 is two subscripts */
        if (fraction + 1 < p->size && p->source[fraction] == '.' && is_digit(p->source[fraction + 1]))
            fraction = skip_digits(p, fraction + 1, 10);
        exponent = fraction;
        if (exponent < p->size && (p->source[exponent] == 'e' || p->source[exponent] == 'E')) {
            exponent++;
            if (sign_at(p, exponent)) exponent++;
            if (exponent < p->size && is_digit(p->source[exponent])) fraction = skip_digits(p, exponent, 10);
        }
        if (fraction > end) return lex_float(p, t, fraction);
    }
    if (p->source[at] == '0' && at + 1 < p->size) {
        char c = p->source[at + 1];
        base = c == 'x' || c == 'X' ? 16 : c == 'o' || c == 'O' ? 8 : c == 'b' || c == 'B' ? 2 : 10;
        if (base != 10) {
            at += 2;
            end = skip_digits(p, at, base);
            if (end == at) return mmi_jinja_fail_at(p, p->line, "a number without digits");
        }
    }
    if (base == 10 && p->source[at] == '0')
        for (size_t i = at; i < end; i++)
            if (p->source[i] != '0' && p->source[i] != '_') return mmi_jinja_fail_at(p, p->line, "a number that begins with 0");
    for (size_t i = at; i < end; i++) {
        if (p->source[i] == '_') continue;
        if (__builtin_mul_overflow(number, (int64_t)base, &number) ||
            __builtin_add_overflow(number, (int64_t)digit_of(p->source[i]), &number)) {
            p->run.line = p->line;
            return mmi_jinja_fail(&p->run, MM_E_LIMIT, "an integer that does not fit in 64 bits");
        }
    }
    t->kind = MMI_TOKEN_INT;
    t->value = mmi_jinja_int(number);
    move_to(p, end);
    return 0;
}

/* The code of \xhh, \uhhhh, \Uhhhhhhhh or \ooo at s[0..n), behind the backslash; *used bytes. Nonzero: malformed. */
static int escape_code(const char *s, size_t n, uint32_t *code, size_t *used)
{
    size_t digits = s[0] == 'x' ? 2 : s[0] == 'u' ? 4 : s[0] == 'U' ? 8 : 0;

    *code = 0;
    if (!digits) {
        for (*used = 0; *used < 3 && *used < n && s[*used] >= '0' && s[*used] <= '7'; ++*used)
            *code = *code * 8 + (uint32_t)(s[*used] - '0');
        return 0;
    }
    if (n < digits + 1) return 1;
    for (size_t i = 1; i <= digits; i++) {
        if (digit_of(s[i]) > 15) return 1;
        *code = *code * 16 + (uint32_t)digit_of(s[i]);
    }
    *used = digits + 1;
    return *code > 0x10FFFF || (*code >= 0xD800 && *code < 0xE000);
}

static int unescape(lexer *p, const char *s, size_t n, mmi_jinja_text *text)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";

    for (size_t i = 0; i < n; i++) {
        char bytes[4];
        const char *simple;
        uint32_t code;
        size_t used;

        if (s[i] != '\\' || i + 1 == n) {
            if (mmi_jinja_text_append(&p->run, text, s + i, 1)) return 1;
            continue;
        }
        i++;
        simple = s[i] ? strchr(from, s[i]) : NULL;
        if (s[i] == '\n') continue; /* a line that goes on */
        if (simple) {
            if (mmi_jinja_text_append(&p->run, text, to + (simple - from), 1)) return 1;
        } else if (s[i] == 'x' || s[i] == 'u' || s[i] == 'U' || (s[i] >= '0' && s[i] <= '7')) {
            if (escape_code(s + i, n - i, &code, &used)) return mmi_jinja_fail_at(p, p->line, "a malformed escape, or a surrogate, in a string");
            if (mmi_jinja_text_append(&p->run, text, bytes, mmi_utf8_encode(code, bytes))) return 1;
            i += used - 1;
        } else if (s[i] == 'N') {
            return mmi_jinja_fail_at(p, p->line, "\\N{...} in a string is not supported");
        } else if (mmi_jinja_text_append(&p->run, text, s + i - 1, 2)) {
            return 1;
        }
    }
    return 0;
}

static int lex_string(lexer *p, token *t)
{
    size_t end = p->at + 1;
    int escapes = 0;
    mmi_jinja_text text = {0};

    while (end < p->size && p->source[end] != p->source[p->at]) {
        escapes |= p->source[end] == '\\';
        end += p->source[end] == '\\' ? 2 : 1;
    }
    if (end >= p->size) return mmi_jinja_fail_at(p, p->line, "a string without its closing quote");
    t->kind = MMI_TOKEN_STRING;
    if (!escapes) {
        if (mmi_jinja_string_wrap(&p->run, p->source + p->at + 1, end - p->at - 1, &t->value)) return 1;
    } else if (unescape(p, p->source + p->at + 1, end - p->at - 1, &text) || mmi_jinja_string_of_text(&p->run, &text, &t->value)) {
        return 1;
    }
    move_to(p, end + 1);
    return 0;
}

static int lex_operator(lexer *p, token *t)
{
    static const struct {
        char text[3];
        mmi_jinja_operator code;
    } twos[] = {{"//", MMI_OP_FLOOR_DIVIDE}, {"**", MMI_OP_POWER}, {"==", MMI_OP_EQ}, {"!=", MMI_OP_NE}, {">=", MMI_OP_GE}, {"<=", MMI_OP_LE}};
    char c = p->source[p->at];

    t->kind = MMI_TOKEN_OPERATOR;
    for (size_t i = 0; i < sizeof twos / sizeof *twos; i++)
        if (looking_at(p, p->at, twos[i].text)) {
            t->op = (int)twos[i].code;
            p->at += 2;
            return 0;
        }
    if (!c || !strchr("+-/*%~[](){}><=.:|,;", c)) return mmi_jinja_fail_at(p, p->line, "a character that no expression has");
    t->op = c;
    p->at++;
    if (c == '(' || c == '[' || c == '{') {
        if (p->open == MMI_JINJA_MAX_NESTING) {
            p->run.line = p->line;
            return mmi_jinja_fail(&p->run, MM_E_LIMIT, "brackets are nested more than %d levels deep", MMI_JINJA_MAX_NESTING);
        }
        p->closers[p->open++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
        if (!p->open || p->closers[--p->open] != c) return mmi_jinja_fail_at(p, p->line, "a closing bracket that closes none");
    }
    return 0;
}

int mmi_jinja_lex(lexer *p, token *t)
{
    size_t end;

    memset(t, 0, sizeof *t);
    if (p->mode == MMI_LEX_DATA) return lex_data(p, t);
    for (;;) {
        end = match_tag_end(p);
        if (end) break;
        end = skip_space(p, p->at);
        if (end == p->at) break;
        move_to(p, end);
    }
    t->line = p->line;
    if (p->at == p->size) return 0; /* MMI_TOKEN_EOF */
    if (end > p->at) {
        t->kind = p->mode == MMI_LEX_PRINT ? MMI_TOKEN_PRINT_END : MMI_TOKEN_BLOCK_END;
        p->mode = MMI_LEX_DATA;
        move_to(p, end);
        return 0;
    }
    if (is_digit(p->source[p->at])) return lex_number(p, t);
    if (p->source[p->at] == '"' || p->source[p->at] == '\'') return lex_string(p, t);
    if (!is_name_char(p->source[p->at])) return lex_operator(p, t);
    t->kind = MMI_TOKEN_NAME;
    t->text = p->source + p->at;
    while (p->at < p->size && is_name_char(p->source[p->at])) p->at++;
    t->size = (size_t)(p->source + p->at - t->text);
    return 0;
}

int mmi_jinja_lexer_begin(lexer *p, const char *text, size_t n)
{
    char *copy = mmi_jinja_alloc(&p->run, n, 1);

    if (!copy) return 1;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\r' && i + 1 < n && text[i + 1] == '\n') continue;
        copy[p->size++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (p->size && copy[p->size - 1] == '\n') p->size--;
    p->source = copy;
    p->line = 1;
    return 0;
}
