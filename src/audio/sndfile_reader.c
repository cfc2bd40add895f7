/* SPDX-License-Identifier: MIT */
#include "sndfile_reader.h"

#ifdef MMI_WITH_SNDFILE

#include <sndfile.h>
#include <string.h>

#include "size.h"

/* The file in memory as libsndfile reads it; 0 <= at <= size. */
typedef struct {
    const unsigned char *data;
    sf_count_t size, at;
} memory;

static sf_count_t memory_size(void *user) { return ((memory *)user)->size; }
static sf_count_t memory_tell(void *user) { return ((memory *)user)->at; }

static sf_count_t memory_seek(sf_count_t offset, int whence, void *user)
{
    memory *m = user;
    const sf_count_t from = whence == SEEK_CUR ? m->at : whence == SEEK_END ? m->size : 0;

    if (offset < -from || offset > m->size - from) return -1;
    m->at = from + offset;
    return m->at;
}

static sf_count_t memory_read(void *to, sf_count_t count, void *user)
{
    memory *m = user;

    if (count > m->size - m->at) count = m->size - m->at;
    memcpy(to, m->data + m->at, (size_t)count);
    m->at += count;
    return count;
}

enum { BLOCK = 4096 }; /* samples of each channel at a time */

mm_status mmi_sndfile_read(mm_context *ctx, const char *name, const void *data, size_t size, mmi_audio **out)
{
    SF_VIRTUAL_IO io = {memory_size, memory_seek, memory_read, NULL, memory_tell};
    memory file = {data, (sf_count_t)size, 0};
    SF_INFO info = {0};
    SNDFILE *f = NULL;
    mmi_audio *audio = NULL;
    float *mixed = NULL, *block = NULL;
    size_t blocks = 0, capacity = 0, channels;
    sf_count_t got = BLOCK, count = 0;
    mm_status st = MM_OK;

    *out = NULL;
    f = sf_open_virtual(&io, SFM_READ, &info, &file);
    if (!f) {
        st = mmi_fail(ctx, MM_E_FORMAT, "%s: libsndfile: %s", name, sf_strerror(NULL));
        goto cleanup;
    }
    if (info.channels < 1 || !mmi_audio_rate_fits(info.samplerate)) {
        st = mmi_fail(ctx, MM_E_FORMAT, "%s: %d channels of %d samples per second, expected 1 or more of %d to %d", name, info.channels,
                      info.samplerate, MM_AUDIO_MIN_RATE, MM_AUDIO_MAX_RATE);
        goto cleanup;
    }
    channels = (size_t)info.channels;
    block = mmi_alloc_array(ctx, BLOCK * sizeof *block, channels);
    if (!block) { st = MM_E_NOMEM; goto cleanup; }
    /* The length in the header is a claim: memory grows with what is there. */
    for (; got == BLOCK; blocks++) {
        st = mmi_check_cancel(ctx);
        if (!st) st = mmi_audio_check_count(ctx, name, (uint64_t)count);
        if (st) goto cleanup;
        if (mmi_grow(ctx, (void **)&mixed, &capacity, blocks, BLOCK * sizeof *mixed)) { st = MM_E_NOMEM; goto cleanup; }
        got = sf_readf_float(f, block, BLOCK);
        if (sf_error(f)) {
            st = mmi_fail(ctx, MM_E_FORMAT, "%s: libsndfile behind sample %lld: %s", name, (long long)count, sf_strerror(f));
            goto cleanup;
        }
        for (size_t i = 0; i < (size_t)got; i++) {
            double sum = 0;
            for (size_t c = 0; c < channels; c++) sum += block[i * channels + c];
            mixed[blocks * BLOCK + i] = mmi_audio_mix(sum, channels);
        }
        count += got;
    }
    st = mmi_audio_check_count(ctx, name, (uint64_t)count);
    if (st) goto cleanup;
    if (info.frames != SF_COUNT_MAX && count < info.frames) {
        st = mmi_fail(ctx, MM_E_FORMAT, "%s is cut off: it has %lld samples of %lld", name, (long long)count, (long long)info.frames);
        goto cleanup;
    }
    st = mmi_audio_create(ctx, (int32_t)info.samplerate, (size_t)count, &audio);
    if (st) goto cleanup;
    memcpy(audio->samples, mixed, (size_t)count * sizeof *mixed);
    *out = audio;
cleanup:
    mmi_free(block);
    mmi_free(mixed);
    if (f) sf_close(f);
    return st;
}

#else

mm_status mmi_sndfile_read(mm_context *ctx, const char *name, const void *data, size_t size, mmi_audio **out)
{
    (void)data;
    (void)size;
    *out = NULL;
    return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s is FLAC or Ogg, and this libmm was built without libsndfile: only WAV is read", name);
}

#endif
