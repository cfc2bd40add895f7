/* SPDX-License-Identifier: MIT */
#ifndef MMI_LLAVA_H
#define MMI_LLAVA_H

#include "model.h"

extern const mmi_architecture mmi_llava;

#endif
