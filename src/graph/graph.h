/* The intermediate representation: one list of nodes for inference and training.
 *
 * A model file builds a graph from blocks, once, with shapes known. Values are activations (f32 or i32), inputs and weights;
 * a view shares the memory of another value with a shape and strides of its own. Nodes are in execution order.
 *
 * Building never has to be checked call by call: the first failure is kept in the graph, later calls do nothing and return
 * value 0, and plan reports it. Each op file (linear_op.h, row_ops.h, ...) gives the builders with their shape rules and
 * one static mmi_op record; the gradient of an op is one more member of that record.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_GRAPH_H
#define MMI_GRAPH_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "kv_cache.h"
#include "mm_tensor.h"
#include "weight.h"

enum { MMI_MAX_RANK = 6 };

typedef int32_t mmi_value; /* 0: none */

typedef struct mmi_graph mmi_graph;
typedef struct mmi_node mmi_node;
typedef struct mmi_run mmi_run;
typedef struct mmi_op mmi_op;

typedef enum { MMI_VALUE_INPUT, MMI_VALUE_WEIGHT, MMI_VALUE_NODE, MMI_VALUE_VIEW } mmi_value_kind;

typedef struct {
    mmi_value_kind kind;
    int32_t dtype; /* F32 or I32; a weight's own */
    int32_t rank;
    int64_t shape[MMI_MAX_RANK];
    int64_t stride[MMI_MAX_RANK]; /* in elements */
    mmi_value base;  /* the value that owns the memory: itself unless a view */
    int64_t offset;  /* of a view into its base, in elements */
    const mmi_weight *weight;
    const char *name; /* of an input or output, borrowed for the graph's life; else NULL */
    int is_output;
    int last_use;    /* node index, of the base; set by plan */
    size_t place;    /* offset in the arena, of a node's value; set by plan */
    void *data;      /* where the elements are during a run, of a base */
    int owned;       /* data is the graph's: a constant */
} mmi_value_info;

/* Shares of elements that are dropped while a model trains: in its blocks, and of what low-rank adapters read. */
typedef struct {
    float blocks, adapters;
} mmi_dropout_rates;

/* Sizes that an op asks for beside its output: shared by all its tasks, and for each worker. */
typedef struct {
    size_t shared, worker;
} mmi_scratch;

struct mmi_op {
    const char *name;
    mm_status (*run)(mmi_run *run, const mmi_node *node);
    void (*scratch)(const mmi_graph *g, const mmi_node *node, mmi_scratch *size); /* NULL: none */
    int in_place; /* the output may take the memory of input 0 when that dies here and has the same size */
    void (*gradient)(mmi_graph *g, const mmi_node *node, mmi_value dy); /* see grad.h; NULL: its output does not hang smoothly on its inputs */
};

enum { MMI_NODE_PARAMS = 8 };

struct mmi_node {
    const mmi_op *op;
    mmi_value *inputs; /* 0 stands for an optional input that is absent */
    size_t n_inputs;
    int effect; /* does more than fill its output: stays though nobody reads that */
    mmi_value output;
    int64_t i[MMI_NODE_PARAMS]; /* what they mean is said where the op is built */
    float f[MMI_NODE_PARAMS];
};

/* What a run needs: the arena of values, and scratch. */
typedef struct {
    char *arena, *shared, *workers;
    size_t arena_bytes, shared_bytes, workers_bytes;
} mmi_graph_memory;

struct mmi_graph {
    mm_context *ctx;
    mm_status status; /* of the first failure while building */
    mmi_value_info *values; /* [0] is unused */
    size_t n_values, values_capacity;
    mmi_node *nodes;
    size_t n_nodes, nodes_capacity;
    int by_value;                     /* a builder looked at the elements of an input: the graph fits no others */
    int trains;                       /* set before building: what a gradient needs is kept apart (grad.h) */
    mmi_dropout_rates dropout;        /* set before building */
    int64_t dropouts;                 /* places where the graph drops elements (dropout_op.h) */
    size_t *boundaries;               /* nodes before which a block begins: mmi_graph_boundary */
    size_t n_boundaries, boundaries_capacity;
    struct mmi_gradients *gradients;  /* while they are appended */
    /* after plan */
    size_t arena_bytes, shared_bytes, worker_bytes;
    mmi_graph_memory own, *memory; /* taken at the first run; memory: own, or another's (run.h) */
    char *placed; /* the arena in which the values have their places */
};

/* What changes from run to run. */
typedef struct {
    mmi_kv_cache *const *caches; /* a cache for each sequence of the batch, or NULL; their lengths are the run-time positions */
    size_t n_caches;
    mmi_kv_cache *const *cross;  /* as many: what each attends to across, keys and values of another sequence or modality; or NULL */
    uint64_t dropout_key; /* of what is dropped in this run */
    size_t length; /* tokens of the text in all, of which this run may compute a part; 0: as far as the positions go */
} mmi_run_values;

struct mmi_run {
    mm_context *ctx;
    mmi_graph *graph;
    const mmi_kernels *k;
    mmi_thread_pool *pool;
    mmi_run_values values;
};

/* Building. */
mm_status mmi_graph_create(mm_context *ctx, mmi_graph **out);
void mmi_graph_destroy(mmi_graph *g); /* NULL allowed */
mmi_value mmi_graph_input(mmi_graph *g, const char *name, int32_t dtype, int32_t rank, const int64_t *shape);
mmi_value mmi_graph_weight(mmi_graph *g, const mmi_weight *w); /* NULL weight: value 0 */
/* Elements that are known while building, f32 or i32: an input that the graph keeps. *data is to be filled; NULL after a failure. */
mmi_value mmi_graph_constant(mmi_graph *g, int32_t dtype, int32_t rank, const int64_t *shape, void **data);
void mmi_graph_output(mmi_graph *g, const char *name, mmi_value v);
/* Here a block of the model ends: while it trains with checkpoints, what happens between two such places is computed again (arXiv:1604.06174). */
void mmi_graph_boundary(mmi_graph *g);

/* For op files. A node with a contiguous output of this dtype and shape; NULL after a failure. */
mmi_node *mmi_graph_node(mmi_graph *g, const mmi_op *op, const mmi_value *inputs, size_t n_inputs, int32_t dtype, int32_t rank,
                         const int64_t *shape);
mmi_value mmi_graph_view(mmi_graph *g, mmi_value of, int32_t rank, const int64_t *shape, const int64_t *stride, int64_t offset);
/* Record a failure with a sentence; returns value 0. */
mmi_value mmi_graph_fail(mmi_graph *g, mm_status st, const char *format, ...) __attribute__((format(printf, 3, 4)));

const mmi_value_info *mmi_graph_look(const mmi_graph *g, mmi_value v); /* of a valid value */
int64_t mmi_graph_elements(const mmi_graph *g, mmi_value v);
int mmi_graph_contiguous(const mmi_graph *g, mmi_value v);
/* Leading dimensions folded into rows at one distance: nonzero when they are. */
int mmi_graph_rows(const mmi_graph *g, mmi_value v, size_t *rows, size_t *cols, size_t *stride);
/* "[2, 17, 64]" for messages, in `text` of at least 128 bytes. */
const char *mmi_graph_shape_text(const mmi_graph *g, mmi_value v, char text[128]);

/* During a run: the first element of a value. */
void *mmi_run_data(const mmi_run *run, mmi_value v);
float *mmi_run_f32(const mmi_run *run, mmi_value v);
const int32_t *mmi_run_i32(const mmi_run *run, mmi_value v);
void *mmi_run_shared(const mmi_run *run);            /* the node's shared scratch */
void *mmi_run_worker(const mmi_run *run, int worker); /* a worker's scratch */
void mmi_run_tasks(mmi_run *run, mmi_task_fn fn, void *arg, size_t count);

#endif
