/* SPDX-License-Identifier: MIT */
#include "hf_directory.h"

#include <string.h>

#include "file.h"

/* Parse directory/name; an optional file that does not exist leaves *out NULL. */
static mm_status read_document(mm_context *ctx, const char *directory, const char *name, size_t most, mmi_json **out)
{
    char *path = mmi_file_join(ctx, directory, name);
    mm_status st = MM_OK;

    if (!path) return MM_E_NOMEM;
    if (mmi_file_exists(path)) st = mmi_json_read(ctx, path, most, out);
    mmi_free(path);
    return st;
}

static mm_status read_chat_template(mm_context *ctx, mmi_hf_directory *d)
{
    char *path = mmi_file_join(ctx, d->path, "chat_template.jinja");
    size_t n = 0;
    mm_status st = MM_OK;

    if (!path) return MM_E_NOMEM;
    if (mmi_file_exists(path)) {
        st = mmi_file_read(ctx, path, MMI_HF_MAX_CONFIG, &d->chat_template, &n);
        if (!st && (memchr(d->chat_template, 0, n) || mmi_utf8_valid(d->chat_template, n) != n))
            st = mmi_fail(ctx, MM_E_FORMAT, "%s is not text in UTF-8", path);
    }
    mmi_free(path);
    return st;
}

/* The folder of the step of modules.json whose class is called Pooling (sentence_transformers.models.Pooling, or a newer
 * module of that name); NULL: none. */
static const mmi_json_node *find_pooling(const mmi_json *modules)
{
    static const char suffix[] = ".Pooling";
    for (const mmi_json_node *m = mmi_json_first(mmi_json_root(modules)); m; m = mmi_json_next(m)) {
        const char *type = mmi_json_string(mmi_json_get(m, "type"));
        size_t n = type ? strlen(type) : 0;
        if (n >= sizeof suffix - 1 && !strcmp(type + n - (sizeof suffix - 1), suffix)) return m;
    }
    return NULL;
}

static mm_status read_pooling(mm_context *ctx, mmi_hf_directory *d)
{
    const mmi_json_node *step;
    const char *folder = NULL;
    char *path, *inner;
    mm_status st;

    if (!d->modules) return MM_OK;
    if (mmi_json_kind_of(mmi_json_root(d->modules)) != MMI_JSON_ARRAY)
        return mmi_fail(ctx, MM_E_FORMAT, "%s must be an array", mmi_json_name(d->modules));
    step = find_pooling(d->modules);
    if (!step) return MM_OK;
    st = mmi_json_text(ctx, d->modules, step, "path", 1, &folder);
    if (st) return st;
    if (!mmi_file_name_is_plain(folder))
        return mmi_fail(ctx, MM_E_FORMAT, "%s: path %.200s is not the name of a folder beside it", mmi_json_name(d->modules), folder);
    inner = mmi_file_join(ctx, folder, "config.json");
    path = inner ? mmi_file_join(ctx, d->path, inner) : NULL;
    st = path ? mmi_json_read(ctx, path, MMI_HF_MAX_CONFIG, &d->pooling) : MM_E_NOMEM;
    mmi_free(path);
    mmi_free(inner);
    return st;
}

static mm_status open_weights(mm_context *ctx, mmi_hf_directory *d)
{
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json"};
    static const char *const unread[] = {"pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack"};
    int found = 0;
    mm_status st = MM_OK;

    for (size_t i = 0; i < sizeof names / sizeof *names && !found && !st; i++) {
        char *path = mmi_file_join(ctx, d->path, names[i]);
        if (!path) return MM_E_NOMEM;
        found = mmi_file_exists(path);
        if (found) st = mmi_safetensors_open(ctx, path, &d->weights);
        mmi_free(path);
    }
    if (found) return st;
    for (size_t i = 0; i < sizeof unread / sizeof *unread && !found; i++) {
        char *path = mmi_file_join(ctx, d->path, unread[i]);
        if (!path) return MM_E_NOMEM;
        found = mmi_file_exists(path);
        mmi_free(path);
        if (found)
            return mmi_fail(ctx, MM_E_UNSUPPORTED,
                            "%s has its weights in %s, which is not read (a pickle can run code); save them as model.safetensors",
                            d->path, unread[i]);
    }
    return mmi_fail(ctx, MM_E_NOT_FOUND, "%s has neither model.safetensors nor model.safetensors.index.json", d->path);
}

static mm_status read_documents(mm_context *ctx, mmi_hf_directory *d)
{
    const struct {
        const char *name;
        size_t most;
        mmi_json **out;
    } documents[] = {
        {"config.json", MMI_HF_MAX_CONFIG, &d->config}, /* the first, which says whether this is a model's directory at all */
        {"generation_config.json", MMI_HF_MAX_CONFIG, &d->generation_config},
        {"tokenizer.json", MMI_HF_MAX_TOKENIZER, &d->tokenizer},
        {"tokenizer_config.json", MMI_HF_MAX_CONFIG, &d->tokenizer_config},
        {"preprocessor_config.json", MMI_HF_MAX_CONFIG, &d->preprocessor_config},
        {"video_preprocessor_config.json", MMI_HF_MAX_CONFIG, &d->video_preprocessor_config},
        {"processor_config.json", MMI_HF_MAX_CONFIG, &d->processor_config},
        {"chat_template.json", MMI_HF_MAX_CONFIG, &d->chat_template_json},
        {"modules.json", MMI_HF_MAX_CONFIG, &d->modules},
    };

    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        mm_status st = read_document(ctx, d->path, documents[i].name, documents[i].most, documents[i].out);
        if (st) return st;
        if (!d->config) return mmi_fail(ctx, MM_E_NOT_FOUND, "%s has no config.json, so it is no model directory", d->path);
    }
    return MM_OK;
}

static mm_status read_directory(mm_context *ctx, const char *path, int weights, mmi_hf_directory **out)
{
    mmi_hf_directory *d = NULL;
    mm_status st = MM_OK;

    *out = NULL;
    d = mmi_zalloc(ctx, sizeof *d);
    if (!d) return MM_E_NOMEM;
    d->path = mmi_strdup(ctx, path);
    if (!d->path) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    st = read_documents(ctx, d);
    if (!st) st = read_chat_template(ctx, d);
    if (!st) st = read_pooling(ctx, d);
    if (!st && weights) st = open_weights(ctx, d);
    if (st) goto cleanup;
    *out = d;
    d = NULL;
cleanup:
    mmi_hf_directory_destroy(d);
    return st;
}

mm_status mmi_hf_directory_open(mm_context *ctx, const char *path, mmi_hf_directory **out) { return read_directory(ctx, path, 1, out); }
mm_status mmi_hf_directory_read(mm_context *ctx, const char *path, mmi_hf_directory **out) { return read_directory(ctx, path, 0, out); }

void mmi_hf_directory_destroy(mmi_hf_directory *d)
{
    if (!d) return;
    mmi_json_destroy(d->config);
    mmi_json_destroy(d->generation_config);
    mmi_json_destroy(d->tokenizer);
    mmi_json_destroy(d->tokenizer_config);
    mmi_json_destroy(d->preprocessor_config);
    mmi_json_destroy(d->video_preprocessor_config);
    mmi_json_destroy(d->processor_config);
    mmi_json_destroy(d->chat_template_json);
    mmi_json_destroy(d->modules);
    mmi_json_destroy(d->pooling);
    mmi_free(d->chat_template);
    mmi_safetensors_destroy(d->weights);
    mmi_free(d->path);
    mmi_free(d);
}

/* Copy from/name to to/name, where it is there. */
static mm_status copy_file(mm_context *ctx, const char *from, const char *to, const char *name)
{
    char *source = mmi_file_join(ctx, from, name), *target = mmi_file_join(ctx, to, name), *data = NULL;
    size_t size = 0;
    mm_status st = source && target ? MM_OK : MM_E_NOMEM;

    if (!st && mmi_file_exists(source)) {
        st = mmi_file_read(ctx, source, MMI_HF_MAX_TOKENIZER, &data, &size);
        if (!st) st = mmi_file_write(ctx, target, &(mmi_file_piece){data, size}, 1);
    }
    mmi_free(data);
    mmi_free(target);
    mmi_free(source);
    return st;
}

/* modules.json and the configuration of its pooling step. */
static mm_status copy_pooling(mm_context *ctx, const char *from, const char *to)
{
    mmi_json *modules = NULL;
    const char *folder;
    char *inner_from = NULL, *inner_to = NULL;
    mm_status st = read_document(ctx, from, "modules.json", MMI_HF_MAX_CONFIG, &modules);

    if (st || !modules) return st;
    folder = mmi_json_string(mmi_json_get(find_pooling(modules), "path"));
    st = copy_file(ctx, from, to, "modules.json");
    if (!st && folder && mmi_file_name_is_plain(folder)) {
        inner_from = mmi_file_join(ctx, from, folder);
        inner_to = mmi_file_join(ctx, to, folder);
        st = inner_from && inner_to ? mmi_file_make_directory(ctx, inner_to) : MM_E_NOMEM;
        if (!st) st = copy_file(ctx, inner_from, inner_to, "config.json");
    }
    mmi_free(inner_to);
    mmi_free(inner_from);
    mmi_json_destroy(modules);
    return st;
}

mm_status mmi_hf_directory_copy(mm_context *ctx, const char *from, const char *to)
{
    static const char *const names[] = {
        "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
        "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "normalizer.json", "chat_template.jinja", "chat_template.json",
        "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json", "sentence_bert_config.json",
        "config_sentence_transformers.json",
    };
    mm_status st = MM_OK;

    for (size_t i = 0; i < sizeof names / sizeof *names && !st; i++) st = copy_file(ctx, from, to, names[i]);
    return st ? st : copy_pooling(ctx, from, to);
}
