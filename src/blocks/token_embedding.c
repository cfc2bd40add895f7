/* SPDX-License-Identifier: MIT */
#include "token_embedding.h"

#include "dropout_op.h"
#include "row_ops.h"
#include "shape_ops.h"

mmi_value mmi_token_embedding(mmi_graph *g, const mmi_token_embedding_spec *e)
{
    mmi_value x = mmi_lookup(g, e->ids, e->table);
    if (e->scale != 0) x = mmi_scale(g, x, e->scale);
    if (e->type_table && e->types) {
        x = mmi_add(g, x, mmi_lookup(g, e->types, e->type_table));
    } else if (e->type_table) {
        x = mmi_add(g, x, mmi_select(g, mmi_weight_value(g, e->type_table), 0, 0));
    }
    if (e->position_table) x = mmi_add(g, x, mmi_lookup_from(g, e->positions, e->position_table, e->first_position));
    if (e->norm.w) x = mmi_norm(g, x, &e->norm);
    return mmi_dropout(g, x, g->dropout.blocks);
}
