/* SPDX-License-Identifier: MIT */
#include "safetensors_writer.h"

#include <inttypes.h>
#include <string.h>

#include "dtype.h"
#include "hash_map.h"
#include "json.h"
#include "size.h"
#include "text.h"

enum { LENGTH_BYTES = 8 }; /* the header's length, little-endian, begins the file */

/* MM_OK for a tensor that can be written, its name put into `names`. */
static mm_status check_writable(mm_context *ctx, const char *path, const mmi_safetensors_tensor *t, mmi_hash_map *names)
{
    const mmi_dtype_info *type = mmi_dtype_get(t->dtype);
    size_t n = strlen(t->name), bytes = type ? type->block_bytes : 0;
    int existed = 0, wrong = t->rank < 0 || t->rank > MM_TENSOR_MAX_RANK;

    if (!type || mmi_dtype_is_quantized(t->dtype))
        return mmi_fail(ctx, MM_E_DTYPE, "cannot write %s: tensor %.200s is of a type that safetensors does not have", path, t->name);
    for (int32_t i = 0; !wrong && i < t->rank; i++) wrong = t->shape[i] < 0 || mmi_size_mul(bytes, (size_t)t->shape[i], &bytes);
    if (wrong || bytes != t->bytes)
        return mmi_fail(ctx, MM_E_SHAPE, "cannot write %s: tensor %.200s has %zu bytes, which are not its shape's", path, t->name,
                        t->bytes);
    if (!strcmp(t->name, "__metadata__") || mmi_utf8_valid(t->name, n) != n)
        return mmi_fail(ctx, MM_E_ARGUMENT, "cannot write %s: a tensor cannot be called %.200s", path, t->name);
    if (mmi_hash_map_put(ctx, names, t->name, n, 0, &existed)) return MM_E_NOMEM;
    return existed ? mmi_fail(ctx, MM_E_ARGUMENT, "cannot write %s: two tensors are called %.200s", path, t->name) : MM_OK;
}

/* {"__metadata__":{"format":"pt"},"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},...} behind room for its length, padded so that the data
 * begins at a multiple of 8. transformers opens files of format "pt" alone. Nonzero when out of memory. */
static int format_header(mm_context *ctx, const mmi_safetensors_tensor *tensors, const size_t *begins, size_t count, mmi_text *out)
{
    if (mmi_text_append(ctx, out, "\0\0\0\0\0\0\0", LENGTH_BYTES) || mmi_text_format(ctx, out, "{\"__metadata__\":{\"format\":\"pt\"}")) return 1;
    for (size_t i = 0; i < count; i++) {
        const mmi_safetensors_tensor *t = &tensors[i];
        if (mmi_text_append(ctx, out, ",", 1) || mmi_json_quote(ctx, out, t->name, strlen(t->name)) ||
            mmi_text_format(ctx, out, ":{\"dtype\":\"%s\",\"shape\":[", mmi_dtype_get(t->dtype)->name))
            return 1;
        for (int32_t j = 0; j < t->rank; j++)
            if (mmi_text_format(ctx, out, "%s%" PRId64, j ? "," : "", t->shape[j])) return 1;
        if (mmi_text_format(ctx, out, "],\"data_offsets\":[%zu,%zu]}", begins[i], begins[i] + t->bytes)) return 1;
    }
    if (mmi_text_append(ctx, out, "}", 1)) return 1;
    while (out->size % 8)
        if (mmi_text_append(ctx, out, " ", 1)) return 1;
    return 0;
}

mm_status mmi_safetensors_stream(mm_context *ctx, const char *path, const mmi_safetensors_tensor *tensors, size_t count, mmi_safetensors_emit emit,
                                 void *arg)
{
    mmi_hash_map names = {0};
    mmi_text header = {0};
    mmi_file_writer out = {0};
    size_t *begins = NULL, *order = NULL, at = 0, used = 0;
    mm_status st = MM_OK;

    for (size_t i = 0; i < count && !st; i++) st = check_writable(ctx, path, &tensors[i], &names);
    if (st) goto cleanup;
    begins = mmi_zalloc_array(ctx, count, sizeof *begins);
    order = mmi_zalloc_array(ctx, count, sizeof *order);
    if (!begins || !order) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    /* The widest elements first, so that every tensor is aligned to its own; the header keeps the caller's order. */
    for (size_t width = 8; width; width /= 2)
        for (size_t i = 0; i < count; i++) {
            if (mmi_dtype_get(tensors[i].dtype)->block_bytes != width) continue;
            begins[i] = at;
            order[used++] = i;
            if (mmi_size_add(at, tensors[i].bytes, &at)) {
                st = mmi_fail(ctx, MM_E_OVERFLOW, "cannot write %s: the tensors have more bytes than can be counted", path);
                goto cleanup;
            }
        }
    if (format_header(ctx, tensors, begins, count, &header)) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    if (header.size - LENGTH_BYTES > MMI_SAFETENSORS_MAX_HEADER) {
        st = mmi_fail(ctx, MM_E_LIMIT, "cannot write %s: its header would have %zu bytes, more than %d", path,
                      header.size - LENGTH_BYTES, MMI_SAFETENSORS_MAX_HEADER);
        goto cleanup;
    }
    for (int i = 0; i < LENGTH_BYTES; i++) header.data[i] = (char)((uint64_t)(header.size - LENGTH_BYTES) >> 8 * i & 0xFF);
    st = mmi_file_begin(ctx, path, &out);
    if (!st) st = mmi_file_append(ctx, &out, header.data, header.size);
    for (size_t i = 0; i < used && !st; i++) st = emit(ctx, arg, order[i], &out);
    if (!st) st = mmi_file_finish(ctx, &out);
cleanup:
    mmi_file_abandon(&out);
    mmi_free(order);
    mmi_free(begins);
    mmi_text_clear(&header);
    mmi_hash_map_clear(&names);
    return st;
}

static mm_status emit_data(mm_context *ctx, void *arg, size_t index, mmi_file_writer *out)
{
    const mmi_safetensors_tensor *tensors = arg;
    return mmi_file_append(ctx, out, tensors[index].data, tensors[index].bytes);
}

mm_status mmi_safetensors_write(mm_context *ctx, const char *path, const mmi_safetensors_tensor *tensors, size_t count)
{
    return mmi_safetensors_stream(ctx, path, tensors, count, emit_data, (void *)(uintptr_t)tensors);
}
