/* A sound as everything inside sees it: one channel of finite float samples. One owner; made once, then only read.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_AUDIO_H
#define MMI_AUDIO_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "mm_audio.h"

typedef struct mm_audio mmi_audio;

struct mm_audio {
    int32_t rate; /* MM_AUDIO_MIN_RATE to MM_AUDIO_MAX_RATE */
    size_t count; /* at most MM_AUDIO_MAX_SAMPLES */
    float *samples;
};

int mmi_audio_rate_fits(int64_t rate);
/* MM_OK, or MM_E_LIMIT for more than MM_AUDIO_MAX_SAMPLES. The sentence begins with `name`. */
mm_status mmi_audio_check_count(mm_context *ctx, const char *name, uint64_t count);
/* MM_OK, or `failure` for a sample that is no finite number. The sentence begins with `name`. */
mm_status mmi_audio_check_finite(mm_context *ctx, const char *name, const float *samples, size_t count, mm_status failure);

/* A sound with undefined samples; rate and count have been checked. */
mm_status mmi_audio_create(mm_context *ctx, int32_t rate, size_t count, mmi_audio **out);
void mmi_audio_destroy(mmi_audio *audio); /* NULL allowed */

/* The mean of the channels of one sample, as float32. */
static inline float mmi_audio_mix(double sum, size_t channels) { return (float)(sum / (double)channels); }

/* Read a sound file, its kind told by its first bytes; `name` stands in messages. */
mm_status mmi_audio_decode(mm_context *ctx, const char *name, const void *data, size_t size, mmi_audio **out);
mm_status mmi_audio_read(mm_context *ctx, const char *path, mmi_audio **out);

#endif
