/* libmm: sound.
 *
 * A sound is one channel of float samples, nominally -1 to 1, at a rate in samples per second. It never changes after it is
 * made, so any number of threads may read it. Files of several channels are averaged to one. WAV is always read: integers of
 * 8 to 32 bits, float32 and float64, the extensible and 64-bit (RF64, BW64) forms, and streams whose header does not know their
 * length. FLAC and Ogg (Vorbis, Opus) are read where libmm was built with libsndfile. Integers become the float32 that
 * python-soundfile gives.
 *
 * SPDX-License-Identifier: MIT */
#ifndef MM_AUDIO_H
#define MM_AUDIO_H

#include "mm_context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mm_audio mm_audio;

/* Bounds of what is read, made and resampled. */
enum {
    MM_AUDIO_MIN_RATE = 1000, /* samples per second */
    MM_AUDIO_MAX_RATE = 384000,
    MM_AUDIO_MAX_SAMPLES = 1 << 28 /* after averaging the channels: 4.6 hours at 16 kHz */
};

/* Read a sound file; its first bytes tell which kind, not its name.
 *
 *   ctx   borrowed; gives memory, keeps the message of a failure
 *   path  UTF-8 name of a regular file
 *   out   receives the sound; the caller owns it, and it may outlive ctx; NULL after a failure
 *
 * A file without samples is a sound of 0 samples. Bytes behind the last whole sample are passed over.
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_NOT_FOUND, MM_E_IO, MM_E_FORMAT (damaged, cut off, a rate out of bounds, or a sample that
 * is no finite number), MM_E_UNSUPPORTED (no sound file, a coding that is not read, or a kind that needs libsndfile in a build
 * without it), MM_E_LIMIT, MM_E_NOMEM or MM_E_CANCELLED. Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_audio_read(mm_context *ctx, const char *path, mm_audio **out);

/* As mm_audio_read, from the `size` bytes at `data`, which are borrowed for the call. Since 0.2. */
MM_API mm_status mm_audio_decode(mm_context *ctx, const void *data, size_t size, mm_audio **out);

/* Make a sound from samples.
 *
 *   rate     samples per second, MM_AUDIO_MIN_RATE to MM_AUDIO_MAX_RATE
 *   samples  `count` finite numbers; copied; may be NULL when count is 0
 *   count    at most MM_AUDIO_MAX_SAMPLES
 *   out      receives the sound; the caller owns it, and it may outlive ctx; NULL after a failure
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_LIMIT or MM_E_NOMEM. Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_audio_create(mm_context *ctx, int32_t rate, const float *samples, size_t count, mm_audio **out);

/* Make the same sound at another rate, by a low-pass filter (a sinc of 6 zero crossings to each side below a Hann window, cut off
 * at 0.99 of the lower of both half rates): what torchaudio.functional.resample does by default.
 *
 *   audio  borrowed
 *   rate   samples per second, MM_AUDIO_MIN_RATE to MM_AUDIO_MAX_RATE; the sound's own rate gives a copy
 *   out    receives a sound of ceil(count * rate / rate of audio) samples; the caller owns it; NULL after a failure
 *
 * The result is the same for any number of threads. Returns MM_OK, MM_E_ARGUMENT, MM_E_LIMIT, MM_E_NOMEM or MM_E_CANCELLED.
 * Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_audio_resample(mm_context *ctx, const mm_audio *audio, int32_t rate, mm_audio **out);

/* Free a sound; NULL is allowed. Any thread, after the last call that uses it. Since 0.2. */
MM_API void mm_audio_destroy(mm_audio *audio);

/* Getters; 0 or NULL for NULL. The samples live as long as the sound. Any thread. Since 0.2. */
MM_API int32_t mm_audio_rate(const mm_audio *audio);
MM_API size_t mm_audio_count(const mm_audio *audio);
MM_API const float *mm_audio_samples(const mm_audio *audio);

#ifdef __cplusplus
}
#endif
#endif
