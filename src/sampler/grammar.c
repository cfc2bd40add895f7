/* Rules are compiled one after the other: the one at hand grows in `work`, in which jumps are relative, and moves to `code` when it
 * ends. So does what is repeated by number, and each set of characters: they become rules without a name.
 * SPDX-License-Identifier: MIT */
#include "grammar.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "hash_map.h"
#include "text.h"

struct mmi_grammar {
    atomic_size_t references;
    mmi_grammar_op *code;
    int32_t root;
};

void mmi_grammar_retain(mmi_grammar *g) { atomic_fetch_add_explicit(&g->references, 1, memory_order_relaxed); }

void mmi_grammar_release(mmi_grammar *g)
{
    if (!g || atomic_fetch_sub_explicit(&g->references, 1, memory_order_acq_rel) != 1) return;
    mmi_free(g->code);
    mmi_free(g);
}

const mmi_grammar_op *mmi_grammar_code(const mmi_grammar *g) { return g->code; }
int32_t mmi_grammar_root(const mmi_grammar *g) { return g->root; }

typedef struct {
    mmi_grammar_op *ops;
    size_t count, capacity;
} program;

typedef struct {
    int32_t start;    /* -1: not defined yet */
    size_t name, size; /* in the text; size 0: none */
} rule;

typedef struct {
    uint32_t low, high;
} range;

typedef struct {
    mm_context *ctx;
    const char *name, *text;
    size_t size, at;
    program code, work;
    rule *rules;
    size_t n_rules, rules_capacity;
    mmi_hash_map names, sets; /* to the number of the rule */
    range *ranges;            /* of the set at hand */
    size_t n_ranges, ranges_capacity;
} compiler;

static mm_status fail_at(const compiler *c, size_t at, const char *what, const char *name, size_t n)
{
    size_t line = 1;
    for (size_t i = 0; i < at && i < c->size; i++) line += c->text[i] == '\n';
    return mmi_fail(c->ctx, MM_E_FORMAT, "%s, line %zu: %s%.*s%s", c->name, line, what, (int)(n < 60 ? n : 60), name, n ? "\"" : "");
}

static mm_status fail(const compiler *c, const char *what) { return fail_at(c, c->at, what, "", 0); }

/* ---- code ---- */

static mm_status add(compiler *c, program *p, mmi_grammar_op op)
{
    if (c->code.count + c->work.count >= MMI_GRAMMAR_MAX_CODE)
        return mmi_fail(c->ctx, MM_E_LIMIT, "%s needs more than %d steps", c->name, (int)MMI_GRAMMAR_MAX_CODE);
    if (mmi_grow(c->ctx, (void **)&p->ops, &p->capacity, p->count, sizeof *p->ops)) return MM_E_NOMEM;
    p->ops[p->count++] = op;
    return MM_OK;
}

static mmi_grammar_op op_to(mmi_grammar_kind kind, size_t to) { return (mmi_grammar_op){(uint8_t)kind, 0, 0, (int32_t)to}; }
static mmi_grammar_op op_byte(unsigned low, unsigned high) { return (mmi_grammar_op){MMI_GRAMMAR_BYTE, (uint8_t)low, (uint8_t)high, 0}; }

/* Put a SPLIT in front of what stands from `at` on. */
static mm_status split_before(compiler *c, size_t at, size_t to)
{
    mm_status st = add(c, &c->work, op_to(MMI_GRAMMAR_RETURN, 0));
    if (st) return st;
    memmove(c->work.ops + at + 1, c->work.ops + at, (c->work.count - at - 1) * sizeof *c->work.ops);
    c->work.ops[at] = op_to(MMI_GRAMMAR_SPLIT, to);
    return MM_OK;
}

static mm_status add_rule(compiler *c, size_t name, size_t size, int32_t *out)
{
    if (mmi_grow(c->ctx, (void **)&c->rules, &c->rules_capacity, c->n_rules, sizeof *c->rules)) return MM_E_NOMEM;
    c->rules[c->n_rules] = (rule){-1, name, size};
    *out = (int32_t)c->n_rules++;
    return MM_OK;
}

/* Make what stands in `work` from `from` on the body of a rule. */
static mm_status move_to_rule(compiler *c, size_t from, int32_t number)
{
    size_t n = c->work.count;
    mm_status st = MM_OK;

    c->rules[number].start = (int32_t)c->code.count;
    for (size_t i = from; i < n && !st; i++) {
        c->work.count = n - (i - from) - 1; /* the limit counts each operation once */
        st = add(c, &c->code, c->work.ops[i]);
    }
    c->work.count = from;
    return st ? st : add(c, &c->code, op_to(MMI_GRAMMAR_RETURN, 0));
}

/* ---- characters ---- */

static mm_status add_range(compiler *c, uint32_t low, uint32_t high)
{
    if (mmi_grow(c->ctx, (void **)&c->ranges, &c->ranges_capacity, c->n_ranges, sizeof *c->ranges)) return MM_E_NOMEM;
    c->ranges[c->n_ranges++] = (range){low, high};
    return MM_OK;
}

static int by_low(const void *a, const void *b)
{
    uint32_t x = ((const range *)a)->low, y = ((const range *)b)->low;
    return x < y ? -1 : x > y;
}

/* Sorted, merged, turned round if asked, and without surrogates, which are no characters. */
static mm_status normalize(compiler *c, int negate)
{
    size_t n = 0, had;
    uint32_t next = 0;
    mm_status st = MM_OK;

    if (c->n_ranges) qsort(c->ranges, c->n_ranges, sizeof *c->ranges, by_low);
    for (size_t i = 0; i < c->n_ranges; i++) {
        range r = c->ranges[i];
        if (n && r.low <= c->ranges[n - 1].high + 1) {
            if (r.high > c->ranges[n - 1].high) c->ranges[n - 1].high = r.high;
        } else {
            c->ranges[n++] = r;
        }
    }
    c->n_ranges = had = n;
    for (size_t i = 0; negate && i < had && !st; i++) {
        range r = c->ranges[i];
        if (r.low > next) st = add_range(c, next, r.low - 1);
        next = r.high + 1;
    }
    if (negate && !st && next <= 0x10FFFF) st = add_range(c, next, 0x10FFFF);
    if (st) return st;
    n = 0;
    for (size_t i = negate ? had : 0; i < c->n_ranges; i++) {
        range r = c->ranges[i];
        if (r.low >= 0xD800 && r.low <= 0xDFFF) r.low = 0xE000;
        if (r.high >= 0xD800 && r.high <= 0xDFFF) r.high = 0xD7FF;
        if (r.low <= r.high) c->ranges[n++] = r;
    }
    c->n_ranges = n;
    return MM_OK;
}

/* One alternative of a set: the characters low..high have `n` bytes, and each byte takes its values independently. */
static mm_status add_sequence(compiler *c, uint32_t low, uint32_t high, int last)
{
    char a[4], b[4];
    size_t n = mmi_utf8_encode(low, a);
    mm_status st = MM_OK;

    (void)mmi_utf8_encode(high, b);
    if (!last) st = add(c, &c->code, op_to(MMI_GRAMMAR_SPLIT, n + 2));
    for (size_t i = 0; i < n && !st; i++) st = add(c, &c->code, op_byte((unsigned char)a[i], (unsigned char)b[i]));
    return st ? st : add(c, &c->code, op_to(MMI_GRAMMAR_RETURN, 0));
}

/* The end of the first piece of low..high whose bytes are independent. */
static uint32_t piece_end(uint32_t low, uint32_t high)
{
    static const uint32_t last[] = {0x7F, 0x7FF, 0xD7FF, 0xFFFF, 0x10FFFF}; /* lengths change here, and the surrogates begin */

    for (int i = 0; i < 5; i++)
        if (low <= last[i]) {
            if (high > last[i]) high = last[i];
            break;
        }
    if (low < 0x80) return high;
    for (uint32_t ones = 0x3F; ones < 0x3FFFF + 1; ones = ones << 6 | 0x3F) { /* the bits of the last one, two, three bytes */
        if ((low & ~ones) == (high & ~ones)) break;
        if (low & ones) return low | ones;
        if ((high & ones) != ones) high = (high & ~ones) - 1;
    }
    return high;
}

/* A step for the characters in c->ranges. */
static mm_status add_set(compiler *c)
{
    int64_t known;
    int32_t number = 0;
    mm_status st;

    if (c->n_ranges == 1 && c->ranges[0].high < 0x80) return add(c, &c->work, op_byte(c->ranges[0].low, c->ranges[0].high));
    if (!mmi_hash_map_get(&c->sets, (const char *)c->ranges, c->n_ranges * sizeof *c->ranges, &known)) {
        if ((st = add_rule(c, 0, 0, &number))) return st;
        c->rules[number].start = (int32_t)c->code.count;
        known = number;
        if (mmi_hash_map_put(c->ctx, &c->sets, (const char *)c->ranges, c->n_ranges * sizeof *c->ranges, known, NULL)) return MM_E_NOMEM;
        for (size_t i = 0; i < c->n_ranges; i++) {
            range r = c->ranges[i];
            while (r.low <= r.high) {
                uint32_t end = piece_end(r.low, r.high);
                if ((st = add_sequence(c, r.low, end, i + 1 == c->n_ranges && end == r.high))) return st;
                r.low = end == 0xD7FF ? 0xE000 : end + 1;
            }
        }
    }
    return add(c, &c->work, op_to(MMI_GRAMMAR_CALL, (size_t)known));
}

/* ---- text ---- */

static int peek(const compiler *c) { return c->at < c->size ? (unsigned char)c->text[c->at] : -1; }

static int is_word(int b) { return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || b == '-' || b == '_'; }

/* White space and comments; newlines as well when they end nothing. */
static void skip_space(compiler *c, int newlines)
{
    for (;; c->at++) {
        int b = peek(c);
        if (b == '#') {
            while (c->at < c->size && peek(c) != '\n' && peek(c) != '\r') c->at++;
            b = peek(c);
        }
        if (b != ' ' && b != '\t' && !(newlines && (b == '\n' || b == '\r'))) return;
    }
}

static mm_status read_hex(compiler *c, int digits, uint32_t *out)
{
    uint32_t code = 0;

    for (int i = 0; i < digits; i++, c->at++) {
        int b = peek(c), digit = b >= '0' && b <= '9' ? b - '0' : b >= 'a' && b <= 'f' ? b - 'a' + 10 : b >= 'A' && b <= 'F' ? b - 'A' + 10 : -1;
        if (digit < 0) return fail(c, "an escape of too few hexadecimal digits");
        code = code << 4 | (uint32_t)digit;
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return fail(c, "an escape that is no character");
    *out = code;
    return MM_OK;
}

/* One character of a literal or a set. */
static mm_status read_character(compiler *c, uint32_t *out)
{
    size_t len;

    if (peek(c) != '\\') {
        len = mmi_utf8_decode(c->text + c->at, c->size - c->at, out);
        if (!len) return fail(c, c->at < c->size ? "malformed UTF-8" : "the text ends inside quotes or brackets");
        c->at += len;
        return MM_OK;
    }
    c->at++;
    switch (peek(c)) {
    case 'x': c->at++; return read_hex(c, 2, out);
    case 'u': c->at++; return read_hex(c, 4, out);
    case 'U': c->at++; return read_hex(c, 8, out);
    case 't': *out = '\t'; break;
    case 'r': *out = '\r'; break;
    case 'n': *out = '\n'; break;
    case '\\':
    case '"':
    case '[':
    case ']': *out = (uint32_t)peek(c); break;
    default: return fail(c, "an unknown escape");
    }
    c->at++;
    return MM_OK;
}

static mm_status read_literal(compiler *c)
{
    mm_status st = MM_OK;

    for (c->at++; peek(c) != '"';) {
        uint32_t code = 0;
        char bytes[4];
        size_t n;
        if ((st = read_character(c, &code))) return st;
        n = mmi_utf8_encode(code, bytes);
        for (size_t i = 0; i < n && !st; i++) st = add(c, &c->work, op_byte((unsigned char)bytes[i], (unsigned char)bytes[i]));
        if (st) return st;
    }
    c->at++;
    return MM_OK;
}

static mm_status read_set(compiler *c)
{
    int negate = 0;
    mm_status st;

    c->n_ranges = 0;
    c->at++;
    if (peek(c) == '^') {
        negate = 1;
        c->at++;
    }
    while (peek(c) != ']') {
        uint32_t low = 0, high;
        if ((st = read_character(c, &low))) return st;
        high = low;
        if (peek(c) == '-' && c->at + 1 < c->size && c->text[c->at + 1] != ']') {
            c->at++;
            if ((st = read_character(c, &high))) return st;
            if (high < low) return fail(c, "a range that ends before it begins");
        }
        if ((st = add_range(c, low, high))) return st;
    }
    c->at++;
    if ((st = normalize(c, negate))) return st;
    return c->n_ranges ? add_set(c) : fail(c, "a set without characters");
}

static mm_status find_rule(compiler *c, size_t from, int32_t *number)
{
    size_t n = c->at - from;
    int64_t known;
    mm_status st;

    if (mmi_hash_map_get(&c->names, c->text + from, n, &known)) {
        *number = (int32_t)known;
        return MM_OK;
    }
    st = add_rule(c, from, n, number);
    return st ? st : mmi_hash_map_put(c->ctx, &c->names, c->text + from, n, *number, NULL) ? MM_E_NOMEM : MM_OK;
}

static mm_status read_name(compiler *c, int32_t *number)
{
    size_t from = c->at;

    while (is_word(peek(c))) c->at++;
    if (c->at == from) return fail(c, "a rule's name is missing");
    return find_rule(c, from, number);
}

/* Repeat what stands from `start` on; most -1: without end. */
static mm_status repeat(compiler *c, size_t start, int64_t least, int64_t most)
{
    size_t n = c->work.count - start;
    mmi_grammar_op op;
    mm_status st = MM_OK;

    if (!n || (least == 1 && most == 1)) return MM_OK;
    if (most == 0) {
        c->work.count = start;
        return MM_OK;
    }
    if (least == 1 && most < 0) return add(c, &c->work, op_to(MMI_GRAMMAR_SPLIT, -n));
    if (least == 0 && most == 1) return split_before(c, start, n + 1);
    if (least == 0 && most < 0) {
        st = split_before(c, start, n + 2);
        return st ? st : add(c, &c->work, op_to(MMI_GRAMMAR_JUMP, -(n + 1)));
    }
    if (n > 1) {
        int32_t number = 0;
        if ((st = add_rule(c, 0, 0, &number)) || (st = move_to_rule(c, start, number))) return st;
        op = op_to(MMI_GRAMMAR_CALL, (size_t)number);
    } else {
        op = c->work.ops[start];
    }
    c->work.count = start;
    for (int64_t i = 0; i < least && !st; i++) st = add(c, &c->work, op);
    if (most < 0 && !st) return add(c, &c->work, op_to(MMI_GRAMMAR_SPLIT, -1)); /* the last one again */
    for (int64_t left = most - least; left > 0 && !st; left--) {
        st = add(c, &c->work, op_to(MMI_GRAMMAR_SPLIT, (size_t)(2 * left)));
        if (!st) st = add(c, &c->work, op);
    }
    return st;
}

static mm_status read_number(compiler *c, int64_t *out)
{
    int64_t n = 0;

    if (peek(c) < '0' || peek(c) > '9') return fail(c, "a number is missing in the braces");
    for (; peek(c) >= '0' && peek(c) <= '9'; c->at++) {
        n = n * 10 + (peek(c) - '0');
        if (n > MMI_GRAMMAR_MAX_REPEAT)
            return mmi_fail(c->ctx, MM_E_LIMIT, "%s repeats something more than %d times", c->name, (int)MMI_GRAMMAR_MAX_REPEAT);
    }
    *out = n;
    return MM_OK;
}

static mm_status read_repetition(compiler *c, size_t start, int newlines)
{
    int sign = peek(c);
    int64_t least = sign == '+', most = sign == '?' ? 1 : -1;
    mm_status st;

    if (start == SIZE_MAX) return fail(c, "there is nothing to repeat");
    c->at++;
    if (sign == '{') {
        skip_space(c, newlines);
        if ((st = read_number(c, &least))) return st;
        skip_space(c, newlines);
        most = least;
        if (peek(c) == ',') {
            c->at++;
            skip_space(c, newlines);
            most = -1;
            if (peek(c) != '}' && (st = read_number(c, &most))) return st;
            skip_space(c, newlines);
        }
        if (peek(c) != '}') return fail(c, "a } is missing");
        c->at++;
        if (most >= 0 && most < least) return fail(c, "a repetition whose most is less than its least");
    }
    return repeat(c, start, least, most);
}

static mm_status read_alternatives(compiler *c, int depth);

static mm_status read_sequence(compiler *c, int depth)
{
    size_t start = SIZE_MAX; /* of the last item */
    mm_status st = MM_OK;

    for (; !st; skip_space(c, depth > 0)) {
        int b = peek(c);
        size_t here = c->work.count;

        if (b == '"') {
            st = read_literal(c);
        } else if (b == '[') {
            st = read_set(c);
        } else if (b == '.') {
            c->at++;
            c->n_ranges = 0;
            st = add_range(c, 0, 0x10FFFF);
            if (!st) st = add_set(c);
        } else if (b == '(') {
            if (depth == MMI_GRAMMAR_MAX_DEPTH)
                return mmi_fail(c->ctx, MM_E_LIMIT, "%s nests parentheses more than %d deep", c->name, (int)MMI_GRAMMAR_MAX_DEPTH);
            c->at++;
            skip_space(c, 1);
            st = read_alternatives(c, depth + 1);
            if (!st && peek(c) != ')') st = fail(c, "a ) is missing");
            c->at++;
        } else if (is_word(b)) {
            int32_t number = 0;
            st = read_name(c, &number);
            if (!st) st = add(c, &c->work, op_to(MMI_GRAMMAR_CALL, (size_t)number));
        } else if (b == '*' || b == '+' || b == '?' || b == '{') {
            st = read_repetition(c, start, depth > 0);
            continue;
        } else {
            break;
        }
        start = here;
    }
    return st;
}

static mm_status read_alternatives(compiler *c, int depth)
{
    size_t last = 0; /* the last JUMP to the end + 1; each holds the one before it until the end is known */
    mm_status st;

    for (;;) {
        size_t start = c->work.count;
        if ((st = read_sequence(c, depth)) || peek(c) != '|') break;
        c->at++;
        skip_space(c, 1);
        if ((st = split_before(c, start, c->work.count - start + 2)) || (st = add(c, &c->work, op_to(MMI_GRAMMAR_JUMP, last)))) break;
        last = c->work.count;
    }
    for (size_t before; last; last = before) {
        mmi_grammar_op *jump = &c->work.ops[last - 1];
        before = (size_t)jump->to;
        jump->to = (int32_t)(c->work.count - (last - 1));
    }
    return st;
}

static mm_status read_rule(compiler *c)
{
    size_t from = c->at;
    int32_t number = 0;
    mm_status st = read_name(c, &number);

    if (st) return st;
    if (c->rules[number].start >= 0) return fail_at(c, from, "a second rule \"", c->text + c->rules[number].name, c->rules[number].size);
    skip_space(c, 0);
    if (c->size - c->at < 3 || memcmp(c->text + c->at, "::=", 3)) return fail(c, "a ::= is missing");
    c->at += 3;
    skip_space(c, 1);
    if ((st = read_alternatives(c, 0))) return st;
    if (c->at < c->size && peek(c) != '\n' && peek(c) != '\r') return fail(c, "the rule goes on with what it cannot");
    skip_space(c, 1);
    return move_to_rule(c, 0, number);
}

/* ---- left recursion ---- */

/* Follows each rule as far as it goes without reading a byte. A CALL is an edge of the graph in which a cycle is left recursion; what stands
 * behind it is followed when the called rule can be empty. Each operation is seen once. */
typedef struct {
    int32_t *owner;          /* of each operation: its rule; -1 before it is seen */
    int32_t *waiting, *edge; /* of each CALL: the next of a list */
    int32_t *work;           /* operations to follow */
    int32_t *waits, *edges;  /* of each rule: the lists of those who wait for it to be empty, and of what it begins with */
    int32_t *color, *path;
    size_t n_work;
} analysis;

static void follow(analysis *a, int32_t number, int32_t at)
{
    if (a->owner[at] >= 0) return;
    a->owner[at] = number;
    a->work[a->n_work++] = at;
}

static void find_edges(const compiler *c, analysis *a)
{
    enum { CAN_BE_EMPTY = -2 };

    for (size_t r = 0; r < c->n_rules; r++) follow(a, (int32_t)r, c->rules[r].start);
    while (a->n_work) {
        int32_t at = a->work[--a->n_work], number = a->owner[at];
        mmi_grammar_op op = c->code.ops[at];

        if (op.kind == MMI_GRAMMAR_SPLIT) follow(a, number, at + 1);
        if (op.kind == MMI_GRAMMAR_SPLIT || op.kind == MMI_GRAMMAR_JUMP) follow(a, number, at + op.to);
        if (op.kind == MMI_GRAMMAR_CALL) {
            a->edge[at] = a->edges[number];
            a->edges[number] = at;
            if (a->waits[op.to] == CAN_BE_EMPTY) {
                follow(a, number, at + 1);
            } else {
                a->waiting[at] = a->waits[op.to];
                a->waits[op.to] = at;
            }
        }
        if (op.kind == MMI_GRAMMAR_RETURN && a->waits[number] != CAN_BE_EMPTY) {
            int32_t w = a->waits[number];
            a->waits[number] = CAN_BE_EMPTY;
            for (; w >= 0; w = a->waiting[w]) follow(a, a->owner[w], w + 1);
        }
    }
}

static mm_status refuse_cycles(const compiler *c, analysis *a)
{
    enum { NEW, OPEN, DONE };

    for (size_t r = 0; r < c->n_rules; r++) {
        size_t depth = 0;
        if (a->color[r] != NEW) continue;
        a->path[depth++] = (int32_t)r;
        a->color[r] = OPEN;
        while (depth) {
            int32_t top = a->path[depth - 1], edge = a->edges[top], to;
            if (edge < 0) {
                a->color[top] = DONE;
                depth--;
                continue;
            }
            a->edges[top] = a->edge[edge];
            to = c->code.ops[edge].to;
            if (a->color[to] == OPEN) {
                while (depth > 1 && !c->rules[to].size) to = a->path[--depth]; /* a name from inside the cycle */
                return fail_at(c, c->rules[to].name, "left recursion, which is not supported, in the rule \"", c->text + c->rules[to].name, c->rules[to].size);
            }
            if (a->color[to] == NEW) {
                a->color[to] = OPEN;
                a->path[depth++] = to;
            }
        }
    }
    return MM_OK;
}

static mm_status refuse_left_recursion(const compiler *c)
{
    size_t n = c->code.count, r = c->n_rules;
    int32_t *all = mmi_alloc_array(c->ctx, 4 * n + 4 * r, sizeof *all);
    analysis a = {all, all + n, all + 2 * n, all + 3 * n, all + 4 * n, all + 4 * n + r, all + 4 * n + 2 * r, all + 4 * n + 3 * r, 0};
    mm_status st;

    if (!all) return MM_E_NOMEM;
    memset(all, 0xFF, (4 * n + 2 * r) * sizeof *all); /* -1 */
    memset(a.color, 0, r * sizeof *all);
    find_edges(c, &a);
    st = refuse_cycles(c, &a);
    mmi_free(all);
    return st;
}

/* ---- all ---- */

static mm_status compile(compiler *c, int32_t *root)
{
    int64_t found = -1;
    mm_status st = MM_OK;

    if (c->size > MMI_GRAMMAR_MAX_TEXT) return mmi_fail(c->ctx, MM_E_LIMIT, "%s has %zu bytes, at most %d are read", c->name, c->size, (int)MMI_GRAMMAR_MAX_TEXT);
    skip_space(c, 1);
    while (c->at < c->size)
        if ((st = read_rule(c))) return st;
    if (!mmi_hash_map_get(&c->names, "root", 4, &found)) return mmi_fail(c->ctx, MM_E_FORMAT, "%s has no rule \"root\"", c->name);
    for (size_t i = 0; i < c->n_rules; i++)
        if (c->rules[i].start < 0) return fail_at(c, c->rules[i].name, "there is no rule \"", c->text + c->rules[i].name, c->rules[i].size);
    if ((st = refuse_left_recursion(c))) return st;
    for (size_t i = 0; i < c->code.count; i++)
        if (c->code.ops[i].kind == MMI_GRAMMAR_CALL) c->code.ops[i].to = c->rules[c->code.ops[i].to].start;
    *root = c->rules[found].start;
    return MM_OK;
}

mm_status mmi_grammar_create(mm_context *ctx, const char *name, const char *text, size_t n, mmi_grammar **out)
{
    compiler c = {0};
    mmi_grammar *g = mmi_zalloc(ctx, sizeof *g);
    mm_status st;

    *out = NULL;
    if (!g) return MM_E_NOMEM;
    atomic_init(&g->references, 1);
    c.ctx = ctx;
    c.name = name;
    c.text = text;
    c.size = n;
    st = compile(&c, &g->root);
    if (!st) {
        g->code = c.code.ops;
        c.code.ops = NULL;
        *out = g;
        g = NULL;
    }
    mmi_grammar_release(g);
    mmi_free(c.code.ops);
    mmi_free(c.work.ops);
    mmi_free(c.rules);
    mmi_free(c.ranges);
    mmi_hash_map_clear(&c.names);
    mmi_hash_map_clear(&c.sets);
    return st;
}
