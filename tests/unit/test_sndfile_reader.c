/* FLAC and Ogg against what python-soundfile reads in them; without libsndfile, the sentence that says so. SPDX-License-Identifier: MIT */
#include "audio_fixture.h"

#ifdef MMI_WITH_SNDFILE

static void goldens(void **state)
{
    FILE *list = audio_golden("sndfile.txt");
    char name[128];
    size_t count, files = 0;
    int rate;

    (void)state;
    for (; fscanf(list, "%127s %d %zu", name, &rate, &count) == 3; files++) {
        /* FLAC is lossless; of Vorbis each decoder has its own last bits. */
        const double bound = strstr(name, ".flac") ? 0 : 1e-5;
        mm_audio *audio = audio_file(name);

        if (mm_audio_rate(audio) != rate || mm_audio_count(audio) != count) fail_msg("%s: rate or count", name);
        for (size_t i = 0; i < count; i += 37) {
            const float expected = (float)audio_number(list);
            if (!(fabs((double)mm_audio_samples(audio)[i] - (double)expected) <= bound))
                fail_msg("%s: sample %zu is %.9g, expected %.9g", name, i, (double)mm_audio_samples(audio)[i], (double)expected);
        }
        mm_audio_destroy(audio);
    }
    assert_true(feof(list) && files == 3);
    (void)fclose(list);
}

static void damaged_files(void **state)
{
    static const char *const names[] = {"mono.flac", "stereo.ogg"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        size_t size;
        unsigned char *data = audio_load(names[i], &size);

        audio_cut_anywhere(data, size, i ? 0 : size - 2, 61); /* Ogg has no length to miss the rest by */
        audio_flip_bits(data, size, 200);
        free(data);
    }
    assert_int_equal(audio_decode_any("fLaC", 4), MM_E_FORMAT);
    assert_non_null(strstr(mm_context_error(ctx), "the sound in memory: libsndfile: "));
    assert_int_equal(audio_decode_any("OggS\0\2\0\0", 8), MM_E_FORMAT);
}

static mm_status read_one(void *arg)
{
    mm_audio *audio = NULL;
    mm_status st = mm_audio_read(ctx, arg, &audio);

    mm_audio_destroy(audio);
    return st;
}

static void out_of_memory(void **state)
{
    char path[] = AUDIO "stereo.flac";

    (void)state;
    audio_out_of_memory(read_one, path);
    mm_context_cancel(ctx);
    assert_int_equal(read_one(path), MM_E_CANCELLED);
    assert_int_equal(read_one(path), MM_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        AUDIO_TEST(goldens),
        AUDIO_TEST(damaged_files),
        AUDIO_TEST(out_of_memory),
    };
    return cmocka_run_group_tests_name("sndfile_reader", tests, NULL, NULL);
}

#else

static void says_what_it_lacks(void **state)
{
    mm_audio *audio = NULL;

    (void)state;
    assert_int_equal(mm_audio_read(ctx, AUDIO "mono.flac", &audio), MM_E_UNSUPPORTED);
    assert_null(audio);
    assert_string_equal(mm_context_error(ctx),
                        AUDIO "mono.flac is FLAC or Ogg, and this libmm was built without libsndfile: only WAV is read");
}

int main(void)
{
    const struct CMUnitTest tests[] = {AUDIO_TEST(says_what_it_lacks)};
    return cmocka_run_group_tests_name("sndfile_reader", tests, NULL, NULL);
}

#endif
