/* The text is held against the grammar of RFC 8259 here, before cJSON sees it: cJSON alone accepts more than JSON (01,
 * raw control bytes, a byte order mark), reports errors through a global, and knows no budget. A document that passes
 * can fail in cJSON for want of memory only, and how much that will be is known and charged beforehand. The scan keeps
 * its own stack of one bit a level and never recurses; cJSON recurses MMI_JSON_MAX_DEPTH deep at most.
 * SPDX-License-Identifier: MIT */
#include "json.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "file.h"
#include "size.h"

enum {
    BLOCK = 16,     /* what the C library's allocator adds to a block, roughly */
    MAX_NUMBER = 63 /* cJSON copies a number into 64 bytes */
};

struct mmi_json {
    mmi_heap *heap; /* kept alive by the block that this structure is in */
    size_t charged; /* bytes of cJSON's counted on the heap */
    cJSON *root;
    char *name;
    int borrows; /* the nodes are another document's */
};

typedef struct {
    const char *s;
    size_t n, at;
    uint64_t objects; /* bit d: the container at depth d is an object */
    unsigned depth;
    size_t nodes, strings, string_bytes; /* what cJSON is going to allocate */
    int reals;                           /* a number has a fraction or an exponent */
    const char *wrong;                   /* what stands at `at`, after a failure */
} scanner;

_Static_assert(MMI_JSON_MAX_DEPTH <= 64, "scanner.objects has one bit for each level");

static mm_status wrong(scanner *c, const char *what)
{
    c->wrong = what;
    return MM_E_FORMAT;
}

static int peek(const scanner *c) { return c->at < c->n ? (unsigned char)c->s[c->at] : -1; }
static int is_digit(int b) { return b >= '0' && b <= '9'; }

static void skip_space(scanner *c)
{
    for (int b = peek(c); b == ' ' || b == '\n' || b == '\r' || b == '\t'; b = peek(c)) c->at++;
}

static int take(scanner *c, char wanted)
{
    if (peek(c) != wanted) return 0;
    c->at++;
    return 1;
}

/* Four hexadecimal digits as a number, -1 for anything else. */
static int32_t hex4(const char *s)
{
    int32_t v = 0;
    for (int i = 0; i < 4; i++) {
        char b = s[i];
        int digit = b >= '0' && b <= '9' ? b - '0' : b >= 'a' && b <= 'f' ? b - 'a' + 10 : b >= 'A' && b <= 'F' ? b - 'A' + 10 : -1;
        if (digit < 0) return -1;
        v = v << 4 | digit;
    }
    return v;
}

/* \uXXXX, the first two bytes of which are taken. */
static mm_status scan_unicode_escape(scanner *c)
{
    const char *s = c->s + c->at;
    int32_t code = c->n - c->at < 4 ? -1 : hex4(s), low;

    if (code < 0) return wrong(c, "a \\u without four hexadecimal digits");
    if (code == 0) { /* cJSON's strings end at the first NUL */
        c->wrong = "\\u0000 in a string";
        return MM_E_UNSUPPORTED;
    }
    c->at += 4;
    if (code < 0xD800 || code > 0xDFFF) return MM_OK;
    low = code <= 0xDBFF && c->n - c->at >= 6 && s[4] == '\\' && s[5] == 'u' ? hex4(s + 6) : -1;
    if (low < 0xDC00 || low > 0xDFFF) return wrong(c, "half a surrogate pair");
    c->at += 6;
    return MM_OK;
}

static mm_status scan_string(scanner *c)
{
    size_t from = c->at, len;
    uint32_t code;
    int b;
    mm_status st;

    if (!take(c, '"')) return wrong(c, "no string where one must be");
    while ((b = peek(c)) != '"') {
        if (b < 0) return wrong(c, "the end inside a string");
        if (b < 0x20) return wrong(c, "a control byte inside a string");
        if (b == '\\') {
            c->at++;
            b = peek(c);
            if (b < 0 || !strchr("\"\\/bfnrtu", b) || !b) return wrong(c, "an unknown escape");
            c->at++;
            if (b == 'u' && (st = scan_unicode_escape(c))) return st;
            continue;
        }
        len = mmi_utf8_decode(c->s + c->at, c->n - c->at, &code);
        if (!len) return wrong(c, "malformed UTF-8");
        c->at += len;
    }
    c->at++;
    c->strings++;
    c->string_bytes += c->at - from;
    return MM_OK;
}

static mm_status scan_digits(scanner *c)
{
    if (!is_digit(peek(c))) return wrong(c, "no digit where one must be");
    while (is_digit(peek(c))) c->at++;
    return MM_OK;
}

static mm_status scan_number(scanner *c)
{
    size_t from = c->at;
    mm_status st = MM_OK;

    (void)take(c, '-');
    if (!take(c, '0')) st = scan_digits(c);
    if (!st && take(c, '.')) {
        c->reals = 1;
        st = scan_digits(c);
    }
    if (!st && (take(c, 'e') || take(c, 'E'))) {
        c->reals = 1;
        if (!take(c, '+')) (void)take(c, '-');
        st = scan_digits(c);
    }
    if (!st && c->at - from > MAX_NUMBER) {
        c->wrong = "a number of more than 63 characters";
        return MM_E_LIMIT;
    }
    return st;
}

static mm_status scan_literal(scanner *c)
{
    static const char *const literals[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof literals / sizeof *literals; i++) {
        size_t len = strlen(literals[i]);
        if (c->n - c->at >= len && !memcmp(c->s + c->at, literals[i], len)) {
            c->at += len;
            return MM_OK;
        }
    }
    return wrong(c, peek(c) < 0 ? "the end where a value must be" : "no value where one must be");
}

static int in_object(const scanner *c) { return c->objects >> (c->depth - 1) & 1; }

/* "key" : */
static mm_status scan_key(scanner *c)
{
    mm_status st;
    skip_space(c);
    st = scan_string(c);
    if (st) return st;
    skip_space(c);
    return take(c, ':') ? MM_OK : wrong(c, "no colon after a key");
}

/* After a value: leave the containers that end here. *more: a further value follows. */
static mm_status scan_after_value(scanner *c, int *more)
{
    *more = 0;
    for (;;) {
        skip_space(c);
        if (!c->depth) return c->at == c->n ? MM_OK : wrong(c, "something behind the document");
        if (take(c, ',')) {
            *more = 1;
            return in_object(c) ? scan_key(c) : MM_OK;
        }
        if (!take(c, in_object(c) ? '}' : ']'))
            return wrong(c, in_object(c) ? "no comma or } after a member" : "no comma or ] after an element");
        c->depth--;
    }
}

static mm_status scan(scanner *c)
{
    mm_status st;
    int more = 1;

    while (more) {
        int b;
        skip_space(c);
        b = peek(c);
        if (++c->nodes > MMI_JSON_MAX_NODES) {
            c->wrong = "one value more than allowed";
            return MM_E_LIMIT;
        }
        if (b == '{' || b == '[') {
            if (c->depth == MMI_JSON_MAX_DEPTH) {
                c->wrong = "nesting deeper than allowed";
                return MM_E_LIMIT;
            }
            c->at++;
            c->objects = (c->objects & ~((uint64_t)1 << c->depth)) | (uint64_t)(b == '{') << c->depth;
            c->depth++;
            skip_space(c);
            if (!take(c, b == '{' ? '}' : ']')) {
                if (b == '{' && (st = scan_key(c))) return st;
                continue;
            }
            c->depth--;
        } else {
            st = b == '"' ? scan_string(c) : b == '-' || is_digit(b) ? scan_number(c) : scan_literal(c);
            if (st) return st;
        }
        st = scan_after_value(c, &more);
        if (st) return st;
    }
    return MM_OK;
}

/* cJSON keeps the value of a number and not how it was written, but there are readers for whom 1 is no 1.0: numbers with a fraction or an exponent get a bit
 * beside cJSON's own in their type, for when they are written again. `node` and those behind it are the next in the text at `at`, which is known to be JSON. */
enum { WRITTEN_REAL = 1 << 16 };

static const char *mark_reals(cJSON *node, const char *at)
{
    for (; node; node = node->next) {
        if (node->child) at = mark_reals(node->child, at);
        if ((node->type & 0xFF) != cJSON_Number) continue;
        while (!is_digit((unsigned char)*at)) {
            if (*at++ != '"') continue;
            while (*at != '"') at += *at == '\\' ? 2 : 1;
            at++;
        }
        for (; is_digit((unsigned char)*at) || (*at && strchr("+-.eE", *at)); at++)
            if (*at == '.' || *at == 'e' || *at == 'E') node->type |= WRITTEN_REAL;
    }
    return at;
}

mm_status mmi_json_parse(mm_context *ctx, const char *name, const char *text, size_t n, mmi_json **out)
{
    scanner c = {.s = text, .n = n};
    mmi_json *doc = NULL;
    size_t bytes;
    mm_status st;

    *out = NULL;
    st = scan(&c);
    if (st) return mmi_fail(ctx, st, "%s: %s (byte %zu of %zu)", name, c.wrong, c.at, n);
    doc = mmi_zalloc(ctx, sizeof *doc);
    if (!doc) return MM_E_NOMEM;
    doc->heap = ctx->heap;
    doc->name = mmi_strdup(ctx, name);
    if (!doc->name) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    /* nodes, strings and their bytes are each at most n, and a node takes at most 80 bytes for at least one of the text */
    if (mmi_size_mul(c.nodes, sizeof(cJSON) + BLOCK, &bytes) || mmi_size_add(bytes, c.strings * BLOCK, &bytes) ||
        mmi_size_add(bytes, c.string_bytes, &bytes) || mmi_heap_charge(doc->heap, bytes)) {
        st = mmi_fail(ctx, MM_E_NOMEM, "out of memory: %s has %zu values, more than the memory limit leaves room for", name, c.nodes);
        goto cleanup;
    }
    doc->charged = bytes;
    doc->root = cJSON_ParseWithLength(text, n);
    if (!doc->root) {
        st = mmi_fail(ctx, MM_E_NOMEM, "out of memory: cJSON could not build the %zu values of %s", c.nodes, name);
        goto cleanup;
    }
    if (c.reals) (void)mark_reals(doc->root->child, text); /* a bare number may end the text, and nobody writes it */
    *out = doc;
    doc = NULL;
cleanup:
    mmi_json_destroy(doc);
    return st;
}

mm_status mmi_json_read(mm_context *ctx, const char *path, size_t most, mmi_json **out)
{
    char *text = NULL;
    size_t n = 0;
    mm_status st;

    *out = NULL;
    st = mmi_file_read(ctx, path, most, &text, &n);
    if (!st) st = mmi_json_parse(ctx, path, text, n, out);
    mmi_free(text);
    return st;
}

mm_status mmi_json_part(mm_context *ctx, const mmi_json *doc, const char *key, mmi_json **out)
{
    const mmi_json_node *node = mmi_json_get(doc->root, key);
    mmi_json_kind kind = mmi_json_kind_of(node);
    mmi_text name = {0};

    *out = NULL;
    if (kind == MMI_JSON_ABSENT || kind == MMI_JSON_NULL) return MM_OK;
    if (kind != MMI_JSON_OBJECT) return mmi_fail(ctx, MM_E_FORMAT, "%s: %s must be an object", doc->name, key);
    if (mmi_text_format(ctx, &name, "%s: %s", doc->name, key)) return MM_E_NOMEM;
    *out = mmi_zalloc(ctx, sizeof **out);
    if (!*out) {
        mmi_text_clear(&name);
        return MM_E_NOMEM;
    }
    (*out)->name = name.data;
    (*out)->root = (cJSON *)(uintptr_t)node;
    (*out)->borrows = 1;
    return MM_OK;
}

void mmi_json_destroy(mmi_json *doc)
{
    if (!doc) return;
    if (!doc->borrows) {
        cJSON_Delete(doc->root);
        mmi_heap_discharge(doc->heap, doc->charged);
    }
    mmi_free(doc->name);
    mmi_free(doc);
}

const mmi_json_node *mmi_json_root(const mmi_json *doc) { return doc->root; }
const char *mmi_json_name(const mmi_json *doc) { return doc->name; }

mmi_json_kind mmi_json_kind_of(const mmi_json_node *node)
{
    if (!node) return MMI_JSON_ABSENT;
    switch (node->type & 0xFF) {
    case cJSON_False:
    case cJSON_True: return MMI_JSON_BOOL;
    case cJSON_Number: return MMI_JSON_NUMBER;
    case cJSON_String: return MMI_JSON_STRING;
    case cJSON_Array: return MMI_JSON_ARRAY;
    case cJSON_Object: return MMI_JSON_OBJECT;
    default: return MMI_JSON_NULL;
    }
}

const mmi_json_node *mmi_json_get(const mmi_json_node *object, const char *key)
{
    const cJSON *found = NULL;
    if (mmi_json_kind_of(object) != MMI_JSON_OBJECT) return NULL;
    for (const cJSON *member = object->child; member; member = member->next)
        if (!strcmp(member->string, key)) found = member;
    return found;
}

const mmi_json_node *mmi_json_first(const mmi_json_node *node) { return node ? node->child : NULL; }
const mmi_json_node *mmi_json_next(const mmi_json_node *node) { return node ? node->next : NULL; }
const char *mmi_json_key(const mmi_json_node *member) { return member ? member->string : NULL; }

size_t mmi_json_count(const mmi_json_node *node)
{
    size_t n = 0;
    for (const mmi_json_node *child = mmi_json_first(node); child; child = child->next) n++;
    return n;
}

const char *mmi_json_string(const mmi_json_node *node)
{
    return mmi_json_kind_of(node) == MMI_JSON_STRING ? node->valuestring : NULL;
}

int mmi_json_number(const mmi_json_node *node, double *out)
{
    if (mmi_json_kind_of(node) != MMI_JSON_NUMBER || !isfinite(node->valuedouble)) return 0;
    *out = node->valuedouble;
    return 1;
}

int mmi_json_integer(const mmi_json_node *node, int64_t *out)
{
    const double exact = 9007199254740992.0; /* 2^53: above, a double no longer tells neighbours apart */
    double d;
    if (!mmi_json_number(node, &d) || d < -exact || d > exact || floor(d) != d) return 0;
    *out = (int64_t)d;
    return 1;
}

int mmi_json_true(const mmi_json_node *node) { return node && (node->type & 0xFF) == cJSON_True; }

static const char *kind_name(const mmi_json_node *node)
{
    static const char *const names[] = {"absent", "null", "true or false", "a number", "a string", "an array", "an object"};
    return names[mmi_json_kind_of(node)];
}

/* The member `key`, or NULL in *out for one that is absent or null and may be. */
static mm_status find_member(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, const char *key, int required,
                             const mmi_json_node **out)
{
    const mmi_json_node *node = mmi_json_get(object, key);

    *out = mmi_json_kind_of(node) == MMI_JSON_NULL ? NULL : node;
    if (*out || !required) return MM_OK;
    return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%s\" is missing", doc->name, key);
}

static mm_status fail_kind(mm_context *ctx, const mmi_json *doc, const char *key, const char *wanted, const mmi_json_node *node)
{
    return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%s\" must be %s but is %s", doc->name, key, wanted, kind_name(node));
}

mm_status mmi_json_i64(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, const char *key, int required,
                       int64_t lowest, int64_t highest, int64_t *out)
{
    const mmi_json_node *node;
    int64_t v;
    mm_status st = find_member(ctx, doc, object, key, required, &node);

    if (st || !node) return st;
    if (mmi_json_kind_of(node) != MMI_JSON_NUMBER) return fail_kind(ctx, doc, key, "an integer", node);
    if (!mmi_json_integer(node, &v) || v < lowest || v > highest)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%s\" is %.17g, expected an integer from %" PRId64 " to %" PRId64, doc->name, key,
                        node->valuedouble, lowest, highest);
    *out = v;
    return MM_OK;
}

mm_status mmi_json_f64(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, const char *key, int required,
                       double lowest, double highest, double *out)
{
    const mmi_json_node *node;
    double v;
    mm_status st = find_member(ctx, doc, object, key, required, &node);

    if (st || !node) return st;
    if (mmi_json_kind_of(node) != MMI_JSON_NUMBER) return fail_kind(ctx, doc, key, "a number", node);
    if (!mmi_json_number(node, &v) || v < lowest || v > highest)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%s\" is %.17g, expected a number from %.17g to %.17g", doc->name, key,
                        node->valuedouble, lowest, highest);
    *out = v;
    return MM_OK;
}

mm_status mmi_json_bool(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, const char *key, int required, int *out)
{
    const mmi_json_node *node;
    mm_status st = find_member(ctx, doc, object, key, required, &node);

    if (st || !node) return st;
    if (mmi_json_kind_of(node) != MMI_JSON_BOOL) return fail_kind(ctx, doc, key, "true or false", node);
    *out = mmi_json_true(node);
    return MM_OK;
}

mm_status mmi_json_text(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, const char *key, int required,
                        const char **out)
{
    const mmi_json_node *node;
    mm_status st = find_member(ctx, doc, object, key, required, &node);

    if (st || !node) return st;
    if (mmi_json_kind_of(node) != MMI_JSON_STRING) return fail_kind(ctx, doc, key, "a string", node);
    *out = node->valuestring;
    return MM_OK;
}

mm_status mmi_json_only(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, const char *const *keys)
{
    for (const mmi_json_node *n = mmi_json_first(object); n; n = mmi_json_next(n)) {
        const char *const *k = keys;
        while (*k && strcmp(*k, mmi_json_key(n))) k++;
        if (!*k) return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%.60s\" is no key that it may have", mmi_json_name(doc), mmi_json_key(n));
    }
    return MM_OK;
}

int mmi_json_quote(mm_context *ctx, mmi_text *out, const char *s, size_t n)
{
    size_t plain = 0, i = 0; /* s[plain..i) is copied as it is */

    if (mmi_text_append(ctx, out, "\"", 1)) return 1;
    while (i < n) {
        unsigned char b = (unsigned char)s[i];
        uint32_t code;
        size_t len = mmi_utf8_decode(s + i, n - i, &code);
        int failed;

        if (len && b >= 0x20 && b != '"' && b != '\\') {
            i += len;
            continue;
        }
        if (i > plain && mmi_text_append(ctx, out, s + plain, i - plain)) return 1;
        if (!len)
            failed = mmi_text_append(ctx, out, "\xEF\xBF\xBD", 3);
        else if (b == '"' || b == '\\')
            failed = mmi_text_format(ctx, out, "\\%c", b);
        else if (b == '\n')
            failed = mmi_text_append(ctx, out, "\\n", 2);
        else
            failed = mmi_text_format(ctx, out, "\\u%04x", b);
        if (failed) return 1;
        plain = ++i;
    }
    if (i > plain && mmi_text_append(ctx, out, s + plain, i - plain)) return 1;
    return mmi_text_append(ctx, out, "\"", 1);
}

static int write_node(mm_context *ctx, mmi_text *out, const mmi_json_node *node, int depth)
{
    const mmi_json_kind kind = mmi_json_kind_of(node);
    const int object = kind == MMI_JSON_OBJECT;
    const char *s = mmi_json_string(node);
    double number = 0;
    int64_t whole;

    switch (kind) {
    case MMI_JSON_STRING: return mmi_json_quote(ctx, out, s, strlen(s));
    case MMI_JSON_BOOL: return mmi_text_format(ctx, out, mmi_json_true(node) ? "true" : "false");
    case MMI_JSON_NUMBER:
        if (mmi_json_integer(node, &whole)) return mmi_text_format(ctx, out, "%lld%s", (long long)whole, node->type & WRITTEN_REAL ? ".0" : "");
        (void)mmi_json_number(node, &number);
        return mmi_text_format(ctx, out, "%.17g", number);
    case MMI_JSON_ARRAY:
    case MMI_JSON_OBJECT: break;
    case MMI_JSON_ABSENT:
    case MMI_JSON_NULL: return mmi_text_format(ctx, out, "null");
    }
    if (mmi_text_format(ctx, out, object ? "{" : "[")) return 1;
    for (const mmi_json_node *n = mmi_json_first(node); n; n = mmi_json_next(n)) {
        if (mmi_text_format(ctx, out, "%s%*s", n == mmi_json_first(node) ? "\n" : ",\n", 2 * depth + 2, "")) return 1;
        if (object && (mmi_json_quote(ctx, out, mmi_json_key(n), strlen(mmi_json_key(n))) || mmi_text_format(ctx, out, ": "))) return 1;
        if (write_node(ctx, out, n, depth + 1)) return 1; /* as deep as documents are, MMI_JSON_MAX_DEPTH */
    }
    return mmi_text_format(ctx, out, "\n%*s%s", 2 * depth, "", object ? "}" : "]");
}

int mmi_json_write(mm_context *ctx, mmi_text *out, const mmi_json_node *node) { return write_node(ctx, out, node, 0); }
