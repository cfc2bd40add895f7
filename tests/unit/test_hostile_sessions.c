/* Sessions while memory runs out and while they are cancelled, at every allocation of a picture among text, an encoder and its decoder, beam search,
 * transcription and forks: the call that was hit fails, nothing leaks, and called once more it does what it would have done. Media that a model does
 * not take, out of order, or without their place in the text.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* mkdtemp */
#include "unit_fixture.h"

#include "model_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "session.h"
#include "session_state.h"

enum { MAX_IDS = 256 };

typedef struct {
    unit_allocator allocator;
    mm_context *ctx;
    long cancel_at;        /* at this allocation the call is cancelled, counted from 1; 0: never */
    char folder[64];       /* of the model that transcribes */
    mm_model *model;
    mm_session *s, *fork;
    mm_image *image;
    mm_audio *sound;
    char heard[1024];      /* what transcription handed out */
    int32_t ids[MAX_IDS];  /* of the session and its fork at the end */
    size_t counts[2];
} fixture;

static void *cancelling_alloc(void *user, size_t size, size_t alignment)
{
    fixture *f = user;
    if (f->cancel_at && f->allocator.count + 1 == f->cancel_at) mm_context_cancel(f->ctx);
    return unit_alloc(&f->allocator, size, alignment);
}

static void cancelling_free(void *user, void *ptr, size_t size) { unit_free(&((fixture *)user)->allocator, ptr, size); }

static void write_text(const char *folder, const char *name, const char *text)
{
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_non_null(file = fopen(path, "wb"));
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void link_file(const char *folder, const char *model, const char *name)
{
    char path[128], target[512];

    assert_non_null(getcwd(target, 300));
    (void)snprintf(target + strlen(target), sizeof target - strlen(target), "/" MODELS "%s/%s", model, name);
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(symlink(target, path), 0);
}

/* The tiny Whisper with words, languages and timestamps, which hears 48 frames in a second. */
static void make_transcriber(const char *folder)
{
    link_file(folder, "whisper", "config.json");
    link_file(folder, "whisper", "model.safetensors");
    link_file(folder, "llama_words", "tokenizer.json");
    write_text(folder, "preprocessor_config.json", "{\"feature_extractor_type\": \"WhisperFeatureExtractor\", \"feature_size\": 10, \"sampling_rate\": 4800, "
                                                   "\"hop_length\": 100, \"chunk_length\": 1, \"n_fft\": 400}");
    write_text(folder, "generation_config.json", "{\"eos_token_id\": 1, \"decoder_start_token_id\": 2, \"lang_to_id\": {\"<|en|>\": 3, \"<|de|>\": 4}, "
                                                 "\"task_to_id\": {\"transcribe\": 5, \"translate\": 6}, \"no_timestamps_token_id\": 40, "
                                                 "\"max_initial_timestamp_index\": 3}");
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    mm_hooks hooks = {sizeof hooks, cancelling_alloc, cancelling_free, f};
    const char *tmp = getenv("TMPDIR");
    uint8_t pixels[8 * 8 * 3];
    float samples[4800 * 5 / 2];

    assert_non_null(f);
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * 37 % 251);
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) samples[i] = (float)sin((double)i * (0.05 + 1e-5 * (double)i));
    assert_int_equal(mm_context_create(&hooks, &f->ctx), MM_OK);
    ok(f->ctx, mm_context_set_i64(f->ctx, MM_CONTEXT_THREADS, 1));
    ok(f->ctx, mm_image_create(f->ctx, 8, 8, pixels, &f->image));
    ok(f->ctx, mm_audio_create(f->ctx, 4800, samples, sizeof samples / sizeof *samples, &f->sound));
    (void)snprintf(f->folder, sizeof f->folder, "%.40s/libmm.XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->folder));
    make_transcriber(f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    char command[128];

    mm_image_destroy(f->image);
    mm_audio_destroy(f->sound);
    unit_context_end(&f->allocator, f->ctx);
    (void)snprintf(command, sizeof command, "rm -r '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* Plays: steps that a session takes one after the other; a step that failed is taken once more. MM_E_NOT_FOUND behind the last. */

typedef mm_status (*play_fn)(fixture *f, int step);

static mm_status greedy(mm_session *s, int64_t beams)
{
    mm_status st = mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, 4);
    if (!st) st = mm_session_set_i64(s, MM_SESSION_BEAMS, beams);
    return st ? st : mm_session_generate(s, NULL, NULL, NULL);
}

static mm_status see(fixture *f, int step)
{
    switch (step) {
    case 0: return mm_session_append_image(f->s, f->image);
    case 1: return mm_session_append_text(f->s, "the man <image> on");
    case 2: return greedy(f->s, 1);
    case 3: return mm_session_fork(f->s, &f->fork);
    case 4: return mm_session_append_image(f->fork, f->image); /* known: not computed again */
    case 5: return mm_session_append_text(f->fork, "the");
    case 6: return greedy(f->fork, 3);
    case 7: return mm_session_append_image(f->s, f->image);
    case 8: return mm_session_set_text(f->s, "the man <image> off");
    case 9: return greedy(f->s, 1);
    default: return MM_E_NOT_FOUND;
    }
}

static mm_status translate(fixture *f, int step)
{
    static const int32_t first[3] = {4, 9, 5}, second[4] = {7, 3, 6, 1};
    const float *logits;

    switch (step) {
    case 0: return mm_session_append_tokens(f->s, first, 3);
    case 1: return mm_session_append_tokens(f->s, second, 4);
    case 2: return mm_session_logits(f->s, &logits);
    case 3: return mm_session_fork(f->s, &f->fork);
    case 4: return greedy(f->fork, 3);
    case 5: return greedy(f->s, 1);
    default: return MM_E_NOT_FOUND;
    }
}

/* The pictures of a golden case, as their processor would make them. */
static mm_status append_golden(fixture *f, const char *path)
{
    mm_tensor_map *map = NULL;
    mmi_medium medium = {0};
    mm_status st = mm_tensor_map_read(f->ctx, path, &map);

    if (!st) st = mm_tensor_map_create(f->ctx, &medium.inputs);
    for (size_t i = 0; !st && i < mm_tensor_map_count(map); i++) {
        const char *name = mm_tensor_map_name(map, i);
        if (strcmp(name, "prompt_ids") && strcmp(name, "generated_ids")) st = mm_tensor_map_set(f->ctx, medium.inputs, name, mm_tensor_map_at(map, i));
    }
    mm_tensor_map_destroy(map);
    if (!st) return mmi_session_append_medium(f->s, (const uint64_t[2]){1, 2}, &medium);
    mm_tensor_map_destroy(medium.inputs);
    return st;
}

static mm_status caption(fixture *f, int step)
{
    static const int32_t begin[2] = {2, 5};

    switch (step) {
    case 0: return append_golden(f, MODELS "ved_trocr/greedy.media.safetensors");
    case 1: return mm_session_append_tokens(f->s, begin, 2);
    case 2: return mm_session_fork(f->s, &f->fork);
    case 3: return greedy(f->fork, 2);
    case 4: return greedy(f->s, 1);
    default: return MM_E_NOT_FOUND;
    }
}

static mm_status append_prompt(fixture *f, const char *path)
{
    mm_tensor_map *map = NULL;
    mm_status st = mm_tensor_map_read(f->ctx, path, &map);
    const mm_tensor *ids = st ? NULL : mm_tensor_map_get(map, "prompt_ids");

    if (!st) st = mm_session_append_tokens(f->s, mm_tensor_const_data(ids), (size_t)mm_tensor_elements(ids));
    mm_tensor_map_destroy(map);
    return st;
}

static mm_status interleave(fixture *f, int step)
{
    static const char path[] = MODELS "mllama/greedy_two.media.safetensors";

    switch (step) {
    case 0: return append_golden(f, path);
    case 1: return append_prompt(f, path);
    case 2: return mm_session_fork(f->s, &f->fork);
    case 3: return greedy(f->fork, 2);
    case 4: return greedy(f->s, 1);
    default: return MM_E_NOT_FOUND;
    }
}

static int32_t hand_out(void *user, double begin, double end, const char *text, size_t size)
{
    fixture *f = user;
    size_t at = strlen(f->heard);

    assert_true(at + size + 40 < sizeof f->heard);
    (void)snprintf(f->heard + at, sizeof f->heard - at, "[%.2f %.2f %s]", begin, end, text);
    return 0;
}

static mm_status transcribe(fixture *f, int step)
{
    if (step == 1) return mm_session_fork(f->s, &f->fork);
    if (step) return MM_E_NOT_FOUND;
    f->heard[0] = 0;
    ok(f->ctx, mm_session_set_i64(f->s, MM_SESSION_CONTEXT, 16));
    return mm_session_transcribe(f->s, f->sound, NULL, MM_TASK_TRANSCRIBE, 1, hand_out, f);
}

/* Play it; fails where a step ends otherwise than `hit` once. Returns how often it was hit. */
static int play(fixture *f, play_fn fn, mm_status hit)
{
    int step = 0, hits = 0;
    mm_status st;

    f->s = f->fork = NULL;
    f->allocator.count = 0;
    for (int again = 0; mm_session_create(f->ctx, f->model, &f->s) && !again; again = hits = 1) f->allocator.fail_at = 0;
    assert_non_null(f->s);
    while ((st = fn(f, step)) != MM_E_NOT_FOUND) {
        if (!st) {
            step++;
            continue;
        }
        if (st != hit || hits) fail_msg("step %d ended with %s: %s", step, mm_status_name(st), mm_context_error(f->ctx));
        hits++;
        f->allocator.fail_at = f->cancel_at = 0;
    }
    f->counts[0] = mm_session_length(f->s);
    f->counts[1] = f->fork ? mm_session_length(f->fork) : 0;
    assert_true(f->counts[0] + f->counts[1] <= MAX_IDS);
    memcpy(f->ids, mm_session_tokens(f->s), f->counts[0] * sizeof *f->ids);
    if (f->fork) memcpy(f->ids + f->counts[0], mm_session_tokens(f->fork), f->counts[1] * sizeof *f->ids);
    mm_session_destroy(f->s);
    mm_session_destroy(f->fork);
    return hits;
}

static void hit_everywhere(fixture *f, const char *path, play_fn fn, size_t made)
{
    char heard[sizeof f->heard];
    int32_t ids[MAX_IDS];
    size_t counts[2], live, hits[2] = {0, 0};
    long total;

    ok(f->ctx, mm_model_open(f->ctx, path, &f->model));
    (void)play(f, fn, MM_OK); /* makes what the context keeps */
    live = f->allocator.live;
    (void)play(f, fn, MM_OK);
    total = f->allocator.count;
    assert_int_equal(f->allocator.live, live);
    memcpy(ids, f->ids, sizeof ids);
    memcpy(counts, f->counts, sizeof counts);
    strcpy(heard, f->heard);
    assert_true(counts[0] + counts[1] >= made);
    for (int cancel = 0; cancel < 2; cancel++)
        for (long k = 1; k <= total; k++) {
            f->allocator.fail_at = cancel ? 0 : k;
            f->cancel_at = cancel ? k : 0;
            hits[cancel] += (size_t)play(f, fn, cancel ? MM_E_CANCELLED : MM_E_NOMEM);
            f->allocator.fail_at = f->cancel_at = 0;
            (void)mmi_check_cancel(f->ctx); /* one that came behind all checks would stop the next call */
            if (f->allocator.live != live) fail_msg("%s: allocation %ld of %ld %s: %zu bytes stay", path, k, total, cancel ? "cancelled" : "failed", f->allocator.live - live);
            /* What was generated when a call was hit stays: the next one goes on, and further. */
            if (f->counts[0] < counts[0] || memcmp(f->ids, ids, counts[0] * sizeof *ids) || f->counts[1] < counts[1] || strcmp(f->heard, heard))
                fail_msg("%s: allocation %ld of %ld %s: other tokens", path, k, total, cancel ? "cancelled" : "failed");
        }
    print_message("%s: %ld allocations, %zu failures, %zu cancellations\n", path, total, hits[0], hits[1]);
    assert_true(hits[0] == (size_t)total && hits[1] > (size_t)total / 4);
    mm_model_release(f->model);
}

static void test_picture_among_text(void **state) { hit_everywhere(*state, MODELS "llava_pair", see, 10); }
static void test_encoder_and_decoder(void **state) { hit_everywhere(*state, MODELS "t5_relu", translate, 6); }
static void test_picture_attended_across(void **state) { hit_everywhere(*state, MODELS "ved_trocr", caption, 6); }

static void test_pictures_interleaved(void **state) { hit_everywhere(*state, MODELS "mllama", interleave, 20); }

static void test_transcription(void **state)
{
    fixture *f = *state;
    hit_everywhere(f, f->folder, transcribe, 4);
    assert_true(strlen(f->heard) > 0);
}

/* Another thread cancels, again and again: whatever the call is doing then, it ends as cancelled, and its next attempt is whole. */

typedef struct {
    mm_context *ctx;
    atomic_int over;
} canceller;

static void *keep_cancelling(void *arg)
{
    canceller *c = arg;
    for (unsigned i = 1; !atomic_load(&c->over); i++) {
        (void)usleep(i % 7 * 150);
        mm_context_cancel(c->ctx);
    }
    return NULL;
}

static void cancel_from_a_thread(fixture *f, const char *path, play_fn fn, int beginning, int cancelled)
{
    canceller c = {.ctx = f->ctx};
    pthread_t thread;

    ok(f->ctx, mm_model_open(f->ctx, path, &f->model));
    f->s = f->fork = NULL;
    ok(f->ctx, mm_session_create(f->ctx, f->model, &f->s));
    for (int step = 0; step < beginning; step++) ok(f->ctx, fn(f, step));
    assert_int_equal(pthread_create(&thread, NULL, keep_cancelling, &c), 0);
    for (int n = 0; n < cancelled;) {
        mm_status st = fn(f, beginning);
        if (st && st != MM_E_CANCELLED && st != MM_E_CONTEXT_FULL) fail_msg("%s: %s, %s", path, mm_status_name(st), mm_context_error(f->ctx));
        n += st == MM_E_CANCELLED;
        ok(f->ctx, mm_session_rewind(f->s, mm_session_length(f->s) < 8 ? mm_session_length(f->s) : 8));
    }
    atomic_store(&c.over, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)mmi_check_cancel(f->ctx);
    ok(f->ctx, fn(f, beginning));
    mm_session_destroy(f->s);
    mm_session_destroy(f->fork);
    mm_model_release(f->model);
}

static mm_status see_anew(fixture *f, int step)
{
    mm_status st;

    if (step) return MM_E_NOT_FOUND;
    mmi_encoded_list_clear(&f->s->known); /* as if it were another picture */
    mmi_encoded_list_clear(&f->s->waiting);
    st = mm_session_append_image(f->s, f->image);
    return st ? st : mm_session_set_text(f->s, "the man <image> off");
}

static mm_status search(fixture *f, int step) { return step == 1 ? greedy(f->s, 4) : translate(f, step); }

static void test_cancel_from_a_thread(void **state)
{
    fixture *f = *state;

    cancel_from_a_thread(f, MODELS "llava_pair", see_anew, 0, 20);
    cancel_from_a_thread(f, MODELS "t5_relu", search, 1, 20);
    cancel_from_a_thread(f, f->folder, transcribe, 0, 20);
}

/* What a model does not take, and what has no place. */
static void test_media_that_do_not_fit(void **state)
{
    static const char *const models[] = {"llama_words", "t5_relu", "whisper", "ved_trocr", "blip_caption", "llava_pair", "qwen2_vl"};
    static const int32_t ids[2] = {4, 9};
    fixture *f = *state;
    const float *logits = NULL;

    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        mm_model *m = open_golden(f->ctx, models[i]);
        int reads = i == 0 || i == 1 || i >= 5, sees = i == 5;
        mm_session *s = NULL;
        mm_status st;
        ok(f->ctx, mm_session_create(f->ctx, m, &s));
        refused(f->ctx, mm_session_logits(s, &logits), MM_E_STATE, "the session", (const char *)NULL);
        refused(f->ctx, mm_session_append_audio(s, f->sound), MM_E_UNSUPPORTED, models[i], (const char *)NULL); /* this Whisper has no feature extractor */
        st = mm_session_append_image(s, f->image);
        if (sees) ok(f->ctx, st);
        else refused(f->ctx, st, MM_E_UNSUPPORTED, models[i], (const char *)NULL);
        refused(f->ctx, mm_session_transcribe(s, f->sound, NULL, MM_TASK_TRANSCRIBE, 1, NULL, NULL), MM_E_UNSUPPORTED, models[i], (const char *)NULL);
        if (sees) { /* a picture waits, and these tokens have no place for it */
            refused(f->ctx, mm_session_append_tokens(s, ids, 2), MM_E_ARGUMENT, "0 tokens for pictures", (const char *)NULL);
            refused(f->ctx, mm_session_append_text(s, "the <image> <image> man"), MM_E_ARGUMENT, "2 places", (const char *)NULL);
            assert_int_equal(mm_session_length(s), 0);
            ok(f->ctx, mm_session_append_text(s, "the <image> man"));
            assert_true(mm_session_length(s) > 2);
            ok(f->ctx, mm_session_rewind(s, 2)); /* in the middle of its tokens */
        }
        if (i != 0 && !sees) refused(f->ctx, mm_session_append_text(s, "the man"), MM_E_UNSUPPORTED, "no tokenizer", (const char *)NULL);
        ok(f->ctx, mm_session_append_tokens(s, ids, 2));
        st = mm_session_logits(s, &logits);
        if (reads) ok(f->ctx, st);
        else refused(f->ctx, st, MM_E_STATE, "to answer from", (const char *)NULL);
        mm_session_destroy(s);
        mm_model_release(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_picture_among_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_encoder_and_decoder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_picture_attended_across, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pictures_interleaved, setup, teardown),
        cmocka_unit_test_setup_teardown(test_transcription, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_from_a_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(test_media_that_do_not_fit, setup, teardown),
    };
    return cmocka_run_group_tests_name("hostile_sessions", tests, NULL, NULL);
}
