/* Writing on from what a session holds; mm_session.h. SPDX-License-Identifier: MIT */
#ifndef MMI_SESSION_GENERATE_H
#define MMI_SESSION_GENERATE_H

#include <stddef.h>

#include "mm_session.h"

/* Sequence `index` of the last generate with beams, the best first; 0: there are fewer. */
int mmi_session_beam(const mm_session *s, size_t index, const int32_t **ids, size_t *count, double *score);

mm_status mmi_session_logits(mm_session *s, const float **out);
mm_status mmi_session_generate(mm_session *s, mm_generate_fn fn, void *user, int32_t *reason);

#endif
