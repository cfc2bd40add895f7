/* A vision encoder and a text decoder: see vision_encoder_decoder.c. SPDX-License-Identifier: MIT */
#ifndef MMI_VISION_ENCODER_DECODER_H
#define MMI_VISION_ENCODER_DECODER_H

#include "model.h"

extern const mmi_architecture mmi_vision_encoder_decoder;

#endif
