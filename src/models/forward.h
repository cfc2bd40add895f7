/* Running a model on named tensors. SPDX-License-Identifier: MIT */
#ifndef MMI_FORWARD_H
#define MMI_FORWARD_H

#include "io.h"
#include "tensor.h"

/* A graph and its named inputs: tensors, as the graph takes them (integers i32, numbers f32), and the positions of tokens that no input gave. Its io is ready for
 * the model's build. */
typedef struct {
    mmi_io io;
    void *data[MMI_IO_MAX];
    char *names[MMI_IO_MAX];
    size_t given; /* inputs that are the caller's; positions follow */
} mmi_feed;

mm_status mmi_feed_begin(mm_context *ctx, const mm_model *m, const mm_tensor_map *inputs, mmi_feed *f); /* f is to be ended, whatever comes */
/* Other elements for the next run: inputs of the same names, types and shapes in the same order; not where io.g->by_value. */
mm_status mmi_feed_fill(mm_context *ctx, const mm_tensor_map *inputs, mmi_feed *f);
void mmi_feed_end(mmi_feed *f);

/* mm_model_forward of mm_model.h; `wanted` are names of outputs to compute, NULL at the end, NULL for all. */
mm_status mmi_forward(mm_context *ctx, const mm_model *m, const mm_tensor_map *inputs, const char *const *wanted, mm_tensor_map **outputs);

/* The source of a model with MMI_FUSION_CROSS, a batch of one: its keys and values into `cross`, which then holds its tokens. */
mm_status mmi_forward_source(mm_context *ctx, const mm_model *m, const mm_tensor_map *inputs, mmi_kv_cache *cross);

#endif
