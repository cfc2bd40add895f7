/* Vision projector files, the second file of a multimodal pair in GGUF: general.architecture "clip", general.type "mmproj", a vision tower and
 * the layers between it and the text, as llama.cpp's conversion tools write them. What such a file says is put in the words of a config.json,
 * preprocessor_config.json and the tensor names of the Hugging Face class, so that the class alone decides what it means.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PROJECTOR_FILE_H
#define MMI_PROJECTOR_FILE_H

#include <stddef.h>

#include "gguf.h"
#include "json.h"
#include "tokenizer.h"

typedef struct {
    const mmi_gguf *file;
    mmi_json *config;    /* with the class under "architectures" */
    mmi_json *processor; /* NULL: the file says nothing of pictures' normalization */
    int swapped;         /* names of the feed-forward's layers, as older tools have them */
    int bare;            /* the tower's last norm was left out, since nothing uses it */
} mmi_projector_file;

/* `tokens` are the text model's, among which the placeholder for pictures is looked for. */
mm_status mmi_projector_file_read(mm_context *ctx, const mmi_gguf *file, const mmi_tokenizer *tokens, mmi_projector_file *out);
void mmi_projector_file_clear(mmi_projector_file *p);

/* The name in the file of a tensor by its name in the class, '%' for the layer left in. Zero: it does not fit. */
int mmi_projector_file_name(const mmi_projector_file *p, const char *hf, char *out, size_t size);

#endif
