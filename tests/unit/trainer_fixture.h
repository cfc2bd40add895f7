/* What the tests of training share: a folder of pictures, manifests and configurations that goes with the test. SPDX-License-Identifier: MIT */
#ifndef TRAINER_FIXTURE_H
#define TRAINER_FIXTURE_H

#include "model_fixture.h"

#include <dirent.h>
#include <unistd.h>

#include "file.h"
#include "model.h"
#include "png_writer.h"
#include "trainer.h"

static char folder[64], home[512]; /* home: where the goldens are */

/* A file, or a folder with all in it. No process is made for it, which sanitizers take long for. */
static inline void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *entry;

    while (d && (entry = readdir(d))) {
        const size_t room = strlen(path) + strlen(entry->d_name) + 2;
        char *inner = malloc(room);
        assert_non_null(inner);
        (void)snprintf(inner, room, "%s/%s", path, entry->d_name);
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") && unlink(inner)) remove_tree(inner);
        free(inner);
    }
    if (d) (void)closedir(d);
    (void)remove(path);
}

static inline int folder_begin(void **state)
{
    (void)state;
    assert_non_null(getcwd(home, sizeof home));
    (void)snprintf(folder, sizeof folder, "%s/mm_trainer_XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm"); /* in memory, where fsync costs nothing */
    assert_non_null(mkdtemp(folder));
    return 0;
}

static inline int folder_end(void **state)
{
    (void)state;
    remove_tree(folder);
    return 0;
}

/* A path in the folder; the last few stay valid. */
static inline const char *in_folder(const char *name)
{
    static char paths[8][512];
    static int turn;
    char *path = paths[turn = (turn + 1) % 8];

    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline void write_text(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static inline char *read_text(mm_context *ctx, const char *name)
{
    char *text;
    size_t size;
    ok(ctx, mmi_file_read(ctx, in_folder(name), 1 << 24, &text, &size));
    return text;
}

/* A picture of one colour with a darker square, whose place `at` says. */
static inline void write_picture(mm_context *ctx, const char *name, unsigned color, unsigned at)
{
    enum { SIDE = 16 };
    unsigned char pixels[SIDE * SIDE * 3];
    mmi_text png = {0};
    FILE *f;

    for (unsigned i = 0; i < SIDE * SIDE * 3; i++) {
        const unsigned x = i / 3 % SIDE, y = i / 3 / SIDE, inside = x / 8 == at % 2 && y / 8 == at / 2 % 2;
        pixels[i] = (unsigned char)((color >> i % 3 & 1 ? 230 : 30) / (inside ? 2 : 1));
    }
    ok(ctx, mmi_png_write(ctx, pixels, SIDE, SIDE, 3, &png));
    f = fopen(in_folder(name), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(png.data, 1, png.size, f), png.size);
    assert_int_equal(fclose(f), 0);
    mmi_text_clear(&png);
}

/* "config.json" with an output folder of its own; of `rest`, its other members, each @ stands for where the goldens are. */
static inline const char *write_config(const char *output, const char *rest)
{
    static char text[16384];
    size_t n = (size_t)snprintf(text, sizeof text, "{\"output\": \"%s\", ", output);

    for (; *rest; rest++) n += (size_t)snprintf(text + n, sizeof text - n, *rest == '@' ? "%s/tests/golden" : "%.1s", *rest == '@' ? home : rest);
    (void)snprintf(text + n, sizeof text - n, "}");
    write_text("config.json", text);
    return in_folder("config.json");
}

static inline mm_context *context_of(int threads)
{
    mm_context *ctx = NULL;
    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_THREADS, threads));
    return ctx;
}

static inline mm_trainer *trainer_of(mm_context *ctx, const char *output, const char *rest)
{
    mm_trainer *t = NULL;
    ok(ctx, mm_trainer_create(ctx, write_config(output, rest), &t));
    assert_non_null(t);
    return t;
}

/* All that is trained, one behind another. */
static inline unsigned char *weights_of(const mm_trainer *t, size_t *bytes)
{
    unsigned char *all;
    size_t at = 0;

    *bytes = 0;
    for (size_t i = 0; i < t->parameters.count; i++) *bytes += t->parameters.list[i].rows * t->parameters.list[i].cols * (t->parameters.list[i].dtype == MM_DTYPE_F32 ? 4 : 2);
    assert_non_null(all = malloc(*bytes));
    for (size_t i = 0; i < t->parameters.count; i++) {
        const mmi_parameter *p = &t->parameters.list[i];
        const size_t n = p->rows * p->cols * (p->dtype == MM_DTYPE_F32 ? 4 : 2);
        memcpy(all + at, p->weights, n);
        at += n;
    }
    return all;
}

static inline void assert_same_weights(const char *what, const mm_trainer *t, const unsigned char *want, size_t bytes)
{
    size_t n;
    unsigned char *have = weights_of(t, &n);

    if (n != bytes || memcmp(have, want, n)) fail_msg("%s: weights differ", what);
    free(have);
}

#define WORDS "{\"from\": \"@/models/llama_words\"}"
#define TEXTS "\"tasks\": [{\"objective\": \"causal_lm\", \"data\": {\"train\": \"texts.jsonl\"}}]"

/* texts.jsonl, of 6 lines that a small model learns. */
static inline void write_texts(void)
{
    write_text("texts.jsonl", "{\"text\": \"the one in the\"}\n{\"text\": \"an ant on the stone, an ant.\"}\n{\"text\": \"there!\"}\n"
                              "{\"text\": \"a rest in an inn on the east\"}\n{\"text\": \"on and on and on?\"}\n{\"text\": \"the rest is the rest\"}\n");
}

/* pictures.jsonl, of 8 pictures with what each objective asks of one. */
static inline void write_pictures(mm_context *ctx)
{
    static const char *const colors[] = {"black", "red", "green", "yellow"}, *const places[] = {"left", "right"};
    static char lines[8192];
    char name[32];
    size_t n = 0;

    for (unsigned i = 0; i < 8; i++) {
        const char *color = colors[i % 4], *place = places[i / 4];
        (void)snprintf(name, sizeof name, "%u.png", i);
        write_picture(ctx, name, i % 4, i / 4);
        n += (size_t)snprintf(lines + n, sizeof lines - n,
                              "{\"image\": \"%s\", \"label\": \"%s\", \"labels\": {\"color\": \"%s\", \"place\": %u}, \"caption\": \"%s %s\", \"question\": \"which?\", "
                              "\"answer\": \"%s\", \"value\": [%u, %g]}\n",
                              name, color, color, i / 4, color, place, color, i % 4, i / 4 - 0.5);
    }
    write_text("pictures.jsonl", lines);
}

#endif
