/* SPDX-License-Identifier: MIT */
#include "weight.h"

#include <string.h>

#include "block_quant.h"
#include "dtype.h"
#include "float_linear.h"
#include "kernels.h"
#include "quant_pack.h"
#include "size.h"
#include "tensor.h"
#include "thread_pool.h"

_Static_assert((int)MMI_PACK_ROWS == (int)MMI_FLOAT_PACK_ROWS, "one group is 16 rows in both layouts");

typedef struct {
    const mmi_weight *w;
    const mmi_kernels *k;
    const unsigned char *src;
    size_t row_bytes, group_bytes;
    int32_t from;            /* floats in src that become w's dtype */
    unsigned char *scratch;  /* for that, of each worker: a row of f32 and a group of rows as a file has them */
} pack_job;

static void pack_task(void *arg, size_t group, int worker)
{
    const pack_job *j = arg;
    size_t row = group * MMI_PACK_ROWS, rows = j->w->rows - row;
    (void)worker;
    if (rows > MMI_PACK_ROWS) rows = MMI_PACK_ROWS;
    if (mmi_dtype_is_quantized(j->w->dtype))
        mmi_pack_group(j->w->dtype, j->src + row * j->row_bytes, rows, j->w->cols, (unsigned char *)j->w->packed + group * j->group_bytes);
    else
        j->k->float_pack(j->w->dtype, j->src + row * j->row_bytes, j->w->cols, rows, j->w->cols,
                         (unsigned char *)j->w->packed + group * j->group_bytes);
}

static void to_f32(int32_t dtype, const void *src, float *dst, size_t n)
{
    const unsigned char *p = src; /* may be misaligned: fetched bytewise */
    uint16_t h;

    if (dtype == MM_DTYPE_F32) {
        memcpy(dst, src, n * sizeof *dst);
    } else if (dtype == MM_DTYPE_F16) {
        for (size_t i = 0; i < n; i++) {
            memcpy(&h, p + 2 * i, 2);
            dst[i] = mmi_f16_to_f32(h);
        }
    } else if (dtype == MM_DTYPE_BF16) {
        for (size_t i = 0; i < n; i++) {
            memcpy(&h, p + 2 * i, 2);
            dst[i] = mmi_bf16_to_f32(h);
        }
    } else {
        mmi_dequantize(dtype, src, dst, n);
    }
}

static size_t quantize_scratch(const pack_job *j) { return j->w->cols * sizeof(float) + MMI_PACK_ROWS * j->row_bytes; }

static void quantize_task(void *arg, size_t group, int worker)
{
    const pack_job *j = arg;
    const size_t cols = j->w->cols, row = group * MMI_PACK_ROWS, from_bytes = cols * mmi_dtype_get(j->from)->block_bytes;
    const size_t rows = mmi_size_min(MMI_PACK_ROWS, j->w->rows - row);
    float *wide = (float *)(void *)(j->scratch + (size_t)worker * quantize_scratch(j));
    unsigned char *blocks = (unsigned char *)(wide + cols), *packed = (unsigned char *)j->w->packed + group * j->group_bytes;

    if (j->w->dtype == MM_DTYPE_Q8_ROW) memset(packed, 0, j->group_bytes);
    for (size_t r = 0; r < rows; r++) {
        to_f32(j->from, j->src + (row + r) * from_bytes, wide, cols);
        if (j->w->dtype == MM_DTYPE_Q8_ROW) mmi_pack_q8_row(wide, r, cols, packed);
        else mmi_quantize(j->w->dtype, wide, blocks + r * j->row_bytes, cols);
    }
    if (j->w->dtype != MM_DTYPE_Q8_ROW) mmi_pack_group(j->w->dtype, blocks, rows, cols, packed);
}

size_t mmi_weight_group_bytes(const mmi_weight *w)
{
    return mmi_dtype_is_quantized(w->dtype) ? mmi_pack_group_bytes(w->dtype, w->cols) : mmi_float_group_bytes(w->dtype, w->cols);
}

static int packed_bytes(const mmi_weight *w, size_t *out)
{
    return mmi_dtype_is_quantized(w->dtype) ? mmi_pack_bytes(w->dtype, w->rows, w->cols, out)
                                            : mmi_float_pack_bytes(w->dtype, w->rows, w->cols, out);
}

/* `from`: the type of file_data's elements, w's or floats that become it. */
static mm_status pack(mm_context *ctx, mmi_weight *w, const void *file_data, int32_t from)
{
    mmi_thread_pool *pool = mmi_context_pool(ctx);
    pack_job job = {w, mmi_kernels_of(ctx), file_data, 0, 0, from, NULL};
    size_t bytes = 0;

    if (!job.k) return MM_E_NOMEM;
    if (packed_bytes(w, &bytes) || mmi_dtype_bytes(w->dtype, w->cols, &job.row_bytes))
        return mmi_fail(ctx, MM_E_SHAPE, "tensor %s: rows of %zu elements cannot be packed as %s", w->name, w->cols, mm_dtype_name(w->dtype));
    job.group_bytes = mmi_weight_group_bytes(w);
    w->packed = mmi_alloc(ctx, bytes);
    if (!w->packed) return MM_E_NOMEM;
    if (from != w->dtype && !(job.scratch = mmi_alloc_array(ctx, (size_t)mmi_thread_pool_size(pool), quantize_scratch(&job)))) return MM_E_NOMEM;
    mmi_thread_pool_run(pool, job.scratch ? quantize_task : pack_task, &job, (w->rows + MMI_PACK_ROWS - 1) / MMI_PACK_ROWS, NULL);
    mmi_free(job.scratch);
    return MM_OK;
}

/* Rows and columns, after type, shape and size were found to agree. */
static mm_status measure(mm_context *ctx, mmi_weight *w, size_t bytes)
{
    size_t elements = 0, expected = 0;
    mm_status st = mmi_tensor_measure(ctx, w->dtype, w->rank, w->shape, &elements, &expected);

    if (st) return st;
    if (bytes != expected)
        return mmi_fail(ctx, MM_E_FORMAT, "tensor %s has %zu bytes, its shape and type need %zu", w->name, bytes, expected);
    if (w->dtype != MM_DTYPE_F32 && w->dtype != MM_DTYPE_F16 && w->dtype != MM_DTYPE_BF16 && !mmi_dtype_is_quantized(w->dtype))
        return mmi_fail(ctx, MM_E_DTYPE, "tensor %s is %s, a weight must be F32, F16, BF16 or a block-quantized type", w->name,
                        mm_dtype_name(w->dtype));
    w->rows = w->rank > 1 ? (size_t)w->shape[0] : 1;
    w->cols = w->rows ? elements / w->rows : 0;
    w->stored = w->dtype;
    return MM_OK;
}

/* As f32 of our own; NULL: zeros. */
static mm_status convert(mm_context *ctx, mmi_weight *w, const void *file_data)
{
    size_t elements = w->rows * w->cols; /* measured */
    float *p = file_data ? mmi_alloc_array(ctx, elements, sizeof *p) : mmi_zalloc_array(ctx, elements, sizeof *p);

    if (!p) return MM_E_NOMEM;
    if (file_data) to_f32(w->dtype, file_data, p, elements);
    w->data = p;
    w->data_owned = 1;
    w->dtype = MM_DTYPE_F32;
    return MM_OK;
}

mm_status mmi_weight_own(mm_context *ctx, mmi_weight *w, const void *file_data, size_t bytes)
{
    mm_status st = measure(ctx, w, bytes);

    if (!st) st = mmi_dtype_is_quantized(w->dtype) && w->rank > 1 ? pack(ctx, w, file_data, w->dtype) : convert(ctx, w, file_data);
    if (!st) w->stored = w->dtype;
    return st;
}

mm_status mmi_weight_quantize(mm_context *ctx, mmi_weight *w, const void *file_data, size_t bytes, int32_t dtype)
{
    mm_status st = measure(ctx, w, bytes);

    w->dtype = dtype;
    return st ? st : pack(ctx, w, file_data, w->stored);
}

float *mmi_weight_values(mmi_weight *w) { return w->data_owned && w->dtype == MM_DTYPE_F32 ? (float *)(uintptr_t)w->data : NULL; }

mm_status mmi_weight_adopt(mm_context *ctx, mmi_weight *w, const void *file_data, size_t bytes, int multiplied, int *in_place)
{
    int aligned = mmi_dtype_get(w->dtype) && (uintptr_t)file_data % mmi_dtype_get(w->dtype)->block_bytes == 0;
    mm_status st = measure(ctx, w, bytes);

    *in_place = 0;
    if (st) return st;
    if (w->rank < 2) return convert(ctx, w, file_data); /* even where it could stay: reading a few bytes of the map makes pages around them resident */
    if (mmi_dtype_is_quantized(w->dtype)) return pack(ctx, w, file_data, w->dtype);
    if (multiplied && ctx->cpu_level > MM_CPU_REFERENCE) {
        void *copy = NULL;
        if (!aligned) {
            copy = mmi_alloc(ctx, bytes);
            if (!copy) return MM_E_NOMEM;
            memcpy(copy, file_data, bytes);
        }
        st = pack(ctx, w, copy ? copy : file_data, w->dtype);
        mmi_free(copy);
        return st;
    }
    if (aligned) {
        w->data = file_data;
        *in_place = 1;
        return MM_OK;
    }
    w->data = mmi_alloc(ctx, bytes);
    if (!w->data) return MM_E_NOMEM;
    memcpy((void *)(uintptr_t)w->data, file_data, bytes);
    w->data_owned = 1;
    return MM_OK;
}

void mmi_weight_clear(mmi_weight *w)
{
    mmi_free(w->name);
    mmi_free(w->packed);
    if (w->data_owned) mmi_free((void *)(uintptr_t)w->data);
    memset(w, 0, sizeof *w);
}

void mmi_weight_read_row(const mmi_weight *w, size_t row, float *out)
{
    if (w->packed) {
        const unsigned char *group = (const unsigned char *)w->packed + row / MMI_PACK_ROWS * mmi_weight_group_bytes(w);
        size_t r = row % MMI_PACK_ROWS;
        if (mmi_dtype_is_quantized(w->dtype)) {
            mmi_unpack_row(w->dtype, group, r, w->cols, out);
        } else if (w->dtype == MM_DTYPE_F32) {
            for (size_t i = 0; i < w->cols; i++) out[i] = ((const float *)(const void *)group)[i * MMI_FLOAT_PACK_ROWS + r];
        } else {
            const uint16_t *half = (const uint16_t *)(const void *)group + r;
            for (size_t i = 0; i < w->cols; i++, half += MMI_FLOAT_PACK_ROWS)
                out[i] = w->dtype == MM_DTYPE_F16 ? mmi_f16_to_f32(*half) : mmi_bf16_to_f32(*half);
        }
        return;
    }
    to_f32(w->dtype, (const unsigned char *)w->data + row * w->cols * mmi_dtype_get(w->dtype)->block_bytes, out, w->cols);
}

size_t mmi_weight_bytes(const mmi_weight *w)
{
    size_t n = 0;
    if (w->packed) return packed_bytes(w, &n) ? 0 : n;
    return mmi_dtype_bytes(w->dtype, w->rows * w->cols, &n) ? 0 : n;
}
