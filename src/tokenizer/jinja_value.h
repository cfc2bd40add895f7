/* The values of a chat template while it is rendered: the Python types that templates meet, without Python.
 *
 * All values of one render live in one arena and are never freed singly. Every operation spends from a budget of steps
 * and counts its nesting, so that no template can run for ever, fill the memory or overflow the stack.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_JINJA_VALUE_H
#define MMI_JINJA_VALUE_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "json.h"
#include "text.h"

enum {
    MMI_JINJA_MAX_STEPS = 10000000,       /* of evaluation; long texts and lists cost several */
    MMI_JINJA_MAX_DEPTH = 400,            /* nested evaluation, macros within macros, values within values */
    MMI_JINJA_MAX_TEXT = 64 << 20,        /* bytes of one string, and of the output */
    MMI_JINJA_MAX_MEMORY = 256 << 20,     /* bytes of all values of a render */
    MMI_JINJA_MAX_RANGE = 100000          /* items of a range, as in Jinja's sandbox */
};

typedef enum {
    MMI_JINJA_UNDEFINED,
    MMI_JINJA_NONE,
    MMI_JINJA_BOOL,
    MMI_JINJA_INT,
    MMI_JINJA_FLOAT,
    MMI_JINJA_STRING,
    MMI_JINJA_LIST,
    MMI_JINJA_TUPLE,
    MMI_JINJA_DICT,
    MMI_JINJA_RANGE,
    MMI_JINJA_VIEW,      /* keys(), values() or items() of a dict: iterable, no sequence */
    MMI_JINJA_ITERATOR,  /* what map, select, reverse ... return: can be walked once */
    MMI_JINJA_NAMESPACE,
    MMI_JINJA_FUNCTION,  /* a global function */
    MMI_JINJA_METHOD,    /* a method bound to its receiver */
    MMI_JINJA_MACRO,     /* the evaluator's */
    MMI_JINJA_LOOP       /* the evaluator's */
} mmi_jinja_kind;

typedef struct mmi_jinja_string mmi_jinja_string;
typedef struct mmi_jinja_list mmi_jinja_list;
typedef struct mmi_jinja_dict mmi_jinja_dict;
typedef struct mmi_jinja_range mmi_jinja_range;
typedef struct mmi_jinja_view mmi_jinja_view;
typedef struct mmi_jinja_iterator mmi_jinja_iterator;
typedef struct mmi_jinja_bound mmi_jinja_bound;
typedef struct mmi_jinja_method mmi_jinja_method;

typedef struct {
    uint8_t kind;   /* mmi_jinja_kind */
    uint8_t markup; /* of a string: `safe` or `escape` made it */
    union {
        int truth;
        int64_t integer;
        double real;
        const mmi_jinja_string *string;
        const mmi_jinja_string *hint; /* of an undefined value: the name that was looked for, or NULL */
        const mmi_jinja_list *list;   /* list, tuple */
        mmi_jinja_dict *dict;         /* dict, namespace (the only one that changes after it was built) */
        const mmi_jinja_range *range;
        const mmi_jinja_view *view;
        mmi_jinja_iterator *iterator;
        const struct mmi_jinja_function *function;
        const mmi_jinja_bound *bound;
        void *object; /* macro, loop */
    } as;
} mmi_jinja_value;

/* Text under construction, in the arena. */
typedef struct {
    char *data;
    size_t size, capacity;
} mmi_jinja_text;

struct mmi_jinja_string {
    const char *data; /* UTF-8 */
    size_t size;      /* bytes */
    size_t chars;     /* code points: what Python's len() and subscripts count */
    mmi_jinja_text *room; /* the buffer that `data` begins, when the string came from a concatenation; else NULL */
};

struct mmi_jinja_list {
    size_t count;
    const mmi_jinja_value *items;
};

typedef struct {
    mmi_jinja_value key, value;
    uint64_t hash;
} mmi_jinja_entry;

struct mmi_jinja_dict { /* in the order of insertion, as Python's */
    mmi_jinja_entry *entries;
    size_t count, capacity;
    uint32_t *index; /* open addressing, entry + 1; NULL while the dict is small */
    size_t index_size;
};

struct mmi_jinja_range {
    int64_t start, stop, step;
    size_t count;
};

struct mmi_jinja_view {
    enum { MMI_JINJA_KEYS, MMI_JINJA_VALUES, MMI_JINJA_ITEMS } what;
    const mmi_jinja_dict *dict;
};

struct mmi_jinja_iterator {
    const mmi_jinja_value *items;
    size_t count, next;
    const char *type; /* Python's name of it, for messages */
};

struct mmi_jinja_bound {
    mmi_jinja_value self;
    const mmi_jinja_method *method;
};

/* One render. After a failure `status` is set and the sentence stands on the context. */
typedef struct {
    mm_context *ctx;
    mmi_arena arena;
    int64_t steps; /* left */
    int depth;
    uint32_t line; /* of the template, for messages */
    mm_status status;
    int64_t now; /* seconds since 1970, for strftime_now */
} mmi_jinja_run;

/* Arguments of a call: the positional ones, then those given by name. */
typedef struct {
    size_t positional, named;
    const mmi_jinja_value *values;
    const mmi_jinja_string *const *names; /* of the `named` last ones */
} mmi_jinja_args;

/* The functions below return nonzero on failure. */

int mmi_jinja_fail(mmi_jinja_run *run, mm_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
int mmi_jinja_spend(mmi_jinja_run *run, size_t steps);
int mmi_jinja_enter(mmi_jinja_run *run); /* one level deeper; paired with --run->depth on success */
void *mmi_jinja_alloc(mmi_jinja_run *run, size_t count, size_t size);

int mmi_jinja_text_append(mmi_jinja_run *run, mmi_jinja_text *text, const char *bytes, size_t n);

extern const mmi_jinja_value mmi_jinja_undefined, mmi_jinja_none;
mmi_jinja_value mmi_jinja_bool(int truth);
mmi_jinja_value mmi_jinja_int(int64_t integer);
mmi_jinja_value mmi_jinja_float(double real);

size_t mmi_jinja_chars(const char *bytes, size_t n); /* code points, a malformed byte being one */
/* The offset of code point `index` (at most chars). */
size_t mmi_jinja_offset(const mmi_jinja_string *s, size_t index);
int mmi_jinja_string_wrap(mmi_jinja_run *run, const char *bytes, size_t n, mmi_jinja_value *out); /* bytes outlive the render */
int mmi_jinja_string_of_text(mmi_jinja_run *run, const mmi_jinja_text *text, mmi_jinja_value *out);
int mmi_jinja_string_concat(mmi_jinja_run *run, mmi_jinja_value a, mmi_jinja_value b, mmi_jinja_value *out);
int mmi_jinja_string_equals(const mmi_jinja_string *s, const char *text);

/* items: from the arena, not copied. */
int mmi_jinja_list_wrap(mmi_jinja_run *run, mmi_jinja_kind kind, const mmi_jinja_value *items, size_t count, mmi_jinja_value *out);
int mmi_jinja_pair(mmi_jinja_run *run, mmi_jinja_value a, mmi_jinja_value b, mmi_jinja_value *out);
int mmi_jinja_iterator_wrap(mmi_jinja_run *run, const char *type, const mmi_jinja_value *items, size_t count, mmi_jinja_value *out);

int mmi_jinja_dict_create(mmi_jinja_run *run, mmi_jinja_dict **out);
int mmi_jinja_dict_put(mmi_jinja_run *run, mmi_jinja_dict *dict, mmi_jinja_value key, mmi_jinja_value value);
int mmi_jinja_dict_put_text(mmi_jinja_run *run, mmi_jinja_dict *dict, const char *key, mmi_jinja_value value); /* key outlives the render */
/* *found is the value or NULL. */
int mmi_jinja_dict_find(mmi_jinja_run *run, const mmi_jinja_dict *dict, mmi_jinja_value key, const mmi_jinja_value **found);
/* Put the members of a mapping, or the pairs of an iterable, as Python's dict(). */
int mmi_jinja_dict_update(mmi_jinja_run *run, mmi_jinja_dict *dict, mmi_jinja_value from);

const char *mmi_jinja_type(mmi_jinja_value v); /* Python's name of the type */
int mmi_jinja_is_number(mmi_jinja_value v);    /* int, float or bool */
int mmi_jinja_truth(mmi_jinja_value v);
int mmi_jinja_equal(mmi_jinja_run *run, mmi_jinja_value a, mmi_jinja_value b, int *out);
/* *out < 0, 0, > 0; 2 when a NaN makes them unordered. Fails for types without an order. */
int mmi_jinja_order(mmi_jinja_run *run, mmi_jinja_value a, mmi_jinja_value b, int *out);
int mmi_jinja_contains(mmi_jinja_run *run, mmi_jinja_value container, mmi_jinja_value item, int *out);
int mmi_jinja_length(mmi_jinja_run *run, mmi_jinja_value v, size_t *out);
/* All items as an array; uses up an iterator. */
int mmi_jinja_items(mmi_jinja_run *run, mmi_jinja_value v, const mmi_jinja_value **items, size_t *count);
int mmi_jinja_is_iterable(mmi_jinja_value v);
mmi_jinja_value mmi_jinja_range_item(const mmi_jinja_range *range, size_t index);

/* Python's str() and repr(), appended or as a string value. */
int mmi_jinja_str(mmi_jinja_run *run, mmi_jinja_text *text, mmi_jinja_value v);
int mmi_jinja_repr(mmi_jinja_run *run, mmi_jinja_text *text, mmi_jinja_value v);
int mmi_jinja_to_string(mmi_jinja_run *run, mmi_jinja_value v, mmi_jinja_value *out);
/* A float as Python writes it: the shortest digits that read back equal. */
void mmi_jinja_float_text(double real, char out[40]);
/* snprintf of one double without the locale: the decimal point is a point. Returns the length, or 0 when it does not fit. */
size_t mmi_jinja_print_double(char *out, size_t size, const char *flags, int precision, char conversion, double real);
/* Reads digits[.digits][e[+-]digits] (checked by the caller) without the locale. */
int mmi_jinja_read_double(mmi_jinja_run *run, const char *bytes, size_t n, double *out);

typedef struct {
    int ascii;            /* escape what is not ASCII */
    int sort_keys;
    int pretty;           /* line breaks, with `indent` repeated for each level */
    const mmi_jinja_string *indent;
    const mmi_jinja_string *item_separator, *key_separator; /* NULL: Python's defaults */
} mmi_jinja_json_style;

/* json.dumps */
int mmi_jinja_dump_json(mmi_jinja_run *run, mmi_jinja_text *text, mmi_jinja_value v, const mmi_jinja_json_style *style);
/* The document must outlive the render: strings point into it. An absent node gives none. */
int mmi_jinja_from_json(mmi_jinja_run *run, const mmi_json_node *node, mmi_jinja_value *out);

/* A stable sort by keys[i]; moves the items with their keys. */
int mmi_jinja_sort(mmi_jinja_run *run, mmi_jinja_value *keys, mmi_jinja_value *items, size_t count, int reverse);

#endif
