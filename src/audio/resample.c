/* SPDX-License-Identifier: MIT */
#include "resample.h"

#include <math.h>

#include "kernels.h"
#include "size.h"

#define PI 3.14159265358979323846

enum {
    ZERO_CROSSINGS = 6,   /* of the sinc to each side: lowpass_filter_width */
    PHASES_PER_TASK = 64,
    SAMPLES_PER_TASK = 4096
};
static const double rolloff = 0.99;

/* Output sample m stands at m * from / to of the input; only the fraction of this, one of `to` phases, tells its filter. */
typedef struct {
    const mmi_kernels *k;
    const mmi_audio *in;
    mmi_audio *out;
    size_t from, to; /* the rates without their common factor */
    double cut_off;  /* in half cycles of an input sample */
    size_t reach;    /* taps go from -reach to reach + 1 around the input sample at or before */
    size_t taps;
    size_t phases;
    float *filters; /* [phases, taps] */
} resampler;

static void filter_task(void *arg, size_t task, int worker)
{
    const resampler *r = arg;
    const size_t end = mmi_size_min((task + 1) * PHASES_PER_TASK, r->phases);

    (void)worker;
    for (size_t phase = task * PHASES_PER_TASK; phase < end; phase++) {
        const double fraction = (double)(phase * r->from % r->to) / (double)r->to;
        for (size_t j = 0; j < r->taps; j++) {
            const double t = ((double)j - (double)r->reach - fraction) * r->cut_off;
            const double window = fabs(t) < ZERO_CROSSINGS ? cos(t * PI / ZERO_CROSSINGS / 2) : 0;
            const double sinc = t == 0 ? 1 : sin(t * PI) / (t * PI);
            r->filters[phase * r->taps + j] = (float)(sinc * window * window * r->cut_off);
        }
    }
}

static void sample_task(void *arg, size_t task, int worker)
{
    const resampler *r = arg;
    const size_t end = mmi_size_min((task + 1) * SAMPLES_PER_TASK, r->out->count);

    (void)worker;
    for (size_t m = task * SAMPLES_PER_TASK; m < end; m++) {
        const float *filter = r->filters + m % r->to * r->taps;
        const size_t at = m * r->from / r->to; /* m is below 2^28, from below 2^19 */
        const size_t skip = at < r->reach ? r->reach - at : 0; /* outside the sound is silence */
        const size_t first = at + skip - r->reach;
        const size_t last = mmi_size_min(at + r->taps - r->reach, r->in->count);

        r->out->samples[m] = last > first ? r->k->dot(filter + skip, r->in->samples + first, last - first) : 0;
    }
}

mm_status mmi_audio_resample(mm_context *ctx, const mmi_audio *audio, int32_t rate, mmi_audio **out)
{
    resampler r = {0};
    mmi_thread_pool *pool = NULL;
    size_t a = (size_t)audio->rate, b = (size_t)rate, count = 0;
    mm_status st;

    *out = NULL;
    while (b) {
        const size_t rest = a % b;
        a = b;
        b = rest;
    }
    r.in = audio;
    r.from = (size_t)audio->rate / a;
    r.to = (size_t)rate / a;
    count = (audio->count * r.to + r.from - 1) / r.from;
    st = mmi_audio_check_count(ctx, "the resampled sound", count);
    if (!st) st = mmi_audio_create(ctx, rate, count, &r.out);
    if (st) goto cleanup;
    if (r.from == r.to) {
        for (size_t i = 0; i < count; i++) r.out->samples[i] = audio->samples[i];
        goto done;
    }
    r.cut_off = (double)mmi_size_min(r.from, r.to) / (double)r.from * rolloff;
    r.reach = (size_t)(ZERO_CROSSINGS / r.cut_off);
    r.taps = 2 * r.reach + 2;
    r.phases = mmi_size_min(r.to, count);
    r.k = mmi_kernels_of(ctx);
    r.filters = mmi_alloc_array(ctx, r.phases, r.taps * sizeof *r.filters);
    if (!r.k || !r.filters) { st = MM_E_NOMEM; goto cleanup; }
    pool = mmi_context_pool(ctx);
    mmi_thread_pool_run(pool, filter_task, &r, (r.phases + PHASES_PER_TASK - 1) / PHASES_PER_TASK, &ctx->cancel);
    mmi_thread_pool_run(pool, sample_task, &r, (count + SAMPLES_PER_TASK - 1) / SAMPLES_PER_TASK, &ctx->cancel);
    st = mmi_check_cancel(ctx);
    if (st) goto cleanup;
done:
    *out = r.out;
    r.out = NULL;
cleanup:
    mmi_free(r.filters);
    mmi_audio_destroy(r.out);
    return st;
}
