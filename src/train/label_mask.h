/* Which tokens of a chat the loss counts: the assistant's answers, each with the token that ends it.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_LABEL_MASK_H
#define MMI_LABEL_MASK_H

#include "chat_template.h"
#include "ids.h"
#include "tokenizer.h"

/* Append messages [0, count) as text, `prompt`: and what an answer begins with, as the chat's template writes them. */
typedef mm_status (*mmi_chat_writer)(mm_context *ctx, const void *self, const mmi_chat_message *messages, size_t count, int prompt,
                                     mmi_text *out);

/* Append the ids of a chat as `write` writes it, and for each 1 where the loss counts it, else 0.
 *
 * An answer is what is written for a message of the role "assistant" behind the generation prompt, found by writing the messages up to
 * it; of the text behind its end token, white space does not count. A token that lies across its beginning or end does.
 *
 * MM_E_FORMAT (the template refuses the chat, or there is no answer in it), MM_E_UNSUPPORTED (the template writes a message in another way
 * once others follow), MM_E_LIMIT, MM_E_NOMEM, MM_E_CANCELLED. After a failure both are as they were. */
mm_status mmi_label_mask_chat(mm_context *ctx, const mmi_tokenizer *t, mmi_chat_writer write, const void *self,
                              const mmi_chat_message *messages, size_t count, mmi_ids *ids, mmi_ids *mask);

#endif
