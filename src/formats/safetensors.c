/* A header is a JSON document; it is let go once read, so that an open file keeps a table of tensors, their names and
 * the map. A tensor's data is where its offsets say, after they were found to tile the file.
 * SPDX-License-Identifier: MIT */
#include "safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hash_map.h"
#include "json.h"
#include "size.h"
#include "text.h"

enum { LENGTH_BYTES = 8 }; /* the header's length, little-endian, begins the file */

static const struct {
    const char *name;
    size_t bits;
    int32_t dtype;
} types[] = {
    {"F32", 32, MM_DTYPE_F32}, {"F16", 16, MM_DTYPE_F16}, {"BF16", 16, MM_DTYPE_BF16}, {"I32", 32, MM_DTYPE_I32},
    {"I64", 64, MM_DTYPE_I64}, {"U8", 8, MM_DTYPE_U8},    {"BOOL", 8, MM_DTYPE_U8},    {"F64", 64, -1},
    {"I8", 8, -1},             {"I16", 16, -1},           {"U16", 16, -1},             {"U32", 32, -1},
    {"U64", 64, -1},           {"C64", 64, -1},           {"F8_E4M3", 8, -1},          {"F8_E5M2", 8, -1},
    {"F8_E8M0", 8, -1},        {"F8_E4M3FNUZ", 8, -1},    {"F8_E5M2FNUZ", 8, -1},      {"F6_E2M3", 6, -1},
    {"F6_E3M2", 6, -1},        {"F4", 4, -1},
};

typedef struct {
    mmi_file_map *map;
    char *names; /* of its tensors, each with its NUL */
} shard;

struct mmi_safetensors {
    shard *shards;
    size_t shard_count, shard_capacity;
    mmi_safetensors_tensor *tensors;
    size_t count, capacity;
    mmi_hash_map index;
};

/* While one file is read. */
typedef struct {
    mm_context *ctx;
    mmi_safetensors *file;
    const char *path;
    mmi_file_map *map;
    const unsigned char *data; /* what follows the header */
    size_t data_bytes;
    char *name; /* room for the next name */
} reader;

static mm_status fail_tensor(const reader *r, const char *name, const char *what)
{
    return mmi_fail(r->ctx, MM_E_FORMAT, "%s: tensor %.200s %s", r->path, name, what);
}

/* An array of `most` sizes at most; *n tells how many. Nonzero for anything else. */
static int read_sizes(const mmi_json_node *node, size_t most, int64_t *out, size_t *n)
{
    if (mmi_json_kind_of(node) != MMI_JSON_ARRAY) return 1;
    *n = 0;
    for (const mmi_json_node *e = mmi_json_first(node); e; e = mmi_json_next(e)) {
        if (*n == most || !mmi_json_integer(e, &out[*n]) || out[*n] < 0) return 1;
        (*n)++;
    }
    return 0;
}

/* The three members of a tensor, each once; others are ignored, as the reference does. */
static mm_status find_fields(const reader *r, const mmi_json_node *tensor, const mmi_json_node *fields[3])
{
    static const char *const names[3] = {"dtype", "shape", "data_offsets"};

    memset(fields, 0, 3 * sizeof *fields);
    for (const mmi_json_node *m = mmi_json_first(tensor); m; m = mmi_json_next(m))
        for (int i = 0; i < 3; i++) {
            if (strcmp(mmi_json_key(m), names[i])) continue;
            if (fields[i]) return fail_tensor(r, mmi_json_key(tensor), "has a field twice");
            fields[i] = m;
        }
    return MM_OK;
}

static mm_status read_tensor(reader *r, const mmi_json_node *node)
{
    mmi_safetensors *f = r->file;
    void *grown = f->tensors;
    mmi_safetensors_tensor *t;
    const mmi_json_node *fields[3];
    const char *type, *name = mmi_json_key(node);
    int64_t offsets[2];
    size_t n = 0, k = 0, elements = 1, bits;
    int existed;
    mm_status st;

    if (mmi_json_kind_of(node) != MMI_JSON_OBJECT) return fail_tensor(r, name, "is no object in the header");
    st = find_fields(r, node, fields);
    if (st) return st;
    if (mmi_grow(r->ctx, &grown, &f->capacity, f->count, sizeof *f->tensors)) return MM_E_NOMEM;
    f->tensors = grown;
    t = &f->tensors[f->count];
    memset(t, 0, sizeof *t);

    type = mmi_json_string(fields[0]);
    if (!type) return fail_tensor(r, name, "has no dtype");
    while (k < sizeof types / sizeof *types && strcmp(types[k].name, type)) k++;
    if (k == sizeof types / sizeof *types)
        return mmi_fail(r->ctx, MM_E_FORMAT, "%s: tensor %.200s has the unknown dtype %.20s", r->path, name, type);
    t->file_type = types[k].name;
    t->dtype = types[k].dtype;

    if (mmi_json_kind_of(fields[1]) == MMI_JSON_ARRAY && mmi_json_count(fields[1]) > MM_TENSOR_MAX_RANK)
        return mmi_fail(r->ctx, MM_E_LIMIT, "%s: tensor %.200s has rank %zu, more than %d", r->path, name, mmi_json_count(fields[1]),
                        MM_TENSOR_MAX_RANK);
    if (read_sizes(fields[1], MM_TENSOR_MAX_RANK, t->shape, &n)) return fail_tensor(r, name, "has a shape that is no list of sizes");
    t->rank = (int32_t)n;
    for (size_t i = 0; i < n; i++)
        if (mmi_size_mul(elements, (size_t)t->shape[i], &elements))
            return fail_tensor(r, name, "has more elements than can be counted");
    if (mmi_size_mul(elements, types[k].bits, &bits)) return fail_tensor(r, name, "has more bytes than can be counted");
    if (bits % 8) return fail_tensor(r, name, "does not end at a whole byte");
    t->bytes = bits / 8;

    if (read_sizes(fields[2], 2, offsets, &n) || n != 2) return fail_tensor(r, name, "has data_offsets that are not two offsets");
    if (offsets[0] > offsets[1] || (uint64_t)offsets[1] > r->data_bytes)
        return mmi_fail(r->ctx, MM_E_FORMAT, "%s: tensor %.200s lies at %" PRId64 " to %" PRId64 " of %zu bytes of data", r->path, name,
                        offsets[0], offsets[1], r->data_bytes);
    if ((uint64_t)(offsets[1] - offsets[0]) != t->bytes)
        return mmi_fail(r->ctx, MM_E_FORMAT, "%s: tensor %.200s has %" PRId64 " bytes where its shape and dtype %s make %zu", r->path,
                        name, offsets[1] - offsets[0], t->file_type, t->bytes);
    t->data = r->data + offsets[0];
    t->map = r->map;

    if (mmi_hash_map_put(r->ctx, &f->index, name, strlen(name), (int64_t)f->count, &existed)) return MM_E_NOMEM;
    if (existed) return fail_tensor(r, name, "appears twice");
    t->name = memcpy(r->name, name, strlen(name) + 1); /* fits: a name is shorter than its quoted form in the header */
    r->name += strlen(name) + 1;
    f->count++;
    return MM_OK;
}

static mm_status check_metadata(const reader *r, const mmi_json_node *metadata)
{
    mmi_json_kind kind = mmi_json_kind_of(metadata);
    int good = kind == MMI_JSON_OBJECT || kind == MMI_JSON_NULL;

    for (const mmi_json_node *m = mmi_json_first(metadata); m; m = mmi_json_next(m)) good = good && mmi_json_string(m);
    return good ? MM_OK : mmi_fail(r->ctx, MM_E_FORMAT, "%s: __metadata__ must be an object of strings", r->path);
}

static int compare_places(const void *a, const void *b)
{
    const mmi_safetensors_tensor *x = *(mmi_safetensors_tensor *const *)a, *y = *(mmi_safetensors_tensor *const *)b;
    const unsigned char *p = x->data, *q = y->data;
    if (p != q) return p < q ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* The tensors from `first` on must fill the data without a hole or an overlap. */
static mm_status check_tiling(const reader *r, size_t first)
{
    size_t n = r->file->count - first;
    const unsigned char *end = r->data;
    mmi_safetensors_tensor **order = mmi_alloc_array(r->ctx, n, sizeof *order);
    mm_status st = MM_OK;

    if (!order) return MM_E_NOMEM;
    for (size_t i = 0; i < n; i++) order[i] = &r->file->tensors[first + i];
    qsort(order, n, sizeof *order, compare_places);
    for (size_t i = 0; i < n && !st; i++) {
        if (order[i]->data != end) st = fail_tensor(r, order[i]->name, "does not begin where the one before it ends");
        end = (const unsigned char *)order[i]->data + order[i]->bytes;
    }
    if (!st && end != r->data + r->data_bytes)
        st = mmi_fail(r->ctx, MM_E_FORMAT, "%s: %zu bytes at the end belong to no tensor", r->path,
                      r->data_bytes - (size_t)(end - r->data));
    mmi_free(order);
    return st;
}

/* The header, n bytes of it: its tensors are added to the file's. */
static mm_status read_header(reader *r, const char *header, size_t n)
{
    mmi_json *doc = NULL;
    size_t first = r->file->count;
    int metadata = 0;
    mm_status st = mmi_json_parse(r->ctx, r->path, header, n, &doc);

    if (st) return st;
    for (const mmi_json_node *m = mmi_json_first(mmi_json_root(doc)); m && !st; m = mmi_json_next(m)) {
        if (strcmp(mmi_json_key(m), "__metadata__"))
            st = read_tensor(r, m);
        else if (metadata++)
            st = mmi_fail(r->ctx, MM_E_FORMAT, "%s: __metadata__ appears twice", r->path);
        else
            st = check_metadata(r, m);
    }
    mmi_json_destroy(doc);
    return st ? st : check_tiling(r, first);
}

/* Open one .safetensors file and add it to `f`, which owns what was begun even after a failure. */
static mm_status add_shard(mm_context *ctx, mmi_safetensors *f, const char *path)
{
    reader r = {.ctx = ctx, .file = f, .path = path};
    void *grown = f->shards;
    const unsigned char *bytes;
    shard *s;
    size_t size;
    uint64_t n = 0;
    mm_status st;

    if (mmi_grow(ctx, &grown, &f->shard_capacity, f->shard_count, sizeof *f->shards)) return MM_E_NOMEM;
    f->shards = grown;
    s = &f->shards[f->shard_count];
    memset(s, 0, sizeof *s);
    f->shard_count++;
    st = mmi_file_map_open(ctx, path, &s->map);
    if (st) return st;
    bytes = mmi_file_map_data(s->map);
    size = mmi_file_map_size(s->map);
    if (size < LENGTH_BYTES) return mmi_fail(ctx, MM_E_FORMAT, "%s has %zu bytes, too few for a safetensors file", path, size);
    for (int i = LENGTH_BYTES; i-- > 0;) n = n << 8 | bytes[i];
    if (n > MMI_SAFETENSORS_MAX_HEADER)
        return mmi_fail(ctx, MM_E_LIMIT, "%s claims a header of %" PRIu64 " bytes, more than %d", path, n, MMI_SAFETENSORS_MAX_HEADER);
    if (n > size - LENGTH_BYTES)
        return mmi_fail(ctx, MM_E_FORMAT, "%s claims a header of %" PRIu64 " bytes in a file of %zu", path, n, size);
    if (!n || bytes[LENGTH_BYTES] != '{') return mmi_fail(ctx, MM_E_FORMAT, "%s: the header is no JSON object", path);
    s->names = mmi_alloc(ctx, (size_t)n);
    if (!s->names) return MM_E_NOMEM;
    r.map = s->map;
    r.name = s->names;
    r.data = bytes + LENGTH_BYTES + n;
    r.data_bytes = size - LENGTH_BYTES - (size_t)n;
    return read_header(&r, (const char *)bytes + LENGTH_BYTES, (size_t)n);
}

/* Open each shard that a weight_map names, once, and find each of its tensors there. `folder` ends with a slash, or is empty. */
static mm_status add_shards(mm_context *ctx, mmi_safetensors *f, const char *folder, size_t folder_size, const mmi_json *doc)
{
    const mmi_json_node *map = mmi_json_get(mmi_json_root(doc), "weight_map");
    const mmi_safetensors_tensor *t;
    mmi_hash_map numbers = {0}; /* of shards by name */
    mmi_text path = {0};
    int64_t number = 0;
    mm_status st = MM_OK;

    if (mmi_json_kind_of(map) != MMI_JSON_OBJECT)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: weight_map is missing or no object", mmi_json_name(doc));
    for (const mmi_json_node *m = mmi_json_first(map); m && !st; m = mmi_json_next(m)) {
        const char *name = mmi_json_string(m);
        if (!name || !mmi_file_name_is_plain(name)) {
            st = mmi_fail(ctx, MM_E_FORMAT, "%s: weight_map gives %.200s %s%.200s, not the name of a file beside it",
                          mmi_json_name(doc), mmi_json_key(m), name ? "" : "something", name ? name : "");
            break;
        }
        if (mmi_hash_map_get(&numbers, name, strlen(name), &number)) continue;
        path.size = 0;
        if (mmi_hash_map_put(ctx, &numbers, name, strlen(name), (int64_t)f->shard_count, NULL) ||
            mmi_text_append(ctx, &path, folder, folder_size) || mmi_text_append(ctx, &path, name, strlen(name)))
            st = MM_E_NOMEM;
        else
            st = add_shard(ctx, f, path.data);
    }
    for (const mmi_json_node *m = mmi_json_first(map); m && !st; m = mmi_json_next(m)) {
        const char *name = mmi_json_string(m);
        t = mmi_safetensors_find(f, mmi_json_key(m));
        (void)mmi_hash_map_get(&numbers, name, strlen(name), &number);
        if (!t || t->map != f->shards[number].map)
            st = mmi_fail(ctx, MM_E_FORMAT, "%s: tensor %.200s is not in %.200s", mmi_json_name(doc), mmi_json_key(m), name);
    }
    mmi_hash_map_clear(&numbers);
    mmi_text_clear(&path);
    return st;
}

mm_status mmi_safetensors_open(mm_context *ctx, const char *path, mmi_safetensors **out)
{
    static const char suffix[] = ".json";
    size_t n = strlen(path);
    const char *slash = strrchr(path, '/');
    mmi_safetensors *f = NULL;
    mmi_json *doc = NULL;
    mm_status st;

    *out = NULL;
    f = mmi_zalloc(ctx, sizeof *f);
    if (!f) return MM_E_NOMEM;
    if (n >= sizeof suffix && !strcmp(path + n - (sizeof suffix - 1), suffix)) {
        st = mmi_json_read(ctx, path, MMI_SAFETENSORS_MAX_HEADER, &doc);
        if (!st) st = add_shards(ctx, f, path, slash ? (size_t)(slash + 1 - path) : 0, doc);
    } else {
        st = add_shard(ctx, f, path);
    }
    if (st) goto cleanup;
    *out = f;
    f = NULL;
cleanup:
    mmi_json_destroy(doc);
    mmi_safetensors_destroy(f);
    return st;
}

void mmi_safetensors_destroy(mmi_safetensors *f)
{
    if (!f) return;
    for (size_t i = 0; i < f->shard_count; i++) {
        mmi_file_map_release(f->shards[i].map);
        mmi_free(f->shards[i].names);
    }
    mmi_free(f->shards);
    mmi_free(f->tensors);
    mmi_hash_map_clear(&f->index);
    mmi_free(f);
}

size_t mmi_safetensors_count(const mmi_safetensors *f) { return f->count; }

const mmi_safetensors_tensor *mmi_safetensors_at(const mmi_safetensors *f, size_t index)
{
    return index < f->count ? &f->tensors[index] : NULL;
}

const mmi_safetensors_tensor *mmi_safetensors_find(const mmi_safetensors *f, const char *name)
{
    int64_t i;
    return mmi_hash_map_get(&f->index, name, strlen(name), &i) ? &f->tensors[i] : NULL;
}
