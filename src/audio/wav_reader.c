/* SPDX-License-Identifier: MIT */
#include "wav_reader.h"

#include <string.h>

#include "size.h"

enum {
    FORMAT_PCM = 1,
    FORMAT_FLOAT = 3,
    FORMAT_EXTENSIBLE = 0xFFFE, /* the format is the beginning of a GUID */
    STREAM_BYTES = 0x7FFF0000,  /* sizes from here on are what writers to a pipe put */
    FRAMES_BETWEEN_POLLS = 1 << 16
};

typedef struct {
    const unsigned char *data; /* the data chunk */
    size_t size;
    unsigned format, channels, bits;
    size_t block, width; /* bytes of all channels' samples of one moment, of one sample */
    int64_t rate;
} wav;

static unsigned get16(const unsigned char *p) { return (unsigned)p[0] | (unsigned)p[1] << 8; }
static uint32_t get32(const unsigned char *p) { return get16(p) | (uint32_t)get16(p + 2) << 16; }
static uint64_t get64(const unsigned char *p) { return get32(p) | (uint64_t)get32(p + 4) << 32; }

int mmi_wav_matches(const unsigned char *data, size_t size)
{
    return size >= 12 && (!memcmp(data, "RIFF", 4) || !memcmp(data, "RF64", 4) || !memcmp(data, "BW64", 4)) && !memcmp(data + 8, "WAVE", 4);
}

static mm_status read_format(mm_context *ctx, const char *name, const unsigned char *p, size_t n, wav *w)
{
    static const unsigned char guid_tail[] = {0, 0, 0, 0, 16, 0, 128, 0, 0, 170, 0, 56, 155, 113};

    if (n < 16) return mmi_fail(ctx, MM_E_FORMAT, "%s: the WAV chunk \"fmt \" has %zu bytes, expected 16 or more", name, n);
    w->format = get16(p);
    w->channels = get16(p + 2);
    w->rate = get32(p + 4);
    w->block = get16(p + 12);
    w->bits = get16(p + 14);
    w->width = (w->bits + 7) / 8;
    if (w->format == FORMAT_EXTENSIBLE && n >= 40 && !memcmp(p + 26, guid_tail, sizeof guid_tail)) w->format = get16(p + 24);
    if (w->format != FORMAT_PCM && w->format != FORMAT_FLOAT)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: the WAV coding 0x%04x is not read, only PCM and float", name, w->format);
    if (!w->channels) return mmi_fail(ctx, MM_E_FORMAT, "%s: a WAV file of 0 channels", name);
    if (!mmi_audio_rate_fits(w->rate))
        return mmi_fail(ctx, MM_E_FORMAT, "%s: %lld samples per second, expected %d to %d", name, (long long)w->rate, MM_AUDIO_MIN_RATE,
                        MM_AUDIO_MAX_RATE);
    if (w->format == FORMAT_PCM ? w->width < 1 || w->width > 4 : w->bits != 32 && w->bits != 64)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: WAV samples of %u bits %s are not read", name, w->bits,
                        w->format == FORMAT_PCM ? "PCM" : "float");
    if (w->block != w->channels * w->width)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: the WAV block of %u samples of %u bits is %zu bytes, expected %zu", name, w->channels,
                        w->bits, w->block, w->channels * w->width);
    return MM_OK;
}

/* Find the data and how they are coded. */
static mm_status read_chunks(mm_context *ctx, const char *name, const unsigned char *data, size_t size, wav *w)
{
    uint64_t long_size = 0; /* of the data, from "ds64" */
    size_t at = 12;
    mm_status st;

    while (size - at >= 8) {
        const unsigned char *id = data + at, *body = id + 8;
        const size_t left = size - at - 8;
        uint64_t n = get32(id + 4);

        if (!memcmp(id, "data", 4)) {
            if (!w->block) return mmi_fail(ctx, MM_E_FORMAT, "%s: the WAV chunk \"data\" comes before \"fmt \"", name);
            if (n == UINT32_MAX && long_size)
                n = long_size;
            else if (n >= STREAM_BYTES && n > left)
                n = left;
            if (n > left)
                return mmi_fail(ctx, MM_E_FORMAT, "%s is cut off: the WAV data have %zu bytes of %llu", name, left, (unsigned long long)n);
            w->data = body;
            w->size = (size_t)n;
            return MM_OK;
        }
        if (n > left)
            return mmi_fail(ctx, MM_E_FORMAT, "%s is cut off: a WAV chunk at byte %zu has %zu bytes of %llu", name, at, left,
                            (unsigned long long)n);
        if (!memcmp(id, "ds64", 4) && n >= 16) long_size = get64(body + 8);
        if (!memcmp(id, "fmt ", 4)) {
            st = read_format(ctx, name, body, (size_t)n, w);
            if (st) return st;
        }
        at += 8 + mmi_size_min((size_t)n + (n & 1), left); /* a pad byte evens odd chunks, but for one at the end of some files */
    }
    return mmi_fail(ctx, MM_E_FORMAT, "%s: a WAV file without a chunk \"%s\"", name, w->block ? "data" : "fmt ");
}

static double sample_at(const wav *w, const unsigned char *p)
{
    uint64_t bits;
    double wide;
    float narrow;

    if (w->format == FORMAT_FLOAT) {
        if (w->width == 4) {
            uint32_t word = get32(p);
            memcpy(&narrow, &word, sizeof narrow);
            return narrow;
        }
        bits = get64(p);
        memcpy(&wide, &bits, sizeof wide);
        return wide;
    }
    switch (w->width) {
    case 1: return ((int)p[0] - 128) / 128.0;
    case 2: return (int16_t)get16(p) / 32768.0;
    case 3: return (int32_t)(get16(p) << 8 | (uint32_t)p[2] << 24) / 2147483648.0;
    default: return (int32_t)get32(p) / 2147483648.0;
    }
}

mm_status mmi_wav_read(mm_context *ctx, const char *name, const unsigned char *data, size_t size, mmi_audio **out)
{
    wav w = {0};
    mmi_audio *audio = NULL;
    size_t count = 0;
    mm_status st;

    *out = NULL;
    st = read_chunks(ctx, name, data, size, &w);
    if (st) goto cleanup;
    count = w.size / w.block;
    st = mmi_audio_check_count(ctx, name, count);
    if (!st) st = mmi_audio_create(ctx, (int32_t)w.rate, count, &audio);
    if (st) goto cleanup;
    for (size_t i = 0; i < count; i++) {
        const unsigned char *p = w.data + i * w.block;
        double sum = 0;

        if (i % FRAMES_BETWEEN_POLLS == 0) {
            st = mmi_check_cancel(ctx);
            if (st) goto cleanup;
        }
        for (size_t c = 0; c < w.channels; c++, p += w.width) sum += sample_at(&w, p);
        audio->samples[i] = mmi_audio_mix(sum, w.channels);
    }
    *out = audio;
    audio = NULL;
cleanup:
    mmi_audio_destroy(audio);
    return st;
}
