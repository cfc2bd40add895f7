/* SPDX-License-Identifier: MIT */
#include "media.h"

#include <string.h>

#include "embedding.h"

void mmi_medium_clear(mmi_medium *m)
{
    mm_tensor_map_destroy(m->inputs);
    memset(m, 0, sizeof *m);
}

mm_status mmi_media_image(mm_context *ctx, const mm_model *m, const mm_image *image, mmi_medium *out)
{
    mm_tensor *pixels = NULL;
    mm_status st;

    memset(out, 0, sizeof *out);
    out->modality = MMI_IMAGE;
    st = mmi_prepare_image(ctx, m, image, &pixels);
    if (!st) st = mm_tensor_map_create(ctx, &out->inputs);
    if (!st) st = mm_tensor_map_set(ctx, out->inputs, "pixel_values", pixels);
    mm_tensor_release(pixels);
    return st;
}

mm_status mmi_media_audio(mm_context *ctx, const mm_model *m, const mm_audio *audio, mmi_medium *out)
{
    const mmi_audio_processor *p = &m->sound_processor;
    mm_audio *sound = NULL;
    mm_tensor *features = NULL;
    size_t count;
    mm_status st;

    memset(out, 0, sizeof *out);
    out->modality = MMI_AUDIO;
    if (!m->info.hears) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s (%s) takes no sound", m->path, m->class_name);
    if (!m->has_sound_processor) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s has no feature extractor", m->path);
    if ((st = mm_audio_resample(ctx, audio, (int32_t)p->sampling_rate, &sound))) return st;
    count = mm_audio_count(sound);
    if (count > p->n_samples)
        st = mmi_fail(ctx, MM_E_LIMIT, "a sound of %.1f seconds; %s takes %zu at a time", (double)count / (double)p->sampling_rate, m->class_name,
                      p->chunk_length);
    if (!st) st = mmi_audio_features(ctx, p, mm_audio_samples(sound), count, 1, &features, NULL);
    if (!st) st = mm_tensor_map_create(ctx, &out->inputs);
    if (!st) st = mm_tensor_map_set(ctx, out->inputs, "input_features", features);
    mm_audio_destroy(sound);
    mm_tensor_release(features);
    return st;
}
