/* How the learning rate changes with the step: as transformers' get_*_schedule_with_warmup, with a floor.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_SCHEDULE_H
#define MMI_SCHEDULE_H

#include <stdint.h>

#include "context.h"

typedef enum { MMI_SCHEDULE_CONSTANT, MMI_SCHEDULE_LINEAR, MMI_SCHEDULE_COSINE, MMI_SCHEDULE_INVERSE_SQRT, MMI_SCHEDULE_COUNT } mmi_schedule_kind;

typedef struct {
    mmi_schedule_kind kind;
    uint64_t warmup_steps; /* from 0 to 1 in a line; also the time scale of the inverse square root, or 10000 steps where it is 0 */
    uint64_t total_steps;  /* when linear and cosine are down, where they stay */
    double min_ratio;      /* what they come down to; the inverse square root does not fall below it */
} mmi_schedule;

/* "constant", "linear", "cosine" or "inverse_sqrt"; MM_E_ARGUMENT, which names the four, for another. */
mm_status mmi_schedule_kind_of(mm_context *ctx, const char *name, mmi_schedule_kind *kind);

/* What the learning rate is multiplied by after `step` steps: the first step has 0. */
double mmi_schedule_factor(const mmi_schedule *s, uint64_t step);

#endif
