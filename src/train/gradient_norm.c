/* SPDX-License-Identifier: MIT */
#include "gradient_norm.h"

#include <math.h>

#include "kernels.h"
#include "size.h"

enum { CHUNK = 1 << 16 };

typedef struct {
    const mmi_kernels *kernels;
    const mmi_parameter *parameter;
    size_t elements;
    double *sums;
} share;

static void sum_chunk(void *arg, size_t task, int worker)
{
    const share *s = arg;
    const size_t first = task * CHUNK;
    (void)worker;

    s->sums[task] = s->kernels->sum_squares(s->parameter->gradient + first, NULL, mmi_size_min(CHUNK, s->elements - first));
}

static mm_status not_finite(mm_context *ctx, const mmi_parameter *p, size_t elements, uint64_t step)
{
    size_t i = 0;

    while (i + 1 < elements && isfinite(p->gradient[i])) i++;
    return mmi_fail(ctx, MM_E_OVERFLOW, "step %llu: the gradient of %.200s is %g at [%zu, %zu]", (unsigned long long)step, p->name,
                    (double)p->gradient[i], i / p->cols, i % p->cols);
}

mm_status mmi_gradient_norm(mm_context *ctx, const mmi_parameter *parameters, size_t n, double scale, uint64_t step, double *norm)
{
    const mmi_kernels *kernels = mmi_kernels_of(ctx);
    double *sums, total = 0;
    size_t most = 0;
    mm_status st = MM_OK;

    if (!kernels) return MM_E_NOMEM;
    for (size_t i = 0; i < n; i++) most = mmi_size_max(most, parameters[i].rows * parameters[i].cols);
    if (!(sums = mmi_alloc_array(ctx, most / CHUNK + 1, sizeof *sums))) return MM_E_NOMEM;
    for (size_t i = 0; i < n && !st; i++) {
        const share s = {kernels, &parameters[i], parameters[i].rows * parameters[i].cols, sums};
        const size_t chunks = (s.elements + CHUNK - 1) / CHUNK;
        double sum = 0;
        mmi_thread_pool_run(mmi_context_pool(ctx), sum_chunk, (void *)&s, chunks, NULL);
        for (size_t k = 0; k < chunks; k++) sum += sums[k];
        if (!isfinite(sum)) st = not_finite(ctx, &parameters[i], s.elements, step); /* squares of finite floats do not overflow float64 */
        total += sum;
    }
    mmi_free(sums);
    *norm = sqrt(total) * fabs(scale);
    return st;
}

double mmi_gradient_clip(double norm, double most) { return fmin(1, most / (norm + 1e-6)); }
