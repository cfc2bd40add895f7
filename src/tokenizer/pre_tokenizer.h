/* Pre-tokenizers of tokenizer.json: how a text is cut into the words that the model sees.
 *
 * Kinds: ByteLevel, Metaspace, Split, Digits, Whitespace, WhitespaceSplit, Punctuation, BertPreTokenizer, Sequence.
 * A pre-tokenizer is a flat list of steps, immutable after loading. SPDX-License-Identifier: MIT */
#ifndef MMI_PRE_TOKENIZER_H
#define MMI_PRE_TOKENIZER_H

#include "json.h"
#include "pattern.h"
#include "text.h"

typedef struct {
    size_t start, end;
} mmi_span;

/* A text and the words in it, in order; what lies between them is dropped. Starts as all zeros. */
typedef struct {
    mmi_text text;
    mmi_span *spans;
    size_t count, capacity;
    int at_start; /* set by the caller: the first word begins where the user's text does */
} mmi_words;

void mmi_words_clear(mmi_words *words);

/* Where Metaspace puts its character before a word that does not begin with it. */
typedef enum { MMI_PREPEND_ALWAYS, MMI_PREPEND_FIRST, MMI_PREPEND_NEVER } mmi_prepend_scheme;

/* The options that Metaspace has as a pre-tokenizer and as a decoder; the replacement is one character, borrowed from doc. */
mm_status mmi_metaspace_load(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, const char **replacement, mmi_prepend_scheme *prepend);

typedef struct mmi_pre_tokenizer mmi_pre_tokenizer;

/* From a node of `doc`; an absent or null node gives one without steps. MM_E_UNSUPPORTED names an unknown kind. */
mm_status mmi_pre_tokenizer_load(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, mmi_pre_tokenizer **out);
void mmi_pre_tokenizer_destroy(mmi_pre_tokenizer *p); /* NULL allowed */

/* Cut words->text into words->spans; the text may change. `spare` and `matcher` are scratch. */
mm_status mmi_pre_tokenizer_run(mm_context *ctx, const mmi_pre_tokenizer *p, mmi_words *words, mmi_words *spare, mmi_matcher *matcher);

#endif
