/* What tokens attend to of pictures that were cut into tiles, and these among each other (Llama 3.2 Vision).
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PICTURE_MASK_OP_H
#define MMI_PICTURE_MASK_OP_H

#include "graph.h"

/* Which of the pictures whose placeholder tokens are at `places`, rising, token t attends to: [*first, *end). They are the last one before it, and those
 * whose placeholders stand directly before that one's, without a token between. None before the first. */
void mmi_pictures_of_token(const int32_t *places, size_t count, int32_t t, size_t *first, size_t *end);

/* The mask of that, i32 [B, T, M, K]: ids i32 [B, T] with a placeholder `token` for each picture, and tiles i32 [B, M, K], 0 where there is none. A picture
 * whose kind, i32 [B, M], is 0 pads the batch; another number of placeholders in a row of ids than pictures fails the run with both. */
mmi_value mmi_picture_mask(mmi_graph *g, mmi_value ids, int32_t token, mmi_value tiles, mmi_value kinds);

/* That mask as a bias [B, 1, T, M K n] of attention across to n rows of each tile. A token that attends to nothing has no bias: it sees
 * all, as the reference has it. And [B, T, 1]: 0 for such a token, else 1. */
mmi_value mmi_picture_bias(mmi_graph *g, mmi_value mask, int64_t rows);
mmi_value mmi_picture_seen(mmi_graph *g, mmi_value mask);

/* The bias [B, 1, K n, K n] within pictures of K tiles of n rows, the first `patches` of which are patches; the others, and those of the tiles where
 * i32 [B, K] is 0, are padding. Padding is hidden from padding alone, as the reference has it. */
mmi_value mmi_tile_bias(mmi_graph *g, mmi_value tiles, int64_t rows, int64_t patches);

#endif
