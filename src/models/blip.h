/* BLIP: see blip.c. SPDX-License-Identifier: MIT */
#ifndef MMI_BLIP_H
#define MMI_BLIP_H

#include "model.h"

extern const mmi_architecture mmi_blip_vision, mmi_blip_caption, mmi_blip_answer, mmi_blip_retrieval;

#endif
