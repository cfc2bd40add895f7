/* Ops that work element by element or row by row: sums, products, activations, norms, rotation.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_ROW_OPS_H
#define MMI_ROW_OPS_H

#include "graph.h"
#include "kernels.h"

/* a + b and a * b; b has a's shape (scalars too), or the shape of a's last dimensions and is repeated over the others. A vector weight
 * may stand for b. */
mmi_value mmi_add(mmi_graph *g, mmi_value a, mmi_value b);
mmi_value mmi_mul(mmi_graph *g, mmi_value a, mmi_value b);
mmi_value mmi_activate(mmi_graph *g, mmi_value x, mmi_activation act);
mmi_value mmi_scale(mmi_graph *g, mmi_value x, float s);

/* act(first half) * second half of the last dimension: [.., 2 F] -> [.., F] (GLU variants: arXiv:2002.05202). */
mmi_value mmi_gate(mmi_graph *g, mmi_value x, mmi_activation act);

mmi_value mmi_layer_norm(mmi_graph *g, mmi_value x, mmi_value w, mmi_value b, float eps); /* w, b: [C] or 0 */
mmi_value mmi_rms_norm(mmi_graph *g, mmi_value x, mmi_value w, float w_offset, float eps);
mmi_value mmi_l2_normalize(mmi_graph *g, mmi_value x); /* rows to unit length; a zero row stays */

/* Rotary embedding (arXiv:2104.09864). The table: positions i32 [B, T] and inverse frequencies f32 [half] (a weight) give
 * [B, T, 2, half], cosines then sines, times `scale`. Applying it to x [B, T, H, D] rotates the first 2 * half elements of
 * each head: pairs (i, i + half) when neox, else (2 i, 2 i + 1). */
mmi_value mmi_rope_table(mmi_graph *g, mmi_value positions, mmi_value inverse_frequencies, float scale);
/* The same, where frequencies [2, half] hold a row for texts of at most `context` tokens and one for longer ones. */
mmi_value mmi_rope_table_by_length(mmi_graph *g, mmi_value positions, mmi_value inverse_frequencies, int64_t context, float scale);
/* Positions [streams, B, T]: section s of the frequencies, sections[s] of them, turns by stream s (M-RoPE: arXiv:2409.12191, section 2.1). */
enum { MMI_ROPE_STREAMS = 3 }; /* at most */
mmi_value mmi_rope_table_streams(mmi_graph *g, mmi_value positions, mmi_value inverse_frequencies, const int64_t *sections, float scale);
mmi_value mmi_rope(mmi_graph *g, mmi_value x, mmi_value table, int neox);

#endif
