/* Inverse frequencies of rotary positions and their scaling beyond the trained context: linear (arXiv:2306.15595), dynamic NTK,
 * YaRN (arXiv:2309.00071) and Llama 3's. SPDX-License-Identifier: MIT */
#ifndef MMI_ROPE_FREQUENCIES_H
#define MMI_ROPE_FREQUENCIES_H

#include <stddef.h>

typedef enum { MMI_ROPE_DEFAULT, MMI_ROPE_LINEAR, MMI_ROPE_DYNAMIC, MMI_ROPE_YARN, MMI_ROPE_LLAMA3 } mmi_rope_kind;

typedef struct {
    mmi_rope_kind kind;
    double theta;             /* the base */
    double factor;
    double original_context;  /* tokens that the unscaled model was trained on */
    double beta_fast, beta_slow, attention_factor, mscale, mscale_all_dim; /* YaRN; attention_factor, mscale 0: not given */
    int truncate;
    double low_frequency_factor, high_frequency_factor;                    /* Llama 3 */
} mmi_rope_spec;

/* Fill inverse[0 .. dim / 2) and return the factor on cosines and sines. DYNAMIC is unscaled within the trained context, and
 * longer contexts are not offered by models that use it. */
float mmi_rope_frequencies(const mmi_rope_spec *rope, size_t dim, float *inverse);

#endif
