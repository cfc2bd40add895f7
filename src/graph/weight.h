/* A weight: named elements of a model as the graph reads them, immutable but in a model that is trained.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_WEIGHT_H
#define MMI_WEIGHT_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "mm_tensor.h"

typedef struct mmi_weight mmi_weight;

struct mmi_weight {
    char *name; /* as in the file; owned by the model */
    int32_t dtype;
    int32_t stored; /* element type in the file that it came from, and is saved as */
    int32_t rank;
    int64_t shape[MM_TENSOR_MAX_RANK];
    size_t rows; /* product of the dimensions before `cols` */
    size_t cols; /* of a matrix: product of all dimensions but the first; of a vector: 1 row of all elements */
    const void *data; /* plain row-major elements, aligned to their type; NULL when packed */
    void *packed;     /* groups of 16 rows: quant_pack.h or float_linear.h; owned by the model */
    int data_owned;   /* data is a block of ours, else it lies in a mapped file, or is another's */
    int fixed;        /* trained only where it is asked for by name */
    float *gradient;  /* [rows, cols], borrowed: what backward nodes add to while the weight is trained; NULL: frozen */
    const mmi_weight *lora_a, *lora_b; /* of a matrix that is multiplied: it stands for W + lora_scale * B A, A [r, cols], B [rows, r]; NULL: none */
    float lora_scale;
};

/* Take `bytes` of file elements as this weight, its name, dtype and shape being set. Vectors become f32 of our own; quantized matrices, and
 * those of floats that are `multiplied` where the context's level has a kernel for it, are packed on the context's threads;
 * misaligned data is copied; the rest stays where it is (*in_place tells). */
mm_status mmi_weight_adopt(mm_context *ctx, mmi_weight *w, const void *file_data, size_t bytes, int multiplied, int *in_place);
/* The same for a weight that is to be changed: floats become row-major f32 of our own, quantized ones are packed as ever. file_data NULL: the elements
 * of a float weight of type F32 are 0. */
mm_status mmi_weight_own(mm_context *ctx, mmi_weight *w, const void *file_data, size_t bytes);

/* Take a matrix of floats as one of the block-quantized `dtype`, which mmi_can_quantize, packed on the context's threads. */
mm_status mmi_weight_quantize(mm_context *ctx, mmi_weight *w, const void *file_data, size_t bytes, int32_t dtype);

/* The elements of such a weight, [rows, cols]; NULL for a quantized one. */
float *mmi_weight_values(mmi_weight *w);

void mmi_weight_clear(mmi_weight *w); /* frees what it owns, the name included */

/* Row `row` as f32. */
void mmi_weight_read_row(const mmi_weight *w, size_t row, float *out);

/* Bytes that the weight takes in memory, mapped or not. */
size_t mmi_weight_bytes(const mmi_weight *w);

/* Bytes of a packed group of 16 rows. */
size_t mmi_weight_group_bytes(const mmi_weight *w);

#endif
