/* Packing short token sequences into rows of T tokens, so that little of a batch is padding. A sequence of more than T tokens is cut into
 * pieces of T and a rest. Each piece, in the order of the sequences, goes into the first row that has room for it (first fit: within 1.7
 * times the fewest rows possible, Garey, Graham and Ullman 1972).
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PACKING_H
#define MMI_PACKING_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"

typedef struct {
    size_t sequence, from, length; /* tokens from .. from + length - 1 of a sequence */
    size_t row, at;                /* are tokens at .. at + length - 1 of a row */
} mmi_packed_piece;

/* Starts as all zeros; clear frees it. */
typedef struct {
    mmi_packed_piece *pieces; /* by row, and by place in a row; a sequence without tokens has none */
    size_t count;
    size_t *first;       /* [rows + 1]: of the pieces of a row */
    size_t rows, length; /* of a row */
} mmi_packing;

/* MM_E_OVERFLOW, MM_E_LIMIT (rows * T would not fit an int32), MM_E_NOMEM. */
mm_status mmi_packing_make(mm_context *ctx, const size_t *lengths, size_t count, size_t length, mmi_packing *out);
void mmi_packing_clear(mmi_packing *p);

/* Rows [first, first + rows) as one sequence of rows * T tokens, as attention takes it (graph/attention_op.h): offsets rise from 0 to rows
 * * T, a segment a piece, and one for what a row has left at its end. Positions begin with 0 in each segment.
 *
 *   segments   NULL, or room for mmi_packing_segments(p, first, rows, NULL, NULL) offsets
 *   positions  NULL, or [rows * T]
 *
 * Returns how many offsets there are. */
size_t mmi_packing_segments(const mmi_packing *p, size_t first, size_t rows, int32_t *segments, int32_t *positions);

#endif
