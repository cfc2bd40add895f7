/* One example of a task: a record of its manifest as token ids, pictures, sound and labels.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_EXAMPLE_H
#define MMI_EXAMPLE_H

#include "augment.h"
#include "ids.h"
#include "manifest.h"
#include "model.h"
#include "text.h"
#include "train_config.h"

/* What making examples of a task needs beside the record; immutable, but for `picture`, which one thread at a time uses. */
typedef struct {
    const mm_model *model;
    const mmi_train_task *task;
    uint64_t seed;
    int augments;            /* pictures, as `augment` says */
    mmi_augment augment;
    mmi_label_list labels;   /* of classification */
    int32_t sentinel;        /* of span corruption: <extra_id_0>, from which the others descend */
    size_t sentinels;
    struct {
        int64_t shape[4];    /* of pixel_values, the last that was asked for */
        size_t tokens;       /* that stand for such a picture in the text */
    } picture;
} mmi_example_maker;

/* A sequence that the model writes: the loss counts labels[i] at positions[i] of the logits. */
typedef struct {
    mmi_ids ids, positions, labels;
} mmi_written;

/* Starts as all zeros. */
typedef struct {
    mmi_written written[2];  /* of preference optimization the chosen and the rejected; else the first alone */
    mmi_ids source;          /* what an encoder reads */
    mm_tensor_map *media;    /* the model's inputs for its pictures or sound, NULL: none */
    mm_tensor_map *clean;    /* "clean_pixel_values" of a denoising autoencoder, NULL: none */
    float *noise;            /* of a masked autoencoder, [patches] */
    size_t patches;
    int32_t label;
    double *values;
    size_t n_values;
} mmi_example;

/* A maker of a task's examples for training (`augments`) or evaluation. MM_E_UNSUPPORTED says what the model lacks for the objective. Cleared by the caller, after a failure too. */
mm_status mmi_example_maker_init(mm_context *ctx, const mm_model *model, const mmi_train_task *task, const mmi_json *doc, uint64_t seed, int trains, mmi_example_maker *out);
void mmi_example_maker_clear(mmi_example_maker *m);

/* What the record is to the task: whatever is drawn is drawn for (seed, epoch, index). MM_E_FORMAT names the record's place and what is missing. Cleared by the caller, after a
 * failure too. */
mm_status mmi_example_make(mm_context *ctx, mmi_example_maker *m, const mmi_record *record, uint64_t epoch, size_t index, mmi_example *out);
void mmi_example_clear(mmi_example *e);

/* The text that a record pairs with its picture; NULL: none. */
const char *mmi_example_text(const mmi_record *record);

/* The most tokens of a sequence: the task's max_tokens, and no more than the model has positions for. */
size_t mmi_example_most_tokens(const mmi_example_maker *m);

/* Append what is asked of the model before it answers: the task's prompt with the record's question, as a session takes it. */
mm_status mmi_example_prompt(mm_context *ctx, const mmi_example_maker *m, const mmi_record *record, mmi_text *out);

#endif
