/* One pass over the mapped file with a cursor that cannot leave it. What is kept for a key is where its value lies; values
 * are decoded when they are read. Arrays of strings, whose elements have no fixed size, get a table of offsets. Arrays
 * grow with what was read, never by a count that the file claims, and duplicates are found by hashing.
 * SPDX-License-Identifier: MIT */
#include "gguf.h"

#include <inttypes.h>
#include <string.h>

#include "dtype.h"
#include "hash_map.h"
#include "size.h"
#include "text.h"

enum {
    DEFAULT_ALIGNMENT = 32,
    MAX_ALIGNMENT = 1024 * 1024,
    MAX_NAME = 65535,        /* the specification's bound on a key; tensor names are shorter still */
    LEAST_KEY = 8 + 4 + 1,   /* bytes that a key takes in the file: its name's length, type, value */
    LEAST_TENSOR = 8 + 4 + 4 + 8 /* name's length, rank, type, offset */
};

typedef struct {
    const char *name;
    mmi_gguf_type type;    /* ARRAY: element_type and count say of what */
    mmi_gguf_type element_type;
    size_t at;             /* where the value is in the file: a number, a string's length, an array's first element */
    size_t count;          /* elements of an array, else 1 */
    size_t *strings;       /* where each element of an array of strings is; NULL for other types */
} entry;

struct mmi_gguf {
    char *path;
    mmi_file_map *map;
    const unsigned char *bytes;
    size_t size;
    entry *entries;
    size_t entry_count, entry_capacity;
    mmi_gguf_tensor *tensors;
    size_t tensor_count, tensor_capacity;
    size_t *offsets; /* of each tensor from the start of the data, until that start is known */
    size_t offset_capacity;
    mmi_text key_names, tensor_names; /* one after the other, each with its NUL */
    mmi_hash_map key_index, tensor_index;
};

/* While the header is read. */
typedef struct {
    mm_context *ctx;
    mmi_gguf *file;
    size_t at;
} cursor;

static uint32_t u32_at(const mmi_gguf *f, size_t at)
{
    const unsigned char *p = f->bytes + at;
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t u64_at(const mmi_gguf *f, size_t at) { return u32_at(f, at) | (uint64_t)u32_at(f, at + 4) << 32; }

/* Bytes of one value of a type with a fixed size; 0 for strings, arrays and numbers that are no type. */
static size_t value_bytes(uint32_t type)
{
    static const unsigned char sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof sizes ? sizes[type] : 0;
}

static const char *type_name(mmi_gguf_type type)
{
    static const char *const names[] = {"u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};
    return names[type];
}

static size_t left(const cursor *c) { return c->file->size - c->at; }

static mm_status fail_cut(const cursor *c, const char *what)
{
    return mmi_fail(c->ctx, MM_E_FORMAT, "%s: the file ends inside %s (byte %zu of %zu)", c->file->path, what, c->at, c->file->size);
}

static mm_status read_u32(cursor *c, const char *what, uint32_t *out)
{
    if (left(c) < 4) return fail_cut(c, what);
    *out = u32_at(c->file, c->at);
    c->at += 4;
    return MM_OK;
}

static mm_status read_u64(cursor *c, const char *what, uint64_t *out)
{
    if (left(c) < 8) return fail_cut(c, what);
    *out = u64_at(c->file, c->at);
    c->at += 8;
    return MM_OK;
}

/* A length and as many bytes. */
static mm_status read_string(cursor *c, const char *what, const char **out, size_t *n)
{
    uint64_t length = 0;
    mm_status st = read_u64(c, what, &length);

    if (st) return st;
    if (length > left(c))
        return mmi_fail(c->ctx, MM_E_FORMAT, "%s: %s has %" PRIu64 " bytes where %zu are left in the file", c->file->path, what,
                        length, left(c));
    *out = (const char *)c->file->bytes + c->at;
    *n = (size_t)length;
    c->at += *n;
    return MM_OK;
}

/* The name of key or tensor `number`, appended to `names` and put into `index`, where it must not be yet. */
static mm_status read_name(cursor *c, const char *what, size_t number, mmi_text *names, mmi_hash_map *index)
{
    const char *name, *path = c->file->path;
    size_t n;
    int existed;
    mm_status st = read_string(c, what, &name, &n);

    if (st) return st;
    if (n > MAX_NAME) return mmi_fail(c->ctx, MM_E_LIMIT, "%s: %s %zu has %zu bytes, more than %d", path, what, number, n, MAX_NAME);
    if (memchr(name, 0, n) || mmi_utf8_valid(name, n) != n)
        return mmi_fail(c->ctx, MM_E_FORMAT, "%s: %s %zu is not text in UTF-8", path, what, number);
    if (mmi_text_append(c->ctx, names, name, n) || mmi_text_append(c->ctx, names, "", 1) ||
        mmi_hash_map_put(c->ctx, index, name, n, (int64_t)number, &existed))
        return MM_E_NOMEM;
    if (existed) return mmi_fail(c->ctx, MM_E_FORMAT, "%s: %s %.*s appears twice", path, what, (int)n, name);
    return MM_OK;
}

static mm_status read_array(cursor *c, entry *e, size_t number)
{
    const char *path = c->file->path;
    uint32_t type = 0;
    uint64_t count = 0;
    size_t least;
    mm_status st = read_u32(c, "an array's type", &type);

    if (!st) st = read_u64(c, "an array's length", &count);
    if (st) return st;
    if (type == MMI_GGUF_ARRAY) return mmi_fail(c->ctx, MM_E_UNSUPPORTED, "%s: key %zu is an array of arrays", path, number);
    least = type == MMI_GGUF_STRING ? 8 : value_bytes(type);
    if (!least) return mmi_fail(c->ctx, MM_E_FORMAT, "%s: key %zu is an array of the unknown type %" PRIu32, path, number, type);
    if (count > left(c) / least)
        return mmi_fail(c->ctx, MM_E_FORMAT, "%s: key %zu is an array of %" PRIu64 " %s where %zu bytes are left in the file", path,
                        number, count, type_name((mmi_gguf_type)type), left(c));
    e->element_type = (mmi_gguf_type)type;
    e->count = (size_t)count;
    e->at = c->at;
    if (type != MMI_GGUF_STRING) {
        c->at += e->count * least;
        return MM_OK;
    }
    e->strings = mmi_alloc_array(c->ctx, e->count, sizeof *e->strings);
    if (!e->strings) return MM_E_NOMEM;
    for (size_t i = 0; i < e->count; i++) {
        const char *text;
        size_t n;
        e->strings[i] = c->at;
        st = read_string(c, "a string of an array", &text, &n);
        if (st) return st;
    }
    return MM_OK;
}

static mm_status read_key(cursor *c, size_t number)
{
    mmi_gguf *f = c->file;
    void *grown = f->entries;
    entry *e;
    const char *text;
    uint32_t type = 0;
    size_t n;
    mm_status st;

    if (mmi_grow(c->ctx, &grown, &f->entry_capacity, number, sizeof *f->entries)) return MM_E_NOMEM;
    f->entries = grown;
    e = &f->entries[number];
    memset(e, 0, sizeof *e);
    f->entry_count++;
    st = read_name(c, "key", number, &f->key_names, &f->key_index);
    if (!st) st = read_u32(c, "the type of a key", &type);
    if (st) return st;
    e->type = (mmi_gguf_type)type;
    e->count = 1;
    e->at = c->at;
    if (type == MMI_GGUF_STRING) return read_string(c, "a string", &text, &n);
    if (type == MMI_GGUF_ARRAY) return read_array(c, e, number);
    n = value_bytes(type);
    if (!n) return mmi_fail(c->ctx, MM_E_FORMAT, "%s: key %zu has the unknown type %" PRIu32, f->path, number, type);
    if (n > left(c)) return fail_cut(c, "a value");
    c->at += n;
    return MM_OK;
}

/* MM_DTYPE_* of a ggml type number, -1 for one that libmm does not read. */
static int32_t dtype_of(uint32_t file_type)
{
    switch (file_type) {
    case 0: return MM_DTYPE_F32;
    case 1: return MM_DTYPE_F16;
    case 2: return MM_DTYPE_Q4_0;
    case 3: return MM_DTYPE_Q4_1;
    case 6: return MM_DTYPE_Q5_0;
    case 7: return MM_DTYPE_Q5_1;
    case 8: return MM_DTYPE_Q8_0;
    case 10: return MM_DTYPE_Q2_K;
    case 11: return MM_DTYPE_Q3_K;
    case 12: return MM_DTYPE_Q4_K;
    case 13: return MM_DTYPE_Q5_K;
    case 14: return MM_DTYPE_Q6_K;
    case 20: return MM_DTYPE_IQ4_NL;
    case 26: return MM_DTYPE_I32;
    case 27: return MM_DTYPE_I64;
    case 30: return MM_DTYPE_BF16;
    default: return -1;
    }
}

static mm_status read_tensor(cursor *c, size_t number)
{
    mmi_gguf *f = c->file;
    void *grown = f->tensors;
    mmi_gguf_tensor *t;
    uint32_t rank = 0;
    uint64_t offset = 0;
    size_t elements = 1, row;
    mm_status st;

    if (mmi_grow(c->ctx, &grown, &f->tensor_capacity, number, sizeof *f->tensors)) return MM_E_NOMEM;
    f->tensors = grown;
    grown = f->offsets;
    if (mmi_grow(c->ctx, &grown, &f->offset_capacity, number, sizeof *f->offsets)) return MM_E_NOMEM;
    f->offsets = grown;
    t = &f->tensors[number];
    memset(t, 0, sizeof *t);
    f->tensor_count++;
    st = read_name(c, "tensor", number, &f->tensor_names, &f->tensor_index);
    if (!st) st = read_u32(c, "the rank of a tensor", &rank);
    if (st) return st;
    if (rank > 4) return mmi_fail(c->ctx, MM_E_FORMAT, "%s: tensor %zu has rank %" PRIu32 ", more than 4", f->path, number, rank);
    t->rank = (int32_t)rank;
    for (uint32_t i = rank; i-- > 0;) { /* the file has the innermost dimension first */
        uint64_t dim = 0;
        st = read_u64(c, "the shape of a tensor", &dim);
        if (st) return st;
        if (dim < 1 || dim > INT64_MAX || mmi_size_mul(elements, (size_t)dim, &elements))
            return mmi_fail(c->ctx, MM_E_FORMAT, "%s: tensor %zu has a dimension of %" PRIu64, f->path, number, dim);
        t->shape[i] = (int64_t)dim;
    }
    st = read_u32(c, "the type of a tensor", &t->file_type);
    if (!st) st = read_u64(c, "the offset of a tensor", &offset);
    if (st) return st;
    t->dtype = dtype_of(t->file_type);
    row = rank ? (size_t)t->shape[rank - 1] : 1;
    if (t->dtype >= 0 && (row % mmi_dtype_get(t->dtype)->block || mmi_dtype_bytes(t->dtype, elements, &t->bytes)))
        return mmi_fail(c->ctx, MM_E_FORMAT, "%s: tensor %zu has rows of %zu elements and %zu in all, which %s cannot hold", f->path,
                        number, row, elements, mmi_dtype_get(t->dtype)->name);
    if (offset > f->size)
        return mmi_fail(c->ctx, MM_E_FORMAT, "%s: tensor %zu begins at byte %" PRIu64 " of the data in a file of %zu bytes", f->path,
                        number, offset, f->size);
    f->offsets[number] = (size_t)offset;
    return MM_OK;
}

static mm_status read_header(cursor *c, uint64_t *tensors, uint64_t *keys)
{
    mmi_gguf *f = c->file;
    uint32_t version = 0;
    mm_status st;

    if (f->size < 4 || memcmp(f->bytes, "GGUF", 4)) return mmi_fail(c->ctx, MM_E_FORMAT, "%s is not a GGUF file", f->path);
    c->at = 4;
    st = read_u32(c, "the version", &version);
    if (st) return st;
    if (version && !(version & 0xFFFF))
        return mmi_fail(c->ctx, MM_E_UNSUPPORTED, "%s is a big-endian GGUF file; only little-endian ones are read", f->path);
    if (version != 2 && version != 3)
        return mmi_fail(c->ctx, MM_E_UNSUPPORTED, "%s is of GGUF version %" PRIu32 "; versions 2 and 3 are read", f->path, version);
    st = read_u64(c, "the number of tensors", tensors);
    if (!st) st = read_u64(c, "the number of keys", keys);
    if (st) return st;
    if (*tensors > left(c) / LEAST_TENSOR || *keys > left(c) / LEAST_KEY)
        return mmi_fail(c->ctx, MM_E_FORMAT, "%s claims %" PRIu64 " tensors and %" PRIu64 " keys in %zu bytes", f->path, *tensors,
                        *keys, f->size);
    return MM_OK;
}

/* Now that the names no longer move. */
static void set_names(mmi_gguf *f)
{
    const char *name = f->key_names.data;
    for (size_t i = 0; i < f->entry_count; i++, name += strlen(name) + 1) f->entries[i].name = name;
    name = f->tensor_names.data;
    for (size_t i = 0; i < f->tensor_count; i++, name += strlen(name) + 1) f->tensors[i].name = name;
}

/* Where each tensor lies; the data begins at the next multiple of the alignment. */
static mm_status place_tensors(cursor *c)
{
    mmi_gguf *f = c->file;
    int64_t alignment = DEFAULT_ALIGNMENT;
    size_t start;
    mm_status st = mmi_gguf_i64(c->ctx, f, "general.alignment", 0, 8, MAX_ALIGNMENT, &alignment);

    if (st) return st;
    if (alignment & (alignment - 1))
        return mmi_fail(c->ctx, MM_E_FORMAT, "%s: general.alignment is %" PRId64 ", not a power of two", f->path, alignment);
    if (!f->tensor_count) return MM_OK;
    if (mmi_size_round_up(c->at, (size_t)alignment, &start) || start > f->size) return fail_cut(c, "the padding before the data");
    for (size_t i = 0; i < f->tensor_count; i++) {
        mmi_gguf_tensor *t = &f->tensors[i];
        if (f->offsets[i] % (size_t)alignment)
            return mmi_fail(c->ctx, MM_E_FORMAT, "%s: tensor %s begins at byte %zu of the data, not a multiple of %" PRId64, f->path,
                            t->name, f->offsets[i], alignment);
        if (f->offsets[i] > f->size - start || t->bytes > f->size - start - f->offsets[i])
            return mmi_fail(c->ctx, MM_E_FORMAT, "%s: tensor %s has %zu bytes from byte %zu of the data, which has %zu", f->path,
                            t->name, t->bytes, f->offsets[i], f->size - start);
        t->data = f->bytes + start + f->offsets[i];
    }
    return MM_OK;
}

mm_status mmi_gguf_open(mm_context *ctx, const char *path, mmi_gguf **out)
{
    cursor c = {.ctx = ctx};
    mmi_gguf *f = NULL;
    uint64_t tensors = 0, keys = 0;
    mm_status st = MM_OK;

    *out = NULL;
    f = mmi_zalloc(ctx, sizeof *f);
    if (!f) return MM_E_NOMEM;
    f->path = mmi_strdup(ctx, path);
    if (!f->path) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    st = mmi_file_map_open(ctx, path, &f->map);
    if (st) goto cleanup;
    f->bytes = mmi_file_map_data(f->map);
    f->size = mmi_file_map_size(f->map);
    c.file = f;
    st = read_header(&c, &tensors, &keys);
    for (size_t i = 0; !st && i < keys; i++) st = read_key(&c, i);
    for (size_t i = 0; !st && i < tensors; i++) st = read_tensor(&c, i);
    if (st) goto cleanup;
    set_names(f);
    st = place_tensors(&c);
    if (st) goto cleanup;
    mmi_free(f->offsets);
    f->offsets = NULL;
    *out = f;
    f = NULL;
cleanup:
    mmi_gguf_destroy(f);
    return st;
}

void mmi_gguf_destroy(mmi_gguf *f)
{
    if (!f) return;
    for (size_t i = 0; i < f->entry_count; i++) mmi_free(f->entries[i].strings);
    mmi_free(f->entries);
    mmi_free(f->tensors);
    mmi_free(f->offsets);
    mmi_text_clear(&f->key_names);
    mmi_text_clear(&f->tensor_names);
    mmi_hash_map_clear(&f->key_index);
    mmi_hash_map_clear(&f->tensor_index);
    mmi_file_map_release(f->map);
    mmi_free(f->path);
    mmi_free(f);
}

mmi_file_map *mmi_gguf_map(const mmi_gguf *f) { return f->map; }
const char *mmi_gguf_path(const mmi_gguf *f) { return f->path; }
size_t mmi_gguf_key_count(const mmi_gguf *f) { return f->entry_count; }
const char *mmi_gguf_key(const mmi_gguf *f, size_t index) { return index < f->entry_count ? f->entries[index].name : NULL; }
size_t mmi_gguf_tensor_count(const mmi_gguf *f) { return f->tensor_count; }

const mmi_gguf_tensor *mmi_gguf_tensor_at(const mmi_gguf *f, size_t index)
{
    return index < f->tensor_count ? &f->tensors[index] : NULL;
}

const mmi_gguf_tensor *mmi_gguf_tensor_find(const mmi_gguf *f, const char *name)
{
    int64_t i;
    return mmi_hash_map_get(&f->tensor_index, name, strlen(name), &i) ? &f->tensors[i] : NULL;
}

static const entry *find_entry(const mmi_gguf *f, const char *key)
{
    int64_t i;
    return mmi_hash_map_get(&f->key_index, key, strlen(key), &i) ? &f->entries[i] : NULL;
}

int mmi_gguf_has(const mmi_gguf *f, const char *key) { return find_entry(f, key) != NULL; }

/* The entry of `key`, or NULL in *out for one that is absent and may be. */
static mm_status get_entry(mm_context *ctx, const mmi_gguf *f, const char *key, int required, const entry **out)
{
    *out = find_entry(f, key);
    if (*out || !required) return MM_OK;
    return mmi_fail(ctx, MM_E_FORMAT, "%s: key %s is missing", f->path, key);
}

static mm_status fail_type(mm_context *ctx, const mmi_gguf *f, const char *key, const char *wanted, mmi_gguf_type type)
{
    return mmi_fail(ctx, MM_E_FORMAT, "%s: key %s must be of type %s but is of type %s", f->path, key, wanted, type_name(type));
}

/* What integer_at found. */
enum { IS_INTEGER, IS_HUGE /* a u64 above INT64_MAX */, IS_OTHER };

static int integer_at(const mmi_gguf *f, mmi_gguf_type type, size_t at, int64_t *out)
{
    const unsigned char *p = f->bytes + at;

    switch (type) {
    case MMI_GGUF_U8: *out = p[0]; return IS_INTEGER;
    case MMI_GGUF_I8: *out = (int8_t)p[0]; return IS_INTEGER;
    case MMI_GGUF_U16: *out = (uint16_t)(p[0] | p[1] << 8); return IS_INTEGER;
    case MMI_GGUF_I16: *out = (int16_t)(p[0] | p[1] << 8); return IS_INTEGER;
    case MMI_GGUF_U32: *out = u32_at(f, at); return IS_INTEGER;
    case MMI_GGUF_I32: *out = (int32_t)u32_at(f, at); return IS_INTEGER;
    case MMI_GGUF_U64:
        if (u64_at(f, at) > INT64_MAX) return IS_HUGE;
        *out = (int64_t)u64_at(f, at);
        return IS_INTEGER;
    case MMI_GGUF_I64: *out = (int64_t)u64_at(f, at); return IS_INTEGER;
    default: return IS_OTHER;
    }
}

/* A float, or an integer as one; nonzero for another type. */
static int number_at(const mmi_gguf *f, mmi_gguf_type type, size_t at, double *out)
{
    union { uint32_t u; float f; } narrow;
    union { uint64_t u; double f; } wide;
    int64_t i;

    if (type == MMI_GGUF_F32) {
        narrow.u = u32_at(f, at);
        *out = narrow.f;
        return 0;
    }
    if (type == MMI_GGUF_F64) {
        wide.u = u64_at(f, at);
        *out = wide.f;
        return 0;
    }
    switch (integer_at(f, type, at, &i)) {
    case IS_INTEGER: *out = (double)i; return 0;
    case IS_HUGE: *out = (double)u64_at(f, at); return 0;
    default: return 1;
    }
}

static void string_at(const mmi_gguf *f, size_t at, const char **out, size_t *n)
{
    *n = (size_t)u64_at(f, at); /* checked when the file was opened */
    *out = (const char *)f->bytes + at + 8;
}

mm_status mmi_gguf_i64(mm_context *ctx, const mmi_gguf *f, const char *key, int required, int64_t lowest, int64_t highest, int64_t *out)
{
    const entry *e;
    int64_t v;
    mm_status st = get_entry(ctx, f, key, required, &e);

    if (st || !e) return st;
    switch (integer_at(f, e->type, e->at, &v)) {
    case IS_INTEGER:
        if (v >= lowest && v <= highest) break;
        return mmi_fail(ctx, MM_E_FORMAT, "%s: key %s is %" PRId64 ", expected %" PRId64 " to %" PRId64, f->path, key, v, lowest,
                        highest);
    case IS_HUGE:
        return mmi_fail(ctx, MM_E_FORMAT, "%s: key %s is %" PRIu64 ", expected %" PRId64 " to %" PRId64, f->path, key, u64_at(f, e->at),
                        lowest, highest);
    default: return fail_type(ctx, f, key, "integer", e->type);
    }
    *out = v;
    return MM_OK;
}

mm_status mmi_gguf_f64(mm_context *ctx, const mmi_gguf *f, const char *key, int required, double lowest, double highest, double *out)
{
    const entry *e;
    double v;
    mm_status st = get_entry(ctx, f, key, required, &e);

    if (st || !e) return st;
    if (number_at(f, e->type, e->at, &v)) return fail_type(ctx, f, key, "number", e->type);
    if (!(v >= lowest && v <= highest)) /* a NaN is in no range */
        return mmi_fail(ctx, MM_E_FORMAT, "%s: key %s is %g, expected %g to %g", f->path, key, v, lowest, highest);
    *out = v;
    return MM_OK;
}

mm_status mmi_gguf_bool(mm_context *ctx, const mmi_gguf *f, const char *key, int required, int *out)
{
    const entry *e;
    mm_status st = get_entry(ctx, f, key, required, &e);

    if (st || !e) return st;
    if (e->type != MMI_GGUF_BOOL) return fail_type(ctx, f, key, "bool", e->type);
    if (f->bytes[e->at] > 1)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: key %s is %d, neither false nor true", f->path, key, f->bytes[e->at]);
    *out = f->bytes[e->at];
    return MM_OK;
}

mm_status mmi_gguf_string(mm_context *ctx, const mmi_gguf *f, const char *key, int required, const char **out, size_t *n)
{
    const entry *e;
    mm_status st = get_entry(ctx, f, key, required, &e);

    if (st || !e) return st;
    if (e->type != MMI_GGUF_STRING) return fail_type(ctx, f, key, "string", e->type);
    string_at(f, e->at, out, n);
    return MM_OK;
}

mm_status mmi_gguf_array(mm_context *ctx, const mmi_gguf *f, const char *key, int required, mmi_gguf_type *type, size_t *count,
                         int *found)
{
    const entry *e;
    mm_status st = get_entry(ctx, f, key, required, &e);

    *found = 0;
    if (st || !e) return st;
    if (e->type != MMI_GGUF_ARRAY) return fail_type(ctx, f, key, "array", e->type);
    *type = e->element_type;
    *count = e->count;
    *found = 1;
    return MM_OK;
}

/* The array `key`, which must have an element `index`. */
static mm_status get_element(mm_context *ctx, const mmi_gguf *f, const char *key, size_t index, const entry **out)
{
    mm_status st = get_entry(ctx, f, key, 1, out);

    if (st) return st;
    if ((*out)->type != MMI_GGUF_ARRAY) return fail_type(ctx, f, key, "array", (*out)->type);
    if (index >= (*out)->count)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: key %s has %zu elements, no element %zu", f->path, key, (*out)->count, index);
    return MM_OK;
}

mm_status mmi_gguf_array_string(mm_context *ctx, const mmi_gguf *f, const char *key, size_t index, const char **out, size_t *n)
{
    const entry *e;
    mm_status st = get_element(ctx, f, key, index, &e);

    if (st) return st;
    if (!e->strings) return fail_type(ctx, f, key, "array of string", e->element_type);
    string_at(f, e->strings[index], out, n);
    return MM_OK;
}

mm_status mmi_gguf_array_i64(mm_context *ctx, const mmi_gguf *f, const char *key, size_t index, int64_t *out)
{
    const entry *e;
    size_t at;
    mm_status st = get_element(ctx, f, key, index, &e);

    if (st) return st;
    at = e->at + index * value_bytes(e->element_type);
    switch (integer_at(f, e->element_type == MMI_GGUF_BOOL ? MMI_GGUF_U8 : e->element_type, at, out)) {
    case IS_INTEGER: return MM_OK;
    case IS_HUGE:
        return mmi_fail(ctx, MM_E_FORMAT, "%s: element %zu of key %s is %" PRIu64 ", above 2^63", f->path, index, key, u64_at(f, at));
    default: return fail_type(ctx, f, key, "array of integers", e->element_type);
    }
}

mm_status mmi_gguf_array_f64(mm_context *ctx, const mmi_gguf *f, const char *key, size_t index, double *out)
{
    const entry *e;
    mm_status st = get_element(ctx, f, key, index, &e);

    if (st) return st;
    if (number_at(f, e->element_type, e->at + index * value_bytes(e->element_type), out))
        return fail_type(ctx, f, key, "array of numbers", e->element_type);
    return MM_OK;
}
