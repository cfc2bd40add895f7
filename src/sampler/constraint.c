/* SPDX-License-Identifier: MIT */
#include "constraint.h"

#include <math.h>
#include <string.h>

#include "json_schema.h"
#include "mm_session.h"

void mmi_constraint_clear(mmi_constraint *c)
{
    mmi_grammar_state_destroy(c->state);
    mmi_grammar_release(c->grammar);
    mmi_token_table_release(c->table);
    mmi_free(c->followed.data);
    memset(c, 0, sizeof *c);
}

mm_status mmi_constraint_set(mm_context *ctx, mmi_constraint *c, const mm_model *model, int32_t option, const char *text)
{
    mmi_grammar *g = NULL;
    mm_status st = MM_OK;

    if (text && !model->tokenizer) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s has no tokenizer", model->path);
    if (text && option == MM_SESSION_GRAMMAR) st = mmi_grammar_create(ctx, "the grammar", text, strlen(text), &g);
    else if (text) st = mmi_json_schema_compile(ctx, text, strlen(text), &g);
    if (!st && text && !c->table) st = mmi_token_table_create(ctx, model->tokenizer, (size_t)model->info.vocabulary, &c->table);
    if (st) {
        mmi_grammar_release(g);
        return st;
    }
    mmi_grammar_state_destroy(c->state);
    mmi_grammar_release(c->grammar);
    c->state = NULL;
    c->followed.count = 0;
    c->grammar = g;
    return MM_OK;
}

void mmi_constraint_copy(mmi_constraint *to, const mmi_constraint *from)
{
    to->grammar = from->grammar;
    to->table = from->table;
    if (to->grammar) mmi_grammar_retain(to->grammar);
    if (to->table) mmi_token_table_retain(to->table);
}

/* Bring the state behind these tokens. Those without text were forced and mean nothing to the grammar. */
static mm_status follow(mm_context *ctx, mmi_constraint *c, const mm_model *model, const int32_t *ids, size_t n)
{
    mm_status st = MM_OK;

    if (!c->state) st = mmi_grammar_state_create(ctx, c->grammar, c->table, mmi_tokenizer_drops_space(model->tokenizer), &c->state);
    if (st) return st;
    if (c->followed.count > n || (c->followed.count && memcmp(ids, c->followed.data, c->followed.count * sizeof *ids))) c->followed.count = 0;
    if (!c->followed.count) mmi_grammar_state_begin(c->state);
    while (c->followed.count < n && !st) {
        int32_t id = ids[c->followed.count];
        if (mmi_ids_add(ctx, &c->followed, id)) return MM_E_NOMEM;
        if (c->table->index[id] >= 0) st = mmi_grammar_state_accept(ctx, c->state, id);
    }
    if (st) c->followed.count = 0;
    return st;
}

mm_status mmi_constraint_rule_scores(mm_context *ctx, mmi_constraint *c, const mm_model *model, float *scores, const int32_t *generated, size_t length)
{
    const uint64_t *mask = NULL;
    mm_status st = c->grammar ? follow(ctx, c, model, generated, length) : MM_OK;

    if (!st && c->grammar) st = mmi_grammar_state_mask(ctx, c->state, model->end_tokens, model->n_end_tokens, &mask);
    for (size_t i = 0; mask && i < c->table->vocabulary; i++)
        if (!(mask[i / 64] >> i % 64 & 1)) scores[i] = -INFINITY;
    return st;
}

mm_status mmi_constraint_is_over(mm_context *ctx, mmi_constraint *c, const mm_model *model, const int32_t *generated, size_t length, int *over)
{
    mm_status st = MM_OK;

    *over = 0;
    if (!c->grammar || model->n_end_tokens) return MM_OK;
    st = follow(ctx, c, model, generated, length);
    *over = !st && mmi_grammar_state_is_complete(c->state);
    return st;
}
