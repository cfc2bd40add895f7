/* Which way up a camera held the picture: the orientation 1..8 of EXIF, and XMP's copy of it.
 * What is wrong in such metadata is passed over, since it cannot spoil the pixels. Not read: the hexadecimal
 * "Raw profile type exif" text that some programs put into PNG.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_ORIENTATION_H
#define MMI_ORIENTATION_H

#include <stddef.h>

#include "image.h"

/* Tag 274 of the first directory of an EXIF block, with or without "Exif\0\0" before it: 1..8, where 1 also stands for
 * values that mean nothing; 0 when there is no such tag. */
unsigned mmi_orientation_from_exif(const unsigned char *data, size_t size);

/* The first tiff:Orientation of an XMP packet, 0..9; 0 when it is not there. */
unsigned mmi_orientation_from_xmp(const unsigned char *data, size_t size);

/* Turn or mirror *image so that it stands upright; any orientation but 2..8 leaves it alone. *image is replaced,
 * or stays as it was after MM_E_NOMEM or MM_E_CANCELLED. */
mm_status mmi_orientation_apply(mm_context *ctx, unsigned orientation, mmi_image **image);

#endif
