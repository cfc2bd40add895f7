/* log.jsonl of a run: a JSON object a line, one for each step that is logged and each evaluation. What a process that was killed wrote of a line, and
 * what it logged behind the checkpoint that a run goes on from, goes when the log is opened again. SPDX-License-Identifier: MIT */
#ifndef MMI_TRAINING_LOG_H
#define MMI_TRAINING_LOG_H

#include <stdint.h>

#include "context.h"

typedef struct mmi_training_log mmi_training_log;

/* Open the log in `directory` to go on behind `step`: lines of later steps go. Step 0: an empty one. */
mm_status mmi_training_log_open(mm_context *ctx, const char *directory, uint64_t step, mmi_training_log **out);
void mmi_training_log_close(mmi_training_log *log); /* NULL allowed */

/* Append a line, which ends with the file's; `line` is the object without its newline. MM_E_IO names the file. */
mm_status mmi_training_log_write(mm_context *ctx, mmi_training_log *log, const char *line, size_t size);

#endif
