/* SPDX-License-Identifier: MIT */
#include "float_product.h"

#include <string.h>

#include "blas.h"
#include "float_linear.h"
#include "size.h"

enum { GROUP = MMI_FLOAT_PACK_ROWS, COLUMN_ROWS = 16 /* of a by columns at a time: a cache line of each */ };

size_t mmi_product_floats(size_t depth, size_t cols) { return (cols + GROUP - 1) / GROUP * GROUP * depth; }

void mmi_product_pack(const mmi_kernels *k, const float *row, size_t j, size_t depth, size_t cols, float *packed)
{
    size_t c = 0;

    if (k->level == MM_CPU_REFERENCE) {
        memcpy(packed + j * cols, row, cols * sizeof *row);
        return;
    }
    for (packed += j * GROUP; c + GROUP <= cols; c += GROUP, packed += depth * GROUP) memcpy(packed, row + c, GROUP * sizeof *row);
    if (c == cols) return;
    memset(packed, 0, GROUP * sizeof *row);
    memcpy(packed, row + c, (cols - c) * sizeof *row);
}

void mmi_product_run(const mmi_kernels *k, const mmi_product *p)
{
    mmi_float_tile t = {MM_DTYPE_F32, p->packed, p->col1, p->depth, p->col0 / GROUP, (p->col1 + GROUP - 1) / GROUP, p->a, p->lda, p->m, p->y, p->ldy, p->by_columns, p->add};

    if (k->level == MM_CPU_REFERENCE) {
        mmi_blas_gemm(p->by_columns, 0, p->m, p->col1 - p->col0, p->depth, 1, p->a, p->lda, p->packed + p->col0, p->cols, p->add ? 1.0f : 0.0f, p->y + p->col0, p->ldy);
        return;
    }
    if (!p->by_columns) {
        k->float_linear(&t);
        return;
    }
    for (size_t row = 0; row < p->m; row += COLUMN_ROWS, t.x += COLUMN_ROWS, t.y += COLUMN_ROWS * p->ldy) {
        t.m = mmi_size_min(COLUMN_ROWS, p->m - row);
        k->float_linear(&t);
    }
}
