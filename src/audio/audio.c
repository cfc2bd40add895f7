/* SPDX-License-Identifier: MIT */
#include "audio.h"

#include <math.h>
#include <string.h>

#include "file.h"
#include "sndfile_reader.h"
#include "wav_reader.h"

int mmi_audio_rate_fits(int64_t rate) { return rate >= MM_AUDIO_MIN_RATE && rate <= MM_AUDIO_MAX_RATE; }

mm_status mmi_audio_check_count(mm_context *ctx, const char *name, uint64_t count)
{
    if (count <= MM_AUDIO_MAX_SAMPLES) return MM_OK;
    return mmi_fail(ctx, MM_E_LIMIT, "%s has %llu samples, more than the %d allowed", name, (unsigned long long)count,
                    MM_AUDIO_MAX_SAMPLES);
}

mm_status mmi_audio_check_finite(mm_context *ctx, const char *name, const float *samples, size_t count, mm_status failure)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(samples[i])) return mmi_fail(ctx, failure, "%s: sample %zu is not a finite number", name, i);
    return MM_OK;
}

mm_status mmi_audio_create(mm_context *ctx, int32_t rate, size_t count, mmi_audio **out)
{
    mm_status st = MM_OK;
    mmi_audio *audio;

    *out = NULL;
    audio = mmi_zalloc(ctx, sizeof *audio);
    if (!audio) { st = MM_E_NOMEM; goto cleanup; }
    audio->rate = rate;
    audio->count = count;
    audio->samples = mmi_alloc_array(ctx, count, sizeof *audio->samples);
    if (!audio->samples) { st = MM_E_NOMEM; goto cleanup; }
    *out = audio;
    audio = NULL;
cleanup:
    mmi_audio_destroy(audio);
    return st;
}

void mmi_audio_destroy(mmi_audio *audio)
{
    if (!audio) return;
    mmi_free(audio->samples);
    mmi_free(audio);
}

mm_status mmi_audio_decode(mm_context *ctx, const char *name, const void *data, size_t size, mmi_audio **out)
{
    mmi_audio *audio = NULL;
    mm_status st;

    *out = NULL;
    if (mmi_wav_matches(data, size))
        st = mmi_wav_read(ctx, name, data, size, &audio);
    else if (size >= 4 && (!memcmp(data, "fLaC", 4) || !memcmp(data, "OggS", 4)))
        st = mmi_sndfile_read(ctx, name, data, size, &audio);
    else
        st = mmi_fail(ctx, MM_E_UNSUPPORTED, "%s is no WAV, FLAC or Ogg sound", name);
    if (!st) st = mmi_audio_check_finite(ctx, name, audio->samples, audio->count, MM_E_FORMAT);
    if (st)
        mmi_audio_destroy(audio);
    else
        *out = audio;
    return st;
}

mm_status mmi_audio_read(mm_context *ctx, const char *path, mmi_audio **out)
{
    mmi_file_map *map = NULL;
    mm_status st;

    *out = NULL;
    st = mmi_file_map_open(ctx, path, &map);
    if (!st) st = mmi_audio_decode(ctx, path, mmi_file_map_data(map), mmi_file_map_size(map), out);
    mmi_file_map_release(map);
    return st;
}
