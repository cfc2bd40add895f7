/* What a model has learnt, by the held-out examples of each task. SPDX-License-Identifier: MIT */
#ifndef MMI_EVALUATION_H
#define MMI_EVALUATION_H

#include "step_graph.h"
#include "task_data.h"
#include "text.h"

/* Append the task's measures as a JSON object to `out`: "loss" (mean over what counted) and "samples", and
 *   of token objectives            "perplexity", "token_accuracy", "accuracy" (all tokens of an answer the likeliest, as greedy search writes them)
 *   of classification, matching    "accuracy", "macro_f1", "confusion" [classes][classes] (at most 64 of them), "labels"
 *   of contrast                    "image_to_text_recall@k" and "text_to_image_recall@k" over all examples, k = 1, 5, 10: a pair with the same picture or text counts as right
 *   of regression                  "squared_error", "r2"
 *   of preference optimization     "accuracy": the chosen answer gained more over the reference than the rejected
 *   with the task's "generate"     "exact_match" and "word_error_rate" of answers that the model wrote, "generated" of them
 * at most `most` batches, 0: all. */
mm_status mmi_evaluation_run(mm_context *ctx, mmi_step_graphs *graphs, mmi_task_data *data, const mmi_train_task *task, uint64_t most, mmi_text *out);

#endif
