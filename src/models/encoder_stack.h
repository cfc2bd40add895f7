/* A stack of encoder blocks, as text and vision encoders have it: its configuration, its weights, its loop. The rows of a layer stand in one
 * order of slots in every architecture's table, and architectures whose files name a layer's tensors alike share the names.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_ENCODER_STACK_H
#define MMI_ENCODER_STACK_H

#include "graph.h"
#include "io.h"
#include "kernels.h"
#include "patch_embedder.h"

/* Slots of a stack, counted from its first. */
enum {
    MMI_STACK_NORM1, MMI_STACK_NORM1_BIAS, MMI_STACK_Q, MMI_STACK_Q_BIAS, MMI_STACK_K, MMI_STACK_K_BIAS, MMI_STACK_V, MMI_STACK_V_BIAS,
    MMI_STACK_O, MMI_STACK_O_BIAS, MMI_STACK_NORM2, MMI_STACK_NORM2_BIAS, MMI_STACK_UP, MMI_STACK_UP_BIAS, MMI_STACK_DOWN, MMI_STACK_DOWN_BIAS,
    MMI_STACK_SCALE1, MMI_STACK_SCALE2, MMI_STACK_SLOTS
};

/* Rows of a layer: NAME(part, kind) makes the name of a tensor of it ("layers.%." part kind; kind is ".weight" or ".bias"), where query, key
 * and value, the output projection, both norms and both linear layers are called so; C and I stand for the letters of hidden and
 * intermediate size, `qkv_bias` for the feature of their biases. */
#define MMI_STACK_ROWS(first, NAME, q, k, v, o, norm1, norm2, up, down, C, I, qkv_bias, flags)            \
    {(first) + MMI_STACK_NORM1, NAME(norm1, ".weight"), NULL, C, 0, flags},                                \
    {(first) + MMI_STACK_NORM1_BIAS, NAME(norm1, ".bias"), NULL, C, 0, flags},                             \
    {(first) + MMI_STACK_Q, NAME(q, ".weight"), NULL, C "," C, 0, flags},                                  \
    {(first) + MMI_STACK_Q_BIAS, NAME(q, ".bias"), NULL, C, qkv_bias, flags},                              \
    {(first) + MMI_STACK_K, NAME(k, ".weight"), NULL, C "," C, 0, flags},                                  \
    {(first) + MMI_STACK_K_BIAS, NAME(k, ".bias"), NULL, C, qkv_bias, flags},                              \
    {(first) + MMI_STACK_V, NAME(v, ".weight"), NULL, C "," C, 0, flags},                                  \
    {(first) + MMI_STACK_V_BIAS, NAME(v, ".bias"), NULL, C, qkv_bias, flags},                              \
    {(first) + MMI_STACK_O, NAME(o, ".weight"), NULL, C "," C, 0, flags},                                  \
    {(first) + MMI_STACK_O_BIAS, NAME(o, ".bias"), NULL, C, 0, flags},                                     \
    {(first) + MMI_STACK_NORM2, NAME(norm2, ".weight"), NULL, C, 0, flags},                                \
    {(first) + MMI_STACK_NORM2_BIAS, NAME(norm2, ".bias"), NULL, C, 0, flags},                             \
    {(first) + MMI_STACK_UP, NAME(up, ".weight"), NULL, I "," C, 0, flags},                                \
    {(first) + MMI_STACK_UP_BIAS, NAME(up, ".bias"), NULL, I, 0, flags},                                   \
    {(first) + MMI_STACK_DOWN, NAME(down, ".weight"), NULL, C "," I, 0, flags},                            \
    {(first) + MMI_STACK_DOWN_BIAS, NAME(down, ".bias"), NULL, C, 0, flags}

/* As ViT's and CLIP's files name them. The modules of ViT's classes have had other names since, so NAME(old, new, kind) gives both. */
#define MMI_VIT_Q "attention.attention.query", "attention.q_proj"
#define MMI_VIT_K "attention.attention.key", "attention.k_proj"
#define MMI_VIT_V "attention.attention.value", "attention.v_proj"
#define MMI_VIT_O "attention.output.dense", "attention.o_proj"
#define MMI_VIT_NORM1 "layernorm_before", "layernorm_before"
#define MMI_VIT_NORM2 "layernorm_after", "layernorm_after"
#define MMI_VIT_UP "intermediate.dense", "mlp.fc1"
#define MMI_VIT_DOWN "output.dense", "mlp.fc2"
#define MMI_STACK_ROWS_VIT(first, NAME, C, I, qkv_bias, flags)                                                                             \
    MMI_STACK_ROWS(first, NAME, MMI_VIT_Q, MMI_VIT_K, MMI_VIT_V, MMI_VIT_O, MMI_VIT_NORM1, MMI_VIT_NORM2, MMI_VIT_UP, MMI_VIT_DOWN, C, I, \
                   qkv_bias, (flags) | MMI_ROW_RENAMED)
#define MMI_STACK_ROWS_CLIP(first)                                                                                                       \
    MMI_STACK_ROWS(first, MMI_CLIP_LAYER, "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "layer_norm1", \
                   "layer_norm2", "mlp.fc1", "mlp.fc2", "C", "I", 0, 0)
#define MMI_VIT_LAYER(old, new, kind) "encoder.layer.%." old kind "|layers.%." new kind
#define MMI_CLIP_LAYER(part, kind) "encoder.layers.%." part kind

typedef struct {
    int64_t layers, hidden, heads, intermediate;
    float eps;
    mmi_activation act;
} mmi_stack_config;

/* Keys of config.json; NULL: not read. */
typedef struct {
    const char *layers, *hidden, *heads, *intermediate, *eps, *act;
} mmi_stack_keys;

extern const mmi_stack_keys mmi_stack_usual_keys; /* num_hidden_layers, hidden_size, ... */

/* Reads and checks; an absent key leaves what *c holds, or is an error when that is 0. */
mm_status mmi_stack_config_read(mm_context *ctx, const mmi_json *doc, const mmi_json_node *root, const mmi_stack_keys *keys, mmi_stack_config *c);

/* The hidden size divides into heads that the attention takes; `where` names the file in the message. */
mm_status mmi_stack_config_check(mm_context *ctx, const char *where, const mmi_stack_config *c);

/* The letters that vision encoders share: C hidden, I intermediate, M channels, P patch side, X values of a patch, N positions with the class
 * token's; -1 for others. */
int64_t mmi_stack_vision_dimension(const mm_model *m, const mmi_stack_config *c, char letter);

/* The patch embedder of a picture of the trained size; slots in a row: positions, patches, bias of the patches. class_token is its slot. */
mmi_patch_embedder_spec mmi_stack_patches(mmi_io *io, int class_token, int positions);

typedef struct {
    int first;       /* slot */
    int post_norm;   /* see mmi_encoder_block_spec */
    int gated;       /* feed-forward */
    int causal;
    mmi_value bias;  /* of the attention, 0 for none */
    int scaled;      /* each half by the layer's scales (arXiv:2103.17239) */
    int silent;      /* its states and attention are not the model's hidden_states and attentions */
} mmi_stack_spec;

/* x [B, T, C] through layer l. */
mmi_value mmi_encoder_layer(mmi_io *io, mmi_value x, const mmi_stack_config *c, const mmi_stack_spec *spec, int64_t l);

/* x [B, T, C] through all layers, within the segments of `io`; gives hidden_states.0 to hidden_states.<layers>. */
mmi_value mmi_encoder_stack(mmi_io *io, mmi_value x, const mmi_stack_config *c, const mmi_stack_spec *spec);

#endif
