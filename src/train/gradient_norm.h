/* The size of all gradients together, and how much to shrink them.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_GRADIENT_NORM_H
#define MMI_GRADIENT_NORM_H

#include "optimizer.h"

/* The L2 norm of all gradients times `scale`: in float64, summed in one order whatever the threads. MM_E_OVERFLOW names the first parameter
 * whose gradient holds NaN or an infinity, where it stands, and `step`. */
mm_status mmi_gradient_norm(mm_context *ctx, const mmi_parameter *parameters, size_t n, double scale, uint64_t step, double *norm);

/* The factor that brings a norm down to `most`, or 1: as torch.nn.utils.clip_grad_norm_. */
double mmi_gradient_clip(double norm, double most);

#endif
