/* include/mm_audio.h. SPDX-License-Identifier: MIT */
#include "mm_audio.h"

#include <string.h>

#include "audio.h"
#include "context.h"
#include "resample.h"

/* Nonzero after recording MM_E_ARGUMENT. */
static int lacks(mm_context *ctx, const char *call, const char *argument, const void *from, mm_audio **out)
{
    if (from && out) return 0;
    (void)mmi_fail(ctx, MM_E_ARGUMENT, "%s: %s is NULL", call, from ? "out" : argument);
    return 1;
}

static mm_status check_rate(mm_context *ctx, const char *call, int32_t rate)
{
    if (mmi_audio_rate_fits(rate)) return MM_OK;
    return mmi_fail(ctx, MM_E_ARGUMENT, "%s: rate is %d, expected %d to %d", call, (int)rate, MM_AUDIO_MIN_RATE, MM_AUDIO_MAX_RATE);
}

mm_status mm_audio_read(mm_context *ctx, const char *path, mm_audio **out)
{
    if (out) *out = NULL;
    if (!ctx || lacks(ctx, "mm_audio_read", "path", path, out)) return MM_E_ARGUMENT;
    return mmi_audio_read(ctx, path, out);
}

mm_status mm_audio_decode(mm_context *ctx, const void *data, size_t size, mm_audio **out)
{
    if (out) *out = NULL;
    if (!ctx || lacks(ctx, "mm_audio_decode", "data", data, out)) return MM_E_ARGUMENT;
    return mmi_audio_decode(ctx, "the sound in memory", data, size, out);
}

mm_status mm_audio_create(mm_context *ctx, int32_t rate, const float *samples, size_t count, mm_audio **out)
{
    mm_status st;

    if (out) *out = NULL;
    if (!ctx || lacks(ctx, "mm_audio_create", "samples", count ? (const void *)samples : "", out)) return MM_E_ARGUMENT;
    st = check_rate(ctx, "mm_audio_create", rate);
    if (!st) st = mmi_audio_check_count(ctx, "the sound", count);
    if (!st) st = mmi_audio_check_finite(ctx, "mm_audio_create", samples, count, MM_E_ARGUMENT);
    if (!st) st = mmi_audio_create(ctx, rate, count, out);
    if (!st && count) memcpy((*out)->samples, samples, count * sizeof *samples);
    return st;
}

mm_status mm_audio_resample(mm_context *ctx, const mm_audio *audio, int32_t rate, mm_audio **out)
{
    mm_status st;

    if (out) *out = NULL;
    if (!ctx || lacks(ctx, "mm_audio_resample", "audio", audio, out)) return MM_E_ARGUMENT;
    st = check_rate(ctx, "mm_audio_resample", rate);
    return st ? st : mmi_audio_resample(ctx, audio, rate, out);
}

void mm_audio_destroy(mm_audio *audio) { mmi_audio_destroy(audio); }
int32_t mm_audio_rate(const mm_audio *audio) { return audio ? audio->rate : 0; }
size_t mm_audio_count(const mm_audio *audio) { return audio ? audio->count : 0; }
const float *mm_audio_samples(const mm_audio *audio) { return audio ? audio->samples : NULL; }
