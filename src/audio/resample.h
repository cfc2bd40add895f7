/* Another rate for a sound: a windowed sinc in polyphase form, defined as torchaudio.functional.resample with its defaults
 * (sinc_interp_hann, lowpass_filter_width 6, rolloff 0.99), computed here from tables made in float64.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_RESAMPLE_H
#define MMI_RESAMPLE_H

#include "audio.h"

/* `rate` fits. The number of samples is ceil(count * rate / audio->rate), exactly. MM_E_LIMIT, MM_E_NOMEM or MM_E_CANCELLED. */
mm_status mmi_audio_resample(mm_context *ctx, const mmi_audio *audio, int32_t rate, mmi_audio **out);

#endif
