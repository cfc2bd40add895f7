/* Each schema in the document that is referred to becomes a rule s<N>, written when its turn in a queue comes: neither deep nor circular
 * references need recursion here. SPDX-License-Identifier: MIT */
#include "json_schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash_map.h"
#include "json.h"
#include "schema_pattern.h"
#include "size.h"

enum {
    MAX_LINKS = 64,         /* $refs and allOfs in each other */
    MAX_BRANCHES = 256,     /* of a oneOf: each is compared with each */
    MAX_SPENT = 100000000,
    DIGITS = 16             /* of a whole number without bounds */
};

static const char base_rules[] =
    "root ::= s0\n"
    "ws ::= (\" \" | \"\\n\" [ \\t]{0,20})?\n"
    "hex ::= [0-9a-fA-F]\n"
    "char ::= [^\"\\\\\\x00-\\x1F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" ([0-9a-ce-fA-CE-F] hex hex hex | [dD] [0-7] hex hex))\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "integer ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15})\n"
    "number ::= integer (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?\n"
    "member ::= string \":\" ws value\n"
    "object ::= \"{\" ws (member (\",\" ws member)*)? ws \"}\"\n"
    "array ::= \"[\" ws (value (\",\" ws value)*)? ws \"]\"\n"
    "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
    /* RFC 3339 */
    "leap ::= \"0\" [48] | [2468] [048] | [13579] [26]\n"
    "year ::= [0-9]{3} [1-9] | [0-9]{2} [1-9] \"0\" | [0-9] [1-9] \"00\" | [1-9] \"000\"\n"
    "day28 ::= \"0\" [1-9] | \"1\" [0-9] | \"2\" [0-8]\n"
    "day30 ::= day28 | \"29\" | \"30\"\n"
    "date ::= year \"-\" (\"02-\" day28 | (\"0\" [469] | \"11\") \"-\" day30 | (\"0\" [13578] | \"1\" [02]) \"-\" (day30 | \"31\"))"
    " | ([0-9]{2} leap | leap \"00\") \"-02-29\"\n"
    "hour ::= [01] [0-9] | \"2\" [0-3]\n"
    "minute ::= [0-5] [0-9]\n"
    "time ::= hour \":\" minute \":\" minute (\".\" [0-9]{1,6})? (\"Z\" | [-+] hour \":\" minute)\n"
    "date-time ::= date \"T\" time\n"
    "uuid ::= hex{8} (\"-\" hex{4}){3} \"-\" hex{12}\n";

typedef struct {
    mm_context *ctx;
    const mmi_json *doc;
    mmi_text out;
    mmi_hash_map numbers; /* of the rule of a schema, by its address */
    const mmi_json_node **queue;
    size_t n_queue, queue_capacity;
    size_t spent; /* steps of searching */
} writer;

static mm_status refuse(writer *w, const char *key, const char *why)
{
    return mmi_fail(w->ctx, MM_E_UNSUPPORTED, "the JSON schema's \"%.60s\"%s is not supported", key, why);
}

static mm_status malformed(writer *w, const char *key, const char *what)
{
    return mmi_fail(w->ctx, MM_E_FORMAT, "the JSON schema's \"%.60s\" %s", key, what);
}

/* Lists are searched from their beginning: what a schema of many long ones may cost is bounded. */
static mm_status spend(writer *w, size_t steps)
{
    w->spent += steps < MAX_SPENT ? steps : MAX_SPENT;
    return w->spent > MAX_SPENT ? mmi_fail(w->ctx, MM_E_LIMIT, "the JSON schema refers and compares too much") : MM_OK;
}

static mm_status put(writer *w, const char *text) { return mmi_text_append(w->ctx, &w->out, text, strlen(text)) ? MM_E_NOMEM : MM_OK; }

/* ---- references ---- */

static mm_status put_reference(writer *w, const mmi_json_node *schema)
{
    int64_t number;

    if (!mmi_hash_map_get(&w->numbers, (const char *)&schema, sizeof schema, &number)) {
        number = (int64_t)w->n_queue;
        if (mmi_hash_map_put(w->ctx, &w->numbers, (const char *)&schema, sizeof schema, number, NULL) ||
            mmi_grow(w->ctx, (void **)&w->queue, &w->queue_capacity, w->n_queue, sizeof *w->queue))
            return MM_E_NOMEM;
        w->queue[w->n_queue++] = schema;
    }
    return mmi_text_format(w->ctx, &w->out, "s%lld", (long long)number) ? MM_E_NOMEM : MM_OK;
}

/* A part of a JSON pointer against a key: ~1 is a slash, ~0 a tilde. */
static int part_is(const char *part, size_t n, const char *key)
{
    size_t i = 0;
    for (; i < n; i++, key++) {
        char c = part[i];
        if (c == '~' && i + 1 < n && (part[i + 1] == '0' || part[i + 1] == '1')) c = part[++i] == '0' ? '~' : '/';
        if (*key != c) return 0;
    }
    return !*key;
}

static mm_status find_reference(writer *w, const mmi_json_node *ref, const mmi_json_node **out)
{
    const char *at = mmi_json_string(ref), *whole = at;
    const mmi_json_node *node = mmi_json_root(w->doc);

    if (!at) return malformed(w, "$ref", "is no string");
    if (*at != '#' || strchr(at, '%') || (at[1] && at[1] != '/')) return mmi_fail(w->ctx, MM_E_UNSUPPORTED, "the JSON schema's \"$ref\" to \"%.200s\" is not supported: #/... within the schema is", whole);
    for (at++; *at == '/' && node;) {
        size_t n = strcspn(++at, "/"), index = 0;
        const mmi_json_node *child = mmi_json_first(node);
        int array = mmi_json_kind_of(node) == MMI_JSON_ARRAY;

        for (; child; child = mmi_json_next(child), index++) {
            char digits[24];
            (void)snprintf(digits, sizeof digits, "%zu", index);
            if (part_is(at, n, array ? digits : mmi_json_key(child))) break;
        }
        node = child;
        at += n;
        if (spend(w, index)) return MM_E_LIMIT;
    }
    if (!node) return mmi_fail(w->ctx, MM_E_FORMAT, "the JSON schema's \"$ref\" to \"%.200s\" leads nowhere", whole);
    *out = node;
    return MM_OK;
}

/* ---- keywords ---- */

static int is_one_of(const char *key, const char *const *list)
{
    for (; *list; list++)
        if (!strcmp(key, *list)) return 1;
    return 0;
}

/* Refuse what is neither an annotation nor in the list. */
static mm_status check_keys(writer *w, const mmi_json_node *schema, const char *const *known, const char *beside)
{
    static const char *const annotations[] = {"title", "description", "default", "examples", "$schema", "$id", "$comment", "readOnly", "writeOnly",
                                              "deprecated", "$defs", "definitions", NULL};

    for (const mmi_json_node *m = mmi_json_first(schema); m; m = mmi_json_next(m))
        if (!is_one_of(mmi_json_key(m), annotations) && !is_one_of(mmi_json_key(m), known)) return refuse(w, mmi_json_key(m), beside);
    return MM_OK;
}

enum { NULLS = 1, BOOLEANS = 2, INTEGERS = 4, FRACTIONS = 8, STRINGS = 16, ARRAYS = 32, OBJECTS = 64, ALL = 127 };

static mm_status add_type(writer *w, const mmi_json_node *name, int *types)
{
    static const struct {
        const char *name;
        int types;
    } known[] = {{"null", NULLS}, {"boolean", BOOLEANS}, {"integer", INTEGERS}, {"number", INTEGERS | FRACTIONS}, {"string", STRINGS}, {"array", ARRAYS}, {"object", OBJECTS}};
    const char *text = mmi_json_string(name);

    for (size_t i = 0; text && i < sizeof known / sizeof *known; i++)
        if (!strcmp(text, known[i].name)) {
            *types |= known[i].types;
            return MM_OK;
        }
    return malformed(w, "type", "is not null, boolean, integer, number, string, array or object, or an array of these");
}

/* What "type" allows: without it everything. */
static mm_status read_types(writer *w, const mmi_json_node *schema, int *types)
{
    const mmi_json_node *type = mmi_json_get(schema, "type");
    mm_status st = MM_OK;

    *types = type ? 0 : ALL;
    if (!type) return MM_OK;
    if (mmi_json_kind_of(type) != MMI_JSON_ARRAY) return add_type(w, type, types);
    for (const mmi_json_node *t = mmi_json_first(type); t && !st; t = mmi_json_next(t)) st = add_type(w, t, types);
    return st;
}

static int type_of(const mmi_json_node *value)
{
    double number = 0;

    switch (mmi_json_kind_of(value)) {
    case MMI_JSON_NULL: return NULLS;
    case MMI_JSON_BOOL: return BOOLEANS;
    case MMI_JSON_NUMBER: return mmi_json_number(value, &number) && number == floor(number) ? INTEGERS : FRACTIONS;
    case MMI_JSON_STRING: return STRINGS;
    case MMI_JSON_ARRAY: return ARRAYS;
    default: return OBJECTS;
    }
}

/* ---- values ---- */

/* Bounded by the parser's depth. */
static mm_status write_value(writer *w, const mmi_json_node *value, mmi_text *out)
{
    mmi_json_kind kind = mmi_json_kind_of(value);
    double number = 0;
    char digits[40];
    mm_status st = MM_OK;

    switch (kind) {
    case MMI_JSON_NULL: return mmi_text_append(w->ctx, out, "null", 4) ? MM_E_NOMEM : MM_OK;
    case MMI_JSON_BOOL: return mmi_text_format(w->ctx, out, "%s", mmi_json_true(value) ? "true" : "false") ? MM_E_NOMEM : MM_OK;
    case MMI_JSON_STRING: return mmi_json_quote(w->ctx, out, mmi_json_string(value), strlen(mmi_json_string(value))) ? MM_E_NOMEM : MM_OK;
    case MMI_JSON_NUMBER:
        if (!mmi_json_number(value, &number)) return malformed(w, "const", "or \"enum\" has a number that is too large");
        for (int precision = 1; precision <= 17; precision++) {
            (void)snprintf(digits, sizeof digits, "%.*g", precision, number);
            if (strtod(digits, NULL) == number) break;
        }
        if (number == floor(number) && fabs(number) < 1e16) (void)snprintf(digits, sizeof digits, "%.0f", number);
        return mmi_text_append(w->ctx, out, digits, strlen(digits)) ? MM_E_NOMEM : MM_OK;
    default: break;
    }
    if (mmi_text_append(w->ctx, out, kind == MMI_JSON_ARRAY ? "[" : "{", 1)) return MM_E_NOMEM;
    for (const mmi_json_node *m = mmi_json_first(value); m && !st; m = mmi_json_next(m)) {
        if (m != mmi_json_first(value) && mmi_text_append(w->ctx, out, ", ", 2)) return MM_E_NOMEM;
        if (kind == MMI_JSON_OBJECT && (mmi_json_quote(w->ctx, out, mmi_json_key(m), strlen(mmi_json_key(m))) || mmi_text_append(w->ctx, out, ": ", 2)))
            return MM_E_NOMEM;
        st = write_value(w, m, out);
    }
    if (!st && mmi_text_append(w->ctx, out, kind == MMI_JSON_ARRAY ? "]" : "}", 1)) st = MM_E_NOMEM;
    return st;
}

static mm_status put_literal(writer *w, const char *text, size_t n)
{
    int failed = mmi_text_append(w->ctx, &w->out, "\"", 1);

    for (size_t i = 0; i < n && !failed; i++) {
        if (text[i] == '"' || text[i] == '\\') failed = mmi_text_append(w->ctx, &w->out, "\\", 1);
        failed |= mmi_text_append(w->ctx, &w->out, text + i, 1);
    }
    return failed || mmi_text_append(w->ctx, &w->out, "\"", 1) ? MM_E_NOMEM : MM_OK;
}

static mm_status put_value(writer *w, const mmi_json_node *value)
{
    mmi_text text = {0};
    mm_status st = write_value(w, value, &text);

    if (!st) st = put_literal(w, text.data, text.size);
    mmi_text_clear(&text);
    return st;
}

static mm_status put_values(writer *w, const mmi_json_node *schema)
{
    static const char *const known[] = {"const", "enum", "type", NULL};
    const mmi_json_node *constant = mmi_json_get(schema, "const"), *list = mmi_json_get(schema, "enum");
    int types = 0, some = 0;
    mm_status st = check_keys(w, schema, known, " beside \"const\" or \"enum\"");

    if (!st && constant && list) st = refuse(w, "const", " beside \"enum\"");
    if (!st && list && mmi_json_kind_of(list) != MMI_JSON_ARRAY) st = malformed(w, "enum", "is no array");
    if (!st) st = read_types(w, schema, &types);
    for (const mmi_json_node *v = constant ? constant : mmi_json_first(list); v && !st; v = constant ? NULL : mmi_json_next(v)) {
        if (!(type_of(v) & types)) continue;
        if (some++) st = put(w, " | ");
        if (!st) st = put_value(w, v);
    }
    return st || some ? st : malformed(w, constant ? "const" : "enum", "has no value that \"type\" allows");
}

/* ---- numbers ---- */

/* Digit strings from low to high, both of n digits; the depth of recursion is n. */
static mm_status put_digits(writer *w, const char *low, const char *high, size_t n)
{
    static const char nines[] = "9999999999999999", zeros[] = "0000000000000000";
    int low_ends, high_ends, from, to, some = 0;
    mm_status st = MM_OK;

    if (!n) return MM_OK;
    if (!memcmp(low, zeros, n) && !memcmp(high, nines, n)) return mmi_text_format(w->ctx, &w->out, "[0-9]{%zu} ", n) ? MM_E_NOMEM : MM_OK;
    if (*low == *high) {
        if (mmi_text_format(w->ctx, &w->out, "\"%c\" ", *low)) return MM_E_NOMEM;
        return put_digits(w, low + 1, high + 1, n - 1);
    }
    low_ends = memcmp(low + 1, zeros, n - 1) != 0; /* the first digit of low allows only a part of what follows */
    high_ends = memcmp(high + 1, nines, n - 1) != 0;
    from = *low + low_ends;
    to = *high - high_ends;
    st = put(w, "(");
    if (low_ends && !st) {
        if (mmi_text_format(w->ctx, &w->out, "\"%c\" ", *low)) return MM_E_NOMEM;
        st = put_digits(w, low + 1, nines, n - 1);
        some = 1;
    }
    if (from <= to && !st) {
        if (mmi_text_format(w->ctx, &w->out, "%s[%c-%c] [0-9]{%zu} ", some ? "| " : "", from, to, n - 1)) return MM_E_NOMEM;
        some = 1;
    }
    if (high_ends && !st) {
        if (mmi_text_format(w->ctx, &w->out, "%s\"%c\" ", some ? "| " : "", *high)) return MM_E_NOMEM;
        st = put_digits(w, zeros, high + 1, n - 1);
    }
    return st ? st : put(w, ") ");
}

static mm_status put_range(writer *w, int64_t low, int64_t high, const char *sign, int *some)
{
    int64_t first = 0, last = 9; /* with as many digits */

    for (size_t n = 1; n <= DIGITS; n++, first = last + 1, last = last * 10 + 9) {
        char a[24], b[24];
        int64_t from = low > first ? low : first, to = high < last ? high : last;
        mm_status st;

        if (from > to) continue;
        (void)snprintf(a, sizeof a, "%lld", (long long)from);
        (void)snprintf(b, sizeof b, "%lld", (long long)to);
        if ((st = put(w, *some ? " | " : "")) || (st = put(w, sign)) || (st = put_digits(w, a, b, n))) return st;
        *some = 1;
    }
    return MM_OK;
}

/* The bound of a whole number, if the keyword is there. */
static mm_status read_bound(writer *w, const mmi_json_node *schema, const char *key, int upper, int exclusive, int64_t *bound)
{
    const mmi_json_node *node = mmi_json_get(schema, key);
    double x = 0;
    int64_t b;

    if (!node) return MM_OK;
    if (!mmi_json_number(node, &x)) return malformed(w, key, "is no number");
    if (fabs(x) > 1e15) return mmi_fail(w->ctx, MM_E_LIMIT, "the JSON schema's \"%s\" is beyond 1e15", key);
    b = (int64_t)(upper ? floor(x) : ceil(x));
    if (exclusive && (double)b == x) b += upper ? -1 : 1;
    if (upper ? b < *bound : b > *bound) *bound = b;
    return MM_OK;
}

static mm_status put_integers(writer *w, const mmi_json_node *schema)
{
    int64_t high = 9999999999999999, low = -high;
    int some = 0;
    mm_status st = read_bound(w, schema, "minimum", 0, 0, &low);

    if (!st) st = read_bound(w, schema, "exclusiveMinimum", 0, 1, &low);
    if (!st) st = read_bound(w, schema, "maximum", 1, 0, &high);
    if (!st) st = read_bound(w, schema, "exclusiveMaximum", 1, 1, &high);
    if (st) return st;
    if (low > high) return malformed(w, "minimum", "and \"maximum\" leave no whole number");
    st = put(w, "(");
    if (!st && low < 0) st = put_range(w, high < 0 ? -high : 1, -low, "\"-\" ", &some);
    if (!st && high >= 0) st = put_range(w, low > 0 ? low : 0, high, "", &some);
    return st ? st : put(w, ")");
}

static int has_any(const mmi_json_node *schema, const char *const *keys)
{
    for (; *keys; keys++)
        if (mmi_json_get(schema, *keys)) return 1;
    return 0;
}

static const char *const number_keys[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", NULL};
static const char *const string_keys[] = {"minLength", "maxLength", "pattern", "format", NULL};
static const char *const array_keys[] = {"items", "prefixItems", "minItems", "maxItems", NULL};
static const char *const object_keys[] = {"properties", "required", "additionalProperties", NULL};

static mm_status put_numbers(writer *w, const mmi_json_node *schema, int types)
{
    if (!(types & FRACTIONS)) return has_any(schema, number_keys) ? put_integers(w, schema) : put(w, "integer");
    for (const char *const *key = number_keys; *key; key++)
        if (mmi_json_get(schema, *key)) return refuse(w, *key, " of a number that is no integer");
    return put(w, "number");
}

/* ---- strings ---- */

/* A count and its limit; *most -1: none. */
static mm_status read_counts(writer *w, const mmi_json_node *schema, const char *least_key, const char *most_key, int64_t *least, int64_t *most)
{
    mm_status st;

    *least = 0;
    *most = -1;
    if ((st = mmi_json_i64(w->ctx, w->doc, schema, least_key, 0, 0, INT32_MAX, least))) return st;
    if ((st = mmi_json_i64(w->ctx, w->doc, schema, most_key, 0, 0, INT32_MAX, most))) return st;
    return *most >= 0 && *most < *least ? malformed(w, most_key, "is less than the least number") : MM_OK;
}

static mm_status put_strings(writer *w, const mmi_json_node *schema)
{
    static const char *const lengths[] = {"minLength", "maxLength", NULL}, *const formats[] = {"date", "time", "date-time", "uuid", NULL};
    const mmi_json_node *pattern = mmi_json_get(schema, "pattern"), *format = mmi_json_get(schema, "format");
    const char *text = mmi_json_string(pattern ? pattern : format);
    int64_t least = 0, most = -1;
    mm_status st;

    if ((pattern || format) && !text) return malformed(w, pattern ? "pattern" : "format", "is no string");
    if (pattern && (format || has_any(schema, lengths))) return refuse(w, "pattern", " beside another keyword for strings");
    if (pattern) return mmi_schema_pattern_write(w->ctx, text, &w->out);
    if (format && has_any(schema, lengths)) return refuse(w, "format", " beside \"minLength\" or \"maxLength\"");
    if (format && !is_one_of(text, formats)) return mmi_fail(w->ctx, MM_E_UNSUPPORTED, "the JSON schema's \"format\" \"%.60s\" is not supported", text);
    if (format) return mmi_text_format(w->ctx, &w->out, "\"\\\"\" %s \"\\\"\"", text) ? MM_E_NOMEM : MM_OK;
    if ((st = read_counts(w, schema, "minLength", "maxLength", &least, &most))) return st;
    if (most < 0) return mmi_text_format(w->ctx, &w->out, "\"\\\"\" char{%lld,} \"\\\"\"", (long long)least) ? MM_E_NOMEM : MM_OK;
    return mmi_text_format(w->ctx, &w->out, "\"\\\"\" char{%lld,%lld} \"\\\"\"", (long long)least, (long long)most) ? MM_E_NOMEM : MM_OK;
}

/* ---- arrays ---- */

static int is_false(const mmi_json_node *node) { return mmi_json_kind_of(node) == MMI_JSON_BOOL && !mmi_json_true(node); }

static mm_status put_any(writer *w, const mmi_json_node *schema) { return schema ? put_reference(w, schema) : put(w, "value"); }

/* `least` to `most` (-1: any number of) elements, each with a comma in front. */
static mm_status put_more(writer *w, const mmi_json_node *items, int64_t least, int64_t most)
{
    mm_status st = put(w, " (\",\" ws ");

    if (!st) st = put_any(w, items);
    if (st) return st;
    if (most < 0) return mmi_text_format(w->ctx, &w->out, "){%lld,}", (long long)least) ? MM_E_NOMEM : MM_OK;
    return mmi_text_format(w->ctx, &w->out, "){%lld,%lld}", (long long)least, (long long)most) ? MM_E_NOMEM : MM_OK;
}

/* All of prefixItems are written as far as there is room, so that their absence needs no thought. */
static mm_status put_arrays(writer *w, const mmi_json_node *schema)
{
    const mmi_json_node *items = mmi_json_get(schema, "items"), *prefix = mmi_json_get(schema, "prefixItems"), *node = mmi_json_first(prefix);
    int64_t least, most, n = 0;
    int more = items ? !is_false(items) : !prefix; /* elements behind the prefix */
    mm_status st = read_counts(w, schema, "minItems", "maxItems", &least, &most);

    if (st) return st;
    if (mmi_json_kind_of(items) == MMI_JSON_ARRAY) return refuse(w, "items", " as an array (\"prefixItems\" is)");
    if (prefix && mmi_json_kind_of(prefix) != MMI_JSON_ARRAY) return malformed(w, "prefixItems", "is no array");
    st = put(w, "\"[\" ws ");
    for (; node && n != most && !st; node = mmi_json_next(node), n++) {
        if (n) st = put(w, " \",\" ws ");
        if (!st) st = put_reference(w, node);
    }
    if (!st && is_false(items) && least > n) st = malformed(w, "minItems", "asks for more elements than \"items\" allows");
    more |= least > n;
    least = least > n ? least - n : 0;
    most = most < 0 ? -1 : most - n;
    if (!st && more && most && n) st = put_more(w, items, least, most);
    if (!st && more && most && !n) {
        st = put(w, "(");
        if (!st) st = put_any(w, items);
        if (!st) st = put_more(w, items, least > 0 ? least - 1 : 0, most < 0 ? -1 : most - 1);
        if (!st) st = put(w, least ? ")" : ")?");
    }
    return st ? st : put(w, " ws \"]\"");
}

/* ---- objects ---- */

typedef struct {
    const char *name;
    const mmi_json_node *schema; /* NULL: any value */
    int required;
} property;

typedef struct {
    property *list;
    size_t count, capacity;
    mmi_hash_map by_name;
    int more;                        /* other properties may follow */
    const mmi_json_node *additional; /* their schema; NULL: any value */
} properties;

static void clear_properties(properties *p)
{
    mmi_free(p->list);
    mmi_hash_map_clear(&p->by_name);
}

static mm_status find_property(writer *w, properties *p, const char *name, property **out)
{
    int64_t at;

    if (!mmi_hash_map_get(&p->by_name, name, strlen(name), &at)) {
        at = (int64_t)p->count;
        if (mmi_hash_map_put(w->ctx, &p->by_name, name, strlen(name), at, NULL) ||
            mmi_grow(w->ctx, (void **)&p->list, &p->capacity, p->count, sizeof *p->list))
            return MM_E_NOMEM;
        p->list[p->count++] = (property){name, NULL, 0};
    }
    *out = &p->list[at];
    return MM_OK;
}

/* The properties of one schema: of the whole object, or of one of several that must hold together. */
static mm_status add_properties(writer *w, const mmi_json_node *schema, int alone, properties *p)
{
    const mmi_json_node *known = mmi_json_get(schema, "properties"), *required = mmi_json_get(schema, "required"), *more = mmi_json_get(schema, "additionalProperties");
    property *one;
    mm_status st = MM_OK;

    if (known && mmi_json_kind_of(known) != MMI_JSON_OBJECT) return malformed(w, "properties", "is no object");
    if (required && mmi_json_kind_of(required) != MMI_JSON_ARRAY) return malformed(w, "required", "is no array");
    if (more && !alone && !mmi_json_true(more)) return refuse(w, "additionalProperties", " within \"allOf\"");
    p->more = more ? !is_false(more) : alone && !known;
    p->additional = p->more && more && !mmi_json_true(more) ? more : NULL;
    for (const mmi_json_node *m = mmi_json_first(known); m; m = mmi_json_next(m)) {
        if ((st = find_property(w, p, mmi_json_key(m), &one))) return st;
        if (one->schema && !alone) return mmi_fail(w->ctx, MM_E_UNSUPPORTED, "the JSON schema's \"allOf\" describes the property \"%.60s\" twice, which is not supported", one->name);
        one->schema = m;
    }
    for (const mmi_json_node *m = mmi_json_first(required); m; m = mmi_json_next(m)) {
        const char *name = mmi_json_string(m);
        size_t before = p->count;
        if (!name) return malformed(w, "required", "has something that is no string");
        if ((st = find_property(w, p, name, &one))) return st;
        if (p->count > before && is_false(more)) return malformed(w, "required", "names what \"additionalProperties\" forbids");
        if (p->count > before) one->schema = p->additional;
        one->required = 1;
    }
    return MM_OK;
}

/* A rule for the strings that are none of the known names: along the sorted names, character by character, until one differs. They are written
 * without escapes, which could hide a name. */
typedef struct {
    size_t from, to, depth; /* names[from..to) have `depth` bytes in common */
} bundle;

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static mm_status write_other_names(writer *w, size_t object, const char **names, size_t count)
{
    bundle *bundles = NULL;
    size_t n = 0, capacity = 0;
    mm_status st = mmi_text_format(w->ctx, &w->out, "o%zuplain ::= [^\"\\\\\\x00-\\x1F]\n", object) ? MM_E_NOMEM : MM_OK;

    if (count) qsort(names, count, sizeof *names, by_text);
    if (mmi_grow(w->ctx, (void **)&bundles, &capacity, n, sizeof *bundles)) return MM_E_NOMEM;
    bundles[n++] = (bundle){0, count, 0};
    for (size_t i = 0; i < n && !st; i++) {
        bundle b = bundles[i];
        mmi_text others = {0};

        st = mmi_text_format(w->ctx, &w->out, "o%zun%zu ::= ", object, i) ? MM_E_NOMEM : MM_OK;
        if (!st && (b.from == b.to || names[b.from][b.depth])) st = put(w, "\"\" | "); /* no name ends here */
        for (size_t k = b.from; k < b.to && !st;) {
            uint32_t code = 0;
            size_t len = mmi_utf8_decode(names[k] + b.depth, strlen(names[k] + b.depth), &code), from = k;

            if (!len) { /* the name that ends here comes first */
                k++;
                continue;
            }
            while (k < b.to && !strncmp(names[k] + b.depth, names[from] + b.depth, len)) k++;
            if (mmi_text_format(w->ctx, &others, "\\U%08X", (unsigned)code) || mmi_grow(w->ctx, (void **)&bundles, &capacity, n, sizeof *bundles) ||
                mmi_text_format(w->ctx, &w->out, "\"\\U%08X\" o%zun%zu | ", (unsigned)code, object, n))
                st = MM_E_NOMEM;
            else
                bundles[n++] = (bundle){from, k, b.depth + len};
        }
        if (!st && mmi_text_format(w->ctx, &w->out, "[^\"\\\\\\x00-\\x1F%s] o%zuplain*\n", others.size ? others.data : "", object)) st = MM_E_NOMEM;
        mmi_text_clear(&others);
    }
    mmi_free(bundles);
    return st;
}

/* Names with a character that a JSON string escapes are written by no rule for other names. */
static int is_plain(const char *name)
{
    for (; *name; name++)
        if (*name == '"' || *name == '\\' || (unsigned char)*name < 0x20) return 0;
    return 1;
}

static mm_status put_other_names(writer *w, size_t object, const properties *p)
{
    const char **names = mmi_alloc_array(w->ctx, p->count + 1, sizeof *names);
    size_t n = 0;
    mm_status st;

    if (!names) return MM_E_NOMEM;
    for (size_t i = 0; i < p->count; i++)
        if (is_plain(p->list[i].name)) names[n++] = p->list[i].name;
    st = write_other_names(w, object, names, n);
    mmi_free(names);
    return st;
}

static mm_status put_member(writer *w, const property *p)
{
    mmi_text name = {0};
    mm_status st = mmi_json_quote(w->ctx, &name, p->name, strlen(p->name)) || mmi_text_append(w->ctx, &name, ":", 1) ? MM_E_NOMEM : MM_OK;

    if (!st) st = put_literal(w, name.data, name.size);
    mmi_text_clear(&name);
    if (!st) st = put(w, " ws ");
    return st ? st : put_any(w, p->schema);
}

/* Rules f<i>: the properties from i on, none before; r<i>: the same behind another one. */
static mm_status put_object(writer *w, const properties *p)
{
    size_t object = w->out.size; /* a number that no other object has */
    int first = 1;
    mm_status st = mmi_text_format(w->ctx, &w->out, "\"{\" ws o%zuf0 ws \"}\"\n", object) ? MM_E_NOMEM : MM_OK;

    for (size_t i = 0; i < p->count && !st; i++) {
        if (first) {
            if (mmi_text_format(w->ctx, &w->out, "o%zuf%zu ::= ", object, i) || (st = put_member(w, &p->list[i])) ||
                mmi_text_format(w->ctx, &w->out, " o%zur%zu", object, i + 1))
                return st ? st : MM_E_NOMEM;
            if (!p->list[i].required && mmi_text_format(w->ctx, &w->out, " | o%zuf%zu", object, i + 1)) return MM_E_NOMEM;
            if ((st = put(w, "\n"))) return st;
        }
        if (mmi_text_format(w->ctx, &w->out, "o%zur%zu ::= (\",\" ws ", object, i) || (st = put_member(w, &p->list[i])) ||
            mmi_text_format(w->ctx, &w->out, ")%s o%zur%zu\n", p->list[i].required ? "" : "?", object, i + 1))
            return st ? st : MM_E_NOMEM;
        first &= !p->list[i].required;
    }
    if (st) return st;
    if (p->more) {
        if ((st = put_other_names(w, object, p))) return st;
        if (mmi_text_format(w->ctx, &w->out, "o%zuother ::= \"\\\"\" o%zun0 \"\\\":\" ws ", object, object) || (st = put_any(w, p->additional)))
            return st ? st : MM_E_NOMEM;
        if (mmi_text_format(w->ctx, &w->out, "\no%zuf%zu ::= (o%zuother o%zur%zu)?\no%zur%zu ::= (\",\" ws o%zuother)*\n", object, p->count, object, object, p->count,
                            object, p->count, object))
            return MM_E_NOMEM;
        return MM_OK;
    }
    return mmi_text_format(w->ctx, &w->out, "o%zuf%zu ::= \"\"\no%zur%zu ::= \"\"\n", object, p->count, object, p->count) ? MM_E_NOMEM : MM_OK;
}

static mm_status put_objects(writer *w, const mmi_json_node *schema)
{
    properties p = {0};
    mm_status st = add_properties(w, schema, 1, &p);

    if (!st) st = put_object(w, &p);
    clear_properties(&p);
    return st;
}

/* Whether a schema speaks of objects alone, so that allOf can join it with others. */
static mm_status collect(writer *w, const mmi_json_node *schema, int links, properties *p)
{
    static const char *const known[] = {"type", "properties", "required", "additionalProperties", "allOf", "$ref", NULL};
    const mmi_json_node *ref = mmi_json_get(schema, "$ref"), *all = mmi_json_get(schema, "allOf"), *target = NULL;
    int types = 0;
    mm_status st;

    if (links == MAX_LINKS) return mmi_fail(w->ctx, MM_E_LIMIT, "the JSON schema's \"allOf\" and \"$ref\" lead further than %d times", (int)MAX_LINKS);
    if ((st = spend(w, 1000))) return st;
    if (mmi_json_kind_of(schema) != MMI_JSON_OBJECT) return refuse(w, "allOf", " with a boolean");
    if ((st = check_keys(w, schema, known, " within \"allOf\"")) || (st = read_types(w, schema, &types))) return st;
    if (!(types & OBJECTS)) return refuse(w, "allOf", " of what are no objects");
    if (all && mmi_json_kind_of(all) != MMI_JSON_ARRAY) return malformed(w, "allOf", "is no array");
    if (ref && ((st = find_reference(w, ref, &target)) || (st = collect(w, target, links + 1, p)))) return st;
    for (const mmi_json_node *m = mmi_json_first(all); m; m = mmi_json_next(m))
        if ((st = collect(w, m, links + 1, p))) return st;
    return add_properties(w, schema, 0, p);
}

static mm_status put_all_of(writer *w, const mmi_json_node *schema)
{
    static const char *const alone[] = {"allOf", NULL};
    const mmi_json_node *all = mmi_json_get(schema, "allOf"), *first = mmi_json_first(all);
    properties p = {0};
    mm_status st;

    if (first && !mmi_json_next(first) && mmi_json_kind_of(all) == MMI_JSON_ARRAY && !check_keys(w, schema, alone, "")) return put_reference(w, first);
    st = collect(w, schema, 0, &p);
    p.more = 0;
    if (!st) st = put_object(w, &p);
    clear_properties(&p);
    return st;
}

/* ---- alternatives ---- */

/* What a schema says outright, behind its references. */
static mm_status look(writer *w, const mmi_json_node **schema, int *types)
{
    const mmi_json_node *ref, *list;
    mm_status st;

    for (int links = 0; (ref = mmi_json_get(*schema, "$ref")); links++) {
        if (links == MAX_LINKS) return mmi_fail(w->ctx, MM_E_LIMIT, "the JSON schema's \"$ref\" leads further than %d times", (int)MAX_LINKS);
        if ((st = find_reference(w, ref, schema))) return st;
    }
    if ((st = read_types(w, *schema, types))) return st;
    list = mmi_json_get(*schema, "enum");
    if (mmi_json_get(*schema, "const")) {
        *types &= type_of(mmi_json_get(*schema, "const"));
    } else if (list) {
        int some = 0;
        for (const mmi_json_node *v = mmi_json_first(list); v; v = mmi_json_next(v)) some |= type_of(v);
        *types &= some;
    }
    return MM_OK;
}

/* The n-th of the values that a schema lists; NULL: no more. */
static const mmi_json_node *listed(const mmi_json_node *schema, size_t n)
{
    const mmi_json_node *v = mmi_json_get(schema, "const");
    if (v) return n ? NULL : v;
    for (v = mmi_json_first(mmi_json_get(schema, "enum")); v && n; n--) v = mmi_json_next(v);
    return v;
}

static int is_listed(const mmi_json_node *schema, const mmi_json_node *value)
{
    const mmi_json_node *v;

    for (size_t i = 0; (v = listed(schema, i)); i++) {
        double a = 0, b = 0;
        if (type_of(v) != type_of(value)) continue;
        if (type_of(v) & (INTEGERS | FRACTIONS) && mmi_json_number(v, &a) && mmi_json_number(value, &b) && a != b) continue;
        if (type_of(v) == STRINGS && strcmp(mmi_json_string(v), mmi_json_string(value))) continue;
        if (type_of(v) == BOOLEANS && mmi_json_true(v) != mmi_json_true(value)) continue;
        return 1; /* equal, or of a kind that is not looked into */
    }
    return 0;
}

static int requires(const mmi_json_node *schema, const char *name)
{
    for (const mmi_json_node *m = mmi_json_first(mmi_json_get(schema, "required")); m; m = mmi_json_next(m))
        if (mmi_json_string(m) && !strcmp(mmi_json_string(m), name)) return 1;
    return 0;
}

/* Whether no value can follow both: no common type, no common listed value, or objects of which a required property says so. */
static mm_status are_disjoint(writer *w, const mmi_json_node *a, const mmi_json_node *b, int depth, int *out)
{
    int types_a = 0, types_b = 0;
    mm_status st;

    *out = 0;
    if ((st = look(w, &a, &types_a)) || (st = look(w, &b, &types_b))) return st;
    if (!(types_a & types_b)) {
        *out = 1;
        return MM_OK;
    }
    if (listed(a, 0) && listed(b, 0)) {
        const mmi_json_node *v;
        *out = 1;
        for (size_t i = 0; *out && (v = listed(a, i)); i++) *out = !is_listed(b, v);
        return MM_OK;
    }
    if ((types_a & types_b) != OBJECTS || depth == 4) return MM_OK;
    st = spend(w, mmi_json_count(mmi_json_get(a, "properties")) * (1 + mmi_json_count(mmi_json_get(a, "required")) + mmi_json_count(mmi_json_get(b, "required")) +
                                                                   mmi_json_count(mmi_json_get(b, "properties"))));
    if (st) return st;
    for (const mmi_json_node *m = mmi_json_first(mmi_json_get(a, "properties")); m && !*out; m = mmi_json_next(m)) {
        const mmi_json_node *other = mmi_json_get(mmi_json_get(b, "properties"), mmi_json_key(m));
        if (other && requires(a, mmi_json_key(m)) && requires(b, mmi_json_key(m)) && (st = are_disjoint(w, m, other, depth + 1, out))) return st;
    }
    return MM_OK;
}

static mm_status check_one_of(writer *w, const mmi_json_node *list)
{
    size_t n = 0, i = 0;

    for (const mmi_json_node *a = mmi_json_first(list); a; a = mmi_json_next(a)) n++;
    if (n > MAX_BRANCHES) return mmi_fail(w->ctx, MM_E_LIMIT, "the JSON schema's \"oneOf\" has %zu alternatives, at most %d are read", n, (int)MAX_BRANCHES);
    for (const mmi_json_node *a = mmi_json_first(list); a; a = mmi_json_next(a), i++) {
        size_t k = i + 1;
        for (const mmi_json_node *b = mmi_json_next(a); b; b = mmi_json_next(b), k++) {
            int disjoint = 0;
            mm_status st = are_disjoint(w, a, b, 0, &disjoint);
            if (st) return st;
            if (!disjoint)
                return mmi_fail(w->ctx, MM_E_UNSUPPORTED, "the JSON schema's \"oneOf\" has alternatives %zu and %zu that one value may follow both; "
                                "types, listed values or a required property with such must tell them apart (or write \"anyOf\")", i, k);
        }
    }
    return MM_OK;
}

static mm_status put_alternatives(writer *w, const mmi_json_node *schema, const char *key)
{
    const char *known[] = {key, NULL};
    const mmi_json_node *list = mmi_json_get(schema, key);
    char beside[40];
    mm_status st;

    (void)snprintf(beside, sizeof beside, " beside \"%s\"", key);
    if ((st = check_keys(w, schema, known, beside))) return st;
    if (mmi_json_kind_of(list) != MMI_JSON_ARRAY || !mmi_json_first(list)) return malformed(w, key, "is no array of schemas");
    if (!strcmp(key, "oneOf") && (st = check_one_of(w, list))) return st;
    for (const mmi_json_node *m = mmi_json_first(list); m && !st; m = mmi_json_next(m)) {
        if (m != mmi_json_first(list)) st = put(w, " | ");
        if (!st) st = put_reference(w, m);
    }
    return st;
}

/* ---- schemas ---- */

static mm_status put_types(writer *w, const mmi_json_node *schema)
{
    static const char *const known[] = {"type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern", "format", "items", "prefixItems",
                                        "minItems", "maxItems", "properties", "required", "additionalProperties", NULL};
    int types = 0, some = 0, spoken;
    mm_status st = check_keys(w, schema, known, "");

    if (!st) st = read_types(w, schema, &types);
    if (st) return st;
    if (types == ALL && !mmi_json_get(schema, "type")) { /* of what it speaks, if it speaks of something */
        spoken = (has_any(schema, number_keys) ? INTEGERS : 0) | (has_any(schema, string_keys) ? STRINGS : 0) | (has_any(schema, array_keys) ? ARRAYS : 0) |
                 (has_any(schema, object_keys) ? OBJECTS : 0);
        if (!spoken) return put(w, "value");
        types = spoken;
    }
    for (int t = NULLS; t <= OBJECTS && !st; t <<= 1) {
        if (!(types & t) || (t == FRACTIONS && types & INTEGERS)) continue;
        if (some++) st = put(w, " | ");
        if (st) break;
        switch (t) {
        case NULLS: st = put(w, "\"null\""); break;
        case BOOLEANS: st = put(w, "\"true\" | \"false\""); break;
        case INTEGERS: st = put_numbers(w, schema, types); break;
        case STRINGS: st = put_strings(w, schema); break;
        case ARRAYS: st = put_arrays(w, schema); break;
        case OBJECTS: st = put_objects(w, schema); break;
        }
    }
    return st || some ? st : malformed(w, "type", "is empty");
}

static mm_status put_schema(writer *w, const mmi_json_node *schema)
{
    static const char *const ref_alone[] = {"$ref", NULL}, *const choices[] = {"anyOf", "oneOf", NULL};
    const mmi_json_node *target = NULL;
    mm_status st;

    if (mmi_json_true(schema)) return put(w, "value");
    if (mmi_json_kind_of(schema) == MMI_JSON_BOOL) return mmi_fail(w->ctx, MM_E_UNSUPPORTED, "the JSON schema has a schema \"false\", which is not supported here");
    if (mmi_json_kind_of(schema) != MMI_JSON_OBJECT) return mmi_fail(w->ctx, MM_E_FORMAT, "the JSON schema has a schema that is neither an object nor a boolean");
    if (mmi_json_get(schema, "allOf")) return put_all_of(w, schema);
    if (mmi_json_get(schema, "$ref")) {
        if ((st = check_keys(w, schema, ref_alone, " beside \"$ref\"")) || (st = find_reference(w, mmi_json_get(schema, "$ref"), &target))) return st;
        return put_reference(w, target);
    }
    for (int i = 0; choices[i]; i++)
        if (mmi_json_get(schema, choices[i])) return put_alternatives(w, schema, choices[i]);
    if (mmi_json_get(schema, "const") || mmi_json_get(schema, "enum")) return put_values(w, schema);
    return put_types(w, schema);
}

mm_status mmi_json_schema_compile(mm_context *ctx, const char *schema, size_t n, mmi_grammar **out)
{
    writer w = {0};
    mmi_json *doc = NULL;
    mm_status st = mmi_json_parse(ctx, "the JSON schema", schema, n, &doc);

    *out = NULL;
    if (st) return st;
    w.ctx = ctx;
    w.doc = doc;
    if (mmi_grow(ctx, (void **)&w.queue, &w.queue_capacity, 0, sizeof *w.queue)) st = MM_E_NOMEM;
    else w.queue[w.n_queue++] = mmi_json_root(doc);
    if (!st && mmi_hash_map_put(ctx, &w.numbers, (const char *)&w.queue[0], sizeof w.queue[0], 0, NULL)) st = MM_E_NOMEM;
    if (!st) st = put(&w, base_rules);
    for (size_t i = 0; i < w.n_queue && !st; i++) {
        st = mmi_text_format(ctx, &w.out, "s%zu ::= ", i) ? MM_E_NOMEM : MM_OK;
        if (!st) st = put_schema(&w, w.queue[i]);
        if (!st) st = put(&w, "\n");
        if (!st && w.out.size > MMI_GRAMMAR_MAX_TEXT) st = mmi_fail(ctx, MM_E_LIMIT, "the JSON schema's grammar is longer than %d bytes", (int)MMI_GRAMMAR_MAX_TEXT);
    }
    if (!st) st = mmi_grammar_create(ctx, "the JSON schema's grammar", w.out.data, w.out.size, out);
    mmi_text_clear(&w.out);
    mmi_free(w.queue);
    mmi_hash_map_clear(&w.numbers);
    mmi_json_destroy(doc);
    return st;
}
