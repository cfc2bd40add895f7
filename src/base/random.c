/* SPDX-License-Identifier: MIT */
#include "random.h"

#include <math.h>

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

/* Counter (index, stream), key seed; the first two of the four words that a block gives. */
static void philox(uint64_t seed, uint64_t stream, uint64_t index, uint32_t c[4])
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};

    c[0] = (uint32_t)index;
    c[1] = (uint32_t)(index >> 32);
    c[2] = (uint32_t)stream;
    c[3] = (uint32_t)(stream >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        c[0] = (uint32_t)(b >> 32) ^ c[1] ^ key[0];
        c[1] = (uint32_t)b;
        c[2] = (uint32_t)(a >> 32) ^ c[3] ^ key[1];
        c[3] = (uint32_t)a;
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
}

uint64_t mmi_random_at(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t c[4];
    philox(seed, stream, index, c);
    return (uint64_t)c[1] << 32 | c[0];
}

double mmi_random_unit_at(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (double)(mmi_random_at(seed, stream, index) >> 11) * 0x1p-53;
}

double mmi_random_normal_at(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t c[4];
    double u, v;

    philox(seed, stream, index, c);
    u = ((double)c[0] + 1.0) * 0x1p-32; /* not 0, whose logarithm is none */
    v = (double)c[1] * 0x1p-32;
    return sqrt(-2 * log(u)) * cos(6.28318530717958647692 * v);
}
