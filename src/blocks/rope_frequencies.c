/* SPDX-License-Identifier: MIT */
#include "rope_frequencies.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

/* The dimension whose wave makes `rotations` turns within the original context: YaRN, section 3.2. */
static double correction_dim(const mmi_rope_spec *r, double rotations, double dim)
{
    return dim * log(r->original_context / (rotations * 2 * PI)) / (2 * log(r->theta));
}

static double mscale(double factor, double m) { return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1; }

static float yarn(const mmi_rope_spec *r, size_t dim, float *inverse)
{
    double low = correction_dim(r, r->beta_fast, (double)dim), high = correction_dim(r, r->beta_slow, (double)dim);

    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, (double)dim - 1);
    if (low == high) high += 0.001;
    for (size_t i = 0; i < dim / 2; i++) {
        double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
        double f = inverse[i];
        inverse[i] = (float)(f / r->factor * ramp + f * (1 - ramp));
    }
    if (r->attention_factor > 0) return (float)r->attention_factor;
    if (r->mscale > 0 && r->mscale_all_dim > 0) return (float)(mscale(r->factor, r->mscale) / mscale(r->factor, r->mscale_all_dim));
    return (float)mscale(r->factor, 1);
}

static void llama3(const mmi_rope_spec *r, size_t dim, float *inverse)
{
    double low_wave = r->original_context / r->low_frequency_factor, high_wave = r->original_context / r->high_frequency_factor;

    for (size_t i = 0; i < dim / 2; i++) {
        double f = inverse[i], wave = 2 * PI / f, smooth;
        if (wave < high_wave) continue;
        smooth = (r->original_context / wave - r->low_frequency_factor) / (r->high_frequency_factor - r->low_frequency_factor);
        inverse[i] = (float)(wave > low_wave ? f / r->factor : (1 - smooth) * f / r->factor + smooth * f);
    }
}

/* Table 1 there: scores are sharpened with the length they are stretched to. */
static float longrope(const mmi_rope_spec *r)
{
    if (r->attention_factor > 0) return (float)r->attention_factor;
    return (float)(r->factor > 1 ? sqrt(1 + log(r->factor) / log(r->original_context)) : 1);
}

mmi_rope_spec mmi_rope_plain(double theta, double original_context)
{
    return (mmi_rope_spec){.kind = MMI_ROPE_DEFAULT, .theta = theta, .factor = 1, .original_context = original_context, .beta_fast = 32, .beta_slow = 1,
                           .truncate = 1, .low_frequency_factor = 1, .high_frequency_factor = 4};
}

float mmi_rope_frequencies(const mmi_rope_spec *r, size_t dim, int row, float *inverse)
{
    for (size_t i = 0; i < dim / 2; i++) inverse[i] = 1.0f / powf((float)r->theta, (float)(2 * i) / (float)dim);
    for (size_t i = 0; r->sets && i < dim / 2; i++) inverse[i] /= r->factors[row][i];
    switch (r->kind) {
    case MMI_ROPE_LINEAR:
        for (size_t i = 0; i < dim / 2; i++) inverse[i] = (float)(inverse[i] / r->factor);
        return 1;
    case MMI_ROPE_YARN: return yarn(r, dim, inverse);
    case MMI_ROPE_LLAMA3: llama3(r, dim, inverse); return 1;
    case MMI_ROPE_LONG: return longrope(r);
    case MMI_ROPE_DEFAULT:
    case MMI_ROPE_DYNAMIC: break;
    }
    return 1;
}
