/* mm forward and mm preprocess: tensors in files. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "media_files.h"

int cli_forward(int argc, char **argv)
{
    const char *inputs = NULL, *outputs = NULL;
    const cli_option options[] = {{"--inputs", CLI_TEXT, &inputs}, {"--outputs", CLI_TEXT, &outputs}, {NULL, CLI_FLAG, NULL}};
    cli_args args;
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mm_tensor_map *in = NULL, *out = NULL;
    int status;

    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    if (!inputs || !outputs) {
        status = EXIT_USAGE;
        (void)cli_fail_text("%s is missing", inputs ? "--outputs" : "--inputs");
        goto cleanup;
    }
    status = EXIT_FAILED;
    if (!(ctx = cli_context(&args))) goto cleanup;
    if (cli_open(ctx, &args, &model) || mm_tensor_map_read(ctx, inputs, &in) || mm_model_forward(model, ctx, in, &out) ||
        mm_tensor_map_write(ctx, out, outputs))
        status = cli_fail(ctx);
    else
        status = EXIT_OK;
cleanup:
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(out);
    mm_model_release(model);
    cli_context_destroy(ctx);
    cli_args_clear(&args);
    return status;
}

int cli_preprocess(int argc, char **argv)
{
    const char *outputs = NULL;
    const cli_option options[] = {{"--image", CLI_LIST, NULL}, {"--audio", CLI_LIST, NULL}, {"--video", CLI_LIST, NULL}, {"--outputs", CLI_TEXT, &outputs},
                                  {NULL, CLI_FLAG, NULL}};
    const mm_image **images = NULL;
    cli_args args;
    cli_media media = {NULL, 0};
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mm_tensor_map *out = NULL;
    int status, mixed = 0;

    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    for (size_t i = 1; i < args.n_items; i++) mixed |= strcmp(args.items[i].option, args.items[0].option) != 0 || strcmp(args.items[0].option, "--image") != 0;
    if (!args.n_items || mixed || !outputs) {
        status = EXIT_USAGE;
        (void)cli_fail_text(mixed ? "one sound, one video, or pictures are expected" : "%s is missing", args.n_items ? "--outputs" : "--image");
        goto cleanup;
    }
    status = EXIT_FAILED;
    if (!(ctx = cli_context(&args)) || cli_media_read_all(ctx, &media, &args)) goto cleanup;
    images = calloc(media.count, sizeof *images);
    if (!images) {
        (void)cli_fail_text("out of memory");
        goto cleanup;
    }
    for (size_t i = 0; i < media.count; i++) images[i] = media.items[i].image;
    if (cli_open(ctx, &args, &model) ||
        (media.items[0].audio   ? mm_model_preprocess_audio(model, ctx, media.items[0].audio, &out)
         : media.items[0].video ? mm_model_preprocess_video(model, ctx, media.items[0].video, &out)
                                : mm_model_preprocess_images(model, ctx, images, media.count, &out)) ||
        mm_tensor_map_write(ctx, out, outputs))
        status = cli_fail(ctx);
    else
        status = EXIT_OK;
cleanup:
    mm_tensor_map_destroy(out);
    free(images);
    cli_media_forget(&media, 0);
    mm_model_release(model);
    cli_context_destroy(ctx);
    cli_args_clear(&args);
    return status;
}
