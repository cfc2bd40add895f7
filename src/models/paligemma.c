/* PaliGemma: Beyer et al. 2024 (arXiv:2407.07726), and PaliGemma 2: Steiner et al. 2024 (arXiv:2412.03555). SigLIP's patches through one linear layer as
 * tokens before Gemma's; picture and prompt are a prefix whose tokens all see each other. From a Hugging Face directory
 * (PaliGemmaForConditionalGeneration).
 * SPDX-License-Identifier: MIT */
#include "paligemma.h"

#include <string.h>

#include "early_fusion.h"
#include "io.h"
#include "linear_op.h"
#include "shape_ops.h"

enum { VISION, TEXT };

enum { PROJECTION, PROJECTION_BIAS };

/* C width of the text, S of the tower */
static const mmi_weight_row rows[] = {
    {PROJECTION, "multi_modal_projector.linear.weight", NULL, "C,S", 0, 0},
    {PROJECTION_BIAS, "multi_modal_projector.linear.bias", NULL, "C", 0, 0},
};

static int64_t dimension(const mm_model *m, char letter) { return letter == 'C' ? m->info.hidden : m->parts[VISION]->info.hidden; }

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    static const char *const token_keys[] = {"image_token_index", "image_token_id", NULL};
    mm_status st = mmi_fusion_describe(ctx, m, doc, VISION, TEXT);

    m->info.prefix = 1;
    return st ? st : mmi_fusion_token(ctx, m, doc, token_keys, 256000, &m->info.image_token);
}

/* pixel_values [n, M, H, W] -> features [n, N, C] */
static mmi_value see(mmi_io *io)
{
    static const char *const wanted[] = {"last_hidden_state", NULL};
    mmi_value x = mmi_io_input(io, "pixel_values");
    mmi_io tower;

    if (!x) return 0;
    mmi_io_part(&tower, io, VISION, wanted);
    mmi_io_give(&tower, "pixel_values", x);
    mmi_io_build(&tower);
    return mmi_linear(io->g, mmi_io_find_output(&tower, "last_hidden_state"), mmi_io_weight(io, PROJECTION, -1), mmi_io_weight(io, PROJECTION_BIAS, -1),
                      MMI_ACT_NONE);
}

/* input_ids and what the text model takes beside them, token_type_ids, pixel_values or image_features -> what it gives; image_features */
static void build(mmi_io *io) { mmi_fusion_decode_images(io, TEXT, see); }

/* Pictures, the token that begins a text, the text, and a line's end. */
static mm_status write_prompt(mm_context *ctx, const mm_model *m, const char *text, const mmi_medium *media, size_t count, mmi_text *out)
{
    static const mmi_fusion_mark mark = {"<image>", "", "", MMI_IMAGE, NULL};
    const char *rest = text, *begin = m->bos_text ? m->bos_text : "";
    size_t placed = 0;
    mmi_text whole = {0};
    mm_status st = MM_OK;

    for (const char *at = strstr(text, mark.mark); at; at = strstr(rest, mark.mark), placed++) rest = at + strlen(mark.mark);
    if (placed < count) st = mmi_fusion_repeat(ctx, mark.mark, count - placed, &whole);
    if (!st && mmi_text_format(ctx, &whole, "%.*s%s%s\n", (int)(rest - text), text, begin, rest)) st = MM_E_NOMEM;
    if (!st) st = mmi_fusion_write(ctx, m, whole.data, media, count, &mark, 1, out);
    mmi_text_clear(&whole);
    return st;
}

static const char *const classes[] = {"PaliGemmaForConditionalGeneration", NULL};
static const char *const prefixes[] = {"", "model.", NULL};
static const char *const vision_prefixes[] = {"vision_tower.", "model.vision_tower.", NULL};
static const char *const text_prefixes[] = {"language_model.", "model.language_model.", "", NULL};
static const mmi_part_row parts[] = {
    {"vision_config", "siglip_vision_model", MMI_ROLE_ENCODER, vision_prefixes, 0, "model.vision_tower."},
    {"text_config", "gemma", MMI_ROLE_DECODER, text_prefixes, 0, "model.language_model."},
};

const mmi_architecture mmi_paligemma = {
    .name = "paligemma", .classes = classes, .prefixes = prefixes, .modules = "model.", .processor = "SiglipImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .read_hf = read_hf, .dimension = dimension,
    .build = build, .write_prompt = write_prompt, .parts = parts, .n_parts = sizeof parts / sizeof *parts,
};
