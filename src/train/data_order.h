/* Which example and which task come when: pure functions of the seed and the position, so that resuming needs the step alone.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_DATA_ORDER_H
#define MMI_DATA_ORDER_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"

/* Example `i` of epoch `epoch` of a data set of `count` (1 or more, i below it): for each seed and epoch a permutation, by a Feistel
 * network (Luby and Rackoff 1988) that is walked until it leads back below `count` (Black and Rogaway 2002). */
size_t mmi_data_order_at(uint64_t seed, uint64_t epoch, size_t count, size_t i);

enum { MMI_TASK_ORDER_MAX_TASKS = 256, MMI_TASK_ORDER_MAX_PERIOD = 4096 };

/* Which of several tasks a micro-batch is of. The tasks repeat with a period: the shortest, up to MMI_TASK_ORDER_MAX_PERIOD, in which the
 * ratios are whole numbers, else that one with the ratios rounded by largest remainder, but to no less than 1. Within a period each task's
 * turns are spread evenly: each turn goes to the task that lags most behind its ratio, the first among equals. */
typedef struct mmi_task_order mmi_task_order;

/* Of `count` ratios, all positive and finite, whatever their sum; MM_E_ARGUMENT otherwise. */
mm_status mmi_task_order_create(mm_context *ctx, const double *ratios, size_t count, mmi_task_order **out);
void mmi_task_order_destroy(mmi_task_order *o); /* NULL allowed */
/* The task of micro-batch s, and how many of the ones before were of it. */
void mmi_task_order_at(const mmi_task_order *o, uint64_t s, size_t *task, uint64_t *nth);

#endif
