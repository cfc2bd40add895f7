/* Gradients of ops that work row by row. SPDX-License-Identifier: MIT */
#ifndef MMI_ROW_GRADIENTS_H
#define MMI_ROW_GRADIENTS_H

#include "graph.h"
#include "kernels.h"

/* dy summed to a shape that was repeated over its leading dimensions; dy itself when that is its own. */
mmi_value mmi_sum_to(mmi_graph *g, mmi_value dy, int32_t rank, const int64_t *shape);

/* dx of y = act(x), of the gated form, of the norms (w, b: see row_ops.h; theirs are given to them), of rows made unit length. */
mmi_value mmi_activate_gradient(mmi_graph *g, mmi_value x, mmi_activation act, mmi_value dy);
mmi_value mmi_gate_gradient(mmi_graph *g, mmi_value x, mmi_activation act, mmi_value dy);
void mmi_layer_norm_gradient(mmi_graph *g, mmi_value x, mmi_value w, mmi_value b, float eps, mmi_value dy);
void mmi_rms_norm_gradient(mmi_graph *g, mmi_value x, mmi_value w, float w_offset, float eps, mmi_value dy);
mmi_value mmi_l2_gradient(mmi_graph *g, mmi_value x, mmi_value dy);

#endif
