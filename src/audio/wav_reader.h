/* WAV: RIFF, RF64 (EBU Tech 3306) and BW64 files with integer PCM of 8 to 32 bits, float32 or float64, plain or
 * WAVE_FORMAT_EXTENSIBLE.
 *
 * Chunks that are not "fmt ", "ds64" or "data" are passed over, in any order and of any length; the size in the RIFF header is
 * ignored, as every reader does, and so is what lies behind the data. A data chunk that says 2^31 - 2^16 bytes or more and ends
 * behind the file is a stream whose writer could not go back to its header: it ends where the file ends.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_WAV_READER_H
#define MMI_WAV_READER_H

#include "audio.h"

int mmi_wav_matches(const unsigned char *data, size_t size);

/* Samples may come out as NaN or infinite. MM_E_FORMAT, MM_E_UNSUPPORTED, MM_E_LIMIT, MM_E_NOMEM or MM_E_CANCELLED. */
mm_status mmi_wav_read(mm_context *ctx, const char *name, const unsigned char *data, size_t size, mmi_audio **out);

#endif
