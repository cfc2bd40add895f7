/* SPDX-License-Identifier: MIT */
#include "feed_forward.h"

#include "dropout_op.h"
#include "linear_op.h"
#include "row_ops.h"

mmi_value mmi_feed_forward(mmi_graph *g, mmi_value x, const mmi_feed_forward_spec *f)
{
    mmi_value h;

    if (!f->gated) {
        h = mmi_linear(g, x, f->up, f->up_bias, f->act); /* [.., F] */
    } else {
        mmi_value w[2] = {f->gate, f->up}, b[2] = {f->gate_bias, f->up_bias};
        h = f->gate ? mmi_linear_parts(g, x, w, b, 2, MMI_ACT_NONE) : mmi_linear(g, x, f->up, f->up_bias, MMI_ACT_NONE); /* [.., 2 F] */
        h = mmi_gate(g, h, f->act);
    }
    return mmi_dropout(g, mmi_linear(g, h, f->down, f->down_bias, MMI_ACT_NONE), g->dropout.blocks);
}
