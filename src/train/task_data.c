/* SPDX-License-Identifier: MIT */
#include "task_data.h"

#include <string.h>

#include "random.h"
#include "size.h"

#define TRY(call) \
    do { \
        const mm_status tried = (call); \
        if (tried) return tried; \
    } while (0)

mm_status mmi_task_data_open(mm_context *ctx, const mm_model *model, const mmi_train_config *config, size_t index, int training, mmi_task_data *d)
{
    const mmi_train_task *task = &config->tasks[index];
    const uint64_t seed = mmi_random_at(config->seed, 0x7461736b, index); /* tasks draw apart */
    mmi_data_set_options options = {.seed = seed, .skip_bad = task->skip_bad, .validation = task->validation ? 0 : task->split, .split_seed = config->seed};
    const char *first = !training && task->validation ? task->validation : task->train;

    memset(d, 0, sizeof *d);
    d->batch_size = (size_t)task->batch_size;
    TRY(mmi_manifest_open(ctx, &first, 1, &d->manifest));
    TRY(mmi_example_maker_init(ctx, model, task, config->doc, seed, 0, &d->evaluates));
    if (training) {
        TRY(mmi_example_maker_init(ctx, model, task, config->doc, seed, 1, &d->trains));
        TRY(mmi_data_set_create(ctx, d->manifest, &options, &d->training));
        if (task->validation) TRY(mmi_manifest_open(ctx, (const char *const *)&task->validation, 1, &d->held_out));
        if (!task->validation && task->split <= 0) return MM_OK;
    }
    options.in_order = 1;
    options.want_validation = training && !task->validation;
    if (!options.want_validation) options.validation = 0;
    return mmi_data_set_create(ctx, d->held_out ? d->held_out : d->manifest, &options, &d->validation);
}

void mmi_task_data_clear(mmi_task_data *d)
{
    mmi_data_set_destroy(d->training);
    mmi_data_set_destroy(d->validation);
    mmi_manifest_close(d->manifest);
    mmi_manifest_close(d->held_out);
    mmi_example_maker_clear(&d->trains);
    mmi_example_maker_clear(&d->evaluates);
    memset(d, 0, sizeof *d);
}

typedef struct {
    mmi_example_maker *maker;
    mmi_example example;
} making;

static mm_status make(mm_context *ctx, void *arg, const mmi_record *record, uint64_t epoch, size_t index)
{
    making *m = arg;
    mm_status st = mmi_example_make(ctx, m->maker, record, epoch, index, &m->example);

    if (st) mmi_example_clear(&m->example);
    return st;
}

static mm_status batch(mm_context *ctx, mmi_data_set *set, mmi_example_maker *maker, uint64_t first, size_t n, mm_tensor_map **out)
{
    mmi_example *examples = mmi_zalloc_array(ctx, n, sizeof *examples);
    mm_status st = examples ? MM_OK : MM_E_NOMEM;

    *out = NULL;
    for (size_t i = 0; i < n && !st; i++) {
        making m = {.maker = maker};
        st = mmi_data_set_read(ctx, set, first + i, make, &m);
        examples[i] = m.example;
    }
    if (!st) st = mmi_batch_collate(ctx, maker, examples, n, out);
    for (size_t i = 0; examples && i < n; i++) mmi_example_clear(&examples[i]);
    mmi_free(examples);
    return st;
}

mm_status mmi_task_data_batch(mm_context *ctx, mmi_task_data *d, uint64_t nth, mm_tensor_map **out)
{
    return batch(ctx, d->training, &d->trains, nth * d->batch_size, d->batch_size, out);
}

mm_status mmi_task_data_validation(mm_context *ctx, mmi_task_data *d, uint64_t nth, mm_tensor_map **out, size_t *samples)
{
    const uint64_t count = mmi_data_set_count(d->validation), first = nth * d->batch_size;

    *out = NULL;
    *samples = first < count ? mmi_size_min(d->batch_size, (size_t)(count - first)) : 0;
    return *samples ? batch(ctx, d->validation, &d->evaluates, first, *samples, out) : MM_OK;
}
