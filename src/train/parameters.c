/* SPDX-License-Identifier: MIT */
#include "parameters.h"

#include <math.h>
#include <string.h>

#include "dtype.h"
#include "param_groups.h"
#include "size.h"

typedef struct {
    mmi_weight **items;
    size_t count, capacity;
} weight_list;

static mm_status add(mm_context *ctx, weight_list *list, mmi_weight *w)
{
    if (mmi_grow(ctx, (void **)&list->items, &list->capacity, list->count, sizeof *list->items)) return MM_E_NOMEM;
    list->items[list->count++] = w;
    return MM_OK;
}

/* Weights that can be changed: floats of our own, or of the base's that an adapted model shares. */
static mm_status collect(mm_context *ctx, mm_model *m, weight_list *list)
{
    const mm_model *owner = m->base ? m->base : m;
    mm_status st = MM_OK;

    for (size_t i = 0; i < m->n_weights && !st; i++)
        if (mmi_weight_values(&owner->weights[i])) st = add(ctx, list, &m->weights[i]);
    for (size_t i = 0; i < m->arch->n_parts && !st; i++)
        if (m->parts[i]) st = collect(ctx, m->parts[i], list);
    return st;
}

/* What the patterns of the configuration set, for each name. */
static mm_status apply_groups(mm_context *ctx, const mmi_train_config *c, const weight_list *all, const char *const *names, size_t n_own, mmi_param_settings *settings)
{
    mmi_param_group *groups = mmi_alloc_array(ctx, c->n_groups + 2, sizeof *groups);
    const size_t n = all->count;
    size_t count = 0;
    mm_status st;

    if (!groups) return MM_E_NOMEM;
    for (size_t i = 0; i < n; i++) settings[i] = (mmi_param_settings){1, c->weight_decay, all->items[i]->fixed || (i < n_own && (c->n_train_only || c->lora))};
    if (c->n_train_only) groups[count++] = (mmi_param_group){(const char *const *)c->train_only, c->n_train_only, NAN, NAN, 0};
    if (c->n_freeze) groups[count++] = (mmi_param_group){(const char *const *)c->freeze, c->n_freeze, NAN, NAN, 1};
    for (size_t i = 0; i < c->n_groups; i++) {
        const mmi_train_group *g = &c->groups[i];
        groups[count++] = (mmi_param_group){(const char *const *)g->patterns, g->n_patterns, g->lr_scale, g->weight_decay < 0 ? (double)NAN : g->weight_decay, -1};
    }
    st = mmi_param_groups_apply(ctx, groups, count, names, n, settings);
    mmi_free(groups);
    return st;
}

/* A matrix as bf16 from now on: what is lost is lost once, and updates round by chance. */
static mm_status to_bf16(mm_context *ctx, mmi_weight *w)
{
    const size_t n = w->rows * w->cols;
    const float *from = w->data;
    uint16_t *to;

    if (w->rank < 2 || !w->data_owned) return MM_OK; /* a base's, which others read */
    to = mmi_alloc_array(ctx, n, sizeof *to);
    if (!to) return MM_E_NOMEM;
    for (size_t i = 0; i < n; i++) to[i] = mmi_f32_to_bf16(from[i]);
    mmi_free((void *)(uintptr_t)w->data);
    w->data = to;
    w->dtype = MM_DTYPE_BF16;
    return MM_OK;
}

static mm_status take(mm_context *ctx, const weight_list *all, const mmi_param_settings *settings, const mmi_train_config *c, mmi_parameters *out)
{
    float *gradient;
    mm_status st;

    for (size_t i = 0; i < all->count; i++) {
        if (settings[i].frozen) continue;
        out->count++;
        if (mmi_size_add(out->elements, all->items[i]->rows * all->items[i]->cols, &out->elements)) return mmi_fail(ctx, MM_E_OVERFLOW, "too many parameters");
    }
    if (!out->count) return mmi_fail(ctx, MM_E_ARGUMENT, "no weight is left to train: all are frozen or quantized");
    out->list = mmi_zalloc_array(ctx, out->count, sizeof *out->list);
    out->weights = mmi_zalloc_array(ctx, out->count, sizeof *out->weights);
    out->gradients = gradient = mmi_zalloc_array(ctx, out->elements, sizeof *out->gradients);
    out->count = 0;
    if (!out->list || !out->weights || !gradient) return MM_E_NOMEM;
    for (size_t i = 0; i < all->count; i++) {
        mmi_weight *w = all->items[i];
        if (settings[i].frozen) continue;
        if (c->master == MM_DTYPE_BF16 && (st = to_bf16(ctx, w))) return st;
        w->gradient = gradient;
        out->weights[out->count] = w;
        out->list[out->count++] = (mmi_parameter){w->name, (void *)(uintptr_t)w->data, w->dtype, gradient, w->rows, w->cols, (float)settings[i].lr_scale,
                                                  (float)settings[i].weight_decay};
        gradient += w->rows * w->cols;
    }
    return MM_OK;
}

/* Models of which a weight is trained. */
static void mark_changed(mm_model *m)
{
    for (size_t i = 0; i < m->n_weights; i++) m->changed |= m->weights[i].gradient != NULL;
    for (size_t i = 0; i < m->arch->n_parts; i++)
        if (m->parts[i]) mark_changed(m->parts[i]);
}

mm_status mmi_parameters_choose(mm_context *ctx, mm_model *model, mmi_weight *const *extra, size_t n_extra, const mmi_train_config *config, mmi_parameters *out)
{
    weight_list all = {0};
    const char **names = NULL;
    mmi_param_settings *settings = NULL;
    size_t n_own;
    mm_status st = collect(ctx, model, &all);

    memset(out, 0, sizeof *out);
    n_own = all.count;
    for (size_t i = 0; i < n_extra && !st; i++) st = add(ctx, &all, extra[i]);
    if (st) goto cleanup;
    names = mmi_alloc_array(ctx, all.count, sizeof *names);
    settings = mmi_alloc_array(ctx, all.count, sizeof *settings);
    st = names && settings ? MM_OK : MM_E_NOMEM;
    for (size_t i = 0; i < all.count && !st; i++) names[i] = all.items[i]->name;
    if (!st) st = apply_groups(ctx, config, &all, names, n_own, settings);
    if (!st) st = take(ctx, &all, settings, config, out);
    if (!st) mark_changed(model);
cleanup:
    mmi_free(all.items);
    mmi_free(names);
    mmi_free(settings);
    return st;
}

void mmi_parameters_clear(mmi_parameters *p)
{
    for (size_t i = 0; i < p->count; i++) p->weights[i]->gradient = NULL;
    mmi_free(p->list);
    mmi_free(p->weights);
    mmi_free(p->gradients);
    memset(p, 0, sizeof *p);
}

void mmi_parameters_zero_gradients(mmi_parameters *p) { memset(p->gradients, 0, p->elements * sizeof *p->gradients); }
