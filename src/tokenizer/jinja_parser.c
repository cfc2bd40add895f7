/* SPDX-License-Identifier: MIT */
#include "jinja_parser.h"

#include <string.h>

#include "hash_map.h"
#include "jinja_filter.h"
#include "jinja_string.h"

typedef mmi_jinja_node node;

typedef enum {
    T_EOF,
    T_DATA,
    T_PRINT_BEGIN,
    T_PRINT_END,
    T_BLOCK_BEGIN,
    T_BLOCK_END,
    T_NAME,
    T_STRING,
    T_INT,
    T_FLOAT,
    T_OPERATOR
} token_kind;

typedef enum { /* single characters stand for themselves */
               OP_FLOOR_DIVIDE = 256,
               OP_POWER,
               OP_EQ,
               OP_NE,
               OP_GE,
               OP_LE
} operator_code;

typedef struct {
    token_kind kind;
    int op;
    uint32_t line;
    const char *text; /* of a name or data, as in the source */
    size_t size;
    mmi_jinja_value value; /* of a literal */
} token;

typedef struct {
    mmi_jinja_run run; /* its arena becomes the program's */
    const char *source;
    size_t size, at;
    uint32_t line;
    enum { IN_DATA, IN_PRINT, IN_BLOCK } mode;
    char closers[MMI_JINJA_MAX_NESTING]; /* that the open brackets of this tag wait for */
    int open;
    token current, ahead;
    int has_ahead;
    int depth, loops;
    size_t nodes;
    mmi_hash_map name_map;
    const mmi_jinja_string **names;
    size_t name_count, name_capacity;
} parser;

/* One list under construction. */
typedef struct {
    node *first, **end;
    uint32_t count;
} node_list;

static int fail_at(parser *p, uint32_t line, const char *what)
{
    p->run.line = line;
    return mmi_jinja_fail(&p->run, MM_E_FORMAT, "%s", what);
}

/* ---- lexer ---- */

static void move_to(parser *p, size_t to)
{
    for (; p->at < to; p->at++) p->line += p->source[p->at] == '\n';
}

static int looking_at(const parser *p, size_t at, const char *text)
{
    size_t n = strlen(text);
    return n <= p->size - at && memcmp(p->source + at, text, n) == 0;
}

static size_t skip_space(const parser *p, size_t at)
{
    uint32_t code;
    size_t len;

    while (at < p->size && (len = mmi_utf8_decode(p->source + at, p->size - at, &code)) && mmi_jinja_is_space(code)) at += len;
    return at;
}

static size_t strip_end(const parser *p, size_t begin, size_t end)
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
static size_t data_end(const parser *p, size_t begin, size_t tag, char sign, int is_print)
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
static size_t match_bare_tag(const parser *p, size_t at, const char *name, int trim)
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

static char sign_at(const parser *p, size_t at)
{
    return at < p->size && (p->source[at] == '-' || p->source[at] == '+') ? p->source[at] : 0;
}

static void set_data(parser *p, token *t, size_t begin, size_t end)
{
    t->kind = T_DATA;
    t->line = p->line;
    t->text = p->source + begin;
    t->size = end - begin;
}

/* From behind {% raw %} to behind {% endraw %}. */
static int lex_raw(parser *p, token *t)
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
    return fail_at(p, p->line, "{% raw %} without {% endraw %}");
}

static int skip_comment(parser *p, size_t begin)
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
    return fail_at(p, p->line, "a comment without #}");
}

static int lex_data(parser *p, token *t)
{
    for (;;) {
        size_t tag = p->at, end, after;
        char kind, sign;

        for (; tag < p->size; tag++)
            if (p->source[tag] == '{' && tag + 1 < p->size && strchr("%{#", p->source[tag + 1]) && p->source[tag + 1]) break;
        if (tag >= p->size) {
            t->kind = T_EOF;
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
        t->kind = kind == '{' ? T_PRINT_BEGIN : T_BLOCK_BEGIN;
        t->line = p->line;
        p->mode = kind == '{' ? IN_PRINT : IN_BLOCK;
        p->open = 0;
        move_to(p, after);
        return 0;
    }
}

/* The end of the tag at p->at, 0 when there is none. */
static size_t match_tag_end(const parser *p)
{
    if (p->open) return 0; /* {{ {'a': {}} }}: within brackets }} is two of them */
    if (p->mode == IN_PRINT) {
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
static size_t skip_digits(const parser *p, size_t at, int base)
{
    while (at < p->size && (digit_of(p->source[at]) < base || (p->source[at] == '_' && at + 1 < p->size &&
                                                               digit_of(p->source[at + 1]) < base && digit_of(p->source[at - 1]) < 16)))
        at++;
    return at;
}

static int lex_float(parser *p, token *t, size_t end)
{
    char *digits = mmi_jinja_alloc(&p->run, end - p->at, 1);
    size_t n = 0;
    double real;

    if (!digits) return 1;
    for (size_t i = p->at; i < end; i++)
        if (p->source[i] != '_') digits[n++] = p->source[i];
    if (mmi_jinja_read_double(&p->run, digits, n, &real)) return 1;
    t->kind = T_FLOAT;
    t->value = mmi_jinja_float(real);
    move_to(p, end);
    return 0;
}

static int lex_number(parser *p, token *t)
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
            if (end == at) return fail_at(p, p->line, "a number without digits");
        }
    }
    if (base == 10 && p->source[at] == '0')
        for (size_t i = at; i < end; i++)
            if (p->source[i] != '0' && p->source[i] != '_') return fail_at(p, p->line, "a number that begins with 0");
    for (size_t i = at; i < end; i++) {
        if (p->source[i] == '_') continue;
        if (__builtin_mul_overflow(number, (int64_t)base, &number) ||
            __builtin_add_overflow(number, (int64_t)digit_of(p->source[i]), &number)) {
            p->run.line = p->line;
            return mmi_jinja_fail(&p->run, MM_E_LIMIT, "an integer that does not fit in 64 bits");
        }
    }
    t->kind = T_INT;
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

static int unescape(parser *p, const char *s, size_t n, mmi_jinja_text *text)
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
            if (escape_code(s + i, n - i, &code, &used)) return fail_at(p, p->line, "a malformed escape, or a surrogate, in a string");
            if (mmi_jinja_text_append(&p->run, text, bytes, mmi_utf8_encode(code, bytes))) return 1;
            i += used - 1;
        } else if (s[i] == 'N') {
            return fail_at(p, p->line, "\\N{...} in a string is not supported");
        } else if (mmi_jinja_text_append(&p->run, text, s + i - 1, 2)) {
            return 1;
        }
    }
    return 0;
}

static int lex_string(parser *p, token *t)
{
    size_t end = p->at + 1;
    int escapes = 0;
    mmi_jinja_text text = {0};

    while (end < p->size && p->source[end] != p->source[p->at]) {
        escapes |= p->source[end] == '\\';
        end += p->source[end] == '\\' ? 2 : 1;
    }
    if (end >= p->size) return fail_at(p, p->line, "a string without its closing quote");
    t->kind = T_STRING;
    if (!escapes) {
        if (mmi_jinja_string_wrap(&p->run, p->source + p->at + 1, end - p->at - 1, &t->value)) return 1;
    } else if (unescape(p, p->source + p->at + 1, end - p->at - 1, &text) || mmi_jinja_string_of_text(&p->run, &text, &t->value)) {
        return 1;
    }
    move_to(p, end + 1);
    return 0;
}

static int lex_operator(parser *p, token *t)
{
    static const struct {
        char text[3];
        operator_code code;
    } twos[] = {{"//", OP_FLOOR_DIVIDE}, {"**", OP_POWER}, {"==", OP_EQ}, {"!=", OP_NE}, {">=", OP_GE}, {"<=", OP_LE}};
    char c = p->source[p->at];

    t->kind = T_OPERATOR;
    for (size_t i = 0; i < sizeof twos / sizeof *twos; i++)
        if (looking_at(p, p->at, twos[i].text)) {
            t->op = (int)twos[i].code;
            p->at += 2;
            return 0;
        }
    if (!c || !strchr("+-/*%~[](){}><=.:|,;", c)) return fail_at(p, p->line, "a character that no expression has");
    t->op = c;
    p->at++;
    if (c == '(' || c == '[' || c == '{') {
        if (p->open == MMI_JINJA_MAX_NESTING) {
            p->run.line = p->line;
            return mmi_jinja_fail(&p->run, MM_E_LIMIT, "brackets are nested more than %d levels deep", MMI_JINJA_MAX_NESTING);
        }
        p->closers[p->open++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
        if (!p->open || p->closers[--p->open] != c) return fail_at(p, p->line, "a closing bracket that closes none");
    }
    return 0;
}

static int lex(parser *p, token *t)
{
    size_t end;

    memset(t, 0, sizeof *t);
    if (p->mode == IN_DATA) return lex_data(p, t);
    for (;;) {
        end = match_tag_end(p);
        if (end) break;
        end = skip_space(p, p->at);
        if (end == p->at) break;
        move_to(p, end);
    }
    t->line = p->line;
    if (p->at == p->size) return 0; /* T_EOF */
    if (end > p->at) {
        t->kind = p->mode == IN_PRINT ? T_PRINT_END : T_BLOCK_END;
        p->mode = IN_DATA;
        move_to(p, end);
        return 0;
    }
    if (is_digit(p->source[p->at])) return lex_number(p, t);
    if (p->source[p->at] == '"' || p->source[p->at] == '\'') return lex_string(p, t);
    if (!is_name_char(p->source[p->at])) return lex_operator(p, t);
    t->kind = T_NAME;
    t->text = p->source + p->at;
    while (p->at < p->size && is_name_char(p->source[p->at])) p->at++;
    t->size = (size_t)(p->source + p->at - t->text);
    return 0;
}

/* ---- tokens as the parser sees them ---- */

static int advance(parser *p)
{
    if (p->has_ahead) {
        p->current = p->ahead;
        p->has_ahead = 0;
        return 0;
    }
    return lex(p, &p->current);
}

static int is_name_token(const token *t, const char *name)
{
    return t->kind == T_NAME && strlen(name) == t->size && memcmp(name, t->text, t->size) == 0;
}

static int at_name(const parser *p, const char *name) { return is_name_token(&p->current, name); }
static int at_op(const parser *p, int op) { return p->current.kind == T_OPERATOR && p->current.op == op; }

/* Whether the next token but one is `op` (or, with op 0, the name). Nonzero on failure. */
static int look_ahead(parser *p, int op, const char *name, int *out)
{
    if (!p->has_ahead) {
        if (lex(p, &p->ahead)) return 1;
        p->has_ahead = 1;
    }
    *out = op ? p->ahead.kind == T_OPERATOR && p->ahead.op == op : is_name_token(&p->ahead, name);
    return 0;
}

static int unexpected(parser *p, const char *expected)
{
    static const char *const kinds[] = {
        "the end of the template", "text", "{{", "}}", "{%", "%}", "", "a string", "an integer", "a number", ""};
    const token *t = &p->current;

    p->run.line = t->line;
    if (t->kind == T_NAME)
        return mmi_jinja_fail(&p->run, MM_E_FORMAT, "'%.*s' stands where %s is expected", (int)(t->size < 60 ? t->size : 60), t->text,
                              expected);
    if (t->kind == T_OPERATOR && t->op < 256)
        return mmi_jinja_fail(&p->run, MM_E_FORMAT, "'%c' stands where %s is expected", t->op, expected);
    return mmi_jinja_fail(&p->run, MM_E_FORMAT, "%s stands where %s is expected", t->kind == T_OPERATOR ? "an operator" : kinds[t->kind],
                          expected);
}

static int expect_op(parser *p, char op)
{
    char expected[4] = {'\'', op, '\'', 0};
    return at_op(p, op) ? advance(p) : unexpected(p, expected);
}

static int expect_block_end(parser *p) { return p->current.kind == T_BLOCK_END ? advance(p) : unexpected(p, "%}"); }

/* ---- nodes ---- */

static node *make(parser *p, mmi_jinja_node_kind kind, uint32_t line)
{
    node *n;

    if (p->nodes++ == MMI_JINJA_MAX_NODES) {
        p->run.line = line;
        (void)mmi_jinja_fail(&p->run, MM_E_LIMIT, "the template has more than %d parts", MMI_JINJA_MAX_NODES);
        return NULL;
    }
    n = mmi_jinja_alloc(&p->run, 1, sizeof *n);
    if (!n) return NULL;
    memset(n, 0, sizeof *n);
    n->kind = kind;
    n->line = line;
    return n;
}

/* Count `child` (NULL allowed) into the height of its parent. */
static int lift(parser *p, node *parent, const node *child)
{
    if (!child || child->height < parent->height) return 0;
    parent->height = child->height + 1;
    if (parent->height <= MMI_JINJA_MAX_HEIGHT) return 0;
    p->run.line = parent->line;
    return mmi_jinja_fail(&p->run, MM_E_LIMIT, "an expression or block has more than %d levels", MMI_JINJA_MAX_HEIGHT);
}

static int lift_list(parser *p, node *parent, const node *list)
{
    for (; list; list = list->next)
        if (lift(p, parent, list)) return 1;
    return 0;
}

static void add_node(node_list *list, node *n)
{
    if (!list->end) list->end = &list->first;
    *list->end = n;
    list->end = &n->next;
    list->count++;
}

static int enter(parser *p)
{
    if (++p->depth <= MMI_JINJA_MAX_NESTING) return 0;
    p->run.line = p->current.line;
    return mmi_jinja_fail(&p->run, MM_E_LIMIT, "the template is nested more than %d levels deep", MMI_JINJA_MAX_NESTING);
}

static node *make_unary(parser *p, mmi_jinja_node_kind kind, uint32_t line, node *a)
{
    node *n = make(p, kind, line);
    if (!n) return NULL;
    n->a = a;
    return lift(p, n, a) ? NULL : n;
}

static node *make_binary(parser *p, mmi_jinja_node_kind kind, uint32_t line, node *a, node *b)
{
    node *n = make_unary(p, kind, line, a);
    if (!n) return NULL;
    n->b = b;
    return lift(p, n, b) ? NULL : n;
}

static int set_list(parser *p, node *n, const node_list *list)
{
    n->list = list->first;
    n->count = list->count;
    return lift_list(p, n, list->first);
}

static int intern(parser *p, const char *text, size_t size, uint32_t *out)
{
    int64_t index;
    mmi_jinja_value s;

    if (mmi_hash_map_get(&p->name_map, text, size, &index)) {
        *out = (uint32_t)index;
        return 0;
    }
    if (p->name_count == p->name_capacity) {
        size_t capacity = p->name_capacity ? p->name_capacity * 2 : 32;
        const mmi_jinja_string **names = mmi_jinja_alloc(&p->run, capacity, sizeof *names);
        if (!names) return 1;
        if (p->name_count) memcpy(names, p->names, p->name_count * sizeof *names);
        p->names = names;
        p->name_capacity = capacity;
    }
    if (mmi_jinja_string_wrap(&p->run, text, size, &s)) return 1;
    if (mmi_hash_map_put(p->run.ctx, &p->name_map, text, size, (int64_t)p->name_count, NULL)) {
        p->run.status = MM_E_NOMEM;
        return 1;
    }
    p->names[p->name_count] = s.as.string;
    *out = (uint32_t)p->name_count++;
    return 0;
}

/* The name token at hand as a NAME node. */
static node *make_name(parser *p)
{
    node *n = make(p, MMI_JINJA_NAME, p->current.line);
    return !n || intern(p, p->current.text, p->current.size, &n->name) || advance(p) ? NULL : n;
}

static node *make_const(parser *p, mmi_jinja_value v)
{
    node *n = make(p, MMI_JINJA_CONST, p->current.line);
    if (!n) return NULL;
    n->value = v;
    return advance(p) ? NULL : n;
}

/* ---- expressions ---- */

static node *parse_expression(parser *p);
static node *parse_binary(parser *p, int least);

static int at_tuple_end(const parser *p, const char *extra)
{
    return p->current.kind == T_PRINT_END || p->current.kind == T_BLOCK_END || at_op(p, ')') || (extra && at_name(p, extra));
}

/* One expression, or several with commas: a tuple. */
static node *parse_tuple(parser *p, int conditional, int parenthesized, const char *extra_end)
{
    uint32_t line = p->current.line;
    node_list list = {0};
    int is_tuple = 0;
    node *n;

    while (!at_tuple_end(p, extra_end)) {
        n = conditional ? parse_expression(p) : parse_binary(p, 0);
        if (!n) return NULL;
        add_node(&list, n);
        if (!at_op(p, ',')) break;
        is_tuple = 1;
        if (advance(p)) return NULL;
    }
    if (!is_tuple && list.count) return list.first;
    if (!is_tuple && !parenthesized) {
        (void)unexpected(p, "an expression");
        return NULL;
    }
    n = make(p, MMI_JINJA_NEW_TUPLE, line);
    return !n || set_list(p, n, &list) ? NULL : n;
}

/* [a, b] or {a: b, c: d}, from behind the opening bracket. */
static node *parse_display(parser *p, mmi_jinja_node_kind kind, char closer, uint32_t line)
{
    node_list list = {0};
    node *n;

    while (!at_op(p, closer)) {
        if (list.count && expect_op(p, ',')) return NULL;
        if (at_op(p, closer)) break;
        n = parse_expression(p);
        if (!n) return NULL;
        add_node(&list, n);
        if (kind != MMI_JINJA_NEW_DICT) continue;
        if (expect_op(p, ':')) return NULL;
        n = parse_expression(p);
        if (!n) return NULL;
        add_node(&list, n);
    }
    if (advance(p)) return NULL;
    n = make(p, kind, line);
    return !n || set_list(p, n, &list) ? NULL : n;
}

static node *parse_string(parser *p)
{
    mmi_jinja_value all = p->current.value;
    node *n = make_const(p, all);

    while (n && p->current.kind == T_STRING) { /* 'a' 'b' */
        if (mmi_jinja_string_concat(&p->run, all, p->current.value, &all) || advance(p)) return NULL;
        /* without the room of a concatenation, into which a render would write */
        if (mmi_jinja_string_wrap(&p->run, all.as.string->data, all.as.string->size, &n->value)) return NULL;
    }
    return n;
}

static node *parse_primary(parser *p)
{
    uint32_t line = p->current.line;
    node *n;

    switch (p->current.kind) {
    case T_NAME:
        if (at_name(p, "true") || at_name(p, "True")) return make_const(p, mmi_jinja_bool(1));
        if (at_name(p, "false") || at_name(p, "False")) return make_const(p, mmi_jinja_bool(0));
        if (at_name(p, "none") || at_name(p, "None")) return make_const(p, mmi_jinja_none);
        return make_name(p);
    case T_STRING: return parse_string(p);
    case T_INT:
    case T_FLOAT: return make_const(p, p->current.value);
    default: break;
    }
    if (at_op(p, '(')) {
        if (advance(p)) return NULL;
        n = parse_tuple(p, 1, 1, NULL);
        return !n || expect_op(p, ')') ? NULL : n;
    }
    if (at_op(p, '[')) return advance(p) ? NULL : parse_display(p, MMI_JINJA_NEW_LIST, ']', line);
    if (at_op(p, '{')) return advance(p) ? NULL : parse_display(p, MMI_JINJA_NEW_DICT, '}', line);
    (void)unexpected(p, "an expression");
    return NULL;
}

static int parse_arguments(parser *p, node *call)
{
    node_list list = {0};
    int keywords = 0;

    if (expect_op(p, '(')) return 1;
    while (!at_op(p, ')')) {
        node *n, *value;
        int is_keyword = 0;

        if (list.count && expect_op(p, ',')) return 1;
        if (at_op(p, ')')) break;
        if (at_op(p, '*') || at_op(p, OP_POWER)) return fail_at(p, p->current.line, "arguments by * or ** are not supported");
        if (p->current.kind == T_NAME && look_ahead(p, '=', NULL, &is_keyword)) return 1;
        if (is_keyword) {
            keywords = 1;
            n = make(p, MMI_JINJA_KEYWORD, p->current.line);
            if (!n || mmi_jinja_string_wrap(&p->run, p->current.text, p->current.size, &n->value) || advance(p) || advance(p)) return 1;
            value = parse_expression(p);
            if (!value) return 1;
            n->a = value;
            if (lift(p, n, value)) return 1;
        } else {
            if (keywords) return fail_at(p, p->current.line, "an argument by position behind one by name");
            n = parse_expression(p);
            if (!n) return 1;
        }
        add_node(&list, n);
    }
    return set_list(p, call, &list) || advance(p);
}

/* The subscript behind a '['. */
static node *parse_subscript(parser *p, node *object, uint32_t line)
{
    node *n, *parts[3] = {NULL, NULL, NULL};
    int count = 0;

    for (;;) {
        if (!at_op(p, ':') && !at_op(p, ']') && !at_op(p, ',')) {
            parts[count] = parse_expression(p);
            if (!parts[count]) return NULL;
        }
        count++;
        if (count == 3 || !at_op(p, ':')) break;
        if (advance(p)) return NULL;
    }
    if (count == 1 && !parts[0]) {
        (void)unexpected(p, "a subscript");
        return NULL;
    }
    if (expect_op(p, ']')) return NULL;
    n = make_binary(p, count == 1 ? MMI_JINJA_ITEM : MMI_JINJA_SLICE, line, object, parts[0]);
    if (!n) return NULL;
    n->c = parts[1];
    n->other = parts[2];
    return lift(p, n, parts[1]) || lift(p, n, parts[2]) ? NULL : n;
}

static node *parse_attribute(parser *p, node *object, uint32_t line)
{
    node *n;

    if (p->current.kind == T_INT) {
        node *index = make_const(p, p->current.value);
        return index ? make_binary(p, MMI_JINJA_ITEM, line, object, index) : NULL;
    }
    if (p->current.kind != T_NAME) {
        (void)unexpected(p, "a name or number");
        return NULL;
    }
    n = make_unary(p, MMI_JINJA_ATTRIBUTE, line, object);
    return !n || mmi_jinja_string_wrap(&p->run, p->current.text, p->current.size, &n->value) || advance(p) ? NULL : n;
}

static node *parse_call(parser *p, node *callee)
{
    node *n = make_unary(p, MMI_JINJA_CALL, p->current.line, callee);
    return !n || parse_arguments(p, n) ? NULL : n;
}

static node *parse_postfix(parser *p, node *n)
{
    while (n) {
        uint32_t line = p->current.line;
        if (at_op(p, '.'))
            n = advance(p) ? NULL : parse_attribute(p, n, line);
        else if (at_op(p, '['))
            n = advance(p) ? NULL : parse_subscript(p, n, line);
        else if (at_op(p, '('))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

/* name or name(arguments), behind '|' or `is`. */
static node *parse_named_call(parser *p, mmi_jinja_node_kind kind, node *object)
{
    node *n;

    if (p->current.kind != T_NAME) {
        (void)unexpected(p, kind == MMI_JINJA_FILTER ? "the name of a filter" : "the name of a test");
        return NULL;
    }
    n = make_unary(p, kind, p->current.line, object);
    if (!n || mmi_jinja_string_wrap(&p->run, p->current.text, p->current.size, &n->value)) return NULL;
    n->builtin = kind == MMI_JINJA_FILTER ? (const void *)mmi_jinja_filter_find(p->current.text, p->current.size)
                                          : (const void *)mmi_jinja_test_find(p->current.text, p->current.size);
    if (advance(p)) return NULL;
    return at_op(p, '(') && parse_arguments(p, n) ? NULL : n;
}

static node *parse_filters(parser *p, node *n)
{
    while (n && at_op(p, '|')) n = advance(p) ? NULL : parse_named_call(p, MMI_JINJA_FILTER, n);
    return n;
}

static node *parse_test(parser *p, node *object)
{
    uint32_t line = p->current.line;
    int negated;
    node *n, *argument;
    node_list list = {0};

    if (advance(p)) return NULL; /* is */
    negated = at_name(p, "not");
    if (negated && advance(p)) return NULL;
    n = parse_named_call(p, MMI_JINJA_TEST, object);
    if (!n) return NULL;
    if (!n->list &&
        (p->current.kind == T_NAME || p->current.kind == T_STRING || p->current.kind == T_INT || p->current.kind == T_FLOAT ||
         at_op(p, '[') || at_op(p, '{')) &&
        !at_name(p, "else") && !at_name(p, "or") && !at_name(p, "and")) {
        if (at_name(p, "is")) {
            (void)fail_at(p, line, "tests with `is` in a row");
            return NULL;
        }
        argument = parse_postfix(p, parse_primary(p)); /* x is divisibleby 3 */
        if (!argument) return NULL;
        add_node(&list, argument);
        if (set_list(p, n, &list)) return NULL;
    }
    return negated ? make_unary(p, MMI_JINJA_NOT, line, n) : n;
}

static node *parse_unary(parser *p, int with_filters)
{
    uint32_t line = p->current.line;
    node *n;

    if (enter(p)) return NULL;
    if (at_op(p, '-') || at_op(p, '+')) {
        mmi_jinja_node_kind kind = at_op(p, '-') ? MMI_JINJA_NEGATIVE : MMI_JINJA_POSITIVE;
        n = advance(p) ? NULL : parse_unary(p, 0);
        n = n ? make_unary(p, kind, line, n) : NULL;
    } else {
        n = parse_primary(p);
    }
    n = parse_postfix(p, n);
    while (n && with_filters) {
        if (at_op(p, '|'))
            n = parse_filters(p, n);
        else if (at_name(p, "is"))
            n = parse_test(p, n);
        else if (at_op(p, '('))
            n = parse_call(p, n);
        else
            break;
    }
    p->depth--;
    return n;
}

enum { LEVEL_OR = 1, LEVEL_AND, LEVEL_NOT, LEVEL_COMPARE, LEVEL_ADD, LEVEL_CONCAT, LEVEL_MULTIPLY, LEVEL_POWER };

/* How tightly the operator at hand binds (0: none is at hand), and its node. Nonzero on failure. */
static int binary_operator(parser *p, int *level, mmi_jinja_node_kind *kind)
{
    static const struct {
        int op, level;
        mmi_jinja_node_kind kind;
    } table[] = {{OP_EQ, LEVEL_COMPARE, MMI_JINJA_COMPARE_EQ},
                 {OP_NE, LEVEL_COMPARE, MMI_JINJA_COMPARE_NE},
                 {'<', LEVEL_COMPARE, MMI_JINJA_COMPARE_LT},
                 {OP_LE, LEVEL_COMPARE, MMI_JINJA_COMPARE_LE},
                 {'>', LEVEL_COMPARE, MMI_JINJA_COMPARE_GT},
                 {OP_GE, LEVEL_COMPARE, MMI_JINJA_COMPARE_GE},
                 {'+', LEVEL_ADD, MMI_JINJA_ADD},
                 {'-', LEVEL_ADD, MMI_JINJA_SUBTRACT},
                 {'~', LEVEL_CONCAT, MMI_JINJA_CONCAT},
                 {'*', LEVEL_MULTIPLY, MMI_JINJA_MULTIPLY},
                 {'/', LEVEL_MULTIPLY, MMI_JINJA_DIVIDE},
                 {OP_FLOOR_DIVIDE, LEVEL_MULTIPLY, MMI_JINJA_FLOOR_DIVIDE},
                 {'%', LEVEL_MULTIPLY, MMI_JINJA_MODULO},
                 {OP_POWER, LEVEL_POWER, MMI_JINJA_POWER}};
    int is_not_in = 0;

    *level = 0;
    if (p->current.kind == T_OPERATOR) {
        for (size_t i = 0; i < sizeof table / sizeof *table; i++)
            if (table[i].op == p->current.op) {
                *level = table[i].level;
                *kind = table[i].kind;
            }
        return 0;
    }
    if (p->current.kind != T_NAME) return 0;
    if (at_name(p, "or"))
        *level = LEVEL_OR, *kind = MMI_JINJA_OR;
    else if (at_name(p, "and"))
        *level = LEVEL_AND, *kind = MMI_JINJA_AND;
    else if (at_name(p, "in"))
        *level = LEVEL_COMPARE, *kind = MMI_JINJA_COMPARE_IN;
    else if (at_name(p, "not")) {
        if (look_ahead(p, 0, "in", &is_not_in)) return 1;
        if (is_not_in) *level = LEVEL_COMPARE, *kind = MMI_JINJA_COMPARE_NOT_IN;
    }
    return 0;
}

/* a == b < c ..., or a ~ b ~ c ...: one node with the operands behind the first. */
static node *parse_chain(parser *p, int level, mmi_jinja_node_kind kind, node *first)
{
    node *n = make(p, level == LEVEL_COMPARE ? MMI_JINJA_COMPARE : MMI_JINJA_CONCAT, first->line), *operand;
    node_list list = {0};
    int next_level = level;

    if (!n) return NULL;
    if (level == LEVEL_COMPARE) {
        n->a = first;
        if (lift(p, n, first)) return NULL;
    } else {
        add_node(&list, first);
    }
    while (next_level == level) {
        uint32_t line = p->current.line;
        if ((kind == MMI_JINJA_COMPARE_NOT_IN && advance(p)) || advance(p)) return NULL;
        operand = parse_binary(p, level + 1);
        if (operand && level == LEVEL_COMPARE) operand = make_unary(p, kind, line, operand);
        if (!operand) return NULL;
        add_node(&list, operand);
        if (binary_operator(p, &next_level, &kind)) return NULL;
    }
    return set_list(p, n, &list) ? NULL : n;
}

/* Operators that bind at least as tightly as `least`. */
static node *parse_binary(parser *p, int least)
{
    uint32_t line = p->current.line;
    int level;
    mmi_jinja_node_kind kind = MMI_JINJA_NOT;
    node *left, *right;

    if (least <= LEVEL_NOT && at_name(p, "not")) {
        if (enter(p) || advance(p)) return NULL;
        left = parse_binary(p, LEVEL_NOT);
        left = left ? make_unary(p, MMI_JINJA_NOT, line, left) : NULL;
        p->depth--;
    } else {
        left = parse_unary(p, 1);
    }
    while (left) {
        if (binary_operator(p, &level, &kind)) return NULL;
        if (!level || level < least) break;
        if (level == LEVEL_COMPARE || level == LEVEL_CONCAT) {
            left = parse_chain(p, level, kind, left);
            continue;
        }
        line = p->current.line;
        if (advance(p)) return NULL;
        right = parse_binary(p, level + 1);
        left = right ? make_binary(p, kind, line, left, right) : NULL;
    }
    return left;
}

static node *parse_expression(parser *p)
{
    node *n, *condition, *otherwise;

    if (enter(p)) return NULL;
    n = parse_binary(p, 0);
    while (n && at_name(p, "if")) {
        uint32_t line = p->current.line;

        otherwise = NULL;
        condition = advance(p) ? NULL : parse_binary(p, 0);
        if (!condition) return NULL;
        if (at_name(p, "else")) {
            otherwise = advance(p) ? NULL : parse_expression(p);
            if (!otherwise) return NULL;
        }
        n = make_binary(p, MMI_JINJA_CONDITIONAL, line, condition, n);
        if (!n || lift(p, n, otherwise)) return NULL;
        n->c = otherwise;
    }
    p->depth--;
    return n;
}

/* ---- statements ---- */

static int parse_body(parser *p, node *owner, const char *const *ends, node **out);

/* What can be assigned to: a name, names with commas, with `spaces` also name.attribute. */
static node *parse_target(parser *p, int spaces)
{
    node_list list = {0};
    uint32_t line = p->current.line;
    int is_tuple = 0;
    node *n;

    if (enter(p)) return NULL;
    while (!at_tuple_end(p, "in")) {
        if (at_op(p, '(')) {
            n = advance(p) ? NULL : parse_target(p, spaces);
            if (!n || expect_op(p, ')')) return NULL;
        } else {
            if (p->current.kind != T_NAME || at_name(p, "true") || at_name(p, "false") || at_name(p, "none") || at_name(p, "True") ||
                at_name(p, "False") || at_name(p, "None")) {
                (void)unexpected(p, "a name to assign to");
                return NULL;
            }
            n = make_name(p);
            if (!n) return NULL;
            if (spaces && at_op(p, '.')) {
                n = advance(p) ? NULL : parse_attribute(p, n, line);
                if (!n) return NULL;
                if (n->kind != MMI_JINJA_ATTRIBUTE) {
                    (void)fail_at(p, line, "an assignment to an item");
                    return NULL;
                }
            }
        }
        add_node(&list, n);
        if (!at_op(p, ',')) break;
        is_tuple = 1;
        if (advance(p)) return NULL;
    }
    if (!list.count) {
        (void)unexpected(p, "a name to assign to");
        return NULL;
    }
    p->depth--;
    if (!is_tuple) return list.first;
    n = make(p, MMI_JINJA_NEW_TUPLE, line);
    return !n || set_list(p, n, &list) ? NULL : n;
}

/* The body of a macro or of {% call %}: loops outside cannot be left from it. */
static int parse_closed_body(parser *p, node *owner, const char *end)
{
    const char *ends[] = {end, NULL};
    int loops = p->loops;

    p->loops = 0;
    if (parse_body(p, owner, ends, &owner->body)) return 1;
    p->loops = loops;
    return advance(p);
}

static int parse_end_body(parser *p, node *owner, const char *end)
{
    const char *ends[] = {end, NULL};
    return parse_body(p, owner, ends, &owner->body) || advance(p);
}

static int parse_if(parser *p, node *n)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL}, *const last_end[] = {"endif", NULL};
    node *branch = n, *next;

    for (;;) {
        branch->a = parse_tuple(p, 0, 0, NULL);
        if (!branch->a || lift(p, n, branch->a) || parse_body(p, branch, ends, &branch->body) || lift_list(p, n, branch->body)) return 1;
        if (at_name(p, "endif")) return advance(p);
        next = make(p, at_name(p, "elif") ? MMI_JINJA_IF : MMI_JINJA_BODY, p->current.line);
        if (!next || advance(p)) return 1;
        branch->b = next;
        branch = next;
        if (next->kind == MMI_JINJA_IF) continue;
        return parse_body(p, next, last_end, &next->body) || lift_list(p, n, next->body) || advance(p);
    }
}

static int parse_for(parser *p, node *n)
{
    static const char *const ends[] = {"endfor", "else", NULL}, *const last_end[] = {"endfor", NULL};

    n->a = parse_target(p, 0);
    if (!n->a) return 1;
    if (!at_name(p, "in")) return unexpected(p, "'in'");
    if (advance(p)) return 1;
    n->b = parse_tuple(p, 0, 0, "recursive");
    if (!n->b || lift(p, n, n->a) || lift(p, n, n->b)) return 1;
    if (at_name(p, "if")) {
        n->c = advance(p) ? NULL : parse_expression(p);
        if (!n->c || lift(p, n, n->c)) return 1;
    }
    if (at_name(p, "recursive")) return fail_at(p, n->line, "recursive loops are not supported");
    p->loops++;
    if (parse_body(p, n, ends, &n->body)) return 1;
    p->loops--;
    if (at_name(p, "endfor")) return advance(p);
    return advance(p) || parse_body(p, n, last_end, &n->other) || advance(p);
}

static int parse_set(parser *p, node *n)
{
    node *hole;

    n->a = parse_target(p, 1);
    if (!n->a || lift(p, n, n->a)) return 1;
    if (at_op(p, '=')) {
        n->b = advance(p) ? NULL : parse_tuple(p, 1, 0, NULL);
        return !n->b || lift(p, n, n->b);
    }
    n->kind = MMI_JINJA_SET_BLOCK;
    if (at_op(p, '|')) {
        hole = make(p, MMI_JINJA_HOLE, n->line);
        n->b = hole ? parse_filters(p, hole) : NULL;
        if (!n->b || lift(p, n, n->b)) return 1;
    }
    return parse_end_body(p, n, "endset");
}

static int parse_filter_block(parser *p, node *n)
{
    node *hole = make(p, MMI_JINJA_HOLE, n->line);

    n->b = hole ? parse_named_call(p, MMI_JINJA_FILTER, hole) : NULL;
    n->b = parse_filters(p, n->b);
    return !n->b || lift(p, n, n->b) || parse_end_body(p, n, "endfilter");
}

static int parse_with(parser *p, node *n)
{
    node_list targets = {0}, values = {0};

    while (p->current.kind != T_BLOCK_END) {
        node *target, *v;
        if (targets.count && expect_op(p, ',')) return 1;
        target = parse_target(p, 0);
        if (!target || expect_op(p, '=')) return 1;
        v = parse_expression(p);
        if (!v) return 1;
        add_node(&targets, target);
        add_node(&values, v);
    }
    n->other = values.first;
    return lift_list(p, n, n->other) || set_list(p, n, &targets) || parse_end_body(p, n, "endwith");
}

/* (a, b=1) of a macro. */
static int parse_signature(parser *p, node *n)
{
    node_list list = {0};
    int defaults = 0;

    if (expect_op(p, '(')) return 1;
    while (!at_op(p, ')')) {
        node *parameter;
        if (list.count && expect_op(p, ',')) return 1;
        if (p->current.kind != T_NAME) return unexpected(p, "the name of a parameter");
        parameter = make_name(p);
        if (!parameter) return 1;
        if (at_op(p, '=')) {
            defaults = 1;
            parameter->a = advance(p) ? NULL : parse_expression(p);
            if (!parameter->a || lift(p, parameter, parameter->a)) return 1;
        } else if (defaults) {
            return fail_at(p, n->line, "a parameter without default behind one with");
        }
        add_node(&list, parameter);
    }
    return set_list(p, n, &list) || advance(p);
}

static int parse_macro(parser *p, node *n)
{
    if (p->current.kind != T_NAME) return unexpected(p, "the name of a macro");
    if (intern(p, p->current.text, p->current.size, &n->name) || advance(p) || parse_signature(p, n)) return 1;
    return parse_closed_body(p, n, "endmacro");
}

static int parse_call_block(parser *p, node *n)
{
    if (at_op(p, '(') && parse_signature(p, n)) return 1;
    n->a = parse_expression(p);
    if (!n->a || lift(p, n, n->a)) return 1;
    if (n->a->kind != MMI_JINJA_CALL) return fail_at(p, n->line, "{% call %} needs a call");
    return parse_closed_body(p, n, "endcall");
}

static int parse_loop_control(parser *p, node *n)
{
    (void)n;
    return p->loops ? 0 : fail_at(p, p->current.line, "break or continue outside a loop");
}

static int parse_generation(parser *p, node *n) { return parse_closed_body(p, n, "endgeneration"); }

static node *parse_statement(parser *p)
{
    static const struct {
        const char *tag;
        mmi_jinja_node_kind kind;
        int (*parse)(parser *p, node *n);
    } table[] = {{"if", MMI_JINJA_IF, parse_if},
                 {"for", MMI_JINJA_FOR, parse_for},
                 {"set", MMI_JINJA_SET, parse_set},
                 {"macro", MMI_JINJA_DEF_MACRO, parse_macro},
                 {"call", MMI_JINJA_CALL_BLOCK, parse_call_block},
                 {"filter", MMI_JINJA_FILTER_BLOCK, parse_filter_block},
                 {"with", MMI_JINJA_WITH, parse_with},
                 {"generation", MMI_JINJA_GENERATION, parse_generation},
                 {"break", MMI_JINJA_BREAK, parse_loop_control},
                 {"continue", MMI_JINJA_CONTINUE, parse_loop_control}};
    node *n;

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (!at_name(p, table[i].tag)) continue;
        n = make(p, table[i].kind, p->current.line);
        return !n || advance(p) || table[i].parse(p, n) ? NULL : n;
    }
    (void)unexpected(p, "the name of a statement");
    return NULL;
}

static int in_list(const parser *p, const char *const *names)
{
    for (; names && *names; names++)
        if (at_name(p, *names)) return 1;
    return 0;
}

/* Statements up to one of the tags `ends` (its name is then the token at hand), NULL: to the end of the template. */
static int parse_statements(parser *p, node *owner, const char *const *ends, node **out)
{
    node_list list = {0};
    node *n;

    for (;;) {
        if (p->current.kind == T_EOF) {
            if (ends) return unexpected(p, ends[1] ? "the end of a block" : ends[0]);
            break;
        }
        if (p->current.kind == T_DATA) {
            n = make(p, MMI_JINJA_DATA, p->current.line);
            if (!n || mmi_jinja_string_wrap(&p->run, p->current.text, p->current.size, &n->value) || advance(p)) return 1;
        } else if (p->current.kind == T_PRINT_BEGIN) {
            n = make(p, MMI_JINJA_PRINT, p->current.line);
            if (!n || advance(p)) return 1;
            n->a = parse_tuple(p, 1, 0, NULL);
            if (!n->a || lift(p, n, n->a)) return 1;
            if (p->current.kind != T_PRINT_END) return unexpected(p, "}}");
            if (advance(p)) return 1;
        } else {
            if (advance(p)) return 1; /* {% */
            if (in_list(p, ends)) break;
            n = parse_statement(p);
            if (!n || expect_block_end(p)) return 1;
        }
        add_node(&list, n);
        if (owner && lift(p, owner, n)) return 1;
    }
    *out = list.first;
    return 0;
}

static int parse_body(parser *p, node *owner, const char *const *ends, node **out)
{
    if (at_op(p, ':') && advance(p)) return 1; /* {% if x: %} */
    if (expect_block_end(p) || enter(p) || parse_statements(p, owner, ends, out)) return 1;
    p->depth--;
    return 0;
}

/* ---- the whole ---- */

/* A copy with \n for every line break and without the last one. */
static int copy_source(parser *p, const char *text, size_t n)
{
    char *copy = mmi_jinja_alloc(&p->run, n, 1);

    if (!copy) return 1;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\r' && i + 1 < n && text[i + 1] == '\n') continue;
        copy[p->size++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (p->size && copy[p->size - 1] == '\n') p->size--;
    p->source = copy;
    return 0;
}

mm_status mmi_jinja_parse(mm_context *ctx, const char *text, size_t n, mmi_jinja_program *out)
{
    parser p;
    node *body;
    size_t bad;

    memset(out, 0, sizeof *out);
    memset(&p, 0, sizeof p);
    p.run.ctx = ctx;
    p.run.arena.limit = MMI_JINJA_MAX_MEMORY;
    p.run.steps = MMI_JINJA_MAX_STEPS;
    p.line = 1;
    if (n > MMI_JINJA_MAX_TEMPLATE)
        return mmi_fail(ctx, MM_E_LIMIT, "the chat template has %zu bytes, more than %d", n, MMI_JINJA_MAX_TEMPLATE);
    bad = mmi_utf8_valid(text, n);
    if (bad < n) return mmi_fail(ctx, MM_E_FORMAT, "the chat template is not UTF-8 at byte %zu", bad);

    if (copy_source(&p, text, n) || intern(&p, "loop", 4, &out->loop_name) || intern(&p, "caller", 6, &out->caller_name) || advance(&p) ||
        parse_statements(&p, NULL, NULL, &body)) {
        mmi_arena_clear(&p.run.arena);
    } else {
        out->arena = p.run.arena;
        out->body = body;
        out->names = p.names;
        out->name_count = p.name_count;
    }
    mmi_hash_map_clear(&p.name_map);
    return p.run.status;
}
