/* Products of float32 matrices of which one is packed for the occasion: y = a b, or y += a b, with b [depth, cols].
 *
 * b is packed row by row, by as many tasks as there are; then each task computes a block of y. The kernels are those of float_linear.h, or cblas where
 * the level has none. Each sum runs over the depth in order, so it depends neither on rows nor on columns of the block.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_FLOAT_PRODUCT_H
#define MMI_FLOAT_PRODUCT_H

#include "kernels.h"

enum { MMI_PRODUCT_COLS = 192, MMI_PRODUCT_ROWS = 64, MMI_PRODUCT_DEPTH = 768 }; /* of a block that suits the caches; cols, a multiple of 48: the width of the kernel's tile */

size_t mmi_product_floats(size_t depth, size_t cols); /* of packed b */
void mmi_product_pack(const mmi_kernels *k, const float *row, size_t j, size_t depth, size_t cols, float *packed); /* row j of b */

typedef struct {
    const float *a; /* [m, depth] with rows lda apart, or `by_columns` [depth, m] */
    size_t lda;
    int by_columns;
    size_t m, depth, cols;
    const float *packed;
    size_t col0, col1; /* of b, computed here; col0 is a multiple of 16 */
    float *y;          /* column 0 belongs to column 0 of b */
    size_t ldy;
    int add;
} mmi_product;

void mmi_product_run(const mmi_kernels *k, const mmi_product *p);

#endif
