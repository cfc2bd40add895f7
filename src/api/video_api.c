/* include/mm_video.h. SPDX-License-Identifier: MIT */
#include "mm_video.h"

#include <math.h>

#include "context.h"
#include "frames.h"

/* Nonzero after recording MM_E_ARGUMENT. */
static int check_arguments(mm_context *ctx, const char *call, const char *source, const void *from, int64_t max_pixels, double rate,
                           mm_video **out)
{
    if (!from || !out) {
        (void)mmi_fail(ctx, MM_E_ARGUMENT, "%s: %s is NULL", call, from ? "out" : source);
    } else if (max_pixels < 0 || max_pixels > INT32_MAX) {
        (void)mmi_fail(ctx, MM_E_ARGUMENT, "%s: max_pixels is %lld, expected 0 to %d", call, (long long)max_pixels, INT32_MAX);
    } else if (!(rate >= 0) || isinf(rate)) {
        (void)mmi_fail(ctx, MM_E_ARGUMENT, "%s: rate is %g, expected 0 or more frames a second", call, rate);
    } else {
        return 0;
    }
    return 1;
}

static size_t limit_of(int64_t max_pixels) { return max_pixels ? (size_t)max_pixels : MM_IMAGE_MAX_PIXELS; }

mm_status mm_video_open(mm_context *ctx, const char *path, int64_t max_pixels, double rate, mm_video **out)
{
    if (out) *out = NULL;
    if (!ctx || check_arguments(ctx, "mm_video_open", "path", path, max_pixels, rate, out)) return MM_E_ARGUMENT;
    return mmi_video_open(ctx, path, limit_of(max_pixels), rate, out);
}

mm_status mm_video_wrap(mm_context *ctx, const void *data, size_t size, int64_t max_pixels, double rate, void (*free_cb)(void *user),
                        void *user, mm_video **out)
{
    if (out) *out = NULL;
    if (!ctx || check_arguments(ctx, "mm_video_wrap", "data", data, max_pixels, rate, out)) return MM_E_ARGUMENT;
    return mmi_video_wrap(ctx, data, size, limit_of(max_pixels), rate, free_cb, user, out);
}

void mm_video_destroy(mm_video *video) { mmi_video_destroy(video); }
int64_t mm_video_frames(const mm_video *video) { return video ? (int64_t)video->frames : 0; }
double mm_video_rate(const mm_video *video) { return video ? video->rate : 0; }

mm_status mm_video_frame(mm_context *ctx, const mm_video *video, int64_t index, mm_image **out)
{
    if (out) *out = NULL;
    if (!ctx) return MM_E_ARGUMENT;
    if (!video || !out) return mmi_fail(ctx, MM_E_ARGUMENT, "mm_video_frame: %s is NULL", video ? "out" : "video");
    if (index < 0 || index >= (int64_t)video->frames)
        return mmi_fail(ctx, MM_E_ARGUMENT, "mm_video_frame: frame %lld of a video of %zu", (long long)index, video->frames);
    return mmi_video_frame(ctx, video, (size_t)index, out);
}
