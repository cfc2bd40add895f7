/* The run: batches in their order, steps, what is written when.
 * SPDX-License-Identifier: MIT */
#include "trainer.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "adapter_file.h"
#include "checkpoint.h"
#include "composite.h"
#include "evaluation.h"
#include "file.h"
#include "gradient_norm.h"
#include "json.h"
#include "model_save.h"
#include "random.h"
#include "run_model.h"
#include "size.h"

enum { DROPOUT_STREAM = 0x64726f70 }; /* of the seed's numbers, apart from what else is drawn for the run */

#define TRY(call) \
    do { \
        const mm_status tried = (call); \
        if (tried) return tried; \
    } while (0)

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Beginning. */

static mm_status add_adapter(mm_trainer *t)
{
    static const char *const all[] = {"all-linear"};
    const mmi_train_config *c = &t->config;
    const mmi_adapter_spec spec = {c->n_lora_targets ? (const char *const *)c->lora_targets : all, c->n_lora_targets ? c->n_lora_targets : 1, c->lora_expression,
                                   c->lora_rank, c->lora_alpha, c->lora_rank_stabilized, c->lora_dropout};
    mm_model *adapted = NULL;

    TRY(mmi_adapter_create(t->ctx, t->model, &spec, c->seed, &adapted));
    mmi_model_release(t->model); /* which the adapted one holds */
    t->model = adapted;
    return MM_OK;
}

static mm_status choose_parameters(mm_trainer *t)
{
    const mmi_adapter *a = t->model->adapter;
    mmi_weight **extra = NULL;
    size_t n = 0;
    mm_status st;

    if (a) {
        extra = mmi_alloc_array(t->ctx, 2 * a->n_pairs, sizeof *extra);
        if (!extra) return MM_E_NOMEM;
        for (size_t i = 0; i < a->n_pairs; i++) {
            extra[n++] = &a->pairs[i].a;
            extra[n++] = &a->pairs[i].b;
        }
    }
    st = mmi_parameters_choose(t->ctx, t->model, extra, n, &t->config, &t->parameters);
    mmi_free(extra);
    return st;
}

static mm_status open_tasks(mm_trainer *t)
{
    double ratios[MMI_TRAIN_TASKS];

    for (size_t i = 0; i < t->config.n_tasks; i++) {
        mmi_train_task *task = &t->config.tasks[i];
        ratios[i] = task->ratio;
        TRY(mmi_run_model_other(t->ctx, &t->config, task, &t->others[i]));
        task->objective.other = t->others[i];
        TRY(mmi_task_data_open(t->ctx, t->model, &t->config, i, 1, &t->data[i]));
    }
    return mmi_task_order_create(t->ctx, ratios, t->config.n_tasks, &t->order);
}

static void count_tie(void *arg, const mmi_weight *a, const mmi_weight *b)
{
    (void)a;
    (void)b;
    ++*(size_t *)arg;
}

/* The penalty of soft sharing needs trunks that are shared so, and their weights as they are. */
static mm_status check_sharing(const mm_trainer *t)
{
    size_t ties = 0;

    if (t->config.sharing_penalty <= 0) return MM_OK;
    if (t->config.master != MM_DTYPE_F32) return mmi_fail(t->ctx, MM_E_UNSUPPORTED, "sharing_penalty with weights in bf16");
    mmi_composite_ties(t->model, count_tie, &ties);
    return ties ? MM_OK : mmi_fail(t->ctx, MM_E_ARGUMENT, "sharing_penalty: %s has no trunks that a penalty ties", t->model->class_name);
}

/* Steps in which every example comes up `epochs` times, or as often on average where ratios say otherwise. */
static uint64_t steps_of(const mm_trainer *t)
{
    const mmi_train_config *c = &t->config;
    double batches = 0;

    if (c->steps) return (uint64_t)c->steps;
    for (size_t i = 0; i < c->n_tasks; i++) batches += (double)mmi_data_set_count(t->data[i].training) / (double)c->tasks[i].batch_size;
    return (uint64_t)mmi_size_max(1, (size_t)ceil(batches * (double)c->epochs / (double)c->accumulate));
}

static mm_status begin(mm_trainer *t, const char *path)
{
    TRY(mmi_train_config_read(t->ctx, path, &t->config));
    TRY(mmi_run_model_open(t->ctx, &t->config, &t->model));
    if (t->config.save_as) TRY(mmi_model_check_class(t->ctx, t->model, t->config.save_as));
    if (t->config.lora) TRY(add_adapter(t));
    TRY(choose_parameters(t));
    TRY(check_sharing(t));
    TRY(mmi_optimizer_create(t->ctx, &t->config.optimizer, t->parameters.list, t->parameters.count, &t->optimizer));
    TRY(open_tasks(t));
    t->graphs.model = t->model;
    t->graphs.recompute = t->config.recompute;
    t->graphs.dropout = (mmi_dropout_rates){(float)t->config.dropout, (float)t->config.lora_dropout};
    t->report.loss = t->report.gradient_norm = NAN;
    t->stage = MMI_STEP_DONE;
    t->steps = t->config.schedule.total_steps = steps_of(t);
    return MM_OK;
}

mm_status mmi_trainer_create(mm_context *ctx, const char *path, mm_trainer **out)
{
    mm_trainer *t = mmi_zalloc(ctx, sizeof *t);
    mm_status st;

    *out = NULL;
    if (!t) return MM_E_NOMEM;
    t->ctx = ctx;
    st = begin(t, path);
    if (st) mmi_trainer_destroy(t);
    else *out = t;
    return st;
}

void mmi_trainer_destroy(mm_trainer *t)
{
    if (!t) return;
    mmi_prefetch_destroy(t->prefetch); /* first, since its thread reads what follows */
    mmi_step_graphs_clear(&t->graphs);
    mmi_training_log_close(t->log);
    mmi_optimizer_destroy(t->optimizer);
    mmi_parameters_clear(&t->parameters);
    mmi_task_order_destroy(t->order);
    for (size_t i = 0; i < MMI_TRAIN_TASKS; i++) {
        mmi_task_data_clear(&t->data[i]);
        mmi_model_release(t->others[i]);
    }
    mmi_model_release(t->model);
    mmi_train_config_clear(&t->config);
    mmi_free(t);
}

mm_status mmi_trainer_resume(mm_trainer *t)
{
    uint64_t step = 0;

    if (t->step) return mmi_fail(t->ctx, MM_E_STATE, "the run is at step %llu already", (unsigned long long)t->step);
    TRY(mmi_checkpoint_find(t->ctx, t->config.output, &step));
    TRY(mmi_checkpoint_read(t->ctx, t->config.output, step, &t->parameters, t->optimizer));
    t->step = step;
    t->stage = step >= t->steps ? MMI_STEP_SAVE : MMI_STEP_DONE; /* a process may have been killed before it saved */
    t->claimed = 1;
    return MM_OK;
}

/* Two runs in one folder would drop each other's checkpoints. */
static mm_status claim(mm_trainer *t)
{
    uint64_t step = 0;
    mm_status st;

    if (t->claimed) return MM_OK;
    TRY(mmi_file_make_directory(t->ctx, t->config.output));
    st = mmi_checkpoint_find(t->ctx, t->config.output, &step);
    if (!st)
        return mmi_fail(t->ctx, MM_E_STATE, "%s holds checkpoints of an earlier run, up to step %llu: resume it, or remove them to begin anew", t->config.output,
                        (unsigned long long)step);
    if (st != MM_E_NOT_FOUND) return st;
    t->claimed = 1;
    return MM_OK;
}

/* Batches, on the prefetcher's thread. */

static mm_status make_batch(mm_context *ctx, void *arg, uint64_t number, void **out)
{
    mm_trainer *t = arg;
    mmi_batch *b = mmi_zalloc(ctx, sizeof *b);
    uint64_t nth = 0;
    mm_status st;

    *out = NULL;
    if (!b) return MM_E_NOMEM;
    mmi_task_order_at(t->order, number, &b->task, &nth);
    b->samples = t->data[b->task].batch_size;
    st = mmi_task_data_batch(ctx, &t->data[b->task], nth, &b->inputs);
    if (st) mmi_free(b);
    else *out = b;
    return st;
}

static void drop_batch(void *arg, void *batch)
{
    mmi_batch *b = batch;
    (void)arg;
    mm_tensor_map_destroy(b->inputs);
    mmi_free(b);
}

static mm_status start(mm_trainer *t)
{
    const uint64_t each = (uint64_t)t->config.accumulate;
    const mmi_prefetch_spec spec = {make_batch, drop_batch, t, t->step * each, t->steps * each, (size_t)t->config.prefetch};

    TRY(claim(t));
    if (!t->log) TRY(mmi_training_log_open(t->ctx, t->config.output, t->step, &t->log));
    if (!t->prefetch && t->step < t->steps) TRY(mmi_prefetch_create(t->ctx, &spec, &t->prefetch));
    t->began = now();
    t->samples = 0;
    return MM_OK;
}

/* A step. */

/* The pull of tied trunks towards each other (soft sharing: arXiv:1706.05098, section 3.2): the gradient of penalty |a - b|^2 for each pair. */
static void tie(void *arg, const mmi_weight *a, const mmi_weight *b)
{
    const float pull = *(const float *)arg, *x = a->data, *y = b->data;

    for (size_t i = 0; i < a->rows * a->cols && a->gradient && b->gradient; i++) {
        a->gradient[i] += pull * (x[i] - y[i]);
        b->gradient[i] -= pull * (x[i] - y[i]);
    }
}

static void tie_trunks(mm_trainer *t)
{
    float pull = 2 * (float)t->config.sharing_penalty * (float)t->config.accumulate; /* the gradients are divided by that */
    if (pull > 0) mmi_composite_ties(t->model, tie, &pull);
}

/* Batch `i` of the step. */
static mm_status run_batch(mm_trainer *t, int64_t i, mmi_step_report *r)
{
    void *taken = NULL;
    mmi_step_result result;
    const mmi_train_task *task;
    mmi_batch *b;
    mm_status st = mmi_prefetch_take(t->ctx, t->prefetch, &taken);

    if (st) return st;
    b = taken;
    task = &t->config.tasks[b->task];
    t->graphs.dropout_key = mmi_random_at(t->config.seed, DROPOUT_STREAM, t->step * (uint64_t)t->config.accumulate + (uint64_t)i);
    st = mmi_step_graph_run(t->ctx, &t->graphs, &task->objective, b->inputs, 1, (float)task->weight, &result);
    if (!st && !isfinite(result.loss))
        st = mmi_fail(t->ctx, MM_E_OVERFLOW, "step %llu: the loss of task %s is %g", (unsigned long long)t->step + 1, task->name, (double)result.loss);
    if (!st) {
        r->loss += task->weight * (double)result.loss / (double)t->config.accumulate;
        r->task_loss[b->task] += (double)result.loss;
        r->task_batches[b->task]++;
        t->samples += b->samples;
    }
    drop_batch(t, b);
    return st;
}

/* A step that fails before its end leaves the weights as they were; its batches are made again when it is tried again. */
static mm_status step(mm_trainer *t)
{
    const double each = 1 / (double)t->config.accumulate;
    mmi_step_report r = {0};
    mm_status st = MM_OK;

    mmi_parameters_zero_gradients(&t->parameters);
    for (int64_t i = 0; i < t->config.accumulate && !st; i++) st = run_batch(t, i, &r);
    if (!st) tie_trunks(t);
    if (!st) st = mmi_gradient_norm(t->ctx, t->parameters.list, t->parameters.count, each, t->step + 1, &r.gradient_norm);
    if (!st) {
        const double clip = t->config.clip_norm > 0 ? mmi_gradient_clip(r.gradient_norm, t->config.clip_norm) : 1;
        r.learning_rate = t->config.lr * mmi_schedule_factor(&t->config.schedule, t->step);
        st = mmi_optimizer_step(t->ctx, t->optimizer, t->step + 1, r.learning_rate, (float)(each * clip));
    }
    if (st) {
        mmi_prefetch_destroy(t->prefetch);
        t->prefetch = NULL;
        return st;
    }
    r.samples_per_second = (double)t->samples / fmax(now() - t->began, 1e-9);
    t->report = r;
    t->step++;
    t->stage = MMI_STEP_LOG;
    return MM_OK;
}

/* Writing. */

static mm_status log_step(mm_trainer *t)
{
    const mmi_step_report *r = &t->report;
    mm_context *ctx = t->ctx;
    mmi_text line = {0};
    int failed = mmi_text_format(ctx, &line, "{\"step\": %llu, \"loss\": %.9g, \"learning_rate\": %.9g, \"gradient_norm\": %.9g, \"samples_per_second\": %.4g, \"tasks\": {",
                                 (unsigned long long)t->step, r->loss, r->learning_rate, r->gradient_norm, r->samples_per_second);
    const char *between = "";
    mm_status st;

    for (size_t i = 0; i < t->config.n_tasks; i++) {
        if (!r->task_batches[i]) continue;
        failed |= mmi_text_format(ctx, &line, "%s", between) || mmi_json_quote(ctx, &line, t->config.tasks[i].name, strlen(t->config.tasks[i].name)) ||
                  mmi_text_format(ctx, &line, ": %.9g", r->task_loss[i] / (double)r->task_batches[i]);
        between = ", ";
    }
    failed |= mmi_text_format(ctx, &line, "}}");
    st = failed ? MM_E_NOMEM : mmi_training_log_write(ctx, t->log, line.data, line.size);
    mmi_text_clear(&line);
    return st;
}

static mm_status log_evaluation(mm_trainer *t)
{
    mmi_text line = {0};
    mm_status st = mmi_text_format(t->ctx, &line, "{\"step\": %llu, \"evaluation\": ", (unsigned long long)t->step) ? MM_E_NOMEM : mmi_trainer_evaluate(t, &line);

    if (!st) st = mmi_text_append(t->ctx, &line, "}", 1) ? MM_E_NOMEM : mmi_training_log_write(t->ctx, t->log, line.data, line.size);
    mmi_text_clear(&line);
    return st;
}

static int has_validation(const mm_trainer *t)
{
    for (size_t i = 0; i < t->config.n_tasks; i++)
        if (t->data[i].validation) return 1;
    return 0;
}

static int due(const mm_trainer *t, int64_t every) { return t->step == t->steps || (every && t->step % (uint64_t)every == 0); }

/* What is due behind the last step. Where it fails the next run tries it again. */
static mm_status finish_step(mm_trainer *t)
{
    const mmi_train_config *c = &t->config;

    for (; t->stage < MMI_STEP_DONE; t->stage++) {
        mm_status st = MM_OK;
        switch (t->stage) {
        case MMI_STEP_LOG:
            if (t->step == 1 || due(t, c->log_every)) st = log_step(t);
            break;
        case MMI_STEP_EVALUATE:
            if (has_validation(t) && due(t, c->evaluate_every)) st = log_evaluation(t);
            break;
        case MMI_STEP_CHECKPOINT:
            if (due(t, c->save_every)) st = mmi_trainer_checkpoint(t);
            break;
        case MMI_STEP_SAVE:
            if (t->step >= t->steps) st = mmi_trainer_save(t, c->output);
            break;
        case MMI_STEP_DONE: break;
        }
        if (st) return st;
    }
    return MM_OK;
}

mm_status mmi_trainer_run(mm_trainer *t, int64_t steps, int (*callback)(void *user, mm_trainer *t), void *user)
{
    const uint64_t left = t->step < t->steps ? t->steps - t->step : 0, end = t->step + (steps && (uint64_t)steps < left ? (uint64_t)steps : left);
    int stop = 0;

    if (!left && t->stage == MMI_STEP_DONE) return MM_OK;
    TRY(start(t));
    TRY(finish_step(t));
    while (t->step < end && !stop) {
        TRY(step(t));
        stop = callback && callback(user, t);
        TRY(finish_step(t));
    }
    return MM_OK;
}

mm_status mmi_trainer_checkpoint(mm_trainer *t)
{
    TRY(claim(t));
    return mmi_checkpoint_write(t->ctx, t->config.output, t->step, &t->parameters, t->optimizer, (size_t)t->config.keep);
}

/* As another class too, in a folder of its name, with an adapter merged. */
static mm_status save_as_class(mm_trainer *t, const char *directory)
{
    char *folder = mmi_file_join(t->ctx, directory, t->config.save_as);
    mm_model *merged = NULL;
    mm_status st = folder ? mmi_file_make_directory(t->ctx, directory) : MM_E_NOMEM;

    if (!st && t->model->adapter) st = mmi_adapter_merge(t->ctx, t->model, &merged);
    if (!st) st = mmi_model_save(t->ctx, merged ? merged : t->model, folder, MM_SAVE_AS_IS, t->config.save_as);
    mmi_model_release(merged);
    mmi_free(folder);
    return st;
}

mm_status mmi_trainer_save(mm_trainer *t, const char *directory)
{
    if (t->config.save_as) TRY(save_as_class(t, directory));
    if (!t->model->adapter) return mmi_model_save(t->ctx, t->model, directory, MM_SAVE_AS_IS, NULL);
    if (t->parameters.count > 2 * t->model->adapter->n_pairs) TRY(mmi_model_save(t->ctx, t->model->base, directory, MM_SAVE_AS_IS, NULL)); /* what was trained beside it */
    return mmi_adapter_save(t->ctx, t->model, directory);
}

/* Measuring. */

static mm_status evaluate_tasks(mm_context *ctx, mmi_step_graphs *graphs, mmi_task_data *data, const mmi_train_config *c, mmi_text *out)
{
    const char *between = "{";
    mm_status st = MM_OK;

    for (size_t i = 0; i < c->n_tasks && !st; i++) {
        if (!data[i].validation) continue;
        if (mmi_text_format(ctx, out, "%s", between) || mmi_json_quote(ctx, out, c->tasks[i].name, strlen(c->tasks[i].name)) || mmi_text_format(ctx, out, ": "))
            return MM_E_NOMEM;
        st = mmi_evaluation_run(ctx, graphs, &data[i], &c->tasks[i], (uint64_t)c->evaluate_batches, out);
        between = ", ";
    }
    return st || !mmi_text_format(ctx, out, *between == '{' ? "{}" : "}") ? st : MM_E_NOMEM;
}

mm_status mmi_trainer_evaluate(mm_trainer *t, mmi_text *out) { return evaluate_tasks(t->ctx, &t->graphs, t->data, &t->config, out); }

mm_status mmi_evaluate(mm_context *ctx, mm_model *model, const char *path, mmi_text *out)
{
    mmi_step_graphs graphs = {.model = model};
    mm_model *others[MMI_TRAIN_TASKS] = {NULL};
    mmi_task_data *data = mmi_zalloc_array(ctx, MMI_TRAIN_TASKS, sizeof *data);
    mmi_train_config *c = mmi_zalloc(ctx, sizeof *c);
    mm_status st = data && c ? mmi_train_config_read(ctx, path, c) : MM_E_NOMEM;

    for (size_t i = 0; c && i < c->n_tasks && !st; i++) {
        st = mmi_run_model_other(ctx, c, &c->tasks[i], &others[i]);
        c->tasks[i].objective.other = others[i];
        if (!st) st = mmi_task_data_open(ctx, model, c, i, 0, &data[i]);
    }
    if (!st) st = evaluate_tasks(ctx, &graphs, data, c, out);
    mmi_step_graphs_clear(&graphs);
    for (size_t i = 0; i < MMI_TRAIN_TASKS; i++) {
        if (data) mmi_task_data_clear(&data[i]);
        mmi_model_release(others[i]);
    }
    if (c) mmi_train_config_clear(c);
    mmi_free(c);
    mmi_free(data);
    return st;
}

size_t mmi_trainer_skipped(const mm_trainer *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->config.n_tasks; i++) n += mmi_data_set_skipped(t->data[i].training);
    return n;
}
