/* What config.json says of a composite ("model_type": "mm"): which parts it has, how they are joined and shared, and what reads them. The
 * page docs/models.md has the keys. SPDX-License-Identifier: MIT */
#ifndef MMI_COMPOSITE_CONFIG_H
#define MMI_COMPOSITE_CONFIG_H

#include "fusion_trunk.h"

/* Parts, and what a head or the decoder reads: a tower, or what a trunk made of all of them. */
enum { MMI_TEXT_TOWER, MMI_VISION_TOWER, MMI_AUDIO_TOWER, MMI_VIDEO_TOWER, MMI_TOWERS, MMI_DECODER = MMI_TOWERS, MMI_FUSED = MMI_TOWERS };

enum { MMI_MAX_HEADS = 64 };

typedef enum { MMI_HEAD_CLASSIFICATION, MMI_HEAD_REGRESSION, MMI_HEAD_MATCHING, MMI_HEAD_CONTRASTIVE } mmi_head_kind;

/* Where a head or the decoder reads: state `depth` of a tower or trunk, -1 the last. */
typedef struct {
    size_t input;      /* a tower, or MMI_FUSED of a trunk: */
    size_t trunk;
    int64_t depth;
    const char *state; /* of a tower: the output's name */
    mmi_pooling pool;
} mmi_reader;

typedef struct {
    const char *name;
    mmi_head_kind kind;
    mmi_reader from[2];    /* of a contrastive head two towers */
    int64_t size;          /* numbers that it gives; of a contrastive head the width of the common space */
    const char **labels;   /* of a classification, `size` of them */
    int pooled;            /* contrastive: of what the towers pool themselves, their pooler_output */
    int sigmoid;           /* contrastive: pairs are judged each by itself (arXiv:2303.15343), with a bias */
    int slot;              /* weight, bias; contrastive: a weight of each side, log of the scale, bias */
    const char *output;    /* "<name>_logits"; NULL: contrastive */
    const char *embeds[2], *logits[2]; /* contrastive: "image_embeds", "logits_per_image", .. */
} mmi_head;

typedef struct {
    mmi_fusion_config fusion; /* n_trunks 0: nothing reads a trunk */
    unsigned towers;          /* bits 1 << tower */
    int video_joined;         /* the frames' tokens one behind another, else their mean */
    mmi_head *heads;
    size_t n_heads;
    int l2_tied;              /* trunks are held together by a penalty (arXiv:1706.05098, section 3.2) */
    int reads;                /* the decoder reads: */
    mmi_reader decoder;
    int64_t skip;             /* tokens left out in front of what it reads */
    int64_t projector_layers;
    mmi_activation projector_act;
    int projector;            /* slot */
    const char *features;     /* "image_features", .. */
} mmi_composite_config;

extern const char *const mmi_tower_names[MMI_TOWERS]; /* "text", "vision", "audio", "video" */

mm_status mmi_composite_read(mm_context *ctx, mm_model *m, const mmi_json *doc);

#endif
