/* mm classify: the classes of a picture by the model's own head. SPDX-License-Identifier: MIT */
#include <string.h>

#include "cli.h"

/* The best `top` classes, best first: few of few, so by repeated search. `p` is used up. */
static void print_classes(const mm_model *model, float *p, size_t count, size_t top, const char *path, int json)
{
    if (json) {
        fputs("{\"image\": ", stdout);
        cli_print_json_string(stdout, path, strlen(path));
        fputs(", \"labels\": [", stdout);
    }
    for (size_t n = 0; n < top && n < count; n++) {
        size_t best = 0;
        const char *label;
        char number[32];
        for (size_t i = 1; i < count; i++)
            if (p[i] > p[best]) best = i;
        label = mm_model_label(model, best);
        if (!label) {
            snprintf(number, sizeof number, "LABEL_%zu", best);
            label = number;
        }
        if (json) {
            fputs(n ? ", {\"label\": " : "{\"label\": ", stdout);
            cli_print_json_string(stdout, label, strlen(label));
            printf(", \"probability\": %.6f}", p[best]);
        } else {
            printf("%8.4f  %s\n", p[best], label);
        }
        p[best] = -1;
    }
    if (json) puts("]}");
}

int cli_classify(int argc, char **argv)
{
    int json = 0, status;
    int64_t top = 5;
    const cli_option options[] = {{"--image", CLI_LIST, NULL}, {"--top", CLI_INTEGER, &top}, {"--json", CLI_FLAG, &json}, {NULL, CLI_FLAG, NULL}};
    cli_args args;
    mm_context *ctx = NULL;
    mm_model *model = NULL;

    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    if (!args.n_items || top < 1) {
        status = EXIT_USAGE;
        (void)cli_fail_text(args.n_items ? "--top must be at least 1" : "--image is missing");
        goto cleanup;
    }
    status = EXIT_FAILED;
    if (!(ctx = cli_context(&args))) goto cleanup;
    status = mm_model_open(ctx, args.model, &model) ? cli_fail(ctx) : EXIT_OK;
    for (size_t i = 0; i < args.n_items && !status; i++) {
        mm_image *image = NULL;
        mm_tensor *p = NULL;
        if (mm_image_read(ctx, args.items[i].value, 0, &image) || mm_model_classify_image(model, ctx, image, &p)) {
            status = cli_fail(ctx);
        } else {
            print_classes(model, mm_tensor_data(p), (size_t)mm_tensor_elements(p), (size_t)top, args.items[i].value, json);
        }
        mm_tensor_release(p);
        mm_image_destroy(image);
    }
cleanup:
    mm_model_release(model);
    cli_context_destroy(ctx);
    cli_args_clear(&args);
    return status;
}
