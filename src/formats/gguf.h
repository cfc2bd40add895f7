/* GGUF versions 2 and 3, little-endian (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): metadata and tensors
 * of a mapped file. Every count is held against the file's size before anything is allocated; values are checked for type
 * when they are read. SPDX-License-Identifier: MIT */
#ifndef MMI_GGUF_H
#define MMI_GGUF_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "file.h"
#include "mm_tensor.h"

typedef struct mmi_gguf mmi_gguf;

mm_status mmi_gguf_open(mm_context *ctx, const char *path, mmi_gguf **out);
void mmi_gguf_destroy(mmi_gguf *file); /* NULL allowed; the map stays while someone retains it */
mmi_file_map *mmi_gguf_map(const mmi_gguf *file);
const char *mmi_gguf_path(const mmi_gguf *file);

typedef enum {
    MMI_GGUF_U8, MMI_GGUF_I8, MMI_GGUF_U16, MMI_GGUF_I16, MMI_GGUF_U32, MMI_GGUF_I32, MMI_GGUF_F32, MMI_GGUF_BOOL,
    MMI_GGUF_STRING, MMI_GGUF_ARRAY, MMI_GGUF_U64, MMI_GGUF_I64, MMI_GGUF_F64
} mmi_gguf_type; /* numbers as in the file */

/* Metadata by key. An absent key leaves *out alone, or is MM_E_FORMAT when required; a value of another type or outside
 * [lowest, highest] is MM_E_FORMAT naming file and key. Integers of every width read as i64, floats as f64 (an integer too). */
int mmi_gguf_has(const mmi_gguf *file, const char *key);
mm_status mmi_gguf_i64(mm_context *ctx, const mmi_gguf *file, const char *key, int required, int64_t lowest, int64_t highest, int64_t *out);
mm_status mmi_gguf_f64(mm_context *ctx, const mmi_gguf *file, const char *key, int required, double lowest, double highest, double *out);
mm_status mmi_gguf_bool(mm_context *ctx, const mmi_gguf *file, const char *key, int required, int *out);
/* Borrowed from the map, not NUL-terminated; checked to be UTF-8 only where the caller does so. */
mm_status mmi_gguf_string(mm_context *ctx, const mmi_gguf *file, const char *key, int required, const char **out, size_t *n);

/* An array: its element type and count; *found 0 when absent and not required. Elements are read with the calls below,
 * which check type and index; truth values are integers too. String arrays are indexed once at open, so each look-up is constant time. */
mm_status mmi_gguf_array(mm_context *ctx, const mmi_gguf *file, const char *key, int required, mmi_gguf_type *type, size_t *count, int *found);
mm_status mmi_gguf_array_string(mm_context *ctx, const mmi_gguf *file, const char *key, size_t index, const char **out, size_t *n);
mm_status mmi_gguf_array_i64(mm_context *ctx, const mmi_gguf *file, const char *key, size_t index, int64_t *out);
mm_status mmi_gguf_array_f64(mm_context *ctx, const mmi_gguf *file, const char *key, size_t index, double *out);

/* Metadata keys in file order, for listing. */
size_t mmi_gguf_key_count(const mmi_gguf *file);
const char *mmi_gguf_key(const mmi_gguf *file, size_t index);

/* A tensor; data lies inside the map (checked at open), shape outermost first (the file has it innermost first).
 * A tensor of a type that libmm does not read has dtype -1 and its ggml type number in `file_type`. */
typedef struct {
    const char *name; /* NUL-terminated copy */
    int32_t dtype;
    uint32_t file_type;
    int32_t rank;
    int64_t shape[4];
    const void *data;
    size_t bytes;
} mmi_gguf_tensor;

size_t mmi_gguf_tensor_count(const mmi_gguf *file);
const mmi_gguf_tensor *mmi_gguf_tensor_at(const mmi_gguf *file, size_t index);
const mmi_gguf_tensor *mmi_gguf_tensor_find(const mmi_gguf *file, const char *name); /* NULL: none */

#endif
