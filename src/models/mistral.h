/* Mistral language models. SPDX-License-Identifier: MIT */
#ifndef MMI_MISTRAL_H
#define MMI_MISTRAL_H

#include "model.h"

extern const mmi_architecture mmi_mistral;

#endif
