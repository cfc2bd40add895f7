/* SPDX-License-Identifier: MIT */
#include "tokenizer_file.h"

#include <string.h>

#include "file.h"
#include "gguf_tokenizer.h"

static mm_status open_gguf(mm_context *ctx, const char *path, mmi_tokenizer **out)
{
    mmi_gguf *file = NULL;
    mm_status st = mmi_gguf_open(ctx, path, &file);

    if (!st) st = mmi_tokenizer_from_gguf(ctx, file, out);
    mmi_gguf_destroy(file);
    return st;
}

static mm_status open_json(mm_context *ctx, const char *path, const char *config_path, mmi_tokenizer **out)
{
    mmi_json *doc = NULL, *config = NULL;
    mm_status st = mmi_json_read(ctx, path, MMI_TOKENIZER_MAX_FILE, &doc);

    if (!st && mmi_file_exists(config_path)) st = mmi_json_read(ctx, config_path, MMI_TOKENIZER_MAX_FILE, &config);
    if (!st) st = mmi_tokenizer_from_json(ctx, doc, config, out);
    mmi_json_destroy(config);
    mmi_json_destroy(doc);
    return st;
}

mm_status mmi_tokenizer_open(mm_context *ctx, const char *path, mmi_tokenizer **out)
{
    size_t n = strlen(path);
    const char *slash = strrchr(path, '/');
    char *json = NULL;
    mmi_text config = {0};
    mm_status st = MM_E_NOMEM;

    *out = NULL;
    if (mmi_file_is_directory(path)) {
        json = mmi_file_join(ctx, path, "tokenizer.json");
        if (json && !mmi_text_format(ctx, &config, "%s/tokenizer_config.json", path)) st = open_json(ctx, json, config.data, out);
    } else if (n >= 5 && !strcmp(path + n - 5, ".gguf")) {
        st = open_gguf(ctx, path, out);
    } else if (!mmi_text_append(ctx, &config, path, slash ? (size_t)(slash + 1 - path) : 0) &&
               !mmi_text_format(ctx, &config, "tokenizer_config.json")) {
        st = open_json(ctx, path, config.data, out);
    }
    mmi_free(json);
    mmi_text_clear(&config);
    return st;
}
