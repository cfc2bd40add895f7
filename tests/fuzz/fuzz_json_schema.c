/* libFuzzer target: a JSON schema; what is read must become a grammar that has a text to begin with, or be refused with a reason.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "grammar_state.h"
#include "json_schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const mmi_token_table table;
    mm_context *ctx;
    mmi_grammar *g = NULL;
    mmi_grammar_state *s = NULL;
    mm_status st;

    if (mm_context_create(NULL, &ctx)) abort();
    st = mmi_json_schema_compile(ctx, (const char *)data, size, &g);
    if (st == MM_E_FORMAT && !strncmp(mm_context_error(ctx), "the JSON schema's grammar, line", 31) && !strstr(mm_context_error(ctx), "left recursion") &&
        !strstr(mm_context_error(ctx), "less than its least") && !strstr(mm_context_error(ctx), "a set without characters"))
        abort(); /* we wrote what is no grammar */
    if (!st) st = mmi_grammar_state_create(ctx, g, &table, 0, &s);
    if (!st && mmi_grammar_state_accept_bytes(ctx, s, "{\"", 2) == MM_E_INTERNAL) abort();
    mmi_grammar_state_destroy(s);
    mmi_grammar_release(g);
    mm_context_destroy(ctx);
    return 0;
}
