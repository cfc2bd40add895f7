/* WAV files against what python-soundfile reads in them, and files that no reader should believe. SPDX-License-Identifier: MIT */
#include "audio_fixture.h"

static void goldens(void **state)
{
    FILE *list = audio_golden("wav.txt");
    char name[128];
    size_t count, files = 0;
    int rate;

    (void)state;
    for (; fscanf(list, "%127s %d %zu", name, &rate, &count) == 3; files++) {
        mm_audio *audio = audio_file(name);

        if (mm_audio_rate(audio) != rate || mm_audio_count(audio) != count) fail_msg("%s: rate or count", name);
        for (size_t i = 0; i < count; i++) {
            const float expected = (float)audio_number(list);
            if (mm_audio_samples(audio)[i] != expected)
                fail_msg("%s: sample %zu is %.9g, expected %.9g", name, i, (double)mm_audio_samples(audio)[i], (double)expected);
        }
        mm_audio_destroy(audio);
    }
    assert_true(feof(list) && files == 20);
    (void)fclose(list);
}

/* A WAV file of one "fmt " chunk and data, with everything in it open to change. */
typedef struct {
    unsigned format, channels, block, bits;
    uint32_t rate, fmt_size, data_size;
    const void *data;
    size_t bytes;
} file;

static const file plain = {1, 1, 2, 16, 16000, 16, 4, "\1\0\2\0", 4};

static void put(unsigned char **p, uint32_t v, int bytes)
{
    for (; bytes--; v >>= 8) *(*p)++ = (unsigned char)v;
}

static mm_status decode(const file *f)
{
    unsigned char *data = malloc(44 + f->bytes), *p = data;
    mm_status st;

    assert_non_null(data);
    memcpy(p, "RIFF\0\0\0\0WAVEfmt ", 16);
    p += 16;
    put(&p, f->fmt_size, 4);
    put(&p, f->format, 2);
    put(&p, f->channels, 2);
    put(&p, f->rate, 4);
    put(&p, 0, 4);
    put(&p, f->block, 2);
    put(&p, f->bits, 2);
    memcpy(p, "data", 4);
    p += 4;
    put(&p, f->data_size, 4);
    memcpy(p, f->data, f->bytes);
    st = audio_decode_any(data, 44 + f->bytes);
    free(data);
    return st;
}

static void refuse(const file *f, mm_status expected, const char *sentence)
{
    assert_int_equal(decode(f), expected);
    if (!strstr(mm_context_error(ctx), sentence)) fail_msg("\"%s\" has no \"%s\"", mm_context_error(ctx), sentence);
}

static void hostile_headers(void **state)
{
    file f = plain;

    (void)state;
    assert_int_equal(decode(&f), MM_OK);
    f.channels = 0;
    f.block = 0;
    refuse(&f, MM_E_FORMAT, "the sound in memory: a WAV file of 0 channels");
    f = plain, f.block = 3;
    refuse(&f, MM_E_FORMAT, "the WAV block of 1 samples of 16 bits is 3 bytes, expected 2");
    f = plain, f.channels = 65535, f.block = 65534;
    refuse(&f, MM_E_FORMAT, "expected 131070");
    f = plain, f.block = 0;
    refuse(&f, MM_E_FORMAT, "is 0 bytes, expected 2");
    f = plain, f.rate = 0;
    refuse(&f, MM_E_FORMAT, "0 samples per second, expected 1000 to 384000");
    f = plain, f.rate = UINT32_MAX;
    refuse(&f, MM_E_FORMAT, "4294967295 samples per second");
    f = plain, f.bits = 0, f.block = 0;
    refuse(&f, MM_E_UNSUPPORTED, "WAV samples of 0 bits PCM");
    f = plain, f.bits = 64, f.block = 8;
    refuse(&f, MM_E_UNSUPPORTED, "WAV samples of 64 bits PCM");
    f = plain, f.format = 3;
    refuse(&f, MM_E_UNSUPPORTED, "WAV samples of 16 bits float");
    f = plain, f.format = 0x55;
    refuse(&f, MM_E_UNSUPPORTED, "the WAV coding 0x0055 is not read");
    f = plain, f.format = 0xFFFE; /* without its extension */
    refuse(&f, MM_E_UNSUPPORTED, "0xfffe");
}

static void hostile_sizes(void **state)
{
    file f = plain;

    (void)state;
    f.data_size = 5;
    refuse(&f, MM_E_FORMAT, "is cut off: the WAV data have 4 bytes of 5");
    f.data_size = 0x7FFEFFFF;
    refuse(&f, MM_E_FORMAT, "is cut off");
    f.data_size = UINT32_MAX; /* a stream */
    assert_int_equal(decode(&f), MM_OK);
    f = plain, f.fmt_size = UINT32_MAX;
    refuse(&f, MM_E_FORMAT, "a WAV chunk at byte 12 has 28 bytes of 4294967295");
    f.fmt_size = 15;
    refuse(&f, MM_E_FORMAT, "the WAV chunk \"fmt \" has 15 bytes, expected 16 or more");
    f.fmt_size = 24; /* it hides the data */
    refuse(&f, MM_E_FORMAT, "a WAV file without a chunk \"data\"");
    assert_int_equal(audio_decode_any("RIFF\0\0\0\0WAVE", 12), MM_E_FORMAT);
    assert_non_null(strstr(mm_context_error(ctx), "without a chunk \"fmt \""));
    assert_int_equal(audio_decode_any("RIFF\0\0\0\0WAVEdata\0\0\0\0", 20), MM_E_FORMAT);
    assert_non_null(strstr(mm_context_error(ctx), "\"data\" comes before \"fmt \""));
}

static void long_sizes_of_rf64(void **state)
{
    size_t size;
    unsigned char *data = audio_load("rf64.wav", &size);

    (void)state;
    memset(data + 28, 0xFF, 8); /* the data's 64-bit size: 2^64 - 1 */
    assert_int_equal(audio_decode_any(data, size), MM_E_FORMAT);
    assert_non_null(strstr(mm_context_error(ctx), "of 18446744073709551615"));
    memset(data + 28, 0, 8); /* not said: a stream, up to the end of the file */
    assert_int_equal(audio_decode_any(data, size), MM_OK);
    free(data);
}

static void samples_that_are_no_numbers(void **state)
{
    static const uint32_t words[] = {0x3F800000, 0x7FC00000, 0x7F800000, 0xFF800000}; /* 1, NaN, +-infinity */
    static const double huge[] = {1, 1e39};
    file f = {3, 1, 4, 32, 16000, 16, 8, words, 8};

    (void)state;
    refuse(&f, MM_E_FORMAT, "the sound in memory: sample 1 is not a finite number");
    f.data = words + 2, f.channels = 2, f.block = 8; /* their mean */
    refuse(&f, MM_E_FORMAT, "sample 0 is not a finite number");
    f = (file){3, 1, 8, 64, 16000, 16, 16, huge, 16}; /* more than float32 has */
    refuse(&f, MM_E_FORMAT, "sample 1 is not a finite number");
}

static void damaged_files(void **state)
{
    static const char *const names[] = {"odd_chunks.wav", "rf64.wav", "extensible_float.wav", "pcm24.wav"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        unsigned char *data = audio_load(names[i], &size);

        audio_cut_anywhere(data, size, size - 22, 1); /* the chunks behind the data, and a pad byte, are not missed */
        audio_flip_bits(data, size, 3000);
        free(data);
    }
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
    char path[] = AUDIO "float64_stereo.wav";

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
        AUDIO_TEST(hostile_headers),
        AUDIO_TEST(hostile_sizes),
        AUDIO_TEST(long_sizes_of_rf64),
        AUDIO_TEST(samples_that_are_no_numbers),
        AUDIO_TEST(damaged_files),
        AUDIO_TEST(out_of_memory),
    };
    return cmocka_run_group_tests_name("wav_reader", tests, NULL, NULL);
}
