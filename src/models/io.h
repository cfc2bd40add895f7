/* The named inputs and outputs of one graph of a model, as its builder sees them. SPDX-License-Identifier: MIT */
#ifndef MMI_IO_H
#define MMI_IO_H

#include "attention_op.h"
#include "graph.h"
#include "model.h"

enum { MMI_IO_MAX = 32 };

typedef struct {
    const char *name;
    mmi_value value;
    int used; /* inputs: some builder asked for it; outputs: wanted is decided by mmi_io_wants */
} mmi_io_entry;

struct mmi_io {
    mmi_graph *g;
    const mm_model *model;
    int cached;          /* decode over the run's caches */
    int encode;          /* of a decoder with cross-attention: store the source's keys and values in the run's cross caches, and no more */
    int prefix;          /* with `cached`: the tokens of this run all see each other */
    int inner;           /* a part's: its outputs are values for the whole, not results */
    int last_only;       /* of the hidden states, only the last token's are needed for the logits */
    mmi_value counted;   /* i32 [B, K]: only these tokens' are, 0: all */
    mmi_value segments;  /* i32 [n + 1], texts one behind another in a batch of 1; 0: none */
    mmi_io_entry inputs[MMI_IO_MAX], outputs[MMI_IO_MAX];
    size_t n_inputs, n_outputs;
    const char *const *wanted; /* names of the outputs to make, NULL at the end; NULL: all */
    const char *const *watched; /* of a part too, what the whole's caller named: its attention is given by name; NULL: nothing */
    const char *side;    /* what the names of its attention begin with, up to a '_'; NULL: nothing */
};

mmi_value mmi_io_input(mmi_io *io, const char *name);   /* 0: not given */
mmi_value mmi_io_find_input(const mmi_io *io, const char *name); /* the same without taking it */
mmi_value mmi_io_require(mmi_io *io, const char *name, int32_t dtype, int32_t rank); /* fails the graph when absent or of another kind */
mmi_value mmi_io_optional(mmi_io *io, const char *name, int32_t dtype, int32_t rank); /* 0 when absent; fails when of another kind */
const void *mmi_io_values(mmi_io *io, const char *name); /* elements of an input that shape the graph; NULL: not known while it is built */
int mmi_io_wants(const mmi_io *io, const char *name);
void mmi_io_output(mmi_io *io, const char *name, mmi_value v); /* made contiguous; dropped when not wanted */
const char *mmi_io_asked(const mmi_io *io, const char *name); /* the name in `wanted`, NULL where it is not named there */
void mmi_io_hidden_state(mmi_io *io, int64_t k, mmi_value v); /* "hidden_states.<k>", only where `wanted` names it */
/* The attention of layer k (-1: of no layer) where `watched` names it: "attentions.<k>", or with the side before it and with "mean_" before that for
 * the mean over its heads. `kind` is "attentions", "cross_attentions", ...; those across to a source have no side where they are a decoder's. */
void mmi_io_watch(const mmi_io *io, const char *kind, int64_t k, mmi_attention_spec *spec);
mmi_value mmi_io_find_output(const mmi_io *io, const char *name);
int mmi_io_across(const mmi_io *io); /* a part that decodes over the caches: it attends to what the cross caches hold */
mmi_value mmi_io_last(const mmi_io *io, mmi_value x); /* x [B, T, C], or its last token's when io->last_only, or those that io->counted names */

/* Run part `index` of io's model within its graph: begin, give it inputs as it names them, build, and take its outputs by name. `wanted` as
 * in the structure; a decoder's part inherits the caches, last_only, counted and segments. */
void mmi_io_part(mmi_io *part, mmi_io *io, size_t index, const char *const *wanted);
void mmi_io_give(mmi_io *io, const char *name, mmi_value v); /* v 0: nothing */
void mmi_io_build(mmi_io *io);
void mmi_io_pass(mmi_io *io, const mmi_io *part); /* the part's outputs are the whole's */

mmi_value mmi_io_weight(mmi_io *io, int slot, int64_t layer); /* a weight as a graph value; 0 when absent */

#endif
