/* mm forward and mm preprocess: tensors in files. SPDX-License-Identifier: MIT */
#include "cli.h"

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
    if (mm_model_open(ctx, args.model, &model) || mm_tensor_map_read(ctx, inputs, &in) || mm_model_forward(model, ctx, in, &out) ||
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
    const char *path = NULL, *outputs = NULL;
    const cli_option options[] = {{"--image", CLI_TEXT, &path}, {"--outputs", CLI_TEXT, &outputs}, {NULL, CLI_FLAG, NULL}};
    cli_args args;
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mm_image *image = NULL;
    mm_tensor *pixels = NULL;
    mm_tensor_map *out = NULL;
    int status;

    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    if (!path || !outputs) {
        status = EXIT_USAGE;
        (void)cli_fail_text("%s is missing", path ? "--outputs" : "--image");
        goto cleanup;
    }
    status = EXIT_FAILED;
    if (!(ctx = cli_context(&args))) goto cleanup;
    if (mm_model_open(ctx, args.model, &model) || mm_image_read(ctx, path, 0, &image) || mm_model_preprocess_image(model, ctx, image, &pixels) ||
        mm_tensor_map_create(ctx, &out) || mm_tensor_map_set(ctx, out, "pixel_values", pixels) || mm_tensor_map_write(ctx, out, outputs))
        status = cli_fail(ctx);
    else
        status = EXIT_OK;
cleanup:
    mm_tensor_map_destroy(out);
    mm_tensor_release(pixels);
    mm_image_destroy(image);
    mm_model_release(model);
    cli_context_destroy(ctx);
    cli_args_clear(&args);
    return status;
}
