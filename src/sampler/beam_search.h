/* Beam search, with the scores that transformers gives: log-probabilities summed, over the length to the power of a penalty.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_BEAM_SEARCH_H
#define MMI_BEAM_SEARCH_H

#include "ids.h"
#include "mm_session.h"

typedef struct {
    mmi_ids ids;  /* generated, the end token included */
    double score; /* of a finished one, divided by its length to the power of the penalty; of a running one, the sum */
    int finished;
} mmi_beam;

typedef struct {
    mmi_beam *items; /* the best first */
    size_t count;
} mmi_beam_list;

void mmi_beam_list_clear(mmi_beam_list *list);

/* Search on from all tokens of the session, for as many sequences as its option says and at most `most` tokens each. The session's tokens stay. */
mm_status mmi_beam_search(mm_session *s, size_t most, mmi_beam_list *out);

#endif
