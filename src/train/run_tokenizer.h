/* The tokenizer of a run that trains its own. SPDX-License-Identifier: MIT */
#ifndef MMI_RUN_TOKENIZER_H
#define MMI_RUN_TOKENIZER_H

#include "train_config.h"

/* Train it on all texts of the tasks' training manifests and prompts, as model.tokenizer of the configuration says, and write it into a directory that is there. */
mm_status mmi_run_tokenizer_train(mm_context *ctx, const mmi_train_config *config, const char *directory);

#endif
