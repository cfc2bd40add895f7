/* Changing the colors of a picture in place, equal to Pillow's ImageEnhance and to hue as torchvision defines it on Pillow's pictures, bit
 * for bit.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_COLOR_H
#define MMI_COLOR_H

#include "image.h"

/* Factor 1 keeps the picture; 0 makes it black, all of its mean gray, or gray; above 1 is more of it. */
void mmi_image_brightness(mmi_image *image, float factor);
void mmi_image_contrast(mmi_image *image, float factor);
void mmi_image_saturation(mmi_image *image, float factor);

/* Turn the hue by `turn` of the circle, -0.5 to 0.5, in steps of 1 / 255. */
void mmi_image_hue(mmi_image *image, double turn);

#endif
