/* SPDX-License-Identifier: MIT */
#include "jinja_value.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jinja_string.h"
#include "size.h"

enum { SMALL_DICT = 8 }; /* entries that are searched one by one */

typedef mmi_jinja_value value;
typedef mmi_jinja_run jinja_run;

const value mmi_jinja_undefined = {MMI_JINJA_UNDEFINED, 0, {0}};
const value mmi_jinja_none = {MMI_JINJA_NONE, 0, {0}};

value mmi_jinja_bool(int truth)
{
    value v = {MMI_JINJA_BOOL, 0, {0}};
    v.as.truth = truth != 0;
    return v;
}

value mmi_jinja_int(int64_t integer)
{
    value v = {MMI_JINJA_INT, 0, {0}};
    v.as.integer = integer;
    return v;
}

value mmi_jinja_float(double real)
{
    value v = {MMI_JINJA_FLOAT, 0, {0}};
    v.as.real = real;
    return v;
}

/* ---- budget, memory, failure ---- */

int mmi_jinja_fail(jinja_run *run, mm_status status, const char *format, ...)
{
    char text[640];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    run->status = mmi_fail(run->ctx, status, "chat template, line %u: %s", (unsigned)run->line, text);
    return 1;
}

int mmi_jinja_spend(jinja_run *run, size_t steps)
{
    enum { POLL = 1 << 16 };
    int64_t before = run->steps;

    if (steps > (size_t)before) return mmi_jinja_fail(run, MM_E_LIMIT, "rendering takes more than %d steps", MMI_JINJA_MAX_STEPS);
    run->steps -= (int64_t)steps;
    if (before / POLL != run->steps / POLL) {
        run->status = mmi_check_cancel(run->ctx);
        return run->status != MM_OK;
    }
    return 0;
}

int mmi_jinja_enter(jinja_run *run)
{
    if (run->depth >= MMI_JINJA_MAX_DEPTH)
        return mmi_jinja_fail(run, MM_E_LIMIT, "calls or values are nested more than %d levels deep", MMI_JINJA_MAX_DEPTH);
    run->depth++;
    return 0;
}

/* After the arena refused: the heap's own sentence stays, the arena's limit gets ours. */
static int no_memory(jinja_run *run)
{
    run->status = run->ctx->error_status;
    if (run->status != MM_E_LIMIT) return 1;
    return mmi_jinja_fail(run, MM_E_LIMIT, "rendering takes more than %d MiB of memory", MMI_JINJA_MAX_MEMORY >> 20);
}

void *mmi_jinja_alloc(jinja_run *run, size_t count, size_t size)
{
    void *p = mmi_arena_alloc_array(run->ctx, &run->arena, count, size);
    if (!p) (void)no_memory(run);
    return p;
}

int mmi_jinja_text_append(jinja_run *run, mmi_jinja_text *text, const char *bytes, size_t n)
{
    size_t need;
    char *p;

    if (mmi_jinja_spend(run, n >> 6)) return 1;
    if (n > MMI_JINJA_MAX_TEXT || text->size + n > MMI_JINJA_MAX_TEXT)
        return mmi_jinja_fail(run, MM_E_LIMIT, "a text of more than %d MiB", MMI_JINJA_MAX_TEXT >> 20);
    need = text->size + n;
    if (need > text->capacity) {
        size_t capacity = text->capacity ? mmi_size_max(need, text->capacity * 2) : mmi_size_max(need, 16);
        p = mmi_arena_grow(run->ctx, &run->arena, text->data, text->capacity, capacity);
        if (!p) return no_memory(run);
        text->data = p;
        text->capacity = capacity;
    }
    if (n) memcpy(text->data + text->size, bytes, n);
    text->size = need;
    return 0;
}

/* ---- strings ---- */

static size_t char_size(const char *s, size_t n)
{
    uint32_t code;
    size_t len = mmi_utf8_decode(s, n, &code);
    return len ? len : 1;
}

size_t mmi_jinja_chars(const char *s, size_t n)
{
    size_t chars = 0;
    for (size_t i = 0; i < n; chars++) i += (unsigned char)s[i] < 0x80 ? 1 : char_size(s + i, n - i);
    return chars;
}

size_t mmi_jinja_offset(const mmi_jinja_string *s, size_t index)
{
    size_t at = 0;
    if (s->chars == s->size) return index;
    while (index--) at += char_size(s->data + at, s->size - at);
    return at;
}

int mmi_jinja_string_wrap(jinja_run *run, const char *bytes, size_t n, value *out)
{
    mmi_jinja_string *s = mmi_jinja_alloc(run, 1, sizeof *s);

    if (!s || mmi_jinja_spend(run, n >> 6)) return 1;
    s->data = bytes;
    s->size = n;
    s->chars = mmi_jinja_chars(bytes, n);
    s->room = NULL;
    out->kind = MMI_JINJA_STRING;
    out->markup = 0;
    out->as.string = s;
    return 0;
}

int mmi_jinja_string_of_text(jinja_run *run, const mmi_jinja_text *text, value *out)
{
    return mmi_jinja_string_wrap(run, text->size ? text->data : "", text->size, out);
}

/* a + b. Templates gather text by s = s + more; when `a` ends where its buffer ends, `b` is put behind it in place, so that
 * gathering costs linear time and memory. Shorter strings that share the buffer do not see what lies past their end. */
int mmi_jinja_string_concat(jinja_run *run, value a, value b, value *out)
{
    const mmi_jinja_string *left = a.as.string, *right = b.as.string;
    mmi_jinja_text *room = left->room;
    mmi_jinja_string *s;

    if (!room || room->data != left->data || room->size != left->size) {
        room = mmi_jinja_alloc(run, 1, sizeof *room);
        if (!room) return 1;
        memset(room, 0, sizeof *room);
        if (left->size + right->size > 0) {
            room->capacity = left->size + right->size;
            room->data = mmi_jinja_alloc(run, room->capacity, 1);
            if (!room->data) return 1;
        }
        if (mmi_jinja_text_append(run, room, left->data, left->size)) return 1;
    }
    if (mmi_jinja_text_append(run, room, right->data, right->size)) return 1;
    s = mmi_jinja_alloc(run, 1, sizeof *s);
    if (!s) return 1;
    s->data = room->data ? room->data : "";
    s->size = room->size;
    s->chars = left->chars + right->chars;
    s->room = room;
    out->kind = MMI_JINJA_STRING;
    out->markup = 0;
    out->as.string = s;
    return 0;
}

int mmi_jinja_string_equals(const mmi_jinja_string *s, const char *text)
{
    return strlen(text) == s->size && memcmp(text, s->data, s->size) == 0;
}

/* ---- lists, dicts ---- */

int mmi_jinja_list_wrap(jinja_run *run, mmi_jinja_kind kind, const value *items, size_t count, value *out)
{
    mmi_jinja_list *list = mmi_jinja_alloc(run, 1, sizeof *list);

    if (!list) return 1;
    list->count = count;
    list->items = items;
    out->kind = (uint8_t)kind;
    out->markup = 0;
    out->as.list = list;
    return 0;
}

int mmi_jinja_pair(jinja_run *run, value a, value b, value *out)
{
    value *items = mmi_jinja_alloc(run, 2, sizeof *items);
    if (!items) return 1;
    items[0] = a;
    items[1] = b;
    return mmi_jinja_list_wrap(run, MMI_JINJA_TUPLE, items, 2, out);
}

int mmi_jinja_iterator_wrap(jinja_run *run, const char *type, const value *items, size_t count, value *out)
{
    mmi_jinja_iterator *it = mmi_jinja_alloc(run, 1, sizeof *it);

    if (!it) return 1;
    it->items = items;
    it->count = count;
    it->next = 0;
    it->type = type;
    out->kind = MMI_JINJA_ITERATOR;
    out->markup = 0;
    out->as.iterator = it;
    return 0;
}

static int is_integral(value v, int64_t *out)
{
    if (v.kind == MMI_JINJA_INT)
        *out = v.as.integer;
    else if (v.kind == MMI_JINJA_BOOL)
        *out = v.as.truth;
    else if (v.kind == MMI_JINJA_FLOAT && v.as.real == floor(v.as.real) && fabs(v.as.real) < 9e18)
        *out = (int64_t)v.as.real;
    else
        return 0;
    return 1;
}

static int hash(jinja_run *run, value v, uint64_t *out)
{
    uint64_t h = 14695981039346656037u;
    int64_t integer;

    if (is_integral(v, &integer)) { /* equal numbers of different types are one key */
        h ^= (uint64_t)integer;
        h *= 0x9E3779B97F4A7C15u;
    } else if (v.kind == MMI_JINJA_FLOAT) {
        memcpy(&h, &v.as.real, sizeof h);
        h *= 0x9E3779B97F4A7C15u;
    } else if (v.kind == MMI_JINJA_STRING) {
        if (mmi_jinja_spend(run, v.as.string->size >> 6)) return 1;
        for (size_t i = 0; i < v.as.string->size; i++) h = (h ^ (unsigned char)v.as.string->data[i]) * 1099511628211u;
    } else if (v.kind == MMI_JINJA_TUPLE) {
        if (mmi_jinja_enter(run)) return 1;
        for (size_t i = 0; i < v.as.list->count; i++) {
            uint64_t part;
            if (mmi_jinja_spend(run, 1) || hash(run, v.as.list->items[i], &part)) return 1;
            h = (h ^ part) * 1099511628211u;
        }
        run->depth--;
    } else if (v.kind != MMI_JINJA_NONE) {
        return mmi_jinja_fail(run, MM_E_FORMAT, "a value of type %s cannot be the key of a dict", mmi_jinja_type(v));
    }
    *out = h ^ h >> 29;
    return 0;
}

int mmi_jinja_dict_create(jinja_run *run, mmi_jinja_dict **out)
{
    mmi_jinja_dict *dict = mmi_jinja_alloc(run, 1, sizeof *dict);
    if (!dict) return 1;
    memset(dict, 0, sizeof *dict);
    *out = dict;
    return 0;
}

/* The entry with this key in *found, or `count`. Collisions are paid for in steps. */
static int dict_search(jinja_run *run, const mmi_jinja_dict *dict, value key, uint64_t h, size_t *found)
{
    size_t slot = 0, at;
    int same;

    for (size_t i = 0;; i++) {
        if (dict->index) {
            slot = (size_t)(h + i) & (dict->index_size - 1);
            if (!dict->index[slot]) break;
            at = dict->index[slot] - 1;
        } else {
            if (i == dict->count) break;
            at = i;
        }
        if (dict->entries[at].hash != h) {
            if (i > SMALL_DICT && mmi_jinja_spend(run, 1)) return 1;
            continue;
        }
        if (mmi_jinja_spend(run, 1) || mmi_jinja_equal(run, dict->entries[at].key, key, &same)) return 1;
        if (same) {
            *found = at;
            return 0;
        }
    }
    *found = dict->count;
    return 0;
}

static void index_entry(mmi_jinja_dict *dict, size_t entry)
{
    size_t slot = (size_t)dict->entries[entry].hash & (dict->index_size - 1);
    while (dict->index[slot]) slot = (slot + 1) & (dict->index_size - 1);
    dict->index[slot] = (uint32_t)entry + 1;
}

static int dict_reserve(jinja_run *run, mmi_jinja_dict *dict)
{
    size_t capacity = dict->capacity ? dict->capacity * 2 : 4;
    mmi_jinja_entry *entries;

    if (dict->count < dict->capacity) return 0;
    entries = mmi_jinja_alloc(run, capacity, sizeof *entries);
    if (!entries) return 1;
    if (dict->count) memcpy(entries, dict->entries, dict->count * sizeof *entries);
    dict->entries = entries;
    dict->capacity = capacity;
    if (capacity <= SMALL_DICT) return 0;
    if (mmi_jinja_spend(run, capacity)) return 1;
    dict->index = mmi_jinja_alloc(run, capacity * 2, sizeof *dict->index);
    if (!dict->index) return 1;
    dict->index_size = capacity * 2;
    memset(dict->index, 0, dict->index_size * sizeof *dict->index);
    for (size_t i = 0; i < dict->count; i++) index_entry(dict, i);
    return 0;
}

int mmi_jinja_dict_put(jinja_run *run, mmi_jinja_dict *dict, value key, value v)
{
    uint64_t h;
    size_t at;

    if (hash(run, key, &h) || dict_search(run, dict, key, h, &at)) return 1;
    if (at < dict->count) {
        dict->entries[at].value = v;
        return 0;
    }
    if (dict_reserve(run, dict)) return 1;
    dict->entries[at].key = key;
    dict->entries[at].value = v;
    dict->entries[at].hash = h;
    dict->count++;
    if (dict->index) index_entry(dict, at);
    return 0;
}

int mmi_jinja_dict_put_text(jinja_run *run, mmi_jinja_dict *dict, const char *key, value v)
{
    value k;
    return mmi_jinja_string_wrap(run, key, strlen(key), &k) || mmi_jinja_dict_put(run, dict, k, v);
}

int mmi_jinja_dict_find(jinja_run *run, const mmi_jinja_dict *dict, value key, const value **found)
{
    uint64_t h;
    size_t at;

    *found = NULL;
    if (hash(run, key, &h) || dict_search(run, dict, key, h, &at)) return 1;
    if (at < dict->count) *found = &dict->entries[at].value;
    return 0;
}

int mmi_jinja_dict_update(jinja_run *run, mmi_jinja_dict *dict, value from)
{
    const value *items, *pair;
    size_t count, n;

    if (from.kind == MMI_JINJA_DICT) {
        for (size_t i = 0; i < from.as.dict->count; i++)
            if (mmi_jinja_dict_put(run, dict, from.as.dict->entries[i].key, from.as.dict->entries[i].value)) return 1;
        return 0;
    }
    if (mmi_jinja_items(run, from, &items, &count)) return 1;
    for (size_t i = 0; i < count; i++) {
        if (mmi_jinja_items(run, items[i], &pair, &n)) return 1;
        if (n != 2) return mmi_jinja_fail(run, MM_E_FORMAT, "element %zu for a dict has %zu items, expected 2", i, n);
        if (mmi_jinja_dict_put(run, dict, pair[0], pair[1])) return 1;
    }
    return 0;
}

/* ---- types, truth, equality, order ---- */

const char *mmi_jinja_type(value v)
{
    static const char *const names[] = {"Undefined", "NoneType",  "bool",     "int",       "float",    "str",    "list",  "tuple", "dict",
                                        "range",     "dict view", "iterator", "namespace", "function", "method", "macro", "loop"};
    return v.kind == MMI_JINJA_ITERATOR ? v.as.iterator->type : names[v.kind];
}

int mmi_jinja_is_number(value v) { return v.kind == MMI_JINJA_BOOL || v.kind == MMI_JINJA_INT || v.kind == MMI_JINJA_FLOAT; }

int mmi_jinja_truth(value v)
{
    switch ((mmi_jinja_kind)v.kind) {
    case MMI_JINJA_UNDEFINED:
    case MMI_JINJA_NONE: return 0;
    case MMI_JINJA_BOOL: return v.as.truth;
    case MMI_JINJA_INT: return v.as.integer != 0;
    case MMI_JINJA_FLOAT: return v.as.real != 0;
    case MMI_JINJA_STRING: return v.as.string->size != 0;
    case MMI_JINJA_LIST:
    case MMI_JINJA_TUPLE: return v.as.list->count != 0;
    case MMI_JINJA_DICT: return v.as.dict->count != 0;
    case MMI_JINJA_RANGE: return v.as.range->count != 0;
    case MMI_JINJA_VIEW: return v.as.view->dict->count != 0;
    case MMI_JINJA_ITERATOR:
    case MMI_JINJA_NAMESPACE:
    case MMI_JINJA_FUNCTION:
    case MMI_JINJA_METHOD:
    case MMI_JINJA_MACRO:
    case MMI_JINJA_LOOP: break;
    }
    return 1;
}

/* An integer against a double, without rounding the integer. */
static int order_int_float(int64_t i, double f)
{
    int64_t whole;

    if (isnan(f)) return 2;
    if (f >= 9223372036854775808.0) return -1;
    if (f < -9223372036854775808.0) return 1;
    whole = (int64_t)f;
    if (i != whole) return i < whole ? -1 : 1;
    return f > (double)whole ? -1 : f < (double)whole;
}

static int order_numbers(value a, value b)
{
    int64_t i = a.kind == MMI_JINJA_BOOL ? a.as.truth : a.as.integer, j = b.kind == MMI_JINJA_BOOL ? b.as.truth : b.as.integer;

    if (a.kind == MMI_JINJA_FLOAT && b.kind == MMI_JINJA_FLOAT) {
        if (isnan(a.as.real) || isnan(b.as.real)) return 2;
        return a.as.real < b.as.real ? -1 : a.as.real > b.as.real;
    }
    if (b.kind == MMI_JINJA_FLOAT) return order_int_float(i, b.as.real);
    if (a.kind == MMI_JINJA_FLOAT) {
        int o = order_int_float(j, a.as.real);
        return o == 2 ? 2 : -o;
    }
    return i < j ? -1 : i > j;
}

/* The bytes of UTF-8 sort as the code points do. */
static int order_strings(const mmi_jinja_string *a, const mmi_jinja_string *b)
{
    int o = memcmp(a->data, b->data, mmi_size_min(a->size, b->size));
    if (o) return o < 0 ? -1 : 1;
    return a->size < b->size ? -1 : a->size > b->size;
}

static int equal_dicts(jinja_run *run, const mmi_jinja_dict *a, const mmi_jinja_dict *b, int *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        const value *other;
        if (mmi_jinja_spend(run, 1) || mmi_jinja_dict_find(run, b, a->entries[i].key, &other)) return 1;
        *out = other != NULL;
        if (other && mmi_jinja_equal(run, a->entries[i].value, *other, out)) return 1;
    }
    return 0;
}

static int equal_ranges(const mmi_jinja_range *a, const mmi_jinja_range *b)
{
    return a->count == b->count && (!a->count || (a->start == b->start && (a->count == 1 || a->step == b->step)));
}

int mmi_jinja_equal(jinja_run *run, value a, value b, int *out)
{
    *out = 0;
    if (mmi_jinja_is_number(a) && mmi_jinja_is_number(b)) {
        *out = order_numbers(a, b) == 0;
        return 0;
    }
    if (a.kind != b.kind) return 0;
    switch ((mmi_jinja_kind)a.kind) {
    case MMI_JINJA_UNDEFINED:
    case MMI_JINJA_NONE: *out = 1; return 0;
    case MMI_JINJA_STRING:
        *out = a.as.string->size == b.as.string->size;
        if (!*out) return 0;
        *out = memcmp(a.as.string->data, b.as.string->data, a.as.string->size) == 0;
        return mmi_jinja_spend(run, a.as.string->size >> 6);
    case MMI_JINJA_LIST:
    case MMI_JINJA_TUPLE:
        if (mmi_jinja_enter(run)) return 1;
        *out = a.as.list->count == b.as.list->count;
        for (size_t i = 0; *out && i < a.as.list->count; i++)
            if (mmi_jinja_spend(run, 1) || mmi_jinja_equal(run, a.as.list->items[i], b.as.list->items[i], out)) return 1;
        run->depth--;
        return 0;
    case MMI_JINJA_DICT:
        if (mmi_jinja_enter(run) || equal_dicts(run, a.as.dict, b.as.dict, out)) return 1;
        run->depth--;
        return 0;
    case MMI_JINJA_RANGE: *out = equal_ranges(a.as.range, b.as.range); return 0;
    case MMI_JINJA_METHOD: *out = a.as.bound == b.as.bound; return 0;
    default: *out = a.as.object == b.as.object; return 0;
    }
}

int mmi_jinja_order(jinja_run *run, value a, value b, int *out)
{
    if (mmi_jinja_is_number(a) && mmi_jinja_is_number(b)) {
        *out = order_numbers(a, b);
        return 0;
    }
    if (a.kind == MMI_JINJA_STRING && b.kind == MMI_JINJA_STRING) {
        *out = order_strings(a.as.string, b.as.string);
        return mmi_jinja_spend(run, mmi_size_min(a.as.string->size, b.as.string->size) >> 6);
    }
    if (a.kind == b.kind && (a.kind == MMI_JINJA_LIST || a.kind == MMI_JINJA_TUPLE)) {
        const mmi_jinja_list *left = a.as.list, *right = b.as.list;
        int same = 1, failed;

        for (size_t i = 0; i < mmi_size_min(left->count, right->count); i++) {
            if (mmi_jinja_spend(run, 1) || mmi_jinja_equal(run, left->items[i], right->items[i], &same)) return 1;
            if (same) continue;
            if (mmi_jinja_enter(run)) return 1;
            failed = mmi_jinja_order(run, left->items[i], right->items[i], out);
            if (!failed) run->depth--;
            return failed;
        }
        *out = left->count < right->count ? -1 : left->count > right->count;
        return 0;
    }
    if (a.kind == MMI_JINJA_UNDEFINED || b.kind == MMI_JINJA_UNDEFINED)
        return mmi_jinja_fail(run, MM_E_FORMAT, "an undefined value is compared by order");
    return mmi_jinja_fail(run, MM_E_FORMAT, "values of type %s and %s have no order", mmi_jinja_type(a), mmi_jinja_type(b));
}

value mmi_jinja_range_item(const mmi_jinja_range *range, size_t index)
{
    return mmi_jinja_int(range->start + (int64_t)index * range->step);
}

int mmi_jinja_contains(jinja_run *run, value container, value item, int *out)
{
    const value *items, *found;
    size_t count;

    *out = 0;
    if (container.kind == MMI_JINJA_STRING) {
        if (item.kind != MMI_JINJA_STRING)
            return mmi_jinja_fail(run, MM_E_FORMAT, "'in' a string looks for a string, not for a value of type %s", mmi_jinja_type(item));
        *out = mmi_jinja_find_bytes(container.as.string->data, container.as.string->size, item.as.string->data, item.as.string->size) !=
               (size_t)-1;
        return mmi_jinja_spend(run, container.as.string->size >> 4);
    }
    if (container.kind == MMI_JINJA_DICT || (container.kind == MMI_JINJA_VIEW && container.as.view->what == MMI_JINJA_KEYS)) {
        if (mmi_jinja_dict_find(run, container.kind == MMI_JINJA_DICT ? container.as.dict : container.as.view->dict, item, &found))
            return 1;
        *out = found != NULL;
        return 0;
    }
    if (container.kind == MMI_JINJA_ITERATOR) { /* walked up to the item found */
        mmi_jinja_iterator *it = container.as.iterator;
        while (!*out && it->next < it->count)
            if (mmi_jinja_spend(run, 1) || mmi_jinja_equal(run, it->items[it->next++], item, out)) return 1;
        return 0;
    }
    if (mmi_jinja_items(run, container, &items, &count)) return 1;
    for (size_t i = 0; !*out && i < count; i++)
        if (mmi_jinja_spend(run, 1) || mmi_jinja_equal(run, items[i], item, out)) return 1;
    return 0;
}

int mmi_jinja_length(jinja_run *run, value v, size_t *out)
{
    switch ((mmi_jinja_kind)v.kind) {
    case MMI_JINJA_UNDEFINED: *out = 0; return 0;
    case MMI_JINJA_STRING: *out = v.as.string->chars; return 0;
    case MMI_JINJA_LIST:
    case MMI_JINJA_TUPLE: *out = v.as.list->count; return 0;
    case MMI_JINJA_DICT: *out = v.as.dict->count; return 0;
    case MMI_JINJA_RANGE: *out = v.as.range->count; return 0;
    case MMI_JINJA_VIEW: *out = v.as.view->dict->count; return 0;
    default: return mmi_jinja_fail(run, MM_E_FORMAT, "a value of type %s has no length", mmi_jinja_type(v));
    }
}

int mmi_jinja_is_iterable(value v)
{
    return v.kind == MMI_JINJA_UNDEFINED || (v.kind >= MMI_JINJA_STRING && v.kind <= MMI_JINJA_ITERATOR) || v.kind == MMI_JINJA_LOOP;
}

static int string_items(jinja_run *run, const mmi_jinja_string *s, value *items)
{
    mmi_jinja_string *chars = mmi_jinja_alloc(run, s->chars, sizeof *chars);
    size_t at = 0;

    if (!chars) return 1;
    for (size_t i = 0; i < s->chars; i++) {
        chars[i].data = s->data + at;
        chars[i].size = char_size(s->data + at, s->size - at);
        chars[i].chars = 1;
        chars[i].room = NULL;
        at += chars[i].size;
        items[i].kind = MMI_JINJA_STRING;
        items[i].markup = 0;
        items[i].as.string = &chars[i];
    }
    return 0;
}

int mmi_jinja_items(jinja_run *run, value v, const value **out, size_t *count)
{
    value *items;

    *out = NULL;
    *count = 0;
    if (v.kind == MMI_JINJA_UNDEFINED) return 0;
    if (v.kind == MMI_JINJA_LIST || v.kind == MMI_JINJA_TUPLE) {
        *out = v.as.list->items;
        *count = v.as.list->count;
        return 0;
    }
    if (v.kind == MMI_JINJA_ITERATOR) {
        *count = v.as.iterator->count - v.as.iterator->next;
        if (*count) *out = v.as.iterator->items + v.as.iterator->next;
        v.as.iterator->next = v.as.iterator->count;
        return 0;
    }
    if (!mmi_jinja_is_iterable(v) || v.kind == MMI_JINJA_LOOP)
        return mmi_jinja_fail(run, MM_E_FORMAT, "a value of type %s cannot be iterated over", mmi_jinja_type(v));
    if (mmi_jinja_length(run, v, count) || mmi_jinja_spend(run, *count / 4)) return 1;
    items = mmi_jinja_alloc(run, *count, sizeof *items);
    if (!items) return 1;
    *out = items;
    if (v.kind == MMI_JINJA_STRING) return string_items(run, v.as.string, items);
    for (size_t i = 0; i < *count; i++) {
        const mmi_jinja_entry *e;

        if (v.kind == MMI_JINJA_RANGE) {
            items[i] = mmi_jinja_range_item(v.as.range, i);
            continue;
        }
        e = v.kind == MMI_JINJA_DICT ? &v.as.dict->entries[i] : &v.as.view->dict->entries[i];
        if (v.kind == MMI_JINJA_DICT || v.as.view->what == MMI_JINJA_KEYS)
            items[i] = e->key;
        else if (v.as.view->what == MMI_JINJA_VALUES)
            items[i] = e->value;
        else if (mmi_jinja_pair(run, e->key, e->value, &items[i]))
            return 1;
    }
    return 0;
}

/* ---- numbers as text ---- */

/* The bytes that the locale puts between whole digits and fraction. */
static size_t locale_point(char out[16])
{
    char half[16];
    int n = snprintf(half, sizeof half, "%.1f", 0.5);

    if (n < 3) {
        out[0] = '.';
        return 1;
    }
    memcpy(out, half + 1, (size_t)n - 2);
    return (size_t)n - 2;
}

size_t mmi_jinja_print_double(char *out, size_t size, const char *flags, int precision, char conversion, double real)
{
    char format[24], point[16];
    size_t point_size = locale_point(point), n, at;
    int written;

    (void)snprintf(format, sizeof format, "%%%.8s.*%c", flags, conversion);
    written = snprintf(out, size, format, precision, real);
    if (written < 0 || (size_t)written >= size) return 0;
    n = (size_t)written;
    if (point_size == 1 && point[0] == '.') return n;
    at = mmi_jinja_find_bytes(out, n, point, point_size);
    if (at == (size_t)-1) return n;
    out[at] = '.';
    memmove(out + at + 1, out + at + point_size, n - at - point_size + 1);
    return n - point_size + 1;
}

int mmi_jinja_read_double(jinja_run *run, const char *bytes, size_t n, double *out)
{
    char point[16], *copy;
    size_t point_size = locale_point(point), size = 0;

    copy = mmi_jinja_alloc(run, n + sizeof point + 1, 1);
    if (!copy) return 1;
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '.') {
            memcpy(copy + size, point, point_size);
            size += point_size;
        } else {
            copy[size++] = bytes[i];
        }
    }
    copy[size] = 0;
    *out = strtod(copy, NULL);
    return 0;
}

void mmi_jinja_float_text(double real, char out[40])
{
    char digits[40], mantissa[24];
    int precision, exponent, count = 0, n = 0;
    const char *e;

    if (isnan(real) || isinf(real)) {
        (void)snprintf(out, 40, "%s", isnan(real) ? "nan" : real < 0 ? "-inf" : "inf");
        return;
    }
    for (precision = 0; precision < 17; precision++) { /* the fewest digits that give the number back, in this locale's notation */
        (void)snprintf(digits, sizeof digits, "%.*e", precision, real);
        if (strtod(digits, NULL) == real) break;
    }
    e = strchr(digits, 'e');
    exponent = e ? atoi(e + 1) : 0;
    for (const char *p = digits; p != e && *p; p++)
        if (*p >= '0' && *p <= '9' && count < 20) mantissa[count++] = *p;
    if (signbit(real)) out[n++] = '-';
    if (exponent < -4 || exponent >= 16) {
        out[n++] = mantissa[0];
        if (count > 1) {
            out[n++] = '.';
            memcpy(out + n, mantissa + 1, (size_t)count - 1);
            n += count - 1;
        }
        (void)snprintf(out + n, 40 - (size_t)n, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    if (exponent < 0) {
        out[n++] = '0';
        out[n++] = '.';
        for (int i = exponent + 1; i < 0; i++) out[n++] = '0';
        memcpy(out + n, mantissa, (size_t)count);
        n += count;
    } else {
        for (int i = 0; i <= exponent; i++) out[n++] = i < count ? mantissa[i] : '0';
        out[n++] = '.';
        if (count <= exponent + 1) out[n++] = '0';
        for (int i = exponent + 1; i < count; i++) out[n++] = mantissa[i];
    }
    out[n] = 0;
}

/* ---- str and repr ---- */

static int append(jinja_run *run, mmi_jinja_text *text, const char *s) { return mmi_jinja_text_append(run, text, s, strlen(s)); }

static int repr_string(jinja_run *run, mmi_jinja_text *text, const mmi_jinja_string *s)
{
    char quote = memchr(s->data, '\'', s->size) && !memchr(s->data, '"', s->size) ? '"' : '\'';
    size_t len;

    if (mmi_jinja_spend(run, s->size >> 3) || mmi_jinja_text_append(run, text, &quote, 1)) return 1;
    for (size_t i = 0; i < s->size; i += len) {
        char escaped[12];
        uint32_t code = 0;

        len = mmi_utf8_decode(s->data + i, s->size - i, &code);
        if (!len) {
            len = 1;
            code = 0xFFFD;
        }
        if (code == '\n')
            memcpy(escaped, "\\n", 3);
        else if (code == '\r')
            memcpy(escaped, "\\r", 3);
        else if (code == '\t')
            memcpy(escaped, "\\t", 3);
        else if (code == '\\' || code == (uint32_t)(unsigned char)quote)
            (void)snprintf(escaped, sizeof escaped, "\\%c", (int)code);
        else if (mmi_jinja_is_printable(code)) {
            if (mmi_jinja_text_append(run, text, s->data + i, len)) return 1;
            continue;
        } else if (code < 0x100)
            (void)snprintf(escaped, sizeof escaped, "\\x%02x", (unsigned)code);
        else if (code < 0x10000)
            (void)snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)code);
        else
            (void)snprintf(escaped, sizeof escaped, "\\U%08x", (unsigned)code);
        if (append(run, text, escaped)) return 1;
    }
    return mmi_jinja_text_append(run, text, &quote, 1);
}

static int repr_items(jinja_run *run, mmi_jinja_text *text, const value *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (mmi_jinja_spend(run, 1) || (i && append(run, text, ", ")) || mmi_jinja_repr(run, text, items[i])) return 1;
    return 0;
}

static int repr_dict(jinja_run *run, mmi_jinja_text *text, const mmi_jinja_dict *dict)
{
    if (append(run, text, "{")) return 1;
    for (size_t i = 0; i < dict->count; i++)
        if (mmi_jinja_spend(run, 1) || (i && append(run, text, ", ")) || mmi_jinja_repr(run, text, dict->entries[i].key) ||
            append(run, text, ": ") || mmi_jinja_repr(run, text, dict->entries[i].value))
            return 1;
    return append(run, text, "}");
}

static int repr_view(jinja_run *run, mmi_jinja_text *text, value v)
{
    static const char *const heads[] = {"dict_keys([", "dict_values([", "dict_items(["};
    const value *items;
    size_t count;

    return mmi_jinja_items(run, v, &items, &count) || append(run, text, heads[v.as.view->what]) || repr_items(run, text, items, count) ||
           append(run, text, "])");
}

static int repr_nested(jinja_run *run, mmi_jinja_text *text, value v)
{
    switch ((mmi_jinja_kind)v.kind) {
    case MMI_JINJA_LIST:
        return append(run, text, "[") || repr_items(run, text, v.as.list->items, v.as.list->count) || append(run, text, "]");
    case MMI_JINJA_TUPLE:
        return append(run, text, "(") || repr_items(run, text, v.as.list->items, v.as.list->count) ||
               append(run, text, v.as.list->count == 1 ? ",)" : ")");
    case MMI_JINJA_DICT: return repr_dict(run, text, v.as.dict);
    case MMI_JINJA_VIEW: return repr_view(run, text, v);
    case MMI_JINJA_NAMESPACE: return append(run, text, "<Namespace ") || repr_dict(run, text, v.as.dict) || append(run, text, ">");
    default: return mmi_jinja_fail(run, MM_E_FORMAT, "a value of type %s cannot be printed", mmi_jinja_type(v));
    }
}

int mmi_jinja_repr(jinja_run *run, mmi_jinja_text *text, value v)
{
    char number[96];

    switch ((mmi_jinja_kind)v.kind) {
    case MMI_JINJA_UNDEFINED: return append(run, text, "Undefined");
    case MMI_JINJA_NONE: return append(run, text, "None");
    case MMI_JINJA_BOOL: return append(run, text, v.as.truth ? "True" : "False");
    case MMI_JINJA_INT: (void)snprintf(number, sizeof number, "%lld", (long long)v.as.integer); return append(run, text, number);
    case MMI_JINJA_FLOAT: mmi_jinja_float_text(v.as.real, number); return append(run, text, number);
    case MMI_JINJA_STRING: return repr_string(run, text, v.as.string);
    case MMI_JINJA_RANGE:
        (void)snprintf(number, sizeof number, v.as.range->step == 1 ? "range(%lld, %lld)" : "range(%lld, %lld, %lld)",
                       (long long)v.as.range->start, (long long)v.as.range->stop, (long long)v.as.range->step);
        return append(run, text, number);
    default: break;
    }
    if (mmi_jinja_enter(run) || repr_nested(run, text, v)) return 1;
    run->depth--;
    return 0;
}

int mmi_jinja_str(jinja_run *run, mmi_jinja_text *text, value v)
{
    if (v.kind == MMI_JINJA_UNDEFINED) return 0;
    if (v.kind == MMI_JINJA_STRING) return mmi_jinja_text_append(run, text, v.as.string->data, v.as.string->size);
    return mmi_jinja_repr(run, text, v);
}

int mmi_jinja_to_string(jinja_run *run, value v, value *out)
{
    mmi_jinja_text text = {0};

    if (v.kind == MMI_JINJA_STRING) {
        *out = v;
        return 0;
    }
    return mmi_jinja_str(run, &text, v) || mmi_jinja_string_of_text(run, &text, out);
}

/* ---- JSON ---- */

static int json_string(jinja_run *run, mmi_jinja_text *text, const mmi_jinja_string *s, int ascii)
{
    size_t len, plain = 0; /* bytes before i that need no escape and are not yet appended */

    if (mmi_jinja_spend(run, s->size >> 4) || append(run, text, "\"")) return 1;
    for (size_t i = 0; i < s->size; i += len) {
        char escaped[16];
        uint32_t code = 0;

        len = mmi_utf8_decode(s->data + i, s->size - i, &code);
        if (len && code >= 0x20 && code != '"' && code != '\\' && (code < 0x7F || !ascii || code == 0x7F)) {
            plain += len;
            continue;
        }
        if (mmi_jinja_text_append(run, text, s->data + i - plain, plain)) return 1;
        plain = 0;
        if (!len) {
            len = 1;
            memcpy(escaped, ascii ? "\\ufffd" : "\xEF\xBF\xBD", ascii ? 7 : 4);
        } else if (code == '"' || code == '\\')
            (void)snprintf(escaped, sizeof escaped, "\\%c", (int)code);
        else if (code == '\n')
            memcpy(escaped, "\\n", 3);
        else if (code == '\r')
            memcpy(escaped, "\\r", 3);
        else if (code == '\t')
            memcpy(escaped, "\\t", 3);
        else if (code == '\b')
            memcpy(escaped, "\\b", 3);
        else if (code == '\f')
            memcpy(escaped, "\\f", 3);
        else if (code < 0x10000)
            (void)snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)code);
        else
            (void)snprintf(escaped, sizeof escaped, "\\u%04x\\u%04x", (unsigned)(0xD800 + ((code - 0x10000) >> 10)),
                           (unsigned)(0xDC00 + ((code - 0x10000) & 0x3FF)));
        if (append(run, text, escaped)) return 1;
    }
    return mmi_jinja_text_append(run, text, s->data + s->size - plain, plain) || append(run, text, "\"");
}

static int json_break(jinja_run *run, mmi_jinja_text *text, const mmi_jinja_json_style *style, int level)
{
    if (!style->pretty) return 0;
    if (append(run, text, "\n")) return 1;
    for (int i = 0; i < level; i++)
        if (mmi_jinja_text_append(run, text, style->indent->data, style->indent->size)) return 1;
    return 0;
}

static int json_separator(jinja_run *run, mmi_jinja_text *text, const mmi_jinja_json_style *style)
{
    if (style->item_separator) return mmi_jinja_text_append(run, text, style->item_separator->data, style->item_separator->size);
    return append(run, text, style->pretty ? "," : ", ");
}

/* A number, true, false or none, as value or as the text of a key. */
static int json_scalar(jinja_run *run, mmi_jinja_text *text, value v)
{
    if (v.kind == MMI_JINJA_NONE) return append(run, text, "null");
    if (v.kind == MMI_JINJA_BOOL) return append(run, text, v.as.truth ? "true" : "false");
    if (v.kind == MMI_JINJA_FLOAT && isnan(v.as.real)) return append(run, text, "NaN");
    if (v.kind == MMI_JINJA_FLOAT && isinf(v.as.real)) return append(run, text, v.as.real < 0 ? "-Infinity" : "Infinity");
    return mmi_jinja_repr(run, text, v);
}

static int json_value(jinja_run *run, mmi_jinja_text *text, value v, const mmi_jinja_json_style *style, int level);

static int json_key(jinja_run *run, mmi_jinja_text *text, value key, const mmi_jinja_json_style *style)
{
    if (key.kind == MMI_JINJA_STRING) return json_string(run, text, key.as.string, style->ascii);
    if (key.kind != MMI_JINJA_NONE && !mmi_jinja_is_number(key))
        return mmi_jinja_fail(run, MM_E_FORMAT, "a key of type %s cannot be written as JSON", mmi_jinja_type(key));
    return append(run, text, "\"") || json_scalar(run, text, key) || append(run, text, "\"");
}

static int json_dict(jinja_run *run, mmi_jinja_text *text, const mmi_jinja_dict *dict, const mmi_jinja_json_style *style, int level)
{
    size_t count = dict->count;
    value *keys = mmi_jinja_alloc(run, count, sizeof *keys), *values = mmi_jinja_alloc(run, count, sizeof *values);

    if (!keys || !values) return 1;
    for (size_t i = 0; i < count; i++) {
        keys[i] = dict->entries[i].key;
        values[i] = dict->entries[i].value;
    }
    if ((style->sort_keys && mmi_jinja_sort(run, keys, values, count, 0)) || append(run, text, "{")) return 1;
    for (size_t i = 0; i < count; i++) {
        if (mmi_jinja_spend(run, 1) || (i && json_separator(run, text, style)) || json_break(run, text, style, level + 1) ||
            json_key(run, text, keys[i], style))
            return 1;
        if (style->key_separator ? mmi_jinja_text_append(run, text, style->key_separator->data, style->key_separator->size)
                                 : append(run, text, ": "))
            return 1;
        if (json_value(run, text, values[i], style, level + 1)) return 1;
    }
    return (count && json_break(run, text, style, level)) || append(run, text, "}");
}

static int json_list(jinja_run *run, mmi_jinja_text *text, const mmi_jinja_list *list, const mmi_jinja_json_style *style, int level)
{
    if (append(run, text, "[")) return 1;
    for (size_t i = 0; i < list->count; i++)
        if (mmi_jinja_spend(run, 1) || (i && json_separator(run, text, style)) || json_break(run, text, style, level + 1) ||
            json_value(run, text, list->items[i], style, level + 1))
            return 1;
    return (list->count && json_break(run, text, style, level)) || append(run, text, "]");
}

static int json_value(jinja_run *run, mmi_jinja_text *text, value v, const mmi_jinja_json_style *style, int level)
{
    if (v.kind == MMI_JINJA_STRING) return json_string(run, text, v.as.string, style->ascii);
    if (v.kind == MMI_JINJA_NONE || mmi_jinja_is_number(v)) return json_scalar(run, text, v);
    if (v.kind != MMI_JINJA_LIST && v.kind != MMI_JINJA_TUPLE && v.kind != MMI_JINJA_DICT)
        return mmi_jinja_fail(run, MM_E_FORMAT, "a value of type %s cannot be written as JSON", mmi_jinja_type(v));
    if (mmi_jinja_enter(run)) return 1;
    if (v.kind == MMI_JINJA_DICT ? json_dict(run, text, v.as.dict, style, level) : json_list(run, text, v.as.list, style, level)) return 1;
    run->depth--;
    return 0;
}

int mmi_jinja_dump_json(jinja_run *run, mmi_jinja_text *text, value v, const mmi_jinja_json_style *style)
{
    return json_value(run, text, v, style, 0);
}

static int from_json_list(jinja_run *run, const mmi_json_node *node, value *out)
{
    size_t count = mmi_json_count(node), i = 0;
    value *items = mmi_jinja_alloc(run, count, sizeof *items);

    if (!items) return 1;
    for (const mmi_json_node *n = mmi_json_first(node); n && i < count; n = mmi_json_next(n), i++)
        if (mmi_jinja_from_json(run, n, &items[i])) return 1;
    return mmi_jinja_list_wrap(run, MMI_JINJA_LIST, items, i, out);
}

static int from_json_dict(jinja_run *run, const mmi_json_node *node, value *out)
{
    mmi_jinja_dict *dict;

    if (mmi_jinja_dict_create(run, &dict)) return 1;
    for (const mmi_json_node *n = mmi_json_first(node); n; n = mmi_json_next(n)) {
        value member;
        if (mmi_jinja_from_json(run, n, &member) || mmi_jinja_dict_put_text(run, dict, mmi_json_key(n), member)) return 1;
    }
    out->kind = MMI_JINJA_DICT;
    out->markup = 0;
    out->as.dict = dict;
    return 0;
}

int mmi_jinja_from_json(jinja_run *run, const mmi_json_node *node, value *out)
{
    const char *s;
    double number = 0;
    int failed;

    if (mmi_jinja_spend(run, 1)) return 1;
    switch (mmi_json_kind_of(node)) {
    case MMI_JSON_BOOL: *out = mmi_jinja_bool(mmi_json_true(node)); return 0;
    case MMI_JSON_NUMBER: /* a node does not tell 1 from 1.0: whole numbers are taken for the integers that they nearly always are */
        (void)mmi_json_number(node, &number);
        *out = number == floor(number) && fabs(number) < 9223372036854775808.0 ? mmi_jinja_int((int64_t)number) : mmi_jinja_float(number);
        return 0;
    case MMI_JSON_STRING: s = mmi_json_string(node); return mmi_jinja_string_wrap(run, s, strlen(s), out);
    case MMI_JSON_ARRAY:
    case MMI_JSON_OBJECT:
        if (mmi_jinja_enter(run)) return 1;
        failed = mmi_json_kind_of(node) == MMI_JSON_ARRAY ? from_json_list(run, node, out) : from_json_dict(run, node, out);
        if (!failed) run->depth--;
        return failed;
    case MMI_JSON_ABSENT:
    case MMI_JSON_NULL: break;
    }
    *out = mmi_jinja_none;
    return 0;
}

/* ---- sorting ---- */

static int merge(jinja_run *run, const value *keys, const value *items, value *to_keys, value *to_items, size_t left, size_t middle,
                 size_t right, int reverse)
{
    size_t i = left, j = middle, k = left;

    while (k < right) {
        int take_right = i == middle, order;
        if (i < middle && j < right) {
            if (mmi_jinja_spend(run, 1) ||
                (reverse ? mmi_jinja_order(run, keys[i], keys[j], &order) : mmi_jinja_order(run, keys[j], keys[i], &order)))
                return 1;
            take_right = order < 0;
        }
        to_keys[k] = keys[take_right ? j : i];
        to_items[k++] = items[take_right ? j : i];
        if (take_right)
            j++;
        else
            i++;
    }
    return 0;
}

int mmi_jinja_sort(jinja_run *run, value *keys, value *items, size_t count, int reverse)
{
    value *from_keys = keys, *from_items = items, *to_keys, *to_items, *swap;

    to_keys = mmi_jinja_alloc(run, count, sizeof *to_keys);
    to_items = mmi_jinja_alloc(run, count, sizeof *to_items);
    if (!to_keys || !to_items) return 1;
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t left = 0; left < count; left += 2 * width)
            if (merge(run, from_keys, from_items, to_keys, to_items, left, mmi_size_min(left + width, count),
                      mmi_size_min(left + 2 * width, count), reverse))
                return 1;
        swap = from_keys, from_keys = to_keys, to_keys = swap;
        swap = from_items, from_items = to_items, to_items = swap;
    }
    if (from_items != items && count) {
        memcpy(items, from_items, count * sizeof *items);
        memcpy(keys, from_keys, count * sizeof *keys);
    }
    return 0;
}
