/* What the tests of src/audio share: files, the signals of make_audio.py, and what may be anything decoded.
 * SPDX-License-Identifier: MIT */
#ifndef AUDIO_FIXTURE_H
#define AUDIO_FIXTURE_H

#include <math.h>

#include "mm_audio.h"
#include "unit_fixture.h"

#define AUDIO "tests/golden/audio/"

static unit_allocator audio_heap;
static mm_context *ctx;

static inline int audio_setup(void **state)
{
    (void)state;
    ctx = unit_context(&audio_heap);
    return 0;
}

static inline int audio_teardown(void **state)
{
    (void)state;
    unit_context_end(&audio_heap, ctx);
    return 0;
}

#define AUDIO_TEST(name) cmocka_unit_test_setup_teardown(name, audio_setup, audio_teardown)

static inline FILE *audio_golden(const char *name)
{
    char path[256];
    FILE *f;

    (void)snprintf(path, sizeof path, AUDIO "%s", name);
    f = fopen(path, "rb");
    assert_non_null(f);
    return f;
}

/* A whole file, in a block of its very size so that sanitizers see reads past the end; the caller frees it. */
static inline unsigned char *audio_load(const char *name, size_t *size)
{
    FILE *f = audio_golden(name);
    unsigned char *data;
    long n;

    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    n = ftell(f);
    assert_true(n > 0);
    rewind(f);
    data = malloc((size_t)n);
    assert_non_null(data);
    *size = fread(data, 1, (size_t)n, f);
    assert_int_equal(*size, n);
    (void)fclose(f);
    return data;
}

static inline double audio_number(FILE *f)
{
    double v = 0;
    assert_int_equal(fscanf(f, "%lf", &v), 1);
    return v;
}

static inline mm_audio *audio_file(const char *name)
{
    char path[256];
    mm_audio *audio = NULL;

    (void)snprintf(path, sizeof path, AUDIO "%s", name);
    if (mm_audio_read(ctx, path, &audio)) fail_msg("%s", mm_context_error(ctx));
    return audio;
}

/* Decode what may be anything: either a sound of finite samples, or a failure with a sentence and no sound. */
static inline mm_status audio_decode_any(const void *data, size_t size)
{
    mm_audio *audio = NULL;
    mm_status st = mm_audio_decode(ctx, data, size, &audio);

    if (st) {
        assert_null(audio);
        assert_true(strlen(mm_context_error(ctx)) > 0);
    } else {
        assert_in_range(mm_audio_rate(audio), MM_AUDIO_MIN_RATE, MM_AUDIO_MAX_RATE);
        for (size_t i = 0; i < mm_audio_count(audio); i++) assert_true(isfinite(mm_audio_samples(audio)[i]));
    }
    mm_audio_destroy(audio);
    return st;
}

/* The beginnings of a file, each in a block of its own. `whole` of them or more may be read. */
static inline void audio_cut_anywhere(const unsigned char *data, size_t size, size_t whole, size_t step)
{
    for (size_t n = 0; n < size; n += step) {
        unsigned char *copy = malloc(n ? n : 1);
        mm_status st;

        assert_non_null(copy);
        memcpy(copy, data, n);
        st = audio_decode_any(copy, n);
        if (n < whole) assert_true(st == MM_E_FORMAT || st == MM_E_UNSUPPORTED);
        free(copy);
    }
}

static inline void audio_flip_bits(const unsigned char *data, size_t size, int flips)
{
    unsigned char *copy = malloc(size);
    uint32_t seed = 1;

    assert_non_null(copy);
    for (int i = 0; i < flips; i++) {
        memcpy(copy, data, size);
        for (int k = 0; k <= i % 4; k++) {
            seed = seed * 1664525 + 1013904223;
            copy[(seed >> 4) % size] ^= (unsigned char)(1u << (seed >> 29));
        }
        (void)audio_decode_any(copy, size);
    }
    free(copy);
}

/* Fail the first allocation of `call`, then the second, and so on until it succeeds. It frees what it makes. */
static inline void audio_out_of_memory(mm_status (*call)(void *arg), void *arg)
{
    const size_t live = audio_heap.live;
    mm_status st = MM_E_NOMEM;

    for (long n = 1; st; n++) {
        assert_true(n < 100);
        audio_heap.fail_at = audio_heap.count + n;
        st = call(arg);
        audio_heap.fail_at = 0;
        if (st) {
            assert_int_equal(st, MM_E_NOMEM);
            assert_non_null(strstr(mm_context_error(ctx), "out of memory"));
            assert_int_equal(audio_heap.live, live);
        } else {
            assert_true(n > 1);
        }
    }
}

/* A signal of make_audio.py; the caller frees it. */
static inline float *audio_signal(const char *name, size_t n)
{
    float *x = malloc((n ? n : 1) * sizeof *x);
    double a1 = 0, a2 = 0, b1 = 0, b2 = 0;
    uint32_t state = 1;
    size_t wait = 0;

    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(name, "silence") || !strcmp(name, "half")) {
            x[i] = name[0] == 'h' ? 0.5f : 0;
        } else if (!strcmp(name, "noise") || !strcmp(name, "clipped")) {
            state = state * 1664525 + 1013904223;
            x[i] = (float)fmin(1, fmax(-1, (state / 2147483648.0 - 1) * (name[0] == 'c' ? 4 : 0.5)));
        } else if (!strcmp(name, "chirp")) {
            const double t = (double)i / 16000;
            x[i] = (float)(0.9 * sin(2 * 3.14159265358979323846 * (100 * t + 130 * t * t)));
        } else {
            double pulse = 0, next;
            assert_string_equal(name, "speech");
            if (!wait) {
                pulse = i % 4000 < 2800 ? 0.05 : 0;
                wait = 120 + i % 4000 / 100;
            }
            wait--;
            next = pulse + 1.85 * a1 - 0.94 * a2;
            a2 = a1;
            a1 = next;
            next = a1 + 1.1 * b1 - 0.9 * b2;
            b2 = b1;
            b1 = next;
            x[i] = (float)(b1 * 0.03125);
        }
    }
    return x;
}

#endif
