/* SPDX-License-Identifier: MIT */
#include "kernels.h"

void mmi_kernels_init(mmi_kernels *k, int level)
{
    k->level = MM_CPU_REFERENCE;
    mmi_kernels_reference(k);
    mmi_kernels_gradient_reference(k);
    mmi_kernels_update_reference(k);
    mmi_kernels_quant_reference(k);
#if defined(__x86_64__)
    if (level >= MM_CPU_AVX2) {
        mmi_kernels_avx2(k);
        mmi_kernels_quant_avx2(k);
        mmi_kernels_row_avx2(k);
    }
    if (level >= MM_CPU_AVX512) {
        mmi_kernels_avx512(k);
        mmi_kernels_quant_avx512(k);
    }
    if (level >= MM_CPU_AMX) {
        mmi_kernels_quant_amx(k);
        mmi_kernels_row_amx(k);
    }
#elif defined(__aarch64__)
    if (level >= MM_CPU_NEON) {
        mmi_kernels_neon(k);
        mmi_kernels_quant_neon(k);
    }
    if (level >= MM_CPU_DOTPROD) mmi_kernels_quant_dotprod(k);
#endif
    k->level = level;
}

const mmi_kernels *mmi_kernels_of(mm_context *ctx)
{
    if (!ctx->kernels) {
        ctx->kernels = mmi_alloc(ctx, sizeof *ctx->kernels);
        if (ctx->kernels) mmi_kernels_init(ctx->kernels, ctx->cpu_level);
    }
    return ctx->kernels;
}
