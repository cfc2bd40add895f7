/* Where in a picture a model looked, by attention rollout (Abnar and Zuidema 2020, arXiv:2005.00928): the attention of each layer, averaged over its
 * heads and mixed half and half with the residual beside it, multiplied from the answer down to the patches.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_EXPLANATION_H
#define MMI_EXPLANATION_H

#include "model.h"
#include "tensor.h"

/* Names to ask mmi_forward for; all zeros at first. */
typedef struct {
    char **names; /* NULL at the end */
    size_t count, capacity;
} mmi_watch_list;

mm_status mmi_watch_name(mm_context *ctx, mmi_watch_list *list, const char *name);
/* The means over heads of layers [0, layers), as mmi_io_watch calls them. */
mm_status mmi_watch_layers(mm_context *ctx, mmi_watch_list *list, const char *side, const char *kind, int64_t layers);
mm_status mmi_watch_tower(mm_context *ctx, mmi_watch_list *list, const mm_model *m); /* those of the part that sees */
void mmi_watch_clear(mmi_watch_list *list);

/* One of them in what mmi_forward gave for a batch of one, [1, T, S]. MM_E_UNSUPPORTED: it is not there. */
mm_status mmi_watched(mm_context *ctx, const mm_tensor_map *outputs, const char *side, const char *kind, int64_t layer, const mm_tensor **out);

/* v [n] over the tokens behind the last of these layers becomes v over the tokens before the first. */
mm_status mmi_roll_out(mm_context *ctx, const mm_tensor_map *outputs, const char *side, const char *kind, int64_t layers, float *v, size_t n);

/* From `v` over the tower's last states (all n of them, or its n patches; NULL: from what the tower answers with) to the picture: `inputs` are what the
 * processor made of it, `outputs` hold what mmi_watch_tower asked for. *out as in mmi_explain_place. */
mm_status mmi_explain_tower(mm_context *ctx, const mm_model *m, const mm_image *image, const mm_tensor_map *inputs, const mm_tensor_map *outputs,
                            const float *v, size_t n, mm_tensor **out);

/* Weights of a grid over the processor's array, as f32 [rows, cols] over the whole picture with the sum 1, in cells about as large. The caller releases
 * *out. MM_E_STATE: all weights are zero, or lie beside the picture. */
mm_status mmi_explain_place(mm_context *ctx, const mm_model *m, const mm_image *image, const float *weights, size_t rows, size_t cols, mm_tensor **out);

/* mm_model_explain_image. */
mm_status mmi_explain_image(mm_context *ctx, const mm_model *m, const mm_image *image, mm_tensor **out);

#endif
