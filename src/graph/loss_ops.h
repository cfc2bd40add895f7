/* What losses are made of. Sums are float64, in one order. SPDX-License-Identifier: MIT */
#ifndef MMI_LOSS_OPS_H
#define MMI_LOSS_OPS_H

#include "graph.h"

enum { MMI_IGNORED = -100 }; /* a target that does not count, as torch has it */

/* log softmax(logits) at the target: logits [.., V] and i32 targets [..] give [..]; 0 for MMI_IGNORED. With smoothing e it is (1 - e) times that and e times the mean over
 * all classes (arXiv:1512.00567, section 7). Another target outside 0..V-1 fails the run with its value. */
mmi_value mmi_log_likelihood(mmi_graph *g, mmi_value logits, mmi_value targets, float smoothing);

/* sum of softmax(teacher / t) log softmax(logits / t) over the last dimension, both [.., V]: distillation's soft targets (arXiv:1503.02531, section 2) without the
 * teacher's own entropy. No gradient flows into the teacher. */
mmi_value mmi_soft_likelihood(mmi_graph *g, mmi_value logits, mmi_value teacher, float temperature);

mmi_value mmi_log_sigmoid(mmi_graph *g, mmi_value x);

/* Sum of all x * w, a scalar; x and w of as many elements. */
mmi_value mmi_inner(mmi_graph *g, mmi_value x, mmi_value w);

/* x times a scalar value. */
mmi_value mmi_scale_by(mmi_graph *g, mmi_value x, mmi_value s);

#endif
