/* Gemma 2 language models. SPDX-License-Identifier: MIT */
#ifndef MMI_GEMMA2_H
#define MMI_GEMMA2_H

#include "model.h"

extern const mmi_architecture mmi_gemma2;

#endif
