/* A training run: mm_trainer of include/mm_train.h, which says what each call promises.
 *
 * All that is random is a function of the seed and of the step, so that the state of a run is its weights, its optimizer's moments and the step.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_TRAINER_H
#define MMI_TRAINER_H

#include "adapter.h"
#include "data_order.h"
#include "mm_train.h"
#include "parameters.h"
#include "prefetch.h"
#include "step_graph.h"
#include "task_data.h"
#include "training_log.h"

/* What the last step came to. */
typedef struct {
    double loss;                   /* mean of its batches' losses, each times its task's weight; NaN before the first step */
    double task_loss[MMI_TRAIN_TASKS]; /* sum over the step's batches of a task */
    size_t task_batches[MMI_TRAIN_TASKS];
    double gradient_norm, learning_rate;
    double samples_per_second;     /* since mmi_trainer_run was called */
} mmi_step_report;

/* What comes behind a step, in this order. */
typedef enum { MMI_STEP_LOG, MMI_STEP_EVALUATE, MMI_STEP_CHECKPOINT, MMI_STEP_SAVE, MMI_STEP_DONE } mmi_step_stage;

struct mm_trainer {
    mm_context *ctx;
    mmi_train_config config;
    mm_model *model;      /* of its own, whose weights change; with LoRA an adapted one */
    mm_model *others[MMI_TRAIN_TASKS]; /* teachers and references */
    mmi_parameters parameters;
    mmi_optimizer *optimizer;
    mmi_task_data data[MMI_TRAIN_TASKS];
    mmi_task_order *order;
    mmi_prefetch *prefetch;
    mmi_step_graphs graphs;
    uint64_t step, steps; /* done, and in all */
    mmi_step_stage stage; /* of the last step: what is still to be done behind it */
    mmi_step_report report;
    double began;         /* of this part of the run, seconds of a clock that only goes forward */
    size_t samples;       /* since */
    int claimed;          /* the output folder holds no other run's checkpoints */
    mmi_training_log *log; /* opened with the first step */
};

mm_status mmi_trainer_create(mm_context *ctx, const char *path, mm_trainer **out);
void mmi_trainer_destroy(mm_trainer *t); /* NULL allowed */
mm_status mmi_trainer_resume(mm_trainer *t);
mm_status mmi_trainer_run(mm_trainer *t, int64_t steps, int (*callback)(void *user, mm_trainer *t), void *user);
mm_status mmi_trainer_checkpoint(mm_trainer *t);
mm_status mmi_trainer_save(mm_trainer *t, const char *directory);
mm_status mmi_trainer_evaluate(mm_trainer *t, mmi_text *out);
mm_status mmi_evaluate(mm_context *ctx, mm_model *model, const char *path, mmi_text *out);
size_t mmi_trainer_skipped(const mm_trainer *t);

#endif
