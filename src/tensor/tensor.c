/* SPDX-License-Identifier: MIT */
#include "tensor.h"

#include <stdatomic.h>
#include <string.h>

#include "hash_map.h"
#include "size.h"

struct mm_tensor {
    atomic_size_t references;
    int32_t dtype;
    int32_t rank;
    int64_t shape[MM_TENSOR_MAX_RANK];
    size_t elements;
    size_t bytes;
    void *data; /* its own block, or the caller's memory when free_cb or `borrowed` says so */
    int borrowed;
    void (*free_cb)(void *user);
    void *user;
};

const char *mm_dtype_name(int32_t dtype)
{
    const mmi_dtype_info *i = mmi_dtype_get(dtype);
    return i ? i->name : "?";
}

mm_status mmi_tensor_measure(mm_context *ctx, int32_t dtype, int32_t rank, const int64_t *shape, size_t *elements, size_t *bytes)
{
    size_t n = 1, row, rows = 1;

    if (!mmi_dtype_get(dtype) || dtype == MM_DTYPE_Q8_ROW) return mmi_fail(ctx, MM_E_ARGUMENT, "%d is no element type of a tensor", dtype);
    if (rank < 0 || rank > MM_TENSOR_MAX_RANK) return mmi_fail(ctx, MM_E_ARGUMENT, "rank %d is outside 0..%d", rank, MM_TENSOR_MAX_RANK);
    if (rank && !shape) return mmi_fail(ctx, MM_E_ARGUMENT, "shape is NULL");
    for (int32_t i = 0; i < rank; i++) {
        if (shape[i] < 0) return mmi_fail(ctx, MM_E_SHAPE, "dimension %d is %lld", i, (long long)shape[i]);
        if (mmi_size_mul(n, (size_t)shape[i], &n) || (i < rank - 1 && mmi_size_mul(rows, (size_t)shape[i], &rows)))
            return mmi_fail(ctx, MM_E_OVERFLOW, "the product of the dimensions does not fit");
    }
    row = rank ? (size_t)shape[rank - 1] : 1;
    if (row % mmi_dtype_get(dtype)->block)
        return mmi_fail(ctx, MM_E_SHAPE, "the last dimension %zu is no multiple of %s's block of %zu", row, mm_dtype_name(dtype),
                        mmi_dtype_get(dtype)->block);
    if (mmi_dtype_bytes(dtype, row, &row) || mmi_size_mul(row, rows, bytes))
        return mmi_fail(ctx, MM_E_OVERFLOW, "the size of the tensor does not fit");
    *elements = n;
    return MM_OK;
}

static mm_status tensor_new(mm_context *ctx, int32_t dtype, int32_t rank, const int64_t *shape, mm_tensor **out)
{
    size_t elements = 0, bytes = 0;
    mm_tensor *t;
    mm_status st = mmi_tensor_measure(ctx, dtype, rank, shape, &elements, &bytes);

    if (st) return st;
    t = mmi_zalloc(ctx, sizeof *t);
    if (!t) return MM_E_NOMEM;
    atomic_init(&t->references, 1);
    t->dtype = dtype;
    t->rank = rank;
    if (rank) memcpy(t->shape, shape, (size_t)rank * sizeof *shape);
    t->elements = elements;
    t->bytes = bytes;
    *out = t;
    return MM_OK;
}

mm_status mm_tensor_create(mm_context *ctx, int32_t dtype, int32_t rank, const int64_t *shape, mm_tensor **out)
{
    mm_tensor *t = NULL;
    mm_status st;

    if (!out) return ctx ? mmi_fail(ctx, MM_E_ARGUMENT, "out is NULL") : MM_E_ARGUMENT;
    *out = NULL;
    if (!ctx) return MM_E_ARGUMENT;
    st = tensor_new(ctx, dtype, rank, shape, &t);
    if (st) return st;
    t->data = mmi_zalloc(ctx, t->bytes);
    if (!t->data) {
        mmi_free(t);
        return MM_E_NOMEM;
    }
    *out = t;
    return MM_OK;
}

mm_status mm_tensor_copy(mm_context *ctx, int32_t dtype, int32_t rank, const int64_t *shape, const void *data, mm_tensor **out)
{
    mm_status st = mm_tensor_create(ctx, dtype, rank, shape, out);
    if (st) return st;
    if ((*out)->bytes && !data) {
        mm_tensor_release(*out);
        *out = NULL;
        return mmi_fail(ctx, MM_E_ARGUMENT, "data is NULL");
    }
    if (data && (*out)->bytes) memcpy((*out)->data, data, (*out)->bytes);
    return MM_OK;
}

mm_status mm_tensor_wrap(mm_context *ctx, int32_t dtype, int32_t rank, const int64_t *shape, void *data,
                         void (*free_cb)(void *user), void *user, mm_tensor **out)
{
    mm_tensor *t = NULL;
    mm_status st;

    if (!out) return ctx ? mmi_fail(ctx, MM_E_ARGUMENT, "out is NULL") : MM_E_ARGUMENT;
    *out = NULL;
    if (!ctx) return MM_E_ARGUMENT;
    st = tensor_new(ctx, dtype, rank, shape, &t);
    if (st) return st;
    if (t->bytes && !data) {
        mmi_free(t);
        return mmi_fail(ctx, MM_E_ARGUMENT, "data is NULL");
    }
    t->data = data;
    t->borrowed = 1;
    t->free_cb = free_cb;
    t->user = user;
    *out = t;
    return MM_OK;
}

void mm_tensor_retain(mm_tensor *t)
{
    if (t) atomic_fetch_add_explicit(&t->references, 1, memory_order_relaxed);
}

void mm_tensor_release(mm_tensor *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->references, 1, memory_order_acq_rel) != 1) return;
    if (t->free_cb) t->free_cb(t->user);
    if (!t->borrowed) mmi_free(t->data);
    mmi_free(t);
}

int32_t mm_tensor_dtype(const mm_tensor *t) { return t ? t->dtype : -1; }
int32_t mm_tensor_rank(const mm_tensor *t) { return t ? t->rank : 0; }
const int64_t *mm_tensor_shape(const mm_tensor *t) { return t ? t->shape : NULL; }
int64_t mm_tensor_elements(const mm_tensor *t) { return t ? (int64_t)t->elements : 0; }
size_t mm_tensor_bytes(const mm_tensor *t) { return t ? t->bytes : 0; }
void *mm_tensor_data(mm_tensor *t) { return t ? t->data : NULL; }
const void *mm_tensor_const_data(const mm_tensor *t) { return t ? t->data : NULL; }

struct mm_tensor_map {
    struct entry {
        char *name;
        mm_tensor *tensor;
    } *entries;
    size_t count, capacity;
    mmi_hash_map index; /* name -> position */
};

mm_status mm_tensor_map_create(mm_context *ctx, mm_tensor_map **out)
{
    if (!out) return ctx ? mmi_fail(ctx, MM_E_ARGUMENT, "out is NULL") : MM_E_ARGUMENT;
    *out = NULL;
    if (!ctx) return MM_E_ARGUMENT;
    *out = mmi_zalloc(ctx, sizeof **out);
    return *out ? MM_OK : MM_E_NOMEM;
}

void mm_tensor_map_destroy(mm_tensor_map *m)
{
    if (!m) return;
    for (size_t i = 0; i < m->count; i++) {
        mmi_free(m->entries[i].name);
        mm_tensor_release(m->entries[i].tensor);
    }
    mmi_free(m->entries);
    mmi_hash_map_clear(&m->index);
    mmi_free(m);
}

mm_status mm_tensor_map_set(mm_context *ctx, mm_tensor_map *m, const char *name, mm_tensor *tensor)
{
    int64_t at;
    char *copy;

    if (!ctx) return MM_E_ARGUMENT;
    if (!m || !name || !tensor) return mmi_fail(ctx, MM_E_ARGUMENT, "map, name or tensor is NULL");
    if (mmi_hash_map_get(&m->index, name, strlen(name), &at)) {
        mm_tensor_retain(tensor);
        mm_tensor_release(m->entries[at].tensor);
        m->entries[at].tensor = tensor;
        return MM_OK;
    }
    if (mmi_grow(ctx, (void **)&m->entries, &m->capacity, m->count, sizeof *m->entries)) return MM_E_NOMEM;
    copy = mmi_strdup(ctx, name);
    if (!copy || mmi_hash_map_put(ctx, &m->index, name, strlen(name), (int64_t)m->count, NULL)) {
        mmi_free(copy);
        return MM_E_NOMEM;
    }
    mm_tensor_retain(tensor);
    m->entries[m->count].name = copy;
    m->entries[m->count].tensor = tensor;
    m->count++;
    return MM_OK;
}

mm_tensor *mm_tensor_map_get(const mm_tensor_map *m, const char *name)
{
    int64_t at;
    return m && name && mmi_hash_map_get(&m->index, name, strlen(name), &at) ? m->entries[at].tensor : NULL;
}

size_t mm_tensor_map_count(const mm_tensor_map *m) { return m ? m->count : 0; }
const char *mm_tensor_map_name(const mm_tensor_map *m, size_t i) { return m && i < m->count ? m->entries[i].name : NULL; }
mm_tensor *mm_tensor_map_at(const mm_tensor_map *m, size_t i) { return m && i < m->count ? m->entries[i].tensor : NULL; }

/* Tensor `name` of all maps as one. */
static mm_status stack(mm_context *ctx, const mm_tensor_map *const *maps, size_t n, const char *name, mm_tensor **out)
{
    const mm_tensor *first = mm_tensor_map_get(maps[0], name);
    int64_t shape[MM_TENSOR_MAX_RANK] = {0};
    const int32_t rank = first->rank;
    char *to;
    mm_status st;

    memcpy(shape, first->shape, (size_t)rank * sizeof *shape);
    for (size_t i = 1; i < n; i++) {
        const mm_tensor *t = mm_tensor_map_get(maps[i], name);
        if (!t || rank < 1 || t->rank != rank || t->dtype != first->dtype || memcmp(t->shape + 1, first->shape + 1, (size_t)(rank - 1) * sizeof *shape))
            return mmi_fail(ctx, MM_E_SHAPE, "%s of two examples differ in their sizes, and make no batch", name);
        shape[0] += t->shape[0];
    }
    st = mm_tensor_create(ctx, first->dtype, rank, shape, out);
    if (st) return st;
    to = (*out)->data;
    for (size_t i = 0; i < n; i++) {
        const mm_tensor *t = mm_tensor_map_get(maps[i], name);
        memcpy(to, t->data, t->bytes);
        to += t->bytes;
    }
    return MM_OK;
}

mm_status mmi_tensor_maps_stack(mm_context *ctx, const mm_tensor_map *const *maps, size_t n, mm_tensor_map **out)
{
    mm_status st = mm_tensor_map_create(ctx, out);

    for (size_t i = 0; i < mm_tensor_map_count(maps[0]) && !st; i++) {
        mm_tensor *t = NULL;
        st = stack(ctx, maps, n, mm_tensor_map_name(maps[0], i), &t);
        if (!st) st = mm_tensor_map_set(ctx, *out, mm_tensor_map_name(maps[0], i), t);
        mm_tensor_release(t);
    }
    if (st) {
        mm_tensor_map_destroy(*out);
        *out = NULL;
    }
    return st;
}
