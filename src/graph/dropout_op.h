/* Dropout (Srivastava et al. 2012, arXiv:1207.0580): an element is 0 with a probability of `rate`, else divided by what is left of 1.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_DROPOUT_OP_H
#define MMI_DROPOUT_OP_H

#include "graph.h"

/* x itself where the graph does not train, or the rate, which is counted in shares of 2^-16, is 0. What is dropped is a function of the run's dropout_key, the op's number among
 * those of the graph, and the element. */
mmi_value mmi_dropout(mmi_graph *g, mmi_value x, float rate);

#endif
