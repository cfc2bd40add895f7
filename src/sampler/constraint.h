/* What a session's generated text must look like: a grammar, or a JSON schema made into one. SPDX-License-Identifier: MIT */
#ifndef MMI_CONSTRAINT_H
#define MMI_CONSTRAINT_H

#include "grammar_state.h"
#include "model.h"

/* Starts as all zeros: no constraint. */
typedef struct {
    mmi_grammar *grammar;
    mmi_token_table *table; /* of the model's tokenizer, from the first grammar on */
    mmi_grammar_state *state; /* behind the tokens that it followed; NULL: none yet */
    mmi_ids followed;
} mmi_constraint;

void mmi_constraint_clear(mmi_constraint *c);

/* option: MM_SESSION_GRAMMAR or MM_SESSION_JSON_SCHEMA; text NULL: no constraint from now on. After a failure all is as it was. */
mm_status mmi_constraint_set(mm_context *ctx, mmi_constraint *c, const mm_model *model, int32_t option, const char *text);
void mmi_constraint_copy(mmi_constraint *to, const mmi_constraint *from); /* to an empty one, at the beginning of a text */

/* Rule out what cannot follow the tokens generated so far: those scores become -INFINITY. It is cheap to go on from what was asked last, any other
 * sequence is followed from its beginning. MM_E_STATE when nothing can follow, MM_E_LIMIT, MM_E_NOMEM. */
mm_status mmi_constraint_rule_scores(mm_context *ctx, mmi_constraint *c, const mm_model *model, float *scores, const int32_t *generated, size_t length);

/* Whether the text is finished and the model has no token to say so. */
mm_status mmi_constraint_is_over(mm_context *ctx, mmi_constraint *c, const mm_model *model, const int32_t *generated, size_t length, int *over);

#endif
