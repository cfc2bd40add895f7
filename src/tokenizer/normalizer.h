/* Normalizers of tokenizer.json: what happens to a text before it is cut into words.
 *
 * Kinds: NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Replace, Prepend, Nmt, Precompiled, BertNormalizer, Sequence.
 * A normalizer is a flat list of steps, immutable after loading. SPDX-License-Identifier: MIT */
#ifndef MMI_NORMALIZER_H
#define MMI_NORMALIZER_H

#include "json.h"
#include "pattern.h"
#include "text.h"

typedef struct mmi_normalizer mmi_normalizer;

/* From a node of `doc`; an absent or null node gives one without steps. MM_E_UNSUPPORTED names an unknown kind. */
mm_status mmi_normalizer_load(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, mmi_normalizer **out);
void mmi_normalizer_destroy(mmi_normalizer *n); /* NULL allowed */

/* Normalize `text` (valid UTF-8) in place. `spare` and `matcher` are scratch; the texts may change places. */
mm_status mmi_normalizer_run(mm_context *ctx, const mmi_normalizer *n, mmi_text *text, mmi_text *spare, mmi_matcher *matcher);

#endif
