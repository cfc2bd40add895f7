/* The graphs of a run's steps: forward, loss and gradients of a model on batches of some shape, kept for the next batch of that shape. All share one memory.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_STEP_GRAPH_H
#define MMI_STEP_GRAPH_H

#include "forward.h"
#include "objective.h"

enum { MMI_STEP_GRAPHS = 12 }; /* kept at a time; the one not used for longest goes */

typedef struct {
    mmi_feed feed;               /* io.g NULL: free */
    const mmi_objective_spec *spec;
    int trains;
    float scale;
    mmi_value loss, compared;
    uint64_t used;
} mmi_step_graph;

/* Starts as all zeros, but for the model and how it trains; clear frees it. */
typedef struct {
    const mm_model *model; /* borrowed */
    int recompute;         /* activations within blocks are not kept */
    mmi_dropout_rates dropout; /* of what trains */
    uint64_t dropout_key;  /* of the next run */
    mmi_step_graph graphs[MMI_STEP_GRAPHS];
    mmi_graph_memory memory;
    uint64_t uses;
} mmi_step_graphs;

/* What a run gave; borrowed until the next run. */
typedef struct {
    float loss;
    const float *compared; /* NULL: nothing; else [rows, cols] that the loss compared */
    size_t rows, cols;
} mmi_step_result;

/* The loss of a batch; with `trains` `scale` times its gradient is added to the weights' gradients. The spec is known by its address. */
mm_status mmi_step_graph_run(mm_context *ctx, mmi_step_graphs *s, const mmi_objective_spec *spec, const mm_tensor_map *batch, int trains, float scale,
                             mmi_step_result *out);
void mmi_step_graphs_clear(mmi_step_graphs *s);

#endif
