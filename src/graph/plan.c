/* First fit over the values that are alive, in execution order: graphs are chains of blocks, so few values live at a time.
 * SPDX-License-Identifier: MIT */
#include "plan.h"

#include <limits.h>
#include <string.h>

#include "size.h"

enum { ALIGN = 64 };

typedef struct {
    size_t place, bytes;
    int last_use;
} living;

static size_t value_bytes(const mmi_graph *g, mmi_value v)
{
    size_t n = (size_t)mmi_graph_elements(g, v) * 4; /* f32 or i32; new_value bounded the count */
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* Nodes that no output and no effect depends on go: a builder may offer more than this run wants. */
static mm_status drop_unread(mmi_graph *g)
{
    char *read = mmi_zalloc(g->ctx, g->n_values);
    size_t kept = g->n_nodes;

    if (!read) return MM_E_NOMEM;
    for (size_t v = 1; v < g->n_values; v++)
        if (g->values[v].is_output) read[g->values[v].base] = 1;
    for (size_t n = g->n_nodes; n-- > 0;) {
        mmi_node node = g->nodes[n];
        if (!node.effect && !read[node.output]) {
            mmi_free(node.inputs);
            continue;
        }
        for (size_t i = 0; i < node.n_inputs; i++)
            if (node.inputs[i]) read[g->values[node.inputs[i]].base] = 1;
        g->nodes[--kept] = node;
    }
    g->n_nodes -= kept;
    if (g->n_nodes) memmove(g->nodes, g->nodes + kept, g->n_nodes * sizeof *g->nodes);
    mmi_free(read);
    return MM_OK;
}

static void find_last_uses(mmi_graph *g)
{
    for (size_t n = 0; n < g->n_nodes; n++)
        for (size_t i = 0; i < g->nodes[n].n_inputs; i++)
            if (g->nodes[n].inputs[i]) g->values[g->values[g->nodes[n].inputs[i]].base].last_use = (int)n;
    for (size_t v = 1; v < g->n_values; v++)
        if (g->values[v].is_output) g->values[g->values[v].base].last_use = INT_MAX;
}

/* Drop what died before node n from the list, which is sorted by place. */
static size_t bury(living *list, size_t count, int n)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (list[i].last_use >= n) list[kept++] = list[i];
    return kept;
}

static size_t first_fit(const living *list, size_t count, size_t bytes, size_t *index)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (list[i].place - at >= bytes) {
            *index = i;
            return at;
        }
        at = list[i].place + list[i].bytes;
    }
    *index = count;
    return at;
}

/* Input 0's living entry when node n may write over it. */
static living *inherited(const mmi_graph *g, int n, living *list, size_t count)
{
    const mmi_node *node = &g->nodes[n];
    const mmi_value_info *in;

    if (!node->op->in_place || !node->inputs[0]) return NULL;
    in = &g->values[node->inputs[0]];
    if (in->kind != MMI_VALUE_NODE || in->last_use != n || value_bytes(g, node->inputs[0]) != value_bytes(g, node->output)) return NULL;
    for (size_t i = 1; i < node->n_inputs; i++) /* another input that looks into the same memory would be overwritten */
        if (node->inputs[i] && g->values[node->inputs[i]].base == in->base && node->inputs[i] != node->inputs[0]) return NULL;
    for (size_t i = 0; i < count; i++)
        if (list[i].place == in->place) return &list[i];
    return NULL;
}

mm_status mmi_graph_plan(mmi_graph *g)
{
    living *list;
    size_t count = 0;

    if (g->status) return g->status;
    if (drop_unread(g)) return g->status = MM_E_NOMEM;
    find_last_uses(g);
    list = mmi_alloc_array(g->ctx, g->n_nodes + 1, sizeof *list);
    if (!list) return MM_E_NOMEM;
    for (size_t n = 0; n < g->n_nodes; n++) {
        mmi_node *node = &g->nodes[n];
        mmi_value_info *out = &g->values[node->output];
        mmi_scratch scratch = {0, 0};
        size_t bytes = value_bytes(g, node->output), index = 0, end = 0;
        living *old;

        if (out->last_use < 0) out->last_use = (int)n; /* nobody reads it; its memory is still written */
        count = bury(list, count, (int)n);
        old = inherited(g, (int)n, list, count);
        if (old) {
            out->place = old->place;
            old->last_use = out->last_use;
        } else {
            out->place = first_fit(list, count, bytes, &index);
            memmove(list + index + 1, list + index, (count - index) * sizeof *list);
            list[index] = (living){out->place, bytes, out->last_use};
            count++;
            if (mmi_size_add(out->place, bytes, &end)) {
                mmi_free(list);
                return g->status = mmi_fail(g->ctx, MM_E_OVERFLOW, "the activations of the graph do not fit");
            }
            g->arena_bytes = mmi_size_max(g->arena_bytes, end);
        }
        if (node->op->scratch) node->op->scratch(g, node, &scratch);
        g->shared_bytes = mmi_size_max(g->shared_bytes, scratch.shared);
        g->worker_bytes = mmi_size_max(g->worker_bytes, (scratch.worker + ALIGN - 1) / ALIGN * ALIGN);
    }
    mmi_free(list);
    return MM_OK;
}
