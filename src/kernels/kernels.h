/* The dispatch table: every computation of libmm on raw pointers, sizes and strides.
 *
 * A kernel knows no graph and no threads: it does one task's share on the caller's thread. For a given level, what it
 * computes for one row never depends on how many rows or tasks there are, so results do not depend on threads or batch.
 * The table is filled with the reference versions and then overwritten level by level (MM_CPU_*).
 * Accumulation is float32 unless a comment says otherwise. Pointers need only the alignment of their type.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_KERNELS_H
#define MMI_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "mm_tensor.h"

/* Activations: names as in Hugging Face's hidden_act. */
typedef enum {
    MMI_ACT_NONE,
    MMI_ACT_RELU,
    MMI_ACT_GELU,       /* x Phi(x), erf form: arXiv:1606.08415 */
    MMI_ACT_GELU_TANH,  /* its tanh approximation (gelu_new, gelu_pytorch_tanh) */
    MMI_ACT_QUICK_GELU, /* x sigmoid(1.702 x) */
    MMI_ACT_SILU,       /* x sigmoid(x) */
    MMI_ACT_TANH,
    MMI_ACT_SIGMOID,
    MMI_ACT_COUNT
} mmi_activation;

/* Attention of a tile of query rows over one key/value head (FlashAttention: arXiv:2205.14135, online softmax over key
 * blocks of MMI_KEY_BLOCK at fixed positions, so that a row's result does not depend on the tile it is in).
 *
 * Keys lie transposed within blocks: element d of key j is keys[(j / MMI_KEY_BLOCK) * D * MMI_KEY_BLOCK + d * MMI_KEY_BLOCK
 * + j % MMI_KEY_BLOCK]; values are rows of D at distance value_stride. Both are f32 or f16, and both have room for whole
 * key blocks; what lies behind the last key is never used but must be readable (and may be NaN).
 * Row r sees keys first[r] <= j < last[r]; a row that sees none gives zeros. */
enum { MMI_KEY_BLOCK = 64 };

typedef struct {
    size_t rows;         /* query rows in this tile, at most MMI_QUERY_TILE */
    size_t dim;          /* D, at most 512, multiple of 1 */
    size_t value_dim;    /* columns of values and outputs */
    const float *const *queries; /* rows pointers to D floats */
    float *const *outputs;       /* rows pointers to value_dim floats */
    const void *keys;
    const void *values;
    size_t value_stride; /* elements from one key's value to the next */
    int32_t dtype;       /* of keys and values: MM_DTYPE_F32 or MM_DTYPE_F16 */
    const int32_t *first, *last;
    const float *const *bias; /* NULL, or rows pointers (each may be NULL) to a float per key, added to the scaled score; -INFINITY hides */
    float scale;         /* of q.k */
    float softcap;       /* 0: none; else c tanh(s / c) of the scaled score (Gemma 2) */
    float *scratch;      /* mmi_attention_scratch(D) floats, aligned to 64 */
} mmi_attention_tile;

enum { MMI_QUERY_TILE = 16 };
size_t mmi_attention_scratch(size_t dim, size_t value_dim); /* floats */

/* The numbers of one step of an optimizer. Below, g is `scale` times the gradient; w, m, v: weights and moments. */
typedef struct {
    float scale;
    float keep;         /* of the weights: 1 - lr * decay */
    float decay;        /* of the weights, added to the gradient */
    float rate;         /* of the step */
    float beta1, rest1; /* of the first moment: what is kept and what is added, 1 in sum */
    float beta2, rest2; /* of the second */
    float root, eps;    /* the step is divided by root sqrt(v) + eps */
    int nesterov;
} mmi_update;

/* One step of n weights in place. Each operation is rounded on its own, so that all levels give the same bits. */
typedef void (*mmi_update_fn)(const mmi_update *u, const float *gradient, float *w, float *m, float *v, size_t n);

/* Quantized activations of one row: see quant_pack.h. */
struct mmi_quant_tile;
/* Packed float weights: see float_linear.h. */
struct mmi_float_tile;

typedef struct mmi_kernels {
    int level; /* MM_CPU_* of this table */

    /* elementwise, n elements; y may be one of the inputs */
    void (*add)(const float *a, const float *b, float *y, size_t n);
    void (*mul)(const float *a, const float *b, float *y, size_t n);
    void (*scale)(const float *a, float s, float *y, size_t n);
    void (*activate)(mmi_activation act, const float *x, float *y, size_t n);
    void (*gate)(mmi_activation act, const float *gate, const float *up, float *y, size_t n); /* act(gate) * up */

    /* rows of n */
    void (*layer_norm)(const float *x, const float *w, const float *b, float eps, float *y, size_t n); /* w, b may be NULL: arXiv:1607.06450 */
    void (*rms_norm)(const float *x, const float *w, float w_offset, float eps, float *y, size_t n);   /* (w + w_offset) x / rms: arXiv:1910.07467; Gemma adds 1 */
    void (*softmax)(const float *x, float *y, size_t n);
    float (*dot)(const float *a, const float *b, size_t n); /* fixed order for a given n */
    /* Rotary embedding of one head (arXiv:2104.09864): pairs (i, i + half) when neox, else (2i, 2i + 1); cosines and sines are `half` floats; in place. */
    void (*rope)(float *x, const float *cosines, const float *sines, size_t half, int neox);

    /* Vector-Jacobian products of the above, from dy; dx may be dy. dw and db of norms are added to, NULL for none. */
    void (*activate_gradient)(mmi_activation act, const float *x, const float *dy, float *dx, size_t n);
    void (*gate_gradient)(mmi_activation act, const float *gate, const float *up, const float *dy, float *dgate, float *dup, size_t n);
    void (*layer_norm_gradient)(const float *x, const float *w, float eps, const float *dy, float *dx, float *dw, float *db, size_t n);
    void (*rms_norm_gradient)(const float *x, const float *w, float w_offset, float eps, const float *dy, float *dx, float *dw, size_t n);
    void (*softmax_gradient)(const float *y, const float *dy, float scale, float *dx, size_t n); /* dx = scale y (dy - y.dy) */
    double (*log_sum_exp)(const float *x, float scale, size_t n); /* log of the sum of e^(scale x), scale > 0; added in float64 */

    mmi_update_fn adamw;     /* m += rest1 (g - m); v = beta2 v + rest2 g^2; w = keep w - rate m / (root sqrt(v) + eps) */
    mmi_update_fn sgd;       /* g += decay w; m = beta1 m + g; w -= rate m, or when nesterov rate (g + beta1 m); m may be NULL: w -= rate g */
    mmi_update_fn lion;      /* w = keep w - rate sign(beta1 m + rest1 g); m = beta2 m + rest2 g */
    mmi_update_fn adafactor; /* w = keep w - rate g m; m stays */
    double (*sum_squares)(const float *a, const float *b, size_t n); /* of a b, or of a when b is NULL; in float64 */
    double (*column_squares)(const float *x, float scale, float *columns, size_t n); /* columns += (scale x)^2; returns their sum, in float64 */

    /* conversions of n elements; quantized rows through mmi_dequantize of block_quant.h */
    void (*from_f16)(const uint16_t *x, float *y, size_t n);
    void (*from_bf16)(const uint16_t *x, float *y, size_t n);
    void (*to_f16)(const float *x, uint16_t *y, size_t n);

    /* y[i * ldy + r] = dot(w[r], x + i * ldx) for `rows` rows of a row-major matrix of f32, f16 or bf16, row distance `stride` elements, and m
     * vectors of n (few: a small batch, reading w once); each result is the same whatever m is. */
    void (*matmul_rows)(int32_t dtype, const void *w, size_t stride, size_t rows, const float *x, size_t ldx, size_t m, size_t n,
                        float *y, size_t ldy);

    void (*attention)(const mmi_attention_tile *tile);
    /* Write n keys of `dim` floats, `stride` apart, to positions first_position .. of the key layout above, as f32 or f16.
     * Other positions keep what they hold. */
    void (*pack_keys)(const float *k, size_t stride, size_t n, size_t dim, int32_t dtype, void *keys, size_t first_position);

    /* Linear layers on packed float weights: see float_linear.h. float_pack packs one group; rows beyond `rows` become zeros. */
    void (*float_pack)(int32_t dtype, const void *w, size_t stride, size_t rows, size_t cols, void *group);
    void (*float_linear)(const struct mmi_float_tile *tile);

    /* Block-quantized linear: see quant_pack.h */
    void (*quantize_row)(const float *x, size_t n, size_t span, void *row); /* span: blocks that share a scale */
    void (*quant_linear)(const struct mmi_quant_tile *tile);
    void (*row_linear)(const struct mmi_quant_tile *tile); /* of Q8_ROW, its rows by spans of MMI_QUANT_SPAN */
} mmi_kernels;

/* Fill `k` for a level that the processor has. */
void mmi_kernels_init(mmi_kernels *k, int level);

/* One per level; each overwrites the entries that it makes faster. */
void mmi_kernels_reference(mmi_kernels *k);
void mmi_kernels_gradient_reference(mmi_kernels *k);
void mmi_kernels_update_reference(mmi_kernels *k);
void mmi_kernels_quant_reference(mmi_kernels *k);
#if defined(__x86_64__)
void mmi_kernels_avx2(mmi_kernels *k);
void mmi_kernels_quant_avx2(mmi_kernels *k);
void mmi_kernels_avx512(mmi_kernels *k);
void mmi_kernels_quant_avx512(mmi_kernels *k);
void mmi_kernels_quant_amx(mmi_kernels *k);
void mmi_kernels_row_avx2(mmi_kernels *k);
void mmi_kernels_row_amx(mmi_kernels *k);
#elif defined(__aarch64__)
void mmi_kernels_neon(mmi_kernels *k);
void mmi_kernels_quant_neon(mmi_kernels *k);
void mmi_kernels_quant_dotprod(mmi_kernels *k);
#endif

/* The context's table, made at the first call; NULL after MM_E_NOMEM. */
const mmi_kernels *mmi_kernels_of(mm_context *ctx);

#endif
