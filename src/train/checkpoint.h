/* Checkpoints: what a run needs to go on as if it had never stopped, in one safetensors file that is written aside, synchronized and renamed.
 *
 * checkpoint-<step>.safetensors of the run's directory holds "state.step" (I64 [1]), "weights.<name>" and "optimizer.<name>.<moment>". What is frozen is
 * not in it: it comes from where the run began. SPDX-License-Identifier: MIT */
#ifndef MMI_CHECKPOINT_H
#define MMI_CHECKPOINT_H

#include "optimizer.h"
#include "parameters.h"

/* Write that of `step`, then drop all but the `keep` newest. A failure leaves those before as they are. */
mm_status mmi_checkpoint_write(mm_context *ctx, const char *directory, uint64_t step, const mmi_parameters *p, const mmi_optimizer *o, size_t keep);

/* The newest one's step; MM_E_NOT_FOUND where there is none. */
mm_status mmi_checkpoint_find(mm_context *ctx, const char *directory, uint64_t *step);

/* Read it into the parameters and the optimizer. MM_E_FORMAT or MM_E_SHAPE names the tensor that is missing or differs; nothing was changed then. */
mm_status mmi_checkpoint_read(mm_context *ctx, const char *directory, uint64_t step, mmi_parameters *p, mmi_optimizer *o);

#endif
