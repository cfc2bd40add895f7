/* T5: see t5.c. SPDX-License-Identifier: MIT */
#ifndef MMI_T5_H
#define MMI_T5_H

#include "model.h"

extern const mmi_architecture mmi_t5;

#endif
