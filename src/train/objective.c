/* SPDX-License-Identifier: MIT */
#include "objective.h"

#include <string.h>

#include "contrast_ops.h"
#include "index_ops.h"
#include "loss_ops.h"
#include "row_ops.h"
#include "shape_ops.h"

static const char *const names[MMI_OBJECTIVE_COUNT] = {"causal_lm", "masked_lm", "span_corruption", "mae", "denoising_image", "contrastive",
                                                       "sigmoid_contrastive", "matching", "caption", "vqa", "chat", "classification",
                                                       "regression", "distillation", "dpo"};

int mmi_objective_find(const char *name)
{
    for (int i = 0; i < MMI_OBJECTIVE_COUNT; i++)
        if (!strcmp(names[i], name)) return i;
    return -1;
}

const char *mmi_objective_name(mmi_objective_kind kind) { return names[kind]; }

static mmi_value output(mmi_io *io, const char *name)
{
    mmi_value v = mmi_io_find_output(io, name);
    if (v || io->g->status) return v;
    return mmi_graph_fail(io->g, MM_E_UNSUPPORTED, "%s does not give %s, which the objective needs", io->model->class_name, name);
}

static int is_read(const mmi_graph *g, mmi_value v)
{
    for (size_t n = 0; n < g->n_nodes; n++)
        for (size_t i = 0; i < g->nodes[n].n_inputs; i++)
            if (g->nodes[n].inputs[i] == v) return 1;
    return 0;
}

/* Logits [B, K, V] of the tokens that are to be predicted: families whose head comes last compute no others. */
static mmi_value token_logits(mmi_io *io)
{
    mmi_value positions = mmi_io_require(io, "label_positions", MM_DTYPE_I32, 2), logits;

    io->counted = positions;
    mmi_io_build(io);
    logits = output(io, "logits");
    return io->g->status || is_read(io->g, positions) ? logits : mmi_gather(io->g, logits, positions);
}

static mmi_value negative(mmi_io *io, mmi_value likelihood, mmi_value weights)
{
    return mmi_scale(io->g, mmi_reshape(io->g, mmi_inner(io->g, likelihood, weights), 1, (int64_t[]){1}), -1.0f);
}

static mmi_value token_loss(mmi_io *io, mmi_value logits, const mmi_objective_spec *spec)
{
    mmi_value labels = mmi_io_require(io, "labels", MM_DTYPE_I32, 2), weights = mmi_io_require(io, "label_weights", MM_DTYPE_F32, 2);
    return negative(io, mmi_log_likelihood(io->g, logits, labels, spec->smoothing), weights);
}

/* A constant of `count` elements, each of them value(i). */
static mmi_value constant(mmi_graph *g, int32_t rank, const int64_t *shape, float each)
{
    void *data = NULL;
    mmi_value v = mmi_graph_constant(g, MM_DTYPE_F32, rank, shape, &data);

    for (int64_t i = 0; data && i < mmi_graph_elements(g, v); i++) ((float *)data)[i] = each;
    return v;
}

/* One of the two directions: each row's own column is its label. */
static mmi_value info_nce(mmi_io *io, mmi_value logits)
{
    mmi_graph *g = io->g;
    void *data = NULL;
    mmi_value targets;
    int64_t n;

    if (g->status) return 0;
    n = mmi_graph_look(g, logits)->shape[0];
    if (mmi_graph_look(g, logits)->shape[1] != n) return mmi_graph_fail(g, MM_E_SHAPE, "contrast of %lld with %lld", (long long)n, (long long)mmi_graph_look(g, logits)->shape[1]);
    targets = mmi_graph_constant(g, MM_DTYPE_I32, 1, &n, &data);
    for (int32_t i = 0; data && i < n; i++) ((int32_t *)data)[i] = i;
    return negative(io, mmi_log_likelihood(g, logits, targets, 0), constant(g, 1, &n, 0.5f / (float)n));
}

static mmi_value contrastive(mmi_io *io)
{
    return mmi_add(io->g, info_nce(io, output(io, "logits_per_image")), info_nce(io, output(io, "logits_per_text")));
}

static mmi_value sigmoid_contrastive(mmi_io *io)
{
    mmi_graph *g = io->g;
    mmi_value logits = output(io, "logits_per_image"), signs;
    void *data = NULL;
    int64_t shape[2];

    if (g->status) return 0;
    memcpy(shape, mmi_graph_look(g, logits)->shape, sizeof shape);
    signs = mmi_graph_constant(g, MM_DTYPE_F32, 2, shape, &data);
    for (int64_t i = 0; data && i < shape[0] * shape[1]; i++) ((float *)data)[i] = i / shape[1] == i % shape[1] ? 1 : -1;
    return negative(io, mmi_log_sigmoid(g, mmi_mul(g, logits, signs)), constant(g, 2, shape, 1.0f / (float)shape[0]));
}

static mmi_value class_loss(mmi_io *io, mmi_value logits, const mmi_objective_spec *spec)
{
    mmi_value labels = mmi_io_require(io, "labels", MM_DTYPE_I32, 1), weights = mmi_io_require(io, "label_weights", MM_DTYPE_F32, 1);
    return negative(io, mmi_log_likelihood(io->g, logits, labels, spec->smoothing), weights);
}

/* Mean squared difference of x and y, both [B, n] or [B, N, n]; of the rows that the mask f32 [B, N] counts, where it is not 0. */
static mmi_value squares(mmi_graph *g, mmi_value x, mmi_value y, mmi_value mask)
{
    int64_t shape[3] = {1, 1, 1};
    const mmi_value_info *v;
    char s[128], t[128];

    if (g->status) return 0;
    if (mmi_graph_elements(g, x) != mmi_graph_elements(g, y))
        return mmi_graph_fail(g, MM_E_SHAPE, "the model gives %s, which cannot be held against %s", mmi_graph_shape_text(g, x, s), mmi_graph_shape_text(g, y, t));
    v = mmi_graph_look(g, x);
    for (int32_t d = 0; d < v->rank && d < 3; d++) shape[3 - v->rank + d] = v->shape[d];
    x = mmi_reshape(g, x, 3, shape);
    y = mmi_reshape(g, y, 3, shape);
    return mmi_reshape(g, mmi_masked_error(g, x, y, 1, mask ? mask : constant(g, 2, shape, 1)), 1, (int64_t[]){1});
}

/* The reconstruction is patches [y, x, channel], as masked autoencoders paint them. */
static mmi_value denoising(mmi_io *io)
{
    const mmi_model_info *info = &io->model->info;
    mmi_graph *g = io->g;
    mmi_value clean = mmi_io_require(io, "clean_pixel_values", MM_DTYPE_F32, 4), x;

    if (!g->status && !info->patch) return mmi_graph_fail(g, MM_E_UNSUPPORTED, "%s has no patches to paint", io->model->class_name);
    x = mmi_transpose(g, mmi_split_last(g, mmi_patches(g, clean, info->patch), info->channels, info->patch * info->patch));
    return squares(g, output(io, "logits"), x, 0);
}

/* The frozen model beside io's, on the same inputs and without dropout; its outputs stay in `other`. */
static void build_other(mmi_io *io, mmi_io *other, const mm_model *model, const char *const *wanted)
{
    const mmi_dropout_rates dropout = io->g->dropout;

    io->g->dropout = (mmi_dropout_rates){0, 0};
    *other = (mmi_io){.g = io->g, .model = model, .inner = 1, .counted = io->counted, .wanted = wanted};
    for (size_t i = 0; i < io->n_inputs; i++) mmi_io_give(other, io->inputs[i].name, io->inputs[i].value);
    mmi_io_build(other);
    io->g->dropout = dropout;
}

static mmi_value other_logits(mmi_io *io, mmi_io *other)
{
    mmi_value logits = output(other, "logits"), positions = io->counted;
    const mmi_value_info *v;

    if (io->g->status) return 0;
    v = mmi_graph_look(io->g, logits);
    return v->shape[1] == mmi_graph_look(io->g, positions)->shape[1] ? logits : mmi_gather(io->g, logits, positions);
}

static mmi_value distillation(mmi_io *io, mmi_value logits, const mmi_objective_spec *spec)
{
    mmi_graph *g = io->g;
    mmi_value weights = mmi_io_require(io, "label_weights", MM_DTYPE_F32, 2), sum, soft, teacher;
    mmi_value mask = mmi_io_optional(io, "attention_mask", MM_DTYPE_I32, 2);
    const char *wanted[3] = {"logits", spec->hidden_weight > 0 ? spec->hidden[1] : NULL, NULL};
    mmi_io other;

    build_other(io, &other, spec->other, wanted);
    teacher = other_logits(io, &other);
    if (g->status) return 0;
    if (mmi_graph_look(g, teacher)->shape[2] != mmi_graph_look(g, logits)->shape[2])
        return mmi_graph_fail(g, MM_E_SHAPE, "the teacher predicts %lld tokens, the student %lld", (long long)mmi_graph_look(g, teacher)->shape[2],
                              (long long)mmi_graph_look(g, logits)->shape[2]);
    soft = negative(io, mmi_soft_likelihood(g, logits, teacher, spec->temperature), weights);
    sum = mmi_add(g, mmi_scale(g, token_loss(io, logits, spec), 1 - spec->soft_weight), mmi_scale(g, soft, spec->soft_weight * spec->temperature * spec->temperature));
    if (spec->hidden_weight <= 0) return sum;
    if (mask) mask = mmi_at_least(g, mask, 1);
    return mmi_add(g, sum, mmi_scale(g, squares(g, output(io, spec->hidden[0]), output(&other, spec->hidden[1]), mask), spec->hidden_weight));
}

/* Rows are pairs, the chosen answer before the rejected: what the model gives each more than the reference does, chosen less rejected. */
static mmi_value margin(mmi_io *io, mmi_value logits)
{
    mmi_graph *g = io->g;
    mmi_value labels = mmi_io_require(io, "labels", MM_DTYPE_I32, 2), weights = mmi_io_require(io, "label_weights", MM_DTYPE_F32, 2), sums;
    int64_t rows, tokens;

    if (g->status) return 0;
    rows = mmi_graph_look(g, labels)->shape[0];
    tokens = mmi_graph_look(g, labels)->shape[1];
    if (rows % 2) return mmi_graph_fail(g, MM_E_SHAPE, "preferences of %lld answers, an odd number", (long long)rows);
    sums = mmi_mul(g, mmi_log_likelihood(g, logits, labels, 0), weights);
    sums = mmi_scale(g, mmi_mean(g, mmi_reshape(g, sums, 3, (int64_t[]){rows, tokens, 1})), (float)tokens);
    sums = mmi_reshape(g, sums, 2, (int64_t[]){rows / 2, 2});
    return mmi_add(g, mmi_slice(g, sums, 1, 0, 1), mmi_scale(g, mmi_slice(g, sums, 1, 1, 1), -1));
}

static mmi_value preference(mmi_io *io, mmi_value logits, const mmi_objective_spec *spec, mmi_value *gains)
{
    static const char *const wanted[] = {"logits", NULL};
    mmi_graph *g = io->g;
    mmi_value m = margin(io, logits);
    mmi_io other;
    int64_t pairs;

    build_other(io, &other, spec->other, wanted);
    *gains = m = mmi_add(g, m, mmi_scale(g, margin(io, other_logits(io, &other)), -1));
    if (g->status) return 0;
    pairs = mmi_graph_look(g, m)->shape[0];
    return negative(io, mmi_log_sigmoid(g, mmi_scale(g, m, spec->beta)), constant(g, 1, &pairs, 1.0f / (float)pairs));
}

static mmi_value loss_of(mmi_io *io, const mmi_objective_spec *spec, mmi_value *compared)
{
    switch (spec->kind) {
    case MMI_OBJECTIVE_MAE: mmi_io_build(io); return mmi_reshape(io->g, output(io, "loss"), 1, (int64_t[]){1});
    case MMI_OBJECTIVE_DENOISING_IMAGE: mmi_io_build(io); return denoising(io);
    case MMI_OBJECTIVE_CONTRASTIVE:
    case MMI_OBJECTIVE_SIGMOID_CONTRASTIVE:
        mmi_io_build(io);
        *compared = output(io, "logits_per_image");
        return spec->kind == MMI_OBJECTIVE_CONTRASTIVE ? contrastive(io) : sigmoid_contrastive(io);
    case MMI_OBJECTIVE_MATCHING:
    case MMI_OBJECTIVE_CLASSIFICATION:
    case MMI_OBJECTIVE_REGRESSION:
        mmi_io_build(io);
        *compared = output(io, io->wanted[0]);
        if (spec->kind == MMI_OBJECTIVE_REGRESSION) return squares(io->g, *compared, mmi_io_require(io, "values", MM_DTYPE_F32, 2), 0);
        return class_loss(io, *compared, spec);
    case MMI_OBJECTIVE_DISTILLATION: *compared = token_logits(io); return distillation(io, *compared, spec);
    case MMI_OBJECTIVE_DPO: return preference(io, token_logits(io), spec, compared);
    default: *compared = token_logits(io); return token_loss(io, *compared, spec);
    }
}

mmi_value mmi_objective_loss(mmi_io *io, const mmi_objective_spec *spec, mmi_value *compared)
{
    const char *wanted[3] = {"logits", NULL, NULL};
    mmi_value loss, logits = 0;

    switch (spec->kind) { /* which outputs the model is to make */
    case MMI_OBJECTIVE_MAE: wanted[0] = "loss"; break;
    case MMI_OBJECTIVE_CONTRASTIVE:
    case MMI_OBJECTIVE_SIGMOID_CONTRASTIVE:
        wanted[0] = "logits_per_image";
        wanted[1] = "logits_per_text";
        break;
    case MMI_OBJECTIVE_MATCHING: wanted[0] = "itm_score"; break;
    case MMI_OBJECTIVE_DISTILLATION: wanted[1] = spec->hidden_weight > 0 ? spec->hidden[0] : NULL; break;
    default: break;
    }
    if (spec->output) wanted[0] = spec->output;
    io->wanted = wanted;
    loss = loss_of(io, spec, &logits);
    io->wanted = NULL;
    mmi_graph_output(io->g, "loss", loss);
    if (compared) mmi_graph_output(io->g, "compared", *compared = mmi_contiguous(io->g, logits));
    return loss;
}
