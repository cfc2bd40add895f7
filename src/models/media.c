/* SPDX-License-Identifier: MIT */
#include "media.h"

#include <string.h>

#include "frame_sampling.h"
#include "resample.h"
#include "video_processor.h"

void mmi_medium_clear(mmi_medium *m)
{
    mm_tensor_map_destroy(m->inputs);
    memset(m, 0, sizeof *m);
}

mm_status mmi_media_images(mm_context *ctx, const mm_model *m, const mm_image *const *images, size_t n, mm_tensor_map **out, mmi_image_layout *layouts)
{
    *out = NULL;
    if (!m->info.sees) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s (%s) takes no images", m->path, m->class_name);
    if (!m->has_processor) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s has no preprocessor_config.json that libmm supports", m->path);
    return mmi_image_processor_run(ctx, &m->processor, images, n, out, layouts);
}

/* The one row of a grid tensor, where the processor makes one. */
static void read_grid(const mm_tensor_map *map, const char *name, int64_t grid[3])
{
    const mm_tensor *t = mm_tensor_map_get(map, name);
    if (t) memcpy(grid, mm_tensor_const_data(t), 3 * sizeof *grid);
}

mm_status mmi_media_image(mm_context *ctx, const mm_model *m, const mm_image *image, mmi_medium *out)
{
    mmi_image_layout layout = {0};
    mm_status st;

    memset(out, 0, sizeof *out);
    out->modality = MMI_IMAGE;
    st = mmi_media_images(ctx, m, &image, 1, &out->inputs, &layout);
    if (st) return st;
    out->rows = (int64_t)layout.rows;
    out->cols = (int64_t)layout.cols;
    read_grid(out->inputs, "image_grid_thw", out->grid);
    return MM_OK;
}

mm_status mmi_media_video(mm_context *ctx, const mm_model *m, const mm_video *video, mmi_medium *out)
{
    const mmi_image_processor *p = &m->video_processor;
    const mm_tensor *step;
    size_t *indices = NULL, count = 0;
    mm_status st;

    memset(out, 0, sizeof *out);
    out->modality = MMI_VIDEO;
    if (!m->has_video_processor) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s (%s) takes no videos, or has no processor for them", m->path, m->class_name);
    st = mmi_video_sample(ctx, p, video->frames, video->rate, &indices, &count);
    if (!st) st = mmi_video_processor_run(ctx, p, video, indices, count, &out->inputs, NULL);
    mmi_free(indices);
    if (st) return st;
    read_grid(out->inputs, "video_grid_thw", out->grid);
    step = mm_tensor_map_get(out->inputs, "second_per_grid_ts");
    if (step) out->rate = 1 / (double)*(const float *)mm_tensor_const_data(step);
    return MM_OK;
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
    if ((st = mmi_audio_resample(ctx, audio, (int32_t)p->sampling_rate, &sound))) return st;
    count = sound->count;
    if (count > p->n_samples)
        st = mmi_fail(ctx, MM_E_LIMIT, "a sound of %.1f seconds; %s takes %zu at a time", (double)count / (double)p->sampling_rate, m->class_name,
                      p->chunk_length);
    if (!st) st = mmi_audio_features(ctx, p, sound->samples, count, 1, &features, NULL);
    if (!st) st = mm_tensor_map_create(ctx, &out->inputs);
    if (!st) st = mm_tensor_map_set(ctx, out->inputs, "input_features", features);
    mmi_audio_destroy(sound);
    mm_tensor_release(features);
    return st;
}
