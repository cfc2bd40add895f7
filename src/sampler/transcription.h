/* Speech to text, long sound by windows. SPDX-License-Identifier: MIT */
#ifndef MMI_TRANSCRIPTION_H
#define MMI_TRANSCRIPTION_H

#include "mm_session.h"

/* mm_session_transcribe of mm_session.h. */
mm_status mmi_session_transcribe(mm_session *s, const mm_audio *audio, const char *language, int32_t task, int timestamps, mm_transcribe_fn fn, void *user);

#endif
