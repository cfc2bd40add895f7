/* SPDX-License-Identifier: MIT */
#include "token_embedding.h"

#include "row_ops.h"
#include "shape_ops.h"

mmi_value mmi_token_embedding(mmi_graph *g, const mmi_token_embedding_spec *e)
{
    mmi_value x = mmi_lookup(g, e->ids, e->table);
    if (e->type_table) x = mmi_add(g, x, mmi_lookup(g, e->types, e->type_table));
    if (e->position_table) x = mmi_add(g, x, mmi_lookup(g, e->positions, e->position_table));
    return x;
}
