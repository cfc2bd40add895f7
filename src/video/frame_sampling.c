/* SPDX-License-Identifier: MIT */
#include "frame_sampling.h"

#include <math.h>

#include "size.h"

/* Qwen2-VL: `num_frames`, or `fps` of them a second within bounds, a multiple of the frames of a patch, evenly spread. */
static mm_status sample_grid(mm_context *ctx, const mmi_image_processor *p, size_t total, double rate, size_t *indices, size_t *count)
{
    const double temporal = (double)p->temporal, all = (double)total;
    double n = all, step;

    if (p->num_frames) {
        n = rint((double)p->num_frames / temporal) * temporal;
    } else if (p->fps > 0) {
        const double most = floor(fmin((double)p->max_frames, all) / temporal) * temporal;
        n = floor(fmin(fmin(fmax(all / rate * p->fps, (double)p->min_frames), most), all) / temporal) * temporal;
    }
    if (n < 1 || n > all)
        return mmi_fail(ctx, MM_E_SHAPE, "a video of %zu frames, of which %.0f are to be sampled, %zu for a patch", total, n, p->temporal);
    step = all / n;
    for (size_t i = 0; i < (size_t)ceil(all / step); i++) {
        const size_t at = (size_t)(float)(step * (double)i); /* a torch.arange of float32, cut off */
        if (at < total) indices[(*count)++] = at;
    }
    return MM_OK;
}

/* SmolVLM: at most `num_frames`, `fps` a second, evenly spread; of a long video the first and last second are left out. */
static mm_status sample_split(mm_context *ctx, const mmi_image_processor *p, size_t total, double rate, size_t *indices, size_t *count)
{
    const double duration = (double)total / rate, skipped = 1;
    const double wanted = fmin(rint(p->fps * duration), (double)p->num_frames);
    double first = 0, last = (double)(total - 1);
    size_t n = wanted < 1 ? 1 : (size_t)wanted;

    if (!p->num_frames || p->fps <= 0)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "\"do_sample_frames\" without \"num_frames\" and \"fps\" in the video processor");
    if (duration - 2 * skipped > (double)p->num_frames * p->fps) {
        first = floor(skipped * rate);
        last = fmin(floor((double)total - skipped * rate), last);
        if (first >= last) {
            first = 0;
            last = (double)(total - 1);
        }
    }
    for (size_t i = 0; i < n; i++) { /* numpy.linspace of integers, without repetitions */
        const double step = n > 1 ? (last - first) / (double)(n - 1) : 0;
        const size_t at = (size_t)floor(i && i + 1 == n ? last : (double)i * step + first);
        if (!*count || indices[*count - 1] != at) indices[(*count)++] = at;
    }
    return MM_OK;
}

mm_status mmi_video_sample(mm_context *ctx, const mmi_image_processor *p, size_t total, double rate, size_t **indices, size_t *count)
{
    mm_status st = MM_OK;

    *count = 0;
    *indices = mmi_alloc_array(ctx, mmi_size_max(total, p->num_frames), sizeof **indices);
    if (!*indices) return MM_E_NOMEM;
    if (!p->do_sample_frames)
        for (; *count < total; ++*count) (*indices)[*count] = *count;
    else if (p->layout == MMI_LAYOUT_GRID)
        st = sample_grid(ctx, p, total, rate, *indices, count);
    else
        st = sample_split(ctx, p, total, rate, *indices, count);
    if (st) {
        mmi_free(*indices);
        *indices = NULL;
    }
    return st;
}
