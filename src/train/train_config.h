/* The configuration of a training run: one JSON object, whose keys docs/training.md explains. A key that is not known is an error that names it.
 * Paths are relative to the directory of the file. SPDX-License-Identifier: MIT */
#ifndef MMI_TRAIN_CONFIG_H
#define MMI_TRAIN_CONFIG_H

#include "json.h"
#include "objective.h"
#include "optimizer.h"
#include "schedule.h"

enum { MMI_TRAIN_TASKS = 16, MMI_TRAIN_GROUPS = 16 };

/* One objective on one data set. */
typedef struct {
    char *name;
    mmi_objective_spec objective; /* `other` is opened by the trainer */
    char *other;                  /* the teacher's or reference's directory; NULL: of preference optimization the model itself as it begins */
    char *head;                   /* of a composite model, NULL: none */
    char *train, *validation;     /* manifests; validation NULL: split off */
    double split;                 /* of the lines of `train`, where validation is NULL */
    int skip_bad;
    const mmi_json_node *augment; /* of the document, NULL: none */
    double weight;                /* of its loss */
    double ratio;                 /* of its batches among those of all tasks */
    int64_t batch_size;
    int64_t max_tokens;           /* longer examples are cut, or refused where the answer would be */
    int pack;                     /* texts one behind another in rows of max_tokens (causal_lm of text alone) */
    double mask_probability, mean_span; /* of masked language models and span corruption */
    double noise;                 /* of the denoising autoencoder: standard deviation of what is added to pixels */
    char *prompt;                 /* of caption, the text before the answer; of vqa with {question} in it */
    int64_t generate;             /* held-out examples that an evaluation lets the model answer by itself */
} mmi_train_task;

/* Rules for parameters whose names match; a later one overrules. */
typedef struct {
    char **patterns;
    size_t n_patterns;
    double lr_scale, weight_decay; /* weight_decay < 0: the optimizer's */
} mmi_train_group;

typedef struct {
    mmi_json *doc;
    char *directory;      /* of the file */
    char *output;
    char *save_as;         /* the class of transformers that the model is saved as besides; NULL: none */
    uint64_t seed;
    int64_t steps, epochs; /* one of them is 0 */
    int64_t batch_size, accumulate;
    double clip_norm;      /* 0: none */
    int32_t master;        /* MM_DTYPE_F32 or BF16 */
    int recompute;         /* activation checkpointing */
    double dropout;        /* of the blocks, while they train */
    int64_t prefetch; /* batches that are prepared ahead; 0: each when it is its turn, without a thread */

    char *from;            /* a model to go on from; NULL: config */
    const mmi_json_node *model_config, *processor;
    char *weights;         /* of `config`: a model whose tensors are taken where it has them by the same names; NULL: all are drawn */
    char *tokenizer;       /* a directory or tokenizer.json; NULL: the model's own, or tokenizer_options */
    const mmi_json_node *tokenizer_options;
    const char *chat_template; /* of `doc`; NULL: the tokenizer's directory may have one */
    char **freeze, **train_only;
    size_t n_freeze, n_train_only;
    int lora;
    int64_t lora_rank;
    double lora_alpha;
    int lora_rank_stabilized;
    double lora_dropout;   /* of what the adapter reads */
    char **lora_targets;
    size_t n_lora_targets;
    int lora_expression; /* the only one is a regular expression */
    double sharing_penalty; /* of tied trunks (soft sharing) */

    mmi_train_task tasks[MMI_TRAIN_TASKS];
    size_t n_tasks;

    mmi_optimizer_spec optimizer;
    double lr, weight_decay;
    mmi_train_group groups[MMI_TRAIN_GROUPS];
    size_t n_groups;
    mmi_schedule schedule; /* total_steps is the run's */
    int64_t log_every, evaluate_every, save_every, keep, evaluate_batches; /* 0: never, or all */
} mmi_train_config;

/* Read and check; *out is cleared by the caller, after a failure too. */
mm_status mmi_train_config_read(mm_context *ctx, const char *path, mmi_train_config *out);
void mmi_train_config_clear(mmi_train_config *c);

#endif
