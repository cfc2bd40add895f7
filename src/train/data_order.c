/* SPDX-License-Identifier: MIT */
#include "data_order.h"

#include <math.h>
#include <string.h>

#include "random.h"

enum { STREAM_ORDER = 0x4F524452, /* "ORDR" */ ROUNDS = 8 };

size_t mmi_data_order_at(uint64_t seed, uint64_t epoch, size_t count, size_t i)
{
    const uint64_t key = mmi_random_at(seed, STREAM_ORDER, epoch);
    unsigned half = 1; /* bits of a half */
    uint64_t mask, x = i;

    while (half < 32 && (uint64_t)1 << 2 * half < count) half++;
    mask = ((uint64_t)1 << half) - 1;
    do {
        uint64_t left = x >> half, right = x & mask;
        for (unsigned round = 0; round < ROUNDS; round++) {
            uint64_t next = left ^ (mmi_random_at(key, round, right) & mask);
            left = right;
            right = next;
        }
        x = left << half | right;
    } while (x >= count);
    return (size_t)x;
}

typedef struct {
    uint16_t task;
    uint16_t before; /* turns of the task earlier in the period */
} turn;

struct mmi_task_order {
    size_t tasks, period;
    uint16_t turns_of[MMI_TASK_ORDER_MAX_TASKS]; /* in a period */
    turn turns[MMI_TASK_ORDER_MAX_PERIOD];
};

static const double NEARLY = 1e-9; /* what a product of shares may lie beside a whole number, relatively */

static int is_whole(double x) { return rint(x) >= 1 && fabs(x - rint(x)) < NEARLY * x; }

/* Largest remainder, with 1 for those that would get nothing; shares add up to 1. */
static void round_shares(mmi_task_order *o, const double *shares)
{
    size_t given = 0;

    for (size_t i = 0; i < o->tasks; i++) {
        const double turns = floor(shares[i] * (double)o->period * (1 + NEARLY));
        o->turns_of[i] = turns < 1 ? 1 : (uint16_t)turns;
        given += o->turns_of[i];
    }
    while (given != o->period) { /* at most as often as there are tasks */
        const int more = given < o->period;
        size_t best = 0;
        double most = -INFINITY;
        for (size_t i = 0; i < o->tasks; i++) {
            const double lag = (shares[i] * (double)o->period - o->turns_of[i]) * (more ? 1 : -1);
            if (lag > most && (more || o->turns_of[i] > 1)) {
                most = lag;
                best = i;
            }
        }
        o->turns_of[best] = (uint16_t)(o->turns_of[best] + (more ? 1 : -1));
        given += more ? 1 : (size_t)-1;
    }
}

mm_status mmi_task_order_create(mm_context *ctx, const double *ratios, size_t count, mmi_task_order **out)
{
    double shares[MMI_TASK_ORDER_MAX_TASKS], sum = 0;
    uint16_t given[MMI_TASK_ORDER_MAX_TASKS] = {0};
    mmi_task_order *o;

    *out = NULL;
    if (!count || count > MMI_TASK_ORDER_MAX_TASKS)
        return mmi_fail(ctx, MM_E_ARGUMENT, "%zu tasks, allowed are 1 to %d", count, MMI_TASK_ORDER_MAX_TASKS);
    for (size_t i = 0; i < count; i++) {
        if (!(ratios[i] > 0) || !isfinite(sum += ratios[i]))
            return mmi_fail(ctx, MM_E_ARGUMENT, "the ratio of task %zu is %g: ratios must be positive, and their sum finite", i, ratios[i]);
    }
    o = mmi_zalloc(ctx, sizeof *o);
    if (!o) return MM_E_NOMEM;
    o->tasks = count;
    for (size_t i = 0; i < count; i++) shares[i] = ratios[i] / sum;
    for (o->period = count; o->period < MMI_TASK_ORDER_MAX_PERIOD; o->period++) {
        size_t i = 0;
        while (i < count && is_whole(shares[i] * (double)o->period)) i++;
        if (i == count) break;
    }
    round_shares(o, shares);
    for (size_t s = 0; s < o->period; s++) {
        int64_t most = INT64_MIN;
        size_t best = 0;
        for (size_t i = 0; i < count; i++) {
            const int64_t lag = (int64_t)((s + 1) * o->turns_of[i]) - (int64_t)(given[i] * o->period); /* in turns, times the period */
            if (given[i] < o->turns_of[i] && lag > most) {
                most = lag;
                best = i;
            }
        }
        o->turns[s].task = (uint16_t)best;
        o->turns[s].before = given[best]++;
    }
    *out = o;
    return MM_OK;
}

void mmi_task_order_destroy(mmi_task_order *o) { mmi_free(o); }

void mmi_task_order_at(const mmi_task_order *o, uint64_t s, size_t *task, uint64_t *nth)
{
    const turn *t = &o->turns[s % o->period];

    *task = t->task;
    *nth = s / o->period * o->turns_of[t->task] + t->before;
}
