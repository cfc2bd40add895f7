/* Linear layers on packed float weights: y[i][o] = sum over j of x[i][j] w[o][j].
 *
 * Packed: outputs in groups of MMI_FLOAT_PACK_ROWS; group g is [cols][16] elements of f32, f16 or bf16, element [j][r] being
 * w[16 g + r][j], 0 beyond the last row. One layout serves all levels. Each sum runs over j in order with one FMA each
 * (float32; the reference: float64), so it depends neither on m nor on how rows and groups are split into tiles.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_FLOAT_LINEAR_H
#define MMI_FLOAT_LINEAR_H

#include "kernels.h"

enum { MMI_FLOAT_PACK_ROWS = 16 };

/* Bytes of a packed matrix; nonzero return when they do not fit. Group g lies at g * mmi_float_group_bytes. */
int mmi_float_pack_bytes(int32_t dtype, size_t rows, size_t cols, size_t *out);
size_t mmi_float_group_bytes(int32_t dtype, size_t cols);

/* Groups [group0, group1) of y for m rows of x. Tasks should take multiples of 3 groups, the width of the AVX-512 tile. */
typedef struct mmi_float_tile {
    int32_t dtype;
    const void *packed;
    size_t rows, cols; /* of the whole matrix; outputs beyond `rows` are not written */
    size_t group0, group1;
    const float *x;
    size_t ldx, m;
    float *y; /* row distance ldy; column 0 is output feature 0 of the matrix */
    size_t ldy;
    int columns; /* x is [cols, m]: element j of row i is x[j * ldx + i] (f32 weights) */
    int add;     /* each sum is added to what y holds */
} mmi_float_tile;

void mmi_float_pack_reference(int32_t dtype, const void *w, size_t stride, size_t rows, size_t cols, void *group);
void mmi_float_linear_reference(const mmi_float_tile *tile);

#endif
