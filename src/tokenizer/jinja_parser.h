/* From the text of a chat template to a tree: the parser of the Jinja2 subset, over the tokens of jinja_lexer.h.
 * Depth, size and number of nodes are bounded here, so that walking the tree needs no further care.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_JINJA_PARSER_H
#define MMI_JINJA_PARSER_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "jinja_value.h"

enum {
    MMI_JINJA_MAX_TEMPLATE = 1 << 20, /* bytes */
    MMI_JINJA_MAX_NODES = 1 << 17,
    MMI_JINJA_MAX_HEIGHT = 200        /* of the tree: a + b + c ... is as high as it is long */
};

typedef enum {
    /* statements; `next` chains them */
    MMI_JINJA_DATA,         /* value: text as it is */
    MMI_JINJA_PRINT,        /* a */
    MMI_JINJA_IF,           /* a: condition, body; b: the next elif (an IF) or else (a BODY) */
    MMI_JINJA_BODY,         /* body */
    MMI_JINJA_FOR,          /* a: target, b: iterable, c: condition or NULL, body, other: the else part */
    MMI_JINJA_SET,          /* a: target, b: value */
    MMI_JINJA_SET_BLOCK,    /* a: target, b: filters over a HOLE or NULL, body */
    MMI_JINJA_FILTER_BLOCK, /* b: filters over a HOLE, body */
    MMI_JINJA_WITH,         /* list: targets, other: values; body */
    MMI_JINJA_DEF_MACRO,    /* name, list: parameters (NAME, a: default or NULL), body */
    MMI_JINJA_CALL_BLOCK,   /* a: CALL, list: parameters, body: what `caller` renders */
    MMI_JINJA_GENERATION,   /* body */
    MMI_JINJA_BREAK,
    MMI_JINJA_CONTINUE,
    /* expressions; in lists `next` chains them */
    MMI_JINJA_CONST,     /* value */
    MMI_JINJA_NAME,      /* name */
    MMI_JINJA_HOLE,      /* the text that a filter block passes to its filters */
    MMI_JINJA_NEW_LIST,  /* list */
    MMI_JINJA_NEW_TUPLE, /* list; also a target */
    MMI_JINJA_NEW_DICT,  /* list: key, value, key, value ... */
    MMI_JINJA_ATTRIBUTE, /* a, value: the name; also a target (of a namespace) */
    MMI_JINJA_ITEM,      /* a [b] */
    MMI_JINJA_SLICE,     /* a [b:c:other], each may be NULL */
    MMI_JINJA_CALL,      /* a, list: arguments */
    MMI_JINJA_FILTER,    /* a, value: the name, list: arguments */
    MMI_JINJA_TEST,      /* a, value: the name, list: arguments */
    MMI_JINJA_KEYWORD,   /* an argument by name: value, a */
    MMI_JINJA_NOT, MMI_JINJA_NEGATIVE, MMI_JINJA_POSITIVE, /* a */
    MMI_JINJA_AND, MMI_JINJA_OR,                           /* a, b */
    MMI_JINJA_ADD, MMI_JINJA_SUBTRACT, MMI_JINJA_MULTIPLY, MMI_JINJA_DIVIDE, MMI_JINJA_FLOOR_DIVIDE, MMI_JINJA_MODULO, MMI_JINJA_POWER,
    MMI_JINJA_CONCAT,      /* list */
    MMI_JINJA_COMPARE,     /* a, list of COMPARE_* */
    MMI_JINJA_COMPARE_EQ, MMI_JINJA_COMPARE_NE, MMI_JINJA_COMPARE_LT, MMI_JINJA_COMPARE_LE, MMI_JINJA_COMPARE_GT, MMI_JINJA_COMPARE_GE,
    MMI_JINJA_COMPARE_IN, MMI_JINJA_COMPARE_NOT_IN, /* a: the right side */
    MMI_JINJA_CONDITIONAL  /* b if a else c; c may be NULL */
} mmi_jinja_node_kind;

typedef struct mmi_jinja_node {
    mmi_jinja_node_kind kind;
    uint32_t line;
    uint32_t height;
    uint32_t name;  /* index into the program's names */
    uint32_t count; /* of `list` */
    const void *builtin; /* of FILTER and TEST: the function, NULL when there is none of that name */
    mmi_jinja_value value;
    struct mmi_jinja_node *a, *b, *c, *other, *list, *body, *next;
} mmi_jinja_node;

/* Everything points into `arena`; nothing changes after parsing. */
typedef struct {
    mmi_arena arena;
    const mmi_jinja_node *body;
    const mmi_jinja_string *const *names; /* of variables */
    size_t name_count;
    uint32_t loop_name, caller_name; /* the names that the evaluator binds itself */
} mmi_jinja_program;

/* Parse a template. MM_E_LIMIT, MM_E_FORMAT (the sentence names the line) or MM_E_NOMEM; *out is then empty.
 * Clear with mmi_arena_clear(&out->arena). */
mm_status mmi_jinja_parse(mm_context *ctx, const char *text, size_t n, mmi_jinja_program *out);

#endif
