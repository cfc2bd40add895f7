/* What may follow, whatever chooses it. SPDX-License-Identifier: MIT */
#ifndef MMI_SCORE_RULES_H
#define MMI_SCORE_RULES_H

#include <stddef.h>

#include "mm_session.h"

/* What the model's generation_config.json and the session's grammar rule out or force, on the scores of a token behind `length` generated ones of at most `most`. */
mm_status mmi_session_rule_scores(mm_session *s, float *scores, const int32_t *generated, size_t length, size_t most);
int mmi_session_is_end(const mm_session *s, int32_t id);

#endif
