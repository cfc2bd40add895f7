/* A prompt, and maybe a picture in front of it, to text:  generate MODEL PROMPT [IMAGE]
 *
 *   cc generate.c $(pkg-config --cflags --libs mm)
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

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
    const char *roles[] = {"user"}, *kinds[] = {argc > 3 ? "image" : ""};
    mm_image *image = NULL;
    char *text = NULL;
    mm_status st;

    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: %s MODEL PROMPT [IMAGE]\n", argv[0]);
        return 2;
    }
    st = mm_context_create(NULL, &ctx);
    if (!st) st = mm_model_open(ctx, argv[1], &model);
    if (!st) st = mm_session_create(ctx, model, &session);
    if (!st) st = mm_session_set_i64(session, MM_SESSION_MAX_TOKENS, 200);
    if (!st) st = mm_session_set_f64(session, MM_SESSION_REPEAT_PENALTY, 1.1);
    if (!st && argc > 3) st = mm_image_read(ctx, argv[3], 0, &image);
    if (!st && argc > 3) st = mm_session_append_image(session, image);
    if (!st) st = mm_model_apply_chat_template_media(model, ctx, roles, (const char *const *)&argv[2], kinds, 1, 1, &text);
    if (!st) st = mm_session_set_text(session, text); /* the template has written the special tokens: none are added */
    if (!st) st = mm_session_generate(session, print_piece, NULL, NULL);
    if (st) fprintf(stderr, "%s: %s\n", mm_status_name(st), mm_context_error(ctx));
    else putchar('\n');

    mm_text_free(text);
    mm_session_destroy(session);
    mm_image_destroy(image);
    mm_model_release(model);
    mm_context_destroy(ctx);
    return st || fflush(stdout) ? 1 : 0;
}
