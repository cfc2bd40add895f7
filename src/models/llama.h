/* Llama and its kin: decoder-only language models. SPDX-License-Identifier: MIT */
#ifndef MMI_LLAMA_H
#define MMI_LLAMA_H

#include "model.h"

extern const mmi_architecture mmi_llama;

#endif
