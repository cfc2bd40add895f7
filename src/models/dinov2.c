/* DINOv2: Oquab et al. 2023 (arXiv:2304.07193). A Vision Transformer with layer scale, positions interpolated to the picture's grid, and
 * a SwiGLU feed-forward in its largest form. From a Hugging Face directory (Dinov2Model, Dinov2ForImageClassification).
 * SPDX-License-Identifier: MIT */
#include "dinov2.h"

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
    mmi_activation act;
} dinov2_config;

enum { QKV_BIAS = 1, CLASSIFIES = 2, PLAIN = 4, SWIGLU = 8 };

enum {
    CLASS, POSITIONS, PATCHES, PATCHES_BIAS, NORM, NORM_BIAS, HEAD, HEAD_BIAS,
    NORM1, NORM1_BIAS, Q, Q_BIAS, K, K_BIAS, V, V_BIAS, O, O_BIAS, SCALE1,
    NORM2, NORM2_BIAS, UP, UP_BIAS, DOWN, DOWN_BIAS, SCALE2
};

/* C hidden, N positions with the class token's, M channels, P patch side, I intermediate, L labels */
static const mmi_weight_row rows[] = {
    {CLASS, "embeddings.cls_token", NULL, "1,1,C", 0, MMI_ROW_TABLE},
    {POSITIONS, "embeddings.position_embeddings", NULL, "1,N,C", 0, MMI_ROW_TABLE},
    {PATCHES, "embeddings.patch_embeddings.projection.weight", NULL, "C,M,P,P", 0, 0},
    {PATCHES_BIAS, "embeddings.patch_embeddings.projection.bias", NULL, "C", 0, 0},
    {NORM, "layernorm.weight", NULL, "C", 0, 0},
    {NORM_BIAS, "layernorm.bias", NULL, "C", 0, 0},
    {HEAD, "classifier.weight", NULL, "L,2C", CLASSIFIES, 0},
    {HEAD_BIAS, "classifier.bias", NULL, "L", CLASSIFIES, 0},
    {NORM1, "encoder.layer.%.norm1.weight", NULL, "C", 0, 0},
    {NORM1_BIAS, "encoder.layer.%.norm1.bias", NULL, "C", 0, 0},
    {Q, "encoder.layer.%.attention.attention.query.weight", NULL, "C,C", 0, 0},
    {Q_BIAS, "encoder.layer.%.attention.attention.query.bias", NULL, "C", QKV_BIAS, 0},
    {K, "encoder.layer.%.attention.attention.key.weight", NULL, "C,C", 0, 0},
    {K_BIAS, "encoder.layer.%.attention.attention.key.bias", NULL, "C", QKV_BIAS, 0},
    {V, "encoder.layer.%.attention.attention.value.weight", NULL, "C,C", 0, 0},
    {V_BIAS, "encoder.layer.%.attention.attention.value.bias", NULL, "C", QKV_BIAS, 0},
    {O, "encoder.layer.%.attention.output.dense.weight", NULL, "C,C", 0, 0},
    {O_BIAS, "encoder.layer.%.attention.output.dense.bias", NULL, "C", 0, 0},
    {SCALE1, "encoder.layer.%.layer_scale1.lambda1", NULL, "C", 0, 0},
    {NORM2, "encoder.layer.%.norm2.weight", NULL, "C", 0, 0},
    {NORM2_BIAS, "encoder.layer.%.norm2.bias", NULL, "C", 0, 0},
    {UP, "encoder.layer.%.mlp.fc1.weight", NULL, "I,C", PLAIN, 0},
    {UP_BIAS, "encoder.layer.%.mlp.fc1.bias", NULL, "I", PLAIN, 0},
    {DOWN, "encoder.layer.%.mlp.fc2.weight", NULL, "C,I", PLAIN, 0},
    {DOWN_BIAS, "encoder.layer.%.mlp.fc2.bias", NULL, "C", PLAIN, 0},
    {UP, "encoder.layer.%.mlp.weights_in.weight", NULL, "2I,C", SWIGLU, 0},
    {UP_BIAS, "encoder.layer.%.mlp.weights_in.bias", NULL, "2I", SWIGLU, 0},
    {DOWN, "encoder.layer.%.mlp.weights_out.weight", NULL, "C,I", SWIGLU, 0},
    {DOWN_BIAS, "encoder.layer.%.mlp.weights_out.bias", NULL, "C", SWIGLU, 0},
    {SCALE2, "encoder.layer.%.layer_scale2.lambda1", NULL, "C", 0, 0},
};

static int64_t dimension(const mm_model *m, char letter)
{
    const dinov2_config *c = m->config;
    const mmi_model_info *i = &m->info;
    switch (letter) {
    case 'C': return i->hidden;
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
    dinov2_config *c = m->config;
    mmi_model_info *info = &m->info;
    double eps = 1e-6, ratio = 4;
    int bias = 1, swiglu = 0;
    mm_status st;

    info->hidden = 768;
    info->layers = 12;
    c->heads = 12;
    if ((st = mmi_json_i64(ctx, doc, root, "hidden_size", 0, 1, 1 << 17, &info->hidden))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_hidden_layers", 0, 1, 4096, &info->layers))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_attention_heads", 0, 1, 4096, &c->heads))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "mlp_ratio", 0, 0.01, 64, &ratio))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "layer_norm_eps", 0, 0, 1, &eps))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "qkv_bias", 0, &bias))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "use_swiglu_ffn", 0, &swiglu))) return st;
    c->act = MMI_ACT_GELU;
    if ((st = mmi_config_activation(ctx, doc, root, "hidden_act", &c->act))) return st;
    if ((st = mmi_config_image(ctx, m, doc, root, 224, 14))) return st;
    if (info->hidden % c->heads || info->hidden / c->heads > 512)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: hidden_size %lld does not divide into %lld heads of at most 512", mmi_json_name(doc),
                        (long long)info->hidden, (long long)c->heads);
    if (info->image_size[0] != info->image_size[1]) /* the trained grid is taken to be square, as the reference does */
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: image_size is not square", mmi_json_name(doc));
    c->intermediate = (int64_t)((double)info->hidden * ratio);
    if (swiglu) c->intermediate = (c->intermediate * 2 / 3 + 7) / 8 * 8;
    c->eps = (float)eps;
    info->features = (bias ? QKV_BIAS : 0) | (swiglu ? SWIGLU : PLAIN);
    if (strcmp(m->class_name, "Dinov2ForImageClassification")) return MM_OK;
    info->features |= CLASSIFIES;
    return mmi_config_labels(ctx, m, doc, root);
}

static mmi_encoder_block_spec layer(mmi_io *io, int64_t l)
{
    const dinov2_config *c = io->model->config;
    mmi_encoder_block_spec b = {0};
    int swiglu = (io->model->info.features & SWIGLU) != 0;

    b.norm1 = mmi_layer_norm_spec(io, NORM1, l, c->eps);
    b.norm2 = mmi_layer_norm_spec(io, NORM2, l, c->eps);
    b.attention = mmi_layer_attention(io, Q, l, c->heads, c->heads, io->model->info.hidden / c->heads);
    b.feed_forward = mmi_layer_feed_forward(io, UP, l, swiglu ? MMI_ACT_SILU : c->act);
    b.feed_forward.gated = swiglu;
    b.scale1 = mmi_io_weight(io, SCALE1, l);
    b.scale2 = mmi_io_weight(io, SCALE2, l);
    return b;
}

/* Class token and mean of the patches side by side, [B, 2 C], into the classifier. */
static mmi_value classify(mmi_io *io, mmi_value x, mmi_value first)
{
    mmi_graph *g = io->g;
    const mmi_value_info *v;
    mmi_value patches, mean[2];

    if (g->status) return 0;
    v = mmi_graph_look(g, x);
    patches = mmi_slice(g, x, 1, 1, v->shape[1] - 1);
    mean[0] = first;
    mean[1] = mmi_mean(g, patches);
    return mmi_linear(g, mmi_concat(g, 1, mean, 2), mmi_io_weight(io, HEAD, -1), mmi_io_weight(io, HEAD_BIAS, -1), MMI_ACT_NONE);
}

/* pixel_values [B, M, H, W] -> last_hidden_state [B, 1 + N, C], pooler_output [B, C] (the class token), logits [B, L] */
static void build(mmi_io *io)
{
    const mmi_model_info *info = &io->model->info;
    const dinov2_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_norm_spec norm;
    mmi_patch_embedder_spec p = {info->patch, mmi_io_weight(io, PATCHES, -1), mmi_io_weight(io, PATCHES_BIAS, -1), mmi_io_weight(io, CLASS, -1),
                                 mmi_io_weight(io, POSITIONS, -1), info->image_size[0] / info->patch, info->image_size[1] / info->patch};
    mmi_value x = mmi_patch_embedder(g, mmi_io_require(io, "pixel_values", MM_DTYPE_F32, 4), &p), first; /* [B, 1 + N, C] */

    for (int64_t l = 0; l < info->layers && !g->status; l++) {
        mmi_encoder_block_spec b = layer(io, l);
        x = mmi_encoder_block(g, x, &b);
    }
    norm = mmi_layer_norm_spec(io, NORM, -1, c->eps);
    x = mmi_norm(g, x, &norm);
    first = mmi_select(g, x, 1, 0);
    mmi_io_output(io, "last_hidden_state", x);
    mmi_io_output(io, "pooler_output", first);
    if (info->classifies && mmi_io_wants(io, "logits")) mmi_io_output(io, "logits", classify(io, x, first));
}

static const char *const classes[] = {"Dinov2Model", "Dinov2ForImageClassification", NULL};
static const char *const prefixes[] = {"", "dinov2.", NULL};

const mmi_architecture mmi_dinov2 = {
    .name = "dinov2", .classes = classes, .prefixes = prefixes, .processor = "BitImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(dinov2_config), .read_hf = read_hf, .dimension = dimension,
    .build = build,
};
