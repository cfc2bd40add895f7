/* Llama 3.2 Vision. SPDX-License-Identifier: MIT */
#ifndef MMI_MLLAMA_H
#define MMI_MLLAMA_H

#include "model.h"

extern const mmi_architecture mmi_mllama;

#endif
