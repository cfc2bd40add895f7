/* Running a planned graph on the context's threads.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_RUN_H
#define MMI_RUN_H

#include "graph.h"

/* Point an input at its elements (contiguous, borrowed for the runs that follow). */
void mmi_graph_bind(mmi_graph *g, mmi_value input, const void *data);

/* Run all nodes. `values` may be NULL. The graph's context does the work; MM_E_CANCELLED leaves outputs undefined. */
mm_status mmi_graph_run(mmi_graph *g, const mmi_run_values *values);

/* Let graphs that do not run at the same time share what they need; it grows to the largest. Owned by the caller, who clears it after them. */
void mmi_graph_use_memory(mmi_graph *g, mmi_graph_memory *memory);
void mmi_graph_memory_clear(mmi_graph_memory *m);

/* After a run: the elements of an output, contiguous; borrowed until the next run over the same memory or the graph's end. */
const void *mmi_graph_result(const mmi_graph *g, mmi_value output);

#endif
