/* Vision Transformer (Dosovitskiy et al. 2021, arXiv:2010.11929) and DeiT (Touvron et al. 2021, arXiv:2012.12877), which adds a token that
 * learned from a teacher and a head on it. Patches and these tokens through encoder blocks with normalization before each half.
 * From a Hugging Face directory. SPDX-License-Identifier: MIT */
#include "vit.h"

#include <string.h>

#include "architecture_config.h"
#include "encoder_stack.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "shape_ops.h"

typedef struct {
    mmi_stack_config stack;
    mmi_activation pooler_act;
    int64_t pooler; /* width */
} vit_config;

enum { QKV_BIAS = 1, CLASSIFIES = 2, DISTILLED = 4, TAUGHT = 8, POOLED = 16 };

enum {
    CLASS, DISTILLATION, POSITIONS, PATCHES, PATCHES_BIAS, NORM, NORM_BIAS, POOLER, POOLER_BIAS, HEAD, HEAD_BIAS, TAUGHT_HEAD, TAUGHT_HEAD_BIAS, LAYER
};

/* C hidden, N positions with those of the tokens before the patches, M channels, P patch side, I intermediate, L labels, W pooler width */
static const mmi_weight_row rows[] = {
    {CLASS, "embeddings.cls_token", NULL, "1,1,C", 0, MMI_ROW_TABLE},
    {DISTILLATION, "embeddings.distillation_token", NULL, "1,1,C", DISTILLED, MMI_ROW_TABLE},
    {POSITIONS, "embeddings.position_embeddings", NULL, "1,N,C", 0, MMI_ROW_TABLE},
    {PATCHES, "embeddings.patch_embeddings.projection.weight", NULL, "C,M,P,P", 0, 0},
    {PATCHES_BIAS, "embeddings.patch_embeddings.projection.bias", NULL, "C", 0, 0},
    {NORM, "layernorm.weight", NULL, "C", 0, 0},
    {NORM_BIAS, "layernorm.bias", NULL, "C", 0, 0},
    {POOLER, "pooler.dense.weight", NULL, "W,C", POOLED, MMI_ROW_OPTIONAL},
    {POOLER_BIAS, "pooler.dense.bias", NULL, "W", POOLED, MMI_ROW_OPTIONAL},
    {HEAD, "/classifier.weight+/cls_classifier.weight", NULL, "L,C", CLASSIFIES, 0},
    {HEAD_BIAS, "/classifier.bias+/cls_classifier.bias", NULL, "L", CLASSIFIES, 0},
    {TAUGHT_HEAD, "/distillation_classifier.weight", NULL, "L,C", TAUGHT, 0},
    {TAUGHT_HEAD_BIAS, "/distillation_classifier.bias", NULL, "L", TAUGHT, 0},
    MMI_STACK_ROWS_VIT(LAYER, MMI_VIT_LAYER, "C", "I", QKV_BIAS, 0),
};

static int64_t dimension(const mm_model *m, char letter)
{
    const vit_config *c = m->config;
    switch (letter) {
    case 'W': return c->pooler;
    case 'N': return mmi_stack_vision_dimension(m, &c->stack, letter) + (m->info.features & DISTILLED ? 1 : 0);
    case 'L': return (int64_t)m->n_labels;
    default: return mmi_stack_vision_dimension(m, &c->stack, letter);
    }
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    vit_config *c = m->config;
    mmi_model_info *info = &m->info;
    int bias = 1;
    mm_status st;

    c->stack = (mmi_stack_config){12, 768, 12, 3072, 1e-12f, MMI_ACT_GELU};
    c->pooler_act = MMI_ACT_TANH;
    if ((st = mmi_stack_config_read(ctx, doc, root, &mmi_stack_usual_keys, &c->stack))) return st;
    c->pooler = c->stack.hidden;
    if ((st = mmi_json_i64(ctx, doc, root, "pooler_output_size", 0, 1, 1 << 17, &c->pooler))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "qkv_bias", 0, &bias))) return st;
    if ((st = mmi_config_activation(ctx, doc, root, "pooler_act", &c->pooler_act))) return st;
    if ((st = mmi_config_image(ctx, m, doc, root, 224, 16))) return st;
    info->layers = c->stack.layers;
    info->hidden = c->stack.hidden;
    info->features = (bias ? QKV_BIAS : 0) | (m->arch == &mmi_deit ? DISTILLED : 0);
    if (!strstr(m->class_name, "ForImageClassification")) {
        info->features |= POOLED;
        return MM_OK;
    }
    info->naming = strstr(m->class_name, "WithTeacher") != NULL;
    info->features |= CLASSIFIES | (info->naming ? TAUGHT : 0);
    return mmi_config_labels(ctx, m, doc, root);
}

/* The class token's head; of a taught model, the mean of its logits and of those that the distillation token's head gives. */
static void classify(mmi_io *io, mmi_value x)
{
    mmi_graph *g = io->g;
    int64_t shape[3] = {0, 1, (int64_t)io->model->n_labels};
    mmi_value logits[2] = {mmi_linear(g, mmi_select(g, x, 1, 0), mmi_io_weight(io, HEAD, -1), mmi_io_weight(io, HEAD_BIAS, -1), MMI_ACT_NONE)};

    if (g->status || !(io->model->info.features & TAUGHT)) {
        mmi_io_output(io, "logits", logits[0]);
        return;
    }
    logits[1] = mmi_linear(g, mmi_select(g, x, 1, 1), mmi_io_weight(io, TAUGHT_HEAD, -1), mmi_io_weight(io, TAUGHT_HEAD_BIAS, -1), MMI_ACT_NONE);
    mmi_io_output(io, "cls_logits", logits[0]);
    mmi_io_output(io, "distillation_logits", logits[1]);
    shape[0] = mmi_graph_look(g, x)->shape[0];
    for (int i = 0; i < 2; i++) logits[i] = mmi_reshape(g, logits[i], 3, shape);
    mmi_io_output(io, "logits", mmi_mean(g, mmi_concat(g, 1, logits, 2)));
}

/* pixel_values [B, M, H, W] -> last_hidden_state [B, N, C], pooler_output [B, W], logits [B, L]; of a taught model cls_logits and
 * distillation_logits [B, L] too */
static void build(mmi_io *io)
{
    const mmi_model_info *info = &io->model->info;
    const vit_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_stack_spec stack = {.first = LAYER};
    mmi_norm_spec norm = mmi_layer_norm_spec(io, NORM, -1, c->stack.eps);
    mmi_patch_embedder_spec p = mmi_stack_patches(io, CLASS, POSITIONS);
    mmi_value x, pooler = mmi_io_weight(io, POOLER, -1);

    p.second_token = mmi_io_weight(io, DISTILLATION, -1);
    x = mmi_patch_embedder(g, mmi_io_require(io, "pixel_values", MM_DTYPE_F32, 4), &p); /* [B, N, C] */
    x = mmi_norm(g, mmi_encoder_stack(io, x, &c->stack, &stack), &norm);
    mmi_io_output(io, "last_hidden_state", x);
    if (pooler && mmi_io_wants(io, "pooler_output"))
        mmi_io_output(io, "pooler_output", mmi_linear(g, mmi_select(g, x, 1, 0), pooler, mmi_io_weight(io, POOLER_BIAS, -1), c->pooler_act));
    if (info->classifies) classify(io, x);
}

static const char *const classes[] = {"ViTModel", "ViTForImageClassification", NULL};
static const char *const deit_classes[] = {"DeiTModel", "DeiTForImageClassification", "DeiTForImageClassificationWithTeacher", NULL};
static const char *const prefixes[] = {"vit.", "", NULL}, *const deit_prefixes[] = {"deit.", "", NULL};

const mmi_architecture mmi_vit = {
    .name = "vit", .classes = classes, .prefixes = prefixes, .processor = "ViTImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(vit_config), .read_hf = read_hf, .dimension = dimension,
    .build = build,
};
const mmi_architecture mmi_deit = {
    .name = "deit", .classes = deit_classes, .prefixes = deit_prefixes, .processor = "DeiTImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(vit_config), .read_hf = read_hf, .dimension = dimension,
    .build = build,
};
