/* mm info: what a model is. SPDX-License-Identifier: MIT */
#include <string.h>

#include "cli.h"

static const struct {
    int32_t fact;
    const char *key, *label;
} texts[] = {{MM_MODEL_ARCHITECTURE, "architecture", "architecture"}, {MM_MODEL_CLASS, "class", "class"}, {MM_MODEL_FORMAT, "format", "format"},
             {MM_MODEL_DTYPES, "dtypes", "matrices"}, {MM_MODEL_TOKENIZER, "tokenizer", "tokenizer"}, {MM_MODEL_ADAPTER, "adapter", "adapter"},
             {MM_MODEL_PARTS, "parts", "parts"}, {MM_MODEL_HEADS, "heads", "heads"}};

static const struct {
    int32_t fact;
    const char *key, *label;
} numbers[] = {{MM_MODEL_PARAMETERS, "parameters", "parameters"}, {MM_MODEL_WEIGHT_BYTES, "weight_bytes", "bytes of weights"},
               {MM_MODEL_LAYERS, "layers", "layers"}, {MM_MODEL_HIDDEN_SIZE, "hidden_size", "hidden size"},
               {MM_MODEL_VOCABULARY, "vocabulary", "vocabulary"}, {MM_MODEL_CONTEXT, "context", "context tokens"},
               {MM_MODEL_KV_TOKEN_BYTES, "kv_token_bytes", "cache bytes a token"}, {MM_MODEL_IMAGE_HEIGHT, "image_height", "image height"},
               {MM_MODEL_IMAGE_WIDTH, "image_width", "image width"}, {MM_MODEL_LABELS, "labels", "labels"}};

int cli_info(int argc, char **argv)
{
    int json = 0, status;
    const cli_option options[] = {{"--json", CLI_FLAG, &json}, {NULL, CLI_FLAG, NULL}};
    cli_args args;
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    static const struct {
        int32_t fact;
        const char *name;
    } modalities[] = {{MM_MODEL_VOCABULARY, "text"}, {MM_MODEL_SEES, "image"}, {MM_MODEL_WATCHES, "video"}, {MM_MODEL_HEARS, "audio"}};
    int64_t v, used = 0;
    size_t taken = 0;

    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    status = EXIT_FAILED;
    if (!(ctx = cli_context(&args))) goto cleanup;
    if (cli_open(ctx, &args, &model)) {
        status = cli_fail(ctx);
        goto cleanup;
    }
    (void)mm_context_get_i64(ctx, MM_CONTEXT_MEMORY_USED, &used);
    if (json) putchar('{');
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *t = mm_model_get_str(model, texts[i].fact);
        if (json) {
            printf("\"%s\": ", texts[i].key);
            if (t) cli_print_json_string(stdout, t, strlen(t));
            else fputs("null", stdout);
            fputs(", ", stdout);
        } else if (t) {
            printf("%-20s %s\n", texts[i].label, t);
        }
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        (void)mm_model_get_i64(model, numbers[i].fact, &v);
        if (json) printf("\"%s\": %lld, ", numbers[i].key, (long long)v);
        else if (v) printf("%-20s %lld\n", numbers[i].label, (long long)v);
    }
    if (json) printf("\"memory_bytes\": %lld, \"modalities\": [", (long long)used);
    else printf("%-20s %lld\n%-20s ", "bytes allocated", (long long)used, "modalities");
    for (size_t i = 0; i < sizeof modalities / sizeof *modalities; i++) {
        (void)mm_model_get_i64(model, modalities[i].fact, &v);
        if (v) printf(json ? "%s\"%s\"" : "%s%s", taken++ ? ", " : "", modalities[i].name);
    }
    puts(json ? "]}" : "");
    status = EXIT_OK;
cleanup:
    mm_model_release(model);
    cli_context_destroy(ctx);
    cli_args_clear(&args);
    return status;
}
