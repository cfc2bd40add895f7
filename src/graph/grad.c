/* What is given for a value, or for a view into it, waits in a list at the base until the walk reaches the node that made it: then
 * it is summed, views each at their place. What is given for a weight is added to its gradient at once.
 * SPDX-License-Identifier: MIT */
#include "grad.h"

#include <string.h>

#include "row_ops.h"
#include "shape_ops.h"
#include "size.h"

typedef struct {
    mmi_value view, dx; /* of the base or a view into it */
    size_t next;        /* in the list, from 1; 0: the last */
} contribution;

struct mmi_gradients {
    size_t n_values;       /* when the walk began; those behind are appended */
    char *wanted;          /* by value: it hangs on a trained weight */
    size_t *first, *last;  /* by base: its contributions */
    contribution *list;
    size_t n, capacity;
    /* Of checkpoints: */
    mmi_value *copy;       /* by value: what stands for it in the block that is computed again, 0: itself */
    mmi_value *original;   /* of appended values, by their number behind n_values: what they stand for */
    size_t n_original, original_capacity;
};

/* What a value that was computed again stands for. */
static mmi_value original_of(const mmi_graph *g, mmi_value v)
{
    const struct mmi_gradients *p = g->gradients;
    size_t i = (size_t)v - p->n_values;
    return (size_t)v >= p->n_values && i < p->n_original && p->original[i] ? p->original[i] : v;
}

int mmi_gradient_wanted(const mmi_graph *g, mmi_value v)
{
    if (!v || g->status) return 0;
    v = original_of(g, v);
    return (size_t)v < g->gradients->n_values && g->gradients->wanted[g->values[v].base];
}

/* dx into the gradient of a weight, or of a view into it. */

typedef struct {
    const mmi_value_info *v; /* of the weight or the view */
    const float *dx;
    float *to;
    size_t rows, rows_per_task;
} accumulate_job;

static void accumulate_task(void *arg, size_t task, int worker)
{
    const accumulate_job *j = arg;
    const mmi_value_info *v = j->v;
    int64_t cols = v->rank ? v->shape[v->rank - 1] : 1, step = v->rank ? v->stride[v->rank - 1] : 1;
    (void)worker;

    for (size_t r = task * j->rows_per_task; r < (task + 1) * j->rows_per_task && r < j->rows; r++) {
        const float *from = j->dx + (int64_t)r * cols;
        int64_t at = 0, rest = (int64_t)r;
        for (int32_t d = v->rank - 2; d >= 0; rest /= v->shape[d--]) at += rest % v->shape[d] * v->stride[d];
        for (int64_t c = 0; c < cols; c++) j->to[at + c * step] += from[c];
    }
}

/* Whether two elements of a view may be one: then its rows are no independent tasks. */
static int overlaps(const mmi_value_info *v)
{
    for (int32_t d = 0; d < v->rank; d++)
        if (!v->stride[d] && v->shape[d] > 1) return 1;
    return 0;
}

static void accumulate(mmi_run *run, const mmi_value_info *v, const float *dx, float *to)
{
    accumulate_job j = {v, dx, to, 1, 1};
    size_t cols = v->rank ? (size_t)v->shape[v->rank - 1] : 1;

    for (int32_t d = 0; d < v->rank - 1; d++) j.rows *= (size_t)v->shape[d];
    j.rows_per_task = overlaps(v) ? j.rows : 1 + 16384 / (cols + 1);
    if (j.rows) mmi_run_tasks(run, accumulate_task, &j, (j.rows + j.rows_per_task - 1) / j.rows_per_task);
}

static mm_status run_accumulate(mmi_run *run, const mmi_node *n)
{
    const mmi_value_info *v = mmi_graph_look(run->graph, n->inputs[1]);
    accumulate(run, v, mmi_run_f32(run, n->inputs[0]), v->weight->gradient + v->offset);
    return MM_OK;
}

static const mmi_op accumulate_op = {"accumulate", run_accumulate, NULL, 0, NULL};

static void add_to_weight(mmi_graph *g, mmi_value weight, mmi_value dx)
{
    mmi_value in[2] = {mmi_contiguous(g, dx), weight};
    mmi_node *n = mmi_graph_node(g, &accumulate_op, in, 2, MM_DTYPE_F32, 0, NULL);
    if (n) n->effect = 1;
}

static void refuse_shape(mmi_graph *g, mmi_value v, mmi_value dx)
{
    char s[128], t[128];
    mmi_graph_fail(g, MM_E_INTERNAL, "a gradient %s for a value %s", mmi_graph_shape_text(g, dx, s), mmi_graph_shape_text(g, v, t));
}

void mmi_gradient_add(mmi_graph *g, mmi_value v, mmi_value dx)
{
    struct mmi_gradients *p = g->gradients;
    const mmi_value_info *to;
    size_t base;

    if (!dx || !mmi_gradient_wanted(g, v)) return;
    v = original_of(g, v);
    to = mmi_graph_look(g, v);
    if (to->rank != mmi_graph_look(g, dx)->rank || memcmp(to->shape, mmi_graph_look(g, dx)->shape, (size_t)to->rank * sizeof *to->shape)) {
        refuse_shape(g, v, dx);
        return;
    }
    base = (size_t)to->base;
    if (g->values[base].kind == MMI_VALUE_WEIGHT) {
        add_to_weight(g, v, dx);
        return;
    }
    if (mmi_grow(g->ctx, (void **)&p->list, &p->capacity, p->n, sizeof *p->list)) {
        g->status = MM_E_NOMEM;
        return;
    }
    p->list[p->n++] = (contribution){v, dx, 0};
    if (p->last[base]) {
        p->list[p->last[base] - 1].next = p->n;
    } else {
        p->first[base] = p->n;
    }
    p->last[base] = p->n;
}

/* Gradients of views, each to its place in the base's: inputs are those, then views into the output that say where. i[0]: they cover it
 * without overlap. */

static mm_status run_scatter(mmi_run *run, const mmi_node *n)
{
    size_t count = n->n_inputs / 2, elements = (size_t)mmi_graph_elements(run->graph, n->output);

    if (!n->i[0]) memset(mmi_run_f32(run, n->output), 0, elements * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        const mmi_value_info *place = mmi_graph_look(run->graph, n->inputs[count + i]);
        const float *dx = mmi_run_f32(run, n->inputs[i]);
        if (n->i[0]) {
            mmi_value_info from = *place; /* contiguous in the same shape */
            for (int32_t d = from.rank - 1; d >= 0; d--) from.stride[d] = d == from.rank - 1 ? 1 : from.stride[d + 1] * from.shape[d + 1];
            mmi_copy_strided(run, &from, dx, mmi_run_f32(run, n->inputs[count + i]), place->stride);
        } else {
            accumulate(run, place, dx, mmi_run_f32(run, n->inputs[count + i]));
        }
    }
    return MM_OK;
}

static const mmi_op scatter_op = {"scatter", run_scatter, NULL, 0, NULL};

/* Whether the views of a list are the base cut along one axis: each element is in one of them. */
static int tile_base(const mmi_graph *g, const struct mmi_gradients *p, size_t base)
{
    const mmi_value_info *first = mmi_graph_look(g, p->list[p->first[base] - 1].view);
    int64_t total = 0, covered = 0;
    int32_t axis = -1;
    size_t count = 0;

    for (size_t i = p->first[base]; i; i = p->list[i - 1].next, count++) {
        const mmi_value_info *v = mmi_graph_look(g, p->list[i - 1].view);
        if (v->rank != first->rank || memcmp(v->stride, first->stride, (size_t)v->rank * sizeof *v->stride) || overlaps(v)) return 0;
        total += mmi_graph_elements(g, p->list[i - 1].view);
    }
    if (count < 2 || total != mmi_graph_elements(g, (mmi_value)base)) return 0;
    for (int32_t a = 0; a < first->rank && axis < 0; a++) { /* the axis along which the one at offset 0 is followed by another */
        covered = 0;
        for (size_t steps = 0; steps < count; steps++)
            for (size_t i = p->first[base]; i; i = p->list[i - 1].next) {
                const mmi_value_info *v = mmi_graph_look(g, p->list[i - 1].view);
                int same = 1;
                for (int32_t d = 0; d < v->rank; d++) same &= d == a || v->shape[d] == first->shape[d];
                if (same && v->offset == covered * v->stride[a]) {
                    covered += v->shape[a];
                    total -= mmi_graph_elements(g, p->list[i - 1].view);
                    break;
                }
            }
        if (total == 0) axis = a;
        else total = mmi_graph_elements(g, (mmi_value)base);
    }
    return axis >= 0;
}

static mmi_value scatter(mmi_graph *g, size_t base, int tiles)
{
    struct mmi_gradients *p = g->gradients;
    int64_t shape[MMI_MAX_RANK];
    size_t count = 0, i = 0;
    mmi_value *in, out = 0;
    mmi_node *n;

    for (size_t c = p->first[base]; c; c = p->list[c - 1].next) count++;
    in = mmi_zalloc_array(g->ctx, 2 * count, sizeof *in);
    if (!in) {
        g->status = MM_E_NOMEM;
        return 0;
    }
    for (size_t c = p->first[base]; c; c = p->list[c - 1].next) in[i++] = mmi_contiguous(g, p->list[c - 1].dx);
    memcpy(shape, g->values[base].shape, sizeof shape);
    n = mmi_graph_node(g, &scatter_op, in, 2 * count, MM_DTYPE_F32, g->values[base].rank, shape);
    if (n) {
        n->i[0] = tiles;
        out = n->output;
    }
    i = count;
    for (size_t c = p->first[base]; n && c; c = p->list[c - 1].next) {
        mmi_value_info v = *mmi_graph_look(g, p->list[c - 1].view);
        mmi_value place = mmi_graph_view(g, out, v.rank, v.shape, v.stride, v.offset);
        g->nodes[g->n_nodes - 1].inputs[i++] = place;
    }
    mmi_free(in);
    return g->status ? 0 : out;
}

static int is_whole(const mmi_graph *g, mmi_value view)
{
    const mmi_value_info *v = mmi_graph_look(g, view);
    return v->offset == 0 && mmi_graph_contiguous(g, view) && mmi_graph_elements(g, view) == mmi_graph_elements(g, v->base);
}

/* The sum of what a base was given; 0: nothing. */
static mmi_value gather_up(mmi_graph *g, size_t base)
{
    struct mmi_gradients *p = g->gradients;
    mmi_value sum = 0, parts = 0;
    size_t whole = 0, count = 0, previous = 0;

    for (size_t c = p->first[base]; c; c = p->list[c - 1].next, count++) whole += (size_t)is_whole(g, p->list[c - 1].view);
    for (size_t c = p->first[base]; c; c = p->list[c - 1].next) {
        mmi_value_info shape;
        mmi_value dx = p->list[c - 1].dx;
        if (!is_whole(g, p->list[c - 1].view)) {
            if (previous) { /* the list of the others stays */
                p->list[previous - 1].next = c;
            } else {
                p->first[base] = c;
            }
            previous = c;
            continue;
        }
        shape = *mmi_graph_look(g, (mmi_value)base);
        if (mmi_graph_look(g, dx)->rank != shape.rank || memcmp(mmi_graph_look(g, dx)->shape, shape.shape, (size_t)shape.rank * sizeof *shape.shape))
            dx = mmi_reshape(g, dx, shape.rank, shape.shape);
        sum = !sum ? dx : mmi_add(g, sum, dx);
        if (g->status) return 0;
    }
    if (count == whole) return sum;
    p->list[previous - 1].next = 0;
    parts = scatter(g, base, tile_base(g, p, base));
    return sum ? mmi_add(g, parts, sum) : parts;
}

/* Values that hang on a trained weight, in the order of the nodes. */
static void find_wanted(mmi_graph *g)
{
    char *wanted = g->gradients->wanted;

    for (size_t v = 1; v < g->n_values; v++) wanted[v] = g->values[v].kind == MMI_VALUE_WEIGHT && g->values[v].weight->gradient != NULL;
    for (size_t n = 0; n < g->n_nodes && !g->status; n++) {
        const mmi_node *node = &g->nodes[n];
        int any = 0;
        for (size_t i = 0; i < node->n_inputs; i++) any |= node->inputs[i] && wanted[g->values[node->inputs[i]].base];
        if (!any || g->values[node->output].dtype != MM_DTYPE_F32) continue;
        if (node->op->gradient) wanted[node->output] = 1;
        else mmi_graph_fail(g, MM_E_UNSUPPORTED, "%s has no gradient, and a trained weight is behind it", node->op->name);
    }
}

/* Checkpoints: the nodes of a block once more, behind all that is there. Values that other blocks read stay as they are. */

static void note_original(mmi_graph *g, mmi_value copy, mmi_value original)
{
    struct mmi_gradients *p = g->gradients;
    size_t i = (size_t)copy - p->n_values;

    while (p->n_original <= i) {
        if (mmi_grow(g->ctx, (void **)&p->original, &p->original_capacity, p->n_original, sizeof *p->original)) {
            g->status = MM_E_NOMEM;
            return;
        }
        p->original[p->n_original++] = 0;
    }
    p->original[i] = original;
    p->copy[original] = copy;
}

/* The value that stands for v in the block that is computed again; a view into a copied base is made when it is first asked for. */
static mmi_value again(mmi_graph *g, mmi_value v)
{
    struct mmi_gradients *p = g->gradients;
    mmi_value_info i;
    mmi_value copy;

    if (!v || g->status) return v;
    i = *mmi_graph_look(g, v);
    if (i.base == v || !p->copy[i.base]) return p->copy[v] ? p->copy[v] : v;
    if (p->copy[v]) return p->copy[v];
    copy = mmi_graph_view(g, p->copy[i.base], i.rank, i.shape, i.stride, i.offset);
    if (copy) note_original(g, copy, v);
    return copy;
}

static void compute_again(mmi_graph *g, size_t from, size_t to, const char *read_elsewhere)
{
    mmi_value in[64];

    for (size_t n = from; n < to && !g->status; n++) {
        mmi_node node = g->nodes[n];
        mmi_value_info out = g->values[node.output];
        mmi_node *copy;
        if (node.effect || read_elsewhere[node.output] || !g->gradients->wanted[node.output] || node.n_inputs > sizeof in / sizeof *in) continue;
        for (size_t i = 0; i < node.n_inputs; i++) in[i] = again(g, node.inputs[i]);
        copy = mmi_graph_node(g, node.op, in, node.n_inputs, out.dtype, out.rank, out.shape);
        if (!copy) return;
        memcpy(copy->i, node.i, sizeof node.i);
        memcpy(copy->f, node.f, sizeof node.f);
        note_original(g, copy->output, node.output);
    }
}

/* By value: a node outside of [from, to) reads it, or it is an output. */
static void find_read_elsewhere(const mmi_graph *g, size_t n_nodes, size_t from, size_t to, char *read)
{
    memset(read, 0, g->gradients->n_values);
    for (size_t v = 1; v < g->gradients->n_values; v++)
        if (g->values[v].is_output) read[g->values[v].base] = 1;
    for (size_t n = 0; n < n_nodes; n++)
        for (size_t i = 0; i < g->nodes[n].n_inputs && (n < from || n >= to); i++)
            if (g->nodes[n].inputs[i]) read[g->values[g->nodes[n].inputs[i]].base] = 1;
}

/* The rule of node n; `in` has room for its inputs. */
static void differentiate(mmi_graph *g, size_t n, mmi_value *in)
{
    mmi_node node = g->nodes[n];
    mmi_value dy;

    if (!g->gradients->wanted[node.output] || !g->gradients->first[node.output]) return;
    dy = gather_up(g, (size_t)node.output);
    for (size_t i = 0; i < node.n_inputs; i++) in[i] = again(g, node.inputs[i]);
    node.inputs = in;
    node.output = again(g, node.output);
    if (!g->status) node.op->gradient(g, &node, dy);
}

static void walk(mmi_graph *g, int recompute)
{
    size_t n_nodes = g->n_nodes, most = 0, end = n_nodes, block = recompute ? g->n_boundaries : 0;
    mmi_value *in;
    char *read = recompute ? mmi_alloc(g->ctx, g->n_values) : NULL;

    for (size_t n = 0; n < n_nodes; n++) most = mmi_size_max(most, g->nodes[n].n_inputs);
    in = mmi_alloc_array(g->ctx, most, sizeof *in);
    if (!in || (recompute && !read)) g->status = MM_E_NOMEM;
    while (end > 0 && !g->status) {
        size_t from = block ? g->boundaries[--block] : 0;
        if (recompute && end < n_nodes && from < end) { /* what is behind the last boundary is used at once */
            find_read_elsewhere(g, n_nodes, from, end, read);
            compute_again(g, from, end, read);
        }
        for (size_t n = end; n-- > from && !g->status;) differentiate(g, n, in);
        if (!recompute || !from) break;
        end = from;
    }
    mmi_free(in);
    mmi_free(read);
}

void mmi_graph_gradients(mmi_graph *g, mmi_value loss, float scale, int recompute)
{
    struct mmi_gradients p = {.n_values = g->n_values};
    int64_t shape[MMI_MAX_RANK];
    void *one = NULL;
    mmi_value seed;

    if (g->status) return;
    if (mmi_graph_elements(g, loss) != 1) {
        mmi_graph_fail(g, MM_E_INTERNAL, "the gradient of a loss that is no scalar");
        return;
    }
    p.wanted = mmi_zalloc(g->ctx, p.n_values);
    p.first = mmi_zalloc_array(g->ctx, p.n_values, sizeof *p.first);
    p.last = mmi_zalloc_array(g->ctx, p.n_values, sizeof *p.last);
    p.copy = mmi_zalloc_array(g->ctx, p.n_values, sizeof *p.copy);
    if (!p.wanted || !p.first || !p.last || !p.copy) {
        g->status = MM_E_NOMEM;
        goto cleanup;
    }
    g->gradients = &p;
    find_wanted(g);
    if (!g->status && !p.wanted[g->values[loss].base]) mmi_graph_fail(g, MM_E_ARGUMENT, "the loss hangs on no weight that is trained");
    memcpy(shape, g->values[loss].shape, sizeof shape);
    seed = mmi_graph_constant(g, MM_DTYPE_F32, g->values[loss].rank, shape, &one);
    if (one) *(float *)one = scale;
    mmi_gradient_add(g, loss, seed);
    if (!g->status) walk(g, recompute);
    g->gradients = NULL;
cleanup:
    mmi_free(p.wanted);
    mmi_free(p.first);
    mmi_free(p.last);
    mmi_free(p.list);
    mmi_free(p.copy);
    mmi_free(p.original);
}
