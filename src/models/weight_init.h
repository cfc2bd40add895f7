/* What the weights of a new model begin with. SPDX-License-Identifier: MIT */
#ifndef MMI_WEIGHT_INIT_H
#define MMI_WEIGHT_INIT_H

#include "model.h"

/* m->initials from a config.json: initializer_range (or init_std, as BART calls it; 0.02), layerscale_value, logit_scale_init_value and pad_token_id. */
mm_status mmi_initials_read(mm_context *ctx, mm_model *m, const mmi_json *doc);

/* Fill w, zeros of the model's own, with what its row and name begin with. They and `seed` alone decide on each element. MM_E_FORMAT where sines do not fit its width. */
mm_status mmi_weight_draw(mm_context *ctx, const mm_model *m, const mmi_weight_row *row, mmi_weight *w, int64_t seed);

#endif
