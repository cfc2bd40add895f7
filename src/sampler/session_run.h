/* Computing a session's tokens. SPDX-License-Identifier: MIT */
#ifndef MMI_SESSION_RUN_H
#define MMI_SESSION_RUN_H

#include "graph.h"
#include "mm_session.h"

/* A graph for `tokens` tokens of each of `sequences` sequences behind what their caches hold. */
typedef struct {
    mmi_graph *g;
    size_t sequences, tokens, image_rows, video_rows, pictures;
    int with_logits, prefix;
    mmi_value ids, positions, image, video, mask, logits;
} mmi_step;

void mmi_step_clear(mmi_step *step);

/* Logits behind all tokens, in s->logits. */
mm_status mmi_session_compute(mm_session *s);

/* One token of each of `count` sequences whose caches hold what is before it, and the logits [count, V] behind it, borrowed until the next run
 * of `step`. `positions` are [count], or [3][count] for info.position_streams 3. */
mm_status mmi_session_step_many(mm_session *s, mmi_step *step, mmi_kv_cache *const *caches, size_t count, const int32_t *ids, const int32_t *positions,
                                const float **logits);

#endif
