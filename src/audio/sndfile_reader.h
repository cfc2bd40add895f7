/* FLAC and Ogg through libsndfile, which is optional at build time (MMI_WITH_SNDFILE); the one file that includes sndfile.h.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_SNDFILE_READER_H
#define MMI_SNDFILE_READER_H

#include "audio.h"

/* MM_E_FORMAT, MM_E_LIMIT, MM_E_NOMEM, MM_E_CANCELLED; MM_E_UNSUPPORTED in a build without libsndfile. */
mm_status mmi_sndfile_read(mm_context *ctx, const char *name, const void *data, size_t size, mmi_audio **out);

#endif
