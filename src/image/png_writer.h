/* PNG files, through libpng's classic interface; the only file that writes them.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PNG_WRITER_H
#define MMI_PNG_WRITER_H

#include "context.h"
#include "text.h"

/* Append a PNG of 8 bits a sample to `out`: pixels [height, width, channels], top row first; 1 channel is gray, 3 are RGB, 4 are RGBA with alpha that
 * was not multiplied. Sides below 2^31, 1 or more. MM_E_LIMIT or MM_E_NOMEM. */
mm_status mmi_png_write(mm_context *ctx, const unsigned char *pixels, size_t width, size_t height, int channels, mmi_text *out);

#endif
