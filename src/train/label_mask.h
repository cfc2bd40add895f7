/* Which tokens of a text the loss counts: of a chat the assistant's answers, of a question with its answer the answer, each with the token
 * that ends it.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_LABEL_MASK_H
#define MMI_LABEL_MASK_H

#include "chat_template.h"
#include "ids.h"
#include "tokenizer.h"

/* Append the ids of a chat as its template writes it, and for each 1 where the loss counts it, else 0.
 *
 * An answer is what the template writes for a message of the role "assistant" behind the generation prompt, found by rendering the
 * messages up to it; of the text behind its end token, white space does not count. A token that lies across its beginning or end does.
 * `options` as for rendering, without add_generation_prompt; NULL allowed.
 *
 * MM_E_FORMAT (the template refuses the chat, or there is no answer in it), MM_E_UNSUPPORTED (the template writes a message in another way
 * once others follow), MM_E_LIMIT, MM_E_NOMEM, MM_E_CANCELLED. After a failure both are as they were. */
mm_status mmi_label_mask_chat(mm_context *ctx, const mmi_tokenizer *t, const mmi_chat_template *tpl, const mmi_chat_message *messages,
                              size_t count, const mmi_chat_options *options, mmi_ids *ids, mmi_ids *mask);

/* The same of `question`, with the tokenizer's special tokens in front, `answer`, and the tokenizer's end token (EOS, else SEP, else
 * none), each made into tokens by itself: as at inference, where the question is there before the answer is. Special tokens (of a picture)
 * are parsed in the question, and are text in the answer. */
mm_status mmi_label_mask_pair(mm_context *ctx, const mmi_tokenizer *t, const char *question, const char *answer, mmi_ids *ids,
                              mmi_ids *mask);

#endif
