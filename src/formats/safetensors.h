/* safetensors (https://github.com/huggingface/safetensors): one file, or shards under an index.json.
 *
 * Opened strictly as the reference implementation does: header at most 100 MB, offsets in order without holes or
 * overlap, each size equal to shape times element size, no duplicate names; shard names are plain names in the folder
 * of the index. SPDX-License-Identifier: MIT */
#ifndef MMI_SAFETENSORS_H
#define MMI_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "file.h"
#include "mm_tensor.h"

enum { MMI_SAFETENSORS_MAX_HEADER = 100 * 1000 * 1000 }; /* as the reference implementation */

typedef struct mmi_safetensors mmi_safetensors;

typedef struct {
    const char *name;
    int32_t dtype;         /* -1 for a type that libmm does not read */
    const char *file_type; /* as the file spells it */
    int32_t rank;
    int64_t shape[MM_TENSOR_MAX_RANK];
    const void *data; /* inside `map`, may be misaligned for its type */
    size_t bytes;
    mmi_file_map *map; /* borrowed */
} mmi_safetensors_tensor;

/* A .safetensors file, or a *.safetensors.index.json with its shards. */
mm_status mmi_safetensors_open(mm_context *ctx, const char *path, mmi_safetensors **out);
void mmi_safetensors_destroy(mmi_safetensors *file); /* NULL allowed; maps stay while someone retains them */
size_t mmi_safetensors_count(const mmi_safetensors *file);
const mmi_safetensors_tensor *mmi_safetensors_at(const mmi_safetensors *file, size_t index);
const mmi_safetensors_tensor *mmi_safetensors_find(const mmi_safetensors *file, const char *name); /* NULL: none */

#endif
