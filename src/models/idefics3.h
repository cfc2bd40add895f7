/* SPDX-License-Identifier: MIT */
#ifndef MMI_IDEFICS3_H
#define MMI_IDEFICS3_H

#include "model.h"

extern const mmi_architecture mmi_idefics3;

#endif
