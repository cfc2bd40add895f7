/* Writing models, and reading back into one that is trained. Files are written aside and renamed. SPDX-License-Identifier: MIT */
#ifndef MMI_MODEL_SAVE_H
#define MMI_MODEL_SAVE_H

#include "model.h"

/* include/mm_model.h; class_name NULL: its own */
mm_status mmi_model_save(mm_context *ctx, const mm_model *m, const char *directory, int32_t dtype, const char *class_name);
/* Whether it can be saved as that class, another than its own. */
mm_status mmi_model_check_class(mm_context *ctx, const mm_model *m, const char *class_name);

/* All float weights of a model and its parts as one safetensors file, each in the type that it came in (f32 of a model that is trained), under the
 * names and in the shapes that a directory has; and the same read back, in place, into a model that is trained. */
mm_status mmi_model_save_weights(mm_context *ctx, const mm_model *m, const char *path);
mm_status mmi_model_load_weights(mm_context *ctx, mm_model *m, const char *path);

#endif
