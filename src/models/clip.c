/* Late fusion: a vision tower and a text tower whose vectors lie in one space, where a picture's cosine with a text is their score.
 * CLIP (Radford et al. 2021, arXiv:2103.00020) projects both and chooses among the texts; SigLIP (Zhai et al. 2023, arXiv:2303.15343) and
 * SigLIP 2 (Tschannen et al. 2025, arXiv:2502.14786) pool into the space and judge each pair by itself. A dual encoder is CLIP with any towers
 * that pool themselves. From a Hugging Face directory.
 * SPDX-License-Identifier: MIT */
#include "clip.h"

#include "contrast_ops.h"
#include "io.h"
#include "linear_op.h"
#include "row_ops.h"

enum { VISION, TEXT }; /* parts */

enum { PROJECTED = 1, BIASED = 2 };

enum { SCALE, BIAS, VISION_PROJECTION, TEXT_PROJECTION };

/* V and T hidden sizes of the towers, E width of the common space */
static const mmi_weight_row rows[] = {
    {SCALE, "logit_scale", NULL, ">1", PROJECTED, MMI_ROW_TABLE},
    {SCALE, "logit_scale", NULL, "1", BIASED, MMI_ROW_TABLE},
    {BIAS, "logit_bias", NULL, "1", BIASED, MMI_ROW_TABLE},
    {VISION_PROJECTION, "visual_projection.weight", NULL, "E,V", PROJECTED, 0},
    {TEXT_PROJECTION, "text_projection.weight", NULL, "E,T", PROJECTED, 0},
};

static int64_t dimension(const mm_model *m, char letter)
{
    switch (letter) {
    case 'V': return m->parts[VISION]->info.hidden;
    case 'T': return m->parts[TEXT]->info.hidden;
    case 'E': return m->info.embedding;
    default: return -1;
    }
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_model_info *vision = &m->parts[VISION]->info, *text = &m->parts[TEXT]->info;
    mmi_model_info *info = &m->info;

    if (!text->vocabulary || !vision->sees || (m->arch != &mmi_dual_encoder && (!vision->image_output || !text->text_output)))
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: towers %s and %s do not give vectors of a picture and a text", mmi_json_name(doc),
                        m->parts[VISION]->class_name, m->parts[TEXT]->class_name);
    info->layers = vision->layers + text->layers;
    info->vocabulary = text->vocabulary;
    info->context = text->context;
    info->pads_text = text->pads_text;
    info->pad_token = text->pad_token;
    info->sees = 1;
    info->compares = 1;
    info->image_size[0] = vision->image_size[0];
    info->image_size[1] = vision->image_size[1];
    info->patch = vision->patch;
    info->channels = vision->channels;
    info->text_output = "text_features";
    info->image_output = "image_features";
    info->embedding = vision->embedding;
    if (m->arch == &mmi_clip || m->arch == &mmi_dual_encoder) {
        mm_status st;
        info->embedding = 512;
        if ((st = mmi_json_i64(ctx, doc, mmi_json_root(doc), "projection_dim", 0, 1, 1 << 17, &info->embedding))) return st;
        info->features = PROJECTED;
    } else {
        if (vision->embedding != text->embedding)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: the towers give vectors of %lld and %lld, which have no cosine", mmi_json_name(doc),
                            (long long)vision->embedding, (long long)text->embedding);
        info->features = BIASED;
        info->comparison = MMI_JUDGE_EACH;
    }
    info->hidden = info->embedding;
    return MM_OK;
}

static mm_status prepare(mm_context *ctx, mm_model *m)
{
    const mmi_weight *bias = mmi_model_weight(m, BIAS, -1);

    (void)ctx;
    mmi_weight_read_row(mmi_model_weight(m, SCALE, -1), 0, &m->info.score_scale);
    if (bias) mmi_weight_read_row(bias, 0, &m->info.score_bias);
    return MM_OK;
}

/* The vector of a tower: its inputs are those of the whole by these names. */
static mmi_value tower(mmi_io *io, size_t index, const char *const *inputs, int projection)
{
    static const char *const wanted[] = {"pooler_output", NULL};
    mmi_value w = mmi_io_weight(io, projection, -1), x;
    mmi_io part;

    mmi_io_part(&part, io, index, wanted);
    for (; *inputs; inputs++) mmi_io_give(&part, *inputs, mmi_io_input(io, *inputs));
    mmi_io_build(&part);
    x = mmi_io_find_output(&part, "pooler_output");
    if (!x) return mmi_graph_fail(io->g, MM_E_UNSUPPORTED, "%s gives no pooler_output", part.model->class_name);
    return w ? mmi_linear(io->g, x, w, 0, MMI_ACT_NONE) : x;
}

/* pixel_values (SigLIP 2: and spatial_shapes, pixel_attention_mask) of I pictures -> image_embeds [I, E]; input_ids, attention_mask [N, T]
 * -> text_embeds [N, E], all of unit length; with both logits_per_image [I, N], logits_per_text [N, I]. By name alone: image_features,
 * text_features, the same vectors before they are normalized. */
static void build(mmi_io *io)
{
    static const char *const picture[] = {"pixel_values", "spatial_shapes", "pixel_attention_mask", NULL},
                             *const words[] = {"input_ids", "attention_mask", "position_ids", NULL};
    mmi_value image = 0, text = 0, scale = mmi_io_weight(io, SCALE, -1), bias = mmi_io_weight(io, BIAS, -1);

    if (mmi_io_input(io, "pixel_values")) image = tower(io, VISION, picture, VISION_PROJECTION);
    if (mmi_io_input(io, "input_ids")) text = tower(io, TEXT, words, TEXT_PROJECTION);
    if (!image && !text) {
        mmi_graph_fail(io->g, MM_E_ARGUMENT, "inputs pixel_values and input_ids are missing");
        return;
    }
    if (image) {
        if (mmi_io_asked(io, "image_features")) mmi_io_output(io, "image_features", image);
        image = mmi_l2_normalize(io->g, image);
        mmi_io_output(io, "image_embeds", image);
    }
    if (text) {
        if (mmi_io_asked(io, "text_features")) mmi_io_output(io, "text_features", text);
        text = mmi_l2_normalize(io->g, text);
        mmi_io_output(io, "text_embeds", text);
    }
    if (!image || !text) return;
    if (mmi_io_wants(io, "logits_per_image")) mmi_io_output(io, "logits_per_image", mmi_similarity(io->g, image, text, scale, bias));
    if (mmi_io_wants(io, "logits_per_text")) mmi_io_output(io, "logits_per_text", mmi_similarity(io->g, text, image, scale, bias));
}

static const char *const classes[] = {"CLIPModel", NULL}, *const siglip_classes[] = {"SiglipModel", NULL},
                         *const siglip2_classes[] = {"Siglip2Model", NULL}, *const dual_classes[] = {"VisionTextDualEncoderModel", NULL};
static const char *const prefixes[] = {"", NULL}, *const vision_prefixes[] = {"vision_model.", NULL}, *const text_prefixes[] = {"text_model.", NULL};

static const mmi_part_row parts[] = {{"vision_config", "clip_vision_model", MMI_ROLE_ENCODER, vision_prefixes, 0, NULL},
                                     {"text_config", "clip_text_model", MMI_ROLE_ENCODER, text_prefixes, 0, NULL}};
static const mmi_part_row dual_parts[] = {{"vision_config", NULL, MMI_ROLE_ENCODER, vision_prefixes, 0, NULL}, {"text_config", NULL, MMI_ROLE_ENCODER, text_prefixes, 0, NULL}};
static const mmi_part_row siglip_parts[] = {{"vision_config", "siglip_vision_model", MMI_ROLE_ENCODER, vision_prefixes, 0, NULL},
                                            {"text_config", "siglip_text_model", MMI_ROLE_ENCODER, text_prefixes, 0, NULL}};
static const mmi_part_row siglip2_parts[] = {{"vision_config", "siglip2_vision_model", MMI_ROLE_ENCODER, vision_prefixes, 0, NULL},
                                             {"text_config", "siglip2_text_model", MMI_ROLE_ENCODER, text_prefixes, 0, NULL}};

const mmi_architecture mmi_clip = {
    .name = "clip", .classes = classes, .prefixes = prefixes, .processor = "CLIPImageProcessor", .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .read_hf = read_hf, .dimension = dimension, .prepare = prepare, .build = build, .parts = parts, .n_parts = 2,
};
const mmi_architecture mmi_dual_encoder = {
    .name = "dual_encoder", .classes = dual_classes, .prefixes = prefixes, .processor = "ViTImageProcessor", .rows = rows, .n_rows = sizeof rows / sizeof *rows,
    .read_hf = read_hf, .dimension = dimension, .prepare = prepare, .build = build, .parts = dual_parts, .n_parts = 2,
};
const mmi_architecture mmi_siglip = {
    .name = "siglip", .classes = siglip_classes, .prefixes = prefixes, .processor = "SiglipImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .read_hf = read_hf, .dimension = dimension, .prepare = prepare, .build = build,
    .parts = siglip_parts, .n_parts = 2,
};
const mmi_architecture mmi_siglip2 = {
    .name = "siglip2", .classes = siglip2_classes, .prefixes = prefixes, .processor = "Siglip2ImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .read_hf = read_hf, .dimension = dimension, .prepare = prepare, .build = build,
    .parts = siglip2_parts, .n_parts = 2,
};
