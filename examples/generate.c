/* A prompt to text:  generate MODEL PROMPT
 *
 *   cc generate.c $(pkg-config --cflags --libs mm)
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "mm_session.h"

static int32_t print_piece(void *user, int32_t id, const char *text, size_t size)
{
    (void)user;
    (void)id;
    fwrite(text, 1, size, stdout);
    fflush(stdout);
    return ferror(stdout); /* nonzero stops */
}

int main(int argc, char **argv)
{
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mm_session *session = NULL;
    const char *roles[] = {"user"};
    char *text = NULL;
    int32_t *ids = NULL;
    size_t count = 0;
    mm_status st;

    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL PROMPT\n", argv[0]);
        return 2;
    }
    st = mm_context_create(NULL, &ctx);
    if (!st) st = mm_model_open(ctx, argv[1], &model);
    if (!st) st = mm_session_create(ctx, model, &session);
    if (!st) st = mm_session_set_i64(session, MM_SESSION_MAX_TOKENS, 200);
    if (!st) st = mm_session_set_f64(session, MM_SESSION_REPEAT_PENALTY, 1.1);
    if (!st) st = mm_model_apply_chat_template(model, ctx, roles, (const char *const *)&argv[2], 1, 1, &text);
    /* The template has written the special tokens: they are read, and none are added. */
    if (!st) st = mm_tokenizer_encode(mm_model_tokenizer(model), ctx, text, strlen(text), MM_TOKENS_PARSE_SPECIAL, &ids, &count);
    if (!st) st = mm_session_append_tokens(session, ids, count);
    if (!st) st = mm_session_generate(session, print_piece, NULL, NULL);
    if (st) fprintf(stderr, "%s: %s\n", mm_status_name(st), mm_context_error(ctx));
    else putchar('\n');

    mm_ids_free(ids);
    mm_text_free(text);
    mm_session_destroy(session);
    mm_model_release(model);
    mm_context_destroy(ctx);
    return st || fflush(stdout) ? 1 : 0;
}
