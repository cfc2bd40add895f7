/* JPEG through libjpeg-turbo: baseline and progressive, 8 bits, gray, three colours, CMYK and YCCK; the only file that
 * knows libjpeg.
 *
 * The settings are libjpeg's own (slow integer DCT, fancy upsampling), which Pillow uses too, so the pixels are those of
 * Pillow with the same libjpeg. A picture that ends too early is an error; one whose coded data libjpeg can only warn
 * about is read as libjpeg repairs it.
 *
 * Memory: libjpeg has no allocator hooks; it calls malloc. What it will need is worked out from the header and counted
 * against the context's limit before decoding, and libjpeg is held to it.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_JPEG_READER_H
#define MMI_JPEG_READER_H

#include "image.h"

/* Scans of a progressive file; each one costs a walk over the whole picture, and encoders make about ten. */
enum { MMI_JPEG_MAX_SCANS = 100 };

mm_status mmi_jpeg_read(mm_context *ctx, const char *name, const void *data, size_t size, size_t max_pixels, mmi_image **out);

#endif
