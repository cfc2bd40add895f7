/* SPDX-License-Identifier: MIT */
#include "jinja_parser.h"

#include <string.h>

#include "hash_map.h"
#include "jinja_filter.h"
#include "jinja_lexer.h"
#include "jinja_string.h"

typedef mmi_jinja_node node;
typedef mmi_jinja_token token;

typedef struct {
    mmi_jinja_lexer lexer;
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

/* ---- tokens as the parser sees them ---- */

static int advance(parser *p)
{
    if (p->has_ahead) {
        p->current = p->ahead;
        p->has_ahead = 0;
        return 0;
    }
    return mmi_jinja_lex(&p->lexer, &p->current);
}

static int is_name_token(const token *t, const char *name)
{
    return t->kind == MMI_TOKEN_NAME && strlen(name) == t->size && memcmp(name, t->text, t->size) == 0;
}

static int at_name(const parser *p, const char *name) { return is_name_token(&p->current, name); }
static int at_op(const parser *p, int op) { return p->current.kind == MMI_TOKEN_OPERATOR && p->current.op == op; }

/* Whether the next token but one is `op` (or, with op 0, the name). Nonzero on failure. */
static int look_ahead(parser *p, int op, const char *name, int *out)
{
    if (!p->has_ahead) {
        if (mmi_jinja_lex(&p->lexer, &p->ahead)) return 1;
        p->has_ahead = 1;
    }
    *out = op ? p->ahead.kind == MMI_TOKEN_OPERATOR && p->ahead.op == op : is_name_token(&p->ahead, name);
    return 0;
}

static int unexpected(parser *p, const char *expected)
{
    static const char *const kinds[] = {
        "the end of the template", "text", "{{", "}}", "{%", "%}", "", "a string", "an integer", "a number", ""};
    const token *t = &p->current;

    p->lexer.run.line = t->line;
    if (t->kind == MMI_TOKEN_NAME)
        return mmi_jinja_fail(&p->lexer.run, MM_E_FORMAT, "'%.*s' stands where %s is expected", (int)(t->size < 60 ? t->size : 60), t->text,
                              expected);
    if (t->kind == MMI_TOKEN_OPERATOR && t->op < 256)
        return mmi_jinja_fail(&p->lexer.run, MM_E_FORMAT, "'%c' stands where %s is expected", t->op, expected);
    return mmi_jinja_fail(&p->lexer.run, MM_E_FORMAT, "%s stands where %s is expected", t->kind == MMI_TOKEN_OPERATOR ? "an operator" : kinds[t->kind],
                          expected);
}

static int expect_op(parser *p, char op)
{
    char expected[4] = {'\'', op, '\'', 0};
    return at_op(p, op) ? advance(p) : unexpected(p, expected);
}

static int expect_block_end(parser *p) { return p->current.kind == MMI_TOKEN_BLOCK_END ? advance(p) : unexpected(p, "%}"); }

/* ---- nodes ---- */

static node *make(parser *p, mmi_jinja_node_kind kind, uint32_t line)
{
    node *n;

    if (p->nodes++ == MMI_JINJA_MAX_NODES) {
        p->lexer.run.line = line;
        (void)mmi_jinja_fail(&p->lexer.run, MM_E_LIMIT, "the template has more than %d parts", MMI_JINJA_MAX_NODES);
        return NULL;
    }
    n = mmi_jinja_alloc(&p->lexer.run, 1, sizeof *n);
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
    p->lexer.run.line = parent->line;
    return mmi_jinja_fail(&p->lexer.run, MM_E_LIMIT, "an expression or block has more than %d levels", MMI_JINJA_MAX_HEIGHT);
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
    p->lexer.run.line = p->current.line;
    return mmi_jinja_fail(&p->lexer.run, MM_E_LIMIT, "the template is nested more than %d levels deep", MMI_JINJA_MAX_NESTING);
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
        const mmi_jinja_string **names = mmi_jinja_alloc(&p->lexer.run, capacity, sizeof *names);
        if (!names) return 1;
        if (p->name_count) memcpy(names, p->names, p->name_count * sizeof *names);
        p->names = names;
        p->name_capacity = capacity;
    }
    if (mmi_jinja_string_wrap(&p->lexer.run, text, size, &s)) return 1;
    if (mmi_hash_map_put(p->lexer.run.ctx, &p->name_map, text, size, (int64_t)p->name_count, NULL)) {
        p->lexer.run.status = MM_E_NOMEM;
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
    return p->current.kind == MMI_TOKEN_PRINT_END || p->current.kind == MMI_TOKEN_BLOCK_END || at_op(p, ')') || (extra && at_name(p, extra));
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

    while (n && p->current.kind == MMI_TOKEN_STRING) { /* 'a' 'b' */
        if (mmi_jinja_string_concat(&p->lexer.run, all, p->current.value, &all) || advance(p)) return NULL;
        /* without the room of a concatenation, into which a render would write */
        if (mmi_jinja_string_wrap(&p->lexer.run, all.as.string->data, all.as.string->size, &n->value)) return NULL;
    }
    return n;
}

static node *parse_primary(parser *p)
{
    uint32_t line = p->current.line;
    node *n;

    switch (p->current.kind) {
    case MMI_TOKEN_NAME:
        if (at_name(p, "true") || at_name(p, "True")) return make_const(p, mmi_jinja_bool(1));
        if (at_name(p, "false") || at_name(p, "False")) return make_const(p, mmi_jinja_bool(0));
        if (at_name(p, "none") || at_name(p, "None")) return make_const(p, mmi_jinja_none);
        return make_name(p);
    case MMI_TOKEN_STRING: return parse_string(p);
    case MMI_TOKEN_INT:
    case MMI_TOKEN_FLOAT: return make_const(p, p->current.value);
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
        if (at_op(p, '*') || at_op(p, MMI_OP_POWER)) return mmi_jinja_fail_at(&p->lexer, p->current.line, "arguments by * or ** are not supported");
        if (p->current.kind == MMI_TOKEN_NAME && look_ahead(p, '=', NULL, &is_keyword)) return 1;
        if (is_keyword) {
            keywords = 1;
            n = make(p, MMI_JINJA_KEYWORD, p->current.line);
            if (!n || mmi_jinja_string_wrap(&p->lexer.run, p->current.text, p->current.size, &n->value) || advance(p) || advance(p)) return 1;
            value = parse_expression(p);
            if (!value) return 1;
            n->a = value;
            if (lift(p, n, value)) return 1;
        } else {
            if (keywords) return mmi_jinja_fail_at(&p->lexer, p->current.line, "an argument by position behind one by name");
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

    if (p->current.kind == MMI_TOKEN_INT) {
        node *index = make_const(p, p->current.value);
        return index ? make_binary(p, MMI_JINJA_ITEM, line, object, index) : NULL;
    }
    if (p->current.kind != MMI_TOKEN_NAME) {
        (void)unexpected(p, "a name or number");
        return NULL;
    }
    n = make_unary(p, MMI_JINJA_ATTRIBUTE, line, object);
    return !n || mmi_jinja_string_wrap(&p->lexer.run, p->current.text, p->current.size, &n->value) || advance(p) ? NULL : n;
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

    if (p->current.kind != MMI_TOKEN_NAME) {
        (void)unexpected(p, kind == MMI_JINJA_FILTER ? "the name of a filter" : "the name of a test");
        return NULL;
    }
    n = make_unary(p, kind, p->current.line, object);
    if (!n || mmi_jinja_string_wrap(&p->lexer.run, p->current.text, p->current.size, &n->value)) return NULL;
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
        (p->current.kind == MMI_TOKEN_NAME || p->current.kind == MMI_TOKEN_STRING || p->current.kind == MMI_TOKEN_INT || p->current.kind == MMI_TOKEN_FLOAT ||
         at_op(p, '[') || at_op(p, '{')) &&
        !at_name(p, "else") && !at_name(p, "or") && !at_name(p, "and")) {
        if (at_name(p, "is")) {
            (void)mmi_jinja_fail_at(&p->lexer, line, "tests with `is` in a row");
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
    } table[] = {{MMI_OP_EQ, LEVEL_COMPARE, MMI_JINJA_COMPARE_EQ},
                 {MMI_OP_NE, LEVEL_COMPARE, MMI_JINJA_COMPARE_NE},
                 {'<', LEVEL_COMPARE, MMI_JINJA_COMPARE_LT},
                 {MMI_OP_LE, LEVEL_COMPARE, MMI_JINJA_COMPARE_LE},
                 {'>', LEVEL_COMPARE, MMI_JINJA_COMPARE_GT},
                 {MMI_OP_GE, LEVEL_COMPARE, MMI_JINJA_COMPARE_GE},
                 {'+', LEVEL_ADD, MMI_JINJA_ADD},
                 {'-', LEVEL_ADD, MMI_JINJA_SUBTRACT},
                 {'~', LEVEL_CONCAT, MMI_JINJA_CONCAT},
                 {'*', LEVEL_MULTIPLY, MMI_JINJA_MULTIPLY},
                 {'/', LEVEL_MULTIPLY, MMI_JINJA_DIVIDE},
                 {MMI_OP_FLOOR_DIVIDE, LEVEL_MULTIPLY, MMI_JINJA_FLOOR_DIVIDE},
                 {'%', LEVEL_MULTIPLY, MMI_JINJA_MODULO},
                 {MMI_OP_POWER, LEVEL_POWER, MMI_JINJA_POWER}};
    int is_not_in = 0;

    *level = 0;
    if (p->current.kind == MMI_TOKEN_OPERATOR) {
        for (size_t i = 0; i < sizeof table / sizeof *table; i++)
            if (table[i].op == p->current.op) {
                *level = table[i].level;
                *kind = table[i].kind;
            }
        return 0;
    }
    if (p->current.kind != MMI_TOKEN_NAME) return 0;
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
            if (p->current.kind != MMI_TOKEN_NAME || at_name(p, "true") || at_name(p, "false") || at_name(p, "none") || at_name(p, "True") ||
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
                    (void)mmi_jinja_fail_at(&p->lexer, line, "an assignment to an item");
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
    if (at_name(p, "recursive")) return mmi_jinja_fail_at(&p->lexer, n->line, "recursive loops are not supported");
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

    while (p->current.kind != MMI_TOKEN_BLOCK_END) {
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
        if (p->current.kind != MMI_TOKEN_NAME) return unexpected(p, "the name of a parameter");
        parameter = make_name(p);
        if (!parameter) return 1;
        if (at_op(p, '=')) {
            defaults = 1;
            parameter->a = advance(p) ? NULL : parse_expression(p);
            if (!parameter->a || lift(p, parameter, parameter->a)) return 1;
        } else if (defaults) {
            return mmi_jinja_fail_at(&p->lexer, n->line, "a parameter without default behind one with");
        }
        add_node(&list, parameter);
    }
    return set_list(p, n, &list) || advance(p);
}

static int parse_macro(parser *p, node *n)
{
    if (p->current.kind != MMI_TOKEN_NAME) return unexpected(p, "the name of a macro");
    if (intern(p, p->current.text, p->current.size, &n->name) || advance(p) || parse_signature(p, n)) return 1;
    return parse_closed_body(p, n, "endmacro");
}

static int parse_call_block(parser *p, node *n)
{
    if (at_op(p, '(') && parse_signature(p, n)) return 1;
    n->a = parse_expression(p);
    if (!n->a || lift(p, n, n->a)) return 1;
    if (n->a->kind != MMI_JINJA_CALL) return mmi_jinja_fail_at(&p->lexer, n->line, "{% call %} needs a call");
    return parse_closed_body(p, n, "endcall");
}

static int parse_loop_control(parser *p, node *n)
{
    (void)n;
    return p->loops ? 0 : mmi_jinja_fail_at(&p->lexer, p->current.line, "break or continue outside a loop");
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
        if (p->current.kind == MMI_TOKEN_EOF) {
            if (ends) return unexpected(p, ends[1] ? "the end of a block" : ends[0]);
            break;
        }
        if (p->current.kind == MMI_TOKEN_DATA) {
            n = make(p, MMI_JINJA_DATA, p->current.line);
            if (!n || mmi_jinja_string_wrap(&p->lexer.run, p->current.text, p->current.size, &n->value) || advance(p)) return 1;
        } else if (p->current.kind == MMI_TOKEN_PRINT_BEGIN) {
            n = make(p, MMI_JINJA_PRINT, p->current.line);
            if (!n || advance(p)) return 1;
            n->a = parse_tuple(p, 1, 0, NULL);
            if (!n->a || lift(p, n, n->a)) return 1;
            if (p->current.kind != MMI_TOKEN_PRINT_END) return unexpected(p, "}}");
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

mm_status mmi_jinja_parse(mm_context *ctx, const char *text, size_t n, mmi_jinja_program *out)
{
    parser p;
    node *body;
    size_t bad;

    memset(out, 0, sizeof *out);
    memset(&p, 0, sizeof p);
    p.lexer.run.ctx = ctx;
    p.lexer.run.arena.limit = MMI_JINJA_MAX_MEMORY;
    p.lexer.run.steps = MMI_JINJA_MAX_STEPS;
    if (n > MMI_JINJA_MAX_TEMPLATE)
        return mmi_fail(ctx, MM_E_LIMIT, "the chat template has %zu bytes, more than %d", n, MMI_JINJA_MAX_TEMPLATE);
    bad = mmi_utf8_valid(text, n);
    if (bad < n) return mmi_fail(ctx, MM_E_FORMAT, "the chat template is not UTF-8 at byte %zu", bad);

    if (mmi_jinja_lexer_begin(&p.lexer, text, n) || intern(&p, "loop", 4, &out->loop_name) || intern(&p, "caller", 6, &out->caller_name) || advance(&p) ||
        parse_statements(&p, NULL, NULL, &body)) {
        mmi_arena_clear(&p.lexer.run.arena);
    } else {
        out->arena = p.lexer.run.arena;
        out->body = body;
        out->names = p.names;
        out->name_count = p.name_count;
    }
    mmi_hash_map_clear(&p.name_map);
    return p.lexer.run.status;
}
