/* Examples as one batch: sequences padded to one length, labels with their weights. What padding hides counts in no loss. SPDX-License-Identifier: MIT */
#ifndef MMI_BATCH_H
#define MMI_BATCH_H

#include "example.h"

typedef struct {
    mm_tensor_map *inputs; /* as objective.h lists them */
    size_t task, samples;
} mmi_batch;

/* Of `n` examples (1 or more) that were made for the same task. */
mm_status mmi_batch_collate(mm_context *ctx, const mmi_example_maker *m, const mmi_example *examples, size_t n, mm_tensor_map **out);

#endif
