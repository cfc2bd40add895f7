/* SPDX-License-Identifier: MIT */
#include "jinja_eval.h"

#include <string.h>

#include "jinja_filter.h"
#include "jinja_method.h"
#include "jinja_operator.h"
#include "size.h"

typedef mmi_jinja_value value;
typedef mmi_jinja_node node;

typedef struct {
    uint32_t name;
    value value;
} binding;

/* The names bound within one turn of a loop, one call, one block. NULL is the template's own scope. */
typedef struct scope {
    struct scope *parent;
    binding *bindings;
    size_t count, capacity;
} scope;

typedef struct {
    mmi_jinja_run *run;
    const mmi_jinja_program *program;
    value *globals; /* by name */
    mmi_jinja_text *sink;
    value hole; /* what the filters of a block apply to */
} evaluator;

/* A macro sees the names of the place where it is defined, with the values they have when it runs. */
typedef struct {
    const node *definition; /* DEF_MACRO or CALL_BLOCK */
    scope *outer;
} macro;

/* A loop takes its items one by one; those that `loop.last`, `nextitem` or `length` had to look at wait in `ahead`. */
typedef struct {
    const node *node;
    scope *outer;
    const value *items;
    size_t count, next;
    value *ahead;
    size_t ahead_count, ahead_next;
    int64_t index; /* from 0 */
    value before, current;
} loop_state;

typedef enum { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE, FLOW_FAILED } flow;

static int eval(evaluator *e, const node *n, scope *s, value *out);
static flow run_body(evaluator *e, const node *n, scope *s);

static int fail_format(evaluator *e, const node *n, const char *what)
{
    e->run->line = n->line;
    return mmi_jinja_fail(e->run, MM_E_FORMAT, "%s", what);
}

/* ---- names ---- */

static scope *make_scope(evaluator *e, scope *parent)
{
    scope *s = mmi_jinja_alloc(e->run, 1, sizeof *s);
    if (!s) return NULL;
    memset(s, 0, sizeof *s);
    s->parent = parent;
    return s;
}

static int bind(evaluator *e, scope *s, uint32_t name, value v)
{
    if (!s) {
        e->globals[name] = v;
        return 0;
    }
    if (mmi_jinja_spend(e->run, s->count >> 4)) return 1;
    for (size_t i = 0; i < s->count; i++)
        if (s->bindings[i].name == name) {
            s->bindings[i].value = v;
            return 0;
        }
    if (s->count == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 4;
        binding *bindings = mmi_jinja_alloc(e->run, capacity, sizeof *bindings);
        if (!bindings) return 1;
        if (s->count) memcpy(bindings, s->bindings, s->count * sizeof *bindings);
        s->bindings = bindings;
        s->capacity = capacity;
    }
    s->bindings[s->count].name = name;
    s->bindings[s->count++].value = v;
    return 0;
}

static int look_up(evaluator *e, const scope *s, uint32_t name, value *out)
{
    for (; s; s = s->parent) {
        if (mmi_jinja_spend(e->run, s->count >> 4)) return 1;
        for (size_t i = 0; i < s->count; i++)
            if (s->bindings[i].name == name) {
                *out = s->bindings[i].value;
                return 0;
            }
    }
    *out = e->globals[name];
    return 0;
}

static int assign(evaluator *e, const node *target, scope *s, value v)
{
    const value *items;
    value space;
    size_t count, i = 0;

    e->run->line = target->line;
    if (target->kind == MMI_JINJA_NAME) return bind(e, s, target->name, v);
    if (target->kind == MMI_JINJA_ATTRIBUTE)
        return look_up(e, s, target->a->name, &space) || mmi_jinja_namespace_set(e->run, space, target->value.as.string, v);
    if (mmi_jinja_items(e->run, v, &items, &count)) return 1;
    if (count != target->count)
        return mmi_jinja_fail(e->run, MM_E_FORMAT, "%zu values are assigned to %u names", count, (unsigned)target->count);
    for (const node *n = target->list; n; n = n->next)
        if (assign(e, n, s, items[i++])) return 1;
    return 0;
}

/* ---- loops ---- */

/* The next item that passes the loop's condition. */
static int take_item(evaluator *e, loop_state *loop, int *found, value *out)
{
    *found = 0;
    while (!*found && loop->next < loop->count) {
        scope *s;
        value passes;

        *out = loop->items[loop->next++];
        *found = 1;
        if (!loop->node->c) break;
        s = make_scope(e, loop->outer);
        if (!s || assign(e, loop->node->a, s, *out) || eval(e, loop->node->c, s, &passes)) return 1;
        *found = mmi_jinja_truth(passes);
    }
    return 0;
}

/* Look ahead at one item, or at all. */
static int fill_ahead(evaluator *e, loop_state *loop, int all)
{
    value v;
    int found = 1;

    while (found && (all || loop->ahead_next == loop->ahead_count)) {
        if (take_item(e, loop, &found, &v)) return 1;
        if (!found) break;
        if (!loop->ahead) {
            loop->ahead = mmi_jinja_alloc(e->run, loop->count, sizeof *loop->ahead);
            if (!loop->ahead) return 1;
        }
        if (loop->ahead_next == loop->ahead_count) loop->ahead_next = loop->ahead_count = 0;
        loop->ahead[loop->ahead_count++] = v;
    }
    return 0;
}

static int next_item(evaluator *e, loop_state *loop, int *found)
{
    value v;

    *found = 1;
    if (loop->ahead_next < loop->ahead_count)
        v = loop->ahead[loop->ahead_next++];
    else if (take_item(e, loop, found, &v))
        return 1;
    if (!*found) return 0;
    loop->before = loop->current;
    loop->current = v;
    loop->index++;
    return 0;
}

static int loop_length(evaluator *e, loop_state *loop, int64_t *out)
{
    if (loop->node->c && fill_ahead(e, loop, 1)) return 1;
    *out = loop->index + 1 + (int64_t)(loop->ahead_count - loop->ahead_next) + (int64_t)(loop->count - loop->next);
    return 0;
}

static int loop_attribute(evaluator *e, loop_state *loop, const mmi_jinja_string *name, value *out)
{
    int64_t length = 0;
    int at_end;

    if (mmi_jinja_string_equals(name, "index"))
        *out = mmi_jinja_int(loop->index + 1);
    else if (mmi_jinja_string_equals(name, "index0"))
        *out = mmi_jinja_int(loop->index);
    else if (mmi_jinja_string_equals(name, "first"))
        *out = mmi_jinja_bool(loop->index == 0);
    else if (mmi_jinja_string_equals(name, "previtem"))
        *out = loop->before;
    else if (mmi_jinja_string_equals(name, "depth"))
        *out = mmi_jinja_int(1);
    else if (mmi_jinja_string_equals(name, "depth0"))
        *out = mmi_jinja_int(0);
    else if (mmi_jinja_string_equals(name, "last") || mmi_jinja_string_equals(name, "nextitem")) {
        if (fill_ahead(e, loop, 0)) return 1;
        at_end = loop->ahead_next == loop->ahead_count;
        if (name->data[0] == 'l')
            *out = mmi_jinja_bool(at_end);
        else
            *out = at_end ? mmi_jinja_undefined : loop->ahead[loop->ahead_next];
    } else if (mmi_jinja_string_equals(name, "length") || mmi_jinja_string_equals(name, "revindex") ||
               mmi_jinja_string_equals(name, "revindex0")) {
        if (loop_length(e, loop, &length)) return 1;
        if (name->data[0] == 'r') length -= loop->index + (name->size == 9);
        *out = mmi_jinja_int(length);
    } else {
        *out = mmi_jinja_undefined;
        out->as.hint = name;
    }
    return 0;
}

static flow run_for(evaluator *e, const node *n, scope *outer)
{
    loop_state *loop = mmi_jinja_alloc(e->run, 1, sizeof *loop);
    value iterable, self = {MMI_JINJA_LOOP, 0, {0}};
    int found, completed = 0; /* Jinja runs the else part unless some turn reached the end of the body */

    if (!loop || eval(e, n->b, outer, &iterable)) return FLOW_FAILED;
    memset(loop, 0, sizeof *loop);
    loop->node = n;
    loop->outer = outer;
    loop->index = -1;
    loop->before = loop->current = mmi_jinja_undefined;
    self.as.object = loop;
    e->run->line = n->line;
    if (mmi_jinja_items(e->run, iterable, &loop->items, &loop->count)) return FLOW_FAILED;
    for (;;) {
        scope *s;
        flow how;

        if (next_item(e, loop, &found)) return FLOW_FAILED;
        if (!found) break;
        s = make_scope(e, outer);
        if (!s || mmi_jinja_spend(e->run, 1) || bind(e, s, e->program->loop_name, self) || assign(e, n->a, s, loop->current))
            return FLOW_FAILED;
        how = run_body(e, n->body, s);
        if (how == FLOW_FAILED) return how;
        if (how == FLOW_BREAK) break;
        completed |= how == FLOW_ON;
    }
    if (completed || !n->other) return FLOW_ON;
    outer = make_scope(e, outer);
    return outer ? run_body(e, n->other, outer) : FLOW_FAILED;
}

/* ---- calls ---- */

/* The arguments of a call, filter or test; `caller`, when given, is a last one with that name. */
static int eval_arguments(evaluator *e, const node *call, scope *s, const value *caller, mmi_jinja_args *args)
{
    static const mmi_jinja_string caller_string = {"caller", 6, 6, NULL};
    size_t count = call->count + (caller != NULL), i = 0;
    value *values;
    const mmi_jinja_string **names;

    memset(args, 0, sizeof *args);
    if (!count) return 0;
    values = mmi_jinja_alloc(e->run, count, sizeof *values);
    names = mmi_jinja_alloc(e->run, count, sizeof *names);
    if (!values || !names) return 1;
    for (const node *n = call->list; n; n = n->next, i++) {
        if (eval(e, n->kind == MMI_JINJA_KEYWORD ? n->a : n, s, &values[i])) return 1;
        if (n->kind == MMI_JINJA_KEYWORD)
            names[args->named++] = n->value.as.string;
        else
            args->positional++;
    }
    if (caller) {
        values[i] = *caller;
        names[args->named++] = &caller_string;
    }
    args->values = values;
    args->names = names;
    return 0;
}

static int is_parameter(const evaluator *e, const node *definition, const mmi_jinja_string *name)
{
    for (const node *p = definition->list; p; p = p->next) {
        const mmi_jinja_string *own = e->program->names[p->name];
        if (own->size == name->size && memcmp(own->data, name->data, name->size) == 0) return 1;
    }
    return 0;
}

/* Bind the parameters of a macro, with defaults that may use the parameters before. */
static int bind_parameters(evaluator *e, const node *definition, const mmi_jinja_args *args, scope *s)
{
    size_t place = 0;

    if (args->positional > definition->count)
        return mmi_jinja_fail(e->run, MM_E_FORMAT, "a macro with %u parameters is given %zu arguments", (unsigned)definition->count,
                              args->positional);
    if (mmi_jinja_spend(e->run, args->named * definition->count >> 2)) return 1;
    for (size_t i = 0; i < args->named; i++) {
        if (is_parameter(e, definition, args->names[i])) continue;
        if (!mmi_jinja_string_equals(args->names[i], "caller"))
            return mmi_jinja_fail(e->run, MM_E_FORMAT, "a macro has no parameter '%.*s'", (int)mmi_size_min(args->names[i]->size, 60),
                                  args->names[i]->data);
        if (bind(e, s, e->program->caller_name, args->values[args->positional + i])) return 1;
    }
    for (const node *p = definition->list; p; p = p->next, place++) {
        const mmi_jinja_string *name = e->program->names[p->name];
        value v = mmi_jinja_undefined;
        int given = place < args->positional;

        v.as.hint = name;
        if (given) v = args->values[place];
        for (size_t i = 0; i < args->named; i++) {
            if (args->names[i]->size != name->size || memcmp(args->names[i]->data, name->data, name->size) != 0) continue;
            if (given)
                return mmi_jinja_fail(e->run, MM_E_FORMAT, "a macro is given '%.*s' twice", (int)mmi_size_min(name->size, 60), name->data);
            v = args->values[args->positional + i];
            given = 1;
        }
        if (!given && p->a && eval(e, p->a, s, &v)) return 1;
        if (bind(e, s, p->name, v)) return 1;
    }
    return 0;
}

/* Run a body into text of its own. */
static flow capture(evaluator *e, const node *body, scope *s, value *out)
{
    mmi_jinja_text text = {0}, *outside = e->sink;
    flow how;

    e->sink = &text;
    how = run_body(e, body, s);
    e->sink = outside;
    if (how != FLOW_FAILED && mmi_jinja_string_of_text(e->run, &text, out)) return FLOW_FAILED;
    return how;
}

static int call_macro(evaluator *e, const macro *m, const mmi_jinja_args *args, value *out)
{
    scope *s = make_scope(e, m->outer);
    return !s || bind_parameters(e, m->definition, args, s) || capture(e, m->definition->body, s, out) == FLOW_FAILED;
}

static int make_macro(evaluator *e, const node *definition, scope *s, value *out)
{
    macro *m = mmi_jinja_alloc(e->run, 1, sizeof *m);

    if (!m) return 1;
    m->definition = definition;
    m->outer = s;
    out->kind = MMI_JINJA_MACRO;
    out->markup = 0;
    out->as.object = m;
    return 0;
}

static int eval_call(evaluator *e, const node *n, scope *s, const value *caller, value *out)
{
    value callee;
    mmi_jinja_args args;
    int failed;

    if (n->a->kind == MMI_JINJA_ATTRIBUTE && mmi_jinja_string_equals(n->a->value.as.string, "cycle")) { /* loop.cycle(a, b) */
        if (eval(e, n->a->a, s, &callee)) return 1;
        if (callee.kind == MMI_JINJA_LOOP) {
            if (eval_arguments(e, n, s, NULL, &args)) return 1;
            if (!args.positional || args.named) return fail_format(e, n, "cycle needs values");
            *out = args.values[(size_t)((const loop_state *)callee.as.object)->index % args.positional];
            return 0;
        }
        if (mmi_jinja_attribute(e->run, callee, n->a->value.as.string, &callee)) return 1;
    } else if (eval(e, n->a, s, &callee)) {
        return 1;
    }
    if (eval_arguments(e, n, s, caller, &args)) return 1;
    e->run->line = n->line;
    if (callee.kind != MMI_JINJA_MACRO) return mmi_jinja_call(e->run, callee, &args, out);
    if (mmi_jinja_enter(e->run)) return 1;
    failed = call_macro(e, callee.as.object, &args, out);
    if (!failed) e->run->depth--;
    return failed;
}

/* ---- expressions ---- */

static int eval_list(evaluator *e, const node *n, scope *s, value *out)
{
    value *items = mmi_jinja_alloc(e->run, n->count, sizeof *items);
    size_t i = 0;

    if (!items) return 1;
    for (const node *item = n->list; item; item = item->next)
        if (eval(e, item, s, &items[i++])) return 1;
    return mmi_jinja_list_wrap(e->run, n->kind == MMI_JINJA_NEW_LIST ? MMI_JINJA_LIST : MMI_JINJA_TUPLE, items, i, out);
}

static int eval_dict(evaluator *e, const node *n, scope *s, value *out)
{
    mmi_jinja_dict *dict;

    if (mmi_jinja_dict_create(e->run, &dict)) return 1;
    for (const node *key = n->list; key; key = key->next->next) {
        value k, v;
        if (eval(e, key, s, &k) || eval(e, key->next, s, &v)) return 1;
        e->run->line = n->line;
        if (mmi_jinja_dict_put(e->run, dict, k, v)) return 1;
    }
    out->kind = MMI_JINJA_DICT;
    out->markup = 0;
    out->as.dict = dict;
    return 0;
}

static int eval_attribute(evaluator *e, const node *n, scope *s, value *out)
{
    value object, key;

    if (eval(e, n->a, s, &object)) return 1;
    if (n->kind == MMI_JINJA_ITEM && eval(e, n->b, s, &key)) return 1;
    e->run->line = n->line;
    if (object.kind == MMI_JINJA_LOOP) {
        if (n->kind == MMI_JINJA_ATTRIBUTE) return loop_attribute(e, object.as.object, n->value.as.string, out);
        if (key.kind == MMI_JINJA_STRING) return loop_attribute(e, object.as.object, key.as.string, out);
    }
    return n->kind == MMI_JINJA_ATTRIBUTE ? mmi_jinja_attribute(e->run, object, n->value.as.string, out)
                                          : mmi_jinja_item(e->run, object, key, out);
}

static int eval_slice(evaluator *e, const node *n, scope *s, value *out)
{
    value object, start = mmi_jinja_none, stop = mmi_jinja_none, step = mmi_jinja_none;

    if (eval(e, n->a, s, &object) || (n->b && eval(e, n->b, s, &start)) || (n->c && eval(e, n->c, s, &stop)) ||
        (n->other && eval(e, n->other, s, &step)))
        return 1;
    e->run->line = n->line;
    return mmi_jinja_slice(e->run, object, start, stop, step, out);
}

static int eval_filter(evaluator *e, const node *n, scope *s, value *out)
{
    value v;
    mmi_jinja_args args;
    const mmi_jinja_string *name = n->value.as.string;

    if (eval(e, n->a, s, &v) || eval_arguments(e, n, s, NULL, &args)) return 1;
    e->run->line = n->line;
    if (!n->builtin) return mmi_jinja_fail(e->run, MM_E_FORMAT, "there is no filter '%.*s'", (int)mmi_size_min(name->size, 60), name->data);
    return mmi_jinja_filter_apply(e->run, n->builtin, v, &args, out);
}

static int eval_test(evaluator *e, const node *n, scope *s, value *out)
{
    value v;
    mmi_jinja_args args;
    const mmi_jinja_string *name = n->value.as.string;
    int passes;

    if (eval(e, n->a, s, &v) || eval_arguments(e, n, s, NULL, &args)) return 1;
    e->run->line = n->line;
    if (!n->builtin) return mmi_jinja_fail(e->run, MM_E_FORMAT, "there is no test '%.*s'", (int)mmi_size_min(name->size, 60), name->data);
    if (mmi_jinja_test_apply(e->run, n->builtin, v, &args, &passes)) return 1;
    *out = mmi_jinja_bool(passes);
    return 0;
}

static int eval_concat(evaluator *e, const node *n, scope *s, value *out)
{
    value v;

    if (eval(e, n->list, s, &v) || mmi_jinja_to_string(e->run, v, out)) return 1;
    for (const node *part = n->list->next; part; part = part->next)
        if (eval(e, part, s, &v) || mmi_jinja_to_string(e->run, v, &v) || mmi_jinja_string_concat(e->run, *out, v, out)) return 1;
    return 0;
}

static int compare(mmi_jinja_run *run, mmi_jinja_node_kind kind, value a, value b, int *out)
{
    int order;

    switch (kind) {
    case MMI_JINJA_COMPARE_EQ: return mmi_jinja_equal(run, a, b, out);
    case MMI_JINJA_COMPARE_NE:
        if (mmi_jinja_equal(run, a, b, out)) return 1;
        *out = !*out;
        return 0;
    case MMI_JINJA_COMPARE_IN: return mmi_jinja_contains(run, b, a, out);
    case MMI_JINJA_COMPARE_NOT_IN:
        if (mmi_jinja_contains(run, b, a, out)) return 1;
        *out = !*out;
        return 0;
    default: break;
    }
    if (mmi_jinja_order(run, a, b, &order)) return 1;
    *out = order != 2 && (kind == MMI_JINJA_COMPARE_LT   ? order < 0
                          : kind == MMI_JINJA_COMPARE_LE ? order <= 0
                          : kind == MMI_JINJA_COMPARE_GT ? order > 0
                                                         : order >= 0);
    return 0;
}

static int eval_compare(evaluator *e, const node *n, scope *s, value *out)
{
    value left, right;
    int holds = 1;

    if (eval(e, n->a, s, &left)) return 1;
    for (const node *c = n->list; c && holds; c = c->next) {
        if (eval(e, c->a, s, &right)) return 1;
        e->run->line = c->line;
        if (compare(e->run, c->kind, left, right, &holds)) return 1;
        left = right;
    }
    *out = mmi_jinja_bool(holds);
    return 0;
}

static int eval_operator(evaluator *e, const node *n, scope *s, value *out)
{
    value a, b;

    if (eval(e, n->a, s, &a)) return 1;
    if (n->kind == MMI_JINJA_NOT) {
        *out = mmi_jinja_bool(!mmi_jinja_truth(a));
        return 0;
    }
    if (n->kind == MMI_JINJA_AND || n->kind == MMI_JINJA_OR) {
        *out = a;
        return mmi_jinja_truth(a) == (n->kind == MMI_JINJA_AND) ? eval(e, n->b, s, out) : 0;
    }
    if (n->kind == MMI_JINJA_NEGATIVE || n->kind == MMI_JINJA_POSITIVE) {
        e->run->line = n->line;
        return mmi_jinja_signed(e->run, n->kind, a, out);
    }
    if (eval(e, n->b, s, &b)) return 1;
    e->run->line = n->line;
    return mmi_jinja_operate(e->run, n->kind, a, b, out);
}

static int eval_conditional(evaluator *e, const node *n, scope *s, value *out)
{
    value condition;

    if (eval(e, n->a, s, &condition)) return 1;
    if (mmi_jinja_truth(condition)) return eval(e, n->b, s, out);
    *out = mmi_jinja_undefined;
    return n->c ? eval(e, n->c, s, out) : 0;
}

static int eval_node(evaluator *e, const node *n, scope *s, value *out)
{
    switch (n->kind) {
    case MMI_JINJA_CONST: *out = n->value; return 0;
    case MMI_JINJA_NAME: return look_up(e, s, n->name, out);
    case MMI_JINJA_HOLE: *out = e->hole; return 0;
    case MMI_JINJA_NEW_LIST:
    case MMI_JINJA_NEW_TUPLE: return eval_list(e, n, s, out);
    case MMI_JINJA_NEW_DICT: return eval_dict(e, n, s, out);
    case MMI_JINJA_ATTRIBUTE:
    case MMI_JINJA_ITEM: return eval_attribute(e, n, s, out);
    case MMI_JINJA_SLICE: return eval_slice(e, n, s, out);
    case MMI_JINJA_CALL: return eval_call(e, n, s, NULL, out);
    case MMI_JINJA_FILTER: return eval_filter(e, n, s, out);
    case MMI_JINJA_TEST: return eval_test(e, n, s, out);
    case MMI_JINJA_CONCAT: return eval_concat(e, n, s, out);
    case MMI_JINJA_COMPARE: return eval_compare(e, n, s, out);
    case MMI_JINJA_CONDITIONAL: return eval_conditional(e, n, s, out);
    default: return eval_operator(e, n, s, out);
    }
}

static int eval(evaluator *e, const node *n, scope *s, value *out)
{
    if (mmi_jinja_spend(e->run, 1) || mmi_jinja_enter(e->run) || eval_node(e, n, s, out)) return 1;
    e->run->depth--;
    return 0;
}

/* ---- statements ---- */

static flow run_if(evaluator *e, const node *n, scope *s)
{
    for (; n; n = n->b) {
        value condition;
        if (n->kind == MMI_JINJA_IF) {
            if (mmi_jinja_spend(e->run, 1) || eval(e, n->a, s, &condition)) return FLOW_FAILED;
            if (!mmi_jinja_truth(condition)) continue;
        }
        return run_body(e, n->body, s);
    }
    return FLOW_ON;
}

/* The text of a block, through its filters. A break or continue within leaves the block without its effect. */
static flow run_captured(evaluator *e, const node *n, scope *s, value *out)
{
    scope *inner = make_scope(e, s);
    value outside = e->hole;
    flow how = inner ? capture(e, n->body, inner, out) : FLOW_FAILED;

    if (how != FLOW_ON || !n->b) return how;
    e->hole = *out;
    if (eval(e, n->b, s, out)) return FLOW_FAILED;
    e->hole = outside;
    return FLOW_ON;
}

static flow run_with(evaluator *e, const node *n, scope *s)
{
    scope *inner = make_scope(e, s);
    const node *v = n->other;

    if (!inner) return FLOW_FAILED;
    for (const node *target = n->list; target; target = target->next, v = v->next) {
        value evaluated;
        if (eval(e, v, s, &evaluated) || assign(e, target, inner, evaluated)) return FLOW_FAILED;
    }
    return run_body(e, n->body, inner);
}

static flow run_statement(evaluator *e, const node *n, scope *s)
{
    value v;
    scope *inner;
    flow how;

    switch (n->kind) {
    case MMI_JINJA_DATA: return mmi_jinja_str(e->run, e->sink, n->value) ? FLOW_FAILED : FLOW_ON;
    case MMI_JINJA_PRINT: return eval(e, n->a, s, &v) || mmi_jinja_str(e->run, e->sink, v) ? FLOW_FAILED : FLOW_ON;
    case MMI_JINJA_IF: return run_if(e, n, s);
    case MMI_JINJA_FOR: return run_for(e, n, s);
    case MMI_JINJA_SET: return eval(e, n->b, s, &v) || assign(e, n->a, s, v) ? FLOW_FAILED : FLOW_ON;
    case MMI_JINJA_SET_BLOCK: how = run_captured(e, n, s, &v); return how == FLOW_ON && assign(e, n->a, s, v) ? FLOW_FAILED : how;
    case MMI_JINJA_FILTER_BLOCK:
        how = run_captured(e, n, s, &v);
        return how == FLOW_ON && mmi_jinja_str(e->run, e->sink, v) ? FLOW_FAILED : how;
    case MMI_JINJA_WITH: return run_with(e, n, s);
    case MMI_JINJA_DEF_MACRO: return make_macro(e, n, s, &v) || bind(e, s, n->name, v) ? FLOW_FAILED : FLOW_ON;
    case MMI_JINJA_CALL_BLOCK:
        return make_macro(e, n, s, &v) || eval_call(e, n->a, s, &v, &v) || mmi_jinja_str(e->run, e->sink, v) ? FLOW_FAILED : FLOW_ON;
    case MMI_JINJA_GENERATION: inner = make_scope(e, s); return inner ? run_body(e, n->body, inner) : FLOW_FAILED;
    case MMI_JINJA_BREAK: return FLOW_BREAK;
    case MMI_JINJA_CONTINUE: return FLOW_CONTINUE;
    default: break;
    }
    return mmi_jinja_fail(e->run, MM_E_INTERNAL, "a statement of unknown kind") ? FLOW_FAILED : FLOW_ON;
}

static flow run_body(evaluator *e, const node *n, scope *s)
{
    flow how = FLOW_ON;

    if (mmi_jinja_enter(e->run)) return FLOW_FAILED;
    for (; n && how == FLOW_ON; n = n->next) {
        e->run->line = n->line;
        if (mmi_jinja_spend(e->run, 1)) return FLOW_FAILED;
        how = run_statement(e, n, s);
    }
    e->run->depth--;
    return how;
}

int mmi_jinja_eval(mmi_jinja_run *run, const mmi_jinja_program *program, const mmi_jinja_dict *variables, mmi_jinja_text *out)
{
    evaluator e = {run, program, NULL, out, mmi_jinja_undefined};

    e.globals = mmi_jinja_alloc(run, program->name_count, sizeof *e.globals);
    if (!e.globals) return 1;
    for (size_t i = 0; i < program->name_count; i++) {
        value key = {MMI_JINJA_STRING, 0, {0}};
        const value *found;

        key.as.string = program->names[i];
        if (mmi_jinja_dict_find(run, variables, key, &found)) return 1;
        if (found) {
            e.globals[i] = *found;
        } else if (!mmi_jinja_global(program->names[i], &e.globals[i])) {
            e.globals[i] = mmi_jinja_undefined;
            e.globals[i].as.hint = program->names[i];
        }
    }
    return run_body(&e, program->body, NULL) == FLOW_FAILED;
}
