/* The sampler against exact probabilities: what each option must leave and with which weight is computed here in double, straight from
 * the definitions, and drawn frequencies are held against it by a chi-square statistic. Seeds are fixed, so a run never varies.
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

#include "sampler.h"

enum { V = 12, DRAWS = 40000 };

/* Two equal pairs, one of them at the top-k and top-p borders below. */
static const float logits[V] = {0.3f, 2.0f, -1.0f, 1.2f, 1.2f, -3.0f, 0.0f, 0.9f, 2.5f, -0.4f, 0.3f, -8.0f};

static mm_context *make_context(void)
{
    mm_context *ctx = NULL;
    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    return ctx;
}

/* Exact probabilities: temperature, then top-k, then top-p among what is left, then min-p relative to the likeliest, as transformers
 * orders its warpers; equal scores rank by id. */
static void exact(const double *score, double temperature, int k, double top_p, double min_p, double *p)
{
    int order[V], kept = k && k < V ? k : V;
    double total = 0, sum = 0;

    for (int i = 0; i < V; i++) {
        int at = i;
        for (; at > 0 && score[order[at - 1]] < score[i]; at--) order[at] = order[at - 1];
        order[at] = i;
        p[i] = 0;
    }
    for (int i = 0; i < kept; i++) total += exp((score[order[i]] - score[order[0]]) / temperature);
    for (int i = 0; i < kept; i++) {
        double w = exp((score[order[i]] - score[order[0]]) / temperature);
        if (i && (sum >= top_p * total || w < min_p)) break;
        p[order[i]] = w;
        sum += w;
    }
    for (int i = 0; i < V; i++) p[i] /= sum;
}

/* Draw and compare. A right sampler stays below the bound with probability 1 - 1e-6 (Wilson and Hilferty's approximation of the
 * chi-square quantile); what has probability 0 must never come. */
static void compare(mmi_sampler *s, const float *scores, const int32_t *history, size_t n, const double *p, const char *what)
{
    mm_context *ctx = make_context();
    int count[V] = {0}, free_cells = -1;
    double chi = 0, bound;

    for (int d = 0; d < DRAWS; d++) {
        int32_t id = -1;
        assert_int_equal(mmi_sampler_pick(ctx, s, scores, V, history, n, &id), MM_OK);
        assert_in_range(id, 0, V - 1);
        count[id]++;
    }
    for (int i = 0; i < V; i++) {
        double e = p[i] * DRAWS;
        if (!(p[i] > 0)) {
            if (count[i]) fail_msg("%s: token %d came %d times, it has probability 0", what, i, count[i]);
            continue;
        }
        if (e < 5) continue; /* too rare for the statistic */
        chi += (count[i] - e) * (count[i] - e) / e;
        free_cells++;
    }
    if (free_cells > 0) {
        double k = free_cells;
        bound = k * pow(1 - 2 / (9 * k) + 4.75 * sqrt(2 / (9 * k)), 3);
        if (!(chi < bound)) fail_msg("%s: chi-square %g of %d, bound %g", what, chi, free_cells, bound);
    }
    mm_context_destroy(ctx);
}

static void widen(double *out)
{
    for (int i = 0; i < V; i++) out[i] = logits[i];
}

static void test_distributions(void **state)
{
    static const struct {
        double temperature;
        int k;
        double top_p, min_p;
    } cases[] = {{1, 0, 1, 0},      {0.5, 0, 1, 0},    {3, 0, 1, 0},         {1, 1, 1, 0},    {1, 2, 1, 0},   {1, 3, 1, 0},
                 {1, 4, 1, 0},      {1, 11, 1, 0},     {1, 12, 1, 0},        {1, 500, 1, 0},  {1, 0, 0.3, 0}, {1, 0, 0.36, 0},
                 {1, 0, 0.6, 0},    {1, 0, 0.9, 0},    {1, 0, 0.999, 0},     {1, 0, 1e-9, 0}, {2, 0, 0.7, 0}, {1, 0, 1, 0.1},
                 {1, 0, 1, 0.5},    {1, 0, 1, 1},      {0.7, 0, 1, 0.05},    {1, 5, 0.8, 0},  {1, 5, 0.3, 0}, {1, 5, 0.5, 0},
                 {1, 5, 0.8, 0.25}, {1, 0, 0.8, 0.25}, {1.3, 7, 0.95, 0.02}, {100, 0, 1, 0},  {0.01, 0, 1, 0}};
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double p[V], wide[V];
        char what[96];
        mmi_sampler s;
        widen(wide);
        exact(wide, cases[i].temperature, cases[i].k, cases[i].top_p, cases[i].min_p, p);
        mmi_sampler_init(&s);
        s.temperature = cases[i].temperature;
        s.top_k = cases[i].k;
        s.top_p = cases[i].top_p;
        s.min_p = cases[i].min_p;
        mmi_random_seed(&s.random, 100 + i);
        (void)snprintf(what, sizeof what, "temperature %g, top-k %d, top-p %g, min-p %g", cases[i].temperature, cases[i].k, cases[i].top_p,
                       cases[i].min_p);
        compare(&s, logits, NULL, 0, p, what);
    }
}

/* Each penalty by its formula, over the window of the last tokens alone; tokens outside the vocabulary count for nothing. */
static void test_penalties(void **state)
{
    static const int32_t history[] = {5, 8, 8, 8, 1, 3, 99, -1, 2, 2};
    static const size_t n = sizeof history / sizeof *history;
    static const struct {
        double repeat, presence, frequency;
        int64_t last;
    } cases[] = {{1.5, 0, 0, -1},    {1.5, 0, 0, 6}, {1, 0.8, 0, -1},       {1, 0, 0.6, -1}, {1, 0, 0.6, 4},
                 {1.3, 0.2, 0.3, 8}, {2, 0, 0, 0},   {0.7, -0.5, -0.2, -1}, {1.5, 0, 0, 500}};
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double wide[V], p[V];
        size_t from = cases[i].last >= 0 && (size_t)cases[i].last < n ? n - (size_t)cases[i].last : 0;
        char what[96];
        mmi_sampler s;
        widen(wide);
        for (int v = 0; v < V; v++) {
            int times = 0;
            for (size_t h = from; h < n; h++) times += history[h] == v;
            if (!times) continue;
            wide[v] = wide[v] > 0 ? wide[v] / cases[i].repeat : wide[v] * cases[i].repeat;
            wide[v] -= cases[i].presence + cases[i].frequency * times;
        }
        exact(wide, 1, 0, 1, 0, p);
        mmi_sampler_init(&s);
        s.temperature = 1;
        s.repeat_penalty = cases[i].repeat;
        s.presence_penalty = cases[i].presence;
        s.frequency_penalty = cases[i].frequency;
        s.repeat_last = cases[i].last;
        mmi_random_seed(&s.random, 300 + i);
        (void)snprintf(what, sizeof what, "penalties %g %g %g over %d", cases[i].repeat, cases[i].presence, cases[i].frequency,
                       (int)cases[i].last);
        compare(&s, logits, history, n, p, what);
    }
}

static int32_t pick(mm_context *ctx, mmi_sampler *s, const float *scores, size_t vocabulary)
{
    int32_t id = -1;
    assert_int_equal(mmi_sampler_pick(ctx, s, scores, vocabulary, NULL, 0, &id), MM_OK);
    return id;
}

static void test_greedy(void **state)
{
    static const float ties[5] = {1, 7, 3, 7, 7}, hidden[4] = {-INFINITY, -5, NAN, -INFINITY}, high[3] = {1, INFINITY, 2};
    static const int32_t history[2] = {8, 8};
    mm_context *ctx = make_context();
    mmi_sampler s;
    int32_t id = -1;
    (void)state;

    mmi_sampler_init(&s);
    assert_int_equal(pick(ctx, &s, logits, V), 8);
    assert_int_equal(pick(ctx, &s, ties, 5), 1); /* the lower id among equals */
    assert_int_equal(pick(ctx, &s, hidden, 4), 1);
    assert_int_equal(pick(ctx, &s, high, 3), 1);
    assert_int_equal(pick(ctx, &s, ties, 1), 0);
    s.presence_penalty = 1; /* penalties count for greedy too */
    assert_int_equal(mmi_sampler_pick(ctx, &s, logits, V, history, 2, &id), MM_OK);
    assert_int_equal(id, 1);
    mm_context_destroy(ctx);
}

/* NaN and -infinity are never drawn; with nothing else there is an error and no crash. */
static void test_impossible_tokens(void **state)
{
    static const float some[6] = {NAN, 1, -INFINITY, 1, NAN, -INFINITY}, none[3] = {NAN, -INFINITY, -INFINITY};
    mm_context *ctx = make_context();
    int seen[6] = {0};
    (void)state;

    for (int option = 0; option < 4; option++) {
        mmi_sampler s;
        int32_t id = -1;
        mmi_sampler_init(&s);
        s.temperature = 1;
        s.top_k = option == 1 ? 4 : 0;
        s.top_p = option == 2 ? 0.99 : 1;
        s.min_p = option == 3 ? 0.1 : 0;
        for (int i = 0; i < 500; i++) seen[pick(ctx, &s, some, 6)]++;
        assert_int_equal(seen[0] + seen[2] + seen[4] + seen[5], 0);
        assert_int_equal(mmi_sampler_pick(ctx, &s, none, 3, NULL, 0, &id), MM_E_STATE);
        assert_true(strlen(mm_context_error(ctx)) > 0);
        s.temperature = 0;
        assert_int_equal(mmi_sampler_pick(ctx, &s, none, 3, NULL, 0, &id), MM_E_STATE);
    }
    assert_true(seen[1] > 800 && seen[3] > 800);
    mm_context_destroy(ctx);
}

/* An infinite score takes all. */
static void test_infinite_score(void **state)
{
    static const float one[4] = {1, 2, INFINITY, 3};
    mm_context *ctx = make_context();
    (void)state;

    for (int option = 0; option < 3; option++) {
        mmi_sampler s;
        mmi_sampler_init(&s);
        s.temperature = 1;
        s.top_k = option == 1 ? 2 : 0;
        s.top_p = option == 2 ? 0.5 : 1;
        for (int i = 0; i < 50; i++) assert_int_equal(pick(ctx, &s, one, 4), 2);
    }
    mm_context_destroy(ctx);
}

/* The same seed draws the same, whatever happened before; the state goes on from draw to draw. */
static void test_seeds(void **state)
{
    mm_context *ctx = make_context();
    int32_t a[50], b[50], c[50];
    mmi_sampler s;
    (void)state;

    mmi_sampler_init(&s);
    s.temperature = 1;
    for (int run = 0; run < 3; run++) {
        int32_t *out = run == 0 ? a : run == 1 ? b : c;
        mmi_random_seed(&s.random, run == 2 ? 6 : 5);
        for (int i = 0; i < 50; i++) out[i] = pick(ctx, &s, logits, V);
    }
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    mm_context_destroy(ctx);
}

/* A vocabulary of real size: heap selection against a full sort. */
static void test_large_vocabulary(void **state)
{
    enum { LARGE = 50000 };
    mm_context *ctx = make_context();
    float *scores = malloc(LARGE * sizeof *scores);
    char *allowed = calloc(LARGE, 1);
    mmi_random r;
    (void)state;

    assert_non_null(scores);
    assert_non_null(allowed);
    mmi_random_seed(&r, 77);
    for (int i = 0; i < LARGE; i++) scores[i] = (float)(mmi_random_unit(&r) * 20 - 10);
    for (int k = 1; k <= 100; k += 33) {
        mmi_sampler s;
        float border;
        int above = 0;
        /* the k-th largest, by counting */
        memset(allowed, 0, LARGE);
        for (int n = 0; n < k; n++) {
            int best = -1;
            for (int i = 0; i < LARGE; i++)
                if (!allowed[i] && (best < 0 || scores[i] > scores[best])) best = i;
            allowed[best] = 1;
        }
        border = INFINITY;
        for (int i = 0; i < LARGE; i++)
            if (allowed[i]) border = fminf(border, scores[i]);
        mmi_sampler_init(&s);
        s.temperature = 100; /* nearly even among what is left */
        s.top_k = k;
        for (int d = 0; d < 300; d++) {
            int32_t id = pick(ctx, &s, scores, LARGE);
            assert_true(allowed[id] && scores[id] >= border);
            above += scores[id] > border;
        }
        assert_true(k == 1 || above > 150);
    }
    free(scores);
    free(allowed);
    mm_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_penalties),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_impossible_tokens),
        cmocka_unit_test(test_infinite_score),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_large_vocabulary),
    };
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}
