/* The vision model of Llama 3.2 Vision. SPDX-License-Identifier: MIT */
#ifndef MMI_MLLAMA_VISION_H
#define MMI_MLLAMA_VISION_H

#include "model.h"

extern const mmi_architecture mmi_mllama_vision;

/* Of such a part: tiles of a picture, states of a tile, and the width of a state in its last_hidden_state. */
int64_t mmi_mllama_tiles(const mm_model *vision);
int64_t mmi_mllama_tile_states(const mm_model *vision);
int64_t mmi_mllama_state_width(const mm_model *vision);

#endif
