/* Attention, with and without a key/value cache.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_ATTENTION_OP_H
#define MMI_ATTENTION_OP_H

#include "graph.h"

typedef struct {
    float scale;    /* of q.k, usually 1 / sqrt(D) */
    float softcap;  /* 0: none; else c tanh(s / c) */
    int causal;     /* token t sees keys up to its own position; else all, what the cache holds and its whole run */
    int64_t window; /* 0: none; else the last `window` keys up to its own position */
    mmi_value bias;     /* 0, or f32 [B or 1, H or 1, Tq or 1, S], added to the scores; -inf hides */
    mmi_value distance; /* 0, or f32 [buckets, H]: a bias by the distance of key and query, as T5 has it (arXiv:1910.10683, section 2.1) */
    int64_t distance_most;      /* the distance from which the last bucket counts */
    int distance_both;          /* half of the buckets for keys behind the query */
    const char *weights, *mean_weights; /* names of outputs that the softmax is given as, without a cache: [B, H, Tq, S], and its mean over the heads
                                         * [B, Tq, S]; NULL: not */
    mmi_value segments; /* 0, or i32 offsets [n + 1] that rise from 0 to T: tokens attend within their segment only; B is 1 */
} mmi_attention_spec;

/* softmax(scale q k^T + bias) v, per head; H a multiple of K heads of keys (GQA: arXiv:2305.13245).
 * q [B, Tq, H, D], k [B, S, K, D], v [B, S, K, E] give [B, Tq, H E]. */
mmi_value mmi_attention(mmi_graph *g, mmi_value q, mmi_value k, mmi_value v, const mmi_attention_spec *spec);

/* The same over a cache: the run's cache of each sequence b holds `length` tokens; k and v [B, Tq, K, ..] of this layer are stored
 * behind them and q attends to all. The caller of the run reserved the room, and adds Tq to the lengths afterwards. */
mmi_value mmi_attention_cached(mmi_graph *g, size_t layer, mmi_value q, mmi_value k, mmi_value v, const mmi_attention_spec *spec);

/* Across to another sequence: keep its keys and values, [B, S, K, D], as `layer` of the run's cross caches, which grow to
 * the S tokens they then hold; later queries [B, Tq, H, D] attend to all that the cross caches hold. Of the specification the scale,
 * softcap and a bias with as many columns as they hold count. */
void mmi_cross_store(mmi_graph *g, size_t layer, mmi_value k, mmi_value v);
mmi_value mmi_attention_across(mmi_graph *g, size_t layer, mmi_value q, const mmi_attention_spec *spec);

/* A mask i32 [B, S], 0 where a key is hidden, as a bias [B, 1, 1, S]. */
mmi_value mmi_mask_bias(mmi_graph *g, mmi_value mask);

/* Who sees whom in a prefix language model (arXiv:1910.10683, section 3.2.1), as a bias [B, 1, T, T]: tokens of type 0 see each other, all see what is
 * before them, the last `window` of it where that is not 0. types i32 [B, T]; mask as above, or 0. */
mmi_value mmi_prefix_bias(mmi_graph *g, mmi_value types, mmi_value mask, int64_t window);

#endif
