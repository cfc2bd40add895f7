/* What a task minimizes: a scalar in the graph of a model on one batch.
 *
 * A batch is named tensors: the model's inputs, and what the objective holds its outputs against:
 *   labels          i32 [B, K], the tokens to predict, MMI_IGNORED where there is none; of classification and matching i32 [B]
 *   label_positions i32 [B, K], where the logits of those stand in the sequence that the decoder reads
 *   label_weights   f32, as labels, what each counts: 1 / n for a mean over n; of preference 1 or 0
 *   values          f32 [B, n], of regression
 *   segments        i32 [n + 1], offsets of packed texts in a batch of one
 *   clean_pixel_values f32, as pixel_values, of a denoising autoencoder
 * SPDX-License-Identifier: MIT */
#ifndef MMI_OBJECTIVE_H
#define MMI_OBJECTIVE_H

#include "io.h"

typedef enum {
    MMI_OBJECTIVE_CAUSAL_LM,       /* the next token (arXiv:2005.14165, section 2) */
    MMI_OBJECTIVE_MASKED_LM,       /* hidden tokens (BERT: arXiv:1810.04805, section 3.1) */
    MMI_OBJECTIVE_SPAN_CORRUPTION, /* hidden spans, by an encoder-decoder (T5: arXiv:1910.10683, section 3.1.4) */
    MMI_OBJECTIVE_MAE,             /* hidden patches, the model's own "loss" (arXiv:2111.06377) */
    MMI_OBJECTIVE_DENOISING_IMAGE, /* the clean pixels of a noisy picture, patch by patch (Vincent et al. 2008) */
    MMI_OBJECTIVE_CONTRASTIVE,     /* InfoNCE over the batch, both ways (CLIP: arXiv:2103.00020, figure 3) */
    MMI_OBJECTIVE_SIGMOID_CONTRASTIVE, /* each pair by itself (SigLIP: arXiv:2303.15343, section 3.2) */
    MMI_OBJECTIVE_MATCHING,        /* whether a picture and a text belong together (arXiv:2107.07651, section 3.2) */
    MMI_OBJECTIVE_CAPTION,         /* the text of a picture */
    MMI_OBJECTIVE_VQA,             /* the answer to a question about a picture: the loss counts the answer alone */
    MMI_OBJECTIVE_CHAT,            /* the assistant's turns of a conversation (instruction tuning: arXiv:2203.02155) */
    MMI_OBJECTIVE_CLASSIFICATION,
    MMI_OBJECTIVE_REGRESSION,      /* mean squared error */
    MMI_OBJECTIVE_DISTILLATION,    /* the next token as a teacher predicts it (arXiv:1503.02531), and its hidden states (arXiv:1910.01108) */
    MMI_OBJECTIVE_DPO,             /* direct preference optimization (arXiv:2305.18290, equation 7) */
    MMI_OBJECTIVE_COUNT
} mmi_objective_kind;

typedef struct {
    mmi_objective_kind kind;
    char *output;            /* of classification, regression and matching: what to hold against the labels; NULL: "logits", or "itm_score" of matching */
    float smoothing;         /* of labels (arXiv:1512.00567) */
    /* Distillation: (1 - soft_weight) times the loss on the labels, soft_weight temperature^2 times that on the teacher's distribution, and hidden_weight times the mean squared
     * difference of the hidden states `hidden` of both. */
    float temperature, soft_weight, hidden_weight;
    char hidden[2][40];      /* "hidden_states.<k>" of the student, of the teacher */
    float beta;              /* of preference optimization */
    const mm_model *other;   /* the teacher, or the reference of preference optimization: frozen, its forward is part of the graph */
} mmi_objective_spec;

/* By name ("causal_lm"); -1: none. And back. */
int mmi_objective_find(const char *name);
const char *mmi_objective_name(mmi_objective_kind kind);

/* Build io's model and the loss [1] behind it. *compared, unless NULL: what the loss compared (logits, similarities), an output of the graph; 0 where that is of no use. The spec
 * is borrowed for the graph's life. Failures stay in the graph. */
mmi_value mmi_objective_loss(mmi_io *io, const mmi_objective_spec *spec, mmi_value *compared);

#endif
