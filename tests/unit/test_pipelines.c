/* From files to an answer: directories as transformers saves them, with pictures, sounds and videos as files and prompts as texts, against what
 * transformers makes of them (tests/golden/make_pipelines.py). Through the public API only. SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* strsep */
#include "model_fixture.h"

#include <glob.h>

#define PIPELINES "tests/golden/pipelines/"

enum { MAX_MEDIA = 4, MAX_NUMBERS = 2048, MAX_TOKENS = 8, LEAST_CASES = 65 };

typedef struct {
    char *how, *media, *text, *columns[2];
} golden_case;

typedef struct {
    mm_image *images[MAX_MEDIA];
    mm_audio *audio[MAX_MEDIA];
    mm_video *videos[MAX_MEDIA];
    char kinds[64];
    size_t count;
} media_files;

static void unescape(char *text)
{
    char *to = text;
    for (; *text; text++)
        if (text[0] == '\\' && text[1] == 'n') *to++ = '\n', text++;
        else *to++ = *text;
    *to = 0;
}

static size_t read_numbers(char *text, double *out)
{
    size_t n = 0;
    for (char *word; (word = strsep(&text, " \n"));)
        if (*word && n < MAX_NUMBERS) out[n++] = strtod(word, NULL);
    return n;
}

static media_files open_media(mm_context *ctx, char *list)
{
    media_files m = {0};

    for (char *file; strcmp(list ? list : "-", "-") && (file = strsep(&list, " ")); m.count++) {
        char *kind = strsep(&file, ":");
        assert_true(m.count < MAX_MEDIA);
        if (m.count) strcat(m.kinds, " ");
        strcat(m.kinds, kind);
        if (!strcmp(kind, "image")) ok(ctx, mm_image_read(ctx, file, 0, &m.images[m.count]));
        if (!strcmp(kind, "audio")) ok(ctx, mm_audio_read(ctx, file, &m.audio[m.count]));
        if (!strcmp(kind, "video")) ok(ctx, mm_video_open(ctx, file, 0, 0, &m.videos[m.count]));
    }
    return m;
}

static void append_media(mm_context *ctx, mm_session *s, const media_files *m)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->images[i]) ok(ctx, mm_session_append_image(s, m->images[i]));
        if (m->audio[i]) ok(ctx, mm_session_append_audio(s, m->audio[i]));
        if (m->videos[i]) ok(ctx, mm_session_append_video(s, m->videos[i]));
    }
}

static void close_media(media_files *m)
{
    for (size_t i = 0; i < m->count; i++) {
        mm_image_destroy(m->images[i]);
        mm_audio_destroy(m->audio[i]);
        mm_video_destroy(m->videos[i]);
    }
}

static void answer(mm_context *ctx, mm_model *model, const char *name, const golden_case *c, const media_files *media)
{
    static double prompt[MAX_NUMBERS], generated[MAX_NUMBERS];
    size_t before = read_numbers(c->columns[0], prompt), count = read_numbers(c->columns[1], generated);
    const int32_t *ids;
    mm_session *s = NULL;

    ok(ctx, mm_session_create(ctx, model, &s));
    ok(ctx, mm_session_set_i64(s, MM_SESSION_KV_TYPE, MM_DTYPE_F32));
    ok(ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, MAX_TOKENS));
    append_media(ctx, s, media);
    if (!strcmp(c->how, "chat")) {
        const char *role = "user", *text = c->text, *kinds = media->kinds;
        char *written = NULL;
        ok(ctx, mm_model_apply_chat_template_media(model, ctx, &role, &text, &kinds, 1, 1, &written));
        ok(ctx, mm_session_set_text(s, written));
        mm_text_free(written);
    } else {
        ok(ctx, mm_session_append_text(s, c->text));
    }
    ok(ctx, mm_session_generate(s, NULL, NULL, NULL));
    ids = mm_session_tokens(s);
    for (size_t i = 0; i < before + count; i++) {
        int32_t want = (int32_t)(i < before ? prompt[i] : generated[i - before]);
        if (i >= mm_session_length(s) || ids[i] != want)
            fail_msg("%s %s %s \"%s\": token %zu of %zu (%zu of them prompt) is %d, expected %d", name, c->how, media->kinds, c->text, i, mm_session_length(s),
                     before, i < mm_session_length(s) ? ids[i] : -1, want);
    }
    assert_int_equal(mm_session_length(s), before + count);
    mm_session_destroy(s);
}

/* Probabilities of labels, or cosines of texts, between commas. */
static void compare(mm_context *ctx, mm_model *model, const char *name, const golden_case *c, const media_files *media)
{
    double want[MAX_NUMBERS];
    size_t n = read_numbers(c->columns[0], want), count = 0;
    const char *texts[16];
    const mm_image *image = media->images[0];
    mm_tensor *p = NULL, *a = NULL, *b = NULL;

    for (char *rest = c->text, *text; count < 16 && (text = strsep(&rest, ","));) texts[count++] = text;
    assert_int_equal(count, n);
    if (!strcmp(c->how, "labels")) {
        ok(ctx, mm_model_classify_labels(model, ctx, image, texts, count, NULL, &p));
    } else {
        ok(ctx, mm_model_embed_images(model, ctx, &image, 1, 1, &a));
        ok(ctx, mm_model_embed_texts(model, ctx, texts, count, 1, &b));
    }
    for (size_t i = 0; i < count; i++) {
        double have = 0;
        if (p) have = (double)((const float *)mm_tensor_const_data(p))[i];
        for (int64_t k = 0; a && k < mm_tensor_shape(a)[1]; k++)
            have += (double)((const float *)mm_tensor_const_data(a))[k] * (double)((const float *)mm_tensor_const_data(b))[(int64_t)i * mm_tensor_shape(a)[1] + k];
        if (!(fabs(have - want[i]) < EXACT)) fail_msg("%s %s \"%s\": %.6f, expected %.6f", name, c->how, texts[i], have, want[i]);
    }
    mm_tensor_release(p);
    mm_tensor_release(a);
    mm_tensor_release(b);
}

static size_t run_model(mm_context *ctx, const char *file)
{
    char folder[256], *line = NULL;
    size_t capacity = 0, n = 0;
    mm_model *model = NULL;
    FILE *cases = fopen(file, "r");

    assert_non_null(cases);
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(strlen(file) - strlen(".txt")), file);
    ok(ctx, mm_model_open(ctx, folder, &model));
    for (; getline(&line, &capacity, cases) > 0; n++) {
        char *rest = line;
        char *fields[5] = {NULL};
        golden_case c;
        media_files media;
        for (int i = 0; i < 5; i++) fields[i] = strsep(&rest, "\t");
        c = (golden_case){fields[0], fields[1], fields[2], {fields[3], fields[4]}};
        media = open_media(ctx, c.media);
        unescape(c.text);
        if (c.columns[1]) answer(ctx, model, folder, &c, &media);
        else compare(ctx, model, folder, &c, &media);
        close_media(&media);
    }
    free(line);
    (void)fclose(cases);
    mm_model_release(model);
    return n;
}

static void test_answers_equal_transformers(void **state)
{
    mm_context *ctx = NULL;
    glob_t files;
    size_t n = 0;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    assert_int_equal(glob(PIPELINES "*.txt", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) n += run_model(ctx, files.gl_pathv[i]);
    assert_true(n >= LEAST_CASES);
    globfree(&files);
    mm_context_destroy(ctx);
}

/* The same picture again is neither processed nor encoded again, in a session or a fork: an append that processes one keeps at least its pixels. */
static void test_pictures_are_processed_once(void **state)
{
    const int64_t pixels = 3 * 28 * 28 * (int64_t)sizeof(float);
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mm_session *s = NULL, *fork = NULL;
    mm_image *house = NULL, *again = NULL, *other = NULL;
    int64_t before, read;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    ok(ctx, mm_model_open(ctx, PIPELINES "llava", &model));
    ok(ctx, mm_image_read(ctx, "examples/images/house.png", 0, &house));
    ok(ctx, mm_image_read(ctx, "examples/images/house.png", 0, &again));
    ok(ctx, mm_image_read(ctx, "examples/images/circles-red.png", 0, &other));
    ok(ctx, mm_session_create(ctx, model, &s));
    before = memory_used(ctx);
    ok(ctx, mm_session_append_image(s, house));
    read = memory_used(ctx);
    assert_true(read - before >= pixels);
    ok(ctx, mm_session_append_image(s, again));
    assert_true(memory_used(ctx) - read < pixels);
    ok(ctx, mm_session_append_text(s, "<image> and <image>"));
    ok(ctx, mm_session_generate(s, NULL, NULL, NULL));
    ok(ctx, mm_session_fork(s, &fork));
    for (int i = 0; i < 2; i++) {
        before = memory_used(ctx);
        ok(ctx, mm_session_append_image(i ? fork : s, again));
        assert_true(memory_used(ctx) - before < pixels);
        before = memory_used(ctx);
        ok(ctx, mm_session_append_image(i ? fork : s, other));
        assert_true(memory_used(ctx) - before >= pixels);
    }
    mm_session_destroy(s);
    mm_session_destroy(fork);
    mm_image_destroy(house);
    mm_image_destroy(again);
    mm_image_destroy(other);
    mm_model_release(model);
    mm_context_destroy(ctx);
}

/* A session that refused a prompt goes on with another. */
static void test_placeholders_are_counted(void **state)
{
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mm_session *s = NULL;
    mm_image *house = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    ok(ctx, mm_model_open(ctx, PIPELINES "llava", &model));
    ok(ctx, mm_image_read(ctx, "examples/images/house.png", 0, &house));
    ok(ctx, mm_session_create(ctx, model, &s));
    refused(ctx, mm_session_append_text(s, "a <image> b <image>"), MM_E_ARGUMENT, "2", "0", NULL);
    ok(ctx, mm_session_append_image(s, house));
    refused(ctx, mm_session_append_text(s, "a <image> b <image>"), MM_E_ARGUMENT, "2", "1", NULL);
    assert_int_equal(mm_session_length(s), 0);
    ok(ctx, mm_session_append_text(s, "a <image> b"));
    ok(ctx, mm_session_generate(s, NULL, NULL, NULL));
    mm_session_destroy(s);
    mm_image_destroy(house);
    mm_model_release(model);
    mm_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers_equal_transformers), cmocka_unit_test(test_pictures_are_processed_once),
                                       cmocka_unit_test(test_placeholders_are_counted)};
    return cmocka_run_group_tests_name("pipelines", tests, NULL, NULL);
}
