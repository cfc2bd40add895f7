/* Any vision encoder in front of any text decoder that attends across to it, as TrOCR (arXiv:2109.10282) and Donut (arXiv:2111.15664) are
 * made. Both are architectures of their own, named by their configurations; the encoder's states are projected where the widths differ.
 * From a Hugging Face directory (VisionEncoderDecoderModel).
 * SPDX-License-Identifier: MIT */
#include "vision_encoder_decoder.h"

#include "io.h"
#include "linear_op.h"

enum { ENCODER, DECODER };
enum { PROJECTED = 1 };
enum { PROJECTION, PROJECTION_BIAS };

/* E hidden of the encoder, D of the decoder */
static const mmi_weight_row rows[] = {
    {PROJECTION, "enc_to_dec_proj.weight", NULL, "D,E", PROJECTED, 0},
    {PROJECTION_BIAS, "enc_to_dec_proj.bias", NULL, "D", PROJECTED, 0},
};

static int64_t dimension(const mm_model *m, char letter) { return m->parts[letter == 'E' ? ENCODER : DECODER]->info.hidden; }

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    const mmi_model_info *see = &m->parts[ENCODER]->info, *tell = &m->parts[DECODER]->info;
    mmi_model_info *info = &m->info;

    if (!see->sees || !tell->generates || !tell->cross.layers)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: %s and %s are not an encoder that sees and a decoder (is_decoder) with add_cross_attention",
                        mmi_json_name(doc), m->parts[ENCODER]->class_name, m->parts[DECODER]->class_name);
    *info = *tell;
    info->features = 0;
    info->sees = 1;
    info->image_size[0] = see->image_size[0];
    info->image_size[1] = see->image_size[1];
    info->patch = see->patch;
    info->channels = see->channels;
    info->fusion = MMI_FUSION_CROSS;
    info->ids_input = "decoder_input_ids";
    if (see->hidden != tell->hidden && mmi_json_kind_of(mmi_json_get(mmi_json_get(root, "decoder"), "cross_attention_hidden_size")) != MMI_JSON_NUMBER)
        info->features = PROJECTED;
    return MM_OK;
}

/* pixel_values [B, M, H, W]; decoder_input_ids, decoder_attention_mask [B, T] -> logits [B, T, V], encoder_last_hidden_state [B, N, C] */
static void build(mmi_io *io)
{
    static const char *const states_wanted[] = {"last_hidden_state", NULL}, *const logits_wanted[] = {"logits", NULL};
    mmi_value states = 0, projection = mmi_io_weight(io, PROJECTION, -1);
    mmi_io part;

    if (!io->cached) {
        mmi_io_part(&part, io, ENCODER, states_wanted);
        mmi_io_give(&part, "pixel_values", mmi_io_require(io, "pixel_values", MM_DTYPE_F32, 4));
        mmi_io_build(&part);
        states = mmi_io_find_output(&part, "last_hidden_state");
        if (!io->encode) mmi_io_output(io, "encoder_last_hidden_state", states);
        if (projection) states = mmi_linear(io->g, states, projection, mmi_io_weight(io, PROJECTION_BIAS, -1), MMI_ACT_NONE);
    }
    mmi_io_part(&part, io, DECODER, logits_wanted);
    mmi_io_give(&part, "encoder_hidden_states", states);
    if (!io->encode) {
        mmi_io_give(&part, "input_ids", mmi_io_require(io, "decoder_input_ids", MM_DTYPE_I32, 2));
        mmi_io_give(&part, "position_ids", mmi_io_require(io, io->cached ? "position_ids" : "decoder_position_ids", MM_DTYPE_I32, 2));
        mmi_io_give(&part, "attention_mask", mmi_io_optional(io, "decoder_attention_mask", MM_DTYPE_I32, 2));
    }
    mmi_io_build(&part);
    if (!io->encode) mmi_io_output(io, "logits", mmi_io_find_output(&part, "logits"));
}

static const char *const classes[] = {"VisionEncoderDecoderModel", NULL};
static const char *const prefixes[] = {"", NULL}, *const encoder_prefixes[] = {"encoder.", NULL}, *const decoder_prefixes[] = {"decoder.", NULL};
static const mmi_part_row parts[] = {{"encoder", NULL, MMI_ROLE_ENCODER, encoder_prefixes, 0, NULL}, {"decoder", NULL, MMI_ROLE_DECODER, decoder_prefixes, 0, NULL}};

const mmi_architecture mmi_vision_encoder_decoder = {
    .name = "vision_encoder_decoder", .classes = classes, .prefixes = prefixes, .processor = "ViTImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .read_hf = read_hf, .dimension = dimension, .build = build, .parts = parts,
    .n_parts = sizeof parts / sizeof *parts,
};
