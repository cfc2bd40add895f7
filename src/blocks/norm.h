/* Normalization with its weights. SPDX-License-Identifier: MIT */
#ifndef MMI_NORM_H
#define MMI_NORM_H

#include "graph.h"

typedef struct {
    int rms;          /* root mean square (arXiv:1910.07467), else layer normalization (arXiv:1607.06450) */
    mmi_value w, b;   /* [C]; b 0 for none */
    float eps;
    float w_offset;   /* added to w, RMS only */
} mmi_norm_spec;

mmi_value mmi_norm(mmi_graph *g, mmi_value x, const mmi_norm_spec *norm); /* [.., C] */

#endif
