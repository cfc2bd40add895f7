/* Transcription against transformers: the tiny model of tests/golden/make_speech_models.py that has a tokenizer writes down sounds shorter and
 * longer than its window of a second. SPDX-License-Identifier: MIT */
#include "model_fixture.h"

#define SPEAKS MODELS "whisper_speaks"

enum { LEAST_CASES = 5, MOST = 32 };

typedef struct {
    double begin[MOST], end[MOST];
    char text[MOST][128];
    size_t count;
    size_t stop_at; /* 0: never */
} heard;

static int32_t keep(void *user, double begin, double end, const char *text, size_t size)
{
    heard *h = user;

    assert_true(h->count < MOST && size < sizeof h->text[0]);
    assert_int_equal(strlen(text), size);
    h->begin[h->count] = begin;
    h->end[h->count] = end;
    strcpy(h->text[h->count++], text);
    return h->count == h->stop_at;
}

/* As make_speech_models.py makes it. */
static mm_audio *make_sound(mm_context *ctx, int64_t seed, size_t count)
{
    float *samples = malloc(count * sizeof *samples);
    mm_audio *audio = NULL;

    assert_non_null(samples);
    for (size_t i = 0; i < count; i++) {
        int64_t t = (int64_t)i, x = 0;
        for (int64_t k = 0; k < 3; k++) {
            int64_t step = (seed * 7919 + k * 104729) % 9000 + 300, v = t * step % 65536 - 32768, tone = (v < 0 ? -v : v) - 16384;
            int64_t eighth = tone >= 0 ? tone / 8 : -((-tone + 7) / 8); /* Python rounds down */
            x += eighth * ((((t * (k + 1)) >> 12) & 1) ^ (k & 1));
        }
        samples[i] = (float)x / 32768;
    }
    ok(ctx, mm_audio_create(ctx, 16000, samples, count, &audio));
    free(samples);
    return audio;
}

static mm_session *open_session(mm_context *ctx, mm_model **model)
{
    mm_session *s = NULL;

    *model = open_golden(ctx, "whisper_speaks");
    ok(ctx, mm_session_create(ctx, *model, &s));
    ok(ctx, mm_session_set_i64(s, MM_SESSION_KV_TYPE, MM_DTYPE_F32));
    return s;
}

static void test_equal_transformers(void **state)
{
    FILE *list = fopen(SPEAKS "/transcriptions.txt", "r");
    char name[32], language[8], task[16], line[160];
    long long seed;
    size_t samples, segments, cases = 0;
    int stamped;
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mm_session *s;
    (void)state;

    assert_non_null(list);
    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    s = open_session(ctx, &model);
    for (; fscanf(list, "%31s %lld %zu %7s %15s %d %zu\n", name, &seed, &samples, language, task, &stamped, &segments) == 7; cases++) {
        mm_audio *audio = make_sound(ctx, seed, samples);
        heard h = {0};
        ok(ctx, mm_session_transcribe(s, audio, strcmp(language, "-") ? language : NULL, strcmp(task, "translate") ? MM_TASK_TRANSCRIBE : MM_TASK_TRANSLATE,
                                      stamped, keep, &h));
        if (h.count != segments) fail_msg("%s: %zu segments, expected %zu", name, h.count, segments);
        for (size_t i = 0; i < segments; i++) {
            double begin, end;
            int at = 0;
            assert_non_null(fgets(line, sizeof line, list));
            line[strcspn(line, "\n")] = 0;
            assert_int_equal(sscanf(line, "%lf %lf%n", &begin, &end, &at), 2);
            assert_string_equal(h.text[i], line + at + 1);
            if (!stamped) continue; /* one stretch, all of the sound */
            assert_true(fabs(h.begin[i] - begin) < 0.006 && fabs(h.end[i] - end) < 0.006);
        }
        mm_audio_destroy(audio);
    }
    assert_true(cases >= LEAST_CASES);
    (void)fclose(list);
    mm_session_destroy(s);
    mm_model_release(model);
    mm_context_destroy(ctx);
}

static void test_stops_and_refuses(void **state)
{
    mm_context *ctx = NULL;
    mm_model *model = NULL, *text = NULL;
    mm_session *s, *other = NULL;
    mm_audio *audio, *empty = NULL;
    heard h = {.stop_at = 2};
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    s = open_session(ctx, &model);
    audio = make_sound(ctx, 729, 54400);
    ok(ctx, mm_session_transcribe(s, audio, NULL, MM_TASK_TRANSCRIBE, 1, keep, &h));
    assert_int_equal(h.count, 2); /* the callback had enough */
    ok(ctx, mm_session_transcribe(s, audio, NULL, MM_TASK_TRANSCRIBE, 1, NULL, NULL));
    refused(ctx, mm_session_transcribe(s, audio, "xx", MM_TASK_TRANSCRIBE, 1, NULL, NULL), MM_E_ARGUMENT, "\"xx\"", NULL);
    refused(ctx, mm_session_transcribe(s, audio, NULL, 7, 1, NULL, NULL), MM_E_ARGUMENT, "7", NULL);
    refused(ctx, mm_session_append_audio(s, audio), MM_E_LIMIT, "3.4 seconds", NULL);
    ok(ctx, mm_audio_create(ctx, 16000, NULL, 0, &empty));
    ok(ctx, mm_session_transcribe(s, empty, "en", MM_TASK_TRANSCRIBE, 0, NULL, NULL)); /* silence */
    ok(ctx, mm_session_set_i64(s, MM_SESSION_BEAMS, 2));
    refused(ctx, mm_session_transcribe(s, audio, NULL, MM_TASK_TRANSCRIBE, 1, NULL, NULL), MM_E_UNSUPPORTED, "beams", NULL);
    text = open_golden(ctx, "llama_gqa");
    ok(ctx, mm_session_create(ctx, text, &other));
    refused(ctx, mm_session_transcribe(other, audio, NULL, MM_TASK_TRANSCRIBE, 1, NULL, NULL), MM_E_UNSUPPORTED, "takes no sound", NULL);
    refused(ctx, mm_session_append_audio(other, audio), MM_E_UNSUPPORTED, "text alone", NULL);
    mm_session_destroy(other);
    mm_model_release(text);
    mm_audio_destroy(empty);
    mm_audio_destroy(audio);
    mm_session_destroy(s);
    mm_model_release(model);
    mm_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_equal_transformers), cmocka_unit_test(test_stops_and_refuses)};
    return cmocka_run_group_tests_name("transcription", tests, NULL, NULL);
}
