/* Writing on from what a session holds; mm_session.h. SPDX-License-Identifier: MIT */
#ifndef MMI_SESSION_GENERATE_H
#define MMI_SESSION_GENERATE_H

#include "mm_session.h"

mm_status mmi_session_logits(mm_session *s, const float **out);
mm_status mmi_session_generate(mm_session *s, mm_generate_fn fn, void *user, int32_t *reason);

#endif
