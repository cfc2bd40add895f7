/* A model directory as Hugging Face transformers writes it: the configuration files, parsed, and the weights, opened.
 * What the files mean is for the model, the tokenizer and the image processor that read them.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_HF_DIRECTORY_H
#define MMI_HF_DIRECTORY_H

#include <stddef.h>

#include "context.h"
#include "json.h"
#include "safetensors.h"

enum {
    MMI_HF_MAX_CONFIG = 16 * 1024 * 1024,
    MMI_HF_MAX_TOKENIZER = 256 * 1024 * 1024
};

/* Each document is the file of its name, NULL when there is none. */
typedef struct {
    char *path; /* of the directory, as it was given */
    mmi_json *config; /* never NULL */
    mmi_json *generation_config;
    mmi_json *tokenizer;
    mmi_json *tokenizer_config;
    mmi_json *preprocessor_config;
    mmi_json *video_preprocessor_config;
    mmi_json *processor_config;
    mmi_json *chat_template_json; /* chat_template.json: {"chat_template": "..."}, older than the .jinja */
    char *chat_template;          /* chat_template.jinja: NUL-terminated UTF-8 */
    mmi_json *modules;            /* modules.json: the steps of a sentence-transformers model */
    mmi_json *pooling;            /* config.json in the folder of the Pooling step of modules.json */
    mmi_safetensors *weights;     /* model.safetensors, or the shards of model.safetensors.index.json; NULL only when read without */
} mmi_hf_directory;

/* MM_E_NOT_FOUND without config.json or weights; MM_E_UNSUPPORTED when the only weights are in a pickle or another format
 * that is not read; else as the readers of the files. The message names the file. */
mm_status mmi_hf_directory_open(mm_context *ctx, const char *path, mmi_hf_directory **out);

/* Copy what a directory has besides its configuration and weights (tokenizer, processors, chat template, generation, pooling) into another, which
 * is there. */
mm_status mmi_hf_directory_copy(mm_context *ctx, const char *from, const char *to);
mm_status mmi_hf_directory_read(mm_context *ctx, const char *path, mmi_hf_directory **out); /* the same without the weights, which need not be there */
void mmi_hf_directory_destroy(mmi_hf_directory *directory); /* NULL allowed; the weights' maps stay while someone retains them */

#endif
