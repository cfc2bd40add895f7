/* Views, copies, and ops that move elements: look-ups, patches, grids.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_SHAPE_OPS_H
#define MMI_SHAPE_OPS_H

#include "graph.h"

/* Views: no work at run time. */
mmi_value mmi_reshape(mmi_graph *g, mmi_value x, int32_t rank, const int64_t *shape); /* copies first when x is not contiguous */
mmi_value mmi_slice(mmi_graph *g, mmi_value x, int32_t axis, int64_t start, int64_t count);
mmi_value mmi_select(mmi_graph *g, mmi_value x, int32_t axis, int64_t index);        /* slice of one, the axis removed */
mmi_value mmi_split_last(mmi_graph *g, mmi_value x, int64_t groups, int64_t size);   /* [.., groups * size] -> [.., groups, size] */

mmi_value mmi_repeat(mmi_graph *g, mmi_value x, int32_t axis, int64_t count);        /* an axis of length 1, `count` times */

/* For runs of ops: the elements of `in`'s shape from its strides to others, in elements. */
void mmi_copy_strided(mmi_run *run, const mmi_value_info *in, const float *src, float *dst, const int64_t *out_stride);

/* x itself when contiguous, else a copy. */
mmi_value mmi_contiguous(mmi_graph *g, mmi_value x);

/* Join along an axis; other dimensions equal, but a dimension 0 of 1 is repeated where another input has more. */
mmi_value mmi_concat(mmi_graph *g, int32_t axis, const mmi_value *x, size_t n);

/* Rows of a table: ids i32 [..] and table [V, C] give [.., C]. An id outside 0..V-1 fails the run with its value. */
mmi_value mmi_lookup(mmi_graph *g, mmi_value ids, mmi_value table);
mmi_value mmi_lookup_from(mmi_graph *g, mmi_value ids, mmi_value table, int64_t first); /* id 0 is row `first` */

/* Put rows where they belong: x [B, T, C] with each token of ids i32 [B, T] that is `token` replaced by the next row of rows [N, C]. Another
 * number of such tokens than N fails the run with both numbers; `what` names the rows there and is borrowed for the graph's life. */
mmi_value mmi_merge_rows(mmi_graph *g, mmi_value x, mmi_value ids, int32_t token, mmi_value rows, const char *what);

/* A weight as an activation, f32: of any dtype, rows decoded. */
mmi_value mmi_weight_value(mmi_graph *g, mmi_value weight);

/* Non-overlapping patches in raster order, each flattened as [channel, y, x]: pixels [B, C, H, W] -> [B, (H/p)(W/p), C p p];
 * pixels right of and below the last whole patch are left out, as a convolution with stride p does. */
mmi_value mmi_patches(mmi_graph *g, mmi_value pixels, int64_t patch);

/* Windows over time: x [B, C, T] in any strides -> [B, (T + 2 padding - width) / stride + 1, C width], each as [channel, time], zeros beyond the ends, so
 * that a convolution over time is a linear layer on them. */
mmi_value mmi_windows(mmi_graph *g, mmi_value x, int64_t width, int64_t stride, int64_t padding);

/* The last two dimensions exchanged: a view. */
mmi_value mmi_transpose(mmi_graph *g, mmi_value x);

/* Mean over the middle axis: x [B, N, C] gives [B, C]. */
mmi_value mmi_mean(mmi_graph *g, mmi_value x);

/* Mean of each segment's rows: x [T, C] and i32 offsets [n + 1] give [n, C]; an empty segment gives zeros. */
mmi_value mmi_segment_mean(mmi_graph *g, mmi_value x, mmi_value offsets);

/* The first row of each segment: [T, C] -> [n, C]. */
mmi_value mmi_segment_first(mmi_graph *g, mmi_value x, mmi_value offsets);

#endif
