/* SPDX-License-Identifier: MIT */
#include "score_rules.h"

#include <math.h>

#include "session_state.h"

int mmi_session_is_end(const mm_session *s, int32_t id)
{
    const mm_model *m = s->model;
    for (size_t i = 0; i < m->n_end_tokens; i++)
        if (m->end_tokens[i] == id) return 1;
    return 0;
}

static void force(float *scores, size_t vocabulary, int32_t id)
{
    for (size_t i = 0; i < vocabulary; i++) scores[i] = i == (size_t)id ? 0.0f : -INFINITY;
}

mm_status mmi_session_rule_scores(mm_session *s, float *scores, const int32_t *generated, size_t length, size_t most)
{
    const mm_model *m = s->model;
    size_t V = (size_t)m->info.vocabulary;
    mm_status st;

    for (size_t i = 0; i < m->suppressed.count; i++) scores[m->suppressed.data[i]] = -INFINITY;
    for (size_t i = 0; i < m->first_suppressed.count && !length; i++) scores[m->first_suppressed.data[i]] = -INFINITY;
    if ((st = mmi_constraint_rule_scores(s->ctx, &s->constraint, m, scores, generated, length))) return st;
    if (m->forced_first >= 0 && !length && s->tokens.count == m->n_start_tokens) force(scores, V, m->forced_first);
    if (m->forced_last >= 0 && length + 1 == most) force(scores, V, m->forced_last);
    return MM_OK;
}
