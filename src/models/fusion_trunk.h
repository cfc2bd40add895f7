/* Where modalities meet between the towers and what reads them: late fusion (their vectors side by side), early fusion (one sequence of all
 * their tokens through encoder blocks), interactive fusion (a stream each, with attention across to the others in every block: arXiv:1908.02265).
 * One trunk for all readers, or one for each task, whose states cross-stitch units may mix after every layer (arXiv:1604.03539).
 * SPDX-License-Identifier: MIT */
#ifndef MMI_FUSION_TRUNK_H
#define MMI_FUSION_TRUNK_H

#include "co_attention_block.h"
#include "encoder_stack.h"
#include "row_list.h"

enum { MMI_MAX_TRUNKS = 16, MMI_MAX_TRUNK_LAYERS = 64 };

typedef enum { MMI_JOIN_LATE, MMI_JOIN_EARLY, MMI_JOIN_INTERACTIVE } mmi_join;

typedef struct {
    mmi_join join;
    mmi_stack_config stack; /* layers 0 of late fusion, whose `act` stands behind the projection */
    mmi_pooling pool;       /* of each modality: late fusion */
    int stitched;           /* cross-stitch units; the first slot of which is: */
    int stitch;
    struct {
        const char *task;   /* NULL: the one trunk of all */
        int first;          /* slot */
    } trunks[MMI_MAX_TRUNKS];
    size_t n_trunks;
    size_t n_streams;       /* modalities, of these widths and names */
    int64_t widths[MMI_MAX_STREAMS];
    const char *names[MMI_MAX_STREAMS];
} mmi_fusion_config;

/* The rows of all trunks: "fusion.<task>.<modality>. .." (without a task where there is one trunk) and "fusion.cross_stitch.<layer>.weight". */
void mmi_fusion_rows(mmi_row_list *l, mmi_fusion_config *f);

typedef struct {
    mmi_value states, mask; /* [B, N, C]; i32 [B, N], 0: all count */
} mmi_tokens;

/* The towers' tokens through all trunks: out[trunk][k] are the tokens behind k layers, of interactive fusion those of its streams one behind
 * another; of late fusion out[trunk][0] is one token. Returns the mask of all of them. */
mmi_value mmi_fusion_run(mmi_io *io, const mmi_fusion_config *f, const mmi_tokens *towers, mmi_value out[][MMI_MAX_TRUNK_LAYERS + 1]);

/* [B, N, C] -> [B, C]; of a batch of texts as segments (io->segments) a vector each. */
mmi_value mmi_pool_tokens(mmi_io *io, mmi_tokens t, mmi_pooling pool);

#endif
