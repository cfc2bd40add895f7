/* Checked arithmetic for sizes, offsets and counts that come from files or callers.
 * Each function returns nonzero when the result does not fit and then leaves *out alone.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_SIZE_H
#define MMI_SIZE_H

#include <stddef.h>

static inline int mmi_size_add(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r)) return 1;
    *out = r;
    return 0;
}

static inline int mmi_size_mul(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r)) return 1;
    *out = r;
    return 0;
}

static inline int mmi_size_mul3(size_t a, size_t b, size_t c, size_t *out)
{
    size_t r;
    return mmi_size_mul(a, b, &r) || mmi_size_mul(r, c, out);
}

/* Round `a` up to a multiple of `unit` (not 0). */
static inline int mmi_size_round_up(size_t a, size_t unit, size_t *out)
{
    size_t r;
    if (mmi_size_add(a, unit - 1, &r)) return 1;
    *out = r / unit * unit;
    return 0;
}

static inline size_t mmi_size_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t mmi_size_max(size_t a, size_t b) { return a > b ? a : b; }

/* The size of equal parts of at most `most` that make up `total`, the last one less; at least 1. */
static inline size_t mmi_size_even(size_t total, size_t most)
{
    const size_t parts = (total + most - 1) / most;
    return parts ? (total + parts - 1) / parts : 1;
}

#endif
