/* libFuzzer target: decode a WAV file. Whatever the input is, either a sound of finite samples comes out, no longer than the
 * input, or a failure with a sentence and nothing else. SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mm_audio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mm_context *ctx;
    mm_audio *audio;
    uint8_t *copy = malloc(size ? size : 1); /* its own block, so that reads past the end are seen */

    if (!copy || mm_context_create(NULL, &ctx)) abort();
    memcpy(copy, data, size);
    if (size >= 12) {
        if (memcmp(copy, "RF64", 4)) memcpy(copy, "RIFF", 4);
        memcpy(copy + 8, "WAVE", 4);
    }
    if (!mm_audio_decode(ctx, copy, size, &audio)) {
        if (mm_audio_count(audio) > size || mm_audio_rate(audio) < MM_AUDIO_MIN_RATE || mm_audio_rate(audio) > MM_AUDIO_MAX_RATE) abort();
        for (size_t i = 0; i < mm_audio_count(audio); i++)
            if (!isfinite(mm_audio_samples(audio)[i])) abort();
        mm_audio_destroy(audio);
    } else if (audio || !mm_context_error(ctx)[0]) {
        abort();
    }
    mm_context_destroy(ctx);
    free(copy);
    return 0;
}
