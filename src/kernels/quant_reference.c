/* The block-quantized linear layer in plain C: the definition that the vector versions are held against, bit for bit.
 * The arithmetic is stated in quant_layout.h. fma is written out because the vector versions use it: on a processor
 * without the instruction fmaf is slow, but there is one for 32 columns only.
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "quant_layout.h"
#include "quant_pack.h"
#include "size.h"

static void quantize_row(const float *x, size_t n, size_t span, void *row)
{
    int8_t *codes = row;
    size_t blocks = n / MMI_QUANT_BLOCK;
    float *scales = (float *)((char *)row + mmi_quant_row_code_bytes(n)), *scaled_sums = scales + blocks, scale = 0, inverse = 0;
    int16_t *sums = (int16_t *)(scaled_sums + blocks);
    int finite = 1;

    for (size_t b = 0; b < blocks; b++, x += MMI_QUANT_BLOCK, codes += MMI_QUANT_BLOCK, sums += 2) {
        if (b % span == 0) {
            float largest = 0;

            finite = 1;
            for (size_t i = 0; i < mmi_size_min(span, blocks - b) * MMI_QUANT_BLOCK; i++) {
                float a = fabsf(x[i]);
                if (!isfinite(a)) finite = 0;
                else if (a > largest) largest = a;
            }
            inverse = 0;
            if (!finite) { /* all of it becomes NaN in every output */
                scale = NAN;
            } else if (largest < MMI_QUANT_TINY) {
                scale = 0;
            } else {
                scale = largest / 127;
                inverse = 127 / largest;
            }
        }
        scales[b] = scale;
        sums[0] = sums[1] = 0;
        for (int i = 0; i < MMI_QUANT_BLOCK; i++) {
            codes[i] = finite ? (int8_t)lrintf(x[i] * inverse) : 0; /* to nearest, ties to even */
            sums[i / 16] = (int16_t)(sums[i / 16] + codes[i]);
        }
        scaled_sums[b] = scale * (float)(sums[0] + sums[1]);
    }
}

/* One output: a packed row of weights with a quantized row of activations. */
static float dot(int32_t dtype, const void *group, size_t row, size_t cols, mmi_quant_row x)
{
    mmi_quant_format f = mmi_quant_format_of(dtype);
    float acc = 0;

    for (size_t b = 0; b < cols / MMI_QUANT_BLOCK; b++) {
        const int8_t *a = x.codes + b * MMI_QUANT_BLOCK;
        int32_t sum[2] = {0, 0};
        mmi_quant_block w;

        mmi_unpack_block(dtype, group, row, cols, b, &w);
        for (int c = 0; c < MMI_QUANT_BLOCK; c++) sum[c / 16] += (w.codes[c] - f.zero) * a[c];
        if (f.halves == 1) sum[0] += sum[1];
        for (int h = 0; h < f.halves; h++) {
            acc = fmaf(w.scale[h] * x.scales[b], (float)sum[h], acc);
            if (f.has_min) acc = fmaf(w.min[h], mmi_quant_row_scaled_sum(f, x, b, h), acc);
        }
    }
    return acc;
}

static void quant_linear(const mmi_quant_tile *t)
{
    size_t group_bytes = mmi_pack_group_bytes(t->dtype, t->cols), row_bytes = mmi_quant_row_bytes(t->cols);

    for (size_t i = 0; i < t->m; i++) {
        mmi_quant_row x = mmi_quant_row_at((const char *)t->x + i * row_bytes, t->cols);
        for (size_t g = t->group0; g < t->group1; g++) {
            const char *group = (const char *)t->packed + g * group_bytes;
            for (size_t r = 0; r < MMI_PACK_ROWS && g * MMI_PACK_ROWS + r < t->rows; r++)
                t->y[i * t->ldy + g * MMI_PACK_ROWS + r] = dot(t->dtype, group, r, t->cols, x);
        }
    }
}

static void row_linear(const mmi_quant_tile *t)
{
    size_t group_bytes = mmi_pack_group_bytes(t->dtype, t->cols), row_bytes = mmi_quant_row_bytes(t->cols);

    for (size_t i = 0; i < t->m; i++) {
        mmi_quant_row x = mmi_quant_row_at((const char *)t->x + i * row_bytes, t->cols);
        for (size_t o = t->group0 * MMI_PACK_ROWS; o < mmi_size_min(t->group1 * MMI_PACK_ROWS, t->rows); o++) {
            const char *group = (const char *)t->packed + o / MMI_PACK_ROWS * group_bytes;
            const int8_t *codes = (const int8_t *)group + o % MMI_PACK_ROWS * 4;
            const size_t span = MMI_QUANT_SPAN * MMI_QUANT_BLOCK;
            float acc = 0;

            for (size_t c0 = 0; c0 < t->cols; c0 += span) {
                int32_t sum = 0;
                for (size_t c = c0; c < mmi_size_min(c0 + span, t->cols); c++) sum += codes[c / 4 * 64 + c % 4] * x.codes[c];
                acc = fmaf(x.scales[c0 / MMI_QUANT_BLOCK], (float)sum, acc);
            }
            t->y[i * t->ldy + o] = acc * mmi_q8_row_scales(group, t->cols)[o % MMI_PACK_ROWS];
        }
    }
}

void mmi_kernels_quant_reference(mmi_kernels *k)
{
    k->quantize_row = quantize_row;
    k->quant_linear = quant_linear;
    k->row_linear = row_linear;
}
