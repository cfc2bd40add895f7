/* Gradients: reverse-mode differentiation by appended nodes.
 *
 * mmi_graph_gradients walks the nodes backwards; the op of each appends the nodes of its vector-Jacobian product. So the backward pass is planned
 * and run like the rest, and no model has one of its own. What arrives at a trained weight is added to its `gradient`, which the caller zeroes.
 *
 * The rule of an op asks mmi_gradient_wanted for each input and gives mmi_gradient_add what it found; where it reads its own output or inputs, it does so by
 * the values that its node names, which may stand for copies that are computed again.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_GRAD_H
#define MMI_GRAD_H

#include "graph.h"

/* Append the gradients of a scalar with respect to every weight that has a `gradient`, which it adds `scale` times. With `recompute` the values within a block are not kept
 * but computed again (mmi_graph_boundary). To be called once, before plan. A loss that hangs on no trained weight is a failure. */
void mmi_graph_gradients(mmi_graph *g, mmi_value loss, float scale, int recompute);

/* For the rules of ops. `dx` has the shape of v, in any strides. */
int mmi_gradient_wanted(const mmi_graph *g, mmi_value v); /* of 0: no */
void mmi_gradient_add(mmi_graph *g, mmi_value v, mmi_value dx);

#endif
