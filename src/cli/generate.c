/* mm generate: text behind a prompt. SPDX-License-Identifier: MIT */
#include "cli.h"
#include "sampling.h"

static int32_t print_text(void *user, int32_t id, const char *text, size_t size)
{
    (void)user;
    (void)id;
    fwrite(text, 1, size, stdout);
    fflush(stdout);
    return ferror(stdout) != 0;
}

static void print_ids(const int32_t *ids, size_t count)
{
    putchar('[');
    for (size_t i = 0; i < count; i++) printf(i ? ", %d" : "%d", ids[i]);
    puts("]");
}

int cli_generate(int argc, char **argv)
{
    const char *prompt = NULL, *system = NULL;
    cli_sampling s = CLI_SAMPLING_DEFAULTS;
    int ids = 0, raw = 0, status;
    const cli_option options[] = {{"--prompt", CLI_TEXT, &prompt}, {"--system", CLI_TEXT, &system}, {"--ids", CLI_FLAG, &ids}, {"--raw", CLI_FLAG, &raw},
                                  {"--stop", CLI_LIST, NULL}, CLI_SAMPLING_OPTIONS(s), {NULL, CLI_FLAG, NULL}};
    cli_args args;
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mm_session *session = NULL;
    size_t before;

    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    if (!prompt || (raw && system)) {
        status = EXIT_USAGE;
        (void)cli_fail_text(prompt ? "--system needs the chat template, which --raw leaves out" : "--prompt is missing");
        goto cleanup;
    }
    status = EXIT_FAILED;
    if (!(ctx = cli_context(&args))) goto cleanup;
    if (mm_model_open(ctx, args.model, &model)) {
        status = cli_fail(ctx);
        goto cleanup;
    }
    if ((status = cli_session(ctx, model, &s, &session))) goto cleanup;
    for (size_t i = 0; i < args.n_items; i++)
        if (mm_session_set_str(session, MM_SESSION_STOP, args.items[i].value)) {
            status = cli_fail(ctx);
            goto cleanup;
        }
    if (raw) {
        status = mm_session_append_text(session, prompt) ? cli_fail(ctx) : EXIT_OK;
    } else {
        const char *roles[2] = {"system", "user"}, *contents[2] = {system, prompt};
        status = cli_set_conversation(ctx, model, session, roles + !system, contents + !system, system ? 2 : 1);
    }
    if (status) goto cleanup;
    before = mm_session_length(session);
    if (mm_session_generate(session, ids ? NULL : print_text, NULL, NULL)) {
        status = cli_fail(ctx);
        goto cleanup;
    }
    if (ids) print_ids(mm_session_tokens(session) + before, mm_session_length(session) - before);
    else putchar('\n');
cleanup:
    mm_session_destroy(session);
    mm_model_release(model);
    cli_context_destroy(ctx);
    cli_args_clear(&args);
    return status;
}
