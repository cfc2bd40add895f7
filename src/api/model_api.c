/* include/mm_model.h. SPDX-License-Identifier: MIT */
#include "mm_model.h"

#include <string.h>
#include <time.h>

#include "adapter_file.h"
#include "chat_template.h"
#include "embedding.h"
#include "explanation.h"
#include "forward.h"
#include "media.h"
#include "model.h"
#include "model_save.h"

/* Both the context and the pointers of a call; `out` is emptied first. */
#define CHECK(ctx, out, condition, text)                                                       \
    do {                                                                                       \
        if (out) *(out) = NULL;                                                                \
        if (!(ctx)) return MM_E_ARGUMENT;                                                      \
        if (!(out) || !(condition)) return mmi_fail((ctx), MM_E_ARGUMENT, "%s is NULL", text); \
    } while (0)

mm_status mm_model_open(mm_context *ctx, const char *path, mm_model **out)
{
    CHECK(ctx, out, path, "path or out");
    return mmi_model_open(ctx, path, out);
}

mm_status mm_model_open_pair(mm_context *ctx, const char *text_path, const char *projector_path, mm_model **out)
{
    CHECK(ctx, out, text_path && projector_path, "text_path, projector_path or out");
    return mmi_model_open_pair(ctx, text_path, projector_path, out);
}

mm_status mm_model_open_quantized(mm_context *ctx, const char *path, const char *projector_path, int32_t dtype, mm_model **out)
{
    CHECK(ctx, out, path, "path or out");
    return mmi_model_open_quantized(ctx, path, projector_path, dtype, out);
}

mm_status mm_model_adapt(mm_context *ctx, mm_model *base, const char *directory, double scale, mm_model **out)
{
    CHECK(ctx, out, base && directory, "base, directory or out");
    return mmi_adapter_open(ctx, base, directory, scale, out);
}

mm_status mm_model_merge_adapter(mm_context *ctx, const mm_model *adapted, mm_model **out)
{
    CHECK(ctx, out, adapted, "adapted or out");
    return mmi_adapter_merge(ctx, adapted, out);
}

mm_status mm_model_save_adapter(const mm_model *adapted, mm_context *ctx, const char *directory)
{
    if (!ctx) return MM_E_ARGUMENT;
    if (!adapted || !directory) return mmi_fail(ctx, MM_E_ARGUMENT, "adapted or directory is NULL");
    return mmi_adapter_save(ctx, adapted, directory);
}

mm_status mm_model_create(mm_context *ctx, const char *config_json, int64_t seed, mm_model **out)
{
    CHECK(ctx, out, config_json, "config_json or out");
    return mmi_model_create(ctx, config_json, seed, out);
}

mm_status mm_model_save(const mm_model *m, mm_context *ctx, const char *directory, int32_t dtype) { return mm_model_save_as(m, ctx, directory, dtype, NULL); }

mm_status mm_model_save_as(const mm_model *m, mm_context *ctx, const char *directory, int32_t dtype, const char *class_name)
{
    if (!ctx) return MM_E_ARGUMENT;
    if (!m || !directory) return mmi_fail(ctx, MM_E_ARGUMENT, "model or directory is NULL");
    return mmi_model_save(ctx, m, directory, dtype, class_name);
}

void mm_model_retain(mm_model *m)
{
    if (m) mmi_model_retain(m);
}

void mm_model_release(mm_model *m) { mmi_model_release(m); }

mm_status mm_model_get_i64(const mm_model *m, int32_t fact, int64_t *out)
{
    if (!m || !out) return MM_E_ARGUMENT;
    switch (fact) {
    case MM_MODEL_PARAMETERS: *out = (int64_t)mmi_model_parameters(m); return MM_OK;
    case MM_MODEL_WEIGHT_BYTES: *out = (int64_t)mmi_model_weight_bytes(m); return MM_OK;
    case MM_MODEL_LAYERS: *out = m->info.layers; return MM_OK;
    case MM_MODEL_HIDDEN_SIZE: *out = m->info.hidden; return MM_OK;
    case MM_MODEL_VOCABULARY: *out = m->info.vocabulary; return MM_OK;
    case MM_MODEL_CONTEXT: *out = m->info.context; return MM_OK;
    case MM_MODEL_GENERATES: *out = m->info.generates; return MM_OK;
    case MM_MODEL_HEARS: *out = m->info.hears; return MM_OK;
    case MM_MODEL_WATCHES: *out = m->arch->video_processor != NULL; return MM_OK;
    case MM_MODEL_SEES: *out = m->info.sees; return MM_OK;
    case MM_MODEL_LABELS: *out = (int64_t)m->n_labels; return MM_OK;
    case MM_MODEL_IMAGE_HEIGHT: *out = m->info.sees ? m->info.image_size[0] : 0; return MM_OK;
    case MM_MODEL_IMAGE_WIDTH: *out = m->info.sees ? m->info.image_size[1] : 0; return MM_OK;
    case MM_MODEL_KV_TOKEN_BYTES: *out = m->info.generates ? (int64_t)mmi_kv_cache_token_bytes(&m->info.kv) : 0; return MM_OK;
    default: return MM_E_ARGUMENT;
    }
}

const char *mm_model_get_str(const mm_model *m, int32_t fact)
{
    if (!m) return NULL;
    switch (fact) {
    case MM_MODEL_ARCHITECTURE: return m->arch->name;
    case MM_MODEL_CLASS: return m->class_name;
    case MM_MODEL_FORMAT: return m->format;
    case MM_MODEL_DTYPES: return m->dtypes;
    case MM_MODEL_TOKENIZER: return m->tokenizer ? mmi_tokenizer_kind(m->tokenizer) : NULL;
    case MM_MODEL_PARTS: return m->part_names;
    case MM_MODEL_HEADS: return m->head_names;
    case MM_MODEL_ADAPTER: return m->adapter ? m->adapter->description : NULL;
    case MM_MODEL_POOLING: return m->pooling == MMI_POOL_MEAN && !m->info.sees ? "mean" : "first";
    default: return NULL;
    }
}

const char *mm_model_label(const mm_model *m, size_t index) { return m && m->labels && index < m->n_labels ? m->labels[index] : NULL; }

mm_tokenizer *mm_model_tokenizer(const mm_model *m) { return m ? m->tokenizer : NULL; }

mm_status mm_model_forward(const mm_model *m, mm_context *ctx, const mm_tensor_map *inputs, mm_tensor_map **outputs)
{
    CHECK(ctx, outputs, m && inputs, "model, inputs or outputs");
    return mmi_forward(ctx, m, inputs, NULL, outputs);
}

mm_status mm_model_preprocess_image(const mm_model *m, mm_context *ctx, const mm_image *image, mm_tensor **out)
{
    CHECK(ctx, out, m && image, "model, image or out");
    return mmi_prepare_image(ctx, m, image, out);
}

mm_status mm_model_embed_texts(const mm_model *m, mm_context *ctx, const char *const *texts, size_t count, int32_t normalize, mm_tensor **out)
{
    CHECK(ctx, out, m && (texts || !count), "model, texts or out");
    for (size_t i = 0; i < count; i++)
        if (!texts[i]) return mmi_fail(ctx, MM_E_ARGUMENT, "text %zu is NULL", i);
    return mmi_embed_texts(ctx, m, texts, count, normalize, out);
}

mm_status mm_model_embed_images(const mm_model *m, mm_context *ctx, const mm_image *const *images, size_t count, int32_t normalize, mm_tensor **out)
{
    CHECK(ctx, out, m && (images || !count), "model, images or out");
    for (size_t i = 0; i < count; i++)
        if (!images[i]) return mmi_fail(ctx, MM_E_ARGUMENT, "image %zu is NULL", i);
    return mmi_embed_images(ctx, m, images, count, normalize, out);
}

mm_status mm_model_classify_image(const mm_model *m, mm_context *ctx, const mm_image *image, mm_tensor **out)
{
    CHECK(ctx, out, m && image, "model, image or out");
    return mmi_classify_image(ctx, m, image, out);
}

mm_status mm_model_explain_image(const mm_model *m, mm_context *ctx, const mm_image *image, mm_tensor **out)
{
    CHECK(ctx, out, m && image, "model, image or out");
    return mmi_explain_image(ctx, m, image, out);
}

mm_status mm_model_classify_text(const mm_model *m, mm_context *ctx, const char *text, mm_tensor **out)
{
    CHECK(ctx, out, m && text, "model, text or out");
    return mmi_classify_text(ctx, m, text, out);
}

mm_status mm_model_classify_labels(const mm_model *m, mm_context *ctx, const mm_image *image, const char *const *labels, size_t count,
                                   const char *label_template, mm_tensor **out)
{
    CHECK(ctx, out, m && image && labels, "model, image, labels or out");
    if (!count) return mmi_fail(ctx, MM_E_ARGUMENT, "no labels");
    for (size_t i = 0; i < count; i++)
        if (!labels[i]) return mmi_fail(ctx, MM_E_ARGUMENT, "label %zu is NULL", i);
    return mmi_classify_labels(ctx, m, image, labels, count, label_template, out);
}

mm_status mm_model_preprocess_images(const mm_model *m, mm_context *ctx, const mm_image *const *images, size_t count, mm_tensor_map **out)
{
    CHECK(ctx, out, m && images && count, "model, images, count or out");
    for (size_t i = 0; i < count; i++)
        if (!images[i]) return mmi_fail(ctx, MM_E_ARGUMENT, "image %zu is NULL", i);
    return mmi_media_images(ctx, m, images, count, out, NULL);
}

/* The tensors alone of a medium. */
static mm_status take_inputs(mm_status st, mmi_medium *medium, mm_tensor_map **out)
{
    if (!st) {
        *out = medium->inputs;
        medium->inputs = NULL;
    }
    mmi_medium_clear(medium);
    return st;
}

mm_status mm_model_preprocess_video(const mm_model *m, mm_context *ctx, const mm_video *video, mm_tensor_map **out)
{
    mmi_medium medium = {0};
    CHECK(ctx, out, m && video, "model, video or out");
    return take_inputs(mmi_media_video(ctx, m, video, &medium), &medium, out);
}

mm_status mm_model_preprocess_audio(const mm_model *m, mm_context *ctx, const mm_audio *audio, mm_tensor_map **out)
{
    mmi_medium medium = {0};
    CHECK(ctx, out, m && audio, "model, audio or out");
    return take_inputs(mmi_media_audio(ctx, m, audio, &medium), &medium, out);
}

/* The parts of a message: its media, then its text. */
static mm_status split_media(mm_context *ctx, const char *kinds, const char *text, mmi_chat_message *message)
{
    static const char *const known[] = {"image", "video", "audio"};
    mmi_chat_part *parts = mmi_zalloc_array(ctx, strlen(kinds) + 2, sizeof *parts);
    size_t n = 0;

    if (!parts) return MM_E_NOMEM;
    message->parts = parts;
    while (*kinds) {
        size_t length = strcspn(kinds, " "), k = 0;
        while (k < 3 && (strlen(known[k]) != length || memcmp(known[k], kinds, length))) k++;
        if (k == 3) return mmi_fail(ctx, MM_E_ARGUMENT, "\"%.40s\" is no kind of medium: image, video and audio are", kinds);
        parts[n++].type = known[k];
        kinds += length + (kinds[length] == ' ');
    }
    if (*text) parts[n++] = (mmi_chat_part){"text", text};
    message->part_count = n;
    return MM_OK;
}

static mm_status render(mm_context *ctx, const mm_model *m, const mmi_chat_message *messages, size_t count, int open_reply, mmi_text *out)
{
    mmi_chat_options options = {0};

    options.add_generation_prompt = open_reply;
    options.bos_token = m->bos_text;
    options.eos_token = m->eos_text;
    options.now = (int64_t)time(NULL);
    return mmi_chat_template_render(ctx, m->chat_template, messages, count, &options, out);
}

mm_status mm_model_apply_chat_template_media(const mm_model *m, mm_context *ctx, const char *const *roles, const char *const *contents,
                                             const char *const *media, size_t count, int32_t open_reply, char **out)
{
    mmi_chat_message *messages;
    mmi_text text = {0};
    int parts = 0;
    mm_status st = MM_OK;

    CHECK(ctx, out, m && ((roles && contents) || !count), "model, roles, contents or out");
    for (size_t i = 0; i < count; i++)
        if (!roles[i] || !contents[i]) return mmi_fail(ctx, MM_E_ARGUMENT, "the role or content of message %zu is NULL", i);
    if (!m->chat_template) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s has no chat template; a prompt can be continued as it is", m->path);
    messages = mmi_zalloc_array(ctx, count, sizeof *messages);
    if (!messages) return MM_E_NOMEM;
    for (size_t i = 0; i < count; i++) parts |= media && media[i] && *media[i];
    parts |= m->info.fusion != MMI_FUSION_NONE; /* its template may read lists alone */
    for (size_t i = 0; i < count && !st; i++) {
        messages[i].role = roles[i];
        if (parts) {
            st = split_media(ctx, media && media[i] ? media[i] : "", contents[i], &messages[i]);
        } else {
            messages[i].content = contents[i];
        }
    }
    if (!st) st = render(ctx, m, messages, count, open_reply != 0, &text);
    for (size_t i = 0; i < count; i++) mmi_free((void *)(uintptr_t)messages[i].parts);
    if (st == MM_E_FORMAT && parts) { /* it may know texts alone */
        memset(messages, 0, count * sizeof *messages);
        for (size_t i = 0; i < count; i++) messages[i] = (mmi_chat_message){.role = roles[i], .content = contents[i]};
        st = render(ctx, m, messages, count, open_reply != 0, &text);
    }
    if (!st && !text.data && mmi_text_append(ctx, &text, "", 0)) st = MM_E_NOMEM; /* an empty text is a text */
    mmi_free(messages);
    if (st) {
        mmi_text_clear(&text);
        return st;
    }
    *out = text.data;
    return MM_OK;
}

mm_status mm_model_apply_chat_template(const mm_model *m, mm_context *ctx, const char *const *roles, const char *const *contents, size_t count,
                                       int32_t open_reply, char **out)
{
    return mm_model_apply_chat_template_media(m, ctx, roles, contents, NULL, count, open_reply, out);
}
