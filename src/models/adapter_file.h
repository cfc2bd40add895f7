/* Adapter directories of Hugging Face's peft: adapter_config.json and adapter_model.safetensors. SPDX-License-Identifier: MIT */
#ifndef MMI_ADAPTER_FILE_H
#define MMI_ADAPTER_FILE_H

#include "adapter.h"

/* mm_model.h says what they read, refuse and write. */
mm_status mmi_adapter_open(mm_context *ctx, mm_model *base, const char *directory, double strength, mm_model **out);
mm_status mmi_adapter_save(mm_context *ctx, const mm_model *adapted, const char *directory);

#endif
