/* mm chat: a conversation on the terminal. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "sampling.h"

typedef struct {
    char **roles, **contents;
    size_t count;
} conversation;

static int add_turn(conversation *c, const char *role, const char *content)
{
    char **roles = realloc(c->roles, (c->count + 1) * sizeof *roles), **contents;

    if (roles) c->roles = roles;
    contents = roles ? realloc(c->contents, (c->count + 1) * sizeof *contents) : NULL;
    if (!contents) return cli_fail_text("out of memory");
    c->contents = contents;
    c->roles[c->count] = strdup(role);
    c->contents[c->count] = strdup(content);
    if (!c->roles[c->count] || !c->contents[c->count]) {
        free(c->roles[c->count]);
        free(c->contents[c->count]);
        return cli_fail_text("out of memory");
    }
    c->count++;
    return EXIT_OK;
}

static void forget(conversation *c, size_t left)
{
    while (c->count > left) {
        c->count--;
        free(c->roles[c->count]);
        free(c->contents[c->count]);
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

    if (!status) status = cli_set_conversation(ctx, model, session, (const char *const *)c->roles, (const char *const *)c->contents, c->count);
    if (!status && mm_session_generate(session, on_text, &r, &why)) {
        putchar('\n');
        status = cli_fail(ctx);
    }
    if (!status) putchar('\n');
    if (why == MM_STOP_FULL) fputs("mm: the context is full; /clear begins anew\n", stderr);
    if (!status) status = add_turn(c, "assistant", r.text ? r.text : "");
    if (status) forget(c, before);
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
    conversation c = {NULL, NULL, 0};
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    int status, failed = 0, terminal = isatty(STDIN_FILENO);

    s.max_tokens = 1024;
    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    status = EXIT_FAILED;
    if (!(ctx = cli_context(&args))) goto cleanup;
    if (mm_model_open(ctx, args.model, &model)) {
        status = cli_fail(ctx);
        goto cleanup;
    }
    if ((status = cli_session(ctx, model, &s, &session))) goto cleanup;
    if (system && (status = add_turn(&c, "system", system))) goto cleanup;
    if (terminal) fputs("/clear begins anew, /quit or Ctrl-D ends.\n", stderr);
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
            forget(&c, system ? 1 : 0);
        } else if (line[0] == '/') {
            (void)cli_fail_text("there is no %s; /clear and /quit are known", line);
        } else {
            failed |= answer(ctx, model, session, &c, line);
        }
    }
    status = failed;
cleanup:
    free(line);
    forget(&c, 0);
    free(c.roles);
    free(c.contents);
    mm_session_destroy(session);
    mm_model_release(model);
    cli_context_destroy(ctx);
    cli_args_clear(&args);
    return status;
}
