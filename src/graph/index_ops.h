/* Ops that find indices, and rows by them.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_INDEX_OPS_H
#define MMI_INDEX_OPS_H

#include "graph.h"

/* The order of each row's elements: x [B, N], f32 or i32 of less than 1 << 24, gives i32 [B, N], the index of the smallest element first;
 * equal ones in their order, NaN last. Of an order itself: the places, its inverse. */
mmi_value mmi_argsort(mmi_graph *g, mmi_value x);

/* Rows of each sequence: x [B, N, C] and i32 ids [B, K] give [B, K, C]. An id outside 0..N-1 fails the run. */
mmi_value mmi_gather(mmi_graph *g, mmi_value x, mmi_value ids);

/* 1 where i32 x is at least `bound`, else 0: f32 of the same shape. */
mmi_value mmi_at_least(mmi_graph *g, mmi_value x, int64_t bound);

typedef enum {
    MMI_FIND_FIRST,   /* the first `token`, or the first of all where there is none */
    MMI_FIND_LARGEST, /* the first of the largest ids */
    MMI_FIND_LAST     /* the last token, whatever it is */
} mmi_find_rule;

/* Which token stands for its text: ids i32 [B, T] give [B, 1]; with segments (i32 offsets [n + 1], B is 1) each segment is a text,
 * and [1, n] counts from the row's beginning; an empty segment gives the token where it would begin, or the last. */
mmi_value mmi_find_token(mmi_graph *g, mmi_value ids, mmi_value segments, mmi_find_rule rule, int64_t token);

#endif
