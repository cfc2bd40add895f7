/* Reading and writing of mm_tensor_map in include/mm_tensor.h. SPDX-License-Identifier: MIT */
#include "mm_tensor.h"

#include <string.h>

#include "safetensors_writer.h"
#include "tensor.h"

static void release_map(void *user) { mmi_file_map_release(user); }

/* A tensor over the file's map, or a copy where the file puts it at an address that its type does not allow. */
static mm_status wrap(mm_context *ctx, const mmi_safetensors_tensor *t, mm_tensor **out)
{
    mm_status st;

    if (t->dtype < 0) return mmi_fail(ctx, MM_E_UNSUPPORTED, "tensor %s is of type %s, which libmm does not read", t->name, t->file_type);
    if ((uintptr_t)t->data % mmi_dtype_get(t->dtype)->block_bytes) return mm_tensor_copy(ctx, t->dtype, t->rank, t->shape, t->data, out);
    st = mm_tensor_wrap(ctx, t->dtype, t->rank, t->shape, (void *)(uintptr_t)t->data, release_map, t->map, out);
    if (!st) mmi_file_map_retain(t->map);
    return st;
}

mm_status mm_tensor_map_read(mm_context *ctx, const char *path, mm_tensor_map **out)
{
    mmi_safetensors *f = NULL;
    mm_tensor_map *map = NULL;
    mm_status st;

    if (!out) return ctx ? mmi_fail(ctx, MM_E_ARGUMENT, "out is NULL") : MM_E_ARGUMENT;
    *out = NULL;
    if (!ctx) return MM_E_ARGUMENT;
    if (!path) return mmi_fail(ctx, MM_E_ARGUMENT, "path is NULL");
    st = mmi_safetensors_open(ctx, path, &f);
    if (!st) st = mm_tensor_map_create(ctx, &map);
    for (size_t i = 0; !st && i < mmi_safetensors_count(f); i++) {
        const mmi_safetensors_tensor *t = mmi_safetensors_at(f, i);
        mm_tensor *tensor = NULL;
        st = wrap(ctx, t, &tensor);
        if (!st) st = mm_tensor_map_set(ctx, map, t->name, tensor);
        mm_tensor_release(tensor);
    }
    mmi_safetensors_destroy(f);
    if (st) {
        mm_tensor_map_destroy(map);
        return st;
    }
    *out = map;
    return MM_OK;
}

mm_status mm_tensor_map_write(mm_context *ctx, const mm_tensor_map *map, const char *path)
{
    size_t n = mm_tensor_map_count(map);
    mmi_safetensors_tensor *list;
    mm_status st;

    if (!ctx) return MM_E_ARGUMENT;
    if (!map || !path) return mmi_fail(ctx, MM_E_ARGUMENT, "map or path is NULL");
    list = mmi_zalloc_array(ctx, n, sizeof *list);
    if (!list) return MM_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const mm_tensor *t = mm_tensor_map_at(map, i);
        list[i].name = mm_tensor_map_name(map, i);
        list[i].dtype = mm_tensor_dtype(t);
        list[i].rank = mm_tensor_rank(t);
        memcpy(list[i].shape, mm_tensor_shape(t), (size_t)list[i].rank * sizeof *list[i].shape);
        list[i].data = mm_tensor_const_data(t);
        list[i].bytes = mm_tensor_bytes(t);
    }
    st = mmi_safetensors_write(ctx, path, list, n);
    mmi_free(list);
    return st;
}
