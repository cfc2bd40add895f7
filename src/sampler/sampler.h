/* From the scores of the next token to a token: penalties, temperature, top-k, top-p (arXiv:1904.09751), min-p (arXiv:2407.01082), in the
 * order in which transformers applies them. SPDX-License-Identifier: MIT */
#ifndef MMI_SAMPLER_H
#define MMI_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "random.h"

typedef struct {
    double temperature;      /* 0: the likeliest token, the lower id among equals */
    int64_t top_k;           /* 0: all */
    double top_p, min_p;
    double repeat_penalty, presence_penalty, frequency_penalty;
    int64_t repeat_last;     /* tokens that the penalties look back on, -1: all */
    mmi_random random;
} mmi_sampler;

void mmi_sampler_init(mmi_sampler *s); /* greedy, no penalties, seed 0 */

/* Pick a token by logits[0 .. vocabulary); `history` are the tokens so far. NaN counts as impossible. MM_E_NOMEM, or MM_E_STATE when no
 * token is possible. */
mm_status mmi_sampler_pick(mm_context *ctx, mmi_sampler *s, const float *logits, size_t vocabulary, const int32_t *history, size_t n,
                           int32_t *out);

#endif
