/* Random numbers that are the same on every machine for a seed: PCG32 (O'Neill 2014). SPDX-License-Identifier: MIT */
#ifndef MMI_RANDOM_H
#define MMI_RANDOM_H

#include <stdint.h>

typedef struct {
    uint64_t state;
} mmi_random;

void mmi_random_seed(mmi_random *r, uint64_t seed);
uint32_t mmi_random_u32(mmi_random *r);
double mmi_random_unit(mmi_random *r); /* 0 <= u < 1, 53 bits */

#endif
