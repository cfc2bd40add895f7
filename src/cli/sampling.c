/* SPDX-License-Identifier: MIT */
#include "sampling.h"

int cli_session(mm_context *ctx, mm_model *model, const cli_sampling *s, mm_session **out)
{
    mm_session *session = NULL;
    mm_status st = mm_session_create(ctx, model, &session);

    *out = NULL;
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
    if (st) {
        mm_session_destroy(session);
        return cli_fail(ctx);
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
