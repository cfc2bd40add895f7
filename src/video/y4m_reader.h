/* YUV4MPEG2: a line of parameters, then frames, each with a line of its own and planes of 8-bit samples.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_Y4M_READER_H
#define MMI_Y4M_READER_H

#include "image.h"

typedef struct {
    size_t width, height;
    size_t shrink_x, shrink_y; /* pixels that share a sample of color, each way; 0: there is no color */
    int full_range;            /* Y from 0 to 255, not from 16 to 235 */
    double rate;               /* frames a second; 0 when not said */
    size_t frames;
    size_t *offsets; /* of each frame's samples */
} mmi_y4m;

/* Read the parameters and find the frames in data[0, size); `name` stands in messages. mmi_y4m_clear after a failure too. */
mm_status mmi_y4m_read(mm_context *ctx, const char *name, const unsigned char *data, size_t size, size_t max_pixels, mmi_y4m *out);
void mmi_y4m_clear(mmi_y4m *y4m);

/* Make a picture of frame `index`, below y4m->frames, of the same data. */
mm_status mmi_y4m_frame(mm_context *ctx, const mmi_y4m *y4m, const unsigned char *data, size_t index, mmi_image **out);

#endif
