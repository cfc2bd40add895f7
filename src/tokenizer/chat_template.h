/* Chat templates: the Jinja2 text in tokenizer_config.json, chat_template.jinja or GGUF's tokenizer.chat_template, rendered as
 * transformers renders it (immutable sandbox, trim_blocks, lstrip_blocks, loop controls, generation blocks).
 *
 * A template is hostile input: it can neither reach anything but its variables nor use more than the steps, memory and
 * depth that jinja_value.h bounds. Not supported, with a failure that says so: inheritance and imports, recursive loops,
 * arguments by * and **, varargs and kwargs of macros, and the filters that no published chat template uses (batch,
 * groupby, urlize ...); a filter or test that does not exist fails when it is reached. Integers have 64 bits. The filters
 * `safe` and `escape` matter to + alone. Whole JSON numbers are integers, so that 1.0 in a tool's schema is written as 1.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_CHAT_TEMPLATE_H
#define MMI_CHAT_TEMPLATE_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "json.h"
#include "text.h"

/* A parsed template; nothing changes after creation, so that any number of threads may render it at once. */
typedef struct mmi_chat_template mmi_chat_template;

/* One part of a message with several: {"type": type, "text": text}, or {"type": type} with text NULL. */
typedef struct {
    const char *type; /* "text", "image", "audio", "video" */
    const char *text;
} mmi_chat_part;

typedef struct {
    const char *role;
    const char *content;         /* NULL: `parts`, or none */
    const mmi_chat_part *parts;  /* NULL: none */
    size_t part_count;
    const mmi_json_node *members; /* an object with further members (tool_calls, name ...), or NULL; its role and content win */
} mmi_chat_message;

typedef struct {
    int add_generation_prompt;
    const char *bos_token, *eos_token; /* NULL: undefined in the template */
    const mmi_json_node *tools;        /* an array of JSON schemas; NULL: none */
    const mmi_json_node *documents;    /* NULL: none */
    const mmi_json_node *variables;    /* an object with further variables (enable_thinking ...), or NULL; they win */
    int64_t now;                       /* seconds since 1970, for strftime_now, which gives local time */
} mmi_chat_options;

/* Parse text[0..n). MM_E_FORMAT (the sentence names the template's line), MM_E_LIMIT or MM_E_NOMEM; *out is then NULL. */
mm_status mmi_chat_template_create(mm_context *ctx, const char *text, size_t n, mmi_chat_template **out);
void mmi_chat_template_destroy(mmi_chat_template *tpl); /* NULL allowed */

/* Append the rendered conversation to `out`. `options` may be NULL. MM_E_FORMAT when the template refuses the conversation
 * (raise_exception) or uses what is not there; MM_E_LIMIT past a bound; MM_E_NOMEM; MM_E_CANCELLED. `out` then stays as it was. */
mm_status mmi_chat_template_render(mm_context *ctx, const mmi_chat_template *tpl, const mmi_chat_message *messages, size_t count,
                                   const mmi_chat_options *options, mmi_text *out);

/* The same with all variables from one JSON object. */
mm_status mmi_chat_template_render_json(mm_context *ctx, const mmi_chat_template *tpl, const mmi_json_node *variables, int64_t now,
                                        mmi_text *out);

#endif
