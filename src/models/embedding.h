/* Vectors for texts and pictures. SPDX-License-Identifier: MIT */
#ifndef MMI_EMBEDDING_H
#define MMI_EMBEDDING_H

#include "model.h"
#include "tensor.h"

/* mm_model_embed_texts and mm_model_embed_images of mm_model.h. */
mm_status mmi_embed_texts(mm_context *ctx, const mm_model *m, const char *const *texts, size_t count, int normalize, mm_tensor **out);
mm_status mmi_embed_images(mm_context *ctx, const mm_model *m, const mm_image *const *images, size_t count, int normalize, mm_tensor **out);

/* Append the ids of a text that becomes a vector, at most `most`: as the tokenizers package truncates, the text is cut and the special tokens around it stay. */
mm_status mmi_embedding_ids(mm_context *ctx, const mm_model *m, const char *text, size_t most, mmi_ids *ids);

/* mm_model_preprocess_image, mm_model_classify_image, mm_model_classify_text and mm_model_classify_labels of mm_model.h. */
mm_status mmi_prepare_image(mm_context *ctx, const mm_model *m, const mm_image *image, mm_tensor **out);
mm_status mmi_classify_image(mm_context *ctx, const mm_model *m, const mm_image *image, mm_tensor **out);
mm_status mmi_classify_text(mm_context *ctx, const mm_model *m, const char *text, mm_tensor **out);
mm_status mmi_classify_labels(mm_context *ctx, const mm_model *m, const mm_image *image, const char *const *labels, size_t count,
                              const char *label_template, mm_tensor **out);

#endif
