/* Gemma 3 language models. SPDX-License-Identifier: MIT */
#ifndef MMI_GEMMA3_H
#define MMI_GEMMA3_H

#include "model.h"

extern const mmi_architecture mmi_gemma3;

#endif
