/* The model that a run begins with. SPDX-License-Identifier: MIT */
#ifndef MMI_RUN_MODEL_H
#define MMI_RUN_MODEL_H

#include "train_config.h"

/* Open the configuration's model to be changed. A new one is put together in the run's output folder first: its config.json, tokenizer and processor, all but the weights, which
 * are drawn by the run's seed. */
mm_status mmi_run_model_open(mm_context *ctx, const mmi_train_config *config, mm_model **out);

/* The frozen model of a task, or NULL where its objective needs none. */
mm_status mmi_run_model_other(mm_context *ctx, const mmi_train_config *config, const mmi_train_task *task, mm_model **out);

#endif
