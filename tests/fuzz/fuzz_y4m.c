/* libFuzzer target: open YUV4MPEG2 and read its first and last frame. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "mm_video.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mm_context *ctx;
    mm_video *video;
    uint8_t *copy = malloc(size ? size : 1); /* its own block, so that reads past the end are seen */

    if (!copy || mm_context_create(NULL, &ctx)) abort();
    memcpy(copy, data, size);
    if (!mm_video_wrap(ctx, copy, size, 1 << 16, 0, NULL, NULL, &video)) {
        const int64_t last = mm_video_frames(video) - 1;
        if (last < 0 || !(mm_video_rate(video) > 0)) abort();
        for (int64_t i = 0; i <= last; i += last ? last : 1) {
            mm_image *image;
            if (mm_video_frame(ctx, video, i, &image)) abort();
            mm_image_destroy(image);
        }
        mm_video_destroy(video);
    } else if (video || !mm_context_error(ctx)[0]) {
        abort();
    }
    mm_context_destroy(ctx);
    free(copy);
    return 0;
}
