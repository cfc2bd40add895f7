/* SPDX-License-Identifier: MIT */
#include "schedule.h"

#include <math.h>
#include <string.h>

mm_status mmi_schedule_kind_of(mm_context *ctx, const char *name, mmi_schedule_kind *kind)
{
    static const char *const NAMES[MMI_SCHEDULE_COUNT] = {"constant", "linear", "cosine", "inverse_sqrt"};

    for (int i = 0; i < MMI_SCHEDULE_COUNT; i++) {
        if (strcmp(name, NAMES[i])) continue;
        *kind = (mmi_schedule_kind)i;
        return MM_OK;
    }
    return mmi_fail(ctx, MM_E_ARGUMENT, "schedule \"%.64s\" is none of constant, linear, cosine, inverse_sqrt", name);
}

double mmi_schedule_factor(const mmi_schedule *s, uint64_t step)
{
    const double warmup = (double)s->warmup_steps, scale = s->warmup_steps ? warmup : 10000, down = fmax(1, (double)s->total_steps - warmup);
    double done;

    if (step < s->warmup_steps) return (double)step / warmup;
    done = (double)(step - s->warmup_steps);
    switch (s->kind) {
    case MMI_SCHEDULE_LINEAR: return s->min_ratio + (1 - s->min_ratio) * fmax(0, ((double)s->total_steps - (double)step) / down);
    case MMI_SCHEDULE_COSINE: return s->min_ratio + (1 - s->min_ratio) * 0.5 * (1 + cos(3.14159265358979323846 * fmin(1, done / down)));
    case MMI_SCHEDULE_INVERSE_SQRT: return fmax(s->min_ratio, 1 / sqrt((done + scale) / scale));
    case MMI_SCHEDULE_CONSTANT:
    case MMI_SCHEDULE_COUNT: break;
    }
    return 1;
}
