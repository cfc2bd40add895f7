/* mm chat: a conversation on the terminal. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "sampling.h"

enum { MAX_TURNS = 4096 };

typedef struct {
    char *roles[MAX_TURNS], *contents[MAX_TURNS], *kinds[MAX_TURNS];
    size_t count;
    cli_media media; /* of all turns */
    size_t shown;    /* of them, in turns that were answered */
} conversation;

static int add_turn(conversation *c, const char *role, const char *content)
{
    if (c->count == MAX_TURNS) return cli_fail_text("a conversation of %d turns; /clear begins anew", MAX_TURNS);
    c->roles[c->count] = strdup(role);
    c->contents[c->count] = strdup(content);
    c->kinds[c->count] = cli_media_kinds(&c->media, strcmp(role, "user") ? c->media.count : c->shown);
    c->count++; /* forget frees what there is */
    return c->roles[c->count - 1] && c->contents[c->count - 1] && c->kinds[c->count - 1] ? EXIT_OK : cli_fail_text("out of memory");
}

static void forget(conversation *c, size_t left)
{
    while (c->count > left) {
        c->count--;
        free(c->roles[c->count]);
        free(c->contents[c->count]);
        free(c->kinds[c->count]);
    }
}

typedef struct {
    char *text;
    size_t size;
} reply;

static int32_t on_text(void *user, int32_t id, const char *text, size_t size)
{
    reply *r = user;
    char *grown = realloc(r->text, r->size + size + 1);
    (void)id;

    if (!grown) return 1;
    memcpy(grown + r->size, text, size);
    r->text = grown;
    r->size += size;
    r->text[r->size] = 0;
    fwrite(text, 1, size, stdout);
    fflush(stdout);
    return ferror(stdout) != 0;
}

/* One question and its answer; a failure is told and the conversation goes on without the question. */
static int answer(mm_context *ctx, mm_model *model, mm_session *session, conversation *c, const char *question)
{
    reply r = {NULL, 0};
    size_t before = c->count;
    int32_t why = MM_STOP_NONE;
    int status = add_turn(c, "user", question);

    if (!status) status = cli_set_conversation(ctx, model, session, (const char *const *)c->roles, (const char *const *)c->contents,
                                              (const char *const *)c->kinds, c->count, &c->media);
    if (!status && mm_session_generate(session, on_text, &r, &why)) {
        putchar('\n');
        status = cli_fail(ctx);
    }
    if (!status) putchar('\n');
    if (why == MM_STOP_FULL) fputs("mm: the context is full; /clear begins anew\n", stderr);
    if (!status) status = add_turn(c, "assistant", r.text ? r.text : "");
    if (status) {
        forget(c, before); /* the pictures stay for the next question */
    } else {
        c->shown = c->media.count;
    }
    free(r.text);
    return status;
}

int cli_chat(int argc, char **argv)
{
    const char *system = NULL;
    cli_sampling s = CLI_SAMPLING_DEFAULTS;
    const cli_option options[] = {{"--system", CLI_TEXT, &system}, CLI_SAMPLING_OPTIONS(s), {NULL, CLI_FLAG, NULL}};
    cli_args args;
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mm_session *session = NULL;
    conversation *c = calloc(1, sizeof *c);
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    int status, failed = 0, terminal = isatty(STDIN_FILENO);

    s.max_tokens = 1024;
    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    status = EXIT_FAILED;
    if (!c) {
        (void)cli_fail_text("out of memory");
        goto cleanup;
    }
    if (!(ctx = cli_context(&args))) goto cleanup;
    if (cli_open(ctx, &args, &model)) {
        status = cli_fail(ctx);
        goto cleanup;
    }
    if ((status = cli_session(ctx, model, &s, &session))) goto cleanup;
    if (system && (status = add_turn(c, "system", system))) goto cleanup;
    if (terminal) fputs("/image FILE adds a picture to the next question, /clear begins anew, /quit or Ctrl-D ends.\n", stderr);
    for (;;) {
        if (terminal) {
            fputs("> ", stderr);
            fflush(stderr);
        }
        n = getline(&line, &capacity, stdin);
        if (n < 0) break;
        while (n && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = 0;
        if (!strcmp(line, "/quit")) break;
        if (!n) continue;
        if (!strcmp(line, "/clear")) {
            forget(c, system ? 1 : 0);
            cli_media_forget(&c->media, 0);
            c->shown = 0;
        } else if (!strncmp(line, "/image ", 7)) {
            failed |= cli_media_read(ctx, &c->media, "--image", line + 7);
        } else if (line[0] == '/') {
            (void)cli_fail_text("there is no %s; /image, /clear and /quit are known", line);
        } else {
            failed |= answer(ctx, model, session, c, line);
        }
    }
    status = failed;
cleanup:
    free(line);
    if (c) {
        forget(c, 0);
        cli_media_forget(&c->media, 0);
    }
    free(c);
    mm_session_destroy(session);
    mm_model_release(model);
    cli_context_destroy(ctx);
    cli_args_clear(&args);
    return status;
}
