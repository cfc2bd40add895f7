/* The mean of the tokens that count. SPDX-License-Identifier: MIT */
#ifndef MMI_MASKED_MEAN_H
#define MMI_MASKED_MEAN_H

#include "graph.h"

mmi_value mmi_masked_mean(mmi_graph *g, mmi_value x, mmi_value mask); /* x [B, N, C], mask i32 [B, N] or 0: all -> [B, C] */

#endif
