/* From pixels to tokens: patches, their projection, tokens of no patch, and positions (ViT: arXiv:2010.11929, eq. 1).
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PATCH_EMBEDDER_H
#define MMI_PATCH_EMBEDDER_H

#include "graph.h"
#include "resize_op.h"

typedef struct {
    int64_t patch;
    mmi_value w, b;             /* [C, channels, patch, patch], [C] or 0 */
    mmi_value class_token;      /* [1, 1, C], 0 for none */
    mmi_value second_token;     /* [1, 1, C], behind the class token (DeiT's distillation: arXiv:2012.12877), 0 for none */
    mmi_value registers;        /* [1, R, C], behind those, without positions (arXiv:2309.16588), 0 for none */
    mmi_value positions;        /* [1, tokens + rows * cols, C], those of the one or two tokens first */
    int64_t rows, cols;         /* the grid that `positions` was trained on; another grid is interpolated to */
    mmi_resize_mode resize;
} mmi_patch_embedder_spec;

mmi_value mmi_patch_embedder(mmi_graph *g, mmi_value pixels, const mmi_patch_embedder_spec *p); /* [B, channels, H, W] -> [B, N, C] */

#endif
