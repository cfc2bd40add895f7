/* The public calls of mm_audio.h but resampling, and what audio.c adds to the readers. SPDX-License-Identifier: MIT */
#include "audio_fixture.h"

static void made_from_samples(void **state)
{
    float samples[] = {0.25f, -1, 3, 0};
    mm_audio *audio = NULL;

    (void)state;
    assert_int_equal(mm_audio_create(ctx, 44100, samples, 4, &audio), MM_OK);
    samples[1] = 9; /* they were copied */
    assert_int_equal(mm_audio_rate(audio), 44100);
    assert_int_equal(mm_audio_count(audio), 4);
    assert_true(mm_audio_samples(audio)[1] == -1 && mm_audio_samples(audio)[2] == 3);
    mm_audio_destroy(audio);
    assert_int_equal(mm_audio_create(ctx, 1000, NULL, 0, &audio), MM_OK);
    assert_int_equal(mm_audio_count(audio), 0);
    mm_audio_destroy(audio);
    mm_audio_destroy(NULL);
    assert_int_equal(mm_audio_rate(NULL), 0);
    assert_int_equal(mm_audio_count(NULL), 0);
    assert_null(mm_audio_samples(NULL));
}

static void outlives_its_context(void **state)
{
    unit_allocator own;
    mm_context *c = unit_context(&own);
    const float samples[] = {1, 2};
    mm_audio *audio = NULL;

    (void)state;
    assert_int_equal(mm_audio_create(c, 16000, samples, 2, &audio), MM_OK);
    mm_context_destroy(c);
    assert_true(mm_audio_samples(audio)[1] == 2);
    mm_audio_destroy(audio);
    assert_int_equal(own.live, 0);
}

static void wrong_arguments(void **state)
{
    const float samples[] = {0, 0, NAN, -INFINITY};
    mm_audio *audio = (mm_audio *)(void *)&audio_heap;

    (void)state;
    assert_int_equal(mm_audio_create(NULL, 16000, samples, 2, &audio), MM_E_ARGUMENT);
    assert_null(audio);
    assert_int_equal(mm_audio_create(ctx, 16000, NULL, 2, &audio), MM_E_ARGUMENT);
    assert_string_equal(mm_context_error(ctx), "mm_audio_create: samples is NULL");
    assert_int_equal(mm_audio_create(ctx, 16000, samples, 2, NULL), MM_E_ARGUMENT);
    assert_int_equal(mm_audio_create(ctx, 999, samples, 2, &audio), MM_E_ARGUMENT);
    assert_string_equal(mm_context_error(ctx), "mm_audio_create: rate is 999, expected 1000 to 384000");
    assert_int_equal(mm_audio_create(ctx, 384001, samples, 2, &audio), MM_E_ARGUMENT);
    assert_int_equal(mm_audio_create(ctx, INT32_MIN, samples, 2, &audio), MM_E_ARGUMENT);
    assert_int_equal(mm_audio_create(ctx, 16000, samples, 3, &audio), MM_E_ARGUMENT);
    assert_string_equal(mm_context_error(ctx), "mm_audio_create: sample 2 is not a finite number");
    assert_int_equal(mm_audio_create(ctx, 16000, samples + 3, 1, &audio), MM_E_ARGUMENT);
    assert_int_equal(mm_audio_create(ctx, 16000, samples, (size_t)MM_AUDIO_MAX_SAMPLES + 1, &audio), MM_E_LIMIT);
    assert_int_equal(mm_audio_create(ctx, 16000, samples, SIZE_MAX, &audio), MM_E_LIMIT);
    assert_int_equal(mm_audio_read(NULL, "x", &audio), MM_E_ARGUMENT);
    assert_int_equal(mm_audio_read(ctx, NULL, &audio), MM_E_ARGUMENT);
    assert_string_equal(mm_context_error(ctx), "mm_audio_read: path is NULL");
    assert_int_equal(mm_audio_read(ctx, "x", NULL), MM_E_ARGUMENT);
    assert_int_equal(mm_audio_decode(ctx, NULL, 1, &audio), MM_E_ARGUMENT);
    assert_null(audio);
}

static void files_that_are_no_sounds(void **state)
{
    mm_audio *audio;

    (void)state;
    assert_int_equal(mm_audio_read(ctx, AUDIO "none.wav", &audio), MM_E_NOT_FOUND);
    assert_non_null(strstr(mm_context_error(ctx), AUDIO "none.wav"));
    assert_int_equal(mm_audio_read(ctx, AUDIO, &audio), MM_E_IO);
    assert_int_equal(mm_audio_read(ctx, AUDIO "wav.txt", &audio), MM_E_UNSUPPORTED);
    assert_string_equal(mm_context_error(ctx), AUDIO "wav.txt is no WAV, FLAC or Ogg sound");
    assert_int_equal(mm_audio_read(ctx, "/dev/null", &audio), MM_E_IO);
    assert_null(audio);
    assert_int_equal(audio_decode_any("", 0), MM_E_UNSUPPORTED);
    assert_int_equal(audio_decode_any("RIFF\0\0\0\0AVI ", 12), MM_E_UNSUPPORTED);
    assert_int_equal(audio_decode_any("RIFX\0\0\0\0WAVE", 12), MM_E_UNSUPPORTED);
    assert_int_equal(audio_decode_any("ID3\3", 4), MM_E_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        AUDIO_TEST(made_from_samples),
        cmocka_unit_test(outlives_its_context),
        AUDIO_TEST(wrong_arguments),
        AUDIO_TEST(files_that_are_no_sounds),
    };
    return cmocka_run_group_tests_name("audio", tests, NULL, NULL);
}
