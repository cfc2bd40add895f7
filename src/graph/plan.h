/* Lifetimes to places: where each activation lives in one arena.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PLAN_H
#define MMI_PLAN_H

#include "graph.h"

/* Give every node's value a place such that values alive at the same time do not overlap, and find the scratch sizes.
 * Returns the first failure of building, or MM_E_NOMEM. To be called once, after the last output was named. */
mm_status mmi_graph_plan(mmi_graph *g);

#endif
