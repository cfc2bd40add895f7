/* Attention over key blocks, written once for any vector length: included after a vector_*.h, with TILE_ROWS (4) and
 * TILE_VECTORS (2 or 4) defined.
 *
 * Both products, q . K and weights . V, are the same small matrix product y[r][:] += sum over k of a[r][k] * b[k][:] with lanes
 * along the columns of b and k in order, one FMA each: each sum sees the same operations in the same order whatever rows stand
 * beside it. Scores, weights and sums are float32.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_ATTENTION_TEMPLATE_H
#define MMI_ATTENTION_TEMPLATE_H

#include <float.h>
#include <math.h>

#include "kernels.h"
#include "size.h"
#include "vector_math.h"

/* ---- the product ---- */

typedef struct {
    const float *const *a; /* rows of factors */
    size_t a_first;        /* element of each row that b's row 0 meets */
    const void *b;
    size_t ldb;
    size_t k;
    float *y; /* rows ldy apart, aligned, with room for whole vectors */
    size_t ldy;
    int add;  /* to y, else y is overwritten */
} product;

static ALWAYS_INLINE vec load_column(int32_t dtype, const void *b, size_t i, int partial, mask tail)
{
    if (dtype == MM_DTYPE_F16) {
        const uint16_t *p = (const uint16_t *)b + i;
        return partial ? v_load_f16_masked(p, tail) : v_load_f16(p);
    }
    return partial ? v_load_masked((const float *)b + i, tail) : v_load((const float *)b + i);
}

/* R rows by V vectors of columns; with `partial` the last vector has columns of `tail` only. */
static ALWAYS_INLINE void product_tile(size_t R, size_t V, int32_t dtype, int partial, const product *p, size_t row, size_t column,
                                       mask tail)
{
    const float *a[TILE_ROWS];
    vec sum[TILE_ROWS][TILE_VECTORS], b[TILE_VECTORS];
    float *const y = p->y + row * p->ldy + column;
    const size_t ldy = p->ldy, ldb = p->ldb, k = p->k;

    UNROLL for (size_t r = 0; r < R; r++)
    {
        a[r] = p->a[row + r] + p->a_first;
        UNROLL for (size_t v = 0; v < V; v++) sum[r][v] = p->add ? v_load(y + r * ldy + v * LANES) : v_zero();
    }
    size_t at = column;
    for (size_t i = 0; i < k; i++, at += ldb) {
        UNROLL for (size_t v = 0; v < V; v++) b[v] = load_column(dtype, p->b, at + v * LANES, partial && v + 1 == V, tail);
        UNROLL for (size_t r = 0; r < R; r++)
        {
            const vec factor = v_set(a[r][i]);
            UNROLL for (size_t v = 0; v < V; v++) sum[r][v] = v_fma(factor, b[v], sum[r][v]);
        }
    }
    UNROLL for (size_t r = 0; r < R; r++)
    {
        UNROLL for (size_t v = 0; v < V; v++) v_store(y + r * ldy + v * LANES, sum[r][v]);
    }
}

static ALWAYS_INLINE void product_rows(size_t R, int32_t dtype, const product *p, size_t row, size_t columns)
{
    const mask none = m_first(0);
    size_t c = 0;
    for (; c + TILE_VECTORS * LANES <= columns; c += TILE_VECTORS * LANES) product_tile(R, TILE_VECTORS, dtype, 0, p, row, c, none);
    switch ((columns - c) / LANES) {
    case 3: product_tile(R, 3 < TILE_VECTORS ? 3 : 1, dtype, 0, p, row, c, none); break;
    case 2: product_tile(R, 2 < TILE_VECTORS ? 2 : 1, dtype, 0, p, row, c, none); break;
    case 1: product_tile(R, 1, dtype, 0, p, row, c, none); break;
    default: break;
    }
    c = columns / LANES * LANES;
    if (c < columns) product_tile(R, 1, dtype, 1, p, row, c, m_first(columns - c));
}

static ALWAYS_INLINE void product_as(int32_t dtype, const product *p, size_t row, size_t rows, size_t columns)
{
    switch (rows) {
    case 4: product_rows(4, dtype, p, row, columns); break;
    case 3: product_rows(3, dtype, p, row, columns); break;
    case 2: product_rows(2, dtype, p, row, columns); break;
    case 1: product_rows(1, dtype, p, row, columns); break;
    default: break;
    }
}

/* Rows row .. row + rows - 1 (at most TILE_ROWS) of the product, `columns` of them. */
static inline void multiply(int32_t dtype, const product *p, size_t row, size_t rows, size_t columns)
{
    if (dtype == MM_DTYPE_F16) product_as(MM_DTYPE_F16, p, row, rows, columns);
    else product_as(MM_DTYPE_F32, p, row, rows, columns);
}

/* ---- online softmax ---- */

/* One tile's state: see mmi_attention_scratch. */
typedef struct {
    const mmi_attention_tile *t;
    size_t columns;   /* value_dim rounded up to whole vectors */
    float *weights;   /* [rows, MMI_KEY_BLOCK]: scores, then exp(score - top) */
    float *sums;      /* [rows, columns] of weighted values */
    float *totals;    /* [rows, 16] of weights: a vector of partial sums each */
    float *wide;      /* a key or value block as f32 */
    float tops[MMI_QUERY_TILE];  /* the largest score of each row */
    const float *weight_rows[MMI_QUERY_TILE];
    /* keys of the current block that each row sees: lo <= j < hi, 0 <= lo, hi <= MMI_KEY_BLOCK; none: lo = hi = 0 */
    size_t lo[MMI_QUERY_TILE], hi[MMI_QUERY_TILE];
} state;

/* Turn a row's products into scores, -infinity for what it does not see; returns the largest. NaN is passed over here and
 * comes back in the weights. */
static ALWAYS_INLINE float score_row(const state *s, size_t row, size_t base)
{
    const mmi_attention_tile *t = s->t;
    const float *bias = t->bias && t->bias[row] ? t->bias[row] + base : NULL;
    float *w = s->weights + row * MMI_KEY_BLOCK;
    const size_t lo = s->lo[row], hi = s->hi[row];
    const float softcap = t->softcap;
    const vec lowest = v_set(-INFINITY), factor = v_set(t->scale);
    vec top = v_set(s->tops[row]);

    if (lo == 0 && hi == MMI_KEY_BLOCK && !bias && !(softcap > 0)) {
        UNROLL for (size_t j = 0; j < MMI_KEY_BLOCK; j += LANES)
        {
            const vec x = v_mul(v_load(w + j), factor);
            v_store(w + j, x);
            top = v_max(x, top);
        }
        return v_top(top);
    }
    for (size_t j = lo / LANES * LANES; j < hi; j += LANES) {
        mask seen = m_first(mmi_size_min(hi - j, LANES));
        if (lo > j) seen = m_and(seen, m_not(m_first(lo - j)));
        vec x = v_mul(v_load(w + j), factor);
        if (softcap > 0) x = v_mul(v_tanh(v_div(x, v_set(softcap))), v_set(softcap));
        if (bias) {
            const vec b = v_load_masked(bias + j, seen);
            x = v_add(x, b);
            seen = m_and(seen, m_not(m_less(b, v_set(-FLT_MAX))));
        }
        x = v_select(seen, x, lowest);
        v_store(w + j, x);
        top = v_max(x, top);
    }
    return v_top(top);
}

/* Turn a row's scores into weights; what was summed before is multiplied by `shrink`. */
static ALWAYS_INLINE void weigh_row(const state *s, size_t row, float shift, float shrink)
{
    float *w = s->weights + row * MMI_KEY_BLOCK, *total = s->totals + row * 16, *sums = s->sums + row * s->columns;
    const vec top = v_set(shift), factor = v_set(shrink);
    vec sum = v_mul(v_load(total), factor);

    for (size_t j = s->lo[row] / LANES * LANES; j < s->hi[row]; j += LANES) {
        const vec e = v_exp_weight(v_sub(v_load(w + j), top));
        v_store(w + j, e);
        sum = v_add(sum, e);
    }
    v_store(total, sum);
    if (shrink == 1) return;
    for (size_t c = 0; c < s->columns; c += LANES) v_store(sums + c, v_mul(v_load(sums + c), factor));
}

/* Products of the block at `base` to weights, for all rows. Step by step over the rows, so that their latencies overlap. */
static void weigh(state *s, size_t base)
{
    float shift[MMI_QUERY_TILE], shrink[MMI_QUERY_TILE];
    const vec lowest = v_set(-INFINITY);

    for (size_t r = 0; r < MMI_QUERY_TILE; r++) shift[r] = r < s->t->rows && s->hi[r] > 0 ? score_row(s, r, base) : s->tops[r];
    for (size_t r = 0; r < MMI_QUERY_TILE; r += LANES) {
        const vec before = v_load(s->tops + r), top = v_load(shift + r);
        const vec finite = v_select(m_less(lowest, top), top, v_zero());
        v_store(s->tops + r, top);
        v_store(shift + r, finite);
        v_store(shrink + r, v_exp_weight(v_sub(before, finite)));
    }
    for (size_t r = 0; r < s->t->rows; r++)
        if (s->hi[r] > 0) weigh_row(s, r, shift[r], shrink[r]);
}

/* ---- blocks ---- */

/* Find what each row sees of the block at `base`; returns nonzero when it is something. */
static int clip_rows(state *s, size_t base)
{
    int any = 0;
    for (size_t r = 0; r < s->t->rows; r++) {
        const int64_t lo = s->t->first[r] - (int64_t)base, hi = s->t->last[r] - (int64_t)base;
        s->lo[r] = lo > 0 ? (size_t)lo : 0;
        s->hi[r] = hi > MMI_KEY_BLOCK ? MMI_KEY_BLOCK : hi > 0 ? (size_t)hi : 0;
        if (s->lo[r] >= s->hi[r]) s->lo[r] = s->hi[r] = 0;
        else any = 1;
    }
    return any;
}

/* Add weights [from, to) of the block times their values to rows row .. row + rows - 1. */
static void add_values(state *s, int32_t dtype, const void *values, size_t stride, size_t row, size_t rows, size_t from, size_t to)
{
    if (from >= to) return;
    const size_t bytes = dtype == MM_DTYPE_F16 ? sizeof(uint16_t) : sizeof(float);
    const void *b = (const char *)values + from * stride * bytes;
    const product p = {s->weight_rows, from, b, stride, to - from, s->sums, s->columns, 1};
    multiply(dtype, &p, row, rows, s->t->value_dim);
}

/* Rows that see different keys of a block share the keys that all see; the others are added row by row, before and after. */
static void add_values_of_group(state *s, int32_t dtype, const void *values, size_t stride, size_t row, size_t rows)
{
    size_t from = 0, to = MMI_KEY_BLOCK;
    for (size_t r = row; r < row + rows; r++) {
        from = mmi_size_max(from, s->lo[r]);
        to = mmi_size_min(to, s->hi[r]);
    }
    if (from >= to) from = to = MMI_KEY_BLOCK; /* nothing in common: all of it row by row, before */
    for (size_t r = row; r < row + rows; r++) add_values(s, dtype, values, stride, r, 1, s->lo[r], mmi_size_min(s->hi[r], from));
    add_values(s, dtype, values, stride, row, rows, from, to);
    for (size_t r = row; r < row + rows; r++) add_values(s, dtype, values, stride, r, 1, to, s->hi[r]);
}

/* One block of keys for all rows of the tile. */
static void attend_block(state *s, size_t base)
{
    const mmi_attention_tile *t = s->t;
    const size_t bytes = t->dtype == MM_DTYPE_F16 ? sizeof(uint16_t) : sizeof(float);
    const void *keys = (const char *)t->keys + base * t->dim * bytes;
    const void *values = (const char *)t->values + base * t->value_stride * bytes;
    /* More groups of rows than one: convert the block once. */
    const int widen = t->dtype == MM_DTYPE_F16 && t->rows > TILE_ROWS;
    size_t begin = MMI_KEY_BLOCK, end = 0;
    int32_t dtype = t->dtype;
    size_t stride = t->value_stride;

    for (size_t r = 0; r < t->rows; r++) {
        if (s->hi[r] > 0) begin = mmi_size_min(begin, s->lo[r]);
        end = mmi_size_max(end, s->hi[r]);
    }
    if (widen) {
        const uint16_t *from = keys;
        for (size_t i = 0; i < t->dim * MMI_KEY_BLOCK; i += LANES) v_store(s->wide + i, v_load_f16(from + i));
        keys = s->wide;
        dtype = MM_DTYPE_F32;
    }
    for (size_t row = 0; row < t->rows; row += TILE_ROWS) {
        const size_t rows = mmi_size_min(TILE_ROWS, t->rows - row);
        size_t last = 0;
        for (size_t r = row; r < row + rows; r++) last = mmi_size_max(last, s->hi[r]);
        const product p = {t->queries, 0, keys, MMI_KEY_BLOCK, t->dim, s->weights, MMI_KEY_BLOCK, 0};
        multiply(dtype, &p, row, rows, (last + LANES - 1) / LANES * LANES);
    }
    weigh(s, base);
    if (widen) {
        for (size_t j = begin; j < end; j++) {
            const uint16_t *from = (const uint16_t *)values + j * stride;
            float *to = s->wide + j * s->columns;
            size_t c = 0;
            for (; c + LANES <= t->value_dim; c += LANES) v_store(to + c, v_load_f16(from + c));
            if (c < t->value_dim) v_store(to + c, v_load_f16_masked(from + c, m_first(t->value_dim - c)));
        }
        values = s->wide;
        stride = s->columns;
    }
    for (size_t row = 0; row < t->rows; row += TILE_ROWS)
        add_values_of_group(s, dtype, values, stride, row, mmi_size_min(TILE_ROWS, t->rows - row));
}

static inline void finish_row(const state *s, size_t row)
{
    const float total = v_sum(v_load(s->totals + row * 16));
    const vec factor = v_set(total == 0 ? 0 : 1.0f / total);
    const float *sums = s->sums + row * s->columns;
    float *y = s->t->outputs[row];
    size_t c = 0;
    for (; c + LANES <= s->t->value_dim; c += LANES) v_store(y + c, v_mul(v_load(sums + c), factor));
    if (c < s->t->value_dim) v_store_masked(y + c, m_first(s->t->value_dim - c), v_mul(v_load(sums + c), factor));
}

static inline void attention(const mmi_attention_tile *t)
{
    state s = {.t = t, .columns = (t->value_dim + 15) / 16 * 16};
    int64_t first = INT32_MAX, last = 0;

    s.weights = t->scratch;
    s.sums = s.weights + MMI_QUERY_TILE * MMI_KEY_BLOCK;
    s.totals = s.sums + MMI_QUERY_TILE * s.columns;
    s.wide = s.totals + MMI_QUERY_TILE * 16;
    for (size_t r = 0; r < MMI_QUERY_TILE; r++) s.tops[r] = -INFINITY;
    for (size_t r = 0; r < t->rows; r++) {
        s.weight_rows[r] = s.weights + r * MMI_KEY_BLOCK;
        v_store(s.totals + r * 16, v_zero());
        for (size_t c = 0; c < s.columns; c += LANES) v_store(s.sums + r * s.columns + c, v_zero());
        if (t->first[r] >= t->last[r]) continue;
        if (t->first[r] < first) first = t->first[r];
        if (t->last[r] > last) last = t->last[r];
    }
    for (int64_t base = first / MMI_KEY_BLOCK * MMI_KEY_BLOCK; base < last; base += MMI_KEY_BLOCK)
        if (clip_rows(&s, (size_t)base)) attend_block(&s, (size_t)base);
    for (size_t r = 0; r < t->rows; r++) finish_row(&s, r);
}

/* ---- key packing ---- */

static ALWAYS_INLINE void store_as(int32_t dtype, void *p, size_t i, vec x)
{
    if (dtype == MM_DTYPE_F16) v_store_f16((uint16_t *)p + i, x);
    else v_store((float *)p + i, x);
}

/* One key: its elements go to lines of their own. */
static ALWAYS_INLINE void pack_one(int32_t dtype, const float *k, size_t dim, void *keys, size_t offset)
{
    for (size_t d = 0; d < dim; d += LANES) {
        const size_t n = mmi_size_min(LANES, dim - d);
        if (dtype == MM_DTYPE_F16) {
            uint16_t half[LANES], *to = (uint16_t *)keys + offset + d * MMI_KEY_BLOCK;
            v_store_f16(half, n == LANES ? v_load(k + d) : v_load_masked(k + d, m_first(n)));
            for (size_t i = 0; i < n; i++) to[i * MMI_KEY_BLOCK] = half[i];
        } else {
            float *to = (float *)keys + offset + d * MMI_KEY_BLOCK;
            for (size_t i = 0; i < n; i++) to[i * MMI_KEY_BLOCK] = k[d + i];
        }
    }
}

/* LANES keys that fill a whole vector of the block: transposed in registers. */
static ALWAYS_INLINE void pack_vector(int32_t dtype, const float *k, size_t stride, size_t dim, void *keys, size_t offset)
{
    for (size_t d = 0; d < dim; d += LANES) {
        const size_t n = mmi_size_min(LANES, dim - d);
        const mask tail = m_first(n);
        vec square[LANES];
        UNROLL for (size_t j = 0; j < LANES; j++) square[j] = v_load_masked(k + j * stride + d, tail);
        v_transpose(square);
        if (n == LANES) {
            UNROLL for (size_t i = 0; i < LANES; i++) store_as(dtype, keys, offset + (d + i) * MMI_KEY_BLOCK, square[i]);
        } else {
            for (size_t i = 0; i < n; i++) store_as(dtype, keys, offset + (d + i) * MMI_KEY_BLOCK, square[i]);
        }
    }
}

static ALWAYS_INLINE void pack_keys_as(int32_t dtype, const float *k, size_t stride, size_t n, size_t dim, void *keys,
                                       size_t position)
{
    for (size_t j = 0; j < n;) {
        const size_t at = position + j, offset = at / MMI_KEY_BLOCK * dim * MMI_KEY_BLOCK + at % MMI_KEY_BLOCK;
        if (at % LANES == 0 && n - j >= LANES) {
            pack_vector(dtype, k + j * stride, stride, dim, keys, offset);
            j += LANES;
        } else {
            pack_one(dtype, k + j * stride, dim, keys, offset);
            j++;
        }
    }
}

static inline void pack_keys(const float *k, size_t stride, size_t n, size_t dim, int32_t dtype, void *keys, size_t first_position)
{
    if (dtype == MM_DTYPE_F16) pack_keys_as(MM_DTYPE_F16, k, stride, n, dim, keys, first_position);
    else pack_keys_as(MM_DTYPE_F32, k, stride, n, dim, keys, first_position);
}

static inline void register_attention_kernels(mmi_kernels *k)
{
    k->attention = attention;
    k->pack_keys = pack_keys;
}

#endif
