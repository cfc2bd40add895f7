/* What is hidden: exact counts and layouts, the original put together again, and frequencies within five standard deviations.
 * SPDX-License-Identifier: MIT */
#include "unit_fixture.h"

#include <math.h>

#include "corruption.h"

static unit_allocator allocator;
static mm_context *ctx;

static int setup(void **state)
{
    (void)state;
    ctx = unit_context(&allocator);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unit_context_end(&allocator, ctx);
    return 0;
}

static void ok(mm_status st)
{
    if (st) fail_msg("%s: %s", mm_status_name(st), mm_context_error(ctx));
}

/* Of `trials` with this chance. */
static void assert_frequency(const char *what, double count, double trials, double chance)
{
    if (!(fabs(count - trials * chance) <= 5 * sqrt(trials * chance * (1 - chance)))) {
        fail_msg("%s: %g of %g, expected %g", what, count, trials, trials * chance);
    }
}

static void test_keys(void **state)
{
    (void)state;
    assert_true(mmi_corruption_key(1, 2, 3) == mmi_corruption_key(1, 2, 3));
    assert_true(mmi_corruption_key(1, 2, 3) != mmi_corruption_key(2, 2, 3));
    assert_true(mmi_corruption_key(1, 2, 3) != mmi_corruption_key(1, 3, 3));
    assert_true(mmi_corruption_key(1, 2, 3) != mmi_corruption_key(1, 2, 4));
    assert_true(mmi_corruption_key(1, 2, 3) != mmi_corruption_key(1, 3, 2));
}

/* ---- masked language model ---- */

static const mmi_masking BERT = {0.15, 0.8, 0.1, 103, 1000};

static void test_masked(void **state)
{
    enum { N = 52, DRAWS = 4000, WANTED = 8 }; /* 0.15 * 50 = 7.5, half to even */
    int32_t ids[N], inputs[N], labels[N], again[N];
    unsigned char special[N] = {0};
    int at[N] = {0}, pairs = 0, fate[3] = {0};
    double token_sum = 0;
    (void)state;

    for (int i = 0; i < N; i++) ids[i] = 2000 + i; /* no id of the vocabulary, so that a random token shows */
    special[0] = special[N - 1] = 1;
    for (uint64_t d = 0; d < DRAWS; d++) {
        const uint64_t key = mmi_corruption_key(5, d, 0);
        int count = 0;
        ok(mmi_corrupt_masked(ctx, &BERT, key, ids, special, NULL, N, inputs, labels));
        for (int i = 0; i < N; i++) {
            if (labels[i] == MMI_LABEL_NONE) {
                assert_int_equal(inputs[i], ids[i]);
                continue;
            }
            assert_int_equal(labels[i], ids[i]);
            assert_false(special[i]);
            count++;
            at[i]++;
            if (inputs[i] == 103) fate[0]++;
            else if (inputs[i] == ids[i]) fate[2]++;
            else {
                assert_in_range(inputs[i], 0, 999);
                token_sum += inputs[i];
                fate[1]++;
            }
        }
        assert_int_equal(count, WANTED);
        pairs += labels[1] != MMI_LABEL_NONE && labels[2] != MMI_LABEL_NONE;
        memcpy(again, ids, sizeof ids);
        ok(mmi_corrupt_masked(ctx, &BERT, key, again, special, NULL, N, again, labels)); /* in place */
        assert_memory_equal(again, inputs, sizeof inputs);
    }
    for (int i = 1; i < N - 1; i++) assert_frequency("a place", at[i], DRAWS, (double)WANTED / (N - 2));
    assert_frequency("a pair", pairs, DRAWS, (double)WANTED * (WANTED - 1) / ((N - 2) * (N - 3)));
    assert_frequency("mask", fate[0], DRAWS * WANTED, 0.8);
    assert_frequency("random", fate[1], DRAWS * WANTED, 0.1 * 999 / 1000); /* one in a thousand is the mask */
    assert_frequency("kept", fate[2], DRAWS * WANTED, 0.1);
    assert_true(fabs(token_sum / fate[1] - 499.5) < 5 * 1000 / sqrt(12.0 * fate[1]));
}

static void test_masked_few(void **state)
{
    int32_t ids[3] = {1, 2, 3}, inputs[3], labels[3];
    const unsigned char all[3] = {1, 1, 1}, two[3] = {1, 0, 1};
    (void)state;

    ok(mmi_corrupt_masked(ctx, &BERT, 9, ids, two, NULL, 3, inputs, labels)); /* at least one */
    assert_int_equal(labels[0], MMI_LABEL_NONE);
    assert_int_equal(labels[1], 2);
    ok(mmi_corrupt_masked(ctx, &BERT, 9, ids, all, NULL, 3, inputs, labels));
    for (int i = 0; i < 3; i++) assert_true(labels[i] == MMI_LABEL_NONE && inputs[i] == ids[i]);
    ok(mmi_corrupt_masked(ctx, &BERT, 9, ids, NULL, NULL, 0, inputs, labels));
}

static void test_whole_words(void **state)
{
    enum { N = 22, DRAWS = 2000 };
    static const int32_t WORDS[N] = {7, 0, 1, 1, 1, 2, 3, 3, 4, 5, 5, 5, 5, 5, 5, 6, 7, 7, 8, 9, 9, 9};
    int32_t ids[N], inputs[N], labels[N];
    unsigned char special[N] = {0};
    int seen[10] = {0};
    (void)state;

    special[0] = special[N - 1] = 1; /* the last word is cut by a special token of its number */
    for (int i = 0; i < N; i++) ids[i] = 2000 + i;
    for (uint64_t d = 0; d < DRAWS; d++) {
        int count = 0;
        ok(mmi_corrupt_masked(ctx, &BERT, mmi_corruption_key(5, d, 1), ids, special, WORDS, N, inputs, labels));
        for (int i = 1; i < N - 1; i++) {
            const int hidden = labels[i] != MMI_LABEL_NONE;
            if (i > 1 && WORDS[i] == WORDS[i - 1]) assert_int_equal(hidden, labels[i - 1] != MMI_LABEL_NONE);
            else seen[WORDS[i]] += hidden;
            count += hidden;
        }
        assert_in_range(count, 1, 3); /* 0.15 * 20 */
        assert_true(labels[0] == MMI_LABEL_NONE && labels[N - 1] == MMI_LABEL_NONE);
    }
    for (int w = 0; w < 10; w++) assert_true(w == 5 ? !seen[w] : seen[w] > DRAWS / 50);
    /* all too long: the shortest */
    const int32_t words[7] = {0, 0, 0, 0, 1, 1, 1};
    ok(mmi_corrupt_masked(ctx, &BERT, 3, ids, NULL, words, 7, inputs, labels));
    for (int i = 0; i < 7; i++) assert_int_equal(labels[i] != MMI_LABEL_NONE, words[i]);
}

/* ---- spans ---- */

static const mmi_spans T5 = {0.15, 3, 32099, 100, 1};

/* The counts of random_spans_noise_mask, said in its words. */
static void counts(const mmi_spans *s, int n, int *noise, int *spans)
{
    const int length = n > 2 ? n : 2;
    *noise = (int)rint(length * s->density);
    if (*noise < 1) *noise = 1;
    if (*noise > length - 1) *noise = length - 1;
    *spans = (int)rint(*noise / s->mean_length);
    if (*spans < 1) *spans = 1;
}

static void test_span_mask(void **state)
{
    enum { MOST = 600 };
    unsigned char mask[MOST + 1];
    (void)state;

    for (int n = 2; n <= MOST; n++) {
        int noise, spans, have = 0, runs = 0;
        counts(&T5, n, &noise, &spans);
        mask[n] = 0xa5;
        mmi_span_mask(&T5, mmi_corruption_key(3, 0, (uint64_t)n), (size_t)n, mask);
        assert_int_equal(mask[n], 0xa5);
        assert_int_equal(mask[0], 0);
        assert_int_equal(mask[n - 1], 1);
        for (int i = 0; i < n; i++) {
            have += mask[i];
            runs += mask[i] && !mask[i - 1]; /* so spans do not touch */
        }
        assert_int_equal(have, noise);
        assert_int_equal(runs, spans);
    }
    mmi_span_mask(&T5, 1, 1, mask);
    assert_int_equal(mask[0], 0);
    mmi_span_mask(&T5, 1, 0, mask);
    for (double density = 0.5; density < 1; density += 0.25) { /* fewer kept than spans asked for */
        const mmi_spans dense = {density, 1, 99, 5, -1};
        int runs = 0, have = 0;
        mmi_span_mask(&dense, 4, 20, mask);
        for (int i = 0; i < 20; i++) {
            have += mask[i];
            runs += mask[i] && !mask[i - 1];
        }
        assert_int_equal(have, (int)(20 * density));
        assert_int_equal(runs, 5); /* no more than sentinels */
    }
}

/* Every way to cut is as likely: 5 tokens of noise in 2 spans among 7 kept ones in 2: 4 * 6 masks. */
static void test_span_mask_is_uniform(void **state)
{
    enum { N = 12, DRAWS = 24000 };
    const mmi_spans s = {5.0 / 12, 2.5, 99, 100, -1};
    int seen[1 << N] = {0}, kinds = 0;
    (void)state;

    for (uint64_t d = 0; d < DRAWS; d++) {
        unsigned char mask[N];
        int bits = 0;
        mmi_span_mask(&s, mmi_corruption_key(11, 0, d), N, mask);
        for (int i = 0; i < N; i++) bits |= mask[i] << i;
        seen[bits]++;
    }
    for (int i = 0; i < 1 << N; i++) {
        if (!seen[i]) continue;
        kinds++;
        assert_frequency("a mask", seen[i], DRAWS, 1.0 / 24);
    }
    assert_int_equal(kinds, 24);
}

static void test_spans_rebuild_the_text(void **state)
{
    enum { MOST = 300 };
    int32_t ids[MOST], inputs[MOST + 1], targets[MOST + 1], text[MOST];
    size_t n_inputs, n_targets;
    (void)state;

    for (int i = 0; i < MOST; i++) ids[i] = 100 + i;
    for (int n = 2; n <= MOST; n++) {
        size_t size = 0, from = 0;
        int noise, spans;
        counts(&T5, n, &noise, &spans);
        ok(mmi_corrupt_spans(ctx, &T5, mmi_corruption_key(3, 1, (uint64_t)n), ids, (size_t)n, inputs, &n_inputs, targets, &n_targets));
        assert_int_equal(n_inputs, n - noise + spans + 1);
        assert_int_equal(n_targets, noise + spans + 1);
        assert_int_equal(inputs[n_inputs - 1], 1);
        assert_int_equal(targets[n_targets - 1], 1);
        assert_int_equal(targets[0], 32099);
        for (size_t i = 0; i + 1 < n_inputs; i++) {
            if (inputs[i] < 1000) {
                text[size++] = inputs[i];
                continue;
            }
            assert_int_equal(targets[from], inputs[i]);
            for (from++; targets[from] < 1000 && from + 1 < n_targets; from++) text[size++] = targets[from];
        }
        assert_int_equal(inputs[n_inputs - 2], 32100 - spans); /* descending, the last behind all that is kept */
        assert_int_equal(from, n_targets - 1);
        assert_int_equal(size, n);
        assert_memory_equal(text, ids, (size_t)n * sizeof *ids);
    }
    /* of one token nothing is hidden; without an end token there is none */
    mmi_spans s = T5;
    s.end = -1;
    ok(mmi_corrupt_spans(ctx, &s, 1, ids, 1, inputs, &n_inputs, targets, &n_targets));
    assert_true(n_inputs == 1 && inputs[0] == 100 && n_targets == 1 && targets[0] == 32099);
    ok(mmi_corrupt_spans(ctx, &s, 1, ids, 0, inputs, &n_inputs, targets, &n_targets));
    assert_true(n_inputs == 0 && n_targets == 0);
}

/* ---- pictures ---- */

static void test_masking_noise(void **state)
{
    enum { N = 49, KEPT = 12, DRAWS = 4000 };
    int kept[N] = {0};
    (void)state;

    for (uint64_t d = 0; d < DRAWS; d++) {
        float noise[N];
        mmi_masking_noise(mmi_corruption_key(2, d, 0), N, noise);
        for (int i = 0; i < N; i++) {
            int before = 0;
            assert_true(noise[i] >= 0 && noise[i] < 1);
            for (int j = 0; j < N; j++) before += noise[j] < noise[i] || (noise[j] == noise[i] && j < i);
            kept[i] += before < KEPT;
        }
    }
    for (int i = 0; i < N; i++) assert_frequency("a kept patch", kept[i], DRAWS, (double)KEPT / N);
}

static void test_gaussian(void **state)
{
    enum { N = 20000 };
    float *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y);
    double sum = 0, squares = 0;
    int outside = 0;
    (void)state;

    for (int i = 0; i < N; i++) x[i] = (float)(i % 7);
    mmi_corrupt_gaussian(4, 0.5, x, N, y);
    for (int i = 0; i < N; i++) {
        const double e = (y[i] - x[i]) / 0.5;
        sum += e;
        squares += e * e;
        outside += fabs(e) > 1.959963984540054;
    }
    assert_true(fabs(sum / N) < 5 / sqrt(N));
    assert_true(fabs(squares / N - 1) < 5 * sqrt(2.0 / N));
    assert_frequency("beyond 1.96", outside, N, 0.05);
    mmi_corrupt_gaussian(4, 0.5, x, N, x);
    assert_memory_equal(x, y, N * sizeof *x);
    free(x);
    free(y);
}

static void test_patches(void **state)
{
    enum { C = 3, H = 13, W = 17, P = 4, DOWN = 3, ACROSS = 4, PATCHES = DOWN * ACROSS, DRAWS = 3000 };
    int hidden[PATCHES] = {0};
    (void)state;

    for (uint64_t d = 0; d < DRAWS; d++) {
        float pixels[C][H][W];
        int count = 0;
        for (int i = 0; i < C * H * W; i++) ((float *)pixels)[i] = 1;
        mmi_corrupt_patches(mmi_corruption_key(8, d, 0), 0.4, -2, P, &pixels[0][0][0], C, H, W);
        for (int k = 0; k < PATCHES; k++) {
            const float first = pixels[0][k / ACROSS * P][k % ACROSS * P];
            assert_true(first == 1 || first == -2);
            count += first < 0;
            hidden[k] += first < 0;
        }
        assert_int_equal(count, 5); /* 0.4 * 12 = 4.8 */
        for (int c = 0; c < C; c++) {
            for (int y = 0; y < H; y++) {
                for (int x = 0; x < W; x++) {
                    const int rest = y >= DOWN * P || x >= ACROSS * P;
                    assert_true(pixels[c][y][x] == (rest ? 1 : pixels[0][y / P * P][x / P * P]));
                }
            }
        }
    }
    for (int k = 0; k < PATCHES; k++) assert_frequency("a hidden patch", hidden[k], DRAWS, 5.0 / PATCHES);
}

static void test_no_memory(void **state)
{
    int32_t ids[4] = {5, 6, 7, 8}, inputs[5], labels[5];
    size_t n, m;
    (void)state;

    allocator.fail_at = allocator.count + 1;
    assert_int_equal(mmi_corrupt_masked(ctx, &BERT, 1, ids, NULL, NULL, 4, inputs, labels), MM_E_NOMEM);
    allocator.fail_at = allocator.count + 1;
    assert_int_equal(mmi_corrupt_spans(ctx, &T5, 1, ids, 4, inputs, &n, labels, &m), MM_E_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_keys),
                                       cmocka_unit_test_setup_teardown(test_masked, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_masked_few, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_whole_words, setup, teardown),
                                       cmocka_unit_test(test_span_mask),
                                       cmocka_unit_test(test_span_mask_is_uniform),
                                       cmocka_unit_test_setup_teardown(test_spans_rebuild_the_text, setup, teardown),
                                       cmocka_unit_test(test_masking_noise),
                                       cmocka_unit_test(test_gaussian),
                                       cmocka_unit_test(test_patches),
                                       cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown)};
    return cmocka_run_group_tests_name("corruption", tests, NULL, NULL);
}
