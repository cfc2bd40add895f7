/* Masked autoencoders of pictures. SPDX-License-Identifier: MIT */
#ifndef MMI_VIT_MAE_H
#define MMI_VIT_MAE_H

#include "model.h"

extern const mmi_architecture mmi_vit_mae;

#endif
