/* Where a tokenizer is found on disk. SPDX-License-Identifier: MIT */
#ifndef MMI_TOKENIZER_FILE_H
#define MMI_TOKENIZER_FILE_H

#include "tokenizer.h"

enum { MMI_TOKENIZER_MAX_FILE = 256 * 1024 * 1024 };

/* `path` is a directory with tokenizer.json (and tokenizer_config.json), a tokenizer.json (with tokenizer_config.json
 * beside it, if there is one), or a .gguf file. MM_E_NOT_FOUND, MM_E_IO, else as the readers of the files. */
mm_status mmi_tokenizer_open(mm_context *ctx, const char *path, mmi_tokenizer **out);

#endif
