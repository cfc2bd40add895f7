/* DINOv2: Oquab et al. 2023 (arXiv:2304.07193). A Vision Transformer with layer scale, positions interpolated to the picture's grid, and
 * a SwiGLU feed-forward in its largest form; with registers (Darcet et al. 2024, arXiv:2309.16588) some tokens more that stand for no patch.
 * From a Hugging Face directory.
 * SPDX-License-Identifier: MIT */
#include "dinov2.h"

#include <string.h>

#include "architecture_config.h"
#include "encoder_stack.h"
#include "layer_weights.h"
#include "linear_op.h"
#include "shape_ops.h"

typedef struct {
    mmi_stack_config stack;
    int64_t registers;
} dinov2_config;

enum { QKV_BIAS = 1, CLASSIFIES = 2, PLAIN = 4, SWIGLU = 8, REGISTERS = 16 };

enum {
    CLASS, REGISTER, POSITIONS, PATCHES, PATCHES_BIAS, NORM, NORM_BIAS, HEAD, HEAD_BIAS, LAYER
};

#define ATTENTION(old, new, kind) "encoder.layer.%." old kind "|encoder.layer.%.attention." new kind /* in files, and as modules are named since */

/* C hidden, N positions with the class token's, M channels, P patch side, I intermediate, L labels, R registers */
static const mmi_weight_row rows[] = {
    {CLASS, "embeddings.cls_token", NULL, "1,1,C", 0, MMI_ROW_TABLE},
    {REGISTER, "embeddings.register_tokens", NULL, "1,R,C", REGISTERS, MMI_ROW_TABLE},
    {POSITIONS, "embeddings.position_embeddings", NULL, "1,N,C", 0, MMI_ROW_TABLE},
    {PATCHES, "embeddings.patch_embeddings.projection.weight", NULL, "C,M,P,P", 0, 0},
    {PATCHES_BIAS, "embeddings.patch_embeddings.projection.bias", NULL, "C", 0, 0},
    {NORM, "layernorm.weight", NULL, "C", 0, 0},
    {NORM_BIAS, "layernorm.bias", NULL, "C", 0, 0},
    {HEAD, "/classifier.weight", NULL, "L,2C", CLASSIFIES, 0},
    {HEAD_BIAS, "/classifier.bias", NULL, "L", CLASSIFIES, 0},
    {LAYER + MMI_STACK_NORM1, "encoder.layer.%.norm1.weight", NULL, "C", 0, 0},
    {LAYER + MMI_STACK_NORM1_BIAS, "encoder.layer.%.norm1.bias", NULL, "C", 0, 0},
    {LAYER + MMI_STACK_Q, ATTENTION("attention.attention.query", "q_proj", ".weight"), NULL, "C,C", 0, MMI_ROW_RENAMED},
    {LAYER + MMI_STACK_Q_BIAS, ATTENTION("attention.attention.query", "q_proj", ".bias"), NULL, "C", QKV_BIAS, MMI_ROW_RENAMED},
    {LAYER + MMI_STACK_K, ATTENTION("attention.attention.key", "k_proj", ".weight"), NULL, "C,C", 0, MMI_ROW_RENAMED},
    {LAYER + MMI_STACK_K_BIAS, ATTENTION("attention.attention.key", "k_proj", ".bias"), NULL, "C", QKV_BIAS, MMI_ROW_RENAMED},
    {LAYER + MMI_STACK_V, ATTENTION("attention.attention.value", "v_proj", ".weight"), NULL, "C,C", 0, MMI_ROW_RENAMED},
    {LAYER + MMI_STACK_V_BIAS, ATTENTION("attention.attention.value", "v_proj", ".bias"), NULL, "C", QKV_BIAS, MMI_ROW_RENAMED},
    {LAYER + MMI_STACK_O, ATTENTION("attention.output.dense", "o_proj", ".weight"), NULL, "C,C", 0, MMI_ROW_RENAMED},
    {LAYER + MMI_STACK_O_BIAS, ATTENTION("attention.output.dense", "o_proj", ".bias"), NULL, "C", 0, MMI_ROW_RENAMED},
    {LAYER + MMI_STACK_SCALE1, "encoder.layer.%.layer_scale1.lambda1", NULL, "C", 0, 0},
    {LAYER + MMI_STACK_NORM2, "encoder.layer.%.norm2.weight", NULL, "C", 0, 0},
    {LAYER + MMI_STACK_NORM2_BIAS, "encoder.layer.%.norm2.bias", NULL, "C", 0, 0},
    {LAYER + MMI_STACK_UP, "encoder.layer.%.mlp.fc1.weight", NULL, "I,C", PLAIN, 0},
    {LAYER + MMI_STACK_UP_BIAS, "encoder.layer.%.mlp.fc1.bias", NULL, "I", PLAIN, 0},
    {LAYER + MMI_STACK_DOWN, "encoder.layer.%.mlp.fc2.weight", NULL, "C,I", PLAIN, 0},
    {LAYER + MMI_STACK_DOWN_BIAS, "encoder.layer.%.mlp.fc2.bias", NULL, "C", PLAIN, 0},
    {LAYER + MMI_STACK_UP, "encoder.layer.%.mlp.weights_in.weight", NULL, "2I,C", SWIGLU, 0},
    {LAYER + MMI_STACK_UP_BIAS, "encoder.layer.%.mlp.weights_in.bias", NULL, "2I", SWIGLU, 0},
    {LAYER + MMI_STACK_DOWN, "encoder.layer.%.mlp.weights_out.weight", NULL, "C,I", SWIGLU, 0},
    {LAYER + MMI_STACK_DOWN_BIAS, "encoder.layer.%.mlp.weights_out.bias", NULL, "C", SWIGLU, 0},
    {LAYER + MMI_STACK_SCALE2, "encoder.layer.%.layer_scale2.lambda1", NULL, "C", 0, 0},
};

static int64_t dimension(const mm_model *m, char letter)
{
    const dinov2_config *c = m->config;
    switch (letter) {
    case 'R': return c->registers;
    case 'L': return (int64_t)m->n_labels;
    default: return mmi_stack_vision_dimension(m, &c->stack, letter);
    }
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    static const mmi_stack_keys keys = {"num_hidden_layers", "hidden_size", "num_attention_heads", NULL, "layer_norm_eps", "hidden_act"};
    const mmi_json_node *root = mmi_json_root(doc);
    dinov2_config *c = m->config;
    mmi_model_info *info = &m->info;
    double ratio = 4;
    int bias = 1, swiglu = 0;
    mm_status st;

    c->stack = (mmi_stack_config){12, 768, 12, 0, 1e-6f, MMI_ACT_GELU};
    c->registers = 4;
    if ((st = mmi_stack_config_read(ctx, doc, root, &keys, &c->stack))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "mlp_ratio", 0, 0.01, 64, &ratio))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "qkv_bias", 0, &bias))) return st;
    if ((st = mmi_json_bool(ctx, doc, root, "use_swiglu_ffn", 0, &swiglu))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_register_tokens", 0, 0, 4096, &c->registers))) return st;
    if ((st = mmi_config_image(ctx, m, doc, root, 224, 14))) return st;
    if (info->image_size[0] != info->image_size[1]) /* the trained grid is taken to be square, as the reference does */
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: image_size is not square", mmi_json_name(doc));
    if (m->arch != &mmi_dinov2_with_registers) c->registers = 0;
    c->stack.intermediate = (int64_t)((double)c->stack.hidden * ratio);
    if (swiglu) {
        c->stack.intermediate = (c->stack.intermediate * 2 / 3 + 7) / 8 * 8;
        c->stack.act = MMI_ACT_SILU;
    }
    info->layers = c->stack.layers;
    info->hidden = c->stack.hidden;
    info->features = (bias ? QKV_BIAS : 0) | (swiglu ? SWIGLU : PLAIN) | (c->registers ? REGISTERS : 0);
    if (!strstr(m->class_name, "ForImageClassification")) return MM_OK;
    info->features |= CLASSIFIES;
    return mmi_config_labels(ctx, m, doc, root);
}

/* Class token and mean of the patches side by side, [B, 2 C], into the classifier. */
static mmi_value classify(mmi_io *io, mmi_value x, mmi_value first)
{
    const dinov2_config *c = io->model->config;
    mmi_graph *g = io->g;
    const mmi_value_info *v;
    mmi_value patches, mean[2];

    if (g->status) return 0;
    v = mmi_graph_look(g, x);
    patches = mmi_slice(g, x, 1, 1 + c->registers, v->shape[1] - 1 - c->registers);
    mean[0] = first;
    mean[1] = mmi_mean(g, patches);
    return mmi_linear(g, mmi_concat(g, 1, mean, 2), mmi_io_weight(io, HEAD, -1), mmi_io_weight(io, HEAD_BIAS, -1), MMI_ACT_NONE);
}

/* pixel_values [B, M, H, W] -> last_hidden_state [B, 1 + R + N, C], pooler_output [B, C] (the class token), logits [B, L] */
static void build(mmi_io *io)
{
    const mmi_model_info *info = &io->model->info;
    const dinov2_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_stack_spec stack = {.first = LAYER, .scaled = 1, .gated = (info->features & SWIGLU) != 0};
    mmi_norm_spec norm = mmi_layer_norm_spec(io, NORM, -1, c->stack.eps);
    mmi_patch_embedder_spec p = mmi_stack_patches(io, CLASS, POSITIONS);
    mmi_value x, first;

    p.registers = mmi_io_weight(io, REGISTER, -1);
    p.resize = io->model->arch == &mmi_dinov2 ? MMI_RESIZE_BICUBIC : MMI_RESIZE_BICUBIC_ANTIALIAS;
    x = mmi_patch_embedder(g, mmi_io_require(io, "pixel_values", MM_DTYPE_F32, 4), &p); /* [B, 1 + R + N, C] */
    x = mmi_norm(g, mmi_encoder_stack(io, x, &c->stack, &stack), &norm);
    first = mmi_select(g, x, 1, 0);
    mmi_io_output(io, "last_hidden_state", x);
    mmi_io_output(io, "pooler_output", first);
    if (info->classifies && mmi_io_wants(io, "logits")) mmi_io_output(io, "logits", classify(io, x, first));
}

static const char *const classes[] = {"Dinov2Model", "Dinov2ForImageClassification", NULL};
static const char *const registers_classes[] = {"Dinov2WithRegistersModel", "Dinov2WithRegistersForImageClassification", NULL};
static const char *const prefixes[] = {"dinov2.", "", NULL}, *const registers_prefixes[] = {"dinov2_with_registers.", "", NULL};

const mmi_architecture mmi_dinov2 = {
    .name = "dinov2", .classes = classes, .prefixes = prefixes, .processor = "BitImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(dinov2_config), .read_hf = read_hf, .dimension = dimension,
    .build = build,
};
const mmi_architecture mmi_dinov2_with_registers = {
    .name = "dinov2_with_registers", .classes = registers_classes, .prefixes = registers_prefixes, .processor = "BitImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(dinov2_config), .read_hf = read_hf, .dimension = dimension,
    .build = build,
};
