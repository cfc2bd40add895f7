/* SPDX-License-Identifier: MIT */
#include "log_mel.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "blas.h"
#include "mm_audio.h"
#include "size.h"
#include "spectrum.h"

static const double highest_hertz = 8000; /* WhisperFeatureExtractor has it so for every rate */
static const double floor_power = 1e-10;
static const float range = 8; /* powers of ten below the loudest value that are kept */

mm_status mmi_audio_processor_from_json(mm_context *ctx, const mmi_json *doc, mmi_audio_processor *out)
{
    const mmi_json_node *root = mmi_json_root(doc);
    const char *type = NULL, *side = "right";
    int64_t bands = 80, rate = 16000, hop = 160, seconds = 30, points = 400;
    double padding = 0, dither = 0;
    mm_status st;

    if (mmi_json_kind_of(mmi_json_get(root, "feature_extractor")) == MMI_JSON_OBJECT) root = mmi_json_get(root, "feature_extractor");
    st = mmi_json_text(ctx, doc, root, "feature_extractor_type", 1, &type);
    if (!st && strcmp(type, "WhisperFeatureExtractor"))
        st = mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: \"feature_extractor_type\" is %.64s, which is not one that libmm has",
                      mmi_json_name(doc), type);
    if (!st) st = mmi_json_i64(ctx, doc, root, "feature_size", 0, 1, MMI_FEATURES_MAX_BANDS, &bands);
    if (!st) st = mmi_json_i64(ctx, doc, root, "sampling_rate", 0, MM_AUDIO_MIN_RATE, MM_AUDIO_MAX_RATE, &rate);
    if (!st) st = mmi_json_i64(ctx, doc, root, "chunk_length", 0, 1, MMI_FEATURES_MAX_SECONDS, &seconds);
    if (!st) st = mmi_json_i64(ctx, doc, root, "n_fft", 0, 2, MMI_SPECTRUM_MAX, &points);
    if (!st) st = mmi_json_i64(ctx, doc, root, "hop_length", 0, 1, seconds * rate, &hop);
    if (!st) st = mmi_json_f64(ctx, doc, root, "padding_value", 0, -FLT_MAX, FLT_MAX, &padding);
    if (!st) st = mmi_json_f64(ctx, doc, root, "dither", 0, -FLT_MAX, FLT_MAX, &dither);
    if (!st) st = mmi_json_text(ctx, doc, root, "padding_side", 0, &side);
    if (st) return st;
    if (seconds * rate > MM_AUDIO_MAX_SAMPLES)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: \"chunk_length\" of %lld seconds at %lld samples per second passes %d samples",
                        mmi_json_name(doc), (long long)seconds, (long long)rate, MM_AUDIO_MAX_SAMPLES);
    if (points % 2)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: \"n_fft\" is %lld, and libmm has even ones only", mmi_json_name(doc), (long long)points);
    if (dither != 0)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: \"dither\" is %g, and libmm adds no noise to sounds", mmi_json_name(doc), dither);
    if (strcmp(side, "right"))
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: \"padding_side\" is %.64s, and libmm pads sounds on the right only",
                        mmi_json_name(doc), side);
    *out = (mmi_audio_processor){(size_t)bands, (size_t)rate, (size_t)hop, (size_t)seconds, (size_t)points, (size_t)(seconds * rate),
                                 (size_t)(seconds * rate / hop), padding, 0};
    return MM_OK;
}

/* Slaney's Auditory Toolbox, as librosa has it: linear below 1000 Hz, logarithmic above. */
static double mel_of(double hertz) { return hertz < 1000 ? 3 * hertz / 200 : 15 + log(hertz / 1000) * (27 / log(6.4)); }
static double hertz_of(double mel) { return mel < 15 ? 200 * mel / 3 : 1000 * exp(log(6.4) / 27 * (mel - 15)); }

/* A triangle over bins first .. last - 1, of about the same energy for every band. */
typedef struct {
    size_t first, last;
    double *weights; /* [bins] */
} band;

static void make_bands(const mmi_audio_processor *p, size_t bins, double *weights, band *bands)
{
    const double step = mel_of(highest_hertz) / (double)(p->feature_size + 1);

    for (size_t m = 0; m < p->feature_size; m++) {
        const double low = hertz_of(step * (double)m), middle = hertz_of(step * (double)(m + 1)), high = hertz_of(step * (double)(m + 2));
        band *b = &bands[m];

        b->weights = weights + m * bins;
        for (size_t k = 0; k < bins; k++) {
            const double hertz = (double)(p->sampling_rate / 2) * (double)k / (double)(bins - 1);
            const double w = fmin((hertz - low) / (middle - low), (high - hertz) / (high - middle));

            b->weights[k] = w > 0 ? w * 2 / (high - low) : 0;
            if (w > 0) {
                if (!b->last) b->first = k;
                b->last = k + 1;
            }
        }
    }
}

typedef struct {
    const mmi_audio_processor *p;
    const float *samples;
    size_t n, length; /* samples heard; with padding */
    double mean, scale; /* what normalizing takes away, then multiplies by */
    mmi_spectrum spectrum;
    band *bands;
    double *scratch; /* scratch_size doubles for each worker: a frame, a tile of the spectrum, a tile of powers */
    size_t scratch_size;
    size_t frames, live; /* frames behind `live` hold silence alone */
    float *out;          /* [feature_size, frames] */
} job;

/* Sample `at` of the padded sound, mirrored at its ends, as often as a short sound needs. */
static double sample_at(const job *j, ptrdiff_t at)
{
    const ptrdiff_t period = 2 * ((ptrdiff_t)j->length - 1);

    if (at < 0 || at >= (ptrdiff_t)j->length) {
        at = period ? at % period : 0;
        if (at < 0) at += period;
        if (at >= (ptrdiff_t)j->length) at = period - at;
    }
    return at < (ptrdiff_t)j->n ? (j->samples[at] - j->mean) * j->scale : j->p->padding_value;
}

static void tile_task(void *arg, size_t task, int worker)
{
    const job *j = arg;
    const mmi_spectrum *s = &j->spectrum;
    const size_t first = task * MMI_SPECTRUM_TILE, rows = mmi_size_min(MMI_SPECTRUM_TILE, j->live - first);
    double *frame = j->scratch + (size_t)worker * j->scratch_size, *tile = frame + s->n, *power = tile + mmi_spectrum_scratch(s);

    for (size_t r = 0; r < rows; r++) {
        const ptrdiff_t from = (ptrdiff_t)((first + r) * j->p->hop_length) - (ptrdiff_t)(s->n / 2);
        for (size_t i = 0; i < s->n; i++) frame[i] = sample_at(j, from + (ptrdiff_t)i);
        mmi_spectrum_fold(s, frame, r, tile);
    }
    mmi_spectrum_power(s, rows, tile, power);
    for (size_t m = 0; m < j->p->feature_size; m++) {
        const band *b = &j->bands[m];
        for (size_t r = 0; r < rows; r++) {
            double sum = 0;
            for (size_t k = b->first; k < b->last; k++) sum += b->weights[k] * power[r * s->bins + k];
            j->out[m * j->frames + first + r] = (float)log10(fmax(sum, floor_power));
        }
    }
}

/* What zero_mean_unit_var_norm does to the sound. */
static void measure(job *j)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < j->n; i++) sum += j->samples[i];
    j->mean = sum / (double)j->n;
    for (size_t i = 0; i < j->n; i++) squares += (j->samples[i] - j->mean) * (j->samples[i] - j->mean);
    j->scale = 1 / sqrt(squares / (double)j->n + 1e-7);
}

/* Keep what is within `range` of the loudest, and bring it near -1 .. 1. */
static void compress(float *x, size_t n)
{
    float most = -FLT_MAX;

    for (size_t i = 0; i < n; i++) most = fmaxf(most, x[i]);
    for (size_t i = 0; i < n; i++) x[i] = (fmaxf(x[i], most - range) + 4) / 4;
}

mm_status mmi_audio_features(mm_context *ctx, const mmi_audio_processor *p, const float *samples, size_t n, int pad_to_chunk,
                             mm_tensor **out, size_t *heard)
{
    job j = {.p = p, .samples = samples, .scale = 1};
    double *weights = NULL;
    mm_tensor *features = NULL;
    mmi_thread_pool *pool = NULL;
    size_t values;
    mm_status st = MM_OK;

    *out = NULL;
    j.length = pad_to_chunk ? p->n_samples : n;
    j.n = mmi_size_min(n, j.length);
    j.frames = j.length / p->hop_length;
    j.live = j.frames;
    /* Frames of padding alone need no transform, unless the far end mirrors sound into them. */
    if (p->padding_value == 0 && j.n + p->n_fft < j.length) j.live = mmi_size_min(j.frames, (j.n + p->n_fft / 2) / p->hop_length + 1);
    if (!j.frames) {
        st = mmi_fail(ctx, MM_E_SHAPE, "a sound of %zu samples is shorter than the hop of %zu from one frame to the next", n, p->hop_length);
        goto cleanup;
    }
    if (mmi_size_mul(p->feature_size, j.frames, &values) || values > MMI_FEATURES_MAX_VALUES) {
        st = mmi_fail(ctx, MM_E_LIMIT, "%zu frames of %zu mel bands are more than the %d values allowed", j.frames, p->feature_size,
                      MMI_FEATURES_MAX_VALUES);
        goto cleanup;
    }
    if (p->do_normalize && j.n) measure(&j);
    st = mmi_spectrum_init(ctx, p->n_fft, &j.spectrum);
    if (!st) st = mm_tensor_create(ctx, MM_DTYPE_F32, 3, (const int64_t[]){1, (int64_t)p->feature_size, (int64_t)j.frames}, &features);
    if (st) goto cleanup;
    pool = mmi_context_pool(ctx);
    j.scratch_size = p->n_fft + mmi_spectrum_scratch(&j.spectrum) + MMI_SPECTRUM_TILE * j.spectrum.bins;
    j.scratch = mmi_alloc_array(ctx, (size_t)mmi_thread_pool_size(pool), j.scratch_size * sizeof *j.scratch);
    weights = mmi_alloc_array(ctx, p->feature_size, j.spectrum.bins * sizeof *weights);
    j.bands = mmi_zalloc_array(ctx, p->feature_size, sizeof *j.bands);
    if (!j.scratch || !weights || !j.bands) { st = MM_E_NOMEM; goto cleanup; }
    make_bands(p, j.spectrum.bins, weights, j.bands);
    j.out = mm_tensor_data(features);

    mmi_blas_enter();
    mmi_thread_pool_run(pool, tile_task, &j, (j.live + MMI_SPECTRUM_TILE - 1) / MMI_SPECTRUM_TILE, &ctx->cancel);
    mmi_blas_leave();
    st = mmi_check_cancel(ctx);
    if (st) goto cleanup;
    for (size_t m = 0; m < p->feature_size; m++)
        for (size_t t = j.live; t < j.frames; t++) j.out[m * j.frames + t] = (float)log10(floor_power);
    compress(j.out, values);
    if (heard) *heard = mmi_size_min(j.frames, (j.n + p->hop_length - 1) / p->hop_length);
    *out = features;
    features = NULL;
cleanup:
    mmi_spectrum_clear(&j.spectrum);
    mmi_free(weights);
    mmi_free(j.bands);
    mmi_free(j.scratch);
    mm_tensor_release(features);
    return st;
}
