/* GPT-2 language models. SPDX-License-Identifier: MIT */
#ifndef MMI_GPT2_H
#define MMI_GPT2_H

#include "model.h"

extern const mmi_architecture mmi_gpt2;

#endif
