/* SPDX-License-Identifier: MIT */
#include "chat_template.h"

#include <string.h>

#include "jinja_eval.h"
#include "jinja_parser.h"
#include "jinja_value.h"

typedef mmi_jinja_value value;
typedef mmi_jinja_run jinja_run;

struct mmi_chat_template {
    mmi_jinja_program program;
};

mm_status mmi_chat_template_create(mm_context *ctx, const char *text, size_t n, mmi_chat_template **out)
{
    mmi_chat_template *tpl = mmi_zalloc(ctx, sizeof *tpl);
    mm_status st;

    *out = NULL;
    if (!tpl) return MM_E_NOMEM;
    st = mmi_jinja_parse(ctx, text, n, &tpl->program);
    if (st)
        mmi_chat_template_destroy(tpl);
    else
        *out = tpl;
    return st;
}

void mmi_chat_template_destroy(mmi_chat_template *tpl)
{
    if (!tpl) return;
    mmi_arena_clear(&tpl->program.arena);
    mmi_free(tpl);
}

static void start(jinja_run *run, mm_context *ctx, int64_t now)
{
    memset(run, 0, sizeof *run);
    run->ctx = ctx;
    run->arena.limit = MMI_JINJA_MAX_MEMORY;
    run->steps = MMI_JINJA_MAX_STEPS;
    run->now = now;
}

/* Render, copy the text out, free everything of the run. A run that has already failed is only freed. */
static mm_status finish(jinja_run *run, const mmi_chat_template *tpl, const mmi_jinja_dict *variables, mmi_text *out)
{
    mmi_jinja_text text = {0};

    if (!run->status && !mmi_jinja_eval(run, &tpl->program, variables, &text) && mmi_text_append(run->ctx, out, text.data, text.size))
        run->status = MM_E_NOMEM;
    mmi_arena_clear(&run->arena);
    return run->status;
}

static int put_text(jinja_run *run, mmi_jinja_dict *dict, const char *key, const char *text)
{
    value v;
    return mmi_jinja_string_wrap(run, text, strlen(text), &v) || mmi_jinja_dict_put_text(run, dict, key, v);
}

static int put_json(jinja_run *run, mmi_jinja_dict *dict, const char *key, const mmi_json_node *node)
{
    value v;
    return mmi_jinja_from_json(run, node, &v) || mmi_jinja_dict_put_text(run, dict, key, v);
}

/* All members of a JSON object. */
static int put_members(jinja_run *run, mmi_jinja_dict *dict, const mmi_json_node *object)
{
    for (const mmi_json_node *n = mmi_json_kind_of(object) == MMI_JSON_OBJECT ? mmi_json_first(object) : NULL; n; n = mmi_json_next(n))
        if (put_json(run, dict, mmi_json_key(n), n)) return 1;
    return 0;
}

static value dict_value(mmi_jinja_dict *dict)
{
    value v = {MMI_JINJA_DICT, 0, {0}};
    v.as.dict = dict;
    return v;
}

static int parts_value(jinja_run *run, const mmi_chat_message *m, value *out)
{
    value *items = mmi_jinja_alloc(run, m->part_count, sizeof *items);

    if (!items) return 1;
    for (size_t i = 0; i < m->part_count; i++) {
        mmi_jinja_dict *part;
        if (mmi_jinja_dict_create(run, &part) || put_text(run, part, "type", m->parts[i].type) ||
            (m->parts[i].text && put_text(run, part, "text", m->parts[i].text)))
            return 1;
        items[i] = dict_value(part);
    }
    return mmi_jinja_list_wrap(run, MMI_JINJA_LIST, items, m->part_count, out);
}

/* The reasoning of a message under the first of the names that it has; NULL: none. */
static const mmi_json_node *find_reasoning(const mmi_json_node *members)
{
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const mmi_json_node *node = mmi_json_get(members, names[i]);
        if (node && mmi_json_kind_of(node) != MMI_JSON_NULL) return node;
    }
    return NULL;
}

/* As transformers does, reasoning is there as `reasoning_content` and `thinking`, whatever name it came with. */
static int message_value(jinja_run *run, const mmi_chat_message *m, value *out)
{
    const mmi_json_node *reasoning = find_reasoning(m->members);
    mmi_jinja_dict *dict;
    value content = mmi_jinja_none;

    if (m->content ? mmi_jinja_string_wrap(run, m->content, strlen(m->content), &content) : m->parts && parts_value(run, m, &content))
        return 1;
    if (mmi_jinja_dict_create(run, &dict) || (reasoning && put_json(run, dict, "thinking", reasoning))) return 1;
    if (!mmi_json_get(m->members, "role") && put_text(run, dict, "role", m->role)) return 1;
    if (!mmi_json_get(m->members, "content") && mmi_jinja_dict_put_text(run, dict, "content", content)) return 1;
    if (put_members(run, dict, m->members) || (reasoning && put_json(run, dict, "reasoning_content", reasoning))) return 1;
    *out = dict_value(dict);
    return 0;
}

/* The variables as transformers' apply_chat_template names them. */
static int build_variables(jinja_run *run, const mmi_chat_message *messages, size_t count, const mmi_chat_options *options,
                           mmi_jinja_dict **out)
{
    value *items = mmi_jinja_alloc(run, count, sizeof *items), list;

    if (!items || mmi_jinja_dict_create(run, out)) return 1;
    for (size_t i = 0; i < count; i++)
        if (message_value(run, &messages[i], &items[i])) return 1;
    return mmi_jinja_list_wrap(run, MMI_JINJA_LIST, items, count, &list) || mmi_jinja_dict_put_text(run, *out, "messages", list) ||
           mmi_jinja_dict_put_text(run, *out, "add_generation_prompt", mmi_jinja_bool(options->add_generation_prompt)) ||
           put_json(run, *out, "tools", options->tools) || put_json(run, *out, "documents", options->documents) ||
           (options->bos_token && put_text(run, *out, "bos_token", options->bos_token)) ||
           (options->eos_token && put_text(run, *out, "eos_token", options->eos_token)) || put_members(run, *out, options->variables);
}

mm_status mmi_chat_template_render(mm_context *ctx, const mmi_chat_template *tpl, const mmi_chat_message *messages, size_t count,
                                   const mmi_chat_options *options, mmi_text *out)
{
    static const mmi_chat_options defaults = {0};
    jinja_run run;
    mmi_jinja_dict *variables = NULL;

    if (!options) options = &defaults;
    start(&run, ctx, options->now);
    (void)build_variables(&run, messages, count, options, &variables);
    return finish(&run, tpl, variables, out);
}

mm_status mmi_chat_template_render_json(mm_context *ctx, const mmi_chat_template *tpl, const mmi_json_node *variables, int64_t now,
                                        mmi_text *out)
{
    jinja_run run;
    mmi_jinja_dict *dict = NULL;

    start(&run, ctx, now);
    (void)(mmi_jinja_dict_create(&run, &dict) || put_members(&run, dict, variables));
    return finish(&run, tpl, dict, out);
}
