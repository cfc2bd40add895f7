/* mm bench: pictures, questions about them, and speech. SPDX-License-Identifier: MIT */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

static mm_status measure_batch(bench *b, const mm_tensor *one, int64_t images)
{
    const int64_t *s = mm_tensor_shape(one);
    int64_t shape[4] = {images, s[1], s[2], s[3]};
    mm_tensor *pixels = NULL;
    mm_tensor_map *in = NULL;
    mm_status st = mm_tensor_create(b->ctx, MM_DTYPE_F32, 4, shape, &pixels);

    for (int64_t i = 0; i < images && !st; i++)
        memcpy((char *)mm_tensor_data(pixels) + (size_t)i * mm_tensor_bytes(one), mm_tensor_const_data(one), mm_tensor_bytes(one));
    if (!st) st = mm_tensor_map_create(b->ctx, &in);
    if (!st) st = mm_tensor_map_set(b->ctx, in, "pixel_values", pixels);
    for (int i = 0; i < (images == 1 ? 18 : 6) && !st; i++) {
        mm_tensor_map *out = NULL;
        double t = cli_seconds();
        st = mm_model_forward(b->model, b->ctx, in, &out);
        t = cli_seconds() - t;
        if (!st && i >= (images == 1 ? 3 : 1)) bench_add(b, images == 1 ? 1e3 * t : (double)images / t);
        mm_tensor_map_destroy(out);
    }
    if (!st) bench_report(b, images == 1 ? "batch1" : "batch8", images == 1 ? "ms" : "images/s");
    mm_tensor_map_destroy(in);
    mm_tensor_release(pixels);
    return st;
}

/* A picture that no two pixels of are alike for long; `variant` makes another one. */
static mm_status make_picture(mm_context *ctx, size_t variant, mm_image **out)
{
    enum { WIDTH = 640, HEIGHT = 480 };
    uint8_t *rgb = malloc((size_t)WIDTH * HEIGHT * 3);
    mm_status st;

    if (!rgb) return MM_E_NOMEM;
    for (size_t i = 0; i < (size_t)WIDTH * HEIGHT * 3; i++) rgb[i] = (uint8_t)(i * i / 977 + variant);
    st = mm_image_create(ctx, WIDTH, HEIGHT, rgb, out);
    free(rgb);
    return st;
}

mm_status bench_images(bench *b)
{
    mm_image *image = NULL;
    mm_tensor *pixels = NULL;
    mm_status st = make_picture(b->ctx, 0, &image);

    for (int i = 0; i < 6 && !st; i++) {
        double t = cli_seconds();
        mm_tensor_release(pixels);
        st = mm_model_preprocess_image(b->model, b->ctx, image, &pixels);
        if (!st && i) bench_add(b, 1e3 * (cli_seconds() - t));
    }
    if (!st && bench_wanted(b, "preprocess640x480")) bench_report(b, "preprocess640x480", "ms");
    b->count = 0;
    if (!st && bench_wanted(b, "batch1")) st = measure_batch(b, pixels, 1);
    if (!st && bench_wanted(b, "batch8")) st = measure_batch(b, pixels, 8);
    mm_tensor_release(pixels);
    mm_image_destroy(image);
    return st;
}

/* Seconds until the first token of an answer to a question about the picture. */
static mm_status ask(mm_session *s, const mm_image *image, const char *question, double *seconds, const float **logits)
{
    double t = cli_seconds();
    mm_status st = mm_session_append_image(s, image);

    if (!st) st = mm_session_set_text(s, question);
    if (!st) st = mm_session_logits(s, logits);
    *seconds = cli_seconds() - t;
    return st;
}

/* The stages of a question about a picture: `image` is what the first question takes longer than the same one in a session that has encoded the picture
 * but holds nothing. The second question finds the picture's keys and values too. */
mm_status bench_picture_question(bench *b)
{
    enum { SAMPLES = 4, ANSWER = 16, STAGES = 4 };
    static const char *const names[STAGES] = {"image", "prompt", "answer16", "second_question"};
    double first, again, second, stages[STAGES][SAMPLES];
    int64_t vocabulary = 0;
    mm_status st = MM_OK;

    (void)mm_model_get_i64(b->model, MM_MODEL_VOCABULARY, &vocabulary);
    for (int i = -1; i < SAMPLES && !st; i++) { /* the first warms up */
        const float *logits = NULL;
        mm_image *image = NULL;
        mm_session *s = NULL;
        double t;

        st = make_picture(b->ctx, (size_t)(i + 1), &image);
        if (!st) st = mm_session_create(b->ctx, b->model, &s);
        if (!st) st = ask(s, image, "What is on this picture, and where does it stand?", &first, &logits);
        if (!st) st = mm_session_rewind(s, 0);
        if (!st) st = ask(s, image, "What is on this picture, and where does it stand?", &again, &logits);
        t = cli_seconds();
        for (int n = 0; n < ANSWER && !st; n++) {
            int32_t id = bench_likeliest(logits, vocabulary);
            st = mm_session_append_tokens(s, &id, 1);
            if (!st) st = mm_session_logits(s, &logits);
        }
        t = cli_seconds() - t;
        if (!st && (int64_t)mm_session_length(s) > b->tokens) b->tokens = (int64_t)mm_session_length(s);
        if (!st) st = ask(s, image, "Which color has the largest of all the things?", &second, &logits);
        if (!st && i >= 0) {
            stages[0][i] = first - again;
            stages[1][i] = again;
            stages[2][i] = t;
            stages[3][i] = second;
        }
        mm_session_destroy(s);
        mm_image_destroy(image);
    }
    for (int k = 0; k < STAGES && !st; k++) {
        for (int i = 0; i < SAMPLES; i++) bench_add(b, 1e3 * stages[k][i]);
        bench_report(b, names[k], "ms");
    }
    return st;
}

typedef struct {
    char *text;
    size_t size;
    int failed;
} heard_text;

static int32_t keep_text(void *user, double begin, double end, const char *text, size_t size)
{
    heard_text *h = user;
    char *grown = realloc(h->text, h->size + size + 1);
    (void)begin;
    (void)end;

    if (!grown) {
        h->failed = 1;
        return 1;
    }
    memcpy(grown + h->size, text, size);
    h->text = grown;
    h->size += size;
    return 0;
}

/* Seconds from the samples of a file to its text, which is printed as well: speed is worth nothing with other words. */
mm_status bench_speech(bench *b, const char *path, const char *language)
{
    mm_audio *audio = NULL;
    mm_session *s = NULL;
    heard_text h = {NULL, 0, 0};
    mm_status st = mm_audio_read(b->ctx, path, &audio);

    if (!st) st = mm_session_create(b->ctx, b->model, &s);
    for (int i = 0; i < 4 && !st; i++) {
        double t = cli_seconds();
        h.size = 0;
        st = mm_session_transcribe(s, audio, language, MM_TASK_TRANSCRIBE, 0, keep_text, &h);
        if (!st && h.failed) st = MM_E_NOMEM;
        if (!st && i) bench_add(b, cli_seconds() - t);
        if (!st && (int64_t)mm_session_length(s) > b->tokens) b->tokens = (int64_t)mm_session_length(s);
    }
    if (!st) bench_report(b, "transcribe", "s");
    if (!st) {
        fputs(b->json ? "{\"text\": " : "text: ", stdout);
        cli_print_json_string(stdout, h.text ? h.text : "", h.size);
        puts(b->json ? "}" : "");
    }
    free(h.text);
    mm_session_destroy(s);
    mm_audio_destroy(audio);
    return st;
}
