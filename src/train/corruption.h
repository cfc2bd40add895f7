/* Hiding parts of an example, for objectives that learn to put them back. What is hidden is a function of a key, and the key of
 * (seed, step, index). SPDX-License-Identifier: MIT */
#ifndef MMI_CORRUPTION_H
#define MMI_CORRUPTION_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"

/* The key of example `index` of step `step`. */
uint64_t mmi_corruption_key(uint64_t seed, uint64_t step, uint64_t index);

enum { MMI_LABEL_NONE = -100 }; /* a position without loss, as torch's cross entropy has it */

/* Masked language model (arXiv:1810.04805 section 3.1). */
typedef struct {
    double rate;   /* of the tokens that are not special, to the nearest whole number, but at least one: 0.15 */
    double masked; /* of the chosen, that become `mask`: 0.8 */
    double random; /* of the chosen, that become any token: 0.1; the others stay */
    int32_t mask, tokens; /* id of the mask token, size of the vocabulary */
} mmi_masking;

/* words: NULL, or what each token belongs to: neighbours of one number are chosen together, and a word that would be too many is passed
 * over for another. special[i] nonzero: never chosen; NULL for none. inputs may be ids; labels get the ids of what was chosen, else
 * MMI_LABEL_NONE. MM_E_NOMEM. */
mm_status mmi_corrupt_masked(mm_context *ctx, const mmi_masking *m, uint64_t key, const int32_t *ids, const unsigned char *special,
                             const int32_t *words, size_t n, int32_t *inputs, int32_t *labels);

/* Span corruption (arXiv:1910.10683 section 3.1.4). */
typedef struct {
    double density;     /* of noise, between 0 and 1: 0.15 */
    double mean_length; /* of its spans, more than 0: 3 */
    int32_t sentinel;   /* the first; the others descend from it: <extra_id_0>, <extra_id_1>, ... */
    size_t sentinels;   /* how many there are, and so spans at most */
    int32_t end;        /* behind both texts; -1: none */
} mmi_spans;

/* mask[i] is 1 for noise: T5's random_spans_noise_mask. The text begins with what is kept and ends with noise; of one token, none is noise. */
void mmi_span_mask(const mmi_spans *s, uint64_t key, size_t n, unsigned char *mask);

/* inputs: a sentinel for each span of noise; targets: a sentinel for each span of what was kept; each then `end`. Room for n + 1 each.
 * MM_E_NOMEM. */
mm_status mmi_corrupt_spans(mm_context *ctx, const mmi_spans *s, uint64_t key, const int32_t *ids, size_t n, int32_t *inputs, size_t *n_inputs,
                            int32_t *targets, size_t *n_targets);

/* ViTMAE's "noise", whose order says which patches are kept (arXiv:2111.06377): 0 <= noise < 1. */
void mmi_masking_noise(uint64_t key, size_t n, float *noise);

/* y = x + deviation * normal; y may be x. */
void mmi_corrupt_gaussian(uint64_t key, double deviation, const float *x, size_t n, float *y);

/* Write `value` over `ratio` of the patches (to the nearest whole number) of planes [channels, height, width]; what is beyond the last whole
 * patch stays. */
void mmi_corrupt_patches(uint64_t key, double ratio, float value, size_t patch, float *pixels, size_t channels, size_t height, size_t width);

#endif
