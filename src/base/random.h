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

/* Without a state: number `index` of stream `stream` of `seed` (Philox4x32-10: Salmon et al. 2011), so that work may be cut and resumed anywhere. */
uint64_t mmi_random_at(uint64_t seed, uint64_t stream, uint64_t index);
double mmi_random_unit_at(uint64_t seed, uint64_t stream, uint64_t index);   /* 0 <= u < 1, 53 bits */
double mmi_random_normal_at(uint64_t seed, uint64_t stream, uint64_t index); /* mean 0, variance 1: Box and Muller 1958 */

#endif
