/* SPDX-License-Identifier: MIT */
#include "corruption.h"

#include <math.h>

#include "random.h"
#include "size.h"

/* Streams of one key. */
enum { CHOICE, FATE, TOKEN, KEPT };

uint64_t mmi_corruption_key(uint64_t seed, uint64_t step, uint64_t index) { return mmi_random_at(seed, step, index); }

static size_t below(uint64_t key, uint64_t stream, uint64_t index, size_t n)
{
    return (size_t)(mmi_random_unit_at(key, stream, index) * (double)n);
}

/* One of `left` is drawn for each call, until `wanted` of all are chosen: every choice of so many is as likely (Fan, Muller, Rezucha 1962). */
static int chosen(uint64_t key, uint64_t stream, size_t index, size_t *left, size_t *wanted)
{
    const int yes = below(key, stream, index, *left) < *wanted;
    *left -= 1;
    *wanted -= (size_t)yes;
    return yes;
}

/* ---- masked language model ---- */

static int joined(const unsigned char *special, const int32_t *words, size_t i) /* token i with the one before */
{
    return i && words && words[i] == words[i - 1] && !(special && (special[i] || special[i - 1]));
}

static void mask_token(const mmi_masking *m, uint64_t key, size_t i, int32_t id, int32_t *input, int32_t *label)
{
    const double u = mmi_random_unit_at(key, FATE, i);

    *label = id;
    if (u < m->masked) *input = m->mask;
    else if (u < m->masked + m->random) *input = (int32_t)below(key, TOKEN, i, (size_t)m->tokens);
}

mm_status mmi_corrupt_masked(mm_context *ctx, const mmi_masking *m, uint64_t key, const int32_t *ids, const unsigned char *special,
                             const int32_t *words, size_t n, int32_t *inputs, int32_t *labels)
{
    size_t *starts = mmi_alloc_array(ctx, n + 1, sizeof *starts), units = 0, tokens = 0, wanted, masked = 0; /* a unit: a token or word */

    if (!starts) return MM_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const int32_t id = ids[i];
        inputs[i] = id;
        labels[i] = MMI_LABEL_NONE;
        if (special && special[i]) continue;
        tokens++;
        if (!joined(special, words, i)) starts[units++] = i;
    }
    wanted = mmi_size_max(1, (size_t)rint(m->rate * (double)tokens));
    /* in random order (Fisher and Yates), the shortest first when all are too long */
    for (size_t k = 0, shortest = 0, first = 0; k < units && masked < wanted; k++) {
        const size_t other = k + below(key, CHOICE, k, units - k), start = starts[other];
        size_t end = start + 1;
        starts[other] = starts[k];
        while (end < n && joined(special, words, end)) end++;
        if (!shortest || end - start < shortest) {
            shortest = end - start;
            first = start;
        }
        if (masked + end - start <= wanted) {
            for (size_t i = start; i < end; i++) mask_token(m, key, i, ids[i], &inputs[i], &labels[i]);
            masked += end - start;
        } else if (k + 1 == units && !masked) {
            for (size_t i = first; i < first + shortest; i++) mask_token(m, key, i, ids[i], &inputs[i], &labels[i]);
        }
    }
    mmi_free(starts);
    return MM_OK;
}

/* ---- spans ---- */

/* The length of the next of some segments, none empty, when `cuts` cuts are to be made at `left` places yet: every way as likely. */
static size_t next_segment(uint64_t key, uint64_t stream, size_t *at, size_t *left, size_t *cuts)
{
    size_t length = 1;

    while (*left && !chosen(key, stream, (*at)++, left, cuts)) length++;
    return length;
}

void mmi_span_mask(const mmi_spans *s, uint64_t key, size_t n, unsigned char *mask)
{
    const size_t length = mmi_size_max(n, 2);
    const size_t noise = mmi_size_min(mmi_size_max((size_t)rint((double)length * s->density), 1), length - 1), kept = length - noise;
    const size_t most = mmi_size_min(mmi_size_min(noise, kept), mmi_size_max(s->sentinels, 1));
    const size_t spans = mmi_size_min(mmi_size_max((size_t)rint((double)noise / s->mean_length), 1), most);
    size_t noise_at = 0, noise_left = noise - 1, noise_cuts = spans - 1, kept_at = 0, kept_left = kept - 1, kept_cuts = spans - 1;

    for (size_t span = 0, i = 0; span < spans; span++) {
        const size_t gap = next_segment(key, KEPT, &kept_at, &kept_left, &kept_cuts);
        const size_t hole = next_segment(key, CHOICE, &noise_at, &noise_left, &noise_cuts);
        for (size_t end = i + gap; i < end; i++) {
            if (i < n) mask[i] = 0;
        }
        for (size_t end = i + hole; i < end; i++) {
            if (i < n) mask[i] = 1;
        }
    }
}

mm_status mmi_corrupt_spans(mm_context *ctx, const mmi_spans *s, uint64_t key, const int32_t *ids, size_t n, int32_t *inputs, size_t *n_inputs,
                            int32_t *targets, size_t *n_targets)
{
    unsigned char *mask = mmi_alloc(ctx, n);
    int32_t *const text[2] = {inputs, targets};
    int32_t sentinel[2] = {s->sentinel, s->sentinel};
    size_t size[2] = {0, 0};

    if (!mask) return MM_E_NOMEM;
    mmi_span_mask(s, key, n, mask);
    for (size_t i = 0; i < n; i++) { /* a token goes to one text, and the sentinel of its span to the other */
        const int to = mask[i];
        if (!i || mask[i] != mask[i - 1]) text[!to][size[!to]++] = sentinel[!to]--;
        text[to][size[to]++] = ids[i];
    }
    for (int to = 0; to < 2 && s->end >= 0; to++) text[to][size[to]++] = s->end;
    mmi_free(mask);
    *n_inputs = size[0];
    *n_targets = size[1];
    return MM_OK;
}

/* ---- pictures ---- */

void mmi_masking_noise(uint64_t key, size_t n, float *noise)
{
    for (size_t i = 0; i < n; i++) noise[i] = (float)(mmi_random_at(key, CHOICE, i) >> 40) * 0x1p-24f;
}

void mmi_corrupt_gaussian(uint64_t key, double deviation, const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = (float)(x[i] + deviation * mmi_random_normal_at(key, CHOICE, i));
}

void mmi_corrupt_patches(uint64_t key, double ratio, float value, size_t patch, float *pixels, size_t channels, size_t height, size_t width)
{
    const size_t across = width / patch, patches = height / patch * across;
    size_t left = patches, wanted = (size_t)rint(ratio * (double)patches);

    for (size_t k = 0; k < patches; k++) {
        if (!chosen(key, CHOICE, k, &left, &wanted)) continue;
        for (size_t c = 0; c < channels; c++) {
            for (size_t y = 0; y < patch; y++) {
                float *row = pixels + (c * height + k / across * patch + y) * width + k % across * patch;
                for (size_t x = 0; x < patch; x++) row[x] = value;
            }
        }
    }
}
