/* Block-quantized weights, repacked for integer dot products, and their linear kernel.
 *
 * Rows (output features) are interleaved by MMI_PACK_ROWS in the order in which VNNI and AMX read them: for a block of 32
 * columns, the bytes of 16 rows x 4 columns make one 64-byte line. One layout serves all levels, so a packed model does not
 * depend on the level that packed it. 4-bit codes stay 4-bit: a packed matrix is no larger than the file's (rows rounded
 * up to MMI_PACK_ROWS; see mmi_pack_bytes). Activations are quantized row by row to int8 blocks of 32 with an f32 scale.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_QUANT_PACK_H
#define MMI_QUANT_PACK_H

#include <stddef.h>
#include <stdint.h>

enum { MMI_PACK_ROWS = 16 };

/* Bytes of a packed [rows, cols] matrix of a quantized dtype; nonzero return when cols is no whole number of blocks or
 * the size does not fit. Packed group g (rows 16 g .. 16 g + 15) lies at g * mmi_pack_group_bytes. */
int mmi_pack_bytes(int32_t dtype, size_t rows, size_t cols, size_t *out);
size_t mmi_pack_group_bytes(int32_t dtype, size_t cols);

/* Pack one group from file rows `src` (row r at src + r * row bytes); rows beyond `rows` (< 16 given) become zeros. */
void mmi_pack_group(int32_t dtype, const void *src, size_t rows, size_t cols, void *group);

/* A row of floats into a group of Q8_ROW, which was zeros: to the nearest of 127 steps on either side, ties away from zero. */
void mmi_pack_q8_row(const float *values, size_t row, size_t cols, void *group);

/* Dequantize one row (0..15) of a packed group: the values that mmi_dequantize gives for the file's row. */
void mmi_unpack_row(int32_t dtype, const void *group, size_t row, size_t cols, float *out);

/* Bytes of a quantized activation row of `cols` columns, a multiple of 64. */
size_t mmi_quant_row_bytes(size_t cols);

/* y[m][16 g + r] = sum over columns of x[m] * w[16 g + r], for m activation rows and groups [group0, group1). */
typedef struct mmi_quant_tile {
    int32_t dtype;
    const void *packed;
    size_t rows, cols; /* of the whole matrix; outputs beyond `rows` are not written */
    size_t group0, group1;
    const void *x;     /* quantized rows, mmi_quant_row_bytes apart */
    size_t m;
    float *y;          /* row distance ldy; column 0 is output feature 0 of the matrix */
    size_t ldy;
} mmi_quant_tile;

#endif
