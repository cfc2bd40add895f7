/* Vision Transformers. SPDX-License-Identifier: MIT */
#ifndef MMI_VIT_H
#define MMI_VIT_H

#include "model.h"

extern const mmi_architecture mmi_vit, mmi_deit;

#endif
