/* Inverse frequencies of rotary positions and their scaling beyond the trained context: linear (arXiv:2306.15595), dynamic NTK,
 * YaRN (arXiv:2309.00071), LongRoPE (arXiv:2402.13753) and Llama 3's. SPDX-License-Identifier: MIT */
#ifndef MMI_ROPE_FREQUENCIES_H
#define MMI_ROPE_FREQUENCIES_H

#include <stddef.h>
#include <stdint.h>

typedef enum { MMI_ROPE_DEFAULT, MMI_ROPE_LINEAR, MMI_ROPE_DYNAMIC, MMI_ROPE_YARN, MMI_ROPE_LLAMA3, MMI_ROPE_LONG } mmi_rope_kind;

enum { MMI_ROPE_PAIRS = 256 }; /* at most, in a head */

typedef struct {
    mmi_rope_kind kind;
    double theta;             /* the base */
    double factor;
    double original_context;  /* tokens that the unscaled model was trained on; the long factors are for longer texts */
    double beta_fast, beta_slow, attention_factor, mscale, mscale_all_dim; /* YaRN, LongRoPE; attention_factor, mscale 0: not given */
    int truncate;
    double low_frequency_factor, high_frequency_factor;                    /* Llama 3 */
    int sets;                 /* 0; 1: frequencies are divided by factors[0]; 2: by factors[1] in long texts (LongRoPE) */
    size_t listed;            /* factors in a set, 0: not known */
    float factors[2][MMI_ROPE_PAIRS];
} mmi_rope_spec;

/* No scaling, of this base. */
mmi_rope_spec mmi_rope_plain(double theta, double original_context);

/* How many rows of frequencies a text may need: 2 with two sets of factors. */
static inline int64_t mmi_rope_rows(const mmi_rope_spec *rope) { return rope->sets == 2 ? 2 : 1; }

/* Fill inverse[0 .. dim / 2) of row 0 or 1 and return the factor on cosines and sines. DYNAMIC is unscaled within the trained context, and
 * longer contexts are not offered by models that use it. */
float mmi_rope_frequencies(const mmi_rope_spec *rope, size_t dim, int row, float *inverse);

#endif
