/* libmm: training.
 *
 * A trainer is made from a configuration, a JSON file that docs/training.md explains: a model to begin with or its config.json, tasks with their objectives and data, an
 * optimizer and a schedule. It owns its model, whose weights it changes. Runs are reproducible: the same configuration gives the same weights, bit for bit, on the
 * same processor with any number of threads, and a run that was interrupted goes on from its last checkpoint as if it had never stopped.
 * SPDX-License-Identifier: MIT */
#ifndef MM_TRAIN_H
#define MM_TRAIN_H

#include "mm_model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mm_trainer mm_trainer;

/* Make a trainer: open or create the model, open the data, and begin at step 0.
 *
 *   ctx   serves the trainer's calls; must outlive it
 *   path  the configuration; paths in it are relative to its folder
 *   out   receives the trainer; NULL after a failure
 *
 * A model that is made from a config.json has its folder in the run's output from the beginning: config.json, tokenizer and processor are written there. Else nothing is
 * written before the first step. Returns MM_OK, MM_E_ARGUMENT, MM_E_NOT_FOUND, MM_E_IO, MM_E_FORMAT (an unknown or wrong key, a broken manifest line: the message names file, line
 * and key), MM_E_UNSUPPORTED (what the model lacks for an objective), MM_E_SHAPE, MM_E_LIMIT, MM_E_NOMEM or MM_E_CANCELLED.
 * Threads: a trainer and its context serve one thread at a time; batches are prepared on a thread of the trainer's own (none with "prefetch": 0), which calls the context's
 * memory hooks too. Since 0.2. */
MM_API mm_status mm_trainer_create(mm_context *ctx, const char *path, mm_trainer **out);
MM_API void mm_trainer_destroy(mm_trainer *trainer); /* NULL allowed */

/* Go on from the newest checkpoint of the run's output folder; MM_E_NOT_FOUND where there is none (the trainer is then as it was), MM_E_FORMAT or
 * MM_E_SHAPE where it is of another run (nothing is changed then), MM_E_STATE behind the first step, MM_E_IO or MM_E_NOMEM. Since 0.2. */
MM_API mm_status mm_trainer_resume(mm_trainer *trainer);

/* Take up to `steps` steps, or with 0 all that are left. Every `log_every` steps a line goes to log.jsonl of the output folder, every `evaluate_every` the held-out
 * examples are evaluated, every `save_every` a checkpoint is written; at the end all of that, and the model is saved in the output folder. A run that is complete is MM_OK and
 * does nothing.
 *
 *   callback  called after each step on this thread, before what is written behind it; may be NULL; nonzero stops the run behind the step (MM_OK)
 *
 * MM_E_OVERFLOW: a loss or gradient is no number; the message names step and tensor, and the weights are those before the step. MM_E_CANCELLED: between or within steps.
 * MM_E_STATE: the output folder holds checkpoints of an earlier run, which was not resumed. Other failures are those of reading data and of writing. After any of them the weights
 * are those of a whole step and the checkpoints before are there; the next call goes on as if nothing had been, beginning with what could not be written. Since 0.2. */
typedef int (*mm_trainer_fn)(void *user, mm_trainer *trainer);
MM_API mm_status mm_trainer_run(mm_trainer *trainer, int64_t steps, mm_trainer_fn callback, void *user);

/* Write a checkpoint now, into the output folder: aside, then renamed, so that there is a whole one or the one before. The `keep` newest stay. MM_E_STATE as above, MM_E_IO or
 * MM_E_NOMEM. Since 0.2. */
MM_API mm_status mm_trainer_checkpoint(mm_trainer *trainer);

/* Save the model as it is in a folder of its own, as mm_model_save does; a run of LoRA saves its adapter as mm_model_save_adapter does, and where it
 * trained weights of the model itself too that model in the same folder, without the adapter in it. What the configuration's "save_as" asks for comes first,
 * as mm_model_save_as writes it, in a folder of the class's name there. Fails as those do. Since 0.2. */
MM_API mm_status mm_trainer_save(mm_trainer *trainer, const char *directory);

/* Evaluate the held-out examples of all tasks that have some: *json is an object, a member for each task by its name with "loss", "samples" and what its objective is measured by
 * ("accuracy", "perplexity", "image_to_text_recall@1", ...), as docs/training.md lists them; {} where no task has. To be freed with mm_text_free. Fails as reading data and running
 * models do. Since 0.2. */
MM_API mm_status mm_trainer_evaluate(mm_trainer *trainer, char **json);

/* The same of an opened model by the tasks of a configuration: of a task with a validation manifest that, of another all its examples. Since 0.2. */
MM_API mm_status mm_evaluate(mm_context *ctx, mm_model *model, const char *path, char **json);

/* Facts about the run: whole numbers and others. MM_OK or MM_E_ARGUMENT. Since 0.2. */
enum {
    MM_TRAINER_STEP = 1,       /* steps done */
    MM_TRAINER_STEPS = 2,      /* of the whole run */
    MM_TRAINER_PARAMETERS = 3, /* elements that are trained */
    MM_TRAINER_SKIPPED = 4     /* bad lines of the training manifests that were skipped so far */
};
MM_API mm_status mm_trainer_get_i64(const mm_trainer *trainer, int32_t fact, int64_t *out);
enum {
    MM_TRAINER_LOSS = 1,               /* of the last step; NaN before the first */
    MM_TRAINER_GRADIENT_NORM = 2,      /* before clipping */
    MM_TRAINER_LEARNING_RATE = 3,
    MM_TRAINER_SAMPLES_PER_SECOND = 4  /* since mm_trainer_run was called the last time */
};
MM_API mm_status mm_trainer_get_f64(const mm_trainer *trainer, int32_t fact, double *out);

/* The run's output folder, borrowed. Since 0.2. */
MM_API const char *mm_trainer_output(const mm_trainer *trainer);

/* The model that is trained, borrowed for the trainer's life (mm_model_retain keeps it longer); what it answers changes with the steps. It may be used between calls of the trainer.
 * NULL for NULL. Since 0.2. */
MM_API mm_model *mm_trainer_model(const mm_trainer *trainer);

#ifdef __cplusplus
}
#endif
#endif
