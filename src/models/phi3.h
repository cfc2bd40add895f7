/* Phi-3 language models. SPDX-License-Identifier: MIT */
#ifndef MMI_PHI3_H
#define MMI_PHI3_H

#include "model.h"

extern const mmi_architecture mmi_phi3;

#endif
