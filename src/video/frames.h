/* A video as everything inside sees it: where its frames are. Made once, then only read.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_FRAMES_H
#define MMI_FRAMES_H

#include "file.h"
#include "mm_video.h"
#include "y4m_reader.h"

struct mm_video {
    double rate; /* frames a second */
    size_t frames, max_pixels;
    char **paths;              /* [frames] pictures of a folder; NULL for YUV4MPEG2 */
    mmi_y4m y4m;
    const unsigned char *data; /* of YUV4MPEG2, in one of: */
    mmi_file_map *map;
    char *read;                /* from a pipe */
    void (*free_cb)(void *user);
    void *user;
};

/* mm_video_open and mm_video_wrap of mm_video.h, with max_pixels in effect. */
mm_status mmi_video_open(mm_context *ctx, const char *path, size_t max_pixels, double rate, mm_video **out);
mm_status mmi_video_wrap(mm_context *ctx, const void *data, size_t size, size_t max_pixels, double rate, void (*free_cb)(void *user),
                         void *user, mm_video **out);
void mmi_video_destroy(mm_video *video); /* NULL allowed */
mm_status mmi_video_frame(mm_context *ctx, const mm_video *video, size_t index, mmi_image **out);

#endif
