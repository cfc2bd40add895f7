/* The text model of Llama 3.2 Vision. SPDX-License-Identifier: MIT */
#ifndef MMI_MLLAMA_TEXT_H
#define MMI_MLLAMA_TEXT_H

#include "model.h"

extern const mmi_architecture mmi_mllama_text;

#endif
