/* Scaled dot-product attention with the online softmax of arXiv:1805.02867, one key at a time.
 * Scores and weights are float64; the weighted sum of values is float32, in the output itself.
 * SPDX-License-Identifier: MIT */
#include "attention_reference.h"

#include <math.h>

#include "dtype.h"

static float element(int32_t dtype, const void *p, size_t i)
{
    return dtype == MM_DTYPE_F16 ? mmi_f16_to_f32(((const uint16_t *)p)[i]) : ((const float *)p)[i];
}

/* Where element 0 of a key lies; the others follow at distance MMI_KEY_BLOCK. */
static size_t key_offset(size_t position, size_t dim)
{
    return position / MMI_KEY_BLOCK * dim * MMI_KEY_BLOCK + position % MMI_KEY_BLOCK;
}

static double score(const mmi_attention_tile *t, size_t row, size_t key)
{
    const size_t offset = key_offset(key, t->dim);
    double s = 0;
    for (size_t d = 0; d < t->dim; d++)
        s += (double)t->queries[row][d] * element(t->dtype, t->keys, offset + d * MMI_KEY_BLOCK);
    s *= t->scale;
    if (t->softcap > 0) s = t->softcap * tanh(s / t->softcap);
    return s;
}

static void attend(const mmi_attention_tile *t, size_t row)
{
    const float *bias = t->bias ? t->bias[row] : NULL;
    float *y = t->outputs[row];
    double top = -INFINITY, sum = 0; /* of the keys seen so far: largest score, and sum of exp(score - top) */

    for (size_t c = 0; c < t->value_dim; c++) y[c] = 0;
    for (int32_t j = t->first[row]; j < t->last[row]; j++) {
        if (bias && bias[j] == -INFINITY) continue;
        const double s = score(t, row, (size_t)j) + (bias ? bias[j] : 0);
        if (s == -INFINITY) continue;
        if (s > top) {
            const double shrink = exp(top - s);
            for (size_t c = 0; c < t->value_dim; c++) y[c] = (float)(y[c] * shrink);
            sum *= shrink;
            top = s;
        }
        const double p = exp(s - top);
        sum += p;
        for (size_t c = 0; c < t->value_dim; c++)
            y[c] += (float)(p * element(t->dtype, t->values, (size_t)j * t->value_stride + c));
    }
    if (sum == 0) return;
    for (size_t c = 0; c < t->value_dim; c++) y[c] = (float)(y[c] / sum);
}

void mmi_attention_reference(const mmi_attention_tile *tile)
{
    for (size_t r = 0; r < tile->rows; r++) attend(tile, r);
}

void mmi_pack_keys_reference(const float *k, size_t stride, size_t n, size_t dim, int32_t dtype, void *keys, size_t first_position)
{
    for (size_t j = 0; j < n; j++) {
        const size_t offset = key_offset(first_position + j, dim);
        for (size_t d = 0; d < dim; d++) {
            const float value = k[j * stride + d];
            if (dtype == MM_DTYPE_F16) ((uint16_t *)keys)[offset + d * MMI_KEY_BLOCK] = mmi_f32_to_f16(value);
            else ((float *)keys)[offset + d * MMI_KEY_BLOCK] = value;
        }
    }
}

/* Weights [MMI_QUERY_TILE, MMI_KEY_BLOCK], weighted sums [MMI_QUERY_TILE, value_dim], sums of weights [MMI_QUERY_TILE, 16],
 * and a block of keys or values as f32. 16 is the longest vector. */
size_t mmi_attention_scratch(size_t dim, size_t value_dim)
{
    const size_t columns = (value_dim + 15) / 16 * 16;
    return MMI_QUERY_TILE * (MMI_KEY_BLOCK + columns + 16) + MMI_KEY_BLOCK * (dim > columns ? dim : columns);
}
