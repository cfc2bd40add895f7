/* PNG through libpng's classic interface; the only file that reads with libpng.
 *
 * libpng only inflates, unfilters and checks: samples come out as they stand in the file, and this reader makes them RGB
 * itself, so that transparency, gamma and colour profiles have no code to go wrong in. Interlaced pictures are put
 * together pass by pass without a second copy.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PNG_READER_H
#define MMI_PNG_READER_H

#include "image.h"

mm_status mmi_png_read(mm_context *ctx, const char *name, const void *data, size_t size, size_t max_pixels, mmi_image **out);

#endif
