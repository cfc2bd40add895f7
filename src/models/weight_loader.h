/* Weights by the tables of an architecture and its parts: each is looked up, its shape checked, and only then taken.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_WEIGHT_LOADER_H
#define MMI_WEIGHT_LOADER_H

#include "model.h"
#include "projector_file.h"

/* Where tensors come from: a GGUF file or safetensors; neither: a new model, whose weights are drawn. */
typedef struct {
    const mmi_gguf *gguf;
    const mmi_safetensors *safetensors;
    int64_t seed;
    int trainable; /* the weights are to be changed: mmi_weight_own */
    int32_t quantized; /* matrices of floats that are multiplied become this block-quantized type; MM_DTYPE_F32: stay as they are */
    const char *name; /* for messages */
    size_t *taken; /* safetensors of another model: how many of its tensors are this one's; what it has not is drawn. NULL: all must be there */
    const mmi_projector_file *projector; /* NULL: gguf has the names of its architecture */
} mmi_weight_source;

/* All weights of a model whose configuration was read, those of its parts too, but for parts that have theirs; what is derived from
 * them; and m->dtypes. */
mm_status mmi_weights_load(mm_context *ctx, mm_model *m, const mmi_weight_source *source);

/* Weights that a part has from a checkpoint of its own are called as the whole's would be. */
mm_status mmi_weights_name_part(mm_context *ctx, mm_model *part);

/* Go through the weights that a model without its parts has, with their rows; begins as all zeros. 0: no more. */
typedef struct {
    const mmi_weight_row *row;
    int64_t layer;  /* -1: no layer's */
    int32_t weight; /* index into m->weights */
    size_t next;
} mmi_weight_place;
int mmi_weights_next(const mm_model *m, mmi_weight_place *at);

/* The name that today's transformers gives to a row's tensor: in files, or for `module` in memory, where a few are called otherwise. Zero: it does
 * not fit. */
int mmi_weight_todays_name(const mm_model *m, const mmi_weight_row *row, int64_t layer, int module, char *name, size_t size);
/* Name `index` of those that a row's tensor may have in a directory; 0: there are no more. */
int mmi_weight_row_name(const mm_model *m, const mmi_weight_row *row, int64_t layer, size_t index, char *name, size_t size);
void mmi_weight_shape_text(const int64_t *shape, int32_t rank, char out[128]); /* "[64, 8]" */

/* Take anew what is derived from the weights, after they were changed. */
mm_status mmi_weights_prepare(mm_context *ctx, mm_model *m);

/* The shape that files have of weight `index` of m; the rank. */
int32_t mmi_weights_file_shape(const mm_model *m, size_t index, int64_t shape[MM_TENSOR_MAX_RANK]);

/* Equal but for leading ones. */
int mmi_weights_same_shape(const int64_t *a, int32_t a_rank, const int64_t *b, int32_t b_rank);

#endif
