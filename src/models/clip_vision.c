/* CLIP's vision tower: Radford et al. 2021 (arXiv:2103.00020). A Vision Transformer that normalizes its embeddings before the blocks; the
 * class token, normalized and maybe projected, stands for the picture. From a Hugging Face directory, or as part of a larger model.
 * SPDX-License-Identifier: MIT */
#include "clip_vision.h"

#include <string.h>

#include "architecture_config.h"
#include "encoder_stack.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "shape_ops.h"

enum { PROJECTED = 1 };

enum { CLASS, POSITIONS, PATCHES, /* no slot of their bias */ PRE_NORM = PATCHES + 2, PRE_NORM_BIAS, POST_NORM, POST_NORM_BIAS, PROJECTION, LAYER };

/* C hidden, N positions with the class token's, M channels, P patch side, I intermediate, E width of the projection */
static const mmi_weight_row rows[] = {
    {CLASS, "embeddings.class_embedding", NULL, "C>1,1,C", 0, MMI_ROW_TABLE},
    {POSITIONS, "embeddings.position_embedding.weight", NULL, "N,C>1,N,C", 0, MMI_ROW_TABLE},
    {PATCHES, "embeddings.patch_embedding.weight", NULL, "C,M,P,P", 0, 0},
    {PRE_NORM, "pre_layrnorm.weight", NULL, "C", 0, 0},
    {PRE_NORM_BIAS, "pre_layrnorm.bias", NULL, "C", 0, 0},
    {POST_NORM, "post_layernorm.weight", NULL, "C", 0, 0},
    {POST_NORM_BIAS, "post_layernorm.bias", NULL, "C", 0, 0},
    {PROJECTION, "/visual_projection.weight", NULL, "E,C", PROJECTED, 0},
    MMI_STACK_ROWS_CLIP(LAYER),
};

static int64_t dimension(const mm_model *m, char letter)
{
    return letter == 'E' ? m->info.embedding : mmi_stack_vision_dimension(m, m->config, letter);
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    mmi_stack_config *c = m->config;
    mmi_model_info *info = &m->info;
    mm_status st;

    *c = (mmi_stack_config){12, 768, 12, 3072, 1e-5f, MMI_ACT_QUICK_GELU};
    if ((st = mmi_stack_config_read(ctx, doc, root, &mmi_stack_usual_keys, c))) return st;
    if ((st = mmi_config_image(ctx, m, doc, root, 224, 32))) return st;
    info->layers = c->layers;
    info->embedding = info->hidden = c->hidden;
    info->image_output = "pooler_output";
    if (strcmp(m->class_name, "CLIPVisionModelWithProjection")) return MM_OK;
    info->features = PROJECTED;
    info->image_output = "image_embeds";
    info->embedding = 512;
    return mmi_json_i64(ctx, doc, root, "projection_dim", 0, 1, 1 << 17, &info->embedding);
}

/* pixel_values [B, M, H, W] -> last_hidden_state [B, 1 + N, C], which is not normalized; pooler_output [B, C]; image_embeds [B, E] */
static void build(mmi_io *io)
{
    const mmi_stack_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_stack_spec stack = {.first = LAYER};
    mmi_norm_spec pre = mmi_layer_norm_spec(io, PRE_NORM, -1, c->eps), post = mmi_layer_norm_spec(io, POST_NORM, -1, c->eps);
    mmi_patch_embedder_spec p = mmi_stack_patches(io, CLASS, POSITIONS);
    mmi_value projection = mmi_io_weight(io, PROJECTION, -1);
    mmi_value x = mmi_norm(g, mmi_patch_embedder(g, mmi_io_require(io, "pixel_values", MM_DTYPE_F32, 4), &p), &pre); /* [B, 1 + N, C] */

    x = mmi_encoder_stack(io, x, c, &stack);
    mmi_io_output(io, "last_hidden_state", x);
    if (!mmi_io_wants(io, "pooler_output") && !mmi_io_wants(io, "image_embeds")) return;
    x = mmi_norm(g, mmi_select(g, x, 1, 0), &post);
    mmi_io_output(io, "pooler_output", x);
    if (projection && mmi_io_wants(io, "image_embeds")) mmi_io_output(io, "image_embeds", mmi_linear(g, x, projection, 0, MMI_ACT_NONE));
}

static const char *const classes[] = {"CLIPVisionModel", "CLIPVisionModelWithProjection", NULL};
static const char *const prefixes[] = {"vision_model.", "", NULL};

const mmi_architecture mmi_clip_vision = {
    .name = "clip_vision", .classes = classes, .prefixes = prefixes, .processor = "CLIPImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(mmi_stack_config), .read_hf = read_hf, .dimension = dimension,
    .build = build,
};
