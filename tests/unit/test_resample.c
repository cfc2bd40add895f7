/* Resampling against the definition of torchaudio computed in float64. SPDX-License-Identifier: MIT */
#include "audio_fixture.h"

static mm_audio *sound(const char *signal, int rate, size_t n)
{
    float *x = audio_signal(signal, n);
    mm_audio *audio = NULL;

    assert_int_equal(mm_audio_create(ctx, rate, x, n, &audio), MM_OK);
    free(x);
    return audio;
}

static void goldens(void **state)
{
    FILE *list = audio_golden("resample.txt");
    size_t n, count, cases = 0;
    int from, to;

    (void)state;
    for (; fscanf(list, "%d %d %zu %zu", &from, &to, &n, &count) == 4; cases++) {
        mm_audio *in = sound("noise", from, n), *out = NULL;

        if (mm_audio_resample(ctx, in, to, &out)) fail_msg("%s", mm_context_error(ctx));
        assert_int_equal(mm_audio_rate(out), to);
        assert_int_equal(mm_audio_count(out), count);
        for (size_t i = 0; i < 32 && i < count; i++) {
            const double got = (double)mm_audio_samples(out)[i * 7919 % count], expected = audio_number(list);
            if (!(fabs(got - expected) <= 5e-7)) /* float32 filters and sums of values below 1 */
                fail_msg("%d -> %d: sample %zu is %.9g, expected %.9g", from, to, i * 7919 % count, got, expected);
        }
        mm_audio_destroy(in);
        mm_audio_destroy(out);
    }
    assert_true(feof(list) && cases == 10);
    (void)fclose(list);
}

static void the_same_rate_is_a_copy(void **state)
{
    mm_audio *in = sound("noise", 16000, 100), *out = NULL;

    (void)state;
    assert_int_equal(mm_audio_resample(ctx, in, 16000, &out), MM_OK);
    assert_true(mm_audio_samples(in) != mm_audio_samples(out));
    assert_memory_equal(mm_audio_samples(in), mm_audio_samples(out), 100 * sizeof(float));
    mm_audio_destroy(in);
    mm_audio_destroy(out);
}

/* What the filter lets through comes back as it was. */
static void a_tone_survives_there_and_back(void **state)
{
    float x[4000];
    mm_audio *in = NULL, *up = NULL, *back = NULL;

    (void)state;
    for (size_t i = 0; i < 4000; i++) x[i] = (float)sin((double)i * 0.3);
    assert_int_equal(mm_audio_create(ctx, 16000, x, 4000, &in), MM_OK);
    assert_int_equal(mm_audio_resample(ctx, in, 44100, &up), MM_OK);
    assert_int_equal(mm_audio_resample(ctx, up, 16000, &back), MM_OK);
    assert_int_equal(mm_audio_count(back), 4000);
    for (size_t i = 100; i < 3900; i++) assert_true(fabs((double)mm_audio_samples(back)[i] - (double)x[i]) < 2e-3);
    mm_audio_destroy(in);
    mm_audio_destroy(up);
    mm_audio_destroy(back);
}

static void any_number_of_threads(void **state)
{
    mm_audio *in = sound("speech", 44100, 50000), *one = NULL, *four = NULL;

    (void)state;
    assert_int_equal(mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 1), MM_OK);
    assert_int_equal(mm_audio_resample(ctx, in, 16000, &one), MM_OK);
    assert_int_equal(mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 4), MM_OK);
    assert_int_equal(mm_audio_resample(ctx, in, 16000, &four), MM_OK);
    assert_memory_equal(mm_audio_samples(one), mm_audio_samples(four), mm_audio_count(one) * sizeof(float));
    mm_audio_destroy(in);
    mm_audio_destroy(one);
    mm_audio_destroy(four);
}

static mm_status resample_one(void *in)
{
    mm_audio *out = NULL;
    mm_status st = mm_audio_resample(ctx, in, 11025, &out);

    assert_true(!st == !!out);
    mm_audio_destroy(out);
    return st;
}

static void failures(void **state)
{
    mm_audio *in = sound("noise", 16000, 200), *out = NULL, *slow;

    (void)state;
    assert_int_equal(mm_audio_resample(NULL, in, 8000, &out), MM_E_ARGUMENT);
    assert_int_equal(mm_audio_resample(ctx, NULL, 8000, &out), MM_E_ARGUMENT);
    assert_string_equal(mm_context_error(ctx), "mm_audio_resample: audio is NULL");
    assert_int_equal(mm_audio_resample(ctx, in, 8000, NULL), MM_E_ARGUMENT);
    assert_int_equal(mm_audio_resample(ctx, in, 0, &out), MM_E_ARGUMENT);
    assert_string_equal(mm_context_error(ctx), "mm_audio_resample: rate is 0, expected 1000 to 384000");
    assert_int_equal(resample_one(in), MM_OK); /* the context keeps its kernels and threads */
    audio_out_of_memory(resample_one, in);
    mm_context_cancel(ctx);
    assert_int_equal(resample_one(in), MM_E_CANCELLED);
    slow = sound("silence", 1000, MM_AUDIO_MAX_SAMPLES / 384 + 1);
    assert_int_equal(mm_audio_resample(ctx, slow, 384000, &out), MM_E_LIMIT);
    assert_string_equal(mm_context_error(ctx), "the resampled sound has 268435584 samples, more than the 268435456 allowed");
    assert_null(out);
    mm_audio_destroy(slow);
    mm_audio_destroy(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        AUDIO_TEST(goldens),
        AUDIO_TEST(the_same_rate_is_a_copy),
        AUDIO_TEST(a_tone_survives_there_and_back),
        AUDIO_TEST(any_number_of_threads),
        AUDIO_TEST(failures),
    };
    return cmocka_run_group_tests_name("resample", tests, NULL, NULL);
}
