/* Post-processors of tokenizer.json: which special tokens stand around one text or a pair, and their type ids.
 *
 * Kinds: TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel (moves offsets only), Sequence. All become two
 * templates, immutable after loading. SPDX-License-Identifier: MIT */
#ifndef MMI_POST_PROCESSOR_H
#define MMI_POST_PROCESSOR_H

#include "ids.h"
#include "json.h"

enum { MMI_TEMPLATE_MAX_PIECES = 64 };

typedef struct {
    int32_t id; /* of a special token; MMI_TEMPLATE_A or _B: the ids of a text */
    int32_t type_id;
} mmi_template_piece;

enum { MMI_TEMPLATE_A = -1, MMI_TEMPLATE_B = -2 };

typedef struct {
    mmi_template_piece pieces[MMI_TEMPLATE_MAX_PIECES];
    size_t count;
} mmi_template;

typedef struct {
    mmi_template single, pair;
} mmi_post_processor;

/* The texts alone, with type ids 0 and 1. */
void mmi_post_processor_init(mmi_post_processor *p);

/* From a node of `doc`; absent or null leaves the texts alone. Ids are below vocabulary_size (MM_E_FORMAT otherwise). */
mm_status mmi_post_processor_load(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, int64_t vocabulary_size, mmi_post_processor *out);

/* Add a piece. MM_E_LIMIT when the template is full; `where` names the file. */
mm_status mmi_template_add(mm_context *ctx, mmi_template *t, const char *where, int32_t id, int32_t type_id);

/* Append the ids of a text `a`, or of the pair with `b` not NULL; special tokens are left out when add_special is 0.
 * `types` receives the type ids and may be NULL. MM_E_OVERFLOW for more than INT32_MAX ids. */
mm_status mmi_post_processor_run(mm_context *ctx, const mmi_post_processor *p, const mmi_ids *a, const mmi_ids *b, int add_special, mmi_ids *ids,
                                 mmi_ids *types);

#endif
