/* libmm: videos, read frame by frame.
 *
 * A video is a folder of pictures (PNG or JPEG), or a YUV4MPEG2 file or pipe, which every video tool writes:
 * `ffmpeg -i film.mp4 -f yuv4mpegpipe -pix_fmt yuv420p film.y4m`. It holds no pixels: a frame is read when it is asked for.
 * A video never changes after it is opened (nor must its files), so any number of threads may read it, each with a context
 * of its own.
 *
 * SPDX-License-Identifier: MIT */
#ifndef MM_VIDEO_H
#define MM_VIDEO_H

#include "mm_context.h"
#include "mm_image.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mm_video mm_video;

/* Bounds of what is read. */
enum {
    MM_VIDEO_MAX_FRAMES = 1 << 20,
    MM_VIDEO_MAX_PIPE_BYTES = 1 << 30 /* of a pipe, which is read to its end and kept; a file has no bound */
};

/* Open a video.
 *
 *   ctx         borrowed; gives memory, keeps the message of a failure
 *   path        UTF-8 name of a folder, whose files *.png, *.jpg and *.jpeg are the frames in natural order of their names
 *               (f2.png before f10.png; names that begin with a dot are passed over), or of a YUV4MPEG2 file or pipe
 *   max_pixels  the most pixels of a frame to accept, below 2^31; 0 for MM_IMAGE_MAX_PIXELS
 *   rate        frames a second, above 0; 0: what the file says, and 24 for a folder or a file that does not say
 *   out         receives the video; the caller owns it, and it may outlive ctx; NULL after a failure
 *
 * YUV4MPEG2 is read with 8 bits a sample in the layouts 420, 420jpeg, 420mpeg2, 420paldv, 422, 444 and mono, progressive.
 * The conversion to RGB is that of ITU-R BT.601, with Y from 16 to 235 unless XCOLORRANGE=FULL is said or there is no color;
 * each sample of color serves the whole block of pixels that it is for, wherever it was taken.
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_NOT_FOUND (nothing there, or no picture in the folder), MM_E_IO, MM_E_FORMAT (neither
 * folder nor YUV4MPEG2, damaged or cut off), MM_E_UNSUPPORTED (another layout, interlaced), MM_E_LIMIT, MM_E_NOMEM or
 * MM_E_CANCELLED. Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_video_open(mm_context *ctx, const char *path, int64_t max_pixels, double rate, mm_video **out);

/* As mm_video_open, from the `size` bytes of YUV4MPEG2 at `data`, which are not copied: they must stay and not change until
 * `free_cb(user)` is called, once, when the video is destroyed (free_cb may be NULL). After a failure it is not called.
 * Since 0.2. */
MM_API mm_status mm_video_wrap(mm_context *ctx, const void *data, size_t size, int64_t max_pixels, double rate,
                               void (*free_cb)(void *user), void *user, mm_video **out);

/* Free a video; NULL is allowed. Any thread, after the last call that uses it. Since 0.2. */
MM_API void mm_video_destroy(mm_video *video);

/* The number of frames, 1 or more, and frames a second; 0 for NULL. Any thread. Since 0.2. */
MM_API int64_t mm_video_frames(const mm_video *video);
MM_API double mm_video_rate(const mm_video *video);

/* Read a frame.
 *
 *   ctx    borrowed; gives memory, keeps the message of a failure
 *   video  borrowed; may be in use by other contexts at the same time
 *   index  0 to mm_video_frames - 1
 *   out    receives a new picture; the caller owns it; NULL after a failure. Those of a folder may differ in size
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_NOMEM or MM_E_CANCELLED; for a folder also what mm_image_read returns.
 * Threads: one call per ctx at a time. Since 0.2. */
MM_API mm_status mm_video_frame(mm_context *ctx, const mm_video *video, int64_t index, mm_image **out);

#ifdef __cplusplus
}
#endif
#endif
