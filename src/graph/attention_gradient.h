/* The gradient of attention. SPDX-License-Identifier: MIT */
#ifndef MMI_ATTENTION_GRADIENT_H
#define MMI_ATTENTION_GRADIENT_H

#include "graph.h"

/* Of an attention node without cache: give its queries, keys, values, bias and distance table theirs. */
void mmi_attention_gradient(mmi_graph *g, const mmi_node *node, mmi_value dy);

/* Bucket of a distance (key less query) among a table's, of which `both` gives the second half to keys behind the query; attention_op.c. */
size_t mmi_distance_bucket(int64_t distance, int64_t buckets, int64_t most, int both);

#endif
