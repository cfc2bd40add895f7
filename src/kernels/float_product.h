/* Products of float32 matrices of which one or both are packed for the occasion: y = a b, or y += a b, with b [depth, cols].
 *
 * A matrix is packed row by row, by as many tasks as there are; then each task computes a block of y. The kernels are those of float_linear.h, or cblas where
 * the level has none. Each sum runs over the depth in order, so it depends neither on rows nor on columns of the block.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_FLOAT_PRODUCT_H
#define MMI_FLOAT_PRODUCT_H

#include "kernels.h"

enum { MMI_PRODUCT_COLS = 192, MMI_PRODUCT_ROWS = 64, MMI_PRODUCT_DEPTH = 768 }; /* of a block that suits the caches; cols, a multiple of 48: the width of the kernel's tile */

size_t mmi_product_floats(size_t depth, size_t cols); /* of a packed matrix */
void mmi_product_pack(const mmi_kernels *k, const float *row, size_t j, size_t depth, size_t cols, float *packed); /* its row j */
void mmi_product_pack_transpose(const mmi_kernels *k, const float *x, size_t ldx, size_t depth, size_t cols, float *packed); /* of x [cols, depth], all at once */

typedef enum { MMI_A_ROWS, MMI_A_COLUMNS, MMI_A_PACKED } mmi_product_form;

typedef struct {
    const float *a;    /* rows [.., depth] lda apart; or its transpose: columns [depth, ..] lda apart, or [depth, lda] packed */
    size_t lda;
    mmi_product_form form;
    const float *b;    /* packed */
    size_t depth, cols;
    size_t row0, row1, col0, col1; /* of y, computed here; row0 of a packed a and col0 are multiples of 16 */
    float *y;
    size_t ldy;
    int add;
} mmi_product;

void mmi_product_run(const mmi_kernels *k, const mmi_product *p);

#endif
