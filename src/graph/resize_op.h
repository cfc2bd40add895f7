/* Resizing grids of vectors: positions that were learned for one picture size, used for another.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_RESIZE_OP_H
#define MMI_RESIZE_OP_H

#include "graph.h"

/* As torch.nn.functional.interpolate has them, given a size, corners not aligned. Plain bicubic has a = -0.75 and repeats edges; with
 * antialias the filter (a = -0.5 for bicubic) grows with the step and is renormalized at edges. */
typedef enum { MMI_RESIZE_BICUBIC, MMI_RESIZE_BICUBIC_ANTIALIAS, MMI_RESIZE_BILINEAR_ANTIALIAS } mmi_resize_mode;

/* x [h, w, C] -> [height, width, C] */
mmi_value mmi_resize_grid(mmi_graph *g, mmi_value x, int64_t height, int64_t width, mmi_resize_mode mode);

/* The same grid in several sizes known at the run: x [h, w, C] and i32 [B, 2] heights and widths give [B, rows, C], the vectors of a size
 * in raster order and behind them its first again. A size of more than `rows` fails the run. */
mmi_value mmi_resize_grids(mmi_graph *g, mmi_value x, mmi_value sizes, int64_t rows, mmi_resize_mode mode);

#endif
