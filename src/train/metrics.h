/* What an evaluation counts. Pure functions of what models gave and of what was right; those that need memory take a context.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_METRICS_H
#define MMI_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"

/* Classification. Labels are 0 to classes - 1; rows whose label is negative count nowhere. Scores [n, classes], any order-preserving ones. */

size_t mmi_metric_best(const float *scores, size_t classes); /* the first of the largest; a NaN never is it */

/* Minus the log of the label's share in the softmax of a row of scores. */
double mmi_metric_surprise(const float *scores, size_t classes, size_t label);

/* How many of the n labels have fewer than k classes with scores that are as large or larger (k 1: the accuracy's hits). A tie counts against. */
size_t mmi_metric_hits(const float *scores, const int32_t *labels, size_t n, size_t classes, size_t k);

/* Add to counts [classes, classes]: rows are the right classes, columns what was guessed. */
void mmi_metric_confusion(const int32_t *guesses, const int32_t *labels, size_t n, size_t classes, int64_t *counts);

double mmi_metric_accuracy(const int64_t *counts, size_t classes); /* of a confusion; 0 when it is empty */

/* The mean over classes of 2 tp / (2 tp + fp + fn), over those that are right or guessed somewhere; 0 where there are none. As sklearn's
 * f1_score(average="macro") over the classes that it finds. */
double mmi_metric_macro_f1(const int64_t *counts, size_t classes);

/* exp of the mean of `tokens` negative log-likelihoods (nats) with this sum; infinity for none. */
double mmi_metric_perplexity(double sum, size_t tokens);

/* Retrieval. Similarities [n, n] of n pictures (rows) and n texts; what each pair's picture and text are, as numbers that are equal where those are. Pair j is a right answer
 * to a half of pair i where they have the same picture or the same text. The share of pictures whose k most similar texts have a right one among them, with `across` of texts
 * and pictures. A wrong answer that is as similar as the best right one stands before it. */
double mmi_metric_recall(const float *similarities, const int64_t *pictures, const int64_t *texts, size_t n, size_t k, int across);

/* Regression: 1 - sum (y - x)^2 / sum (y - mean y)^2 of n pairs of guess x and truth y. Where all truths are equal 1 when all guesses are right, else 0, as sklearn's
 * r2_score; 0 for n 0. And the mean of (y - x)^2. */
double mmi_metric_r2(const float *guesses, const float *truths, size_t n);
double mmi_metric_squared_error(const float *guesses, const float *truths, size_t n);

/* Texts, UTF-8. Normalized: ASCII letters in lower case, white space at the ends left out and within made one blank; articles and marks stay. */
int mmi_metric_same_answer(const char *a, const char *b); /* nonzero: equal once normalized */

/* Word errors: the least substitutions, insertions and deletions of words (what stands between white space, normalized so) that make the guess from
 * the truth (Levenshtein), and the words of the truth. The word error rate of many texts is the sum of errors over the sum of words. Memory for one row of words.
 * MM_E_NOMEM or MM_E_CANCELLED. */
mm_status mmi_metric_word_errors(mm_context *ctx, const char *guess, const char *truth, size_t *errors, size_t *words);

#endif
