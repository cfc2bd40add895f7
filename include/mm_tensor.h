/* libmm: tensors, the arrays that go into and come out of models.
 *
 * A tensor is a dense row-major array: the last dimension varies fastest. It is reference-counted; its shape and type
 * never change. SPDX-License-Identifier: MIT */
#ifndef MM_TENSOR_H
#define MM_TENSOR_H

#include "mm_context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element types. The Q* types are the block formats of GGUF (ggml): their last dimension is a whole number of blocks. */
enum {
    MM_DTYPE_F32 = 0,
    MM_DTYPE_F16 = 1,  /* IEEE 754 binary16 */
    MM_DTYPE_BF16 = 2, /* the upper half of a binary32 */
    MM_DTYPE_I32 = 3,
    MM_DTYPE_I64 = 4,
    MM_DTYPE_U8 = 5,

    MM_DTYPE_Q4_0 = 32, /* 32 elements in 18 bytes */
    MM_DTYPE_Q4_1 = 33, /* 32 in 20 */
    MM_DTYPE_Q5_0 = 34, /* 32 in 22 */
    MM_DTYPE_Q5_1 = 35, /* 32 in 24 */
    MM_DTYPE_Q8_0 = 36, /* 32 in 34 */
    MM_DTYPE_Q4_K = 37, /* 256 in 144 */
    MM_DTYPE_Q5_K = 38, /* 256 in 176 */
    MM_DTYPE_Q6_K = 39, /* 256 in 210 */
    MM_DTYPE_Q2_K = 40, /* 256 in 84; since 0.2 */
    MM_DTYPE_Q3_K = 41, /* 256 in 110; since 0.2 */
    MM_DTYPE_IQ4_NL = 42, /* 32 in 18; since 0.2 */
    MM_DTYPE_Q8_ROW = 43 /* of matrices of a model in memory alone: 8 bits each, a scale for each row; since 0.2 */
};

enum { MM_TENSOR_MAX_RANK = 8 };

typedef struct mm_tensor mm_tensor;

/* The name of an element type as safetensors or ggml writes it ("F32", "Q4_K"); "?" for none. Static. Since 0.1. */
MM_API const char *mm_dtype_name(int32_t dtype);

/* Create a tensor filled with zeros.
 *
 *   shape  `rank` sizes, outermost first, each at least 0; rank 0 is a scalar
 *   out    receives the tensor, reference count 1; NULL after a failure
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_SHAPE (not a whole number of blocks), MM_E_OVERFLOW or MM_E_NOMEM. Since 0.1. */
MM_API mm_status mm_tensor_create(mm_context *ctx, int32_t dtype, int32_t rank, const int64_t *shape, mm_tensor **out);

/* As mm_tensor_create, with the elements copied from `data` (mm_tensor_bytes of them). Since 0.1. */
MM_API mm_status mm_tensor_copy(mm_context *ctx, int32_t dtype, int32_t rank, const int64_t *shape, const void *data, mm_tensor **out);

/* A tensor over the caller's memory, which is not copied: it must stay and not change until `free_cb(user)` is called,
 * once, when the last reference is released (free_cb may be NULL). After a failure free_cb is not called.
 * Returns as mm_tensor_create. Since 0.1. */
MM_API mm_status mm_tensor_wrap(mm_context *ctx, int32_t dtype, int32_t rank, const int64_t *shape, void *data,
                                void (*free_cb)(void *user), void *user, mm_tensor **out);

/* Count references up or down; the tensor goes with the last. NULL is allowed. Any thread. Since 0.1. */
MM_API void mm_tensor_retain(mm_tensor *tensor);
MM_API void mm_tensor_release(mm_tensor *tensor);

/* Getters; the pointers live as long as the tensor. Any thread. Since 0.1. */
MM_API int32_t mm_tensor_dtype(const mm_tensor *tensor);
MM_API int32_t mm_tensor_rank(const mm_tensor *tensor);
MM_API const int64_t *mm_tensor_shape(const mm_tensor *tensor); /* mm_tensor_rank sizes */
MM_API int64_t mm_tensor_elements(const mm_tensor *tensor);
MM_API size_t mm_tensor_bytes(const mm_tensor *tensor);
MM_API void *mm_tensor_data(mm_tensor *tensor);
MM_API const void *mm_tensor_const_data(const mm_tensor *tensor);

/* Named tensors: what mm_model_forward takes and gives, and what a .safetensors file holds. Order is kept. */
typedef struct mm_tensor_map mm_tensor_map;

MM_API mm_status mm_tensor_map_create(mm_context *ctx, mm_tensor_map **out);
MM_API void mm_tensor_map_destroy(mm_tensor_map *map); /* NULL allowed; releases its tensors */

/* Add or replace; the map takes a reference of its own and copies the name. MM_OK, MM_E_ARGUMENT, MM_E_NOMEM. Since 0.1. */
MM_API mm_status mm_tensor_map_set(mm_context *ctx, mm_tensor_map *map, const char *name, mm_tensor *tensor);

/* Borrowed; NULL for an unknown name or an index out of range. Since 0.1. */
MM_API mm_tensor *mm_tensor_map_get(const mm_tensor_map *map, const char *name);
MM_API size_t mm_tensor_map_count(const mm_tensor_map *map);
MM_API const char *mm_tensor_map_name(const mm_tensor_map *map, size_t index);
MM_API mm_tensor *mm_tensor_map_at(const mm_tensor_map *map, size_t index);

/* Read and write .safetensors (https://github.com/huggingface/safetensors). Reading maps the file: it must not change
 * while a tensor of it lives. Reads F32 F16 BF16 I32 I64 U8; BOOL comes as U8. Writing goes to a file aside that is
 * renamed, so that a failure leaves `path` as it was.
 * MM_OK, MM_E_ARGUMENT, MM_E_NOT_FOUND, MM_E_IO, MM_E_FORMAT, MM_E_LIMIT, MM_E_UNSUPPORTED or MM_E_NOMEM. Since 0.1. */
MM_API mm_status mm_tensor_map_read(mm_context *ctx, const char *path, mm_tensor_map **out);
MM_API mm_status mm_tensor_map_write(mm_context *ctx, const mm_tensor_map *map, const char *path);

#ifdef __cplusplus
}
#endif
#endif
