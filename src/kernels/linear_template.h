/* The linear kernel on packed float weights (float_linear.h), written once for any vector length: included after a vector_*.h, with
 * LINEAR_ROWS (6 or 8, a macro) and LINEAR_GROUPS defined.
 *
 * A register tile holds LINEAR_ROWS rows x LINEAR_GROUPS groups of sums over all columns: no sum ever goes to memory and back, and
 * none is split, so it is the same in every tile. Weights stream from the second-level cache, a group's lines in order.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_LINEAR_TEMPLATE_H
#define MMI_LINEAR_TEMPLATE_H

#include "float_linear.h"
#include "size.h"
#include "unroll.h"

enum { GROUP_VECTORS = MMI_FLOAT_PACK_ROWS / LANES };

static ALWAYS_INLINE vec load_weights(int32_t dtype, const void *w, size_t i)
{
    switch (dtype) {
    case MM_DTYPE_F16: return v_load_f16((const uint16_t *)w + i);
    case MM_DTYPE_BF16: return v_load_bf16((const uint16_t *)w + i);
    default: return v_load((const float *)w + i);
    }
}

/* R rows from `row`, G groups from `group`. */
static ALWAYS_INLINE void linear_tile(size_t R, size_t G, int32_t dtype, int columns, const mmi_float_tile *t, size_t row, size_t group)
{
    vec sum[LINEAR_ROWS][LINEAR_GROUPS * GROUP_VECTORS], w[LINEAR_GROUPS * GROUP_VECTORS];
    const size_t V = G * GROUP_VECTORS, cols = t->cols, ldx = t->ldx;
    const float *const x = t->x + (columns ? row : row * ldx);
    const void *from[LINEAR_GROUPS];

    UNROLL for (size_t g = 0; g < G; g++) from[g] = (const char *)t->packed + (group + g) * mmi_float_group_bytes(dtype, cols);
    UNROLL for (size_t r = 0; r < R; r++)
    {
        UNROLL for (size_t v = 0; v < V; v++) sum[r][v] = v_zero();
    }
    for (size_t j = 0; j < cols; j++) {
        UNROLL for (size_t v = 0; v < V; v++)
            w[v] = load_weights(dtype, from[v / GROUP_VECTORS], j * MMI_FLOAT_PACK_ROWS + v % GROUP_VECTORS * LANES);
        UNROLL for (size_t r = 0; r < R; r++)
        {
            const vec factor = v_set(x[columns ? j * ldx + r : r * ldx + j]);
            UNROLL for (size_t v = 0; v < V; v++) sum[r][v] = v_fma(factor, w[v], sum[r][v]);
        }
    }
    const size_t first = group * MMI_FLOAT_PACK_ROWS;
    float *const y = t->y + row * t->ldy + first;
    if (first + V * LANES <= t->rows) {
        UNROLL for (size_t r = 0; r < R; r++)
        {
            UNROLL for (size_t v = 0; v < V; v++)
            {
                float *const to = y + r * t->ldy + v * LANES;
                v_store(to, t->add ? v_add(v_load(to), sum[r][v]) : sum[r][v]);
            }
        }
    } else {
        UNROLL for (size_t v = 0; v < V; v++)
        {
            const size_t at = first + v * LANES;
            if (at >= t->rows) break;
            const mask tail = m_first(mmi_size_min(LANES, t->rows - at));
            UNROLL for (size_t r = 0; r < R; r++)
            {
                float *const to = y + r * t->ldy + v * LANES;
                v_store_masked(to, tail, t->add ? v_add(v_load_masked(to, tail), sum[r][v]) : sum[r][v]);
            }
        }
    }
}

static ALWAYS_INLINE void linear_rows(size_t rows, size_t G, int32_t dtype, int columns, const mmi_float_tile *t, size_t row, size_t group)
{
    switch (rows) {
#if LINEAR_ROWS > 6
    case 8: linear_tile(8, G, dtype, columns, t, row, group); break;
    case 7: linear_tile(7, G, dtype, columns, t, row, group); break;
#endif
    case 6: linear_tile(6, G, dtype, columns, t, row, group); break;
    case 5: linear_tile(5, G, dtype, columns, t, row, group); break;
    case 4: linear_tile(4, G, dtype, columns, t, row, group); break;
    case 3: linear_tile(3, G, dtype, columns, t, row, group); break;
    case 2: linear_tile(2, G, dtype, columns, t, row, group); break;
    case 1: linear_tile(1, G, dtype, columns, t, row, group); break;
    default: break;
    }
}

/* The groups stay in the cache while all rows pass; rows are cut into tiles of nearly equal height. */
static ALWAYS_INLINE void linear_as(int32_t dtype, int columns, const mmi_float_tile *t)
{
    const size_t tiles = (t->m + LINEAR_ROWS - 1) / LINEAR_ROWS;
    for (size_t group = t->group0; group < t->group1;) {
        const size_t G = t->group1 - group < LINEAR_GROUPS ? 1 : LINEAR_GROUPS;
        for (size_t i = 0, row = 0; i < tiles; i++) {
            const size_t next = t->m / tiles * (i + 1) + mmi_size_min(t->m % tiles, i + 1);
            if (G == LINEAR_GROUPS) linear_rows(next - row, LINEAR_GROUPS, dtype, columns, t, row, group);
            else linear_rows(next - row, 1, dtype, columns, t, row, group);
            row = next;
        }
        group += G;
    }
}

static inline void float_linear(const mmi_float_tile *t)
{
    switch (t->dtype) {
    case MM_DTYPE_F16: linear_as(MM_DTYPE_F16, 0, t); break;
    case MM_DTYPE_BF16: linear_as(MM_DTYPE_BF16, 0, t); break;
    default:
        if (t->columns) linear_as(MM_DTYPE_F32, 1, t);
        else linear_as(MM_DTYPE_F32, 0, t);
    }
}

/* Whole f32 groups are transposed in registers. */
static inline void float_pack(int32_t dtype, const void *w, size_t stride, size_t rows, size_t cols, void *group)
{
    size_t j = 0;
    if (dtype == MM_DTYPE_F32 && rows == MMI_FLOAT_PACK_ROWS) {
        for (; j + LANES <= cols; j += LANES) {
            for (size_t half = 0; half < MMI_FLOAT_PACK_ROWS; half += LANES) {
                vec square[LANES];
                UNROLL for (size_t r = 0; r < LANES; r++) square[r] = v_load((const float *)w + (half + r) * stride + j);
                v_transpose(square);
                UNROLL for (size_t i = 0; i < LANES; i++) v_store((float *)group + (j + i) * MMI_FLOAT_PACK_ROWS + half, square[i]);
            }
        }
        if (j == cols) return;
        w = (const float *)w + j;
        group = (float *)group + j * MMI_FLOAT_PACK_ROWS;
    }
    mmi_float_pack_reference(dtype, w, stride, rows, cols - j, group);
}

static inline void register_linear_kernels(mmi_kernels *k)
{
    k->float_pack = float_pack;
    k->float_linear = float_linear;
}

#endif
