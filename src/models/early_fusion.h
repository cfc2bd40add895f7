/* Early fusion: one sequence for all modalities. Features of pictures and videos, as wide as the text decoder, stand in its sequence in place
 * of the embeddings of their placeholder tokens (LLaVA: arXiv:2304.08485, section 4.1). What the families share.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_EARLY_FUSION_H
#define MMI_EARLY_FUSION_H

#include "io.h"
#include "model.h"

/* Features of one kind of media. */
typedef struct {
    int32_t token;      /* their placeholder */
    const char *name;   /* of the output, and of the input that brings them back: "image_features" */
    mmi_value features; /* [N, C]; 0: none */
} mmi_fused;

/* The decoder, part `text`, over input_ids with the features put in: its outputs are the whole's. Where features are asked for by name they
 * are given, and without input_ids nothing more is. */
void mmi_fusion_decode(mmi_io *io, size_t text, const mmi_fused *media, size_t count);

/* The same of pictures alone: the input image_features, or what `see` makes of the others: [N, C], or [n, N, C] of n pictures; 0 for none. */
void mmi_fusion_decode_images(mmi_io *io, size_t text, mmi_value (*see)(mmi_io *io));

/* m->info from its parts: the text's, and what the vision part sees. */
void mmi_fusion_join(mm_model *m, size_t vision, size_t text);

/* The same of a tower that sees and a decoder of text alone. Parts of other kinds, which a configuration may name, are refused. */
mm_status mmi_fusion_describe(mm_context *ctx, mm_model *m, const mmi_json *doc, size_t vision, size_t text);

/* A placeholder's id under the first of the keys (NULL at the end) that config.json has; it must be a token of the text. */
mm_status mmi_fusion_token(mm_context *ctx, const mm_model *m, const mmi_json *doc, const char *const *keys, int64_t absent, int32_t *out);

/* How media are written into a prompt. */
typedef struct {
    const char *mark;           /* placeholder of a medium in the text that the user gives */
    const char *before, *after; /* around the mark of one that the text has no place for; those go in front of all text */
    mmi_modality modality;
    mm_status (*write)(mm_context *ctx, const mm_model *m, const mmi_medium *medium, mmi_text *out); /* NULL: the mark for each of its tokens */
} mmi_fusion_mark;

/* Write `text` with the media at their marks. Marks without a medium are MM_E_ARGUMENT. */
mm_status mmi_fusion_write(mm_context *ctx, const mm_model *m, const char *text, const mmi_medium *media, size_t count,
                           const mmi_fusion_mark *marks, size_t n_marks, mmi_text *out);

/* One token again and again. */
mm_status mmi_fusion_repeat(mm_context *ctx, const char *token, size_t count, mmi_text *out);

#endif
