/* Log-mel features against transformers' WhisperFeatureExtractor (its float64 path), and configurations of it.
 * SPDX-License-Identifier: MIT */
#include "log_mel.h"

#include "audio_fixture.h"

static mmi_audio_processor processor(const char *config)
{
    mmi_audio_processor p;
    mmi_json *doc = NULL;
    char path[256];

    (void)snprintf(path, sizeof path, AUDIO "%s", config);
    assert_int_equal(mmi_json_read(ctx, path, 1 << 20, &doc), MM_OK);
    if (mmi_audio_processor_from_json(ctx, doc, &p)) fail_msg("%s", mm_context_error(ctx));
    mmi_json_destroy(doc);
    return p;
}

static void goldens(void **state)
{
    FILE *list = audio_golden("features.txt");
    char config[64], signal[64];
    size_t n, mels, frames, ones, values, cases = 0;
    int chunk, normalize;

    (void)state;
    for (; fscanf(list, "%63s %63s %zu %d %d %zu %zu %zu", config, signal, &n, &chunk, &normalize, &mels, &frames, &ones) == 8; cases++) {
        mmi_audio_processor p = processor(config);
        float *x = audio_signal(signal, n);
        mm_tensor *out = NULL;
        const float *f;
        double sum = 0, weighted = 0, most = 0;
        size_t heard = 0, size = mels * frames;

        p.do_normalize = normalize;
        if (mmi_audio_features(ctx, &p, x, n, chunk, &out, &heard)) fail_msg("%s", mm_context_error(ctx));
        assert_int_equal(mm_tensor_rank(out), 3);
        assert_int_equal(mm_tensor_shape(out)[0], 1);
        assert_int_equal(mm_tensor_shape(out)[1], mels);
        assert_int_equal(mm_tensor_shape(out)[2], frames);
        assert_int_equal(heard, ones);
        f = mm_tensor_const_data(out);
        for (size_t i = 0; i < size; i++) {
            sum += (double)f[i];
            weighted += (double)f[i] * (double)(i % 101);
        }
        if (!(fabs(sum / (double)size - audio_number(list)) <= 1e-6 && fabs(weighted / (double)size - audio_number(list)) <= 1e-4))
            fail_msg("%s %s %zu: the means are %.9g and %.9g", config, signal, n, sum / (double)size, weighted / (double)size);
        assert_int_equal(fscanf(list, "%zu", &values), 1);
        for (size_t i = 0; i < values; i++) most = fmax(most, fabs((double)f[i * 7919 % size] - audio_number(list)));
        if (!(most <= 1e-5)) fail_msg("%s %s %zu: %.2g away from transformers", config, signal, n, most);
        mm_tensor_release(out);
        free(x);
    }
    assert_true(feof(list) && cases == 21);
    (void)fclose(list);
}

static int same(const mmi_audio_processor *a, const mmi_audio_processor *b)
{
    return a->feature_size == b->feature_size && a->sampling_rate == b->sampling_rate && a->hop_length == b->hop_length &&
           a->chunk_length == b->chunk_length && a->n_fft == b->n_fft && a->n_samples == b->n_samples &&
           a->nb_max_frames == b->nb_max_frames && a->padding_value == b->padding_value && a->do_normalize == b->do_normalize;
}

static void configurations(void **state)
{
    mmi_audio_processor p = processor("whisper.json"), bare = processor("bare.json"), nested = processor("nested.json");

    (void)state;
    assert_true(p.feature_size == 80 && p.sampling_rate == 16000 && p.hop_length == 160 && p.chunk_length == 30 && p.n_fft == 400);
    assert_true(p.n_samples == 480000 && p.nb_max_frames == 3000 && p.padding_value == 0 && !p.do_normalize);
    assert_true(same(&p, &bare)); /* "do_normalize" in a file does nothing in transformers either */
    p = processor("awkward.json");
    assert_true(same(&p, &nested));
    assert_true(p.feature_size == 37 && p.n_samples == 24000 && p.nb_max_frames == 242 && p.padding_value == 0.25);
}

static void refused_configurations(void **state)
{
    static const struct {
        const char *text;
        mm_status status;
        const char *sentence;
    } cases[] = {
        {"[]", MM_E_FORMAT, "config: \"feature_extractor_type\""},
        {"{}", MM_E_FORMAT, "config: \"feature_extractor_type\""},
        {"{\"feature_extractor_type\": 7}", MM_E_FORMAT, "\"feature_extractor_type\""},
        {"{\"feature_extractor_type\": \"Wav2Vec2FeatureExtractor\"}", MM_E_UNSUPPORTED, "\"feature_extractor_type\" is Wav2Vec2FeatureExtractor"},
#define WHISPER(members) "{\"feature_extractor_type\": \"WhisperFeatureExtractor\", " members "}"
        {WHISPER("\"feature_size\": 0"), MM_E_FORMAT, "\"feature_size\""},
        {WHISPER("\"feature_size\": 513"), MM_E_FORMAT, "\"feature_size\""},
        {WHISPER("\"feature_size\": \"80\""), MM_E_FORMAT, "\"feature_size\""},
        {WHISPER("\"sampling_rate\": 999"), MM_E_FORMAT, "\"sampling_rate\""},
        {WHISPER("\"sampling_rate\": 1e300"), MM_E_FORMAT, "\"sampling_rate\""},
        {WHISPER("\"chunk_length\": 65537"), MM_E_FORMAT, "\"chunk_length\""},
        {WHISPER("\"chunk_length\": 0.5"), MM_E_FORMAT, "\"chunk_length\""},
        {WHISPER("\"chunk_length\": 3600, \"sampling_rate\": 384000"), MM_E_FORMAT, "\"chunk_length\" of 3600 seconds at 384000"},
        {WHISPER("\"n_fft\": 4098"), MM_E_FORMAT, "\"n_fft\""},
        {WHISPER("\"n_fft\": 401"), MM_E_UNSUPPORTED, "\"n_fft\" is 401"},
        {WHISPER("\"n_fft\": -400"), MM_E_FORMAT, "\"n_fft\""},
        {WHISPER("\"hop_length\": 0"), MM_E_FORMAT, "\"hop_length\""},
        {WHISPER("\"hop_length\": 480001"), MM_E_FORMAT, "\"hop_length\""},
        {WHISPER("\"padding_value\": true"), MM_E_FORMAT, "\"padding_value\""},
        {WHISPER("\"padding_side\": \"left\""), MM_E_UNSUPPORTED, "\"padding_side\" is left"},
        {WHISPER("\"dither\": 1e-4"), MM_E_UNSUPPORTED, "\"dither\" is 0.0001"},
#undef WHISPER
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmi_audio_processor p;
        mmi_json *doc = NULL;

        assert_int_equal(mmi_json_parse(ctx, "config", cases[i].text, strlen(cases[i].text), &doc), MM_OK);
        assert_int_equal(mmi_audio_processor_from_json(ctx, doc, &p), cases[i].status);
        if (!strstr(mm_context_error(ctx), cases[i].sentence)) fail_msg("%s: %s", cases[i].text, mm_context_error(ctx));
        mmi_json_destroy(doc);
    }
}

/* What is no sound is silence, and it does not matter that silence is not transformed. */
static void silence(void **state)
{
    mmi_audio_processor p = processor("whisper.json");
    mm_tensor *none = NULL, *some = NULL;
    float *x = audio_signal("silence", 480000);
    size_t heard = 7;

    (void)state;
    assert_int_equal(mmi_audio_features(ctx, &p, NULL, 0, 1, &none, &heard), MM_OK);
    assert_int_equal(heard, 0);
    assert_int_equal(mmi_audio_features(ctx, &p, x, 480000, 1, &some, NULL), MM_OK);
    assert_memory_equal(mm_tensor_const_data(none), mm_tensor_const_data(some), mm_tensor_bytes(some));
    mm_tensor_release(none);
    mm_tensor_release(some);
    p.do_normalize = 1;
    assert_int_equal(mmi_audio_features(ctx, &p, NULL, 0, 1, &none, NULL), MM_OK);
    assert_true(((const float *)mm_tensor_const_data(none))[0] == -1.5f);
    mm_tensor_release(none);
    free(x);
}

/* A padded sound has the features of the same sound with its padding written out, wherever it ends. */
static void padding_is_samples(void **state)
{
    static const size_t ends[] = {5, 16000, 23744, 23746, 23872, 23999};
    mmi_audio_processor p = processor("awkward.json");
    float *x = audio_signal("noise", 24000);

    (void)state;
    p.padding_value = 0;
    for (size_t i = sizeof ends / sizeof *ends; i--;) {
        mm_tensor *padded = NULL, *written = NULL;

        memset(x + ends[i], 0, (24000 - ends[i]) * sizeof *x);
        assert_int_equal(mmi_audio_features(ctx, &p, x, ends[i], 1, &padded, NULL), MM_OK);
        assert_int_equal(mmi_audio_features(ctx, &p, x, 24000, 1, &written, NULL), MM_OK);
        for (int64_t k = 0; k < mm_tensor_elements(padded); k++)
            assert_true(fabs((double)((const float *)mm_tensor_const_data(padded))[k] - (double)((const float *)mm_tensor_const_data(written))[k]) <= 1e-6);
        mm_tensor_release(padded);
        mm_tensor_release(written);
    }
    free(x);
}

static void any_number_of_threads(void **state)
{
    mmi_audio_processor p = processor("whisper.json");
    float *x = audio_signal("chirp", 200000);
    mm_tensor *one = NULL;

    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        mm_tensor *many = NULL;

        assert_int_equal(mm_context_set_i64(ctx, MM_CONTEXT_THREADS, threads), MM_OK);
        assert_int_equal(mmi_audio_features(ctx, &p, x, 200000, 0, &many, NULL), MM_OK);
        if (!one)
            one = many;
        else
            assert_memory_equal(mm_tensor_const_data(one), mm_tensor_const_data(many), mm_tensor_bytes(one));
        if (many != one) mm_tensor_release(many);
    }
    mm_tensor_release(one);
    free(x);
}

typedef struct {
    mmi_audio_processor p;
    const float *samples;
    size_t n;
} sound;

static mm_status features_of(void *arg)
{
    const sound *s = arg;
    mm_tensor *out = NULL;
    mm_status st = mmi_audio_features(ctx, &s->p, s->samples, s->n, 0, &out, NULL);

    assert_true(!st == !!out);
    mm_tensor_release(out);
    return st;
}

static void failures(void **state)
{
    float *x = audio_signal("noise", 600000);
    sound s = {processor("awkward.json"), x, 98};

    (void)state;
    assert_int_equal(features_of(&s), MM_E_SHAPE);
    assert_string_equal(mm_context_error(ctx), "a sound of 98 samples is shorter than the hop of 99 from one frame to the next");
    s.n = 0;
    assert_int_equal(features_of(&s), MM_E_SHAPE);
    s.n = 1000;
    assert_int_equal(features_of(&s), MM_OK); /* the context keeps its threads */
    audio_out_of_memory(features_of, &s);
    mm_context_cancel(ctx);
    assert_int_equal(features_of(&s), MM_E_CANCELLED);
    assert_int_equal(features_of(&s), MM_OK);
    s.p.hop_length = 1;
    s.p.feature_size = 512;
    s.n = 600000;
    assert_int_equal(features_of(&s), MM_E_LIMIT);
    assert_string_equal(mm_context_error(ctx), "600000 frames of 512 mel bands are more than the 268435456 values allowed");
    free(x);
}

/* The largest samples there are still have finite features. */
static void loud(void **state)
{
    mmi_audio_processor p = processor("whisper.json");
    float x[800];
    mm_tensor *out = NULL;

    (void)state;
    for (size_t i = 0; i < 800; i++) x[i] = i % 3 ? 3.4e38f : -3.4e38f;
    for (p.do_normalize = 0; p.do_normalize < 2; p.do_normalize++) {
        assert_int_equal(mmi_audio_features(ctx, &p, x, 800, 1, &out, NULL), MM_OK);
        for (int64_t i = 0; i < mm_tensor_elements(out); i++) assert_true(isfinite(((const float *)mm_tensor_const_data(out))[i]));
        mm_tensor_release(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        AUDIO_TEST(goldens),
        AUDIO_TEST(configurations),
        AUDIO_TEST(refused_configurations),
        AUDIO_TEST(silence),
        AUDIO_TEST(padding_is_samples),
        AUDIO_TEST(any_number_of_threads),
        AUDIO_TEST(failures),
        AUDIO_TEST(loud),
    };
    return cmocka_run_group_tests_name("log_mel", tests, NULL, NULL);
}
