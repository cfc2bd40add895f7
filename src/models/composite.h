/* SPDX-License-Identifier: MIT */
#ifndef MMI_COMPOSITE_H
#define MMI_COMPOSITE_H

#include "composite_config.h"

extern const mmi_architecture mmi_composite;

/* Its configuration, heads among it; NULL for a model of another architecture. */
const mmi_composite_config *mmi_composite_of(const mm_model *m);

/* Pairs of weights that soft sharing holds together by a penalty on their distance: of each two trunks the weights of one place. */
void mmi_composite_ties(const mm_model *m, void (*visit)(void *arg, const mmi_weight *a, const mmi_weight *b), void *arg);

#endif
