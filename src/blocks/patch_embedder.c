/* SPDX-License-Identifier: MIT */
#include "patch_embedder.h"

#include "linear_op.h"
#include "row_ops.h"
#include "shape_ops.h"

mmi_value mmi_patch_embedder(mmi_graph *g, mmi_value pixels, const mmi_patch_embedder_spec *p)
{
    mmi_value x, positions;
    int64_t rows, cols, C, skip = p->class_token ? 1 : 0;

    x = mmi_linear(g, mmi_patches(g, pixels, p->patch), p->w, p->b, MMI_ACT_NONE); /* [B, rows cols, C] */
    if (g->status) return 0;
    rows = mmi_graph_look(g, pixels)->shape[2] / p->patch;
    cols = mmi_graph_look(g, pixels)->shape[3] / p->patch;
    C = mmi_graph_look(g, x)->shape[2];
    if (p->class_token) x = mmi_concat(g, 1, (mmi_value[]){mmi_weight_value(g, p->class_token), x}, 2);
    positions = mmi_weight_value(g, p->positions);
    if (rows != p->rows || cols != p->cols) {
        mmi_value grid = mmi_reshape(g, mmi_slice(g, positions, 1, skip, p->rows * p->cols), 3, (int64_t[]){p->rows, p->cols, C});
        grid = mmi_reshape(g, mmi_resize_grid(g, grid, rows, cols), 3, (int64_t[]){1, rows * cols, C});
        positions = skip ? mmi_concat(g, 1, (mmi_value[]){mmi_slice(g, positions, 1, 0, 1), grid}, 2) : grid;
    }
    return mmi_add(g, x, positions);
}
