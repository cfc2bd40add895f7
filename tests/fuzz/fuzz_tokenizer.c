/* libFuzzer target: tokenizer.json, a zero byte, and a text. Every id must be of the vocabulary, and decoding at once and
 * id by id must agree. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(mm_context *ctx, mmi_tokenizer *t, const mmi_ids *ids, int skip)
{
    mmi_text once = {0}, steps = {0};
    mmi_token_decoder *d = NULL;

    if (!mmi_tokenizer_decode(ctx, t, ids->data, ids->count, skip, &once)) {
        if (mmi_token_decoder_create(ctx, t, skip, &d)) abort();
        for (size_t i = 0; i < ids->count; i++) {
            if (mmi_token_decoder_push(ctx, d, ids->data[i], &steps)) abort();
            if (mmi_utf8_valid(steps.data, steps.size) != steps.size) abort();
        }
        if (mmi_token_decoder_finish(ctx, d, &steps)) abort();
        if (once.size != steps.size || (once.size && memcmp(once.data, steps.data, once.size))) abort();
        mmi_token_decoder_destroy(d);
    }
    mmi_text_clear(&once);
    mmi_text_clear(&steps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *json = (const char *)data, *text = size ? memchr(json, 0, size) : NULL;
    size_t n_json = text ? (size_t)(text - json) : size;
    mm_context *ctx;
    mmi_json *doc = NULL;
    mmi_tokenizer *t = NULL;

    if (mm_context_create(NULL, &ctx)) abort();
    if (mm_context_set_i64(ctx, MM_CONTEXT_MEMORY_LIMIT, 256 << 20)) abort();
    if (!mmi_json_parse(ctx, "fuzz", json, n_json, &doc) && !mmi_tokenizer_from_json(ctx, doc, doc, &t)) {
        text = text ? text + 1 : "";
        for (int flags = 0; flags < 4; flags++) {
            mmi_ids ids = {0}, types = {0};
            size_t n = n_json < size ? size - n_json - 1 : 0;
            if (!mmi_tokenizer_encode_pair(ctx, t, text, n, text, flags ? n / 2 : n, flags & 1, flags >> 1, &ids, &types)) {
                if (ids.count != types.count) abort();
                for (size_t i = 0; i < ids.count; i++)
                    if (ids.data[i] < 0 || ids.data[i] >= mmi_tokenizer_size(t)) abort();
                decode(ctx, t, &ids, flags & 1);
            }
            mmi_free(ids.data);
            mmi_free(types.data);
        }
    }
    mmi_tokenizer_release(t);
    mmi_json_destroy(doc);
    mm_context_destroy(ctx);
    return 0;
}
