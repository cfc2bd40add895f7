/* The gradient of every op, of every input that can have one, beside central finite differences at the reference level, whose kernels add in float64; what grad.c does
 * with views and with values that are used twice; the other levels beside that one, and the same bits on any number of threads.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "attention_op.h"
#include "contrast_ops.h"
#include "dropout_op.h"
#include "grad.h"
#include "graph.h"
#include "index_ops.h"
#include "linear_op.h"
#include "loss_ops.h"
#include "plan.h"
#include "random.h"
#include "resize_op.h"
#include "row_ops.h"
#include "run.h"
#include "shape_ops.h"

enum { MAX_WEIGHTS = 6, MAX_ELEMENTS = 4096 };

typedef struct {
    int32_t rank;
    int64_t shape[MMI_MAX_RANK];
} shape;

/* An op under test: the shapes of its trained inputs, which come as weights (`flat` bits: as weights themselves, else as activations), and its builder. */
typedef struct {
    const char *name;
    shape in[MAX_WEIGHTS + 1]; /* until two of rank 0: one is a scalar */
    unsigned weights;
    mmi_value (*build)(mmi_graph *g, const mmi_value *x);
    double step; /* of the differences, 0: 0.01; the sum of many outputs, rounded to float32, needs a longer one */
} op_case;

static mm_context *ctx;

static int setup(void **state)
{
    (void)state;
    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    assert_int_equal(mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 2), MM_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mm_context_destroy(ctx);
    return 0;
}

static void ok(mm_status st)
{
    if (st) fail_msg("%s: %s", mm_status_name(st), mm_context_error(ctx));
}

static mmi_value ids(mmi_graph *g, int32_t rank, const int64_t *s, const int32_t *from)
{
    void *data = NULL;
    mmi_value v = mmi_graph_constant(g, MM_DTYPE_I32, rank, s, &data);
    assert_non_null(data);
    memcpy(data, from, (size_t)mmi_graph_elements(g, v) * 4);
    return v;
}

static mmi_value numbers(mmi_graph *g, int32_t rank, const int64_t *s, uint64_t seed)
{
    void *data = NULL;
    mmi_value v = mmi_graph_constant(g, MM_DTYPE_F32, rank, s, &data);
    assert_non_null(data);
    for (int64_t i = 0; i < mmi_graph_elements(g, v); i++) ((float *)data)[i] = (float)mmi_random_normal_at(seed, 1, (uint64_t)i);
    return v;
}

#define S(...) (int64_t[]){__VA_ARGS__}
#define I(...) (int32_t[]){__VA_ARGS__}

static mmi_value b_linear(mmi_graph *g, const mmi_value *x) { return mmi_linear(g, x[0], x[1], x[2], MMI_ACT_NONE); }
static mmi_value b_linear_gelu(mmi_graph *g, const mmi_value *x) { return mmi_linear(g, x[0], x[1], x[2], MMI_ACT_GELU); }
static mmi_value b_linear_parts(mmi_graph *g, const mmi_value *x)
{
    mmi_value w[2] = {x[1], x[2]}, b[2] = {0, x[3]};
    return mmi_linear_parts(g, x[0], w, b, 2, MMI_ACT_NONE);
}
static mmi_value b_adapted(mmi_graph *g, const mmi_value *x) /* low-rank terms beside one of two weights */
{
    mmi_weight *w = (mmi_weight *)(uintptr_t)mmi_graph_look(g, x[1])->weight;
    mmi_value weights[2] = {x[1], x[2]}, biases[2] = {x[5], 0};
    w->lora_a = mmi_graph_look(g, x[3])->weight;
    w->lora_b = mmi_graph_look(g, x[4])->weight;
    w->lora_scale = 1.5f;
    return mmi_linear_parts(g, x[0], weights, biases, 2, MMI_ACT_SILU);
}
static mmi_value b_adapted_dropout(mmi_graph *g, const mmi_value *x) /* what the terms read is dropped, and nothing else */
{
    g->dropout.adapters = 0.5f;
    return b_adapted(g, x);
}
static mmi_value b_dropout(mmi_graph *g, const mmi_value *x) { return mmi_dropout(g, mmi_transpose(g, mmi_dropout(g, x[0], 0.25f)), 0.6f); }
static uint16_t halves[70][5];
static const mmi_weight frozen = {.name = (char *)(uintptr_t) "frozen", .dtype = MM_DTYPE_F16, .rank = 2, .shape = {70, 5}, .rows = 70, .cols = 5, .data = halves};
static mmi_value b_frozen(mmi_graph *g, const mmi_value *x) /* a weight that is decoded, in more than one piece */
{
    for (unsigned i = 0; i < 350; i++) halves[i / 5][i % 5] = (uint16_t)(0x3000 + i * 37 % 1024 + (i % 3 ? 0x8000 : 0)); /* 1/8 to 1/4, of both signs */
    return mmi_linear(g, x[0], mmi_graph_weight(g, &frozen), 0, MMI_ACT_NONE);
}
static mmi_value b_many_rows(mmi_graph *g, const mmi_value *x) /* of several tasks in every op */
{
    mmi_value y = mmi_contiguous(g, mmi_repeat(g, x[0], 1, 1400));
    y = mmi_layer_norm(g, mmi_linear(g, y, x[1], x[2], MMI_ACT_GELU), x[3], x[4], 1e-5f);
    return mmi_linear(g, y, x[5], 0, MMI_ACT_NONE);
}
static mmi_value b_add(mmi_graph *g, const mmi_value *x) { return mmi_add(g, x[0], x[1]); }
static mmi_value b_mul(mmi_graph *g, const mmi_value *x) { return mmi_mul(g, x[0], x[1]); }
static mmi_value b_square(mmi_graph *g, const mmi_value *x) { return mmi_mul(g, x[0], x[0]); }
static mmi_value b_scale(mmi_graph *g, const mmi_value *x) { return mmi_scale(g, x[0], -1.5f); }
static mmi_value b_layer_norm(mmi_graph *g, const mmi_value *x) { return mmi_layer_norm(g, x[0], x[1], x[2], 1e-5f); }
static mmi_value b_bare_norm(mmi_graph *g, const mmi_value *x) { return mmi_layer_norm(g, x[0], 0, 0, 1e-5f); }
static mmi_value b_rms_norm(mmi_graph *g, const mmi_value *x) { return mmi_rms_norm(g, x[0], x[1], 1, 1e-5f); }
static mmi_value b_l2(mmi_graph *g, const mmi_value *x) { return mmi_l2_normalize(g, x[0]); }
static mmi_value b_gate(mmi_graph *g, const mmi_value *x) { return mmi_gate(g, x[0], MMI_ACT_SILU); }
static mmi_value b_gate_gelu(mmi_graph *g, const mmi_value *x) { return mmi_gate(g, x[0], MMI_ACT_GELU_TANH); }
#define ACT(name, act) static mmi_value name(mmi_graph *g, const mmi_value *x) { return mmi_activate(g, x[0], act); }
ACT(b_relu, MMI_ACT_RELU)
ACT(b_gelu, MMI_ACT_GELU)
ACT(b_gelu_tanh, MMI_ACT_GELU_TANH)
ACT(b_quick_gelu, MMI_ACT_QUICK_GELU)
ACT(b_silu, MMI_ACT_SILU)
ACT(b_tanh, MMI_ACT_TANH)
ACT(b_sigmoid, MMI_ACT_SIGMOID)
static mmi_value rotate(mmi_graph *g, mmi_value x, int neox)
{
    mmi_value angles = numbers(g, 1, S(2), 5), positions = ids(g, 2, S(2, 3), I(0, 1, 2, 3, 4, 5));
    return mmi_rope(g, x, mmi_rope_table(g, positions, angles, 1.25f), neox);
}
static mmi_value b_rope(mmi_graph *g, const mmi_value *x) { return rotate(g, x[0], 1); }
static mmi_value b_rope_pairs(mmi_graph *g, const mmi_value *x) { return rotate(g, x[0], 0); }
static mmi_value attend(mmi_graph *g, const mmi_value *x, const mmi_attention_spec *spec) { return mmi_attention(g, x[0], x[1], x[2], spec); }
static mmi_value b_attention(mmi_graph *g, const mmi_value *x) { return attend(g, x, &(mmi_attention_spec){.scale = 0.5f}); }
static mmi_value b_causal(mmi_graph *g, const mmi_value *x) { return attend(g, x, &(mmi_attention_spec){.scale = 0.5f, .causal = 1}); }
static mmi_value b_window(mmi_graph *g, const mmi_value *x) { return attend(g, x, &(mmi_attention_spec){.scale = 0.5f, .causal = 1, .window = 2}); }
static mmi_value b_softcap(mmi_graph *g, const mmi_value *x) { return attend(g, x, &(mmi_attention_spec){.scale = 0.5f, .softcap = 1.5f}); }
static mmi_value b_masked(mmi_graph *g, const mmi_value *x)
{
    mmi_value mask = mmi_mask_bias(g, ids(g, 2, S(2, 5), I(1, 0, 1, 1, 0, 0, 0, 0, 0, 0))); /* the second row sees nothing */
    return attend(g, x, &(mmi_attention_spec){.scale = 0.5f, .bias = mask});
}
static mmi_value b_bias(mmi_graph *g, const mmi_value *x) { return attend(g, x, &(mmi_attention_spec){.scale = 0.5f, .bias = x[3]}); }
static mmi_value b_distance(mmi_graph *g, const mmi_value *x)
{
    return attend(g, x, &(mmi_attention_spec){.scale = 0.5f, .distance = x[3], .distance_most = 8, .distance_both = 1});
}
static mmi_value b_distance_causal(mmi_graph *g, const mmi_value *x) /* behind a prefix, beside a bias that is trained too */
{
    return attend(g, x, &(mmi_attention_spec){.scale = 0.5f, .causal = 1, .distance = x[3], .distance_most = 6, .bias = x[4]});
}
static mmi_value b_everything(mmi_graph *g, const mmi_value *x)
{
    return attend(g, x, &(mmi_attention_spec){.scale = 0.5f, .causal = 1, .window = 3, .softcap = 2.0f, .bias = x[3], .distance = x[4], .distance_most = 8});
}
static mmi_value b_segments_bias(mmi_graph *g, const mmi_value *x)
{
    return attend(g, x, &(mmi_attention_spec){.scale = 0.5f, .window = 2, .bias = x[3], .distance = x[4], .distance_most = 8, .distance_both = 1,
                                              .segments = ids(g, 1, S(5), I(0, 3, 3, 4, 6))});
}
static mmi_value b_strided(mmi_graph *g, const mmi_value *x) /* queries, keys and values side by side, as a block has them */
{
    mmi_value q = mmi_split_last(g, mmi_slice(g, x[0], 2, 0, 16), 4, 4), k = mmi_split_last(g, mmi_slice(g, x[0], 2, 16, 8), 2, 4);
    return mmi_attention(g, q, k, mmi_split_last(g, mmi_slice(g, x[0], 2, 24, 8), 2, 4), &(mmi_attention_spec){.scale = 0.5f, .causal = 1});
}
static mmi_value b_segments(mmi_graph *g, const mmi_value *x)
{
    return attend(g, x, &(mmi_attention_spec){.scale = 0.5f, .causal = 1, .segments = ids(g, 1, S(4), I(0, 2, 2, 5))});
}
static mmi_value b_fused(mmi_graph *g, const mmi_value *x) /* slices of one value: 4 heads, 2 of keys */
{
    mmi_value q = mmi_split_last(g, mmi_slice(g, x[0], 2, 0, 12), 4, 3), k = mmi_split_last(g, mmi_slice(g, x[0], 2, 12, 6), 2, 3);
    return mmi_attention(g, q, k, mmi_split_last(g, mmi_slice(g, x[0], 2, 18, 4), 2, 2), &(mmi_attention_spec){.scale = 0.5f, .causal = 1});
}
static mmi_value b_transpose(mmi_graph *g, const mmi_value *x) { return mmi_contiguous(g, mmi_transpose(g, x[0])); }
static mmi_value b_slices(mmi_graph *g, const mmi_value *x) /* one part twice, one not at all */
{
    mmi_value a = mmi_slice(g, x[0], 1, 0, 2), b = mmi_slice(g, x[0], 1, 1, 2);
    return mmi_mul(g, mmi_contiguous(g, a), mmi_contiguous(g, b));
}
static mmi_value b_tiles(mmi_graph *g, const mmi_value *x) /* parts that cover their base */
{
    mmi_value a = mmi_split_last(g, mmi_slice(g, x[0], 1, 4, 4), 2, 2), b = mmi_split_last(g, mmi_slice(g, x[0], 1, 0, 4), 2, 2);
    return mmi_mul(g, mmi_contiguous(g, a), mmi_contiguous(g, b));
}
static mmi_value b_repeat(mmi_graph *g, const mmi_value *x) { return mmi_contiguous(g, mmi_repeat(g, x[0], 1, 3)); }
static mmi_value b_add_repeat(mmi_graph *g, const mmi_value *x) { return mmi_add(g, mmi_repeat(g, x[0], 1, 3), x[1]); }
static mmi_value b_linear_repeat(mmi_graph *g, const mmi_value *x) { return mmi_linear(g, mmi_repeat(g, x[0], 1, 6), x[1], 0, MMI_ACT_NONE); }
static mmi_value b_mean_beside(mmi_graph *g, const mmi_value *x) /* what the mean gives back is repeated rows, to be added to the product's */
{
    mmi_value both[2] = {mmi_reshape(g, mmi_mul(g, x[0], x[0]), 1, S(24)), 0};
    both[1] = mmi_reshape(g, mmi_mean(g, x[0]), 1, S(8));
    return mmi_concat(g, 0, both, 2);
}
static mmi_value b_concat(mmi_graph *g, const mmi_value *x) { return mmi_concat(g, 1, x, 3); }
static mmi_value b_lookup(mmi_graph *g, const mmi_value *x) { return mmi_lookup_from(g, ids(g, 2, S(2, 3), I(0, 3, 0, 1, 1, 0)), x[0], 1); }
static mmi_value b_merge_rows(mmi_graph *g, const mmi_value *x) { return mmi_merge_rows(g, x[0], ids(g, 2, S(2, 3), I(7, 9, 9, 9, 1, 2)), 9, x[1], "rows"); }
static mmi_value b_patches(mmi_graph *g, const mmi_value *x) { return mmi_patches(g, x[0], 2); }
static mmi_value b_windows(mmi_graph *g, const mmi_value *x) { return mmi_windows(g, x[0], 3, 2, 1); }
static mmi_value b_windows_transposed(mmi_graph *g, const mmi_value *x) { return mmi_windows(g, mmi_transpose(g, x[0]), 3, 1, 2); }
static mmi_value b_segment_mean(mmi_graph *g, const mmi_value *x) { return mmi_segment_mean(g, x[0], ids(g, 1, S(5), I(0, 3, 3, 4, 6))); }
static mmi_value b_segment_first(mmi_graph *g, const mmi_value *x) { return mmi_segment_first(g, x[0], ids(g, 1, S(5), I(0, 3, 3, 4, 6))); }
static mmi_value b_gather(mmi_graph *g, const mmi_value *x) { return mmi_gather(g, x[0], ids(g, 2, S(2, 3), I(3, 0, 3, 1, 2, 1))); }
static mmi_value b_similarity(mmi_graph *g, const mmi_value *x) { return mmi_similarity(g, x[0], x[1], x[2], x[3]); }
static mmi_value b_similarity_plain(mmi_graph *g, const mmi_value *x) { return mmi_similarity(g, x[0], x[1], x[2], 0); }
static mmi_value b_masked_error(mmi_graph *g, const mmi_value *x)
{
    void *mask = NULL;
    mmi_value m = mmi_graph_constant(g, MM_DTYPE_F32, 2, S(2, 3), &mask);
    assert_non_null(mask);
    memcpy(mask, (float[]){1, 0, 0.5f, 0, 2, 1}, 6 * sizeof(float));
    return mmi_masked_error(g, x[0], x[1], 1.5f, m);
}
static mmi_value b_bicubic(mmi_graph *g, const mmi_value *x) { return mmi_resize_grid(g, x[0], 5, 3, MMI_RESIZE_BICUBIC); }
static mmi_value b_bicubic_antialias(mmi_graph *g, const mmi_value *x) { return mmi_resize_grid(g, x[0], 2, 7, MMI_RESIZE_BICUBIC_ANTIALIAS); }
static mmi_value b_bilinear_antialias(mmi_graph *g, const mmi_value *x) { return mmi_resize_grid(g, x[0], 2, 7, MMI_RESIZE_BILINEAR_ANTIALIAS); }
static mmi_value b_grids(mmi_graph *g, const mmi_value *x)
{
    return mmi_resize_grids(g, x[0], ids(g, 2, S(3, 2), I(2, 3, 1, 4, 3, 3)), 9, MMI_RESIZE_BILINEAR_ANTIALIAS);
}
/* Of a sum the gradient comes back as it is, of a mean as a row that is repeated. */
static mmi_value b_mean_of_sum(mmi_graph *g, const mmi_value *x) { return mmi_mean(g, mmi_add(g, x[0], mmi_activate(g, x[0], MMI_ACT_TANH))); }
static mmi_value b_mean(mmi_graph *g, const mmi_value *x) { return mmi_mean(g, x[0]); }
static mmi_value b_likelihood(mmi_graph *g, const mmi_value *x) { return mmi_log_likelihood(g, x[0], ids(g, 1, S(4), I(2, MMI_IGNORED, 0, 4)), 0); }
static mmi_value b_smooth(mmi_graph *g, const mmi_value *x) { return mmi_log_likelihood(g, x[0], ids(g, 1, S(4), I(2, MMI_IGNORED, 0, 4)), 0.1f); }
static mmi_value b_soft(mmi_graph *g, const mmi_value *x) { return mmi_soft_likelihood(g, x[0], numbers(g, 2, S(4, 5), 9), 2.5f); }
static mmi_value b_log_sigmoid(mmi_graph *g, const mmi_value *x) { return mmi_log_sigmoid(g, x[0]); }
static mmi_value b_inner(mmi_graph *g, const mmi_value *x) { return mmi_inner(g, x[0], x[1]); }
static mmi_value b_scale_by(mmi_graph *g, const mmi_value *x) { return mmi_scale_by(g, x[0], mmi_inner(g, x[1], x[2])); }

static const op_case cases[] = {
    {"linear", {{3, {2, 3, 5}}, {2, {4, 5}}, {1, {4}}}, 6, b_linear, 0},
    {"linear then gelu", {{3, {2, 3, 5}}, {2, {4, 5}}, {1, {4}}}, 6, b_linear_gelu, 0},
    {"linear, two weights", {{2, {3, 5}}, {2, {4, 5}}, {2, {2, 5}}, {1, {2}}}, 14, b_linear_parts, 0},
    {"linear with an adapter", {{2, {3, 5}}, {2, {4, 5}}, {2, {3, 5}}, {2, {2, 5}}, {2, {4, 2}}, {1, {4}}}, 62, b_adapted, 0},
    {"linear with adapter dropout", {{2, {3, 5}}, {2, {4, 5}}, {2, {3, 5}}, {2, {2, 5}}, {2, {4, 2}}, {1, {4}}}, 62, b_adapted_dropout, 0},
    {"dropout, twice", {{3, {2, 7, 5}}}, 0, b_dropout, 0},
    {"linear, frozen halves", {{2, {6, 5}}}, 0, b_frozen, 0},
    {"many rows", {{3, {2, 1, 12}}, {2, {24, 12}}, {1, {24}}, {1, {24}}, {1, {24}}, {2, {5, 24}}}, 62, b_many_rows, 0.04},
    {"add", {{3, {2, 3, 4}}, {3, {2, 3, 4}}}, 0, b_add, 0},
    {"add, repeated", {{3, {2, 3, 4}}, {2, {3, 4}}}, 0, b_add, 0},
    {"add, a vector weight", {{3, {2, 3, 4}}, {1, {4}}}, 2, b_add, 0},
    {"add, a table", {{3, {2, 3, 4}}, {3, {1, 3, 4}}}, 2, b_add, 0},
    {"mul", {{3, {2, 3, 4}}, {3, {2, 3, 4}}}, 0, b_mul, 0},
    {"mul, repeated", {{3, {2, 3, 4}}, {1, {4}}}, 2, b_mul, 0},
    {"mul by itself", {{2, {3, 4}}}, 0, b_square, 0},
    {"scale", {{2, {3, 4}}}, 0, b_scale, 0},
    {"layer norm", {{3, {2, 3, 8}}, {1, {8}}, {1, {8}}}, 6, b_layer_norm, 0},
    {"layer norm without weights", {{3, {2, 3, 8}}}, 0, b_bare_norm, 0},
    {"RMS norm", {{3, {2, 3, 8}}, {1, {8}}}, 2, b_rms_norm, 0},
    {"l2 normalize", {{2, {3, 8}}}, 0, b_l2, 0},
    {"gate, silu", {{3, {2, 3, 8}}}, 0, b_gate, 0},
    {"gate, gelu_tanh", {{3, {2, 3, 8}}}, 0, b_gate_gelu, 0},
    {"relu", {{2, {3, 8}}}, 0, b_relu, 0},
    {"gelu", {{2, {3, 8}}}, 0, b_gelu, 0},
    {"gelu_tanh", {{2, {3, 8}}}, 0, b_gelu_tanh, 0},
    {"quick_gelu", {{2, {3, 8}}}, 0, b_quick_gelu, 0},
    {"silu", {{2, {3, 8}}}, 0, b_silu, 0},
    {"tanh", {{2, {3, 8}}}, 0, b_tanh, 0},
    {"sigmoid", {{2, {3, 8}}}, 0, b_sigmoid, 0},
    {"rope, halves", {{4, {2, 3, 2, 6}}}, 0, b_rope, 0},
    {"rope, pairs", {{4, {2, 3, 2, 6}}}, 0, b_rope_pairs, 0},
    {"attention", {{4, {2, 3, 2, 4}}, {4, {2, 5, 2, 4}}, {4, {2, 5, 2, 6}}}, 0, b_attention, 0},
    {"attention, grouped, causal", {{4, {2, 5, 4, 4}}, {4, {2, 5, 2, 4}}, {4, {2, 5, 2, 4}}}, 0, b_causal, 0},
    {"attention, causal behind", {{4, {1, 3, 2, 4}}, {4, {1, 5, 2, 4}}, {4, {1, 5, 2, 4}}}, 0, b_causal, 0},
    {"attention, a window", {{4, {1, 5, 2, 4}}, {4, {1, 5, 2, 4}}, {4, {1, 5, 2, 4}}}, 0, b_window, 0},
    {"attention, capped", {{4, {1, 3, 2, 4}}, {4, {1, 5, 2, 4}}, {4, {1, 5, 2, 4}}}, 0, b_softcap, 0},
    {"attention, masked", {{4, {2, 3, 2, 4}}, {4, {2, 5, 2, 4}}, {4, {2, 5, 2, 4}}}, 0, b_masked, 0},
    {"attention, a bias", {{4, {2, 3, 2, 4}}, {4, {2, 5, 2, 4}}, {4, {2, 5, 2, 4}}, {4, {1, 2, 3, 5}}}, 0, b_bias, 0},
    {"attention, a repeated bias", {{4, {2, 3, 2, 4}}, {4, {2, 5, 1, 4}}, {4, {2, 5, 1, 4}}, {4, {2, 1, 1, 5}}}, 0, b_bias, 0},
    {"attention, distances", {{4, {2, 5, 2, 4}}, {4, {2, 5, 2, 4}}, {4, {2, 5, 2, 4}}, {2, {8, 2}}}, 0, b_distance, 0},
    {"attention, segments", {{4, {1, 5, 4, 4}}, {4, {1, 5, 2, 4}}, {4, {1, 5, 2, 4}}}, 0, b_segments, 0},
    {"attention, distances behind", {{4, {2, 3, 2, 4}}, {4, {2, 5, 1, 4}}, {4, {2, 5, 1, 3}}, {2, {6, 2}}, {4, {1, 2, 1, 5}}}, 0, b_distance_causal, 0},
    {"attention, everything", {{4, {2, 5, 4, 4}}, {4, {2, 5, 2, 4}}, {4, {2, 5, 2, 6}}, {4, {1, 4, 1, 5}}, {2, {8, 4}}}, 16, b_everything, 0},
    {"attention, segments, bias", {{4, {1, 6, 4, 4}}, {4, {1, 6, 2, 4}}, {4, {1, 6, 2, 4}}, {4, {1, 1, 6, 6}}, {2, {8, 4}}}, 16, b_segments_bias, 0},
    {"attention, side by side", {{3, {2, 5, 32}}}, 0, b_strided, 0},
    {"attention, slices of one", {{3, {2, 5, 22}}}, 0, b_fused, 0},
    {"attention, many", {{4, {1, 70, 2, 4}}, {4, {1, 70, 1, 4}}, {4, {1, 70, 1, 4}}}, 0, b_causal, 0},
    {"transpose", {{3, {2, 3, 4}}}, 0, b_transpose, 0},
    {"overlapping slices", {{2, {2, 4}}}, 0, b_slices, 0},
    {"slices that cover", {{2, {3, 8}}}, 0, b_tiles, 0},
    {"repeat", {{3, {2, 1, 4}}}, 0, b_repeat, 0},
    {"add to what is repeated", {{3, {2, 1, 4}}, {3, {2, 3, 4}}}, 0, b_add_repeat, 0},
    {"add to one repeated", {{3, {1, 1, 4}}, {3, {1, 3, 4}}}, 0, b_add_repeat, 0},
    {"linear of one repeated", {{3, {1, 1, 4}}, {2, {3, 4}}}, 2, b_linear_repeat, 0},
    {"mean beside a product", {{3, {2, 3, 4}}}, 0, b_mean_beside, 0},
    {"concat", {{3, {2, 3, 4}}, {3, {1, 2, 4}}, {3, {2, 1, 4}}}, 0, b_concat, 0},
    {"lookup", {{2, {5, 130}}}, 1, b_lookup, 0},
    {"merge rows", {{3, {2, 3, 4}}, {2, {3, 4}}}, 0, b_merge_rows, 0},
    {"patches", {{4, {2, 3, 5, 4}}}, 0, b_patches, 0},
    {"windows", {{3, {2, 3, 7}}}, 0, b_windows, 0},
    {"windows, transposed", {{3, {2, 7, 3}}}, 0, b_windows_transposed, 0},
    {"segment mean", {{2, {6, 4}}}, 0, b_segment_mean, 0},
    {"segment first", {{3, {1, 6, 4}}}, 0, b_segment_first, 0},
    {"gather", {{3, {2, 4, 5}}}, 0, b_gather, 0},
    {"similarity", {{2, {3, 8}}, {2, {4, 8}}, {0}, {1, {1}}}, 12, b_similarity, 0},
    {"similarity without bias", {{2, {3, 8}}, {2, {4, 8}}, {1, {1}}}, 4, b_similarity_plain, 0},
    {"masked error", {{3, {2, 3, 4}}, {3, {2, 3, 4}}}, 0, b_masked_error, 0},
    {"bicubic", {{3, {3, 4, 5}}}, 0, b_bicubic, 0},
    {"bicubic, antialias", {{3, {5, 4, 70}}}, 0, b_bicubic_antialias, 0},
    {"bilinear, antialias", {{3, {5, 4, 3}}}, 0, b_bilinear_antialias, 0},
    {"grids", {{3, {4, 4, 70}}}, 0, b_grids, 0},
    {"mean", {{3, {2, 3, 4}}}, 0, b_mean, 0},
    {"mean of a sum", {{3, {2, 3, 4}}}, 0, b_mean_of_sum, 0},
    {"likelihood", {{2, {4, 5}}}, 0, b_likelihood, 0},
    {"likelihood, smoothed", {{2, {4, 5}}}, 0, b_smooth, 0},
    {"soft likelihood", {{2, {4, 5}}}, 0, b_soft, 0},
    {"log sigmoid", {{2, {3, 4}}}, 0, b_log_sigmoid, 0},
    {"inner", {{2, {3, 4}}, {1, {12}}}, 0, b_inner, 0},
    {"scale by", {{2, {3, 4}}, {1, {5}}, {1, {5}}}, 0, b_scale_by, 0},
};

typedef struct {
    mmi_weight weight[MAX_WEIGHTS];
    float data[MAX_WEIGHTS][MAX_ELEMENTS], gradient[MAX_WEIGHTS][MAX_ELEMENTS];
    size_t count[MAX_WEIGHTS], n;
} fixture;

static void prepare(fixture *f, const op_case *c, uint64_t seed)
{
    memset(f, 0, sizeof *f);
    for (size_t i = 0; i < MAX_WEIGHTS && (c->in[i].rank || c->in[i + 1].rank); i++) {
        mmi_weight *w = &f->weight[i];
        w->name = (char *)(uintptr_t)"weight";
        w->dtype = MM_DTYPE_F32;
        w->rank = c->in[i].rank;
        f->count[i] = 1;
        for (int32_t d = 0; d < w->rank; d++) f->count[i] *= (size_t)(w->shape[d] = c->in[i].shape[d]);
        assert_true(f->count[i] <= MAX_ELEMENTS);
        w->rows = w->rank > 1 ? (size_t)w->shape[0] : 1;
        w->cols = f->count[i] / w->rows;
        w->data = f->data[i];
        w->gradient = f->gradient[i];
        for (size_t k = 0; k < f->count[i]; k++) {
            float v = (float)mmi_random_normal_at(seed, i, k);
            f->data[i][k] = fabsf(v) < 0.05f ? copysignf(0.05f, v) : v; /* a difference is none across ReLU's corner */
        }
        f->n++;
    }
}

/* sum of a fixed random vector times the op's output, so that every element counts */
static double loss_of(fixture *f, const op_case *c, int gradients)
{
    mmi_graph *g = NULL;
    mmi_value x[MAX_WEIGHTS], y, loss;
    double result;

    ok(mmi_graph_create(ctx, &g));
    g->trains = 1;
    for (size_t i = 0; i < f->n; i++) {
        x[i] = mmi_graph_weight(g, &f->weight[i]);
        if (!(c->weights >> i & 1)) x[i] = mmi_weight_value(g, x[i]);
    }
    y = c->build(g, x);
    ok(g->status);
    loss = mmi_inner(g, y, numbers(g, 1, S(mmi_graph_elements(g, y)), 77));
    mmi_graph_output(g, "loss", loss);
    if (gradients) mmi_graph_gradients(g, loss, 1, 0);
    ok(mmi_graph_plan(g));
    ok(mmi_graph_run(g, NULL));
    result = *(const float *)mmi_graph_result(g, loss);
    mmi_graph_destroy(g);
    return result;
}

/* Richardson's step makes the truncation error of central differences one of the fourth order. */
static double difference(fixture *f, const op_case *c, float *at, double h)
{
    float was = *at, up = (float)((double)was + h), down = (float)((double)was - h);
    double high, low;

    *at = up;
    high = loss_of(f, c, 0);
    *at = down;
    low = loss_of(f, c, 0);
    *at = was;
    return (high - low) / ((double)up - (double)down);
}

static void check_case(const op_case *c)
{
    fixture *f = malloc(sizeof *f);

    assert_non_null(f);
    prepare(f, c, 3);
    (void)loss_of(f, c, 1);
    for (size_t i = 0; i < f->n; i++) {
        double largest = 1e-6, worst = 0, h = c->step > 0 ? c->step : 0.01;
        size_t step = 1 + f->count[i] / 64;
        for (size_t k = 0; k < f->count[i]; k++) largest = fmax(largest, fabs((double)f->gradient[i][k]));
        for (size_t k = 0; k < f->count[i]; k += step) {
            double d = (4 * difference(f, c, &f->data[i][k], h) - difference(f, c, &f->data[i][k], 2 * h)) / 3;
            worst = fmax(worst, fabs(d - (double)f->gradient[i][k]));
        }
        if (!(worst <= 2e-4 * largest)) fail_msg("%s, input %zu: off by %g of %g", c->name, i, worst, largest);
        print_message("%-28s input %zu: %.1e of %.3g\n", c->name, i, worst / largest, largest);
    }
    free(f);
}

/* One pass on so many threads at a level. */
static void pass_at(fixture *f, const op_case *c, int64_t level, int64_t threads)
{
    ok(mm_context_set_i64(ctx, MM_CONTEXT_CPU_LEVEL, level));
    ok(mm_context_set_i64(ctx, MM_CONTEXT_THREADS, threads));
    prepare(f, c, 3);
    (void)loss_of(f, c, 1);
}

static void test_levels_and_threads(void **state)
{
    fixture *reference = malloc(sizeof *reference), *f = malloc(sizeof *f), *g = malloc(sizeof *g);
    double worst = 0;
    (void)state;

    assert_true(reference && f && g);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const op_case *c = &cases[i];
        pass_at(reference, c, MM_CPU_REFERENCE, 1);
        for (int64_t level = MM_CPU_REFERENCE; level <= MM_CPU_AVX512; level++) { /* a missing one runs the highest again */
            pass_at(f, c, level, 1);
            for (int64_t threads = 2; threads <= 3; threads++) {
                pass_at(g, c, level, threads);
                assert_memory_equal(f->gradient, g->gradient, sizeof f->gradient);
            }
            for (size_t k = 0; k < f->n; k++) {
                double largest = 1e-6, off = 0;
                for (size_t e = 0; e < f->count[k]; e++) {
                    largest = fmax(largest, fabs((double)reference->gradient[k][e]));
                    off = fmax(off, fabs((double)reference->gradient[k][e] - (double)f->gradient[k][e]));
                }
                worst = fmax(worst, off / largest);
                if (!(off <= 1e-5 * largest)) fail_msg("%s, input %zu: level %d is off by %g of %g", c->name, k, (int)level, off, largest);
            }
        }
    }
    print_message("levels differ by %.1e at most\n", worst);
    free(reference);
    free(f);
    free(g);
}

static void test_ops(void **state)
{
    (void)state;
    ok(mm_context_set_i64(ctx, MM_CONTEXT_CPU_LEVEL, MM_CPU_REFERENCE));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case(&cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_ops, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_levels_and_threads, setup, teardown)};
    return cmocka_run_group_tests_name("gradients", tests, NULL, NULL);
}
