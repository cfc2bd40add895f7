/* Pictures, video and sound named on the command line. SPDX-License-Identifier: MIT */
#ifndef MM_CLI_MEDIA_FILES_H
#define MM_CLI_MEDIA_FILES_H

#include "cli.h"

typedef struct {
    const char *kind; /* "image", "audio" or "video", as chat templates call it */
    mm_image *image;
    mm_audio *audio;
    mm_video *video;
} cli_medium;

typedef struct {
    cli_medium *items;
    size_t count;
} cli_media;

/* Read a file and add it. `option` is "--image", ... EXIT_OK or EXIT_FAILED after saying why. */
int cli_media_read(mm_context *ctx, cli_media *media, const char *option, const char *path);
/* All items of a command line that name media, in their order. */
int cli_media_read_all(mm_context *ctx, cli_media *media, const cli_args *args);
void cli_media_forget(cli_media *media, size_t left); /* all behind the first `left` */

/* Let items [first, count) wait for the session's next text. */
int cli_media_append(mm_context *ctx, mm_session *session, const cli_media *media, size_t first);

/* "image image video" of items [first, count), to be freed; NULL when out of memory. */
char *cli_media_kinds(const cli_media *media, size_t first);

#endif
