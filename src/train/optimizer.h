/* Optimizers: AdamW (arXiv:1711.05101), SGD with momentum, Lion (arXiv:2302.06675), Adafactor (arXiv:1804.04235).
 *
 * Work is cut by shape and every random number is counted by (seed, step, parameter, element), so a step gives the same bits for any
 * number of threads, and a run that goes on from its state those of one that never stopped.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_OPTIMIZER_H
#define MMI_OPTIMIZER_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"

/* What is trained. All but the numbers in it is borrowed for the optimizer's life, and the weights are changed in place. */
typedef struct {
    const char *name;
    void *weights;         /* [rows, cols]; a vector is one row, a kernel of more dimensions rows of what its first leaves */
    int32_t dtype;         /* MM_DTYPE_F32, or MM_DTYPE_BF16, to which a step then rounds by chance: up as often as the rest asks for */
    const float *gradient; /* [rows, cols] */
    size_t rows, cols;
    float lr_scale;
    float weight_decay;
} mmi_parameter;

typedef enum { MMI_OPTIMIZER_ADAMW, MMI_OPTIMIZER_SGD, MMI_OPTIMIZER_LION, MMI_OPTIMIZER_ADAFACTOR, MMI_OPTIMIZER_COUNT } mmi_optimizer_kind;

typedef struct {
    mmi_optimizer_kind kind;
    double beta1, beta2; /* of AdamW and Lion; SGD's momentum is beta1 (0: none, and no state) */
    double eps;          /* AdamW: added to the root; Adafactor: added to the square */
    int nesterov;        /* SGD */
    int relative_step;   /* Adafactor: the step is min(lr, 1 / sqrt(step)) max(0.001, RMS of the weights); else lr, as for the others */
    uint64_t seed;       /* of the rounding to bf16 */
} mmi_optimizer_spec;

typedef struct mmi_optimizer mmi_optimizer;

/* The customary numbers for "adamw", "sgd", "lion" or "adafactor"; MM_E_ARGUMENT, which names the four, for another. */
mm_status mmi_optimizer_spec_of(mm_context *ctx, const char *name, mmi_optimizer_spec *spec);

/* State is zero. MM_E_ARGUMENT names the number that is out of range, or the parameter. */
mm_status mmi_optimizer_create(mm_context *ctx, const mmi_optimizer_spec *spec, const mmi_parameter *parameters, size_t n, mmi_optimizer **out);
void mmi_optimizer_destroy(mmi_optimizer *o); /* NULL allowed */

/* Step number `step`, which counts from 1, with the gradients times `gradient_scale`. Weight decay is as in torch: for SGD part of the
 * gradient, else decoupled. MM_E_NOMEM, with nothing changed. */
mm_status mmi_optimizer_step(mm_context *ctx, mmi_optimizer *o, uint64_t step, double lr, float gradient_scale);

/* What must be kept with the weights to go on: float32 arrays, named <parameter>.<moment> as torch names it. Copy them out, or in. */
size_t mmi_optimizer_states(const mmi_optimizer *o);
void mmi_optimizer_state(const mmi_optimizer *o, size_t i, const char **name, float **data, size_t *elements);

#endif
