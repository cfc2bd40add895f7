/* libFuzzer target: the input up to a NUL is a grammar; what stands behind it is followed as far as it goes.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "grammar_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const mmi_token_table table; /* no tokens: bytes are followed */
    const uint8_t *text = size ? memchr(data, 0, size) : NULL;
    size_t n = text ? (size_t)(text - data) : size;
    mm_context *ctx;
    mmi_grammar *g = NULL;
    mmi_grammar_state *s = NULL;

    if (mm_context_create(NULL, &ctx)) abort();
    if (!mmi_grammar_create(ctx, "fuzz", (const char *)data, n, &g) && !mmi_grammar_state_create(ctx, g, &table, size % 2, &s)) {
        for (size_t i = n + 1; i < size; i++)
            if (mmi_grammar_state_accept_bytes(ctx, s, (const char *)data + i, 1)) mmi_grammar_state_begin(s);
    }
    mmi_grammar_state_destroy(s);
    mmi_grammar_release(g);
    mm_context_destroy(ctx);
    return 0;
}
