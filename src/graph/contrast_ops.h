/* Ops that hold one thing against another: vectors of two towers, pixels and their reconstruction.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_CONTRAST_OPS_H
#define MMI_CONTRAST_OPS_H

#include "graph.h"

/* exp(log_scale) a b^T + bias: a [M, C], b [N, C], log_scale and bias weights of one element (bias 0: none) give [M, N]. */
mmi_value mmi_similarity(mmi_graph *g, mmi_value a, mmi_value b, mmi_value log_scale, mmi_value bias);

/* Mean over the rows that the mask counts of their mean squared error: x and y [B, N, C], y scaled by `y_scale`, mask f32
 * [B, N] give a scalar. */
mmi_value mmi_masked_error(mmi_graph *g, mmi_value x, mmi_value y, float y_scale, mmi_value mask);

#endif
