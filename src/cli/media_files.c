/* SPDX-License-Identifier: MIT */
#include "media_files.h"

#include <stdlib.h>
#include <string.h>

static int is_medium(const char *option) { return !strcmp(option, "--image") || !strcmp(option, "--audio") || !strcmp(option, "--video"); }

int cli_media_read(mm_context *ctx, cli_media *media, const char *option, const char *path)
{
    cli_medium *grown = realloc(media->items, (media->count + 1) * sizeof *grown), m = {option + 2, NULL, NULL, NULL};

    if (!grown) return cli_fail_text("out of memory");
    media->items = grown;
    if (!strcmp(m.kind, "audio")   ? mm_audio_read(ctx, path, &m.audio)
        : !strcmp(m.kind, "video") ? mm_video_open(ctx, path, 0, 0, &m.video)
                                   : mm_image_read(ctx, path, 0, &m.image))
        return cli_fail(ctx);
    media->items[media->count++] = m;
    return EXIT_OK;
}

int cli_media_read_all(mm_context *ctx, cli_media *media, const cli_args *args)
{
    int status = EXIT_OK;

    for (size_t i = 0; i < args->n_items && !status; i++)
        if (is_medium(args->items[i].option)) status = cli_media_read(ctx, media, args->items[i].option, args->items[i].value);
    return status;
}

void cli_media_forget(cli_media *media, size_t left)
{
    while (media->count > left) {
        cli_medium *m = &media->items[--media->count];
        mm_image_destroy(m->image);
        mm_audio_destroy(m->audio);
        mm_video_destroy(m->video);
    }
    if (!left) {
        free(media->items);
        media->items = NULL;
    }
}

int cli_media_append(mm_context *ctx, mm_session *session, const cli_media *media, size_t first)
{
    for (size_t i = first; i < media->count; i++) {
        const cli_medium *m = &media->items[i];
        if (m->image   ? mm_session_append_image(session, m->image)
            : m->video ? mm_session_append_video(session, m->video)
                       : mm_session_append_audio(session, m->audio))
            return cli_fail(ctx);
    }
    return EXIT_OK;
}

char *cli_media_kinds(const cli_media *media, size_t first)
{
    size_t n = 1;
    char *kinds, *to;

    for (size_t i = first; i < media->count; i++) n += strlen(media->items[i].kind) + 1;
    kinds = to = malloc(n);
    if (!kinds) return NULL;
    *to = 0;
    for (size_t i = first; i < media->count; i++) to += sprintf(to, i > first ? " %s" : "%s", media->items[i].kind);
    return kinds;
}
