/* libFuzzer target: parse a JSON document; what parses must come back equal after it was written out and parsed again.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_node(mm_context *ctx, const mmi_json_node *node, mmi_text *out)
{
    const char *s = mmi_json_string(node);
    mmi_json_kind kind = mmi_json_kind_of(node);
    double number = 0;
    int failed = 0;

    switch (kind) {
    case MMI_JSON_NULL: failed = mmi_text_append(ctx, out, "null", 4); break;
    case MMI_JSON_BOOL: failed = mmi_text_format(ctx, out, "%s", mmi_json_true(node) ? "true" : "false"); break;
    case MMI_JSON_NUMBER: /* 1e999 is a number, but no finite one */
        failed = mmi_json_number(node, &number) ? mmi_text_format(ctx, out, "%.17g", number) : mmi_text_format(ctx, out, "1e999");
        break;
    case MMI_JSON_STRING: failed = mmi_json_quote(ctx, out, s, strlen(s)); break;
    case MMI_JSON_ARRAY:
    case MMI_JSON_OBJECT:
        failed = mmi_text_append(ctx, out, kind == MMI_JSON_ARRAY ? "[" : "{", 1);
        for (const mmi_json_node *m = mmi_json_first(node); m; m = mmi_json_next(m)) {
            if (m != mmi_json_first(node)) failed |= mmi_text_append(ctx, out, ",", 1);
            if (kind == MMI_JSON_OBJECT)
                failed |= mmi_json_quote(ctx, out, mmi_json_key(m), strlen(mmi_json_key(m))) || mmi_text_append(ctx, out, ":", 1);
            write_node(ctx, m, out);
        }
        failed |= mmi_text_append(ctx, out, kind == MMI_JSON_ARRAY ? "]" : "}", 1);
        break;
    case MMI_JSON_ABSENT: abort();
    }
    if (failed) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mm_context *ctx;
    mmi_json *doc;
    mmi_text once = {0}, twice = {0};

    if (mm_context_create(NULL, &ctx)) abort();
    if (!mmi_json_parse(ctx, "fuzz", (const char *)data, size, &doc)) {
        write_node(ctx, mmi_json_root(doc), &once);
        mmi_json_destroy(doc);
        if (mmi_json_parse(ctx, "again", once.data, once.size, &doc)) abort();
        write_node(ctx, mmi_json_root(doc), &twice);
        mmi_json_destroy(doc);
        if (once.size != twice.size || memcmp(once.data, twice.data, once.size)) abort();
        mmi_text_clear(&once);
        mmi_text_clear(&twice);
    }
    mm_context_destroy(ctx);
    return 0;
}
