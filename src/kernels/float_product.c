/* SPDX-License-Identifier: MIT */
#include "float_product.h"

#include <string.h>

#include "blas.h"
#include "float_linear.h"
#include "size.h"

enum { GROUP = MMI_FLOAT_PACK_ROWS };

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

void mmi_product_pack_transpose(const mmi_kernels *k, const float *x, size_t ldx, size_t depth, size_t cols, float *packed)
{
    if (k->level == MM_CPU_REFERENCE) {
        for (size_t j = 0; j < depth; j++)
            for (size_t c = 0; c < cols; c++) packed[j * cols + c] = x[c * ldx + j];
        return;
    }
    for (size_t c = 0; c < cols; c += GROUP) k->float_pack(MM_DTYPE_F32, x + c * ldx, ldx, mmi_size_min(GROUP, cols - c), depth, packed + c * depth);
}

static void run_blas(const mmi_product *p)
{
    const float *a = p->a + (p->form == MMI_A_ROWS ? p->row0 * p->lda : p->row0);
    mmi_blas_gemm(p->form != MMI_A_ROWS, 0, p->row1 - p->row0, p->col1 - p->col0, p->depth, 1, a, p->lda, p->b + p->col0, p->cols, p->add ? 1.0f : 0.0f,
                  p->y + p->row0 * p->ldy + p->col0, p->ldy);
}

void mmi_product_run(const mmi_kernels *k, const mmi_product *p)
{
    /* Of a packed a, a group of rows at a time. */
    const size_t rows = p->row1 - p->row0, step = p->form == MMI_A_PACKED ? GROUP : rows, ldx = p->form == MMI_A_PACKED ? GROUP : p->lda;
    const size_t distance = p->form == MMI_A_ROWS ? p->lda : p->form == MMI_A_COLUMNS ? 1 : p->depth;

    if (k->level == MM_CPU_REFERENCE) {
        run_blas(p);
        return;
    }
    for (size_t row = p->row0; row < p->row1; row += step)
        k->float_linear(&(mmi_float_tile){MM_DTYPE_F32, p->b, p->col1, p->depth, p->col0 / GROUP, (p->col1 + GROUP - 1) / GROUP, p->a + row * distance, ldx,
                                          mmi_size_min(step, p->row1 - row), p->y + row * p->ldy, p->ldy, p->form != MMI_A_ROWS, p->add});
}
