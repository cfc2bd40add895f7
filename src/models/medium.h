/* A picture, video or sound on its way into a model: what the processor made of it, and its place in the prompt.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_MEDIUM_H
#define MMI_MEDIUM_H

#include <stddef.h>
#include <stdint.h>

#include "tensor.h"

typedef enum { MMI_IMAGE, MMI_VIDEO, MMI_AUDIO } mmi_modality;

typedef struct {
    mmi_modality modality;
    mm_tensor_map *inputs; /* as the processor made them for this one medium: pixel_values, image_grid_thw, ... */
    int64_t rows, cols;    /* tiles of a picture that was split, 0: was not */
    int64_t grid[3];       /* patches of time, height and width, 0: no such grid */
    size_t tokens;         /* that stand for it among those of the text, once it was encoded */
    double rate;           /* of a video: grid steps of time in a second */
} mmi_medium;

#endif
