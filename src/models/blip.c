/* BLIP: Li et al. 2022 (arXiv:2201.12086). A vision transformer, and text models that attend across to it (bert_decoder.c): a decoder that
 * captions; an encoder of the question, to which the decoder of the answer attends; an encoder whose first token says whether text and
 * picture belong together. From a Hugging Face directory (BlipVisionModel, BlipForConditionalGeneration, BlipForQuestionAnswering,
 * BlipForImageTextRetrieval).
 * SPDX-License-Identifier: MIT */
#include "blip.h"

#include <string.h>

#include "architecture_config.h"
#include "bert_decoder.h"
#include "encoder_stack.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "row_ops.h"
#include "shape_ops.h"

/* The vision tower. */

enum { CLASS, POSITIONS, PATCHES, PATCHES_BIAS, NORM, NORM_BIAS, LAYER };

/* C hidden, N positions with the class token's, M channels, P patch side, I intermediate. Query, key and value lie in one matrix. */
static const mmi_weight_row vision_rows[] = {
    {CLASS, "embeddings.class_embedding", NULL, "1,1,C", 0, MMI_ROW_TABLE},
    {POSITIONS, "embeddings.position_embedding", NULL, "1,N,C", 0, MMI_ROW_TABLE},
    {PATCHES, "embeddings.patch_embedding.weight", NULL, "C,M,P,P", 0, 0},
    {PATCHES_BIAS, "embeddings.patch_embedding.bias", NULL, "C", 0, 0},
    {NORM, "post_layernorm.weight", NULL, "C", 0, 0},
    {NORM_BIAS, "post_layernorm.bias", NULL, "C", 0, 0},
    {LAYER + MMI_STACK_NORM1, "encoder.layers.%.layer_norm1.weight", NULL, "C", 0, 0},
    {LAYER + MMI_STACK_NORM1_BIAS, "encoder.layers.%.layer_norm1.bias", NULL, "C", 0, 0},
    {LAYER + MMI_STACK_Q, "encoder.layers.%.self_attn.qkv.weight", NULL, "3C,C", 0, 0},
    {LAYER + MMI_STACK_Q_BIAS, "encoder.layers.%.self_attn.qkv.bias", NULL, "3C", 0, 0},
    {LAYER + MMI_STACK_O, "encoder.layers.%.self_attn.projection.weight", NULL, "C,C", 0, 0},
    {LAYER + MMI_STACK_O_BIAS, "encoder.layers.%.self_attn.projection.bias", NULL, "C", 0, 0},
    {LAYER + MMI_STACK_NORM2, "encoder.layers.%.layer_norm2.weight", NULL, "C", 0, 0},
    {LAYER + MMI_STACK_NORM2_BIAS, "encoder.layers.%.layer_norm2.bias", NULL, "C", 0, 0},
    {LAYER + MMI_STACK_UP, "encoder.layers.%.mlp.fc1.weight", NULL, "I,C", 0, 0},
    {LAYER + MMI_STACK_UP_BIAS, "encoder.layers.%.mlp.fc1.bias", NULL, "I", 0, 0},
    {LAYER + MMI_STACK_DOWN, "encoder.layers.%.mlp.fc2.weight", NULL, "C,I", 0, 0},
    {LAYER + MMI_STACK_DOWN_BIAS, "encoder.layers.%.mlp.fc2.bias", NULL, "C", 0, 0},
};

static int64_t vision_dimension(const mm_model *m, char letter) { return mmi_stack_vision_dimension(m, m->config, letter); }

static mm_status read_vision(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    mmi_stack_config *c = m->config;
    mm_status st;

    *c = (mmi_stack_config){12, 768, 12, 3072, 1e-5f, MMI_ACT_GELU};
    if ((st = mmi_stack_config_read(ctx, doc, root, &mmi_stack_usual_keys, c))) return st;
    m->info.hidden = c->hidden;
    m->info.layers = c->layers;
    return mmi_config_image(ctx, m, doc, root, 384, 16);
}

/* pixel_values [B, M, H, W] -> last_hidden_state [B, 1 + N, C], pooler_output [B, C] */
static void build_vision(mmi_io *io)
{
    const mmi_stack_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_stack_spec stack = {.first = LAYER};
    mmi_norm_spec norm = mmi_layer_norm_spec(io, NORM, -1, c->eps);
    mmi_patch_embedder_spec p = mmi_stack_patches(io, CLASS, POSITIONS);
    mmi_value x = mmi_patch_embedder(g, mmi_io_require(io, "pixel_values", MM_DTYPE_F32, 4), &p); /* [B, 1 + N, C] */

    x = mmi_norm(g, mmi_encoder_stack(io, x, c, &stack), &norm);
    mmi_io_output(io, "last_hidden_state", x);
    mmi_io_output(io, "pooler_output", mmi_norm(g, mmi_select(g, x, 1, 0), &norm)); /* normalized twice, as the reference does */
}

/* The whole: its parts, and what they are called. */

enum { VISION, TEXT, ANSWER };

static const char *const vision_prefixes[] = {"vision_model.", NULL}, *const encoder_prefixes[] = {"text_encoder.", NULL},
                         *const decoder_prefixes[] = {"text_decoder.", NULL};

static const mmi_part_row caption_parts[] = {{"vision_config", "blip_vision_model", MMI_ROLE_ENCODER, vision_prefixes, 0, NULL},
                                             {"text_config", "blip_text_model", MMI_ROLE_DECODER, decoder_prefixes, 0, NULL}};
static const mmi_part_row answer_parts[] = {{"vision_config", "blip_vision_model", MMI_ROLE_ENCODER, vision_prefixes, 0, NULL},
                                            {"text_config", "blip_text_model", MMI_ROLE_ENCODER, encoder_prefixes, 0, NULL},
                                            {"text_config", "blip_text_model", MMI_ROLE_DECODER, decoder_prefixes, 0, NULL}};
static const mmi_part_row retrieval_parts[] = {{"vision_config", "blip_vision_model", MMI_ROLE_ENCODER, vision_prefixes, 0, NULL},
                                               {"text_config", "blip_text_model", MMI_ROLE_ENCODER, encoder_prefixes, 0, NULL}};

/* What the whole tells about itself is what its parts do; `decoder` is the part that generates, NULL: none. */
static mm_status read_whole(mm_context *ctx, mm_model *m, const mmi_json *doc, const mm_model *decoder)
{
    const mmi_json_node *text = mmi_json_get(mmi_json_root(doc), "text_config");
    const mm_model *vision = m->parts[VISION];
    mmi_model_info *info = &m->info;
    int64_t first = 30522, end = 102; /* what the text's configuration says when it says nothing */
    mm_status st;

    *info = m->parts[TEXT]->info;
    info->features = 0;
    info->sees = 1;
    info->image_size[0] = vision->info.image_size[0];
    info->image_size[1] = vision->info.image_size[1];
    info->patch = vision->info.patch;
    info->channels = vision->info.channels;
    info->fusion = decoder ? MMI_FUSION_CROSS : MMI_FUSION_NONE;
    for (size_t i = TEXT; i < m->arch->n_parts; i++)
        if (m->parts[i]->arch != &mmi_blip_text || !m->parts[i]->info.cross.layers || !vision->info.sees)
            return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: %s and %s are not a tower that sees and a text model of BLIP with attention across (is_decoder)",
                            mmi_json_name(doc), vision->class_name, m->parts[i]->class_name);
    mmi_blip_text_attend(m->parts[TEXT], vision->info.hidden);
    if (!decoder) return MM_OK;
    info->generates = 1;
    if ((st = mmi_json_i64(ctx, doc, text, "bos_token_id", 0, 0, info->vocabulary - 1, &first))) return st;
    if ((st = mmi_json_i64(ctx, doc, text, "sep_token_id", 0, 0, info->vocabulary - 1, &end))) return st;
    m->start_tokens[m->n_start_tokens++] = (int32_t)first;
    m->end_tokens[m->n_end_tokens++] = (int32_t)end;
    return MM_OK;
}

/* The picture's states [B, 1 + N, C]. */
static mmi_value see(mmi_io *io, mmi_value pixels)
{
    static const char *const wanted[] = {"last_hidden_state", NULL};
    mmi_io part;

    mmi_io_part(&part, io, VISION, wanted);
    mmi_io_give(&part, "pixel_values", pixels);
    mmi_io_build(&part);
    return mmi_io_find_output(&part, "last_hidden_state");
}

/* The text encoder's states [B, T, C], attending across to `image`; 0: alone. */
static mmi_value read_text(mmi_io *io, mmi_value image)
{
    static const char *const wanted[] = {"last_hidden_state", NULL};
    mmi_io part;

    mmi_io_part(&part, io, TEXT, wanted);
    part.encode = 0; /* its source is the picture, and its states are the source of others */
    mmi_io_give(&part, "input_ids", mmi_io_require(io, "input_ids", MM_DTYPE_I32, 2));
    mmi_io_give(&part, "position_ids", mmi_io_require(io, "position_ids", MM_DTYPE_I32, 2));
    mmi_io_give(&part, "attention_mask", mmi_io_input(io, "attention_mask"));
    mmi_io_give(&part, "encoder_hidden_states", image);
    mmi_io_build(&part);
    return mmi_io_find_output(&part, "last_hidden_state");
}

/* A decoder's logits [B, T, V], attending across to `states`, or to what the cross caches hold. */
static void decode(mmi_io *io, size_t index, const char *ids, const char *positions, const char *mask, mmi_value states)
{
    static const char *const wanted[] = {"logits", NULL};
    mmi_io part;

    mmi_io_part(&part, io, index, wanted);
    mmi_io_give(&part, "encoder_hidden_states", states);
    if (!io->encode) {
        mmi_io_give(&part, "input_ids", mmi_io_require(io, ids, MM_DTYPE_I32, 2));
        mmi_io_give(&part, "position_ids", mmi_io_require(io, positions, MM_DTYPE_I32, 2));
        mmi_io_give(&part, "attention_mask", mmi_io_optional(io, mask, MM_DTYPE_I32, 2));
    }
    mmi_io_build(&part);
    if (!io->encode) mmi_io_output(io, "logits", mmi_io_find_output(&part, "logits"));
}

static void output_image(mmi_io *io, mmi_value image)
{
    if (io->encode) return;
    mmi_io_output(io, "last_hidden_state", image);
    mmi_io_output(io, "image_embeds", image);
}

static mm_status read_caption(mm_context *ctx, mm_model *m, const mmi_json *doc) { return read_whole(ctx, m, doc, m->parts[TEXT]); }

/* pixel_values [B, M, H, W]; input_ids, attention_mask [B, T] -> logits [B, T, V], image_embeds and last_hidden_state [B, 1 + N, C] */
static void build_caption(mmi_io *io)
{
    mmi_value image = 0;

    if (!io->cached) {
        image = see(io, mmi_io_require(io, "pixel_values", MM_DTYPE_F32, 4));
        output_image(io, image);
    }
    decode(io, TEXT, "input_ids", "position_ids", "attention_mask", image);
}

static mm_status read_answer(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    mm_status st = read_whole(ctx, m, doc, m->parts[ANSWER]);

    m->info.text_is_source = 1;
    m->info.ids_input = "decoder_input_ids";
    return st;
}

/* pixel_values, input_ids and attention_mask [B, T] of the question; decoder_input_ids, decoder_attention_mask [B, A] of the answer ->
 * logits [B, A, V], image_embeds and last_hidden_state [B, 1 + N, C] */
static void build_answer(mmi_io *io)
{
    mmi_value image, question = 0;

    if (!io->cached) {
        image = see(io, mmi_io_require(io, "pixel_values", MM_DTYPE_F32, 4));
        output_image(io, image);
        question = read_text(io, image);
    }
    /* All of the question's states, padding too, as the reference does. */
    decode(io, ANSWER, "decoder_input_ids", io->cached ? "position_ids" : "decoder_position_ids", "decoder_attention_mask", question);
}

/* Image-text retrieval. */

typedef struct {
    int64_t vision_hidden, text_hidden, width; /* of the towers, and of the space that both are projected to */
} retrieval_config;

enum { IMAGE_PROJECTION, IMAGE_PROJECTION_BIAS, TEXT_PROJECTION, TEXT_PROJECTION_BIAS, MATCH, MATCH_BIAS };

/* I and T widths of the towers, P of the space */
static const mmi_weight_row retrieval_rows[] = {
    {IMAGE_PROJECTION, "vision_proj.weight", NULL, "P,I", 0, 0}, {IMAGE_PROJECTION_BIAS, "vision_proj.bias", NULL, "P", 0, 0},
    {TEXT_PROJECTION, "text_proj.weight", NULL, "P,T", 0, 0},    {TEXT_PROJECTION_BIAS, "text_proj.bias", NULL, "P", 0, 0},
    {MATCH, "itm_head.weight", NULL, "2,T", 0, 0},               {MATCH_BIAS, "itm_head.bias", NULL, "2", 0, 0},
};

static int64_t retrieval_dimension(const mm_model *m, char letter)
{
    const retrieval_config *c = m->config;
    return letter == 'I' ? c->vision_hidden : letter == 'T' ? c->text_hidden : c->width;
}

static mm_status read_retrieval(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    retrieval_config *c = m->config;
    mm_status st = read_whole(ctx, m, doc, NULL);

    c->width = 256;
    c->vision_hidden = m->parts[VISION]->info.hidden;
    c->text_hidden = m->parts[TEXT]->info.hidden;
    return st ? st : mmi_json_i64(ctx, doc, mmi_json_root(doc), "image_text_hidden_size", 0, 1, 1 << 17, &c->width);
}

/* The first token of states [B, N, C] in the space of both, of unit length: [B, P]. */
static mmi_value project(mmi_io *io, mmi_value states, int slot)
{
    return mmi_l2_normalize(io->g, mmi_linear(io->g, mmi_select(io->g, states, 1, 0), mmi_io_weight(io, slot, -1), mmi_io_weight(io, slot + 1, -1), MMI_ACT_NONE));
}

/* pixel_values [B, M, H, W] -> last_hidden_state [B, 1 + N, C], image_embeds [B, P]; input_ids, attention_mask [B, T] -> text_embeds [B, P];
 * of both, question_embeds [B, T, C] and itm_score [B, 2], that they do not belong together and that they do */
static void build_retrieval(mmi_io *io)
{
    mmi_value pixels = mmi_io_optional(io, "pixel_values", MM_DTYPE_F32, 4), image = 0, both;
    int texts = mmi_io_input(io, "input_ids") != 0;

    if (pixels) {
        image = see(io, pixels);
        mmi_io_output(io, "last_hidden_state", image);
        mmi_io_output(io, "image_embeds", project(io, image, IMAGE_PROJECTION));
    }
    if (texts || !pixels) mmi_io_output(io, "text_embeds", project(io, read_text(io, 0), TEXT_PROJECTION));
    if (!texts || !pixels) return;
    both = read_text(io, image);
    mmi_io_output(io, "question_embeds", both);
    mmi_io_output(io, "itm_score", mmi_linear(io->g, mmi_select(io->g, both, 1, 0), mmi_io_weight(io, MATCH, -1), mmi_io_weight(io, MATCH_BIAS, -1), MMI_ACT_NONE));
}

static const char *const vision_classes[] = {"BlipVisionModel", NULL}, *const caption_classes[] = {"BlipForConditionalGeneration", NULL},
                         *const answer_classes[] = {"BlipForQuestionAnswering", NULL}, *const retrieval_classes[] = {"BlipForImageTextRetrieval", NULL};
static const char *const prefixes[] = {"", NULL};

const mmi_architecture mmi_blip_vision = {
    .name = "blip_vision", .classes = vision_classes, .prefixes = prefixes, .processor = "BlipImageProcessor", .rows = vision_rows,
    .n_rows = sizeof vision_rows / sizeof *vision_rows, .config_bytes = sizeof(mmi_stack_config), .read_hf = read_vision,
    .dimension = vision_dimension, .build = build_vision,
};

const mmi_architecture mmi_blip_caption = {
    .name = "blip", .classes = caption_classes, .processor = "BlipImageProcessor", .read_hf = read_caption, .build = build_caption,
    .parts = caption_parts, .n_parts = sizeof caption_parts / sizeof *caption_parts,
};

const mmi_architecture mmi_blip_answer = {
    .name = "blip", .classes = answer_classes, .processor = "BlipImageProcessor", .read_hf = read_answer, .build = build_answer,
    .parts = answer_parts, .n_parts = sizeof answer_parts / sizeof *answer_parts,
};

const mmi_architecture mmi_blip_retrieval = {
    .name = "blip", .classes = retrieval_classes, .prefixes = prefixes, .processor = "BlipImageProcessor", .rows = retrieval_rows,
    .n_rows = sizeof retrieval_rows / sizeof *retrieval_rows, .config_bytes = sizeof(retrieval_config), .read_hf = read_retrieval,
    .dimension = retrieval_dimension, .build = build_retrieval, .parts = retrieval_parts, .n_parts = sizeof retrieval_parts / sizeof *retrieval_parts,
};
