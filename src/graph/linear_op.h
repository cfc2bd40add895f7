/* Linear layers, one or several over the same input.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_LINEAR_OP_H
#define MMI_LINEAR_OP_H

#include "graph.h"
#include "kernels.h"

enum { MMI_LINEAR_PARTS = 4 };

/* act(x w^T + b): x [.., K], w [N, K] (further dimensions of w are folded into K) and b [N] or 0 give [.., N]. */
mmi_value mmi_linear(mmi_graph *g, mmi_value x, mmi_value w, mmi_value b, mmi_activation act);

/* Several weights side by side, [.., N0 + N1 + ..]: x is read, and for quantized weights quantized, once. The parts may differ
 * in dtype; biases may be NULL or hold zeros. */
mmi_value mmi_linear_parts(mmi_graph *g, mmi_value x, const mmi_value *w, const mmi_value *biases, size_t parts, mmi_activation act);


#endif
