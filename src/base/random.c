/* SPDX-License-Identifier: MIT */
#include "random.h"

static const uint64_t INCREMENT = 1442695040888963407u;

uint32_t mmi_random_u32(mmi_random *r)
{
    uint64_t old = r->state;
    uint32_t x = (uint32_t)((old >> 18 ^ old) >> 27), turn = (uint32_t)(old >> 59);

    r->state = old * 6364136223846793005u + INCREMENT;
    return x >> turn | x << (-turn & 31);
}

void mmi_random_seed(mmi_random *r, uint64_t seed)
{
    r->state = seed + INCREMENT;
    (void)mmi_random_u32(r);
}

double mmi_random_unit(mmi_random *r)
{
    uint64_t high = mmi_random_u32(r) >> 5, low = mmi_random_u32(r) >> 6; /* 27 and 26 bits */
    return (double)(high << 26 | low) * 0x1p-53;
}
