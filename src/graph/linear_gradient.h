/* The gradients of linear layers. SPDX-License-Identifier: MIT */
#ifndef MMI_LINEAR_GRADIENT_H
#define MMI_LINEAR_GRADIENT_H

#include "graph.h"

/* Of y [.., N0 + N1 + ..] = x [.., K] w^T + b with `parts` weights and biases, as mmi_linear_parts has them without activation: dx is given to x,
 * dw and db are added to the weights' gradients. Frozen weights may be quantized. */
void mmi_linear_gradient(mmi_graph *g, mmi_value x, const mmi_value *w, const mmi_value *biases, size_t parts, mmi_value dy);

#endif
