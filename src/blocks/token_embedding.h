/* The sum of token, position and segment embeddings (BERT: arXiv:1810.04805, figure 2), normalized where asked. SPDX-License-Identifier: MIT */
#ifndef MMI_TOKEN_EMBEDDING_H
#define MMI_TOKEN_EMBEDDING_H

#include "norm.h"

typedef struct {
    mmi_value ids, table;            /* i32 [B, T], [V, C] */
    float scale;                     /* of a token's row, 0: none */
    mmi_value positions, position_table; /* i32 [B, T] and [P, C], or 0 */
    int64_t first_position;          /* the row of position 0 */
    mmi_value types, type_table;     /* i32 [B, T] and [S, C], or 0 for types: all are of type 0 */
    mmi_norm_spec norm;              /* of the sum; w 0: none */
} mmi_token_embedding_spec;

mmi_value mmi_token_embedding(mmi_graph *g, const mmi_token_embedding_spec *e); /* [B, T, C] */

#endif
