/* SPDX-License-Identifier: MIT */
#include "step_graph.h"

#include <string.h>

#include "grad.h"
#include "plan.h"
#include "run.h"

/* Whether the graph was made for inputs of these names, types and shapes. */
static int fits(const mmi_step_graph *e, const mmi_objective_spec *spec, const mm_tensor_map *batch, int trains, float scale)
{
    const mmi_io *io = &e->feed.io;

    if (!io->g || io->g->by_value || e->spec != spec || e->trains != trains || (trains && e->scale != scale) || e->feed.given != mm_tensor_map_count(batch)) return 0;
    for (size_t i = 0; i < e->feed.given; i++) {
        const mm_tensor *t = mm_tensor_map_at(batch, i);
        const mmi_value_info *v = mmi_graph_look(io->g, io->inputs[i].value);
        const int32_t dtype = mm_tensor_dtype(t);
        const int integer = dtype == MM_DTYPE_I32 || dtype == MM_DTYPE_I64 || dtype == MM_DTYPE_U8;
        if (strcmp(io->inputs[i].name, mm_tensor_map_name(batch, i)) || (v->dtype == MM_DTYPE_I32) != integer || v->rank != mm_tensor_rank(t) ||
            memcmp(v->shape, mm_tensor_shape(t), (size_t)v->rank * sizeof *v->shape))
            return 0;
    }
    return 1;
}

static void drop(mmi_step_graph *e)
{
    mmi_feed_end(&e->feed);
    memset(e, 0, sizeof *e);
}

static int is_used(const mmi_io *io, const char *name)
{
    for (size_t i = 0; i < io->n_inputs; i++)
        if (!strcmp(io->inputs[i].name, name)) return io->inputs[i].used;
    return 0;
}

/* Of a model with several heads one need not look at all that an example has; but what says how the rest is to be read must not be passed over. */
static int may_be_unused(const mmi_io *io, const char *name)
{
    static const char *const whole[] = {"input_ids", "pixel_values", "pixel_values_videos", "input_features"};

    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (!strcmp(name, whole[i])) return 1;
    return !strcmp(name, "attention_mask") && !is_used(io, "input_ids");
}

static mm_status build(mm_context *ctx, const mmi_step_graphs *s, const mmi_objective_spec *spec, const mm_tensor_map *batch, int trains, float scale,
                       mmi_step_graph *e)
{
    mmi_io *io = &e->feed.io;
    mm_status st = mmi_feed_begin(ctx, s->model, batch, &e->feed);

    if (st) return st;
    e->spec = spec;
    e->trains = trains;
    e->scale = scale;
    io->g->trains = trains;
    io->g->dropout = s->dropout;
    io->segments = mmi_io_input(io, "segments");
    e->loss = mmi_objective_loss(io, spec, trains ? NULL : &e->compared);
    if (trains) mmi_graph_gradients(io->g, e->loss, scale, s->recompute);
    if ((st = mmi_graph_plan(io->g))) return st;
    for (size_t i = 0; i < e->feed.given; i++)
        if (!io->inputs[i].used && !may_be_unused(io, io->inputs[i].name))
            return mmi_fail(ctx, MM_E_ARGUMENT, "%s does not take an input %s", s->model->class_name, io->inputs[i].name);
    return MM_OK;
}

static mmi_step_graph *oldest(mmi_step_graphs *s)
{
    mmi_step_graph *e = s->graphs;
    for (size_t i = 1; i < MMI_STEP_GRAPHS; i++)
        if (s->graphs[i].used < e->used) e = &s->graphs[i];
    return e;
}

mm_status mmi_step_graph_run(mm_context *ctx, mmi_step_graphs *s, const mmi_objective_spec *spec, const mm_tensor_map *batch, int trains, float scale,
                             mmi_step_result *out)
{
    const mmi_run_values values = {.dropout_key = s->dropout_key};
    mmi_step_graph *e = NULL;
    mm_status st;

    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < MMI_STEP_GRAPHS && !e; i++)
        if (fits(&s->graphs[i], spec, batch, trains, scale)) e = &s->graphs[i];
    if (e) {
        st = mmi_feed_fill(ctx, batch, &e->feed);
    } else {
        e = oldest(s);
        drop(e);
        st = build(ctx, s, spec, batch, trains, scale, e);
        if (!st) mmi_graph_use_memory(e->feed.io.g, &s->memory);
    }
    if (!st) st = mmi_graph_run(e->feed.io.g, &values);
    if (st) {
        drop(e); /* its inputs may be half filled */
        return st;
    }
    e->used = ++s->uses;
    out->loss = *(const float *)mmi_graph_result(e->feed.io.g, e->loss);
    if (e->compared) {
        const mmi_value_info *v = mmi_graph_look(e->feed.io.g, e->compared);
        out->compared = mmi_graph_result(e->feed.io.g, e->compared);
        out->cols = (size_t)v->shape[v->rank - 1];
        out->rows = (size_t)mmi_graph_elements(e->feed.io.g, e->compared) / out->cols;
    }
    return MM_OK;
}

void mmi_step_graphs_clear(mmi_step_graphs *s)
{
    for (size_t i = 0; i < MMI_STEP_GRAPHS; i++) drop(&s->graphs[i]);
    mmi_graph_memory_clear(&s->memory);
}
