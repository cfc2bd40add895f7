/* Qwen3 language models. SPDX-License-Identifier: MIT */
#ifndef MMI_QWEN3_H
#define MMI_QWEN3_H

#include "model.h"

extern const mmi_architecture mmi_qwen3;

#endif
