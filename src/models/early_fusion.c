/* SPDX-License-Identifier: MIT */
#include "early_fusion.h"

#include <string.h>

#include "shape_ops.h"

void mmi_fusion_decode(mmi_io *io, size_t part, const mmi_fused *media, size_t count)
{
    static const char *const embeddings[] = {"inputs_embeds", NULL};
    mmi_value ids = mmi_io_input(io, "input_ids"), x;
    mmi_io text;
    int asked = 0;

    for (size_t i = 0; i < count; i++) {
        if (!mmi_io_asked(io, media[i].name)) continue;
        if (!media[i].features) mmi_graph_fail(io->g, MM_E_ARGUMENT, "%s of nothing: their input is missing", media[i].name);
        mmi_io_output(io, media[i].name, media[i].features);
        asked = 1;
    }
    if (asked && !ids) return;
    ids = mmi_io_require(io, "input_ids", MM_DTYPE_I32, 2);
    mmi_io_part(&text, io, part, embeddings);
    mmi_io_give(&text, "input_ids", ids);
    mmi_io_build(&text);
    x = mmi_io_find_output(&text, "inputs_embeds");
    for (size_t i = 0; i < count; i++)
        if (media[i].features) x = mmi_merge_rows(io->g, x, ids, media[i].token, media[i].features, media[i].name);
    mmi_io_part(&text, io, part, io->wanted);
    mmi_io_give(&text, "inputs_embeds", x);
    mmi_io_give(&text, "position_ids", mmi_io_input(io, "position_ids"));
    mmi_io_give(&text, "attention_mask", mmi_io_input(io, "attention_mask"));
    if (io->model->info.prefix) mmi_io_give(&text, "token_type_ids", mmi_io_input(io, "token_type_ids"));
    mmi_io_build(&text);
    mmi_io_pass(io, &text);
}

void mmi_fusion_decode_images(mmi_io *io, size_t text, mmi_value (*see)(mmi_io *io))
{
    mmi_fused image = {io->model->info.image_token, "image_features", mmi_io_optional(io, "image_features", MM_DTYPE_F32, 2)};
    const mmi_value_info *v;

    if (!image.features) image.features = see(io);
    if (image.features) {
        v = mmi_graph_look(io->g, image.features);
        if (v->rank == 3) image.features = mmi_reshape(io->g, image.features, 2, (int64_t[]){v->shape[0] * v->shape[1], v->shape[2]});
    }
    mmi_fusion_decode(io, text, &image, 1);
}

mm_status mmi_fusion_describe(mm_context *ctx, mm_model *m, const mmi_json *doc, size_t vision, size_t text)
{
    const mmi_model_info *see = &m->parts[vision]->info, *say = &m->parts[text]->info;

    if (!see->sees || !say->generates || say->cross.layers)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: %s and %s are not a tower that sees and a decoder of text alone", mmi_json_name(doc),
                        m->parts[vision]->class_name, m->parts[text]->class_name);
    mmi_fusion_join(m, vision, text);
    return MM_OK;
}

void mmi_fusion_join(mm_model *m, size_t vision, size_t text)
{
    const mmi_model_info *see = &m->parts[vision]->info;
    mmi_model_info *info = &m->info;

    *info = m->parts[text]->info;
    info->features = 0;
    info->fusion = MMI_FUSION_TOKENS;
    info->image_token = info->video_token = -1;
    info->sees = 1;
    memcpy(info->image_size, see->image_size, sizeof info->image_size);
    info->patch = see->patch;
    info->channels = see->channels;
}

mm_status mmi_fusion_token(mm_context *ctx, const mm_model *m, const mmi_json *doc, const char *const *keys, int64_t absent, int32_t *out)
{
    const mmi_json_node *root = mmi_json_root(doc);
    int64_t id = absent;
    mm_status st = MM_OK;

    while (keys[1] && mmi_json_kind_of(mmi_json_get(root, keys[0])) != MMI_JSON_NUMBER) keys++;
    st = mmi_json_i64(ctx, doc, root, keys[0], 0, 0, INT32_MAX, &id);
    if (!st && id >= m->info.vocabulary + m->info.unpredicted)
        st = mmi_fail(ctx, MM_E_FORMAT, "%s: %s %lld is outside the vocabulary of %lld", mmi_json_name(doc), keys[0], (long long)id,
                      (long long)(m->info.vocabulary + m->info.unpredicted));
    *out = (int32_t)id;
    return st;
}

mm_status mmi_fusion_repeat(mm_context *ctx, const char *token, size_t count, mmi_text *out)
{
    size_t n = strlen(token);

    for (size_t i = 0; i < count; i++)
        if (mmi_text_append(ctx, out, token, n)) return MM_E_NOMEM;
    return MM_OK;
}

/* The first mark in the text; NULL: none. */
static const char *find_mark(const char *text, const mmi_fusion_mark *marks, size_t n, size_t *which)
{
    const char *first = NULL;

    for (size_t i = 0; i < n; i++) {
        const char *at = strstr(text, marks[i].mark);
        if (at && (!first || at < first)) {
            first = at;
            *which = i;
        }
    }
    return first;
}

/* The medium of this modality that comes next, from *next on. */
static const mmi_medium *take(const mmi_medium *media, size_t count, mmi_modality modality, size_t *next)
{
    while (*next < count && media[*next].modality != modality) ++*next;
    return *next < count ? &media[(*next)++] : NULL;
}

static mm_status write_medium(mm_context *ctx, const mm_model *m, const mmi_fusion_mark *mark, const mmi_medium *medium, mmi_text *out)
{
    return mark->write ? mark->write(ctx, m, medium, out) : mmi_fusion_repeat(ctx, mark->mark, medium->tokens, out);
}

enum { MAX_MARKS = 2 };

mm_status mmi_fusion_write(mm_context *ctx, const mm_model *m, const char *text, const mmi_medium *media, size_t count,
                           const mmi_fusion_mark *marks, size_t n_marks, mmi_text *out)
{
    size_t have[MAX_MARKS] = {0}, placed[MAX_MARKS] = {0}, next[MAX_MARKS] = {0}, which = 0;
    const char *rest = text, *at;

    for (size_t i = 0; i < n_marks; i++) {
        for (size_t k = 0; k < count; k++) have[i] += media[k].modality == marks[i].modality;
        for (at = strstr(text, marks[i].mark); at; at = strstr(at + strlen(marks[i].mark), marks[i].mark)) placed[i]++;
        if (placed[i] > have[i])
            return mmi_fail(ctx, MM_E_ARGUMENT, "the prompt has %zu places for %s, but there are %zu of them", placed[i], marks[i].mark, have[i]);
    }
    for (size_t i = 0; i < n_marks; i++)
        for (size_t k = placed[i]; k < have[i]; k++) {
            mm_status st;
            if (mmi_text_append(ctx, out, marks[i].before, strlen(marks[i].before))) return MM_E_NOMEM;
            if ((st = write_medium(ctx, m, &marks[i], take(media, count, marks[i].modality, &next[i]), out))) return st;
            if (mmi_text_append(ctx, out, marks[i].after, strlen(marks[i].after))) return MM_E_NOMEM;
        }
    while ((at = find_mark(rest, marks, n_marks, &which))) {
        mm_status st;
        if (mmi_text_append(ctx, out, rest, (size_t)(at - rest))) return MM_E_NOMEM;
        if ((st = write_medium(ctx, m, &marks[which], take(media, count, marks[which].modality, &next[which]), out))) return st;
        rest = at + strlen(marks[which].mark);
    }
    return mmi_text_append(ctx, out, rest, strlen(rest)) ? MM_E_NOMEM : MM_OK;
}
