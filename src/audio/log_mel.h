/* From samples to what a speech encoder takes: the log-mel spectrogram of transformers' WhisperFeatureExtractor, within 1e-5 of
 * its float64 (numpy) path. SPDX-License-Identifier: MIT */
#ifndef MMI_LOG_MEL_H
#define MMI_LOG_MEL_H

#include "context.h"
#include "json.h"
#include "mm_tensor.h"

typedef struct {
    size_t feature_size; /* mel bands */
    size_t sampling_rate, hop_length, chunk_length, n_fft; /* per second, samples, seconds, samples (even) */
    size_t n_samples, nb_max_frames; /* of a chunk: chunk_length * sampling_rate, and n_samples / hop_length */
    double padding_value;
    int do_normalize; /* to mean 0 and variance 1 beforehand: an argument of a call in transformers, never read from a file */
} mmi_audio_processor;

enum {
    MMI_FEATURES_MAX_BANDS = 512,
    MMI_FEATURES_MAX_SECONDS = 3600,  /* of a chunk */
    MMI_FEATURES_MAX_VALUES = 1 << 28 /* bands * frames */
};

/* Read a preprocessor_config.json, or a processor_config.json that holds one as "feature_extractor". A missing key has the
 * default of WhisperFeatureExtractor; keys that it does not have, or computes anew ("n_samples", "nb_max_frames", "mel_filters"),
 * are passed over. MM_E_FORMAT or MM_E_UNSUPPORTED name the document and the key. */
mm_status mmi_audio_processor_from_json(mm_context *ctx, const mmi_json *doc, mmi_audio_processor *out);

/* Features of n finite samples at the processor's rate.
 *
 *   pad_to_chunk  nonzero: cut or padded to n_samples, the default of transformers; 0: all of the sound as it is
 *                 (truncation=False, padding="longest"), which long audio is transcribed from
 *   out           receives [1, feature_size, frames] f32, a frame for each whole hop_length
 *   heard         NULL, or receives how many frames begin before the end of the sound: the ones in transformers' attention_mask
 *
 * Bitwise the same for any number of threads. MM_E_SHAPE (no whole hop), MM_E_LIMIT, MM_E_NOMEM or MM_E_CANCELLED. */
mm_status mmi_audio_features(mm_context *ctx, const mmi_audio_processor *p, const float *samples, size_t n, int pad_to_chunk,
                             mm_tensor **out, size_t *heard);

#endif
