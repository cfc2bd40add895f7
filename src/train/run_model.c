/* SPDX-License-Identifier: MIT */
#include "run_model.h"

#include <string.h>

#include "file.h"
#include "hf_directory.h"
#include "run_tokenizer.h"

#define TRY(call) \
    do { \
        const mm_status tried = (call); \
        if (tried) return tried; \
    } while (0)

static mm_status write_file(mm_context *ctx, const char *directory, const char *name, const char *data, size_t size)
{
    const mmi_file_piece piece = {data, size};
    char *path = mmi_file_join(ctx, directory, name);
    mm_status st = path ? mmi_file_write(ctx, path, &piece, 1) : MM_E_NOMEM;

    mmi_free(path);
    return st;
}

static mm_status write_json(mm_context *ctx, const char *directory, const char *name, const mmi_json_node *node)
{
    mmi_text text = {0};
    mm_status st = mmi_json_write(ctx, &text, node) || mmi_text_append(ctx, &text, "\n", 1) ? MM_E_NOMEM : write_file(ctx, directory, name, text.data, text.size);

    mmi_text_clear(&text);
    return st;
}

static mm_status take_tokenizer(mm_context *ctx, const mmi_train_config *c)
{
    char *data = NULL;
    size_t size = 0;
    mm_status st;

    if (c->tokenizer_options) return mmi_run_tokenizer_train(ctx, c, c->output);
    if (!c->tokenizer) return MM_OK;
    if (mmi_file_is_directory(c->tokenizer)) return mmi_hf_directory_copy(ctx, c->tokenizer, c->output);
    st = mmi_file_read(ctx, c->tokenizer, MMI_HF_MAX_TOKENIZER, &data, &size);
    if (!st) st = write_file(ctx, c->output, "tokenizer.json", data, size);
    mmi_free(data);
    return st;
}

/* Towers take pictures of any size, so that a new model would learn from such as it is not meant for. A trained one may be given others. */
static mm_status check_processor(mm_context *ctx, const mmi_train_config *c, const mm_model *m)
{
    const mmi_image_processor *p = &m->processor;
    const int64_t *size = m->info.image_size, height = (int64_t)(p->do_center_crop ? p->crop_height : p->height),
                  width = (int64_t)(p->do_center_crop ? p->crop_width : p->width);
    const int fixed = p->do_center_crop || (p->do_resize && p->size_rule == MMI_SIZE_EXACT);

    for (size_t i = 0; i < m->arch->n_parts; i++)
        if (m->parts[i] && m->parts[i]->borrowed && m->parts[i]->info.sees) return MM_OK;
    if (!c->processor || !m->has_processor || p->layout != MMI_LAYOUT_PLANES || !size[0] || !fixed || (height == size[0] && width == size[1])) return MM_OK;
    return mmi_fail(ctx, MM_E_FORMAT, "%s: the processor makes pictures of %lld x %lld (%s), but the model's image_size is %lld x %lld", mmi_json_name(c->doc),
                    (long long)height, (long long)width, p->do_center_crop ? "crop_size" : "size", (long long)size[0], (long long)size[1]);
}

mm_status mmi_run_model_open(mm_context *ctx, const mmi_train_config *c, mm_model **out)
{
    mm_status st;

    if (c->from) return mmi_model_open_trainable(ctx, c->from, out);
    *out = NULL;
    TRY(mmi_file_make_directory(ctx, c->output));
    TRY(write_json(ctx, c->output, "config.json", c->model_config));
    TRY(take_tokenizer(ctx, c));
    if (c->chat_template) TRY(write_file(ctx, c->output, "chat_template.jinja", c->chat_template, strlen(c->chat_template)));
    if (c->processor) TRY(write_json(ctx, c->output, "preprocessor_config.json", c->processor));
    TRY(mmi_model_create_in(ctx, c->output, c->weights, (int64_t)c->seed, out));
    st = check_processor(ctx, c, *out);
    if (!st) return MM_OK;
    mmi_model_release(*out);
    *out = NULL;
    return st;
}

mm_status mmi_run_model_other(mm_context *ctx, const mmi_train_config *c, const mmi_train_task *t, mm_model **out)
{
    const char *path = t->other ? t->other : c->from;

    *out = NULL;
    if (t->objective.kind != MMI_OBJECTIVE_DISTILLATION && t->objective.kind != MMI_OBJECTIVE_DPO) return MM_OK;
    if (!path) return mmi_fail(ctx, MM_E_ARGUMENT, "task %s: a \"reference\" is needed where the model is a new one", t->name);
    return mmi_model_open(ctx, path, out);
}
