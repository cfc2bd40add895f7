/* mm transcribe: what is said in a sound. SPDX-License-Identifier: MIT */
#include "cli.h"

typedef struct {
    int timestamps, json;
} form;

static void print_time(double seconds)
{
    int64_t ms = (int64_t)(seconds * 1000 + 0.5);
    printf("%02lld:%02lld:%02lld.%03lld", (long long)(ms / 3600000), (long long)(ms / 60000 % 60), (long long)(ms / 1000 % 60), (long long)(ms % 1000));
}

static int32_t print_segment(void *user, double begin, double end, const char *text, size_t size)
{
    const form *f = user;

    if (f->json) {
        printf("{\"begin\": %.2f, \"end\": %.2f, \"text\": ", begin, end);
        cli_print_json_string(stdout, text, size);
        puts("}");
    } else if (f->timestamps) {
        putchar('[');
        print_time(begin);
        fputs(" --> ", stdout);
        print_time(end);
        putchar(']');
        fwrite(text, 1, size, stdout);
        putchar('\n');
    } else {
        fwrite(text, 1, size, stdout);
    }
    fflush(stdout);
    return ferror(stdout) != 0;
}

int cli_transcribe(int argc, char **argv)
{
    const char *path = NULL, *language = NULL;
    form f = {0, 0};
    int translate = 0, status;
    const cli_option options[] = {{"--audio", CLI_TEXT, &path}, {"--language", CLI_TEXT, &language}, {"--translate", CLI_FLAG, &translate},
                                  {"--timestamps", CLI_FLAG, &f.timestamps}, {"--json", CLI_FLAG, &f.json}, {NULL, CLI_FLAG, NULL}};
    cli_args args;
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mm_session *session = NULL;
    mm_audio *audio = NULL;

    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    if (!path) {
        status = EXIT_USAGE;
        (void)cli_fail_text("--audio is missing");
        goto cleanup;
    }
    status = EXIT_FAILED;
    if (!(ctx = cli_context(&args))) goto cleanup;
    if (mm_audio_read(ctx, path, &audio) || cli_open(ctx, &args, &model) || mm_session_create(ctx, model, &session) ||
        mm_session_transcribe(session, audio, language, translate ? MM_TASK_TRANSLATE : MM_TASK_TRANSCRIBE, f.timestamps || f.json, print_segment, &f)) {
        status = cli_fail(ctx);
        goto cleanup;
    }
    if (!f.timestamps && !f.json) putchar('\n');
    status = EXIT_OK;
cleanup:
    mm_session_destroy(session);
    mm_model_release(model);
    mm_audio_destroy(audio);
    cli_context_destroy(ctx);
    cli_args_clear(&args);
    return status;
}
