/* Low-rank adapters (LoRA: Hu et al. 2021, arXiv:2106.09685): a model with A and B beside some of its matrices, each of which then stands for
 * W + alpha / r * B A. A model never changes, so an adapter makes a derived model that shares the base's weights. adapter_file.c reads and writes
 * the directories of Hugging Face's peft, who calls a matrix by the module that has it: as today's classes of transformers do, when libmm writes;
 * when it reads, as any of the names that files have had. SPDX-License-Identifier: MIT */
#ifndef MMI_ADAPTER_H
#define MMI_ADAPTER_H

#include "model.h"
#include "weight_loader.h"

enum { MMI_ADAPTER_MAX_RANK = 65536 };

typedef struct {
    char *module;        /* "model.layers.0.self_attn.q_proj", as today's class has it */
    mmi_weight a, b;     /* f32: [r, cols], [rows, r], in the shapes and under the names of peft's file */
    double alpha;
    int has_a, has_b;    /* while a file is read */
    const mm_model *owner; /* the derived model, or its part, that has the weight */
    mmi_weight_place place;
} mmi_adapter_pair;

struct mmi_adapter {
    mmi_adapter_pair *pairs;
    size_t n_pairs, capacity;
    int64_t rank;        /* of most pairs */
    double alpha;
    double dropout;      /* that it was trained with */
    int rslora;          /* alpha / sqrt(r) instead of alpha / r (arXiv:2312.03732) */
    double strength;     /* on top of that */
    char *description;
};

/* What to adapt: names of modules or their last components ("q_proj", "self_attn.q_proj"), "all-linear" alone for all matrices but the output's, or
 * with `is_expression` one regular expression for whole names. */
typedef struct {
    const char *const *targets;
    size_t n_targets;
    int is_expression;
    int64_t rank;
    double alpha;
    int rslora;
    double dropout;
} mmi_adapter_spec;

/* An adapted model to be trained: A uniform in +-1 / sqrt(columns), as peft draws it, B zero, both plain. Its pairs' weights are the trainer's to
 * change. MM_E_NOT_FOUND where a target is no matrix of the model. */
mm_status mmi_adapter_create(mm_context *ctx, mm_model *base, const mmi_adapter_spec *spec, uint64_t seed, mm_model **out);

/* A model with W + scale * B A in place of W, in W's own type. MM_E_UNSUPPORTED for a block-quantized W. */
mm_status mmi_adapter_merge(mm_context *ctx, const mm_model *adapted, mm_model **out);

void mmi_adapter_destroy(mmi_adapter *adapter); /* NULL allowed */

/* The matrices of a model and its parts by the names that their modules may have. */
typedef struct {
    const mm_model *owner;
    mmi_weight_place place;
    int multiplied; /* else it is looked up, or no matrix */
    size_t pair;    /* index + 1 of its pair; 0: none */
} mmi_module;

typedef struct {
    mmi_module *list;
    size_t count, capacity;
    mmi_hash_map names; /* to an index into the list, -1: it could be more than one */
} mmi_modules;

mm_status mmi_modules_list(mm_context *ctx, const mm_model *m, mmi_modules *out); /* *out all zeros; cleared by the caller in any case */
void mmi_modules_clear(mmi_modules *modules);

/* For adapter_file.c: a derived model with an adapter without pairs; a pair of zeros; the end, when all pairs are there. */
mm_status mmi_adapter_begin(mm_context *ctx, mm_model *base, const mmi_adapter_spec *spec, double strength, mm_model **out);
mm_status mmi_adapter_pair_add(mm_context *ctx, mmi_adapter *adapter, mmi_module *module, int64_t rank, double alpha);
mm_status mmi_adapter_finish(mm_context *ctx, mm_model *m);
const mmi_weight *mmi_adapter_target(const mmi_adapter_pair *pair);

#endif
