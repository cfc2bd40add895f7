/* Vision Transformer: Dosovitskiy et al. 2021 (arXiv:2010.11929). Patches and a class token through encoder blocks with normalization
 * before each half. From a Hugging Face directory (ViTModel, ViTForImageClassification).
 * SPDX-License-Identifier: MIT */
#include "vit.h"

#include <string.h>

#include "architecture_config.h"
#include "encoder_block.h"
#include "io.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "patch_embedder.h"
#include "shape_ops.h"

typedef struct {
    int64_t heads, intermediate;
    float eps;
    mmi_activation act, pooler_act;
} vit_config;

enum { QKV_BIAS = 1, CLASSIFIES = 2 };

enum {
    CLASS, POSITIONS, PATCHES, PATCHES_BIAS, NORM, NORM_BIAS, POOLER, POOLER_BIAS, HEAD, HEAD_BIAS,
    NORM1, NORM1_BIAS, Q, Q_BIAS, K, K_BIAS, V, V_BIAS, O, O_BIAS,
    NORM2, NORM2_BIAS, UP, UP_BIAS, DOWN, DOWN_BIAS
};

/* C hidden, N positions with the class token's, M channels, P patch side, I intermediate, L labels, W pooler width */
static const mmi_weight_row rows[] = {
    {CLASS, "embeddings.cls_token", NULL, "1,1,C", 0, MMI_ROW_TABLE},
    {POSITIONS, "embeddings.position_embeddings", NULL, "1,N,C", 0, MMI_ROW_TABLE},
    {PATCHES, "embeddings.patch_embeddings.projection.weight", NULL, "C,M,P,P", 0, 0},
    {PATCHES_BIAS, "embeddings.patch_embeddings.projection.bias", NULL, "C", 0, 0},
    {NORM, "layernorm.weight", NULL, "C", 0, 0},
    {NORM_BIAS, "layernorm.bias", NULL, "C", 0, 0},
    {POOLER, "pooler.dense.weight", NULL, "W,C", 0, MMI_ROW_OPTIONAL},
    {POOLER_BIAS, "pooler.dense.bias", NULL, "W", 0, MMI_ROW_OPTIONAL},
    {HEAD, "classifier.weight", NULL, "L,C", CLASSIFIES, 0},
    {HEAD_BIAS, "classifier.bias", NULL, "L", CLASSIFIES, 0},
    {NORM1, "encoder.layer.%.layernorm_before.weight", NULL, "C", 0, 0},
    {NORM1_BIAS, "encoder.layer.%.layernorm_before.bias", NULL, "C", 0, 0},
    {Q, "encoder.layer.%.attention.attention.query.weight", NULL, "C,C", 0, 0},
    {Q_BIAS, "encoder.layer.%.attention.attention.query.bias", NULL, "C", QKV_BIAS, 0},
    {K, "encoder.layer.%.attention.attention.key.weight", NULL, "C,C", 0, 0},
    {K_BIAS, "encoder.layer.%.attention.attention.key.bias", NULL, "C", QKV_BIAS, 0},
    {V, "encoder.layer.%.attention.attention.value.weight", NULL, "C,C", 0, 0},
    {V_BIAS, "encoder.layer.%.attention.attention.value.bias", NULL, "C", QKV_BIAS, 0},
    {O, "encoder.layer.%.attention.output.dense.weight", NULL, "C,C", 0, 0},
    {O_BIAS, "encoder.layer.%.attention.output.dense.bias", NULL, "C", 0, 0},
    {NORM2, "encoder.layer.%.layernorm_after.weight", NULL, "C", 0, 0},
    {NORM2_BIAS, "encoder.layer.%.layernorm_after.bias", NULL, "C", 0, 0},
    {UP, "encoder.layer.%.intermediate.dense.weight", NULL, "I,C", 0, 0},
    {UP_BIAS, "encoder.layer.%.intermediate.dense.bias", NULL, "I", 0, 0},
    {DOWN, "encoder.layer.%.output.dense.weight", NULL, "C,I", 0, 0},
    {DOWN_BIAS, "encoder.layer.%.output.dense.bias", NULL, "C", 0, 0},
};

static int64_t dimension(const mm_model *m, char letter)
{
    const vit_config *c = m->config;
    const mmi_model_info *i = &m->info;
    switch (letter) {
    case 'C':
    case 'W': return i->hidden;
    case 'N': return 1 + i->image_size[0] / i->patch * (i->image_size[1] / i->patch);
    case 'M': return i->channels;
    case 'P': return i->patch;
    case 'I': return c->intermediate;
    case 'L': return (int64_t)m->n_labels;
    default: return -1;
    }
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    vit_config *c = m->config;
    mmi_model_info *info = &m->info;
    double eps = 1e-12;
    int bias = 1;
    mm_status st;

    info->hidden = 768;
    info->layers = 12;
    c->heads = 12;
    c->intermediate = 3072;
    if ((st = mmi_json_i64(ctx, doc, root, "hidden_size", 0, 1, 1 << 17, &info->hidden))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_hidden_layers", 0, 1, 4096, &info->layers))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_attention_heads", 0, 1, 4096, &c->heads))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "intermediate_size", 0, 1, 1 << 20, &c->intermediate))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "layer_norm_eps", 0, 0, 1, &eps))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "qkv_bias", 0, &bias))) return st;
    c->act = MMI_ACT_GELU;
    c->pooler_act = MMI_ACT_TANH;
    if ((st = mmi_config_activation(ctx, doc, root, "hidden_act", &c->act))) return st;
    if ((st = mmi_config_activation(ctx, doc, root, "pooler_act", &c->pooler_act))) return st;
    if ((st = mmi_config_image(ctx, m, doc, root, 224, 16))) return st;
    if (info->hidden % c->heads || info->hidden / c->heads > 512)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: hidden_size %lld does not divide into %lld heads of at most 512", mmi_json_name(doc),
                        (long long)info->hidden, (long long)c->heads);
    c->eps = (float)eps;
    if (bias) info->features |= QKV_BIAS;
    if (strcmp(m->class_name, "ViTForImageClassification")) return MM_OK;
    info->features |= CLASSIFIES;
    return mmi_config_labels(ctx, m, doc, root);
}

static mmi_encoder_block_spec layer(mmi_io *io, int64_t l)
{
    const vit_config *c = io->model->config;
    mmi_encoder_block_spec b = {0};

    b.norm1 = mmi_layer_norm_spec(io, NORM1, l, c->eps);
    b.norm2 = mmi_layer_norm_spec(io, NORM2, l, c->eps);
    b.attention = mmi_layer_attention(io, Q, l, c->heads, c->heads, io->model->info.hidden / c->heads);
    b.feed_forward = mmi_layer_feed_forward(io, UP, l, c->act);
    return b;
}

/* pixel_values [B, M, H, W] -> last_hidden_state [B, 1 + N, C], pooler_output [B, W], logits [B, L] */
static void build(mmi_io *io)
{
    const mmi_model_info *info = &io->model->info;
    const vit_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_norm_spec norm;
    mmi_patch_embedder_spec p = {info->patch, mmi_io_weight(io, PATCHES, -1), mmi_io_weight(io, PATCHES_BIAS, -1), mmi_io_weight(io, CLASS, -1),
                                 mmi_io_weight(io, POSITIONS, -1), info->image_size[0] / info->patch, info->image_size[1] / info->patch};
    mmi_value x = mmi_patch_embedder(g, mmi_io_require(io, "pixel_values", MM_DTYPE_F32, 4), &p); /* [B, 1 + N, C] */
    mmi_value pooler = mmi_io_weight(io, POOLER, -1), head = mmi_io_weight(io, HEAD, -1), first;

    for (int64_t l = 0; l < info->layers && !g->status; l++) {
        mmi_encoder_block_spec b = layer(io, l);
        x = mmi_encoder_block(g, x, &b);
    }
    norm = mmi_layer_norm_spec(io, NORM, -1, c->eps);
    x = mmi_norm(g, x, &norm);
    first = mmi_select(g, x, 1, 0); /* the class token */
    mmi_io_output(io, "last_hidden_state", x);
    if (pooler && mmi_io_wants(io, "pooler_output"))
        mmi_io_output(io, "pooler_output", mmi_linear(g, first, pooler, mmi_io_weight(io, POOLER_BIAS, -1), c->pooler_act));
    if (head && mmi_io_wants(io, "logits")) mmi_io_output(io, "logits", mmi_linear(g, first, head, mmi_io_weight(io, HEAD_BIAS, -1), MMI_ACT_NONE));
}

static const char *const classes[] = {"ViTModel", "ViTForImageClassification", NULL};
static const char *const prefixes[] = {"", "vit.", NULL};

const mmi_architecture mmi_vit = {
    .name = "vit", .classes = classes, .prefixes = prefixes, .processor = "ViTImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(vit_config), .read_hf = read_hf, .dimension = dimension,
    .build = build,
};
