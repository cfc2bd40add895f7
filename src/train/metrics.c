/* SPDX-License-Identifier: MIT */
#include "metrics.h"

#include <math.h>
#include <string.h>

#include "size.h"

size_t mmi_metric_best(const float *scores, size_t classes)
{
    size_t best = 0;

    for (size_t c = 1; c < classes; c++)
        if (scores[c] > scores[best] || isnan(scores[best])) best = c;
    return best;
}

/* How many of n values are not smaller than the one at `at`, but itself. One that is no number is beaten by all. */
static size_t beaten_by(const float *values, size_t n, size_t at)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) count += i != at && !(values[i] < values[at]);
    return count;
}

double mmi_metric_surprise(const float *scores, size_t classes, size_t label)
{
    const double most = scores[mmi_metric_best(scores, classes)];
    double sum = 0;

    for (size_t c = 0; c < classes; c++) sum += exp(scores[c] - most);
    return log(sum) + most - scores[label];
}

size_t mmi_metric_hits(const float *scores, const int32_t *labels, size_t n, size_t classes, size_t k)
{
    size_t hits = 0;

    for (size_t i = 0; i < n; i++, scores += classes)
        if (labels[i] >= 0 && (size_t)labels[i] < classes) hits += beaten_by(scores, classes, (size_t)labels[i]) < k;
    return hits;
}

void mmi_metric_confusion(const int32_t *guesses, const int32_t *labels, size_t n, size_t classes, int64_t *counts)
{
    for (size_t i = 0; i < n; i++)
        if (labels[i] >= 0 && (size_t)labels[i] < classes && guesses[i] >= 0 && (size_t)guesses[i] < classes)
            counts[(size_t)labels[i] * classes + (size_t)guesses[i]]++;
}

double mmi_metric_accuracy(const int64_t *counts, size_t classes)
{
    int64_t right = 0, all = 0;

    for (size_t i = 0; i < classes * classes; i++) all += counts[i];
    for (size_t c = 0; c < classes; c++) right += counts[c * classes + c];
    return all ? (double)right / (double)all : 0;
}

double mmi_metric_macro_f1(const int64_t *counts, size_t classes)
{
    double sum = 0;
    size_t found = 0;

    for (size_t c = 0; c < classes; c++) {
        int64_t both = 0; /* 2 tp + fp + fn */
        for (size_t i = 0; i < classes; i++) both += counts[c * classes + i] + counts[i * classes + c];
        if (!both) continue;
        sum += 2 * (double)counts[c * classes + c] / (double)both;
        found++;
    }
    return found ? sum / (double)found : 0;
}

double mmi_metric_perplexity(double sum, size_t tokens) { return tokens ? exp(sum / (double)tokens) : INFINITY; }

double mmi_metric_recall(const float *similarities, const int64_t *pictures, const int64_t *texts, size_t n, size_t k, int across)
{
    size_t hits = 0;

    for (size_t i = 0; i < n; i++) {
        const float *to = similarities + (across ? i : i * n);
        const size_t stride = across ? n : 1;
        float best = NAN;
        size_t before = 0;
        for (size_t j = 0; j < n; j++)
            if ((pictures[j] == pictures[i] || texts[j] == texts[i]) && !(to[j * stride] <= best) && !isnan(to[j * stride])) best = to[j * stride];
        for (size_t j = 0; j < n; j++) before += pictures[j] != pictures[i] && texts[j] != texts[i] && !(to[j * stride] < best);
        hits += before < k;
    }
    return n ? (double)hits / (double)n : 0;
}

double mmi_metric_squared_error(const float *guesses, const float *truths, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) sum += ((double)truths[i] - (double)guesses[i]) * ((double)truths[i] - (double)guesses[i]);
    return n ? sum / (double)n : 0;
}

double mmi_metric_r2(const float *guesses, const float *truths, size_t n)
{
    const double wrong = mmi_metric_squared_error(guesses, truths, n);
    double mean = 0, spread = 0;

    if (!n) return 0;
    for (size_t i = 0; i < n; i++) mean += (double)truths[i] / (double)n;
    for (size_t i = 0; i < n; i++) spread += ((double)truths[i] - mean) * ((double)truths[i] - mean) / (double)n;
    return spread > 0 ? 1 - wrong / spread : wrong > 0 ? 0 : 1;
}

static int is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* The next word, from *at on, which goes behind it; its length, 0 at the end. */
static size_t next_word(const char **at, const char **word)
{
    while (is_space(**at)) ++*at;
    *word = *at;
    while (**at && !is_space(**at)) ++*at;
    return (size_t)(*at - *word);
}

static int same_word(const char *a, size_t n, const char *b, size_t m)
{
    if (n != m) return 0;
    for (size_t i = 0; i < n; i++)
        if (lower(a[i]) != lower(b[i])) return 0;
    return 1;
}

int mmi_metric_same_answer(const char *a, const char *b)
{
    const char *x, *y;
    size_t n, m;

    do {
        n = next_word(&a, &x);
        m = next_word(&b, &y);
    } while (n && same_word(x, n, y, m));
    return !n && !m;
}

mm_status mmi_metric_word_errors(mm_context *ctx, const char *guess, const char *truth, size_t *errors, size_t *words)
{
    const char *at = guess, *word, *other;
    size_t columns = 0, n, *row;
    mm_status st = MM_OK;

    while (next_word(&at, &word)) columns++;
    row = mmi_alloc_array(ctx, columns + 1, sizeof *row);
    if (!row) return MM_E_NOMEM;
    for (size_t c = 0; c <= columns; c++) row[c] = c;
    *words = 0;
    while ((n = next_word(&truth, &word)) && !(st = mmi_check_cancel(ctx))) {
        size_t corner = *words; /* of the row above, to the left */
        row[0] = ++*words;
        at = guess;
        for (size_t c = 1; c <= columns; c++) {
            const size_t m = next_word(&at, &other), above = row[c];
            row[c] = mmi_size_min(corner + !same_word(word, n, other, m), 1 + mmi_size_min(above, row[c - 1]));
            corner = above;
        }
    }
    *errors = row[columns];
    mmi_free(row);
    return st;
}
