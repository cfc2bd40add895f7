/* SPDX-License-Identifier: MIT */
#include "norm.h"

#include "row_ops.h"

mmi_value mmi_norm(mmi_graph *g, mmi_value x, const mmi_norm_spec *n)
{
    return n->rms ? mmi_rms_norm(g, x, n->w, n->w_offset, n->eps) : mmi_layer_norm(g, x, n->w, n->b, n->eps);
}
