/* SPDX-License-Identifier: MIT */
#include "sampling.h"

#include <stdlib.h>
#include <string.h>

/* Let a file say what may be written. */
static int constrain(mm_context *ctx, mm_session *session, int32_t option, const char *path)
{
    char *text = NULL;
    size_t size = 0;
    int status = cli_read_file(path, &text, &size);

    if (!status && memchr(text, 0, size)) status = cli_fail_text("%s is no text: it has a NUL", path);
    if (!status && mm_session_set_str(session, option, text)) status = cli_fail(ctx);
    free(text);
    return status;
}

int cli_session(mm_context *ctx, mm_model *model, const cli_sampling *s, mm_session **out)
{
    mm_session *session = NULL;
    mm_status st;
    int status;

    *out = NULL;
    if (s->grammar && s->json_schema) {
        (void)cli_fail_text("--grammar and --json-schema: one of them can be followed");
        return EXIT_USAGE;
    }
    st = mm_session_create(ctx, model, &session);
    if (!st) st = mm_session_set_i64(session, MM_SESSION_MAX_TOKENS, s->max_tokens);
    if (!st) st = mm_session_set_i64(session, MM_SESSION_TOP_K, s->top_k);
    if (!st) st = mm_session_set_i64(session, MM_SESSION_SEED, s->seed);
    if (!st) st = mm_session_set_i64(session, MM_SESSION_BEAMS, s->beams);
    if (!st) st = mm_session_set_f64(session, MM_SESSION_LENGTH_PENALTY, s->length_penalty);
    if (!st && s->context) st = mm_session_set_i64(session, MM_SESSION_CONTEXT, s->context);
    if (!st && s->slide) st = mm_session_set_i64(session, MM_SESSION_WHEN_FULL, MM_WHEN_FULL_SLIDE);
    if (!st) st = mm_session_set_f64(session, MM_SESSION_TEMPERATURE, s->greedy ? 0 : s->temperature);
    if (!st) st = mm_session_set_f64(session, MM_SESSION_TOP_P, s->top_p);
    if (!st) st = mm_session_set_f64(session, MM_SESSION_MIN_P, s->min_p);
    if (!st) st = mm_session_set_f64(session, MM_SESSION_REPEAT_PENALTY, s->repeat_penalty);
    status = st ? cli_fail(ctx) : EXIT_OK;
    if (!status && s->grammar) status = constrain(ctx, session, MM_SESSION_GRAMMAR, s->grammar);
    if (!status && s->json_schema) status = constrain(ctx, session, MM_SESSION_JSON_SCHEMA, s->json_schema);
    if (status) {
        mm_session_destroy(session);
        return status;
    }
    *out = session;
    return EXIT_OK;
}

int cli_set_conversation(mm_context *ctx, mm_model *model, mm_session *session, const char *const *roles, const char *const *contents,
                         const char *const *kinds, size_t count, const cli_media *media)
{
    char *text = NULL;
    int status = mm_model_apply_chat_template_media(model, ctx, roles, contents, kinds, count, 1, &text) ? cli_fail(ctx) : EXIT_OK;

    if (!status) status = cli_media_append(ctx, session, media, 0);
    if (!status && mm_session_set_text(session, text)) status = cli_fail(ctx);
    mm_text_free(text);
    return status;
}

/* A model that was never taught a conversation's form takes the prompt as it is. */
static int takes_raw(mm_context *ctx, const mm_model *model)
{
    char *text = NULL;
    int none = mm_model_apply_chat_template(model, ctx, NULL, NULL, 0, 0, &text) == MM_E_UNSUPPORTED;

    mm_text_free(text);
    return none;
}

int cli_ask(mm_context *ctx, mm_model *model, mm_session *session, const cli_media *media, const char *system, const char *prompt, int raw)
{
    const char *roles[2] = {"system", "user"}, *contents[2] = {system, prompt}, *of[2] = {"", NULL};
    char *kinds;
    int status;

    if (raw || (!system && takes_raw(ctx, model))) {
        status = cli_media_append(ctx, session, media, 0);
        return !status && mm_session_append_text(session, prompt) ? cli_fail(ctx) : status;
    }
    kinds = cli_media_kinds(media, 0);
    of[1] = kinds;
    status = kinds ? cli_set_conversation(ctx, model, session, roles + !system, contents + !system, of + !system, system ? 2 : 1, media)
                   : cli_fail_text("out of memory");
    free(kinds);
    return status;
}

int32_t cli_print_piece(void *user, int32_t id, const char *text, size_t size)
{
    (void)user;
    (void)id;
    fwrite(text, 1, size, stdout);
    fflush(stdout);
    return ferror(stdout) != 0;
}
