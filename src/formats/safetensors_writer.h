/* Writing safetensors files, as safetensors.h reads them: aside, and renamed. SPDX-License-Identifier: MIT */
#ifndef MMI_SAFETENSORS_WRITER_H
#define MMI_SAFETENSORS_WRITER_H

#include "safetensors.h"

/* Write tensors to `path`. Names must differ. Types F32 F16 BF16 I32 I64 U8. Of a tensor name, dtype, rank, shape, data and bytes count. */
mm_status mmi_safetensors_write(mm_context *ctx, const char *path, const mmi_safetensors_tensor *tensors, size_t count);

/* The same of tensors whose elements need not be in memory: emit appends those of tensor `index`, t->bytes of them, when their turn has come. */
typedef mm_status (*mmi_safetensors_emit)(mm_context *ctx, void *arg, size_t index, mmi_file_writer *out);
mm_status mmi_safetensors_stream(mm_context *ctx, const char *path, const mmi_safetensors_tensor *tensors, size_t count, mmi_safetensors_emit emit,
                                 void *arg);

#endif
