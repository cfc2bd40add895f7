/* What a run trains: the float weights of a model and its parts that no pattern freezes, or those of an adapter, with memory for their gradients.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PARAMETERS_H
#define MMI_PARAMETERS_H

#include "model.h"
#include "optimizer.h"
#include "train_config.h"

typedef struct {
    mmi_parameter *list; /* names, weights and gradients are borrowed from the weights */
    mmi_weight **weights; /* the same in order */
    size_t count, elements;
    float *gradients;    /* of all, one behind another */
} mmi_parameters;

/* Choose among the weights of an own model (opened for training) and `extra` ones that are trained whatever the patterns say of the model (an adapter's; then the
 * model's own only where train_only names them). Their `gradient` is set; with master BF16 matrices are stored as that from now on. MM_E_NOT_FOUND for a pattern that
 * matches nothing, MM_E_ARGUMENT when nothing is left. Cleared by the caller, after a failure too. */
mm_status mmi_parameters_choose(mm_context *ctx, mm_model *model, mmi_weight *const *extra, size_t n_extra, const mmi_train_config *config, mmi_parameters *out);
void mmi_parameters_clear(mmi_parameters *p); /* the weights are frozen again */
void mmi_parameters_zero_gradients(mmi_parameters *p);

#endif
