/* The feed-forward half of a transformer block: two linear layers around an activation (arXiv:1706.03762, section 3.3), or the
 * gated form (arXiv:2002.05202). SPDX-License-Identifier: MIT */
#ifndef MMI_FEED_FORWARD_H
#define MMI_FEED_FORWARD_H

#include "graph.h"
#include "kernels.h"

typedef struct {
    mmi_value gate, gate_bias; /* [F, C]; 0: not gated, unless `gated` */
    mmi_value up, up_bias;     /* [F, C], or [2 F, C], gate over up, when gated without `gate` */
    mmi_value down, down_bias; /* [C, F] */
    int gated;
    mmi_activation act;
} mmi_feed_forward_spec;

mmi_value mmi_feed_forward(mmi_graph *g, mmi_value x, const mmi_feed_forward_spec *f); /* [.., C] -> [.., C] */

#endif
