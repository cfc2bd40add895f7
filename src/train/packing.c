/* SPDX-License-Identifier: MIT */
#include "packing.h"

#include <string.h>

#include "size.h"

/* The rooms of the rows as a tree of maxima in an array: node i over 2i and 2i + 1, the rows at [leaves, 2 leaves). Rows not yet begun
 * have all of their room, so that the first fit is always there. */
static size_t take_first_fit(size_t *room, size_t leaves, size_t length)
{
    size_t i = 1;

    while (i < leaves) i = room[2 * i] >= length ? 2 * i : 2 * i + 1;
    room[i] -= length;
    for (size_t up = i / 2; up; up /= 2) room[up] = mmi_size_max(room[2 * up], room[2 * up + 1]);
    return i - leaves;
}

/* Pieces as they come into pieces by row: a counting sort. */
static void sort_by_row(mmi_packing *p, const mmi_packed_piece *pieces)
{
    for (size_t i = 0; i < p->count; i++) p->first[pieces[i].row + 1]++;
    for (size_t row = 0; row < p->rows; row++) p->first[row + 1] += p->first[row];
    for (size_t i = 0; i < p->count; i++) p->pieces[p->first[pieces[i].row]++] = pieces[i];
    for (size_t row = p->rows; row; row--) p->first[row] = p->first[row - 1]; /* placing moved each to the next one's */
    p->first[0] = 0;
}

mm_status mmi_packing_make(mm_context *ctx, const size_t *lengths, size_t count, size_t length, mmi_packing *out)
{
    size_t *room = NULL, leaves = 1, n = 0, tokens;
    mmi_packed_piece *pieces = NULL;
    mm_status st = MM_E_NOMEM;

    memset(out, 0, sizeof *out);
    if (!length) return mmi_fail(ctx, MM_E_ARGUMENT, "rows of no tokens hold nothing");
    for (size_t i = 0; i < count; i++)
        if (mmi_size_add(n, lengths[i] / length + !!(lengths[i] % length), &n))
            return mmi_fail(ctx, MM_E_OVERFLOW, "too many tokens to pack");
    if (n > SIZE_MAX / 4) return mmi_fail(ctx, MM_E_OVERFLOW, "too many tokens to pack");
    while (leaves < n) leaves *= 2;
    out->length = length;
    out->count = n;
    room = mmi_alloc_array(ctx, leaves * 2, sizeof *room);
    pieces = mmi_alloc_array(ctx, n, sizeof *pieces);
    out->pieces = mmi_alloc_array(ctx, n, sizeof *pieces);
    if (!room || !pieces || !out->pieces) goto cleanup;
    for (size_t i = 0; i < leaves * 2; i++) room[i] = length;
    n = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t from = 0; from < lengths[i]; n++) {
            mmi_packed_piece *piece = &pieces[n];
            piece->sequence = i;
            piece->from = from;
            piece->length = mmi_size_min(length, lengths[i] - from);
            piece->row = take_first_fit(room, leaves, piece->length);
            piece->at = length - room[leaves + piece->row] - piece->length;
            out->rows = mmi_size_max(out->rows, piece->row + 1);
            from += piece->length;
        }
    }
    if (mmi_size_mul(out->rows, length, &tokens) || tokens > INT32_MAX) {
        st = mmi_fail(ctx, MM_E_LIMIT, "%zu rows of %zu tokens are more than can be packed at once", out->rows, length);
        goto cleanup;
    }
    out->first = mmi_zalloc_array(ctx, out->rows + 1, sizeof *out->first);
    if (!out->first) goto cleanup;
    sort_by_row(out, pieces);
    st = MM_OK;
cleanup:
    mmi_free(room);
    mmi_free(pieces);
    if (st) mmi_packing_clear(out);
    return st;
}

void mmi_packing_clear(mmi_packing *p)
{
    mmi_free(p->pieces);
    mmi_free(p->first);
    memset(p, 0, sizeof *p);
}

/* End a segment at `end`; *from is where it began. */
static void end_segment(size_t *from, size_t end, size_t *n, int32_t *segments, int32_t *positions)
{
    if (segments) segments[*n] = (int32_t)end;
    for (size_t i = *from; positions && i < end; i++) positions[i] = (int32_t)(i - *from);
    *from = end;
    (*n)++;
}

size_t mmi_packing_segments(const mmi_packing *p, size_t first, size_t rows, int32_t *segments, int32_t *positions)
{
    size_t n = 1, at = 0;

    if (segments) segments[0] = 0;
    for (size_t row = first; row < first + rows; row++) {
        const size_t end = (row - first + 1) * p->length;
        for (size_t i = p->first[row]; i < p->first[row + 1]; i++) end_segment(&at, at + p->pieces[i].length, &n, segments, positions);
        if (at < end) end_segment(&at, end, &n, segments, positions);
    }
    return n;
}
