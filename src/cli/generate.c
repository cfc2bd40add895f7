/* mm generate: text behind a prompt. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "sampling.h"

/* The ids as they come: a session that slides forgets its first tokens. */
typedef struct {
    int32_t *ids;
    size_t count;
    int failed;
} id_list;

static int32_t keep_id(void *user, int32_t id, const char *text, size_t size)
{
    id_list *l = user;
    int32_t *grown;
    (void)text;
    (void)size;

    if (id < 0) return 0; /* text that had waited, without a token of its own */
    grown = realloc(l->ids, (l->count + 1) * sizeof *grown);
    if (!grown) {
        l->failed = 1;
        return 1;
    }
    l->ids = grown;
    l->ids[l->count++] = id;
    return 0;
}

static int print_ids(mm_context *ctx, mm_session *session)
{
    id_list l = {NULL, 0, 0};
    int32_t reason = MM_STOP_NONE;
    size_t before = mm_session_length(session);
    int status = mm_session_generate(session, keep_id, &l, &reason) ? cli_fail(ctx) : EXIT_OK;

    if (!status && reason == MM_STOP_END && mm_session_length(session) != before + l.count) /* a token was generated that is no text */
        (void)keep_id(&l, mm_session_tokens(session)[mm_session_length(session) - 1], "", 0);
    if (!status && l.failed) status = cli_fail_text("out of memory");
    if (!status) {
        putchar('[');
        for (size_t i = 0; i < l.count; i++) printf(i ? ", %d" : "%d", l.ids[i]);
        puts("]");
    }
    free(l.ids);
    return status;
}

int cli_generate(int argc, char **argv)
{
    const char *prompt = NULL, *system = NULL;
    cli_sampling s = CLI_SAMPLING_DEFAULTS;
    int ids = 0, raw = 0, status;
    cli_media media = {NULL, 0};
    const cli_option options[] = {{"--prompt", CLI_TEXT, &prompt}, {"--system", CLI_TEXT, &system}, {"--ids", CLI_FLAG, &ids}, {"--raw", CLI_FLAG, &raw},
                                  {"--stop", CLI_LIST, NULL}, {"--image", CLI_LIST, NULL}, {"--audio", CLI_LIST, NULL}, {"--video", CLI_LIST, NULL},
                                  CLI_SAMPLING_OPTIONS(s), {NULL, CLI_FLAG, NULL}};
    cli_args args;
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mm_session *session = NULL;

    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    for (size_t i = 0; i < args.n_items && !prompt; i++)
        if (strcmp(args.items[i].option, "--stop")) prompt = ""; /* a medium alone is something to answer to */
    if (!prompt || (raw && system)) {
        status = EXIT_USAGE;
        (void)cli_fail_text(prompt ? "--system needs the chat template, which --raw leaves out" : "--prompt is missing");
        goto cleanup;
    }
    status = EXIT_FAILED;
    if (!(ctx = cli_context(&args))) goto cleanup;
    if (cli_open(ctx, &args, &model)) {
        status = cli_fail(ctx);
        goto cleanup;
    }
    if ((status = cli_session(ctx, model, &s, &session))) goto cleanup;
    for (size_t i = 0; i < args.n_items; i++)
        if (!strcmp(args.items[i].option, "--stop") && mm_session_set_str(session, MM_SESSION_STOP, args.items[i].value)) {
            status = cli_fail(ctx);
            goto cleanup;
        }
    if ((status = cli_media_read_all(ctx, &media, &args))) goto cleanup;
    if ((status = cli_ask(ctx, model, session, &media, system, prompt, raw))) goto cleanup;
    if (ids) {
        status = print_ids(ctx, session);
    } else {
        status = mm_session_generate(session, cli_print_piece, NULL, NULL) ? cli_fail(ctx) : EXIT_OK;
        if (!status) putchar('\n');
    }
cleanup:
    cli_media_forget(&media, 0);
    mm_session_destroy(session);
    mm_model_release(model);
    cli_context_destroy(ctx);
    cli_args_clear(&args);
    return status;
}
