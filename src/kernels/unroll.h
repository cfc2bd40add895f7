/* What the compiler must be told for kernels on arrays of vectors. SPDX-License-Identifier: MIT */
#ifndef MMI_UNROLL_H
#define MMI_UNROLL_H

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* Unroll the following loop of at most 16 rounds: arrays of vectors must become registers at -O2 too. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#endif
