/* Random changes to a picture, so that a model sees more pictures than there are: turned and moved, a part of it, mirrored, colors
 * changed, a rectangle erased; in this order, each as torchvision does it to Pillow's pictures (RandomAffine, RandomResizedCrop,
 * RandomHorizontalFlip, ColorJitter), erasing (arXiv:1708.04896) on bytes. What is drawn is a function of (seed, epoch, index).
 *
 *   {"affine": {"degrees": 10, "translate": [0.1, 0.1], "scale": [0.8, 1.2], "fill": 0 or [r, g, b] or "edge"},
 *    "crop": {"scale": [0.08, 1], "ratio": [0.75, 1.3333], "size": N or [height, width]},
 *    "flip": 0.5,
 *    "color": {"brightness": x, "contrast": x, "saturation": x, "hue": x},
 *    "erase": {"p": 0.5, "scale": [0.02, 0.33], "ratio": [0.3, 3.3], "value": 0 or [r, g, b] or "random"}}
 *
 *   affine  turn by up to so many degrees, move by up to these shares of width and height, scale; what comes in has this color, or that of
 *           the nearest pixel of the edge
 *   crop    a part of this share of the area, with this width / height, resized; default size: the picture's own
 *   flip    how often
 *   color   a number x: factors 1 - x to 1 + x, for hue turns of -x to x; or [lowest, highest]
 *   erase   how often, share of the area, height / width, what is put there
 *
 * Everything may be left out: the step is then not done, or the number is the one above (translate, scale: none; colors: as they are).
 * SPDX-License-Identifier: MIT */
#ifndef MMI_AUGMENT_H
#define MMI_AUGMENT_H

#include "image.h"
#include "json.h"

typedef struct {
    double lowest, highest;
} mmi_range;

typedef enum { MMI_COLOR_BRIGHTNESS, MMI_COLOR_CONTRAST, MMI_COLOR_SATURATION, MMI_COLOR_HUE, MMI_COLOR_COUNT } mmi_color_step;

/* What may be drawn. */
typedef struct {
    int does_affine, does_crop, does_color, does_erase;
    double degrees, translate_x, translate_y;
    mmi_range scale;
    int fill_edge;
    uint8_t fill[3];
    mmi_range crop_scale, crop_ratio;
    size_t crop_width, crop_height; /* 0: the picture's own */
    double flip;
    mmi_range color[MMI_COLOR_COUNT]; /* lowest = highest = 1 (hue: 0): as it is */
    double erase;
    mmi_range erase_scale, erase_ratio;
    int erase_noise;
    uint8_t erase_value[3];
} mmi_augment;

/* `object` of `doc`, of which `name` is said in messages. MM_E_FORMAT names the document and an unknown or wrong key. */
mm_status mmi_augment_from_json(mm_context *ctx, const mmi_json *doc, const mmi_json_node *object, mmi_augment *out);

/* A new picture; MM_E_SHAPE, MM_E_OVERFLOW, MM_E_NOMEM or MM_E_CANCELLED. */
mm_status mmi_augment_run(mm_context *ctx, const mmi_augment *a, uint64_t seed, uint64_t epoch, uint64_t index, const mmi_image *image,
                          mmi_image **out);

#endif
