/* The weights of a layer as the blocks take them. The slots of a part stand in one order in every architecture's table, each weight
 * before its bias; a bias that is absent is 0. SPDX-License-Identifier: MIT */
#ifndef MMI_LAYER_WEIGHTS_H
#define MMI_LAYER_WEIGHTS_H

#include "cross_attention.h"
#include "feed_forward.h"
#include "io.h"
#include "norm.h"
#include "self_attention.h"

/* Slots first: Q, Q_BIAS, K, K_BIAS, V, V_BIAS, O, O_BIAS. Scores are scaled by 1 / sqrt(dim). */
mmi_self_attention_spec mmi_layer_attention(mmi_io *io, int first, int64_t layer, int64_t heads, int64_t key_heads, int64_t dim);

/* The same slots of attention across to a source, `layer` of its caches too. */
mmi_cross_attention_spec mmi_layer_cross_attention(mmi_io *io, int first, int64_t layer, int64_t heads, int64_t dim);

/* Slots first: UP, UP_BIAS, DOWN, DOWN_BIAS. */
mmi_feed_forward_spec mmi_layer_feed_forward(mmi_io *io, int first, int64_t layer, mmi_activation act);

/* Slots first: weight and bias of a layer normalization; layer -1 for one that is no layer's. */
mmi_norm_spec mmi_layer_norm_spec(mmi_io *io, int first, int64_t layer, float eps);

#endif
