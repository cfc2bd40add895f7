/* Where a generated text stands in a grammar, and which tokens may follow.
 *
 * The grammar is run as a set of stacks at once. The sets that occur, and where each byte leads from one, are kept: after a short while
 * a byte costs one look-up, and the tokens that may follow a set are found once. SPDX-License-Identifier: MIT */
#ifndef MMI_GRAMMAR_STATE_H
#define MMI_GRAMMAR_STATE_H

#include "grammar.h"
#include "token_table.h"

typedef struct mmi_grammar_state mmi_grammar_state;

/* At the beginning of a text. `table` is borrowed, the grammar retained. after_space: a space at the beginning counts for nothing. */
mm_status mmi_grammar_state_create(mm_context *ctx, mmi_grammar *g, const mmi_token_table *table, int after_space, mmi_grammar_state **out);
void mmi_grammar_state_destroy(mmi_grammar_state *s); /* NULL allowed */

/* Back to the beginning. */
void mmi_grammar_state_begin(mmi_grammar_state *s);

/* The text may end here; nothing but the end may follow. */
int mmi_grammar_state_accepts(const mmi_grammar_state *s);
int mmi_grammar_state_is_complete(const mmi_grammar_state *s);

/* The tokens that may follow: bit id % 64 of word id / 64, for the ids of the table's vocabulary; `ends` are set where the text may end.
 * Borrowed until the state changes. MM_E_STATE when there is none, MM_E_LIMIT when the grammar is so ambiguous that too many stacks are
 * possible at once, MM_E_NOMEM. */
mm_status mmi_grammar_state_mask(mm_context *ctx, mmi_grammar_state *s, const int32_t *ends, size_t n_ends, const uint64_t **mask);

/* Go on behind a token (one that the mask allows) or bytes. MM_E_STATE when it cannot follow; then the state is as it was. */
mm_status mmi_grammar_state_accept(mm_context *ctx, mmi_grammar_state *s, int32_t id);
mm_status mmi_grammar_state_accept_bytes(mm_context *ctx, mmi_grammar_state *s, const char *bytes, size_t n);

#endif
