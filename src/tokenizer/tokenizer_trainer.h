/* Trains a tokenizer on texts and writes it as tokenizer.json and tokenizer_config.json; mm_tokenizer.h has the options. The files are what a
 * tokenizer is made of here too, so that what was learnt is what is read later. SPDX-License-Identifier: MIT */
#ifndef MMI_TOKENIZER_TRAINER_H
#define MMI_TOKENIZER_TRAINER_H

#include "mm_tokenizer.h"
#include "tokenizer.h"

typedef struct mm_tokenizer_trainer mmi_tokenizer_trainer; /* the public handle is the same object */

mm_status mmi_tokenizer_trainer_create(mm_context *ctx, mmi_tokenizer_trainer **out);
void mmi_tokenizer_trainer_destroy(mmi_tokenizer_trainer *t); /* NULL allowed */
mm_context *mmi_tokenizer_trainer_context(const mmi_tokenizer_trainer *t);

mm_status mmi_tokenizer_trainer_set_i64(mmi_tokenizer_trainer *t, int32_t option, int64_t value);
mm_status mmi_tokenizer_trainer_set_str(mmi_tokenizer_trainer *t, int32_t option, const char *value);
mm_status mmi_tokenizer_trainer_add_text(mmi_tokenizer_trainer *t, const char *text, size_t n);
mm_status mmi_tokenizer_trainer_add_file(mmi_tokenizer_trainer *t, const char *path);

/* Append the text of tokenizer.json and that of tokenizer_config.json. */
mm_status mmi_tokenizer_trainer_write(mmi_tokenizer_trainer *t, mmi_text *tokenizer, mmi_text *config);
/* The same as files (directory may be NULL) and as a tokenizer (out may be NULL). */
mm_status mmi_tokenizer_trainer_train(mmi_tokenizer_trainer *t, const char *directory, mmi_tokenizer **out);

#endif
