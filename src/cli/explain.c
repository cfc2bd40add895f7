/* mm explain: an answer about a picture, and the picture with what the model looked at. SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "sampling.h"

/* From dark to light in steps that look alike, as viridis (Smith and van der Walt, 2015) goes. */
static void color_of(double heat, double rgb[3])
{
    static const double steps[6][3] = {{68, 1, 84}, {65, 68, 135}, {42, 120, 142}, {34, 168, 132}, {122, 209, 81}, {253, 231, 37}};
    const double at = 5 * fmin(fmax(heat, 0), 1);
    const int i = at < 5 ? (int)at : 4;

    for (int c = 0; c < 3; c++) rgb[c] = steps[i][c] + (at - i) * (steps[i + 1][c] - steps[i][c]);
}

/* The map [rows, cols] between the middles of its cells, at a place in cells. */
static double heat_at(const float *map, int64_t rows, int64_t cols, double y, double x)
{
    const double up = fmin(fmax(y - 0.5, 0), (double)rows - 1), left = fmin(fmax(x - 0.5, 0), (double)cols - 1);
    const int64_t r = (int64_t)up, c = (int64_t)left, below = r + (r + 1 < rows), beside = c + (c + 1 < cols);
    const double v = up - (double)r, h = left - (double)c;

    return (1 - v) * ((1 - h) * (double)map[r * cols + c] + h * (double)map[r * cols + beside]) +
           v * ((1 - h) * (double)map[below * cols + c] + h * (double)map[below * cols + beside]);
}

/* The picture in gray under the map in color, the hotter the less it shows through; roots, for a few patches often have most. */
static int draw(mm_context *ctx, const mm_image *image, const mm_tensor *map, const char *path)
{
    const int64_t width = mm_image_width(image), height = mm_image_height(image), rows = mm_tensor_shape(map)[0], cols = mm_tensor_shape(map)[1];
    const uint8_t *from = mm_image_pixels(image);
    const float *heat = mm_tensor_const_data(map);
    uint8_t *pixels = malloc((size_t)(width * height) * 3), *to = pixels;
    mm_image *drawn = NULL;
    double most = 0;
    mm_status st;

    if (!pixels) return cli_fail_text("out of memory");
    for (int64_t i = 0; i < rows * cols; i++) most = fmax(most, (double)heat[i]);
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++, from += 3, to += 3) {
            const double down = ((double)y + 0.5) * (double)rows / (double)height, across = ((double)x + 0.5) * (double)cols / (double)width;
            const double h = sqrt(heat_at(heat, rows, cols, down, across) / most);
            const double gray = 0.299 * from[0] + 0.587 * from[1] + 0.114 * from[2], cover = 0.35 + 0.35 * h;
            double rgb[3];
            color_of(h, rgb);
            for (int c = 0; c < 3; c++) to[c] = (uint8_t)lround((1 - cover) * gray + cover * rgb[c]);
        }
    st = mm_image_create(ctx, width, height, pixels, &drawn);
    if (!st) st = mm_image_save_png(ctx, drawn, path);
    mm_image_destroy(drawn);
    free(pixels);
    return st ? cli_fail(ctx) : EXIT_OK;
}

/* The answer on standard output, and what it looked at. */
static int answer(mm_context *ctx, mm_model *model, const cli_media *media, const char *prompt, int64_t max_tokens, int raw, mm_tensor **map)
{
    cli_sampling s = CLI_SAMPLING_DEFAULTS;
    mm_session *session = NULL;
    int status;

    s.greedy = 1;
    s.max_tokens = max_tokens;
    status = cli_session(ctx, model, &s, &session);
    if (!status) status = cli_ask(ctx, model, session, media, NULL, prompt, raw);
    if (!status) {
        size_t before = mm_session_length(session);
        status = mm_session_generate(session, cli_print_piece, NULL, NULL) ? cli_fail(ctx) : EXIT_OK;
        if (!status) putchar('\n');
        if (!status && mm_session_explain(session, media->items[0].image, before, map)) status = cli_fail(ctx);
    }
    mm_session_destroy(session);
    return status;
}

/* The likeliest class, of a model that has some. */
static int classify(mm_context *ctx, mm_model *model, const mm_image *image)
{
    mm_tensor *p = NULL;
    mm_status st = mm_model_classify_image(model, ctx, image, &p);
    size_t best = 0;

    if (st == MM_E_UNSUPPORTED) return EXIT_OK;
    if (st) return cli_fail(ctx);
    for (size_t i = 1; i < (size_t)mm_tensor_elements(p); i++)
        if (((const float *)mm_tensor_const_data(p))[i] > ((const float *)mm_tensor_const_data(p))[best]) best = i;
    if (mm_model_label(model, best)) puts(mm_model_label(model, best));
    else printf("LABEL_%zu\n", best);
    mm_tensor_release(p);
    return EXIT_OK;
}

int cli_explain(int argc, char **argv)
{
    const char *prompt = NULL, *output = NULL;
    int64_t max_tokens = 256, generates = 0;
    int raw = 0, status;
    const cli_option options[] = {{"--image", CLI_LIST, NULL},           {"--prompt", CLI_TEXT, &prompt}, {"--output", CLI_TEXT, &output},
                                  {"--max-tokens", CLI_INTEGER, &max_tokens}, {"--raw", CLI_FLAG, &raw},      {NULL, CLI_FLAG, NULL}};
    cli_media media = {NULL, 0};
    cli_args args;
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mm_tensor *map = NULL;

    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    if (args.n_items != 1 || !output) {
        status = EXIT_USAGE;
        (void)cli_fail_text(output ? "one --image is needed" : "--output is missing");
        goto cleanup;
    }
    status = EXIT_FAILED;
    if (!(ctx = cli_context(&args))) goto cleanup;
    status = cli_open(ctx, &args, &model) ? cli_fail(ctx) : cli_media_read_all(ctx, &media, &args);
    if (status) goto cleanup;
    (void)mm_model_get_i64(model, MM_MODEL_GENERATES, &generates);
    if (generates) {
        status = answer(ctx, model, &media, prompt ? prompt : "", max_tokens, raw, &map);
    } else if (prompt) {
        status = cli_fail_text("%s does not answer with text: leave --prompt out", args.model);
    } else {
        status = mm_model_explain_image(model, ctx, media.items[0].image, &map) ? cli_fail(ctx) : classify(ctx, model, media.items[0].image);
    }
    if (!status) status = draw(ctx, media.items[0].image, map, output);
cleanup:
    mm_tensor_release(map);
    cli_media_forget(&media, 0);
    mm_model_release(model);
    cli_context_destroy(ctx);
    cli_args_clear(&args);
    return status;
}
