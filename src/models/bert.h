/* BERT and RoBERTa and DistilBERT text encoders. SPDX-License-Identifier: MIT */
#ifndef MMI_BERT_H
#define MMI_BERT_H

#include "model.h"

extern const mmi_architecture mmi_bert, mmi_roberta, mmi_distilbert;

#endif
