/* SPDX-License-Identifier: MIT */
#ifndef MMI_PALIGEMMA_H
#define MMI_PALIGEMMA_H

#include "model.h"

extern const mmi_architecture mmi_paligemma;

#endif
