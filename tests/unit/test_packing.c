/* Packing: each token once, pieces where plain first fit puts them, segments and positions as attention takes them.
 * SPDX-License-Identifier: MIT */
#include "unit_fixture.h"

#include "packing.h"
#include "random.h"

/* First fit by its definition: rows one by one. Returns the rows. */
static size_t first_fit(const mmi_packing *p, const size_t *lengths, size_t n, size_t length)
{
    size_t rows = 0, seen = 0, *used = calloc(n * 4 + 4, sizeof *used);

    assert_non_null(used);
    for (size_t i = 0; i < n; i++) {
        for (size_t from = 0; from < lengths[i]; from += length) {
            const size_t piece = lengths[i] - from < length ? lengths[i] - from : length;
            size_t row = 0, found = 0;
            while (used[row] + piece > length) row++;
            for (size_t k = 0; k < p->count; k++) {
                const mmi_packed_piece *got = &p->pieces[k];
                if (got->sequence != i || got->from != from) continue;
                assert_int_equal(got->length, piece);
                assert_int_equal(got->row, row);
                assert_int_equal(got->at, used[row]);
                found++;
            }
            assert_int_equal(found, 1);
            used[row] += piece;
            if (row + 1 > rows) rows = row + 1;
            seen++;
        }
    }
    assert_int_equal(seen, p->count);
    free(used);
    return rows;
}

static void check_segments(const mmi_packing *p, size_t first, size_t rows)
{
    const size_t n = mmi_packing_segments(p, first, rows, NULL, NULL), tokens = rows * p->length;
    int32_t *segments = calloc(n, sizeof *segments), *positions = calloc(tokens + 1, sizeof *positions);
    size_t s = 0;

    assert_non_null(segments);
    assert_non_null(positions);
    assert_int_equal(mmi_packing_segments(p, first, rows, segments, positions), n);
    assert_int_equal(segments[0], 0);
    assert_int_equal(segments[n - 1], tokens);
    for (size_t i = 1; i < n; i++) assert_true(segments[i] > segments[i - 1]);
    for (size_t i = 0; i < tokens; i++) {
        while (s + 1 < n && (size_t)segments[s + 1] <= i) s++;
        assert_int_equal(positions[i], i - (size_t)segments[s]);
        if (i % p->length == 0) assert_int_equal(positions[i], 0); /* no segment goes over the end of a row */
    }
    for (size_t row = first; row < first + rows; row++) { /* each piece is a segment */
        for (size_t k = p->first[row]; k < p->first[row + 1]; k++) {
            const mmi_packed_piece *piece = &p->pieces[k];
            const size_t at = (row - first) * p->length + piece->at;
            assert_int_equal(piece->row, row);
            assert_int_equal(positions[at], 0);
            assert_int_equal(positions[at + piece->length - 1], piece->length - 1);
            if (at + piece->length < tokens) assert_int_equal(positions[at + piece->length], 0);
        }
    }
    free(segments);
    free(positions);
}

static void packs_by_first_fit(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mmi_random r;
    (void)state;

    mmi_random_seed(&r, 7);
    for (size_t round = 0; round < 60; round++) {
        const size_t n = mmi_random_u32(&r) % 60, length = 1 + mmi_random_u32(&r) % 40, most = 1 + mmi_random_u32(&r) % (3 * length);
        size_t lengths[60];
        mmi_packing p;

        for (size_t i = 0; i < n; i++) lengths[i] = mmi_random_u32(&r) % most;
        if (mmi_packing_make(ctx, lengths, n, length, &p)) fail_msg("%s", ctx->error);
        assert_int_equal(first_fit(&p, lengths, n, length), p.rows);
        assert_int_equal(p.first[p.rows], p.count);
        check_segments(&p, 0, p.rows);
        for (size_t row = 0; row < p.rows; row++) check_segments(&p, row, 1);
        mmi_packing_clear(&p);
    }
    unit_context_end(&a, ctx);
}

static void knows_an_example(void **state)
{
    static const size_t lengths[] = {3, 4, 2, 0, 11, 1};
    static const int32_t segments[] = {0, 3, 5, 9, 10, 15, 20}, positions[] = {0, 1, 2, 0, 1, 0, 1, 2, 3, 0, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4};
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    int32_t s[16], at[20];
    mmi_packing p;
    (void)state;

    /* rows of 5: 3 + 2 | 4 + 1 (of 11) ... | 5 | 5 | ; the last sequence of 1 opens the fifth */
    assert_int_equal(mmi_packing_make(ctx, lengths, 6, 5, &p), MM_OK);
    assert_int_equal(p.rows, 5);
    assert_int_equal(p.count, 7);
    assert_int_equal(mmi_packing_segments(&p, 0, 4, s, at), 7);
    assert_memory_equal(s, segments, sizeof segments);
    assert_memory_equal(at, positions, sizeof positions);
    assert_int_equal(mmi_packing_segments(&p, 4, 1, s, at), 3); /* 1 token, and 4 that are left */
    assert_int_equal(s[1], 1);
    mmi_packing_clear(&p);
    unit_context_end(&a, ctx);
}

static void takes_hostile_lengths(void **state)
{
    static const size_t huge[] = {SIZE_MAX, SIZE_MAX}, none[] = {0, 0};
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mmi_packing p;
    size_t *many = malloc(100000 * sizeof *many), kept;
    (void)state;

    assert_int_equal(mmi_packing_make(ctx, huge, 2, 1, &p), MM_E_OVERFLOW);
    assert_int_not_equal(mmi_packing_make(ctx, huge, 1, 8, &p), MM_OK);
    assert_int_equal(mmi_packing_make(ctx, huge, 1, SIZE_MAX, &p), MM_E_LIMIT);
    assert_int_equal(mmi_packing_make(ctx, huge, 1, 0, &p), MM_E_ARGUMENT);
    assert_null(p.pieces);
    assert_int_equal(mmi_packing_make(ctx, none, 2, 8, &p), MM_OK);
    assert_int_equal(p.rows, 0);
    assert_int_equal(mmi_packing_segments(&p, 0, 0, NULL, NULL), 1);
    mmi_packing_clear(&p);
    assert_non_null(many);
    for (size_t i = 0; i < 100000; i++) many[i] = 5; /* one a row of 9: quadratic work would take minutes */
    assert_int_equal(mmi_packing_make(ctx, many, 100000, 9, &p), MM_OK);
    assert_int_equal(p.rows, 100000);
    mmi_packing_clear(&p);
    for (long k = 1; k <= 4; k++) {
        kept = a.live;
        a.fail_at = a.count + k;
        assert_int_equal(mmi_packing_make(ctx, many, 10, 9, &p), MM_E_NOMEM);
        a.fail_at = 0;
        assert_null(p.pieces);
        assert_int_equal(a.live, kept);
    }
    free(many);
    unit_context_end(&a, ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packs_by_first_fit),
        cmocka_unit_test(knows_an_example),
        cmocka_unit_test(takes_hostile_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
