/* Tokens that are found in a text before the model sees it: special tokens ([CLS], <|im_end|>) and words added by a user.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_ADDED_TOKENS_H
#define MMI_ADDED_TOKENS_H

#include "hash_map.h"
#include "normalizer.h"
#include "trie.h"

enum { MMI_ADDED_TOKEN_MAX_BYTES = 1024 }; /* of a text: what searching costs at each place, at worst */

typedef struct {
    char *text; /* NUL-terminated */
    size_t size;
    int32_t id;
    int special;     /* left out when decoding without special tokens */
    int single_word; /* found only where no \w stands beside it */
    int lstrip, rstrip; /* takes the white space on this side with it */
    int normalized;  /* looked for in the normalized text */
    char *form;      /* what the decoder sees: of a normalized token what the normalizer made of it, else `text` */
    size_t form_size;
} mmi_added_token;

typedef struct {
    mmi_added_token *tokens;
    size_t count, capacity;
    mmi_hash_map by_id, by_text; /* to the index in tokens */
    mmi_trie raw, normalized;    /* likewise */
    unsigned char raw_first[256], normalized_first[256]; /* bytes that a token begins with */
} mmi_added_tokens;

/* Starts as all zeros; clear frees it. */
void mmi_added_tokens_clear(mmi_added_tokens *a);

/* Add a token (text[0..size) is copied, form is made; an empty one is ignored, of two with one text the first is found in texts).
 * `normalizer` and the scratch make the form of normalized tokens. MM_E_FORMAT: malformed UTF-8 or an id that another
 * text has; MM_E_LIMIT: too long. */
mm_status mmi_added_tokens_add(mm_context *ctx, mmi_added_tokens *a, const char *where, const mmi_added_token *token,
                               const mmi_normalizer *normalizer, mmi_matcher *matcher);

/* NULL: none. */
const mmi_added_token *mmi_added_tokens_by_id(const mmi_added_tokens *a, int64_t id);
const mmi_added_token *mmi_added_tokens_by_text(const mmi_added_tokens *a, const char *text, size_t n);

/* The first token in text[from..n), of the raw or the normalized ones: its bounds with the white space that it takes,
 * the left one at least `from`. The search goes on at *end. With special 0, special tokens are not found.
 * Returns NULL when there is no more. */
const mmi_added_token *mmi_added_tokens_find(const mmi_added_tokens *a, int normalized, int special, const char *text, size_t n, size_t from,
                                             size_t *start, size_t *end);

#endif
