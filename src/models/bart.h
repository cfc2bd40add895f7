/* BART and its kin: see bart.c. SPDX-License-Identifier: MIT */
#ifndef MMI_BART_H
#define MMI_BART_H

#include "model.h"

extern const mmi_architecture mmi_bart, mmi_mbart, mmi_trocr, mmi_whisper, mmi_whisper_encoder;

#endif
