/* The examples of a task: its manifest, what of it is trained on and what is held out, and batches of both.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_TASK_DATA_H
#define MMI_TASK_DATA_H

#include "batch.h"
#include "data_set.h"

typedef struct {
    mmi_manifest *manifest, *held_out; /* held_out NULL: split off from the other */
    mmi_data_set *training, *validation; /* validation NULL: none */
    mmi_example_maker trains, evaluates;
    size_t batch_size;
} mmi_task_data;

/* `model` and the configuration are borrowed. With `training` 0 only what is evaluated is opened: the validation's manifest, or all of the other's. Cleared by the caller, after a failure too. */
mm_status mmi_task_data_open(mm_context *ctx, const mm_model *model, const mmi_train_config *config, size_t task, int training, mmi_task_data *out);
void mmi_task_data_clear(mmi_task_data *d);

/* Batch `nth` of the task in training: examples nth * batch_size on, across epochs. The last batch of an epoch goes on into the next. */
mm_status mmi_task_data_batch(mm_context *ctx, mmi_task_data *d, uint64_t nth, mm_tensor_map **out);

/* Batch `nth` of the held-out examples in their order; *samples 0 behind the last. */
mm_status mmi_task_data_validation(mm_context *ctx, mmi_task_data *d, uint64_t nth, mm_tensor_map **out, size_t *samples);

#endif
