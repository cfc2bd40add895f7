/* What a session holds, shared by the files that work on it: session.c (options, tokens), session_media.c (pictures, video, sound),
 * session_run.c (computing), session_generate.c and beam_search.c (choosing). SPDX-License-Identifier: MIT */
#ifndef MMI_SESSION_STATE_H
#define MMI_SESSION_STATE_H

#include "beam_search.h"
#include "constraint.h"
#include "model.h"
#include "sampler.h"
#include "session_media.h"
#include "session_run.h"

struct mm_session {
    mm_context *ctx;
    mm_model *model;
    mmi_kv_cache *cache; /* its length is how many of the tokens were computed */
    int cached_long;     /* as part of a text longer than info.long_context */
    mmi_kv_cache *cross; /* of the source, when source_ready */
    int32_t kv_dtype;
    mmi_ids tokens;
    mmi_ids streams[3];  /* positions of the tokens, for info.position_streams 3 */
    size_t prefix;       /* tokens that were read as a prefix: none of them can stay without all */
    float *logits;       /* [V], of the token behind all tokens, when logits_ready */
    float *scores;       /* [V], of the token that is being chosen */
    int logits_ready;
    mmi_step decode, prompt; /* one token; the last chunk length */
    uint64_t next_key;   /* of a video */
    mmi_encoded_list known, waiting, source_media; /* seen so far; for the next text; of the source */
    mmi_placed_list placed;
    mmi_text source_text; /* of appended text */
    mmi_ids source;       /* its tokens, or those that were appended as such */
    int source_ready;
    mmi_sampler sampler;
    int64_t max_tokens, context, when_full, keep, parse_special, beams, early_stopping;
    double length_penalty;
    mmi_beam_list found; /* by the last generate with beams */
    char **stops;
    size_t n_stops;
    mmi_constraint constraint;
};

/* Of info.position_streams 3: what a token behind those of the session has in all streams. A text goes on behind a medium's rows and columns, whatever its
 * time. */
int32_t mmi_session_next_position(const mm_session *s);

#endif
