/* The layout of packed float weights, and the definition of correct for their linear kernel. SPDX-License-Identifier: MIT */
#include "float_linear.h"

#include "dtype.h"
#include "size.h"

static size_t element_bytes(int32_t dtype) { return dtype == MM_DTYPE_F32 ? sizeof(float) : sizeof(uint16_t); }

size_t mmi_float_group_bytes(int32_t dtype, size_t cols) { return cols * MMI_FLOAT_PACK_ROWS * element_bytes(dtype); }

int mmi_float_pack_bytes(int32_t dtype, size_t rows, size_t cols, size_t *out)
{
    size_t padded, bytes;
    if (mmi_size_round_up(rows, MMI_FLOAT_PACK_ROWS, &padded) || mmi_size_mul3(padded, cols, element_bytes(dtype), &bytes)) return 1;
    *out = bytes;
    return 0;
}

void mmi_float_pack_reference(int32_t dtype, const void *w, size_t stride, size_t rows, size_t cols, void *group)
{
    for (size_t j = 0; j < cols; j++) {
        for (size_t r = 0; r < MMI_FLOAT_PACK_ROWS; r++) {
            const size_t to = j * MMI_FLOAT_PACK_ROWS + r, from = r * stride + j;
            if (dtype == MM_DTYPE_F32) ((float *)group)[to] = r < rows ? ((const float *)w)[from] : 0;
            else ((uint16_t *)group)[to] = r < rows ? ((const uint16_t *)w)[from] : 0;
        }
    }
}

static float element(int32_t dtype, const void *p, size_t i)
{
    switch (dtype) {
    case MM_DTYPE_F16: return mmi_f16_to_f32(((const uint16_t *)p)[i]);
    case MM_DTYPE_BF16: return mmi_bf16_to_f32(((const uint16_t *)p)[i]);
    default: return ((const float *)p)[i];
    }
}

void mmi_float_linear_reference(const mmi_float_tile *t)
{
    for (size_t i = 0; i < t->m; i++) {
        for (size_t o = t->group0 * MMI_FLOAT_PACK_ROWS; o < t->group1 * MMI_FLOAT_PACK_ROWS && o < t->rows; o++) {
            const size_t at = o / MMI_FLOAT_PACK_ROWS * MMI_FLOAT_PACK_ROWS * t->cols + o % MMI_FLOAT_PACK_ROWS;
            double sum = 0;
            for (size_t j = 0; j < t->cols; j++)
                sum += (double)t->x[t->columns ? j * t->ldx + i : i * t->ldx + j] * element(t->dtype, t->packed, at + j * MMI_FLOAT_PACK_ROWS);
            t->y[i * t->ldy + o] = (float)(t->add ? t->y[i * t->ldy + o] + sum : sum);
        }
    }
}
