/* Text decoders built like BERT: see bert_decoder.c. SPDX-License-Identifier: MIT */
#ifndef MMI_BERT_DECODER_H
#define MMI_BERT_DECODER_H

#include "model.h"

extern const mmi_architecture mmi_bert_decoder, mmi_roberta_decoder, mmi_blip_text;

/* The width of the states that such a part attends across to, where the whole knows better than the part's configuration. To be called
 * before the weights are loaded. */
void mmi_blip_text_attend(mm_model *part, int64_t states);

#endif
