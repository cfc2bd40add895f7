/* SPDX-License-Identifier: MIT */
#include "patch_embedder.h"

#include "dropout_op.h"
#include "linear_op.h"
#include "row_ops.h"
#include "shape_ops.h"

mmi_value mmi_patch_embedder(mmi_graph *g, mmi_value pixels, const mmi_patch_embedder_spec *p)
{
    mmi_value x, positions, parts[3];
    int64_t rows, cols, C, N;
    size_t skip = 0; /* tokens of no patch that have positions */

    x = mmi_linear(g, mmi_patches(g, pixels, p->patch), p->w, p->b, MMI_ACT_NONE); /* [B, rows cols, C] */
    if (g->status) return 0;
    rows = mmi_graph_look(g, pixels)->shape[2] / p->patch;
    cols = mmi_graph_look(g, pixels)->shape[3] / p->patch;
    C = mmi_graph_look(g, x)->shape[2];
    if (p->class_token) parts[skip++] = mmi_weight_value(g, p->class_token);
    if (p->second_token) parts[skip++] = mmi_weight_value(g, p->second_token);
    parts[skip] = x;
    if (skip) x = mmi_concat(g, 1, parts, skip + 1);
    positions = mmi_weight_value(g, p->positions);
    if (rows != p->rows || cols != p->cols) {
        mmi_value grid = mmi_reshape(g, mmi_slice(g, positions, 1, (int64_t)skip, p->rows * p->cols), 3, (int64_t[]){p->rows, p->cols, C});
        grid = mmi_reshape(g, mmi_resize_grid(g, grid, rows, cols, p->resize), 3, (int64_t[]){1, rows * cols, C});
        positions = skip ? mmi_concat(g, 1, (mmi_value[]){mmi_slice(g, positions, 1, 0, (int64_t)skip), grid}, 2) : grid;
    }
    x = mmi_dropout(g, mmi_add(g, x, positions), g->dropout.blocks);
    if (!p->registers || g->status) return x;
    N = mmi_graph_look(g, x)->shape[1];
    parts[0] = mmi_slice(g, x, 1, 0, (int64_t)skip);
    parts[1] = mmi_weight_value(g, p->registers);
    parts[2] = mmi_slice(g, x, 1, (int64_t)skip, N - (int64_t)skip);
    return mmi_concat(g, 1, parts, 3);
}
