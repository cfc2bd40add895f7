/* SPDX-License-Identifier: MIT */
#include "io.h"

#include <stdio.h>
#include <string.h>

#include "index_ops.h"
#include "shape_ops.h"

mmi_value mmi_io_input(mmi_io *io, const char *name)
{
    for (size_t i = 0; i < io->n_inputs; i++)
        if (!strcmp(io->inputs[i].name, name)) {
            io->inputs[i].used = 1;
            return io->inputs[i].value;
        }
    return 0;
}

mmi_value mmi_io_find_input(const mmi_io *io, const char *name)
{
    for (size_t i = 0; i < io->n_inputs; i++)
        if (!strcmp(io->inputs[i].name, name)) return io->inputs[i].value;
    return 0;
}

mmi_value mmi_io_optional(mmi_io *io, const char *name, int32_t dtype, int32_t rank)
{
    mmi_value v = mmi_io_input(io, name);
    const mmi_value_info *i;

    if (!v || io->g->status) return 0;
    i = mmi_graph_look(io->g, v);
    if (i->dtype != dtype) return mmi_graph_fail(io->g, MM_E_DTYPE, "input %s must be %s", name, dtype == MM_DTYPE_F32 ? "floating point" : "integer");
    if (i->rank != rank) return mmi_graph_fail(io->g, MM_E_SHAPE, "input %s has %d dimensions, expected %d", name, i->rank, rank);
    return v;
}

mmi_value mmi_io_require(mmi_io *io, const char *name, int32_t dtype, int32_t rank)
{
    mmi_value v = mmi_io_optional(io, name, dtype, rank);
    if (v || io->g->status) return v;
    return mmi_graph_fail(io->g, MM_E_ARGUMENT, "input %s is missing", name);
}

const void *mmi_io_values(mmi_io *io, const char *name)
{
    mmi_value v = mmi_io_input(io, name);
    io->g->by_value = 1;
    return v && !io->g->status ? mmi_graph_look(io->g, v)->data : NULL;
}

int mmi_io_wants(const mmi_io *io, const char *name)
{
    return !io->wanted || mmi_io_asked(io, name);
}

void mmi_io_output(mmi_io *io, const char *name, mmi_value v)
{
    if (!mmi_io_wants(io, name)) return;
    if (!io->inner) v = mmi_contiguous(io->g, v);
    if (io->g->status || !v) return;
    if (io->n_outputs == MMI_IO_MAX) {
        mmi_graph_fail(io->g, MM_E_INTERNAL, "more than %d outputs", MMI_IO_MAX);
        return;
    }
    if (!io->inner) mmi_graph_output(io->g, name, v);
    io->outputs[io->n_outputs++] = (mmi_io_entry){name, v, 1};
}

const char *mmi_io_asked(const mmi_io *io, const char *name)
{
    for (const char *const *w = io->wanted; w && *w; w++)
        if (!strcmp(*w, name)) return *w;
    return NULL;
}

void mmi_io_hidden_state(mmi_io *io, int64_t k, mmi_value v)
{
    char name[40];
    const char *asked;

    (void)snprintf(name, sizeof name, "hidden_states.%lld", (long long)k);
    asked = mmi_io_asked(io, name);
    if (asked) mmi_io_output(io, asked, v); /* the caller's name, which outlives the graph */
}

void mmi_io_watch(const mmi_io *io, const char *kind, int64_t k, mmi_attention_spec *spec)
{
    const char *side = io->side && !(!strcmp(io->side, "decoder") && *kind == 'c') ? io->side : "";
    char name[80], number[24] = "";

    if (!io->watched) return;
    if (k >= 0) (void)snprintf(number, sizeof number, ".%lld", (long long)k);
    (void)snprintf(name, sizeof name, "mean_%.*s%s%s%s", (int)strcspn(side, "_"), side, *side ? "_" : "", kind, number);
    for (const char *const *w = io->watched; *w; w++) {
        if (!strcmp(*w, name)) spec->mean_weights = *w;
        if (!strcmp(*w, name + strlen("mean_"))) spec->weights = *w;
    }
}

mmi_value mmi_io_find_output(const mmi_io *io, const char *name)
{
    for (size_t i = 0; i < io->n_outputs; i++)
        if (!strcmp(io->outputs[i].name, name)) return io->outputs[i].value;
    return 0;
}

int mmi_io_across(const mmi_io *io) { return io->cached && (io->inner || io->model->info.fusion == MMI_FUSION_CROSS); }

mmi_value mmi_io_last(const mmi_io *io, mmi_value x)
{
    if (io->counted && x && !io->g->status) return mmi_gather(io->g, x, io->counted);
    return io->last_only && x && !io->g->status ? mmi_slice(io->g, x, 1, mmi_graph_look(io->g, x)->shape[1] - 1, 1) : x;
}

void mmi_io_part(mmi_io *part, mmi_io *io, size_t index, const char *const *wanted)
{
    const mmi_part_row *row = &io->model->arch->parts[index];

    memset(part, 0, sizeof *part);
    part->g = io->g;
    part->model = io->model->parts[index];
    part->cached = io->cached;
    part->encode = io->encode;
    part->prefix = io->prefix;
    part->last_only = io->last_only;
    part->counted = io->model->arch->parts[index].role == MMI_ROLE_DECODER ? io->counted : 0;
    part->segments = io->segments;
    part->wanted = wanted;
    part->watched = io->watched;
    part->side = row->role == MMI_ROLE_DECODER && strchr(row->config, '_') ? NULL : row->config; /* the text of "text_config" speaks for the whole */
    part->inner = 1;
}

void mmi_io_give(mmi_io *io, const char *name, mmi_value v)
{
    if (!v) return;
    if (io->n_inputs == MMI_IO_MAX) {
        mmi_graph_fail(io->g, MM_E_INTERNAL, "more than %d inputs", MMI_IO_MAX);
        return;
    }
    io->inputs[io->n_inputs++] = (mmi_io_entry){name, v, 0};
}

void mmi_io_build(mmi_io *io)
{
    if (!io->g->status) io->model->arch->build(io);
}

void mmi_io_pass(mmi_io *io, const mmi_io *part)
{
    for (size_t i = 0; i < part->n_outputs; i++) mmi_io_output(io, part->outputs[i].name, part->outputs[i].value);
}

mmi_value mmi_io_weight(mmi_io *io, int slot, int64_t layer) { return mmi_graph_weight(io->g, mmi_model_weight(io->model, slot, layer)); }
