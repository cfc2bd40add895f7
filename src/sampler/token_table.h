/* The tokens of a vocabulary as bytes, in the order of the bytes: what a grammar is held against, common beginnings once.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_TOKEN_TABLE_H
#define MMI_TOKEN_TABLE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenizer.h"

typedef struct {
    int32_t id;
    uint32_t offset, size; /* into bytes; never empty */
    uint32_t shared;       /* bytes in common with the token before */
} mmi_token_entry;

typedef struct {
    atomic_size_t references;
    mmi_text bytes;
    mmi_token_entry *entries;
    size_t count, capacity;
    int32_t *index;        /* of an id's entry, -1 for a token without text */
    size_t vocabulary;     /* ids below this; those of the tokenizer above are left out */
    size_t longest;
} mmi_token_table; /* immutable and reference-counted */

/* Special tokens and tokens without text are left out. */
mm_status mmi_token_table_create(mm_context *ctx, const mmi_tokenizer *tokenizer, size_t vocabulary, mmi_token_table **out);
void mmi_token_table_retain(mmi_token_table *t);
void mmi_token_table_release(mmi_token_table *t); /* NULL allowed */

#endif
